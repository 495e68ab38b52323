/* References of the gradient of attention, in double. Layer 2. */
#include "op.h"
#include <math.h>

/* Dot product over the columns of a head of rows i and j of two operands. */
static double dot(const double *a, const struct view *va, size_t i, const double *b, const struct view *vb, size_t j, size_t head, size_t n)
{
    double sum = 0;
    for (size_t c = head * n; c < (head + 1) * n; c++)
        sum += a[bl_at(va, i, c)] * b[bl_at(vb, j, c)];
    return sum;
}

/* Keys that a query sees. */
static size_t seen(size_t query, size_t tk, uint32_t causal) { return causal ? (query + 1 < tk ? query + 1 : tk) : tk; }

void ref_attention_stats_bwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_stats_bwd_params *p = &params->attention_stats_bwd;
    for (size_t n = 0; n < p->images; n++)
        for (size_t h = 0; h < p->heads; h++)
            for (size_t i = 0; i < p->tq; i++) {
                const size_t row = n * p->tq + i, keys = seen(i, p->tk, p->causal);
                double top = -INFINITY, sum = 0;
                for (size_t j = 0; j < keys; j++)
                    top = fmax(top, (double)p->scale * dot(v[0], &p->q, row, v[1], &p->k, n * p->tk + j, h, p->head));
                for (size_t j = 0; j < keys; j++)
                    sum += exp((double)p->scale * dot(v[0], &p->q, row, v[1], &p->k, n * p->tk + j, h, p->head) - top);
                v[4][bl_at(&p->s, (n * p->heads + h) * p->tq + i, 0)] = top + log(sum);
                v[4][bl_at(&p->s, (n * p->heads + h) * p->tq + i, 1)] = dot(v[3], &p->g, row, v[2], &p->y, row, h, p->head);
            }
}

void ref_attention_bwd_q(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_bwd_q_params *p = &params->attention_bwd_q;
    for (size_t n = 0; n < p->images; n++)
        for (size_t h = 0; h < p->heads; h++)
            for (size_t i = 0; i < p->tq; i++) {
                const size_t row = n * p->tq + i;
                const double *s = v[4] + bl_at(&p->s, (n * p->heads + h) * p->tq + i, 0);
                for (size_t c = h * p->head; c < (h + 1) * p->head; c++)
                    v[5][bl_at(&p->d, row, c)] = 0;
                for (size_t j = 0; j < seen(i, p->tk, p->causal); j++) {
                    const size_t key = n * p->tk + j;
                    const double weight = exp((double)p->scale * dot(v[0], &p->q, row, v[1], &p->k, key, h, p->head) - s[0]);
                    const double e = weight * (dot(v[3], &p->g, row, v[2], &p->v, key, h, p->head) - s[1]);
                    for (size_t c = h * p->head; c < (h + 1) * p->head; c++)
                        v[5][bl_at(&p->d, row, c)] += (double)p->scale * e * v[1][bl_at(&p->k, key, c)];
                }
            }
}

void ref_attention_bwd_kv(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_bwd_kv_params *p = &params->attention_bwd_kv;
    for (size_t n = 0; n < p->images; n++)
        for (size_t h = 0; h < p->heads; h++)
            for (size_t j = 0; j < p->tk; j++) {
                const size_t key = n * p->tk + j;
                for (size_t c = h * p->head; c < (h + 1) * p->head; c++)
                    v[5][bl_at(&p->dk, key, c)] = v[6][bl_at(&p->dv, key, c)] = 0;
                for (size_t i = 0; i < p->tq; i++) {
                    const size_t row = n * p->tq + i;
                    const double *s = v[4] + bl_at(&p->s, (n * p->heads + h) * p->tq + i, 0);
                    if (j >= seen(i, p->tk, p->causal))
                        continue;
                    const double weight = exp((double)p->scale * dot(v[0], &p->q, row, v[1], &p->k, key, h, p->head) - s[0]);
                    const double e = weight * (dot(v[3], &p->g, row, v[2], &p->v, key, h, p->head) - s[1]);
                    for (size_t c = h * p->head; c < (h + 1) * p->head; c++) {
                        v[5][bl_at(&p->dk, key, c)] += (double)p->scale * e * v[0][bl_at(&p->q, row, c)];
                        v[6][bl_at(&p->dv, key, c)] += weight * v[3][bl_at(&p->g, row, c)];
                    }
                }
            }
}

void ref_attention_values_bwd_p(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_values_bwd_p_params *p = &params->attention_values_bwd_p;
    for (size_t n = 0; n < p->images; n++)
        for (size_t h = 0; h < p->heads; h++)
            for (size_t i = 0; i < p->tq; i++)
                for (size_t j = 0; j < p->tk; j++) {
                    const size_t row = (n * p->heads + h) * p->tq + i;
                    v[3][bl_at(&p->d, row, j)] = dot(v[0], &p->g, n * p->tq + i, v[1], &p->v, n * p->tk + j, h, p->head) +
                        (p->given >> 2 & 1 ? v[2][bl_at(&p->a, row, j)] : 0);
                }
}

void ref_attention_values_bwd_v(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_values_bwd_v_params *p = &params->attention_values_bwd_v;
    for (size_t n = 0; n < p->images; n++)
        for (size_t h = 0; h < p->heads; h++)
            for (size_t j = 0; j < p->tk; j++)
                for (size_t c = h * p->head; c < (h + 1) * p->head; c++) {
                    double sum = 0;
                    for (size_t i = 0; i < p->tq; i++)
                        sum += v[0][bl_at(&p->p, (n * p->heads + h) * p->tq + i, j)] * v[1][bl_at(&p->g, n * p->tq + i, c)];
                    v[2][bl_at(&p->d, n * p->tk + j, c)] = sum;
                }
}
