/* Schedulers against diffusers, step by step: tests/data/schedulers.safetensors (0.30.3, made by scripts/scheduler-golden.py) and, where
 * there is one, the reference folder (0.21.1). The model is synthetic: 0.1 x sin(t) of what it sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "op.h"
#include "safetensors.h"
#include "scheduler.h"

/* Coefficients are doubles rounded once; diffusers computes them in fp32. Its abar is a product of fp32 numbers, off by 1e-6 after a
 * thousand; differences of neighbouring levels in long runs, and seventh powers for Karras sigmas, lose a little more. At timestep 0,
 * where runs of one step with spacing linspace start, fp32 leaves only four digits of 1 - abar = 0.00085. */
static double allowed(const bl_scheduler_config *c, uint32_t steps, double first)
{
    return first == 0 ? 3e-5 : c->karras || steps > 100 ? 5e-6 : 1e-6;
}

static bl_safetensors *open_file(const char *path)
{
    bl_safetensors *st;
    if (bl_safetensors_open(path, BL_ERROR_INPUT, &st) != BL_OK)
        fail_msg("%s", bl_last_error());
    return st;
}

static bl_safetensors *open_reference(void)
{
    const char *root = getenv("BLEMISH_REFERENCE");
    char path[4096];
    if (!root) {
        if (getenv("CI"))
            fail_msg("BLEMISH_REFERENCE is not set");
        skip();
    }
    snprintf(path, sizeof(path), "%s/golden/schedulers.safetensors", root);
    return open_file(path);
}

/* "<row>.<name>" as doubles, or NULL; freed by free(). */
static double *read_tensor(const bl_safetensors *st, const char *row, const char *name, size_t *count)
{
    char full[128];
    snprintf(full, sizeof(full), "%s%s%s", row, *row ? "." : "", name);
    const bl_file_tensor *t = bl_safetensors_find(st, full);
    if (!t)
        return NULL;
    const size_t size = (size_t)(t->bytes / t->count);
    assert_true(size == sizeof(float) || size == sizeof(double));
    double *data = malloc((size_t)t->count * sizeof(double));
    assert_non_null(data);
    assert_int_equal(bl_safetensors_read_raw(st, t, 0, (size_t)t->bytes, data), BL_OK);
    *count = (size_t)t->count;
    for (size_t i = *count; size == sizeof(float) && i--;) {
        float v;
        memcpy(&v, (char *)data + i * sizeof(v), sizeof(v));
        data[i] = (double)v;
    }
    return data;
}

static double *need_tensor(const bl_safetensors *st, const char *row, const char *name, size_t count)
{
    size_t found = 0;
    double *data = read_tensor(st, row, name, &found);
    if (!data || (count && found != count))
        fail_msg("%s.%s: %zu values, %zu expected", row, name, found, count);
    return data;
}

static double relative_rms(const double *x, const double *expected, size_t count, double scale)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += (scale * x[i] - expected[i]) * (scale * x[i] - expected[i]);
        size += expected[i] * expected[i];
    }
    return sqrt(difference / size);
}

/* Settings of a row: those of diffusers, "steps", "start", "eta", and "cls" for the class. */
static bl_scheduler_config config_of(const json_t *settings)
{
    bl_scheduler_config c;
    json_t *all = json_pack("{s:s, s:f, s:f, s:O}", "beta_schedule", "scaled_linear", "beta_start", 0.00085, "beta_end", 0.012,
                            "_class_name", json_object_get(settings, "cls"));
    assert_non_null(all);
    assert_int_equal(json_object_update(all, (json_t *)settings), 0);
    if (bl_scheduler_config_parse(all, "row", &c) != BL_OK)
        fail_msg("%s", bl_last_error());
    json_decref(all);
    return c;
}

