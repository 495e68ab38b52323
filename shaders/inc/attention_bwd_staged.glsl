// Gradients of attention for head sizes up to 96: a lane owns one row, in registers like its sums. The workgroup stages a block of what
// it meets in shared memory and every lane reads it at the same, constant addresses.
layout(local_size_x = 128) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 128;
const uint BLOCK = HEAD > 64 ? 4 : 8;  // larger blocks cost compile time and instruction cache

shared vec4 xs[BLOCK * H4];
shared vec4 ys[BLOCK * H4];
#if KV
shared vec2 stats_of_block[BLOCK];
#endif

void main()
{
    const uint first = gl_WorkGroupID.x * WG, head = gl_WorkGroupID.y, image = gl_WorkGroupID.z, lane = gl_LocalInvocationID.x;
    const uint own = first + lane, row = image * OWN_COUNT + min(own, OWN_COUNT - 1);  // a lane without a row keeps the others company
    vec4 x[H4], y[H4], dx[H4];
#if KV
    vec4 dy[H4];
#else
    const vec2 s_own = stats_of(row, head);
#endif
    [[unroll]] for (uint c = 0; c < H4; c++) {
        x[c] = OWN_X(row, head, c);
        y[c] = OWN_Y(row, head, c);
        dx[c] = vec4(0.0);
#if KV
        dy[c] = vec4(0.0);
#endif
    }
    const uint end = last_other(first, WG);
    for (uint other = first_other(first); other < end; other += BLOCK) {
        barrier();
        for (uint i = lane; i < BLOCK * H4; i += WG) {
            const uint r = image * OTHER_COUNT + min(other + i / H4, OTHER_COUNT - 1);
            xs[i] = OTHER_X(r, head, i % H4);
            ys[i] = OTHER_Y(r, head, i % H4);
        }
#if KV
        for (uint i = lane; i < BLOCK; i += WG)
            stats_of_block[i] = stats_of(image * OTHER_COUNT + min(other + i, OTHER_COUNT - 1), head);
#endif
        barrier();
        float s[BLOCK], t[BLOCK];
        [[unroll]] for (uint j = 0; j < BLOCK; j++)
            s[j] = t[j] = 0.0;
        [[unroll]] for (uint c = 0; c < H4; c++)
            [[unroll]] for (uint j = 0; j < BLOCK; j++) {
                s[j] = dot_onto(s[j], x[c], xs[j * H4 + c]);
                t[j] = dot_onto(t[j], y[c], ys[j * H4 + c]);
            }
        [[unroll]] for (uint j = 0; j < BLOCK; j++) {
#if KV
            const vec2 w = weigh(s[j], t[j], stats_of_block[j], meets(own, other + j));
#else
            const vec2 w = weigh(s[j], t[j], s_own, meets(own, other + j));
#endif
            s[j] = w.x;
            t[j] = w.y;
        }
        [[unroll]] for (uint c = 0; c < H4; c++)
            [[unroll]] for (uint j = 0; j < BLOCK; j++) {
                dx[c] = fma(vec4(t[j]), xs[j * H4 + c], dx[c]);
#if KV
                dy[c] = fma(vec4(s[j]), ys[j * H4 + c], dy[c]);
#endif
            }
    }
    if (own < OWN_COUNT)
        [[unroll]] for (uint c = 0; c < H4; c++) {
#if KV
            set_dk(HEAD_AT(dk, row, head), c, dx[c] * p.scale);
            set_dv(HEAD_AT(dv, row, head), c, dy[c]);
#else
            set_d(HEAD_AT(d, row, head), c, dx[c] * p.scale);
#endif
        }
}
