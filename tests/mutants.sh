#!/bin/sh
# How many wrong shaders the self-test notices: tests/mutants.sh PROGRAM SHADERS SPIRV [all]
# PROGRAM: the test program mutants; SHADERS: the folder of the sources; SPIRV: the folder of the compiled ones, those of the program.
# Without "all" only what tests/mutants.txt marks for CI. Exit 77: no shader compiler or no device.
set -eu
program=$1 shaders=$2 spirv=$3 all=${4:-}
here=$(dirname "$0")
glslang=$(command -v glslangValidator || command -v glslang) || { echo "mutants: no shader compiler"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/spv"
grep -v '^#' "$here/mutants.txt" | while read -r first rest; do
    case $first in '*') ;; *) [ -n "$all" ] || continue; rest="$first $rest" ;; esac
    printf '%s\n' "$rest" # echo may take the backslashes
done >"$work/rules"
while read -r name shader type file script; do
    rm -rf "$work/src"
    mkdir "$work/src"
    cp -r "$shaders/inc" "$shaders/$shader.comp" "$work/src"
    sed "$script" "$shaders/$file" >"$work/src/$file"
    if cmp -s "$shaders/$file" "$work/src/$file"; then
        echo "mutants: $name changes nothing in $file" >&2
        exit 1
    fi
    half=0
    [ "$type" = f32 ] || half=1
    "$glslang" --quiet -V --target-env vulkan1.1 -DBL_F16=$half "-I$work/src" "$work/src/$shader.comp" -o "$work/spv/$name.mutant.spv"
    cp "$spirv/${shader}_$type.spv" "$work/spv"
    echo "$name $shader $type"
done <"$work/rules" >"$work/list"
"$program" "$work/spv" <"$work/list"
