#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// x = x < last ? x + 1 : 1, one number, fp32. The last dispatch of every submission: what it counts has been done. One lane.

layout(local_size_x = 1) in;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { sentinel_params p; };
layout(binding = 0) buffer X { float x[]; };

void main()
{
    if (gl_GlobalInvocationID.x == 0)
        x[p.x.off] = x[p.x.off] < p.last ? x[p.x.off] + 1.0 : 1.0;
}
