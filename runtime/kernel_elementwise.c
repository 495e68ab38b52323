/* Dispatch of the elementwise and sampling kernels. Layer 2. */
#include "dispatch.h"

void bl_grid_lanes(const bl_impl *impl, uint64_t lanes, uint32_t groups[3])
{
    const uint64_t n = (lanes + impl->workgroup - 1) / impl->workgroup;
    groups[0] = (uint32_t)BL_MIN(n, BL_GROUP_LINE);
    groups[1] = (uint32_t)((n + BL_GROUP_LINE - 1) / BL_GROUP_LINE);
    groups[2] = 1;
}

uint64_t bl_lanes(const bl_impl *impl, bl_extent e)
{
    return (uint64_t)bl_ceil_div(e.rows, impl->tile_m) * (e.cols / impl->tile_n);
}

/* A lane has tile_m rows and tile_n columns of that operand. */
static void elementwise(const bl_impl *impl, const bl_params *p, uint32_t operand, uint32_t groups[3])
{
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    bl_op_infos[impl->op].extents(p, e);
    bl_grid_lanes(impl, bl_lanes(impl, e[operand]), groups);
}

void bl_grid_elementwise_first(const bl_impl *impl, const bl_params *p, uint32_t groups[3]) { elementwise(impl, p, 0, groups); }
void bl_grid_elementwise_second(const bl_impl *impl, const bl_params *p, uint32_t groups[3]) { elementwise(impl, p, 1, groups); }

void bl_grid_elementwise_last(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    bl_operand operands[BL_MAX_OPERANDS];
    elementwise(impl, p, bl_op_operands(impl->op, operands) - 1, groups);
}

void bl_grid_one(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    (void)impl;
    (void)p;
    groups[0] = groups[1] = groups[2] = 1;
}

/* A lane has a row of the first, or last, operand. */
void bl_grid_rows_first(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    bl_op_infos[impl->op].extents(p, e);
    bl_grid_lanes(impl, e[0].rows, groups);
}

void bl_grid_rows_last(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    bl_operand operands[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    bl_op_infos[impl->op].extents(p, e);
    bl_grid_lanes(impl, e[bl_op_operands(impl->op, operands) - 1].rows, groups);
}
