#!/bin/sh
# Installs what building and running blemish needs and this machine lacks, from the distribution's own packages.
# Knows Debian and what is made from it; elsewhere it says what is missing. Nothing that is there is upgraded, a second run does
# nothing in a moment. Needs root, or sudo, only when something is missing.
set -eu
# Command -> package; a command from elsewhere (a Vulkan SDK, another compiler) will do.
tools="cc=gcc cmake=cmake pkg-config=pkg-config glslangValidator=glslang-tools spirv-val=spirv-tools"
command -v make >/dev/null || tools="$tools ninja=ninja-build"
# Headers and libraries; mesa-vulkan-drivers has the drivers of AMD and Intel and the software driver, so that it runs anywhere.
libraries="libc6-dev libvulkan1 libvulkan-dev libvulkan-volk-dev mesa-vulkan-drivers libstb-dev libjansson-dev libutf8proc-dev
zlib1g-dev libcmocka-dev"

missing_tools=""
packages=""
for t in $tools; do
    command -v "${t%=*}" >/dev/null || { missing_tools="$missing_tools ${t%=*}" packages="$packages ${t#*=}"; }
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    cat >&2 <<EOT
setup.sh installs packages on Debian and its derivatives only. blemish needs: a C11 compiler, cmake 3.20, make or ninja, pkg-config,
glslangValidator, spirv-val, the Vulkan headers, loader and a driver, volk, stb, jansson, utf8proc, zlib and, for the tests, cmocka.
EOT
    [ -z "$missing_tools" ] || { echo "setup.sh: not found:$missing_tools" >&2; exit 1; }
    for m in jansson libutf8proc zlib; do
        pkg-config --exists "$m" || { echo "setup.sh: pkg-config does not find $m" >&2; exit 1; }
    done
    exit 0
fi

# shellcheck disable=SC2086 # a list of names, here and below
installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package}\n' $libraries 2>/dev/null | sed -n 's/^installed=//p' | tr '\n' ' ')"
for p in $libraries; do
    case $installed in *" $p "*) ;; *) packages="$packages $p" ;; esac
done
[ -n "$packages" ] || exit 0

echo "setup.sh: installing$packages" >&2
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup.sh: run it as root once, or install:$packages" >&2; exit 1; }
    as_root=sudo
fi
$as_root apt-get -q update >&2 || echo "setup.sh: apt-get update failed; going on with the lists that are there" >&2
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends --no-upgrade \
    install $packages >&2 </dev/null
