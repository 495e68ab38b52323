/* Dispatch of the normalisation kernels. Layer 2. */
#include "dispatch.h"

static bool vec4(const struct view *v) { return !((v->off | v->stride) & 3); }

/* As bl_fits_vec4, without the statistics, which are read one by one. */
bool bl_fits_channel_stats4(bl_op op, const bl_params *p)
{
    (void)op;
    return vec4(&p->channel_stats_fwd.x) && !(p->channel_stats_fwd.channels & 3);
}

bool bl_fits_group_norm4(bl_op op, const bl_params *p)
{
    (void)op;
    const struct group_norm_params *q = &p->group_norm_fwd;
    return vec4(&q->x) && vec4(&q->w) && vec4(&q->b) && vec4(&q->y) && !(q->channels & 3);
}

/* A lane has tile_n channels of one slice. */
void bl_grid_channel_stats(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct channel_stats_params *q = &p->channel_stats_fwd;
    bl_grid_lanes(impl, bl_lanes(impl, (bl_extent){ q->images * q->slices, q->channels }), groups);
}

/* A lane has tile_n channels of tile_m rows of one image. */
void bl_grid_group_norm(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    const struct group_norm_params *q = &p->group_norm_fwd;
    bl_grid_lanes(impl, q->images * bl_lanes(impl, (bl_extent){ q->rows, q->channels }), groups);
}

/* A workgroup has tile_m rows (layer norm) or groups of an image. */
void bl_grid_layer_norm(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    groups[0] = bl_ceil_div(p->layer_norm_fwd.rows, impl->tile_m);
    groups[1] = groups[2] = 1;
}

void bl_grid_group_stats(const bl_impl *impl, const bl_params *p, uint32_t groups[3])
{
    groups[0] = bl_ceil_div(p->group_stats_fwd.images * p->group_stats_fwd.groups, impl->tile_m);
    groups[1] = groups[2] = 1;
}
