#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[i,j] = act(sum_k x[i,k] w[j,k] + b[j] + a[i / a_rows, j]) + r[i,j], x [m,k], w [n,k], y [m,n].
// The tile is that of single.glsl.
layout(push_constant) uniform Push { matmul_params p; };
#include "inc/single.glsl"
#include "inc/epilogue.glsl"

void main()
{
    const uint n = tile_column();
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        row[i] = p.x.off + min(lane_row(i), p.m - 1) * p.x.stride;
        live[i] = true;
    }
    clear();
    accumulate(p.w.off + min(uvec4(n, n + 1, n + 2, n + 3), uvec4(p.n - 1)) * p.w.stride, 1, p.k);
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        if (lane_row(i) < p.m)
            for (uint j = 0; j < min(4, p.n - n); j++)
                finish(acc[i][j], lane_row(i), lane_row(i) / p.a_rows, n + j);
}
