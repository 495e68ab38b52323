#!/bin/sh
# Two pictures with every allocation, Vulkan call and file operation failing in turn, once and from then on (tests/test_faults.c): for the
# night, 92,000 runs. Prints what was tried; exits 1 at the first run that ended badly.
#   sh scripts/faults.sh [N [BUILD]]      every N-th place (default 1) in the build folder BUILD (default build-asan, made with sanitizers)
set -eu
cd "$(dirname "$0")/.."
every=${1:-1} dir=${2:-build-asan}
case $dir in *asan*) sh scripts/build.sh "$dir" -DBLEMISH_SANITIZE=ON ;; *) sh scripts/build.sh "$dir" ;; esac
BLEMISH_FAULTS=$every "$dir/test_faults"
