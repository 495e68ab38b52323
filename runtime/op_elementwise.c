/* Elementwise ops: operands, work and cases of activation, GEGLU, sum, copy and nearest-neighbour enlargement. Layer 2. */
#include "op.h"

/* Work counts an exponential, a division and the steps of a polynomial as one each; moving counts nothing. */

void extents_activation_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = e[1] = (bl_extent){ p->activation_fwd.rows, p->activation_fwd.channels };
}

double flops_activation_fwd(const bl_params *p) { return 4.0 * p->activation_fwd.rows * p->activation_fwd.channels; }

uint32_t depth_activation_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_geglu_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = (bl_extent){ p->geglu_fwd.rows, 2 * p->geglu_fwd.channels };
    e[1] = (bl_extent){ p->geglu_fwd.rows, p->geglu_fwd.channels };
}

double flops_geglu_fwd(const bl_params *p) { return 5.0 * p->geglu_fwd.rows * p->geglu_fwd.channels; }

uint32_t depth_geglu_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_add_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = e[2] = (bl_extent){ p->add_fwd.rows, p->add_fwd.channels };
    e[1] = (bl_extent){ (p->add_fwd.rows + p->add_fwd.y_rows - 1) / p->add_fwd.y_rows, p->add_fwd.channels }; /* parts may be shorter */
}

double flops_add_fwd(const bl_params *p) { return (double)p->add_fwd.rows * p->add_fwd.channels; }

uint32_t depth_add_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_copy_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = e[1] = (bl_extent){ p->copy_fwd.rows, p->copy_fwd.channels };
}

double flops_copy_fwd(const bl_params *p)
{
    (void)p;
    return 0;
}

uint32_t depth_copy_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_upsample_fwd(const bl_params *p, bl_extent *e)
{
    const struct upsample_params *q = &p->upsample_fwd;
    e[0] = (bl_extent){ q->images * q->h * q->width, q->channels };
    e[1] = (bl_extent){ 4 * e[0].rows, q->channels };
}

double flops_upsample_fwd(const bl_params *p)
{
    (void)p;
    return 0;
}

uint32_t depth_upsample_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

/* --- reverse mode -------------------------------------------------------------------------------------------------- */

void extents_activation_bwd_x(const bl_params *p, bl_extent *e)
{
    e[0] = e[1] = e[2] = (bl_extent){ p->activation_bwd_x.rows, p->activation_bwd_x.channels };
}

double flops_activation_bwd_x(const bl_params *p) { return 8.0 * p->activation_bwd_x.rows * p->activation_bwd_x.channels; }

uint32_t depth_activation_bwd_x(const bl_params *p)
{
    (void)p;
    return 8; /* a derivative that cancels to nearly 0 has the error of one near 1 */
}

void extents_geglu_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct geglu_bwd_params *q = &p->geglu_bwd_x;
    e[0] = e[2] = (bl_extent){ q->rows, 2 * q->channels };
    e[1] = (bl_extent){ q->rows, q->channels };
}

double flops_geglu_bwd_x(const bl_params *p) { return 12.0 * p->geglu_bwd_x.rows * p->geglu_bwd_x.channels; }

uint32_t depth_geglu_bwd_x(const bl_params *p)
{
    (void)p;
    return 30; /* the same, times two inputs */
}

void extents_upsample_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct upsample_bwd_params *q = &p->upsample_bwd_x;
    e[1] = (bl_extent){ q->images * q->h * q->width, q->channels };
    e[0] = (bl_extent){ 4 * e[1].rows, q->channels };
}

double flops_upsample_bwd_x(const bl_params *p)
{
    const struct upsample_bwd_params *q = &p->upsample_bwd_x;
    return 3.0 * q->images * q->h * q->width * q->channels;
}

uint32_t depth_upsample_bwd_x(const bl_params *p)
{
    (void)p;
    return 4;
}

void extents_fill_fwd(const bl_params *p, bl_extent *e) { e[0] = (bl_extent){ p->fill_fwd.rows, p->fill_fwd.channels }; }

double flops_fill_fwd(const bl_params *p)
{
    (void)p;
    return 0;
}

uint32_t depth_fill_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

/* --- cases ---------------------------------------------------------------------------------------------------------- */

#define ACTIVATION(label, r, c, a) .name = label, .p.activation_fwd = { .rows = (r), .channels = (c), .act = (a) }
#define ROWS(op, label, r, c) .name = label, .p.op = { .rows = (r), .channels = (c) }
#define SUM(label, r, c) .name = label, .p.add_fwd = { .rows = (r), .channels = (c), .y_rows = 1 }
#define SHARED(label, r, c, per) .name = label, .p.add_fwd = { .rows = (r), .channels = (c), .y_rows = (per) }
#define UPSAMPLE(label, i, height, w, c) \
    .name = label, .p.upsample_fwd = { .images = (i), .h = (height), .width = (w), .channels = (c) }
