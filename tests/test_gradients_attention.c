/* The gradients of attention, proven by central differences of its forward references. */
#include "op.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "differences.h"

enum { MOST = 2048 };

/* A problem with padded views, its loss g y (or, with kept probabilities, g y + a p), and room for everything. */
typedef struct problem {
    bl_heads h;
    double scale;
    bool causal, with_a;
    double q[MOST], k[MOST], v[MOST], g[MOST], y[MOST], p[MOST], a[MOST];
} problem;

static const uint32_t shapes[][6] = { /* images, heads, head, tq, tk, causal */
    { 1, 1, 4, 3, 3, 0 }, { 2, 2, 3, 5, 4, 0 }, { 1, 3, 5, 1, 6, 0 }, { 2, 1, 1, 4, 1, 0 }, { 1, 2, 4, 6, 3, 1 }, { 2, 2, 3, 3, 7, 1 },
};

static uint32_t rng;
static void fill(double *v)
{
    for (size_t i = 0; i < MOST; i++) {
        rng = rng * 1664525u + 1013904223u;
        v[i] = (double)(rng >> 8) / (1 << 23) - 1;
    }
}

static void problem_create(problem *m, const uint32_t *shape)
{
    m->h = (bl_heads){ shape[0], shape[1], shape[2], shape[3], shape[4] };
    m->scale = 1.5;
    m->causal = shape[5];
    double *const filled[] = { m->q, m->k, m->v, m->g, m->p, m->a };
    for (size_t i = 0; i < BL_COUNT(filled); i++)
        fill(filled[i]);
}

#define SHAPE(m) .images = m->h.images, .heads = m->h.heads, .head = m->h.head, .tq = m->h.tq, .tk = m->h.tk
static struct view rows_of(const problem *m) { return (struct view){ 1, m->h.heads * m->h.head + 2 }; }
static struct view stats_of(const problem *m) { return (struct view){ 2, 2 * m->h.heads + 1 }; }
static struct view probs_of(const problem *m) { return (struct view){ 0, m->h.tk + 1 }; }
static size_t queries(const problem *m) { return (size_t)m->h.images * m->h.tq; }
static size_t keys(const problem *m) { return (size_t)m->h.images * m->h.tk; }

/* Sum of a b over a view. */
static double dot(const double *a, const double *b, struct view v, size_t rows, size_t cols)
{
    double sum = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            sum += a[bl_at(&v, r, c)] * b[bl_at(&v, r, c)];
    return sum;
}

static double loss(void *context)
{
    problem *m = context;
    const struct view x = rows_of(m);
    const bl_params p = { .attention_fwd = { .q = x, .k = x, .v = x, .y = x, SHAPE(m), .scale = (float)m->scale, .causal = m->causal } };
    bl_op_infos[BL_OP_attention_fwd].ref(&p, (double *[]){ m->q, m->k, m->v, m->y }, NULL);
    return dot(m->g, m->y, x, queries(m), (size_t)m->h.heads * m->h.head);
}

static void flash(void **state)
{
    (void)state;
    static problem m;
    static double s[MOST], dq[MOST], dk[MOST], dv[MOST];
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        problem *const at = &m;
        problem_create(at, shapes[i]);
        memset(dq, 0, sizeof(dq)); /* also between the rows, where differences find nothing */
        memset(dk, 0, sizeof(dk));
        memset(dv, 0, sizeof(dv));
        const struct view x = rows_of(at), stats = stats_of(at);
        const bl_params first = { .attention_stats_bwd = { .q = x, .k = x, .y = x, .g = x, .s = stats, SHAPE(at), .scale = (float)m.scale,
            .causal = m.causal } };
        const bl_params to_q = { .attention_bwd_q = { .q = x, .k = x, .v = x, .g = x, .s = stats, .d = x, SHAPE(at),
            .scale = (float)m.scale, .causal = m.causal } };
        const bl_params to_kv = { .attention_bwd_kv = { .q = x, .k = x, .v = x, .g = x, .s = stats, .dk = x, .dv = x, SHAPE(at),
            .scale = (float)m.scale, .causal = m.causal } };
        loss(at); /* for y */
        bl_op_infos[BL_OP_attention_stats_bwd].ref(&first, (double *[]){ m.q, m.k, m.y, m.g, s }, NULL);
        bl_op_infos[BL_OP_attention_bwd_q].ref(&to_q, (double *[]){ m.q, m.k, m.v, m.g, s, dq }, NULL);
        bl_op_infos[BL_OP_attention_bwd_kv].ref(&to_kv, (double *[]){ m.q, m.k, m.v, m.g, s, dk, dv }, NULL);
        const size_t of_q = bl_at(&x, queries(at), 0), of_k = bl_at(&x, keys(at), 0);
        if (m.h.tk > 1) { /* the softmax of a single score is constant */
            assert_gradient(loss, at, m.q, of_q, 1, dq, 1e-6);
            assert_gradient(loss, at, m.k, of_k, 1, dk, 1e-6);
        }
        assert_gradient(loss, at, m.v, of_k, 1, dv, 1e-6);
    }
}

static double kept_loss(void *context)
{
    problem *m = context;
    const struct view x = rows_of(m), probs = probs_of(m);
    const bl_params p = { .attention_values_fwd = { .p = probs, .v = x, .y = x, SHAPE(m) } };
    bl_op_infos[BL_OP_attention_values_fwd].ref(&p, (double *[]){ m->p, m->v, m->y }, NULL);
    return dot(m->g, m->y, x, queries(m), (size_t)m->h.heads * m->h.head) +
        (m->with_a ? dot(m->a, m->p, probs, queries(m) * m->h.heads, m->h.tk) : 0);
}

static void kept(void **state)
{
    (void)state;
    static problem m;
    static double dp[MOST], dv[MOST];
    for (size_t i = 0; i < 2 * BL_COUNT(shapes); i++) {
        problem *const at = &m;
        problem_create(at, shapes[i / 2]);
        m.with_a = i % 2;
        memset(dp, 0, sizeof(dp));
        memset(dv, 0, sizeof(dv));
        const struct view x = rows_of(at), probs = probs_of(at);
        const bl_params to_p = { .attention_values_bwd_p = { .g = x, .v = x, .a = probs, .d = probs, SHAPE(at),
            .given = m.with_a ? 1u << 2 : 0 } };
        const bl_params to_v = { .attention_values_bwd_v = { .p = probs, .g = x, .d = x, SHAPE(at) } };
        bl_op_infos[BL_OP_attention_values_bwd_p].ref(&to_p, (double *[]){ m.g, m.v, m.with_a ? m.a : NULL, dp }, NULL);
        bl_op_infos[BL_OP_attention_values_bwd_v].ref(&to_v, (double *[]){ m.p, m.g, dv }, NULL);
        assert_gradient(kept_loss, at, m.p, bl_at(&probs, queries(at) * m.h.heads, 0), 1, dp, 1e-6);
        assert_gradient(kept_loss, at, m.v, bl_at(&x, keys(at), 0), 1, dv, 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(flash), cmocka_unit_test(kept) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
