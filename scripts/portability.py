#!/usr/bin/env python3
"""What scripts/portability.sh found, as docs/portability.md: portability.py FOLDER DEVICES SUM >PAGE

FOLDER has modules.tsv, results.jsonl and host.jsonl; DEVICES is the list of GPUs: name, vendor, ..., what it is, between tabs; SUM is
what kernels-sum.sh prints.
Exits 1, naming them, when EXCEPTIONS does not explain a failure or spill, or explains what is not there.
"""
import fnmatch
import json
import re
import statistics
import sys

# device, kernel, why its spills or failures stay; the first that matches counts
EXCEPTIONS = [
    ("nv-kepler", "conv_*_staged", "63 registers, 72 wanted; `--caps invocations=128` takes the small tile, which fits"),
    ("nv-kepler", "attention_bwd_kv_*_small_vec4", "not taken: Kepler has the lanes for the large tile, which fits"),
    ("bcm-*", "attention_bwd_*_small*", "not taken: V3D has the lanes for the large tile"),
    ("bcm-*", "attention_bwd_kv_*_vec4", "64 registers; `--caps invocations=128` takes the small tile, which fits"),
    ("bcm-*", "attention_bwd_*", "for head sizes that are no multiples of four, which no published model has"),
    ("arm-*-old", "*_fwd_staged", "Mesa 25.0.7; the compiler of 26.1.6 has no spills on the same GPUs"),
    ("img-axe116m", "attention_bwd_kv_wide128_small*", "a head of 512, the autoencoder's, whose gradient only the CLIP image loss takes"),
]

MISSING = {"storageBuffer16BitAccess": "s16", "subgroup": "sg", "maxComputeWorkGroup": "lanes"}
# vendor: heading, statistic of registers, statistic of what runs at once, its unit
VENDORS = {
    "amd": ("AMD", "VGPRs", "Subgroups per SIMD", "waves"),
    "intel": ("Intel", "Max live registers", "Max dispatch width", "lanes"),
    "nvidia": ("NVIDIA", "Number of GPRs", "Max warps/SM", "warps"),
    "qualcomm": ("Adreno", "Registers used", "Max Waves Per Core", "waves"),
    "apple": ("Apple", "GPRs", "Threads", "threads"),
    "arm": ("Mali", "Registers used", "Threads", "threads"),
    "broadcom": ("V3D", "max-temps", "Thread Count", "threads"),
    "imagination": ("PowerVR", "Temp count", None, None),
}
SPILLS = "Spilled VGPRs", "Spills to memory", "Spills", "STP Count", "Spill count", "Spill Count"
SCRATCH = "Scratch size", "SLM size", "Scratch Memory Size", "Scratch"
MEMORY_USED = "LDS size", "Workgroup Memory Size"
INSTRUCTIONS = "Instructions", "Instruction count", "Instruction Count", "Inst group count"


class Result:
    """One module on one device."""

    def __init__(self, record):
        self.outcome = record["result"]
        missing = record.get("missing", "").split(",")
        self.missing = sorted({short for m in missing for long, short in MISSING.items() if m.startswith(long)} or
                              set(missing) - {""})
        self.statistics = {}
        for executable in record.get("executables", []):
            self.statistics.update(executable["stats"])
        # Broadcom and older Arm drivers tell in their log; the last line is of the strategy that was taken.
        for line in record.get("log", "").splitlines():
            if "MESA_SHADER_COMPUTE" in line:
                for name, pattern in (("Instructions", r"(\d+) inst\b"), ("Spills", r"(\d+):\d+ spills"), ("Threads", r"(\d+) threads"),
                                      ("max-temps", r"(\d+) max-temps")):
                    if found := re.search(pattern, line):
                        self.statistics[name] = int(found[1])

    def first(self, names):
        return next((self.statistics[n] for n in names if n in self.statistics), None)

    def trouble(self):
        """In words; empty if there is none."""
        if self.outcome not in ("OK", "SKIP"):
            return "the compiler " + {"CRASH": "crashes", "TIMEOUT": "takes more than two minutes"}.get(self.outcome, self.outcome)
        return self.spilt()

    def spilt(self):
        """In words; empty if nothing."""
        spills, scratch = self.first(SPILLS), self.first(SCRATCH)
        parts = [f"{spills} spills"] if spills else []
        return ", ".join(parts + ([f"{scratch} bytes of scratch"] if scratch else []))


