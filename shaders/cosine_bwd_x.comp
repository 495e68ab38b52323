#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// d = scale * dz/dx = scale (y / (|x| |y|) - z x / |x|^2), 0 where one is 0; all [rows, channels]. d may be x.

layout(push_constant) uniform Push { cosine_bwd_params p; };
#include "inc/rows.glsl"
layout(binding = 0) readonly buffer X { T x[]; };
layout(binding = 1) readonly buffer Y { T y[]; };
layout(binding = 2) writeonly buffer D { T d[]; };

void main()
{
    const uint r = lane();
    if (r >= p.rows)
        return;
    float xy = 0.0, xx = 0.0, yy = 0.0;
    for (uint c = 0; c < p.channels; c++) {
        const float a = float(x[AT(x, r, c)]), b = float(y[AT(y, r, c)]);
        xy = fma(a, b, xy);
        xx = fma(a, a, xx);
        yy = fma(b, b, yy);
    }
    const float size = sqrt(xx) * sqrt(yy), along = size > 0.0 ? xy / size / xx : 0.0;
    for (uint c = 0; c < p.channels; c++)
        d[AT(d, r, c)] = T(size > 0.0 ? p.scale * (float(y[AT(y, r, c)]) / size - along * float(x[AT(x, r, c)])) : 0.0);
}
