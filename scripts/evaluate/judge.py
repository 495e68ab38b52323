#!/usr/bin/env python3
"""The judge: a small U-Net that finds defects and tells their kind, trained on the renderer's true defects and on nothing else.

    python3 judge.py WORK [--renders 4000] [--steps 2000]        writes WORK/judge/judge.pt and judge.json

It has never seen a picture of the generator, and its renders have other seeds than the generator's and than the photos of the grid."""
import argparse
import itertools
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from common import JUDGE_TEST, JUDGE_TRAIN, UNet, augment, auroc, batch, fit, renderer, seen, top, top_count, write_json


# --- renders ---------------------------------------------------------------------------------------------------------------------

def one(job):
    cls, seed, defect, size = job
    p = renderer().render(cls, seed, defect, size)
    return p.image, p.normal, p.mask, p.object


def renders(work, r, name, start, count, pairs, size=128):
    """count true defects, the pairs in turn, each with its normal picture; kept in WORK/cache."""
    path = work / f"cache/{name}-{start}-{count}-{size}-{r.BY}.npz"
    jobs = [(c, start + i, d, size) for i, (c, d) in zip(range(count), itertools.cycle(pairs))]
    said = np.array([f"{c}|{d}" for c, _, d, _ in jobs])
    if path.exists():
        with np.load(path) as f:
            if list(f["said"]) == list(said):
                return {k: f[k] for k in f}
    with multiprocessing.get_context("spawn").Pool(int(os.environ.get("THREADS", "2"))) as pool:
        made = pool.map(one, jobs, chunksize=16)
    out = dict(zip(("image", "normal", "mask", "object"), map(np.stack, zip(*made))), said=said)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **out)
    return out


def every_pair(r):
    return [(c, d) for d in r.DEFECTS for c in r.CLASSES]


# --- what it says ----------------------------------------------------------------------------------------------------------------

def load(work):
    said = torch.load(work / "judge/judge.pt", weights_only=True)
    net = UNet(len(said["defects"]))
    net.load_state_dict(said["net"])
    net.eval()
    return net, said["defects"]


@torch.no_grad()
def find(net, images, regions=None, at_once=32):
    """Probability of a defect per pixel [N,H,W] and, with regions, that of each kind from what was seen inside them [N,kinds]."""
    p, kinds = [], []
    for i in range(0, len(images), at_once):
        x = batch(images[i:i + at_once])
        if regions is None:
            logits = net(x)
        else:
            r = torch.from_numpy(np.stack(regions[i:i + at_once]) > 0).float()[:, None]
            logits, kind = net(x, lambda found: (found.sigmoid() + 1e-3) * r)
            kinds.append(kind.softmax(1).numpy())
        p.append(logits.sigmoid()[:, 0].numpy())
    return np.concatenate(p), np.concatenate(kinds) if kinds else None


def visible(p, region):
    """How clearly a defect is seen inside the region, 0 to 1: the mean probability of its clearest pixels, as many as the smallest
    crack has."""
    return top(p[region > 0], top_count(len(p)))


@torch.no_grad()
def apart(net, images, region=None):
    """Distances of all pairs of pictures in the judge's features, as LPIPS: directions of the channels' vectors at each place, squared
    difference, mean over the region (everywhere without one), mean of three sizes. 0 for equal pictures."""
    total = 0
    for f in net.features(batch(images))[0][:3]:
        f = F.normalize(f, dim=1)
        w = torch.ones(1, 1, *f.shape[2:])
        if region is not None:
            w = F.adaptive_avg_pool2d(torch.from_numpy(region > 0).float()[None, None], f.shape[2:])
        d = (f[:, None] - f[None]).square().sum(2)
        total = total + (d * w).sum((2, 3)) / w.sum() / 3
    return [float(total[i, j]) for i in range(len(images)) for j in range(i)]


# --- training --------------------------------------------------------------------------------------------------------------------

def train(data, defects, steps, size, seed=0):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = UNet(len(defects))
    kinds = torch.tensor([defects.index(s.split("|")[1]) for s in data["said"]])

    def draw(n):
        i = rng.integers(len(kinds), size=n)
        whole = rng.random(n) < 0.35            # its normal picture instead
        images = [data["normal" if w else "image"][k] for k, w in zip(i, whole)]
        y = torch.from_numpy(np.stack([data["mask"][k] * (not w) for k, w in zip(i, whole)]))[:, None].float() / 255
        x, y = augment(batch(images), y, rng)
        spread = 2 * int(rng.integers(1, 12)) + 1
        near = F.max_pool2d(y, spread, 1, spread // 2)
        logits, kind = net(x, lambda found: (found.sigmoid() + 1e-3) * near)
        loss = seen(logits, y)
        has = y.sum((1, 2, 3)) > 0
        if has.any():
            loss = loss + 0.3 * F.cross_entropy(kind[has], kinds[torch.from_numpy(i)][has])
        return loss
    return fit(net, steps, size, draw)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", type=Path)
    p.add_argument("--renders", type=int, default=4000, help="default: 4000")
    p.add_argument("--steps", type=int, default=2000, help="of 16 pictures; default: 2000")
    p.add_argument("--batch", type=int, default=16, help="default: 16")
    p.add_argument("--test", type=int, default=216, help="renders for the check at the end; default: 216")
    a = p.parse_args()
    r, started = renderer(), time.monotonic()
    defects, pairs = list(r.DEFECTS), every_pair(r)
    data = renders(a.work, r, "judge", JUDGE_TRAIN, a.renders, pairs)
    print(f"{a.renders} renders: {time.monotonic() - started:.0f} s", flush=True)
    started = time.monotonic()
    net = train(data, defects, a.steps, a.batch)
    took = time.monotonic() - started
    # what it has to be worth; the numbers that count come from score.py
    test = renders(a.work, r, "judge-test", JUDGE_TEST + 900_000, a.test, pairs)
    p, kinds = find(net, test["image"], test["mask"])
    q, _ = find(net, test["normal"])
    k = top_count(p.shape[1])
    said = {"renders": a.renders, "steps": a.steps, "batch": a.batch, "seconds": took,
            "parameters": sum(w.numel() for w in net.parameters()), "test": a.test,
            "image_auroc": auroc([top(m, k) for m in [*p, *q]], [1] * len(p) + [0] * len(q)), "pixel_auroc": auroc(p, test["mask"] > 0),
            "kind_right": float(np.mean([defects[np.argmax(s)] == t.split("|")[1] for s, t in zip(kinds, test["said"])]))}
    (a.work / "judge").mkdir(parents=True, exist_ok=True)
    torch.save({"net": net.state_dict(), "defects": defects}, a.work / "judge/judge.pt")
    write_json(a.work / "judge/judge.json", said)
    print(said)


if __name__ == "__main__":
    main()
