/* The gradient of attention: operands, work and cases. Layer 2. */
#include "op.h"
#include <math.h>

#define QUERIES(q) (bl_extent){ (q)->images * (q)->tq, (q)->heads * (q)->head }
#define KEYS(q) (bl_extent){ (q)->images * (q)->tk, (q)->heads * (q)->head }
#define STATS(q) (bl_extent){ (q)->images * (q)->heads * (q)->tq, 2 }
#define PROBS(q) (bl_extent){ (q)->images * (q)->heads * (q)->tq, (q)->tk }

void extents_attention_stats_bwd(const bl_params *p, bl_extent *e)
{
    const struct attention_stats_bwd_params *q = &p->attention_stats_bwd;
    e[0] = e[2] = e[3] = QUERIES(q);
    e[1] = KEYS(q);
    e[4] = STATS(q);
}

void extents_attention_bwd_q(const bl_params *p, bl_extent *e)
{
    const struct attention_bwd_q_params *q = &p->attention_bwd_q;
    e[0] = e[3] = e[5] = QUERIES(q);
    e[1] = e[2] = KEYS(q);
    e[4] = STATS(q);
}

void extents_attention_bwd_kv(const bl_params *p, bl_extent *e)
{
    const struct attention_bwd_kv_params *q = &p->attention_bwd_kv;
    e[0] = e[3] = QUERIES(q);
    e[1] = e[2] = e[5] = e[6] = KEYS(q);
    e[4] = STATS(q);
}

void extents_attention_values_bwd_p(const bl_params *p, bl_extent *e)
{
    const struct attention_values_bwd_p_params *q = &p->attention_values_bwd_p;
    e[0] = QUERIES(q);
    e[1] = KEYS(q);
    e[2] = q->given >> 2 & 1 ? PROBS(q) : (bl_extent){ 0, 0 };
    e[3] = PROBS(q);
}

void extents_attention_values_bwd_v(const bl_params *p, bl_extent *e)
{
    const struct attention_values_bwd_v_params *q = &p->attention_values_bwd_v;
    e[0] = PROBS(q);
    e[1] = QUERIES(q);
    e[2] = KEYS(q);
}

/* Products of queries, keys and head columns; under causal about half of them. */
#define FLOPS(op, products) \
    double flops_##op(const bl_params *p) \
    { \
        return 2.0 * (products) * p->op.images * p->op.heads * p->op.head * p->op.tq * p->op.tk; \
    }
FLOPS(attention_stats_bwd, p->attention_stats_bwd.causal ? 0.5 : 1)
FLOPS(attention_bwd_q, p->attention_bwd_q.causal ? 1.5 : 3)
FLOPS(attention_bwd_kv, p->attention_bwd_kv.causal ? 2 : 4)
FLOPS(attention_values_bwd_p, 1)
FLOPS(attention_values_bwd_v, 1)

/* As for attention_fwd: an absolute error of a score is a relative one of its weight. The statistics that the check makes up are not
 * those of
 * the scores, so weights reach exp(largest score - s0), and with them the sums. */
static uint32_t depth(uint32_t head, uint32_t sum)
{
    const double root = sqrt((double)head + sum) + 60;
    return (uint32_t)BL_MIN(root * root, 1e9);
}
uint32_t depth_attention_stats_bwd(const bl_params *p) { return depth(p->attention_stats_bwd.head, p->attention_stats_bwd.tk); }
uint32_t depth_attention_bwd_q(const bl_params *p) { return depth(p->attention_bwd_q.head, p->attention_bwd_q.tk); }
uint32_t depth_attention_bwd_kv(const bl_params *p) { return depth(p->attention_bwd_kv.head, p->attention_bwd_kv.tq); }
uint32_t depth_attention_values_bwd_p(const bl_params *p) { return p->attention_values_bwd_p.head + 1; }
uint32_t depth_attention_values_bwd_v(const bl_params *p) { return p->attention_values_bwd_v.tq; }

/* --- cases ---------------------------------------------------------------------------------------------------------- */

#define CASE(op, label, i, n, d, q, k, ...) .name = label, .p.op = { .images = (i), .heads = (n), .head = (d), .tq = (q), .tk = (k),
    __VA_ARGS__ }
