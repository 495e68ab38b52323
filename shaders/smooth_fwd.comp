#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// y = x filtered with (edge, centre, edge) along lines, then columns, of one map, reflected beyond the border (without the border itself).
// x, y [h*width, channels] fp32.

layout(push_constant) uniform Push { smooth_params p; };
READ(0, F, x)
WRITE(1, F, y)

uint mirrored(int i, uint n) { return uint(i < 0 ? -i : i >= int(n) ? 2 * int(n) - 2 - i : i); }

vec4 line(uint i, uint j, uint c)
{
    return p.edge * (get_x(i * p.width + mirrored(int(j) - 1, p.width), c) + get_x(i * p.width + mirrored(int(j) + 1, p.width), c)) +
        p.centre * get_x(i * p.width + j, c);
}

void main()
{
    const span s = lane_span(p.h * p.width, p.channels);
    for (uint r = s.row; r < s.end; r++) {
        const uint i = r / p.width, j = r % p.width;
        set_y(r, s.col, p.edge * (line(mirrored(int(i) - 1, p.h), j, s.col) + line(mirrored(int(i) + 1, p.h), j, s.col)) +
                            p.centre * line(i, j, s.col));
    }
}
