#!/bin/sh
# What the networks of Stable Diffusion 1.5 and 2.1 cost at full size on this machine, in f16 and f32, as a table.
#   sh scripts/measure-size.sh [FOLDER] [options and subjects of build/measure]      by default: load unet decode encode, 512 pixels
# FOLDER keeps the made-up checkpoints (4.5 GB) for the next time; without one they lie in a temporary folder.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
"" | -* | load | unet | decode | encode)
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    ;;
*)
    dir=$1
    shift
    mkdir -p "$dir"
    ;;
esac
case ${1:-} in "" | -*) set -- "$@" load unet decode encode ;; esac
sh scripts/build.sh
for model in sd15 sd21; do
    [ -d "$dir/$model-f16" ] || python3 scripts/make-checkpoint.py "$model" "$dir/$model-f16"
    for precision in f16 f32; do
        echo "== $model, $precision"
        build/measure --model "$dir/$model-f16" --precision "$precision" "$@" || echo "not measured: see above"
    done
done
