#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/activation.glsl"
#include "inc/elementwise.glsl"
#include "inc/group.glsl"

// Sums over the rows of slice s of an image, with n = (x - mean) rstd, h = n w + b and e = w g act'(h):
// u[image*slices + s, 2c] = sum e, u[.., 2c+1] = sum e n.
// x and g [images*rows, channels], s [images, 2*groups] fp32, w and b [1, channels], u [images*slices, 2*channels] fp32.
//
// ROWS is 1: a lane has WIDTH channels of one slice, rows ascending. What a channel has of its own is multiplied at the end.

layout(push_constant) uniform Push { channel_stats_bwd_params p; };
READ(0, T, x)
layout(binding = 1) readonly  buffer S { float s[]; };
READ(2, T, w)
READ(3, T, b)
READ(4, T, g)
layout(binding = 5) writeonly buffer U { float u[]; };

void main()
{
    const span slice = lane_span(p.images * p.slices, p.channels);
    if (slice.row >= slice.end)
        return;
    const uint c = slice.col, image = slice.row / p.slices, first = (slice.row - image * p.slices) * p.slice_rows;
    const uint begin = image * p.rows + first, end = begin + min(p.slice_rows, p.rows - first);
    const uvec4 group = groups_of(c, p.channels / p.groups);
    vec4 mean, rstd;
    for (uint i = 0; i < 4; i++) {
        mean[i] = s[AT(s, image, 2 * group[i])];
        rstd[i] = s[AT(s, image, 2 * group[i] + 1)];
    }
    const vec4 weight = get_w(0, c), scale = rstd * weight, shift = get_b(0, c);
    vec4 sum = vec4(0.0), sum_n = vec4(0.0);
    for (uint r = begin; r < end; r++) {
        const vec4 from_mean = get_x(r, c) - mean, gradient = get_g(r, c), slope = derivative(fma(from_mean, scale, shift), p.act);
        sum = fma(gradient, slope, sum);
        sum_n = fma(gradient * slope, from_mean, sum_n);
    }
    sum *= weight;
    sum_n *= scale;
    for (uint i = 0; i < WIDTH; i++) {
        u[AT(u, slice.row, 2 * (c + i))] = sum[i];
        u[AT(u, slice.row, 2 * (c + i) + 1)] = sum_n[i];
    }
}
