/* References of the attention ops, in double. Layer 2. */
#include "op.h"
#include <math.h>

/* Softmax weight of every key for one query: out[j], 0 where causal hides the key. q and k are rows of `head` columns. */
static void weights(const struct attention_probs_params *p, const double *q, const double *k, size_t query, double *out)
{
    const size_t seen = p->causal ? BL_MIN(query + 1, p->tk) : p->tk;
    double top = -INFINITY, sum = 0;
    for (size_t j = 0; j < p->tk; j++) {
        double s = 0;
        for (size_t c = 0; c < p->head; c++)
            s += q[c] * k[j * p->k.stride + c];
        out[j] = j < seen ? s * (double)p->scale : -INFINITY;
        top = fmax(top, out[j]);
    }
    for (size_t j = 0; j < p->tk; j++)
        sum += out[j] = exp(out[j] - top);
    for (size_t j = 0; j < p->tk; j++)
        out[j] /= sum;
}

/* y[c] = sum over keys of w[j] * v[j, c] */
static void average(const double *w, const double *v, size_t stride, size_t keys, size_t head, double *y)
{
    for (size_t c = 0; c < head; c++) {
        double sum = 0;
        for (size_t j = 0; j < keys; j++)
            sum += w[j] * v[j * stride + c];
        y[c] = sum;
    }
}

void ref_attention_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_params *p = &params->attention_fwd;
    const struct attention_probs_params probs = {
        .k = p->k, .head = p->head, .tk = p->tk, .scale = p->scale, .causal = p->causal
    };
    double *w = bl_alloc(p->tk, sizeof(double));
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t query = 0; query < p->tq; query++) {
                const size_t column = head * p->head;
                double *y = v[3] + bl_at(&p->y, image * p->tq + query, column);
                if (!w) {
                    y[0] = NAN; /* no memory: no check passes */
                    continue;
                }
                weights(&probs, v[0] + bl_at(&p->q, image * p->tq + query, column), v[1] + bl_at(&p->k, image * p->tk, column), query, w);
                average(w, v[2] + bl_at(&p->v, image * p->tk, column), p->v.stride, p->tk, p->head, y);
            }
    bl_free(w);
}

void ref_attention_probs_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_probs_params *p = &params->attention_probs_fwd;
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t query = 0; query < p->tq; query++) {
                const size_t column = head * p->head, row = (image * p->heads + head) * p->tq + query;
                weights(p, v[0] + bl_at(&p->q, image * p->tq + query, column), v[1] + bl_at(&p->k, image * p->tk, column), query,
                        v[2] + bl_at(&p->p, row, 0));
            }
}

void ref_attention_values_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_values_params *p = &params->attention_values_fwd;
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t query = 0; query < p->tq; query++) {
                const size_t column = head * p->head, row = (image * p->heads + head) * p->tq + query;
                average(v[0] + bl_at(&p->p, row, 0), v[1] + bl_at(&p->v, image * p->tk, column), p->v.stride, p->tk, p->head,
                        v[2] + bl_at(&p->y, image * p->tq + query, column));
            }
}
