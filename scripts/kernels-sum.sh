#!/bin/sh
# Prints one number for all kernels, which docs/portability.md bears too: another row of shaders/kernels.def or another line of a shader
# makes another number, a comment does not.
set -eu
cd "$(dirname "$0")/../shaders"
{
    grep '^K(' kernels.def
    # shellcheck disable=SC2046 # names
    cat $(sed -n 's/^K([a-z0-9_]*, *[a-z0-9_]*, *\([a-z0-9_]*\),.*/\1.comp/p' kernels.def | sort -u) inc/*.glsl inc/*.h |
        sed 's,//.*,,; s/ *$//; /^$/d'
} | sha256sum | cut -c 1-16
