/* A driver that compiles other shaders than it is given: what stands between the library and the real driver's vkCreateShaderModule. */
#ifndef SHADER_SWAP_H
#define SHADER_SWAP_H
#include "device.h"
#include <stdlib.h>
#include <string.h>

/* Given the code of every module, of *size bytes, returns what is compiled in its place, with its size. */
static const uint32_t *(*swap_code)(const uint32_t *code, size_t *size);

static PFN_vkGetInstanceProcAddr swap_real;
static PFN_vkGetDeviceProcAddr swap_real_device;
static PFN_vkCreateShaderModule swap_real_create;

static VKAPI_ATTR VkResult VKAPI_CALL swap_create(VkDevice dev, const VkShaderModuleCreateInfo *info, const VkAllocationCallbacks *a,
                                                  VkShaderModule *out)
{
    VkShaderModuleCreateInfo other = *info;
    if (swap_code)
        other.pCode = swap_code(info->pCode, &other.codeSize);
    return swap_real_create(dev, &other, a, out);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL swap_device_function(VkDevice dev, const char *name)
{
    const PFN_vkVoidFunction found = swap_real_device(dev, name);
    if (!found || strcmp(name, "vkCreateShaderModule"))
        return found;
    swap_real_create = (PFN_vkCreateShaderModule)found;
    return (PFN_vkVoidFunction)swap_create;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL swap_function(VkInstance instance, const char *name)
{
    const PFN_vkVoidFunction found = swap_real(instance, name);
    if (!found || strcmp(name, "vkGetDeviceProcAddr"))
        return found;
    swap_real_device = (PFN_vkGetDeviceProcAddr)found;
    return (PFN_vkVoidFunction)swap_device_function;
}

static PFN_vkGetInstanceProcAddr swap_loader(void) { return swap_real ? swap_function : NULL; }

/* From now on every device that is opened asks swap_code, if there is one. */
static inline void swap_begin(void)
{
    swap_real = bl_vulkan_loader();
    bl_vulkan_loader = swap_loader;
}
#endif
