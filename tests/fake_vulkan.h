/* A Vulkan for tests, put in front of every call by bl_vulkan_loader: counts calls and objects, makes the n-th call that may fail do so,
 * and watches that nothing is destroyed while it runs. Behind it is either the real driver, or a pretended one whose devices the test
 * describes: it keeps memory and copies, counts steps, checks what it is given, and dispatches nothing else; time passes on a clock of its
 * own as the work of the dispatches says. Included by one source file. */
#ifndef FAKE_VULKAN_H
#define FAKE_VULKAN_H
#include "kernel.h"
#include <setjmp.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { FAKE_MAX_GPUS = 8, FAKE_MAX_FAILED = 512, FAKE_MAX_BUFFERS = 256 };

/* A device of the pretended driver. */
typedef struct fake_gpu {
    VkPhysicalDeviceProperties props;
    uint8_t uuid[VK_UUID_SIZE];
    uint64_t allocation;               /* maxMemoryAllocationSize */
    uint32_t caps;                     /* of BL_CAP_S16, F16, SG, SGSIZE */
    VkQueueFlags queue;
} fake_gpu;

#define FAKE_OBJECTS(F) \
    F(Buffer) F(Memory) F(Fence) F(CommandPool) F(QueryPool) F(SetLayout) F(SetPool) F(PipelineLayout) F(ShaderModule) F(PipelineCache) \
    F(Pipeline) F(CommandBuffer) F(Device) F(Instance)
#define FAKE_ENUM(name) FAKE_##name,
#define FAKE_TEXT(name) #name,
enum { FAKE_OBJECTS(FAKE_ENUM) FAKE_OBJECT_COUNT };
static const char *const fake_object_names[] = { FAKE_OBJECTS(FAKE_TEXT) };

static struct fake {
    /* set by the test */
    PFN_vkGetInstanceProcAddr driver;  /* NULL: the pretended one */
    fake_gpu gpus[FAKE_MAX_GPUS];
    uint32_t gpu_count, version;       /* version of the loader; 0: it has no vkEnumerateInstanceVersion */
    uint64_t budget;                   /* of the pretended heap, as VK_EXT_memory_budget tells it */
    bool incoherent;                   /* no memory is coherent */
    bool filled;                       /* new memory holds numbers from -1 to 1 instead of zeros */
    int fail_at;                       /* the call that fails, counted from 0; negative: none */
    bool fail_on;                      /* so does every later one */
    const char *fail_name;             /* only calls named here count */
    VkResult error;
    double speed;                      /* flops of a nanosecond; 0: work takes no time */
    double overhead, compiling;        /* ns of a submission, and of the first one with a pipeline */
    double noise, uneven;              /* share by which times vary to both sides; up to how many times slower some problems are */
    void (*took)(double ns, double compiling, uint64_t groups); /* called for each submission; may be NULL */
    void (*at_submit)(VkSubmitInfo *); /* before every submission, which it may change */
    /* what happened */
    double now, busy;                  /* ns: the host's clock; when the device will have done what it was given */
    uint32_t random;
    int calls;
    const char *failed[FAKE_MAX_FAILED];
    uint32_t failed_count;
    int live[FAKE_OBJECT_COUNT];
    uint32_t submissions;              /* calls of QueueSubmit */
    VkDevice dev;                      /* the last one */
    uint32_t family;                   /* of its queue */
    struct { VkBuffer buf; uint64_t size; } buffers[FAKE_MAX_BUFFERS]; /* in the order that they were made; destroyed ones have size 0 */
    uint32_t buffer_count;
    int pending;                       /* submissions not waited for */
    char misuse[256];                  /* the first breach of Vulkan's rules; "" if none */
    size_t cache_data;                 /* initialDataSize of the last pipeline cache */
    uint32_t enabled;                  /* BL_CAP_S16 and F16 as the last device was created with */
} fake;

/* What is behind the wrappers; unused where the driver is pretended. */
static bl_vk_instance fake_instance;
static bl_vk_device fake_device;
static VkQueue fake_queue;

static bool fake_fails(const char *name)
{
    if (fake.fail_name && !strstr(fake.fail_name, name))
        return false;
    const int now = fake.calls++;
    if (fake.fail_at < 0 || now < fake.fail_at || (now > fake.fail_at && !fake.fail_on))
        return false;
    if (fake.failed_count < FAKE_MAX_FAILED)
        fake.failed[fake.failed_count++] = name;
    return true;
}

static void fake_misuse(const char *text, const char *what)
{
    if (!*fake.misuse)
        snprintf(fake.misuse, sizeof(fake.misuse), "%s: %s", what, text);
}

/* --- the pretended driver: every handle is one of these --------------------------------------------------------------- */

typedef struct fake_object {
    uint64_t size, used;               /* bytes of a buffer or memory, sets of a pool */
    uint8_t *data;                     /* of memory */
    struct fake_object *memory;        /* of a buffer */
    struct fake_object *counter;       /* of a command buffer: the buffer that its sentinel counts in */
    struct fake_object *steps;         /* and the one with the table whose step it moves on, with the place there and the last step */
    uint64_t steps_at;
    uint32_t steps_end;
    struct fake_object *before, *after;/* of command buffers: they go with their pool */
    const bl_impl *impl;               /* of a pipeline */
    bool compiled;                     /* so has this one been by its first dispatch */
    struct fake_object *pipe;          /* of a command buffer: what is bound, and the sums of what was recorded */
    bl_params params;
    double flops, compiling;
    uint64_t groups;
    double end;                        /* of a fence */
} fake_object;

