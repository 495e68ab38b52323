/* Dispatch of the matrix product and the convolution and of their gradients. Layer 2. */
#include "impl.h"

/* Few rows: a full tile would mostly repeat the last one. */
bool bl_fits_few_rows(bl_op op, const bl_params *p) { return p->matmul_fwd.m <= 8 && bl_fits_vec4(op, p); }

/* Few output channels: most lanes of a direct tile would be idle. */
bool bl_fits_narrow(bl_op op, const bl_params *p)
{
    (void)op;
    return p->conv_fwd.oc <= 4;
}

bool bl_fits_few_rows_bwd(bl_op op, const bl_params *p) { return p->matmul_bwd_x.m <= 8 && bl_fits_vec4(op, p); }

bool bl_fits_narrow_bwd(bl_op op, const bl_params *p)
{
    (void)op;
    return p->conv_bwd_x.c <= 4;
}

/* A workgroup has tile_m rows and tile_n columns. x: columns; y and z: rows, 32768 tiles of them per z, `times` over. */
static void tiles(const bl_impl *impl, uint32_t times, uint32_t rows, uint32_t cols, uint32_t groups[3])
{
    const uint32_t count = times * bl_ceil_div(rows, impl->tile_m);
    groups[0] = bl_ceil_div(cols, impl->tile_n);
    groups[1] = BL_MIN(count, 32768u);
    groups[2] = bl_ceil_div(count, 32768u);
}

void bl_grid_matmul(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    tiles(impl, 1, p->matmul_fwd.m, p->matmul_fwd.n, groups);
}

void bl_grid_conv(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct conv_params *q = &p->conv_fwd;
    tiles(impl, 1, q->images * q->oh * q->ow, q->oc, groups);
}

void bl_grid_matmul_bwd(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    tiles(impl, 1, p->matmul_bwd_x.m, p->matmul_bwd_x.k, groups);
}

/* A workgroup has pixels of one phase (taps_bwd.glsl). */
void bl_grid_conv_bwd(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct conv_bwd_params *q = &p->conv_bwd_x;
    tiles(impl, q->stride * q->stride, q->images * bl_ceil_div(q->h, q->stride) * bl_ceil_div(q->width, q->stride), q->c, groups);
}

/* x: rows, y: columns (direct.glsl). */
static void rows_first(uint32_t groups[3])
{
    const uint32_t columns = groups[0];
    groups[0] = groups[1];
    groups[1] = columns;
}

void bl_grid_matmul_bwd_direct(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    bl_grid_matmul_bwd(impl, p, groups);
    rows_first(groups);
}

void bl_grid_conv_bwd_direct(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    bl_grid_conv_bwd(impl, p, groups);
    rows_first(groups);
}
