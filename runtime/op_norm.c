/* Normalisation: operands, work and cases of the statistics, group norm and layer norm. Layer 2. */
#include "op.h"

/* Work counts one per addition, multiplication, division or root of the textbook formula. */

void extents_channel_stats_fwd(const bl_params *p, bl_extent *e)
{
    const struct channel_stats_params *q = &p->channel_stats_fwd;
    e[0] = (bl_extent){ q->images * q->rows, q->channels };
    e[1] = (bl_extent){ q->images * q->slices, 2 * q->channels };
}

double flops_channel_stats_fwd(const bl_params *p)
{
    const struct channel_stats_params *q = &p->channel_stats_fwd;
    return 4.0 * q->images * q->rows * q->channels;
}

uint32_t depth_channel_stats_fwd(const bl_params *p) { return p->channel_stats_fwd.slice_rows; }

void extents_group_stats_fwd(const bl_params *p, bl_extent *e)
{
    const struct group_stats_params *q = &p->group_stats_fwd;
    e[0] = (bl_extent){ q->images * q->slices, 2 * q->channels };
    e[1] = (bl_extent){ q->images, 2 * q->groups };
}

double flops_group_stats_fwd(const bl_params *p)
{
    const struct group_stats_params *q = &p->group_stats_fwd;
    return 7.0 * q->images * q->slices * q->channels;
}

uint32_t depth_group_stats_fwd(const bl_params *p)
{
    const struct group_stats_params *q = &p->group_stats_fwd;
    return q->slices * (q->channels / q->groups);
}

void extents_group_norm_fwd(const bl_params *p, bl_extent *e)
{
    const struct group_norm_params *q = &p->group_norm_fwd;
    e[0] = e[4] = (bl_extent){ q->images * q->rows, q->channels };
    e[1] = (bl_extent){ q->images, 2 * q->groups };
    e[2] = e[3] = (bl_extent){ 1, q->channels };
}

double flops_group_norm_fwd(const bl_params *p)
{
    const struct group_norm_params *q = &p->group_norm_fwd;
    return (q->act ? 8.0 : 4.0) * q->images * q->rows * q->channels;
}

uint32_t depth_group_norm_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_layer_norm_fwd(const bl_params *p, bl_extent *e)
{
    const struct layer_norm_params *q = &p->layer_norm_fwd;
    e[0] = e[3] = (bl_extent){ q->rows, q->channels };
    e[1] = e[2] = (bl_extent){ 1, q->channels };
}

double flops_layer_norm_fwd(const bl_params *p) { return 8.0 * p->layer_norm_fwd.rows * p->layer_norm_fwd.channels; }

uint32_t depth_layer_norm_fwd(const bl_params *p) { return p->layer_norm_fwd.channels; }

/* --- reverse mode -------------------------------------------------------------------------------------------------- */

void extents_channel_stats_bwd(const bl_params *p, bl_extent *e)
{
    const struct channel_stats_bwd_params *q = &p->channel_stats_bwd;
    e[0] = e[4] = (bl_extent){ q->images * q->rows, q->channels };
    e[1] = (bl_extent){ q->images, 2 * q->groups };
    e[2] = e[3] = (bl_extent){ 1, q->channels };
    e[5] = (bl_extent){ q->images * q->slices, 2 * q->channels };
}

double flops_channel_stats_bwd(const bl_params *p)
{
    const struct channel_stats_bwd_params *q = &p->channel_stats_bwd;
    return (q->act ? 14.0 : 6.0) * q->images * q->rows * q->channels;
}

uint32_t depth_channel_stats_bwd(const bl_params *p) { return p->channel_stats_bwd.slice_rows; }

void extents_group_stats_bwd(const bl_params *p, bl_extent *e)
{
    const struct group_stats_bwd_params *q = &p->group_stats_bwd;
    e[0] = (bl_extent){ q->images, 2 * q->groups };
    e[1] = (bl_extent){ q->images * q->slices, 2 * q->channels };
    e[2] = (bl_extent){ q->images, 4 * q->groups };
}

double flops_group_stats_bwd(const bl_params *p)
{
    const struct group_stats_bwd_params *q = &p->group_stats_bwd;
    return 2.0 * q->images * q->slices * q->channels;
}

uint32_t depth_group_stats_bwd(const bl_params *p)
{
    const struct group_stats_bwd_params *q = &p->group_stats_bwd;
    return q->slices * (q->channels / q->groups);
}