#define ACTIVATION_BWD(label, r, c, a) .name = label, .p.activation_bwd_x = { .rows = (r), .channels = (c), .act = (a) }
#define UPSAMPLE_BWD(label, i, height, w, c) \
    .name = label, .p.upsample_bwd_x = { .images = (i), .h = (height), .width = (w), .channels = (c) }
#define FILL(label, r, c, v) .name = label, .p.fill_fwd = { .rows = (r), .channels = (c), .value = (v) }

const bl_op_case cases_activation_fwd[] = {
    { ACTIVATION("silu_2x1280", 2, 1280, ACT_SILU) },
    { ACTIVATION("gelu_50x256", 50, 256, ACT_GELU) },
    { ACTIVATION("quick_gelu_77x256", 77, 256, ACT_QUICK_GELU) },
    { ACTIVATION("none_5x12", 5, 12, ACT_NONE) },
    { ACTIVATION("silu_one", 1, 1, ACT_SILU) },
    { ACTIVATION("gelu_odd", 17, 7, ACT_GELU) },
    { ACTIVATION("silu_wide_range", 33, 64, ACT_SILU), .spread = 40 },
    { ACTIVATION("gelu_wide_range", 33, 64, ACT_GELU), .spread = 4 },
    { ACTIVATION("gelu_tail", 33, 64, ACT_GELU), .mean = -4, .spread = 1 },
    { ACTIVATION("quick_gelu_wide_range", 33, 64, ACT_QUICK_GELU), .spread = 10 },
    { ACTIVATION("silu_huge", 33, 64, ACT_SILU), .spread = 10000 },
    { ACTIVATION("gelu_huge", 33, 64, ACT_GELU), .spread = 10000 },
    { ACTIVATION("quick_gelu_huge", 33, 64, ACT_QUICK_GELU), .spread = 10000 },
    { ACTIVATION("relu_7x64", 7, 64, ACT_RELU) },
    { ACTIVATION("relu_odd", 17, 7, ACT_RELU), .spread = 10000 },
    { ACTIVATION("tanh_3_64x4", 64, 4, ACT_TANH_3) },
    { ACTIVATION("tanh_3_small", 33, 64, ACT_TANH_3), .spread = 0.01f },
    { ACTIVATION("tanh_3_wide_range", 33, 64, ACT_TANH_3), .spread = 10 },
    { ACTIVATION("tanh_3_huge", 33, 64, ACT_TANH_3), .spread = 10000 },
    { ACTIVATION("bench_silu_4096x320", 4096, 320, ACT_SILU) },
    { ACTIVATION("bench_gelu_4096x320", 4096, 320, ACT_GELU) },
    { ACTIVATION("bench_quick_gelu_77x3072", 77, 3072, ACT_QUICK_GELU) },
};

const bl_op_case cases_geglu_fwd[] = {
    { ROWS(geglu_fwd, "unet_64x1280", 64, 1280) },
    { ROWS(geglu_fwd, "tiny_9x128", 9, 128) },
    { ROWS(geglu_fwd, "one_row", 1, 4) },
    { ROWS(geglu_fwd, "one_column", 11, 1) },
    { ROWS(geglu_fwd, "odd", 19, 27) },
    { ROWS(geglu_fwd, "wide_range", 32, 64), .spread = 6 },
    { ROWS(geglu_fwd, "bench_unet_4096x1280", 4096, 1280) },
};

const bl_op_case cases_add_fwd[] = {
    { SUM("unet_256x320", 256, 320) },
    { SUM("latent_64x4", 64, 4) },
    { SUM("one_row", 1, 64) },
    { SUM("one", 1, 1) },
    { SUM("odd", 37, 5) },
    { SHARED("time_embedding_2_images", 512, 320, 256) },
    { SHARED("time_embedding_odd", 39, 5, 13) },
    { SUM("bench_unet_8192x320", 8192, 320) },
};

const bl_op_case cases_copy_fwd[] = {
    { ROWS(copy_fwd, "unet_256x320", 256, 320) },
    { ROWS(copy_fwd, "one_row", 1, 64) },
    { ROWS(copy_fwd, "one", 1, 1) },
    { ROWS(copy_fwd, "odd", 9, 131) },
    { ROWS(copy_fwd, "bench_unet_8192x320", 8192, 320) },
};

const bl_op_case cases_upsample_fwd[] = {
    { UPSAMPLE("unet_8x8x320", 2, 8, 8, 320) },
    { UPSAMPLE("one_pixel", 1, 1, 1, 4) },
    { UPSAMPLE("one_line", 2, 1, 9, 8) },
    { UPSAMPLE("one_wide", 2, 11, 1, 12) },
    { UPSAMPLE("odd", 3, 3, 5, 7) },
    { UPSAMPLE("bench_unet_32x32x640", 2, 32, 32, 640) },
};

