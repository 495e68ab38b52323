/* The implementation table. Layer 2. */
#include "impl.h"

#define K(name, op, shader, caps, types, fits, grid, wg, m, n, k) \
    bool bl_fits_##fits(bl_op, const bl_params *); \
    void bl_grid_##grid(const bl_impl *, const bl_params *, uint32_t[3]);
#include "kernels.def"
#undef K

enum { S16 = BL_CAP_S16, SG = BL_CAP_SG, CM = BL_CAP_CM, TALL = BL_CAP_TALL, BIG = BL_IMPL_BIG, F32 = 1 << BL_F32, F16 = 1 << BL_F16 };

const bl_impl bl_impls[BL_KERNEL_COUNT + 1] = {
#define K(name, op, shader, caps, types, fits, grid, wg, m, n, k) \
    { #name, BL_OP_##op, caps, types, bl_fits_##fits, bl_grid_##grid, wg, m, n, k },
#include "kernels.def"
#undef K
    { 0 }
};

bool bl_fits_any(bl_op op, const bl_params *p)
{
    (void)op;
    (void)p;
    return true;
}

static bool in_fours(bl_op op, const bl_params *p, bool storage_only)
{
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t n = bl_op_operands(op, o);
    bl_op_infos[op].extents(p, e);
    for (uint32_t i = 0; i < n; i++)
        if (e[i].rows && (o[i].storage || !storage_only) && ((p->v[i].off | p->v[i].stride | e[i].cols) & 3))
            return false;
    return true;
}

bool bl_fits_vec4(bl_op op, const bl_params *p) { return in_fours(op, p, false); }
bool bl_fits_vec4_storage(bl_op op, const bl_params *p) { return in_fours(op, p, true); }
