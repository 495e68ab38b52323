#include "quirks.h"

enum { AMD = 0x1002, NVIDIA = 0x10de, INTEL = 0x8086, QUALCOMM = 0x5143, ARM = 0x13b5, IMAGINATION = 0x1010 };
#define LLAMA "https://github.com/ggml-org/llama.cpp/issues/"
#define NCNN "https://github.com/Tencent/ncnn/issues/"

static const bl_quirk quirks[] = {
    { 0, AMD, "work may be dropped without an error; the completion sentinel sees it when a whole submission is", LLAMA "26813" },
    { VK_DRIVER_ID_MESA_RADV, AMD, "jobs above 2 s are reset on Linux 7, on integrated and older GPUs first", LLAMA "25664" },
    { 0, AMD, "Polaris reports allocations of 4 GiB and fails near them: --caps allocation=1G", LLAMA "5441" },
    { 0, INTEL, "fp16 sums overflow in Vulkan where Direct3D widens them; kernels here sum in fp32", LLAMA "13607" },
    { VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS, INTEL, "cooperative matrices crash before driver 32.0.101.8860", LLAMA "22034" },
    { VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA, INTEL, "device lost in long attention kernels on integrated GPUs", LLAMA "17389" },
    { VK_DRIVER_ID_NVIDIA_PROPRIETARY, NVIDIA, "since 570 a read beyond a buffer is no longer masked", NCNN "6296" },
    { VK_DRIVER_ID_QUALCOMM_PROPRIETARY, QUALCOMM, "large shaders do not compile (VK_ERROR_UNKNOWN)", LLAMA "12421" },
    { VK_DRIVER_ID_QUALCOMM_PROPRIETARY, QUALCOMM, "wrong numbers in fp16 on older GPUs", LLAMA "8455" },
    { VK_DRIVER_ID_ARM_PROPRIETARY, ARM, "products wrong by more the longer the sum on Mali-G720", LLAMA "23133" },
    { VK_DRIVER_ID_ARM_PROPRIETARY, ARM, "device lost on Mali-G52, G71 and G72", NCNN "3112" },
    { 0, IMAGINATION, "wrong numbers without a crash", LLAMA "28214" },
    { VK_DRIVER_ID_MOLTENVK, AMD, "subgroup arithmetic wrong: --caps without sg", "https://github.com/ggml-org/llama.cpp/pull/15846" },
    { VK_DRIVER_ID_MESA_LLVMPIPE, 0, "bindings end at 128 MiB, and every kernel takes up to a second to compile", "" },
};

static bool concerns(const bl_quirk *q, const bl_device *d)
{
    return (!q->driver || q->driver == d->driver_id) && (!q->vendor || q->vendor == d->props.vendorID);
}

uint32_t bl_quirks_of(const bl_device *d, const bl_quirk **out, uint32_t capacity)
{
    uint32_t n = 0;
    for (size_t i = 0; i < BL_COUNT(quirks) && n < capacity; i++)
        if (concerns(&quirks[i], d))
            out[n++] = &quirks[i];
    return n;
}

const char *bl_watchdog_of(const bl_device *d)
{
    switch (d->driver_id) {
    case VK_DRIVER_ID_MESA_RADV:
    case VK_DRIVER_ID_AMD_OPEN_SOURCE:
        return "amdgpu: 2 s on Linux 7, 10 s before (amdgpu.lockup_timeout)";
    case VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA:
        return "i915: 640 ms to give way to others, 2.5 s between signs of life";
    case VK_DRIVER_ID_AMD_PROPRIETARY:
    case VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS:
        return "Windows: 2 s (TdrDelay)";
    case VK_DRIVER_ID_NVIDIA_PROPRIETARY:
        return "Windows: 2 s (TdrDelay); none known on Linux without a display";
    default:
        return d->software ? "none: it runs on the processor" : "not known; 2 s is usual";
    }
}
