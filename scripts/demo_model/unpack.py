#!/usr/bin/env python3
"""Unpacks an exported model into a folder of training, to train it further where the states of its optimisers are lost.

    unpack.py --from models/demo --out OUT          then `train.py latents` and `train.py unet`, which begin at step 0 from its weights"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import load_file

import models


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--from", dest="model", required=True)
    a.add_argument("--out", required=True)
    a = a.parse_args()
    assert not os.path.exists(os.path.join(a.out, "unet.pt")), f"{a.out} has a U-Net in training"
    config = {s: json.load(open(os.path.join(a.model, s, "config.json"))) for s in ("vae", "unet", "clip")}
    shutil.copytree(os.path.join(a.model, "tokenizer"), os.path.join(a.out, "tokenizer"), dirs_exist_ok=True)
    with open(os.path.join(a.out, "scaling.json"), "w") as f:
        json.dump({"scaling_factor": config["vae"]["scaling_factor"]}, f)
    u, v, text, vision = config["unet"], config["vae"], config["clip"]["text_config"], config["clip"]["vision_config"]
    chosen = {"vae": {"channels": v["block_out_channels"], "layers": v["layers_per_block"], "groups": v["norm_num_groups"]},
              "unet": {"channels": u["block_out_channels"], "layers": u["layers_per_block"], "groups": u["norm_num_groups"],
                       "context": u["cross_attention_dim"]},
              "clip": {"text": text["hidden_size"], "text_layers": text["num_hidden_layers"], "vision": vision["hidden_size"],
                       "vision_layers": vision["num_hidden_layers"], "projection": config["clip"]["projection_dim"]}}
    for stage, build in ("vae", models.vae), ("clip", models.clip), ("unet", models.unet):
        net = build(a.out, chosen[stage])
        name = "model" if stage == "clip" else "diffusion_pytorch_model"
        weights = {k: w.float() for k, w in load_file(os.path.join(a.model, stage, name + ".safetensors")).items()}
        missing, unexpected = net.load_state_dict(weights, strict=False)
        assert not unexpected and all(k.endswith("position_ids") for k in missing), (missing, unexpected)
        torch.save({"model": net.state_dict(), "ema": net.state_dict(), "step": 0, "seconds": 0.0}, os.path.join(a.out, stage + ".pt"))
    print(f"{a.out}: weights of {a.model}")


if __name__ == "__main__":
    main()
