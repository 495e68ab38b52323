"""The four networks and the noise schedule. What was chosen when a stage began is kept in OUT/STAGE.json, for the stages after it."""
import json
import os

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

PICTURE, FACTOR = 128, 4
POSITIONS = 32  # the longest caption has 20 tokens; 77 would be three quarters padding
# as Stable Diffusion 1.x was trained
NOISE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def choice(out, stage, wanted):
    """The settings that the stage began with; `wanted` if it begins now."""
    path = os.path.join(out, stage + ".json")
    if not os.path.exists(path):
        assert wanted, f"{path} is missing: run `train.py {stage}` first"
        os.makedirs(out, exist_ok=True)
        with open(path, "w") as f:
            json.dump(wanted, f)
    return json.load(open(path))


def quiet(model):
    """Begins with the last layer of every residual branch at zero, as guided diffusion (Dhariwal and Nichol 2021) does: the first
    steps train the way straight through."""
    last = ("conv2", "to_out.0", "proj_out")
    for name, m in model.named_modules():
        if name.endswith(last) and hasattr(m, "weight"):
            m.weight.data.zero_()
            if m.bias is not None:
                m.bias.data.zero_()
    return model


def vae(out, wanted=None):
    c = choice(out, "vae", wanted)
    n = len(c["channels"])
    return quiet(AutoencoderKL(sample_size=PICTURE, latent_channels=4, block_out_channels=c["channels"], layers_per_block=c["layers"],
                         norm_num_groups=c["groups"], down_block_types=["DownEncoderBlock2D"] * n,
                         up_block_types=["UpDecoderBlock2D"] * n, scaling_factor=scaling(out) or 1.0))


def scaling(out):
    """1 / standard deviation of the latents, measured by the stage `latents`."""
    path = os.path.join(out, "scaling.json")
    return json.load(open(path))["scaling_factor"] if os.path.exists(path) else None


def tokenizer(out):
    return CLIPTokenizer.from_pretrained(os.path.join(out, "tokenizer"))


def clip(out, wanted=None):
    c = choice(out, "clip", wanted)
    t = tokenizer(out)
    ids = {"bos_token_id": t.bos_token_id, "eos_token_id": t.eos_token_id, "pad_token_id": t.pad_token_id}
    text = {"vocab_size": len(t), "hidden_size": c["text"], "intermediate_size": 4 * c["text"], "num_hidden_layers": c["text_layers"],
            "num_attention_heads": c["text"] // 32, "max_position_embeddings": POSITIONS, "hidden_act": "quick_gelu", **ids}
    vision = {"hidden_size": c["vision"], "intermediate_size": 4 * c["vision"], "num_hidden_layers": c["vision_layers"],
              "num_attention_heads": c["vision"] // 48, "image_size": 64, "patch_size": 8, "hidden_act": "quick_gelu"}
    for part in text, vision:
        part["projection_dim"] = c["projection"]
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=c["projection"]))


def unet(out, wanted=None):
    c = choice(out, "unet", wanted)
    # diffusers calls the number of heads attention_head_dim; heads have 32 channels here, the first level has no attention
    return quiet(UNet2DConditionModel(sample_size=PICTURE // FACTOR, in_channels=4, out_channels=4, cross_attention_dim=c["context"],
                                block_out_channels=c["channels"], layers_per_block=c["layers"], norm_num_groups=c["groups"],
                                attention_head_dim=[max(1, n // 32) for n in c["channels"]],
                                down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                                up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]))


def sampler(steps):
    s = DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    s.set_timesteps(steps)
    return s
