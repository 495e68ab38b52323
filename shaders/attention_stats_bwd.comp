#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_bwd.glsl"
// s[.., 0] = log of the sum over keys of exp(scale q k), s[.., 1] = sum over the columns of the head of g y, per query of every head.
//
// A lane has one query; running maximum and sum as in attention_fwd.

layout(push_constant) uniform Push { attention_stats_bwd_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, y)
HEAD_READ(3, g)
layout(binding = 4) writeonly buffer S { float stats[]; };

void main()
{
    const uint query = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    if (query >= p.tq)
        return;
    const uint q_at = HEAD_AT(q, image * p.tq + query, head);
    vec4 row[KEPT];
    [[unroll]] for (uint c = 0; c < KEPT; c++)
        row[c] = get_q(q_at, c);
    const uint last = p.causal != 0 ? min(query, p.tk - 1) : p.tk - 1;
    const float scale = p.scale * LOG2E;
    float m = MASKED, l = 0.0;
    for (uint key = 0; key <= last; key += BLOCK) {
        float s[BLOCK];
        [[unroll]] for (uint j = 0; j < BLOCK; j++)
            s[j] = 0.0;
        if (KEPT > 1) {
            [[unroll]] for (uint c = 0; c < KEPT; c++)
                [[unroll]] for (uint j = 0; j < BLOCK; j++)
                    s[j] = dot_onto(s[j], row[c], get_k(HEAD_AT(k, image * p.tk + min(key + j, p.tk - 1), head), c));
        } else {
            [[dont_unroll]] for (uint c = 0; c < H4; c++) {
                const vec4 a = get_q(q_at, c);
                [[unroll]] for (uint j = 0; j < BLOCK; j++)
                    s[j] = dot_onto(s[j], a, get_k(HEAD_AT(k, image * p.tk + min(key + j, p.tk - 1), head), c));
            }
        }
        float top = m;
        [[unroll]] for (uint j = 0; j < BLOCK; j++) {
            s[j] = key + j <= last ? s[j] * scale : MASKED;
            top = max(top, s[j]);
        }
        l *= exp2(m - top);
        m = top;
        [[unroll]] for (uint j = 0; j < BLOCK; j++)
            l += exp2(s[j] - top);
    }
    const uint y_at = HEAD_AT(y, image * p.tq + query, head), g_at = HEAD_AT(g, image * p.tq + query, head);
    float sum = 0.0;
    [[dont_unroll]] for (uint c = 0; c < H4; c++)
        sum = dot_onto(sum, get_g(g_at, c), get_y(y_at, c));
    const uint at = p.s.off + ((image * p.heads + head) * p.tq + query) * p.s.stride;
    stats[at] = (m + log2(l)) / LOG2E;
    stats[at + 1] = sum;
}
