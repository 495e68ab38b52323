#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[i,j] = act(sum_k x[i,k] w[j,k] + b[j] + a[i / a_rows, j]) + r[i,j], x [m,k], w [n,k], y [m,n].
// The tile is that of staged.glsl.
layout(push_constant) uniform Push { matmul_params p; };
#include "inc/staged.glsl"
#include "inc/epilogue.glsl"

void main()
{
    if (tile_row() >= p.m)
        return;
    [[unroll]] for (uint i = 0; i < 2; i++) {
        row[i] = (p.x.off + min(tile_row() + brought_row(i), p.m - 1) * p.x.stride) / 4;
    }
    col = (p.w.off + min(tile_column() + brought_column(), p.n - 1) * p.w.stride) / 4;
    clear();
    for (uint k = 0; k < p.k / 4; k += QUADS)
        accumulate(0, k, p.k / 4);
    for (uint i = 0; i < 4 * HALVES; i++) {
        const uint m = tile_row() + result_row(i), n = tile_column() + result_column(i);
        if (m < p.m && n < p.n)
            finish(result(i), m, m / p.a_rows, n);
    }
}
