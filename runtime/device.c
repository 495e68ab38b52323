#define VOLK_IMPLEMENTATION
#include "device.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

enum { MAX_DEVICES = 32, MAX_FAMILIES = 16 };

/* Once: volk writes globals, and contexts may be made in several threads. */
static once_flag loader_once = ONCE_FLAG_INIT;
static PFN_vkGetInstanceProcAddr loader;
static void find_system_loader(void) { loader = volkInitialize() == VK_SUCCESS ? vkGetInstanceProcAddr : NULL; }
static PFN_vkGetInstanceProcAddr system_loader(void) { return call_once(&loader_once, find_system_loader), loader; }
PFN_vkGetInstanceProcAddr (*bl_vulkan_loader)(void) = system_loader;

bl_result bl_vk(VkResult r, const char *call)
{
    if (r == VK_SUCCESS)
        return BL_OK;
    static const struct { VkResult r; const char *text; } texts[] = {
        { VK_ERROR_OUT_OF_HOST_MEMORY, "out of host memory" }, { VK_ERROR_OUT_OF_DEVICE_MEMORY, "out of device memory" },
        { VK_ERROR_DEVICE_LOST, "the device was lost" }, { VK_ERROR_INITIALIZATION_FAILED, "initialization failed" },
        { VK_ERROR_INCOMPATIBLE_DRIVER, "no usable Vulkan driver" }, { VK_TIMEOUT, "timed out" },
    };
    const char *text = "failed";
    for (size_t i = 0; i < BL_COUNT(texts); i++)
        if (texts[i].r == r)
            text = texts[i].text;
    const char *name = strstr(call, "vk.") ? strstr(call, "vk.") + 3 : strstr(call, "api.") ? strstr(call, "api.") + 4 : call;
    const bool memory = r == VK_ERROR_OUT_OF_HOST_MEMORY || r == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return bl_fail(memory ? BL_ERROR_MEMORY : BL_ERROR_DEVICE, "vk%.*s: %s (VkResult %d)", (int)strcspn(name, "("), name, text, (int)r);
}

uint64_t bl_device_limit(const bl_device *d)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT };
    VkPhysicalDeviceMemoryProperties2 props = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget };
    uint64_t limit = 0;
    if (d->tells_budget)
        d->api.GetPhysicalDeviceMemoryProperties2(d->phys, &props);
    for (uint32_t i = 0; i < d->mem.memoryHeapCount; i++)
        if (d->mem.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) {
            const uint64_t size = d->mem.memoryHeaps[i].size, told = d->tells_budget ? budget.heapBudget[i] : size;
            limit = BL_MAX(limit, BL_MIN(size, told ? told : size));
        }
    return d->allowed && d->allowed < limit ? d->allowed : limit;
}

void bl_device_lose(bl_device *d)
{
    if (!d->lost)
        snprintf(d->lost_reason, sizeof(d->lost_reason), "%s", bl_last_error());
    d->lost = true;
}

bl_result bl_device_check(const bl_device *d)
{
    return d->lost ? bl_fail(BL_ERROR_DEVICE, "the device was lost: %s", d->lost_reason) : BL_OK;
}

/* --- the instance --------------------------------------------------------------------------------------------------- */

static bool has_extension(const VkExtensionProperties *list, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(list[i].extensionName, name))
            return true;
    return false;
}

static bl_result find_loader(PFN_vkGetInstanceProcAddr *get)
{
    *get = bl_vulkan_loader();
    return *get ? BL_OK : bl_fail(BL_ERROR_DEVICE, "no Vulkan loader (libvulkan.so.1) on this machine: install a Vulkan driver");
}

static void load_instance(bl_device *d, PFN_vkGetInstanceProcAddr get)
{
#define LOAD(name) d->api.name = (PFN_vk##name)(void (*)(void))get(d->instance, "vk" #name);
    BL_VK_INSTANCE(LOAD)
#ifdef VK_KHR_cooperative_matrix
    LOAD(GetPhysicalDeviceCooperativeMatrixPropertiesKHR)
#endif
#undef LOAD
}

