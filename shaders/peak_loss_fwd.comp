#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// top_j = max over rows of x m (m 1 if absent; the first of equal ones), l_j = max(0, 1 - top_j), y = (l, top_0, its row, top_1, its
// row, ..), l the largest l_j or their mean. x [rows, channels], m [rows, 1], y [1, 1 + 2*channels], fp32.
// One lane: some hundred rows, one or two columns.

layout(push_constant) uniform Push { peak_loss_params p; };
#include "inc/rows.glsl"
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer M { float m[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };

void main()
{
    float worst = 0.0, sum = 0.0;
    for (uint c = 0; c < p.channels; c++) {
        float top = 0.0;
        uint at = 0;
        for (uint r = 0; r < p.rows; r++) {
            const float v = x[AT(x, r, c)] * ((p.given >> 1 & 1u) != 0u ? m[AT(m, r, 0)] : 1.0);
            if (r == 0 || v > top) {
                top = v;
                at = r;
            }
        }
        const float l = max(0.0, 1.0 - top);
        worst = max(worst, l);
        sum += l;
        y[p.y.off + 1 + 2 * c] = top;
        y[p.y.off + 2 + 2 * c] = float(at);
    }
    y[p.y.off] = p.mean != 0u ? sum / float(p.channels) : worst;
}
