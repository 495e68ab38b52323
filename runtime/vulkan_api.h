/* The Vulkan functions blemish calls, as tables per instance and device. Layer 1.
 * Nothing is dispatched globally, and a test can put its own vkGetInstanceProcAddr in front of every call. */
#ifndef BL_VULKAN_API_H
#define BL_VULKAN_API_H
#include <volk.h>

#define BL_VK_GLOBAL(F) F(CreateInstance) F(EnumerateInstanceVersion) F(EnumerateInstanceExtensionProperties)

#define BL_VK_INSTANCE(F) \
    F(DestroyInstance) F(EnumeratePhysicalDevices) F(EnumerateDeviceExtensionProperties) F(CreateDevice) F(GetDeviceProcAddr) \
    F(GetPhysicalDeviceProperties2) F(GetPhysicalDeviceFeatures2) F(GetPhysicalDeviceMemoryProperties) \
    F(GetPhysicalDeviceMemoryProperties2) F(GetPhysicalDeviceQueueFamilyProperties)

#define BL_VK_DEVICE(F) \
    F(DestroyDevice) F(GetDeviceQueue) F(QueueSubmit) F(QueueWaitIdle) F(CreateFence) F(DestroyFence) F(WaitForFences) F(ResetFences) \
    F(AllocateMemory) F(FreeMemory) F(MapMemory) F(FlushMappedMemoryRanges) F(InvalidateMappedMemoryRanges) F(CreateBuffer) \
    F(DestroyBuffer) F(GetBufferMemoryRequirements) \
    F(BindBufferMemory) F(CreateCommandPool) F(DestroyCommandPool) F(AllocateCommandBuffers) \
    F(FreeCommandBuffers) F(BeginCommandBuffer) F(EndCommandBuffer) F(CmdBindPipeline) F(CmdBindDescriptorSets) F(CmdPushConstants) \
    F(CmdDispatchBase) F(CmdPipelineBarrier) F(CmdCopyBuffer) F(CmdFillBuffer) F(CmdResetQueryPool) F(CmdWriteTimestamp) \
    F(CreateQueryPool) F(DestroyQueryPool) F(GetQueryPoolResults) F(CreateDescriptorSetLayout) F(DestroyDescriptorSetLayout) \
    F(CreateDescriptorPool) F(DestroyDescriptorPool) F(AllocateDescriptorSets) F(UpdateDescriptorSets) F(CreatePipelineLayout) \
    F(DestroyPipelineLayout) F(CreateShaderModule) F(DestroyShaderModule) F(CreateComputePipelines) F(DestroyPipeline) \
    F(CreatePipelineCache) F(DestroyPipelineCache) F(GetPipelineCacheData)

/* NULL where the device lacks the extension. */
#define BL_VK_OPTIONAL(F) F(GetPipelineExecutablePropertiesKHR) F(GetPipelineExecutableStatisticsKHR)

#define BL_VK_MEMBER(name) PFN_vk##name name;
typedef struct bl_vk_instance {
    BL_VK_GLOBAL(BL_VK_MEMBER) BL_VK_INSTANCE(BL_VK_MEMBER)
#ifdef VK_KHR_cooperative_matrix
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR GetPhysicalDeviceCooperativeMatrixPropertiesKHR; /* or NULL */
#endif
} bl_vk_instance;
typedef struct bl_vk_device {
    BL_VK_DEVICE(BL_VK_MEMBER) BL_VK_OPTIONAL(BL_VK_MEMBER)
    PFN_vkSetDebugUtilsObjectNameEXT SetDebugUtilsObjectNameEXT;
} bl_vk_device;
#undef BL_VK_MEMBER
#endif