/* Runs a row, and compares the latents before the first step and after each. */
static void run_row(const bl_safetensors *st, const char *row, const json_t *settings, const bl_scheduler_config *c)
{
    size_t n = 0;
    bl_schedule s;
    const uint32_t steps = (uint32_t)json_integer_value(json_object_get(settings, "steps"));
    const uint32_t start = (uint32_t)json_integer_value(json_object_get(settings, "start"));
    if (bl_schedule_create_from(c, steps, start, json_number_value(json_object_get(settings, "eta")), 1, &s) != BL_OK)
        fail_msg("%s: %s", row, bl_last_error());
    double *x0 = read_tensor(st, "", "x0", &n), *n0 = need_tensor(st, "", "noise", n), *times = need_tensor(st, row, "timesteps", s.count);
    size_t found;
    double *x = read_tensor(st, row, "x", &found), *seen = read_tensor(st, row, "model_in", &found),
        *noise = read_tensor(st, row, "noise", &found), *last = read_tensor(st, row, "last", &found);
    assert_true(x || last);
    assert_true(!s.noisy || noise);
    /* Whole timesteps are the same; those of Karras sigmas come from fp32 seventh powers, of which one in a million is 2e-4 of a step. */
    for (uint32_t i = 0; i < s.count; i++)
        if (fabs((double)s.steps[i].t - times[i]) > (c->karras ? 2e-3 : 1e-7 * times[i]))
            fail_msg("%s: timestep %u is %.9g, not %.9g", row, i, (double)s.steps[i].t, times[i]);
    /* Euler's own scale is x0 + sigma noise, ours is sqrt(abar) of it: before the first step, and after each. */
    const bool euler = c->kind == BL_SCHEDULER_EULER || c->kind == BL_SCHEDULER_EULER_ANCESTRAL;
    double scale = euler ? 1 / sqrt(s.abar[0]) : 1, worst;
    double *sigma = need_tensor(st, row, "init_noise_sigma", 1), *work = calloc(6 * n, sizeof(*work));
    assert_non_null(work);
    if (!start && !(fabs(scale * (double)s.init_sigma / sigma[0] - 1) <= (euler ? 3e-5 : 0))) /* as above */
        fail_msg("%s: init_noise_sigma is %.9g, not %.9g", row, scale * (double)s.init_sigma, sigma[0]);
    double *e = work, *at = work + n, *history = work + 2 * n;
    for (size_t i = 0; i < n; i++)
        at[i] = start ? (double)s.start_x * x0[i] + (double)s.start_n * n0[i] : (double)s.init_sigma * x0[i];
    worst = x ? relative_rms(at, x, n, scale) : 0;
    bl_params p = { .scheduler_step_fwd = { .rows = (uint32_t)n, .channels = 1 } };
    for (uint32_t i = 0; i < 4; i++)
        p.v[i].stride = 1;
    for (uint32_t k = 0; k < s.count; k++) {
        for (size_t i = 0; i < n; i++)
            e[i] = 0.1 * (double)s.steps[k].in_scale * at[i] * sin(times[k]);
        if (seen)
            worst = fmax(worst, relative_rms(at, seen + k * n, n, (double)s.steps[k].in_scale));
        bl_op_infos[BL_OP_scheduler_step_fwd].ref(&p, (double *[]){ e, noise ? noise + k * n : NULL, at, history }, &s.steps[k]);
        scale = euler ? 1 / sqrt(s.abar[k + 1]) : 1;
        if (x)
            worst = fmax(worst, relative_rms(at, x + (k + 1) * n, n, scale));
    }
    if (last)
        worst = fmax(worst, relative_rms(at, last, n, scale));
    print_message("%-24s %s: largest relative RMS difference %.2e\n", row, bl_scheduler_name(c->kind), worst);
    if (!(worst <= allowed(c, steps, times[0])))
        fail_msg("%s: %.2e is more than %.0e", row, worst, allowed(c, steps, times[0]));
    double *all[] = { x0, n0, times, x, seen, noise, last, sigma, work };
    for (size_t i = 0; i < BL_COUNT(all); i++)
        free(all[i]);
    bl_schedule_free(&s);
}