#define CASES(op) \
    { CASE(op, "unet_self_256x40", 1, 8, 40, 256, 256, .scale = 0.158113883f) }, \
    { CASE(op, "unet_cross_256x40", 2, 8, 40, 256, 77, .scale = 0.158113883f) }, \
    { CASE(op, "unet_self_64x80", 2, 8, 80, 64, 64, .scale = 0.111803399f) }, \
    { CASE(op, "unet_cross_64x160", 1, 8, 160, 64, 77, .scale = 0.0790569415f) }, \
    { CASE(op, "vae_256x512", 1, 1, 512, 256, 256, .scale = 0.0441941738f) }, \
    { CASE(op, "clip_257x64", 1, 4, 64, 257, 257, .scale = 0.125f) }, \
    { CASE(op, "tiny_64x8", 2, 2, 8, 64, 64, .scale = 0.353553391f) }, \
    { CASE(op, "one_query_one_key", 1, 1, 4, 1, 1, .scale = 0.5f) }, \
    { CASE(op, "one_column", 3, 2, 1, 9, 5, .scale = 1) }, \
    { CASE(op, "one_key", 2, 3, 40, 13, 1, .scale = 0.158113883f) }, \
    { CASE(op, "odd_head_5", 2, 4, 5, 33, 31, .scale = 0.447213595f) }, \
    { CASE(op, "odd_head_67", 1, 2, 67, 20, 19, .scale = 0.122169444f) }, \
    { CASE(op, "odd_head_161", 1, 2, 161, 17, 40, .scale = 0.0788110406f) }, \
    { CASE(op, "causal_77x64", 1, 3, 64, 77, 77, .scale = 0.125f, .causal = 1) }, \
    { CASE(op, "causal_more_keys", 2, 2, 16, 40, 50, .scale = 0.25f, .causal = 1) }, \
    { CASE(op, "causal_more_queries", 2, 2, 16, 50, 40, .scale = 0.25f, .causal = 1) }, \
    { CASE(op, "bench_self_4096x40", 1, 8, 40, 4096, 4096, .scale = 0.158113883f) }, \
    { CASE(op, "bench_self_1024x80", 1, 8, 80, 1024, 1024, .scale = 0.111803399f) }, \
    { CASE(op, "bench_self_256x160", 1, 8, 160, 256, 256, .scale = 0.0790569415f) }, \
    { CASE(op, "bench_cross_4096x40", 1, 8, 40, 4096, 77, .scale = 0.158113883f) }, \
    { CASE(op, "bench_vae_1024x512", 1, 1, 512, 1024, 1024, .scale = 0.0441941738f) }
#define VALUE_CASES(op, more) \
    { CASE(op, "unet_cross_256x160", 1, 8, 160, 256, 77, more) }, { CASE(op, "unet_cross_256x40", 2, 2, 40, 256, 77, more) }, \
    { CASE(op, "tiny_16x8", 2, 2, 8, 16, 16, ) }, { CASE(op, "one_query_one_key", 1, 1, 4, 1, 1, more) }, \
    { CASE(op, "one_column", 3, 2, 1, 9, 5, more) }, { CASE(op, "odd_head_5", 2, 4, 5, 33, 31, more) }, \
    { CASE(op, "odd_head_101", 1, 2, 101, 18, 50, ) }, { CASE(op, "bench_cross_256x160", 1, 8, 160, 256, 77, more) }

const bl_op_case cases_attention_stats_bwd[] = { CASES(attention_stats_bwd) };
const bl_op_case cases_attention_bwd_q[] = { CASES(attention_bwd_q) };
const bl_op_case cases_attention_bwd_kv[] = { CASES(attention_bwd_kv) };
const bl_op_case cases_attention_values_bwd_p[] = { VALUE_CASES(attention_values_bwd_p, .given = 4) };
const bl_op_case cases_attention_values_bwd_v[] = { VALUE_CASES(attention_values_bwd_v, ) };
const uint32_t case_count_attention_stats_bwd = BL_COUNT(cases_attention_stats_bwd);
const uint32_t case_count_attention_bwd_q = BL_COUNT(cases_attention_bwd_q);
const uint32_t case_count_attention_bwd_kv = BL_COUNT(cases_attention_bwd_kv);
const uint32_t case_count_attention_values_bwd_p = BL_COUNT(cases_attention_values_bwd_p);
const uint32_t case_count_attention_values_bwd_v = BL_COUNT(cases_attention_values_bwd_v);