static bl_result open_instance(bl_device *d)
{
    bl_result result = BL_OK;
    VkExtensionProperties *found = NULL;
    PFN_vkGetInstanceProcAddr get;
    BL_TRY(find_loader(&get));
#define LOAD(name) d->api.name = (PFN_vk##name)(void (*)(void))get(NULL, "vk" #name);
    BL_VK_GLOBAL(LOAD)
#undef LOAD
    uint32_t version = VK_API_VERSION_1_0, extensions = 0;
    if (d->api.EnumerateInstanceVersion)
        VK_TRY(d->api.EnumerateInstanceVersion(&version));
    if (version < VK_API_VERSION_1_1)
        BL_TRY(bl_fail(BL_ERROR_DEVICE, "the Vulkan loader is older than 1.1"));
    VK_TRY(d->api.EnumerateInstanceExtensionProperties(NULL, &extensions, NULL));
    found = bl_alloc(extensions, sizeof(*found));
    if (!found)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for %u instance extensions", extensions));
    const VkResult listed = d->api.EnumerateInstanceExtensionProperties(NULL, &extensions, found);
    if (listed != VK_INCOMPLETE)
        BL_TRY(bl_vk(listed, "api.EnumerateInstanceExtensionProperties"));
    const char *names[] = { VK_EXT_DEBUG_UTILS_EXTENSION_NAME };
    const bool names_objects = has_extension(found, extensions, names[0]);
    VK_TRY_MAKE(d->instance, d->api.CreateInstance(&(VkInstanceCreateInfo){
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &(VkApplicationInfo){ .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
            .pApplicationName = "blemish", .pEngineName = "blemish",
            .apiVersion = BL_MIN(version, VK_API_VERSION_1_3) },
        .enabledExtensionCount = names_objects, .ppEnabledExtensionNames = names,
    }, NULL, &d->instance));
    load_instance(d, get);
    if (names_objects)
        d->vk.SetDebugUtilsObjectNameEXT =
            (PFN_vkSetDebugUtilsObjectNameEXT)(void (*)(void))get(d->instance, "vkSetDebugUtilsObjectNameEXT");
fail:
    bl_free(found);
    return result;
}

static void close_instance(bl_device *d)
{
    if (d->instance && d->api.DestroyInstance)
        d->api.DestroyInstance(d->instance, NULL);
    d->instance = VK_NULL_HANDLE;
}

static bl_result enumerate(const bl_device *d, VkPhysicalDevice *found, uint32_t *count)
{
    bl_result result = BL_OK;
    *count = MAX_DEVICES;
    const VkResult r = d->api.EnumeratePhysicalDevices(d->instance, count, found);
    if (r == VK_ERROR_INITIALIZATION_FAILED || r == VK_ERROR_INCOMPATIBLE_DRIVER)
        *count = 0; /* a loader without drivers */
    else if (r != VK_INCOMPLETE)
        BL_TRY(bl_vk(r, "api.EnumeratePhysicalDevices"));
fail:
    return result;
}

/* --- one physical device -------------------------------------------------------------------------------------------- */

/* The feature structs that are both asked for and, cut down to what is used, given to vkCreateDevice. */
typedef struct features {
    VkPhysicalDeviceFeatures2 core;
    VkPhysicalDevice16BitStorageFeatures storage16;
    VkPhysicalDeviceShaderFloat16Int8Features float16;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable;
#ifdef VK_KHR_shader_integer_dot_product
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot;
#endif
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model;
#endif
    const char *extensions[8];
    uint32_t extension_count;
} features;

static void link_feature(void ***tail, void *feature, VkStructureType type, bool wanted)
{
    VkBaseOutStructure *s = feature;
    s->sType = type;
    if (wanted) {
        **tail = s;
        *tail = (void **)&s->pNext;
    }
}

