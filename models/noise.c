/* Philox4x32-10, uniform words and normal numbers in fixed arithmetic. Layer 4. */
#include "noise.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* x87 arithmetic keeps more bits than a double has (x86 without SSE2: compile with -msse2 -mfpmath=sse). */
_Static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 1, "double arithmetic without excess precision is needed");

void bl_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static void block(uint64_t seed, uint32_t stream, uint64_t index, uint32_t out[4])
{
    bl_philox4x32((const uint32_t[4]){ (uint32_t)index, (uint32_t)(index >> 32), stream, 0 },
                  (const uint32_t[2]){ (uint32_t)seed, (uint32_t)(seed >> 32) }, out);
}

void bl_noise_words(uint64_t seed, uint32_t stream, uint64_t first, size_t count, uint32_t *out)
{
    uint32_t words[4];
    for (size_t i = 0; i < count; i++) {
        const uint64_t at = first + i;
        if (!i || at % 4 == 0)
            block(seed, stream, at / 4, words);
        out[i] = words[at % 4];
    }
}

double bl_log(double x)
{
    /* x = m * 2^e with m in [sqrt(1/2), sqrt(2)), by the bits; ln m = 2 artanh(s) as a series in s <= 0.172. */
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof(m));
    if (m >= 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
    double sum = 0.0;
    for (int k = 23; k >= 3; k -= 2)
        sum = (sum + 1.0 / k) * s2;
    /* ln 2 in two parts, the first with 20 zero bits at its end, so that e * high is exact. */
    return e * 6.93147180369123816490e-01 + (e * 1.90821492927058770002e-10 + 2.0 * (s + s * sum));
}

void bl_sincos_turns(double turns, double *sine, double *cosine)
{
    /* Nearest quarter turn, then Taylor series on at most an eighth. */
    const int quarter = (int)(4.0 * turns + 0.5);
    const double a = 6.283185307179586477 * (turns - 0.25 * quarter), a2 = a * a;
    double s = 0.0, c = 0.0;
    for (int k = 17; k >= 3; k -= 2)
        s = (s + 1.0) * (-a2 / (k * (k - 1)));
    for (int k = 18; k >= 2; k -= 2)
        c = (c + 1.0) * (-a2 / (k * (k - 1)));
    s = a + a * s;
    c = 1.0 + c;
    *sine = quarter & 1 ? c : s;
    *cosine = quarter & 1 ? s : c;
    if (quarter & 2)
        *sine = -*sine;
    if ((quarter + 1) & 2)
        *cosine = -*cosine;
}

/* Two normal numbers from two words: u in (0, 1) away from both ends, the angle in [0, 1) turns. */
static void box_muller(const uint32_t words[2], float out[2])
{
    const double unit = 1.0 / 4294967296.0;
    const double radius = sqrt(-2.0 * bl_log((words[0] + 0.5) * unit));
    double sine, cosine;
    bl_sincos_turns(words[1] * unit, &sine, &cosine);
    out[0] = (float)(radius * cosine);
    out[1] = (float)(radius * sine);
}

void bl_noise_normal(uint64_t seed, uint32_t stream, uint64_t first, size_t count, float *out)
{
    float normals[4];
    for (size_t i = 0; i < count; i++) {
        const uint64_t at = first + i;
        if (!i || at % 4 == 0) {
            uint32_t words[4];
            block(seed, stream, at / 4, words);
            box_muller(words, normals);
            box_muller(words + 2, normals + 2);
        }
        out[i] = normals[at % 4];
    }
}
