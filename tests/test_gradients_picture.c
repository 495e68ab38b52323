/* The gradients of what happens to a picture before a model looks at it, proven by central differences of the forward references. */
#include "op.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include "differences.h"

enum { MOST = 4096 };

static uint32_t rng = 3;
static void fill(double *v, size_t count, double spread)
{
    for (size_t i = 0; i < count; i++) {
        rng = rng * 1664525u + 1013904223u;
        v[i] = spread * ((double)(rng >> 8) / (1 << 23) - 1);
    }
}

/* y = f(x), or f(x, m), by the forward reference; the loss is the sum of g y. */
typedef struct problem {
    bl_op op;
    bl_params p;
    size_t inputs, outputs;
    double x[MOST], m[16], y[MOST], g[MOST], d[MOST];
} problem;

static double loss(void *context)
{
    problem *q = context;
    double sum = 0;
    bl_op_infos[q->op].ref(&q->p, q->op == BL_OP_normalize_fwd ? (double *[]){ q->x, q->m, q->y } : (double *[]){ q->x, q->y }, NULL);
    for (size_t i = 0; i < q->outputs; i++)
        sum += q->g[i] * q->y[i];
    return sum;
}

static void start(problem *q, bl_op op, size_t inputs, size_t outputs, double spread)
{
    *q = (problem){ .op = op, .inputs = inputs, .outputs = outputs };
    assert_true(inputs <= MOST && outputs <= MOST);
    fill(q->x, inputs, spread);
    fill(q->m, 16, 2);
    fill(q->g, outputs, 1);
}

static void clamp(void **state)
{
    (void)state;
    enum { ROWS = 15, CHANNELS = 3, COUNT = ROWS * CHANNELS };
    static problem q;
    static const float scales[] = { 0.5f, 1, -3 };
    const struct view v = { 0, CHANNELS };
    for (size_t i = 0; i < BL_COUNT(scales); i++) {
        const bl_params bwd = { .clamp_bwd_x = { .x = v, .g = v, .d = v, .rows = ROWS, .channels = CHANNELS, .scale = scales[i],
            .shift = 0.5f } };
        start(&q, BL_OP_clamp_fwd, COUNT, COUNT, 2);
        q.p.clamp_fwd = (struct clamp_params){ .x = v, .y = v, .rows = ROWS, .channels = CHANNELS, .scale = scales[i], .shift = 0.5f };
        bl_op_infos[BL_OP_clamp_bwd_x].ref(&bwd, (double *[]){ q.x, q.g, q.d }, NULL);
        assert_gradient(loss, &q, q.x, COUNT, 1, q.d, 1e-6);
    }
    /* both ends are inside */
    const bl_params ends = { .clamp_bwd_x = { .x = { 0, 1 }, .g = { 0, 1 }, .d = { 0, 1 }, .rows = 4, .channels = 1, .scale = 0.5f,
        .shift = 0.5f } };
    double d[4];
    bl_op_infos[BL_OP_clamp_bwd_x].ref(&ends, (double *[]){ (double[]){ -1, 1, -1.001, 1.001 }, (double[]){ 2, 2, 2, 2 }, d }, NULL);
    assert_true(d[0] == 1 && d[1] == 1 && d[2] == 0 && d[3] == 0);
}

static void normalize(void **state)
{
    (void)state;
    enum { ROWS = 7, CHANNELS = 3, COUNT = ROWS * CHANNELS };
    static problem q;
    const struct view v = { 0, CHANNELS };
    const bl_params bwd = { .normalize_bwd_x = { .g = v, .m = v, .d = v, .rows = ROWS, .channels = CHANNELS } };
    start(&q, BL_OP_normalize_fwd, COUNT, COUNT, 1);
    q.p.normalize_fwd = (struct normalize_params){ .x = v, .m = v, .y = v, .rows = ROWS, .channels = CHANNELS };
    bl_op_infos[BL_OP_normalize_bwd_x].ref(&bwd, (double *[]){ q.g, q.m, q.d }, NULL);
    assert_gradient(loss, &q, q.x, COUNT, 1, q.d, 1e-6);
}

static void bicubic(void **state)
{
    (void)state;
    static problem q;
    static const uint32_t shapes[][6] = { /* images, h, width, oh, ow, channels */
        { 1, 16, 16, 7, 7, 3 }, { 2, 5, 7, 9, 12, 2 }, { 1, 1, 1, 3, 3, 1 }, { 1, 1, 6, 4, 2, 2 }, { 1, 3, 4, 1, 1, 1 },
        { 1, 5, 5, 5, 5, 2 },
        { 1, 20, 3, 2, 17, 1 },
    };
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t *s = shapes[i], c = s[5];
        const struct view v = { 0, c };
        const bl_params bwd = { .bicubic_bwd_x = { .g = v, .d = v, .images = s[0], .h = s[1], .width = s[2], .oh = s[3], .ow = s[4],
            .channels = c } };
        start(&q, BL_OP_bicubic_fwd, (size_t)s[0] * s[1] * s[2] * c, (size_t)s[0] * s[3] * s[4] * c, 1);
        q.p.bicubic_fwd = (struct bicubic_params){ .x = v, .y = v, .images = s[0], .h = s[1], .width = s[2], .oh = s[3], .ow = s[4],
            .channels = c };
        bl_op_infos[BL_OP_bicubic_bwd_x].ref(&bwd, (double *[]){ q.g, q.d }, NULL);
        assert_gradient(loss, &q, q.x, q.inputs, 1, q.d, 1e-6);
    }
}

/* A constant stays itself, and a ramp too away from the borders: the weights sum to 1 and lie where they should. */
static void bicubic_keeps_ramps(void **state)
{
    (void)state;
    enum { H = 12, OH = 30 };
    double x[H], y[OH];
    const bl_params p = { .bicubic_fwd = { .x = { 0, 1 }, .y = { 0, 1 }, .images = 1, .h = H, .width = 1, .oh = OH, .ow = 1,
        .channels = 1 } };
    for (int ramp = 0; ramp < 2; ramp++) {
        for (size_t i = 0; i < H; i++)
            x[i] = 3 + ramp * (double)i;
        bl_op_infos[BL_OP_bicubic_fwd].ref(&p, (double *[]){ x, y }, NULL);
        for (size_t o = 0; o < OH; o++) {
            const double at = ((double)o + 0.5) * H / OH - 0.5;
            if (!ramp || (at >= 1 && at < H - 2))
                assert_true(fabs(y[o] - (3 + ramp * at)) < (ramp ? 0.2 : 1e-12)); /* with a = -0.75 a ramp is kept roughly */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clamp), cmocka_unit_test(normalize), cmocka_unit_test(bicubic), cmocka_unit_test(bicubic_keeps_ramps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
