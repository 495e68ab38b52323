/* Layer 4. */
#include "noise_source.h"
#include <math.h>
#include <string.h>

static const char *const names[BL_RNG_COUNT] = { "philox", "torch-cuda", "torch-cpu" };

const char *bl_rng_name(bl_rng rng) { return names[rng]; }

bl_result bl_rng_parse(const char *name, bl_rng *out)
{
    size_t i = 0;
    while (name && i < BL_RNG_COUNT && strcmp(names[i], name))
        i++;
    if (i == BL_RNG_COUNT)
        return bl_fail(BL_ERROR_USAGE, "rng \"%.40s\" is not known; known: philox, torch-cuda, torch-cpu", name);
    *out = (bl_rng)i;
    return BL_OK;
}

/* --- MT19937 ------------------------------------------------------------------------------------------------------------ */

static void mt_seed(bl_noise_source *s)
{
    s->state[0] = (uint32_t)s->seed;
    for (uint32_t i = 1; i < 624; i++)
        s->state[i] = 1812433253u * (s->state[i - 1] ^ s->state[i - 1] >> 30) + i;
    s->at = 624;
}

static uint32_t mt_next(bl_noise_source *s)
{
    if (s->at == 624) {
        for (uint32_t i = 0; i < 624; i++) {
            const uint32_t y = (s->state[i] & 0x80000000u) | (s->state[(i + 1) % 624] & 0x7fffffffu);
            s->state[i] = s->state[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        s->at = 0;
    }
    uint32_t y = s->state[s->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* --- torch-cpu ---------------------------------------------------------------------------------------------------------- */

/* Numbers j and j + 8 from uniform ones in [0, 1) of 24 bits. */
static void cpu_block(bl_noise_source *s, float *out)
{
    float uniform[16];
    for (size_t j = 0; j < 16; j++)
        uniform[j] = (float)(mt_next(s) & 0xffffff) * 0x1p-24f;
    for (size_t j = 0; j < 8; j++) {
        const double radius = sqrt(-2 * bl_log(1.0 - (double)uniform[j]));
        double sine, cosine;
        bl_sincos_turns((double)uniform[j + 8], &sine, &cosine);
        out[j] = (float)(radius * cosine);
        out[j + 8] = (float)(radius * sine);
    }
}

/* 53 bits, the first word above. */
static double cpu_uniform(bl_noise_source *s)
{
    const uint64_t high = mt_next(s), low = mt_next(s);
    return (double)((high << 32 | low) & 0x1fffffffffffffu) * 0x1p-53;
}

static float cpu_one(bl_noise_source *s)
{
    if (s->spare_given) {
        s->spare_given = false;
        return (float)s->spare;
    }
    const double turns = cpu_uniform(s), radius = sqrt(-2 * bl_log(1 - cpu_uniform(s)));
    double sine, cosine;
    bl_sincos_turns(turns, &sine, &cosine);
    s->spare = radius * sine;
    s->spare_given = true;
    return (float)(radius * cosine);
}

static void cpu_draw(bl_noise_source *s, size_t count, float *out)
{
    for (size_t i = 0; count < 16 && i < count; i++)
        out[i] = cpu_one(s);
    for (size_t i = 0; count >= 16 && i + 16 <= count; i += 16)
        cpu_block(s, out + i);
    for (size_t i = 0; count >= 16 && i < count % 16; i++)
        mt_next(s); /* a uniform number for every place was drawn first */
    if (count >= 16 && count % 16)
        cpu_block(s, out + count - 16);
}

/* --- torch-cuda --------------------------------------------------------------------------------------------------------- */

/* x * scale + half of scale, rounded once: the product of two floats is exact in double, and the sum in all that reaches a float. */
static float fused(uint32_t x, float scale) { return (float)((double)(float)x * (double)scale + (double)(scale / 2)); }

static void cuda_draw(bl_noise_source *s, size_t count, float *out)
{
    const uint32_t key[2] = { (uint32_t)s->seed, (uint32_t)(s->seed >> 32) };
    for (size_t i = 0; i < count; i++) {
        uint32_t words[4];
        double sine, cosine;
        bl_philox4x32((const uint32_t[4]){ s->calls, 0, (uint32_t)i, 0 }, key, words);
        const float unit = fused(words[0], 0x1p-32f), angle = fused(words[1], 0x1p-32f * 6.2831855f);
        bl_sincos_turns((double)angle * 0.15915494309189535, &sine, &cosine); /* 1 / (2 pi) */
        out[i] = (float)(sqrt(-2 * bl_log((double)unit)) * sine);
    }
    s->calls++;
}

/* --- any ---------------------------------------------------------------------------------------------------------------- */

void bl_noise_source_begin(bl_noise_source *s, bl_rng rng, uint64_t seed)
{
    memset(s, 0, sizeof(*s));
    s->rng = rng;
    s->seed = seed;
    if (rng == BL_RNG_TORCH_CPU)
        mt_seed(s);
}

void bl_noise_source_draw(bl_noise_source *s, bl_noise_stream stream, uint64_t first, size_t count, float *out)
{
    if (s->rng == BL_RNG_TORCH_CPU)
        cpu_draw(s, count, out);
    else if (s->rng == BL_RNG_TORCH_CUDA)
        cuda_draw(s, count, out);
    else
        bl_noise_normal(s->seed, stream, first, count, out);
}