/* Every row that the metadata of a file name; how many there were of each scheduler. */
static void run_rows(const bl_safetensors *st, bool old, uint32_t *counts)
{
    for (size_t i = 0; i < bl_safetensors_metadata_count(st); i++) {
        const char *row = bl_safetensors_metadata_key(st, i);
        json_t *settings = json_loads(bl_safetensors_metadata(st, row), JSON_DECODE_ANY, NULL);
        if (!json_is_object(settings)) { /* a version */
            json_decref(settings);
            continue;
        }
        bl_scheduler_config c = config_of(settings);
        if (old && c.kind == BL_SCHEDULER_DPMPP_2M)
            c.final_sigma_zero = false; /* there was no final_sigmas_type before 0.26 */
        c.kind = c.kind == BL_SCHEDULER_PNDM ? BL_SCHEDULER_PNDM_DIFFUSERS : c.kind;
        /* 0.21 has stepped between rounded timesteps there, not between the Karras sigmas */
        if (!old || !c.karras || c.kind != BL_SCHEDULER_DPMPP_2M) {
            run_row(st, row, settings, &c);
            counts[c.kind]++;
        }
        /* a whole run is the same */
        if (c.kind == BL_SCHEDULER_PNDM_DIFFUSERS && !json_integer_value(json_object_get(settings, "start"))) {
            c.kind = BL_SCHEDULER_PNDM;
            run_row(st, row, settings, &c);
        }
        json_decref(settings);
    }
}

static void diffusers(void **state)
{
    (void)state;
    uint32_t counts[BL_SCHEDULER_COUNT] = { 0 };
    bl_safetensors *st = open_file(TEST_DATA "/schedulers.safetensors");
    run_rows(st, false, counts);
    bl_safetensors_close(&st);
    assert_true(counts[BL_SCHEDULER_EULER] >= 26 && counts[BL_SCHEDULER_EULER_ANCESTRAL] >= 18);
    assert_true(counts[BL_SCHEDULER_DPMPP_2M] >= 32 && counts[BL_SCHEDULER_LCM] >= 9 && counts[BL_SCHEDULER_DDIM]);
}

static void reference_trajectories(void **state)
{
    (void)state;
    uint32_t counts[BL_SCHEDULER_COUNT] = { 0 };
    bl_safetensors *st = open_reference();
    run_rows(st, true, counts);
    bl_safetensors_close(&st);
    assert_true(counts[BL_SCHEDULER_DDIM] == 5 && counts[BL_SCHEDULER_PNDM_DIFFUSERS] == 4 && counts[BL_SCHEDULER_EULER] == 6);
    assert_true(counts[BL_SCHEDULER_EULER_ANCESTRAL] == 1 && counts[BL_SCHEDULER_DPMPP_2M] == 5);
}

/* The reference holds abar of fp32 betas, so it is as exact as 1000 roundings allow. */
static void reference_noise_levels(void **state)
{
    (void)state;
    static const int times[] = { 1, 281, 999 };
    bl_safetensors *st = open_reference();
    const bl_scheduler_config c = { .betas = BL_BETAS_SCALED_LINEAR, .beta_start = 0.00085, .beta_end = 0.012, .train_steps = 1000 };
    double alphas[1000], worst = 0;
    size_t n = 0;
    assert_int_equal(bl_scheduler_alphas(&c, alphas), BL_OK);
    double *expected = need_tensor(st, "", "alphas_cumprod", 1000);
    for (size_t i = 0; i < 1000; i++)
        worst = BL_MAX(worst, fabs(alphas[i] / expected[i] - 1));
    print_message("abar: largest relative difference %.2e\n", worst);
    assert_true(worst <= 1e-6);
    double *x0 = read_tensor(st, "", "x0", &n), *noise = need_tensor(st, "", "noise", n), *x = calloc(n, sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < BL_COUNT(times); i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%d", times[i]);
        double *noisy = need_tensor(st, "add_noise", name, n);
        for (size_t j = 0; j < n; j++)
            x[j] = sqrt(alphas[times[i]]) * x0[j] + sqrt(1 - alphas[times[i]]) * noise[j];
        assert_true(relative_rms(x, noisy, n, 1) <= 1e-6);
        free(noisy);
    }
    free(expected);
    free(x0);
    free(noise);
    free(x);
    bl_safetensors_close(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diffusers),
        cmocka_unit_test(reference_trajectories),
        cmocka_unit_test(reference_noise_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
