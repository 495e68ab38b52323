/* What the references share. Layer 2. */
#ifndef BL_REF_H
#define BL_REF_H
#include <stdint.h>

/* act(v) for an ACT_ code of params.h, in double. */
double bl_ref_act(double v, uint32_t act);
double bl_ref_derivative(double v, uint32_t act); /* act'(v) */
#endif
