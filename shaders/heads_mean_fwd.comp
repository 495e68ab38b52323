#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// y[i,j] = r[i,j] + scale * sum over heads h of x[h*rows + i, j], heads ascending; x [heads*rows, channels], r (if it is there)
// and y [rows, channels], fp32.

layout(push_constant) uniform Push { heads_mean_params p; };
READ(0, F, x)
READ(1, F, r)
WRITE(2, F, y)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint i = s.row; i < s.end; i++) {
        vec4 sum = vec4(0.0);
        for (uint h = 0; h < p.heads; h++)
            sum += get_x(h * p.rows + i, s.col);
        sum *= p.scale;
        if ((p.given >> 1 & 1u) != 0u)
            sum += get_r(i, s.col);
        set_y(i, s.col, sum);
    }
}
