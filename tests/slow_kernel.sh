#!/bin/sh
# bench compare notices a slowed kernel: tests/slow_kernel.sh BLEMISH PROGRAM SHADERS SPIRV
# PROGRAM: the test program slow_kernel; SHADERS: the folder of the sources; SPIRV: the folder of the compiled ones, those of the program.
# Exit 77: no shader compiler or no device.
set -eu
blemish=$1 program=$2 shaders=$3 spirv=$4
skip() {
    echo "slow_kernel: $1"
    [ -z "${CI:-}" ] || exit 1
    exit 77
}
glslang=$(command -v glslangValidator || command -v glslang) || skip "no shader compiler"
"$blemish" devices >/dev/null 2>&1 || skip "no device"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Every term of the sum 400 times over: several times slower than anything that a busy machine does to such a short kernel. No compiler
# knows that all of them are the same.
slow='s|sum += exp(\(.*\));|{ float e = 0.0; for (uint i = 0; i < 400; i++) e = max(e, exp(\1 + 1e-30 * float(i))); sum += e; }|'
sed "$slow" "$shaders/softmax_fwd.comp" >"$work/slow.comp"
if cmp -s "$shaders/softmax_fwd.comp" "$work/slow.comp"; then
    echo "slow_kernel: the shader is another by now"
    exit 1
fi
"$glslang" --quiet -V --target-env vulkan1.1 -DBL_F16=0 "-I$shaders" "$work/slow.comp" -o "$work/slow.spv"
bench() { "$@" shader 'softmax_fwd_f32*' -q --progress none --no-cache --out "$out"; }
out=$work/right.jsonl
bench "$blemish" bench >/dev/null
out=$work/slow.jsonl
bench "$program" "$spirv/softmax_fwd_f32.spv" "$work/slow.spv" >/dev/null
if "$blemish" bench compare "$work/right.jsonl" "$work/slow.jsonl" >"$work/told"; then
    cat "$work/told"
    echo "slow_kernel: a kernel that takes several times as long is not noticed"
    exit 1
fi
cat "$work/told"
grep -q 'softmax_fwd_f32.*SLOWER' "$work/told"
