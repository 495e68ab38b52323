/* The implementations of shaders/kernels.def as data: what each needs, takes and how it is dispatched. Layer 2. */
#ifndef BL_IMPL_H
#define BL_IMPL_H
#include "caps.h"
#include "op.h"

enum { BL_IMPL_BIG = 1 << 30 }; /* among the bits of caps: takes workgroups of BL_BIG lanes, whatever its own */
enum { BL_BIG = 256 };

typedef struct bl_impl {
    const char *name;
    bl_op op;
    uint32_t caps;            /* bl_cap bits, besides BL_CAP_S16 for F16, and BL_IMPL_BIG */
    uint32_t types;           /* bit 1 << bl_dtype */
    /* True if it takes the problem. */
    bool (*fits)(bl_op op, const bl_params *p);
    /* Workgroups in x, y, z; x at most 65535, y and z at most 65535 (the guaranteed limits). */
    void (*grid)(const struct bl_impl *impl, const bl_params *p, uint32_t groups[3]);
    uint32_t workgroup;       /* lanes */
    uint32_t tile_m, tile_n, tile_k;
} bl_impl;

typedef enum bl_kernel {
#define K(name, op, shader, caps, types, fits, grid, wg, m, n, k) BL_K_##name,
#include "kernels.def"
#undef K
    BL_KERNEL_COUNT
} bl_kernel;

extern const bl_impl bl_impls[BL_KERNEL_COUNT + 1]; /* ends with a zeroed entry */

/* True always; true if offset, stride and columns of every operand are multiples of 4; the same of those of the storage type. */
bool bl_fits_any(bl_op op, const bl_params *p);
bool bl_fits_vec4(bl_op op, const bl_params *p);
bool bl_fits_vec4_storage(bl_op op, const bl_params *p);

static inline uint32_t bl_ceil_div(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }
#endif
