/* Dispatch of the attention kernels. Layer 2. */
#include "dispatch.h"

/* True if heads can be read and written four columns at a time: `n` views and the head size are multiples of four. */
static bool vec4(const struct view *v, uint32_t n, uint32_t head)
{
    uint32_t all = head;
    for (uint32_t i = 0; i < n; i++)
        all |= v[i].off | v[i].stride;
    return !(all & 3);
}

/* Which kernel takes a head size, and with it the order of the sums, depends on nothing else. Up to 96 a query and its result fit in the
 * registers of a lane; above, a workgroup needs a lane per four columns. */
enum { STAGED_MAX = 96, WIDE40_MAX = 160, WIDE128_MAX = 512 };

static bool between(const bl_params *p, uint32_t low, uint32_t high)
{
    return p->attention_fwd.head > low && p->attention_fwd.head <= high;
}

#define FITS(name, low, high) \
    bool bl_fits_##name(bl_op op, const bl_params *p) \
    { \
        (void)op; \
        return between(p, low, high); \
    } \
    bool bl_fits_##name##_vec4(bl_op op, const bl_params *p) \
    { \
        (void)op; \
        return between(p, low, high) && vec4(p->v, 4, p->attention_fwd.head); \
    }
FITS(attention_staged, 0, STAGED_MAX)
FITS(attention_wide40, STAGED_MAX, WIDE40_MAX)
FITS(attention_wide128, WIDE40_MAX, WIDE128_MAX)

bool bl_fits_attention_probs_vec4(bl_op op, const bl_params *p)
{
    (void)op;
    return vec4(p->v, 2, p->attention_probs_fwd.head);
}

bool bl_fits_attention_values_vec4(bl_op op, const bl_params *p)
{
    (void)op;
    return vec4(p->v + 1, 2, p->attention_values_fwd.head);
}

static void grid(uint32_t x, uint32_t y, uint32_t z, uint32_t groups[3])
{
    groups[0] = x;
    groups[1] = y;
    groups[2] = z;
}

/* A lane has a query of a head of an image. */
void bl_grid_attention_staged(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct attention_params *q = &p->attention_fwd;
    grid(bl_ceil_div(q->tq, impl->workgroup), q->heads, q->images, groups);
}

/* A workgroup has tile_m queries of a head of an image. */
void bl_grid_attention_tile(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct attention_params *q = &p->attention_fwd;
    grid(bl_ceil_div(q->tq, impl->tile_m), q->heads, q->images, groups);
}

void bl_grid_attention_probs(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct attention_probs_params *q = &p->attention_probs_fwd;
    grid(bl_ceil_div(q->tq, impl->workgroup), q->heads, q->images, groups);
}

/* A workgroup has tile_m queries of 4 * workgroup columns of a head of an image. */
void bl_grid_attention_values(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct attention_values_params *q = &p->attention_values_fwd;
    const uint32_t parts = bl_ceil_div(bl_ceil_div(q->head, 4), impl->workgroup);
    grid(bl_ceil_div(q->tq, impl->tile_m), q->heads, q->images * parts, groups);
}
