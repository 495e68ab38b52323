#!/usr/bin/env python3
"""Compares a CLIP model's two towers, and the gradient of the image loss, with the transformers library.

    scripts/clip-golden.py [--model models/demo/clip] [--blemish build/blemish] [--keep FILE.safetensors]
    scripts/clip-golden.py --layers 2          the widths of OpenAI's ViT-L/14, as many layers in each tower, random weights

The golden tensors (those of tests/data/demo_clip.safetensors were kept so): token_ids of the text, text_features, image_features of a
picture that is resized as torch's interpolate does it, logits, loss = 1 - cosine, and the loss's gradient in the picture. Exit code 0 if
`blemish verify --strict --clip` agrees. Needs torch, transformers, safetensors (5.24 of transformers made the file in the project)."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

TEXT = "a photo of a hazelnut with a crack on it"
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
torch.set_num_threads(1)


def features(out):
    """transformers 5 returns an object, 4 a tensor"""
    return out if torch.is_tensor(out) else out.pooler_output


def random_model(folder, layers):
    """As openai/clip-vit-large-patch14 but for the number of layers; its config.json says of the text's end what all old ones say."""
    torch.manual_seed(0)
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": layers, "projection_dim": 768}
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": layers, "patch_size": 14,
              "image_size": 224, "projection_dim": 768}
    config = CLIPConfig(text_config={**text, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}, vision_config=vision,
                        projection_dim=768)
    CLIPModel(config).save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")  # what the published file has beside the weights
    save_file({**load_file(path), "text_model.embeddings.position_ids": torch.arange(77)[None],
               "vision_model.embeddings.position_ids": torch.arange(257)[None]}, path, {"format": "pt"})


def golden(folder, side):
    """The golden tensors and their metadata."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    positions = model.config.text_config.max_position_embeddings
    about = {"clip": os.path.basename(os.path.normpath(folder))}
    if os.path.exists(os.path.join(folder, "vocab.json")):
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        ids = tokenizer(TEXT, return_tensors="pt").input_ids
        ids = torch.cat([ids, torch.zeros(1, positions - ids.shape[1], dtype=ids.dtype)], 1)  # OpenAI's code fills up with 0
        about["text"] = json.dumps(TEXT)
    else:
        ids = torch.full((1, positions), 49407)  # the end, which also fills up
        ids[0, :9] = torch.tensor([49406, 320, 1125, 539, 320, 1929, 593, 320, 2862])
    random = torch.Generator().manual_seed(1)
    picture = torch.randint(0, 256, (side // 8, side // 8, 3), dtype=torch.uint8, generator=random)
    picture = picture.repeat_interleave(8, 0).repeat_interleave(8, 1).contiguous()
    x = (picture.float() / 255).requires_grad_()
    size = model.config.vision_config.image_size
    seen = torch.nn.functional.interpolate(x.permute(2, 0, 1)[None], (size, size), mode="bicubic")
    seen = (seen - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)
    with torch.no_grad():
        text = features(model.get_text_features(input_ids=ids))
    image = features(model.get_image_features(pixel_values=seen))
    cosine = torch.nn.functional.cosine_similarity(image, text)
    loss = 1 - cosine
    loss.backward()
    return {"token_ids": ids.int(), "text_features": text, "image_features": image.detach(), "logits": 100 * cosine.detach()[None],
            "loss": loss.detach(), "image_nhwc_u8": picture, "grad_image_nhwc": x.grad[None].contiguous()}, about


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", default="models/demo/clip")
    a.add_argument("--layers", type=int)
    a.add_argument("--side", type=int, default=64, help="pixels of the picture")
    a.add_argument("--blemish", default="build/blemish")
    a.add_argument("--keep", help="where to leave the golden tensors")
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if a.layers:
            a.model = os.path.join(folder, "clip")
            random_model(a.model, a.layers)
        path = a.keep or os.path.join(folder, "golden.safetensors")
        tensors, about = golden(a.model, a.side)
        save_file(tensors, path, about)
        strict = [] if a.layers else ["--strict"]  # random weights have no tokenizer
        sys.exit(subprocess.run([a.blemish, "verify", *strict, "--precision", "f32", "--clip", a.model, path]).returncode)


if __name__ == "__main__":
    main()
