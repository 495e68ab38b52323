/* y = f(x, ..) by the forward reference of an op, and the gradient g of a loss with respect to y. Included behind cmocka.h. */
#ifndef BL_GRADIENT_PROBLEM_H
#define BL_GRADIENT_PROBLEM_H
#include "differences.h"
#include "op.h"

enum { MOST = 1024 };

typedef struct problem {
    bl_op op;
    bl_params p;
    double *v[BL_MAX_OPERANDS], *y;
    const double *g;
    size_t outputs;
    const double *besides, *at; /* the gradient that `count` values get by another way */
    size_t count;
} problem;

static inline double loss(void *context)
{
    const problem *q = context;
    double sum = 0;
    bl_op_infos[q->op].ref(&q->p, q->v, NULL);
    for (size_t i = 0; i < q->outputs; i++)
        sum += q->g[i] * q->y[i];
    for (size_t i = 0; i < q->count; i++)
        sum += q->besides[i] * q->at[i];
    return sum;
}

/* Runs a reference: REF(op, ({ params }), operands ..). */
#define REF(name, params, ...) \
    bl_op_infos[BL_OP_##name].ref(&(bl_params){ .name = params }, (double *[]){ __VA_ARGS__ }, NULL)

static uint32_t rng = 3;
static inline void fill(double *v, size_t count, double mean, double spread)
{
    for (size_t i = 0; i < count; i++) {
        rng = rng * 1664525u + 1013904223u;
        v[i] = mean + spread * ((double)(rng >> 8) / (1 << 23) - 1);
    }
}

static inline struct view dense(uint32_t cols) { return (struct view){ 0, cols }; }
#endif
