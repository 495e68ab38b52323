/* Schedulers: timestep tables, trajectories against closed forms, configurations, hostile ones.
 * (Against diffusers: test_scheduler_golden.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "file.h"
#include "noise.h"
#include "scheduler.h"

enum { TRAIN = 1000, CELLS = 4 * 8 * 8 };

static const bl_scheduler_config sd = {
    .kind = BL_SCHEDULER_DDIM, .spacing = BL_SPACING_LEADING, .prediction = BL_PREDICT_EPSILON, .betas = BL_BETAS_SCALED_LINEAR,
    .beta_start = 0.00085, .beta_end = 0.012, .train_steps = TRAIN, .steps_offset = 1, .order = 2, .original_steps = 50,
    .timestep_scaling = 10,
};

static bl_scheduler_config with(bl_scheduler_kind kind, bl_spacing spacing)
{
    bl_scheduler_config c = sd;
    c.kind = kind;
    c.spacing = spacing;
    return c;
}

/* The kernel that all schedulers run on, in double precision. */
typedef struct runner {
    double x[CELLS], saved[CELLS], h1[CELLS], h2[CELLS], h3[CELLS];
} runner;

static void run_step(runner *r, const bl_step *s, const double *e, const double *noise)
{
    for (size_t i = 0; i < CELLS; i++) {
        const double x = r->x[i], m = s->px * x + s->pe * e[i];
        r->x[i] = s->cx * x + s->cs * r->saved[i] + s->k0 * m + s->k1 * r->h1[i] + s->k2 * r->h2[i] + s->k3 * r->h3[i] +
                  s->kn * (noise ? noise[i] : 0);
        if (s->push != 0) {
            r->h3[i] = r->h2[i];
            r->h2[i] = r->h1[i];
            r->h1[i] = m;
        }
        if (s->save != 0)
            r->saved[i] = x;
    }
}

/* --- timesteps ------------------------------------------------------------------------------------------------------ */

