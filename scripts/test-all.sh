#!/bin/sh
# Everything a change must pass before it is called done; prints a table, exits 1 when a row failed.
#   sh scripts/test-all.sh [PATTERN]        rows whose name matches, e.g. 'asan*'; logs are in build-all/
# AddressSanitizer looks for leaks in every program, those of the drivers excepted: tests/lsan.supp.
set -eu
cd "$(dirname "$0")/.."
pattern=${1:-*}
sh scripts/setup-dev.sh
. scripts/reference.sh
. scripts/drivers.sh
logs=build-all
mkdir -p "$logs"
: >"$logs/table"
failures=0

row() { # name, command: its output goes to a log
    name=$1
    shift
    # shellcheck disable=SC2254 # it is a pattern
    case $name in $pattern) ;; *) return 0 ;; esac
    from=$(date +%s) result=passed
    printf '%-24s' "$name" >&2
    "$@" >"$logs/$name.log" 2>&1 || { result=FAILED failures=$((failures + 1)); }
    printf '%-24s %-8s %6s s   %s\n' "$name" "$result" $(($(date +%s) - from)) "$(summary "$name")" >>"$logs/table"
    echo "$result" >&2
}
absent() { # name, why
    # shellcheck disable=SC2254
    case $1 in $pattern) printf '%-24s %-8s %8s   %s\n' "$1" absent "" "$2" >>"$logs/table" ;; esac
}
summary() {
    grep -hE 'tests passed|(rows|passed), [0-9]+ failed|wrong shaders noticed|kernels give the known|values differ|GPUs, ' \
        "$logs/$1.log" | tail -n 1
}
ctest_in() { dir=$1; shift; ctest --test-dir "$dir" --output-on-failure "$@"; }
build_and_test() { dir=$1; shift; sh scripts/build.sh "$dir" -DBLEMISH_WERROR=ON "$@" && ctest_in "$dir"; }
asan() {
    LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0" ASAN_OPTIONS=detect_stack_use_after_return=1 \
        build_and_test build-asan -DBLEMISH_SANITIZE=ON
}
bin=build-gcc
verify() {
    for model in tiny15 tiny21; do
        for what in stages runs; do
            sh tests/verify.sh "$bin/blemish" "$model" "$what" "$@" || return 1
        done
    done
}
verify_on() { driver=$1; shift; (export VK_DRIVER_FILES="$driver"; verify "$@"); }
# Every set of the capabilities that any kernel asks for (kernels.def); the others choose nothing.
verify_caps() {
    for caps in base s16 sg tall s16,sg s16,tall sg,tall s16,sg,tall; do
        sh tests/verify.sh "$bin/blemish" tiny15 stages --precision f32 --caps "$caps" || return 1
        case $caps in *s16*) sh tests/verify.sh "$bin/blemish" tiny15 stages --precision f16 --caps "$caps" || return 1 ;; esac
    done
}
# One small picture; the same bytes are promised from every width of the machine's vectors and from every set of capabilities.
picture() { # name, then environment and options
    picture=$logs/$1.png
    shift
    env "$@" "$bin/blemish" generate --progress none --no-cache --model "$BLEMISH_REFERENCE/models/tiny15" \
        --photo "$BLEMISH_REFERENCE/photos/hazelnut.png" --prompt "a photo of a hazelnut that is damaged" \
        --steps 6 --seed 42 --width 128 --height 128 --precision f32 --force --out "$picture"
}
same() { picture "$@" && "$bin/same_pixels" "$logs/first.png" "$logs/$1.png" && echo "same pixels"; }

[ -z "$lavapipe" ] || export VK_DRIVER_FILES="$lavapipe"
if [ -n "${BLEMISH_REFERENCE:-}" ]; then
    export CI=true # a skipped test is a failure
else
    absent golden "no folder with reference models (BLEMISH_REFERENCE): what needs one is skipped"
fi
row gcc build_and_test build-gcc -DCMAKE_C_COMPILER=gcc
row clang build_and_test build-clang -DCMAKE_C_COMPILER=clang
row asan asan
for bits in 128 256 512; do
    row "kernels-width-$bits" env LP_NATIVE_VECTOR_WIDTH=$bits $bin/check
done
row reorderings env BLEMISH_REORDERINGS=1000 $bin/test_order
row kernels-base $bin/check --caps base
row selftest $bin/blemish selftest --no-cache --progress none
row mutants sh tests/mutants.sh $bin/mutants shaders $bin/spirv all
row defence env BLEMISH_THOROUGH=6 $bin/test_defence
row faults env BLEMISH_FAULTS=10 $bin/test_faults
row fuzz sh scripts/fuzz.sh 20s
row aarch64 env BLEMISH_BUILD=$bin sh scripts/test-aarch64.sh
row validation env BLEMISH_PROBE="$bin/blemish devices" sh scripts/validation.sh -l $bin/Testing/Temporary/LastTest.log \
    ctest --test-dir $bin --output-on-failure
if [ -n "${BLEMISH_LAB:-}" ]; then
    row portability sh scripts/portability.sh $bin
else
    absent portability "no folder with compilers of GPUs (BLEMISH_LAB)"
fi
if [ -n "$swiftshader" ]; then
    row swiftshader-kernels env VK_DRIVER_FILES="$swiftshader" $bin/check
    [ -z "${BLEMISH_REFERENCE:-}" ] ||
        row swiftshader-verify verify_on "$swiftshader"
else
    absent swiftshader "chromium-common is not installed"
fi
if [ -n "${BLEMISH_REFERENCE:-}" ]; then
    row verify-f32 verify --precision f32
    row verify-f16 verify --precision f16
    row verify-base verify --precision f32 --caps base
    row verify-caps verify_caps
    for bits in 128 512; do
        row "verify-width-$bits" env LP_NATIVE_VECTOR_WIDTH=$bits sh tests/verify.sh $bin/blemish tiny15 stages
    done
    row picture picture first LP_NATIVE_VECTOR_WIDTH=256
    row picture-again same again LP_NATIVE_VECTOR_WIDTH=256
    row picture-width-128 same width-128 LP_NATIVE_VECTOR_WIDTH=128
    row picture-width-512 same width-512 LP_NATIVE_VECTOR_WIDTH=512
    row picture-base same base BLEMISH_CAPS=base
fi
echo
cat "$logs/table"
[ $failures -eq 0 ] || { echo "$failures rows failed; logs are in $logs/"; exit 1; }
