/* What may matter when something does not work, as one JSON object. Layer 2. */
#include "caps.h"
#include "device_file.h"
#include "file.h"
#include "quirks.h"
#include "tuning.h"
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* Bytes of any kind from drivers and the environment: what is not ASCII becomes '?' unless it is UTF-8. */
static json_t *text_of(const char *s)
{
    json_t *j = json_string(s);
    char *copy = j ? NULL : bl_text_copy(s, strlen(s));
    for (char *p = copy; copy && *p; p++)
        *p = (unsigned char)*p < 0x80 ? *p : '?';
    if (copy)
        j = json_string(copy);
    bl_free(copy);
    return j;
}

static json_t *version_of(uint32_t v)
{
    return json_sprintf("%u.%u.%u", VK_VERSION_MAJOR(v), VK_VERSION_MINOR(v), VK_VERSION_PATCH(v));
}

/* --- one device ----------------------------------------------------------------------------------------------------------- */

static const struct { bl_cap cap; const char *name, *needs, *use; } tiers[] = {
    { BL_CAP_S16, "s16", "storageBuffer16BitAccess (VK_KHR_16bit_storage)", "fp16 storage: half the memory" },
    { BL_CAP_F16, "f16", "shaderFloat16 (VK_KHR_shader_float16_int8)", "nothing yet" },
    { BL_CAP_SG, "sg", "subgroups of 8 lanes with arithmetic and shuffles in compute shaders", "layer norm, group statistics" },
    { BL_CAP_SGSIZE, "sgsize", "subgroupSizeControl, computeFullSubgroups (VK_EXT_subgroup_size_control)", "nothing yet" },
    { BL_CAP_DOT8, "dot8", "shaderIntegerDotProduct and shaderInt8", "nothing yet" },
    { BL_CAP_CM, "cm", "cooperativeMatrix (VK_KHR_cooperative_matrix), vulkanMemoryModel, shaderFloat16", "nothing yet" },
    { BL_CAP_TALL, "tall", "a software device", "tiles larger than the registers of GPUs" },
};

static json_t *tiers_of(const bl_device *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < BL_COUNT(tiers); i++)
        json_array_append_new(list, json_pack("{s:s,s:b,s:s,s:s}", "name", tiers[i].name, "there", !!(d->caps & (uint32_t)tiers[i].cap),
                                              "needs", tiers[i].needs, "use", tiers[i].use));
    return list;
}

static json_t *quirks_of(const bl_device *d)
{
    enum { MOST = 16 };
    const bl_quirk *found[MOST];
    const uint32_t n = bl_quirks_of(d, found, MOST);
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s,s:s}", "text", found[i]->text, "link", found[i]->link));
    return list;
}

/* Pipelines known to be right on the device with its driver. */
static json_t *selftest_of(const bl_device *d, const char *dir)
{
    size_t size = 0;
    if (dir)
        bl_free(bl_device_file_read(d, dir, "selftest", &size));
    return json_pack("{s:I}", "right", (json_int_t)(size / sizeof(uint64_t)));
}

/* What 'tune' has kept for the device with its driver and these kernels. */
static json_t *tuning_of(const bl_device *d, const char *dir)
{
    json_t *tuning = dir ? bl_tuning_load(d, dir) : NULL;
    json_t *found = json_pack("{s:b,s:I}", "there", tuning != NULL, "choices", (json_int_t)bl_tuning_count(tuning));
    json_decref(tuning);
    return found;
}

typedef struct doctor {
    const char *cache_dir;
    json_t *devices;
} doctor;