static fake_object *fake_bound;        /* buffer of the last descriptor set's first binding: sets are used as soon as they are written */
static uint64_t fake_bound_at;         /* and where in it */

static fake_object fake_fixed[4];      /* instance, device, queue, descriptor set */
static fake_object fake_commands = { .before = &fake_commands, .after = &fake_commands }; /* the ring of them all */
#define FAKE_HANDLE(type, object) ((type)(uintptr_t)(object))
#define FAKE_OF(handle) ((fake_object *)(uintptr_t)(handle))

static fake_object *fake_new(uint64_t size, bool data)
{
    fake_object *o = calloc(1, sizeof(*o));
    if (!o || (data && !(o->data = calloc(1, size))))
        abort();
    o->size = size;
    for (uint64_t i = 0; data && fake.filled && i < size / sizeof(float); i++)
        ((float *)(void *)o->data)[i] = (float)((i * 37 + 11) % 64) / 32 - 1;
    return o;
}

static void fake_delete(fake_object *o)
{
    free(o->data);
    free(o);
}

/* Before anything is destroyed. With every later call failing nobody can wait, so then it is no breach. */
static void fake_destroyed(int type, const char *what)
{
    if (fake.pending && !(fake.fail_on && fake.failed_count))
        fake_misuse("destroyed while commands run", what);
    if (fake.pending && fake.driver)
        fake_device.QueueWaitIdle(fake_queue);
    fake.pending = 0;
    if (--fake.live[type] < 0)
        fake_misuse("destroyed twice", what);
}

/* --- objects that are made and destroyed in pairs. After a failure the handle is undefined: here it is poison -------------- */

