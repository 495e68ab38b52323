#!/bin/sh
# Installs what developers and CI need: what setup.sh installs, and on top the newer shader compiler, headers and
# software driver of trixie-backports (cooperative matrix, a three times faster lavapipe) and the test tools.
# Idempotent: does nothing when everything is there. Asks for root (or sudo) only when something is missing.
set -eu
stock="python3 gcc clang cmake ninja-build git pkg-config zlib1g-dev libc6-dev chromium-common mandoc zsh fish"
newer="glslang-tools spirv-tools libvulkan-dev libvulkan-volk-dev vulkan-validationlayers mesa-vulkan-drivers
vulkan-tools libcmocka-dev libstb-dev libjansson-dev libutf8proc-dev abigail-tools"

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
present() { [ "$(dpkg-query -W -f '${db:Status-Status}\n' "$@" 2>/dev/null | grep -cx installed)" -eq $# ]; }
at_least() { dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null)" ge "$2"; }

. /etc/os-release
case "${ID:-} ${VERSION_ID:-}" in
"debian 12") from=bookworm add="trixie trixie-backports" ;;
"debian 13") from=trixie add=trixie-backports ;;
*)
    echo "setup-dev.sh knows Debian 12 and 13; running setup.sh instead" >&2
    exec sh "$(dirname "$0")/setup.sh"
    ;;
esac
# shellcheck disable=SC2086 # lists of names
if present $stock $newer && at_least glslang-tools 15 && at_least mesa-vulkan-drivers 26; then
    exit 0
fi

# The newer suites come from wherever this machine has its own from, so its own mirror serves.
uri=$({
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null |
        awk -v s="$from" '/^URIs:/ { u = $2 } /^Suites:/ { for (i = 2; i <= NF; i++) if ($i == s) print u }'
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n "s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\)  *$from .*/\2/p"
} | head -n 1)
[ -n "$uri" ] || { echo "setup-dev.sh: no $from entry in /etc/apt" >&2; exit 1; }
for suite in $add; do
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
        "$uri" "$suite" | as_root tee "/etc/apt/sources.list.d/blemish-$suite.sources" >/dev/null
done
# 100: a backport is taken only when asked for by name
printf 'Package: *\nPin: release n=trixie-backports\nPin-Priority: 100\n' |
    as_root tee /etc/apt/preferences.d/blemish-trixie-backports >/dev/null
install="env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install"
as_root apt-get -q update
# shellcheck disable=SC2086
as_root $install $stock
# shellcheck disable=SC2086
as_root $install -t trixie-backports $newer
