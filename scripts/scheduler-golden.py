#!/usr/bin/env python3
"""Golden trajectories of the schedulers, from the diffusers library: scripts/scheduler-golden.py [FILE.safetensors]

Writes tests/data/schedulers.safetensors. Needs diffusers (0.26 or later; the file in the project is from 0.30.3), torch, safetensors.
The model is synthetic, 0.1 x sin(t) of the input that scale_model_input gives. NAME of a row -> class and settings in the metadata;
NAME.timesteps, NAME.init_noise_sigma, NAME.x (start and after each step, on the scheduler's own scale), NAME.model_in, and NAME.noise
where it adds some. Of the longest runs only the last sample is kept, NAME.last. A row with "start" begins as image-to-image does, from
add_noise at that entry of the table."""
import json
import os
import sys
import warnings

import diffusers
import numpy as np
import torch
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
SHAPE = (1, 4, 3, 2)
BASE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
DDIM = dict(cls="DDIMScheduler", clip_sample=False, set_alpha_to_one=False)
EULER, ANCESTRAL = dict(cls="EulerDiscreteScheduler"), dict(cls="EulerAncestralDiscreteScheduler")
DPM, LCM = dict(cls="DPMSolverMultistepScheduler", final_sigmas_type="zero"), dict(cls="LCMScheduler")
V, LINEAR = dict(prediction_type="v_prediction"), dict(beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
SPACINGS = {name: dict(timestep_spacing=name) for name in ("leading", "trailing", "linspace")}


def rows():
    for name, base in (("euler", EULER), ("euler_a", ANCESTRAL), ("dpm", DPM)):
        for spacing in SPACINGS:
            for steps in (1, 2, 7, 20):
                yield f"{name}_{spacing}{steps}", {**base, **SPACINGS[spacing], "steps": steps}
            yield f"{name}_{spacing}_from", {**base, **SPACINGS[spacing], "steps": 9, "start": 5}
        yield f"{name}_v", {**base, **V, "steps": 7}
        yield f"{name}_v_leading_from", {**base, **V, **SPACINGS["leading"], "steps": 20, "start": 13}
        yield f"{name}_linear", {**base, **LINEAR, "steps": 7}
        yield f"{name}_most", {**base, "steps": 999 if base is DPM else 1000, "long": True}
        yield f"{name}_leading_most", {**base, **SPACINGS["leading"], "steps": 500 if base is DPM else 999, "long": True}
        yield f"{name}_trailing_most", {**base, **SPACINGS["trailing"], "steps": 1000, "long": True}
    for base, name in ((EULER, "euler"), (DPM, "dpm")):
        for steps in (1, 2, 10):
            yield f"{name}_karras{steps}", {**base, "use_karras_sigmas": True, "steps": steps}
        yield f"{name}_karras_from", {**base, **SPACINGS["trailing"], "use_karras_sigmas": True, "steps": 12, "start": 7}
        yield f"{name}_karras_v", {**base, **V, **SPACINGS["leading"], "use_karras_sigmas": True, "steps": 10}
        yield f"{name}_min", {**base, "final_sigmas_type": "sigma_min", "steps": 16}
    yield "dpm_min_short", {**DPM, "final_sigmas_type": "sigma_min", "steps": 14}
    yield "dpm_min_not_lower", {**DPM, "final_sigmas_type": "sigma_min", "lower_order_final": False, "steps": 6}
    yield "dpm_min_euler_end", {**DPM, "final_sigmas_type": "sigma_min", "euler_at_final": True, "steps": 20}
    yield "dpm_order1", {**DPM, "solver_order": 1, "steps": 7}
    yield "dpm_heun", {**DPM, "solver_type": "heun", "steps": 20}
    yield "dpm_heun_v", {**DPM, **V, "solver_type": "heun", "steps": 7}
    for steps in (1, 2, 4, 7, 50):
        yield f"lcm{steps}", {**LCM, "steps": steps}
    yield "lcm_from", {**LCM, "steps": 8, "start": 4}
    yield "lcm_v", {**LCM, **V, "steps": 4}
    yield "lcm_linear", {**LCM, **LINEAR, "steps": 4}
    yield "lcm_scaled", {**LCM, "original_inference_steps": 40, "timestep_scaling": 3.0, "steps": 6}
    yield "ddim7", {**DDIM, "steps": 7}


def run(settings, x0, noise):
    """One row: its tensors."""
    own = {k: v for k, v in settings.items() if k not in ("cls", "steps", "start", "long")}
    scheduler = getattr(diffusers, settings["cls"])(**{**BASE, **own})
    steps, start = settings["steps"], settings.get("start", 0)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps[start:]
    if start:
        scheduler.set_begin_index(start) if hasattr(scheduler, "set_begin_index") else None
        x = scheduler.add_noise(x0, noise, times[:1])
    else:
        x = scheduler.init_noise_sigma * x0
    xs, inputs, draws = [x], [], []
    generator = torch.Generator().manual_seed(1000 + steps)
    for t in times:
        state = generator.get_state()
        seen = scheduler.scale_model_input(x, t)
        out = 0.1 * seen * np.sin(float(t))
        noisy = settings["cls"] in ("EulerAncestralDiscreteScheduler", "LCMScheduler")
        x = scheduler.step(out, t, x, **(dict(generator=generator) if noisy else {})).prev_sample
        draws.append(torch.randn(SHAPE, generator=torch.Generator().set_state(state)) if noisy else None)
        xs.append(x)
        inputs.append(seen)
    stack = lambda tensors: torch.stack(tensors).to(torch.float32).numpy()
    made = dict(timesteps=np.array([float(t) for t in times]), init_noise_sigma=np.array([float(scheduler.init_noise_sigma)]))
    if settings.get("long"):
        made["last"] = stack(xs[-1:])
    else:
        made.update(x=stack(xs), model_in=stack(inputs))
    if draws[0] is not None and not settings.get("long"):
        made["noise"] = stack(draws)
    return made


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "data", "schedulers.safetensors")
    generator = torch.Generator().manual_seed(7)
    x0, noise = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    table = diffusers.DDIMScheduler(**BASE, clip_sample=False)
    tensors = {"x0": x0.numpy(), "noise": noise.numpy(), "alphas_cumprod": table.alphas_cumprod.double().numpy()}
    metadata = {"diffusers": json.dumps(diffusers.__version__), "torch": json.dumps(torch.__version__)}
    for name, settings in rows():
        if settings.get("long") and settings["cls"] == "EulerAncestralDiscreteScheduler":
            continue  # a thousand draws for one number
        metadata[name] = json.dumps({**BASE, **settings})
        for key, value in run(settings, x0, noise).items():
            tensors[f"{name}.{key}"] = np.ascontiguousarray(value)
    save_file(tensors, path, metadata)
    print(f"{path}: {len(metadata) - 2} rows, {os.path.getsize(path)} bytes, diffusers {diffusers.__version__}")


main()
