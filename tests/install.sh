#!/bin/sh
# What `cmake --install` puts in place, used as somebody else would: install.sh BUILD_DIR SOURCE_DIR
# The libraries by pkg-config and by CMake outside the tree, their symbols, manual pages, completion.
set -eu
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install.sh: $*" >&2; exit 1; }
CMAKE_GENERATOR=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$build/CMakeCache.txt") # there may be ninja and no make
export CMAKE_GENERATOR DESTDIR="" LC_ALL=C

cmake --install "$build" --prefix "$work/usr" >"$work/log" || { cat "$work/log"; fail "cmake --install"; }
cd "$work"
mv usr moved # nothing of it knows where it was put
lib=$(dirname "$(find moved -name libblemish.so)")
for f in bin/blemish include/blemish.h include/blemish_vulkan.h share/man/man1/blemish.1 share/man/man1/blemish-generate.1 \
    share/bash-completion/completions/blemish share/zsh/site-functions/_blemish share/fish/vendor_completions.d/blemish.fish; do
    [ -s "moved/$f" ] || fail "$f is not installed"
done

# --- symbols: what the headers declare, no more and no less; the name that programs are linked with
nm -D --defined-only "$lib/libblemish.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort >have
cat moved/include/*.h | sed -n 's/^BL_API .*[ *]\(bl_[a-z_0-9]*\)(.*/\1/p' | sort >want
cmp -s have want || { diff want have; fail "the library exports other functions than its headers declare"; }
[ -s have ] || fail "no symbols"
readelf -d "$lib/libblemish.so" | grep -q 'SONAME.*\[libblemish\.so\.0\.1\]' || fail "no SONAME"

# --- programs
program=moved/bin/blemish
$program version >/dev/null || fail "the installed program does not run"
mkdir static
export PKG_CONFIG_PATH="$PWD/$lib/pkgconfig"
# shellcheck disable=SC2046 # lists of options
cc -std=c11 -Wall -Wextra -Werror "$source/examples/defect.c" -o by-pkg-config $(pkg-config --cflags --libs blemish) || fail "pkg-config"
cp "$lib/libblemish.a" static
# shellcheck disable=SC2046
cc -std=c11 "$source/examples/frames.c" -o frames $(pkg-config --cflags blemish) static/libblemish.a \
    $(pkg-config --static --libs blemish | sed 's/-lblemish//') || fail "pkg-config --static"
cmake -S "$source/examples" -B by-cmake -DCMAKE_PREFIX_PATH="$PWD/moved" >log && cmake --build by-cmake >>log ||
    { cat log; fail "find_package"; }

# --- shaders of another build: taken if they are of these sources, and no compiler is looked for; else refused
cmake -S "$source" -B prebuilt -DBLEMISH_SPIRV_DIR="$build/spirv" >log 2>&1 || { cat log; fail "BLEMISH_SPIRV_DIR"; }
grep -qi glslang prebuilt/CMakeCache.txt && fail "BLEMISH_SPIRV_DIR: a shader compiler was looked for"
mkdir others
sed '1s/[0-9a-f]/x/g' "$build/spirv/kernels_spv.inc" >others/kernels_spv.inc
cmake -S "$source" -B refused -DBLEMISH_SPIRV_DIR="$PWD/others" >log 2>&1 && fail "shaders of other sources are taken"
grep -q 'does not hold the shaders of these sources' log || { cat log; fail "shaders of other sources: no reason"; }

# --- pictures: the same as the program's own
"$program" devices >devices || { [ -n "${CI:-}" ] && fail "no device"; exit 77; }
model=$source/models/demo
"$program" generate --model "$model" --photo "$model/photos/hazelnut.png" --object hazelnut --defect crack --mask auto --steps 20 --seed 0 \
    --progress none --quiet --out want.png >log
