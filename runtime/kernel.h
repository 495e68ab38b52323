/* The compiled shaders: choosing an implementation, its pipeline, one dispatch. Layer 2. */
#ifndef BL_KERNEL_H
#define BL_KERNEL_H
#include "impl.h"
#include "stream.h"

typedef struct bl_kernels bl_kernels;
/* Pipelines are made when first recorded. `cache_dir` (NULL: none) keeps the driver's pipeline cache; a bad file there is a miss. */
bl_result bl_kernels_create(bl_device *d, const char *cache_dir, bl_kernels **out);
void bl_kernels_destroy(bl_kernels **k);  /* writes the cache; sets *k to NULL; NULL is accepted */

/* True if the device, with the capabilities in use, runs implementation `k` for storage type `t`, and it was built. */
bool bl_kernel_able(const bl_kernels *ks, bl_kernel k, bl_dtype t);
/* The implementation for a problem: the first able one in the table that fits. BL_ERROR_DEVICE if there is none. */
bl_result bl_kernel_choose(const bl_kernels *ks, bl_op op, bl_dtype t, const bl_params *p, bl_kernel *out);

/* Records one dispatch. operands[i] is where operand i's view starts counting (an absent optional one has buffer NULL); `steps` is the
 * step table, NULL for ops without. Each operand is bound with exactly the range that its view covers.
 * BL_ERROR_DEVICE if an operand is larger than a binding can be, or the dispatch larger than the device takes. */
bl_result bl_kernel_record(bl_kernels *ks, bl_commands *c, bl_kernel k, bl_dtype t, const bl_params *p, const bl_slice *operands,
                           const bl_slice *steps);

/* The implementations recorded since creation, in table order: "matmul_direct_f32". */
void bl_kernels_used(const bl_kernels *ks, void (*each)(void *user, const char *name), void *user);
#endif
