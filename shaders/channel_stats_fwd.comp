#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"

// y[image*slices + s, 2c] = mean, y[.., 2c+1] = M2 = sum (x - mean)^2 over the rows of slice s of an image.
// x [images*rows, channels], y [images*slices, 2*channels] fp32. ROWS is 1: a lane has WIDTH channels of one slice.
//
// Two passes, rows ascending. The deviations are from a mean that has been rounded; their sum corrects both results, which keeps
// the digits of a channel whose mean is large beside its spread.

layout(push_constant) uniform Push { channel_stats_params p; };
READ(0, T, x)
layout(binding = 1) writeonly buffer Y { float y[]; };

void main()
{
    const span s = lane_span(p.images * p.slices, p.channels);
    if (s.row >= s.end)
        return;
    const uint image = s.row / p.slices, first = (s.row - image * p.slices) * p.slice_rows;
    const uint begin = image * p.rows + first, n = min(p.slice_rows, p.rows - first);
    vec4 sum = vec4(0.0);
    for (uint i = 0; i < n; i++)
        sum += get_x(begin + i, s.col);
    vec4 mean = sum / float(n), m2 = vec4(0.0), rest = vec4(0.0);
    for (uint i = 0; i < n; i++) {
        const vec4 d = get_x(begin + i, s.col) - mean;
        m2 = fma(d, d, m2);
        rest += d;
    }
    rest /= float(n);
    m2 = max(fma(rest * -float(n), rest, m2), vec4(0.0));
    mean += rest;
    for (uint i = 0; i < WIDTH; i++) {
        y[AT(y, s.row, 2 * (s.col + i))] = mean[i];
        y[AT(y, s.row, 2 * (s.col + i) + 1)] = m2[i];
    }
}
