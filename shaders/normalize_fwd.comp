#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// y = (x - m[0,c]) * m[1,c]; x, y [rows, channels], m [2, channels] fp32.

layout(push_constant) uniform Push { normalize_params p; };
READ(0, T, x)
READ(1, F, m)
WRITE(2, T, y)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++)
        set_y(r, s.col, (get_x(r, s.col) - get_m(0, s.col)) * get_m(1, s.col));
}
