#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// d[i,c] = sum_j g[i,j] w[j,c] + r[i,c], g [m,n], w [n,k], d [m,k].
// The tile is that of single.glsl.
layout(push_constant) uniform Push { matmul_bwd_params p; };
#include "inc/single.glsl"
#include "inc/epilogue_bwd.glsl"

void main()
{
    const uint n = tile_column();
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        row[i] = p.g.off + min(lane_row(i), p.m - 1) * p.g.stride;
        live[i] = true;
    }
    clear();
    accumulate(p.w.off + min(uvec4(n, n + 1, n + 2, n + 3), uvec4(p.k - 1)), p.w.stride, p.n);
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        if (lane_row(i) < p.m)
            for (uint j = 0; j < min(4, p.k - n); j++)
                finish(acc[i][j], lane_row(i), n + j);
}
