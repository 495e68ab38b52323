#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[n,oy,ox,j] = act(sum_{ky,kx,c} x[n, (oy * stride + ky - pad_y) >> up, (ox * stride + kx - pad) >> up, c] w[j,ky,kx,c] + b[j] + a[n,j])
// + r[n,oy,ox,j], where x is 0 outside the image: x [n*h*w, c], w [oc, kernel*kernel*c], y [n*oh*ow, oc]. A product of depth (ky, kx, c)
// whose rows are output pixels. The tile is that of direct.glsl.
layout(push_constant) uniform Push { conv_params p; };
#include "inc/direct.glsl"
#include "inc/taps.glsl"
#include "inc/epilogue.glsl"

void main()
{
    const uint m = tile_row(), n = lane_column(), pixels = p.oh * p.ow, rows = p.images * pixels;
    if (m >= rows)
        return;
    place at[TM];
    [[unroll]] for (uint i = 0; i < TM; i++)
        at[i] = place_of(min(m + i, rows - 1));
    clear();
    const uint w_at = (p.w.off + min(n, p.oc - 4) * p.w.stride) / 4;
    for (uint tap = 0; tap < p.kernel * p.kernel; tap++) {
        bool inside = true;
        [[unroll]] for (uint i = 0; i < TM; i++) {
            uint r;
            live[i] = tap_row(at[i], tap / p.kernel, tap % p.kernel, r);
            row[i] = (p.x.off + r * p.x.stride) / 4;
            inside = inside && live[i];
        }
        if (inside)
            accumulate(w_at + tap * p.c / 4, p.w.stride / 4, p.c / 4, false);
        else
            accumulate(w_at + tap * p.c / 4, p.w.stride / 4, p.c / 4, true);
    }
    if (n < p.oc)
        for (uint i = 0; i < min(TM, rows - m); i++)
            finish(result(i), m + i, (m + i) / pixels, n);
}
