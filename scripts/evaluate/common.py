"""What the scripts of the evaluation share: the renderer, ranges of seeds, pictures, the network, statistics."""
import hashlib
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

# Seeds of the renderer. The generator is trained below 1,000,000; no two of these ranges share a picture.
JUDGE_TRAIN, JUDGE_TEST, PHOTOS, DETECT_TRAIN, DETECT_TEST, TRUE = (n * 1_000_000 for n in range(2, 8))
NORMAL = "a photo of a {object}"
BASELINES = ("cutpaste", "scar")            # made here, without a model
METHODS = ("sd", "attend", "cut", "anomalyany")

torch.set_num_threads(int(os.environ.get("THREADS", "2")))


def folder():
    return Path(os.environ.get("RENDERER") or Path(__file__).resolve().parent.parent / "demo_model")


def renderer():
    """The module render.py: of scripts/demo_model, or of the folder RENDERER. BY is the sum of all that it draws with, so that pictures
    of an older renderer are not taken for its own."""
    if str(folder()) not in sys.path:
        sys.path.append(str(folder()))          # last: it may have a common.py of its own
    module = importlib.import_module("render")
    used = sorted(f for m in list(sys.modules.values()) if (f := getattr(m, "__file__", None)) and Path(f).parent == folder())
    module.BY = hashlib.sha256(b"".join(Path(f).read_bytes() for f in used)).hexdigest()[:12]
    return module


def grid_of(work, r):
    grid = read_json(work / "grid/jobs.json")
    if grid.get("renderer") != r.BY:
        sys.exit(f"The pictures of {work} are of another version of the renderer: start again in another folder")
    return grid


# --- files -----------------------------------------------------------------------------------------------------------------------

def read(path, grey=False):
    with Image.open(path) as image:
        return np.array(image.convert("L" if grey else "RGB"))


def write(path, pixels):
    """Complete or not there at all: a run that is stopped can go on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    Image.fromarray(pixels).save(part, "PNG")
    part.rename(path)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    part.rename(path)


def read_json(path, default=None):
    return json.loads(path.read_text()) if path.exists() or default is None else default


def pictures(grid, limit=0):
    """Every picture of the grid, in order: a copy of its call with the picture's own name and seed. limit: only the first so many."""
    out = [{**call, "name": f"{call['call']}-{i + 1:04}", "seed": call["seed"] + i} for call in grid["calls"] for i in range(call["count"])]
    return out[:limit or None]


# --- pictures for the network ----------------------------------------------------------------------------------------------------

def batch(images):
    """uint8 [N,H,W,3] -> float [N,3,H,W], 0 to 1"""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def some(share, n):
    return torch.rand(n, 1, 1, 1) < share


def smooth(x, sigma):
    r = 3
    k = torch.exp(-torch.arange(-r, r + 1.0) ** 2 / (2 * sigma ** 2))
    k = (k / k.sum()).repeat(x.shape[1], 1, 1, 1)
    x = F.conv2d(F.pad(x, (r, r, 0, 0), "reflect"), k, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, r, r), "reflect"), k.transpose(2, 3), groups=x.shape[1])


def augment(x, y, rng):
    """Turns, mirrors, moves, light and colour; and what an autoencoder does, blur and noise, everywhere or in a patch only, so that
    neither a soft picture nor a soft patch is a defect by itself. y [N,1,H,W] moves along."""
    n, _, h, w = x.shape
    torch.manual_seed(int(rng.integers(1 << 62)))
    turn, zoom = torch.randint(0, 4, (n,)) * (np.pi / 2) + torch.randn(n) * 0.1, 1 + torch.rand(n) * 0.3 - 0.2
    flip, zero = 1 - 2.0 * (torch.rand(n) < 0.5), torch.zeros(n)
    affine = torch.stack([torch.stack([turn.cos() * zoom * flip, -turn.sin() * zoom, zero], 1),
                          torch.stack([turn.sin() * zoom * flip, turn.cos() * zoom, zero], 1)], 1)
    affine[:, :, 2] = torch.rand(n, 2) * 0.2 - 0.1
    at = F.affine_grid(affine, (n, 1, h, w), align_corners=False)
    x = F.grid_sample(x, at, padding_mode="reflection", align_corners=False)
    y = (F.grid_sample(y, at, padding_mode="reflection", align_corners=False) > 0.4).float()     # 0.4: a crack of one pixel stays
    x = x.clamp(0.001, 1) ** torch.exp(torch.randn(n, 1, 1, 1) * 0.15)
    x = x * (1 + torch.randn(n, 3, 1, 1) * 0.06) + torch.randn(n, 1, 1, 1) * 0.03
    centre, radius = torch.rand(2, n, 1, 1, 1) * 2 - 1, 0.15 + torch.rand(n, 1, 1, 1) * 0.5
    far = ((at - centre.permute(1, 3, 4, 0, 2)[..., 0]).square().sum(-1)[:, None] + 1e-9).sqrt() / radius
    where = torch.where(some(0.5, n), torch.ones(()), ((1.2 - far) / 0.4).clamp(0, 1)) * some(0.6, n)
    soft = smooth(x, float(0.4 + torch.rand(()) * 1.1))
    soft = torch.where(some(0.3, n), F.interpolate(F.avg_pool2d(x, 2), size=(h, w), mode="bilinear"), soft)
    soft = soft + torch.randn(n, 3, 1, 1) * 0.015 + smooth(torch.randn(n, 3, h, w), 1.0) * torch.rand(n, 1, 1, 1) * 0.04
    x = x + where * (soft - x)
    return (x + torch.randn_like(x) * torch.rand(n, 1, 1, 1) * 0.02).clamp(0, 1), y


