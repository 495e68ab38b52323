#!/bin/sh
# A model against golden tensors: usage tests/verify.sh <blemish> <model of the reference folder> stages|runs|guided [options of verify]
# stages: each network by itself, schedulers, operators, the attention and image losses with their gradients. runs: whole pictures, from
# words and from a photo. guided: whole runs of the published code, every update of them.
#        tests/verify.sh <blemish> <folder or file of a model> <golden tensors> [options of verify]: those, on any machine
# 77 (skipped) without a reference folder or where nothing can compute; that is a failure when CI is set.
verify() {
    code=0
    "$blemish" verify --progress none --no-cache "$@" || code=$?
    [ $code != 5 ] || [ -n "$CI" ] || exit 77
    exit $code
}
if [ -e "$2" ]; then
    blemish=$1 model=$2
    shift 2
    verify --strict --precision f32 --model "$model" "$@"
fi
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
        "$golden/schedulers.safetensors" "$golden/ops.safetensors" "$golden"/att_${model}_*.safetensors
    [ "$model" != tiny15 ] || set -- "$@" --clip "$BLEMISH_REFERENCE/models/tinyclip" "$golden/clip_tiny.safetensors"
    ;;
runs) set -- "$@" "$golden/plain_$model.safetensors" ;;
guided)
    if [ "$model" = tiny15 ]; then
        set -- "$@" --strict --clip "$BLEMISH_REFERENCE/models/tinyclip" "$golden/run_clip32.safetensors" "$golden/run_ddim32.safetensors" \
            "$golden/run_ddim32_refine.safetensors" "$golden/run_pndm32.safetensors"
    else
        set -- "$@" --strict "$golden/run_v21_32.safetensors"
    fi
    ;;
*) echo "verify.sh: stages, runs or guided, not $what" >&2; exit 2 ;;
esac
verify --model "$BLEMISH_REFERENCE/models/$model" "$@"
