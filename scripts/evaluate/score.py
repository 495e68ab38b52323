#!/usr/bin/env python3
"""All numbers of the pictures that were made: WORK/results.json, and WORK/pictures.json with one record a picture.

    python3 score.py WORK [--false-alarms 0.03]

The judge's threshold is set so that it calls a defect in at most this share of normal pictures, both of normal renders and of normal
photos that went through the generator without a defect (made/control). Half of each sets it, the other half says what it is worth:
3 % on one half leaves room for staying under 5 % on the other."""
import argparse
import itertools
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt

import judge
from common import BASELINES, JUDGE_TEST, METHODS, auroc, grid_of, mean, pictures, read, read_json, renderer, share, write_json
from grid import SMALL, regions_of

CELL = 8                                    # pixels of the photo in a cell of the latents


# --- the judge's threshold -------------------------------------------------------------------------------------------------------

def threshold(scores, share_allowed):
    """The least value that at most this share of the scores is above."""
    s = np.sort(scores)[::-1]
    return float(s[int(share_allowed * len(s))])


def near(mask):
    """Where a defect of this mask may be seen: its edge, too."""
    return binary_dilation(mask > 0, iterations=3)


def calibrate(a, net, defects, grid, r):
    pairs = judge.every_pair(r)
    data = judge.renders(a.work, r, "calibrate", JUDGE_TEST, a.renders, pairs, grid["size"])
    rng = np.random.default_rng(3)
    regions = [regions_of(rng, o > 0, i % 5 in (1, 3)) for i, o in enumerate(data["object"])]
    normal = np.array([judge.visible(p, m) for p, m in zip(judge.find(net, data["normal"])[0], regions)])
    # neighbours in the list are products of the same defect, so that every second of them is a fair half
    even = np.arange(len(normal)) % 2 == 0
    control = [q for q in pictures(grid) if (a.work / f"made/control/{q['name']}.png").exists()]
    sets = {"normal renders": (normal, even)}
    if control:
        p = judge.find(net, [read(a.work / f"made/control/{q['name']}.png") for q in control])[0]
        s = np.array([judge.visible(m, read(a.work / q["region"], grey=True)) for m, q in zip(p, control)])
        sets["normal photos through the generator"] = (s, np.array([q["unit"] % 2 == 0 for q in control]))
    limit = max(threshold(s[half], a.false_alarms) for s, half in sets.values() if half.any())
    out = {"threshold": limit, "aim": a.false_alarms, "false_alarms": {k: share(s[~half] > limit) for k, (s, half) in sets.items()}}

    def recall(images, masks, said, objects=None):
        spots = [near(m) for m in masks]
        p, kinds = judge.find(net, images, spots)
        seen = np.array([judge.visible(m, s) for m, s in zip(p, spots)]) > limit
        kind = np.array([defects[np.argmax(k)] == d for k, (_, d) in zip(kinds, said)])
        iou = np.array([overlap(m > 0.5, t > 0) if v else np.nan for m, t, v in zip(p, masks, seen)], float)
        groups = {"all": np.full(len(said), True), "unseen": np.array([c in r.HELD_OUT for c in said])}
        groups |= {d: np.array([c[1] == d for c in said]) for d in defects}
        if objects is not None:
            groups["small"] = np.array([(m > 0).sum() <= SMALL * (o > 0).sum() for m, o in zip(masks, objects)])
        return {g: {"visible": share(seen[w]), "kind": share(kind[w & seen]), "iou": mean(iou[w])} for g, w in groups.items()}
    out["true"] = {"renders": recall(data["image"], data["mask"], [tuple(s.split("|")) for s in data["said"]], data["object"])}
    there = [t for t in grid["true"] if (a.work / f"made/roundtrip/{t['name']}.png").exists()]
    if there:
        out["true"]["through the autoencoder"] = recall(
            [read(a.work / f"made/roundtrip/{t['name']}.png") for t in there],
            [read(a.work / f"grid/true/{t['name']}_mask.png", grey=True) for t in there], [(t["cls"], t["defect"]) for t in there])
    return out, sets.get("normal photos through the generator", sets["normal renders"])[0]


# --- one picture -----------------------------------------------------------------------------------------------------------------

def overlap(a, b):
    """IoU; None when both are empty."""
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else None


def outside(photo, image, where):
    """PSNR, None of equal pictures, and mean absolute difference there."""
    d = np.abs(image.astype(float) - photo)[where]
    if not d.size:
        return None, None
    return 10 * float(np.log10(255 ** 2 / (d ** 2).mean())) if d.any() else None, float(d.mean())


def measure(work, name, q, image, p, kinds, defects, limit):
    photo, given = read(work / q["photo"]), read(work / q["region"], grey=True) > 0
    path = work / f"made/{name}/{q['name']}_mask.png"
    mask = read(path, grey=True) > 127 if path.exists() else None
    region = mask if name in BASELINES else given       # a baseline knows no region: it chooses its own
    energy = ((image.astype(float) - photo) ** 2).sum(2)
    far = distance_transform_edt(~region) > CELL
    seen = judge.visible(p, region)
    out = {"method": name, **{k: q[k] for k in ("name", "unit", "cls", "defect", "small", "unseen")}, "score": seen,
           "visible": seen > limit, "kind": None if name in BASELINES or kinds is None else defects[np.argmax(kinds)],
           "energy_inside": float(energy[region].sum() / energy.sum()) if energy.any() else None}
    out["psnr_outside"], out["mae_outside"] = outside(photo, image, ~region)
    out["psnr_far"], out["mae_far"] = outside(photo, image, far)
    out["mae_inside"] = outside(photo, image, region)[1]
    if mask is not None:
        found = p > 0.5
        out["mask_share"] = float(mask.sum() / max(given.sum(), 1))
        if seen > limit:                                # where nothing is seen there is nothing to find
            out["iou_mask"], out["iou_region"] = overlap(mask, found), overlap(given, found)
    return out


