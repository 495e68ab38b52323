#!/bin/sh
# Writes the library's interface down, for tests/abi.sh to compare with: names, types and layouts of what the two headers declare.
#   sh scripts/abi-baseline.sh [BUILD_DIR] [OUT]        from its libblemish.so, with debug information; to tests/data/blemish.abi
# After an intended change of blemish.h: run it, and see in its diff that nothing else changed. Until 1.0 a change that programs notice
# takes a new minor version, which is in the library's name. Needs abidw (package abigail-tools).
set -eu
build=${1:-build}
source=$(dirname "$0")/..
out=${2:-$source/tests/data/blemish.abi}
headers=$(mktemp -d)
trap 'rm -rf "$headers"' EXIT
cp "$source/runtime/blemish.h" "$source/runtime/blemish_vulkan.h" "$headers"
# What the library itself needs is not part of it, nor are the folders it was built in. Without hashes everything is compared.
abidw --headers-dir "$headers" --exported-interfaces-only --drop-private-types --drop-undefined-syms \
    --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed --type-id-style hash "$build/libblemish.so" |
    sed -e '/<undefined-elf/,/<\/undefined-elf/d' \
        -e "s|path='[^']*/\([a-z]*/[a-z_]*\.c\)'|path='\1'|" -e "s| hash='[0-9a-f]*'||" >"$out.part"
mv "$out.part" "$out"
