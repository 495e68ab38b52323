/* The gradients of attention maps and losses, proven by central differences of their forward references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "gradient_problem.h"

static double x[MOST], y[MOST], z[MOST], g[MOST], d[MOST], m[MOST];

static void softmax(void **state)
{
    (void)state;
    static const struct { uint32_t rows, channels; float scale; } shapes[] = { { 4, 7, 3 }, { 3, 5, -1.5f }, { 2, 2, 1 } };
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t rows = shapes[i].rows, channels = shapes[i].channels;
        const struct view v = dense(channels);
        problem q = { .op = BL_OP_softmax_fwd, .v = { x, y }, .y = y, .g = g, .outputs = (size_t)rows * channels,
            .p.softmax_fwd = { .x = v, .y = v, .rows = rows, .channels = channels, .scale = shapes[i].scale } };
        fill(x, q.outputs, 0, 1);
        fill(g, q.outputs, 0, 1);
        loss(&q); /* for y */
        REF(softmax_bwd_x, ((struct softmax_bwd_params){ .y = v, .g = v, .d = v, .rows = rows, .channels = channels,
            .scale = shapes[i].scale }), y, g, d);
        assert_gradient(loss, &q, x, q.outputs, 1, d, 1e-6);
    }
}

/* A constant is what one column always is. */
static void softmax_of_one_column(void **state)
{
    (void)state;
    double one[3] = { 1, 1, 1 }, any[3] = { 2, -3, 0.5 }, got[3];
    const struct view v = dense(1);
    REF(softmax_bwd_x, ((struct softmax_bwd_params){ .y = v, .g = v, .d = v, .rows = 3, .channels = 1, .scale = 100 }), one, any, got);
    for (size_t i = 0; i < 3; i++)
        assert_true(got[i] == 0);
}

static void heads_mean(void **state)
{
    (void)state;
    enum { HEADS = 3, ROWS = 4, CHANNELS = 5, COUNT = ROWS * CHANNELS };
    double s[2] = { 8, 0.125 };
    const struct view v = dense(CHANNELS);
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t with_r = i / 2, with_s = i % 2;
        problem q = { .op = BL_OP_heads_mean_fwd, .v = { x, with_r ? m : NULL, y }, .y = y, .g = g, .outputs = COUNT,
            .p.heads_mean_fwd = { .x = v, .r = v, .y = v, .heads = HEADS, .rows = ROWS, .channels = CHANNELS, .scale = -0.75f,
                .given = with_r << 1 } };
        fill(x, HEADS * COUNT, 0, 1);
        fill(m, COUNT, 0, 1);
        fill(g, COUNT, 0, 1);
        REF(heads_mean_bwd_x, ((struct heads_mean_bwd_params){ .g = v, .s = dense(2), .d = v, .heads = HEADS, .rows = ROWS,
            .channels = CHANNELS, .scale = -0.75f, .given = with_s << 1 }), g, with_s ? s : NULL, d);
        for (size_t k = 0; with_s && k < HEADS * COUNT; k++)
            d[k] /= s[0];
        assert_gradient(loss, &q, x, HEADS * COUNT, 1, d, 1e-8);
        if (with_r)
            assert_gradient(loss, &q, m, COUNT, 1, g, 1e-8); /* what was there before gets the gradient as it is */
    }
}

static void smooth(void **state)
{
    (void)state;
    static const uint32_t shapes[][3] = { { 2, 2, 1 }, { 2, 9, 2 }, { 5, 2, 1 }, { 3, 3, 4 }, { 6, 5, 2 } }; /* h, width, channels */
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t *s = shapes[i];
        const struct view v = dense(s[2]);
        problem q = { .op = BL_OP_smooth_fwd, .v = { x, y }, .y = y, .g = g, .outputs = (size_t)s[0] * s[1] * s[2],
            .p.smooth_fwd = { .x = v, .y = v, .h = s[0], .width = s[1], .channels = s[2], .edge = 0.21f, .centre = 0.58f } };
        fill(x, q.outputs, 0, 1);
        fill(g, q.outputs, 0, 1);
        fill(d, q.outputs, 9, 1); /* what was there before does not count */
        REF(smooth_bwd_x, ((struct smooth_bwd_params){ .g = v, .d = v, .h = s[0], .width = s[1], .channels = s[2], .edge = 0.21f,
            .centre = 0.58f }), g, d);
        assert_gradient(loss, &q, x, q.outputs, 1, d, 1e-8);
    }
}

/* --- the loss of peaks -------------------------------------------------------------------------------------------------- */

enum { ROWS = 11 };

