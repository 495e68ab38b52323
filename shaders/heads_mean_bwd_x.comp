#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// d[h*rows + i, j] = scale * s[0] * g[i,j]; g [rows, channels], s [1,2] if it is there, d [heads*rows, channels], fp32.

layout(push_constant) uniform Push { heads_mean_bwd_params p; };
READ(0, F, g)
layout(binding = 1) readonly buffer S { float s[]; };
WRITE(2, F, d)

void main()
{
    const span span = lane_span(p.heads * p.rows, p.channels);
    const float factor = (p.given >> 1 & 1u) != 0u ? p.scale * s[p.s.off] : p.scale;
    for (uint r = span.row; r < span.end; r++)
        set_d(r, span.col, factor * get_g(r % p.rows, span.col));
}
