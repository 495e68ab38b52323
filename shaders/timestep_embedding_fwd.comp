#version 450
#extension GL_GOOGLE_include_directive : require
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/elementwise.glsl"
#include "inc/steps.glsl"

// y = (cos(t f_0), .. cos(t f_half-1), sin(t f_0), ..), t of the step; f [1, half] fp32, y [1, 2*half]. A lane has one frequency.
//
// The angle is the rounded product. Vulkan leaves sin and cos of large angles to the driver, so they are computed here, to about
// 1e-7 for angles up to 12800: Cody and Waite's reduction to -pi/4 .. pi/4 (1980), the parts of pi/2 short enough that their
// products with the quadrant are exact, then polynomials fitted to least absolute error (2e-9 and 1e-10).

layout(push_constant) uniform Push { timestep_embedding_params p; };
READ(0, F, f)
WRITE(1, T, y)

void main()
{
    const uint i = lane();
    if (i >= p.half_dim)
        return;
    precise const float angle = CURRENT_STEP.t * get_f(0, i).x;
    const float turns = floor(fma(angle, 0.63661977, 0.5));  // quadrants
    precise float r = fma(turns, -1.5703125, angle);
    r = fma(turns, -0.0004837512969970703, r);
    r = fma(turns, -7.549790126404332e-08, r);
    const float z = r * r;
    const float s = fma(r * z, fma(fma(-0.00019494950538501143, z, 0.008331973105669022), z, -0.16666650772094727), r);
    const float c = fma(z, fma(fma(fma(2.4437729734927416e-05, z, -0.001388736185617745), z, 0.04166664555668831), z, -0.5), 1.0);
    const uint quadrant = uint(int(turns)) & 3;
    const vec2 cos_sin = (quadrant & 1) == 0 ? vec2(c, s) : vec2(-s, c);
    const vec2 turned = quadrant < 2 ? cos_sin : -cos_sin;
    set_y(0, i, vec4(turned.x));
    set_y(0, p.half_dim + i, vec4(turned.y));
}
