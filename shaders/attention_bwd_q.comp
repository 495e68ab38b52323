#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_bwd.glsl"
// d = scale e k, with p = exp(scale q k - s0) and e = p (g v - s1): the gradient of q. Keys ascending.

layout(push_constant) uniform Push { attention_bwd_q_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, v)
HEAD_READ(3, g)
layout(binding = 4) readonly buffer S { float stats[]; };
HEAD_WRITE(5, d)

void main()
{
    const uint query = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z / parts();
    const uint first = gl_WorkGroupID.z % parts() * CV;  // vector of d
    if (query >= p.tq)
        return;
    const uint q_at = HEAD_AT(q, image * p.tq + query, head), g_at = HEAD_AT(g, image * p.tq + query, head);
    const uint s_at = p.s.off + ((image * p.heads + head) * p.tq + query) * p.s.stride;
    const float s0 = stats[s_at] * LOG2E, s1 = stats[s_at + 1], scale = p.scale * LOG2E;
    vec4 q_row[KEPT], g_row[KEPT], acc[CV];
    [[unroll]] for (uint c = 0; c < KEPT; c++) {
        q_row[c] = get_q(q_at, c);
        g_row[c] = get_g(g_at, c);
    }
    [[unroll]] for (uint c = 0; c < CV; c++)
        acc[c] = vec4(0.0);
    const uint last = p.causal != 0 ? min(query, p.tk - 1) : p.tk - 1;
    for (uint key = 0; key <= last; key += BLOCK) {
        float s[BLOCK], e[BLOCK];
        uint row[BLOCK];
        [[unroll]] for (uint j = 0; j < BLOCK; j++) {
            s[j] = e[j] = 0.0;
            row[j] = image * p.tk + min(key + j, p.tk - 1);
        }
        if (KEPT > 1) {
            [[unroll]] for (uint c = 0; c < KEPT; c++)
                [[unroll]] for (uint j = 0; j < BLOCK; j++) {
                    s[j] = dot_onto(s[j], q_row[c], get_k(HEAD_AT(k, row[j], head), c));
                    e[j] = dot_onto(e[j], g_row[c], get_v(HEAD_AT(v, row[j], head), c));
                }
        } else {
            [[dont_unroll]] for (uint c = 0; c < H4; c++) {
                const vec4 a = get_q(q_at, c), b = get_g(g_at, c);
                [[unroll]] for (uint j = 0; j < BLOCK; j++) {
                    s[j] = dot_onto(s[j], a, get_k(HEAD_AT(k, row[j], head), c));
                    e[j] = dot_onto(e[j], b, get_v(HEAD_AT(v, row[j], head), c));
                }
            }
        }
        [[unroll]] for (uint j = 0; j < BLOCK; j++)
            e[j] = key + j <= last ? exp2(s[j] * scale - s0) * (e[j] - s1) : 0.0;
        [[unroll]] for (uint c = 0; c < CV; c++)
            [[unroll]] for (uint j = 0; j < BLOCK; j++)
                acc[c] = fma(vec4(e[j]), get_k(HEAD_AT(k, row[j], head), min(first + c, H4 - 1)), acc[c]);
    }
    [[unroll]] for (uint c = 0; c < CV; c++)
        if (first + c < H4)
            set_d(HEAD_AT(d, image * p.tq + query, head), first + c, p.scale * acc[c]);
}
