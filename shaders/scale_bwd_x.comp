#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/steps.glsl"

// d = scale (* in_scale of the step) * s[1] * the sum of g over the copies; g [copies*rows, channels], s [1, 2] fp32 if it is there,
// d [rows, channels] fp32.

layout(push_constant) uniform Push { scale_bwd_params p; };
READ(0, T, g)
layout(binding = 1) readonly buffer S { float s[]; };
WRITE(2, F, d)

void main()
{
    const span span = lane_span(p.rows, p.channels);
    float factor = p.per_step != 0 ? p.scale * CURRENT_STEP.in_scale : p.scale;
    if ((p.given >> 1 & 1) != 0)
        factor *= s[p.s.off + 1];
    for (uint r = span.row; r < span.end; r++) {
        vec4 sum = vec4(0.0);
        for (uint copy = 0; copy < p.copies; copy++)
            sum += get_g(copy * p.rows + r, span.col);
        set_d(r, span.col, factor * sum);
    }
}
