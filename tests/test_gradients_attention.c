/* The gradient of attention, in one pass and with kept probabilities, proven by central differences of the forward references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "gradient_problem.h"

static double q[MOST], k[MOST], v[MOST], y[MOST], g[MOST], s[MOST], p[MOST], a[MOST], e[MOST], d[MOST], dk[MOST], dv[MOST];

typedef struct shape {
    uint32_t images, heads, head, tq, tk, causal;
} shape;

static const shape shapes[] = {
    { 1, 1, 4, 3, 5, 0 }, { 2, 3, 2, 4, 3, 0 }, { 1, 2, 5, 6, 6, 1 }, { 2, 2, 3, 4, 6, 1 }, { 1, 2, 3, 6, 4, 1 }, { 3, 2, 1, 5, 2, 0 },
    { 1, 2, 7, 1, 9, 0 },
};

static size_t queries(const shape *t) { return (size_t)t->images * t->tq * t->heads * t->head; }
static size_t keys(const shape *t) { return (size_t)t->images * t->tk * t->heads * t->head; }
static size_t probs(const shape *t) { return (size_t)t->images * t->heads * t->tq * t->tk; }
static struct view wide(const shape *t) { return dense(t->heads * t->head); }

static void make_up(const shape *t)
{
    fill(q, queries(t), 0, 1.5);
    fill(k, keys(t), 0.2, 1.5);
    fill(v, keys(t), 0, 1);
    fill(p, probs(t), 0.5, 1);
    fill(a, probs(t), 0, 1);
    fill(g, BL_MAX(queries(t), probs(t)), 0, 1);
}

#define SIZES(t) .images = (t)->images, .heads = (t)->heads, .head = (t)->head, .tq = (t)->tq, .tk = (t)->tk
#define SCALED(t) SIZES(t), .scale = 0.6f, .causal = (t)->causal

static void attention(void **state)
{
    (void)state;
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const shape *t = &shapes[i];
        const struct view w = wide(t);
        problem f = { .op = BL_OP_attention_fwd, .v = { q, k, v, y }, .y = y, .g = g, .outputs = queries(t),
            .p.attention_fwd = { .q = w, .k = w, .v = w, .y = w, SCALED(t) } };
        make_up(t);
        loss(&f); /* for y */
        REF(attention_stats_bwd, ((struct attention_stats_bwd_params){ .q = w, .k = w, .y = w, .g = w, .s = dense(2), SCALED(t) }),
            q, k, y, g, s);
        REF(attention_bwd_q, ((struct attention_bwd_q_params){ .q = w, .k = w, .v = w, .g = w, .s = dense(2), .d = w, SCALED(t) }),
            q, k, v, g, s, d);
        REF(attention_bwd_kv, ((struct attention_bwd_kv_params){ .q = w, .k = w, .v = w, .g = w, .s = dense(2), .dk = w, .dv = w,
            SCALED(t) }), q, k, v, g, s, dk, dv);
        assert_gradient(loss, &f, q, queries(t), 1, d, 1e-6);
        assert_gradient(loss, &f, k, keys(t), 1, dk, 1e-6);
        assert_gradient(loss, &f, v, keys(t), 1, dv, 1e-6);
    }
}

/* Scores of some hundred: the sums of exponentials have no end, their logarithms do. */
static void attention_with_large_scores(void **state)
{
    (void)state;
    const shape *t = &shapes[1];
    const struct view w = wide(t);
    make_up(t);
    for (size_t i = 0; i < queries(t); i++)
        q[i] *= 1000;
    REF(attention_stats_bwd, ((struct attention_stats_bwd_params){ .q = w, .k = w, .y = w, .g = w, .s = dense(2), SCALED(t) }),
        q, k, v, g, s);
    for (size_t i = 0; i < (size_t)t->images * t->heads * t->tq; i++)
        assert_true(isfinite(s[2 * i]) && isfinite(s[2 * i + 1]));
}

static void values(void **state)
{
    (void)state;
    for (size_t i = 0; i < BL_COUNT(shapes); i++)
        for (uint32_t with_a = 0; with_a < 2; with_a++) {
            const shape *t = &shapes[i];
            const struct view w = wide(t), m = dense(t->tk);
            problem f = { .op = BL_OP_attention_values_fwd, .v = { p, v, y }, .y = y, .g = g, .outputs = queries(t),
                .p.attention_values_fwd = { .p = m, .v = w, .y = w, SIZES(t) }, .besides = a, .at = p, .count = with_a ? probs(t) : 0 };
            make_up(t);
            REF(attention_values_bwd_p, ((struct attention_values_bwd_p_params){ .g = w, .v = w, .a = m, .d = m, SIZES(t),
                .given = with_a << 2 }), g, v, with_a ? a : NULL, d);
            REF(attention_values_bwd_v, ((struct attention_values_bwd_v_params){ .p = m, .g = w, .d = w, SIZES(t) }), p, g, dv);
            assert_gradient(loss, &f, p, probs(t), 1, d, 1e-6);
            assert_gradient(loss, &f, v, keys(t), 1, dv, 1e-6);
        }
}

/* Through the softmax to the scores e; dq = scale e k and dk = scale e^T q are products of the values. */
static void probabilities(void **state)
{
    (void)state;
    for (size_t i = 0; i < BL_COUNT(shapes); i++) {
        const shape *t = &shapes[i];
        const struct view w = wide(t), m = dense(t->tk);
        problem f = { .op = BL_OP_attention_probs_fwd, .v = { q, k, p }, .y = p, .g = g, .outputs = probs(t),
            .p.attention_probs_fwd = { .q = w, .k = w, .p = m, SCALED(t) } };
        make_up(t);
        loss(&f); /* for p */
        REF(softmax_bwd_x, ((struct softmax_bwd_params){ .y = m, .g = m, .d = m, .rows = t->images * t->heads * t->tq,
            .channels = t->tk, .scale = 0.6f }), p, g, e);
        REF(attention_values_fwd, ((struct attention_values_params){ .p = m, .v = w, .y = w, SIZES(t) }), e, k, d);
        REF(attention_values_bwd_v, ((struct attention_values_bwd_v_params){ .p = m, .g = w, .d = w, SIZES(t) }), e, q, dk);
        assert_gradient(loss, &f, q, queries(t), 1, d, 1e-6);
        assert_gradient(loss, &f, k, keys(t), 1, dk, 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention),
        cmocka_unit_test(attention_with_large_scores),
        cmocka_unit_test(values),
        cmocka_unit_test(probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
