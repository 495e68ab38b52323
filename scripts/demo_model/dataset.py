#!/usr/bin/env python3
"""Renders the pictures that the demo model learns from into one folder of plain arrays.

    dataset.py --out DATA [--split train|heldout|judge] [--count N] [--offset SEED] [--rate R] [--workers N]

DATA/SPLIT/images.npy and masks.npy are uint8 arrays of N pictures, labels.jsonl has one line per picture with its captions. The judge's
set is for measuring, not for the model: half of it is defective, held-out pairs are in it, and it also has normals.npy (each picture
without its defect) and objects.npy. A split that was interrupted goes on where it stopped."""
import argparse
import json
import multiprocessing
import os

import numpy as np
import render

SIZE, CHUNK = 128, 200
# ranges of seeds that never meet, so that no picture is in two splits
SPLITS = {"train": (0, 32000, 0.03), "heldout": (100_000_000, 1000, 0.03), "judge": (200_000_000, 4000, 0.5)}


def kind(i, rate, split):
    """Class and defect of picture i: round robin, so that the shares are exact and every pair is there equally often."""
    before, after = int(i * rate), int((i + 1) * rate)
    if after == before:
        # classes must not go in step with the rate: count the normal pictures alone
        return render.CLASSES[(i - before) % len(render.CLASSES)], None
    cls = render.CLASSES[before % len(render.CLASSES)]
    defects = [d for d in render.DEFECTS if split == "judge" or (cls, d) not in render.HELD_OUT]
    return cls, defects[before // len(render.CLASSES) % len(defects)]


def arrays(folder, count, split, mode="r+"):
    names = {"images": (count, SIZE, SIZE, 3), "masks": (count, SIZE, SIZE)}
    if split == "judge":
        names |= {"normals": (count, SIZE, SIZE, 3), "objects": (count, SIZE, SIZE)}
    return {n: np.lib.format.open_memmap(os.path.join(folder, n + ".npy"), mode, np.uint8, s if mode == "w+" else None)
            for n, s in names.items()}


def render_chunk(job):
    folder, chunk, count, offset, rate, split = job
    out, lines = arrays(folder, count, split), []
    for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, count)):
        cls, defect = kind(i, rate, split)
        seed = offset + i
        p = render.render(cls, seed, defect, SIZE)
        out["images"][i], out["masks"][i] = p.image, p.mask
        if split == "judge":
            out["normals"][i], out["objects"][i] = p.normal, p.object
        captions = list(dict.fromkeys(render.captions(p, np.random.default_rng([seed, 1]))))
        lines.append(json.dumps({"index": i, "seed": seed, "class": cls, "defect": defect, "captions": captions}))
    for a in out.values():
        a.flush()
    path = os.path.join(folder, "chunks", f"{chunk:06}.jsonl")
    with open(path + ".part", "w") as f:
        f.write("\n".join(lines) + "\n")
    os.replace(path + ".part", path)  # the chunk counts as done from here on
    return chunk


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--out", required=True)
    a.add_argument("--split", choices=SPLITS, default="train")
    a.add_argument("--count", type=int)
    a.add_argument("--offset", type=int, help="seed of the first picture")
    a.add_argument("--rate", type=float, help="share of defective pictures")
    a.add_argument("--workers", type=int, default=os.cpu_count())
    a = a.parse_args()
    defaults = SPLITS[a.split]
    offset, count, rate = (d if v is None else v for v, d in zip((a.offset, a.count, a.rate), defaults))
    folder = os.path.join(a.out, a.split)
    os.makedirs(os.path.join(folder, "chunks"), exist_ok=True)
    plan, path = {"count": count, "offset": offset, "rate": rate, "size": SIZE}, os.path.join(folder, "plan.json")
    if os.path.exists(path):
        assert json.load(open(path)) == plan, f"{folder} was begun with other settings: {open(path).read()}"
    else:
        arrays(folder, count, a.split, "w+")
        with open(path, "w") as f:
            json.dump(plan, f)
    done = {int(n[:6]) for n in os.listdir(os.path.join(folder, "chunks")) if n.endswith(".jsonl")}
    chunks = range(-(-count // CHUNK))
    jobs = [(folder, c, count, offset, rate, a.split) for c in chunks if c not in done]
    with multiprocessing.Pool(a.workers) as pool:
        for n, _ in enumerate(pool.imap_unordered(render_chunk, jobs), len(done) + 1):
            print(f"{a.split}: {min(n * CHUNK, count)} of {count}", flush=True)
    with open(os.path.join(folder, "labels.jsonl.part"), "w") as f:
        for c in chunks:
            f.write(open(os.path.join(folder, "chunks", f"{c:06}.jsonl")).read())
    os.replace(os.path.join(folder, "labels.jsonl.part"), os.path.join(folder, "labels.jsonl"))


if __name__ == "__main__":
    main()
