// d = rstd (e - mean of e - n mean of e n) + r over the channels of a row, with n = (x - mean) rstd and e = w g; x, g, r (if it is there)
// and d [rows, channels], w [1, channels]. d may be g itself: a lane reads what it writes, and nobody else's.
//
// A team has a row and passes over it three times: mean; sums of the squares of x - mean, of e and of e (x - mean); result.

layout(push_constant) uniform Push { layer_norm_bwd_params p; };
#include "inc/deviation.glsl"
layout(binding = 1) readonly  buffer W  { T w[]; };
layout(binding = 1) readonly  buffer W4 { T4 w4[]; };
layout(binding = 2) readonly  buffer G  { T g[]; };
layout(binding = 2) readonly  buffer G4 { T4 g4[]; };
layout(binding = 3) readonly  buffer R  { T r[]; };
layout(binding = 3) readonly  buffer R4 { T4 r4[]; };
layout(binding = 4) writeonly buffer D  { T d[]; };
layout(binding = 4) writeonly buffer D4 { T4 d4[]; };

// w g of four columns from (i, c) on; 0 behind the last.
vec4 weighted(uint i, uint c)
{
    const uint from = p.w.off + c, at = p.g.off + i * p.g.stride + c;
    precise vec4 v = vec4(0.0);  // the product is not to be fused with a sum
    if (WIDTH == 4)
        v = vec4(w4[from / 4]) * vec4(g4[at / 4]);
    else for (uint k = 0; k < 4; k++)
        if (c + k < p.channels)
            v[k] = float(w[from + k]) * float(g[at + k]);
    return v;
}

void main()
{
    const float count = float(p.channels);
    for (uint k = 0; k < ROWS; k += teams()) {
        const uint row = gl_WorkGroupID.x * ROWS + k + team_index();
        const bool mine = k + team_index() < ROWS && row < p.rows;
        const uint i = min(row, p.rows - 1);  // a team without a row keeps the others company
        const float mean = row_sum(i, 0.0, false) / count;
        vec4 slots[LANE_SLOTS];
        EACH_SLOT(j)
            slots[j] = vec4(0.0);
        for (uint base = 0; base < p.channels; base += 4 * SLOTS)
            EACH_SLOT(j) {
                const uint c = base + 4 * (team_lane() + j * team_size());
                if (c < p.channels) {
                    const vec4 v = deviation(i, c, mean), e = weighted(i, c);
                    [[unroll]] for (uint m = 0; m < 4; m++)
                        slots[j].xyz = fma(vec3(v[m], e[m], e[m]), vec3(v[m], 1.0, v[m]), slots[j].xyz);
                }
            }
        const vec4 means = team_sum(slots) / count;
        const float rstd = inversesqrt(means.x + p.eps), along = -means.z * rstd * rstd;
        for (uint c = 4 * team_lane(); mine && c < p.channels; c += 4 * team_size()) {
            precise vec4 v = rstd * fma(vec4(along), deviation(i, c, mean), weighted(i, c) - means.y);
            const uint from = p.r.off + i * p.r.stride + c, to = p.d.off + i * p.d.stride + c;
            const bool given = (p.given >> 3 & 1) != 0;
            if (WIDTH == 4) {
                if (given)
                    v += vec4(r4[from / 4]);
                d4[to / 4] = T4(v);
            } else {
                for (uint m = 0; m < 4 && c + m < p.channels; m++)
                    d[to + m] = T(given ? v[m] + float(r[from + m]) : v[m]);
            }
        }
    }
}
