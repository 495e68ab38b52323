/* The gradients of attention maps and losses, proven by central differences of their forward references; what the kernels make of equal
 * peaks and of bits that are no numbers. */
#include "device_session.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "differences.h"

enum { MOST = 1024 };

static uint32_t rng = 3;
static double uniform(void)
{
    rng = rng * 1664525u + 1013904223u;
    return (double)(rng >> 8) / (1 << 24);
}

static void fill(double *v, size_t count, double least, double most)
{
    for (size_t i = 0; i < count; i++)
        v[i] = least + (most - least) * uniform();
}

/* y = f(x, other) by the forward reference; the loss is the sum of g y over the elements of y's view. */
typedef struct problem {
    bl_op op;
    bl_params p;
    double x[MOST], other[MOST], y[MOST], g[MOST], d[MOST];
    bool with_other;
} problem;

/* Operands in binding order: the first, the second of three, the last. */
static uint32_t operands_of(problem *q, double *v[BL_MAX_OPERANDS])
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t n = bl_op_operands(q->op, o);
    v[0] = q->x;
    v[1] = q->with_other ? q->other : NULL;
    v[n - 1] = q->y;
    return n - 1;
}

static double loss(void *context)
{
    problem *q = context;
    double *v[BL_MAX_OPERANDS], sum = 0;
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t y = operands_of(q, v);
    bl_op_infos[q->op].ref(&q->p, v, NULL);
    bl_op_infos[q->op].extents(&q->p, e);
    for (size_t r = 0; r < e[y].rows; r++)
        for (size_t c = 0; c < e[y].cols; c++)
            sum += q->g[bl_at(&q->p.v[y], r, c)] * q->y[bl_at(&q->p.v[y], r, c)];
    return sum;
}

static void prove(problem *q, bl_op bwd, const bl_params *p, double **operands)
{
    double *v[BL_MAX_OPERANDS];
    operands_of(q, v);
    bl_op_infos[q->op].ref(&q->p, v, NULL); /* its output may be an input of the gradient */
    bl_op_infos[bwd].ref(p, operands, NULL);
    assert_gradient(loss, q, q->x, MOST, 1, q->d, 1e-6); /* gaps of the views have no influence, and a gradient of 0 */
}

static problem start(bl_op op, double least, double most)
{
    problem q = { .op = op };
    fill(q.x, MOST, least, most);
    fill(q.other, MOST, 0.1, 1);
    fill(q.g, MOST, -1, 1);
    return q;
}

static void softmax(void **state)
{
    (void)state;
    static const float scales[] = { 1, 10, -2.5f };
    static problem q;
    for (size_t i = 0; i < BL_COUNT(scales); i++) {
        const struct view v = { 5, 77 }; /* 75 of 77 columns */
        const struct softmax_params p = { .x = v, .y = v, .rows = 6, .channels = 75, .scale = scales[i] };
        const bl_params bwd = { .softmax_bwd_x = { .y = v, .g = v, .d = v, .rows = 6, .channels = 75, .scale = scales[i] } };
        q = start(BL_OP_softmax_fwd, -2 / (double)fabsf(scales[i]), 2 / (double)fabsf(scales[i]));
        q.p.softmax_fwd = p;
        prove(&q, BL_OP_softmax_bwd_x, &bwd, (double *[]){ q.y, q.g, q.d });
    }
}

static void heads_mean(void **state)
{
    (void)state;
    static problem q;
    double s[2] = { 1, 1 };
    for (uint32_t given = 0; given < 4; given++) {
        const struct view x = { 3, 9 }, y = { 0, 7 };
        const bl_params bwd = { .heads_mean_bwd_x = { .g = y, .s = { 0, 2 }, .d = x, .given = given & 2, .heads = 4, .rows = 5,
            .channels = 7, .scale = 0.25f } };
        q = start(BL_OP_heads_mean_fwd, -1, 1);
        q.with_other = given & 1;
        q.p.heads_mean_fwd = (struct heads_mean_params){ .x = x, .r = y, .y = y, .given = (given & 1) << 1, .heads = 4, .rows = 5,
            .channels = 7, .scale = 0.25f };
        prove(&q, BL_OP_heads_mean_bwd_x, &bwd, (double *[]){ q.g, s, q.d });
    }
    s[0] = 1024; /* the loss scale multiplies */
    const bl_params p = { .heads_mean_bwd_x = { .g = { 0, 1 }, .s = { 0, 2 }, .d = { 0, 1 }, .given = 2, .heads = 2, .rows = 1,
        .channels = 1, .scale = 0.5f } };
    bl_op_infos[BL_OP_heads_mean_bwd_x].ref(&p, (double *[]){ (double[]){ 3 }, s, q.d }, NULL);
    assert_true(q.d[0] == 1536 && q.d[1] == 1536);
}

