// y = (x - mean) / sqrt(variance + eps) * w + b over the channels of a row, x and y [rows, channels], w and b [1, channels].
//
// A team has a row and passes over it three times: mean, variance, result. Element c is in component c % 4 of slot c / 4 % 32.
// WIDTH is 4 (vec4 loads) or 1; both add in the same order.

layout(constant_id = 2) const uint WIDTH = 4;
layout(push_constant) uniform Push { layer_norm_params p; };
layout(binding = 0) readonly  buffer X  { T x[]; };
layout(binding = 0) readonly  buffer X4 { T4 x4[]; };
layout(binding = 1) readonly  buffer W  { T w[]; };
layout(binding = 1) readonly  buffer W4 { T4 w4[]; };
layout(binding = 2) readonly  buffer B  { T b[]; };
layout(binding = 2) readonly  buffer B4 { T4 b4[]; };
layout(binding = 3) writeonly buffer Y  { T y[]; };
layout(binding = 3) writeonly buffer Y4 { T4 y4[]; };

// Four columns from (r, c) on less `mean`; 0 behind the last.
vec4 deviation(uint r, uint c, float mean)
{
    const uint at = p.x.off + r * p.x.stride + c;
    if (WIDTH == 4)
        return vec4(x4[at / 4]) - mean;
    vec4 v = vec4(0.0);
    for (uint i = 0; i < 4; i++)
        if (c + i < p.channels)
            v[i] = float(x[at + i]) - mean;
    return v;
}

// Sum of the deviations from `mean` over row r, or of their squares.
float row_sum(uint r, float mean, bool squares)
{
    vec4 slots[LANE_SLOTS];
    EACH_SLOT(j)
        slots[j] = vec4(0.0);
    uint base = 0;
    for (; base + 4 * SLOTS <= p.channels; base += 4 * SLOTS)
        EACH_SLOT(j) {
            const vec4 d = deviation(r, base + 4 * (team_lane() + j * team_size()), mean);
            slots[j] = squares ? fma(d, d, slots[j]) : slots[j] + d;
        }
    EACH_SLOT(j) {
        const uint c = base + 4 * (team_lane() + j * team_size());
        if (c < p.channels) {
            const vec4 d = deviation(r, c, mean);
            slots[j] = squares ? fma(d, d, slots[j]) : slots[j] + d;
        }
    }
    const vec4 sum = team_sum(slots);
    return (sum.x + sum.z) + (sum.y + sum.w);
}

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
