#!/bin/sh
# Configures and builds: scripts/build.sh [build folder [cmake options]]. What demo.sh and test.sh share; quiet unless it fails.
set -eu
cd "$(dirname "$0")/.."
dir=${1:-build}
[ $# -eq 0 ] || shift
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
if [ ! -f "$dir/CMakeCache.txt" ] && command -v ninja >/dev/null; then
    set -- -G Ninja "$@"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Building in $dir" >&2
{ cmake -S . -B "$dir" "$@" && cmake --build "$dir" -j "$jobs"; } >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
grep -A 4 'warning:' "$log" | grep -v '^\[[0-9]' >&2 || true # without ninja's own lines
