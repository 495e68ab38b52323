#!/usr/bin/env python3
"""What torch.randn makes of a seed on the processor: scripts/torch-randn-golden.py [FILE.safetensors]

Writes tests/data/torch_randn.safetensors. SEED.A-B-C holds draws of A, B and C numbers from one generator, one after another; of draws
above 1000 numbers the first and last 16 and every 97th."""
import os
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

torch.set_num_threads(1)
DRAWS = [(1,), (2, 1), (5, 4), (5, 20, 3, 1), (15, 15), (16,), (17,), (31, 33), (32,), (100, 7, 8), (1000,), (4 * 32 * 24, 4 * 32 * 24),
         (4 * 64 * 64, 4 * 64 * 64), (4 * 33 * 47,), (4 * 96 * 96,)]
SEEDS = [0, 42, 14291, 2 ** 32 + 42, 2 ** 64 - 1]


def kept(x):
    return x if len(x) <= 1000 else np.concatenate([x[:16], x[-16:], x[::97]])


path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "data", "torch_randn.safetensors")
tensors = {}
for seed in SEEDS:
    for sizes in DRAWS if seed == 42 else DRAWS[::3]:
        generator = torch.Generator().manual_seed(seed)
        parts = [kept(torch.randn(size, generator=generator).numpy()) for size in sizes]
        tensors[f"{seed}.{'-'.join(map(str, sizes))}"] = np.concatenate(parts)
save_file(tensors, path, {"torch": torch.__version__})
print(f"{path}: {len(tensors)} tensors, {os.path.getsize(path)} bytes, torch {torch.__version__}")
