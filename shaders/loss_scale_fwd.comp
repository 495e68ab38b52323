#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"

// s = (2^e, 2^-e) with target/2 < 2^e max|x| <= target, e within -120 .. 120; (1, 1) where no x is finite and not zero.
// x [rows, channels], s [1,2], fp32. One workgroup: every lane looks at its share of the elements; a maximum needs no order.

layout(push_constant) uniform Push { loss_scale_params p; };
layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 32;
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) writeonly buffer S { float s[]; };
shared uint tops[WG];

void main()
{
    // bits of positive numbers are ordered as the numbers; above those of infinity there are NaNs, which do not count either
    uint top = 0;
    for (uint i = gl_LocalInvocationIndex; i < p.rows * p.channels; i += WG) {
        const uint bits = x[p.x.off + i / p.channels * p.x.stride + i % p.channels] & 0x7fffffffu;
        if (bits < 0x7f800000u)
            top = max(top, bits);
    }
    tops[gl_LocalInvocationIndex] = top;
    barrier();
    if (gl_LocalInvocationIndex != 0)
        return;
    for (uint i = 1; i < WG; i++)
        top = max(top, tops[i]);
    // 2^k <= top < 2^(k+1); a denormal number counts as 2^-127
    const int k = int(top >> 23) - 127, t = int(floatBitsToUint(p.target) >> 23) - 127;
    const int e = top == 0u ? 0 : clamp(t - k - ((top & 0x7fffffu) != 0u ? 1 : 0), -120, 120);
    s[p.s.off] = uintBitsToFloat(uint(e + 127) << 23);
    s[p.s.off + 1] = uintBitsToFloat(uint(127 - e) << 23);
}
