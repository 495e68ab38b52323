#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/activation.glsl"
#include "inc/elementwise.glsl"
#include "inc/group.glsl"

// d = rstd (e - mean of e - n mean of e n) + r with n = (x - mean) rstd, h = n w + b and e = w g act'(h), the four from group_stats_bwd.
// x, g, r (if it is there) and d [images*rows, channels], t [images, 4*groups] fp32, w and b [1, channels]. d may be g itself.
//
// A lane has WIDTH channels of ROWS rows of one image, and reads what belongs to a channel once.

layout(push_constant) uniform Push { group_norm_bwd_params p; };
READ(0, T, x)
layout(binding = 1) readonly buffer S { float t[]; };
READ(2, T, w)
READ(3, T, b)
READ(4, T, g)
READ(5, T, r)
WRITE(6, T, d)

void main()
{
    const uint units = p.channels / WIDTH, blocks = (p.rows + ROWS - 1) / ROWS;
    const uint block = lane() / units, c = (lane() - block * units) * WIDTH;
    const uint image = block / blocks, row = (block - image * blocks) * ROWS;
    if (image >= p.images)
        return;
    const uvec4 group = groups_of(c, p.channels / p.groups);
    vec4 mean, rstd, mean_e, mean_en;
    for (uint i = 0; i < 4; i++) {
        const uint at = AT(t, image, 4 * group[i]);
        mean[i] = t[at];
        rstd[i] = t[at + 1];
        mean_e[i] = t[at + 2];
        mean_en[i] = t[at + 3];
    }
    const vec4 weight = get_w(0, c), scale = rstd * weight, shift = get_b(0, c), along = -rstd * mean_en;
    const uint begin = image * p.rows + row, end = image * p.rows + min(row + ROWS, p.rows);
    for (uint i = begin; i < end; i++) {
        const vec4 from_mean = get_x(i, c) - mean, slope = derivative(fma(from_mean, scale, shift), p.act);
        precise vec4 v = rstd * fma(from_mean, along, fma(weight * get_g(i, c), slope, -mean_e));
        if ((p.given >> 5 & 1) != 0)
            v += get_r(i, c);  // in a sum of its own, as add_fwd has it
        set_d(i, c, v);
    }
}
