#!/bin/sh
# Runs a command under the Vulkan validation layer, with synchronization validation, and fails when the layer says anything.
#   sh scripts/validation.sh [-l FILE]... COMMAND...        -l: a log that the command writes; it is searched as well
# Refuses to run where the layer or synchronization validation does not come up: silence must mean that somebody listened.
# What it cannot see: a missing barrier between two dispatches that use one buffer (the layer does not look into shaders).
set -eu
logs=""
while [ "${1:-}" = -l ]; do logs="$logs $2"; shift 2; done
[ $# -gt 0 ] || { echo "usage: validation.sh [-l FILE]... COMMAND..." >&2; exit 2; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
settings() { # $1: kinds of message
    cat >"$dir/vk_layer_settings.txt" <<EOT
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.log_filename = stdout
khronos_validation.report_flags = $1
khronos_validation.enable_message_limit = false
khronos_validation.validate_sync = true
khronos_validation.syncval_submit_time_validation = true
khronos_validation.syncval_shader_accesses_heuristic = true
EOT
}
export VK_LAYER_SETTINGS_PATH="$dir/vk_layer_settings.txt" VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
# The layer introduces itself at this level.
settings error,warn,info
probe=${BLEMISH_PROBE:-"$(dirname "$0")/../build/blemish devices"}
{ $probe; } >"$dir/probe" 2>&1 || true
if ! grep -qi 'Khronos Validation Layer Active' "$dir/probe" || ! grep -q 'SYNCHRONIZATION_VALIDATION' "$dir/probe"; then
    echo "validation.sh: the layer or synchronization validation is not active under: $probe" >&2
    cat "$dir/probe" >&2
    exit 1
fi
settings error,warn,perf
status=0
# A pipe would hide the status of the command.
mkfifo "$dir/pipe"
tee "$dir/output" <"$dir/pipe" &
"$@" >"$dir/pipe" 2>&1 || status=$?
wait
# shellcheck disable=SC2086 # a list of names
if grep -hE 'VUID|Validation (Error|Warning|Performance)|SYNC-HAZARD|UNASSIGNED-' "$dir/output" $logs >"$dir/found"; then
    sort "$dir/found" | uniq -c | sort -rn | head -n 40 >&2
    echo "validation.sh: the layer reports $(wc -l <"$dir/found") lines" >&2
    exit 1
fi
echo "validation.sh: no messages of the layer" >&2
exit $status
