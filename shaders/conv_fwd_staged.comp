#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[n,oy,ox,j] = act(sum_{ky,kx,c} x[n, (oy * stride + ky - pad_y) >> up, (ox * stride + kx - pad) >> up, c] w[j,ky,kx,c] + b[j] + a[n,j])
// + r[n,oy,ox,j], where x is 0 outside the image: x [n*h*w, c], w [oc, kernel*kernel*c], y [n*oh*ow, oc]. A product of depth (ky, kx, c)
// whose rows are output pixels. The tile is that of staged.glsl.
layout(push_constant) uniform Push { conv_params p; };
#include "inc/staged.glsl"
#include "inc/taps.glsl"
#include "inc/epilogue.glsl"

void main()
{
    const uint pixels = p.oh * p.ow, rows = p.images * pixels;
    if (tile_row() >= rows)
        return;
    col = (p.w.off + min(tile_column() + brought_column(), p.oc - 1) * p.w.stride) / 4;
    clear();
    uint tap = 0, k = 0;  // one loop over both: PowerVR keeps the sums once per level of loops
    while (tap < p.kernel * p.kernel) {
        if (k == 0)
            [[unroll]] for (uint i = 0; i < 2; i++) {
                uint r;  // places are found anew for every tap: kept, they would push sums out of the registers
                const bool inside = tap_row(place_of(min(tile_row() + brought_row(i), rows - 1)), tap / p.kernel, tap % p.kernel, r);
                row[i] = inside ? (p.x.off + r * p.x.stride) / 4 : NOWHERE;
            }
        accumulate(tap * p.c / 4, k, p.c / 4);
        k += QUADS;
        if (k >= p.c / 4) {
            k = 0;
            tap++;
        }
    }
    for (uint i = 0; i < 4 * HALVES; i++) {
        const uint m = tile_row() + result_row(i), n = tile_column() + result_column(i);
        if (m < rows && n < p.oc)
            finish(result(i), m, m / pixels, n);
    }
}
