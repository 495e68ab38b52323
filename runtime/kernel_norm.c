/* Dispatch of the normalisation kernels. Layer 2. */
#include "dispatch.h"

/* A lane has tile_n channels of one slice, which is a row of the result. */
void bl_grid_channel_stats(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    bl_operand operands[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    bl_op_infos[impl->op].extents(p, e);
    bl_grid_lanes(impl, bl_lanes(impl, (bl_extent){ e[bl_op_operands(impl->op, operands) - 1].rows, e[0].cols }), groups);
}

/* A lane has tile_n channels of tile_m rows of one image. */
void bl_grid_group_norm(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct group_norm_params *q = &p->group_norm_fwd;
    bl_grid_lanes(impl, q->images * bl_lanes(impl, (bl_extent){ q->rows, q->channels }), groups);
}

void bl_grid_group_norm_bwd(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct group_norm_bwd_params *q = &p->group_norm_bwd_x;
    bl_grid_lanes(impl, q->images * bl_lanes(impl, (bl_extent){ q->rows, q->channels }), groups);
}

/* A workgroup has tile_m rows, or groups of an image. */
static void row_sums(const bl_impl *impl, uint32_t rows, uint32_t groups[3])
{
    groups[0] = bl_ceil_div(rows, impl->tile_m);
    groups[1] = groups[2] = 1;
}

void bl_grid_row_sums(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    bl_op_infos[impl->op].extents(p, e);
    row_sums(impl, e[0].rows, groups);
}

void bl_grid_group_stats(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    row_sums(impl, p->group_stats_fwd.images * p->group_stats_fwd.groups, groups);
}

void bl_grid_group_stats_bwd(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    row_sums(impl, p->group_stats_bwd.images * p->group_stats_bwd.groups, groups);
}
