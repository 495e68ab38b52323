#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// y = softmax(scale * q k^T) v per image and head without the matrix of probabilities, for heads too large for the registers of a lane.
//
// Online softmax as in attention_fwd_staged. A workgroup has QUERIES queries and takes keys in blocks of KEYS, in three steps:
//   scores      a lane has every WG-th key of the block; q is staged in shared memory, COLUMNS vectors at a time
//   softmax     lane i has the maximum and the sum of query i
//   values      a lane has every WG-th vector of every y; the weights are read from shared memory
// KEYS is part of the order of the sums and depends on the head size alone.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
layout(constant_id = 1) const uint QUERIES = 16;  // at most WG
layout(constant_id = 3) const uint COLUMNS = 4;
const uint KEYS = HEAD > 160 ? 128 : 40;  // a multiple of WG, at least H4
const uint EACH = KEYS / WG;
layout(push_constant) uniform Push { attention_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, v)
HEAD_WRITE(3, y)

shared vec4 rows[QUERIES * COLUMNS];
shared float weights[QUERIES * KEYS];         // scores, then exp(score - maximum)
shared float factors[QUERIES], tops[QUERIES];

void main()
{
    const uint lane = gl_LocalInvocationID.x, first = gl_WorkGroupID.x * QUERIES, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    vec4 acc[QUERIES * EACH];  // [vector of the lane][query]
    [[unroll]] for (uint i = 0; i < QUERIES * EACH; i++)
        acc[i] = vec4(0.0);
    float m = MASKED, l = 0.0;
    const float scale = p.scale * LOG2E;
    const uint end = p.causal != 0 ? min(p.tk, first + QUERIES) : p.tk;
    for (uint key = 0; key < end; key += KEYS) {
        float s[QUERIES * EACH];  // [key of the lane][query]
        [[unroll]] for (uint i = 0; i < QUERIES * EACH; i++)
            s[i] = 0.0;
        [[dont_unroll]] for (uint c0 = 0; c0 < H4; c0 += COLUMNS) {
            barrier();
            for (uint e = lane; e < QUERIES * COLUMNS; e += WG) {
                const uint c = c0 + e % COLUMNS, r = image * p.tq + min(first + e / COLUMNS, p.tq - 1);
                rows[e] = c < H4 ? get_q(HEAD_AT(q, r, head), c) : vec4(0.0);
            }
            barrier();
            [[unroll]] for (uint i = 0; i < EACH; i++) {
                const uint k_at = HEAD_AT(k, image * p.tk + min(key + i * WG + lane, p.tk - 1), head);
                [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
                    const vec4 b = get_k(k_at, min(c0 + c, H4 - 1));
                    [[unroll]] for (uint r = 0; r < QUERIES; r++)
                        s[i * QUERIES + r] = dot_onto(s[i * QUERIES + r], rows[r * COLUMNS + c], b);
                }
            }
        }
        [[unroll]] for (uint i = 0; i < EACH; i++)
            [[unroll]] for (uint r = 0; r < QUERIES; r++) {
                const uint last = p.causal != 0 ? min(first + r, p.tk - 1) : p.tk - 1, at = i * QUERIES + r;
                s[at] = key + i * WG + lane <= last ? s[at] * scale : MASKED;
                weights[r * KEYS + i * WG + lane] = s[at];
            }
        barrier();
        if (lane < QUERIES) {
            float top = m;
            [[dont_unroll]] for (uint j = 0; j < KEYS; j++)
                top = max(top, weights[lane * KEYS + j]);
            const float f = exp2(m - top);
            m = top;
            l *= f;
            tops[lane] = top;
            factors[lane] = f;
        }
        barrier();
        [[unroll]] for (uint i = 0; i < EACH; i++)
            [[unroll]] for (uint r = 0; r < QUERIES; r++) {
                weights[r * KEYS + i * WG + lane] = exp2(s[i * QUERIES + r] - tops[r]);
                acc[i * QUERIES + r] *= factors[r];
            }
        barrier();
        if (lane < QUERIES)
            [[dont_unroll]] for (uint j = 0; j < KEYS; j++)
                l += weights[lane * KEYS + j];
        const uint count = min(KEYS, end - key);
        [[dont_unroll]] for (uint j0 = 0; j0 < count; j0 += 4)  // KEYS is a multiple of 4; behind `count` the weights are 0
            [[unroll]] for (uint d = 0; d < 4; d++) {  // from 0: from j0, Mesa fails to unroll it and compiles for minutes
                const uint j = j0 + d, v_at = HEAD_AT(v, image * p.tk + min(key + j, p.tk - 1), head);
                [[unroll]] for (uint i = 0; i < EACH; i++) {
                    const vec4 b = get_v(v_at, min(i * WG + lane, H4 - 1));
                    [[unroll]] for (uint r = 0; r < QUERIES; r++)
                        acc[i * QUERIES + r] = fma(vec4(weights[r * KEYS + j]), b, acc[i * QUERIES + r]);
                }
            }
    }
    barrier();
    if (lane < QUERIES)
        factors[lane] = l;
    barrier();
    [[unroll]] for (uint i = 0; i < EACH; i++)
        if (i * WG + lane < H4)
            [[unroll]] for (uint r = 0; r < QUERIES; r++)
                if (first + r < p.tq)
                    set_y(HEAD_AT(y, image * p.tq + first + r, head), i * WG + lane, acc[i * QUERIES + r] / factors[r]);
}
