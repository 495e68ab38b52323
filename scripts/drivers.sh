# shellcheck shell=sh disable=SC2034
# To be read by the other scripts: drivers that need no GPU, as values for VK_DRIVER_FILES; empty where one is not installed.
# Mesa's software driver, and SwiftShader, which Chromium ships: no 16-bit storage, subgroups of 4, a compiler of its own.
lavapipe=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1)
swiftshader=$(dpkg-query -L chromium-common 2>/dev/null | grep 'vk_swiftshader_icd\.json$' | head -n 1 || true)
