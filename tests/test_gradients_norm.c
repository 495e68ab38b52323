/* The gradients of the norms, proven by central differences of their forward references. */
#include "op.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "differences.h"

enum { MOST = 1024 };

static uint32_t rng;
static void fill(double *v, size_t count, double mean, double spread)
{
    for (size_t i = 0; i < count; i++) {
        rng = rng * 1664525u + 1013904223u;
        v[i] = mean + spread * ((double)(rng >> 8) / (1 << 23) - 1);
    }
}

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static struct view dense(uint32_t cols) { return (struct view){ 0, cols }; }

/* --- group norm: three passes forward, three backward ------------------------------------------------------------------- */

typedef struct group_problem {
    uint32_t images, rows, channels, groups, slice_rows, act;
    double x[MOST], w[MOST], b[MOST], g[MOST], r[MOST], parts[MOST], stats[MOST], y[MOST];
} group_problem;

static uint32_t slices_of(const group_problem *q) { return (q->rows + q->slice_rows - 1) / q->slice_rows; }
static size_t size_of(const group_problem *q) { return (size_t)q->images * q->rows * q->channels; }

/* g y + r x: what arrives at x by another way, r, joins the gradient. */
static double group_loss(void *context)
{
    group_problem *q = context;
    const struct view v = dense(q->channels), parts = dense(2 * q->channels), stats = dense(2 * q->groups);
    const bl_params first = { .channel_stats_fwd = { .x = v, .y = parts, .images = q->images, .rows = q->rows, .channels = q->channels,
        .slices = slices_of(q), .slice_rows = q->slice_rows } };
    const bl_params second = { .group_stats_fwd = { .x = parts, .y = stats, .images = q->images, .rows = q->rows,
        .channels = q->channels, .groups = q->groups, .slices = slices_of(q), .slice_rows = q->slice_rows, .eps = 0.01f } };
    const bl_params third = { .group_norm_fwd = { .x = v, .s = stats, .w = v, .b = v, .y = v, .images = q->images, .rows = q->rows,
        .channels = q->channels, .groups = q->groups, .act = q->act } };
    bl_op_infos[BL_OP_channel_stats_fwd].ref(&first, (double *[]){ q->x, q->parts }, NULL);
    bl_op_infos[BL_OP_group_stats_fwd].ref(&second, (double *[]){ q->parts, q->stats }, NULL);
    bl_op_infos[BL_OP_group_norm_fwd].ref(&third, (double *[]){ q->x, q->stats, q->w, q->b, q->y }, NULL);
    return dot(q->g, q->y, size_of(q)) + dot(q->r, q->x, size_of(q));
}

static void group_gradient(group_problem *q, double *d)
{
    double sums[MOST], means[MOST];
    const struct view v = dense(q->channels), parts = dense(2 * q->channels), stats = dense(2 * q->groups), t = dense(4 * q->groups);
    const bl_params first = { .channel_stats_bwd = { .x = v, .s = stats, .w = v, .b = v, .g = v, .u = parts, .images = q->images,
        .rows = q->rows, .channels = q->channels, .groups = q->groups, .slices = slices_of(q), .slice_rows = q->slice_rows,
        .act = q->act } };
    const bl_params second = { .group_stats_bwd = { .s = stats, .u = parts, .t = t, .images = q->images, .rows = q->rows,
        .channels = q->channels, .groups = q->groups, .slices = slices_of(q) } };
    const bl_params third = { .group_norm_bwd_x = { .x = v, .t = t, .w = v, .b = v, .g = v, .r = v, .d = v, .images = q->images,
        .rows = q->rows, .channels = q->channels, .groups = q->groups, .act = q->act, .given = 1 << 5 } };
    group_loss(q); /* for the statistics */
    bl_op_infos[BL_OP_channel_stats_bwd].ref(&first, (double *[]){ q->x, q->stats, q->w, q->b, q->g, sums }, NULL);
    bl_op_infos[BL_OP_group_stats_bwd].ref(&second, (double *[]){ q->stats, sums, means }, NULL);
    bl_op_infos[BL_OP_group_norm_bwd_x].ref(&third, (double *[]){ q->x, means, q->w, q->b, q->g, q->r, d }, NULL);
}

