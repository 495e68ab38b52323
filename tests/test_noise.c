/* Random numbers: published vectors, fixed bits, accuracy of the own functions, moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "noise.h"

/* The known answers published with the generator (Random123, philox4x32, 10 rounds). */
static void known_answers(void **state)
{
    (void)state;
    static const struct { uint32_t counter[4], key[2], expected[4]; } rows[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        uint32_t out[4];
        bl_philox4x32(rows[i].counter, rows[i].key, out);
        assert_memory_equal(out, rows[i].expected, sizeof(out));
    }
}

/* Words come from the documented counter and key, also beyond 2^32 blocks. */
static void words_follow_the_counter(void **state)
{
    (void)state;
    const uint64_t seed = 0x0123456789abcdefu, block = 0x500000007u;
    uint32_t words[4], expected[4];
    bl_philox4x32((uint32_t[4]){ 7, 5, BL_NOISE_BLEND, 0 }, (uint32_t[2]){ 0x89abcdef, 0x01234567 }, expected);
    bl_noise_words(seed, BL_NOISE_BLEND, block * 4, 4, words);
    assert_memory_equal(words, expected, sizeof(words));
}

static void values_do_not_depend_on_the_call(void **state)
{
    (void)state;
    enum { COUNT = 203 };
    float whole[COUNT], piece[COUNT];
    uint32_t words[COUNT], part[COUNT];
    bl_noise_normal(42, BL_NOISE_VAE, 1000, COUNT, whole);
    bl_noise_words(42, BL_NOISE_VAE, 1000, COUNT, words);
    for (size_t first = 0; first < 9; first++)
        for (size_t count = 0; count <= COUNT - first; count += 1 + count / 3) {
            bl_noise_normal(42, BL_NOISE_VAE, 1000 + first, count, piece);
            bl_noise_words(42, BL_NOISE_VAE, 1000 + first, count, part);
            assert_memory_equal(piece, whole + first, count * sizeof(float));
            assert_memory_equal(part, words + first, count * sizeof(uint32_t));
        }
    /* The index wraps as documented. */
    bl_noise_normal(42, BL_NOISE_VAE, UINT64_MAX, 2, piece);
    bl_noise_normal(42, BL_NOISE_VAE, 0, 1, whole);
    assert_memory_equal(piece + 1, whole, sizeof(float));
}

/* FNV-1a over the bytes, least significant first. */
static uint64_t hash(const uint32_t *words, size_t count)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++)
        for (int shift = 0; shift < 32; shift += 8)
            h = (h ^ (words[i] >> shift & 0xff)) * 0x100000001b3u;
    return h;
}

/* The bits that a seed stands for, also found by a separate program with libm: a difference breaks every saved seed. */
static void bits_are_fixed(void **state)
{
    (void)state;
    static const struct { uint64_t seed; uint32_t stream; uint64_t normals, words; } rows[] = {
        { 0, BL_NOISE_LATENTS, 0x34f7f0cdf231890d, 0x238e5ee5bc3e70ad },
        { 14291, BL_NOISE_VAE, 0xbdefd88e19d1de2c, 0xe73ad65679cfdd07 },
        { UINT64_MAX, BL_NOISE_SYNTHESIS, 0xbe324bcd73f48f20, 0x41fdea4843cfb7d3 },
    };
    enum { COUNT = 4096 };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        float normals[COUNT];
        uint32_t words[COUNT];
        bl_noise_normal(rows[i].seed, rows[i].stream, 0, COUNT, normals);
        memcpy(words, normals, sizeof(words));
        const uint64_t of_normals = hash(words, COUNT);
        bl_noise_words(rows[i].seed, rows[i].stream, 0, COUNT, words);
        assert_true(of_normals == rows[i].normals);
        assert_true(hash(words, COUNT) == rows[i].words);
    }
}