const bl_op_case cases_activation_bwd_x[] = {
    { ACTIVATION_BWD("silu_2x1280", 2, 1280, ACT_SILU) },
    { ACTIVATION_BWD("gelu_50x256", 50, 256, ACT_GELU) },
    { ACTIVATION_BWD("quick_gelu_77x256", 77, 256, ACT_QUICK_GELU) },
    { ACTIVATION_BWD("none_5x12", 5, 12, ACT_NONE) },
    { ACTIVATION_BWD("silu_one", 1, 1, ACT_SILU) },
    { ACTIVATION_BWD("gelu_odd", 17, 7, ACT_GELU) },
    { ACTIVATION_BWD("silu_wide_range", 33, 64, ACT_SILU), .spread = 40 },
    { ACTIVATION_BWD("gelu_wide_range", 33, 64, ACT_GELU), .spread = 4 },
    { ACTIVATION_BWD("gelu_tail", 33, 64, ACT_GELU), .mean = -4, .spread = 1 },
    { ACTIVATION_BWD("quick_gelu_wide_range", 33, 64, ACT_QUICK_GELU), .spread = 10 },
    { ACTIVATION_BWD("silu_huge", 33, 64, ACT_SILU), .spread = 10000 },
    { ACTIVATION_BWD("gelu_huge", 33, 64, ACT_GELU), .spread = 10000 },
    { ACTIVATION_BWD("quick_gelu_huge", 33, 64, ACT_QUICK_GELU), .spread = 10000 },
    { ACTIVATION_BWD("relu_7x64", 7, 64, ACT_RELU) },
    { ACTIVATION_BWD("relu_odd", 17, 7, ACT_RELU), .spread = 10000 },
    { ACTIVATION_BWD("tanh_3_64x4", 64, 4, ACT_TANH_3) },
    { ACTIVATION_BWD("tanh_3_small", 33, 64, ACT_TANH_3), .spread = 0.01f },
    { ACTIVATION_BWD("tanh_3_wide_range", 33, 64, ACT_TANH_3), .spread = 10 },
    { ACTIVATION_BWD("tanh_3_huge", 33, 64, ACT_TANH_3), .spread = 10000 },
    { ACTIVATION_BWD("bench_silu_4096x320", 4096, 320, ACT_SILU) },
    { ACTIVATION_BWD("bench_gelu_4096x320", 4096, 320, ACT_GELU) },
    { ACTIVATION_BWD("bench_quick_gelu_77x3072", 77, 3072, ACT_QUICK_GELU) },
};

const bl_op_case cases_geglu_bwd_x[] = {
    { ROWS(geglu_bwd_x, "unet_64x1280", 64, 1280) },
    { ROWS(geglu_bwd_x, "tiny_9x128", 9, 128) },
    { ROWS(geglu_bwd_x, "one_row", 1, 4) },
    { ROWS(geglu_bwd_x, "one_column", 11, 1) },
    { ROWS(geglu_bwd_x, "odd", 19, 27) },
    { ROWS(geglu_bwd_x, "wide_range", 32, 64), .spread = 6 },
    { ROWS(geglu_bwd_x, "bench_unet_4096x1280", 4096, 1280) },
};

const bl_op_case cases_upsample_bwd_x[] = {
    { UPSAMPLE_BWD("unet_8x8x320", 2, 8, 8, 320) },
    { UPSAMPLE_BWD("one_pixel", 1, 1, 1, 4) },
    { UPSAMPLE_BWD("one_line", 2, 1, 9, 8) },
    { UPSAMPLE_BWD("one_wide", 2, 11, 1, 12) },
    { UPSAMPLE_BWD("odd", 3, 3, 5, 7) },
    { UPSAMPLE_BWD("bench_unet_32x32x640", 2, 32, 32, 640) },
};

const bl_op_case cases_fill_fwd[] = {
    { FILL("zeros_256x320", 256, 320, 0) },
    { FILL("one", 1, 1, 1) },
    { FILL("odd", 9, 131, -0.1f) },
    { FILL("bench_unet_8192x320", 8192, 320, 0) },
};

const uint32_t case_count_activation_fwd = BL_COUNT(cases_activation_fwd);
const uint32_t case_count_geglu_fwd = BL_COUNT(cases_geglu_fwd);
const uint32_t case_count_add_fwd = BL_COUNT(cases_add_fwd);
const uint32_t case_count_copy_fwd = BL_COUNT(cases_copy_fwd);
const uint32_t case_count_upsample_fwd = BL_COUNT(cases_upsample_fwd);
const uint32_t case_count_activation_bwd_x = BL_COUNT(cases_activation_bwd_x);
const uint32_t case_count_geglu_bwd_x = BL_COUNT(cases_geglu_bwd_x);
const uint32_t case_count_upsample_bwd_x = BL_COUNT(cases_upsample_bwd_x);
const uint32_t case_count_fill_fwd = BL_COUNT(cases_fill_fwd);