static void check_timesteps(const bl_schedule *s, const int *expected, size_t count)
{
    assert_int_equal(s->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal((int)s->steps[i].t, expected[i]);
}

static void small_tables(void **state)
{
    (void)state;
    static const struct { bl_scheduler_kind kind; bl_spacing spacing; uint32_t steps; double strength; size_t count; int t[8]; } rows[] = {
        { BL_SCHEDULER_DDIM, BL_SPACING_LEADING, 6, 1, 6, { 831, 665, 499, 333, 167, 1 } },
        { BL_SCHEDULER_PNDM, BL_SPACING_LEADING, 6, 1, 7, { 831, 665, 665, 499, 333, 167, 1 } },
        { BL_SCHEDULER_PNDM_DIFFUSERS, BL_SPACING_LEADING, 6, 1, 7, { 831, 665, 665, 499, 333, 167, 1 } },
        /* 1000/6 = 166.67: 1000, 833.3, 666.7, 500, 333.3, 166.7, each rounded, less 1 */
        { BL_SCHEDULER_DDIM, BL_SPACING_TRAILING, 6, 1, 6, { 999, 832, 666, 499, 332, 166 } },
        /* 62.5 is a tie in 1000 - 3 * 312.5 = 62.5: to even */
        { BL_SCHEDULER_DDIM, BL_SPACING_TRAILING, 16, 0.25, 4, { 249, 187, 124, 61 } },
        { BL_SCHEDULER_PNDM, BL_SPACING_TRAILING, 3, 1, 4, { 999, 666, 666, 332 } },
        /* 999/6 = 166.5: ties 166.5, 499.5 (and 832.5) to even */
        { BL_SCHEDULER_DDIM, BL_SPACING_LINSPACE, 7, 1, 7, { 999, 832, 666, 500, 333, 166, 0 } },
        { BL_SCHEDULER_PNDM, BL_SPACING_LINSPACE, 2, 1, 3, { 999, 0, 0 } },
        { BL_SCHEDULER_DDIM, BL_SPACING_LEADING, 1, 1, 1, { 1 } },
        { BL_SCHEDULER_PNDM, BL_SPACING_LEADING, 1, 1, 1, { 1 } },
        { BL_SCHEDULER_PNDM_DIFFUSERS, BL_SPACING_LEADING, 1, 1, 1, { 1 } },
        { BL_SCHEDULER_DDIM, BL_SPACING_TRAILING, 1, 1, 1, { 999 } },
        { BL_SCHEDULER_DDIM, BL_SPACING_LINSPACE, 1, 1, 1, { 0 } },
        /* image-to-image */
        { BL_SCHEDULER_DDIM, BL_SPACING_LEADING, 6, 0.5, 3, { 333, 167, 1 } },
        { BL_SCHEDULER_PNDM_DIFFUSERS, BL_SPACING_LEADING, 6, 0.5, 4, { 499, 333, 167, 1 } },
        { BL_SCHEDULER_PNDM, BL_SPACING_LEADING, 6, 0.5, 5, { 499, 333, 333, 167, 1 } },
        { BL_SCHEDULER_PNDM_DIFFUSERS, BL_SPACING_LEADING, 6, 0.9, 6, { 665, 665, 499, 333, 167, 1 } },
        { BL_SCHEDULER_PNDM, BL_SPACING_LEADING, 6, 0.9, 6, { 665, 499, 499, 333, 167, 1 } },
        { BL_SCHEDULER_PNDM, BL_SPACING_LEADING, 6, 0.2, 3, { 167, 1, 1 } },
        /* linspace: not rounded, a float is cut here */
        { BL_SCHEDULER_EULER, BL_SPACING_LINSPACE, 5, 1, 5, { 999, 749, 499, 249, 0 } },
        { BL_SCHEDULER_EULER, BL_SPACING_LEADING, 6, 0.5, 3, { 333, 167, 1 } },
        { BL_SCHEDULER_EULER_ANCESTRAL, BL_SPACING_TRAILING, 4, 1, 4, { 999, 749, 499, 249 } },
        /* the range in one part more, the last left out */
        { BL_SCHEDULER_DPMPP_2M, BL_SPACING_LEADING, 6, 1, 6, { 853, 711, 569, 427, 285, 143 } },
        { BL_SCHEDULER_DPMPP_2M, BL_SPACING_LINSPACE, 1, 1, 1, { 999 } },
        { BL_SCHEDULER_DPMPP_2M, BL_SPACING_LINSPACE, 4, 0.5, 2, { 500, 250 } },
        { BL_SCHEDULER_DPMPP_2M, BL_SPACING_TRAILING, 2, 1, 2, { 999, 499 } },
        /* every 20th of training, the 50 of them in n parts */
        { BL_SCHEDULER_LCM, BL_SPACING_LEADING, 4, 1, 4, { 999, 759, 499, 259 } },
        { BL_SCHEDULER_LCM, BL_SPACING_LEADING, 1, 1, 1, { 999 } },
        { BL_SCHEDULER_LCM, BL_SPACING_LEADING, 8, 0.5, 4, { 499, 379, 259, 139 } },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        const bl_scheduler_config c = with(rows[i].kind, rows[i].spacing);
        bl_schedule s;
        assert_int_equal(bl_schedule_create(&c, rows[i].steps, rows[i].strength, 0, 7.5f, &s), BL_OK);
        check_timesteps(&s, rows[i].t, rows[i].count);
        bl_schedule_free(&s);
    }
}

/* 200 steps at strength 0.3, the authors' setting. */
static void tables_of_200_steps(void **state)
{
    (void)state;
    int labels[62], correct[62];
    for (int i = 0; i < 62; i++) {
        labels[i] = 301 - 5 * i;
        correct[i] = 301 - 5 * (i < 2 ? i : i - 1);
    }
    bl_schedule s;
    bl_scheduler_config c = with(BL_SCHEDULER_PNDM_DIFFUSERS, BL_SPACING_LEADING);
    assert_int_equal(bl_schedule_create(&c, 200, 0.3, 0, 12.5f, &s), BL_OK);
    check_timesteps(&s, labels, 61);
    bl_schedule_free(&s);
    double alphas[TRAIN];
    assert_int_equal(bl_scheduler_alphas(&c, alphas), BL_OK);
    assert_int_equal(bl_schedule_create(&c, 200, 0.3, 0, 12.5f, &s), BL_OK);
    bl_schedule_blend_before(&s); /* at the levels of the labels, which are one step ahead */
    for (uint32_t i = 0; i < s.count; i++)
        assert_true(s.steps[i].blend_x == (float)sqrt(alphas[labels[i]]) && s.steps[i].blend_n == (float)sqrt(1 - alphas[labels[i]]));
    bl_schedule_free(&s);
    c.kind = BL_SCHEDULER_PNDM;
    assert_int_equal(bl_schedule_create(&c, 200, 0.3, 0, 12.5f, &s), BL_OK);
    check_timesteps(&s, correct, 62);
    assert_true(s.steps[0].guidance == 12.5f && s.steps[61].guidance == 12.5f);
    bl_schedule_free(&s);
}

/* Any number of steps gives a descending table inside the training range with finite coefficients, whole or from anywhere; or is refused
 * where the range has no room: LCM beyond the steps it was distilled for, DPM-Solver's "leading" where a timestep would come twice. */
static void every_table_is_sound(void **state)
{
    (void)state;
    for (int kind = 0; kind < BL_SCHEDULER_COUNT; kind++)
        for (int spacing = BL_SPACING_LEADING; spacing <= BL_SPACING_LINSPACE; spacing++)
            for (uint32_t n = 1; n < TRAIN; n += n < 130 ? 1 : 87) {
                const bl_scheduler_config c = with((bl_scheduler_kind)kind, (bl_spacing)spacing);
                const bool pndm = kind == BL_SCHEDULER_PNDM || kind == BL_SCHEDULER_PNDM_DIFFUSERS;
                bl_schedule s;
                const double strength = n % 3 ? 1 : 0.4;
                if (kind == BL_SCHEDULER_LCM && n > 50) {
                    assert_int_equal(bl_schedule_create(&c, n, strength, 0, 1, &s), BL_ERROR_USAGE);
                    continue;
                }
                assert_int_equal(bl_schedule_create(&c, n, strength, 0, 1, &s), BL_OK);
                const uint32_t run = (uint32_t)(n * strength + 1e-9);
                if (!pndm)
                    assert_int_equal(s.count, run);
                for (uint32_t i = 0; i < s.count; i++) {
                    const float *f = (const float *)&s.steps[i];
                    for (size_t j = 0; j < sizeof(bl_step) / sizeof(float); j++)
                        assert_true(isfinite(f[j]));
                    assert_true(s.steps[i].t >= 0 && s.steps[i].t < TRAIN);
                    assert_true(!i || s.steps[i].t < s.steps[i - 1].t || (pndm && i <= 2));
                    assert_true(!i || s.steps[i].blend_x >= s.steps[i - 1].blend_x);
                    assert_true(s.noisy || s.steps[i].kn == 0);
                }
                assert_true(s.steps[s.count - 1].blend_x == 1 && s.steps[s.count - 1].blend_n == 0);
                assert_int_equal(s.noisy, (kind == BL_SCHEDULER_EULER_ANCESTRAL || kind == BL_SCHEDULER_LCM) && s.count > 1);
                bl_schedule_free(&s);
            }
}

/* A float strength means its decimal: 0.7f * 10 is 6.9999999 in double. */
static void strength_counts_steps(void **state)
{
    (void)state;
    static const struct { uint32_t steps; double strength; uint32_t count; } rows[] = {
        { 10, 0.7, 7 }, { 10, 0.7f, 7 }, { 100, 0.29, 28 }, { 100, 0.29f, 28 }, { 50, 0.5f, 25 }, { 30, 0.1f, 3 }, { 3, 0.34, 1 },
        { 10, 0.99, 9 }, { 10, 1, 10 },
    }; /* 100 * 0.29 is 28.999999999999996, and int() of it 28 */
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        bl_schedule s;
        assert_int_equal(bl_schedule_create(&sd, rows[i].steps, rows[i].strength, 0, 1, &s), BL_OK);
        assert_int_equal(s.count, rows[i].count);
        bl_schedule_free(&s);
    }
}

/* --- exactness ------------------------------------------------------------------------------------------------------ */

/* When the model is always right about one fixed (x0, noise) pair, x must stay on sqrt(abar) x0 + sqrt(1 - abar) noise, the last level
 * included: what DDIM with eta 0 is derived from. A constant output makes PLMS exact too, whatever its history. The blend coefficients
 * describe the same levels. */
