/* Attention: operands, work and cases. Layer 2. */
#include "op.h"
#include <math.h>

void extents_attention_fwd(const bl_params *p, bl_extent *e)
{
    const struct attention_params *q = &p->attention_fwd;
    e[0] = e[3] = (bl_extent){ q->images * q->tq, q->heads * q->head };
    e[1] = e[2] = (bl_extent){ q->images * q->tk, q->heads * q->head };
}

void extents_attention_probs_fwd(const bl_params *p, bl_extent *e)
{
    const struct attention_probs_params *q = &p->attention_probs_fwd;
    e[0] = (bl_extent){ q->images * q->tq, q->heads * q->head };
    e[1] = (bl_extent){ q->images * q->tk, q->heads * q->head };
    e[2] = (bl_extent){ q->images * q->heads * q->tq, q->tk };
}

void extents_attention_values_fwd(const bl_params *p, bl_extent *e)
{
    const struct attention_values_params *q = &p->attention_values_fwd;
    e[0] = (bl_extent){ q->images * q->heads * q->tq, q->tk };
    e[1] = (bl_extent){ q->images * q->tk, q->heads * q->head };
    e[2] = (bl_extent){ q->images * q->tq, q->heads * q->head };
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
    { ATTENTION("bench_self_4096x40", 1, 8, 40, 4096, 4096, 0.158113883f) },
    { ATTENTION("bench_cross_4096x40", 1, 8, 40, 4096, 77, 0.158113883f) },
    { ATTENTION("bench_self_1024x40", 1, 8, 40, 1024, 1024, 0.158113883f) },
    { ATTENTION("bench_self_1024x80", 1, 8, 80, 1024, 1024, 0.111803399f) },
    { ATTENTION("bench_cross_1024x80", 1, 8, 80, 1024, 77, 0.111803399f) },
    { ATTENTION("bench_self_256x160", 1, 8, 160, 256, 256, 0.0790569415f) },
    { ATTENTION("bench_cross_256x160", 1, 8, 160, 256, 77, 0.0790569415f) },
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
    { VALUES("bench_cross_256x160", 2, 8, 160, 256, 77) },
    { VALUES("bench_cross_1024x80", 2, 8, 80, 1024, 77) },
};

const uint32_t case_count_attention_fwd = BL_COUNT(cases_attention_fwd);
const uint32_t case_count_attention_probs_fwd = BL_COUNT(cases_attention_probs_fwd);
const uint32_t case_count_attention_values_fwd = BL_COUNT(cases_attention_values_fwd);
