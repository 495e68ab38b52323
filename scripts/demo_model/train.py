#!/usr/bin/env python3
"""Trains the networks of the demo model, one stage after the other.

    train.py vae|latents|clip|unet --data DATA --out OUT [--minutes M] [--steps N] [--batch N] [--lr RATE] ...

DATA is what dataset.py wrote, OUT/tokenizer what tokenizer.py wrote. A stage that stopped (its time was over, SIGTERM, a crash) goes on
when it is called again with the same settings. OUT/STAGE.pt has its state, OUT/STAGE.jsonl its log, OUT/sheets pictures of its way."""
import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor

import models
from common import Run, Split, autocast, averaged_weights, draw, has_split, mirrored, save_sheet, to_images, to_tensor

# the mean and deviation that CLIP's preprocessing assumes
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

DEFAULTS = {  # what differs between the stages
    "vae": {"batch": 16, "lr": 6e-4, "steps": 900, "channels": "32,64,96", "layers": 1, "groups": 8},
    "latents": {"batch": 64, "lr": 0, "steps": 1, "channels": "", "layers": 0, "groups": 0},
    "clip": {"batch": 128, "lr": 6e-4, "steps": 700, "channels": "", "layers": 0, "groups": 0},
    "unet": {"batch": 32, "lr": 8e-4, "steps": 20000, "channels": "32,64,128", "layers": 2, "groups": 8},
}


def numbers(text):
    return [int(n) for n in text.split(",")]


def sheet_path(run, name):
    os.makedirs(os.path.join(run.args.out, "sheets"), exist_ok=True)
    return os.path.join(run.args.out, "sheets", f"{run.stage}-{run.step:06}{name}.png")


class Sheets:
    """True when a sheet is due: at times that double, at most `minutes` apart, for the first minutes change the most."""

    def __init__(self, minutes):
        self.limit, self.gap, self.last = minutes * 60, min(60, minutes * 60), time.time()

    def due(self):
        if not self.limit or time.time() - self.last < self.gap:
            return False
        self.gap = min(2 * self.gap, self.limit)
        return True

    def done(self):
        self.last = time.time()  # making one does not count


# --- autoencoder -------------------------------------------------------------------------------------------------------------

def gradient_loss(x, y):
    """Differences of neighbours at three sizes: what an L1 loss alone would blur is a crack one pixel wide."""
    loss = 0
    for _ in range(3):
        loss = loss + F.l1_loss(x.diff(dim=3), y.diff(dim=3)) + F.l1_loss(x.diff(dim=2), y.diff(dim=2))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return loss


def crops(run, split, indices, size):
    """Random windows, half of them mirrored."""
    out = np.empty((len(indices), size, size, 3), np.uint8)
    for k, i in enumerate(indices):
        y, x = run.rng.integers(models.PICTURE - size + 1, size=2)
        out[k] = split.images[i, y:y + size, x:x + size]
        if run.rng.random() < 0.5:
            out[k] = out[k][:, ::-1]
    return to_tensor(out, run.device)


