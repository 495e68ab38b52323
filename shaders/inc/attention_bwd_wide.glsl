// Gradients of attention for heads of any size. A workgroup owns ROWS rows and takes what they meet in blocks, in two steps:
//   weights     a lane has every WG-th row of the block; what is owned is staged in shared memory, COLUMNS vectors at a time
//   sums        a lane has every ACROSS-th vector of every DOWN-th sum; the weights are read from shared memory
layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
layout(constant_id = 1) const uint ROWS = 16;
layout(constant_id = 3) const uint COLUMNS = 4;
const uint ACROSS = WG < H4 ? WG : H4, DOWN = WG / ACROSS;
const uint VECTORS = (H4 + ACROSS - 1) / ACROSS, SUMS = (ROWS + DOWN - 1) / DOWN;  // of a lane

shared vec4 xs[ROWS * COLUMNS];
shared vec4 ys[ROWS * COLUMNS];
shared float es[ROWS * WG];
#if KV
shared float ps[ROWS * WG];
#else
shared vec2 stats_of_row[ROWS];
#endif

void main()
{
    const uint lane = gl_LocalInvocationID.x, first = gl_WorkGroupID.x * ROWS, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    const uint across = lane % ACROSS, down = lane / ACROSS;
    vec4 dx[VECTORS * SUMS];  // [vector of the lane][sum of the lane]
    [[unroll]] for (uint i = 0; i < VECTORS * SUMS; i++)
        dx[i] = vec4(0.0);
#if KV
    vec4 dy[VECTORS * SUMS];
    [[unroll]] for (uint i = 0; i < VECTORS * SUMS; i++)
        dy[i] = vec4(0.0);
#else
    for (uint i = lane; i < ROWS; i += WG)
        stats_of_row[i] = stats_of(image * OWN_COUNT + min(first + i, OWN_COUNT - 1), head);
#endif
    const uint end = last_other(first, ROWS);
    for (uint other = first_other(first); other < end; other += WG) {
        const uint mine = image * OTHER_COUNT + min(other + lane, OTHER_COUNT - 1);
        float s[ROWS], t[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            s[r] = t[r] = 0.0;
        [[dont_unroll]] for (uint c0 = 0; c0 < H4; c0 += COLUMNS) {
            barrier();
            for (uint i = lane; i < ROWS * COLUMNS; i += WG) {
                const uint c = c0 + i % COLUMNS, r = image * OWN_COUNT + min(first + i / COLUMNS, OWN_COUNT - 1);
                xs[i] = c < H4 ? OWN_X(r, head, c) : vec4(0.0);
                ys[i] = c < H4 ? OWN_Y(r, head, c) : vec4(0.0);
            }
            barrier();
            [[unroll]] for (uint c = 0; c < COLUMNS; c++) {
                const vec4 x = OTHER_X(mine, head, min(c0 + c, H4 - 1)), y = OTHER_Y(mine, head, min(c0 + c, H4 - 1));
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    s[r] = dot_onto(s[r], xs[r * COLUMNS + c], x);
                    t[r] = dot_onto(t[r], ys[r * COLUMNS + c], y);
                }
            }
        }
#if KV
        const vec2 s_mine = stats_of(mine, head);
#endif
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
#if KV
            const vec2 w = weigh(s[r], t[r], s_mine, meets(first + r, other + lane));
            ps[r * WG + lane] = w.x;
#else
            const vec2 w = weigh(s[r], t[r], stats_of_row[r], meets(first + r, other + lane));
#endif
            es[r * WG + lane] = w.y;
        }
        barrier();
        const uint count = min(WG, end - other);
        [[dont_unroll]] for (uint j = 0; j < count; j++) {
            const uint met = image * OTHER_COUNT + other + j;
            [[unroll]] for (uint i = 0; i < VECTORS; i++) {
                const uint c = min(across + i * ACROSS, H4 - 1);
                const vec4 x = OTHER_X(met, head, c);
#if KV
                const vec4 y = OTHER_Y(met, head, c);
#endif
                [[unroll]] for (uint r = 0; r < SUMS; r++) {
                    const uint at = min(down + r * DOWN, ROWS - 1) * WG + j;
                    dx[i * SUMS + r] = fma(vec4(es[at]), x, dx[i * SUMS + r]);
#if KV
                    dy[i * SUMS + r] = fma(vec4(ps[at]), y, dy[i * SUMS + r]);
#endif
                }
            }
        }
    }
    [[unroll]] for (uint i = 0; i < VECTORS; i++)
        [[unroll]] for (uint r = 0; r < SUMS; r++) {
            const uint c = across + i * ACROSS, mine = down + r * DOWN, row = image * OWN_COUNT + first + mine;
            if (c < H4 && down < DOWN && mine < ROWS && first + mine < OWN_COUNT) {
#if KV
                set_dk(HEAD_AT(dk, row, head), c, dx[i * SUMS + r] * p.scale);
                set_dv(HEAD_AT(dv, row, head), c, dy[i * SUMS + r]);
#else
                set_d(HEAD_AT(d, row, head), c, dx[i * SUMS + r] * p.scale);
#endif
            }
        }
}
