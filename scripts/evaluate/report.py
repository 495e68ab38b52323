#!/usr/bin/env python3
"""Writes the tables of docs/evaluation.md from WORK/results.json and WORK/detect*.json, and sheets of pictures to look at.

    python3 report.py WORK [--doc FILE] [--rows 12]

A table stands between <!-- table NAME --> and <!-- end -->. One whose numbers are not there says so. The sheets show the first
pictures of the grid, not chosen ones: WORK/sheets/compare.png all methods side by side, NAME.png more of one method, true.png true
defects before and after the autoencoder. A green frame: the judge sees a defect; red: it does not."""
import argparse
import re
from pathlib import Path

from PIL import Image, ImageDraw

from common import BASELINES, METHODS, read_json

NOTHING = "Not measured yet."
LABEL = 12


# --- numbers ---------------------------------------------------------------------------------------------------------------------

def percent(s, n=True):
    """43 % (38 to 48), 231 of 540"""
    if not s or not s["n"]:
        return "-"
    return f"{100 * s['share']:.0f} % ({100 * s['low']:.0f} to {100 * s['high']:.0f})" + (f", {s['k']} of {s['n']}" if n else "")


def number(s, digits=2, spread=True):
    if not s or not s["n"]:
        return "-"
    return f"{s['mean']:.{digits}f}" + (f" ± {s['sd']:.{digits}f}" if spread and s["n"] > 1 else "")


def points(d):
    return f"{100 * d['difference']:+.0f} ({100 * d['low']:+.0f} to {100 * d['high']:+.0f}), {d['n']}" if d else "-"


def table(head, rows):
    if not rows:
        return NOTHING
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows))


def tables(results, detections):
    methods, judge = results["methods"], results["judge"]
    kinds = [k for k in judge["true"]["renders"] if k not in ("all", "unseen", "small")]
    out = {"judge": table(["judge", "of"], [["threshold", f"{judge['threshold']:.3f}"]] + [
        [f"false alarms, {k}", percent(s)] for k, s in judge["false_alarms"].items()])}
    sets = judge["true"]
    what = {"visible": ("seen", percent), "kind": ("kind right, of the seen", percent), "iou": ("IoU", number)}
    out["recall"] = table(["true defects", *(f"{words}, {k}" for words, _ in what.values() for k in sets)], [
        [g, *(say(sets[k].get(g, {}).get(w)) for w, (_, say) in what.items() for k in sets)] for g in ("all", "unseen", "small", *kinds)])
    group = {m: v["groups"] for m, v in methods.items()}
    out["cost"] = table(["method", "pictures", "photos", "U-Net passes", "of them backwards too", "GFLOP", "seconds"], [
        [m, group[m]["all"]["n"], group[m]["all"]["photos"], *(number(v["cost"].get(k), d) for k, d in
         (("unet_forwards", 0), ("unet_backwards", 0), ("gflop", 0), ("seconds", 1)))] for m, v in methods.items()])
    out["visible"] = table(["method", "all", "large masks", "small masks", "trained pairs", "unseen pairs", "the right kind, of the seen",
                            "beats control"], [
        [m, *(percent(g[k]["visible"]) for k in ("all", "large", "small", "trained", "unseen")), percent(g["all"].get("kind")),
         f"{methods[m]['above_control']:.2f}"] for m, g in group.items()])
    out["kinds"] = table(["method", *kinds], [[m, *(percent(g[k]["visible"]) for k in kinds)] for m, g in group.items()])
    classes = [k for k in next(iter(group.values()), {}) if k not in ("all", "common", "small", "large", "unseen", "trained", *kinds)]
    out["products"] = table(["product", *group], [[c, *(percent(g[c]["visible"]) for g in group.values())] for c in classes])
    out["common"] = table(["method", "seen", "seen and the right kind", "more than sd, points", "more than cut, points"], [
        [m, percent(g["common"]["visible"]), percent(g["common"].get("both")), *("-" if m == o or o not in methods else points(
            methods[m]["against_common"][o]) for o in ("sd", "cut"))] for m, g in group.items()])
    out["against"] = table(["method", "more than sd, points, n", "more than cut, points, n"], [
        [m, *(points(methods[m]["against"].get(o)) for o in ("sd", "cut"))] for m in group
        if m not in ("control", "control-whole", *BASELINES)])
    out["where"] = table(["method", "changed energy inside the region", "n", "IoU with the judge: written mask", "given region", "n seen",
                          "written mask, share of the region"], [
        [m, number(g["all"]["energy_inside"]), g["all"]["energy_inside"]["n"], number(g["all"]["iou_mask"]), number(g["all"]["iou_region"]),
         g["all"]["iou_mask"]["n"], number(g["all"]["mask_share"])] for m, g in group.items() if m not in BASELINES])
    out["outside"] = table(["method", "PSNR outside, dB", "MAE outside, levels", "PSNR 8 px away, dB", "MAE 8 px away, levels",
                            "MAE inside, levels", "n"], [
        [m, *(number(g["all"][k], 1) for k in ("psnr_outside", "mae_outside", "psnr_far", "mae_far", "mae_inside")), g["all"]["n"]]
        for m, g in group.items()])
    out["variety"] = table(["method", "between seeds, whole picture", "inside the region", "photos"], [
        [m, number(v["variety"], 3), number(v["variety_inside"], 3), v["variety"]["n"]] for m, v in methods.items() if v["variety"]["n"]])
    for name, d in detections.items():
        s, arms = d["settings"], {arm: v for arm, v in d["arms"].items() if "mean" in v}
        if not arms:
            continue
        ns = {g: v["n"] for g, v in next(iter(arms.values()))["mean"].items()}      # true defects in the test
        parts = [(g, k) for g in ("all", "trained", "unseen") if g in ns for k in ("image", "pixel")]
        out[name] = table(["arm", "defect pictures", "trainings", *(f"{g} ({ns[g]}), {k}" for g, k in parts)], [
            [arm, s["count"], len(v["runs"]), *(number(v["mean"][g][k], 3) for g, k in parts)] for arm, v in arms.items()])
        out[name] += (f"\n\nNormal pictures in training: {s['normal']}, {s['through']} of them through the generator; "
                      f"in the test: {d['normals']}.")
        there = [k for k in kinds if k in ns]
        out[f"{name}-kinds"] = table(["arm", *(f"{k} ({ns[k]})" for k in there)], [
            [arm, *(number(v["mean"][k]["image"], 3) for k in there)] for arm, v in arms.items()])
    return out


