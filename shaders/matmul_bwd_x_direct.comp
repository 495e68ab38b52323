#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// d[i,c] = sum_j g[i,j] w[j,c] + r[i,c], g [m,n], w [n,k], d [m,k].
// The tile is that of direct.glsl.
layout(push_constant) uniform Push { matmul_bwd_params p; };
#define W_BY_DEPTH
#include "inc/direct.glsl"
#include "inc/epilogue_bwd.glsl"

void main()
{
    const uint m = tile_row(), n = lane_column();
    if (m >= p.m)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        row[i] = (p.g.off + min(m + i, p.m - 1) * p.g.stride) / 4;
    clear();
    accumulate((p.w.off + min(n, p.k - 4)) / 4, p.w.stride / 4, p.n / 4, false);
    if (n < p.k)
        for (uint i = 0; i < min(TM, p.m - m); i++)
            finish(result(i), m + i, n);
}
