#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_bwd.glsl"
// d = p^T g per head, with p as attention_probs_fwd keeps it. A lane has CV vectors of one key; queries ascending.

layout(push_constant) uniform Push { attention_values_bwd_v_params p; };
layout(binding = 0) readonly buffer P { float probs[]; };
HEAD_READ(1, g)
HEAD_WRITE(2, d)

void main()
{
    const uint key = gl_WorkGroupID.x * WG + gl_LocalInvocationID.x, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z / parts();
    const uint first = gl_WorkGroupID.z % parts() * CV;
    if (key >= p.tk)
        return;
    const uint row = (image * p.heads + head) * p.tq;
    vec4 acc[CV];
    [[unroll]] for (uint c = 0; c < CV; c++)
        acc[c] = vec4(0.0);
    [[dont_unroll]] for (uint query = 0; query < p.tq; query++) {
        const float a = probs[p.p.off + (row + query) * p.p.stride + key];
        const uint g_at = HEAD_AT(g, image * p.tq + query, head);
        [[unroll]] for (uint c = 0; c < CV; c++)
            acc[c] = fma(vec4(a), get_g(g_at, min(first + c, H4 - 1)), acc[c]);
    }
    [[unroll]] for (uint c = 0; c < CV; c++)
        if (first + c < H4)
            set_d(HEAD_AT(d, image * p.tk + key, head), first + c, acc[c]);
}
