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
#define SIZE ROWS
#include "inc/taps_bwd.glsl"
#include "inc/epilogue_bwd.glsl"

void main()
{
    col = (p.w.off + min(tile_column() + brought_column(), p.c - 4)) / 4;
    clear();
    uint tap = 0, k = 0;  // one loop over both: PowerVR keeps the sums once per level of loops
    while (tap < p.kernel * p.kernel) {
        if (k == 0) {
            // Places are found anew for every tap, and one after the other: kept, or both at once, they push sums out of Mali's registers.
            bool has;
            [[dont_unroll]] for (uint i = 0; i < 2; i++) {
                const place at = place_of(tile_row() + brought_row(i));
                uint r;
                has = phase_has(at, tap);
                row[0] = row[1];
                row[1] = tap_row(at, tap, r) ? (p.g.off + r * p.g.stride) / 4 : NOWHERE;
            }
            if (!has) {
                tap++;
                continue;
            }
        }
        accumulate(tap * p.c / 4, k, p.oc / 4);
        k += QUADS;
        if (k >= p.oc / 4) {
            k = 0;
            tap++;
        }
    }
    for (uint i = 0; i < 4 * HALVES; i++) {
        const uint pixel = place_of(tile_row() + result_row(i)).pixel, n = tile_column() + result_column(i);
        if (pixel != NO_PIXEL && n < p.c)
            finish(result(i), pixel, n);
    }
}