static void peak_gradient(double *values, const double *mask, uint32_t channels, uint32_t mean, float scale, double *result, double *out)
{
    const struct view v = dense(channels);
    REF(peak_loss_fwd, ((struct peak_loss_params){ .x = v, .m = dense(1), .y = dense(1 + 2 * channels), .rows = ROWS, .channels = channels,
        .mean = mean, .given = mask ? 2 : 0 }), values, (double *)(uintptr_t)mask, result);
    REF(peak_loss_bwd_x, ((struct peak_loss_bwd_params){ .m = dense(1), .y = dense(1 + 2 * channels), .d = v, .rows = ROWS,
        .channels = channels, .mean = mean, .scale = scale, .given = mask ? 1 : 0 }), (double *)(uintptr_t)mask, result, out);
}

/* One word and several, the largest loss and the mean, with a mask and without; peaks are far from each other. */
static void peak_loss(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 24; i++) {
        const uint32_t channels = 1 + i / 4 % 3, mean = i % 2, masked = i / 2 % 2;
        const float scale = i < 12 ? 1 : -2.5f;
        double factor[7] = { (double)scale };
        uint32_t peaks = 0;
        problem q = { .op = BL_OP_peak_loss_fwd, .v = { x, masked ? m : NULL, z }, .y = z, .g = factor, .outputs = 1,
            .p.peak_loss_fwd = { .x = dense(channels), .m = dense(1), .y = dense(1 + 2 * channels), .rows = ROWS, .channels = channels,
                .mean = mean, .given = masked << 1 } };
        fill(x, ROWS * channels, 0.2, 0.2);
        fill(m, ROWS, 0.6, 0.4);
        m[3] = 0;
        for (uint32_t c = 0; c < channels; c++) /* in a row of its own */
            x[(5 + 2 * c) * channels + c] = 0.7 + 0.05 * c;
        m[5] = m[7] = m[9] = 0.9;
        peak_gradient(x, masked ? m : NULL, channels, mean, scale, z, d);
        assert_gradient(loss, &q, x, ROWS * channels, 1, d, 1e-8);
        for (size_t k = 0; k < ROWS * channels; k++)
            peaks += d[k] != 0;
        assert_int_equal(peaks, mean ? channels : 1);
    }
}

/* A word that has its peak gets no gradient any more; when all have, none does. */
static void peak_loss_reached(void **state)
{
    (void)state;
    enum { CHANNELS = 3 };
    double factor[7] = { 1 };
    problem q = { .op = BL_OP_peak_loss_fwd, .v = { x, NULL, z }, .y = z, .g = factor, .outputs = 1,
        .p.peak_loss_fwd = { .x = dense(CHANNELS), .y = dense(1 + 2 * CHANNELS), .rows = ROWS, .channels = CHANNELS, .mean = 1 } };
    fill(x, ROWS * CHANNELS, 0.2, 0.2);
    x[0 * CHANNELS + 0] = 1.5;
    x[4 * CHANNELS + 1] = 0.75;
    x[6 * CHANNELS + 2] = 1.25;
    peak_gradient(x, NULL, CHANNELS, 1, 1, z, d);
    assert_gradient(loss, &q, x, ROWS * CHANNELS, 1, d, 1e-8);
    assert_true(d[4 * CHANNELS + 1] < 0 && d[0] == 0 && d[6 * CHANNELS + 2] == 0);
    x[4 * CHANNELS + 1] = 1; /* exactly there counts as reached */
    for (uint32_t mean = 0; mean < 2; mean++) {
        peak_gradient(x, NULL, CHANNELS, mean, 1, z, d);
        assert_true(z[0] == 0);
        for (size_t k = 0; k < ROWS * CHANNELS; k++)
            assert_true(d[k] == 0);
    }
}

/* Of equal peaks and of equal words the first. */
static void peak_loss_of_equals(void **state)
{
    (void)state;
    enum { CHANNELS = 2 };
    for (size_t k = 0; k < ROWS * CHANNELS; k++)
        x[k] = 0.5;
    for (uint32_t mean = 0; mean < 2; mean++) {
        peak_gradient(x, NULL, CHANNELS, mean, 1, z, d);
        for (size_t k = 0; k < ROWS * CHANNELS; k++)
            assert_true(d[k] == (k == 0 ? (mean ? -0.5 : -1) : k == 1 && mean ? -0.5 : 0));
    }
}

/* --- cosine ------------------------------------------------------------------------------------------------------------- */

