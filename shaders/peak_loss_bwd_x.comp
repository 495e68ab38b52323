#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// d = scale * dl/dx: minus the mask at the peak of the column that counts (all of them with mean, else the first of the largest loss),
// 0 elsewhere. m [rows, 1], y [1, 1 + 2*channels] as peak_loss_fwd made it, d [rows, channels], fp32. Whatever y holds, nothing is
// written outside d.

layout(push_constant) uniform Push { peak_loss_bwd_params p; };
#include "inc/rows.glsl"
layout(binding = 0) readonly buffer M { float m[]; };
layout(binding = 1) readonly buffer Y { float y[]; };
layout(binding = 2) writeonly buffer D { float d[]; };

float loss_of(uint c) { return max(0.0, 1.0 - y[p.y.off + 1 + 2 * c]); }

void main()
{
    const uint r = lane();
    if (r >= p.rows)
        return;
    uint worst = 0;
    for (uint c = 1; c < p.channels; c++)
        worst = loss_of(c) > loss_of(worst) ? c : worst;
    const float mask = (p.given & 1u) != 0u ? m[AT(m, r, 0)] : 1.0;
    for (uint c = 0; c < p.channels; c++) {
        const bool counts = (p.mean != 0u || c == worst) && loss_of(c) > 0.0 &&
            uint(clamp(y[p.y.off + 2 + 2 * c], 0.0, float(p.rows - 1))) == r;
        d[AT(d, r, c)] = counts ? -p.scale * mask / (p.mean != 0u ? float(p.channels) : 1.0) : 0.0;
    }
}
