/* torch's random numbers: those of the processor against torch itself (tests/data/torch_randn.safetensors, made by
 * scripts/torch-randn-golden.py), those of CUDA against what others have published. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "noise_source.h"
#include "safetensors.h"

enum { MOST = 4 * 96 * 96, WHOLE = 1000, ENDS = 16, APART = 97 };

/* How many of a draw's numbers the file keeps: all up to WHOLE, then the ends and every APARTth. */
static size_t keep(float *x, size_t count)
{
    size_t kept = 0;
    float *all = malloc((2 * ENDS + count) * sizeof(*all));
    assert_non_null(all);
    for (size_t i = 0; i < count && (count <= WHOLE || i < ENDS); i++)
        all[kept++] = x[i];
    for (size_t i = count - BL_MIN(count, ENDS); i < count && count > WHOLE; i++)
        all[kept++] = x[i];
    for (size_t i = 0; i < count && count > WHOLE; i += APART)
        all[kept++] = x[i];
    memcpy(x, all, kept * sizeof(*x));
    free(all);
    return kept;
}

/* "SEED.A-B-C": draws of A, B and C numbers. torch computes logarithm, sine and cosine of blocks in fp32 with polynomials of its own:
 * 1e-6 apart at radius 5; the few numbers below 16 in double: to the rounding. */
static void processor(void **state)
{
    (void)state;
    bl_safetensors *st;
    if (bl_safetensors_open(TEST_DATA "/torch_randn.safetensors", BL_ERROR_INPUT, &st) != BL_OK)
        fail_msg("%s", bl_last_error());
    float *x = malloc(2 * MOST * sizeof(*x)), *expected = malloc(2 * MOST * sizeof(*x));
    assert_non_null(x);
    assert_non_null(expected);
    assert_true(bl_safetensors_count(st) >= 30);
    double worst = 0;
    for (size_t i = 0; i < bl_safetensors_count(st); i++) {
        const bl_file_tensor *t = bl_safetensors_at(st, i);
        char *sizes;
        const uint64_t seed = strtoull(t->name, &sizes, 10);
        bl_noise_source s;
        size_t at = 0;
        assert_int_equal(bl_safetensors_read_raw(st, t, 0, (size_t)t->bytes, expected), BL_OK);
        bl_noise_source_begin(&s, BL_RNG_TORCH_CPU, seed);
        while (*sizes) {
            const size_t count = (size_t)strtoull(sizes + 1, &sizes, 10);
            assert_true(count && count <= MOST);
            bl_noise_source_draw(&s, BL_NOISE_LATENTS, 0, count, x);
            const size_t kept = keep(x, count);
            assert_true(at + kept <= t->count);
            for (size_t k = 0; k < kept; k++) {
                const double off = fabs((double)x[k] - (double)expected[at + k]);
                if (off > (count < 16 ? 1e-7 : 2e-6) * fmax(1, fabs((double)x[k])))
                    fail_msg("%s: number %zu is %.9g, not %.9g", t->name, at + k, (double)x[k], (double)expected[at + k]);
                worst = fmax(worst, off);
            }
            at += kept;
        }
        assert_int_equal(at, t->count);
    }
    print_message("largest difference %.1e\n", worst);
    free(x);
    free(expected);
    bl_safetensors_close(&st);
}

/* The generator itself: the 10,000th number of std::mt19937 with its default seed is given by the C++ standard, [rand.predef]; here
 * through numbers of 24 bits, as the pair at index 15 of block 625 (cosine 7, sine 15). */
static void mersenne_twister(void **state)
{
    (void)state;
    bl_noise_source s;
    float x[10000];
    bl_noise_source_begin(&s, BL_RNG_TORCH_CPU, 5489);
    bl_noise_source_draw(&s, BL_NOISE_LATENTS, 0, 10000, x);
    const double angle = (4123659995u & 0xffffff) / 16777216.0, c = x[9984 + 7], d = x[9984 + 15]; /* word 10000 of 10000 */
    double sine, cosine;
    bl_sincos_turns(angle, &sine, &cosine);
    const double radius = hypot(c, d);
    assert_true(radius > 0.01 && fabs(c - radius * cosine) < 1e-6 && fabs(d - radius * sine) < 1e-6);
}

/* Seed 0: the module comment of stable-diffusion-webui's modules/rng_philox.py, a reimplementation. Seed 42: what torch itself printed on
 * GPUs, four digits; six draws of four, one after another, of a bug report about _foreach_sub in its compiler (the same numbers as in the
 * documentation of FlashInfer's Sample for the first). */
