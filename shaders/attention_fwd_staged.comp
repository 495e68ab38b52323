#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// y = softmax(scale * q k^T) v per image and head without the matrix of probabilities, for head sizes up to 96.
//
// Online softmax (Milakov, Gimelshein 2018; tiled as in Dao et al. 2022): keys come in blocks of KEYS; with the running maximum m and
// sum l of a query, a block with scores s gives
//   m' = max(m, max s),  f = exp(m - m'),  w = exp(s - m'),  l = f l + sum w,  acc = f acc + sum w v,  and in the end y = acc / l.
//
// A lane has one query: its row of q and of y stay in registers. The workgroup stages a block of keys and values in shared memory and
// every lane reads it at the same, constant addresses. KEYS depends on the head size alone, so the order of every sum does too.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
const uint KEYS = HEAD > 64 ? 4 : 8;  // larger blocks cost compile time and instruction cache
layout(push_constant) uniform Push { attention_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, v)
HEAD_WRITE(3, y)

shared vec4 keys[KEYS * H4];
shared vec4 values[KEYS * H4];

void main()
{
    const uint first = gl_WorkGroupID.x * WG, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    const uint query = first + gl_LocalInvocationID.x;
    const uint q_at = HEAD_AT(q, image * p.tq + min(query, p.tq - 1), head);  // a lane without a query keeps the others company
    vec4 row[H4], acc[H4];
    [[unroll]] for (uint c = 0; c < H4; c++) {
        row[c] = get_q(q_at, c);
        acc[c] = vec4(0.0);
    }
    float m = MASKED, l = 0.0;
    const float scale = p.scale * LOG2E;
    const uint last = p.causal != 0 ? min(query, p.tk - 1) : p.tk - 1;  // key that the query sees
    const uint end = p.causal != 0 ? min(p.tk, first + WG) : p.tk;
    for (uint key = 0; key < end; key += KEYS) {
        barrier();
        for (uint e = gl_LocalInvocationID.x; e < KEYS * H4; e += WG) {
            const uint r = image * p.tk + min(key + e / H4, p.tk - 1);
            keys[e] = get_k(HEAD_AT(k, r, head), e % H4);
            values[e] = get_v(HEAD_AT(v, r, head), e % H4);
        }
        barrier();
        float s[KEYS];
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            s[j] = 0.0;
        [[unroll]] for (uint c = 0; c < H4; c++)
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                s[j] = dot_onto(s[j], row[c], keys[j * H4 + c]);
        float top = m;
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            s[j] = key + j <= last ? s[j] * scale : MASKED;
            top = max(top, s[j]);
        }
        const float f = exp2(m - top);
        m = top;
        l *= f;
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            s[j] = exp2(s[j] - top);
            l += s[j];
        }
        [[unroll]] for (uint c = 0; c < H4; c++) {
            acc[c] *= f;
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                acc[c] = fma(vec4(s[j]), values[j * H4 + c], acc[c]);
        }
    }
    if (query < p.tq)
        [[unroll]] for (uint c = 0; c < H4; c++)
            set_y(HEAD_AT(y, image * p.tq + query, head), c, acc[c] / l);
}
