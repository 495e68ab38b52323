#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_bwd.glsl"
// d = g v^T + a per head: the gradient of kept probabilities. A lane has one query.

layout(push_constant) uniform Push { attention_values_bwd_p_params p; };
HEAD_READ(0, g)
HEAD_READ(1, v)
layout(binding = 2) readonly buffer A { float besides[]; };
layout(binding = 3) writeonly buffer D { float d[]; };

void main()
{
    const uint query = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    if (query >= p.tq)
        return;
    const uint g_at = HEAD_AT(g, image * p.tq + query, head), row = (image * p.heads + head) * p.tq + query;
    for (uint key = 0; key < p.tk; key += BLOCK) {
        float s[BLOCK];
        [[unroll]] for (uint j = 0; j < BLOCK; j++)
            s[j] = 0.0;
        [[dont_unroll]] for (uint c = 0; c < H4; c++) {
            const vec4 b = get_g(g_at, c);
            [[unroll]] for (uint j = 0; j < BLOCK; j++)
                s[j] = dot_onto(s[j], b, get_v(HEAD_AT(v, image * p.tk + min(key + j, p.tk - 1), head), c));
        }
        [[unroll]] for (uint j = 0; j < BLOCK; j++)
            if (key + j < p.tk)
                d[p.d.off + row * p.d.stride + key + j] = s[j] + ((p.given >> 2 & 1) != 0 ? besides[p.a.off + row * p.a.stride + key + j] : 0.0);
    }
}
