#version 450
#extension GL_EXT_control_flow_attributes : require

// y = x, n vec4: memory bandwidth, where they are too large for any cache. Adjacent lanes touch adjacent memory, EACH times; n is a
// multiple of such blocks. They go round all workgroups, as GPUs like it, or lie SIDE_BY_SIDE in each, as processors do.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SIDE_BY_SIDE = 0;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer X { vec4 x[]; };
layout(binding = 1) writeonly buffer Y { vec4 y[]; };

const uint EACH = 4;

void main()
{
    const uint lanes = gl_WorkGroupSize.x, groups = gl_NumWorkGroups.x;
    const uint blocks = n / (lanes * EACH), turns = (blocks + groups - 1) / groups;
    const uint first = SIDE_BY_SIDE != 0 ? gl_WorkGroupID.x * turns : gl_WorkGroupID.x, step = SIDE_BY_SIDE != 0 ? 1 : groups;
    const uint end = SIDE_BY_SIDE != 0 ? min(first + turns, blocks) : blocks;
    for (uint block = first; block < end; block += step) {
        const uint i = block * lanes * EACH + gl_LocalInvocationIndex;
        vec4 held[EACH];
        [[unroll]] for (uint j = 0; j < EACH; j++)
            held[j] = x[i + j * lanes];
        [[unroll]] for (uint j = 0; j < EACH; j++)
            y[i + j * lanes] = held[j];
    }
}
