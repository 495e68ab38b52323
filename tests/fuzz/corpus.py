#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets, tests/fuzz/corpus/<target>/: small files of every kind that the parsers tell apart.

    python3 tests/fuzz/corpus.py

What fuzzing adds stays in the build folder (scripts/fuzz.sh); files of findings are put here by hand, under a name that says what they are.
"""
import json
import pathlib
import re
import struct
import zlib

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


# --- safetensors -----------------------------------------------------------------------------------------------------------------

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "F64": 8, "I64": 8, "C64": 8}


def safetensors(tensors, metadata=None):
    header, at = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, kind, shape in tensors:
        size = SIZES[kind]
        for n in shape:
            size *= n
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(i * 7 % 251 for i in range(at))


def make_safetensors():
    write("safetensors", "empty", safetensors([]))
    write("safetensors", "types", safetensors([(k, k, [3]) for k in SIZES], {"format": "pt"}))
    write("safetensors", "shapes", safetensors([("scalar", "F32", []), ("none", "F16", [4, 0]), ("deep", "U8", [1, 1, 2, 1, 1, 3, 1, 1])]))
    write("safetensors", "half_bytes", struct.pack("<Q", 56) + b'{"a":{"dtype":"F4","shape":[6],"data_offsets":[0,3]}}   ' + b"abc")
    write("safetensors", "kohya", safetensors([("lora_unet_conv_in.lora_down.weight", "F32", [1, 4, 3, 3]),
                                               ("lora_unet_conv_in.lora_up.weight", "F32", [4, 1, 1, 1]),
                                               ("lora_unet_conv_in.alpha", "F32", []),
                                               ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "F16", [2, 4]),
                                               ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "F16", [8, 2])]))
    settings = json.dumps({"unet.r": 2, "unet.lora_alpha": 1})
    write("safetensors", "peft", safetensors([("unet.mid_block.attentions.0.proj_in.lora_A.weight", "F32", [2, 4]),
                                              ("unet.mid_block.attentions.0.proj_in.lora_B.weight", "F32", [4, 2])],
                                             {"lora_adapter_metadata": settings}))
    write("safetensors", "single_file", safetensors([("model.diffusion_model.input_blocks.0.0.weight", "F16", [4, 4, 3, 3]),
                                                     ("first_stage_model.decoder.conv_in.weight", "F16", [4, 4, 3, 3]),
                                                     ("cond_stage_model.transformer.text_model.embeddings.position_ids", "I64", [1, 4])]))
    write("safetensors", "pickle", b"PK\3\4\0\0\x08\x08\0\0\0\0\0\0archive/data.pkl")
    write("safetensors", "html", "<!DOCTYPE html><html>404")


# --- configurations ---------------------------------------------------------------------------------------------------------------

def make_configs():
    unet = {"_class_name": "UNet2DConditionModel", "sample_size": 32, "in_channels": 4, "out_channels": 4, "block_out_channels": [16, 32],
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
            "layers_per_block": 1, "cross_attention_dim": 16, "attention_head_dim": [2, 4], "norm_num_groups": 4, "norm_eps": 1e-5,
            "flip_sin_to_cos": True, "class_embed_type": None, "use_linear_projection": True}
    vae = {"_class_name": "AutoencoderKL", "in_channels": 3, "latent_channels": 4, "block_out_channels": [8, 16], "layers_per_block": 1,
           "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2, "norm_num_groups": 4,
           "act_fn": "silu", "scaling_factor": 0.18215}
    text = {"model_type": "clip_text_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 16, "vocab_size": 586, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu", "eos_token_id": 7}
    vision = {"model_type": "clip_vision_model", "hidden_size": 20, "intermediate_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 4, "image_size": 24, "patch_size": 6, "hidden_act": "gelu"}
    clip = {"model_type": "clip", "projection_dim": 12, "text_config": text, "vision_config": vision}
    write("config", "unet", "u" + json.dumps(unet))
    write("config", "vae", "v" + json.dumps(vae))
    write("config", "text", "t" + json.dumps(text))
    write("config", "clip", "c" + json.dumps(clip))
    common = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000, "steps_offset": 1,
              "prediction_type": "epsilon", "timestep_spacing": "leading", "set_alpha_to_one": False}
    for name, more in {"DDIMScheduler": {}, "PNDMScheduler": {"skip_prk_steps": True}, "EulerDiscreteScheduler": {"use_karras_sigmas": True},
                       "EulerAncestralDiscreteScheduler": {}, "LCMScheduler": {"original_inference_steps": 50, "timestep_scaling": 10.0},
                       "DPMSolverMultistepScheduler": {"solver_order": 2, "solver_type": "midpoint", "lower_order_final": True}}.items():
        write("config", name, "s" + json.dumps({"_class_name": name, **common, **more}))
    write("config", "infinity", 's{"_class_name": "DDIMScheduler", "lambda_min_clipped": -Infinity, "beta_schedule": "squaredcos_cap_v2"}')
    write("config", "index", 'i{"metadata": {"total_size": 4}, "weight_map": {"conv_in.weight": "a.safetensors"}}')
    write("config", "index_outside", 'i{"weight_map": {"conv_in.weight": "../x.safetensors"}}')
    write("config", "deep", "u" + "[" * 17)


# --- tokenizer ----------------------------------------------------------------------------------------------------------------------

def make_tokenizer():
    merges = "#version: 0.2\nn u\nu t</w>\nn ut</w>\na b\nab c\n"
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77,
                "bos_token": {"content": "<|startoftext|>", "normalized": True, "single_word": False}}
    special = {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    vocabulary = {t: i for i, t in enumerate(["<|startoftext|>", "<|endoftext|>", "!", "n", "u", "t</w>", "ut</w>", "nut</w>", "a", "b",
                                               "ab", "c", "abc", "nu", "ut", "\u00e4", "\u0120</w>"])}
    parts = [merges, "", "", "", "a nut, Abc!"]
    write("tokenizer", "made", b"\xff".join(p.encode() for p in parts))
    parts[1:4] = json.dumps(vocabulary, ensure_ascii=False), json.dumps(settings), json.dumps(special)
    parts[4] = "\u00c4 nut<|endoftext|> \u1e69 it's 1\u00bd\u3000!"
    write("tokenizer", "whole", b"\xff".join(p.encode() for p in parts))
    parts[3] = json.dumps({"pad_token": {"content": "!", "normalized": False}})
    write("tokenizer", "plain_special", b"\xff".join(p.encode() for p in parts))
    for name, text in {"plain": "a photo of a hazelnut", "marked": "a photo of a [[cracked]] hazelnut, \\[[not\\]] this",
                       "parts": "hazelnut\ndamaged\na {object} that is {defect}\na good {object}", "two": "nut\n[[bad]] and old",
                       "unicode": "\u0130stanbul n\u0303 \u00bd \u2167 \ufb03 <|endoftext|> \U0001f600 it's", "marks": "a\u0327\u0301\u0300\u0316" * 8,
                       "broken": b"a \xed\xa0\x80 b", "unclosed": "a [[nut", "long": "7 " * 80}.items():
        write("prompt", name, text)


# --- PNG ------------------------------------------------------------------------------------------------------------------------------

def chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows, before=b"", after=b"", interlace=0):
    packed = zlib.compress(rows, 9)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)) + before
            + chunk(b"IDAT", packed) + after + chunk(b"IEND"))


def filtered(width, height, bits):
    """Rows of a pattern, each with another filter."""
    size = (width * bits + 7) // 8
    return b"".join(bytes([y % 5]) + bytes((x * 29 + y * 17) & 255 for x in range(size)) for y in range(height))


def make_png():
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for color, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            write("png", f"color{color}_{depth}bit", png(9, 7, depth, color, filtered(9, 7, depth * samples[color])))
    palette = chunk(b"PLTE", bytes(range(12)))
    for depth in (1, 2, 4, 8):
        few = chunk(b"PLTE", bytes(range(6))) if depth == 1 else palette
        rows = b"".join(b"\0" + bytes([0b00011011 if depth == 2 else 0b01010101 if depth == 1 else 0x12 if depth == 4 else 3])
                        * ((8 * depth + 7) // 8) for _ in range(3))
        write("png", f"palette_{depth}bit", png(8, 3, depth, 3, rows, few + chunk(b"tRNS", b"\0\x80")))
    write("png", "transparent_grey", png(4, 4, 8, 0, filtered(4, 4, 8), chunk(b"tRNS", b"\0\x1d")))
    passes = [((9 - x + dx - 1) // dx, (11 - y + dy - 1) // dy) for x, y, dx, dy in
              ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))]
    write("png", "interlaced", png(9, 11, 8, 0, b"".join(filtered(w, h, 8) for w, h in passes), interlace=1))
    texts = (chunk(b"tEXt", b"k\0gr\xfcn") + chunk(b"iTXt", "parameters\0\0\0de\0Schl\u00fcssel\0Steps: 2".encode())
             + chunk(b"iTXt", b'blemish\0\0\0\0\0{"seed":"7"}') + chunk(b"zTXt", b"z\0\0" + zlib.compress(b"text")))
    exif = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0")
    write("png", "texts_exif", png(2, 3, 8, 2, filtered(2, 3, 24), texts + exif))
    write("png", "missing_row", png(8, 8, 8, 2, filtered(8, 7, 24)))
    write("png", "too_many_bytes", png(8, 8, 8, 0, bytes(1 << 16)))
    write("png", "large", png(8192, 8192, 8, 2, b""))


# --- JPEG -------------------------------------------------------------------------------------------------------------------------------

EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0"


def segment(marker, data):
    return bytes([0xff, marker]) + struct.pack(">H", len(data) + 2) + data


def grey_jpeg(width, height, restart=0, before=b""):
    """All blocks 0: codes of one bit each for "no difference" and "end of block"."""
    data = b"\xff\xd8" + before + segment(0xdb, b"\0" + b"\1" * 64) + segment(0xc0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    for kind in (0, 0x10):
        data += segment(0xc4, bytes([kind, 1]) + bytes(16))
    if restart:
        data += segment(0xdd, struct.pack(">H", restart))
    data += segment(0xda, b"\1\1\0\0\x3f\0")
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    per = restart or blocks
    for first in range(0, blocks, per):
        n = 2 * min(per, blocks - first)
        data += bytes(n // 8) + (bytes([0xff >> n % 8]) if n % 8 else b"")
        if first + per < blocks:
            data += bytes([0xff, 0xd0 + first // per % 8])
    return data + b"\xff\xd9"


def make_jpeg():
    source = (TESTS / "test_jpeg.c").read_text() # two files are in the tests already
    for name in ("baseline", "progressive"):
        literal = re.search(name + r"_jpeg\[\] =\n(.*?);", source, re.S).group(1)
        data = bytes.fromhex("".join(re.findall(r'"([0-9a-f]+)"', literal)))
        write("jpeg", name, data)
        write("jpeg", name + "_exif", data[:2] + segment(0xe1, EXIF) + data[2:])
    write("jpeg", "grey", grey_jpeg(8, 8))
    write("jpeg", "grey_restarts", grey_jpeg(40, 24, restart=2))
    write("jpeg", "grey_wide", grey_jpeg(600, 9, before=segment(0xe0, b"JFIF\0\1\1\0\0\1\0\1\0\0")))
    write("jpeg", "exif_little", EXIF.replace(b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\3\0")[6:])
    write("jpeg", "exif_big", EXIF[6:])


# --- the rest ----------------------------------------------------------------------------------------------------------------------------

def make_cache():
    def cache(payload, vendor=0x1234):
        h = 14695981039346656037
        for b in payload:
            h = (h ^ b) * 1099511628211 & (1 << 64) - 1
        return struct.pack("<8sIIII16sQQ", b"blmpipe", 1, vendor, 0x5678, 1, b"\x42" * 16, len(payload), h) + payload
    write("cache", "sound", cache(b"what a driver keeps"))
    write("cache", "foreign", cache(b"what a driver keeps", vendor=0x1002))
    write("cache", "cut", cache(b"what a driver keeps")[:-1])
    write("cache", "header", cache(b""))


def make_plan():
    def plan(choices, **more):
        return json.dumps({"kernels": "0" * 64, "caps": "s16,sg", "choices": choices, **more})
    here = "matmul_fwd f32 m=128,n=512,k=1024"
    write("plan", "chosen", plan({here: "matmul_fwd_any", "softmax_fwd f16 rows=1,channels=8": "softmax_fwd"}))
    write("plan", "default", plan({}))
    write("plan", "others", plan({here: "conv_fwd_any", "nothing f64 x=": "nothing"}, binding="64M"))
    write("plan", "number", plan({here: 7}))
    write("plan", "bare", "{}")


def make_options():
    for name, line in {
            "words": "generate --model m --prompt a_nut --steps 20 --seed 7 --width 512 --height=512 -g 7.5 -o a.png",
            "photo": "generate -m m --photo p.png --object nut --defect cracked --template {defect} --mask auto --mask-size 0.1-0.2 "
                     "--strength .5 --crop 1,2,3,4 --lambda 1e1 --odd-off all --whole --save-attention --count 3 --seed random",
            "device": "generate --model=m -p x --device 0 --caps base --precision f16 --max-memory 1.5G --no-cache --json -q",
            "loras": "generate -m m -p x --lora a.safetensors:0.5 --lora b:c:-2 --lora d:1e2 --vae v --tokenizer t --prediction v",
            "broken": "generate --steps 4294967296 --steps -1 --guidance 1e9999 --st 3 --force=yes -z --",
            "tokens": "tokens --model m a_nut --json", "verify": "verify -m m --strict a.safetensors b.safetensors",
            "inspect": "inspect --tensors x", "sheet": "sheet a.png b.png -o c.png", "devices": "devices --json"}.items():
        write("options", name, line.replace(" ", "\n").replace("_", " "))


for make in (make_safetensors, make_configs, make_tokenizer, make_png, make_jpeg, make_cache, make_plan, make_options):
    make()
