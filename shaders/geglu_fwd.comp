#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/activation.glsl"
#include "inc/elementwise.glsl"

// y = x[:, :channels] * gelu(x[:, channels:]), x [rows, 2*channels], y [rows, channels].

layout(push_constant) uniform Push { geglu_params p; };
READ(0, T, x)
WRITE(1, T, y)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++)
        set_y(r, s.col, get_x(r, s.col) * activate(get_x(r, p.channels + s.col), ACT_GELU));
}
