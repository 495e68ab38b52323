/* Matrix product and convolution, and their gradients: operands, work and cases. Layer 2. */
#include "op.h"

enum { B = 1 << 2, A = 1 << 3, R = 1 << 4 };  /* bits of `given` */
enum { R_BWD = 1 << 2 };                     /* the same of a gradient */

static bl_extent if_given(uint32_t given, uint32_t bit, uint32_t rows, uint32_t cols)
{
    return given & bit ? (bl_extent){ rows, cols } : (bl_extent){ 0, 0 };
}

void extents_matmul_fwd(const bl_params *p, bl_extent *e)
{
    const struct matmul_params *q = &p->matmul_fwd;
    e[0] = (bl_extent){ q->m, q->k };
    e[1] = (bl_extent){ q->n, q->k };
    e[2] = if_given(q->given, B, 1, q->n);
    e[3] = if_given(q->given, A, q->m / q->a_rows + (q->m % q->a_rows != 0), q->n);
    e[4] = if_given(q->given, R, q->m, q->n);
    e[5] = (bl_extent){ q->m, q->n };
}

double flops_matmul_fwd(const bl_params *p)
{
    const struct matmul_params *q = &p->matmul_fwd;
    return 2.0 * q->m * q->n * q->k;
}

uint32_t depth_matmul_fwd(const bl_params *p) { return p->matmul_fwd.k; }

void extents_conv_fwd(const bl_params *p, bl_extent *e)
{
    const struct conv_params *q = &p->conv_fwd;
    const uint32_t rows = q->images * q->oh * q->ow;
    e[0] = (bl_extent){ q->images * q->h * q->width, q->c };
    e[1] = (bl_extent){ q->oc, q->kernel * q->kernel * q->c };
    e[2] = if_given(q->given, B, 1, q->oc);
    e[3] = if_given(q->given, A, q->images, q->oc);
    e[4] = if_given(q->given, R, rows, q->oc);
    e[5] = (bl_extent){ rows, q->oc };
}

/* Taps outside the image count too: that is what the kernels do and what others report. */
double flops_conv_fwd(const bl_params *p)
{
    const struct conv_params *q = &p->conv_fwd;
    return 2.0 * q->images * q->oh * q->ow * q->oc * q->kernel * q->kernel * q->c;
}

uint32_t depth_conv_fwd(const bl_params *p) { return p->conv_fwd.kernel * p->conv_fwd.kernel * p->conv_fwd.c; }

