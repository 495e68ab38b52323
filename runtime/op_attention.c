/* Attention: operands, work and cases. Layer 2. */
#include "op.h"
#include <math.h>
#include <string.h>

/* Where they are in the block; 0: nowhere. */
static size_t heads_offset(bl_op op)
{
    bl_operand o[BL_MAX_OPERANDS];
    switch (op) {
    case BL_OP_attention_fwd:
    case BL_OP_attention_probs_fwd:
    case BL_OP_attention_values_fwd:
    case BL_OP_attention_stats_bwd:
    case BL_OP_attention_bwd_q:
    case BL_OP_attention_bwd_kv:
    case BL_OP_attention_values_bwd_p:
    case BL_OP_attention_values_bwd_v:
        return bl_op_operands(op, o) * sizeof(struct view) + (op == BL_OP_attention_values_bwd_p ? sizeof(uint32_t) : 0); /* `given` */
    default:
        return 0;
    }
}

bl_heads bl_op_heads(bl_op op, const bl_params *p)
{
    const size_t at = heads_offset(op);
    bl_heads out = { 0 };
    if (at)
        memcpy(&out, (const char *)p + at, sizeof(out));
    return out;
}

/* Of the scores; NULL: there are none. */
static float *scale_of(bl_op op, bl_params *p)
{
    switch (op) {
    case BL_OP_attention_fwd: return &p->attention_fwd.scale;
    case BL_OP_attention_probs_fwd: return &p->attention_probs_fwd.scale;
    case BL_OP_attention_stats_bwd: return &p->attention_stats_bwd.scale;
    case BL_OP_attention_bwd_q: return &p->attention_bwd_q.scale;
    case BL_OP_attention_bwd_kv: return &p->attention_bwd_kv.scale;
    default: return NULL;
    }
}

void bl_op_set_head(bl_op op, bl_params *p, uint32_t head)
{
    const size_t at = heads_offset(op);
    float *scale = scale_of(op, p);
    if (scale)
        *scale *= sqrtf((float)bl_op_heads(op, p).head / (float)head);
    if (at)
        memcpy((char *)p + at + offsetof(bl_heads, head), &head, sizeof(head));
}

/* q or what is shaped like it, k or what is, and kept probabilities. */
static bl_extent queries(bl_heads h) { return (bl_extent){ h.images * h.tq, h.heads * h.head }; }
static bl_extent keys(bl_heads h) { return (bl_extent){ h.images * h.tk, h.heads * h.head }; }
static bl_extent probabilities(bl_heads h) { return (bl_extent){ h.images * h.heads * h.tq, h.tk }; }
static bl_extent stats(bl_heads h) { return (bl_extent){ h.images * h.tq, 2 * h.heads }; }

void extents_attention_fwd(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_fwd, p);
    e[0] = e[3] = queries(h);
    e[1] = e[2] = keys(h);
}

void extents_attention_probs_fwd(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_probs_fwd, p);
    e[0] = queries(h);
    e[1] = keys(h);
    e[2] = probabilities(h);
}

void extents_attention_values_fwd(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_values_fwd, p);
    e[0] = probabilities(h);
    e[1] = keys(h);
    e[2] = queries(h);
}

void extents_attention_stats_bwd(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_stats_bwd, p);
    e[0] = e[2] = e[3] = queries(h);
    e[1] = keys(h);
    e[4] = stats(h);
}

void extents_attention_bwd_q(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_bwd_q, p);
    e[0] = e[3] = e[5] = queries(h);
    e[1] = e[2] = keys(h);
    e[4] = stats(h);
}

void extents_attention_bwd_kv(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_bwd_kv, p);
    e[0] = e[3] = queries(h);
    e[1] = e[2] = e[5] = e[6] = keys(h);
    e[4] = stats(h);
}

enum { A = 1 << 2 };  /* bit of `given` */