static void logarithm_is_accurate(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t word;
        bl_noise_words(1, 0, i, 1, &word);
        const double u = (word + 0.5) / 4294967296.0, expected = log(u);
        assert_true(fabs(bl_log(u) - expected) <= 4.5e-16 * fabs(expected) + 1e-17);
    }
    static const double rows[] = { 0x1p-1022, 0.5 / 4294967296.0, 0.70710678118654746, 0.70710678118654757, 1 - 0x1p-53, 1, 1 + 0x1p-52,
                                   1.4142135623730949, 1.4142135623730951, 2, 10, 0x1.fffffffffffffp1023 };
    for (size_t i = 0; i < BL_COUNT(rows); i++)
        assert_true(fabs(bl_log(rows[i]) - log(rows[i])) <= 4.5e-16 * fabs(log(rows[i])));
}

static void sine_and_cosine_are_accurate(void **state)
{
    (void)state;
    const double pi = acos(-1.0);
    for (uint32_t i = 0; i <= 100000; i++) {
        const double turns = i / 100000.0;
        double s, c;
        bl_sincos_turns(turns, &s, &c);
        /* The bound has room for the rounding of the argument that libm gets: 2 pi in double, 6.28 * 2^-53. */
        assert_true(fabs(s - sin(2 * pi * turns)) <= 1.2e-15);
        assert_true(fabs(c - cos(2 * pi * turns)) <= 1.2e-15);
        assert_true(fabs(s * s + c * c - 1) <= 5e-16);
    }
    static const struct { double turns, sine, cosine; } exact[] = {
        { 0, 0, 1 }, { 0.25, 1, 0 }, { 0.5, 0, -1 }, { 0.75, -1, 0 }, { 1, 0, 1 },
    };
    for (size_t i = 0; i < BL_COUNT(exact); i++) {
        double s, c;
        bl_sincos_turns(exact[i].turns, &s, &c);
        assert_true(s == exact[i].sine && c == exact[i].cosine);
    }
}

/* Moments of 2^20 numbers, each within five standard errors, and the tails; neighbours, seeds and streams are not correlated. */
static void normals_are_normal(void **state)
{
    (void)state;
    enum { COUNT = 1 << 20 };
    float *x = malloc(COUNT * sizeof(float)), *y = malloc(COUNT * sizeof(float)), *z = malloc(COUNT * sizeof(float));
    assert_non_null(x);
    assert_non_null(y);
    assert_non_null(z);
    bl_noise_normal(7, BL_NOISE_LATENTS, 0, COUNT, x);
    bl_noise_normal(7, BL_NOISE_VAE, 0, COUNT, y);
    bl_noise_normal(8, BL_NOISE_LATENTS, 0, COUNT, z);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag1 = 0, lag2 = 0, streams = 0, seeds = 0;
    size_t inside = 0, beyond = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const double v = x[i];
        m1 += v;
        m2 += v * v;
        m3 += v * v * v;
        m4 += v * v * v * v;
        lag1 += i ? v * x[i - 1] : 0;
        lag2 += i > 1 ? v * x[i - 2] : 0;
        streams += v * y[i];
        seeds += v * z[i];
        inside += fabs(v) < 0.67448975;
        beyond += fabs(v) > 3;
    }
    const double error = 5 / sqrt(COUNT);
    assert_true(fabs(m1 / COUNT) < error);
    assert_true(fabs(m2 / COUNT - 1) < error * sqrt(2));
    assert_true(fabs(m3 / COUNT) < error * sqrt(15));
    assert_true(fabs(m4 / COUNT - 3) < error * sqrt(96));
    assert_true(fabs(lag1 / COUNT) < error);
    assert_true(fabs(lag2 / COUNT) < error);
    assert_true(fabs(streams / COUNT) < error);
    assert_true(fabs(seeds / COUNT) < error);
    assert_true(fabs((double)inside / COUNT - 0.5) < error * 0.5);
    assert_true(fabs((double)beyond / COUNT - 0.0026998) < error * sqrt(0.0026998));
    free(x);
    free(y);
    free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(words_follow_the_counter),
        cmocka_unit_test(values_do_not_depend_on_the_call),
        cmocka_unit_test(bits_are_fixed),
        cmocka_unit_test(logarithm_is_accurate),
        cmocka_unit_test(sine_and_cosine_are_accurate),
        cmocka_unit_test(normals_are_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