#define FAKE_POISON(type) ((type)(uintptr_t)0xdead0)
#define FAKE_OBJECT(object, type, make, info, unmake, size, data) \
    static VKAPI_ATTR VkResult VKAPI_CALL fake_##make(VkDevice dev, const info *i, const VkAllocationCallbacks *a, type *out) \
    { \
        VkResult r = VK_SUCCESS; \
        *out = FAKE_POISON(type); \
        if (fake_fails(#make)) \
            return fake.error; \
        if (fake.driver) \
            r = fake_device.make(dev, i, a, out); \
        else \
            *out = FAKE_HANDLE(type, fake_new(size, data)); \
        fake.live[FAKE_##object] += r == VK_SUCCESS; \
        return r; \
    } \
    static VKAPI_ATTR void VKAPI_CALL fake_##unmake(VkDevice dev, type o, const VkAllocationCallbacks *a) \
    { \
        if (!o) \
            return; \
        fake_destroyed(FAKE_##object, #unmake); \
        if (fake.driver) \
            fake_device.unmake(dev, o, a); \
        else \
            fake_delete(FAKE_OF(o)); \
    }

FAKE_OBJECT(Buffer, VkBuffer, CreateBuffer, VkBufferCreateInfo, DestroyBuffer, i->size, false)

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateNotedBuffer(VkDevice dev, const VkBufferCreateInfo *i, const VkAllocationCallbacks *a,
                                                             VkBuffer *out)
{
    const VkResult r = fake_CreateBuffer(dev, i, a, out);
    if (r == VK_SUCCESS && fake.buffer_count < FAKE_MAX_BUFFERS) {
        fake.buffers[fake.buffer_count].buf = *out;
        fake.buffers[fake.buffer_count++].size = i->size;
    }
    return r;
}

static VKAPI_ATTR void VKAPI_CALL fake_DestroyNotedBuffer(VkDevice dev, VkBuffer b, const VkAllocationCallbacks *a)
{
    for (uint32_t i = 0; i < fake.buffer_count; i++)
        if (fake.buffers[i].buf == b)
            fake.buffers[i].size = 0;
    fake_DestroyBuffer(dev, b, a);
}

FAKE_OBJECT(Memory, VkDeviceMemory, AllocateMemory, VkMemoryAllocateInfo, FreeMemory, i->allocationSize, true)
FAKE_OBJECT(Fence, VkFence, CreateFence, VkFenceCreateInfo, DestroyFence, 0, false)
FAKE_OBJECT(QueryPool, VkQueryPool, CreateQueryPool, VkQueryPoolCreateInfo, DestroyQueryPool, 0, false)
FAKE_OBJECT(SetLayout, VkDescriptorSetLayout, CreateDescriptorSetLayout, VkDescriptorSetLayoutCreateInfo, DestroyDescriptorSetLayout, 0,
            false)
FAKE_OBJECT(SetPool, VkDescriptorPool, CreateDescriptorPool, VkDescriptorPoolCreateInfo, DestroyDescriptorPool, i->maxSets, false)
FAKE_OBJECT(PipelineLayout, VkPipelineLayout, CreatePipelineLayout, VkPipelineLayoutCreateInfo, DestroyPipelineLayout, 0, false)
FAKE_OBJECT(ShaderModule, VkShaderModule, CreateShaderModule, VkShaderModuleCreateInfo, DestroyShaderModule, 0, false)
FAKE_OBJECT(PipelineCache, VkPipelineCache, CreatePipelineCache, VkPipelineCacheCreateInfo, DestroyPipelineCache,
            (fake.cache_data = i->initialDataSize), false)
FAKE_OBJECT(CommandPool, VkCommandPool, CreateCommandPool, VkCommandPoolCreateInfo, DestroyCommandPool, 0, false)

/* --- calls that may fail ------------------------------------------------------------------------------------------------ */

/* Fails when its turn comes, else the real driver, else what follows: the pretended one. */
#define FAKE_CALL(table, name, params, args) \
    static VkResult pretend_##name params; \
    static VKAPI_ATTR VkResult VKAPI_CALL fake_##name params \
    { \
        if (fake_fails(#name)) \
            return fake.error; \
        return fake.driver ? table.name args : pretend_##name args; \
    } \
    static VkResult pretend_##name params

FAKE_CALL(fake_instance, EnumerateInstanceVersion, (uint32_t *version), (version))
{
    *version = fake.version;
    return VK_SUCCESS;
}

/* As every list of Vulkan: with `out` NULL only the count. */
static VkResult fake_list(const char *const *names, uint32_t have, uint32_t *n, VkExtensionProperties *out)
{
    const uint32_t room = out ? *n : have;
    *n = BL_MIN(room, have);
    for (uint32_t i = 0; out && i < *n; i++) {
        out[i] = (VkExtensionProperties){ .specVersion = 1 };
        snprintf(out[i].extensionName, sizeof(out[i].extensionName), "%s", names[i]);
    }
    return room < have ? VK_INCOMPLETE : VK_SUCCESS;
}

FAKE_CALL(fake_instance, EnumerateInstanceExtensionProperties, (const char *layer, uint32_t *n, VkExtensionProperties *out),
          (layer, n, out))
{
    (void)layer;
    return fake_list((const char *const[]){ VK_EXT_DEBUG_UTILS_EXTENSION_NAME }, 1, n, out);
}

FAKE_CALL(fake_instance, EnumerateDeviceExtensionProperties,
          (VkPhysicalDevice gpu, const char *layer, uint32_t *n, VkExtensionProperties *out), (gpu, layer, n, out))
{
    (void)gpu, (void)layer;
    return fake_list((const char *const[]){ VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME, "VK_KHR_shader_float16_int8",
        "VK_EXT_subgroup_size_control", VK_EXT_MEMORY_BUDGET_EXTENSION_NAME }, 4, n, out);
}

FAKE_CALL(fake_instance, EnumeratePhysicalDevices, (VkInstance instance, uint32_t *n, VkPhysicalDevice *out), (instance, n, out))
{
    (void)instance;
    const uint32_t room = *n;
    *n = BL_MIN(room, fake.gpu_count);
    for (uint32_t i = 0; i < *n; i++)
        out[i] = FAKE_HANDLE(VkPhysicalDevice, &fake.gpus[i]);
    return room < fake.gpu_count ? VK_INCOMPLETE : VK_SUCCESS;
}

FAKE_CALL(fake_device, MapMemory, (VkDevice dev, VkDeviceMemory mem, VkDeviceSize at, VkDeviceSize n, VkMemoryMapFlags flags, void **out),
          (dev, mem, at, n, flags, out))
{
    (void)dev, (void)n, (void)flags;
    *out = FAKE_OF(mem)->data + at;
    return VK_SUCCESS;
}

FAKE_CALL(fake_device, BindBufferMemory, (VkDevice dev, VkBuffer buf, VkDeviceMemory mem, VkDeviceSize at), (dev, buf, mem, at))
{
    (void)dev;
    if (at || FAKE_OF(mem)->size < FAKE_OF(buf)->size)
        fake_misuse("memory too small", "BindBufferMemory");
    FAKE_OF(buf)->memory = FAKE_OF(mem);
    return VK_SUCCESS;
}

FAKE_CALL(fake_device, AllocateDescriptorSets, (VkDevice dev, const VkDescriptorSetAllocateInfo *i, VkDescriptorSet *out), (dev, i, out))
{
    (void)dev;
    if (++FAKE_OF(i->descriptorPool)->used > FAKE_OF(i->descriptorPool)->size)
        fake_misuse("pool exhausted", "AllocateDescriptorSets");
    *out = FAKE_HANDLE(VkDescriptorSet, &fake_fixed[3]);
    return VK_SUCCESS;
}

FAKE_CALL(fake_device, GetPipelineCacheData, (VkDevice dev, VkPipelineCache cache, size_t *n, void *out), (dev, cache, n, out))
{
    (void)dev, (void)cache;
    for (size_t i = 0; out && i < *n; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i * 7);
    *n = 100;
    return VK_SUCCESS;
}

FAKE_CALL(fake_device, GetQueryPoolResults, (VkDevice dev, VkQueryPool pool, uint32_t first, uint32_t count, size_t size, void *out,
          VkDeviceSize stride, VkQueryResultFlags flags), (dev, pool, first, count, size, out, stride, flags))
{
    (void)dev, (void)pool, (void)first, (void)stride, (void)flags;
    memcpy(out, (uint64_t[]){ UINT32_MAX, 9 }, size); /* the counter has 32 bits and wraps */
    return count == 2 ? VK_SUCCESS : VK_NOT_READY;
}

static VkResult fake_success(int first, ...) { return first ? VK_INCOMPLETE : VK_SUCCESS; }
#define FAKE_IGNORE(...) fake_success(0, __VA_ARGS__)
#define FAKE_NOTHING(name, params, args) FAKE_CALL(fake_device, name, params, args) { return FAKE_IGNORE args; }
FAKE_NOTHING(FlushMappedMemoryRanges, (VkDevice dev, uint32_t n, const VkMappedMemoryRange *r), (dev, n, r))
FAKE_NOTHING(InvalidateMappedMemoryRanges, (VkDevice dev, uint32_t n, const VkMappedMemoryRange *r), (dev, n, r))
FAKE_NOTHING(BeginCommandBuffer, (VkCommandBuffer cmd, const VkCommandBufferBeginInfo *i), (cmd, i))
FAKE_NOTHING(EndCommandBuffer, (VkCommandBuffer cmd), (cmd))
FAKE_NOTHING(ResetFences, (VkDevice dev, uint32_t n, const VkFence *fences), (dev, n, fences))

/* Pipelines are known by their label, also where the call fails. */
static VKAPI_ATTR VkResult VKAPI_CALL fake_SetDebugUtilsObjectNameEXT(VkDevice dev, const VkDebugUtilsObjectNameInfoEXT *i)
{
    for (int k = 0; k < BL_KERNEL_COUNT && !fake.driver && i->objectType == VK_OBJECT_TYPE_PIPELINE; k++)
        for (int t = 0; t < BL_DTYPE_COUNT; t++) {
            char label[96];
            bl_kernel_label((bl_kernel)k, (bl_dtype)t, label);
            if (!strcmp(label, i->pObjectName))
                FAKE_OF(i->objectHandle)->impl = &bl_impls[k];
        }
    if (fake_fails("SetDebugUtilsObjectNameEXT"))
        return fake.error;
    return fake.driver ? fake_device.SetDebugUtilsObjectNameEXT(dev, i) : VK_SUCCESS;
}

/* --- calls with a memory of their own ------------------------------------------------------------------------------------- */

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateInstance(const VkInstanceCreateInfo *i, const VkAllocationCallbacks *a, VkInstance *out)
{
    *out = FAKE_POISON(VkInstance);
    if (fake_fails("CreateInstance"))
        return fake.error;
    const VkResult r = fake.driver ? fake_instance.CreateInstance(i, a, out) : VK_SUCCESS;
    if (!fake.driver)
        *out = FAKE_HANDLE(VkInstance, &fake_fixed[0]);
    fake.live[FAKE_Instance] += r == VK_SUCCESS;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL fake_DestroyInstance(VkInstance instance, const VkAllocationCallbacks *a)
{
    fake_destroyed(FAKE_Instance, "DestroyInstance");
    for (int i = 0; i < FAKE_Instance; i++)
        if (fake.live[i])
            fake_misuse("outlives the instance", fake_object_names[i]);
    if (fake.driver)
        fake_instance.DestroyInstance(instance, a);
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateDevice(VkPhysicalDevice gpu, const VkDeviceCreateInfo *info,
                                                        const VkAllocationCallbacks *a, VkDevice *out)
{
    *out = FAKE_POISON(VkDevice);
    if (fake_fails("CreateDevice"))
        return fake.error;
    fake.enabled = 0;
    for (const VkBaseInStructure *s = info->pNext; s; s = s->pNext) {
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES)
            fake.enabled |= ((const VkPhysicalDevice16BitStorageFeatures *)(const void *)s)->storageBuffer16BitAccess ? BL_CAP_S16 : 0;
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES)
            fake.enabled |= ((const VkPhysicalDeviceShaderFloat16Int8Features *)(const void *)s)->shaderFloat16 ? BL_CAP_F16 : 0;
    }
    const VkResult r = fake.driver ? fake_instance.CreateDevice(gpu, info, a, out) : VK_SUCCESS;
    if (!fake.driver)
        *out = FAKE_HANDLE(VkDevice, &fake_fixed[1]);
    fake.dev = *out;
    fake.live[FAKE_Device] += r == VK_SUCCESS;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL fake_DestroyDevice(VkDevice dev, const VkAllocationCallbacks *a)
{
    fake_destroyed(FAKE_Device, "DestroyDevice");
    for (int i = 0; i < FAKE_Device; i++)
        if (fake.live[i])
            fake_misuse("outlives the device", fake_object_names[i]);
    if (fake.driver)
        fake_device.DestroyDevice(dev, a);
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateComputePipelines(VkDevice dev, VkPipelineCache cache, uint32_t n,
    const VkComputePipelineCreateInfo *infos, const VkAllocationCallbacks *a, VkPipeline *out)
{
    *out = VK_NULL_HANDLE;
    if (fake_fails("CreateComputePipelines"))
        return fake.error;
    const VkResult r = fake.driver ? fake_device.CreateComputePipelines(dev, cache, n, infos, a, out) : VK_SUCCESS;
    if (!fake.driver)
        *out = FAKE_HANDLE(VkPipeline, fake_new(0, false));
    fake.live[FAKE_Pipeline] += r == VK_SUCCESS;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL fake_DestroyPipeline(VkDevice dev, VkPipeline pipe, const VkAllocationCallbacks *a)
{
    fake_destroyed(FAKE_Pipeline, "DestroyPipeline");
    if (fake.driver)
        fake_device.DestroyPipeline(dev, pipe, a);
    else
        fake_delete(FAKE_OF(pipe));
}

static void fake_delete_commands(fake_object *o)
{
    o->before->after = o->after;
    o->after->before = o->before;
    fake_delete(o);
}

/* The pool's buffers go with it; more than the stream's own one is a leak while the program runs. */
static VKAPI_ATTR void VKAPI_CALL fake_DestroyCommandPoolAndBuffers(VkDevice dev, VkCommandPool pool, const VkAllocationCallbacks *a)
{
    if (fake.live[FAKE_CommandBuffer] > 1)
        fake_misuse("still has command buffers", "DestroyCommandPool");
    fake.live[FAKE_CommandBuffer] = 0;
    while (fake_commands.after != &fake_commands)
        fake_delete_commands(fake_commands.after);
    fake_DestroyCommandPool(dev, pool, a);
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_AllocateCommandBuffers(VkDevice dev, const VkCommandBufferAllocateInfo *i, VkCommandBuffer *out)
{
    *out = NULL;
    if (fake_fails("AllocateCommandBuffers"))
        return fake.error;
    const VkResult r = fake.driver ? fake_device.AllocateCommandBuffers(dev, i, out) : VK_SUCCESS;
    if (!fake.driver) {
        fake_object *o = fake_new(0, false);
        o->before = fake_commands.before;
        o->after = &fake_commands;
        o->before->after = o->after->before = o;
        *out = FAKE_HANDLE(VkCommandBuffer, o);
    }
    fake.live[FAKE_CommandBuffer] += r == VK_SUCCESS;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL fake_FreeCommandBuffers(VkDevice dev, VkCommandPool pool, uint32_t n, const VkCommandBuffer *list)
{
    fake_destroyed(FAKE_CommandBuffer, "FreeCommandBuffers");
    if (fake.driver)
        fake_device.FreeCommandBuffers(dev, pool, n, list);
    else
        fake_delete_commands(FAKE_OF(*list));
}

/* Time passes for what was submitted: the device does one after the other. */
static void fake_work(const VkSubmitInfo *info, fake_object *fence)
{
    double flops = 0, compiling = 0;
    uint64_t groups = 0;
    for (uint32_t i = 0; i < info->commandBufferCount; i++) {
        fake_object *c = FAKE_OF(info->pCommandBuffers[i]);
        flops += c->flops;
        compiling += c->compiling;
        groups += c->counter ? 0 : c->groups; /* the sentinel does not count */
        c->compiling = 0;
    }
    fake.random = fake.random * 1664525u + 1013904223u;
    const double varied = 1 + fake.noise * ((fake.random >> 8) / 8388608.0 - 1);
    const double ns = fake.overhead + (fake.speed > 0 ? flops / fake.speed * varied : 0);
    fake.busy = BL_MAX(fake.busy, fake.now) + ns + compiling;
    fence->end = fake.busy;
    if (fake.took)
        fake.took(ns, compiling, groups);
}

static inline double fake_clock(void) { return fake.now; }

static VKAPI_ATTR VkResult VKAPI_CALL fake_QueueSubmit(VkQueue queue, uint32_t n, const VkSubmitInfo *infos, VkFence fence)
{
    VkSubmitInfo info = *infos; /* the library has one at a time */
    fake.submissions++;
    if (fake_fails("QueueSubmit"))
        return fake.error;
    if (fake.at_submit)
        fake.at_submit(&info);
    const VkResult r = fake.driver ? fake_device.QueueSubmit(queue, n, &info, fence) : VK_SUCCESS;
    fake.pending += r == VK_SUCCESS;
    if (!fake.driver)
        fake_work(&info, FAKE_OF(fence));
    for (uint32_t i = 0; !fake.driver && i < info.commandBufferCount; i++) { /* of all dispatches only sentinel and steps are done */
        const fake_object *o = FAKE_OF(info.pCommandBuffers[i]), *c = o->counter;
        if (c)
            *(float *)(void *)c->memory->data += 1;
        uint32_t *step = o->steps ? (uint32_t *)(void *)(o->steps->memory->data + o->steps_at) : NULL;
        if (step)
            *step += *step < o->steps_end;
    }
    return r;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_WaitForFences(VkDevice dev, uint32_t n, const VkFence *fences, VkBool32 all, uint64_t limit)
{
    if (fake_fails("WaitForFences"))
        return fake.error;
    const VkResult r = fake.driver ? fake_device.WaitForFences(dev, n, fences, all, limit) : VK_SUCCESS;
    fake.pending -= r == VK_SUCCESS; /* the library waits for one at a time, once each */
    if (!fake.driver)
        fake.now = BL_MAX(fake.now, FAKE_OF(*fences)->end);
    return r;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_QueueWaitIdle(VkQueue queue)
{
    if (fake_fails("QueueWaitIdle"))
        return fake.error;
    const VkResult r = fake.driver ? fake_device.QueueWaitIdle(queue) : VK_SUCCESS;
    fake.pending = r == VK_SUCCESS ? 0 : fake.pending;
    fake.now = BL_MAX(fake.now, fake.busy);
    return r;
}

/* --- calls that cannot fail ----------------------------------------------------------------------------------------------- */

#define FAKE_VOID(table, name, params, args) \
    static void pretend_##name params; \
    static VKAPI_ATTR void VKAPI_CALL fake_##name params \
    { \
        if (fake.driver) \
            table.name args; \
        else \
            pretend_##name args; \
    } \
    static void pretend_##name params

FAKE_VOID(fake_instance, GetPhysicalDeviceProperties2, (VkPhysicalDevice gpu, VkPhysicalDeviceProperties2 *out), (gpu, out))
{
    const fake_gpu *g = (const fake_gpu *)gpu;
    out->properties = g->props;
    for (VkBaseOutStructure *s = out->pNext; s; s = s->pNext)
        switch (s->sType) {
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES:
            memcpy(((VkPhysicalDeviceIDProperties *)(void *)s)->deviceUUID, g->uuid, VK_UUID_SIZE);
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES:
            ((VkPhysicalDeviceMaintenance3Properties *)(void *)s)->maxMemoryAllocationSize = g->allocation;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES:
            snprintf(((VkPhysicalDeviceDriverProperties *)(void *)s)->driverName, VK_MAX_DRIVER_NAME_SIZE, "pretended");
            snprintf(((VkPhysicalDeviceDriverProperties *)(void *)s)->driverInfo, VK_MAX_DRIVER_INFO_SIZE, "1.2");
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES: {
            VkPhysicalDeviceSubgroupProperties *sg = (void *)s;
            sg->subgroupSize = 32;
            sg->supportedStages = VK_SHADER_STAGE_COMPUTE_BIT;
            sg->supportedOperations = g->caps & BL_CAP_SG ? ~0u : VK_SUBGROUP_FEATURE_BASIC_BIT;
            break;
        }
        default: break;
        }
}

FAKE_VOID(fake_instance, GetPhysicalDeviceFeatures2, (VkPhysicalDevice gpu, VkPhysicalDeviceFeatures2 *out), (gpu, out))
{
    const uint32_t caps = ((const fake_gpu *)gpu)->caps;
    for (VkBaseOutStructure *s = out->pNext; s; s = s->pNext)
        switch (s->sType) {
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES:
            ((VkPhysicalDevice16BitStorageFeatures *)(void *)s)->storageBuffer16BitAccess = !!(caps & BL_CAP_S16);
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES:
            ((VkPhysicalDeviceShaderFloat16Int8Features *)(void *)s)->shaderFloat16 = !!(caps & BL_CAP_F16);
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES: {
            VkPhysicalDeviceSubgroupSizeControlFeatures *f = (void *)s;
            f->subgroupSizeControl = f->computeFullSubgroups = !!(caps & BL_CAP_SGSIZE);
            break;
        }
        default: break;
        }
}

FAKE_VOID(fake_instance, GetPhysicalDeviceQueueFamilyProperties, (VkPhysicalDevice gpu, uint32_t *n, VkQueueFamilyProperties *out),
          (gpu, n, out))
{
    *n = 1;
    *out = (VkQueueFamilyProperties){ .queueFlags = ((const fake_gpu *)gpu)->queue, .queueCount = 1, .timestampValidBits = 32 };
}

static VKAPI_ATTR void VKAPI_CALL fake_GetPhysicalDeviceMemoryProperties(VkPhysicalDevice gpu, VkPhysicalDeviceMemoryProperties *out)
{
    if (fake.driver)
        fake_instance.GetPhysicalDeviceMemoryProperties(gpu, out);
    else
        *out = (VkPhysicalDeviceMemoryProperties){ .memoryTypeCount = 2, .memoryHeapCount = 1,
            .memoryTypes = { { VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0 },
                             { VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, 0 } },
            .memoryHeaps = { { 8ull << 30, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT } } };
    for (uint32_t i = 0; fake.incoherent && i < out->memoryTypeCount; i++)
        out->memoryTypes[i].propertyFlags &= ~(VkMemoryPropertyFlags)VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
}

/* The heaps' budgets are what the test says; 0: their size. */
static VKAPI_ATTR void VKAPI_CALL fake_GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice gpu, VkPhysicalDeviceMemoryProperties2 *out)
{
    if (fake.driver)
        fake_instance.GetPhysicalDeviceMemoryProperties2(gpu, out);
    for (VkBaseOutStructure *s = fake.driver ? NULL : out->pNext; s; s = s->pNext)
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT)
            ((VkPhysicalDeviceMemoryBudgetPropertiesEXT *)(void *)s)->heapBudget[0] = fake.budget;
}

static VKAPI_ATTR void VKAPI_CALL fake_GetDeviceQueue(VkDevice dev, uint32_t family, uint32_t index, VkQueue *out)
{
    *out = FAKE_HANDLE(VkQueue, &fake_fixed[2]);
    if (fake.driver)
        fake_device.GetDeviceQueue(dev, family, index, out);
    fake_queue = *out;
    fake.family = family;
}

FAKE_VOID(fake_device, GetBufferMemoryRequirements, (VkDevice dev, VkBuffer buf, VkMemoryRequirements *out), (dev, buf, out))
{
    (void)dev;
    *out = (VkMemoryRequirements){ .size = (FAKE_OF(buf)->size + 255) / 256 * 256, .alignment = 256, .memoryTypeBits = 3 };
}

/* What the limits of the first device allow. */
FAKE_VOID(fake_device, UpdateDescriptorSets, (VkDevice dev, uint32_t n, const VkWriteDescriptorSet *w, uint32_t copies,
          const VkCopyDescriptorSet *c), (dev, n, w, copies, c))
{
    (void)dev, (void)copies, (void)c;
    fake_bound = FAKE_OF(w[0].pBufferInfo->buffer);
    fake_bound_at = w[0].pBufferInfo->offset;
    for (uint32_t i = 0; i < n; i++) {
        const VkDescriptorBufferInfo *b = w[i].pBufferInfo;
        if (!b->buffer || !b->range || b->offset % 256 || b->range > fake.gpus[0].props.limits.maxStorageBufferRange
            || b->offset + b->range > FAKE_OF(b->buffer)->size)
            fake_misuse("range of a binding", "UpdateDescriptorSets");
    }
}

FAKE_VOID(fake_device, CmdDispatchBase, (VkCommandBuffer cmd, uint32_t bx, uint32_t by, uint32_t bz, uint32_t x, uint32_t y, uint32_t z),
          (cmd, bx, by, bz, x, y, z))
{
    if (!x || !y || !z || bx + x > 65535 || by + y > 65535 || bz + z > 65535)
        fake_misuse("number of workgroups", "CmdDispatchBase");
    fake_object *c = FAKE_OF(cmd), *pipe = c->pipe;
    if (!pipe || !pipe->impl)
        return;
    if (pipe->impl->op == BL_OP_step_next_fwd) {
        c->steps = fake_bound;
        c->steps_at = fake_bound_at;
        c->steps_end = c->params.step_next_fwd.count;
    }
    uint32_t grid[3];
    pipe->impl->grid(pipe->impl, &c->params, grid);
    const double flops = bl_op_infos[pipe->impl->op].flops(&c->params), odd = 1 + BL_MAX(fake.uneven - 1, 0) * fmod(flops, 977) / 977;
    c->flops += flops * odd * x / grid[0] * y / grid[1] * z / grid[2];
    c->groups += (uint64_t)x * y * z;
    c->compiling += pipe->compiled ? 0 : fake.compiling;
    pipe->compiled = true;
}

/* Done at once: the library records a copy right before it submits it. */
FAKE_VOID(fake_device, CmdCopyBuffer, (VkCommandBuffer cmd, VkBuffer from, VkBuffer to, uint32_t n, const VkBufferCopy *c),
          (cmd, from, to, n, c))
{
    (void)cmd, (void)n;
    const fake_object *a = FAKE_OF(from), *b = FAKE_OF(to);
    if (c->srcOffset + c->size > a->size || c->dstOffset + c->size > b->size)
        fake_misuse("beyond the end", "CmdCopyBuffer");
    else
        memcpy(b->memory->data + c->dstOffset, a->memory->data + c->srcOffset, c->size);
}

#define FAKE_SILENT(name, params, args) FAKE_VOID(fake_device, name, params, args) { FAKE_IGNORE args; }
FAKE_VOID(fake_device, CmdBindPipeline, (VkCommandBuffer cmd, VkPipelineBindPoint point, VkPipeline pipe), (cmd, point, pipe))
{
    (void)point;
    FAKE_OF(cmd)->pipe = FAKE_OF(pipe);
}

FAKE_SILENT(CmdBindDescriptorSets, (VkCommandBuffer cmd, VkPipelineBindPoint point, VkPipelineLayout layout, uint32_t first, uint32_t n,
    const VkDescriptorSet *sets, uint32_t offsets, const uint32_t *offset), (cmd, point, layout, first, n, sets, offsets, offset))

/* The sentinel is known by its parameters. */
FAKE_VOID(fake_device, CmdPushConstants, (VkCommandBuffer cmd, VkPipelineLayout layout, VkShaderStageFlags stages, uint32_t at, uint32_t n,
          const void *data), (cmd, layout, stages, at, n, data))
{
    (void)layout, (void)stages, (void)at;
    const struct sentinel_params *p = data;
    memcpy(&FAKE_OF(cmd)->params, data, n);
    if (n == sizeof(*p) && p->x.off == 0 && p->x.stride == 1 && p->last == BL_SENTINEL_LAST)
        FAKE_OF(cmd)->counter = fake_bound;
}

FAKE_SILENT(CmdPipelineBarrier, (VkCommandBuffer cmd, VkPipelineStageFlags from, VkPipelineStageFlags to, VkDependencyFlags flags,
    uint32_t n, const VkMemoryBarrier *m, uint32_t nb, const VkBufferMemoryBarrier *b, uint32_t ni, const VkImageMemoryBarrier *i),
    (cmd, from, to, flags, n, m, nb, b, ni, i))
FAKE_SILENT(CmdResetQueryPool, (VkCommandBuffer cmd, VkQueryPool pool, uint32_t first, uint32_t n), (cmd, pool, first, n))
FAKE_SILENT(CmdWriteTimestamp, (VkCommandBuffer cmd, VkPipelineStageFlagBits stage, VkQueryPool pool, uint32_t i), (cmd, stage, pool, i))

/* --- finding the functions ------------------------------------------------------------------------------------------------ */

static PFN_vkVoidFunction VKAPI_CALL fake_get_device(VkDevice dev, const char *name);

static const struct { const char *name; PFN_vkVoidFunction fake; void *driver; } fake_functions[] = {
#define I(name) { "vk" #name, (PFN_vkVoidFunction)fake_##name, &fake_instance.name },
#define D(name) { "vk" #name, (PFN_vkVoidFunction)fake_##name, &fake_device.name },
    BL_VK_GLOBAL(I)
    I(DestroyInstance) I(EnumeratePhysicalDevices) I(EnumerateDeviceExtensionProperties) I(CreateDevice) I(GetPhysicalDeviceProperties2)
    I(GetPhysicalDeviceFeatures2) I(GetPhysicalDeviceMemoryProperties) I(GetPhysicalDeviceMemoryProperties2)
    I(GetPhysicalDeviceQueueFamilyProperties)
    { "vkGetDeviceProcAddr", (PFN_vkVoidFunction)fake_get_device, &fake_instance.GetDeviceProcAddr },
    D(DestroyDevice) D(GetDeviceQueue) D(QueueSubmit) D(QueueWaitIdle) D(CreateFence) D(DestroyFence) D(WaitForFences) D(ResetFences)
    D(AllocateMemory) D(FreeMemory) D(MapMemory) D(FlushMappedMemoryRanges) D(InvalidateMappedMemoryRanges)
    { "vkCreateBuffer", (PFN_vkVoidFunction)fake_CreateNotedBuffer, &fake_device.CreateBuffer },
    { "vkDestroyBuffer", (PFN_vkVoidFunction)fake_DestroyNotedBuffer, &fake_device.DestroyBuffer },
    D(GetBufferMemoryRequirements) D(BindBufferMemory) D(CreateCommandPool) D(AllocateCommandBuffers)
    { "vkDestroyCommandPool", (PFN_vkVoidFunction)fake_DestroyCommandPoolAndBuffers, &fake_device.DestroyCommandPool },
    D(FreeCommandBuffers) D(BeginCommandBuffer) D(EndCommandBuffer) D(CmdBindPipeline) D(CmdBindDescriptorSets) D(CmdPushConstants)
    D(CmdDispatchBase) D(CmdPipelineBarrier) D(CmdCopyBuffer) D(CmdResetQueryPool) D(CmdWriteTimestamp) D(CreateQueryPool)
    D(DestroyQueryPool) D(GetQueryPoolResults) D(CreateDescriptorSetLayout) D(DestroyDescriptorSetLayout) D(CreateDescriptorPool)
    D(DestroyDescriptorPool) D(AllocateDescriptorSets) D(UpdateDescriptorSets) D(CreatePipelineLayout) D(DestroyPipelineLayout)
    D(CreateShaderModule) D(DestroyShaderModule) D(CreateComputePipelines) D(DestroyPipeline) D(CreatePipelineCache)
    D(DestroyPipelineCache) D(GetPipelineCacheData) D(SetDebugUtilsObjectNameEXT)
#undef I
#undef D
};

/* The wrapper of what `have` is, or `have` itself; pretended functions are all there. */
static PFN_vkVoidFunction fake_find(const char *name, PFN_vkVoidFunction have)
{
    for (size_t i = 0; i < BL_COUNT(fake_functions); i++)
        if (!strcmp(fake_functions[i].name, name)) {
            if (fake.driver)
                memcpy(fake_functions[i].driver, &have, sizeof(have));
            return !fake.driver || have ? fake_functions[i].fake : NULL;
        }
    return have;
}

static PFN_vkVoidFunction VKAPI_CALL fake_get_device(VkDevice dev, const char *name)
{
    return fake_find(name, fake.driver ? fake_instance.GetDeviceProcAddr(dev, name) : NULL);
}

static PFN_vkVoidFunction VKAPI_CALL fake_get(VkInstance instance, const char *name)
{
    if (!fake.driver && !fake.version && !strcmp(name, "vkEnumerateInstanceVersion"))
        return NULL;
    return fake_find(name, fake.driver ? fake.driver(instance, name) : NULL);
}

static PFN_vkGetInstanceProcAddr fake_loader(void) { return fake_get; }

/* Starts over: no failures, `driver` behind the wrappers, or for NULL one good GPU. */
static void fake_reset(PFN_vkGetInstanceProcAddr driver)
{
    fake = (struct fake){ .driver = driver, .gpu_count = 1, .version = VK_API_VERSION_1_3, .fail_at = -1, .error = VK_ERROR_UNKNOWN };
    for (uint32_t i = 0; i < FAKE_MAX_GPUS; i++) {
        fake_gpu *g = &fake.gpus[i];
        *g = (fake_gpu){ .allocation = 2ull << 30, .caps = BL_CAP_S16 | BL_CAP_F16 | BL_CAP_SG, .queue = VK_QUEUE_COMPUTE_BIT };
        g->props = (VkPhysicalDeviceProperties){ .apiVersion = VK_API_VERSION_1_1, .vendorID = 0x1234, .deviceID = 0x5678,
            .deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU };
        g->props.limits = (VkPhysicalDeviceLimits){ .maxComputeWorkGroupInvocations = 1024, .maxComputeWorkGroupSize = { 1024, 1024, 64 },
            .maxComputeSharedMemorySize = 48 << 10, .maxPerStageDescriptorStorageBuffers = 16, .maxStorageBufferRange = 1u << 30,
            .timestampPeriod = 1.0f };
        snprintf(g->props.deviceName, sizeof(g->props.deviceName), "Pretended %c", 'A' + (int)i);
        memset(g->uuid, 0x10 * (int)i + 1, sizeof(g->uuid));
    }
    bl_vulkan_loader = fake_loader;
}

/* --- expectations ----------------------------------------------------------------------------------------------------------- */

static inline void expect_reason(const char *part)
{
    if (!strstr(bl_last_error(), part))
        fail_msg("\"%s\" lacks \"%s\"", bl_last_error(), part);
}

/* Everything destroyed, in time, once; nothing that Vulkan forbids. */
static void expect_clean(const char *when)
{
    for (int i = 0; i < FAKE_OBJECT_COUNT; i++)
        if (fake.live[i])
            fail_msg("%s: %d objects of kind %s left", when, fake.live[i], fake_object_names[i]);
    if (*fake.misuse)
        fail_msg("%s: %s", when, fake.misuse);
}
#endif
