// t[image, 4g ..] = mean, rstd, mean of e, mean of e n of a group, the first two from s [images, 2*groups], the others from the sums of
// every channel and slice: u [images*slices, 2*channels]; t [images, 4*groups]; all fp32.
//
// A team has a group of an image; slice i is in slot i % 32, channels ascending.

layout(push_constant) uniform Push { group_stats_bwd_params p; };
layout(binding = 0) readonly  buffer S { float s[]; };
layout(binding = 1) readonly  buffer U { float u[]; };
layout(binding = 2) writeonly buffer R { float t[]; };

void main()
{
    const uint per = p.channels / p.groups, rows = p.images * p.groups;
    const float count = float(per) * float(p.rows);
    for (uint k = 0; k < ROWS; k += teams()) {
        const uint row = gl_WorkGroupID.x * ROWS + k + team_index();
        const bool mine = k + team_index() < ROWS && row < rows;
        const uint r = min(row, rows - 1);  // a team without a row keeps the others company
        const uint image = r / p.groups, group = r - image * p.groups;
        const uint first = p.u.off + image * p.slices * p.u.stride + 2 * group * per;
        vec4 slots[LANE_SLOTS];
        EACH_SLOT(j)
            slots[j] = vec4(0.0);
        for (uint base = 0; base < p.slices; base += SLOTS)
            for (uint c = 0; c < per; c++)
                EACH_SLOT(j) {
                    const uint i = base + team_lane() + j * team_size();
                    if (i < p.slices) {
                        const uint at = first + i * p.u.stride + 2 * c;
                        slots[j].xy += vec2(u[at], u[at + 1]);
                    }
                }
        const vec4 mean = team_sum(slots) / count;
        if (mine && team_lane() == 0) {
            const uint from = p.s.off + image * p.s.stride + 2 * group, to = p.t.off + image * p.t.stride + 4 * group;
            t[to] = s[from];
            t[to + 1] = s[from + 1];
            t[to + 2] = mean.x;
            t[to + 3] = mean.y;
        }
    }
}
