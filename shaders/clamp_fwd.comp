#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// y = min(max(scale x + shift, 0), 1); x, y [rows, channels].

layout(push_constant) uniform Push { clamp_params p; };
READ(0, T, x)
WRITE(1, T, y)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++)
        set_y(r, s.col, clamp(p.scale * get_x(r, s.col) + p.shift, 0.0, 1.0));
}
