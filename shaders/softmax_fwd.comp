#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// y = softmax(scale x) over the channels of a row; x, y [rows, channels] fp32.

layout(push_constant) uniform Push { softmax_params p; };
#include "inc/rows.glsl"
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

void main()
{
    const uint r = lane();
    if (r >= p.rows)
        return;
    float top = p.scale * x[AT(x, r, 0)], sum = 0.0;
    for (uint c = 1; c < p.channels; c++)
        top = max(top, p.scale * x[AT(x, r, c)]);
    for (uint c = 0; c < p.channels; c++)
        sum += exp(p.scale * x[AT(x, r, c)] - top);
    for (uint c = 0; c < p.channels; c++)
        y[AT(y, r, c)] = exp(p.scale * x[AT(x, r, c)] - top) / sum;
}
