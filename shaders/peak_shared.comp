#version 450
#extension GL_EXT_control_flow_attributes : require

// Reads of shared memory as fast as they come, a vec4 at a time, adjacent lanes adjacent ones.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

const uint SIZE = 512, UNROLL = 4; // 8 KiB, so that several workgroups fit
shared vec4 cells[SIZE];

void main()
{
    const uint lane = gl_LocalInvocationIndex;
    for (uint i = lane; i < SIZE; i += gl_WorkGroupSize.x)
        cells[i] = vec4(x[i % 2] + float(i));
    barrier();
    vec4 sum[UNROLL];
    [[unroll]] for (uint u = 0; u < UNROLL; u++)
        sum[u] = vec4(0);
    for (uint k = 0; k < n; k++)
        [[unroll]] for (uint u = 0; u < UNROLL; u++)
            sum[u] += cells[(lane + 64 * (k * UNROLL + u)) % SIZE];
    const vec4 all = sum[0] + sum[1] + sum[2] + sum[3];
    if (all.x + all.y + all.z + all.w == -1.5)
        y[0] = all.x;
}
