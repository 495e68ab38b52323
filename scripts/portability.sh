#!/bin/sh
# Compiles every row of shaders/kernels.def for GPUs that are not here, runs the host side on them, and writes docs/portability.md:
#   BLEMISH_LAB=DIR sh scripts/portability.sh [build folder [devices]]
# DIR holds Mesa's Vulkan drivers on top of kernel drivers that only pretend (DIR/run-lab, DIR/bin/pipecheck): they compile and say
# with which registers, but no shader runs. The host side (tests/host_side.c) has a tiny checkpoint. `devices` is a pattern of run-lab,
# e.g. 'amd-*,arm-g610'; the page is then only printed, and BLEMISH_MODEL=DIR may name another checkpoint.
# Exits 1 when something that should compile does not, or spills where the page has no reason for it, or a host side fails.
set -eu
cd "$(dirname "$0")/.."
dir=${1:-build}
lab=${BLEMISH_LAB:-}
if [ ! -x "$lab/run-lab" ]; then
    echo "portability: no folder with drivers (BLEMISH_LAB)" >&2
    exit 2
fi
sh scripts/build.sh "$dir"
work=$dir/portability
rm -rf "$work"
mkdir -p "$work"

# Specialised as runtime/kernel.c does it; heads are those of Stable Diffusion 1.5 and 2.1 that a row takes, and its largest.
sed -n 's/^K(\(.*\))$/\1/p' shaders/kernels.def | tr -d ',' | while read -r name op shader caps types fits _ wg m n k; do
    case $caps in *TALL*) continue ;; esac # no GPU takes it
    case $fits:$op in
    attention_staged*) heads="40 64 80 96" ;;
    attention_wide40*) heads=160 ;;
    attention_wide128*) heads=512 ;;
    *:attention_*) heads="64 160" ;;
    *) heads=0 ;;
    esac
    for type in f32 f16; do
        case $types in *"${type#f}"*) ;; *) continue ;; esac
        for head in $heads; do
            module=${name}_$type
            [ "$head" = 0 ] || module=${module}_$head
            spirv-opt --set-spec-const-default-value "0:$wg 1:$m 2:$n 3:$k 4:$head" "$dir/spirv/${shader}_$type.spv" -o "$work/$module.spv"
            printf '%s\t%s\t%s\t%s\t%s\n' "$module" "$name" "$type" "$head" "$caps"
        done
    done
done >"$work/modules.tsv"
# Exit statuses count what does not compile; the page tells it in detail.
nice "$lab/run-lab" ${2:+-d "$2"} -- "$lab/bin/pipecheck" -V -L -n 20000 "$work"/*.spv >"$work/results.jsonl" || true
# The host side, up to three times where a driver crashes before the end.
size=
model=${BLEMISH_MODEL:-}
if [ -z "$model" ] || [ -z "${2:-}" ]; then
    model=$work/model
    size="--size 64"
    python3 scripts/make-checkpoint.py sd15 "$model" --divide 16 >/dev/null
fi
for device in $("$lab/run-lab" ${2:+-d "$2"} -l | cut -d ' ' -f 1); do
    for try in 1 2 3; do
        # shellcheck disable=SC2086 # two words or none
        nice "$lab/run-lab" -d "$device" -- "$dir/host_side" --model "$model" $size >"$work/host.out" 2>"$work/host.err" || true
        grep -q '^{' "$work/host.out" && break
        ! grep -q skipped "$work/host.err" || break
    done
    closed=true
    ! grep -q ': exit 139' "$work/host.err" || closed=false
    grep '^{' "$work/host.out" | sed "s/}\$/,\"tries\":$try,\"closed\":$closed}/" || true
done >"$work/host.jsonl"
if [ -n "${2:-}" ]; then
    python3 scripts/portability.py "$work" "$lab/devices.tsv"
else
    result=0
    python3 scripts/portability.py "$work" "$lab/devices.tsv" >"$work/page.md" || result=1
    cp "$work/page.md" docs/portability.md
    exit $result
fi
