/* Conversions of 16-bit floating point, all of them, against their definition in double. */
#include "half.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* The number that a finite half stands for. */
static double meaning(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void every_half_is_its_number(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const uint16_t half = (uint16_t)h;
        const float f = bl_half_to_float(half);
        const uint32_t bits = bl_bits_of_float(f);
        const bool finite = (half >> 10 & 31) != 31;
        assert_int_equal(bits >> 31, half >> 15);
        assert_int_equal(bl_half_is_finite(half), finite);
        if (finite) {
            assert_true((double)f == meaning(half));
            assert_int_equal(bl_half_from_float(f), half);
        } else { /* infinity or NaN, with its payload */
            assert_int_equal(bits & 0x7fffffff, 0x7f800000 | (uint32_t)(half & 1023) << 13);
            assert_int_equal(bl_half_from_float(f), half & 1023 ? (half & 0x8000) | 0x7e00 : half);
        }
    }
}

static void both_signs(float f, uint16_t magnitude)
{
    assert_int_equal(bl_half_from_float(f), magnitude);
    assert_int_equal(bl_half_from_float(-f), magnitude | 0x8000);
}

/* The middle between two neighbours goes to the even one, the floats beside it to the nearer one; so does what lies beyond. */
static void the_nearest_half_is_taken(void **state)
{
    (void)state;
    for (uint16_t h = 0; h < 0x7c00; h++) {
        const double next = h == 0x7bff ? 65536 : meaning(h + 1); /* infinity counts as the next power of two */
        const float middle = (float)((meaning(h) + next) / 2);
        both_signs(middle, h & 1 ? h + 1 : h);
        both_signs(nextafterf(middle, 0), h);
        both_signs(nextafterf(middle, INFINITY), h + 1);
    }
    both_signs(0x1p-149f, 0);
    both_signs(0x1p127f, 0x7c00);
    both_signs(INFINITY, 0x7c00);
}

static void bfloats_are_upper_halves_of_floats(void **state)
{
    (void)state;
    for (uint32_t b = 0; b < 65536; b++)
        assert_int_equal(bl_bits_of_float(bl_bfloat_to_float((uint16_t)b)), b << 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_its_number),
        cmocka_unit_test(the_nearest_half_is_taken),
        cmocka_unit_test(bfloats_are_upper_halves_of_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
