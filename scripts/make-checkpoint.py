#!/usr/bin/env python3
"""Writes a checkpoint of Stable Diffusion's true shapes with random weights, in the layout of the diffusers library; or, as clip, a CLIP
model of the shapes of OpenAI's ViT-L/14, in that of transformers.

    scripts/make-checkpoint.py sd15|sd21|sd21-base|clip FOLDER [--type f16|f32|bf16] [--seed N] [--divide N] [--tokenizer FOLDER]

For measuring time and memory where no trained checkpoint is at hand: the pictures are finite and not flat, but show nothing. Names
and shapes are stated here from the published models, not from this program, and the number of parameters is checked, so that a
checkpoint that loads says something about the loader. Needs Python 3 and nothing else, and little memory. FOLDER must not exist and
appears when it is complete."""
import argparse
import json
import os
import random
import shutil
import struct
import sys

# levels are channels from the largest picture to the smallest; heads are for each of them
SD1 = {"unet": [320, 640, 1280, 1280], "heads": [8] * 4, "linear": False, "sample": 64, "prediction": "epsilon", "scheduler": "PNDM",
       "text": 768, "text_layers": 12, "text_heads": 12, "act": "quick_gelu", "pad": "<|endoftext|>",
       "total": {"unet": 859520964, "text_encoder": 123060480, "vae": 83653863}}
SD2 = {"unet": [320, 640, 1280, 1280], "heads": [5, 10, 20, 20], "linear": True, "sample": 96, "prediction": "v_prediction",
       "scheduler": "DDIM", "text": 1024, "text_layers": 23, "text_heads": 16, "act": "gelu", "pad": "!",
       "total": {"unet": 865910724, "text_encoder": 340387840, "vae": 83653863}}
MODELS = {"sd15": SD1, "sd21": SD2, "sd21-base": {**SD2, "sample": 64, "prediction": "epsilon", "scheduler": "PNDM"}}
# ViT-L/14: both towers and their projections
CLIP = {"text": 768, "text_layers": 12, "text_heads": 12, "vision": 1024, "layers": 24, "heads": 16, "size": 224, "patch": 14,
        "projection": 768, "total": 427616513}
VAE, GROUPS, LATENT, VOCABULARY, POSITIONS = [128, 256, 512, 512], 32, 4, 49408, 77


# --- shapes ----------------------------------------------------------------------------------------------------------------

class Tensors(dict):
    """name -> (shape, centre of the values, their standard deviation)"""

    def add(self, name, shape, centre, deviation):
        assert name not in self, name
        self[name] = (shape, centre, deviation)

    def layer(self, name, out, *rest, bias=True):
        """A matrix [out, in] or a convolution [out, in, k, k], scaled so that it keeps the size of what goes through."""
        fan_in = 1
        for n in rest:
            fan_in *= n
        self.add(name + ".weight", [out, *rest], 0, fan_in ** -0.5)
        if bias:
            self.add(name + ".bias", [out], 0, 0.02)

    def norm(self, name, channels):
        self.add(name + ".weight", [channels], 1, 0.05)
        self.add(name + ".bias", [channels], 0, 0.02)

    def resnet(self, name, inputs, out, emb=0):
        self.norm(name + ".norm1", inputs)
        self.layer(name + ".conv1", out, inputs, 3, 3)
        if emb:
            self.layer(name + ".time_emb_proj", out, emb)
        self.norm(name + ".norm2", out)
        self.layer(name + ".conv2", out, out, 3, 3)
        if inputs != out:
            self.layer(name + ".conv_shortcut", out, inputs, 1, 1)


def clip_layers(t, tower, count, c):
    for i in range(count):
        layer = f"{tower}.encoder.layers.{i}."
        for name in "q_proj", "k_proj", "v_proj", "out_proj":
            t.layer(layer + "self_attn." + name, c, c)
        t.norm(layer + "layer_norm1", c)
        t.layer(layer + "mlp.fc1", 4 * c, c)
        t.layer(layer + "mlp.fc2", c, 4 * c)
        t.norm(layer + "layer_norm2", c)


def text_encoder(m):
    t, c = Tensors(), m["text"]
    t.add("text_model.embeddings.token_embedding.weight", [VOCABULARY, c], 0, 1)
    t.add("text_model.embeddings.position_embedding.weight", [POSITIONS, c], 0, 0.5)
    clip_layers(t, "text_model", m["text_layers"], c)
    t.norm("text_model.final_layer_norm", c)
    return t


