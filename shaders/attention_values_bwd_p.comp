#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// d = g v^T + a per image and head: row (image*heads + head)*tq + query, one column per key, a and d fp32.
//
// A lane has one query and passes over its row, KEYS keys at a time.

layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 32;
const uint KEYS = 16;
layout(push_constant) uniform Push { attention_values_bwd_p_params p; };
HEAD_READ(0, g)
HEAD_READ(1, v)
layout(binding = 2) readonly buffer A { float a[]; };
layout(binding = 3) writeonly buffer D { float d[]; };

void main()
{
    const uint query = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    if (query >= p.tq)
        return;
    const uint row = (image * p.heads + head) * p.tq + query, g_at = HEAD_AT(g, image * p.tq + query, head);
    const uint a_at = p.a.off + row * p.a.stride, d_at = p.d.off + row * p.d.stride;
    const bool given = (p.given & 1u << 2) != 0;
    for (uint key = 0; key < p.tk; key += KEYS) {
        float s[KEYS];
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            s[j] = 0.0;
        [[dont_unroll]] for (uint c = 0; c < H4; c++) {
            const vec4 four = get_g(g_at, c);
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                s[j] = dot_onto(s[j], four, get_v(HEAD_AT(v, image * p.tk + min(key + j, p.tk - 1), head), c));
        }
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            if (key + j < p.tk)
                d[d_at + key + j] = given ? s[j] + a[a_at + key + j] : s[j];
    }
}