void extents_attention_values_bwd_p(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_values_bwd_p, p);
    e[0] = queries(h);
    e[1] = keys(h);
    e[2] = p->attention_values_bwd_p.given & A ? probabilities(h) : (bl_extent){ 0, 0 };
    e[3] = probabilities(h);
}

void extents_attention_values_bwd_v(const bl_params *p, bl_extent *e)
{
    const bl_heads h = bl_op_heads(BL_OP_attention_values_bwd_v, p);
    e[0] = probabilities(h);
    e[1] = queries(h);
    e[2] = keys(h);
}

/* Query and key pairs of one head that meet. */
static double pairs(uint32_t tq, uint32_t tk, bool causal)
{
    if (!causal)
        return (double)tq * tk;
    const double n = BL_MIN(tq, tk);
    return n * (n + 1) / 2 + (tq > tk ? (double)(tq - tk) * tk : 0);
}

/* Only the two products count, as usual for attention; exponentials come on top. */
double flops_attention_fwd(const bl_params *p)
{
    const struct attention_params *q = &p->attention_fwd;
    return 4.0 * q->images * q->heads * q->head * pairs(q->tq, q->tk, q->causal);
}

double flops_attention_probs_fwd(const bl_params *p)
{
    const struct attention_probs_params *q = &p->attention_probs_fwd;
    return 2.0 * q->images * q->heads * q->head * pairs(q->tq, q->tk, q->causal);
}

double flops_attention_values_fwd(const bl_params *p)
{
    const struct attention_values_params *q = &p->attention_values_fwd;
    return 2.0 * q->images * q->heads * q->head * pairs(q->tq, q->tk, false);
}

double flops_attention_stats_bwd(const bl_params *p)
{
    const struct attention_stats_bwd_params *q = &p->attention_stats_bwd;
    return 2.0 * q->images * q->heads * q->head * (pairs(q->tq, q->tk, q->causal) + q->tq);
}

double flops_attention_bwd_q(const bl_params *p)
{
    const struct attention_bwd_q_params *q = &p->attention_bwd_q;
    return 6.0 * q->images * q->heads * q->head * pairs(q->tq, q->tk, q->causal);
}

double flops_attention_bwd_kv(const bl_params *p)
{
    const struct attention_bwd_kv_params *q = &p->attention_bwd_kv;
    return 8.0 * q->images * q->heads * q->head * pairs(q->tq, q->tk, q->causal);
}

double flops_attention_values_bwd_p(const bl_params *p)
{
    const struct attention_values_bwd_p_params *q = &p->attention_values_bwd_p;
    return 2.0 * q->images * q->heads * q->head * pairs(q->tq, q->tk, false);
}

double flops_attention_values_bwd_v(const bl_params *p)
{
    const struct attention_values_bwd_v_params *q = &p->attention_values_bwd_v;
    return 2.0 * q->images * q->heads * q->head * pairs(q->tq, q->tk, false);
}

/* Tolerances grow with the root of the depth. The error of a weight comes on top of that of the two sums: an absolute error of a score
 * is a relative one of its weight, and scores of normal q and k reach a few times scale * sqrt(head); Vulkan lets exp2(x) be wrong by
 * 3 + 2|x| ulp, 19 of 6e-8 at x = -8, and the worst of 10^5 results sees several times the typical error: 20 steps of 2e-7. */
static uint32_t depth(uint32_t head, float scale, uint32_t sum)
{
    const double root = sqrt((double)head + sum) + 3 * fabs((double)scale) * sqrt(head) + 20;
    return (uint32_t)BL_MIN(root * root, 1e9);
}

uint32_t depth_attention_fwd(const bl_params *p)
{
    return depth(p->attention_fwd.head, p->attention_fwd.scale, p->attention_fwd.tk);
}

uint32_t depth_attention_probs_fwd(const bl_params *p)
{
    return depth(p->attention_probs_fwd.head, p->attention_probs_fwd.scale, p->attention_probs_fwd.tk);
}

