// Sums in an order that depends neither on the workgroup nor on the subgroup, so that every device and every build of a kernel adds
// alike: 32 slots of four components, each summed by one lane, then halved: slot s += slot s + 16, s + 8, .. s + 1.
//
// The lanes of a team work on one row; a workgroup has teams() of them and ROWS rows. With SUBGROUP a team is a subgroup (a part of
// 32 lanes of a larger one, sizes 8 .. 128) and needs neither shared memory nor barriers; without, it is 8 lanes.
layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 32;
layout(constant_id = 1) const uint ROWS = 4;
const uint SLOTS = 32;

#if SUBGROUP
uint team_size() { return min(gl_SubgroupSize, min(WG, SLOTS)); }
uint reduce_lane() { return gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID; }
#else
uint team_size() { return 8; }
uint reduce_lane() { return gl_LocalInvocationIndex; }
shared vec4 reduce_lanes[WG];
#endif

uint teams() { return WG / team_size(); }
uint team_index() { return reduce_lane() / team_size(); }
uint team_lane() { return reduce_lane() % team_size(); }

const uint LANE_SLOTS = 4;  // at most, as a team has at least 8 lanes
// Slots of a lane; unrolled, or compilers keep them in memory.
#define EACH_SLOT(j) [[unroll]] for (uint j = 0; j < LANE_SLOTS; j++) if (j < SLOTS / team_size())

// The total of all slots, in every lane of the team. slots[j] is slot team_lane() + j * team_size(). Called by all lanes together.
vec4 team_sum(vec4 slots[LANE_SLOTS])
{
    [[unroll]] for (uint apart = LANE_SLOTS / 2; apart > 0; apart /= 2)
        if (apart < SLOTS / team_size())
            [[unroll]] for (uint j = 0; j < apart; j++)
                slots[j] += slots[j + apart];
    vec4 v = slots[0];
#if SUBGROUP
    for (uint apart = team_size() / 2; apart > 0; apart /= 2)
        v += subgroupShuffleXor(v, apart);
    return v;
#else
    const uint first = team_index() * 8;
    barrier();  // the lanes may still be reading the last total
    reduce_lanes[gl_LocalInvocationIndex] = v;
    barrier();
    vec4 four[4];
    for (uint i = 0; i < 4; i++)
        four[i] = reduce_lanes[first + i] + reduce_lanes[first + i + 4];
    return (four[0] + four[2]) + (four[1] + four[3]);
#endif
}
