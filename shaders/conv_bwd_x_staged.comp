#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// d[n,y,x,c] = sum_{ky,kx,j} g[n, (y + pad_y - ky) / stride, (x + pad - kx) / stride, j] w[j,ky,kx,c] + r[n,y,x,c] over the taps where both
// quotients are whole and inside: g [n*oh*ow, oc], w [oc, kernel*kernel*c], d [n*h*w, c]. A product of depth (ky, kx, j) whose rows are
// input pixels. The tile is that of staged.glsl.
layout(push_constant) uniform Push { conv_bwd_params p; };
#define W_BY_DEPTH
#include "inc/staged.glsl"
#include "inc/taps_bwd.glsl"
#include "inc/epilogue_bwd.glsl"

void main()
{
    const uint rows = phase_rows(), first = enter_phase(tile_row(), ROWS);
    col = (p.w.off + min(tile_column() + brought_column(), p.c - 4)) / 4;
    clear();
    uvec2 i = uvec2(0);  // lines and columns of taps done
    uint k = 0;  // one loop over all three: PowerVR keeps the sums once per level of loops
    while (tap.x + i.x * p.stride < p.kernel && tap.y < p.kernel) {
        if (k == 0)
            [[unroll]] for (uint j = 0; j < 2; j++) {
                uint r;  // places are found anew for every tap: kept, they would push sums out of the registers
                const bool inside = tap_row(place_of(min(first + brought_row(j), rows - 1)), i, r);
                row[j] = inside ? (p.g.off + r * p.g.stride) / 4 : NOWHERE;
            }
        const uvec2 at = tap + i * p.stride;
        accumulate((at.x * p.kernel + at.y) * p.c / 4, k, p.oc / 4);
        k += QUADS;
        if (k >= p.oc / 4) {
            k = 0;
            i.y++;
            if (tap.y + i.y * p.stride >= p.kernel)
                i = uvec2(i.x + 1, 0);
        }
    }
    for (uint i = 0; i < 4 * HALVES; i++) {
        const uint m = first + result_row(i), n = tile_column() + result_column(i);
        const uint pixel = m < rows ? place_of(m).pixel : NO_PIXEL;
        if (pixel != NO_PIXEL && n < p.c)
            finish(result(i), pixel, n);
    }
}
