#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// d = scale y (g - sum of y g over the channels of a row); all [rows, channels] fp32.

layout(push_constant) uniform Push { softmax_bwd_params p; };
#include "inc/rows.glsl"
layout(binding = 0) readonly buffer Y { float y[]; };
layout(binding = 1) readonly buffer G { float g[]; };
layout(binding = 2) writeonly buffer D { float d[]; };

void main()
{
    const uint r = lane();
    if (r >= p.rows)
        return;
    float sum = 0.0;
    for (uint c = 0; c < p.channels; c++)
        sum = fma(y[AT(y, r, c)], g[AT(g, r, c)], sum);
    for (uint c = 0; c < p.channels; c++)
        d[AT(d, r, c)] = p.scale * y[AT(y, r, c)] * (g[AT(g, r, c)] - sum);
}
