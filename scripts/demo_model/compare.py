#!/usr/bin/env python3
"""Compares the program with the diffusers library on a checkpoint, from the same latents and the same noise.

    compare.py [--model models/demo] [--photo models/demo/photos/hazelnut.png] [--blemish build/blemish] [--keep FILE.safetensors]

StableDiffusionPipeline loads the folder as it is and runs in fp32 with DDIM and PNDM from words, and with DDIM from the photo and no
negative words; what it makes after every step, and the pictures, are written as golden tensors, and `blemish verify --strict` says how
far its own are from them. Exit code 0 if all agree. Needs torch, diffusers, transformers, safetensors, Pillow."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import save_file

PROMPT, NEGATIVE, GUIDANCE = "a photo of a hazelnut with a crack on it", "blurry", 7.5


@torch.no_grad()
def denoise(pipe, scheduler, timesteps, x, context):
    """Latents after every step, [steps, 4, h, w]."""
    out = []
    for t in timesteps:
        without, words = pipe.unet(torch.cat([x, x]), t, context).sample.chunk(2)
        x = scheduler.step(without + GUIDANCE * (words - without), t, x).prev_sample
        out.append(x)
    return torch.cat(out)


@torch.no_grad()
def picture(pipe, x):
    """[h, w, 3], as the pipeline rounds it"""
    y = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample
    return ((y / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0) * 255).round().byte()


def said(scheduler, timesteps, **more):
    c = scheduler.config
    return json.dumps({"timesteps": [float(t) for t in timesteps], "spacing": c.timestep_spacing, "prediction": c.prediction_type, **more})


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", default="models/demo")
    a.add_argument("--photo", default="models/demo/photos/hazelnut.png")
    a.add_argument("--blemish", default="build/blemish")
    a.add_argument("--keep", help="where to leave the golden tensors")
    a = a.parse_args()
    pipe = StableDiffusionPipeline.from_pretrained(a.model, torch_dtype=torch.float32)
    side = pipe.unet.config.sample_size
    px = side * 2 ** (len(pipe.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def words(text):
        ids = pipe.tokenizer(text, padding="max_length", max_length=pipe.tokenizer.model_max_length, return_tensors="pt").input_ids
        return pipe.text_encoder(ids).last_hidden_state
    random = torch.Generator().manual_seed(1)
    context, bare = torch.cat([words(NEGATIVE), words(PROMPT)]), torch.cat([words(""), words(PROMPT)])

    def noise():
        return torch.randn(1, 4, side, side, generator=random)
    tensors, about = {"x0": noise()}, {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": str(GUIDANCE),
                                       "model": os.path.basename(os.path.normpath(a.model))}
    for name, kind in ("ddim", DDIMScheduler), ("pndm", PNDMScheduler):
        scheduler = kind.from_config(pipe.scheduler.config)
        scheduler.set_timesteps(6)
        tensors[name + ".latents"] = denoise(pipe, scheduler, scheduler.timesteps, tensors["x0"], context)
        tensors[name + ".image"] = picture(pipe, tensors[name + ".latents"][-1:])
        about[name] = said(scheduler, scheduler.timesteps)
    photo = np.array(Image.open(a.photo).convert("RGB").resize((px, px), Image.LANCZOS))
    scheduler, strength, steps = DDIMScheduler.from_config(pipe.scheduler.config), 0.5, 10
    scheduler.set_timesteps(steps)
    later = scheduler.timesteps[steps - int(steps * strength):]
    with torch.no_grad():
        found = pipe.vae.encode(torch.from_numpy(photo)[None].permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist
    tensors["i2i.input_u8"], tensors["i2i.noise_vae"], tensors["i2i.noise"] = torch.from_numpy(photo), noise(), noise()
    z = (found.mean + found.std * tensors["i2i.noise_vae"]) * pipe.vae.config.scaling_factor
    z = scheduler.add_noise(z, tensors["i2i.noise"], later[:1])
    tensors["i2i.latents"] = denoise(pipe, scheduler, later, z, bare)
    tensors["i2i.image"] = picture(pipe, tensors["i2i.latents"][-1:])
    about["i2i"] = json.dumps({"timesteps": [int(t) for t in later], "strength": strength, "steps": steps})
    with tempfile.TemporaryDirectory() as folder:
        path = a.keep or os.path.join(folder, "golden.safetensors")
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, about)
        sys.exit(subprocess.run([a.blemish, "verify", "--strict", "--precision", "f32", "--model", a.model, path]).returncode)


if __name__ == "__main__":
    main()
