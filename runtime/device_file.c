#include "device_file.h"
#include "file.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DATA = 1 << 20 };

/* Written as it lies in memory, without padding: a file from a machine of other byte order fails the magic. */
typedef struct header {
    char magic[8], kind[16], library[16];
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    uint8_t uuid[VK_UUID_SIZE], driver_uuid[VK_UUID_SIZE];
    uint32_t format, driver, subgroup, reserved;
    uint64_t size, hash;
} header;

static header header_of(const bl_device *d, const char *kind, const uint8_t *data, size_t size)
{
    header h = { .magic = "blmfile", .format = 1, .driver = d->props.driverVersion, .subgroup = d->limits.subgroup, .size = size,
        .hash = bl_hash(0, data, size) };
    snprintf(h.kind, sizeof(h.kind), "%s", kind);
    snprintf(h.library, sizeof(h.library), "%s", bl_version());
    snprintf(h.name, sizeof(h.name), "%s", d->props.deviceName);
    memcpy(h.uuid, d->uuid, sizeof(h.uuid));
    memcpy(h.driver_uuid, d->driver_uuid, sizeof(h.driver_uuid));
    return h;
}

char *bl_device_file_path(const bl_device *d, const char *dir, const char *kind)
{
    char name[80];
    snprintf(name, sizeof(name), "%s-%s.bin", kind, d->info.uuid);
    return bl_path_join(dir, name);
}

uint8_t *bl_device_file_read(const bl_device *d, const char *dir, const char *kind, size_t *size)
{
    char *path = bl_device_file_path(d, dir, kind);
    uint8_t *data = NULL;
    size_t all = 0;
    *size = 0;
    if (path && bl_path_is_file(path) &&
        bl_file_read_all(path, sizeof(header) + MAX_DATA, &data, &all, BL_ERROR_INPUT) == BL_OK && all >= sizeof(header)) {
        const header expected = header_of(d, kind, data + sizeof(header), all - sizeof(header));
        if (!memcmp(&expected, data, sizeof(expected)))
            *size = all - sizeof(header);
    }
    if (*size) {
        memmove(data, data + sizeof(header), *size);
    } else {
        bl_free(data);
        data = NULL;
    }
    bl_free(path);
    return data;
}

bl_result bl_device_file_write(const bl_device *d, const char *dir, const char *kind, const void *data, size_t size)
{
    bl_result result = BL_OK;
    char *path = bl_device_file_path(d, dir, kind);
    uint8_t *all = size <= MAX_DATA ? bl_alloc(1, sizeof(header) + size) : NULL;
    if (!path || !all)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for %s of %zu bytes", kind, size));
    const header h = header_of(d, kind, data, size);
    memcpy(all, &h, sizeof(h));
    memcpy(all + sizeof(h), data, size);
    if (!bl_path_is_directory(dir))
        mkdir(dir, 0700);
    BL_TRY(bl_file_write_atomic(path, all, sizeof(h) + size));
fail:
    bl_free(all);
    bl_free(path);
    return result;
}
