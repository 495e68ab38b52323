/* Dispatch of the attention kernels. Layer 2. */
#include "dispatch.h"

/* True if heads can be read and written four columns at a time: head size and views of the storage type are multiples of four. */
static bool vec4(bl_op op, const bl_params *p)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t n = bl_op_operands(op, o);
    uint32_t all = bl_op_heads(op, p).head;
    for (uint32_t i = 0; i < n; i++)
        if (o[i].storage)
            all |= p->v[i].off | p->v[i].stride;
    return !(all & 3);
}

/* Which kernel takes a head size, and with it the order of the sums, depends on nothing else. Up to 96 a query and its result fit in the
 * registers of a lane; above, a workgroup needs a lane per four columns. */
enum { STAGED_MAX = 96, WIDE40_MAX = 160, WIDE128_MAX = 512 };

static bool between(bl_op op, const bl_params *p, uint32_t low, uint32_t high)
{
    const uint32_t head = bl_op_heads(op, p).head;
    return head > low && head <= high;
}

#define FITS(name, low, high) \
    bool bl_fits_##name(bl_op op, const bl_params *p) { return between(op, p, low, high); } \
    bool bl_fits_##name##_vec4(bl_op op, const bl_params *p) { return between(op, p, low, high) && vec4(op, p); }
FITS(attention_staged, 0, STAGED_MAX)
FITS(attention_wide40, STAGED_MAX, WIDE40_MAX)
FITS(attention_wide128, WIDE40_MAX, WIDE128_MAX)

bool bl_fits_attention_vec4(bl_op op, const bl_params *p) { return vec4(op, p); }

static void grid(uint32_t x, uint32_t y, uint32_t z, uint32_t groups[3])
{
    groups[0] = x;
    groups[1] = y;
    groups[2] = z;
}

/* A lane has a query of a head of an image. */
void bl_grid_attention_queries(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const bl_heads q = bl_op_heads(impl->op, p);
    grid(bl_ceil_div(q.tq, impl->workgroup), q.heads, q.images, groups);
}

/* A workgroup has tile_m queries of a head of an image. */
void bl_grid_attention_tile(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const bl_heads q = bl_op_heads(impl->op, p);
    grid(bl_ceil_div(q.tq, impl->tile_m), q.heads, q.images, groups);
}

/* A lane has a key of a head of an image. */
void bl_grid_attention_keys(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const bl_heads q = bl_op_heads(impl->op, p);
    grid(bl_ceil_div(q.tk, impl->workgroup), q.heads, q.images, groups);
}

/* A workgroup has tile_m keys of a head of an image. */
void bl_grid_attention_key_tile(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const bl_heads q = bl_op_heads(impl->op, p);
    grid(bl_ceil_div(q.tk, impl->tile_m), q.heads, q.images, groups);
}

/* A workgroup has tile_m rows of 4 * workgroup columns of a head of an image; the rows are queries, in attention_values_bwd_v keys. */
void bl_grid_attention_values(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const bl_heads q = bl_op_heads(impl->op, p);
    const uint32_t parts = bl_ceil_div(bl_ceil_div(q.head, 4), impl->workgroup);
    const uint32_t rows = impl->op == BL_OP_attention_values_bwd_v ? q.tk : q.tq;
    grid(bl_ceil_div(rows, impl->tile_m), q.heads, q.images * parts, groups);
}
