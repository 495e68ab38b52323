/* A Vulkan layer that loses the device: once the file BLEMISH_LOSE_AFTER is there, the tenth vkQueueSubmit, and every later call on that
 * VkDevice's queue, return VK_ERROR_DEVICE_LOST, as after a driver's reset; devices created later work. Put in front of any program by
 * VK_INSTANCE_LAYERS and VK_LAYER_PATH (Vulkan-Loader, LoaderLayerInterface.md): install.sh does so with an installed library. For one
 * instance and one device at a time. Prints a line when it strikes. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

static PFN_vkGetInstanceProcAddr next_instance;
static PFN_vkGetDeviceProcAddr next_device;
static VkInstance instance;
static VkDevice device;
static PFN_vkQueueSubmit queue_submit;
static PFN_vkWaitForFences wait_for_fences;
static int submissions;
static VkDevice lost;

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
    const char *after = getenv("BLEMISH_LOSE_AFTER");
    if (after && !access(after, F_OK) && ++submissions == 10) {
        lost = device;
        unsetenv("BLEMISH_LOSE_AFTER"); /* once: loaders unload a layer with its instance, and it would count anew */
        fprintf(stderr, "losing_layer: the device is lost\n");
    }
    return lost && lost == device ? VK_ERROR_DEVICE_LOST : queue_submit(queue, count, infos, fence);
}

static VKAPI_ATTR VkResult VKAPI_CALL wait(VkDevice d, uint32_t count, const VkFence *fences, VkBool32 all, uint64_t timeout)
{
    return d == lost ? VK_ERROR_DEVICE_LOST : wait_for_fences(d, count, fences, all, timeout);
}

/* The loader's link to the next layer; advanced for that one. */
#define LINK(type, kind, info) \
    type *link = (type *)(uintptr_t)(info)->pNext; \
    while (link && (link->sType != VK_STRUCTURE_TYPE_LOADER_##kind##_CREATE_INFO || link->function != VK_LAYER_LINK_INFO)) \
        link = (type *)(uintptr_t)link->pNext; \
    if (!link) \
        return VK_ERROR_INITIALIZATION_FAILED

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *a, VkInstance *out)
{
    LINK(VkLayerInstanceCreateInfo, INSTANCE, info);
    next_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    const VkResult r = ((PFN_vkCreateInstance)next_instance(NULL, "vkCreateInstance"))(info, a, out);
    instance = *out;
    return r;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice from, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *a,
                                                    VkDevice *out)
{
    LINK(VkLayerDeviceCreateInfo, DEVICE, info);
    next_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    const PFN_vkGetInstanceProcAddr get = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    const VkResult r = ((PFN_vkCreateDevice)get(instance, "vkCreateDevice"))(from, info, a, out);
    device = *out;
    lost = device == lost ? VK_NULL_HANDLE : lost; /* a new one, where an old one was */
    queue_submit = r == VK_SUCCESS ? (PFN_vkQueueSubmit)next_device(device, "vkQueueSubmit") : NULL;
    wait_for_fences = r == VK_SUCCESS ? (PFN_vkWaitForFences)next_device(device, "vkWaitForFences") : NULL;
    return r;
}

static PFN_vkVoidFunction own(const char *name);

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device(VkDevice d, const char *name)
{
    const PFN_vkVoidFunction f = own(name);
    return f ? f : next_device(d, name);
}

__attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL losing_get(VkInstance i, const char *name)
{
    const PFN_vkVoidFunction f = own(name);
    return f ? f : next_instance ? next_instance(i, name) : NULL;
}

static PFN_vkVoidFunction own(const char *name)
{
    static const struct {
        const char *name;
        PFN_vkVoidFunction f;
    } all[] = {
        { "vkGetInstanceProcAddr", (PFN_vkVoidFunction)losing_get }, { "vkGetDeviceProcAddr", (PFN_vkVoidFunction)get_device },
        { "vkCreateInstance", (PFN_vkVoidFunction)create_instance }, { "vkCreateDevice", (PFN_vkVoidFunction)create_device },
        { "vkQueueSubmit", (PFN_vkVoidFunction)submit }, { "vkWaitForFences", (PFN_vkVoidFunction)wait },
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (!strcmp(all[i].name, name))
            return all[i].f;
    return NULL;
}

__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL losing_negotiate(VkNegotiateLayerInterface *v)
{
    if (v->sType != LAYER_NEGOTIATE_INTERFACE_STRUCT || v->loaderLayerInterfaceVersion < 2)
        return VK_ERROR_INITIALIZATION_FAILED;
    v->loaderLayerInterfaceVersion = 2;
    v->pfnGetInstanceProcAddr = losing_get;
    v->pfnGetDeviceProcAddr = get_device;
    v->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
