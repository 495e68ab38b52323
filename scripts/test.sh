#!/bin/sh
# Sets up, builds and runs every test: sh scripts/test.sh [options of ctest]
# Where there is a folder with reference models (see scripts/reference.sh), the engine is also compared with the golden tensors in it;
# elsewhere those tests say that they were skipped. On CI (CI set) a skipped test is a failure.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
sh scripts/build.sh
. scripts/reference.sh
if [ -n "${BLEMISH_REFERENCE:-}" ]; then
    echo "Reference models and golden tensors: $BLEMISH_REFERENCE" >&2
else
    echo "No reference models and golden tensors here (BLEMISH_REFERENCE): tests that need them are skipped" >&2
fi
if build/blemish devices | grep -q 'llvmpipe Mesa 2[0-3]\.' && [ "$(build/blemish devices | wc -l)" -eq 2 ]; then
    echo "The only device is Mesa's software driver of before version 24, five times slower: tests labelled long are left out" >&2
    set -- -LE long "$@"
fi
exec ctest --test-dir build --output-on-failure "$@"
