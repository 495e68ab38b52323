#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// d[n,y,x,c] = sum_{ky,kx,j} g[n, (y + pad_y - ky) / stride, (x + pad - kx) / stride, j] w[j,ky,kx,c] + r[n,y,x,c] over the taps where both
// quotients are whole and inside: g [n*oh*ow, oc], w [oc, kernel*kernel*c], d [n*h*w, c]. A product of depth (ky, kx, j) whose rows are
// input pixels. The tile is that of direct.glsl.
layout(push_constant) uniform Push { conv_bwd_params p; };
#define W_BY_DEPTH
#include "inc/direct.glsl"
#define SIZE TM
#include "inc/taps_bwd.glsl"
#include "inc/epilogue_bwd.glsl"

void main()
{
    const uint m = tile_row(), n = lane_column();
    place at[TM];
    [[unroll]] for (uint i = 0; i < TM; i++)
        at[i] = place_of(m + i);
    clear();
    const uint w_at = (p.w.off + min(n, p.c - 4)) / 4;
    for (uint tap = 0; tap < p.kernel * p.kernel; tap++) {
        if (!phase_has(at[0], tap))
            continue;
        bool inside = true;
        [[unroll]] for (uint i = 0; i < TM; i++) {
            uint r;
            live[i] = tap_row(at[i], tap, r);
            row[i] = (p.g.off + r * p.g.stride) / 4;
            inside = inside && live[i];
        }
        if (inside)
            accumulate(w_at + tap * p.c / 4, p.w.stride / 4, p.oc / 4, false);
        else
            accumulate(w_at + tap * p.c / 4, p.w.stride / 4, p.oc / 4, true);
    }
    if (n < p.c)
        for (uint i = 0; i < TM; i++) {
            const uint pixel = place_of(m + i).pixel;
            if (pixel != NO_PIXEL)
                finish(result(i), pixel, n);
        }
}
