#!/bin/sh
# Runs the fuzz targets of tests/fuzz under libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, one after the other, and prints a
# table; exits 1 when there was a finding. Needs clang with its runtime (Debian: libclang-rt-*-dev).
#   sh scripts/fuzz.sh [RUNS | SECONDSs] [TARGET ...]      1000000 runs, or 60s; default 30s of every target
# What is found is in build-fuzz/findings/, the grown corpora in build-fuzz/corpus/. BLEMISH_SPIRV_DIR: shaders of another build.
set -eu
cd "$(dirname "$0")/.."
amount=${1:-30s}
[ $# -eq 0 ] || shift
case $amount in
*s) bound=-max_total_time=${amount%s} ;;
*) bound=-runs=$amount ;;
esac
dir=build-fuzz
cmake -S . -B $dir -DCMAKE_C_COMPILER="${CC:-clang}" -DBLEMISH_FUZZ=ON -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS="-g -O1" \
    ${BLEMISH_SPIRV_DIR:+-DBLEMISH_SPIRV_DIR="$BLEMISH_SPIRV_DIR"} >/dev/null
cmake --build $dir --target fuzz --parallel "${BLEMISH_JOBS:-1}" >$dir/build.log 2>&1 || { tail -n 30 $dir/build.log; exit 1; }
[ $# -gt 0 ] || set -- $(cd tests/fuzz/corpus && ls)

# The targets look for leaks themselves, which costs nothing; the quarantine of freed memory is kept small for speed.
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8:malloc_context_size=8:detect_stack_use_after_return=0
export UBSAN_OPTIONS=print_stacktrace=1
mkdir -p $dir/findings
findings=0
printf '%-12s %12s %9s %10s %9s %s\n' target executions seconds per-second covered findings
for target in "$@"; do
    mkdir -p "$dir/corpus/$target"
    log=$dir/$target.log
    length=4096 dictionary= quiet=
    case $target in
    safetensors | config | tokenizer | plan) length=2048 dictionary=-dict=tests/fuzz/json.dict ;;
    prompt | cache) length=512 ;;
    options) length=512 quiet=-close_fd_mask=2 ;; # it says why it refuses
    esac
    from=$(date +%s)
    found=none
    "$dir/fuzz_$target" "$bound" -max_len=$length -timeout=300 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 -reload=0 \
        -artifact_prefix="$dir/findings/$target-" $dictionary $quiet "$dir/corpus/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1 || {
        found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        findings=1
    }
    seconds=$(($(date +%s) - from))
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-12s %12s %9s %10s %9s %s\n' "$target" "${runs:-?}" $seconds $((${runs:-0} / (seconds > 0 ? seconds : 1))) "${covered:-?}" \
        "${found:-see $log}"
done
exit $findings
