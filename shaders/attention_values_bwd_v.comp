#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// d = p^T g per image and head, with p as attention_probs_fwd keeps it: [images*heads*tq, tk], fp32.
//
// A lane has four columns of KEYS rows of d, queries ascending. It loads four columns of g once per query; p is the same for all lanes.

layout(local_size_x = 8) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 8;
layout(constant_id = 1) const uint KEYS = 16;
layout(push_constant) uniform Push { attention_values_bwd_v_params p; };
layout(binding = 0) readonly buffer P { float probs[]; };
HEAD_READ(1, g)
HEAD_WRITE(2, d)

void main()
{
    const uint parts = (H4 + WG - 1) / WG;  // workgroups side by side in a head
    const uint first = gl_WorkGroupID.x * KEYS, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z / parts;
    const uint c = gl_WorkGroupID.z % parts * WG + gl_LocalInvocationID.x, column = min(c, H4 - 1);
    const uint p_at = p.p.off + (image * p.heads + head) * p.tq * p.p.stride;
    vec4 acc[KEYS];
    uint key[KEYS];  // before the loop: inside it NVK's compiler for Maxwell and Pascal finds no register
    [[unroll]] for (uint j = 0; j < KEYS; j++) {
        acc[j] = vec4(0.0);
        key[j] = p_at + min(first + j, p.tk - 1);
    }
    [[dont_unroll]] for (uint query = 0; query < p.tq; query++) {
        const vec4 b = get_g(HEAD_AT(g, image * p.tq + query, head), column);
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            acc[j] = fma(vec4(probs[key[j] + query * p.p.stride]), b, acc[j]);
    }
    if (c < H4)
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            if (first + j < p.tk)
                set_d(HEAD_AT(d, image * p.tk + first + j, head), c, acc[j]);
}