def stage_vae(a):
    train, held = Split(a.data, "train"), Split(a.data, "heldout")
    vae = models.vae(a.out, {"channels": numbers(a.channels), "layers": a.layers, "groups": a.groups})
    with torch.no_grad():
        vae.quant_conv.bias[4:] = -5  # begin with little noise on the latents: a deviation of 1 would drown them
    run = Run("vae", a, vae)
    model = torch.compile(run.model) if a.compile else run.model
    sheets = Sheets(a.sheets)
    # half defects: the sheet and the measure are about those
    shown = np.concatenate([held.defects[:8], held.normals[:16]])[:16]
    whole = to_tensor(held.images[np.sort(shown)], run.device)

    def measure():
        with run.averaged(), torch.no_grad():
            y = run.model.decode(run.model.encode(whole).latent_dist.mean).sample
        error = (y - whole).clamp(-2, 2)
        run.log(held_l1=F.l1_loss(y, whole).item() / 2, held_psnr=-10 * (error / 2).square().mean().log10().item())
        rows = [to_images(t[i:i + 8]) for i in range(0, len(whole), 8) for t in (whole, y)]
        save_sheet([r for r in rows if len(r) == 8] or rows[:1], sheet_path(run, ""))

    while run.goes_on():
        x = crops(run, train, draw(train, run.rng, a.batch, a.defects), a.crop)
        if a.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        noise = torch.randn(a.batch, 4, a.crop // models.FACTOR, a.crop // models.FACTOR, generator=run.noise).to(run.device)
        with autocast(run):
            posterior = run.model.encode(x).latent_dist if not a.compile else model.encode(x).latent_dist
            y = model.decode(posterior.mean + posterior.std * noise).sample
        y, mean, logvar = y.float(), posterior.mean.float(), posterior.logvar.float()
        l1, kl = F.l1_loss(y, x), 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
        sharp = gradient_loss(y, x)
        run.update(l1 + 0.1 * sharp + a.kl * kl, l1=l1, sharp=sharp, kl=kl)
        if sheets.due():
            measure()
            sheets.done()
    if not run.stopped:  # who sends a signal does not want to wait
        measure()


# --- latents -----------------------------------------------------------------------------------------------------------------

def stage_latents(a):
    """Mean and log-variance of each picture and, with --mirror, of its mirror image, [N, 1 or 2, 8, 32, 32]."""
    vae = averaged_weights(a.out, "vae", models.vae(a.out)).to(a.device)
    if a.channels_last:
        vae = vae.to(memory_format=torch.channels_last)
    begun, side = time.time(), models.PICTURE // models.FACTOR
    for name in "heldout", "train":
        split, path, state = Split(a.data, name), os.path.join(a.out, f"latents-{name}.npy"), os.path.join(a.out, f"latents-{name}.done")
        done = int(open(state).read()) if os.path.exists(state) else 0
        z = np.lib.format.open_memmap(path, "r+" if done else "w+", np.float16, None if done else (len(split), 1 + a.mirror, 8, side, side))
        while done < len(split):
            if time.time() - begun > a.minutes * 60:
                return
            x = to_tensor(split.images[done:done + a.batch], a.device)
            with torch.no_grad(), torch.autocast(torch.device(a.device).type, torch.bfloat16, enabled=a.precision == "bf16"):
                for k, picture in enumerate((x, x.flip(3))[:1 + a.mirror]):
                    z[done:done + len(x), k] = vae.encode(picture).latent_dist.parameters.float().cpu().numpy()
            done += len(x)
            if done % (16 * a.batch) < a.batch or done == len(split):
                z.flush()
                with open(state + ".part", "w") as f:
                    f.write(str(done))
                os.replace(state + ".part", state)
                print(f"latents {name}: {done} of {len(split)}, {done / (time.time() - begun):.1f} per second", flush=True)
    z = np.load(os.path.join(a.out, "latents-train.npy"), mmap_mode="r")
    z = torch.from_numpy(np.array(z[:: max(1, len(z) // 1000)])).float()
    mean, logvar = z[:, :, :4], z[:, :, 4:].clamp(-30, 20)
    total = (mean.var() + logvar.exp().mean()).sqrt().item()
    if not models.scaling(a.out):  # a U-Net that is trained further keeps its own
        with open(os.path.join(a.out, "scaling.json"), "w") as f:
            json.dump({"scaling_factor": 1 / total}, f)
    channels = [f"{mean[:, :, c].mean():.2f} +- {mean[:, :, c].std():.2f}" for c in range(4)]
    print(f"latents: scaling_factor {1 / total:.5f}; channels {', '.join(channels)}; noise {logvar.exp().mean().sqrt():.3f}", flush=True)


# --- CLIP --------------------------------------------------------------------------------------------------------------------

class Captions:
    """Every caption once, as ids of the tokenizer, and which of them are true of which picture."""

    def __init__(self, out, splits):
        import render
        texts = {"": 0}
        for split in splits:
            for label in split.labels:
                for c in label["captions"]:
                    texts.setdefault(c, len(texts))
        for c in render.all_captions():
            texts.setdefault(c, len(texts))
        for c in list(texts):
            texts.setdefault(mirrored(c), len(texts))
        self.number, self.texts = texts, list(texts)
        self.mirror = np.array([texts[mirrored(c)] for c in self.texts])
        tokens = models.tokenizer(out)(self.texts, padding="max_length", max_length=models.POSITIONS, return_tensors="pt").input_ids
        assert tokens.shape[1] == models.POSITIONS, "a caption is too long"
        self.tokens = tokens
        self.of = [[[texts[c] for c in label["captions"]] for label in split.labels] for split in splits]

    def sample(self, split, indices, flips, rng):
        chosen = np.array([rng.choice(self.of[split][i]) for i in indices])
        return np.where(flips, self.mirror[chosen], chosen)

    def true_of(self, split, indices, flips, chosen):
        """[pictures, captions]: whether caption j says something true of picture i. Those are not negatives of each other."""
        sets = [set(self.mirror[self.of[split][i]] if f else self.of[split][i]) for i, f in zip(indices, flips)]
        return torch.tensor([[float(c in s) for c in chosen] for s in sets])


def clip_pictures(images, device):
    """128 px uint8 to CLIP's input, as Pillow's bicubic filter resizes."""
    x = torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, size=64, mode="bicubic", antialias=True, align_corners=False).round().clamp(0, 255) / 255
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return (x - mean) / std


def features(model, pixels, ids, count):
    """Unit features of pictures and captions. The text tower sees no further than the longest caption: it is causal, so that what comes
    after the first end token changes nothing, and fewer tokens cost less."""
    image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    text = model.text_projection(model.text_model(input_ids=ids[:, :count]).pooler_output)
    return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)


def stage_clip(a):
    names = ["train", "heldout"] + ["judge"] * has_split(a.data, "judge")
    splits = [Split(a.data, n) for n in names]
    captions = Captions(a.out, splits)
    run = Run("clip", a, models.clip(a.out, {"text": 128, "text_layers": 3, "vision": 192, "vision_layers": 4, "projection": 128}))
    longest = int((captions.tokens != captions.tokens[0, 1]).sum(1).max()) + 1
    sheets, model = Sheets(a.sheets), torch.compile(run.model) if a.compile else run.model
    tokens = captions.tokens.to(run.device)

    def loss_of(k, indices, flips, chosen):
        images = np.stack([splits[k].images[i][:, ::-1] if f else splits[k].images[i] for i, f in zip(indices, flips)])
        with autocast(run):
            image, text = features(model, clip_pictures(images, run.device), tokens[torch.from_numpy(chosen)], longest)
        logits = run.model.logit_scale.exp().clamp(max=100) * image @ text.T
        true = captions.true_of(k, indices, flips, chosen).to(run.device)
        by_row, by_column = true / true.sum(1, keepdim=True), true.T / true.T.sum(1, keepdim=True)
        loss = (F.cross_entropy(logits, by_row) + F.cross_entropy(logits.T, by_column)) / 2
        # below the entropy of its targets the loss cannot go
        floor = -(torch.xlogy(by_row, by_row).sum(1).mean() + torch.xlogy(by_column, by_column).sum(1).mean()) / 2
        hits = true.gather(1, logits.argmax(1, keepdim=True)).mean()
        return loss, floor, hits

    def measure():
        """On pictures that were not trained on: loss, the share whose nearest caption is true, and how well `damaged` ranks defects."""
        k, rng = len(splits) - 1, np.random.default_rng(1)
        with run.averaged(), torch.no_grad():
            results = []
            for _ in range(4):
                indices = rng.choice(len(splits[k]), min(a.batch, len(splits[k])), replace=False)
                flips = np.zeros(len(indices), bool)
                loss, floor, hits = loss_of(k, indices, flips, captions.sample(k, indices, flips, rng))
                results.append((loss.item() - floor.item(), hits.item()))
            chosen = np.arange(min(1000, len(splits[k])))
            pixels = torch.cat([run.model.visual_projection(run.model.vision_model(pixel_values=clip_pictures(
                splits[k].images[i:i + 100], run.device)).pooler_output) for i in range(0, len(chosen), 100)])
            classes = sorted({l["class"] for l in splits[k].labels})
            plain = {l["class"]: l["captions"][0] for l in splits[k].labels if not l["defect"]}  # the first caption names the class alone
            words = [plain[c] for c in classes] + [plain[c] + " that is damaged" for c in classes]
            ids = models.tokenizer(a.out)(words, padding="max_length", max_length=models.POSITIONS, return_tensors="pt").input_ids
            ids = ids.to(run.device)
            text = run.model.text_projection(run.model.text_model(input_ids=ids).pooler_output)
            close = (F.normalize(pixels, dim=-1) @ F.normalize(text, dim=-1).T).cpu().numpy()
        labels = [splits[k].labels[i] for i in chosen]
        own = np.array([classes.index(l["class"]) for l in labels])
        score = close[chosen, own + len(classes)] - close[chosen, own]
        bad = np.array([bool(l["defect"]) for l in labels])
        area = (score[bad][:, None] > score[~bad][None]).mean() if bad.any() and not bad.all() else float("nan")
        run.log(held_excess=np.mean([r[0] for r in results]), held_hits=np.mean([r[1] for r in results]),
                class_hits=(close[:, :len(classes)].argmax(1) == own).mean(), damaged_auroc=area)

    while run.goes_on():
        indices = draw(splits[0], run.rng, a.batch, 0.25 if a.defects is None else a.defects)
        flips = run.rng.random(a.batch) < 0.5
        loss, floor, hits = loss_of(0, indices, flips, captions.sample(0, indices, flips, run.rng))
        run.update(loss, excess=loss - floor, hits=hits, scale=run.model.logit_scale.exp())
        if sheets.due():
            measure()
            sheets.done()
    if not run.stopped:  # who sends a signal does not want to wait
        measure()


# --- U-Net -------------------------------------------------------------------------------------------------------------------

def text_states(out, captions, device):
    """The U-Net's context of every caption: the states of all positions after the final layer norm, as Stable Diffusion 1.x takes them."""
    clip = averaged_weights(out, "clip", models.clip(out)).to(device)
    with torch.no_grad():
        return torch.cat([clip.text_model(input_ids=captions.tokens[i:i + 64].to(device)).last_hidden_state
                          for i in range(0, len(captions.tokens), 64)])


def find_caption(captions, split, cls, defect):
    """Number of the plain caption of that pair."""
    import render
    for label in split.labels:
        if label["class"] == cls and label["defect"] == defect:
            return captions.number[label["captions"][0]]
    wanted = [c for c in render.all_captions() if cls in c and (defect or cls) in c]
    return captions.number[wanted[0]] if wanted else 0


def stage_unet(a):
    import render
    splits = [Split(a.data, n) for n in ("train", "heldout")]
    captions = Captions(a.out, splits)
    device, scale = torch.device(a.device), models.scaling(a.out)
    assert scale, "run `train.py latents` first"
    states = text_states(a.out, captions, device)
    vae = averaged_weights(a.out, "vae", models.vae(a.out)).to(device)
    wanted = {"channels": numbers(a.channels), "layers": a.layers, "groups": a.groups, "context": states.shape[-1]}
    run = Run("unet", a, models.unet(a.out, wanted))
    if device.type == "cpu":
        run.model.set_attn_processor(AttnProcessor())  # matrix products; the fused attention's backward costs an eighth of the step
    model = torch.compile(run.model) if a.compile else run.model
    latents = [np.load(os.path.join(a.out, f"latents-{n}.npy"), mmap_mode="r") for n in ("train", "heldout")]
    alphas = models.sampler(1).alphas_cumprod.to(device)
    weights = torch.clamp(5 * (1 - alphas) / alphas, max=1.0)  # min-SNR-5 of Hang et al. 2023 for a model that predicts noise

    def loss_of(k, indices, flips, context, t, posterior, noise):
        z = torch.from_numpy(latents[k][indices, flips.astype(int)].astype(np.float32))
        x = ((z[:, :4] + (0.5 * z[:, 4:].clamp(-30, 20)).exp() * posterior) * scale).to(device)
        signal = alphas[t].view(-1, 1, 1, 1)
        x = signal.sqrt() * x + (1 - signal).sqrt() * noise
        if a.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with autocast(run):
            out = model(x, t, context).sample
        each = (out.float() - noise).square().mean((1, 2, 3))
        return (each * weights[t]).mean(), each.mean()

    def random(count, generator, middle=False):
        """Timesteps, and noise for the latents twice. `middle` draws them from a logit-normal (Esser et al. 2024), most of them where
        shapes are decided and where a photo is changed, few where there is next to nothing but noise."""
        shape = count, 4, latents[0].shape[-1], latents[0].shape[-1]
        t = torch.randint(1000, (count,), generator=generator)
        if middle:
            t = (1000 * torch.sigmoid(torch.randn(count, generator=generator) - 0.3)).long().clamp(max=999)
        t = t.to(device)
        return t, torch.randn(shape, generator=generator), torch.randn(shape, generator=generator).to(device)

    columns = [None] + [d for d in render.DEFECTS if d in a.columns.split(",")]
    # first what the training set says, else what the captions of any picture could be (pairs that are held out)
    shown = [find_caption(captions, splits[0], c, d) for c in render.CLASSES for d in columns]
    fixed = torch.randn(len(shown), 4, latents[0].shape[-1], latents[0].shape[-1], generator=torch.Generator().manual_seed(7))

    @torch.no_grad()
    def measure(sheet):
        with run.averaged():
            generator, rng, losses = torch.Generator().manual_seed(3), np.random.default_rng(3), []
            for start in range(0, min(256, len(splits[1])), 64):
                indices = np.arange(start, min(start + 64, len(splits[1])))
                flips = np.zeros(len(indices), bool)
                context = states[torch.from_numpy(captions.sample(1, indices, flips, rng))]
                losses.append(loss_of(1, indices, flips, context, *random(len(indices), generator))[0].item())
            run.log(held_loss=np.mean(losses))
            if not sheet:
                return
            scheduler, pictures = models.sampler(20), []
            for i in range(0, len(shown), 32):
                x = fixed[i:i + 32].to(device)
                context = torch.cat([states[shown[i:i + 32]], states[:1].expand(len(x), -1, -1)])
                for t in scheduler.timesteps:
                    if run.stopped:
                        return
                    with autocast(run):
                        with_text, without = run.model(torch.cat([x, x]), t.to(device), context).sample.float().chunk(2)
                    x = scheduler.step(without + a.guidance * (with_text - without), t, x).prev_sample
                pictures.append(to_images(vae.decode(x / scale).sample))
        pictures = np.concatenate(pictures)
        save_sheet([pictures[i:i + len(columns)] for i in range(0, len(pictures), len(columns))], sheet_path(run, ""))

    sheets = Sheets(a.sheets)
    while run.goes_on():
        indices = draw(splits[0], run.rng, a.batch, a.defects)
        flips = run.rng.random(a.batch) < 0.5 * (latents[0].shape[1] - 1)
        chosen = captions.sample(0, indices, flips, run.rng)
        chosen[run.rng.random(a.batch) < 0.1] = 0  # the empty caption, for classifier-free guidance
        loss, plain = loss_of(0, indices, flips, states[torch.from_numpy(chosen)], *random(a.batch, run.noise, a.timesteps == "middle"))
        run.update(loss, plain=plain)
        if sheets.due():
            measure(a.sheets > 0)
            sheets.done()
    if not run.stopped:
        measure(a.sheets > 0)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("stage", choices=DEFAULTS)
    a.add_argument("--data", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--minutes", type=float, default=1e9, help="of this call")
    a.add_argument("--steps", type=int, help="in all; schedules refer to it")
    a.add_argument("--batch", type=int)
    a.add_argument("--lr", type=float)
    a.add_argument("--muon", type=float, default=1.0, help="rate of the matrices in units of --lr; 0: AdamW for all")
    a.add_argument("--schedule", choices=("constant", "cosine", "cooldown"), default="cooldown")
    a.add_argument("--warmup", type=int, default=300)
    a.add_argument("--weight-decay", type=float, default=0.01)
    a.add_argument("--ema", type=float, default=0.999)
    a.add_argument("--channels", help="of the levels")
    a.add_argument("--layers", type=int, help="per block")
    a.add_argument("--groups", type=int, help="of the group norms")
    a.add_argument("--crop", type=int, default=64, help="vae: window that is trained on; 128 is the whole picture")
    a.add_argument("--kl", type=float, default=1e-6)
    a.add_argument("--defects", type=float, help="share of defective pictures in a batch; clip 0.25, else as it is in the data")
    a.add_argument("--mirror", action=argparse.BooleanOptionalAction, default=False, help="latents: encode mirror images, too")
    a.add_argument("--guidance", type=float, default=5)
    a.add_argument("--timesteps", choices=("uniform", "middle"), default="uniform", help="unet: which are trained more often")
    a.add_argument("--columns", default="crack,scratch,hole", help="defects on the sheets")
    a.add_argument("--sheets", type=float, default=20, help="minutes between two measurements, each with a sheet; 0: only one at the end")
    a.add_argument("--report", type=float, default=10, help="seconds between two lines")
    a.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    a.add_argument("--channels-last", action=argparse.BooleanOptionalAction)
    a.add_argument("--compile", action=argparse.BooleanOptionalAction, default=False)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a.add_argument("--threads", type=int, default=0)
    a.add_argument("--seed", type=int, default=0)
    a = a.parse_args()
    for name, value in DEFAULTS[a.stage].items():
        if getattr(a, name) is None:
            setattr(a, name, value)
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.precision == "auto":
        a.precision = "bf16"
    if a.channels_last is None:
        a.channels_last = a.device != "cpu"
    torch.manual_seed(a.seed)
    {"vae": stage_vae, "latents": stage_latents, "clip": stage_clip, "unet": stage_unet}[a.stage](a)


if __name__ == "__main__":
    main()
