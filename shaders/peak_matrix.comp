#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#if BL_F16
#define SUM float16_t
#else
#define SUM float
#endif

// Products of fp16 matrices as one instruction, as fast as they come: 4 independent sums in a subgroup. y[0] = subgroups of a workgroup.

layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) buffer Y { float y[]; };

#define MATRIX_A coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define MATRIX_B coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define MATRIX_SUM coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
const uint SUMS = 4;

void main()
{
    const MATRIX_A a = MATRIX_A(float16_t(x[0]));
    MATRIX_B b = MATRIX_B(float16_t(x[1]));
    MATRIX_SUM sum[SUMS];
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] = MATRIX_SUM(SUM(i));
    for (uint k = 0; k < n; k++) {
        b[0] = -b[0]; // or a compiler may take the products out of the loop
        [[unroll]] for (uint i = 0; i < SUMS; i++)
            sum[i] = coopMatMulAdd(a, b, sum[i]);
    }
    SUM all = SUM(0);
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        all += sum[i][0];
    if (gl_GlobalInvocationID.x == 0)
        y[0] = float(gl_NumSubgroups) + (all == SUM(-1.5) ? 0.5 : 0.0); // the sums are needed, as far as a compiler knows
    else if (all == SUM(-1.5))
        y[1] = float(all);
}