def read(folder, list_of_devices):
    modules = {}  # name: (kernel, type, head)
    subgroups, big = set(), set()  # modules that need capability sg, workgroups of 256 lanes, as the program sees it
    for line in open(f"{folder}/modules.tsv"):
        module, kernel, dtype, head, caps = line.rstrip("\n").split("\t")
        modules[module] = (kernel, dtype, head)
        if "SG" in caps.split("|"):
            subgroups.add(module)
        if "BIG" in caps.split("|"):
            big.add(module)
    names = {}  # device: (vendor, what it is)
    for line in open(list_of_devices):
        fields = line.rstrip("\n").split("\t")
        if len(fields) > 5 and not line.startswith("#"):
            names[fields[0]] = (fields[1], fields[-1])
    devices, results, broken = {}, {}, []  # name: properties; (device, module): Result
    for line in open(f"{folder}/results.jsonl", errors="replace"):
        if not line.startswith("{"):
            continue
        record = json.loads(line)
        if record["kind"] == "device":
            devices[record["label"]] = record
        elif record["kind"] == "shader":
            module = record["shader"].removesuffix(".spv")
            if module not in modules:  # of kernels that have changed since
                continue
            device = record["label"]
            if module in subgroups and "sg" not in caps_of(devices[device]):
                record = {"result": "SKIP", "missing": "subgroup"}
            if module in big and devices[device]["wg_invocations"] < 256:
                record = {"result": "SKIP", "missing": "maxComputeWorkGroup"}
            results[device, module] = Result(record)
        else:
            broken.append(f"{record['label']}: {record['error']}")
    return modules, names, devices, results, broken


def table(*rows):
    for i, row in enumerate(rows):
        print("| " + " | ".join(str(c) for c in row) + " |")
        if i == 0:
            print("|" + "---|" * len(row))


def caps_of(d):
    """As features_caps in runtime/device.c, from the properties that kernels ask for."""
    subgroups = int(d["subgroup_ops"], 16) & 0x15 == 0x15 and d["subgroup_compute"] and d["subgroup"] >= 4
    return ", ".join(n for n, there in (("s16", d["ssbo16"]), ("f16", d["f16"]), ("sg", subgroups), ("cm", d["coopmat"])) if there)


def used(d):
    """Why the program would not use a device; empty if it would."""
    return "Vulkan " + d["api"] if d["api"].startswith("1.0.") else ""


def device_table(modules, names, devices, results):
    rows = [("device", "what", "Vulkan", "has", "lanes", "compiled", "left out", "failed", "spill")]
    for label, d in devices.items():
        mine = {m: results[label, m] for m in modules if (label, m) in results}
        skipped = [r for r in mine.values() if r.outcome == "SKIP"]
        why = [f"{sum(w in r.missing for r in skipped)} {w}" for w in sorted({w for r in skipped for w in r.missing})]
        failed = [r for r in mine.values() if r.outcome not in ("OK", "SKIP")]
        rows.append((label, names[label][1], d["api"] + (" (not used)" if used(d) else ""), caps_of(d) or "-", d["wg_invocations"],
                     len(mine) - len(skipped) - len(failed), ", ".join(why) or "-", len(failed) or "-",
                     sum(bool(r.spilt()) for r in mine.values()) or "-"))
    table(*rows)


def kernel_table(modules, names, devices, results):
    rows = [("kernel", "devices", "instructions", *(f"{h}{', ' + u if u else ''}" for h, _, _, u in VENDORS.values()), "spill on")]
    for kernel in dict.fromkeys(k for k, _, _ in modules.values()):
        built = [m for m, (k, _, _) in modules.items() if k == kernel]
        ok = {(d, m): results[d, m] for d in devices for m in built if (d, m) in results and results[d, m].outcome == "OK"}
        instructions = [n for r in ok.values() if (n := r.first(INSTRUCTIONS))]
        cells = []
        for vendor, (_, registers, together, _) in VENDORS.items():
            mine = [r.statistics for (d, _), r in ok.items() if names[d][0] == vendor]
            most = max((s[registers] for s in mine if registers in s), default="-")
            least = min((s[together] for s in mine if together in s), default=None)
            cells.append(f"{most}, {least}" if least is not None else most)
        spilling = {d for (d, _), r in ok.items() if r.spilt()}
        size = f"{statistics.median_low(instructions)} to {max(instructions)}" if instructions else "-"
        rows.append((kernel, len({d for d, _ in ok}), size, *cells, len(spilling) or "-"))
    table(*rows)


def trouble_table(modules, results):
    """Prints every spill and failure; returns those without a reason, and reasons without either."""
    rows, unexplained = {}, []  # rows: (device, kernel, why): what: types and heads
    idle = {e for e in EXCEPTIONS if any(fnmatch.fnmatch(device, e[0]) for device, _ in results)}
    for (device, module), r in results.items():
        if not r.trouble():
            continue
        kernel, dtype, head = modules[module]
        reason = next((e for e in EXCEPTIONS if fnmatch.fnmatch(device, e[0]) and fnmatch.fnmatch(kernel, e[1])), None)
        idle.discard(reason)
        which = dtype + (f" {head}" if head != "0" else "")
        row = rows.setdefault((device, kernel, reason[2] if reason else "**none**"), {})
        row.setdefault(r.trouble(), []).append(which)
        if not reason:
            unexplained.append(f"{device}: {module}: {r.trouble()}")
    table(("device", "kernel", "what: type, head", "why it stays"),
          *((d, k, "; ".join(f"{t}: {', '.join(w)}" for t, w in row.items()), why) for (d, k, why), row in rows.items()))
    return unexplained + [f"no longer needed: {d} {k}" for d, k, _ in idle]


