#!/usr/bin/env python3
"""A small TAESD with random weights and what the diffusers library makes with it: scripts/taesd-golden.py [FOLDER]

Writes tests/data/taesd: an AutoencoderTiny of 8 channels as diffusers saves it, in f16, and golden.safetensors, which `blemish verify`
compares with: image_u8, image, mean (the latents it encodes), latents_scaled (others, beyond the limits of its input's tanh), decoded,
decoded_u8. Needs torch, diffusers (0.21 or later; the files in the project are from 0.42.1), safetensors."""
import os
import sys

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

CHANNELS, HEIGHT, WIDTH = 8, 32, 48


@torch.no_grad()
def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../tests/data/taesd")
    torch.manual_seed(1)
    torch.set_num_threads(1)
    vae = AutoencoderTiny(encoder_block_out_channels=(CHANNELS,) * 4, decoder_block_out_channels=(CHANNELS,) * 4)
    for name, p in vae.named_parameters():  # so that values neither die out nor explode on their way through 40 layers
        p.copy_(torch.randn_like(p) * (0.1 if p.dim() == 1 else (1 / (p[0].numel()) ** 0.5) * (0.5 if ".conv.4." in name else 1.4)))
    last, some = vae.decoder.layers[-1], 2 * torch.randn(1, 4, 16, 16)  # colours around grey
    last.weight.mul_(0.4 / vae.decode(some).sample.std())
    last.bias.sub_(vae.decode(some).sample.mean((0, 2, 3)) / 2)
    vae.half().save_pretrained(folder)  # as they are read again
    vae = AutoencoderTiny.from_pretrained(folder).float().eval()
    image_u8 = torch.randint(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=torch.uint8).repeat_interleave(4, 0).repeat_interleave(4, 1)
    image = (2 * (image_u8.float() / 255) - 1).permute(2, 0, 1)[None]
    mean = vae.encode(image).latents
    latents = 2 * torch.randn(mean.shape)
    decoded = vae.decode(latents).sample
    print("latents %.3f +- %.3f, picture %.3f +- %.3f" % (mean.mean(), mean.std(), decoded.mean(), decoded.std()))
    picture = ((decoded / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0) * 255).round().byte()
    save_file({"image_u8": image_u8.contiguous(), "image": image[0].contiguous(), "mean": mean[0].contiguous(),
               "latents_scaled": latents[0].contiguous(), "decoded": decoded.contiguous(), "decoded_u8": picture.contiguous()},
              os.path.join(folder, "golden.safetensors"), {"autoencoder": "taesd"})


main()