static void exact_model_stays_on_the_path(void **state)
{
    (void)state;
    double alphas[TRAIN];
    assert_int_equal(bl_scheduler_alphas(&sd, alphas), BL_OK);
    static const struct { bl_scheduler_kind kind; bl_prediction prediction; bool one; uint32_t steps; double strength; } rows[] = {
        { BL_SCHEDULER_DDIM, BL_PREDICT_EPSILON, false, 10, 1 }, { BL_SCHEDULER_DDIM, BL_PREDICT_EPSILON, true, 50, 0.5 },
        { BL_SCHEDULER_DDIM, BL_PREDICT_V, false, 10, 1 },       { BL_SCHEDULER_DDIM, BL_PREDICT_V, true, 7, 0.6 },
        { BL_SCHEDULER_PNDM, BL_PREDICT_EPSILON, false, 10, 1 }, { BL_SCHEDULER_PNDM, BL_PREDICT_EPSILON, true, 20, 0.3 },
    };
    for (size_t row = 0; row < BL_COUNT(rows); row++) {
        bl_scheduler_config c = with(rows[row].kind, BL_SPACING_LEADING);
        c.prediction = rows[row].prediction;
        c.set_alpha_to_one = rows[row].one;
        bl_schedule s;
        assert_int_equal(bl_schedule_create(&c, rows[row].steps, rows[row].strength, 0, 1, &s), BL_OK);
        float x0[CELLS], noise[CELLS];
        double e[CELLS];
        runner r = { .x = { 0 } };
        bl_noise_normal(1, 0, 0, CELLS, x0);
        bl_noise_normal(2, 0, 0, CELLS, noise);
        for (size_t i = 0; i < CELLS; i++)
            r.x[i] = s.start_x * (double)x0[i] + s.start_n * (double)noise[i];
        for (uint32_t k = 0; k < s.count; k++) {
            /* PNDM's second evaluation goes to its own timestep. */
            const int next = (int)s.steps[k].t - (rows[row].kind == BL_SCHEDULER_PNDM && k == 1 ? 0 : TRAIN / (int)rows[row].steps);
            const double a = alphas[(int)s.steps[k].t], p = next >= 0 ? alphas[next] : rows[row].one ? 1 : alphas[0];
            for (size_t i = 0; i < CELLS; i++)
                e[i] = rows[row].prediction == BL_PREDICT_V ? sqrt(a) * noise[i] - sqrt(1 - a) * x0[i] : noise[i];
            run_step(&r, &s.steps[k], e, NULL);
            for (size_t i = 0; i < CELLS; i++)
                assert_true(fabs(r.x[i] - (sqrt(p) * x0[i] + sqrt(1 - p) * noise[i])) < 5e-6);
            if (k + 1 < s.count) {
                assert_true(fabs(s.steps[k].blend_x - sqrt(p)) < 1e-7);
                assert_true(fabs(s.steps[k].blend_n - sqrt(1 - p)) < 1e-7);
            }
        }
        bl_schedule_free(&s);
    }
}

/* The same of those with levels of their own, whatever the spacing, the order and the end; what a step blends to is where it leads. */
static void other_levels_stay_on_the_path(void **state)
{
    (void)state;
    for (int row = 0; row < 3 * 2 * 2 * 2 * 2; row++) {
        bl_scheduler_config c = with(row & 1 ? BL_SCHEDULER_EULER : BL_SCHEDULER_DPMPP_2M, (bl_spacing)(row / 16));
        c.prediction = row & 2 ? BL_PREDICT_V : BL_PREDICT_EPSILON;
        c.karras = row & 4;
        c.final_sigma_zero = row & 8;
        c.heun = row & 8;
        bl_schedule s;
        assert_int_equal(bl_schedule_create(&c, 17, row & 4 ? 1 : 0.6, 0, 1, &s), BL_OK);
        float x0[CELLS], noise[CELLS];
        double e[CELLS], alphas[TRAIN];
        runner r = { .x = { 0 } };
        assert_int_equal(bl_scheduler_alphas(&c, alphas), BL_OK);
        bl_noise_normal(1, 0, 0, CELLS, x0);
        bl_noise_normal(2, 0, 0, CELLS, noise);
        for (size_t i = 0; i < CELLS; i++)
            r.x[i] = s.start_x * (double)x0[i] + s.start_n * (double)noise[i];
        for (uint32_t k = 0; k < s.count; k++) {
            const double a = s.abar[k], last = c.final_sigma_zero ? 1 : alphas[0];
            for (size_t i = 0; i < CELLS; i++)
                e[i] = c.prediction == BL_PREDICT_V ? sqrt(a) * noise[i] - sqrt(1 - a) * x0[i] : noise[i];
            run_step(&r, &s.steps[k], e, NULL);
            const bool end = k + 1 == s.count;
            const double sx = end ? sqrt(last) : s.steps[k].blend_x, sn = end ? sqrt(1 - last) : s.steps[k].blend_n;
            for (size_t i = 0; i < CELLS; i++)
                assert_true(fabs(r.x[i] - (sx * x0[i] + sn * noise[i])) < 5e-6);
        }
        bl_schedule_blend_before(&s);
        for (uint32_t k = 0; k < s.count; k++)
            assert_true(s.steps[k].blend_x == (float)sqrt(s.abar[k]));
        bl_schedule_free(&s);
    }
}

/* Euler on x / sqrt(abar), as it is published, is DDIM on x: between the same levels the rows are the same, ancestral noise is eta 1. */
static void euler_is_ddim(void **state)
{
    (void)state;
    for (int row = 0; row < 8; row++) {
        bl_scheduler_config c = sd;
        bl_schedule ddim, euler;
        c.set_alpha_to_one = c.final_sigma_zero = true;
        c.prediction = row & 1 ? BL_PREDICT_V : BL_PREDICT_EPSILON;
        assert_int_equal(bl_schedule_create(&c, 20, row & 2 ? 1 : 0.35, row & 4 ? 1 : 0, 1, &ddim), BL_OK);
        c.kind = row & 4 ? BL_SCHEDULER_EULER_ANCESTRAL : BL_SCHEDULER_EULER;
        assert_int_equal(bl_schedule_create(&c, 20, row & 2 ? 1 : 0.35, 0, 1, &euler), BL_OK);
        assert_int_equal(euler.count, ddim.count);
        assert_true(euler.start_x == ddim.start_x && euler.start_n == ddim.start_n && euler.init_sigma == 1);
        for (uint32_t k = 0; k < euler.count; k++) {
            const float *a = (const float *)&ddim.steps[k], *b = (const float *)&euler.steps[k];
            for (size_t i = 0; i < sizeof(bl_step) / sizeof(float); i++)
                assert_true(fabsf(a[i] - b[i]) <= 1e-6f * fabsf(a[i]) + 1e-12f);
            /* and as published, from sigma to sigma_down, then noise of sigma_up; on its own scale, for noise 1 and data 0 */
            const bool end = k + 1 == euler.count;
            const double s = sqrt((1 - euler.abar[k]) / euler.abar[k]), to = end ? 0 : sqrt(1 / euler.abar[k + 1] - 1);
            const double up = row & 4 ? sqrt(to * to * (s * s - to * to) / (s * s)) : 0, down = sqrt(to * to - up * up);
            const double x = (s + (down - s)) * sqrt(end ? 1 : euler.abar[k + 1]); /* e = 1 */
            const double e = c.prediction == BL_PREDICT_V ? sqrt(euler.abar[k]) : 1; /* v of noise 1, data 0 */
            const double ours = (double)euler.steps[k].cx * sqrt(1 - euler.abar[k]) + (double)euler.steps[k].k0 * e;
            assert_true(fabs(ours - x) < 1e-6);
            assert_true(fabs((double)euler.steps[k].kn - up * sqrt(end ? 1 : euler.abar[k + 1])) < 1e-6);
        }
        bl_schedule_free(&ddim);
        bl_schedule_free(&euler);
    }
}