static void smooth(void **state)
{
    (void)state;
    static problem q;
    static const uint32_t shapes[][3] = { { 2, 2, 1 }, { 2, 5, 3 }, { 3, 2, 2 }, { 3, 3, 1 }, { 6, 7, 2 } }; /* h, width, channels */
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t h = shapes[i][0], width = shapes[i][1], channels = shapes[i][2];
        const struct view v = { 1, channels + 1 };
        const bl_params bwd = { .smooth_bwd_x = { .g = v, .d = v, .h = h, .width = width, .channels = channels, .edge = 0.21194156f,
            .centre = 0.57611688f } };
        q = start(BL_OP_smooth_fwd, -1, 1);
        q.p.smooth_fwd = (struct smooth_params){ .x = v, .y = v, .h = h, .width = width, .channels = channels, .edge = 0.21194156f,
            .centre = 0.57611688f };
        prove(&q, BL_OP_smooth_bwd_x, &bwd, (double *[]){ q.g, q.d });
    }
}

static void peak_loss(void **state)
{
    (void)state;
    static problem q;
    for (uint32_t i = 0; i < 16; i++) { /* words beyond a peak of 1 have no gradient, so x ends at 0.9, or a little above */
        const uint32_t masked = i & 1, mean = i >> 1 & 1, channels = i & 4 ? 1 : 3;
        const struct view x = { 2, channels + 2 }, m = { 0, 1 }, y = { 0, 1 + 2 * channels };
        const bl_params bwd = { .peak_loss_bwd_x = { .m = m, .y = y, .d = x, .given = masked, .rows = 11, .channels = channels,
            .mean = mean, .scale = -3 } };
        q = start(BL_OP_peak_loss_fwd, 0, i & 8 && mean && channels > 1 ? 1.02 : 0.9);
        memset(q.g, 0, sizeof(q.g));
        q.g[0] = -3; /* the loss itself; peaks and their rows have no gradient */
        q.with_other = masked;
        q.p.peak_loss_fwd = (struct peak_loss_params){ .x = x, .m = m, .y = y, .given = masked << 1, .rows = 11, .channels = channels,
            .mean = mean };
        prove(&q, BL_OP_peak_loss_bwd_x, &bwd, (double *[]){ masked ? q.other : NULL, q.y, q.d });
    }
}

static void cosine(void **state)
{
    (void)state;
    static problem q;
    static const uint32_t shapes[][2] = { { 1, 2 }, { 3, 7 }, { 2, 48 } };
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t rows = shapes[i][0], channels = shapes[i][1];
        const struct view v = { 4, channels + 3 }, z = { 0, 2 };
        const bl_params bwd = { .cosine_bwd_x = { .x = v, .y = v, .d = v, .rows = rows, .channels = channels, .scale = -1.5f } };
        q = start(BL_OP_cosine_fwd, -1, 1);
        for (size_t k = 0; k < MOST; k++)
            q.g[k] = -1.5;
        q.with_other = true;
        q.p.cosine_fwd = (struct cosine_params){ .x = v, .y = v, .z = z, .rows = rows, .channels = channels };
        prove(&q, BL_OP_cosine_bwd_x, &bwd, (double *[]){ q.x, q.other, q.d });
    }
}

/* --- kernels where values are equal, or no numbers --------------------------------------------------------------------------- */

/* Runs op on dense fp32 operands; NULL: an absent one. Reads all of them back. */
static void run(bl_op op, bl_params *p, float *const *values)
{
    bl_dispatch d = { .type = BL_F32 };
    bl_commands c = { 0 };
    bl_arena *arena = NULL;
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t n = bl_op_operands(op, o);
    need_device();
    bl_op_infos[op].extents(p, e);
    assert_int_equal(bl_arena_create(device, 0, "test", &arena), BL_OK);
    for (uint32_t i = 0; i < n; i++) {
        const size_t size = (size_t)e[i].rows * e[i].cols * sizeof(float);
        p->v[i] = (struct view){ 0, e[i].cols };
        if (!size)
            continue;
        assert_int_equal(bl_arena_slice(arena, size, &d.operands[i]), BL_OK);
        assert_int_equal(bl_stream_write(stream, &d.operands[i], 0, values[i], size), BL_OK);
    }
    d.p = *p;
    assert_int_equal(bl_kernel_choose(kernels, op, BL_F32, p, &d.kernel), BL_OK);
    assert_int_equal(bl_dispatch_whole(&d), BL_OK);
    assert_int_equal(bl_commands_begin(stream, 1, 0, &c), BL_OK);
    assert_int_equal(bl_kernel_record(kernels, &c, &d), BL_OK);
    assert_int_equal(bl_commands_end(&c), BL_OK);
    assert_int_equal(bl_stream_submit(stream, &c, 1, NULL), BL_OK);
    assert_int_equal(bl_stream_wait(stream), BL_OK);
    for (uint32_t i = 0; i < n; i++)
        if (e[i].rows)
            assert_int_equal(bl_stream_read(stream, &d.operands[i], 0, values[i], (size_t)e[i].rows * e[i].cols * sizeof(float)), BL_OK);
    bl_commands_destroy(&c);
    bl_arena_destroy(&arena);
}

