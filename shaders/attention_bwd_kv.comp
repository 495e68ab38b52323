#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_bwd.glsl"
// dk = scale e^T q, dv = p^T g, with p = exp(scale q k - s0) and e = p (g v - s1). A lane has one key; queries ascending.

layout(push_constant) uniform Push { attention_bwd_kv_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, v)
HEAD_READ(3, g)
layout(binding = 4) readonly buffer S { float stats[]; };
HEAD_WRITE(5, dk)
HEAD_WRITE(6, dv)

void main()
{
    const uint key = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z / parts();
    const uint first = gl_WorkGroupID.z % parts() * CV;  // vector of dk and dv
    if (key >= p.tk)
        return;
    const uint k_at = HEAD_AT(k, image * p.tk + key, head), v_at = HEAD_AT(v, image * p.tk + key, head);
    const float scale = p.scale * LOG2E;
    vec4 k_row[KEPT], v_row[KEPT], k_acc[CV], v_acc[CV];
    [[unroll]] for (uint c = 0; c < KEPT; c++) {
        k_row[c] = get_k(k_at, c);
        v_row[c] = get_v(v_at, c);
    }
    [[unroll]] for (uint c = 0; c < CV; c++)
        k_acc[c] = v_acc[c] = vec4(0.0);
    for (uint query = 0; query < p.tq; query += BLOCK) {
        float s[BLOCK], e[BLOCK];
        uint row[BLOCK];
        [[unroll]] for (uint j = 0; j < BLOCK; j++) {
            s[j] = e[j] = 0.0;
            row[j] = min(query + j, p.tq - 1);
        }
        if (KEPT > 1) {
            [[unroll]] for (uint c = 0; c < KEPT; c++)
                [[unroll]] for (uint j = 0; j < BLOCK; j++) {
                    s[j] = dot_onto(s[j], get_q(HEAD_AT(q, image * p.tq + row[j], head), c), k_row[c]);
                    e[j] = dot_onto(e[j], get_g(HEAD_AT(g, image * p.tq + row[j], head), c), v_row[c]);
                }
        } else {
            [[dont_unroll]] for (uint c = 0; c < H4; c++) {
                const vec4 a = get_k(k_at, c), b = get_v(v_at, c);
                [[unroll]] for (uint j = 0; j < BLOCK; j++) {
                    s[j] = dot_onto(s[j], get_q(HEAD_AT(q, image * p.tq + row[j], head), c), a);
                    e[j] = dot_onto(e[j], get_g(HEAD_AT(g, image * p.tq + row[j], head), c), b);
                }
            }
        }
        [[unroll]] for (uint j = 0; j < BLOCK; j++) {
            const uint s_at = p.s.off + ((image * p.heads + head) * p.tq + row[j]) * p.s.stride;
            const bool seen = query + j < p.tq && (p.causal == 0 || key <= query + j);
            s[j] = seen ? exp2(s[j] * scale - stats[s_at] * LOG2E) : 0.0;
            e[j] = seen ? s[j] * (e[j] - stats[s_at + 1]) : 0.0;
        }
        [[unroll]] for (uint c = 0; c < CV; c++)
            [[unroll]] for (uint j = 0; j < BLOCK; j++) {
                const uint at = min(first + c, H4 - 1);
                k_acc[c] = fma(vec4(e[j]), get_q(HEAD_AT(q, image * p.tq + row[j], head), at), k_acc[c]);
                v_acc[c] = fma(vec4(s[j]), get_g(HEAD_AT(g, image * p.tq + row[j], head), at), v_acc[c]);
            }
    }
    [[unroll]] for (uint c = 0; c < CV; c++)
        if (first + c < H4) {
            set_dk(HEAD_AT(dk, image * p.tk + key, head), first + c, p.scale * k_acc[c]);
            set_dv(HEAD_AT(dv, image * p.tk + key, head), first + c, v_acc[c]);
        }
}
