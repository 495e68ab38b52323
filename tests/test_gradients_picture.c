/* The gradients of picture ops, proven by central differences of their forward references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "gradient_problem.h"

static double x[MOST], y[MOST], g[MOST], d[MOST], m[MOST];

/* Values stay away from the corners, where there is no derivative. */
static void clamp(void **state)
{
    (void)state;
    enum { ROWS = 30, CHANNELS = 3, COUNT = ROWS * CHANNELS };
    static const float factors[][2] = { { 0.5f, 0.5f }, { -2, 0.25f }, { 1, 0 } };
    const struct view v = dense(CHANNELS);
    for (size_t i = 0; i < BL_COUNT(factors); i++) {
        const float scale = factors[i][0], shift = factors[i][1];
        problem q = { .op = BL_OP_clamp_fwd, .v = { x, y }, .y = y, .g = g, .outputs = COUNT,
            .p.clamp_fwd = { .x = v, .y = v, .rows = ROWS, .channels = CHANNELS, .scale = scale, .shift = shift } };
        uint32_t inside = 0;
        fill(x, COUNT, 0, 2);
        fill(g, COUNT, 0, 1);
        for (size_t k = 0; k < COUNT; k++) {
            const double at = (double)scale * x[k] + (double)shift;
            if (fabs(at) < 0.01 || fabs(at - 1) < 0.01)
                x[k] += 0.05;
            inside += at > 0 && at < 1;
        }
        assert_true(inside > COUNT / 16 && inside < COUNT / 16 * 15);
        REF(clamp_bwd_x, ((struct clamp_bwd_params){ .x = v, .g = v, .d = v, .rows = ROWS, .channels = CHANNELS, .scale = scale,
            .shift = shift }), x, g, d);
        assert_gradient(loss, &q, x, COUNT, 1, d, 1e-8);
    }
}

/* At the corners themselves the gradient goes through. */
static void clamp_at_the_corners(void **state)
{
    (void)state;
    double at[4] = { -1, 1, -1.000001, 1.000001 }, ones[4] = { 1, 1, 1, 1 }, got[4];
    const struct view v = dense(4);
    REF(clamp_bwd_x, ((struct clamp_bwd_params){ .x = v, .g = v, .d = v, .rows = 1, .channels = 4, .scale = 0.5f, .shift = 0.5f }),
        at, ones, got);
    for (size_t i = 0; i < 4; i++)
        assert_true(got[i] == (i < 2 ? 0.5 : 0));
}

static void bicubic(void **state)
{
    (void)state;
    static const uint32_t shapes[][6] = { /* images, h, width, oh, ow, channels */
        { 1, 9, 7, 4, 3, 2 }, { 2, 4, 5, 11, 9, 3 }, { 1, 6, 5, 6, 5, 2 }, { 1, 1, 1, 4, 4, 1 }, { 1, 6, 5, 1, 1, 2 },
        { 2, 1, 12, 3, 5, 1 }, { 1, 2, 3, 7, 2, 2 }, { 1, 16, 16, 7, 7, 1 },
    };
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t *s = shapes[i];
        const size_t count = (size_t)s[0] * s[1] * s[2] * s[5];
        const struct view v = dense(s[5]);
        problem q = { .op = BL_OP_bicubic_fwd, .v = { x, y }, .y = y, .g = g, .outputs = (size_t)s[0] * s[3] * s[4] * s[5],
            .p.bicubic_fwd = { .x = v, .y = v, .images = s[0], .h = s[1], .width = s[2], .oh = s[3], .ow = s[4], .channels = s[5] } };
        fill(x, count, 0, 1);
        fill(g, q.outputs, 0, 1);
        fill(d, count, 9, 1); /* what was there before does not count */
        REF(bicubic_bwd_x, ((struct bicubic_bwd_params){ .g = v, .d = v, .images = s[0], .h = s[1], .width = s[2], .oh = s[3], .ow = s[4],
            .channels = s[5] }), g, d);
        assert_gradient(loss, &q, x, count, 1, d, 1e-8);
    }
}

static void normalize(void **state)
{
    (void)state;
    enum { ROWS = 7, CHANNELS = 5, COUNT = ROWS * CHANNELS };
    const struct view v = dense(CHANNELS);
    problem q = { .op = BL_OP_normalize_fwd, .v = { x, m, y }, .y = y, .g = g, .outputs = COUNT,
        .p.normalize_fwd = { .x = v, .m = v, .y = v, .rows = ROWS, .channels = CHANNELS } };
    fill(x, COUNT, 0, 1);
    fill(m, 2 * CHANNELS, 1, 2);
    fill(g, COUNT, 0, 1);
    REF(normalize_bwd_x, ((struct normalize_bwd_params){ .g = v, .m = v, .d = v, .rows = ROWS, .channels = CHANNELS }), g, m, d);
    assert_gradient(loss, &q, x, COUNT, 1, d, 1e-8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clamp),
        cmocka_unit_test(clamp_at_the_corners),
        cmocka_unit_test(bicubic),
        cmocka_unit_test(normalize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
