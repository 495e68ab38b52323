#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// The adjoint of smooth_fwd: pixel i gets what the outputs that read it have. g, d [h*width, channels] fp32.

layout(push_constant) uniform Push { smooth_bwd_params p; };
READ(0, F, g)
WRITE(1, F, d)

// Weight with which output o reads input i of a line of n: reflected taps fall on the neighbour of the border a second time.
float tap(int o, int i, int n)
{
    if (o < 0 || o >= n)
        return 0.0;
    float w = o == i ? p.centre : 0.0;
    if ((o == 0 ? 1 : o - 1) == i)
        w += p.edge;
    if ((o == n - 1 ? n - 2 : o + 1) == i)
        w += p.edge;
    return w;
}

void main()
{
    const span s = lane_span(p.h * p.width, p.channels);
    for (uint r = s.row; r < s.end; r++) {
        const int i = int(r / p.width), j = int(r % p.width);
        vec4 sum = vec4(0.0);
        for (int a = max(i - 1, 0); a <= min(i + 1, int(p.h) - 1); a++)
            for (int b = max(j - 1, 0); b <= min(j + 1, int(p.width) - 1); b++)
                sum += tap(a, i, int(p.h)) * tap(b, j, int(p.width)) * get_g(uint(a) * p.width + uint(b), s.col);
        set_d(r, s.col, sum);
    }
}