void extents_group_norm_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct group_norm_bwd_params *q = &p->group_norm_bwd_x;
    e[0] = e[4] = e[6] = (bl_extent){ q->images * q->rows, q->channels };
    e[1] = (bl_extent){ q->images, 4 * q->groups };
    e[2] = e[3] = (bl_extent){ 1, q->channels };
    e[5] = (bl_extent){ q->given >> 5 & 1 ? e[0].rows : 0, q->channels };
}

double flops_group_norm_bwd_x(const bl_params *p)
{
    const struct group_norm_bwd_params *q = &p->group_norm_bwd_x;
    return (q->act ? 16.0 : 7.0) * q->images * q->rows * q->channels;
}

uint32_t depth_group_norm_bwd_x(const bl_params *p)
{
    (void)p;
    return 4; /* three terms, of products of up to four */
}

void extents_layer_norm_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct layer_norm_bwd_params *q = &p->layer_norm_bwd_x;
    e[0] = e[2] = e[4] = (bl_extent){ q->rows, q->channels };
    e[1] = (bl_extent){ 1, q->channels };
    e[3] = (bl_extent){ q->given >> 3 & 1 ? q->rows : 0, q->channels };
}

double flops_layer_norm_bwd_x(const bl_params *p) { return 16.0 * p->layer_norm_bwd_x.rows * p->layer_norm_bwd_x.channels; }

uint32_t depth_layer_norm_bwd_x(const bl_params *p) { return p->layer_norm_bwd_x.channels; }

/* --- cases ---------------------------------------------------------------------------------------------------------- */

#define SLICED(r, s) .rows = (r), .slices = ((r) + (s) - 1) / (s), .slice_rows = (s)
#define CHANNELS(label, i, r, s, c) .name = label, .p.channel_stats_fwd = { .images = (i), SLICED(r, s), .channels = (c) }
#define GROUPS(label, i, r, s, c, g) .name = label, .mean = 4, .spread = 0.5f, /* M2 is positive */ \
    .p.group_stats_fwd = { .images = (i), SLICED(r, s), .channels = (c), .groups = (g), .eps = 1e-5f }
#define GROUP(label, i, r, c, g, a) .name = label, \
    .p.group_norm_fwd = { .images = (i), .rows = (r), .channels = (c), .groups = (g), .act = (a) }
#define LAYER(label, r, c) .name = label, .p.layer_norm_fwd = { .rows = (r), .channels = (c), .eps = 1e-5f }
#define CHANNELS_BWD(label, i, r, s, c, g, a) .name = label, \
    .p.channel_stats_bwd = { .images = (i), SLICED(r, s), .channels = (c), .groups = (g), .act = (a) }
#define GROUPS_BWD(label, i, r, s, c, g) .name = label, \
    .p.group_stats_bwd = { .images = (i), .rows = (r), .slices = ((r) + (s) - 1) / (s), .channels = (c), .groups = (g) }
#define GROUP_BWD(label, i, r, c, g, a, with_r) .name = label, \
    .p.group_norm_bwd_x = { .images = (i), .rows = (r), .channels = (c), .groups = (g), .act = (a), .given = (with_r) << 5 }
#define LAYER_BWD(label, r, c, with_r) .name = label, \
    .p.layer_norm_bwd_x = { .rows = (r), .channels = (c), .eps = 1e-5f, .given = (with_r) << 3 }

const bl_op_case cases_channel_stats_fwd[] = {
    { CHANNELS("unet_16x16x320", 2, 256, 64, 320) },
    { CHANNELS("tiny_8x8x32", 1, 64, 32, 32) },
    { CHANNELS("one_row", 3, 1, 64, 8) },
    { CHANNELS("one_channel", 2, 100, 30, 1) },
    { CHANNELS("ragged_slice", 2, 257, 64, 20) },
    { CHANNELS("odd_channels", 2, 65, 16, 13) },
    { CHANNELS("large_mean", 1, 256, 128, 12), .mean = 1000, .spread = 1 },
    { CHANNELS("bench_unet_64x64x320", 2, 4096, 64, 320) },
    { CHANNELS("bench_vae_256x256x128", 1, 65536, 256, 128) },
};

