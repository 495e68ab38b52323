/* The gradients of activation, GEGLU, enlargement and scaling, proven by central differences of their forward references; what the kernels
 * make of values at the end of the range. */
#include "kernel.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "differences.h"

enum { MOST = 512 };

static uint32_t rng = 3;
static void fill(double *v, size_t count, double spread)
{
    for (size_t i = 0; i < count; i++) {
        rng = rng * 1664525u + 1013904223u;
        v[i] = spread * ((double)(rng >> 8) / (1 << 23) - 1);
    }
}

/* y = f(x) by the forward reference, with the gradient g of the loss with respect to y. */
typedef struct problem {
    bl_op op;
    bl_params p;
    struct bl_step step;
    size_t outputs;
    double x[MOST], y[MOST], g[MOST];
} problem;

static double loss(void *context)
{
    problem *q = context;
    double sum = 0;
    bl_op_infos[q->op].ref(&q->p, (double *[]){ q->x, q->y }, &q->step);
    for (size_t i = 0; i < q->outputs; i++)
        sum += q->g[i] * q->y[i];
    return sum;
}

static struct view dense(uint32_t cols) { return (struct view){ 0, cols }; }

static void activation(void **state)
{
    (void)state;
    enum { ROWS = 9, CHANNELS = 7, COUNT = ROWS * CHANNELS };
    static problem q;
    static double d[MOST];
    const struct view v = dense(CHANNELS);
    for (uint32_t act = ACT_NONE; act <= ACT_TANH_3; act++) {
        const bl_params bwd = { .activation_bwd_x = { .x = v, .g = v, .d = v, .rows = ROWS, .channels = CHANNELS, .act = act } };
        q = (problem){ .op = BL_OP_activation_fwd, .outputs = COUNT,
            .p.activation_fwd = { .x = v, .y = v, .rows = ROWS, .channels = CHANNELS, .act = act } };
        fill(q.x, COUNT, 5);
        fill(q.g, COUNT, 1);
        bl_op_infos[BL_OP_activation_bwd_x].ref(&bwd, (double *[]){ q.x, q.g, d }, NULL);
        assert_gradient(loss, &q, q.x, COUNT, 1, d, 1e-6);
    }
}

static void geglu(void **state)
{
    (void)state;
    enum { ROWS = 5, CHANNELS = 3, COUNT = ROWS * CHANNELS };
    static problem q;
    static double d[MOST];
    const struct view v = dense(2 * CHANNELS), half = dense(CHANNELS);
    const bl_params bwd = { .geglu_bwd_x = { .x = v, .g = half, .d = v, .rows = ROWS, .channels = CHANNELS } };
    q = (problem){ .op = BL_OP_geglu_fwd, .outputs = COUNT, .p.geglu_fwd = { .x = v, .y = half, .rows = ROWS, .channels = CHANNELS } };
    fill(q.x, 2 * COUNT, 3);
    fill(q.g, COUNT, 1);
    bl_op_infos[BL_OP_geglu_bwd_x].ref(&bwd, (double *[]){ q.x, q.g, d }, NULL);
    assert_gradient(loss, &q, q.x, 2 * COUNT, 1, d, 1e-6);
}

static void upsample(void **state)
{
    (void)state;
    static problem q;
    static double d[MOST];
    static const uint32_t shapes[][4] = { { 1, 1, 1, 1 }, { 2, 3, 2, 3 }, { 1, 2, 5, 2 } }; /* images, h, width, channels */
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t *s = shapes[i];
        const size_t count = (size_t)s[0] * s[1] * s[2] * s[3];
        const struct view v = dense(s[3]);
        const bl_params bwd = { .upsample_bwd_x = { .g = v, .d = v, .images = s[0], .h = s[1], .width = s[2], .channels = s[3] } };
        q = (problem){ .op = BL_OP_upsample_fwd, .outputs = 4 * count,
            .p.upsample_fwd = { .x = v, .y = v, .images = s[0], .h = s[1], .width = s[2], .channels = s[3] } };
        fill(q.x, count, 1);
        fill(q.g, q.outputs, 1);
        bl_op_infos[BL_OP_upsample_bwd_x].ref(&bwd, (double *[]){ q.g, d }, NULL);
        assert_gradient(loss, &q, q.x, count, 1, d, 1e-6);
    }
}

