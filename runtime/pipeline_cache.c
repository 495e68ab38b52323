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

/* FNV-1a, against damage, not tampering: the folder belongs to the user. */
static uint64_t hash_of(const uint8_t *data, size_t size)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 1099511628211u;
    return h;
}

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

bl_result bl_pipeline_cache_open(const bl_device *d, const char *dir, VkPipelineCache *out)
{
    bl_result result = BL_OK;
    char *path = dir ? path_of(d, dir) : NULL;
    uint8_t *data = NULL;
    size_t size = 0, sound = 0;
    if (path && bl_path_is_file(path) && bl_file_read_all(path, MAX_CACHE, &data, &size, BL_ERROR_INPUT) == BL_OK &&
        size > sizeof(header)) {
        header expected = header_of(d), found;
        memcpy(&found, data, sizeof(found));
        expected.size = size - sizeof(header);
        expected.hash = hash_of(data + sizeof(header), expected.size);
        sound = memcmp(&expected, &found, sizeof(found)) ? 0 : expected.size;
    }
    VkPipelineCacheCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = sound, .pInitialData = sound ? data + sizeof(header) : NULL };
    if (!sound || d->vk.CreatePipelineCache(d->dev, &info, NULL, out) != VK_SUCCESS) {
        info.initialDataSize = 0; /* nothing there, or the driver does not take it */
        info.pInitialData = NULL;
        VK_TRY_MAKE(*out, d->vk.CreatePipelineCache(d->dev, &info, NULL, out));
    }
fail:
    bl_free(data);
    bl_free(path);
    return result;
}

void bl_pipeline_cache_save(const bl_device *d, const char *dir, VkPipelineCache cache)
{
    size_t size = 0;
    uint8_t *data = NULL;
    char *path = path_of(d, dir);
    if (!path || !cache || d->vk.GetPipelineCacheData(d->dev, cache, &size, NULL) != VK_SUCCESS || !size || size > MAX_CACHE)
        goto done;
    data = bl_alloc(1, sizeof(header) + size);
    if (!data || d->vk.GetPipelineCacheData(d->dev, cache, &size, data + sizeof(header)) != VK_SUCCESS)
        goto done;
    header h = header_of(d);
    h.size = size;
    h.hash = hash_of(data + sizeof(header), size);
    memcpy(data, &h, sizeof(h));
    if (!bl_path_is_directory(dir))
        mkdir(dir, 0700);
    bl_file_write_atomic(path, data, sizeof(header) + size);
done:
    bl_free(data);
    bl_free(path);
}