/* Data N(0, d^2) has the exact model epsilon = sqrt(1 - abar) x / (abar d^2 + 1 - abar), and the probability flow carries x to
 * x sqrt(v_end / v_start) with v = abar d^2 + 1 - abar. Returns the relative error at the end. */
static double gaussian_error(bl_scheduler_kind kind, bl_prediction prediction, uint32_t steps, double strength)
{
    const double d2 = 0.25;
    double alphas[TRAIN];
    bl_scheduler_config c = with(kind, BL_SPACING_LEADING);
    c.prediction = prediction;
    bl_schedule s;
    assert_int_equal(bl_scheduler_alphas(&c, alphas), BL_OK);
    assert_int_equal(bl_schedule_create(&c, steps, strength, 0, 1, &s), BL_OK);
    runner r = { .x = { 1 } };
    double e[CELLS] = { 0 };
    const double first = alphas[(int)s.steps[0].t] * (d2 - 1) + 1, last = alphas[0] * (d2 - 1) + 1;
    for (uint32_t k = 0; k < s.count; k++) {
        const double a = alphas[(int)s.steps[k].t], eps = sqrt(1 - a) * r.x[0] / (a * d2 + 1 - a);
        e[0] = prediction == BL_PREDICT_V ? (eps - sqrt(1 - a) * r.x[0]) / sqrt(a) : eps;
        run_step(&r, &s.steps[k], e, NULL);
    }
    bl_schedule_free(&s);
    return fabs(r.x[0] / sqrt(last / first) - 1);
}

/* Twice the steps divide the error by 2 (DDIM) or nearly 4 (PLMS, whose start is of second order); DDIM does the same for epsilon and v.
 * The diffusers start in mid-table, one label ahead, is worse than the correct one. */
static void error_falls_with_the_order(void **state)
{
    (void)state;
    const double ddim25 = gaussian_error(BL_SCHEDULER_DDIM, BL_PREDICT_EPSILON, 25, 1);
    const double ddim50 = gaussian_error(BL_SCHEDULER_DDIM, BL_PREDICT_EPSILON, 50, 1);
    const double pndm25 = gaussian_error(BL_SCHEDULER_PNDM, BL_PREDICT_EPSILON, 25, 1);
    const double pndm50 = gaussian_error(BL_SCHEDULER_PNDM, BL_PREDICT_EPSILON, 50, 1);
    assert_true(ddim25 / ddim50 > 1.8 && ddim25 / ddim50 < 2.3);
    assert_true(pndm25 / pndm50 > 3.5);
    assert_true(pndm50 < 0.1 * ddim50);
    /* Evenly spaced timesteps are widest in lambda at the end: DPM-Solver shows its order late. */
    const double dpm110 = gaussian_error(BL_SCHEDULER_DPMPP_2M, BL_PREDICT_EPSILON, 110, 1);
    const double dpm220 = gaussian_error(BL_SCHEDULER_DPMPP_2M, BL_PREDICT_EPSILON, 220, 1);
    assert_true(dpm110 / dpm220 > 2.5);
    assert_true(dpm220 < 0.6 * gaussian_error(BL_SCHEDULER_EULER, BL_PREDICT_EPSILON, 220, 1));
    assert_true(fabs(gaussian_error(BL_SCHEDULER_DDIM, BL_PREDICT_V, 50, 1) - ddim50) < 1e-5);
    for (uint32_t steps = 25; steps <= 200; steps *= 2)
        assert_true(gaussian_error(BL_SCHEDULER_PNDM, BL_PREDICT_EPSILON, steps, 0.5) <
                    0.5 * gaussian_error(BL_SCHEDULER_PNDM_DIFFUSERS, BL_PREDICT_EPSILON, steps, 0.5));
}

/* PLMS written out as its papers and diffusers do, with a list of outputs and a counter, for one number. */
static double plms(const double *alphas, bl_prediction prediction, int stride, const int *times, uint32_t count, double x)
{
    double history[4] = { 0 }, saved = 0;
    for (uint32_t i = 0; i < count; i++) {
        const double out = 0.3 * x * cos(times[i]), *h = history;
        int from = times[i], to = from - stride;
        double e = out;
        if (i == 1) {
            to = from;
            from += stride;
            e = (out + h[0]) / 2;
            x = saved;
        } else {
            memmove(history + 1, history, 3 * sizeof(double));
            history[0] = out;
            if (i == 0)
                saved = x;
            else if (i == 2)
                e = (3 * h[0] - h[1]) / 2;
            else if (i == 3)
                e = (23 * h[0] - 16 * h[1] + 5 * h[2]) / 12;
            else
                e = (55 * h[0] - 59 * h[1] + 37 * h[2] - 9 * h[3]) / 24;
        }
        const double a = alphas[from], p = alphas[to < 0 ? 0 : to];
        if (prediction == BL_PREDICT_V) /* the mean of the outputs is converted, with the sample that is stepped */
            e = sqrt(a) * e + sqrt(1 - a) * x;
        x = sqrt(p / a) * x - (p - a) * e / (a * sqrt(1 - p) + sqrt(a * (1 - a) * p));
    }
    return x;
}

