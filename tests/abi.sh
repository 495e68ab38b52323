#!/bin/sh
# Programs that were built with the library as it was keep working: its interface is that of data/blemish.abi, by libabigail's abidiff.
# abi.sh BUILD_DIR SOURCE_DIR. After an intended change: scripts/abi-baseline.sh
set -eu
build=$1 source=$2
skip() { echo "abi.sh: $*"; [ -z "${CI:-}" ] || exit 1; exit 77; }
command -v abidiff >/dev/null || skip "abidiff is not installed (package abigail-tools)"
[ "$(uname -m)" = x86_64 ] || exit 77 # the layouts are those of this architecture
readelf -SW "$build/libblemish.so" | grep -q '\.debug_info' || skip "the library has no debug information (CMAKE_BUILD_TYPE)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sh "$source/scripts/abi-baseline.sh" "$build" "$work/now.abi"
abidiff --harmless "$source/tests/data/blemish.abi" "$work/now.abi" >"$work/report" || {
    cat "$work/report"
    echo "abi.sh: the interface has changed. If it was meant to: sh scripts/abi-baseline.sh $build"
    exit 1
}
# and it would notice: a function that is gone, a constant of another value, new fields, a field of another name
for change in "s/'bl_version'/'bl_verse'/" "s/\(name='BL_ERROR_MEMORY' value='\)-6/\1-9/" \
    "/<data-member .*layout-offset-in-bits='64'/,/<.data-member>/d" "s/'max_memory'/'most_memory'/"; do
    sed "$change" "$source/tests/data/blemish.abi" >"$work/changed.abi"
    if cmp -s "$source/tests/data/blemish.abi" "$work/changed.abi" ||
        abidiff --harmless "$work/changed.abi" "$work/now.abi" >"$work/report"; then
        printf 'abi.sh: not noticed: %s\n' "$change"
        exit 1
    fi
done
