#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/activation.glsl"
#include "inc/elementwise.glsl"

// d = g act'(x), all [rows, channels]. d may be g itself.

layout(push_constant) uniform Push { activation_bwd_params p; };
READ(0, T, x)
READ(1, T, g)
WRITE(2, T, d)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++)
        set_d(r, s.col, get_g(r, s.col) * derivative(get_x(r, s.col), p.act));
}
