#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// d = the sum of g over the four copies of a pixel, d [images*h*width, channels], g [images*2h*2width, channels].
// Where the copies are: upsample_fwd.

layout(push_constant) uniform Push { upsample_bwd_params p; };
READ(0, T, g)
WRITE(1, T, d)

void main()
{
    const span s = lane_span(p.images * p.h * p.width, p.channels);
    uint line = s.row / p.width, j = s.row - line * p.width;
    for (uint r = s.row; r < s.end; r++) {
        const uint from = 4 * line * p.width + 2 * j;
        const vec4 upper = get_g(from, s.col) + get_g(from + 1, s.col);
        const vec4 lower = get_g(from + 2 * p.width, s.col) + get_g(from + 2 * p.width + 1, s.col);
        set_d(r, s.col, upper + lower);
        if (++j == p.width) {
            j = 0;
            line++;
        }
    }
}
