#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_stats.glsl"
// s = (log of the sum over keys of exp(scale * q.k), sum of g y) per query, head and image.
//
// A lane has one query and reads its row of q once per block of keys.

layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 32;

void main()
{
    const uint query = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    if (query >= p.tq)
        return;
    const uint row = image * p.tq + query, q_at = HEAD_AT(q, row, head);
    const uint last = p.causal != 0 ? min(query, p.tk - 1) : p.tk - 1;  // key that the query sees
    const float scale = p.scale * LOG2E;
    float m = MASKED, l = 0.0;
    for (uint key = 0; key <= last; key += 2 * KEYS) {
        float s[2 * KEYS];
        [[unroll]] for (uint j = 0; j < 2 * KEYS; j++)
            s[j] = 0.0;
        [[dont_unroll]] for (uint c = 0; c < H4; c++) {
            const vec4 a = get_q(q_at, c);
            [[unroll]] for (uint j = 0; j < 2 * KEYS; j++)
                s[j] = dot_onto(s[j], a, get_k(HEAD_AT(k, image * p.tk + min(key + j, p.tk - 1), head), c));
        }
        [[unroll]] for (uint half_of = 0; half_of < 2; half_of++) {
            float block[KEYS];
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                block[j] = key + half_of * KEYS + j <= last ? s[half_of * KEYS + j] * scale : MASKED;
            add_block(block, m, l);
        }
    }
    finish(row, head, m, l);
}
