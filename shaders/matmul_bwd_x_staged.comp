#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// d[i,c] = sum_j g[i,j] w[j,c] + r[i,c], g [m,n], w [n,k], d [m,k].
// The tile is that of staged.glsl.
layout(push_constant) uniform Push { matmul_bwd_params p; };
#define W_BY_DEPTH
#include "inc/staged.glsl"
#include "inc/epilogue_bwd.glsl"

void main()
{
    if (tile_row() >= p.m)
        return;
    [[unroll]] for (uint i = 0; i < 2; i++) {
        row[i] = (p.g.off + min(tile_row() + brought_row(i), p.m - 1) * p.g.stride) / 4;
    }
    col = (p.w.off + min(tile_column() + brought_column(), p.k - 4)) / 4;
    clear();
    for (uint k = 0; k < p.n / 4; k += QUADS)
        accumulate(0, k, p.n / 4);
    for (uint i = 0; i < 4 * HALVES; i++) {
        const uint m = tile_row() + result_row(i), n = tile_column() + result_column(i);
        if (m < p.m && n < p.k)
            finish(result(i), m, n);
    }
}