uint32_t depth_attention_values_fwd(const bl_params *p) { return p->attention_values_fwd.tk; }

uint32_t depth_attention_stats_bwd(const bl_params *p)
{
    return depth(p->attention_stats_bwd.head, p->attention_stats_bwd.scale, p->attention_stats_bwd.tk);
}

uint32_t depth_attention_bwd_q(const bl_params *p)
{
    return depth(p->attention_bwd_q.head, p->attention_bwd_q.scale, p->attention_bwd_q.tk);
}

uint32_t depth_attention_bwd_kv(const bl_params *p)
{
    return depth(p->attention_bwd_kv.head, p->attention_bwd_kv.scale, p->attention_bwd_kv.tq);
}

uint32_t depth_attention_values_bwd_p(const bl_params *p) { return p->attention_values_bwd_p.head; }
uint32_t depth_attention_values_bwd_v(const bl_params *p) { return p->attention_values_bwd_v.tq; }

/* --- cases ---------------------------------------------------------------------------------------------------------- */

#define SHAPE(i, n, d, q, k) .images = (i), .heads = (n), .head = (d), .tq = (q), .tk = (k)
/* `s` is the scale, 1/sqrt(head) in networks. */
#define ATTENTION(label, i, n, d, q, k, s) .name = label, .p.attention_fwd = { SHAPE(i, n, d, q, k), .scale = s }
#define CAUSAL(label, i, n, d, q, k, s) .name = label, .p.attention_fwd = { SHAPE(i, n, d, q, k), .scale = s, .causal = 1 }
#define PROBS(label, i, n, d, q, k, s) .name = label, .p.attention_probs_fwd = { SHAPE(i, n, d, q, k), .scale = s }
#define CAUSAL_PROBS(label, i, n, d, q, k, s) .name = label, .p.attention_probs_fwd = { SHAPE(i, n, d, q, k), .scale = s, .causal = 1 }
#define VALUES(label, i, n, d, q, k) .name = label, .p.attention_values_fwd = { SHAPE(i, n, d, q, k) }

