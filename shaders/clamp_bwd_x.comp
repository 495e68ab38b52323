#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// d = scale g where 0 <= scale x + shift <= 1, else 0; x, g, d [rows, channels].

layout(push_constant) uniform Push { clamp_bwd_params p; };
READ(0, T, x)
READ(1, T, g)
WRITE(2, T, d)

void main()
{
    const span s = lane_span(p.rows, p.channels);
    for (uint r = s.row; r < s.end; r++) {
        const vec4 v = p.scale * get_x(r, s.col) + p.shift;
        const bvec4 inside = bvec4(uvec4(greaterThanEqual(v, vec4(0.0))) * uvec4(lessThanEqual(v, vec4(1.0))));
        set_d(r, s.col, mix(vec4(0.0), p.scale * get_g(r, s.col), inside));
    }
}
