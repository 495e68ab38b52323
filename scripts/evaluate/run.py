#!/usr/bin/env python3
"""Makes the pictures of one method: WORK/made/NAME/CALL-0001.png, its mask, and CALL.json with the command line and what it cost.

    python3 run.py WORK --method sd|attend|cut|anomalyany --model DIR [options] [-- options of 'blemish generate']
    python3 run.py WORK --method control --model DIR       the words of the normal photo: what the autoencoder alone does
    python3 run.py WORK --method roundtrip --model DIR     true defects through the autoencoder, with one step of little noise
    python3 run.py WORK --method cutpaste|scar             the baselines

Goes on where it was stopped: pictures that exist are kept. Pictures made with other options are an error, not a mixture."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import cutpaste
from common import BASELINES, METHODS, pictures, read, read_json, write, write_json


def seconds(folder):
    made = [f["seconds"] for path in folder.glob("u*.json") for f in read_json(path)["files"]]
    if not made:
        sys.exit(f"{folder} holds no pictures to measure")
    return statistics.median(made)


def command(a, grid, call):
    """Options of the program; every path but the model's relative to WORK."""
    name = f"made/{a.name}/{call['call']}"
    out = ["--photo", call["photo"], "--out", f"{name}.png", "--count", str(call["count"]), "--seed", str(call["seed"])]
    if a.method == "roundtrip":
        # the least strength that still runs a step; no guidance, no words to speak of
        return out + ["--prompt", call["template"].format(object=call["cls"], defect=call["defect"]), "--method", "sd", "--guidance", "1",
                      "--strength", f"{1.001 / a.steps:.5f}"]
    out += ["--mask", call["region"], "--strength", str(a.strength), "--guidance", f"{a.guidance:g}"]
    if a.method == "control":
        return out + ["--prompt", grid["normal"].format(object=call["cls"]), "--method", "sd"]
    out += ["--object", call["cls"], "--defect", call["defect"], "--template", call["template"]]
    out += ["--normal", grid["normal"].format(object=call["cls"])]
    if a.detail and call.get("detail"):
        out += ["--detail", f"a photo of a {call['cls']} with {call['detail']}"]
    return out + ["--method", a.method]


def generate(a, grid, calls):
    fixed = ["--scheduler", "ddim", "--steps", str(a.steps), "--width", str(grid["size"]), "--height", str(grid["size"]), *a.rest]
    start = [str(a.blemish.resolve()), "generate", "--model", str(a.model.resolve()), "--json", "--force", "--progress", "none"]
    left = []
    for call in calls:
        options, record = command(a, grid, call) + fixed, a.out / f"{call['call']}.json"
        if not record.exists():
            left.append((call, options, record))
        elif (before := read_json(record)["options"]) != options:
            sys.exit(f"{record} was made with other options:\n  {' '.join(before)}\nnot\n  {' '.join(options)}\n"
                     "Give the variant another --name, or remove that folder.")
    # the software driver's threads; others do not read it
    environment = {**os.environ, "LP_NUM_THREADS": str(max(1, os.cpu_count() // a.at_once))} if a.at_once > 1 else None

    def one(job):
        _, options, record = job
        run = subprocess.run([*start, *options], cwd=a.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        if run.returncode:
            raise RuntimeError(f"{run.stderr}\nblemish generate {' '.join(options)}\nfailed with exit code {run.returncode}")
        made = json.loads(run.stdout)
        keep = ("path", "seed", "seconds", "steps_run", "unet_forwards", "unet_backwards", "decodes", "gflop")
        write_json(record, {"model": a.model.resolve().name, "options": options, "seconds": made["seconds"],
                            "device": made["device"]["name"], "precision": made["precision"],
                            "files": [{k: f[k] for k in keep} for f in made["files"]]})

    started = time.monotonic()
    with ThreadPoolExecutor(a.at_once) as pool:
        try:
            for done, (job, _) in enumerate(zip(left, pool.map(one, left)), 1):
                took = (time.monotonic() - started) / done
                print(f"{a.name} {job[0]['call']}: {took:.1f} s a call, {took * (len(left) - done) / 60:.0f} min to go", flush=True)
        except RuntimeError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(str(error))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", type=Path)
    p.add_argument("--method", required=True, choices=[*METHODS, "control", "roundtrip", *BASELINES])
    p.add_argument("--name", help="of the folder, for a variant; default: the method's")
    p.add_argument("--model", type=Path)
    program = Path(__file__).resolve().parents[2] / "build/blemish"
    p.add_argument("--blemish", type=Path, default=program, help="the program; default: build/blemish")
    p.add_argument("--steps", type=int, default=20, help="default: 20")
    p.add_argument("--strength", type=float, default=0.8, help="default: 0.8")
    p.add_argument("--guidance", type=float, default=9, help="default: 9")
    p.add_argument("--detail", action="store_true", help="give the renderer's longer description, too")
    p.add_argument("--match", metavar="NAME", help="so many steps more that a picture takes as long as one of NAME did: both NAME and this "
                   "method's own folder must be there, for their seconds")
    p.add_argument("--limit", type=int, default=0, help="only the first so many pictures; default: all")
    p.add_argument("--at-once", type=int, default=1, help="calls of the program at the same time, which share the processor; default: 1")
    mine, rest = (sys.argv[1:], [])
    if "--" in mine:
        mine, rest = mine[:mine.index("--")], mine[mine.index("--") + 1:]
    a = p.parse_args(mine)
    a.rest, a.name = rest, a.name or a.method
    a.out = a.work / "made" / a.name
    a.out.mkdir(parents=True, exist_ok=True)
    grid = read_json(a.work / "grid/jobs.json")
    if a.method in BASELINES:
        for q in pictures(grid, a.limit):
            path = a.out / f"{q['name']}.png"
            if not path.exists():
                rng = np.random.default_rng([q["seed"], BASELINES.index(a.method)])
                image, mask = cutpaste.MAKE[a.method](read(a.work / q["photo"]), rng)
                write(a.out / f"{q['name']}_mask.png", mask)
                write(path, image)
        return
    if not a.model:
        p.error("--model is required")
    if a.match:
        if a.name == a.method:
            p.error("--match needs a --name of its own")
        again = a.out / "steps.json"                # the same when it goes on
        if not again.exists():
            longer = seconds(a.work / "made" / a.match) / seconds(a.work / "made" / a.method)
            write_json(again, {"steps": max(1, round(a.steps * longer)), "times": longer, "as": a.match})
        a.steps = read_json(again)["steps"]
        print(f"{a.name}: {a.steps} steps")
    if a.method == "roundtrip":
        calls = [{**t, "call": t["name"], "photo": f"grid/true/{t['name']}.png", "count": 1, "seed": 1} for t in grid["true"]]
    else:
        calls = grid["calls"]
    if a.limit:
        size = calls[0]["count"]
        calls = calls[:-(-a.limit // size)]
    generate(a, grid, calls)


if __name__ == "__main__":
    main()
