#!/usr/bin/env python3
"""The fixed list of pictures that every method makes: WORK/grid/jobs.json, photos and region masks as PNG.

    python3 grid.py WORK [--pairs 27] [--photos 5] [--seeds 4] [--size 128] [--true 4] [--first 0]

A pair is a product and a defect. All pairs that the generator has never seen are in (half of the pairs at most), and of the others as
many as give every defect and every product its turn. Every pair gets PHOTOS photos of normal products, each with a region mask, two
of five of them small, and SEEDS seeds for each photo: 27 x 5 x 4 = 540 pictures, 20 seeds a pair. One call of the program makes two
seeds. The calls are in an order whose every beginning is balanced: a method that is too slow for all makes the first so many.
WORK/grid/true holds true defects, which go through the generator's autoencoder to see what the judge loses there."""
import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from common import NORMAL, PHOTOS, TRUE, renderer, write, write_json

SMALL = 0.05
LARGE = (0.10, 0.25)
A_CALL = 2                                  # pictures of one call of the program


def spread(pairs, count, used, rng):
    """So many of the pairs, the rarest defect and product first."""
    left, out = [pairs[i] for i in rng.permutation(len(pairs))], []
    while left and len(out) < count:
        pair = min(left, key=lambda p: (used[p[1]] / 9 + used[p[0]] / 6, used[p[1]]))
        left.remove(pair)
        used.update(pair)
        out.append(pair)
    return out


def choose(r, count, rng):
    unseen = sorted(p for p in r.HELD_OUT if p[0] in r.CLASSES and p[1] in r.DEFECTS)
    others = [(c, d) for c in r.CLASSES for d in r.DEFECTS if (c, d) not in r.HELD_OUT]
    used = Counter()
    first = spread(unseen, max(1, count // 2) if unseen else 0, used, rng)
    chosen = first + spread(others, count - len(first), used, rng)
    # the same greedy rule orders them, unseen pairs spread evenly among the others
    used, out = Counter(), []
    queues = {True: [p for p in chosen if p in r.HELD_OUT], False: [p for p in chosen if p not in r.HELD_OUT]}
    total = {k: len(q) for k, q in queues.items()}
    while any(queues.values()):
        kind = max((k for k in queues if queues[k]), key=lambda k: len(queues[k]) / total[k])
        pair = spread(queues[kind], 1, used, rng)[0]
        queues[kind].remove(pair)
        out.append(pair)
    return out


def region(rng, product, share):
    """An ellipse or a stroke on the product: exactly this share of its pixels, those nearest to the shape's middle."""
    y, x = np.nonzero(product)
    if not len(y):
        raise ValueError("a photo without a product")
    count, at = max(1, round(share * len(y))), rng.integers(len(y))
    cy, cx = float(y[at]), float(x[at])
    if rng.random() < 0.5:
        turn, flat = rng.uniform(0, np.pi), rng.uniform(1, 2.5)
        u, v = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn), (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        far = u ** 2 + (v * flat) ** 2
    else:
        reach = np.sqrt(len(y) * share) * 0.8
        way, far = rng.uniform(0, 2 * np.pi), np.full(len(y), np.inf)
        for _ in range(3):
            way += rng.uniform(-0.9, 0.9)
            ny, nx = cy + reach * np.sin(way), cx + reach * np.cos(way)
            for t in np.linspace(0, 1, 24):
                far = np.minimum(far, (y - cy - t * (ny - cy)) ** 2 + (x - cx - t * (nx - cx)) ** 2)
            cy, cx = ny, nx
    out = np.zeros(product.shape, np.uint8)
    near = np.argsort(far, kind="stable")[:count]
    out[y[near], x[near]] = 255
    return out


def regions_of(rng, product, small):
    return region(rng, product, SMALL if small else rng.uniform(*LARGE))


def words(r, defect):
    """The template of a defect's caption, as the generator was trained on it: "... with a {defect} in it"."""
    tail = getattr(r, "WITH", {}).get(defect, f"with a {defect} on it")
    return "a photo of a {object} " + tail.replace(defect, "{defect}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", type=Path)
    p.add_argument("--pairs", type=int, default=27, help="default: 27")
    p.add_argument("--photos", type=int, default=5, help="of a pair; default: 5")
    p.add_argument("--seeds", type=int, default=4, help="of a photo, even; default: 4")
    p.add_argument("--true", type=int, default=4, help="true defects of each pair of the grid for the autoencoder; default: 4")
    p.add_argument("--first", type=int, default=0, help="number of the first photo: another list of other photos, masks and seeds, to tune on")
    p.add_argument("--size", type=int, default=128, help="default: 128")
    a = p.parse_args()
    if a.seeds % A_CALL or min(a.pairs, a.photos, a.seeds) < 1:
        p.error(f"--seeds must be a multiple of {A_CALL}, the others at least 1")
    r, rng, out = renderer(), np.random.default_rng(1), a.work / "grid"
    pairs = choose(r, a.pairs, rng)
    units, calls, true = [], [], []
    for photo in range(a.photos):
        for i, (cls, defect) in enumerate(pairs):
            unit = a.first + len(units)
            small = (i + photo) % 5 in (1, 3)
            made = r.render(cls, PHOTOS + unit, None, a.size)
            write(out / f"photo/u{unit:03}.png", made.image)
            write(out / f"region/u{unit:03}.png", regions_of(np.random.default_rng([2, unit]), made.object > 0, small))
            units.append({"unit": unit, "cls": cls, "defect": defect, "small": small, "unseen": (cls, defect) in r.HELD_OUT,
                          "template": words(r, defect), "detail": getattr(r, "DETAIL", {}).get(defect),
                          "photo": f"grid/photo/u{unit:03}.png", "region": f"grid/region/u{unit:03}.png"})
    for turn in range(a.seeds // A_CALL):
        for u in units:
            seed = 1000 + u["unit"] * a.seeds + turn * A_CALL
            calls.append({**u, "call": f"u{u['unit']:03}{chr(97 + turn)}", "seed": seed, "count": A_CALL})
    for i in range(a.true * len(pairs)):
        cls, defect = pairs[i % len(pairs)]
        made, name = r.render(cls, TRUE + a.first + i, defect, a.size), f"t{i:03}"
        write(out / f"true/{name}.png", made.image)
        write(out / f"true/{name}_mask.png", made.mask)
        true.append({"name": name, "cls": cls, "defect": defect, "unseen": (cls, defect) in r.HELD_OUT, "template": words(r, defect)})
    write_json(out / "jobs.json", {"renderer": r.BY, "size": a.size, "normal": NORMAL, "pairs": pairs, "calls": calls, "true": true})
    print(f"{len(pairs)} pairs, {sum(q in r.HELD_OUT for q in pairs)} of them unseen; {len(units)} photos; "
          f"{sum(c['count'] for c in calls)} pictures; {len(true)} true defects")


if __name__ == "__main__":
    main()