const bl_op_case cases_attention_fwd[] = {
    { ATTENTION("unet_self_256x40", 1, 8, 40, 256, 256, 0.158113883f) },
    { ATTENTION("unet_cross_256x40", 2, 8, 40, 256, 77, 0.158113883f) },
    { ATTENTION("unet_self_64x80", 2, 8, 80, 64, 64, 0.111803399f) },
    { ATTENTION("unet_cross_64x160", 2, 8, 160, 64, 77, 0.0790569415f) },
    { ATTENTION("unet_self_64x160", 2, 8, 160, 64, 64, 0.0790569415f) },
    { CAUSAL("text_77x64", 2, 12, 64, 77, 77, 0.125f) },
    { ATTENTION("vae_256x512", 1, 1, 512, 256, 256, 0.0441941738f) },
    { ATTENTION("tiny_64x8", 2, 2, 8, 64, 64, 0.353553391f) },
    { ATTENTION("tiny_cross_16x16", 1, 4, 16, 16, 77, 0.25f) },
    { CAUSAL("tiny_text_77x8", 1, 4, 8, 77, 77, 0.353553391f) },
    { ATTENTION("one_query_one_key", 1, 1, 4, 1, 1, 0.5f) },
    { ATTENTION("one_column", 3, 2, 1, 9, 5, 1) },
    { ATTENTION("one_key", 2, 3, 40, 13, 1, 0.158113883f) },
    { ATTENTION("one_query", 2, 3, 40, 1, 130, 0.158113883f) },
    { ATTENTION("odd_head_5", 2, 4, 5, 33, 31, 0.447213595f) },
    { ATTENTION("odd_head_67", 1, 2, 67, 20, 19, 0.122169444f) },
    { ATTENTION("odd_head_101", 1, 2, 101, 18, 50, 0.0995037190f) },
    { ATTENTION("odd_head_161", 1, 2, 161, 17, 140, 0.0788110406f) },
    { ATTENTION("head_96", 1, 2, 96, 130, 129, 0.102062073f) },
    { ATTENTION("head_100", 1, 2, 100, 17, 81, 0.1f) },
    { ATTENTION("head_164", 1, 2, 164, 33, 257, 0.0780868809f) },
    { CAUSAL("causal_more_queries", 2, 2, 16, 150, 40, 0.25f) },
    { CAUSAL("causal_more_keys", 2, 2, 16, 40, 150, 0.25f) },
    { CAUSAL("causal_160", 1, 2, 160, 100, 100, 0.0790569415f) },
    { CAUSAL("causal_512", 1, 1, 512, 150, 150, 0.0441941738f) },
    { ATTENTION("large_scores", 1, 2, 8, 64, 200, 1000) },        /* to about 1e4 */
    { CAUSAL("large_scores_causal", 1, 2, 8, 64, 64, 1000) },
    { ATTENTION("large_scores_wide", 1, 1, 164, 20, 300, 200) },
    { ATTENTION("large_mean", 1, 2, 40, 64, 77, 0.158113883f), .mean = 2, .spread = 1 },
    { ATTENTION("few_queries_160", 1, 2, 160, 5, 70, 0.0790569415f) },
    { ATTENTION("few_queries_512", 1, 1, 512, 3, 150, 0.0441941738f) },
    { ATTENTION("bench_self_4096x40", 1, 8, 40, 4096, 4096, 0.158113883f) },
    { ATTENTION("bench_cross_4096x40", 1, 8, 40, 4096, 77, 0.158113883f) },
    { ATTENTION("bench_self_1024x40", 1, 8, 40, 1024, 1024, 0.158113883f) },
    { ATTENTION("bench_self_1024x80", 1, 8, 80, 1024, 1024, 0.111803399f) },
    { ATTENTION("bench_cross_1024x80", 1, 8, 80, 1024, 77, 0.111803399f) },
    { ATTENTION("bench_self_256x160", 1, 8, 160, 256, 256, 0.0790569415f) },
    { ATTENTION("bench_cross_256x160", 1, 8, 160, 256, 77, 0.0790569415f) },
    { ATTENTION("bench_sd21_self_4096x64", 1, 5, 64, 4096, 4096, 0.125f) },
    { ATTENTION("bench_sd21_cross_4096x64", 1, 5, 64, 4096, 77, 0.125f) },
    { ATTENTION("bench_demo_self_256x32", 1, 2, 32, 256, 256, 0.176776695f) },
    { CAUSAL("bench_text_77x64", 2, 12, 64, 77, 77, 0.125f) },
    { ATTENTION("bench_vae_1024x512", 1, 1, 512, 1024, 1024, 0.0441941738f) },
    { ATTENTION("bench_vae_4096x512", 1, 1, 512, 4096, 4096, 0.0441941738f) },
};

const bl_op_case cases_attention_probs_fwd[] = {
    { PROBS("unet_cross_256x160", 1, 8, 160, 256, 77, 0.0790569415f) },
    { PROBS("unet_cross_256x40", 2, 2, 40, 256, 77, 0.158113883f) },
    { PROBS("tiny_16x8", 2, 2, 8, 16, 16, 0.353553391f) },
    { PROBS("one_query_one_key", 1, 1, 4, 1, 1, 0.5f) },
    { PROBS("one_column", 3, 2, 1, 9, 5, 1) },
    { PROBS("odd_head_5", 2, 4, 5, 33, 31, 0.447213595f) },
    { PROBS("head_512", 1, 1, 512, 40, 33, 0.0441941738f) },
    { CAUSAL_PROBS("causal_77x64", 1, 3, 64, 77, 77, 0.125f) },
    { CAUSAL_PROBS("causal_more_queries", 2, 2, 16, 50, 40, 0.25f) },
    { PROBS("large_scores", 1, 2, 8, 64, 200, 1000) },
    { PROBS("large_mean", 1, 2, 40, 64, 77, 0.158113883f), .mean = 2, .spread = 1 },
    { PROBS("bench_cross_256x160", 2, 8, 160, 256, 77, 0.0790569415f) },
    { PROBS("bench_cross_1024x80", 2, 8, 80, 1024, 77, 0.111803399f) },
};

