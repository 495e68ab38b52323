#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_stats.glsl"
// s = (log of the sum over keys of exp(scale * q.k), sum of g y) per query, head and image, for head sizes up to 96.
//
// A lane has one query, its row of q in registers; keys are staged in shared memory as in attention_fwd_staged.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;

shared vec4 keys[KEYS * H4];

void main()
{
    const uint first = gl_WorkGroupID.x * WG, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    const uint query = first + gl_LocalInvocationID.x, r = image * p.tq + min(query, p.tq - 1);
    vec4 row[H4];
    [[unroll]] for (uint c = 0; c < H4; c++)
        row[c] = get_q(HEAD_AT(q, r, head), c);
    const float scale = p.scale * LOG2E;
    const uint last = p.causal != 0 ? min(query, p.tk - 1) : p.tk - 1;  // key that the query sees
    const uint end = p.causal != 0 ? min(p.tk, first + WG) : p.tk;
    float m = MASKED, l = 0.0;
    for (uint key = 0; key < end; key += KEYS) {
        barrier();
        for (uint e = gl_LocalInvocationID.x; e < KEYS * H4; e += WG)
            keys[e] = get_k(HEAD_AT(k, image * p.tk + min(key + e / H4, p.tk - 1), head), e % H4);
        barrier();
        float s[KEYS];
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            s[j] = 0.0;
        [[unroll]] for (uint c = 0; c < H4; c++)
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                s[j] = dot_onto(s[j], row[c], keys[j * H4 + c]);
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            s[j] = key + j <= last ? s[j] * scale : MASKED;
        add_block(s, m, l);
    }
    if (query < p.tq)
        finish(r, head, m, l);
}
