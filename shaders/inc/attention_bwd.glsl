// What the gradients of attention share. KV 0: the gradient of q, where a workgroup owns queries and takes all keys; KV 1: those of k and
// v, where it owns keys and takes all queries. With s0 and s1 of the query,
//   p = exp(scale q.k - s0),  e = p (g.v - s1),  dq = scale * sum over keys of e k,  dk = scale * sum over queries of e q,
//   dv = sum over queries of p g.
// No maximum runs along, so sums do not depend on tiles: columns ascending, then keys or queries ascending.
#if KV
layout(push_constant) uniform Push { attention_bwd_kv_params p; };
#else
layout(push_constant) uniform Push { attention_bwd_q_params p; };
#endif
HEAD_READ(0, q)
HEAD_READ(1, k)
HEAD_READ(2, v)
HEAD_READ(3, g)
layout(binding = 4) readonly buffer S { float stats[]; };

// Vector c of row r of one head of q, k, v or g.
#define VECTOR(x, r, head, c) get_##x(HEAD_AT(x, r, head), c)

#if KV
HEAD_WRITE(5, dk)
HEAD_WRITE(6, dv)
#define OWN_COUNT p.tk
#define OTHER_COUNT p.tq
// Row r of what is owned: its side of the scores, and of the products with the incoming gradient; the same of what it meets.
#define OWN_X(r, head, c) VECTOR(k, r, head, c)
#define OWN_Y(r, head, c) VECTOR(v, r, head, c)
#define OTHER_X(r, head, c) VECTOR(q, r, head, c)
#define OTHER_Y(r, head, c) VECTOR(g, r, head, c)
#else
HEAD_WRITE(5, d)
#define OWN_COUNT p.tq
#define OTHER_COUNT p.tk
#define OWN_X(r, head, c) VECTOR(q, r, head, c)
#define OWN_Y(r, head, c) VECTOR(g, r, head, c)
#define OTHER_X(r, head, c) VECTOR(k, r, head, c)
#define OTHER_Y(r, head, c) VECTOR(v, r, head, c)
#endif

// (-s0 in units of exp2, s1) of row r of q.
vec2 stats_of(uint r, uint head)
{
    const uint at = p.s.off + r * p.s.stride + 2 * head;
    return vec2(-LOG2E * stats[at], stats[at + 1]);
}

// (p, e) of a query and a key from q.k and g.v; 0 if they do not meet.
vec2 weigh(float score, float product, vec2 s, bool meet)
{
    const float w = meet ? exp2(fma(score, p.scale * LOG2E, s.x)) : 0.0;
    return vec2(w, w * (product - s.y));
}

// True if row `own` of what is owned meets row `other`, both counted in the image.
bool meets(uint own, uint other)
{
    const uint query = KV != 0 ? other : own, key = KV != 0 ? own : other;
    return other < OTHER_COUNT && (p.causal == 0 || key <= query);
}

// The rows that `count` owned ones from `own` on may meet lie from first_other to last_other - 1, at least one: Mesa's software driver
// runs a loop that has no turn with all lanes off, and then crashes in a load at a uniform address.
uint first_other(uint own) { return KV != 0 && p.causal != 0 ? min(own, OTHER_COUNT - 1) : 0; }
uint last_other(uint own, uint count) { return KV == 0 && p.causal != 0 ? min(OTHER_COUNT, own + count) : OTHER_COUNT; }
