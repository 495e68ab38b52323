#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// z = x + y; y_rows rows of x share a row of y.

layout(push_constant) uniform Push { add_params p; };
READ(0, T, x)
READ(1, T, y)
WRITE(2, T, z)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++)
        set_z(r, s.col, get_x(r, s.col) + get_y(r / p.y_rows, s.col));
}
