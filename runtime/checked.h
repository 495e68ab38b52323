/* Size arithmetic that cannot wrap. Layer 0.
 * Every size that depends on a file, an image or an option goes through these. False means overflow; *out is then 0. */
#ifndef BL_CHECKED_H
#define BL_CHECKED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool bl_add(size_t a, size_t b, size_t *out)
{
    const bool ok = a <= SIZE_MAX - b;
    *out = ok ? a + b : 0;
    return ok;
}

static inline bool bl_mul(size_t a, size_t b, size_t *out)
{
    const bool ok = !b || a <= SIZE_MAX / b;
    *out = ok ? a * b : 0;
    return ok;
}

/* Rounds up to a multiple of `to`, which is not 0. */
static inline bool bl_align(size_t a, size_t to, size_t *out)
{
    const size_t rest = a % to;
    if (!rest) {
        *out = a;
        return true;
    }
    return bl_add(a, to - rest, out);
}

/* Product of `count` factors. */
static inline bool bl_product(const size_t *factors, size_t count, size_t *out)
{
    *out = 1;
    for (size_t i = 0; i < count; i++)
        if (!bl_mul(*out, factors[i], out))
            return false;
    return true;
}

static inline bool bl_to_u32(size_t a, uint32_t *out)
{
    *out = a <= UINT32_MAX ? (uint32_t)a : 0;
    return a <= UINT32_MAX;
}
#endif
