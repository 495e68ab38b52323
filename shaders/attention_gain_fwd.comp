#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[h*tq + i, j] = p e^(m_i k_j) / sum over j of the same; p, y [heads*tq, tk], m [tq, 1], k [1, tk], all fp32. y may be p: a lane has read what
// it needs of a row before it writes, column by column.
layout(push_constant) uniform Push { attention_gain_params p; };
#include "inc/rows.glsl"
layout(binding = 0) readonly buffer P { float probs[]; };
layout(binding = 1) readonly buffer M { float m[]; };
layout(binding = 2) readonly buffer K { float k[]; };
layout(binding = 3) writeonly buffer Y { float y[]; };

void main()
{
    const uint r = lane();
    if (r >= p.heads * p.tq)
        return;
    const float at = m[AT(m, r % p.tq, 0)];
    float sum = 0.0;
    for (uint c = 0; c < p.tk; c++)
        sum = fma(probs[AT(p, r, c)], exp(at * k[AT(k, 0, c)]), sum);
    for (uint c = 0; c < p.tk; c++)
        y[AT(y, r, c)] = probs[AT(p, r, c)] * exp(at * k[AT(k, 0, c)]) / sum;
}
