/* Proof of a gradient by central differences, in double. Included behind cmocka.h. */
#ifndef BL_DIFFERENCES_H
#define BL_DIFFERENCES_H
#include <math.h>
#include <stddef.h>

/* Asserts that gradient[i] is d loss / d x[i] for the i of x that `step` lets through (1: all). Differences of order h^2; values near 1. */
static inline void assert_gradient(double (*loss)(void *context), void *context, double *x, size_t count, size_t step,
                                   const double *gradient, double tolerance)
{
    const double h = 1e-4;
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(gradient[i]));
    assert_true(largest > 0);
    for (size_t i = 0; i < count; i += step) {
        const double kept = x[i];
        x[i] = kept + h;
        const double above = loss(context);
        x[i] = kept - h;
        const double below = loss(context);
        x[i] = kept;
        const double found = (above - below) / (2 * h);
        if (!(fabs(found - gradient[i]) <= tolerance * largest))
            fail_msg("element %zu: differences say %.12g, the reference %.12g (largest %.3g)", i, found, gradient[i], largest);
    }
}
#endif
