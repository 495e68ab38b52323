#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// y = softmax(scale * q k^T) v per image and head without the matrix of probabilities, for head sizes up to 96.
//
// The online softmax of attention_fwd_staged, block by block and sum by sum, with few registers: PARTS lanes share a query. Each of them
// has the scores of KEYS / PARTS keys of a block, hands them to the others through shared memory, and adds up every PARTS-th vector of y.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
layout(constant_id = 1) const uint QUERIES = 32;
const uint PARTS = WG / QUERIES;
const uint KEYS = HEAD > 64 ? 4 : 8;  // as in attention_fwd_staged; a multiple of PARTS
const uint MINE = KEYS / PARTS, VECTORS = (H4 + PARTS - 1) / PARTS;
const uint PITCH = H4 | 1;            // vectors from one row of q to the next, odd against bank conflicts
layout(push_constant) uniform Push { attention_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, v)
HEAD_WRITE(3, y)

shared vec4 rows[QUERIES * PITCH];
shared vec4 keys[KEYS * H4];
shared vec4 values[KEYS * H4];
shared float scores[KEYS * QUERIES];

void main()
{
    const uint first = gl_WorkGroupID.x * QUERIES, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    const uint lane = gl_LocalInvocationID.x, mine = lane % QUERIES, part = lane / QUERIES, query = first + mine;
    for (uint e = lane; e < QUERIES * H4; e += WG) {
        const uint r = image * p.tq + min(first + e / H4, p.tq - 1);
        rows[e / H4 * PITCH + e % H4] = get_q(HEAD_AT(q, r, head), e % H4);
    }
    vec4 acc[VECTORS];
    [[unroll]] for (uint i = 0; i < VECTORS; i++)
        acc[i] = vec4(0.0);
    float m = MASKED, l = 0.0;
    const float scale = p.scale * LOG2E;
    const uint last = p.causal != 0 ? min(query, p.tk - 1) : p.tk - 1;  // key that the query sees
    const uint end = p.causal != 0 ? min(p.tk, first + QUERIES) : p.tk;
    for (uint key = 0; key < end; key += KEYS) {
        barrier();
        for (uint e = lane; e < KEYS * H4; e += WG) {
            const uint r = image * p.tk + min(key + e / H4, p.tk - 1);
            keys[e] = get_k(HEAD_AT(k, r, head), e % H4);
            values[e] = get_v(HEAD_AT(v, r, head), e % H4);
        }
        barrier();
        float s[KEYS];
        [[unroll]] for (uint j = 0; j < MINE; j++)
            s[j] = 0.0;
        [[dont_unroll]] for (uint c = 0; c < H4; c++) {
            const vec4 a = rows[mine * PITCH + c];
            [[unroll]] for (uint j = 0; j < MINE; j++)
                s[j] = dot_onto(s[j], a, keys[(part * MINE + j) * H4 + c]);
        }
        [[unroll]] for (uint j = 0; j < MINE; j++)
            scores[(part * MINE + j) * QUERIES + mine] = key + part * MINE + j <= last ? s[j] * scale : MASKED;
        barrier();
        float top = m;
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            s[j] = scores[j * QUERIES + mine];
            top = max(top, s[j]);
        }
        const float f = exp2(m - top);
        m = top;
        l *= f;
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            s[j] = exp2(s[j] - top);
            l += s[j];
        }
        [[unroll]] for (uint i = 0; i < VECTORS; i++) {
            const uint c = min(part + i * PARTS, H4 - 1);
            acc[i] *= f;
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                acc[i] = fma(vec4(s[j]), values[j * H4 + c], acc[i]);
        }
    }
    if (query < p.tq)
        [[unroll]] for (uint i = 0; i < VECTORS; i++)
            if (part + i * PARTS < H4)
                set_y(HEAD_AT(y, image * p.tq + query, head), part + i * PARTS, acc[i] / l);
}
