#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#define STEPS_ACCESS
#include "inc/steps.glsl"

// Moves to the next step; the counter stops at `count`, and one beyond it stays as it is, so that the host finds it. One lane.

layout(local_size_x = 1) in;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { step_next_params p; };

void main()
{
    if (gl_GlobalInvocationID.x == 0 && steps.step < p.count)
        steps.step++;
}
