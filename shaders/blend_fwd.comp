#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/steps.glsl"

// x = m x + (1 - m) (blend_x z + blend_n n) in place; m [rows, 1], z, n and x [rows, channels], fp32.
// m = 1 keeps the bits of x, m = 0 takes those of the source.

layout(push_constant) uniform Push { blend_params p; };
layout(binding = 0) readonly buffer M { float m[]; };
layout(binding = 1) readonly buffer Z { float z[]; };
layout(binding = 2) readonly buffer N { float n[]; };
layout(binding = 3) buffer X { float x[]; };

void main()
{
    const span s = lane_span(p.rows, p.channels);
    const bl_step k = CURRENT_STEP;
    for (uint r = s.row; r < s.end; r++) {
        const float inside = m[AT(m, r, 0)];
        const float source = fma(k.blend_x, z[AT(z, r, s.col)], k.blend_n * n[AT(n, r, s.col)]);
        x[AT(x, r, s.col)] = fma(inside, x[AT(x, r, s.col)], (1.0 - inside) * source);
    }
}
