#!/bin/sh
# A whole model against golden tensors, stage by stage: usage tests/verify.sh <blemish> <model of the reference folder> [options of verify]
# 77 (skipped) without a reference folder; that is a failure when CI is set.
if [ -z "$BLEMISH_REFERENCE" ]; then
    echo "BLEMISH_REFERENCE is not set"
    [ -z "$CI" ] || exit 1
    exit 77
fi
blemish=$1 model=$2
shift 2
golden=$BLEMISH_REFERENCE/golden
exec "$blemish" verify --progress none --no-cache --model "$BLEMISH_REFERENCE/models/$model" "$@" "$golden/text_$model.safetensors" \
    "$golden/unet_$model.safetensors" "$golden/vae_$model.safetensors" "$golden/plain_$model.safetensors" \
    "$golden/schedulers.safetensors" "$golden/ops.safetensors"