/* Chains the structs of the extensions that `have` lists. */
static void features_chain(features *f, const VkExtensionProperties *have, uint32_t count, uint32_t version)
{
    void **tail = &f->core.pNext;
    f->core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    const struct { void *feature; VkStructureType type; const char *extension; uint32_t core_since; } list[] = {
        { &f->storage16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES, "VK_KHR_16bit_storage", VK_API_VERSION_1_1 },
        { &f->float16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, "VK_KHR_shader_float16_int8", VK_API_VERSION_1_2 },
        { &f->subgroup_size, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, "VK_EXT_subgroup_size_control",
          VK_API_VERSION_1_3 },
        { &f->executable, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
          "VK_KHR_pipeline_executable_properties", UINT32_MAX },
#ifdef VK_KHR_shader_integer_dot_product
        { &f->dot, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES, "VK_KHR_shader_integer_dot_product",
          VK_API_VERSION_1_3 },
#endif
#ifdef VK_KHR_cooperative_matrix
        { &f->matrix, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR, "VK_KHR_cooperative_matrix", UINT32_MAX },
        { &f->memory_model, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES, "VK_KHR_vulkan_memory_model",
          VK_API_VERSION_1_2 },
#endif
    };
    for (size_t i = 0; i < BL_COUNT(list); i++) {
        const bool core = version >= list[i].core_since, extension = has_extension(have, count, list[i].extension);
        link_feature(&tail, list[i].feature, list[i].type, core || extension);
        if (!core && extension)
            f->extensions[f->extension_count++] = list[i].extension;
    }
}

/* Switches off what is there but not used. */
static void features_keep(features *f, uint32_t caps)
{
    f->core.features = (VkPhysicalDeviceFeatures){ 0 };
    f->storage16.storageBuffer16BitAccess = !!(caps & BL_CAP_S16);
    f->storage16.uniformAndStorageBuffer16BitAccess = VK_FALSE;
    f->storage16.storagePushConstant16 = f->storage16.storageInputOutput16 = VK_FALSE;
    f->float16.shaderFloat16 = !!(caps & BL_CAP_F16);
    f->float16.shaderInt8 = !!(caps & BL_CAP_DOT8);
    f->subgroup_size.subgroupSizeControl = f->subgroup_size.computeFullSubgroups = !!(caps & BL_CAP_SGSIZE);
#ifdef VK_KHR_shader_integer_dot_product
    f->dot.shaderIntegerDotProduct = !!(caps & BL_CAP_DOT8);
#endif
#ifdef VK_KHR_cooperative_matrix
    f->matrix.cooperativeMatrix = !!(caps & BL_CAP_CM);
    f->matrix.cooperativeMatrixRobustBufferAccess = VK_FALSE;
    f->memory_model.vulkanMemoryModel = !!(caps & BL_CAP_CM);
    f->memory_model.vulkanMemoryModelDeviceScope = f->memory_model.vulkanMemoryModelAvailabilityVisibilityChains = VK_FALSE;
#endif
}

