#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/activation.glsl"
#include "inc/elementwise.glsl"
#include "inc/group.glsl"

// y = act((x - mean) * rstd * w + b), mean and rstd of the channel's group from group_stats_fwd.
// x and y [images*rows, channels], s [images, 2*groups] fp32, w and b [1, channels].
//
// A lane has WIDTH channels of ROWS rows of one image, and reads what belongs to a channel once.

layout(push_constant) uniform Push { group_norm_params p; };
READ(0, T, x)
layout(binding = 1) readonly buffer S { float s[]; };
READ(2, T, w)
READ(3, T, b)
WRITE(4, T, y)

void main()
{
    const uint units = p.channels / WIDTH, blocks = (p.rows + ROWS - 1) / ROWS;
    const uint block = lane() / units, c = (lane() - block * units) * WIDTH;
    const uint image = block / blocks, row = (block - image * blocks) * ROWS;
    if (image >= p.images)
        return;
    const uvec4 group = groups_of(c, p.channels / p.groups);
    vec4 mean, rstd;
    for (uint i = 0; i < 4; i++) {
        mean[i] = s[AT(s, image, 2 * group[i])];
        rstd[i] = s[AT(s, image, 2 * group[i] + 1)];
    }
    const vec4 scale = rstd * get_w(0, c), shift = get_b(0, c);
    const uint begin = image * p.rows + row, end = image * p.rows + min(row + ROWS, p.rows);
    for (uint r = begin; r < end; r++)
        set_y(r, c, activate(fma(get_x(r, c) - mean, scale, shift), p.act));
}