static void cuda(void **state)
{
    (void)state;
    static const float zero[] = { -0.92466259f, -0.42534415f, -2.6438457f, 0.14518388f, -0.12086647f, -0.57972564f, -0.62285122f,
                                  -0.32838709f, -1.07454231f, -0.36314407f, -1.67105067f, 2.26550497f };
    static const float calls[6][4] = {
        { 0.1940f, 2.1614f, -0.1721f, 0.8491f },   { 0.1391f, -0.1082f, -0.7174f, 0.7566f },  { -0.5187f, 1.2268f, 0.6255f, -0.9117f },
        { -0.6974f, -1.8688f, -0.8832f, -1.6627f }, { -1.2682f, -0.0383f, -0.1029f, 1.4400f }, { 1.4640f, -0.3238f, 0.7740f, 1.5892f },
    };
    static const float further[] = { -1.9244f, 0.6530f, -0.6494f, -0.8175f, 0.5280f, -1.2753f, -1.6621f, -0.3033f, -0.0926f, 0.1992f,
                                     -1.1204f, 1.8577f, -0.7145f, 0.6881f, 0.7968f }; /* numbers 4 .. 18 of the first */
    bl_noise_source s;
    float x[64];
    bl_noise_source_begin(&s, BL_RNG_TORCH_CUDA, 0);
    bl_noise_source_draw(&s, BL_NOISE_LATENTS, 0, BL_COUNT(zero), x);
    for (size_t i = 0; i < BL_COUNT(zero); i++)
        assert_true(fabsf(x[i] - zero[i]) <= 2e-6f);
    bl_noise_source_begin(&s, BL_RNG_TORCH_CUDA, 42);
    for (size_t call = 0; call < 6; call++) {
        bl_noise_source_draw(&s, BL_NOISE_LATENTS, 0, 4, x);
        for (size_t i = 0; i < 4; i++)
            assert_true(fabsf(x[i] - calls[call][i]) <= 5.2e-5f);
    }
    bl_noise_source_begin(&s, BL_RNG_TORCH_CUDA, 42);
    bl_noise_source_draw(&s, BL_NOISE_LATENTS, 0, 19, x);
    for (size_t i = 0; i < BL_COUNT(further); i++)
        assert_true(fabsf(x[4 + i] - further[i]) <= 5.2e-5f);
    /* Any number of words, also the largest: nothing is infinite. */
    float *all = malloc(BL_TORCH_CUDA_MAX * sizeof(*all));
    assert_non_null(all);
    bl_noise_source_draw(&s, BL_NOISE_LATENTS, 0, BL_TORCH_CUDA_MAX, all);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < BL_TORCH_CUDA_MAX; i++) {
        assert_true(isfinite(all[i]));
        sum += (double)all[i];
        squares += (double)all[i] * (double)all[i];
    }
    const double error = 5 / sqrt(BL_TORCH_CUDA_MAX); /* five standard errors */
    assert_true(fabs(sum / BL_TORCH_CUDA_MAX) < error && fabs(squares / BL_TORCH_CUDA_MAX - 1) < error * sqrt(2));
    free(all);
}

/* philox is what noise.h says, whatever was drawn before; a copy of a torch generator goes on from where the other was. */
static void streams(void **state)
{
    (void)state;
    bl_noise_source s, copy;
    float x[40], y[40];
    bl_noise_source_begin(&s, BL_RNG_PHILOX, 7);
    bl_noise_source_draw(&s, BL_NOISE_VAE, 0, 40, x);
    bl_noise_source_draw(&s, BL_NOISE_STEP, 80, 40, x);
    bl_noise_normal(7, BL_NOISE_STEP, 80, 40, y);
    assert_memory_equal(x, y, sizeof(x));
    for (int rng = BL_RNG_TORCH_CUDA; rng < BL_RNG_COUNT; rng++) {
        bl_noise_source_begin(&s, (bl_rng)rng, 7);
        bl_noise_source_draw(&s, BL_NOISE_LATENTS, 0, 7, x);
        copy = s;
        bl_noise_source_draw(&s, BL_NOISE_STEP, 0, 40, x);
        bl_noise_source_draw(&copy, BL_NOISE_STEP, 0, 40, y);
        assert_memory_equal(x, y, sizeof(x));
        bl_noise_source_draw(&copy, BL_NOISE_STEP, 0, 40, y);
        assert_memory_not_equal(x, y, sizeof(x));
    }
}

static void names(void **state)
{
    (void)state;
    bl_rng rng = BL_RNG_COUNT;
    assert_int_equal(bl_rng_parse(NULL, &rng), BL_OK);
    assert_int_equal(rng, BL_RNG_PHILOX);
    for (int i = 0; i < BL_RNG_COUNT; i++) {
        assert_int_equal(bl_rng_parse(bl_rng_name((bl_rng)i), &rng), BL_OK);
        assert_int_equal(rng, i);
    }
    static const char *const wrong[] = { "", "cuda", "torch", "Philox", "torch-cpu " };
    for (size_t i = 0; i < BL_COUNT(wrong); i++) {
        assert_int_equal(bl_rng_parse(wrong[i], &rng), BL_ERROR_USAGE);
        assert_non_null(strstr(bl_last_error(), "is not known; known: philox, torch-cuda, torch-cpu"));
        assert_int_equal(rng, BL_RNG_COUNT - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processor), cmocka_unit_test(mersenne_twister), cmocka_unit_test(cuda),
        cmocka_unit_test(streams),   cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
