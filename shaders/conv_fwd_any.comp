#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[n,oy,ox,j] = act(sum_{ky,kx,c} x[n, (oy * stride + ky - pad_y) >> up, (ox * stride + kx - pad) >> up, c] w[j,ky,kx,c] + b[j] + a[n,j])
// + r[n,oy,ox,j], where x is 0 outside the image: x [n*h*w, c], w [oc, kernel*kernel*c], y [n*oh*ow, oc]. A product of depth (ky, kx, c)
// whose rows are output pixels. The tile is that of single.glsl.
layout(push_constant) uniform Push { conv_params p; };
#include "inc/single.glsl"
#include "inc/taps.glsl"
#include "inc/epilogue.glsl"

void main()
{
    const uint n = tile_column(), pixels = p.oh * p.ow, rows = p.images * pixels;
    place at[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        at[i] = place_of(min(lane_row(i), rows - 1));
    clear();
    const uvec4 w_at = p.w.off + min(uvec4(n, n + 1, n + 2, n + 3), uvec4(p.oc - 1)) * p.w.stride;
    for (uint tap = 0; tap < p.kernel * p.kernel; tap++) {
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            uint r;
            live[i] = tap_row(at[i], tap / p.kernel, tap % p.kernel, r);
            row[i] = p.x.off + r * p.x.stride;
        }
        accumulate(w_at + tap * p.c, 1, p.c);
    }
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        if (lane_row(i) < rows)
            for (uint j = 0; j < min(4, p.oc - n); j++)
                finish(acc[i][j], lane_row(i), lane_row(i) / pixels, n + j);
}
