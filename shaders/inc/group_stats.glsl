// y[image, 2g] = mean, y[.., 2g+1] = 1 / sqrt(variance + eps) of the channels of a group, from the mean and M2 of every channel and
// slice: x [images*slices, 2*channels] and y [images, 2*groups], fp32.
//
// Chan, Golub and LeVeque's update for many parts at once: with n the rows of a part, N of all, mean = sum n mean_i / N and
// M2 = sum (M2_i + n (mean_i - mean)^2), less what the rounding of the mean put in. A team has a group of an image; slice s is in slot
// s % 32, channels ascending.

layout(push_constant) uniform Push { group_stats_params p; };
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

float rows_of(uint slice) { return float(min(p.slice_rows, p.rows - slice * p.slice_rows)); }

void main()
{
    const uint per = p.channels / p.groups, rows = p.images * p.groups;
    const float count = float(per) * float(p.rows);
    for (uint k = 0; k < ROWS; k += teams()) {
        const uint row = gl_WorkGroupID.x * ROWS + k + team_index();
        const bool mine = k + team_index() < ROWS && row < rows;
        const uint r = min(row, rows - 1);  // a team without a row keeps the others company
        const uint image = r / p.groups, group = r - image * p.groups;
        const uint first = p.x.off + image * p.slices * p.x.stride + 2 * group * per;
        vec4 slots[LANE_SLOTS];
        EACH_SLOT(j)
            slots[j] = vec4(0.0);
        for (uint base = 0; base < p.slices; base += SLOTS)
            for (uint c = 0; c < per; c++)
                EACH_SLOT(j) {
                    const uint s = base + team_lane() + j * team_size();
                    if (s < p.slices)
                        slots[j].x = fma(rows_of(s), x[first + s * p.x.stride + 2 * c], slots[j].x);
                }
        const float mean = team_sum(slots).x / count;
        EACH_SLOT(j)
            slots[j] = vec4(0.0);
        for (uint base = 0; base < p.slices; base += SLOTS)
            for (uint c = 0; c < per; c++)
                EACH_SLOT(j) {
                    const uint s = base + team_lane() + j * team_size();
                    if (s < p.slices) {
                        const uint at = first + s * p.x.stride + 2 * c;
                        const float n = rows_of(s), d = x[at] - mean;
                        slots[j].x = fma(n * d, d, slots[j].x + x[at + 1]);
                        slots[j].y = fma(n, d, slots[j].y);
                    }
                }
        const vec4 sum = team_sum(slots);
        const float rest = sum.y / count, variance = fma(-rest, rest, sum.x / count);
        if (mine && team_lane() == 0) {
            y[p.y.off + image * p.y.stride + 2 * group] = mean + rest;
            y[p.y.off + image * p.y.stride + 2 * group + 1] = inversesqrt(max(variance, 0.0) + p.eps);
        }
    }
}
