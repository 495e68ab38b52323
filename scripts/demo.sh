#!/bin/sh
# Sets up, builds and does the main job once: a photo and a few words in, a picture of a defect out (demo.png), with
# the mask of what changed (demo_mask.png).
#   sh scripts/demo.sh [options of 'blemish generate']       e.g. --device 1 --precision f32
# BLEMISH_MODEL  a Stable Diffusion 1.x or 2.x checkpoint in diffusers layout; BLEMISH_PHOTO, BLEMISH_PROMPT go with it.
# Without one, the tiny reference model is used, where there is a folder with reference models (see scripts/reference.sh).
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
sh scripts/build.sh
. scripts/reference.sh

prompt=${BLEMISH_PROMPT:-a photo of a hazelnut that is damaged} steps=20
photo=${BLEMISH_PHOTO:-}
if [ -z "$photo" ] && [ -n "${BLEMISH_REFERENCE:-}" ] && [ -f "$BLEMISH_REFERENCE/photos/hazelnut.png" ]; then
    photo=$BLEMISH_REFERENCE/photos/hazelnut.png
fi
if [ -n "${BLEMISH_MODEL:-}" ]; then
    model=$BLEMISH_MODEL tiny=no
elif [ -n "${BLEMISH_REFERENCE:-}" ] && [ -d "$BLEMISH_REFERENCE/models/tiny15" ]; then
    model=$BLEMISH_REFERENCE/models/tiny15 tiny=yes
    steps=10 # enough to see that it works
    set -- --width 256 --height 256 "$@"
else
    cat >&2 <<'EOT'
blemish is built (build/blemish), but there is no model to run. Set BLEMISH_MODEL to a Stable Diffusion 1.x or 2.x checkpoint in
diffusers layout (a folder with tokenizer, text_encoder, unet, vae and scheduler in it) and, if you like, BLEMISH_PHOTO to a PNG or
JPEG file and BLEMISH_PROMPT to what the picture shall show:
    BLEMISH_MODEL=sd15 BLEMISH_PHOTO=nut.png sh scripts/demo.sh
EOT
    exit 1
fi
if [ -n "$photo" ]; then
    [ -n "${BLEMISH_PROMPT:-}" ] || prompt="a photo of a hazelnut that is [[damaged]]" # the guided word
    set -- --photo "$photo" --strength 0.5 "$@"
    from="the photo $(basename "$photo") and the words"
else
    from="the words"
fi
echo "Making demo.png from $from \"$prompt\"" >&2
build/blemish generate --model "$model" --prompt "$prompt" --steps "$steps" --seed 42 --out demo.png --force "$@"
if [ $tiny = yes ]; then
    cat >&2 <<'EOT'
This was the tiny reference model. Its weights are random: the picture shows that the engine runs on this machine, from the words
and the photo to the pixels, not what a trained checkpoint gives. For that, set BLEMISH_MODEL (see the README).
EOT
fi
