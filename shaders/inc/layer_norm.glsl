// y = (x - mean) / sqrt(variance + eps) * w + b over the channels of a row, x and y [rows, channels], w and b [1, channels].
//
// A team has a row and passes over it three times: mean, variance, result.

layout(push_constant) uniform Push { layer_norm_params p; };
#include "inc/deviation.glsl"
layout(binding = 1) readonly  buffer W  { T w[]; };
layout(binding = 1) readonly  buffer W4 { T4 w4[]; };
layout(binding = 2) readonly  buffer B  { T b[]; };
layout(binding = 2) readonly  buffer B4 { T4 b4[]; };
layout(binding = 3) writeonly buffer Y  { T y[]; };
layout(binding = 3) writeonly buffer Y4 { T4 y4[]; };

void main()
{
    const float count = float(p.channels);
    for (uint k = 0; k < ROWS; k += teams()) {
        const uint row = gl_WorkGroupID.x * ROWS + k + team_index();
        const bool mine = k + team_index() < ROWS && row < p.rows;
        const uint r = min(row, p.rows - 1);  // a team without a row keeps the others company
        const float mean = row_sum(r, 0.0, false) / count;
        const float rstd = inversesqrt(row_sum(r, mean, true) / count + p.eps);
        for (uint c = 4 * team_lane(); mine && c < p.channels; c += 4 * team_size()) {
            const vec4 v = deviation(r, c, mean) * rstd;
            if (WIDTH == 4) {
                const vec4 weight = vec4(w4[(p.w.off + c) / 4]), bias = vec4(b4[(p.b.off + c) / 4]);
                y4[(p.y.off + r * p.y.stride + c) / 4] = T4(fma(v, weight, bias));
            } else {
                for (uint i = 0; i < 4 && c + i < p.channels; i++)
                    y[p.y.off + r * p.y.stride + c + i] = T(fma(v[i], float(w[p.w.off + c + i]), float(b[p.b.off + c + i])));
            }
        }
    }
}