static void add_device(void *user, const bl_device *d)
{
    doctor *doc = user;
    const bl_device_info *i = &d->info;
    const bl_limits *l = &d->limits;
    json_t *j = json_pack("{s:i,s:o,s:s,s:s,s:s,s:b,s:s,s:s}", "index", (int)i->index, "name", text_of(i->name), "uuid", i->uuid, "type",
                          i->type, "api", i->api, "usable", i->usable, "problem", i->problem, "caps", i->caps);
    json_object_update_new(j, json_pack("{s:o,s:i,s:o,s:o}", "driver", text_of(i->driver), "driver_id", (int)d->driver_id, "driver_version",
        json_sprintf("0x%08x", (unsigned)d->props.driverVersion), "pci", json_sprintf("%04x:%04x", (unsigned)d->props.vendorID,
        (unsigned)d->props.deviceID)));
    json_object_update_new(j, json_pack("{s:{s:I,s:I,s:b}}", "memory", "heap", (json_int_t)i->memory, "free",
        (json_int_t)bl_device_limit(d), "budget", d->tells_budget));
    json_object_update_new(j, json_pack("{s:{s:i,s:i,s:I,s:I,s:i,s:i}}", "limits", "invocations", (int)l->invocations, "shared",
        (int)l->shared, "binding", (json_int_t)l->binding, "allocation", (json_int_t)l->allocation, "storage_buffers", (int)l->buffers,
        "subgroup", (int)l->subgroup));
    json_object_update_new(j, json_pack("{s:{s:i,s:f},s:s}", "timestamps", "bits", (int)l->timestamp_bits, "ns", l->timestamp_ns,
                                        "watchdog", bl_watchdog_of(d)));
    json_object_set_new(j, "tiers", tiers_of(d));
    json_object_set_new(j, "quirks", quirks_of(d));
    json_object_set_new(j, "selftest", selftest_of(d, doc->cache_dir));
    json_object_set_new(j, "tuning", tuning_of(d, doc->cache_dir));
    json_array_append_new(doc->devices, j);
}

/* --- around it ------------------------------------------------------------------------------------------------------------ */

static json_t *environment(void)
{
    static const char *const names[] = { "VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT",
        "VK_LOADER_DRIVERS_DISABLE", "VK_INSTANCE_LAYERS", "VK_LOADER_LAYERS_ENABLE", "MESA_VK_DEVICE_SELECT", "LP_NATIVE_VECTOR_WIDTH",
        "BLEMISH_DEVICE", "BLEMISH_CAPS", "BLEMISH_MAX_MEMORY", "BLEMISH_CACHE_DIR", "BLEMISH_NO_SELFTEST", "BLEMISH_NO_TUNE" };
    json_t *j = json_object();
    for (size_t i = 0; i < BL_COUNT(names); i++)
        if (getenv(names[i]))
            json_object_set_new(j, names[i], text_of(getenv(names[i])));
    return j;
}

static json_t *cache_of(const char *dir)
{
    json_t *files = json_array();
    DIR *folder = dir ? opendir(dir) : NULL;
    for (struct dirent *f; folder && (f = readdir(folder));) {
        struct stat s;
        char *path = f->d_name[0] == '.' ? NULL : bl_path_join(dir, f->d_name);
        if (path && !stat(path, &s) && S_ISREG(s.st_mode))
            json_array_append_new(files, json_pack("{s:o,s:I}", "name", text_of(f->d_name), "bytes", (json_int_t)s.st_size));
        bl_free(path);
    }
    if (folder)
        closedir(folder);
    return json_pack("{s:o,s:o}", "dir", dir ? text_of(dir) : json_null(), "files", files);
}

bl_result bl_doctor(const char *cache_dir, char **json)
{
    doctor doc = { .cache_dir = cache_dir, .devices = json_array() };
    struct utsname u;
    uint32_t loader = 0;
    if (!json)
        return bl_fail(BL_ERROR_USAGE, "bl_doctor: no place for the text");
    *json = NULL;
    json_t *j = json_pack("{s:s}", "version", bl_version());
    if (!uname(&u))
        json_object_set_new(j, "system", json_sprintf("%s %s %s", u.sysname, u.release, u.machine));
    const bl_result found = bl_device_each(add_device, &doc, &loader);
    json_object_set_new(j, "loader", json_pack("{s:b,s:o,s:o}", "found", loader != 0, "version", loader ? version_of(loader) : json_null(),
                                               "problem", found == BL_OK ? json_string("") : text_of(bl_last_error())));
    json_object_set_new(j, "environment", environment());
    json_object_set_new(j, "cache", cache_of(cache_dir));
    json_object_set_new(j, "devices", doc.devices);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    *json = text ? bl_text_copy(text, strlen(text)) : NULL;
    free(text);
    return *json ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory for a report");
}
