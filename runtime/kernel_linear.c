/* Dispatch of the matrix product and the convolution. Layer 2. */
#include "impl.h"

/* Few rows: a full tile would mostly repeat the last one. */
bool bl_fits_few_rows(bl_op op, const bl_params *p) { return p->matmul_fwd.m <= 8 && bl_fits_vec4(op, p); }

/* Few output channels: most lanes of a direct tile would be idle. */
bool bl_fits_narrow(bl_op op, const bl_params *p)
{
    (void)op;
    return p->conv_fwd.oc <= 4;
}

/* A workgroup has tile_m rows and tile_n columns. x: columns; y and z: rows, 32768 tiles of them per z. */
static void tiles(const bl_impl *impl, uint32_t rows, uint32_t cols, uint32_t groups[3])
{
    const uint32_t count = bl_ceil_div(rows, impl->tile_m);
    groups[0] = bl_ceil_div(cols, impl->tile_n);
    groups[1] = BL_MIN(count, 32768u);
    groups[2] = bl_ceil_div(count, 32768u);
}

void bl_grid_matmul(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    tiles(impl, p->matmul_fwd.m, p->matmul_fwd.n, groups);
}

void bl_grid_conv(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct conv_params *q = &p->conv_fwd;
    tiles(impl, q->images * q->oh * q->ow, q->oc, groups);
}
