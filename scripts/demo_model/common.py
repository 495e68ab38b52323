"""What the stages share: the arrays of dataset.py, a run that can be interrupted at any time, averaged weights."""
import json
import os
import signal
import time

import numpy as np
import torch


class Split:
    """One split of dataset.py; pictures are read from the disk as they are needed."""

    def __init__(self, data, name):
        self.folder = os.path.join(data, name)
        self.images = np.load(os.path.join(self.folder, "images.npy"), mmap_mode="r")
        self.labels = [json.loads(line) for line in open(os.path.join(self.folder, "labels.jsonl"))]
        assert len(self.labels) == len(self.images), f"{self.folder} is not complete"
        self.defects = np.array([i for i, l in enumerate(self.labels) if l["defect"]])
        self.normals = np.array([i for i, l in enumerate(self.labels) if not l["defect"]])

    def __len__(self):
        return len(self.labels)


def has_split(data, name):
    return os.path.exists(os.path.join(data, name, "labels.jsonl"))


def draw(split, rng, count, share=None):
    """Indices of a batch; `share` of it are defective pictures, or as many as there happen to be."""
    if share is None:
        return rng.integers(len(split), size=count)
    n = int(round(count * share))
    return np.concatenate([rng.choice(split.defects, n), rng.choice(split.normals, count - n)])


