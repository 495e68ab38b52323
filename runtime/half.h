/* IEEE half and bfloat16 <-> float, round to nearest even, in plain C. Layer 0. */
#ifndef BL_HALF_H
#define BL_HALF_H
#include <stdint.h>
#include <string.h>

static inline float bl_half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, frac = h & 1023;
    uint32_t bits = sign | (exp + 112) << 23 | frac << 13;
    if (exp == 31)
        bits = sign | 0x7f800000 | frac << 13;
    float f;
    if (exp == 0) { /* zero and subnormals: frac * 2^-24 */
        f = (float)frac * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint16_t bl_half_from_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    const uint16_t sign = bits >> 16 & 0x8000;
    const uint32_t mag = bits & 0x7fffffff;
    if (mag > 0x7f800000)
        return sign | 0x7e00;                       /* NaN */
    if (mag >= 0x477ff000)
        return sign | 0x7c00;                       /* rounds to infinity */
    if (mag < 0x38800000) {                         /* half subnormal: the fp32 adder rounds it */
        float a;
        memcpy(&a, &mag, sizeof(a));
        a += 0.5f;                                  /* 0.5 has ulp 2^-24 */
        uint32_t r;
        memcpy(&r, &a, sizeof(r));
        return sign | (uint16_t)(r - 0x3f000000);
    }
    return sign | (uint16_t)((mag + 0xfff + (mag >> 13 & 1) - 0x38000000) >> 13);
}

static inline float bl_bfloat_to_float(uint16_t b)
{
    const uint32_t bits = (uint32_t)b << 16;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}
#endif