static void cosine(void **state)
{
    (void)state;
    static const struct { uint32_t rows, channels; float scale; } shapes[] = { { 1, 9, -1 }, { 4, 5, 2 }, { 3, 2, 0.5f } };
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const uint32_t rows = shapes[i].rows, channels = shapes[i].channels;
        const struct view v = dense(channels);
        double factor[4];
        problem q = { .op = BL_OP_cosine_fwd, .v = { x, y, z }, .y = z, .g = factor, .outputs = rows,
            .p.cosine_fwd = { .x = v, .y = v, .z = dense(1), .rows = rows, .channels = channels } };
        for (uint32_t r = 0; r < rows; r++)
            factor[r] = (double)shapes[i].scale;
        fill(x, (size_t)rows * channels, 0.3, 1);
        fill(y, (size_t)rows * channels, 0.5, 2);
        REF(cosine_bwd_x, ((struct cosine_bwd_params){ .x = v, .y = v, .d = v, .rows = rows, .channels = channels,
            .scale = shapes[i].scale }), x, y, d);
        assert_gradient(loss, &q, x, (size_t)rows * channels, 1, d, 1e-6);
    }
}

static void cosine_of_nothing(void **state)
{
    (void)state;
    double a[6] = { 0, 0, 1, 2, 3, 4 }, b[6] = { 1, 2, 0, 0, 4, -3 }, got[6];
    const struct view v = dense(2);
    REF(cosine_bwd_x, ((struct cosine_bwd_params){ .x = v, .y = v, .d = v, .rows = 3, .channels = 2, .scale = 1 }), a, b, got);
    for (size_t i = 0; i < 4; i++)
        assert_true(got[i] == 0);
    assert_true(fabs(got[4] - 4.0 / 25) < 1e-12 && fabs(got[5] + 3.0 / 25) < 1e-12); /* at right angles: y / (|x| |y|) */
}

/* --- the loss scale ----------------------------------------------------------------------------------------------------- */

static void scale_of(double *values, uint32_t count, float target, double s[2])
{
    REF(loss_scale_fwd, ((struct loss_scale_params){ .x = dense(1), .s = dense(2), .rows = count, .channels = 1, .target = target }),
        values, s);
}

static void loss_scale(void **state)
{
    (void)state;
    static const double tops[] = { 1, 2, 8, 8.000001, 15.99, 16, 16.001, 32, 0.7, 3e-5, 1e-12, 1e-30, 1e20, 6e30, 1e-35 };
    static const float targets[] = { 16, 1, 1024 };
    for (size_t i = 0; i < BL_COUNT(tops); i++)
        for (size_t k = 0; k < BL_COUNT(targets); k++)
            for (int sign = -1; sign <= 1; sign += 2) {
                double values[4] = { tops[i] / 3, sign * tops[i], 0, -tops[i] / 2 }, s[2];
                int exponent;
                scale_of(values, 4, targets[k], s);
                assert_true(frexp(s[0], &exponent) == 0.5 && s[0] * s[1] == 1);
                assert_true(s[0] * tops[i] <= (double)targets[k]);
                assert_true(s[0] * tops[i] > (double)targets[k] / 2 || s[0] == 0x1p120);
                assert_true(s[0] <= 0x1p120 && s[0] >= 0x1p-120);
            }
}

static void loss_scale_at_the_ends(void **state)
{
    (void)state;
    const struct { double x, scale; } ends[] = {
        { 0, 1 }, { -0.0, 1 }, { INFINITY, 1 }, { -INFINITY, 1 }, { NAN, 1 }, { 1e-45, 0x1p120 }, { 0x1p-116, 0x1p120 }, { 3e38, 0x1p-124 },
    };
    for (size_t i = 0; i < BL_COUNT(ends); i++) {
        double values[2] = { 0, ends[i].x }, s[2];
        scale_of(values, 2, 16, s);
        const double want = fmin(fmax(ends[i].scale, 0x1p-120), 0x1p120);
        assert_true(s[0] == want && s[1] == 1 / want);
    }
    double mixed[4] = { NAN, 4, -INFINITY, INFINITY }, s[2]; /* what is finite decides */
    scale_of(mixed, 4, 16, s);
    assert_true(s[0] == 4 && s[1] == 0.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax), cmocka_unit_test(softmax_of_one_column), cmocka_unit_test(heads_mean), cmocka_unit_test(smooth),
        cmocka_unit_test(peak_loss), cmocka_unit_test(peak_loss_reached), cmocka_unit_test(peak_loss_of_equals),
        cmocka_unit_test(cosine), cmocka_unit_test(cosine_of_nothing),
        cmocka_unit_test(loss_scale), cmocka_unit_test(loss_scale_at_the_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