def fill(doc, made):
    put = lambda m: f"{m[1]}{made.get(m[2], NOTHING)}\n{m[3]}"
    new, known = re.subn(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", put, doc.read_text(), flags=re.S)
    doc.write_text(new)
    return known


# --- sheets ----------------------------------------------------------------------------------------------------------------------

def sheet(path, columns, cells):
    """cells: (picture, frame colour or None, words) in reading order"""
    if not cells:
        return
    size, gap = cells[0][0].width, 3
    step = size + 2 * gap
    rows = -(-len(cells) // columns)
    out = Image.new("RGB", (columns * step, rows * (step + LABEL)), "white")
    draw = ImageDraw.Draw(out)
    for i, (picture, colour, words) in enumerate(cells):
        x, y = i % columns * step, i // columns * (step + LABEL)
        draw.text((x + gap, y), words, "black")
        if colour:
            draw.rectangle((x, y + LABEL, x + step - 1, y + LABEL + step - 1), colour)
        out.paste(picture.convert("RGB"), (x + gap, y + LABEL + gap))
    path.parent.mkdir(parents=True, exist_ok=True)
    out.save(path)


def sheets(work, records, grid, rows):
    calls = {c["call"]: c for c in grid["calls"]}
    of = {}
    for x in records:
        of.setdefault(x["method"], {})[x["name"]] = x
    order = list(dict.fromkeys(m for m in ("control", *BASELINES, *METHODS, *sorted(of)) if m in of))

    def cell(x, words):
        return Image.open(work / f"made/{x['method']}/{x['name']}.png"), "green" if x["visible"] else "red", words

    def mask(x):
        path = work / f"made/{x['method']}/{x['name']}_mask.png"
        return Image.open(path) if path.exists() else Image.new("L", (grid["size"],) * 2, 128)
    if not of:
        return
    # one seed a photo; photos that every method has come first
    first = [n for n in dict.fromkeys(x["name"] for x in records) if n.endswith("a-0001")]
    first.sort(key=lambda n: -sum(n in of[m] for m in order))
    cells, blank = [], (Image.new("RGB", (grid["size"],) * 2, "white"), None, "")
    beside = [m for m in order if not m.endswith("-whole")] # a sheet of their own is enough for those
    for n in first[:rows]:
        c = calls[n[:-5]]
        cells += [(Image.open(work / c["photo"]), None, f"{c['cls']}: {c['defect']}"), (Image.open(work / c["region"]), None, "region")]
        for m in beside:
            cells.append(cell(of[m][n], m) if n in of[m] else blank)
        cells.append((mask(of["cut"][n]), None, "mask of cut") if n in of.get("cut", {}) else blank)
    sheet(work / "sheets/compare.png", 3 + len(beside), cells)
    for m in order:
        cells = []
        for x in list(of[m].values())[:4 * rows]:
            cells += [cell(x, f"{x['cls']}: {x['defect']}"), (mask(x), None, x["kind"] or "")]
        sheet(work / f"sheets/{m}.png", 8, cells)
    there = [t for t in grid["true"] if (work / f"made/roundtrip/{t['name']}.png").exists()]
    sheet(work / "sheets/true.png", 8, [c for t in there[:4 * rows] for c in (
        (Image.open(work / f"grid/true/{t['name']}.png"), None, f"{t['cls']}: {t['defect']}"),
        (Image.open(work / f"made/roundtrip/{t['name']}.png"), None, "autoencoder"))])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", type=Path)
    page = Path(__file__).resolve().parents[2] / "docs/evaluation.md"
    p.add_argument("--doc", type=Path, default=page, help="default: docs/evaluation.md")
    p.add_argument("--rows", type=int, default=12, help="of the sheets; default: 12")
    a = p.parse_args()
    detections = {path.stem: read_json(path) for path in sorted(a.work.glob("detect*.json"))}
    print(f"{fill(a.doc, tables(read_json(a.work / 'results.json'), detections))} tables in {a.doc}")
    sheets(a.work, read_json(a.work / "pictures.json"), read_json(a.work / "grid/jobs.json"), a.rows)


if __name__ == "__main__":
    main()
