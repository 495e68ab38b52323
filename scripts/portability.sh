#!/bin/sh
# Compiles every row of shaders/kernels.def for GPUs that are not here, runs the host side on them, and writes docs/portability.md:
#   BLEMISH_LAB=DIR sh scripts/portability.sh [build folder [devices]]
# DIR holds Mesa's Vulkan drivers on top of kernel drivers that only pretend (DIR/run-lab, DIR/bin/pipecheck): they compile and say
# with which registers, but no shader runs. The host side (tests/host_side.c) has a tiny checkpoint. `devices` is a pattern of run-lab,
# e.g. 'amd-*,arm-g610'; the page is then only printed, and BLEMISH_MODEL=DIR may name another checkpoint.
# Results are kept in the build folder: what did not change since, or was done before a run was cut short, is not compiled again.
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
renice -n 10 $$ >/dev/null
work=$(cd "$dir" && pwd)/portability
rm -rf "$work/modules"
mkdir -p "$work/modules" "$work/results" "$work/host"

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
            spirv-opt --set-spec-const-default-value "0:$wg 1:$m 2:$n 3:$k 4:$head" "$dir/spirv/${shader}_$type.spv" -o "$work/modules/new"
            module=$module-$(sha256sum "$work/modules/new" | cut -c 1-12)
            mv "$work/modules/new" "$work/modules/$module.spv"
            printf '%s\t%s\t%s\t%s\t%s\n' "$module" "$name" "$type" "$head" "$caps"
        done
    done
done >"$work/modules.tsv"
ls "$work/modules" >"$work/wanted"
# The host side has a tiny checkpoint.
size=
model=${BLEMISH_MODEL:-}
if [ -z "$model" ] || [ -z "${2:-}" ]; then
    model=$work/model
    size="--size 64"
    [ -d "$model" ] || python3 scripts/make-checkpoint.py sd15 "$model" --divide 16 >/dev/null
fi

# Exit statuses count what does not compile; the page tells it in detail.
compile() { # device
    results=$work/results/$1.jsonl
    touch "$results"
    # A line cut short and what took too long, on a busy machine perhaps, are done again; the later line counts.
    sed -n '/"result":"TIMEOUT"/d; /^{"kind":"shader".*}$/s/.*"shader":"\([^"]*\)".*/\1/p' "$results" | sort |
        comm -13 - "$work/wanted" >"$work/todo.$1"
    [ -s "$work/todo.$1" ] || return 0
    (cd "$work/modules" && xargs "$lab/run-lab" -t 7200 -d "$1" -- "$lab/bin/pipecheck" -V -L -n 20000) \
        <"$work/todo.$1" >>"$results" || true
}
# Up to three times where a driver crashes before the end.
host_side() { # device
    out=$work/host/$1.out err=$work/host/$1.err
    for try in 1 2 3; do
        # shellcheck disable=SC2086 # two words or none
        "$lab/run-lab" -d "$1" -- "$dir/host_side" --model "$model" $size >"$out" 2>"$err" || true
        grep -q '^{' "$out" && break
        ! grep -q skipped "$err" || break
    done
    closed=true
    ! grep -q ': exit 139' "$err" || closed=false
    sed -n "/^{/s/}\$/,\"tries\":$try,\"closed\":$closed}/p" "$out" >"$work/host/$1.jsonl"
}
devices=$("$lab/run-lab" ${2:+-d "$2"} -l | cut -d ' ' -f 1)
workers=$(nproc)
for worker in $(seq "$workers"); do
    i=0
    for device in $devices; do
        i=$((i % workers + 1))
        [ $i = "$worker" ] || continue
        compile "$device"
        host_side "$device"
    done &
done
wait
for device in $devices; do
    cat "$work/results/$device.jsonl" >&3
    cat "$work/host/$device.jsonl" >&4
done 3>"$work/results.jsonl" 4>"$work/host.jsonl"
page() { python3 scripts/portability.py "$work" "$lab/devices.tsv" "$(sh scripts/kernels-sum.sh)"; }
if [ -n "${2:-}" ]; then
    page
else
    result=0
    page >"$work/page.md" || result=1
    cp "$work/page.md" docs/portability.md
    exit $result
fi
