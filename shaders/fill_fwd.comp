#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// y = value, y [rows, channels].

layout(push_constant) uniform Push { fill_params p; };
WRITE(0, T, y)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++)
        set_y(r, s.col, vec4(p.value));
}