static void table_runs_plms(void **state)
{
    (void)state;
    double alphas[TRAIN];
    assert_int_equal(bl_scheduler_alphas(&sd, alphas), BL_OK);
    static const struct { bl_scheduler_kind kind; double strength; uint32_t count; int times[11]; } rows[] = {
        { BL_SCHEDULER_PNDM, 1, 11, { 901, 801, 801, 701, 601, 501, 401, 301, 201, 101, 1 } },
        { BL_SCHEDULER_PNDM, 0.6, 8, { 601, 501, 501, 401, 301, 201, 101, 1 } },
        { BL_SCHEDULER_PNDM_DIFFUSERS, 0.6, 7, { 601, 501, 401, 301, 201, 101, 1 } },
        { BL_SCHEDULER_PNDM_DIFFUSERS, 0.9, 10, { 801, 801, 701, 601, 501, 401, 301, 201, 101, 1 } },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++)
        for (int prediction = BL_PREDICT_EPSILON; prediction <= BL_PREDICT_V; prediction++) {
            bl_scheduler_config c = with(rows[i].kind, BL_SPACING_LEADING);
            c.prediction = (bl_prediction)prediction;
            bl_schedule s;
            assert_int_equal(bl_schedule_create(&c, 10, rows[i].strength, 0, 1, &s), BL_OK);
            check_timesteps(&s, rows[i].times, rows[i].count);
            runner r = { .x = { 1 } };
            double e[CELLS] = { 0 };
            for (uint32_t k = 0; k < s.count; k++) {
                e[0] = 0.3 * r.x[0] * cos(s.steps[k].t);
                run_step(&r, &s.steps[k], e, NULL);
            }
            assert_true(fabs(r.x[0] / plms(alphas, c.prediction, 100, rows[i].times, rows[i].count, 1) - 1) < 2e-6);
            bl_schedule_free(&s);
        }
}

/* With eta the noise that a step adds makes up for what it takes from the direction: for the exact pair the variance of x around
 * sqrt(abar) x0 stays 1 - abar. eta 1 is the ancestral step of DDPM. */
static void eta_keeps_the_variance(void **state)
{
    (void)state;
    double alphas[TRAIN];
    bl_schedule s;
    assert_int_equal(bl_scheduler_alphas(&sd, alphas), BL_OK);
    for (int eta = 0; eta <= 4; eta++) {
        assert_int_equal(bl_schedule_create(&sd, 25, 1, eta / 4.0, 1, &s), BL_OK);
        for (uint32_t k = 0; k < s.count; k++) {
            const bl_step *p = &s.steps[k];
            const double a = alphas[(int)p->t], to = p->t >= 40 ? alphas[(int)p->t - 40] : alphas[0];
            const double of_noise = p->cx * sqrt(1 - a) + p->k0;
            assert_true(fabs(of_noise * of_noise + (double)p->kn * p->kn - (1 - to)) < 1e-6);
            if (eta == 4) /* DDPM's posterior variance */
                assert_true(fabs(p->kn - sqrt((1 - to) / (1 - a) * (1 - a / to))) < 1e-7);
            else if (eta == 0)
                assert_true(p->kn == 0);
        }
        bl_schedule_free(&s);
    }
}

/* Endpoints of the three beta schedules; the cosine one against libm. */
static void noise_levels(void **state)
{
    (void)state;
    double alphas[TRAIN];
    bl_scheduler_config c = sd;
    assert_int_equal(bl_scheduler_alphas(&c, alphas), BL_OK);
    assert_true(fabs(alphas[0] - (1 - 0.00085)) < 1e-15);
    assert_true(fabs(alphas[999] / alphas[998] - (1 - 0.012)) < 1e-15);
    const double middle = 0.5 * (sqrt(0.00085) + sqrt(0.012)) + 0.5 / 999 * (sqrt(0.012) - sqrt(0.00085));
    assert_true(fabs(alphas[500] / alphas[499] - (1 - middle * middle)) < 1e-15);
    c.betas = BL_BETAS_LINEAR;
    assert_int_equal(bl_scheduler_alphas(&c, alphas), BL_OK);
    assert_true(fabs(alphas[500] / alphas[499] - (1 - (0.00085 + 500 / 999.0 * (0.012 - 0.00085)))) < 1e-15);
    c.betas = BL_BETAS_SQUAREDCOS_CAP_V2;
    assert_int_equal(bl_scheduler_alphas(&c, alphas), BL_OK);
    const double half_pi = acos(0.0), base = pow(cos(0.008 / 1.008 * half_pi), 2);
    for (int k = 0; k < 999; k++) {
        const double expected = pow(cos(((k + 1) / 1000.0 + 0.008) / 1.008 * half_pi), 2) / base;
        assert_true(fabs(alphas[k] - expected) < 1e-12);
    }
    assert_true(fabs(alphas[999] / alphas[998] - 0.001) < 1e-12);
}

/* --- arguments and configurations ------------------------------------------------------------------------------------ */

