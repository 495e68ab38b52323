#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/bicubic.glsl"

// y: x resized to oh x ow; x [images*h*width, channels], y [images*oh*ow, channels].

layout(push_constant) uniform Push { bicubic_params p; };
READ(0, T, x)
WRITE(1, T, y)

void main()
{
    const span s = lane_span(p.images * p.oh * p.ow, p.channels);
    for (uint r = s.row; r < s.end; r++) {
        const uint line = r / p.ow, image = line / p.oh;
        vec4 wy, wx, sum = vec4(0.0);
        const int top = taps(line - image * p.oh, p.h, p.oh, wy), left = taps(r - line * p.ow, p.width, p.ow, wx);
        [[unroll]] for (int a = 0; a < 4; a++) {
            const uint first = (image * p.h + uint(clamp(top + a, 0, int(p.h) - 1))) * p.width;
            vec4 along = vec4(0.0);
            [[unroll]] for (int b = 0; b < 4; b++)
                along = fma(vec4(wx[b]), get_x(first + uint(clamp(left + b, 0, int(p.width) - 1)), s.col), along);
            sum = fma(vec4(wy[a]), along, sum);
        }
        set_y(r, s.col, sum);
    }
}
