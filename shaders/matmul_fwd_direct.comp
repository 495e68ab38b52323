#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[i,j] = act(sum_k x[i,k] w[j,k] + b[j] + a[i / a_rows, j]) + r[i,j], x [m,k], w [n,k], y [m,n].
// The tile is that of direct.glsl.
layout(push_constant) uniform Push { matmul_params p; };
#include "inc/direct.glsl"
#include "inc/epilogue.glsl"

void main()
{
    const uint m = tile_row(), n = lane_column();
    if (m >= p.m)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        row[i] = (p.x.off + min(m + i, p.m - 1) * p.x.stride) / 4;
    clear();
    accumulate((p.w.off + min(n, p.n - 4) * p.w.stride) / 4, p.w.stride / 4, p.k / 4, false);
    if (n < p.n)
        for (uint i = 0; i < min(TM, p.m - m); i++)
            finish(result(i), m + i, (m + i) / p.a_rows, n);
}
