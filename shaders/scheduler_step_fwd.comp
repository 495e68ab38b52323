#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/steps.glsl"

// One step of a linear multistep scheduler in place: m = px x + pe e, x' = cx x + cs saved + k0 m + k1 h1 + k2 h2 + k3 h3 + kn z; then
// saved = x if `save`, and h3 = h2, h2 = h1, h1 = m if `push`. e, z, x [rows, channels], h [4*rows, channels]: h1, h2, h3, saved; fp32.
//
// What has the coefficient 0 is not read: history is not yet written in the first steps. There may be no noise.
// A lane has one element of everything.

layout(push_constant) uniform Push { scheduler_step_params p; };
layout(binding = 0) readonly buffer E { float e[]; };
layout(binding = 1) readonly buffer Z { float z[]; };
layout(binding = 2) buffer X { float x[]; };
layout(binding = 3) buffer H { float h[]; };

uint at_h(uint which, uint r, uint c) { return AT(h, which * p.rows + r, c); }

void main()
{
    const span s = lane_span(p.rows, p.channels);
    const bl_step k = CURRENT_STEP;
    const uint c = s.col;
    for (uint r = s.row; r < s.end; r++) {
        const float before = x[AT(x, r, c)];
        const float m = fma(k.pe, e[AT(e, r, c)], k.px * before);
        float next = k.cx * before;
        if (k.cs != 0.0)
            next = fma(k.cs, h[at_h(3, r, c)], next);
        next = fma(k.k0, m, next);
        if (k.k1 != 0.0)
            next = fma(k.k1, h[at_h(0, r, c)], next);
        if (k.k2 != 0.0)
            next = fma(k.k2, h[at_h(1, r, c)], next);
        if (k.k3 != 0.0)
            next = fma(k.k3, h[at_h(2, r, c)], next);
        if (k.kn != 0.0 && (p.given >> 1 & 1) != 0)
            next = fma(k.kn, z[AT(z, r, c)], next);
        x[AT(x, r, c)] = next;
        if (k.save != 0.0)
            h[at_h(3, r, c)] = before;
        if (k.push != 0.0) {
            h[at_h(2, r, c)] = h[at_h(1, r, c)];
            h[at_h(1, r, c)] = h[at_h(0, r, c)];
            h[at_h(0, r, c)] = m;
        }
    }
}
