// Deviations from the mean of a row of x [rows, channels], for the kernels of layer norm. Element c is in component c % 4 of slot
// c / 4 % 32, so a lane meets the same elements in every pass. WIDTH is 4 (vec4 loads) or 1; both add in the same order.

layout(constant_id = 2) const uint WIDTH = 4;
layout(binding = 0) readonly buffer X  { T x[]; };
layout(binding = 0) readonly buffer X4 { T4 x4[]; };

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