def clip(m):
    t, c = text_encoder(m), m["vision"]
    t.add("logit_scale", [], 4.6052, 0)
    t.layer("text_projection", m["projection"], m["text"], bias=False)
    t.add("vision_model.embeddings.class_embedding", [c], 0, 0.5)
    t.layer("vision_model.embeddings.patch_embedding", c, 3, m["patch"], m["patch"], bias=False)
    t.add("vision_model.embeddings.position_embedding.weight", [(m["size"] // m["patch"]) ** 2 + 1, c], 0, 0.5)
    t.norm("vision_model.pre_layrnorm", c)
    clip_layers(t, "vision_model", m["layers"], c)
    t.norm("vision_model.post_layernorm", c)
    t.layer("visual_projection", m["projection"], c, bias=False)
    return t


def unet(m):
    t, levels = Tensors(), m["unet"]
    emb, last = 4 * levels[0], len(levels) - 1

    def transformer(name, c):
        inner = name + ".transformer_blocks.0."
        kernel = [] if m["linear"] else [1, 1]
        t.norm(name + ".norm", c)
        t.layer(name + ".proj_in", c, c, *kernel)
        for attention, source in ("attn1.", c), ("attn2.", m["text"]):
            t.layer(inner + attention + "to_q", c, c, bias=False)
            t.layer(inner + attention + "to_k", c, source, bias=False)
            t.layer(inner + attention + "to_v", c, source, bias=False)
            t.layer(inner + attention + "to_out.0", c, c)
        t.layer(inner + "ff.net.0.proj", 8 * c, c)
        t.layer(inner + "ff.net.2", c, 4 * c)
        for norm in "norm1", "norm2", "norm3":
            t.norm(inner + norm, c)
        t.layer(name + ".proj_out", c, c, *kernel)

    t.layer("time_embedding.linear_1", emb, levels[0])
    t.layer("time_embedding.linear_2", emb, emb)
    t.layer("conv_in", levels[0], LATENT, 3, 3)
    h, skips = levels[0], [levels[0]]
    for i, c in enumerate(levels):
        for k in range(2):
            t.resnet(f"down_blocks.{i}.resnets.{k}", h, c, emb)
            h = c
            if i < last:
                transformer(f"down_blocks.{i}.attentions.{k}", c)
            skips.append(c)
        if i < last:
            t.layer(f"down_blocks.{i}.downsamplers.0.conv", c, c, 3, 3)
            skips.append(c)
    for k in range(2):
        t.resnet(f"mid_block.resnets.{k}", h, h, emb)
    transformer("mid_block.attentions.0", h)
    for i, c in enumerate(reversed(levels)):
        for k in range(3):
            t.resnet(f"up_blocks.{i}.resnets.{k}", h + skips.pop(), c, emb)
            h = c
            if i > 0:
                transformer(f"up_blocks.{i}.attentions.{k}", c)
        if i < last:
            t.layer(f"up_blocks.{i}.upsamplers.0.conv", c, c, 3, 3)
    t.norm("conv_norm_out", h)
    t.layer("conv_out", LATENT, h, 3, 3)
    return t


def vae(m):
    t, levels = Tensors(), m["vae"]
    last = len(levels) - 1

    def middle(part, c):
        name = part + ".mid_block."
        for k in range(2):
            t.resnet(f"{name}resnets.{k}", c, c)
        t.norm(name + "attentions.0.group_norm", c)
        for layer in "to_q", "to_k", "to_v", "to_out.0":
            t.layer(name + "attentions.0." + layer, c, c)

    h = levels[0]
    t.layer("encoder.conv_in", h, 3, 3, 3)
    for i, c in enumerate(levels):
        for k in range(2):
            t.resnet(f"encoder.down_blocks.{i}.resnets.{k}", h, c)
            h = c
        if i < last:
            t.layer(f"encoder.down_blocks.{i}.downsamplers.0.conv", c, c, 3, 3)
    middle("encoder", h)
    t.norm("encoder.conv_norm_out", h)
    t.layer("encoder.conv_out", 2 * LATENT, h, 3, 3)
    t.layer("quant_conv", 2 * LATENT, 2 * LATENT, 1, 1)
    t.layer("post_quant_conv", LATENT, LATENT, 1, 1)
    t.layer("decoder.conv_in", h, LATENT, 3, 3)
    middle("decoder", h)
    for i, c in enumerate(reversed(levels)):
        for k in range(3):
            t.resnet(f"decoder.up_blocks.{i}.resnets.{k}", h, c)
            h = c
        if i < last:
            t.layer(f"decoder.up_blocks.{i}.upsamplers.0.conv", c, c, 3, 3)
    t.norm("decoder.conv_norm_out", h)
    t.layer("decoder.conv_out", 3, h, 3, 3)
    return t


# --- values ----------------------------------------------------------------------------------------------------------------

class Values:
    """Bytes of random numbers. One pool for each distribution, read from a random place on and around, makes gigabytes quickly; its
    length is a prime, so that no two rows of a matrix are alike."""
    COUNT = 131071

    def __init__(self, dtype, seed):
        self.dtype, self.size, self.random = dtype, 4 if dtype == "F32" else 2, random.Random(seed)
        self.unit = [self.random.uniform(-3 ** 0.5, 3 ** 0.5) for _ in range(self.COUNT)]
        self.pools = {}

    def pool(self, centre, deviation):
        if (centre, deviation) not in self.pools:
            values = [centre + deviation * v for v in self.unit]
            data = struct.pack(f"<{self.COUNT}{'e' if self.dtype == 'F16' else 'f'}", *values)
            if self.dtype == "BF16":  # the upper halves
                upper = bytearray(2 * self.COUNT)
                upper[0::2], upper[1::2] = data[2::4], data[3::4]
                data = bytes(upper)
            self.pools[centre, deviation] = memoryview(data)
        return self.pools[centre, deviation]

    def write(self, f, count, centre, deviation):
        pool = self.pool(centre, deviation)
        left, at = count * self.size, self.random.randrange(self.COUNT) * self.size
        while left:
            piece = pool[at:at + left]
            f.write(piece)
            left, at = left - len(piece), 0


def product(shape):
    n = 1
    for s in shape:
        n *= s
    return n


def write_safetensors(path, tensors, values):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, _, _) in sorted(tensors.items()):
        end = at + product(shape) * values.size
        header[name] = {"dtype": values.dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as raw, open(raw.fileno(), "wb", buffering=1 << 20, closefd=False) as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, (shape, centre, deviation) in sorted(tensors.items()):
            values.write(f, product(shape), centre, deviation)


# --- tokenizer -------------------------------------------------------------------------------------------------------------

def byte_alphabet():
    """The printable character that stands for each byte, in the order of CLIP's vocabulary: those that print, then the others."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xa1, 0xad), *range(0xae, 0x100)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def write_tokenizer(folder, pad):
    """As many entries as CLIP's: bytes, bytes that end a word, and merges of letters, shortest first, so that every word has tokens."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    merges, parts = [], letters
    while len(merges) < VOCABULARY - 512 - 2:
        merges += [(a, b + end) for end in ("", "</w>") for a in parts for b in letters]
        parts = [a + b for a in parts for b in letters]
    merges = merges[:VOCABULARY - 512 - 2]
    alphabet = byte_alphabet()
    entries = alphabet + [c + "</w>" for c in alphabet] + [a + b for a, b in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {text: i for i, text in enumerate(entries)}
    assert len(vocabulary) == VOCABULARY
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    special = {key: {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
               for key, text in special.items()}
    special["pad_token"] = pad
    write_json(folder, "vocab.json", vocabulary)
    write_json(folder, "special_tokens_map.json", special)
    write_json(folder, "tokenizer_config.json",
               {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS, "do_lower_case": True, **special})


# --- configurations --------------------------------------------------------------------------------------------------------

def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=None if name == "vocab.json" else 2)


def configurations(m):
    cross, plain = "CrossAttn", ""
    yield "text_encoder", "config.json", {
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": m["text"], "intermediate_size": 4 * m["text"],
        "num_hidden_layers": m["text_layers"], "num_attention_heads": m["text_heads"], "max_position_embeddings": POSITIONS,
        "vocab_size": VOCABULARY, "layer_norm_eps": 1e-5, "hidden_act": m["act"]}
    yield "unet", "config.json", {
        "_class_name": "UNet2DConditionModel", "sample_size": m["sample"], "in_channels": LATENT, "out_channels": LATENT,
        "block_out_channels": m["unet"], "down_block_types": [k + "DownBlock2D" for k in (cross, cross, cross, plain)],
        "up_block_types": [k + "UpBlock2D" for k in (plain, cross, cross, cross)], "layers_per_block": 2,
        "cross_attention_dim": m["text"], "attention_head_dim": m["heads"] if m["linear"] else m["heads"][0],
        "norm_num_groups": m["groups"], "norm_eps": 1e-5, "act_fn": "silu", "center_input_sample": False, "downsample_padding": 1,
        "flip_sin_to_cos": True, "freq_shift": 0, "mid_block_scale_factor": 1, "use_linear_projection": m["linear"]}
    yield "vae", "config.json", {
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": LATENT, "block_out_channels": m["vae"],
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4, "layers_per_block": 2,
        "norm_num_groups": m["groups"], "act_fn": "silu", "sample_size": 8 * m["sample"], "scaling_factor": 0.18215}
    yield "scheduler", "scheduler_config.json", {
        "_class_name": m["scheduler"] + "Scheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
        "num_train_timesteps": 1000, "prediction_type": m["prediction"], "clip_sample": False, "set_alpha_to_one": False,
        "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None}
    yield "", "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", m["scheduler"] + "Scheduler"]}


def divided(model, n):
    """The same model with all widths but the vocabulary's divided by n."""
    m = {**model, "vae": [c // n for c in VAE], "groups": GROUPS // n, "unet": [c // n for c in model["unet"]], "text": model["text"] // n}
    if not m["linear"]:
        m["heads"] = [max(1, h // n) for h in m["heads"]]
    return m


# --- all of it -------------------------------------------------------------------------------------------------------------

def put_tokenizer(folder, options, pad):
    if not options.tokenizer:
        write_tokenizer(folder, pad)
        return
    for name in "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json":
        shutil.copy(os.path.join(options.tokenizer, name), folder)


def write_checkpoint(folder, options):
    model = MODELS[options.model]
    m = divided(model, options.divide)
    values = Values(options.type.upper(), options.seed)
    for part in "text_encoder", "unet", "vae", "scheduler", "tokenizer":
        os.makedirs(os.path.join(folder, part))
    for part, name, value in configurations(m):
        write_json(os.path.join(folder, part), name, value)
    put_tokenizer(os.path.join(folder, "tokenizer"), options, m["pad"])
    for part, build in ("text_encoder", text_encoder), ("unet", unet), ("vae", vae):
        total = sum(product(shape) for shape, _, _ in build(divided(model, 1)).values())
        assert total == model["total"][part], f"{part}: {total} parameters, the published model has {model['total'][part]}"
        name = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        write_safetensors(os.path.join(folder, part, name + ".safetensors"), build(m), values)


def write_clip(folder, options):
    n = options.divide
    m = {**CLIP, **{key: CLIP[key] // n for key in ("text", "vision", "projection")},
         **{key: max(1, CLIP[key] // n) for key in ("text_heads", "heads")}}
    total = sum(product(shape) for shape, _, _ in clip(CLIP).values())
    assert total == CLIP["total"], f"clip: {total} parameters, the published model has {CLIP['total']}"
    os.makedirs(folder)
    put_tokenizer(folder, options, "<|endoftext|>")
    common = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    write_json(folder, "config.json", {
        "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": m["projection"], "logit_scale_init_value": 2.6592,
        "text_config": {"model_type": "clip_text_model", "hidden_size": m["text"], "intermediate_size": 4 * m["text"],
                        "num_hidden_layers": m["text_layers"], "num_attention_heads": m["text_heads"],
                        "max_position_embeddings": POSITIONS, "vocab_size": VOCABULARY, **common},
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": m["vision"], "intermediate_size": 4 * m["vision"],
                          "num_hidden_layers": m["layers"], "num_attention_heads": m["heads"], "image_size": m["size"],
                          "patch_size": m["patch"], "num_channels": 3, **common}})
    write_safetensors(os.path.join(folder, "model.safetensors"), clip(m), Values(options.type.upper(), options.seed))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=[*MODELS, "clip"])
    parser.add_argument("folder", help="to be made")
    parser.add_argument("--type", choices=["f16", "f32", "bf16"], default="f16", help="of the weights; default f16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--divide", type=int, choices=[1, 2, 4, 8, 16], default=1, help="all widths by this, for a small model; default 1")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="takes the tokenizer of another checkpoint; default: one of made-up words")
    options = parser.parse_args()
    if os.path.lexists(options.folder):
        sys.exit(f"{options.folder}: is there already")
    part = f"{options.folder.rstrip('/')}.part-{os.getpid()}"
    try:
        (write_clip if options.model == "clip" else write_checkpoint)(part, options)
        os.rename(part, options.folder)
    except OSError as e:
        sys.exit(f"{e.filename or options.folder}: {e.strerror}")
    finally:
        shutil.rmtree(part, ignore_errors=True)


if __name__ == "__main__":
    main()