def to_tensor(images, device):
    """uint8 [N,H,W,3] to [N,3,H,W] from -1 to 1."""
    return torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_images(x):
    return ((x.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def mirrored(caption):
    """What the caption says about the mirrored picture."""
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(w, w) for w in caption.split(" "))


def save_sheet(rows, path):
    """Rows of equally many pictures, uint8 [N,H,W,3] each, as one PNG."""
    from PIL import Image
    sheet = np.concatenate([np.concatenate(list(r), 1) for r in rows], 0)
    Image.fromarray(sheet).save(path + ".part", "PNG")
    os.replace(path + ".part", path)


def autocast(run):
    return torch.autocast(run.device.type, torch.bfloat16, enabled=run.args.precision == "bf16")


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024), for the matrices inside a network; a convolution is the matrix
    [out, in * height * width]. All directions of a matrix learn at the same pace, which saves steps where steps are what is scarce."""

    def __init__(self, params, lr, weight_decay, momentum=0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                update = self.orthogonal(p.grad.lerp(m, group["momentum"]).flatten(1)).view_as(p)
                # an update of the same size as AdamW's, 0.2 on the mean (Liu et al. 2025), so that one rate serves both
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape[0], p[0].numel()) ** 0.5)

    @staticmethod
    def orthogonal(g):
        """Newton-Schulz iteration of fifth order. It multiplies from the short side only, so that all five rounds are done on the square
        matrix of that side, a quarter of the work."""
        x = g.T if g.shape[0] > g.shape[1] else g
        x = x / (x.norm() + 1e-7)
        square, rounds = x @ x.T, None
        for _ in range(5):
            p = torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315)
            p.diagonal().add_(3.4445)
            rounds = p if rounds is None else p @ rounds
            square = p @ square @ p
        x = rounds @ x
        return x.T if g.shape[0] > g.shape[1] else x


class Run:
    """Step, weights, averaged weights, optimiser and random numbers of a stage. Everything is in one file, which is replaced as a whole,
    so that a run that is killed loses two minutes at most and goes on as if it had not been."""

    EVERY = 120  # seconds between checkpoints

    def __init__(self, stage, args, model):
        self.args, self.stage, self.step, self.seconds = args, stage, 0, 0.0
        self.device = torch.device(args.device)
        self.model = model.to(self.device)
        if args.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.ema = {k: v.detach().clone().float() for k, v in self.model.state_dict().items()}
        hidden, rest = [], []
        for name, p in self.model.named_parameters():
            (hidden if p.ndim > 1 and min(p.shape[0], p[0].numel()) >= 16 and "embedding" not in name else rest).append(p)
        self.optimizers = [Muon(hidden, args.lr * args.muon, args.weight_decay)] if args.muon else []
        adam = rest if args.muon else hidden + rest
        self.optimizers.append(torch.optim.AdamW(adam, lr=args.lr, betas=(0.9, 0.99), weight_decay=0, fused=True))
        self.rates = [g["lr"] / args.lr for o in self.optimizers for g in o.param_groups]
        self.rng = np.random.default_rng(args.seed)
        self.noise = torch.Generator().manual_seed(args.seed)
        self.path = os.path.join(args.out, stage + ".pt")
        self.log_path = os.path.join(args.out, stage + ".jsonl")
        os.makedirs(args.out, exist_ok=True)
        if os.path.exists(self.path):
            self.load()
        self.begun = self.saved = self.told = time.time()
        self.told_step, self.stopped, self.sums = self.step, False, {}
        for s in signal.SIGTERM, signal.SIGINT:
            signal.signal(s, self.stop)
        n = sum(p.numel() for p in self.model.parameters())
        print(f"{stage}: {n / 1e6:.2f} M parameters, step {self.step}, {self.device}, {torch.get_num_threads()} threads", flush=True)

    def stop(self, number, _):
        self.stopped = True
        signal.signal(number, signal.SIG_DFL)  # the second one does not wait

    def load(self):
        # weights_only: a file of our own, but there is no need to run what is in it
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema = {k: v.to(self.device) for k, v in state["ema"].items()}
        self.step, self.seconds = state["step"], state["seconds"]
        if "optimizers" not in state:  # of unpack.py: weights alone
            return
        for o, kept in zip(self.optimizers, state["optimizers"], strict=True):
            o.load_state_dict(kept)
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.noise.set_state(state["noise"])

    def save(self):
        self.seconds += time.time() - self.saved
        self.saved = time.time()
        state = {"model": self.model.state_dict(), "ema": self.ema, "optimizers": [o.state_dict() for o in self.optimizers],
                 "step": self.step, "seconds": self.seconds,
                 "rng": json.dumps(self.rng.bit_generator.state), "noise": self.noise.get_state()}
        torch.save(state, self.path + ".part")
        os.replace(self.path + ".part", self.path)

    def goes_on(self):
        """Called before each step; saves when it is time."""
        a = self.args
        over = self.stopped or self.step >= a.steps or time.time() - self.begun >= a.minutes * 60
        if over or time.time() - self.saved >= self.EVERY:
            self.save()
        if over and self.step >= a.steps:
            print(f"{self.stage}: all {a.steps} steps are done", flush=True)
        return not over

    def rate(self):
        """Warm-up, then constant, a cosine, or constant with a straight way down in the last fifth of the steps."""
        a = self.args
        left = 1 - self.step / a.steps
        shape = {"constant": 1.0, "cosine": 0.5 - 0.5 * np.cos(np.pi * left), "cooldown": min(1.0, 5 * left)}[a.schedule]
        return a.lr * min(1, (self.step + 1) / a.warmup) * shape

    def update(self, loss, **parts):
        """One step of the optimiser. The averaged weights follow quickly at first, so that early samples show the present model."""
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = self.rate()
        for g, times in zip([g for o in self.optimizers for g in o.param_groups], self.rates, strict=True):
            g["lr"] = rate * times
        if torch.isfinite(norm):  # a step that overflowed is left out
            for o in self.optimizers:
                o.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(self.args.ema, (1 + self.step) / (10 + self.step))
        model = self.model.state_dict()
        torch._foreach_lerp_([self.ema[k] for k in self.ema], [model[k].float() for k in self.ema], 1 - decay)
        for k, v in {"loss": loss, "norm": norm, **parts}.items():
            self.sums.setdefault(k, []).append(v.item() if torch.is_tensor(v) else float(v))
        if time.time() - self.told >= self.args.report or self.step == 1:
            speed = (self.step - self.told_step) * self.args.batch / max(time.time() - self.told, 1e-9)
            self.log(lr=rate, per_second=speed, **{k: sum(v) / len(v) for k, v in self.sums.items()})
            self.told, self.told_step, self.sums = time.time(), self.step, {}

    def log(self, **values):
        line = {"step": self.step, "minutes": round((self.seconds + time.time() - self.saved) / 60, 2),
                **{k: float(f"{v:.5g}") for k, v in values.items()}}
        with open(self.log_path, "a") as f:
            f.write(json.dumps(line) + "\n")
        print(self.stage, " ".join(f"{k} {v:g}" for k, v in line.items()), flush=True)

    def averaged(self):
        return Averaged(self)


class Averaged:
    """with run.averaged(): the model has the averaged weights."""

    def __init__(self, run):
        self.run = run

    def __enter__(self):
        self.kept = {k: v.clone() for k, v in self.run.model.state_dict().items()}
        self.run.model.load_state_dict(self.run.ema)
        self.run.model.eval()

    def __exit__(self, *_):
        self.run.model.load_state_dict(self.kept)
        self.run.model.train()


def averaged_weights(out, stage, model):
    """The model of a finished or running stage with its averaged weights, frozen."""
    state = torch.load(os.path.join(out, stage + ".pt"), map_location="cpu", weights_only=True)
    model.load_state_dict(state["ema"])
    return model.eval().requires_grad_(False)
