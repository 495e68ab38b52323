#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/steps.glsl"

// y = x_uncond + guidance * (x_cond - x_uncond); x [branches*rows, channels], unconditional rows first, y [rows, channels] fp32.
// One branch is converted only.

layout(push_constant) uniform Push { guidance_params p; };
READ(0, T, x)
WRITE(1, F, y)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    const vec4 guidance = vec4(CURRENT_STEP.guidance);
    for (uint r = s.row; r < s.end; r++) {
        vec4 v = get_x(r, s.col);
        if (p.branches > 1)
            v = fma(guidance, get_x(p.rows + r, s.col) - v, v);
        set_y(r, s.col, v);
    }
}