const bl_op_case cases_attention_values_fwd[] = {
    { VALUES("unet_cross_256x160", 1, 8, 160, 256, 77) },
    { VALUES("unet_cross_256x40", 2, 2, 40, 256, 77) },
    { VALUES("tiny_16x8", 2, 2, 8, 16, 16) },
    { VALUES("one_query_one_key", 1, 1, 4, 1, 1) },
    { VALUES("one_column", 3, 2, 1, 9, 5) },
    { VALUES("odd_head_5", 2, 4, 5, 33, 31) },
    { VALUES("odd_head_101", 1, 2, 101, 18, 50) },
    { VALUES("head_512", 1, 1, 512, 40, 33) },
    { VALUES("many_keys", 1, 2, 8, 17, 3000) },
    { VALUES("large_mean", 1, 2, 40, 64, 77), .mean = 10, .spread = 1 },
    { VALUES("few_queries_512", 1, 1, 512, 5, 33) },
    { VALUES("bench_cross_256x160", 2, 8, 160, 256, 77) },
    { VALUES("bench_cross_1024x80", 2, 8, 80, 1024, 77) },
};

#define BWD(op, label, i, n, d, q, k, s) .name = label, .p.op = { SHAPE(i, n, d, q, k), .scale = s }
#define CAUSAL_BWD(op, label, i, n, d, q, k, s) .name = label, .p.op = { SHAPE(i, n, d, q, k), .scale = s, .causal = 1 }
/* `of` is the spread. Statistics are inputs of the gradients here, normal like the rest and not those of q and k, so that probabilities
 * exceed 1 and rows differ by the exponential of what is drawn: small spreads keep the worst row within a few times the typical one. */
