// What attention_stats_bwd's kernels share: operands, the running maximum and sum of a query, and what they write.
layout(push_constant) uniform Push { attention_stats_bwd_params p; };
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, y)
HEAD_READ(3, g)
layout(binding = 4) writeonly buffer S { float stats[]; };
const uint KEYS = 8;  // of a block; part of the order of the sum

// Adds a block of scores to the maximum m and the sum l of exp2(score - m), as attention_fwd does.
void add_block(float s[KEYS], inout float m, inout float l)
{
    float top = m;
    [[unroll]] for (uint j = 0; j < KEYS; j++)
        top = max(top, s[j]);
    l *= exp2(m - top);
    m = top;
    [[unroll]] for (uint j = 0; j < KEYS; j++)
        l += exp2(s[j] - top);
}

// Writes both numbers of row r of q; m and l are in units of exp2.
void finish(uint r, uint head, float m, float l)
{
    const uint y_at = HEAD_AT(y, r, head), g_at = HEAD_AT(g, r, head), at = p.s.off + r * p.s.stride + 2 * head;
    float sum = 0.0;
    [[dont_unroll]] for (uint c = 0; c < H4; c++)
        sum = dot_onto(sum, get_y(y_at, c), get_g(g_at, c));
    stats[at] = (m + log2(l)) / LOG2E;
    stats[at + 1] = sum;
}