# --- the network -----------------------------------------------------------------------------------------------------------------

def block(inputs, out):
    layers = []
    for i in (inputs, out):
        layers += [nn.Conv2d(i, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A U-Net of 0.46 million parameters: a logit of "defect" per pixel. It works on 2 x 2 pixels as one of 12 channels, which costs
    a quarter and loses nothing. With kinds it also tells which defect it is from what it saw where it saw one."""

    def __init__(self, kinds=0, widths=(24, 48, 64, 96)):
        super().__init__()
        self.down = nn.ModuleList(block(a, b) for a, b in zip((12, *widths), widths))
        self.up = nn.ModuleList(block(a + b, a) for a, b in zip(widths, widths[1:]))
        self.out = nn.Conv2d(widths[0], 4, 1)
        if kinds:
            self.kind = nn.Sequential(nn.Linear(sum(widths), 64), nn.ReLU(), nn.Linear(64, kinds))

    def features(self, x):
        """What it makes of the picture on the way down (half the size, a quarter, ...), and on the way up, finest first."""
        x = F.pixel_unshuffle(x - 0.5, 2).contiguous(memory_format=torch.channels_last)
        down = []
        for i, layer in enumerate(self.down):
            x = layer(F.max_pool2d(x, 2) if i else x)
            down.append(x)
        up = [x]
        for skip, layer in zip(down[-2::-1], list(self.up)[::-1]):
            x = layer(torch.cat([skip, F.interpolate(x, scale_factor=2)], 1))
            up.insert(0, x)
        return down, up

    def forward(self, x, weights=None):
        """Logits [N,1,H,W]; and those of the kinds, of the pixels that weights [N,1,H,W] says, or a function of the logits."""
        up = self.features(x)[1]
        logits = F.pixel_shuffle(self.out(up[0]), 2)
        if weights is None:
            return logits
        w = weights(logits.detach()) if callable(weights) else weights
        pooled = []
        for i, f in enumerate(up):
            k = F.avg_pool2d(w, 2 << i)
            pooled.append((f * k).sum((2, 3)) / (k.sum((2, 3)) + 1e-6))
        return logits, self.kind(torch.cat(pooled, 1))


def seen(logits, y):
    """Loss of the segmentation: cross-entropy, in which defects count more as they are small, and overlap."""
    p = logits.sigmoid()
    overlap = (2 * (p * y).sum((1, 2, 3)) + 20) / (p.sum((1, 2, 3)) + y.sum((1, 2, 3)) + 20)
    return F.binary_cross_entropy_with_logits(logits, y, pos_weight=torch.tensor(3.0)) + 0.5 * (1 - overlap).mean()


def fit(net, steps, size, draw, rate=3e-3, say=print):
    """Trains: draw(n) gives a loss. One cycle of the learning rate, gradients cut at 1."""
    best = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(best, rate, total_steps=steps, pct_start=min(0.2, 2 / steps + 0.1))
    net.train()
    mean = None
    for step in range(steps):
        loss = draw(size)
        best.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1)
        best.step()
        cycle.step()
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            say(f"  step {step + 1} of {steps}: loss {mean:.3f}", flush=True)
    net.eval()
    return net


def top(p, count):
    """Mean of the largest so many numbers."""
    p = np.ravel(p)
    count = min(count, p.size)
    return float(np.partition(p, p.size - count)[p.size - count:].mean()) if count else 0.0


def top_count(size):
    """Pixels that a defect must fill to count in full: 16 of 128 x 128, which is less than the smallest crack."""
    return max(1, size * size // 1024)


# --- statistics ------------------------------------------------------------------------------------------------------------------

def share(flags):
    """k of n with Wilson's interval of 95 %."""
    flags = [bool(f) for f in flags]
    k, n, z = sum(flags), len(flags), 1.96
    if not n:
        return {"k": 0, "n": 0}
    p, centre = k / n, (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # at k = 0 and k = n rounding leaves a bound a hair beyond
    return {"k": k, "n": n, "share": p, "low": max(0.0, float(centre - half)), "high": min(1.0, float(centre + half))}


def mean(values):
    """Mean, standard deviation and n of the values that are numbers."""
    v = np.array([x for x in values if x is not None and np.isfinite(x)], float)
    return {"mean": float(v.mean()), "sd": float(v.std(ddof=1)) if v.size > 1 else 0.0, "n": int(v.size)} if v.size else {"n": 0}


def auroc(scores, truth):
    """Chance that something true scores above something false, ties half."""
    from scipy.stats import rankdata
    scores, truth = np.ravel(scores), np.ravel(truth).astype(bool)
    k, n = truth.sum(), truth.size
    if not 0 < k < n:
        return None
    return float((rankdata(scores)[truth].sum() - k * (k + 1) / 2) / (k * (n - k)))
