#version 450

// y = x, n vec4: memory bandwidth, where they are too large for any cache. Adjacent lanes touch adjacent memory.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer X { vec4 x[]; };
layout(binding = 1) writeonly buffer Y { vec4 y[]; };

void main()
{
    for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x)
        y[i] = x[i];
}