static void the_first_of_equal_peaks(void **state)
{
    (void)state;
    enum { ROWS = 70 };
    float x[ROWS][3], y[7], m[ROWS], d[ROWS][3];
    for (size_t r = 0; r < ROWS; r++) {
        m[r] = 1;
        x[r][0] = r == 37 || r == 38 || r == 69 ? 0.5f : 0.25f;
        x[r][1] = 0.5f; /* its loss equals that of column 0 */
        x[r][2] = -1 + (float)(r == 69) * 2;
    }
    bl_params p = { .peak_loss_fwd = { .given = 2, .rows = ROWS, .channels = 3 } };
    run(BL_OP_peak_loss_fwd, &p, (float *[]){ x[0], m, y });
    assert_memory_equal(y, ((float[]){ 0.5f, 0.5f, 37, 0.5f, 0, 1, 69 }), sizeof(y));
    for (uint32_t mean = 0; mean < 2; mean++) { /* the first of equal losses; all that have one */
        p = (bl_params){ .peak_loss_bwd_x = { .rows = ROWS, .channels = 3, .mean = mean, .scale = 3 } };
        run(BL_OP_peak_loss_bwd_x, &p, (float *[]){ NULL, y, d[0] });
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < 3; c++) {
                const float want = r == 37 && c == 0 ? (mean ? -1 : -3) : mean && r == 0 && c == 1 ? -1 : 0;
                if (d[r][c] != want)
                    fail_msg("mean %u: %g at %zu, %zu", mean, (double)d[r][c], r, c);
            }
    }
}

static void rows_that_are_no_rows(void **state)
{
    (void)state;
    static const uint32_t bits[] = { 0x7fc00000, 0xffffffff, 0x7f800000, 0xff800000, 0x4f800000, 0xbf800000, 0x00000001, 0x7f7fffff };
    float y[3] = { 0.5f, 0.5f, 0 }, d[9];
    for (size_t i = 0; i < BL_COUNT(bits); i++) {
        memcpy(&y[2], &bits[i], sizeof(y[2]));
        bl_params p = { .peak_loss_bwd_x = { .rows = 9, .channels = 1, .scale = 1 } };
        run(BL_OP_peak_loss_bwd_x, &p, (float *[]){ NULL, y, d });
        for (size_t r = 0; r < 9; r++)
            assert_true(d[r] == 0 || d[r] == -1);
    }
}

static void loss_scale_of(const float *x, uint32_t count, float target, float want)
{
    float s[2];
    float *values = malloc(count * sizeof(*values));
    memcpy(values, x, count * sizeof(*values));
    bl_params p = { .loss_scale_fwd = { .rows = count, .channels = 1, .target = target } };
    run(BL_OP_loss_scale_fwd, &p, (float *[]){ values, s });
    free(values);
    if (s[0] != want || s[1] != 1 / want)
        fail_msg("%g of %u: (%g, %g) instead of %g", (double)x[0], count, (double)s[0], (double)s[1], (double)want);
}

static void loss_scales(void **state)
{
    (void)state;
    const float nan = NAN, inf = INFINITY;
    float many[100] = { 0 };
    loss_scale_of((float[]){ 1 }, 1, 16, 16); /* a maximum that is a power of two reaches the target */
    loss_scale_of((float[]){ nextafterf(1, 2) }, 1, 16, 8);
    loss_scale_of((float[]){ nextafterf(1, 0) }, 1, 16, 16);
    loss_scale_of((float[]){ -3, 2 }, 2, 16, 4);
    loss_scale_of((float[]){ 0, -0.0f }, 2, 16, 1);
    loss_scale_of((float[]){ nan, inf, -inf }, 3, 16, 1);
    loss_scale_of((float[]){ nan, 4, -inf }, 3, 16, 4);
    loss_scale_of((float[]){ 1e-40f }, 1, 16, 0x1p120f);
    loss_scale_of((float[]){ 0x1.fffffep127f }, 1, 16, 0x1p-120f); /* as far as it goes */
    many[99] = 0x1p-20f;
    loss_scale_of(many, 100, 1, 0x1p20f);
}

/* An exponent beyond what exp() can represent, and a column that has no probability to take part with. */
static void gains_beyond_the_range(void **state)
{
    (void)state;
    float p[2][3] = { { 0.5f, 0.25f, 0.25f }, { 1, 0, 0 } }, m[1] = { 1 }, k[3] = { 0, 0, 300 }, y[2][3];
    bl_params params = { .attention_gain_fwd = { .heads = 2, .tq = 1, .tk = 3 } };
    run(BL_OP_attention_gain_fwd, &params, (float *[]){ p[0], m, k, y[0] });
    assert_true(y[0][0] < 1e-30f && y[0][1] < 1e-30f && y[0][2] == 1);
    assert_true(y[1][0] == 1 && y[1][1] == 0 && y[1][2] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax),
        cmocka_unit_test(heads_mean),
        cmocka_unit_test(smooth),
        cmocka_unit_test(peak_loss),
        cmocka_unit_test(cosine),
        cmocka_unit_test(the_first_of_equal_peaks),
        cmocka_unit_test(rows_that_are_no_rows),
        cmocka_unit_test(loss_scales),
        cmocka_unit_test(gains_beyond_the_range),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
