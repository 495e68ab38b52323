#!/usr/bin/env python3
"""Writes the averaged weights of all stages as a checkpoint of Stable Diffusion 1.x in diffusers layout, and the CLIP model beside it.

    export.py --out OUT --to models/demo"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import save_file

import models
from common import averaged_weights

# the scheduler of Stable Diffusion 1.5
SCHEDULER = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", **models.NOISE, "clip_sample": False,
             "prediction_type": "epsilon", "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
             "timestep_spacing": "leading", "trained_betas": None}
INDEX = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0", "feature_extractor": [None, None],
         "requires_safety_checker": False, "safety_checker": [None, None], "scheduler": ["diffusers", "PNDMScheduler"],
         "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
         "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
PREPROCESSOR = {"crop_size": {"height": 64, "width": 64}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
                "do_rescale": True, "do_resize": True, "image_processor_type": "CLIPImageProcessor",
                "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3,
                "rescale_factor": 1 / 255, "size": {"shortest_edge": 64}}


def write_json(value, *path):
    os.makedirs(os.path.join(*path[:-1]), exist_ok=True)
    with open(os.path.join(*path), "w") as f:
        json.dump(value, f, indent=2, sort_keys=True)
        f.write("\n")


def write_weights(tensors, *path):
    half = {k: v.half().contiguous() for k, v in tensors.items() if v.is_floating_point()}  # ids of positions are no weights
    bad = [k for k, v in half.items() if not torch.isfinite(v).all()]
    assert not bad, f"not finite in half precision: {bad}"
    save_file(half, os.path.join(*path), {"format": "pt"})


def plain(config, name):
    """A config of transformers as its first versions wrote it."""
    c = {k: v for k, v in config.to_dict().items() if k not in ("transformers_version", "dtype", "torch_dtype")}
    return {**c, "architectures": [name], "torch_dtype": "float16"}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--out", required=True)
    a.add_argument("--to", required=True)
    a = a.parse_args()
    part = a.to.rstrip("/") + ".part"
    shutil.rmtree(part, ignore_errors=True)

    clip = averaged_weights(a.out, "clip", models.clip(a.out))
    write_json(plain(clip.config, "CLIPModel"), part, "clip", "config.json")
    write_json(PREPROCESSOR, part, "clip", "preprocessor_config.json")
    tensors = clip.state_dict()
    write_weights(tensors, part, "clip", "model.safetensors")
    write_json({**plain(clip.config.text_config, "CLIPTextModel"), "model_type": "clip_text_model"}, part, "text_encoder", "config.json")
    # with the names of every release before transformers 5, which readers know
    write_weights({k: v for k, v in tensors.items() if k.startswith("text_model.")}, part, "text_encoder", "model.safetensors")
    for name in os.listdir(os.path.join(a.out, "tokenizer")):
        for to in "tokenizer", "clip":
            os.makedirs(os.path.join(part, to), exist_ok=True)
            shutil.copy(os.path.join(a.out, "tokenizer", name), os.path.join(part, to))

    for stage, build in ("unet", models.unet), ("vae", models.vae):
        model = averaged_weights(a.out, stage, build(a.out))
        config = {k: v for k, v in model.config.items() if k != "_use_default_values"}
        write_json({"_class_name": type(model).__name__, **config}, part, stage, "config.json")
        write_weights(model.state_dict(), part, stage, "diffusion_pytorch_model.safetensors")
    write_json(SCHEDULER, part, "scheduler", "scheduler_config.json")
    write_json(INDEX, part, "model_index.json")

    os.makedirs(a.to, exist_ok=True)
    for name in os.listdir(part):  # what else is there, the model card and the photos, stays
        to = os.path.join(a.to, name)
        shutil.rmtree(to) if os.path.isdir(to) else os.path.exists(to) and os.remove(to)
        os.replace(os.path.join(part, name), to)
    os.rmdir(part)
    total = 0
    for folder, _, names in sorted(os.walk(a.to)):
        for n in sorted(names):
            size = os.path.getsize(os.path.join(folder, n))
            total += size
            print(f"{size / 2**20:8.2f} MiB  {os.path.relpath(os.path.join(folder, n), a.to)}")
    print(f"{total / 2**20:8.2f} MiB  in all")
    assert total <= 40e6, "more than 40 MB"


if __name__ == "__main__":
    main()
