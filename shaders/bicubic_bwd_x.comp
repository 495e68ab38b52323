#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/bicubic.glsl"

// The adjoint: every input pixel gathers the outputs that read it. g [images*oh*ow, channels], d [images*h*width, channels].
layout(push_constant) uniform Push { bicubic_bwd_params p; };
READ(0, T, g)
WRITE(1, T, d)

// Outputs that may read input i: those whose position is less than 2 away, one more for rounding; at a border all beyond it.
uint first_output(uint i, uint inputs, uint outputs)
{
    const float at = (float(i) - 2.0 + 0.5) * (float(outputs) / float(inputs)) - 0.5;
    return i == 0 ? 0 : uint(clamp(floor(at) - 1.0, 0.0, float(outputs - 1)));
}
uint last_output(uint i, uint inputs, uint outputs)
{
    const float at = (float(i) + 2.0 + 0.5) * (float(outputs) / float(inputs)) - 0.5;
    return i == inputs - 1 ? outputs - 1 : uint(clamp(ceil(at) + 1.0, 0.0, float(outputs - 1)));
}

// Weight with which output o reads input i; at the border several taps may meet there.
float weight(uint o, uint i, uint inputs, uint outputs)
{
    vec4 w;
    const int first = taps(o, inputs, outputs, w);
    float sum = 0.0;
    for (int a = 0; a < 4; a++)
        if (clamp(first + a, 0, int(inputs) - 1) == int(i))
            sum += w[a];
    return sum;
}

void main()
{
    const span s = lane_span(p.images * p.h * p.width, p.channels);
    for (uint r = s.row; r < s.end; r++) {
        const uint image = r / (p.h * p.width), i = r / p.width % p.h, j = r % p.width;
        const uint top = first_output(i, p.h, p.oh), bottom = last_output(i, p.h, p.oh);
        const uint left = first_output(j, p.width, p.ow), right = last_output(j, p.width, p.ow);
        vec4 sum = vec4(0.0);
        for (uint a = top; a <= bottom; a++) {
            const float wy = weight(a, i, p.h, p.oh);
            if (wy == 0.0)
                continue;
            vec4 along = vec4(0.0);
            for (uint b = left; b <= right; b++)
                along += weight(b, j, p.width, p.ow) * get_g((image * p.oh + a) * p.ow + b, s.col);
            sum += wy * along;
        }
        set_d(r, s.col, sum);
    }
}
