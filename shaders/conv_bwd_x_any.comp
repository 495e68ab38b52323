#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// d[n,y,x,c] = sum_{ky,kx,j} g[n, (y + pad_y - ky) / stride, (x + pad - kx) / stride, j] w[j,ky,kx,c] + r[n,y,x,c] over the taps where both
// quotients are whole and inside: g [n*oh*ow, oc], w [oc, kernel*kernel*c], d [n*h*w, c]. A product of depth (ky, kx, j) whose rows are
// input pixels. The tile is that of single.glsl.
layout(push_constant) uniform Push { conv_bwd_params p; };
#include "inc/single.glsl"
#define SIZE TM
#include "inc/taps_bwd.glsl"
#include "inc/epilogue_bwd.glsl"

void main()
{
    const uint n = tile_column();
    place at[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        at[i] = place_of(lane_row(i));
    clear();
    const uvec4 w_at = p.w.off + min(uvec4(n, n + 1, n + 2, n + 3), uvec4(p.c - 1));
    for (uint tap = 0; tap < p.kernel * p.kernel; tap++) {
        if (!phase_has(at[0], tap))
            continue;
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            uint r;
            live[i] = tap_row(at[i], tap, r);
            row[i] = p.g.off + r * p.g.stride;
        }
        accumulate(w_at + tap * p.c, p.w.stride, p.oc);
    }
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        if (at[i].pixel != NO_PIXEL)
            for (uint j = 0; j < min(4, p.c - n); j++)
                finish(acc[i][j], at[i].pixel, n + j);
}