#define BWD_CASES(op, of) \
    { BWD(op, "unet_self_256x40", 1, 8, 40, 256, 256, 0.158113883f), .spread = of }, \
    { BWD(op, "unet_cross_256x40", 2, 8, 40, 256, 77, 0.158113883f), .spread = of }, \
    { BWD(op, "unet_self_64x80", 2, 8, 80, 64, 64, 0.111803399f), .spread = of }, \
    { BWD(op, "unet_cross_64x160", 2, 8, 160, 64, 77, 0.0790569415f), .spread = of }, \
    { BWD(op, "unet_self_64x160", 2, 8, 160, 64, 64, 0.0790569415f), .spread = of }, \
    { CAUSAL_BWD(op, "text_77x64", 2, 12, 64, 77, 77, 0.125f), .spread = of }, \
    { BWD(op, "clip_257x64", 1, 4, 64, 257, 257, 0.125f), .spread = of }, \
    { BWD(op, "vae_256x512", 1, 1, 512, 256, 256, 0.0441941738f), .spread = of }, \
    { BWD(op, "tiny_64x8", 2, 2, 8, 64, 64, 0.353553391f), .spread = of }, \
    { BWD(op, "tiny_cross_16x16", 1, 4, 16, 16, 77, 0.25f), .spread = of }, \
    { CAUSAL_BWD(op, "tiny_text_77x8", 1, 4, 8, 77, 77, 0.353553391f), .spread = of }, \
    { BWD(op, "one_query_one_key", 1, 1, 8, 1, 1, 0.5f), .spread = of }, \
    { BWD(op, "one_column", 3, 2, 1, 9, 5, 1), .spread = of }, \
    { BWD(op, "one_key", 2, 3, 40, 13, 1, 0.158113883f), .spread = of }, \
    { BWD(op, "one_query", 2, 3, 40, 1, 130, 0.158113883f), .spread = of }, \
    { BWD(op, "odd_head_5", 2, 4, 5, 33, 31, 0.447213595f), .spread = of }, \
    { BWD(op, "odd_head_101", 1, 2, 101, 18, 50, 0.0995037190f), .spread = of }, \
    { BWD(op, "head_96", 1, 2, 96, 130, 129, 0.102062073f), .spread = of }, \
    { CAUSAL_BWD(op, "causal_more_queries", 2, 2, 16, 150, 40, 0.25f), .spread = of }, \
    { CAUSAL_BWD(op, "causal_more_keys", 2, 2, 16, 40, 150, 0.25f), .spread = of }, \
    { CAUSAL_BWD(op, "causal_160", 1, 2, 160, 100, 100, 0.0790569415f), .spread = of }, \
    { CAUSAL_BWD(op, "causal_512", 1, 1, 512, 150, 150, 0.0441941738f), .spread = of }, \
    { BWD(op, "few_queries_160", 1, 2, 160, 5, 70, 0.0790569415f), .spread = of }, \
    { BWD(op, "few_queries_512", 1, 1, 512, 3, 80, 0.0441941738f), .spread = of }, \
    { BWD(op, "bench_self_4096x40", 1, 8, 40, 4096, 4096, 0.158113883f), .spread = of }, \
    { BWD(op, "bench_cross_4096x40", 1, 8, 40, 4096, 77, 0.158113883f), .spread = of }, \
    { BWD(op, "bench_self_1024x40", 1, 8, 40, 1024, 1024, 0.158113883f), .spread = of }, \
    { BWD(op, "bench_self_1024x80", 1, 8, 80, 1024, 1024, 0.111803399f), .spread = of }, \
    { BWD(op, "bench_cross_1024x80", 1, 8, 80, 1024, 77, 0.111803399f), .spread = of }, \
    { BWD(op, "bench_self_256x160", 1, 8, 160, 256, 256, 0.0790569415f), .spread = of }, \
    { BWD(op, "bench_cross_256x160", 1, 8, 160, 256, 77, 0.0790569415f), .spread = of }, \
    { BWD(op, "bench_sd21_self_4096x64", 1, 5, 64, 4096, 4096, 0.125f), .spread = of }, \
    { BWD(op, "bench_sd21_cross_4096x64", 1, 5, 64, 4096, 77, 0.125f), .spread = of }, \
    { BWD(op, "bench_demo_self_256x32", 1, 2, 32, 256, 256, 0.176776695f), .spread = of }, \
    { BWD(op, "bench_clip_257x64", 1, 16, 64, 257, 257, 0.125f), .spread = of }, \
    { BWD(op, "bench_vae_1024x512", 1, 1, 512, 1024, 1024, 0.0441941738f), .spread = of }, \
    { BWD(op, "bench_vae_4096x512", 1, 1, 512, 4096, 4096, 0.0441941738f), .spread = of }

const bl_op_case cases_attention_stats_bwd[] = {
    BWD_CASES(attention_stats_bwd, 1),
    { BWD(attention_stats_bwd, "large_scores", 1, 2, 8, 64, 200, 1000) },
    { CAUSAL_BWD(attention_stats_bwd, "large_scores_causal", 1, 2, 8, 64, 64, 1000) },
    { BWD(attention_stats_bwd, "large_scores_wide", 1, 1, 164, 20, 300, 200) },
    { BWD(attention_stats_bwd, "large_mean", 1, 2, 40, 64, 77, 0.158113883f), .mean = 2, .spread = 1 },
};

/* large_mean: s0 and s1 are near 3, as in a network; scores are near 0 and vanishing, and p is exp(score - 3). */
const bl_op_case cases_attention_bwd_q[] = {
    BWD_CASES(attention_bwd_q, 0.5f),
    { BWD(attention_bwd_q, "large_mean", 1, 2, 40, 64, 77, 0.01f), .mean = 3, .spread = 1 },
    { BWD(attention_bwd_q, "vanishing", 1, 2, 40, 64, 77, -0.5f), .mean = 3, .spread = 0.5f },
};

