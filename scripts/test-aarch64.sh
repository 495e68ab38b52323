#!/bin/sh
# Cross builds for aarch64 (scripts/aarch64.cmake) and runs the tests under qemu-user. Without options: those that need no device, then a
# few on Mesa's software driver, which compiles its kernels in emulation, and a guided picture, which must have the pixels that this machine
# gives it; with options the tests that ctest takes them for, on that driver.
#   sh scripts/test-aarch64.sh [options of ctest]
# The headers, libraries and driver are Debian's arm64 packages, unpacked in build-aarch64/sysroot and not installed: the packages of this
# machine stay as they are. BLEMISH_BUILD: this machine's own build, for shaders and the picture; default build.
set -eu
cd "$(dirname "$0")/.."
dir=$PWD/build-aarch64
own=$PWD/${BLEMISH_BUILD:-build}
packages="libc6-dev libgcc-14-dev libvulkan1 mesa-vulkan-drivers libvulkan-dev libvulkan-volk-dev libstb-dev libjansson-dev
libutf8proc-dev zlib1g-dev libcmocka-dev"

make_sysroot() { # of the suites that setup-dev.sh takes, from the same place
    uri=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/blemish-trixie-backports.sources)
    apt=$dir/apt
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    for suite in trixie trixie-backports; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main"
    done >"$apt/sources.list"
    apt_get update
    # shellcheck disable=SC2086 # a list of names
    apt_get --no-install-recommends --download-only install -t trixie-backports $packages
    rm -rf "$dir/unpacking"
    for deb in "$apt"/archives/*.deb; do
        dpkg-deb -x "$deb" "$dir/unpacking"
    done
    ln -sfn usr/lib "$dir/unpacking/lib"
    # qemu looks for a file in the sysroot first: programs, a test's shell too, are to be this machine's
    rm -rf "$dir/unpacking/bin" "$dir/unpacking/sbin" "$dir/unpacking/usr/bin" "$dir/unpacking/usr/sbin"
    mv "$dir/unpacking" "$dir/sysroot"
    rm -rf "$apt"
}
apt_get() { # of an arm64 system with nothing installed
    apt-get -q -y -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User= -o Debug::NoLocking=true \
        -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null \
        -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" "$@"
}

sh scripts/setup-dev.sh
if ! command -v qemu-aarch64 >/dev/null || ! command -v ld.lld >/dev/null; then
    as_root=$([ "$(id -u)" -eq 0 ] || echo sudo)
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install qemu-user lld
fi
[ -d "$dir/sysroot" ] || make_sysroot
sh scripts/build.sh "$own"
sh scripts/build.sh "$dir" -DCMAKE_TOOLCHAIN_FILE="$PWD/scripts/aarch64.cmake" -DCMAKE_SYSROOT="$dir/sysroot" \
    -DBLEMISH_SPIRV_DIR="$own/spirv" -DBLEMISH_WERROR=ON
. scripts/drivers.sh # sets lavapipe, this machine's
export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json # of the sysroot
test_emulated() { ctest --test-dir "$dir" --output-on-failure "$@"; }
if [ $# -gt 0 ]; then
    test_emulated "$@"
    exit
fi
echo "Tests that need no device" >&2
(
    unset CI # where nothing may be skipped
    VK_DRIVER_FILES=/nonexistent test_emulated
)
echo "On the software driver" >&2
test_emulated -R '^test_device$'
emulated() { program=$1; shift; qemu-aarch64 -L "$dir/sysroot" "$dir/$program" "$@"; }
for kernels in 'softmax_*' 'add_*'; do
    emulated check "$kernels"
done
generate="generate --progress none -q --no-cache --force --precision f32 -m models/demo --photo models/demo/photos/hazelnut.png
--object hazelnut --defect crack --width 64 --height 64 --steps 2 --strength 1"
# shellcheck disable=SC2086 # options
emulated blemish $generate --out "$dir/there.png"
# shellcheck disable=SC2086
VK_DRIVER_FILES=$lavapipe "$own/blemish" $generate --out "$dir/here.png"
"$own/same_pixels" "$dir/here.png" "$dir/there.png"
echo "The guided picture has the same pixels as on this machine" >&2