const bl_op_case cases_group_stats_fwd[] = {
    { GROUPS("unet_16x16x320", 2, 256, 64, 320, 32) },
    { GROUPS("unet_64x64x320", 2, 4096, 64, 320, 32) },
    { GROUPS("channel_groups", 1, 64, 32, 32, 32) },
    { GROUPS("one_group", 2, 100, 7, 12, 1) },
    { GROUPS("one_row", 3, 1, 64, 8, 2) },
    { GROUPS("one_channel", 2, 100, 30, 1, 1) },
    { GROUPS("ragged_slice", 2, 257, 64, 60, 5) },
    { GROUPS("many_slices", 1, 1000, 3, 6, 3) },
    { GROUPS("bench_unet_64x64x320", 2, 4096, 64, 320, 32) },
    { GROUPS("bench_vae_256x256x128", 1, 65536, 256, 128, 32) },
};

const bl_op_case cases_group_norm_fwd[] = {
    { GROUP("unet_16x16x320_silu", 2, 256, 320, 32, ACT_SILU) },
    { GROUP("unet_16x16x320", 1, 256, 320, 32, ACT_NONE) },
    { GROUP("vae_16x16x128_silu", 1, 256, 128, 32, ACT_SILU) },
    { GROUP("channel_groups", 2, 64, 32, 32, ACT_SILU) },
    { GROUP("pairs_in_a_group", 2, 9, 64, 32, ACT_NONE) },
    { GROUP("triples_in_a_group", 2, 9, 96, 32, ACT_NONE) },
    { GROUP("one_group", 3, 5, 12, 1, ACT_GELU) },
    { GROUP("one_row", 3, 1, 8, 2, ACT_NONE) },
    { GROUP("one_channel", 2, 33, 1, 1, ACT_QUICK_GELU) },
    { GROUP("odd_channels", 2, 33, 35, 5, ACT_SILU) },
    { GROUP("bench_unet_64x64x320_silu", 2, 4096, 320, 32, ACT_SILU) },
    { GROUP("bench_unet_64x64x320", 2, 4096, 320, 32, ACT_NONE) },
    { GROUP("bench_vae_256x256x128_silu", 1, 65536, 128, 32, ACT_SILU) },
};

const bl_op_case cases_layer_norm_fwd[] = {
    { LAYER("unet_256x320", 256, 320) },
    { LAYER("unet_64x1280", 64, 1280) },
    { LAYER("clip_77x768", 77, 768) },
    { LAYER("vit_50x1024", 50, 1024) },
    { LAYER("tiny_9x32", 9, 32) },
    { LAYER("one_row", 1, 640) },
    { LAYER("one_channel", 5, 1) },
    { LAYER("four_channels", 33, 4) },
    { LAYER("odd_channels", 7, 131) },
    { LAYER("slots_and_one", 3, 129) },
    { LAYER("slots_and_four", 3, 132) },
    { LAYER("large_mean", 20, 640), .mean = 300, .spread = 1 },
    { LAYER("bench_unet_4096x320", 8192, 320) },
    { LAYER("bench_unet_256x1280", 512, 1280) },
    { LAYER("bench_clip_77x768", 154, 768) },
};

const bl_op_case cases_channel_stats_bwd[] = {
    { CHANNELS_BWD("unet_16x16x320_silu", 2, 256, 64, 320, 32, ACT_SILU) },
    { CHANNELS_BWD("unet_16x16x320", 1, 256, 64, 320, 32, ACT_NONE) },
    { CHANNELS_BWD("vae_16x16x128_silu", 1, 256, 64, 128, 32, ACT_SILU) },
    { CHANNELS_BWD("channel_groups", 2, 64, 32, 32, 32, ACT_SILU) },
    { CHANNELS_BWD("triples_in_a_group", 2, 9, 4, 96, 32, ACT_NONE) },
    { CHANNELS_BWD("one_group", 3, 5, 5, 12, 1, ACT_GELU) },
    { CHANNELS_BWD("one_row", 3, 1, 64, 8, 2, ACT_NONE) },
    { CHANNELS_BWD("one_channel", 2, 100, 30, 1, 1, ACT_QUICK_GELU) },
    { CHANNELS_BWD("ragged_slice", 2, 257, 64, 20, 5, ACT_SILU) },
    { CHANNELS_BWD("odd_channels", 2, 65, 16, 35, 5, ACT_SILU) },
    { CHANNELS_BWD("wide_range", 2, 65, 16, 32, 4, ACT_SILU), .spread = 30 },
    { CHANNELS_BWD("bench_unet_64x64x320_silu", 2, 4096, 64, 320, 32, ACT_SILU) },
    { CHANNELS_BWD("bench_unet_64x64x320", 2, 4096, 64, 320, 32, ACT_NONE) },
    { CHANNELS_BWD("bench_vae_256x256x128_silu", 1, 65536, 256, 128, 32, ACT_SILU) },
};