static void bad_arguments(void **state)
{
    (void)state;
    static const struct { bl_scheduler_kind kind; uint32_t steps; double strength, eta; float guidance; const char *says; } rows[] = {
        { BL_SCHEDULER_DDIM, 0, 1, 0, 1, "0 steps" },
        { BL_SCHEDULER_DDIM, 1001, 1, 0, 1, "1001 steps" },
        { BL_SCHEDULER_DDIM, UINT32_MAX, 1, 0, 1, "4294967295 steps" },
        { BL_SCHEDULER_DDIM, 1000, 1, 0, 1, "beyond timestep 999" },
        { BL_SCHEDULER_DDIM, 10, 0, 0, 1, "strength 0" },
        { BL_SCHEDULER_DDIM, 10, -0.5, 0, 1, "strength -0.5" },
        { BL_SCHEDULER_DDIM, 10, 1.01, 0, 1, "strength 1.01" },
        { BL_SCHEDULER_DDIM, 10, NAN, 0, 1, "strength nan" },
        { BL_SCHEDULER_DDIM, 10, 0.09, 0, 1, "leaves none" },
        { BL_SCHEDULER_PNDM, 10, 0.09, 0, 1, "leaves none" },
        { BL_SCHEDULER_PNDM_DIFFUSERS, 10, 0.09, 0, 1, "leaves none" },
        { BL_SCHEDULER_DDIM, 10, 1, -0.1, 1, "eta -0.1" },
        { BL_SCHEDULER_DDIM, 10, 1, 1.1, 1, "eta 1.1" },
        { BL_SCHEDULER_DDIM, 10, 1, NAN, 1, "eta nan" },
        { BL_SCHEDULER_PNDM, 10, 1, 0.5, 1, "scheduler pndm has no eta" },
        { BL_SCHEDULER_EULER_ANCESTRAL, 10, 1, 0.5, 1, "scheduler euler-a has no eta" },
        { BL_SCHEDULER_EULER, 0, 1, 0, 1, "0 steps" },
        { BL_SCHEDULER_EULER, 1000, 1, 0, 1, "beyond timestep 999" },
        { BL_SCHEDULER_EULER_ANCESTRAL, 1001, 1, 0, 1, "1001 steps" },
        { BL_SCHEDULER_DPMPP_2M, 0, 1, 0, 1, "0 steps" },
        { BL_SCHEDULER_DPMPP_2M, 1000, 1, 0, 1, "spacing leading repeat timestep 1" },
        { BL_SCHEDULER_DPMPP_2M, 1001, 1, 0, 1, "1001 steps" },
        { BL_SCHEDULER_LCM, 0, 1, 0, 1, "0 steps" },
        { BL_SCHEDULER_LCM, 51, 1, 0, 1, "51 steps: scheduler lcm runs at most 50" },
        { BL_SCHEDULER_LCM, 8, 0.1, 0, 1, "leaves none" },
        { BL_SCHEDULER_DDIM, 10, 1, 0, INFINITY, "guidance inf" },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        const bl_scheduler_config c = with(rows[i].kind, BL_SPACING_LEADING);
        bl_schedule s;
        memset(&s, 0x55, sizeof(s));
        assert_int_equal(bl_schedule_create(&c, rows[i].steps, rows[i].strength, rows[i].eta, rows[i].guidance, &s), BL_ERROR_USAGE);
        assert_non_null(strstr(bl_last_error(), rows[i].says));
        assert_null(s.steps);
        assert_int_equal(s.count, 0);
    }
    /* No entry at or beyond the end of the table; one before it. */
    static const struct { bl_scheduler_kind kind; uint32_t entries; } ends[] = {
        { BL_SCHEDULER_DDIM, 10 }, { BL_SCHEDULER_PNDM, 11 }, { BL_SCHEDULER_PNDM_DIFFUSERS, 11 }, { BL_SCHEDULER_EULER, 10 },
        { BL_SCHEDULER_EULER_ANCESTRAL, 10 }, { BL_SCHEDULER_DPMPP_2M, 10 }, { BL_SCHEDULER_LCM, 10 },
    };
    for (size_t i = 0; i < BL_COUNT(ends); i++) {
        const bl_scheduler_config c = with(ends[i].kind, BL_SPACING_LEADING);
        bl_schedule s;
        assert_int_equal(bl_schedule_create_from(&c, 10, ends[i].entries - 1, 0, 1, &s), BL_OK);
        assert_int_equal(s.count, 1);
        bl_schedule_free(&s);
        assert_int_equal(bl_schedule_create_from(&c, 10, ends[i].entries, 0, 1, &s), BL_ERROR_USAGE);
        assert_int_equal(bl_schedule_create_from(&c, 10, UINT32_MAX, 0, 1, &s), BL_ERROR_USAGE);
    }
}

static bl_result read_text(const char *text, bl_scheduler_config *out)
{
    char path[] = "/tmp/bl_scheduler_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "wb");
    assert_non_null(f);
    assert_true(fwrite(text, 1, strlen(text), f) == strlen(text));
    assert_int_equal(fclose(f), 0);
    const bl_result r = bl_scheduler_config_read(path, out);
    remove(path);
    return r;
}

#define DDIM "\"_class_name\": \"DDIMScheduler\""
#define PNDM "\"_class_name\": \"PNDMScheduler\", \"skip_prk_steps\": true"
#define EULER "\"_class_name\": \"EulerDiscreteScheduler\""
#define DPM "\"_class_name\": \"DPMSolverMultistepScheduler\""

static void good_configurations(void **state)
{
    (void)state;
    bl_scheduler_config c;
    assert_int_equal(read_text("{" PNDM ", \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085,"
                               "\"num_train_timesteps\": 1000, \"set_alpha_to_one\": false, \"steps_offset\": 1, \"trained_betas\": null,"
                               "\"clip_sample\": false, \"_diffusers_version\": \"0.21.1\"}", &c), BL_OK);
    assert_int_equal(c.kind, BL_SCHEDULER_PNDM);
    assert_int_equal(c.betas, BL_BETAS_SCALED_LINEAR);
    assert_int_equal(c.spacing, BL_SPACING_LEADING);
    assert_int_equal(c.prediction, BL_PREDICT_EPSILON);
    assert_true(c.beta_start == 0.00085 && c.beta_end == 0.012 && c.train_steps == 1000 && c.steps_offset == 1);
    assert_false(c.set_alpha_to_one);
    assert_string_equal(c.problem, "");

    assert_int_equal(read_text("{" DDIM "}", &c), BL_OK);
    assert_int_equal(c.kind, BL_SCHEDULER_DDIM);
    assert_int_equal(c.betas, BL_BETAS_LINEAR);
    assert_true(c.beta_start == 0.0001 && c.beta_end == 0.02 && c.train_steps == 1000 && c.steps_offset == 1 && c.set_alpha_to_one);

    assert_int_equal(read_text("{" DDIM ", \"prediction_type\": \"v_prediction\", \"timestep_spacing\": \"trailing\","
                               "\"beta_schedule\": \"squaredcos_cap_v2\", \"steps_offset\": 0, \"beta_end\": 0.5}", &c), BL_OK);
    assert_int_equal(c.prediction, BL_PREDICT_V);
    assert_int_equal(c.spacing, BL_SPACING_TRAILING);
    assert_int_equal(c.betas, BL_BETAS_SQUAREDCOS_CAP_V2);
    assert_int_equal(c.steps_offset, 0);

    /* Defaults of each class, and Python's way to write an infinite number. */
    assert_int_equal(read_text("{" EULER ", \"use_karras_sigmas\": true, \"interpolation_type\": \"linear\", \"sigma_min\": null}", &c),
                     BL_OK);
    assert_int_equal(c.kind, BL_SCHEDULER_EULER);
    assert_int_equal(c.spacing, BL_SPACING_LINSPACE);
    assert_true(c.karras && c.final_sigma_zero && bl_scheduler_is_karras(&c) && !c.problem[0]);
    assert_int_equal(read_text("{\"_class_name\": \"EulerAncestralDiscreteScheduler\", \"use_karras_sigmas\": true}", &c), BL_OK);
    assert_int_equal(c.kind, BL_SCHEDULER_EULER_ANCESTRAL);
    assert_false(bl_scheduler_is_karras(&c));
    assert_int_equal(read_text("{" DPM ", \"lambda_min_clipped\": -Infinity, \"solver_type\": \"heun\", \"solver_order\": 1,"
                               "\"final_sigmas_type\": \"sigma_min\", \"lower_order_final\": false, \"note\": \"-Infinity\"}", &c), BL_OK);
    assert_int_equal(c.kind, BL_SCHEDULER_DPMPP_2M);
    assert_int_equal(c.spacing, BL_SPACING_LINSPACE);
    assert_true(c.order == 1 && c.heun && !c.final_sigma_zero && !c.lower_order_final && !c.euler_at_final && !c.problem[0]);
    assert_int_equal(read_text("{\"_class_name\": \"LCMScheduler\"}", &c), BL_OK);
    assert_int_equal(c.kind, BL_SCHEDULER_LCM);
    assert_int_equal(c.betas, BL_BETAS_SCALED_LINEAR);
    assert_true(c.original_steps == 50 && c.timestep_scaling == 10 && c.beta_start == 0.00085 && c.beta_end == 0.012);
}

