/* blemish on a Vulkan device that the program already has. The second public header, for those who include Vulkan. Layer 1. */
#ifndef BLEMISH_VULKAN_H
#define BLEMISH_VULKAN_H
#include "blemish.h"
#include <vulkan/vulkan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's handles. They outlive the context, which destroys none of them. */
typedef struct bl_vulkan {
    size_t struct_size;
    PFN_vkGetInstanceProcAddr get_instance_proc_addr; /* NULL: of the system's loader */
    VkInstance instance;         /* made for Vulkan 1.1 or later */
    VkPhysicalDevice physical_device;
    VkDevice device;
    VkQueue queue;               /* of a family that computes; may be shared with the caller and with other contexts */
    uint32_t queue_family;
    /* Called around every use of the queue, which takes one thread at a time; both NULL: nobody else uses it while the library runs. */
    void (*lock)(void *user);
    void (*unlock)(void *user);
    void *user;
} bl_vulkan;
#define BL_VULKAN_INIT BL_OPTIONS_INIT(bl_vulkan)

/* As bl_context_create, on the caller's device; options->device is not read. Vulkan does not tell what a device was created with, so
 * options->caps names the capabilities whose features the caller has enabled (s16: storageBuffer16BitAccess, f16: shaderFloat16, sg: none,
 * sgsize: subgroupSizeControl and computeFullSubgroups, dot8: shaderIntegerDotProduct and shaderInt8, cm: cooperativeMatrix and
 * vulkanMemoryModel, each with its extension); NULL: "base", none of them. BL_ERROR_USAGE: a handle is missing;
 * BL_ERROR_DEVICE: the device lacks something that is needed. */
BL_API bl_result bl_context_create_vulkan(const bl_context_options *options, const bl_vulkan *vulkan, bl_context **out);

#ifdef __cplusplus
}
#endif
#endif
