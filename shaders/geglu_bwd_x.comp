#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/activation.glsl"
#include "inc/elementwise.glsl"

// Of y = x0 gelu(x1), halves of x [rows, 2*channels]: d0 = g gelu(x1), d1 = g x0 gelu'(x1); g [rows, channels], d like x, or x itself.

layout(push_constant) uniform Push { geglu_bwd_params p; };
READ(0, T, x)
READ(1, T, g)
WRITE(2, T, d)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++) {
        const vec4 x = get_x(r, s.col), gate = get_x(r, p.channels + s.col), g = get_g(r, s.col);
        set_d(r, s.col, g * activate(gate, ACT_GELU));
        set_d(r, p.channels + s.col, g * x * derivative(gate, ACT_GELU));
    }
}
