#!/usr/bin/env python3
"""Anomaly detection: the same small network learns from normal pictures and from what one method made, and is tested on true defects.

    python3 detect.py WORK [--arms cutpaste,sd,cut,real] [--count N] [--seeds 3] [--steps 400] [--name detect]

An arm is a method's folder in WORK/made, with the masks that it wrote, or "real": the renderer's true defects of the same pairs, the
ceiling. cutpaste is the floor. Every arm has the same number of pictures, the first of the grid, and the same normal pictures: the
photos, as many renders more, and photos that went through the generator without a defect (made/control), so that no network can take
the autoencoder's traces for the defect. Writes WORK/NAME.json after every training; one that is there is not done again."""
import argparse
from pathlib import Path

import numpy as np
import torch

import judge
from common import (BASELINES, DETECT_TEST, DETECT_TRAIN, METHODS, UNet, augment, auroc, batch, fit, grid_of, mean, pictures, read,
                    read_json, renderer, seen, top, write_json)


def train(normal, images, masks, steps, size, seed, bf16):
    torch.manual_seed(seed)
    rng = np.random.default_rng([5, seed])
    empty = np.zeros_like(masks[0])

    def draw(n):
        bad, good = rng.integers(len(images), size=n // 2), rng.integers(len(normal), size=n - n // 2)
        x = batch([images[i] for i in bad] + [normal[i] for i in good])
        y = torch.from_numpy(np.stack([masks[i] for i in bad] + [empty] * len(good)) > 127)[:, None].float()
        x, y = augment(x, y, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = net(x)
        return seen(logits.float(), y)
    net = UNet()
    return fit(net, steps, size, draw)


def test(net, data, pairs, groups):
    """Image score: the mean of the highest 50 pixels of 128 x 128. Normal pictures are those of the other half of the seeds, so that no
    product is in both."""
    p, q = judge.find(net, data["image"])[0], judge.find(net, data["normal"])[0]
    count = max(1, p.shape[1] ** 2 * 50 // 16384)
    half = np.arange(len(p)) // len(pairs) % 2 == 0
    said = [tuple(s.split("|")) for s in data["said"]]
    good = np.array([top(m, count) for m in q[~half]])
    out = {}
    for g, inside in groups.items():
        w = np.array([inside(s) for s in said]) & half
        if w.any():
            bad = np.array([top(m, count) for m in p[w]])
            masks = np.concatenate([data["mask"][w] > 0, np.zeros_like(data["mask"][~half], bool)])
            out[g] = {"image": auroc(np.r_[bad, good], np.r_[np.ones(len(bad)), np.zeros(len(good))]),
                      "pixel": auroc(np.concatenate([p[w], q[~half]]), masks), "n": int(w.sum())}
    return out, int((~half).sum())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", type=Path)
    p.add_argument("--arms", help="comma-separated; default: all that have pictures, and real")
    p.add_argument("--count", type=int, default=0, help="pictures of an arm; default: as many as the smallest arm has")
    p.add_argument("--seeds", type=int, default=3, help="trainings of each arm; default: 3")
    p.add_argument("--steps", type=int, default=400, help="of 16 pictures; default: 400")
    p.add_argument("--batch", type=int, default=16, help="default: 16")
    p.add_argument("--test", type=int, default=24, help="renders of each pair for the test, half of them as normal pictures; default: 24")
    p.add_argument("--bf16", action="store_true", help="train with bfloat16 products: a third faster where the processor has them")
    p.add_argument("--name", default="detect", help="of the file; default: detect")
    a = p.parse_args()
    r = renderer()
    grid = grid_of(a.work, r)
    pairs = [tuple(q) for q in grid["pairs"]]
    made = pictures(grid)
    have = {f.name: [q for q in made if (f / f"{q['name']}.png").exists() and (f / f"{q['name']}_mask.png").exists()]
            for f in sorted((a.work / "made").iterdir()) if f.is_dir() and f.name not in ("control", "roundtrip")}
    arms = a.arms.split(",") if a.arms else [m for m in (*BASELINES, *METHODS) if have.get(m)] + ["real"]
    for arm in arms:
        if arm != "real" and not have.get(arm):
            p.error(f"no pictures of {arm}")
    count = a.count or min([len(have[m]) for m in arms if m != "real"] or [len(made)])
    for arm in arms:
        if arm != "real" and len(have[arm]) < count:
            p.error(f"{arm} has only {len(have[arm])} pictures")
    real = judge.renders(a.work, r, "detect", DETECT_TRAIN, count, pairs, grid["size"])
    plain = judge.renders(a.work, r, "normal", DETECT_TRAIN + 500_000, count, pairs, grid["size"])["normal"]
    tests = judge.renders(a.work, r, "test", DETECT_TEST, a.test * len(pairs), pairs, grid["size"])
    photos = [read(a.work / q) for q in sorted({q["photo"] for q in made[:count]})]
    through = [read(path) for q in made[:count] if (path := a.work / f"made/control/{q['name']}.png").exists()]
    normal = [*photos, *plain, *through]
    groups = {"all": lambda s: True, "unseen": lambda s: s in r.HELD_OUT, "trained": lambda s: s not in r.HELD_OUT}
    groups |= {d: lambda s, d=d: s[1] == d for d in r.DEFECTS}
    settings = {"count": count, "normal": len(normal), "through": len(through), "steps": a.steps, "batch": a.batch, "bf16": a.bf16}
    path = a.work / f"{a.name}.json"
    out = read_json(path, {"settings": settings, "arms": {}})
    if out["settings"] != settings:
        p.error(f"{path} is of other settings: {out['settings']}, not {settings}; give another --name, or remove it")
    for seed in range(a.seeds):
        for arm in arms:
            runs = out["arms"].setdefault(arm, {"runs": {}})["runs"]
            if str(seed) in runs:
                continue
            print(f"{arm}, training {seed + 1} of {a.seeds}, {count} pictures", flush=True)
            if arm == "real":
                images, masks = list(real["image"]), list(real["mask"])
            else:
                files = [str(a.work / f"made/{arm}/{q['name']}") for q in have[arm][:count]]
                images, masks = [read(f + ".png") for f in files], [read(f + "_mask.png", grey=True) for f in files]
            runs[str(seed)], out["normals"] = test(train(normal, images, masks, a.steps, a.batch, seed, a.bf16), tests, pairs, groups)
            print(f"  {runs[str(seed)]['all']}", flush=True)
            write_json(path, out)
    for arm in out["arms"].values():
        arm["mean"] = {g: {k: mean(run[g][k] for run in arm["runs"].values()) for k in ("image", "pixel")} | {"n": arm["runs"]["0"][g]["n"]}
                       for g in arm["runs"]["0"]}
    write_json(path, out)


if __name__ == "__main__":
    main()
