#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// y = p v per image and head, with p as attention_probs_fwd keeps it: [images*heads*tq, tk], fp32.
//
// A lane has four columns of QUERIES rows of y, keys ascending. It loads four columns of v once per key; p is the same for all lanes.

layout(local_size_x = 8) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 8;
layout(constant_id = 1) const uint QUERIES = 16;
layout(push_constant) uniform Push { attention_values_params p; };
layout(binding = 0) readonly buffer P { float probs[]; };
HEAD_READ(1, v)
HEAD_WRITE(2, y)

void main()
{
    const uint parts = (H4 + WG - 1) / WG;  // workgroups side by side in a head
    const uint first = gl_WorkGroupID.x * QUERIES, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z / parts;
    const uint c = gl_WorkGroupID.z % parts * WG + gl_LocalInvocationID.x, column = min(c, H4 - 1);
    const uint row = (image * p.heads + head) * p.tq;
    uint p_at[QUERIES];
    vec4 acc[QUERIES];
    [[unroll]] for (uint r = 0; r < QUERIES; r++) {
        p_at[r] = p.p.off + (row + min(first + r, p.tq - 1)) * p.p.stride;
        acc[r] = vec4(0.0);
    }
    [[dont_unroll]] for (uint key = 0; key < p.tk; key++) {
        const vec4 b = get_v(HEAD_AT(v, image * p.tk + key, head), column);
        [[unroll]] for (uint r = 0; r < QUERIES; r++)
            acc[r] = fma(vec4(probs[p_at[r] + key]), b, acc[r]);
    }
    if (c < H4)
        [[unroll]] for (uint r = 0; r < QUERIES; r++)
            if (first + r < p.tq)
                set_y(HEAD_AT(y, image * p.tq + first + r, head), c, acc[r]);
}