INTRODUCTION = """# Portability

What the compilers of {devices} GPUs make of the kernels: Mesa's Vulkan drivers on top of kernel drivers that only pretend. No shader
runs, so this page says that a kernel is accepted and what it costs in registers, not that it is right or fast, and that the program around
it works on the driver; the makers' own drivers have other compilers. `scripts/portability.sh` writes the page and fails when something
below has no explanation.

A module is a row of `shaders/kernels.def` in one storage type and, for attention, one head size: those of Stable Diffusion 1.5 and 2.1,
and the largest of the row. There are {modules} of them, specialised as the program does it. Rows with `TALL` are left out: only
software devices take them. The page is of kernels {sum} (`scripts/kernels-sum.sh`); a test fails when those are others.
"""
DEVICES = """
## Devices

`has`: capabilities that kernels ask for (`docs/engine.md`). `lanes`: largest workgroup. `compiled`, `left out`, `failed`, `spill`: modules;
left out are those that need a capability or workgroup (`BIG` ones too) that it lacks; another row does their work. A device that says
Vulkan 1.0 is not used by the program; its compiler was asked all the same.
"""
KERNELS = """
## Kernels

`devices`: how many compile it. `instructions`: median and most, of all devices and types. Under each maker the most registers and
the least that runs at once, in its own units: AMD vector registers (of 256) and waves of a SIMD, Intel live registers and lanes of an
instruction, NVIDIA registers (of 255, Kepler 63) and warps of an SM, Adreno vec4 registers and waves, Apple 16-bit registers (of 256)
and threads, Mali registers (of 64; only newer drivers tell) and threads of a register file, V3D registers and threads, PowerVR
registers.
"""
MEMORY = """
No kernel uses more than {used} bytes of workgroup memory; every device has at least {there}.
"""
HOST = """
## Host side

`tests/host_side.c`, which is the program without its arithmetic: text encoder, autoencoder and two steps of the sampler of a small
network in the shape of Stable Diffusion 1.5 at 64 pixels, from opening the device and choosing kernels to reading results back, with the
type and rows that the device gets by default. Memory, pipelines and submissions are the driver's own. On each of the {passed} that pass,
the completion sentinel noticed at the first submission that nothing had been computed; then the test counts in the driver's place.

`tries`: V3D submits on a thread of its own, which a kernel that only pretends overtakes: it may crash, and does when the device is closed.
Devices under qemu run programs for aarch64 only, for which the test is not built here.
"""
TROUBLE = """
## Spills and failures

A tile that spills gives way to a smaller one. What is left, and why:
"""


def read_host(folder):
    lines = [json.loads(line) for line in open(f"{folder}/host.jsonl")]
    return {r["label"]: r for r in lines}


def host_table(names, devices, host):
    """Prints what the host side did on every device; returns the failures that have no reason."""
    rows, problems = [("device", "type", "submissions", "dispatches", "pipelines", "MiB at the peak", "tries", "result")], []
    for label, d in devices.items():
        r = host.get(label)
        if not r:
            emulated = "qemu" in names[label][1]
            rows.append((label, *["-"] * 6, "left out: aarch64 under qemu" if emulated else "crashed three times"))
            problems += [] if emulated else [f"{label}: the host side crashed"]
        elif used(d) and "1.1" in r["error"]:
            rows.append((label, *["-"] * 6, "refused: " + r["error"]))
        else:
            wrong = r["error"] or ("" if r["noticed"] else "nothing noticed")
            closing = "" if r["closed"] else ", crashed when closed"
            rows.append((label, r["precision"], r["submissions"], r["dispatches"], r["pipelines"], f"{r['bytes'] / 2**20:.1f}", r["tries"],
                         (wrong or "passed") + closing))
            if wrong or closing and names[label][0] != "broadcom":
                problems.append(f"{label}: host side: {wrong or closing}")
    table(*rows)
    return problems


def main(folder, list_of_devices, kernels_sum):
    modules, names, devices, results, broken = read(folder, list_of_devices)
    print(INTRODUCTION.format(devices=len(devices), modules=len(modules), sum=kernels_sum) + DEVICES)
    device_table(modules, names, devices, results)
    print(KERNELS)
    kernel_table(modules, names, devices, results)
    memory = max(r.first(MEMORY_USED) or 0 for r in results.values())
    print(MEMORY.format(used=memory, there=min(d["shared"] for d in devices.values())) + TROUBLE)
    problems = trouble_table(modules, results) + broken
    host = read_host(folder)
    passed = sum(not r["error"] and r["noticed"] for r in host.values())
    print(HOST.format(passed=passed))
    problems += host_table(names, devices, host)
    problems += [f"{d}: {m}: no result" for d in devices for m in modules if (d, m) not in results]
    print(f"{len(devices)} GPUs, {len(results)} compiles, {len(problems)} without explanation", file=sys.stderr)
    for text in problems:
        print(f"portability: {text}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
