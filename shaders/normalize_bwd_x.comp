#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// d = g * m[1,c]; g, d [rows, channels], m [2, channels] fp32.

layout(push_constant) uniform Push { normalize_bwd_params p; };
READ(0, T, g)
READ(1, F, m)
WRITE(2, T, d)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++)
        set_d(r, s.col, get_g(r, s.col) * get_m(1, s.col));
}
