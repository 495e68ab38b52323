/* IEEE half and bfloat16 <-> float, round to nearest even, in plain C without branches, so that loops over them vectorise. Layer 0. */
#ifndef BL_HALF_H
#define BL_HALF_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float bl_float_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t bl_bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float bl_half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t finite = bl_bits_of_float(bl_float_from_bits(mag) * 0x1p112f); /* exact, also of subnormals */
    return bl_float_from_bits(sign | (mag < 0x0f800000 ? finite : mag | 0x7f800000));
}

static inline uint16_t bl_half_from_float(float f)
{
    const uint32_t bits = bl_bits_of_float(f), mag = bits & 0x7fffffff;
    const uint32_t normal = (mag + 0xfff + (mag >> 13 & 1) - 0x38000000) >> 13;
    const uint32_t subnormal = bl_bits_of_float(bl_float_from_bits(mag) + 0.5f) - 0x3f000000; /* 0.5 has ulp 2^-24: the adder rounds */
    const uint32_t finite = mag < 0x38800000 ? subnormal : normal;
    const uint32_t special = mag > 0x7f800000 ? 0x7e00 : 0x7c00; /* NaN, infinity */
    return (uint16_t)((bits >> 16 & 0x8000) | (mag < 0x477ff000 ? finite : special));
}

static inline bool bl_half_is_finite(uint16_t h) { return (h & 0x7c00) != 0x7c00; }

static inline float bl_bfloat_to_float(uint16_t b) { return bl_float_from_bits((uint32_t)b << 16); }
#endif