const bl_op_case cases_group_stats_bwd[] = {
    { GROUPS_BWD("unet_16x16x320", 2, 256, 64, 320, 32) },
    { GROUPS_BWD("unet_64x64x320", 2, 4096, 64, 320, 32) },
    { GROUPS_BWD("channel_groups", 1, 64, 32, 32, 32) },
    { GROUPS_BWD("one_group", 2, 100, 7, 12, 1) },
    { GROUPS_BWD("one_row", 3, 1, 64, 8, 2) },
    { GROUPS_BWD("one_channel", 2, 100, 30, 1, 1) },
    { GROUPS_BWD("ragged_slice", 2, 257, 64, 60, 5) },
    { GROUPS_BWD("many_slices", 1, 1000, 3, 6, 3) },
    { GROUPS_BWD("bench_unet_64x64x320", 2, 4096, 64, 320, 32) },
    { GROUPS_BWD("bench_vae_256x256x128", 1, 65536, 256, 128, 32) },
};

const bl_op_case cases_group_norm_bwd_x[] = {
    { GROUP_BWD("unet_16x16x320_silu", 2, 256, 320, 32, ACT_SILU, 1) },
    { GROUP_BWD("unet_16x16x320", 1, 256, 320, 32, ACT_NONE, 0) },
    { GROUP_BWD("vae_16x16x128_silu", 1, 256, 128, 32, ACT_SILU, 0) },
    { GROUP_BWD("channel_groups", 2, 64, 32, 32, ACT_SILU, 1) },
    { GROUP_BWD("pairs_in_a_group", 2, 9, 64, 32, ACT_NONE, 1) },
    { GROUP_BWD("triples_in_a_group", 2, 9, 96, 32, ACT_NONE, 0) },
    { GROUP_BWD("one_group", 3, 5, 12, 1, ACT_GELU, 1) },
    { GROUP_BWD("one_row", 3, 1, 8, 2, ACT_NONE, 1) },
    { GROUP_BWD("one_channel", 2, 33, 1, 1, ACT_QUICK_GELU, 0) },
    { GROUP_BWD("odd_channels", 2, 33, 35, 5, ACT_SILU, 1) },
    { GROUP_BWD("bench_unet_64x64x320_silu", 2, 4096, 320, 32, ACT_SILU, 1) },
    { GROUP_BWD("bench_unet_64x64x320", 2, 4096, 320, 32, ACT_NONE, 0) },
    { GROUP_BWD("bench_vae_256x256x128_silu", 1, 65536, 128, 32, ACT_SILU, 0) },
};

const bl_op_case cases_layer_norm_bwd_x[] = {
    { LAYER_BWD("unet_256x320", 256, 320, 1) },
    { LAYER_BWD("unet_64x1280", 64, 1280, 0) },
    { LAYER_BWD("clip_77x768", 77, 768, 1) },
    { LAYER_BWD("vit_50x1024", 50, 1024, 0) },
    { LAYER_BWD("tiny_9x32", 9, 32, 1) },
    { LAYER_BWD("one_row", 1, 640, 0) },
    { LAYER_BWD("eight_channels", 33, 8, 1) },
    { LAYER_BWD("odd_channels", 7, 131, 1) },
    { LAYER_BWD("slots_and_one", 3, 129, 0) },
    { LAYER_BWD("slots_and_four", 3, 132, 0) },
    { LAYER_BWD("bench_unet_4096x320", 8192, 320, 1) },
    { LAYER_BWD("bench_unet_256x1280", 512, 1280, 0) },
    { LAYER_BWD("bench_clip_77x768", 154, 768, 0) },
};

const uint32_t case_count_channel_stats_fwd = BL_COUNT(cases_channel_stats_fwd);
const uint32_t case_count_group_stats_fwd = BL_COUNT(cases_group_stats_fwd);
const uint32_t case_count_group_norm_fwd = BL_COUNT(cases_group_norm_fwd);
const uint32_t case_count_layer_norm_fwd = BL_COUNT(cases_layer_norm_fwd);
const uint32_t case_count_channel_stats_bwd = BL_COUNT(cases_channel_stats_bwd);
const uint32_t case_count_group_stats_bwd = BL_COUNT(cases_group_stats_bwd);
const uint32_t case_count_group_norm_bwd_x = BL_COUNT(cases_group_norm_bwd_x);
const uint32_t case_count_layer_norm_bwd_x = BL_COUNT(cases_layer_norm_bwd_x);