/* What the file does not say is the new class's own, as diffusers' from_config has it; what it says stays. */
static void defaults_follow_the_class(void **state)
{
    (void)state;
    bl_scheduler_config c;
    assert_int_equal(read_text("{" PNDM "}", &c), BL_OK);
    assert_int_equal(bl_scheduler_config_override(&c, "euler", NULL, false), BL_OK);
    assert_int_equal(c.spacing, BL_SPACING_LINSPACE);
    assert_int_equal(bl_scheduler_config_override(&c, "pndm", NULL, false), BL_OK);
    assert_int_equal(c.spacing, BL_SPACING_LEADING);
    assert_false(c.set_alpha_to_one);
    assert_int_equal(bl_scheduler_config_override(&c, "ddim", NULL, false), BL_OK);
    assert_true(c.set_alpha_to_one);
    assert_int_equal(read_text("{" PNDM ", \"timestep_spacing\": \"trailing\", \"set_alpha_to_one\": false}", &c), BL_OK);
    assert_int_equal(bl_scheduler_config_override(&c, "dpm++2m", NULL, true), BL_OK);
    assert_int_equal(c.spacing, BL_SPACING_TRAILING);
    assert_true(c.karras && c.final_sigma_zero && !c.set_alpha_to_one);
    assert_int_equal(bl_scheduler_config_override(&c, "ddim", NULL, true), BL_ERROR_USAGE);
    assert_non_null(strstr(bl_last_error(), "scheduler ddim has no Karras sigmas"));
    assert_int_equal(c.kind, BL_SCHEDULER_DPMPP_2M);
}

/* What the file's own scheduler cannot do is an error until another is named. */
static void another_scheduler_can_be_named(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } rows[] = {
        { "{\"_class_name\": \"LMSDiscreteScheduler\", \"timestep_spacing\": \"linspace\"}",
          "\"LMSDiscreteScheduler\" is not known; choose one, such as --scheduler ddim" },
        { "{\"_class_name\": \"UniPCMultistepScheduler\"}", "DDIMScheduler, PNDMScheduler, EulerDiscreteScheduler, "
          "EulerAncestralDiscreteScheduler, DPMSolverMultistepScheduler, LCMScheduler)" },
        { "{" DPM ", \"algorithm_type\": \"sde-dpmsolver++\"}", "algorithm_type sde-dpmsolver++ is not supported" },
        { "{" DPM ", \"use_lu_lambdas\": true}", "use_lu_lambdas" },
        { "{" DPM ", \"lambda_min_clipped\": -5.1}", "lambda_min_clipped" },
        { "{" DPM ", \"solver_order\": 3}", "solver_order 3" },
        { "{" EULER ", \"interpolation_type\": \"log_linear\"}", "interpolation_type log_linear" },
        { "{" EULER ", \"sigma_max\": 14.6}", "--scheduler euler" },
        { "{\"_class_name\": \"\"}", "not known" },
        { "{\"_class_name\": \"PNDMScheduler\"}", "skip_prk_steps" },
        { "{\"_class_name\": \"PNDMScheduler\", \"skip_prk_steps\": false}", "--scheduler pndm" },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        bl_scheduler_config c;
        bl_schedule s;
        assert_int_equal(read_text(rows[i].text, &c), BL_OK);
        assert_int_equal(bl_schedule_create(&c, 10, 1, 0, 1, &s), BL_ERROR_MODEL);
        assert_non_null(strstr(bl_last_error(), rows[i].says));
        assert_int_equal(bl_scheduler_config_override(&c, NULL, "trailing", false), BL_ERROR_MODEL);
        assert_non_null(strstr(bl_last_error(), rows[i].says));
        assert_int_equal(bl_scheduler_config_override(&c, "ddim", NULL, false), BL_OK);
        assert_int_equal(c.spacing, i ? BL_SPACING_LEADING : BL_SPACING_LINSPACE);
        assert_int_equal(bl_schedule_create(&c, 10, 1, 0, 1, &s), BL_OK);
        bl_schedule_free(&s);
    }
}

static void overrides(void **state)
{
    (void)state;
    bl_scheduler_config c = sd;
    assert_int_equal(bl_scheduler_config_override(&c, NULL, NULL, false), BL_OK);
    assert_memory_equal(&c, &sd, sizeof(c));
    assert_int_equal(bl_scheduler_config_override(&c, "pndm-diffusers", "linspace", false), BL_OK);
    assert_int_equal(c.kind, BL_SCHEDULER_PNDM_DIFFUSERS);
    assert_int_equal(c.spacing, BL_SPACING_LINSPACE);
    assert_string_equal(bl_scheduler_name(c.kind), "pndm-diffusers");
    assert_string_equal(bl_spacing_name(c.spacing), "linspace");
    const bl_scheduler_config before = c;
    assert_int_equal(bl_scheduler_config_override(&c, "heun", "leading", false), BL_ERROR_USAGE);
    assert_non_null(strstr(bl_last_error(), "\"heun\" is not known; known: ddim, pndm, pndm-diffusers, euler, euler-a, dpm++2m, lcm"));
    assert_int_equal(bl_scheduler_config_override(&c, "ddim", "Karras", false), BL_ERROR_USAGE);
    assert_non_null(strstr(bl_last_error(), "\"Karras\" is not known; known: leading, trailing, linspace"));
    assert_int_equal(bl_scheduler_config_override(&c, "", NULL, false), BL_ERROR_USAGE);
    assert_memory_equal(&c, &before, sizeof(c));
}

