#!/bin/sh
# A model against golden tensors: usage tests/verify.sh <blemish> <model of the reference folder> stages|runs [options of verify]
# stages: each network by itself, schedulers, operators. runs: whole pictures, from words and from a photo.
# 77 (skipped) without a reference folder; that is a failure when CI is set.
if [ -z "$BLEMISH_REFERENCE" ]; then
    echo "BLEMISH_REFERENCE is not set"
    [ -z "$CI" ] || exit 1
    exit 77
fi
blemish=$1 model=$2 what=$3
shift 3
golden=$BLEMISH_REFERENCE/golden
case $what in
stages)
    set -- "$@" "$golden/text_$model.safetensors" "$golden/unet_$model.safetensors" "$golden/vae_$model.safetensors" \
        "$golden/schedulers.safetensors" "$golden/ops.safetensors"
    ;;
runs) set -- "$@" "$golden/plain_$model.safetensors" ;;
*) echo "verify.sh: stages or runs, not $what" >&2; exit 2 ;;
esac
exec "$blemish" verify --progress none --no-cache --model "$BLEMISH_REFERENCE/models/$model" "$@"
