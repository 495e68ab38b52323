#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/bicubic.glsl"

// The adjoint of bicubic_fwd: every input pixel gathers from the outputs that read it. g [images*oh*ow, channels],
// d [images*h*width, channels].

layout(push_constant) uniform Push { bicubic_bwd_params p; };
READ(0, T, g)
WRITE(1, T, d)

// Weight with which output o reads input i; at the border several taps may meet there.
float weight(uint o, uint i, uint inputs, uint outputs)
{
    vec4 w;
    const ivec4 at = clamp(taps(o, inputs, outputs, w) + ivec4(0, 1, 2, 3), 0, int(inputs) - 1);
    return dot(w, vec4(equal(at, ivec4(i))));
}

void main()
{
    const span s = lane_span(p.images * p.h * p.width, p.channels);
    for (uint r = s.row; r < s.end; r++) {
        const uint line = r / p.width, image = line / p.h;
        const int i = int(line - image * p.h), j = int(r - line * p.width);
        const uint bottom = min(output_from(i + 2, p.h, p.oh), p.oh), right = min(output_from(j + 2, p.width, p.ow), p.ow);
        vec4 sum = vec4(0.0);
        for (uint a = output_from(i - 2, p.h, p.oh); a < bottom; a++) {
            const float wy = weight(a, uint(i), p.h, p.oh);
            vec4 along = vec4(0.0);
            for (uint b = output_from(j - 2, p.width, p.ow); b < right; b++)
                along = fma(vec4(weight(b, uint(j), p.width, p.ow)), get_g((image * p.oh + a) * p.ow + b, s.col), along);
            sum = fma(vec4(wy), along, sum);
        }
        set_d(r, s.col, sum);
    }
}
