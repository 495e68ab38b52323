#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// y[h*tq + i, j] = p e^(m_i k_j) / sum over j of the same; p, y [heads*tq, tk], m [tq, 1], k [1, tk], all fp32. y may be p: a lane has
// read what it needs of a row before it writes, column by column.
//
// As in any softmax the largest exponent is taken off first. What is then below -80 counts as that: next to a probability it is
// nothing, but where the favoured column has none the row stays as it is.

layout(push_constant) uniform Push { attention_gain_params p; };
#include "inc/rows.glsl"
layout(binding = 0) readonly buffer P { float probs[]; };
layout(binding = 1) readonly buffer M { float m[]; };
layout(binding = 2) readonly buffer K { float k[]; };
layout(binding = 3) writeonly buffer Y { float y[]; };

float power(float at, uint c, float top) { return exp(max(at * k[AT(k, 0, c)] - top, -80.0)); }

void main()
{
    const uint r = lane();
    if (r >= p.heads * p.tq)
        return;
    const float at = m[AT(m, r % p.tq, 0)];
    float top = -3e38, sum = 0.0;
    for (uint c = 0; c < p.tk; c++)
        top = max(top, at * k[AT(k, 0, c)]);
    for (uint c = 0; c < p.tk; c++)
        sum = fma(probs[AT(p, r, c)], power(at, c, top), sum);
    for (uint c = 0; c < p.tk; c++)
        y[AT(y, r, c)] = probs[AT(p, r, c)] * power(at, c, top) / sum;
}
