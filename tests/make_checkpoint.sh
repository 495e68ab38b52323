#!/bin/sh
# The checkpoints of scripts/make-checkpoint.py, made small: usage tests/make_checkpoint.sh <blemish> <scripts folder>
# A picture from each: the program binds every tensor by name and shape, and refuses a picture that is flat or not finite.
# 77 (skipped) without python3 or a device; that is a failure when CI is set.
set -eu
blemish=$1 make=$2/make-checkpoint.py
skip() {
    echo "$1"
    [ -z "${CI:-}" ] || exit 1
    exit 77
}
command -v python3 >/dev/null || skip "no python3"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

picture() { # model, type of its weights
    status=0
    python3 "$make" "$1" "$dir/$1" --type "$2" --divide 16
    "$blemish" generate --model "$dir/$1" --prompt "a photo of a hazelnut" --steps 2 --width 64 --height 64 --progress none --no-cache \
        --out "$dir/$1.png" || status=$?
    [ $status -ne 5 ] || skip "no device"
    [ $status -eq 0 ] && [ -s "$dir/$1.png" ]
}
picture sd15 bf16
picture sd21 f16
picture sd21-base f32

# A CLIP model for the image loss.
python3 "$make" clip "$dir/clip" --type bf16 --divide 16
"$blemish" generate --model "$dir/sd15" --clip "$dir/clip" --object bottle --defect damaged --photo "$dir/sd15.png" --steps 2 --width 64 \
    --height 64 --progress none --no-cache --out "$dir/clip.png"
[ -s "$dir/clip.png" ]

# The same seed gives the same bytes, another gives others; a folder that is there is left alone; nothing half made stays behind.
weights=unet/diffusion_pytorch_model.safetensors
python3 "$make" sd15 "$dir/again" --type bf16 --divide 16 --tokenizer "$dir/sd15/tokenizer"
python3 "$make" sd15 "$dir/other" --type bf16 --divide 16 --seed 1
diff -r "$dir/sd15" "$dir/again"
if cmp -s "$dir/sd15/$weights" "$dir/other/$weights"; then echo "another seed gives the same weights"; exit 1; fi
if python3 "$make" sd21 "$dir/again" 2>"$dir/reason"; then echo "a folder that was there was accepted"; exit 1; fi
grep -q "is there already" "$dir/reason"
diff -r "$dir/sd15" "$dir/again"
if python3 "$make" sd15 "$dir/broken" --divide 16 --tokenizer "$dir/none" 2>"$dir/reason"; then
    echo "a missing tokenizer was accepted"
    exit 1
fi
grep -q "vocab.json" "$dir/reason"
[ -z "$(find "$dir" -maxdepth 1 -name 'broken*')" ]
