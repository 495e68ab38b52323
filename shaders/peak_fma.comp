#version 450
#if BL_F16
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define T float16_t
#define T2 f16vec2
#else
#define T float
#define T2 vec2
#endif
#extension GL_EXT_control_flow_attributes : require

// Fused multiply-adds as fast as they come: 12 independent sums in a lane hide their latency, pairs of them let fp16 be packed.

layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

const uint PAIRS = 6, UNROLL = 8;

void main()
{
    const T2 a = T2(T(x[0])), b = T2(T(x[1]));
    T2 sum[PAIRS];
    [[unroll]] for (uint i = 0; i < PAIRS; i++)
        sum[i] = T2(T(gl_LocalInvocationIndex + i));
    for (uint k = 0; k < n; k++)
        [[unroll]] for (uint u = 0; u < UNROLL; u++)
            [[unroll]] for (uint i = 0; i < PAIRS; i++)
                sum[i] = fma(sum[i], a, b);
    T2 all = sum[0];
    [[unroll]] for (uint i = 1; i < PAIRS; i++)
        all += sum[i];
    if (all.x + all.y == T(-1.5)) // never, which no compiler knows
        y[0] = float(all.x);
}