# --- many pictures ---------------------------------------------------------------------------------------------------------------

def summary(records):
    seen = [x for x in records if x["visible"]]
    out = {"n": len(records), "photos": len({x["unit"] for x in records}), "visible": share(x["visible"] for x in records)}
    if any(x["kind"] for x in records):
        out["kind"] = share(x["kind"] == x["defect"] for x in seen)
        out["both"] = share(x["visible"] and x["kind"] == x["defect"] for x in records)
    for key in ("score", "energy_inside", "psnr_outside", "mae_outside", "psnr_far", "mae_far", "mae_inside", "iou_mask", "iou_region",
                "mask_share"):
        out[key] = mean(x.get(key) for x in records)
    return out


def difference(mine, theirs, rng):
    """Visible share of mine minus theirs on the same pictures; interval of 95 % by drawing photos anew, since the seeds of one photo
    are not independent."""
    other = {x["name"]: x["visible"] for x in theirs}
    by = {}
    for x in mine:
        if x["name"] in other:
            by.setdefault(x["unit"], []).append(int(x["visible"]) - int(other[x["name"]]))
    if not by:
        return None
    sums, sizes = np.array([sum(v) for v in by.values()]), np.array([len(v) for v in by.values()])
    i = rng.integers(len(by), size=(4000, len(by)))
    low, high = np.quantile(sums[i].sum(1) / sizes[i].sum(1), [0.025, 0.975])
    return {"difference": float(sums.sum() / sizes.sum()), "low": float(low), "high": float(high), "n": int(sizes.sum()), "photos": len(by)}


def variety(net, work, records, made, inside):
    """Mean distance of two seeds of the same photo, mean over photos."""
    by, each = {}, []
    for x in records:
        by.setdefault(x["unit"], []).append(x)
    for xs in by.values():
        if len(xs) > 1:
            region = read(work / made[xs[0]["name"]]["region"], grey=True) if inside else None
            each.append(float(np.mean(judge.apart(net, [read(work / f"made/{x['method']}/{x['name']}.png") for x in xs], region))))
    return mean(each)


def cost(work, name):
    files = [f for path in sorted((work / f"made/{name}").glob("u*.json")) for f in read_json(path)["files"]]
    return {k: mean(f[k] for f in files) for k in ("seconds", "unet_forwards", "unet_backwards", "steps_run", "gflop")} if files else {}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", type=Path)
    p.add_argument("--false-alarms", type=float, default=0.03, help="on the half that sets the threshold; default: 0.03")
    p.add_argument("--renders", type=int, default=540, help="normal and true renders for the threshold; default: 540")
    a = p.parse_args()
    r = renderer()
    grid = grid_of(a.work, r)
    net, defects = judge.load(a.work)
    said, control = calibrate(a, net, defects, grid, r)
    alarms = ", ".join(f"{k}: {v['k']} of {v['n']}" for k, v in said["false_alarms"].items())
    print(f"threshold {said['threshold']:.4f}; false alarms of {alarms}", flush=True)
    made = {q["name"]: q for q in pictures(grid)}
    folders = {f.name for f in (a.work / "made").iterdir() if f.is_dir()} - {"roundtrip"}
    order = ["control", *BASELINES, *METHODS]
    names = sorted(folders, key=lambda f: (order.index(f) if f in order else len(order), f))
    records = {}
    for name in names:
        there = [q for q in made.values() if (a.work / f"made/{name}/{q['name']}.png").exists()]
        if not there:
            continue
        images = [read(a.work / f"made/{name}/{q['name']}.png") for q in there]
        p, kinds = judge.find(net, images, [read(a.work / q["region"], grey=True) for q in there])
        records[name] = [measure(a.work, name, q, *rest, defects, said["threshold"]) for q, *rest in zip(there, images, p, kinds)]
        print(f"{name}: {sum(x['visible'] for x in records[name])} of {len(there)} visible", flush=True)
    common = set.intersection(*({x["name"] for x in xs} for xs in records.values())) if records else set()
    sizes = {"pictures": len(made), "pairs": len(grid["pairs"]), "photos": len({q["unit"] for q in made.values()}), "common": len(common)}
    results = {"judge": {**said, **read_json(a.work / "judge/judge.json", {})}, "grid": sizes, "methods": {}}
    rng = np.random.default_rng(4)
    for name, xs in records.items():
        groups = {"all": xs, "common": [x for x in xs if x["name"] in common]}
        for key, yes, no in (("small", "small", "large"), ("unseen", "unseen", "trained")):
            groups |= {yes: [x for x in xs if x[key]], no: [x for x in xs if not x[key]]}
        groups |= {d: [x for x in xs if x["defect"] == d] for d in defects}
        groups |= {c: [x for x in xs if x["cls"] == c] for c in r.CLASSES}
        out = {g: summary(v) for g, v in groups.items()}
        results["methods"][name] = {
            "groups": out, "cost": cost(a.work, name), "variety": variety(net, a.work, xs, made, False),
            "variety_inside": None if name in BASELINES else variety(net, a.work, xs, made, True),
            "above_control": auroc([*control, *(x["score"] for x in xs)], [0] * len(control) + [1] * len(xs)),
            "against": {other: difference(xs, records[other], rng) for other in records if other != name},
            "against_common": {other: difference(groups["common"], records[other], rng) for other in records if other != name}}
    write_json(a.work / "pictures.json", list(itertools.chain.from_iterable(records.values())))
    write_json(a.work / "results.json", results)


if __name__ == "__main__":
    main()