const bl_op_case cases_attention_bwd_kv[] = {
    BWD_CASES(attention_bwd_kv, 0.5f),
    { BWD(attention_bwd_kv, "large_mean", 1, 2, 40, 64, 77, 0.01f), .mean = 3, .spread = 1 },
    { BWD(attention_bwd_kv, "vanishing", 1, 2, 40, 64, 77, -0.5f), .mean = 3, .spread = 0.5f },
};

#define VALUES_P(label, i, n, d, q, k, has) .name = label, .p.attention_values_bwd_p = { SHAPE(i, n, d, q, k), .given = has }
#define VALUES_V(label, i, n, d, q, k) .name = label, .p.attention_values_bwd_v = { SHAPE(i, n, d, q, k) }

const bl_op_case cases_attention_values_bwd_p[] = {
    { VALUES_P("unet_cross_256x160", 1, 8, 160, 256, 77, A) },
    { VALUES_P("unet_cross_256x40", 2, 2, 40, 256, 77, 0) },
    { VALUES_P("tiny_16x8", 2, 2, 8, 16, 16, A) },
    { VALUES_P("one_query_one_key", 1, 1, 4, 1, 1, 0) },
    { VALUES_P("one_column", 3, 2, 1, 9, 5, A) },
    { VALUES_P("odd_head_5", 2, 4, 5, 33, 31, A) },
    { VALUES_P("odd_head_101", 1, 2, 101, 18, 50, 0) },
    { VALUES_P("head_512", 1, 1, 512, 40, 33, A) },
    { VALUES_P("large_mean", 1, 2, 40, 64, 77, A), .mean = 10, .spread = 1 },
    { VALUES_P("bench_cross_256x160", 1, 8, 160, 256, 77, A) },
    { VALUES_P("bench_cross_1024x80", 1, 8, 80, 1024, 77, A) },
};

const bl_op_case cases_attention_values_bwd_v[] = {
    { VALUES_V("unet_cross_256x160", 1, 8, 160, 256, 77) },
    { VALUES_V("unet_cross_256x40", 2, 2, 40, 256, 77) },
    { VALUES_V("tiny_16x8", 2, 2, 8, 16, 16) },
    { VALUES_V("one_query_one_key", 1, 1, 4, 1, 1) },
    { VALUES_V("one_column", 3, 2, 1, 9, 5) },
    { VALUES_V("odd_head_5", 2, 4, 5, 33, 31) },
    { VALUES_V("odd_head_101", 1, 2, 101, 18, 50) },
    { VALUES_V("head_512", 1, 1, 512, 40, 33) },
    { VALUES_V("many_queries", 1, 2, 8, 3000, 17) },
    { VALUES_V("large_mean", 1, 2, 40, 64, 77), .mean = 10, .spread = 1 },
    { VALUES_V("bench_cross_256x160", 1, 8, 160, 256, 77) },
    { VALUES_V("bench_cross_1024x80", 1, 8, 80, 1024, 77) },
};

const uint32_t case_count_attention_fwd = BL_COUNT(cases_attention_fwd);
const uint32_t case_count_attention_probs_fwd = BL_COUNT(cases_attention_probs_fwd);
const uint32_t case_count_attention_values_fwd = BL_COUNT(cases_attention_values_fwd);
const uint32_t case_count_attention_stats_bwd = BL_COUNT(cases_attention_stats_bwd);
const uint32_t case_count_attention_bwd_q = BL_COUNT(cases_attention_bwd_q);
const uint32_t case_count_attention_bwd_kv = BL_COUNT(cases_attention_bwd_kv);
const uint32_t case_count_attention_values_bwd_p = BL_COUNT(cases_attention_values_bwd_p);
const uint32_t case_count_attention_values_bwd_v = BL_COUNT(cases_attention_values_bwd_v);
