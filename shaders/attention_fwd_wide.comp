#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
// y = softmax(scale * q k^T) v per image and head without the matrix of probabilities, for heads too large for the registers of a lane.
//
// Online softmax as in attention_fwd_staged. A workgroup has QUERIES queries and takes keys in blocks of WG, in three steps:
//   scores      a lane has one key of the block; q is staged in shared memory, COLUMNS vectors at a time
//   softmax     lane i has the maximum and the sum of query i
//   values      a lane has vector `lane` of every y, at most WG of them; the weights are read from shared memory
// WG is part of the order of the sums: it belongs to the range of head sizes that a row of kernels.def takes.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
layout(constant_id = 1) const uint QUERIES = 16;  // at most WG
layout(constant_id = 3) const uint COLUMNS = 4;
layout(push_constant) uniform Push { attention_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, v)
HEAD_WRITE(3, y)

shared vec4 rows[QUERIES * COLUMNS];
shared float weights[QUERIES * WG];           // scores, then exp(score - maximum)
shared float factors[QUERIES], tops[QUERIES];

void main()
{
    const uint lane = gl_LocalInvocationID.x, first = gl_WorkGroupID.x * QUERIES, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    vec4 acc[QUERIES];
    [[unroll]] for (uint r = 0; r < QUERIES; r++)
        acc[r] = vec4(0.0);
    float m = MASKED, l = 0.0;
    const float scale = p.scale * LOG2E;
    const uint end = p.causal != 0 ? min(p.tk, first + QUERIES) : p.tk;
    for (uint key = 0; key < end; key += WG) {
        const uint k_at = HEAD_AT(k, image * p.tk + min(key + lane, p.tk - 1), head);
        float s[QUERIES];
        [[unroll]] for (uint r = 0; r < QUERIES; r++)
            s[r] = 0.0;
        [[dont_unroll]] for (uint c0 = 0; c0 < H4; c0 += COLUMNS) {
            barrier();
            for (uint e = lane; e < QUERIES * COLUMNS; e += WG) {
                const uint c = c0 + e % COLUMNS, r = image * p.tq + min(first + e / COLUMNS, p.tq - 1);
                rows[e] = c < H4 ? get_q(HEAD_AT(q, r, head), c) : vec4(0.0);
            }
            barrier();
            [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
                const vec4 b = get_k(k_at, min(c0 + c, H4 - 1));
                [[unroll]] for (uint r = 0; r < QUERIES; r++)
                    s[r] = dot_onto(s[r], rows[r * COLUMNS + c], b);
            }
        }
        [[unroll]] for (uint r = 0; r < QUERIES; r++) {
            const uint last = p.causal != 0 ? min(first + r, p.tk - 1) : p.tk - 1;
            s[r] = key + lane <= last ? s[r] * scale : MASKED;
            weights[r * WG + lane] = s[r];
        }
        barrier();
        if (lane < QUERIES) {
            float top = m;
            [[dont_unroll]] for (uint j = 0; j < WG; j++)
                top = max(top, weights[lane * WG + j]);
            const float f = exp2(m - top);
            m = top;
            l *= f;
            tops[lane] = top;
            factors[lane] = f;
        }
        barrier();
        [[unroll]] for (uint r = 0; r < QUERIES; r++) {
            weights[r * WG + lane] = exp2(s[r] - tops[r]);
            acc[r] *= factors[r];
        }
        barrier();
        if (lane < QUERIES)
            [[dont_unroll]] for (uint j = 0; j < WG; j++)
                l += weights[lane * WG + j];
        const uint count = min(WG, end - key);
        [[dont_unroll]] for (uint j0 = 0; j0 < count; j0 += 4)  // WG is a multiple of 4; behind `count` the weights are 0
            [[unroll]] for (uint i = 0; i < 4; i++) {  // from 0: from j0, Mesa fails to unroll it and compiles for minutes
                const uint j = j0 + i;
                const vec4 b = get_v(HEAD_AT(v, image * p.tk + min(key + j, p.tk - 1), head), min(lane, H4 - 1));
                [[unroll]] for (uint r = 0; r < QUERIES; r++)
                    acc[r] = fma(vec4(weights[r * WG + j]), b, acc[r]);
            }
    }
    barrier();
    if (lane < QUERIES)
        factors[lane] = l;
    barrier();
    if (lane < H4)
        [[unroll]] for (uint r = 0; r < QUERIES; r++)
            if (first + r < p.tq)
                set_y(HEAD_AT(y, image * p.tq + first + r, head), lane, acc[r] / factors[r]);
}
