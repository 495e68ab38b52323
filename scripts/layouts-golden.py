#!/usr/bin/env python3
"""What the diffusers library makes with the checkpoint of the tests, plain and with a LoRA: for every layout that holds the same tensors.

    build/test_checkpoint --write FOLDER && scripts/layouts-golden.py FOLDER [OUT]

FOLDER gets the checkpoint of tests/model_fixture.h, which depends on nothing, and FOLDER/lora.safetensors. Writes layouts.safetensors
and layouts_lora.safetensors to OUT (tests/data): latents after every step of DDIM, Euler and DPM-Solver++, a picture. The LoRA is merged
here, in double precision. Needs torch, diffusers, transformers, safetensors (those in the project are from diffusers 0.42.1)."""
import json
import os
import sys

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

PROMPT, NEGATIVE, GUIDANCE, STEPS, POSITIONS = "a photo of a hazelnut", "", 7.5, 2, 16
torch.set_num_threads(1)


class Model:
    def __init__(self, folder):
        self.unet = UNet2DConditionModel.from_pretrained(folder + "/unet").eval()
        self.vae = AutoencoderKL.from_pretrained(folder + "/vae").eval()
        self.text = CLIPTextModel.from_pretrained(folder + "/text_encoder").eval()
        tokenizer = CLIPTokenizer(folder + "/tokenizer/vocab.json", folder + "/tokenizer/merges.txt", pad_token="!")  # as it says itself
        self.ids = tokenizer([NEGATIVE, PROMPT], padding="max_length", max_length=POSITIONS, return_tensors="pt").input_ids
        print(self.ids.tolist())

    def merge(self, path):
        """W + up down, for kohya's names: those of the modules with _ for ."""
        lora, merged = load_file(path), 0
        for prefix, network in ("lora_unet_", self.unet), ("lora_te_", self.text):
            flat = {name.replace(".", "_"): module for name, module in network.named_modules()}
            for name in [n for n in lora if n.startswith(prefix) and n.endswith(".lora_down.weight")]:
                stem = name[: -len(".lora_down.weight")]
                down, up = lora[name].double(), lora[stem + ".lora_up.weight"].double()
                key = stem[len(prefix):]
                module = flat.get(key) or flat[key.removeprefix("text_model_")]  # transformers 5 has no "text_model." in its modules
                change = up.flatten(1) @ down.flatten(1)
                module.weight.data = (module.weight.double() + change.reshape(module.weight.shape)).float()
                merged += 1
        assert 2 * merged == len(lora), "every layer of the LoRA is one of the model"

    @torch.no_grad()
    def run(self, scheduler, x0):
        context = self.text(self.ids).last_hidden_state
        x, out = x0 * scheduler.init_noise_sigma, []
        for t in scheduler.timesteps:
            without, words = self.unet(scheduler.scale_model_input(torch.cat([x, x]), t), t, context).sample.chunk(2)
            x = scheduler.step(without + GUIDANCE * (words - without), t, x).prev_sample
            out.append(x)
        return torch.cat(out)

    @torch.no_grad()
    def picture(self, latents):
        y = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return ((y / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0) * 255).round().byte()


def write(path, model, kinds, config):
    x0 = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    tensors, about = {"x0": x0}, {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": str(GUIDANCE)}
    for name, kind in kinds:
        scheduler = kind.from_config(config, **({"final_sigmas_type": "sigma_min"} if name == "dpmpp" else {}))
        scheduler.set_timesteps(STEPS)
        tensors[name + ".latents"] = model.run(scheduler, x0)
        about[name] = json.dumps({"timesteps": [float(t) for t in scheduler.timesteps], "spacing": scheduler.config.timestep_spacing,
                                  "prediction": scheduler.config.prediction_type})
    tensors["ddim.image"] = model.picture(tensors["ddim.latents"][-1:])
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, about)


def main():
    folder, out = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../tests/data")
    config = {**DDIMScheduler.load_config(folder + "/scheduler"), "timestep_spacing": "leading"}
    model = Model(folder)
    write(out + "/layouts.safetensors", model, [("ddim", DDIMScheduler), ("euler", EulerDiscreteScheduler),
                                                ("dpmpp", DPMSolverMultistepScheduler)], config)
    model.merge(folder + "/lora.safetensors")
    write(out + "/layouts_lora.safetensors", model, [("ddim", DDIMScheduler)], config)


main()
