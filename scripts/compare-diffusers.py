#!/usr/bin/env python3
"""Makes the same pictures with the program and with the diffusers library, from nothing but the same seed, and says how far apart they are.

    compare-diffusers.py [--model models/demo] [--photo models/demo/photos/hazelnut.png] [--blemish build/blemish] [--seed 42]

For every scheduler a picture from words, and one from the photo and words, with StableDiffusionPipeline and a torch.Generator on the
processor; the program does the same with --rng torch-cpu. Exit code 0 if every mean difference is below 0.05 levels of 255: pictures
are rounded to whole levels, and one wrong draw, timestep or coefficient is some tens. Needs torch, diffusers, transformers, Pillow."""
import argparse
import os
import subprocess
import sys
import tempfile

import diffusers
import numpy as np
import torch
from PIL import Image

PROMPT, NEGATIVE = "a photo of a hazelnut with a crack on it", "blurry"
# ours, diffusers' class, settings of it, options of ours
ROWS = [("ddim", "DDIMScheduler", {}, []), ("pndm-diffusers", "PNDMScheduler", {"skip_prk_steps": True}, []),
        ("euler", "EulerDiscreteScheduler", {}, []), ("euler", "EulerDiscreteScheduler", {"use_karras_sigmas": True}, ["--karras"]),
        ("euler", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, ["--spacing", "trailing"]),
        ("euler-a", "EulerAncestralDiscreteScheduler", {}, []),
        ("euler-a", "EulerAncestralDiscreteScheduler", {"timestep_spacing": "linspace"}, ["--spacing", "linspace"]),
        ("dpm++2m", "DPMSolverMultistepScheduler", {}, []),
        ("dpm++2m", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, ["--karras"]),
        ("lcm", "LCMScheduler", {}, ["--guidance", "1.5"])]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", default="models/demo")
    a.add_argument("--photo", default="models/demo/photos/hazelnut.png")
    a.add_argument("--blemish", default="build/blemish")
    a.add_argument("--seed", type=int, default=42)
    a.add_argument("--steps", type=int, default=7)
    a = a.parse_args()
    words = diffusers.StableDiffusionPipeline.from_pretrained(a.model, torch_dtype=torch.float32, safety_checker=None)
    picture = diffusers.StableDiffusionImg2ImgPipeline(**words.components, requires_safety_checker=False)
    for pipe in words, picture:
        pipe.set_progress_bar_config(disable=True)
    px = words.unet.config.sample_size * words.vae_scale_factor
    first, worst = words.scheduler.config, 0
    with tempfile.TemporaryDirectory() as folder:
        photo, out = os.path.join(folder, "photo.png"), os.path.join(folder, "out.png")
        shown = Image.open(a.photo).convert("RGB").resize((px, px), Image.LANCZOS)
        shown.save(photo)
        for name, kind, settings, options in ROWS:
            words.scheduler = picture.scheduler = getattr(diffusers, kind).from_config(first, **settings)
            guidance = float(options[1]) if "--guidance" in options else 7.5
            common = dict(prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=a.steps, guidance_scale=guidance, output_type="np")
            for start in "words", "photo":
                generator = torch.Generator().manual_seed(a.seed)
                theirs = (words(**common, height=px, width=px, generator=generator) if start == "words" else
                          picture(**common, image=shown, strength=0.6, generator=generator)).images[0]
                subprocess.run([a.blemish, "generate", "-m", a.model, "-p", PROMPT, "-n", NEGATIVE, "--steps", str(a.steps), "--seed",
                                str(a.seed), "--rng", "torch-cpu", "--scheduler", name, "--precision", "f32", "--width", str(px),
                                "--height", str(px), "-o", out, "-f", "-q", *options,
                                *(["--photo", photo, "--strength", "0.6", "--whole"] if start == "photo" else [])],
                               check=True, stdout=subprocess.DEVNULL)
                ours = np.array(Image.open(out), dtype=float)
                off = np.abs(ours - np.rint(255 * theirs))
                worst = max(worst, off.mean())
                print(f"{name:15s} {' '.join(options):22s} from {start}: mean difference {off.mean():.4f}, largest {off.max():.0f} of 255",
                      flush=True)
    sys.exit(bool(worst >= 0.05))


if __name__ == "__main__":
    main()
