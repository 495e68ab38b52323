#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/steps.glsl"

// y = x * scale (* in_scale of the step), `copies` times one after another; x [rows, channels] fp32, y [copies*rows, channels].

layout(push_constant) uniform Push { scale_params p; };
READ(0, F, x)
WRITE(1, T, y)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    const float factor = p.per_step != 0 ? p.scale * CURRENT_STEP.in_scale : p.scale;
    for (uint r = s.row; r < s.end; r++)
        for (uint copy = 0; copy < p.copies; copy++)
            set_y(copy * p.rows + r, s.col, get_x(r, s.col) * factor);
}
