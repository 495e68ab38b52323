/* References of the attention ops, in double. Layer 2. */
#include "op.h"
#include <math.h>
#include <string.h>

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

/* --- reverse mode --------------------------------------------------------------------------------------------------------- */

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t c = 0; c < n; c++)
        sum += a[c] * b[c];
    return sum;
}

void ref_attention_stats_bwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_stats_bwd_params *p = &params->attention_stats_bwd;
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t query = 0; query < p->tq; query++) {
                const size_t column = head * p->head, row = image * p->tq + query, seen = p->causal ? BL_MIN(query + 1, p->tk) : p->tk;
                const double *q = v[0] + bl_at(&p->q, row, column), *k = v[1] + bl_at(&p->k, image * p->tk, column);
                double top = -INFINITY, sum = 0;
                for (size_t j = 0; j < seen; j++)
                    top = fmax(top, (double)p->scale * dot(q, k + j * p->k.stride, p->head));
                for (size_t j = 0; j < seen; j++)
                    sum += exp((double)p->scale * dot(q, k + j * p->k.stride, p->head) - top);
                double *s = v[4] + bl_at(&p->s, row, 2 * head);
                s[0] = top + log(sum);
                s[1] = dot(v[2] + bl_at(&p->y, row, column), v[3] + bl_at(&p->g, row, column), p->head);
            }
}

/* p and e of attention_bwd_q for one query and one key of a head; the views up to s are those of both gradients. */
static void weigh(const struct view *views, double *const *v, size_t query, size_t key, size_t head, size_t size, double scale, double *p,
                  double *e)
{
    const size_t c = head * size;
    const double *s = v[4] + bl_at(&views[4], query, 2 * head);
    *p = exp(scale * dot(v[0] + bl_at(&views[0], query, c), v[1] + bl_at(&views[1], key, c), size) - s[0]);
    *e = *p * (dot(v[3] + bl_at(&views[3], query, c), v[2] + bl_at(&views[2], key, c), size) - s[1]);
}

/* y += f x */
static void add_onto(double *y, double f, const double *x, size_t n)
{
    for (size_t c = 0; c < n; c++)
        y[c] += f * x[c];
}

static void clear_rows(double *y, const struct view *view, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        memset(y + bl_at(view, r, 0), 0, cols * sizeof(*y));
}

void ref_attention_bwd_q(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_bwd_q_params *p = &params->attention_bwd_q;
    clear_rows(v[5], &p->d, (size_t)p->images * p->tq, (size_t)p->heads * p->head);
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t i = 0; i < p->tq; i++)
                for (size_t j = 0; j < (p->causal ? BL_MIN(i + 1, p->tk) : p->tk); j++) {
                    const size_t query = image * p->tq + i, key = image * p->tk + j, c = head * p->head;
                    double weight, e;
                    weigh(params->v, v, query, key, head, p->head, (double)p->scale, &weight, &e);
                    add_onto(v[5] + bl_at(&p->d, query, c), (double)p->scale * e, v[1] + bl_at(&p->k, key, c), p->head);
                }
}

void ref_attention_bwd_kv(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_bwd_kv_params *p = &params->attention_bwd_kv;
    clear_rows(v[5], &p->dk, (size_t)p->images * p->tk, (size_t)p->heads * p->head);
    clear_rows(v[6], &p->dv, (size_t)p->images * p->tk, (size_t)p->heads * p->head);
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t i = 0; i < p->tq; i++)
                for (size_t j = 0; j < (p->causal ? BL_MIN(i + 1, p->tk) : p->tk); j++) {
                    const size_t query = image * p->tq + i, key = image * p->tk + j, c = head * p->head;
                    double weight, e;
                    weigh(params->v, v, query, key, head, p->head, (double)p->scale, &weight, &e);
                    add_onto(v[5] + bl_at(&p->dk, key, c), (double)p->scale * e, v[0] + bl_at(&p->q, query, c), p->head);
                    add_onto(v[6] + bl_at(&p->dv, key, c), weight, v[3] + bl_at(&p->g, query, c), p->head);
                }
}

void ref_attention_values_bwd_p(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_values_bwd_p_params *p = &params->attention_values_bwd_p;
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t i = 0; i < p->tq; i++)
                for (size_t j = 0; j < p->tk; j++) {
                    const size_t query = image * p->tq + i, key = image * p->tk + j, c = head * p->head;
                    const size_t row = (image * p->heads + head) * p->tq + i;
                    v[3][bl_at(&p->d, row, j)] = dot(v[0] + bl_at(&p->g, query, c), v[1] + bl_at(&p->v, key, c), p->head) +
                        (v[2] ? v[2][bl_at(&p->a, row, j)] : 0);
                }
}

void ref_attention_values_bwd_v(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_values_bwd_v_params *p = &params->attention_values_bwd_v;
    clear_rows(v[2], &p->d, (size_t)p->images * p->tk, (size_t)p->heads * p->head);
    for (size_t image = 0; image < p->images; image++)
        for (size_t head = 0; head < p->heads; head++)
            for (size_t i = 0; i < p->tq; i++)
                for (size_t j = 0; j < p->tk; j++) {
                    const size_t query = image * p->tq + i, key = image * p->tk + j, c = head * p->head;
                    const size_t row = (image * p->heads + head) * p->tq + i;
                    add_onto(v[2] + bl_at(&p->d, key, c), v[0][bl_at(&p->p, row, j)], v[1] + bl_at(&p->g, query, c), p->head);
                }
}
