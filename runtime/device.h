/* One Vulkan device with one compute queue. Layer 1.
 * Only layer 1 and kernel.* see Vulkan types. */
#ifndef BL_DEVICE_H
#define BL_DEVICE_H
#include "base.h"
#include "vulkan_api.h"
#include "blemish_vulkan.h"
#include "caps.h"

/* What of the device is used; a list of capabilities and limits lowers it. */
typedef struct bl_limits {
    uint32_t invocations;    /* lanes of a workgroup */
    uint32_t shared;         /* bytes of a workgroup */
    uint32_t buffers;        /* storage buffers of a shader */
    uint64_t binding;        /* bytes of one storage buffer binding */
    uint64_t allocation;     /* bytes of one allocation */
    uint32_t subgroup;       /* lanes; 0 if unknown */
    double timestamp_ns;     /* nanoseconds of a timestamp tick; 0: no timestamps */
    uint32_t timestamp_bits;
} bl_limits;

typedef struct bl_device {
    bl_vk_instance api;
    bl_vk_device vk;
    VkInstance instance;
    VkPhysicalDevice phys;
    VkDevice dev;
    VkQueue queue;
    uint32_t family;
    VkPhysicalDeviceProperties props;
    VkPhysicalDeviceMemoryProperties mem;
    bl_limits limits;
    uint32_t caps;            /* bl_cap bits in use */
    bool software;
    bool borrowed;            /* the caller's: not destroyed, and the queue is locked */
    void (*lock)(void *user), (*unlock)(void *user);
    void *lock_user;
    bl_device_info info;
    uint8_t uuid[VK_UUID_SIZE], driver_uuid[VK_UUID_SIZE];
    VkDriverId driver_id;     /* 0 if the driver does not say */
    uint64_t bytes, peak;     /* device memory allocated now, and at most */
    uint64_t allowed;         /* of it, as the caller says; 0: what the device has */
    bool tells_budget;        /* VK_EXT_memory_budget */
    bool tells_statistics;    /* VK_KHR_pipeline_executable_properties */
    bool lost;                /* for good: a new device has to be opened */
    char lost_reason[512];
} bl_device;

/* vkGetInstanceProcAddr of the system's loader, or what a test puts there. NULL when there is no loader. */
extern PFN_vkGetInstanceProcAddr (*bl_vulkan_loader)(void);

/* Calls `each` for every device in turn, described but not opened: it has an instance, properties and limits. *loader (may be NULL) is the
 * loader's Vulkan version, 0 without a loader. */
bl_result bl_device_each(void (*each)(void *user, const bl_device *d), void *user, uint32_t *loader);
/* Fills *infos as bl_devices. */
bl_result bl_device_list(bl_device_info *infos, uint32_t capacity, uint32_t *count);
/* Opens a device: `which` as bl_context_options.device, `caps` as bl_context_options.caps (both may be NULL).
 * BL_ERROR_USAGE: caps names something unknown. BL_ERROR_DEVICE: no such device, or it lacks something that is needed. */
bl_result bl_device_open(const char *which, const char *caps, bl_device **out);
/* The same on a caller's device. */
bl_result bl_device_adopt(const bl_vulkan *vulkan, const char *caps, bl_device **out);
/* Around every use of the queue. */
void bl_device_lock(const bl_device *d);
void bl_device_unlock(const bl_device *d);
/* The capabilities and lowered limits in use, as a list that bl_device_open takes; `text` has room for BL_CAPS_TEXT bytes. */
void bl_device_caps_text(const bl_device *d, char *text);
void bl_device_close(bl_device **dev); /* sets *dev to NULL; NULL is accepted */

/* Bytes of device memory that may be held in all: what the caller allows, or less where the driver reports less (its budget for this
 * process, or the heap). */
uint64_t bl_device_limit(const bl_device *d);

/* A shape of matrix product that the device has as one instruction: fp16 inputs, sums in fp32 or fp16. */
typedef struct bl_matrix_shape {
    uint32_t m, n, k;
    bool half;               /* sums in fp16 */
} bl_matrix_shape;
/* Those of a subgroup, each once; at most `room`, and none without the capability cm. Returns their number. */
uint32_t bl_device_matrix_shapes(const bl_device *d, bl_matrix_shape *out, uint32_t room);

/* Keeps the loss of the device, the first one, with bl_last_error() as its reason. */
void bl_device_lose(bl_device *d);
/* BL_OK, or the loss that was kept. */
bl_result bl_device_check(const bl_device *d);

/* Turns a VkResult into a bl_result, keeping the call's name as the reason. */
bl_result bl_vk(VkResult r, const char *call);
#define VK_TRY(call) BL_TRY(bl_vk((call), #call))
/* The same for a call that makes `handle`, whose contents Vulkan leaves undefined on failure. */
#define VK_TRY_MAKE(handle, ...) \
    do { \
        result = bl_vk((__VA_ARGS__), #__VA_ARGS__); \
        if (result != BL_OK) { \
            (handle) = VK_NULL_HANDLE; \
            goto fail; \
        } \
    } while (0)
#endif
