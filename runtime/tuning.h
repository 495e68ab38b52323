/* A plan: which implementation computes a problem, where measuring has shown a faster one than the table's first. Layer 2.
 *
 * A JSON object, in memory as in files and pictures: {"kernels": which shaders it was measured with (bl_kernels_sum), "caps": with
 * which capabilities and limits, "choices": {"matmul_fwd f32 m=256,n=64,k=64": "matmul_fwd_direct", ...}}. A key is an op, a storage type
 * and a shape class. What a choice names need not exist, fit a problem or run on a device: the table decides then, as it does where there
 * is no choice. */
#ifndef BL_TUNING_H
#define BL_TUNING_H
#include "device.h"
#include "impl.h"
#include "json.h"

enum { BL_TUNING_MAX = 1 << 20 }; /* bytes of its text */

/* One without choices, for the kernels of this library on the device as it is used; NULL when memory runs out. */
json_t *bl_tuning_create(const bl_device *d);
/* Reads a plan; `name` is for messages. BL_ERROR_INPUT: it is none. *out is released by json_decref, and NULL on failure. */
bl_result bl_tuning_parse(const char *name, const char *text, size_t size, json_t **out);
/* Its text, the same for the same choices; freed by bl_free, NULL when memory runs out. */
char *bl_tuning_print(const json_t *tuning);
/* True if it was measured with the kernels that this library has, and the capabilities and limits that are in use. */
bool bl_tuning_is_for(const json_t *tuning, const bl_device *d);
size_t bl_tuning_count(const json_t *tuning); /* choices; 0 for NULL */

/* What it names for the shape class of a problem, of whatever op; BL_KERNEL_COUNT: nothing. `tuning` may be NULL. */
bl_kernel bl_tuning_find(const json_t *tuning, bl_op op, bl_dtype t, const bl_params *p);
/* Names implementation k for the shape class of a problem; BL_KERNEL_COUNT takes away what it names. BL_ERROR_MEMORY. */
bl_result bl_tuning_set(json_t *tuning, bl_op op, bl_dtype t, const bl_params *p, bl_kernel k);
/* Those of its choices whose implementation `used` accepts, as another plan; NULL when memory runs out. */
json_t *bl_tuning_filter(const json_t *tuning, bool (*used)(const void *user, bl_kernel k), const void *user);

/* The plan that was kept in a cache folder for the device as it is used, its driver and these kernels; NULL: none that is sound. */
json_t *bl_tuning_load(const bl_device *d, const char *dir);
bl_result bl_tuning_save(const bl_device *d, const char *dir, const json_t *tuning); /* errors as bl_device_file_write */
#endif
