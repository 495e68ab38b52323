#!/bin/sh
# Sets up, builds and makes damaged parts from photos of normal ones, with the small model that is shipped with the project: for each the
# picture, the mask of what changed and the attention of the words, and a contact sheet of them all, in the folder demo/.
#   sh scripts/demo.sh [options of 'blemish generate']       e.g. --device 1 --precision f32
# With a checkpoint of your own (Stable Diffusion 1.x or 2.x in diffusers layout), one picture:
#   BLEMISH_MODEL=sd15 [BLEMISH_PHOTO=nut.png] [BLEMISH_PROMPT="a photo of a [[rusty]] nut"] sh scripts/demo.sh
set -eu
cd "$(dirname "$0")/.."

model=models/demo
options="--method cut --strength 0.7 --steps 30 --mask auto --mask-size 0.15-0.25"
# name | photo | object | defect | template | further options
parts='
hazelnut | hazelnut.png | hazelnut | crack | a photo of a {object} with a {defect} on it | --seed 1
leather | leather.png | leather | hole | a photo of a {object} with a {defect} in it | --seed 1
wood | wood.png | wood | crack | a photo of a {object} with a {defect} on it | --seed 1
woven_grid | woven_grid.png | woven grid | hole | a photo of a {object} with a {defect} in it | --seed 2
capsule | capsule.png | capsule | crack | a photo of a {object} with a {defect} on it | --seed 1
'

sh scripts/setup.sh
sh scripts/build.sh
from=$(date +%s) made="" other=""
mkdir -p demo
rm -f demo/*.png

make_picture() { # name, options: one picture, or several with --count; what else it prints (--json, --dry-run) is printed
    out=demo/$1.png
    shift
    printed=$(build/blemish generate --out "$out" --force "$@" </dev/null)
    new=$(printf '%s\n' "$printed" | grep '^demo/.*\.png$' || true)
    made="$made $new"
    [ -n "$new" ] || { other=yes && printf '%s\n' "$printed"; }
}
finish() { # columns of the sheet, what was made: the sheet, and the last words
    [ -z "$other" ] || exit 0
    # shellcheck disable=SC2086 # a list of names
    build/blemish sheet --out demo/sheet.png --force --columns "$1" $made >/dev/null
    echo
    echo "Made $2, in $(($(date +%s) - from)) s. Look at"
    echo "  demo/sheet.png, the contact sheet: $(echo "$1" | sed 's/photo/normal photo/; s/picture/defect/; s/,/, /g')"
    # shellcheck disable=SC2086
    printf '  %s\n' $made
}

if [ -n "${BLEMISH_MODEL:-}${BLEMISH_PHOTO:-}${BLEMISH_PROMPT:-}" ]; then
    model=${BLEMISH_MODEL:-$model} photo=${BLEMISH_PHOTO:-models/demo/photos/hazelnut.png}
    prompt=${BLEMISH_PROMPT:-a photo of a hazelnut that is [[damaged]]} columns=picture
    if [ -f "$photo" ] || [ -n "${BLEMISH_PHOTO:-}" ]; then
        set -- --photo "$photo" --save-photo "$@"
        columns=photo,picture
        case $prompt in *"[["*) columns=photo,picture,mask,attention && set -- --save-attention "$@" ;; esac
    fi
    echo "Making demo/picture.png: \"$prompt\"" >&2
    make_picture picture --model "$model" --prompt "$prompt" --steps 20 --seed 42 "$@"
    finish "$columns" "a picture of \"$prompt\""
    exit
fi

count=$(printf '%s' "$parts" | grep -c '|') n=0
while IFS='|' read -r name photo object defect template further; do
    [ -n "$name" ] || continue
    n=$((n + 1))
    echo "$n of $count: $object, $defect" >&2
    # shellcheck disable=SC2086 # lists of options
    make_picture "$name" --model "$model" --photo "$model/photos/$photo" --object "$object" --defect "$defect" --template "$template" \
        --save-photo --save-attention $options $further "$@"
done <<EOT
$(printf '%s' "$parts" | sed 's/ *| */|/g')
EOT
finish photo,picture,mask,attention "$count damaged parts from photos of normal ones"
echo "Beside each: _mask.png, what changed; _attention.png, where the words took effect; _photo.png, the normal part."
