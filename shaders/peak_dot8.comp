#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_spirv_intrinsics : require

// Dot products of four signed bytes as fast as they come: 6 independent sums in a lane, 8 operations each.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

// OpSDotAccSat of packed 4x8 bit; compilers that know GL_EXT_integer_dot_product are rarer than those that know this.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4453)
int dot4_add(int a, int b, int sum, spirv_literal int format);

const uint SUMS = 6, UNROLL = 8;

void main()
{
    const int a = floatBitsToInt(x[0]), b = floatBitsToInt(x[1]);
    int sum[SUMS];
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] = int(gl_LocalInvocationIndex + i);
    for (uint k = 0; k < n; k++)
        [[unroll]] for (uint u = 0; u < UNROLL; u++)
            [[unroll]] for (uint i = 0; i < SUMS; i++)
                sum[i] = dot4_add(a ^ sum[(i + 1) % SUMS], b, sum[i], 0);
    int all = 0;
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        all ^= sum[i];
    if (all == 0x12345678)
        y[0] = float(all);
}