static uint32_t features_caps(const features *f, const VkPhysicalDeviceSubgroupProperties *sg)
{
    const VkSubgroupFeatureFlags wanted = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
        VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    uint32_t caps = 0;
    caps |= f->storage16.storageBuffer16BitAccess ? BL_CAP_S16 : 0;
    caps |= f->float16.shaderFloat16 ? BL_CAP_F16 : 0;
    caps |= sg->subgroupSize >= 8 && (sg->supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
        (sg->supportedOperations & wanted) == wanted ? BL_CAP_SG : 0;
    caps |= f->subgroup_size.subgroupSizeControl && f->subgroup_size.computeFullSubgroups ? BL_CAP_SGSIZE : 0;
#ifdef VK_KHR_shader_integer_dot_product
    caps |= f->dot.shaderIntegerDotProduct && f->float16.shaderInt8 ? BL_CAP_DOT8 : 0;
#endif
#ifdef VK_KHR_cooperative_matrix
    caps |= f->matrix.cooperativeMatrix && f->memory_model.vulkanMemoryModel && f->float16.shaderFloat16 ? BL_CAP_CM : 0;
#endif
    return caps;
}

static int find_family(const bl_device *d)
{
    VkQueueFamilyProperties families[MAX_FAMILIES];
    uint32_t n = MAX_FAMILIES;
    d->api.GetPhysicalDeviceQueueFamilyProperties(d->phys, &n, families);
    for (uint32_t i = 0; i < n; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT)
            return (int)i;
    return -1;
}

static void format_uuid(const uint8_t *u, char *text)
{
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
        text += sprintf(text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
}

/* Reads properties, limits, capabilities and features of d->phys into d and *f. */
static bl_result describe(bl_device *d, uint32_t index, features *f)
{
    bl_result result = BL_OK;
    VkExtensionProperties *have = NULL;
    uint32_t count = 0;
    VK_TRY(d->api.EnumerateDeviceExtensionProperties(d->phys, NULL, &count, NULL));
    have = bl_alloc(count, sizeof(*have));
    if (!have)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for %u device extensions", count));
    const VkResult listed = d->api.EnumerateDeviceExtensionProperties(d->phys, NULL, &count, have);
    if (listed != VK_INCOMPLETE)
        BL_TRY(bl_vk(listed, "api.EnumerateDeviceExtensionProperties"));

    VkPhysicalDeviceDriverProperties driver = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES };
    VkPhysicalDeviceSubgroupProperties sg = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES };
    VkPhysicalDeviceMaintenance3Properties m3 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &sg };
    VkPhysicalDeviceIDProperties id = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, .pNext = &m3 };
    if (has_extension(have, count, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME))
        sg.pNext = &driver;
    VkPhysicalDeviceProperties2 props = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &id };
    d->api.GetPhysicalDeviceProperties2(d->phys, &props);
    d->props = props.properties;
    d->api.GetPhysicalDeviceMemoryProperties(d->phys, &d->mem);
    d->tells_budget = has_extension(have, count, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    d->software = d->props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;

    features_chain(f, have, count, d->props.apiVersion);
    d->api.GetPhysicalDeviceFeatures2(d->phys, &f->core);
    d->caps = features_caps(f, &sg) | (d->software ? BL_CAP_TALL : 0);
    d->tells_statistics = f->executable.pipelineExecutableInfo;
    const VkPhysicalDeviceLimits *l = &d->props.limits;
    d->limits = (bl_limits){
        .invocations = BL_MIN(l->maxComputeWorkGroupInvocations, l->maxComputeWorkGroupSize[0]),
        .shared = l->maxComputeSharedMemorySize, .buffers = l->maxPerStageDescriptorStorageBuffers,
        .binding = l->maxStorageBufferRange, .allocation = m3.maxMemoryAllocationSize, .subgroup = sg.subgroupSize };

    static const char *const types[] = { "other", "integrated", "discrete", "virtual", "cpu" };
    bl_device_info *info = &d->info;
    *info = (bl_device_info){ .index = index, .max_binding = d->limits.binding, .max_allocation = d->limits.allocation,
        .subgroup_size = d->limits.subgroup, .max_invocations = d->limits.invocations, .max_shared = d->limits.shared, .usable = 1 };
    snprintf(info->name, sizeof(info->name), "%s", d->props.deviceName);
    snprintf(info->type, sizeof(info->type), "%s", types[d->props.deviceType < BL_COUNT(types) ? d->props.deviceType : 0]);
    snprintf(info->driver, sizeof(info->driver), "%.120s%s%.120s", driver.driverName, *driver.driverInfo ? " " : "", driver.driverInfo);
    snprintf(info->api, sizeof(info->api), "%u.%u.%u", VK_VERSION_MAJOR(d->props.apiVersion), VK_VERSION_MINOR(d->props.apiVersion),
             VK_VERSION_PATCH(d->props.apiVersion));
    bl_caps_text(d->caps, info->caps);
    format_uuid(id.deviceUUID, info->uuid);
    memcpy(d->uuid, id.deviceUUID, sizeof(d->uuid));
    memcpy(d->driver_uuid, id.driverUUID, sizeof(d->driver_uuid));
    d->driver_id = driver.driverID;
    for (uint32_t i = 0; i < d->mem.memoryHeapCount; i++)
        if (d->mem.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            info->memory = BL_MAX(info->memory, d->mem.memoryHeaps[i].size);
    const char *problem = d->props.apiVersion < VK_API_VERSION_1_1 ? "Vulkan older than 1.1"
        : find_family(d) < 0 ? "no compute queue"
        : d->limits.buffers < 8 ? "fewer than 8 storage buffers in a shader"
        : d->limits.invocations < 128 ? "workgroups smaller than 128"
        : d->limits.shared < 16 << 10 ? "less than 16 KiB of workgroup memory" : "";
    snprintf(info->problem, sizeof(info->problem), "%s", problem);
    info->usable = !*problem;
fail:
    bl_free(have);
    return result;
}

/* --- choosing ------------------------------------------------------------------------------------------------------- */

bl_result bl_device_each(void (*each)(void *user, const bl_device *d), void *user, uint32_t *loader)
{
    bl_result result = BL_OK;
    bl_device d = { 0 };
    VkPhysicalDevice found[MAX_DEVICES];
    VkQueueFamilyProperties families[MAX_FAMILIES];
    uint32_t count = 0, n = MAX_FAMILIES, version = 0;
    result = open_instance(&d);
    if (d.api.CreateInstance) {
        version = VK_API_VERSION_1_0;
        if (d.api.EnumerateInstanceVersion)
            d.api.EnumerateInstanceVersion(&version);
    }
    if (loader)
        *loader = version;
    BL_TRY(result);
    BL_TRY(enumerate(&d, found, &count));
    for (uint32_t i = 0; i < count; i++) {
        features f = { 0 };
        d.phys = found[i];
        BL_TRY(describe(&d, i, &f));
        d.api.GetPhysicalDeviceQueueFamilyProperties(d.phys, &n, families);
        const int family = find_family(&d);
        d.limits.timestamp_bits = family < 0 ? 0 : families[family].timestampValidBits;
        d.limits.timestamp_ns = d.limits.timestamp_bits ? d.props.limits.timestampPeriod : 0;
        n = MAX_FAMILIES;
        each(user, &d);
    }
fail:
    close_instance(&d);
    return result;
}

bl_result bl_device_list(bl_device_info *infos, uint32_t capacity, uint32_t *count)
{
    bl_result result = BL_OK;
    bl_device d = { 0 };
    VkPhysicalDevice found[MAX_DEVICES];
    *count = 0;
    BL_TRY(open_instance(&d));
    BL_TRY(enumerate(&d, found, count));
    for (uint32_t i = 0; i < *count && i < capacity; i++) {
        features f = { 0 };
        d.phys = found[i];
        BL_TRY(describe(&d, i, &f));
        infos[i] = d.info;
    }
fail:
    close_instance(&d);
    if (result != BL_OK)
        *count = 0;
    return result;
}

static bool contains(const char *text, const char *part)
{
    for (; *text; text++) {
        size_t i = 0;
        while (part[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (!part[i])
            return true;
    }
    return false;
}

/* Higher is better; a software device only if there is nothing else. */
static int rank(const bl_device_info *info)
{
    static const char *const order[] = { "cpu", "other", "virtual", "integrated", "discrete" };
    for (int i = 0; i < (int)BL_COUNT(order); i++)
        if (!strcmp(info->type, order[i]))
            return info->usable ? i : -1;
    return -1;
}

static bl_result choose(const bl_device_info *infos, uint32_t count, const char *which, uint32_t *out)
{
    if (!count)
        return bl_fail(BL_ERROR_DEVICE, "no Vulkan device on this machine");
    if (!which || !*which) {
        *out = 0;
        for (uint32_t i = 1; i < count; i++)
            if (rank(&infos[i]) > rank(&infos[*out]))
                *out = i;
        return BL_OK;
    }
    if (strspn(which, "0123456789") == strlen(which)) {
        const unsigned long index = strlen(which) < 9 ? strtoul(which, NULL, 10) : MAX_DEVICES;
        *out = (uint32_t)index;
        return index < count ? BL_OK : bl_fail(BL_ERROR_DEVICE, "device %.20s asked for, %u present", which, count);
    }
    uint32_t matches = 0;
    for (uint32_t i = 0; i < count; i++)
        if (contains(infos[i].uuid, which) || contains(infos[i].name, which)) {
            *out = i;
            matches++;
        }
    if (!matches)
        return bl_fail(BL_ERROR_DEVICE, "no device has \"%.60s\" in its name or UUID", which);
    return matches == 1 ? BL_OK : bl_fail(BL_ERROR_DEVICE, "\"%.60s\" matches %u devices: give its index or UUID", which, matches);
}

/* Keeps the forced subset, and lowers limits. */
static bl_result force_caps(bl_device *d, const char *text)
{
    const uint32_t all = d->caps;
    bl_limits *l = &d->limits;
    uint64_t limits[BL_LIMIT_COUNT] = { [BL_LIMIT_INVOCATIONS] = l->invocations, [BL_LIMIT_SHARED] = l->shared,
        [BL_LIMIT_BINDING] = l->binding, [BL_LIMIT_ALLOCATION] = l->allocation };
    const bl_result parsed = bl_caps_parse(text, &d->caps, limits);
    if (parsed != BL_OK)
        return parsed;
    if (d->caps & ~all) {
        char missing[64];
        bl_caps_text(d->caps & ~all, missing);
        return bl_fail(BL_ERROR_DEVICE, "%s lacks the capabilities %s", d->info.name, missing);
    }
    l->invocations = (uint32_t)limits[BL_LIMIT_INVOCATIONS];
    l->shared = (uint32_t)limits[BL_LIMIT_SHARED];
    l->binding = limits[BL_LIMIT_BINDING];
    l->allocation = limits[BL_LIMIT_ALLOCATION];
    if (!d->caps)
        l->buffers = BL_MIN(l->buffers, 8);
    return BL_OK;
}

void bl_device_caps_text(const bl_device *d, char *text)
{
    const uint64_t limits[BL_LIMIT_COUNT] = { [BL_LIMIT_INVOCATIONS] = d->limits.invocations, [BL_LIMIT_SHARED] = d->limits.shared,
        [BL_LIMIT_BINDING] = d->limits.binding, [BL_LIMIT_ALLOCATION] = d->limits.allocation };
    const uint64_t own[BL_LIMIT_COUNT] = { [BL_LIMIT_INVOCATIONS] = d->info.max_invocations, [BL_LIMIT_SHARED] = d->info.max_shared,
        [BL_LIMIT_BINDING] = d->info.max_binding, [BL_LIMIT_ALLOCATION] = d->info.max_allocation };
    bl_caps_limits_text(d->caps, limits, own, text);
}

/* Takes what `describe` found, less what the caller does not want. */
static bl_result use(bl_device *d, const char *caps, uint32_t family)
{
    bl_result result = BL_OK;
    VkQueueFamilyProperties families[MAX_FAMILIES];
    uint32_t n = MAX_FAMILIES;
    if (!d->info.usable)
        BL_TRY(bl_fail(BL_ERROR_DEVICE, "%s cannot be used: %s", d->info.name, d->info.problem));
    if (caps)
        BL_TRY(force_caps(d, caps));
    d->api.GetPhysicalDeviceQueueFamilyProperties(d->phys, &n, families);
    if (family >= n || !(families[family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        BL_TRY(bl_fail(BL_ERROR_DEVICE, "%s: queue family %u does not compute", d->info.name, family));
    d->family = family;
    d->limits.timestamp_bits = families[family].timestampValidBits;
    d->limits.timestamp_ns = d->limits.timestamp_bits ? d->props.limits.timestampPeriod : 0;
fail:
    return result;
}

static void load_device(bl_device *d)
{
#define LOAD(name) d->vk.name = (PFN_vk##name)(void (*)(void))d->api.GetDeviceProcAddr(d->dev, "vk" #name);
    BL_VK_DEVICE(LOAD)
    if (d->tells_statistics) {
        BL_VK_OPTIONAL(LOAD)
    }
#undef LOAD
}

bl_result bl_device_open(const char *which, const char *caps, bl_device **out)
{
    bl_result result = BL_OK;
    bl_device_info *infos = NULL;
    features f = { 0 };
    VkPhysicalDevice found[MAX_DEVICES];
    uint32_t count, index = 0;
    bl_device *d = *out = bl_alloc(1, sizeof(*d));
    if (!d)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a device");
    infos = bl_alloc(MAX_DEVICES, sizeof(*infos));
    if (!infos)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a device list"));
    BL_TRY(open_instance(d));
    BL_TRY(enumerate(d, found, &count));
    for (uint32_t i = 0; i < count; i++) {
        features ignored = { 0 };
        d->phys = found[i];
        BL_TRY(describe(d, i, &ignored));
        infos[i] = d->info;
    }
    BL_TRY(choose(infos, count, which, &index));
    d->phys = found[index];
    BL_TRY(describe(d, index, &f));
    BL_TRY(use(d, caps, (uint32_t)find_family(d)));
    features_keep(&f, d->caps);
    VK_TRY_MAKE(d->dev, d->api.CreateDevice(d->phys, &(VkDeviceCreateInfo){
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &f.core,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &(VkDeviceQueueCreateInfo){
            .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
            .queueFamilyIndex = d->family, .queueCount = 1, .pQueuePriorities = &(float){ 1.0f } },
        .enabledExtensionCount = f.extension_count, .ppEnabledExtensionNames = f.extensions,
    }, NULL, &d->dev));
    load_device(d);
    d->vk.GetDeviceQueue(d->dev, d->family, 0, &d->queue);
    bl_free(infos);
    return BL_OK;

fail:
    bl_free(infos);
    bl_device_close(out);
    return result;
}

bl_result bl_device_adopt(const bl_vulkan *v, const char *caps, bl_device **out)
{
    bl_result result = BL_OK;
    features f = { 0 };
    PFN_vkGetInstanceProcAddr get = v->get_instance_proc_addr;
    *out = NULL;
    if (!v->instance || !v->physical_device || !v->device || !v->queue)
        return bl_fail(BL_ERROR_USAGE, "the caller's Vulkan lacks an instance, a physical device, a device or a queue");
    if (!v->lock != !v->unlock)
        return bl_fail(BL_ERROR_USAGE, "the caller's queue has one of lock and unlock, both or none are needed");
    bl_device *d = *out = bl_alloc(1, sizeof(*d));
    if (!d)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a device");
    *d = (bl_device){ .instance = v->instance, .phys = v->physical_device, .dev = v->device, .queue = v->queue, .borrowed = true,
        .lock = v->lock, .unlock = v->unlock, .lock_user = v->user };
    if (!get)
        BL_TRY(find_loader(&get));
    load_instance(d, get);
    BL_TRY(describe(d, 0, &f));
    d->tells_statistics = false; /* what the caller's device was created with is not known */
    BL_TRY(use(d, caps ? caps : "base", v->queue_family));
    load_device(d);
    return BL_OK;
fail:
    bl_device_close(out);
    return result;
}

uint32_t bl_device_matrix_shapes(const bl_device *d, bl_matrix_shape *out, uint32_t room)
{
    uint32_t n = 0;
#ifdef VK_KHR_cooperative_matrix
    enum { ROOM = 128 };
    VkCooperativeMatrixPropertiesKHR list[ROOM];
    uint32_t count = ROOM;
    for (uint32_t i = 0; i < ROOM; i++)
        list[i] = (VkCooperativeMatrixPropertiesKHR){ .sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR };
    if (!(d->caps & BL_CAP_CM) || !d->api.GetPhysicalDeviceCooperativeMatrixPropertiesKHR)
        return 0;
    const VkResult r = d->api.GetPhysicalDeviceCooperativeMatrixPropertiesKHR(d->phys, &count, list);
    if (r != VK_SUCCESS && r != VK_INCOMPLETE)
        return 0;
    for (uint32_t i = 0; i < count && n < room; i++) {
        const VkCooperativeMatrixPropertiesKHR *m = &list[i];
        const bl_matrix_shape shape = { m->MSize, m->NSize, m->KSize, m->ResultType == VK_COMPONENT_TYPE_FLOAT16_KHR };
        const bool sums = m->CType == m->ResultType && (shape.half || m->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR);
        bool known = false;
        for (uint32_t j = 0; j < n; j++)
            known |= out[j].m == shape.m && out[j].n == shape.n && out[j].k == shape.k && out[j].half == shape.half;
        if (m->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && m->BType == VK_COMPONENT_TYPE_FLOAT16_KHR && sums && !known &&
            m->scope == VK_SCOPE_SUBGROUP_KHR)
            out[n++] = shape;
    }
#else
    (void)d, (void)out, (void)room;
#endif
    return n;
}

void bl_device_lock(const bl_device *d)
{
    if (d->lock)
        d->lock(d->lock_user);
}

void bl_device_unlock(const bl_device *d)
{
    if (d->unlock)
        d->unlock(d->lock_user);
}

void bl_device_close(bl_device **dev)
{
    bl_device *d = *dev;
    *dev = NULL;
    if (!d)
        return;
    if (!d->borrowed && d->dev && d->vk.DestroyDevice)
        d->vk.DestroyDevice(d->dev, NULL);
    if (!d->borrowed)
        close_instance(d);
    bl_free(d);
}