static void scale(void **state)
{
    (void)state;
    enum { ROWS = 4, CHANNELS = 3, COUNT = ROWS * CHANNELS };
    static problem q;
    static double d[MOST];
    double loss_scale[2] = { 8, 0.125 };
    const struct view v = dense(CHANNELS);
    for (uint32_t i = 0; i < 6; i++) {
        const uint32_t copies = 1 + i / 2, with_s = i % 2, per_step = i % 3 > 0;
        const bl_params bwd = { .scale_bwd_x = { .g = v, .s = dense(2), .d = v, .rows = ROWS, .channels = CHANNELS, .copies = copies,
            .scale = -1.5f, .per_step = per_step, .given = with_s << 1 } };
        q = (problem){ .op = BL_OP_scale_fwd, .outputs = copies * COUNT, .step.in_scale = 0.75f,
            .p.scale_fwd = { .x = v, .y = v, .rows = ROWS, .channels = CHANNELS, .copies = copies, .scale = -1.5f, .per_step = per_step } };
        double *scaled = calloc(q.outputs, sizeof(*scaled));
        fill(q.x, COUNT, 1);
        fill(q.g, q.outputs, 1);
        for (size_t k = 0; k < q.outputs; k++)
            scaled[k] = q.g[k] * (with_s ? loss_scale[0] : 1); /* taken back by the kernel */
        bl_op_infos[BL_OP_scale_bwd_x].ref(&bwd, (double *[]){ scaled, with_s ? loss_scale : NULL, d }, &q.step);
        assert_gradient(loss, &q, q.x, COUNT, 1, d, 1e-6);
        free(scaled);
    }
}

/* --- the end of the range ----------------------------------------------------------------------------------------------- */

static bl_device *device;
static bl_stream *stream;
static bl_kernels *kernels;
static bl_arena *arena;

static void run(bl_op op, const bl_params *p, bl_slice *operands)
{
    bl_dispatch d = { .type = BL_F32, .p = *p };
    bl_commands c = { 0 };
    memcpy(d.operands, operands, 3 * sizeof(*operands));
    assert_int_equal(bl_kernel_choose(kernels, op, BL_F32, p, &d.kernel), BL_OK);
    assert_int_equal(bl_dispatch_whole(&d), BL_OK);
    assert_int_equal(bl_commands_begin(stream, 1, 0, &c), BL_OK);
    assert_int_equal(bl_kernel_record(kernels, &c, &d), BL_OK);
    assert_int_equal(bl_commands_end(&c), BL_OK);
    assert_int_equal(bl_stream_submit(stream, &c, 1, NULL), BL_OK);
    assert_int_equal(bl_stream_wait(stream), BL_OK);
    bl_commands_destroy(&c);
}

/* Every derivative is 0 far below zero and 1 far above, also of numbers without end. */
static void far_from_zero(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    const float x[COUNT] = { -3e38f, -1e10f, -200, -INFINITY, 200, 1e10f, 3e38f, INFINITY };
    float g[COUNT], d[COUNT];
    bl_slice operands[3];
    if (bl_device_open(getenv("BLEMISH_DEVICE"), getenv("BLEMISH_CAPS"), &device) != BL_OK) {
        if (getenv("CI"))
            fail_msg("%s", bl_last_error());
        skip();
    }
    assert_int_equal(bl_stream_create(device, &stream), BL_OK);
    assert_int_equal(bl_kernels_create(device, NULL, &kernels), BL_OK);
    assert_int_equal(bl_arena_create(device, 0, "test", &arena), BL_OK);
    for (size_t i = 0; i < COUNT; i++)
        g[i] = 2;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bl_arena_slice(arena, sizeof(x), &operands[i]), BL_OK);
    assert_int_equal(bl_stream_write(stream, &operands[0], 0, x, sizeof(x)), BL_OK);
    assert_int_equal(bl_stream_write(stream, &operands[1], 0, g, sizeof(g)), BL_OK);
    for (uint32_t act = ACT_SILU; act <= ACT_TANH_3; act++) {
        const struct view v = dense(COUNT);
        const bl_params p = { .activation_bwd_x = { .x = v, .g = v, .d = v, .rows = 1, .channels = COUNT, .act = act } };
        run(BL_OP_activation_bwd_x, &p, operands);
        assert_int_equal(bl_stream_read(stream, &operands[2], 0, d, sizeof(d)), BL_OK);
        for (size_t i = 0; i < COUNT; i++) {
            const float want = x[i] > 0 && act != ACT_TANH_3 ? 2 : 0;
            if (!(fabsf(d[i] - want) < 1e-30f))
                fail_msg("act %u: %g at %g", act, (double)d[i], (double)x[i]);
        }
    }
    bl_arena_destroy(&arena);
    bl_kernels_destroy(&kernels);
    bl_stream_destroy(&stream);
    bl_device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activation),
        cmocka_unit_test(geglu),
        cmocka_unit_test(upsample),
        cmocka_unit_test(scale),
        cmocka_unit_test(far_from_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
