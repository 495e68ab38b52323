#include "pipeline_cache.h"
#include "file.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_CACHE = 64 << 20 };

/* Written as it lies in memory: a file from a machine of other byte order fails the magic. */
typedef struct header {
    char magic[8];
    uint32_t version, vendor, device, driver;
    uint8_t uuid[VK_UUID_SIZE];
    uint64_t size, hash;
} header;

static header header_of(const bl_device *d)
{
    header h = { .magic = "blmpipe", .version = 1, .vendor = d->props.vendorID, .device = d->props.deviceID,
        .driver = d->props.driverVersion };
    memcpy(h.uuid, d->props.pipelineCacheUUID, sizeof(h.uuid));
    return h;
}

static char *path_of(const bl_device *d, const char *dir)
{
    char name[64];
    snprintf(name, sizeof(name), "pipelines-%08x-%08x.bin", (unsigned)d->props.vendorID, (unsigned)d->props.deviceID);
    return bl_path_join(dir, name);
}

/* Bytes of the driver's own behind a header that fits this device; 0: none. */
static size_t sound(const bl_device *d, const uint8_t *data, size_t size)
{
    header expected = header_of(d), found;
    if (!data || size <= sizeof(found))
        return 0;
    memcpy(&found, data, sizeof(found));
    expected.size = size - sizeof(header);
    expected.hash = bl_hash(0, data + sizeof(header), expected.size);
    return memcmp(&expected, &found, sizeof(found)) ? 0 : expected.size;
}

bl_result bl_pipeline_cache_open(const bl_device *d, const bl_cache_source *source, VkPipelineCache *out)
{
    bl_result result = BL_OK;
    char *path = source && source->dir ? path_of(d, source->dir) : NULL;
    uint8_t *file = NULL;
    const uint8_t *data = source ? source->data : NULL;
    size_t size = data ? source->size : 0, count = sound(d, data, size);
    if (!count && path && bl_path_is_file(path) && bl_file_read_all(path, MAX_CACHE, &file, &size, BL_ERROR_INPUT) == BL_OK) {
        data = file;
        count = sound(d, data, size);
    }
    VkPipelineCacheCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = count, .pInitialData = count ? data + sizeof(header) : NULL };
    if (!count || d->vk.CreatePipelineCache(d->dev, &info, NULL, out) != VK_SUCCESS) {
        info.initialDataSize = 0; /* nothing there, or the driver does not take it */
        info.pInitialData = NULL;
        VK_TRY_MAKE(*out, d->vk.CreatePipelineCache(d->dev, &info, NULL, out));
    }
fail:
    bl_free(file);
    bl_free(path);
    return result;
}

bl_result bl_pipeline_cache_bytes(const bl_device *d, VkPipelineCache cache, uint8_t **data, size_t *size)
{
    bl_result result = BL_OK;
    size_t count = 0;
    *data = NULL;
    *size = 0;
    VK_TRY(d->vk.GetPipelineCacheData(d->dev, cache, &count, NULL));
    if (!count || count > MAX_CACHE)
        BL_TRY(bl_fail(BL_ERROR_DEVICE, "%s: the driver's pipeline cache has %zu bytes", d->info.name, count));
    *data = bl_alloc(1, sizeof(header) + count);
    if (!*data)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for the pipeline cache"));
    VK_TRY(d->vk.GetPipelineCacheData(d->dev, cache, &count, *data + sizeof(header)));
    header h = header_of(d);
    h.size = count;
    h.hash = bl_hash(0, *data + sizeof(header), count);
    memcpy(*data, &h, sizeof(h));
    *size = sizeof(header) + count;
    return BL_OK;
fail:
    bl_free(*data);
    *data = NULL;
    return result;
}

void bl_pipeline_cache_save(const bl_device *d, const char *dir, VkPipelineCache cache)
{
    size_t size = 0;
    uint8_t *data = NULL;
    char *path = path_of(d, dir);
    if (path && cache && bl_pipeline_cache_bytes(d, cache, &data, &size) == BL_OK) {
        if (!bl_path_is_directory(dir))
            mkdir(dir, 0700);
        bl_file_write_atomic(path, data, size);
    }
    bl_free(data);
    bl_free(path);
}