static void group_norm(void **state)
{
    (void)state;
    static group_problem q;
    static double d[MOST];
    static const uint32_t shapes[][5] = { /* images, rows, channels, groups, rows of a slice */
        { 1, 6, 4, 2, 6 }, { 2, 7, 6, 3, 3 }, { 2, 5, 5, 1, 2 }, { 1, 9, 3, 3, 4 }, { 3, 1, 8, 2, 64 },
    };
    for (uint32_t i = 0; i < BL_COUNT(shapes); i++)
        for (uint32_t act = ACT_NONE; act <= ACT_TANH_3; act++) {
            rng = i;
            q = (group_problem){ .images = shapes[i][0], .rows = shapes[i][1], .channels = shapes[i][2], .groups = shapes[i][3],
                .slice_rows = shapes[i][4], .act = act };
            fill(q.x, size_of(&q), 0.5, 1);
            fill(q.w, q.channels, 1, 1);
            fill(q.b, q.channels, 0, 1);
            fill(q.g, size_of(&q), 0, 1);
            fill(q.r, size_of(&q), 0, 1);
            group_gradient(&q, d);
            assert_gradient(group_loss, &q, q.x, size_of(&q), 1, d, 1e-6);
        }
}

/* Without r the same, less r. */
static void group_norm_without_r(void **state)
{
    (void)state;
    enum { ROWS = 5, CHANNELS = 4, COUNT = ROWS * CHANNELS };
    double x[COUNT], t[8], w[CHANNELS], b[CHANNELS], g[COUNT], r[COUNT], with[COUNT], without[COUNT];
    const struct view v = dense(CHANNELS);
    bl_params p = { .group_norm_bwd_x = { .x = v, .t = dense(8), .w = v, .b = v, .g = v, .r = v, .d = v, .images = 1, .rows = ROWS,
        .channels = CHANNELS, .groups = 2, .act = ACT_SILU, .given = 1 << 5 } };
    double *all[] = { x, t, w, b, g, r, with }, *few[] = { x, t, w, b, g, NULL, without };
    for (size_t i = 0; i < 6; i++)
        fill(all[i], i == 1 ? 8 : i == 2 || i == 3 ? CHANNELS : COUNT, 0, 1);
    bl_op_infos[BL_OP_group_norm_bwd_x].ref(&p, all, NULL);
    p.group_norm_bwd_x.given = 0;
    bl_op_infos[BL_OP_group_norm_bwd_x].ref(&p, few, NULL);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(fabs(with[i] - r[i] - without[i]) < 1e-12);
}

/* --- layer norm --------------------------------------------------------------------------------------------------------- */

typedef struct layer_problem {
    uint32_t rows, channels;
    bool with_r;
    double x[MOST], w[MOST], b[MOST], g[MOST], r[MOST], y[MOST];
} layer_problem;

static double layer_loss(void *context)
{
    layer_problem *q = context;
    const struct view v = dense(q->channels);
    const bl_params p = { .layer_norm_fwd = { .x = v, .w = v, .b = v, .y = v, .rows = q->rows, .channels = q->channels, .eps = 0.01f } };
    const size_t count = (size_t)q->rows * q->channels;
    bl_op_infos[BL_OP_layer_norm_fwd].ref(&p, (double *[]){ q->x, q->w, q->b, q->y }, NULL);
    return dot(q->g, q->y, count) + (q->with_r ? dot(q->r, q->x, count) : 0);
}

static void layer_norm(void **state)
{
    (void)state;
    static layer_problem q;
    static double d[MOST];
    static const uint32_t shapes[][2] = { { 1, 2 }, { 4, 8 }, { 3, 5 }, { 2, 13 } };
    for (uint32_t i = 0; i < 2 * BL_COUNT(shapes); i++) {
        rng = i;
        q = (layer_problem){ .rows = shapes[i / 2][0], .channels = shapes[i / 2][1], .with_r = i % 2 };
        const size_t count = (size_t)q.rows * q.channels;
        const struct view v = dense(q.channels);
        const bl_params p = { .layer_norm_bwd_x = { .x = v, .w = v, .g = v, .r = v, .d = v, .rows = q.rows, .channels = q.channels,
            .eps = 0.01f, .given = (uint32_t)q.with_r << 3 } };
        fill(q.x, count, 0.5, 1);
        fill(q.w, q.channels, 1, 1);
        fill(q.b, q.channels, 0, 1);
        fill(q.g, count, 0, 1);
        fill(q.r, count, 0, 1);
        bl_op_infos[BL_OP_layer_norm_bwd_x].ref(&p, (double *[]){ q.x, q.w, q.g, q.with_r ? q.r : NULL, d }, NULL);
        assert_gradient(layer_loss, &q, q.x, count, 1, d, 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_norm),
        cmocka_unit_test(group_norm_without_r),
        cmocka_unit_test(layer_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
