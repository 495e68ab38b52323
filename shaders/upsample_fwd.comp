#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// y[n, i, j, c] = x[n, i/2, j/2, c], x [images*h*width, channels], y [images*2h*2width, channels].
// A lane reads a pixel and writes its four copies. With r = line * width + j, line = n * h + i, the first copy is row
// (2 * line) * (2 * width) + 2 * j.

layout(push_constant) uniform Push { upsample_params p; };
READ(0, T, x)
WRITE(1, T, y)

void main()
{
    const span s = lane_span(p.images * p.h * p.width, p.channels);
    uint line = s.row / p.width, j = s.row - line * p.width;
    for (uint r = s.row; r < s.end; r++) {
        const vec4 v = get_x(r, s.col);
        const uint to = 4 * line * p.width + 2 * j;
        set_y(to, s.col, v);
        set_y(to + 1, s.col, v);
        set_y(to + 2 * p.width, s.col, v);
        set_y(to + 2 * p.width + 1, s.col, v);
        if (++j == p.width) {
            j = 0;
            line++;
        }
    }
}