LD_LIBRARY_PATH=$lib ./by-pkg-config "$model" "$model/photos/hazelnut.png" hazelnut crack one.png
by-cmake/defect "$model" "$model/photos/hazelnut.png" hazelnut crack two.png
for f in one two; do "$build/same_pixels" want.png $f.png || fail "$f.png differs from what the program makes"; done
# a bright disc on a dark ground, as a camera's frame, and one that is broken
awk 'BEGIN { printf "P5 128 128 255\n"
    for (y = -64; y < 64; y++) for (x = -64; x < 64; x++)
        printf "%c", x * x + y * y < 1600 ? 120 + (x * 7 + y * 5 + 1000) % 7 : 40 }' >disc.pgm
head -c 5000 disc.pgm >short.pgm
mkdir out
./frames "$model" hazelnut hole out short.pgm disc.pgm >made 2>errors && fail "a broken frame passed"
[ "$(cat made)" = out/0002.png ] && [ -s out/0002_mask.png ] || { cat errors; fail "the loop over frames"; }
grep -q 'short.pgm: not a binary PGM' errors || fail "a broken frame was not told"

# --- the device is lost in the middle of the second of three frames: that one is told, the third is made as if nothing had been
mkdir lost unhurt layer
cc -std=c11 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden "$source/tests/losing_layer.c" -o layer/liblosing.so || fail "the layer"
cat >layer/losing.json <<EOT
{ "file_format_version": "1.1.2", "layer": { "name": "VK_LAYER_BLEMISH_losing", "type": "GLOBAL", "library_path": "./liblosing.so",
  "api_version": "1.3.0", "implementation_version": "1", "description": "loses the device",
  "functions": { "vkNegotiateLoaderLayerInterfaceVersion": "losing_negotiate" } } }
EOT
behind() { # when to lose the device, folder, frames
    after=$1 folder=$2
    shift 2
    env VK_LAYER_PATH="$PWD/layer" VK_INSTANCE_LAYERS=VK_LAYER_BLEMISH_losing BLEMISH_LOSE_AFTER="$after" \
        ./frames "$model" hazelnut hole "$folder" "$@" >made 2>errors
}
behind never unhurt disc.pgm disc.pgm disc.pgm || { cat errors; fail "three frames behind a layer"; }
behind lost/0001.png lost disc.pgm disc.pgm disc.pgm && fail "a lost device was not noticed"
grep -q '^losing_layer: the device is lost' errors || { cat errors; fail "the device was not lost"; }
grep -q '^disc.pgm: .*the device was lost' errors || { cat errors; fail "the loss was not told"; }
[ "$(cat made)" = "lost/0001.png
lost/0003.png" ] || { cat made errors; fail "the loop did not go on after the loss"; }
for f in 0001 0001_mask 0003 0003_mask; do
    cmp -s unhurt/$f.png lost/$f.png || fail "$f.png is another one after the loss"
done

if command -v python3 >/dev/null; then # the same frame, the same seed number
    mkdir again
    python3 "$source/examples/frames.py" moved "$model" hazelnut hole again disc.pgm >made 2>errors || { cat errors; fail "ctypes"; }
    [ "$(cat made)" = again/0001.png ] && [ -s again/0001_mask.png ] || fail "ctypes wrote other files"
fi

# --- manual and completion
if command -v mandoc >/dev/null; then
    for f in moved/share/man/man1/*.1; do
        mandoc -T lint -W warning "$f" | grep -v 'missing date' && fail "$f"
    done
fi
command -v zsh >/dev/null && { zsh -n moved/share/zsh/site-functions/_blemish || fail "zsh"; }
command -v fish >/dev/null && { fish -n moved/share/fish/vendor_completions.d/blemish.fish || fail "fish"; }
if command -v bash >/dev/null; then
    cat >complete.sh <<'END'
source moved/share/bash-completion/completions/blemish
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _blemish; echo "$*: ${COMPREPLY[*]}"; }
try blemish gene
try blemish generate --me
try blemish generate --method cu
try blemish generate --mask au
END
    bash complete.sh >completed
    cat >want <<'END'
blemish gene: generate
blemish generate --me: --method
blemish generate --method cu: cut
blemish generate --mask au: auto
END
    cmp -s completed want || { cat completed; fail "bash"; }
fi
echo "installed, linked, run: $(wc -l <have) functions"