static void hostile_configurations(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } rows[] = {
        { "", "" },
        { "{", "" },
        { "[1]", "not a JSON object" },
        { "{}", "_class_name" },
        { "{\"_class_name\": null}", "_class_name" },
        { "{\"_class_name\": 3}", "_class_name" },
        { "{" DDIM ", " DDIM "}", "" },
        { "{" DDIM ", \"clip_sample\": true}", "clip_sample" },
        { "{" DDIM ", \"clip_sample\": \"no\"}", "clip_sample" },
        { "{" PNDM ", \"thresholding\": true}", "thresholding" },
        { "{" DDIM ", \"rescale_betas_zero_snr\": true}", "rescale_betas_zero_snr" },
        { "{" DDIM ", \"trained_betas\": [0.1, 0.2]}", "trained_betas" },
        { "{" DDIM ", \"prediction_type\": \"sample\"}", "prediction_type \"sample\" is not supported; known: epsilon, v_prediction" },
        { "{" DDIM ", \"prediction_type\": 1}", "prediction_type" },
        { "{" DDIM ", \"beta_schedule\": \"sigmoid\"}", "known: scaled_linear, linear, squaredcos_cap_v2" },
        { "{" DDIM ", \"timestep_spacing\": \"karras\"}", "known: leading, trailing, linspace" },
        { "{" DDIM ", \"beta_start\": 0}", "beta_start 0" },
        { "{" DDIM ", \"beta_start\": -1e-3}", "beta_start -0.001" },
        { "{" DDIM ", \"beta_start\": 0.03, \"beta_end\": 0.02}", "beta_start 0.03, beta_end 0.02" },
        { "{" DDIM ", \"beta_end\": 1}", "beta_end 1" },
        { "{" DDIM ", \"beta_end\": \"0.02\"}", "beta_end" },
        { "{" DDIM ", \"beta_end\": 1e999}", "" },
        { "{" DDIM ", \"beta_start\": NaN}", "" },
        { "{" DDIM ", \"num_train_timesteps\": 0}", "num_train_timesteps" },
        { "{" DDIM ", \"num_train_timesteps\": 10001}", "num_train_timesteps" },
        { "{" DDIM ", \"num_train_timesteps\": 1e3}", "num_train_timesteps" },
        { "{" DDIM ", \"num_train_timesteps\": -1}", "num_train_timesteps" },
        { "{" DDIM ", \"steps_offset\": -1}", "steps_offset" },
        { "{" DDIM ", \"steps_offset\": 1000}", "steps_offset" },
        { "{" DDIM ", \"steps_offset\": true}", "steps_offset" },
        { "{" DDIM ", \"set_alpha_to_one\": 0}", "set_alpha_to_one" },
        { "{" PNDM ", \"skip_prk_steps\": 1}", "" },
        { "{" DPM ", \"solver_order\": 4}", "solver_order" },
        { "{" DPM ", \"final_sigmas_type\": \"one\"}", "known: sigma_min, zero" },
        { "{" DPM ", \"beta_end\": -Infinity}", "" },
        { "{" EULER ", \"use_karras_sigmas\": \"yes\"}", "use_karras_sigmas" },
        { "{\"_class_name\": \"LCMScheduler\", \"original_inference_steps\": 0}", "original_inference_steps" },
        { "{\"_class_name\": \"LCMScheduler\", \"original_inference_steps\": 1001}", "original_inference_steps" },
        { "{\"_class_name\": \"LCMScheduler\", \"timestep_scaling\": 0}", "timestep_scaling 0" },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        bl_scheduler_config c;
        assert_int_equal(read_text(rows[i].text, &c), BL_ERROR_MODEL);
        if (!strstr(bl_last_error(), rows[i].says))
            fail_msg("%s: \"%s\"", rows[i].text, bl_last_error());
        const bl_scheduler_config zero = { 0 };
        assert_memory_equal(&c, &zero, sizeof(c));
    }
    bl_scheduler_config c;
    assert_int_equal(bl_scheduler_config_read("/nonexistent/scheduler_config.json", &c), BL_ERROR_MODEL);

    /* Betas that pass one by one but leave no signal, and one so small that 1 - beta is 1. */
    bl_schedule s;
    assert_int_equal(read_text("{" DDIM ", \"beta_start\": 0.5, \"beta_end\": 0.9}", &c), BL_OK);
    assert_int_equal(bl_schedule_create(&c, 10, 1, 0, 1, &s), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "betas leave"));
    assert_int_equal(read_text("{" DDIM ", \"beta_start\": 1e-30, \"beta_end\": 1e-30}", &c), BL_OK);
    assert_int_equal(bl_schedule_create(&c, 10, 1, 0, 1, &s), BL_ERROR_MODEL);

    /* The shortest training there can be. */
    assert_int_equal(read_text("{" DDIM ", \"num_train_timesteps\": 1}", &c), BL_OK);
    assert_int_equal(bl_schedule_create(&c, 1, 1, 0, 1, &s), BL_OK);
    assert_int_equal(s.count, 1);
    bl_schedule_free(&s);
}

static int allocations_left;
static void *failing_resize(void *p, size_t size) { return allocations_left-- > 0 ? realloc(p, size) : NULL; }

static void memory_can_run_out(void **state)
{
    (void)state;
    const bl_memory_api saved = bl_memory;
    bl_result r = BL_ERROR_MEMORY;
    int n;
    for (n = 0; r != BL_OK && n < 10; n++) {
        bl_schedule s;
        allocations_left = n;
        bl_memory.resize = failing_resize;
        r = bl_schedule_create(&sd, 10, 1, 0, 1, &s);
        bl_memory = saved;
        if (r == BL_OK) {
            bl_schedule_free(&s);
        } else {
            assert_int_equal(r, BL_ERROR_MEMORY);
            assert_null(s.steps);
        }
    }
    assert_int_equal(r, BL_OK);
    assert_int_equal(n, 5); /* failed four times: noise levels of the training and of the run, rows, what they start from */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_tables),
        cmocka_unit_test(tables_of_200_steps),
        cmocka_unit_test(every_table_is_sound),
        cmocka_unit_test(strength_counts_steps),
        cmocka_unit_test(exact_model_stays_on_the_path),
        cmocka_unit_test(other_levels_stay_on_the_path),
        cmocka_unit_test(euler_is_ddim),
        cmocka_unit_test(error_falls_with_the_order),
        cmocka_unit_test(table_runs_plms),
        cmocka_unit_test(eta_keeps_the_variance),
        cmocka_unit_test(noise_levels),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(good_configurations),
        cmocka_unit_test(defaults_follow_the_class),
        cmocka_unit_test(another_scheduler_can_be_named),
        cmocka_unit_test(overrides),
        cmocka_unit_test(hostile_configurations),
        cmocka_unit_test(memory_can_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