#define MATMUL(M, N, K, ROWS, ACT, GIVEN) .p.matmul_fwd = { .m = M, .n = N, .k = K, .a_rows = ROWS, .act = ACT, .given = GIVEN }
const bl_op_case cases_matmul_fwd[] = {
    /* Stable Diffusion 1.5, at sizes that a reference on one core can follow */
    { "unet_query_16x16", MATMUL(256, 320, 320, 1, ACT_NONE, 0) },
    { "unet_key_of_text", MATMUL(77, 320, 768, 1, ACT_NONE, 0) },
    { "unet_attention_out", MATMUL(64, 640, 640, 1, ACT_NONE, B | R) },
    { "unet_feed_forward", MATMUL(64, 320, 1280, 1, ACT_NONE, B | R) },
    { "unet_shortcut_2_images", MATMUL(128, 64, 96, 64, ACT_NONE, B | A) },
    { "time_embedding_1", MATMUL(2, 1280, 320, 1, ACT_SILU, B) },
    { "time_embedding_2", MATMUL(1, 1280, 1280, 1, ACT_NONE, B) },
    { "clip_fc1", MATMUL(77, 512, 768, 1, ACT_QUICK_GELU, B) },
    { "clip_fc1_gelu", MATMUL(77, 128, 64, 1, ACT_GELU, B) },
    { "tiny_block", MATMUL(1024, 32, 32, 1, ACT_NONE, B | R) },
    /* sizes around tiles and vectors, every operand alone and together */
    { "one", MATMUL(1, 1, 1, 1, ACT_NONE, 0) },
    { "one_vector", MATMUL(1, 4, 4, 1, ACT_NONE, B) },
    { "one_row", MATMUL(1, 36, 40, 1, ACT_SILU, B | A | R) },
    { "one_column", MATMUL(45, 1, 9, 1, ACT_NONE, B | R) },
    { "depth_1", MATMUL(17, 23, 1, 1, ACT_NONE, B) },
    { "eight_rows", MATMUL(8, 32, 64, 8, ACT_GELU, A) },
    { "nine_rows", MATMUL(9, 68, 12, 4, ACT_NONE, A | R) },
    { "tile_and_a_bit", MATMUL(65, 68, 20, 13, ACT_SILU, B | A | R) },
    { "less_than_a_tile", MATMUL(19, 28, 60, 19, ACT_NONE, R) },
    { "odd", MATMUL(21, 33, 17, 5, ACT_SILU, B | A | R) },
    { "odd_depth", MATMUL(40, 64, 75, 20, ACT_QUICK_GELU, A) },
    { "cancellation", MATMUL(24, 40, 320, 1, ACT_NONE, B | R), .mean = 8, .spread = 0.1f },
    { "deep", MATMUL(8, 12, 20480, 1, ACT_NONE, 0) },
    { "deep_odd", MATMUL(3, 5, 10241, 1, ACT_NONE, B) },
    { "beyond_half", MATMUL(20, 24, 512, 1, ACT_NONE, B), .mean = 32, .spread = 1, .turns = true },
    { "beyond_half_deep", MATMUL(4, 12, 4096, 1, ACT_NONE, 0), .mean = 16, .spread = 1, .turns = true },
    { "beyond_half_odd", MATMUL(5, 7, 2049, 1, ACT_NONE, 0), .mean = 16, .spread = 1, .turns = true },
    { "bench_feed_forward_64x64", MATMUL(4096, 320, 1280, 1, ACT_NONE, B | R) },
    { "bench_feed_forward_in_64x64", MATMUL(4096, 2560, 320, 1, ACT_NONE, B) },
    { "bench_query_64x64", MATMUL(4096, 320, 320, 1, ACT_NONE, 0) },
    { "bench_query_16x16", MATMUL(256, 1280, 1280, 1, ACT_NONE, B) },
    { "bench_query_8x8", MATMUL(64, 1280, 1280, 1, ACT_NONE, B) },
    { "bench_key_of_text", MATMUL(77, 320, 768, 1, ACT_NONE, 0) },
    { "bench_sd21_key_of_text", MATMUL(77, 320, 1024, 1, ACT_NONE, 0) },
    { "bench_time_embedding", MATMUL(2, 1280, 1280, 1, ACT_SILU, B) },
    { "bench_demo_feed_forward_in_16x16", MATMUL(256, 512, 64, 1, ACT_NONE, B) },
};
const uint32_t case_count_matmul_fwd = BL_COUNT(cases_matmul_fwd);

#define CONV(IMAGES, H, W, C, OH, OW, OC, KERNEL, STRIDE, PAD, UP, ACT, GIVEN) .p.conv_fwd = { .images = IMAGES, .h = H, .width = W, \
    .c = C, .oh = OH, .ow = OW, .oc = OC, .kernel = KERNEL, .stride = STRIDE, .pad = PAD, .pad_y = PAD, .up = UP, .act = ACT, \
    .given = GIVEN }
