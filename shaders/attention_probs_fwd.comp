#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// p = softmax(scale * q k^T) per image and head, kept: row (image*heads + head)*tq + query, one column per key, fp32. Keys that causal
// hides get 0.
//
// A lane has one query and passes over its row three times: scores and their maximum, KEYS of them at a time; sum; result.

layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 32;
const uint KEYS = 8;
layout(push_constant) uniform Push { attention_probs_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
layout(binding = 2) buffer P { float probs[]; };

void main()
{
    const uint query = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    if (query >= p.tq)
        return;
    const uint q_at = HEAD_AT(q, image * p.tq + query, head);
    const uint p_at = p.p.off + ((image * p.heads + head) * p.tq + query) * p.p.stride;
    const uint last = p.causal != 0 ? min(query, p.tk - 1) : p.tk - 1;  // key that the query sees
    const float scale = p.scale * LOG2E;
    float top = MASKED;
    for (uint key = 0; key < p.tk; key += KEYS) {
        float s[KEYS];
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            s[j] = 0.0;
        [[dont_unroll]] for (uint c = 0; c < H4; c++) {
            const vec4 a = get_q(q_at, c);
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                s[j] = dot_onto(s[j], a, get_k(HEAD_AT(k, image * p.tk + min(key + j, p.tk - 1), head), c));
        }
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            s[j] = key + j <= last ? s[j] * scale : MASKED;
            top = max(top, s[j]);
            if (key + j < p.tk)
                probs[p_at + key + j] = s[j];
        }
    }
    float sum = 0.0;
    [[dont_unroll]] for (uint j = 0; j < p.tk; j++)
        sum += exp2(probs[p_at + j] - top);
    [[dont_unroll]] for (uint j = 0; j < p.tk; j++)
        probs[p_at + j] = exp2(probs[p_at + j] - top) / sum;
}