const bl_op_case cases_conv_fwd[] = {
    /* Stable Diffusion 1.5 and its autoencoder, at smaller sizes */
    { "unet_in", CONV(1, 32, 32, 4, 32, 32, 64, 3, 1, 1, 0, ACT_NONE, B) },
    { "unet_resnet_8x8", CONV(1, 8, 8, 320, 8, 8, 320, 3, 1, 1, 0, ACT_NONE, B | A) },
    { "unet_resnet_2_images", CONV(2, 16, 16, 64, 16, 16, 64, 3, 1, 1, 0, ACT_NONE, B | R) },
    { "unet_down", CONV(1, 16, 16, 64, 8, 8, 64, 3, 2, 1, 0, ACT_NONE, B) },
    { "unet_up", CONV(1, 8, 8, 64, 16, 16, 64, 3, 1, 1, 1, ACT_NONE, B) },
    { "unet_out", CONV(1, 16, 16, 320, 16, 16, 4, 3, 1, 1, 0, ACT_NONE, B) },
    { "vae_in", CONV(1, 33, 31, 3, 33, 31, 32, 3, 1, 1, 0, ACT_NONE, B) },
    { "vae_down", CONV(1, 16, 16, 32, 8, 8, 32, 3, 2, 0, 0, ACT_NONE, B) },  /* padded on the far sides only */
    { "vae_out", CONV(1, 32, 32, 64, 32, 32, 3, 3, 1, 1, 0, ACT_NONE, B) },
    { "taesd_block", CONV(1, 16, 24, 64, 16, 24, 64, 3, 1, 1, 0, ACT_RELU, B) },
    { "clip_patches", CONV(1, 56, 56, 3, 4, 4, 64, 14, 14, 0, 0, ACT_NONE, 0) },
    /* sizes around tiles and vectors, borders everywhere, every operand alone and together */
    { "one", CONV(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, ACT_NONE, 0) },
    { "one_pixel", CONV(1, 1, 1, 8, 1, 1, 12, 3, 1, 1, 0, ACT_SILU, B | A | R) },
    { "one_line", CONV(1, 1, 37, 4, 1, 37, 4, 3, 1, 1, 0, ACT_NONE, R) },
    { "one_column", CONV(2, 19, 1, 4, 19, 1, 8, 3, 1, 1, 0, ACT_NONE, A) },
    { "three_images", CONV(3, 5, 7, 12, 5, 7, 36, 3, 1, 1, 0, ACT_SILU, B | A | R) },
    { "wide_kernel", CONV(1, 9, 11, 8, 9, 11, 8, 5, 1, 2, 0, ACT_GELU, B) },
    { "even_kernel_stride_3", CONV(2, 11, 13, 4, 5, 5, 20, 4, 3, 2, 0, ACT_NONE, A | R) },
    { "up_stride_2", CONV(1, 7, 6, 4, 7, 6, 4, 3, 2, 1, 1, ACT_NONE, B) },
    { "up_4", CONV(1, 3, 5, 4, 12, 20, 8, 3, 1, 1, 2, ACT_NONE, 0) },
    { "no_padding", CONV(1, 12, 9, 16, 10, 7, 68, 3, 1, 0, 0, ACT_NONE, B) },
    { "all_outside", CONV(1, 2, 2, 4, 6, 6, 4, 1, 1, 2, 0, ACT_NONE, B) },  /* output pixels that see no input */
    { "odd", CONV(2, 9, 7, 5, 9, 7, 7, 3, 1, 1, 0, ACT_QUICK_GELU, B | A | R) },
    { "odd_input", CONV(1, 6, 10, 6, 3, 5, 8, 3, 2, 1, 0, ACT_NONE, B) },
    { "odd_output", CONV(1, 10, 6, 8, 10, 6, 9, 3, 1, 1, 0, ACT_NONE, R) },
    { "cancellation", CONV(1, 8, 8, 32, 8, 8, 16, 3, 1, 1, 0, ACT_NONE, B | R), .mean = 8, .spread = 0.1f },
    { "beyond_half", CONV(1, 5, 4, 64, 5, 4, 12, 3, 1, 1, 0, ACT_NONE, B), .mean = 64, .spread = 1, .turns = true },
    { "bench_resnet_64x64", CONV(1, 64, 64, 320, 64, 64, 320, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_resnet_32x32", CONV(1, 32, 32, 640, 32, 32, 640, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_resnet_16x16", CONV(1, 16, 16, 1280, 16, 16, 1280, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_resnet_8x8", CONV(1, 8, 8, 1280, 8, 8, 1280, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_up_16x16", CONV(1, 8, 8, 1280, 16, 16, 1280, 3, 1, 1, 1, ACT_NONE, B) },
    { "bench_unet_in", CONV(1, 64, 64, 4, 64, 64, 320, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_unet_out", CONV(1, 64, 64, 320, 64, 64, 4, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_demo_32x32", CONV(1, 32, 32, 32, 32, 32, 32, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_vae_256x256", CONV(1, 256, 256, 128, 256, 256, 128, 3, 1, 1, 0, ACT_NONE, B) },
    { "bench_vae_out", CONV(1, 256, 256, 128, 256, 256, 3, 3, 1, 1, 0, ACT_NONE, B) },
};
const uint32_t case_count_conv_fwd = BL_COUNT(cases_conv_fwd);

/* --- gradients ------------------------------------------------------------------------------------------------------------- */

void extents_matmul_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct matmul_bwd_params *q = &p->matmul_bwd_x;
    e[0] = (bl_extent){ q->m, q->n };
    e[1] = (bl_extent){ q->n, q->k };
    e[2] = if_given(q->given, R_BWD, q->m, q->k);
    e[3] = (bl_extent){ q->m, q->k };
}

double flops_matmul_bwd_x(const bl_params *p)
{
    const struct matmul_bwd_params *q = &p->matmul_bwd_x;
    return 2.0 * q->m * q->n * q->k;
}

uint32_t depth_matmul_bwd_x(const bl_params *p) { return p->matmul_bwd_x.n; }

void extents_conv_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct conv_bwd_params *q = &p->conv_bwd_x;
    const uint32_t rows = q->images * q->h * q->width;
    e[0] = (bl_extent){ q->images * q->oh * q->ow, q->oc };
    e[1] = (bl_extent){ q->oc, q->kernel * q->kernel * q->c };
    e[2] = if_given(q->given, R_BWD, rows, q->c);
    e[3] = (bl_extent){ rows, q->c };
}

/* By the pixels of d, of which a part has its share; an input pixel sees one tap in stride * stride. */
double flops_conv_bwd_x(const bl_params *p)
{
    const struct conv_bwd_params *q = &p->conv_bwd_x;
    return 2.0 * q->images * q->h * q->width * q->c * q->kernel * q->kernel * q->oc / ((double)q->stride * q->stride);
}

uint32_t depth_conv_bwd_x(const bl_params *p)
{
    const struct conv_bwd_params *q = &p->conv_bwd_x;
    const uint32_t taps = (q->kernel + q->stride - 1) / q->stride;
    return taps * taps * q->oc;
}

#define MATMUL_BWD(M, N, K, GIVEN) .p.matmul_bwd_x = { .m = M, .n = N, .k = K, .given = GIVEN }
const bl_op_case cases_matmul_bwd_x[] = {
    /* Stable Diffusion 1.5 and CLIP, at sizes that a reference on one core can follow */
    { "unet_query_16x16", MATMUL_BWD(256, 320, 320, R_BWD) },
    { "unet_key_of_text", MATMUL_BWD(77, 320, 768, 0) },
    { "unet_attention_out", MATMUL_BWD(64, 640, 640, 0) },
    { "unet_feed_forward_in", MATMUL_BWD(64, 2560, 320, R_BWD) },
    { "unet_feed_forward_out", MATMUL_BWD(64, 320, 1280, 0) },
    { "unet_shortcut_2_images", MATMUL_BWD(128, 64, 96, R_BWD) },
    { "clip_projection", MATMUL_BWD(1, 768, 1024, 0) },
    { "tiny_block", MATMUL_BWD(1024, 32, 32, R_BWD) },
    /* sizes around tiles and vectors */
    { "one", MATMUL_BWD(1, 1, 1, 0) },
    { "one_vector", MATMUL_BWD(1, 4, 4, R_BWD) },
    { "one_row", MATMUL_BWD(1, 40, 36, R_BWD) },
    { "one_column", MATMUL_BWD(45, 9, 1, R_BWD) },
    { "depth_1", MATMUL_BWD(17, 1, 23, 0) },
    { "eight_rows", MATMUL_BWD(8, 64, 32, R_BWD) },
    { "nine_rows", MATMUL_BWD(9, 12, 68, R_BWD) },
    { "tile_and_a_bit", MATMUL_BWD(65, 20, 68, R_BWD) },
    { "less_than_a_tile", MATMUL_BWD(19, 60, 28, 0) },
    { "odd", MATMUL_BWD(21, 17, 33, R_BWD) },
    { "odd_depth", MATMUL_BWD(40, 75, 64, R_BWD) },
    { "odd_columns", MATMUL_BWD(40, 64, 75, 0) },
    { "cancellation", MATMUL_BWD(24, 320, 40, R_BWD), .mean = 8, .spread = 0.1f },
    { "deep", MATMUL_BWD(8, 20480, 12, 0) },
    { "deep_odd", MATMUL_BWD(3, 10241, 5, R_BWD) },
    { "beyond_half", MATMUL_BWD(20, 512, 24, 0), .mean = 32, .spread = 1, .turns = true },
    { "beyond_half_deep", MATMUL_BWD(4, 4096, 12, 0), .mean = 16, .spread = 1, .turns = true },
    { "beyond_half_odd", MATMUL_BWD(5, 2049, 7, 0), .mean = 16, .spread = 1, .turns = true },
    { "bench_feed_forward_64x64", MATMUL_BWD(4096, 320, 1280, 0) },
    { "bench_feed_forward_in_32x32", MATMUL_BWD(1024, 5120, 640, 0) },
    { "bench_query_64x64", MATMUL_BWD(4096, 320, 320, R_BWD) },
    { "bench_query_16x16", MATMUL_BWD(256, 1280, 1280, R_BWD) },
    { "bench_query_8x8", MATMUL_BWD(64, 1280, 1280, 0) },
    { "bench_key_of_text", MATMUL_BWD(77, 320, 768, R_BWD) },
    { "bench_sd21_key_of_text", MATMUL_BWD(77, 320, 1024, R_BWD) },
    { "bench_demo_feed_forward_in_16x16", MATMUL_BWD(256, 512, 64, R_BWD) },
    { "bench_projection", MATMUL_BWD(1, 768, 1024, 0) },
};
const uint32_t case_count_matmul_bwd_x = BL_COUNT(cases_matmul_bwd_x);

/* h, width and c are of d, oh, ow and oc of g, as in CONV. */
#define CONV_BWD(IMAGES, H, W, C, OH, OW, OC, KERNEL, STRIDE, PAD, GIVEN) .p.conv_bwd_x = { .images = IMAGES, .h = H, .width = W, \
    .c = C, .oh = OH, .ow = OW, .oc = OC, .kernel = KERNEL, .stride = STRIDE, .pad = PAD, .pad_y = PAD, .given = GIVEN }
const bl_op_case cases_conv_bwd_x[] = {
    /* Stable Diffusion 1.5, its autoencoder and CLIP, at smaller sizes */
    { "unet_in", CONV_BWD(1, 32, 32, 4, 32, 32, 64, 3, 1, 1, 0) },
    { "unet_resnet_8x8", CONV_BWD(1, 8, 8, 320, 8, 8, 320, 3, 1, 1, 0) },
    { "unet_resnet_2_images", CONV_BWD(2, 16, 16, 64, 16, 16, 64, 3, 1, 1, R_BWD) },
    { "unet_up_wide", CONV_BWD(1, 8, 8, 256, 8, 8, 64, 3, 1, 1, 0) },
    { "unet_down", CONV_BWD(1, 16, 16, 64, 8, 8, 64, 3, 2, 1, R_BWD) },
    { "unet_out", CONV_BWD(1, 16, 16, 320, 16, 16, 4, 3, 1, 1, 0) },
    { "vae_in", CONV_BWD(1, 33, 31, 3, 33, 31, 32, 3, 1, 1, 0) },
    { "vae_down", CONV_BWD(1, 16, 16, 32, 8, 8, 32, 3, 2, 0, 0) },  /* padded on the far sides only */
    { "vae_out", CONV_BWD(1, 32, 32, 64, 32, 32, 3, 3, 1, 1, 0) },
    { "clip_patches", CONV_BWD(1, 56, 56, 3, 4, 4, 64, 14, 14, 0, 0) },
    /* sizes around tiles and vectors, borders everywhere, phases of several sizes and without taps */
    { "one", CONV_BWD(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0) },
    { "one_pixel", CONV_BWD(1, 1, 1, 12, 1, 1, 8, 3, 1, 1, R_BWD) },
    { "one_line", CONV_BWD(1, 1, 37, 4, 1, 37, 4, 3, 1, 1, R_BWD) },
    { "one_column", CONV_BWD(2, 19, 1, 8, 19, 1, 4, 3, 1, 1, 0) },
    { "three_images", CONV_BWD(3, 5, 7, 36, 5, 7, 12, 3, 1, 1, R_BWD) },
    { "wide_kernel", CONV_BWD(1, 9, 11, 8, 9, 11, 8, 5, 1, 2, 0) },
    { "even_kernel_stride_3", CONV_BWD(2, 11, 13, 20, 5, 5, 4, 4, 3, 2, R_BWD) },
    { "stride_2_odd_size", CONV_BWD(2, 15, 9, 8, 8, 5, 12, 3, 2, 1, R_BWD) },
    { "stride_above_kernel", CONV_BWD(1, 14, 13, 8, 5, 5, 4, 2, 3, 1, R_BWD) },
    { "kernel_1_stride_2", CONV_BWD(1, 9, 10, 4, 5, 5, 8, 1, 2, 0, 0) },
    { "patches_and_a_rest", CONV_BWD(2, 13, 10, 4, 3, 2, 20, 4, 4, 0, 0) },
    { "no_padding", CONV_BWD(1, 12, 9, 68, 10, 7, 16, 3, 1, 0, 0) },
    { "all_outside", CONV_BWD(1, 2, 2, 4, 6, 6, 4, 1, 1, 2, 0) },  /* output pixels that see no input */
    { "odd", CONV_BWD(2, 9, 7, 7, 9, 7, 5, 3, 1, 1, R_BWD) },
    { "odd_input", CONV_BWD(1, 6, 10, 6, 3, 5, 8, 3, 2, 1, 0) },
    { "odd_output", CONV_BWD(1, 10, 6, 8, 10, 6, 9, 3, 1, 1, R_BWD) },
    { "cancellation", CONV_BWD(1, 8, 8, 16, 8, 8, 32, 3, 1, 1, R_BWD), .mean = 8, .spread = 0.1f },
    { "beyond_half", CONV_BWD(1, 5, 4, 12, 5, 4, 64, 3, 1, 1, 0), .mean = 64, .spread = 1, .turns = true },
    { "bench_resnet_64x64", CONV_BWD(1, 64, 64, 320, 64, 64, 320, 3, 1, 1, 0) },
    { "bench_resnet_16x16", CONV_BWD(1, 16, 16, 1280, 16, 16, 1280, 3, 1, 1, 0) },
    { "bench_resnet_8x8", CONV_BWD(1, 8, 8, 1280, 8, 8, 1280, 3, 1, 1, 0) },
    { "bench_up_16x16", CONV_BWD(1, 16, 16, 2560, 16, 16, 1280, 3, 1, 1, 0) },
    { "bench_down_64x64", CONV_BWD(1, 64, 64, 320, 32, 32, 320, 3, 2, 1, R_BWD) },
    { "bench_unet_in", CONV_BWD(1, 64, 64, 4, 64, 64, 320, 3, 1, 1, 0) },
    { "bench_demo_32x32", CONV_BWD(1, 32, 32, 32, 32, 32, 32, 3, 1, 1, 0) },
    { "bench_vae_256x256", CONV_BWD(1, 256, 256, 128, 256, 256, 128, 3, 1, 1, 0) },
    { "bench_vae_out", CONV_BWD(1, 256, 256, 128, 256, 256, 3, 3, 1, 1, 0) },
    { "bench_clip_patches", CONV_BWD(1, 224, 224, 3, 16, 16, 1024, 14, 14, 0, 0) },
};
const uint32_t case_count_conv_bwd_x = BL_COUNT(cases_conv_bwd_x);
