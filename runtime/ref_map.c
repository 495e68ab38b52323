/* References of attention maps and losses, in double. Layer 2. */
#include "op.h"
#include <math.h>

void ref_softmax_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct softmax_params *p = &params->softmax_fwd;
    for (size_t r = 0; r < p->rows; r++) {
        const double *x = v[0] + bl_at(&p->x, r, 0);
        double *y = v[1] + bl_at(&p->y, r, 0), top = -INFINITY, sum = 0;
        for (size_t c = 0; c < p->channels; c++)
            top = fmax(top, (double)p->scale * x[c]);
        for (size_t c = 0; c < p->channels; c++)
            sum += exp((double)p->scale * x[c] - top);
        for (size_t c = 0; c < p->channels; c++)
            y[c] = exp((double)p->scale * x[c] - top) / sum;
    }
}

void ref_softmax_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct softmax_bwd_params *p = &params->softmax_bwd_x;
    for (size_t r = 0; r < p->rows; r++) {
        const double *y = v[0] + bl_at(&p->y, r, 0), *g = v[1] + bl_at(&p->g, r, 0);
        double *d = v[2] + bl_at(&p->d, r, 0), sum = 0;
        for (size_t c = 0; c < p->channels; c++)
            sum += y[c] * g[c];
        for (size_t c = 0; c < p->channels; c++)
            d[c] = (double)p->scale * y[c] * (g[c] - sum);
    }
}

void ref_heads_mean_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct heads_mean_params *p = &params->heads_mean_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            double sum = 0;
            for (size_t h = 0; h < p->heads; h++)
                sum += v[0][bl_at(&p->x, h * p->rows + r, c)];
            v[2][bl_at(&p->y, r, c)] = (double)p->scale * sum + (p->given >> 1 & 1 ? v[1][bl_at(&p->r, r, c)] : 0);
        }
}

void ref_heads_mean_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct heads_mean_bwd_params *p = &params->heads_mean_bwd_x;
    const double factor = (double)p->scale * (p->given >> 1 & 1 ? v[1][p->s.off] : 1);
    for (size_t r = 0; r < (size_t)p->heads * p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[2][bl_at(&p->d, r, c)] = factor * v[0][bl_at(&p->g, r % p->rows, c)];
}

void ref_loss_scale_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct loss_scale_params *p = &params->loss_scale_fwd;
    double top = 0, scale = 1;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const double x = fabs(v[0][bl_at(&p->x, r, c)]);
            top = isfinite(x) ? fmax(top, x) : top;
        }
    if (top > 0) {
        const double exponent = floor(log2((double)p->target / fmax(top, 0x1p-127)));
        scale = exp2(fmin(fmax(exponent, -120), 120));
    }
    v[1][p->s.off] = scale;
    v[1][p->s.off + 1] = 1 / scale;
}

/* Where tap `apart` of pixel i falls in a line of n. */
static size_t mirrored(size_t i, int apart, size_t n)
{
    const long at = (long)i + apart;
    return (size_t)(at < 0 ? -at : at >= (long)n ? 2 * (long)n - 2 - at : at);
}

void ref_smooth_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct smooth_params *p = &params->smooth_fwd;
    const double w[3] = { (double)p->edge, (double)p->centre, (double)p->edge };
    for (size_t i = 0; i < p->h; i++)
        for (size_t j = 0; j < p->width; j++)
            for (size_t c = 0; c < p->channels; c++) {
                double sum = 0;
                for (int a = -1; a <= 1; a++)
                    for (int b = -1; b <= 1; b++)
                        sum += w[a + 1] * w[b + 1] * v[0][bl_at(&p->x, mirrored(i, a, p->h) * p->width + mirrored(j, b, p->width), c)];
                v[1][bl_at(&p->y, i * p->width + j, c)] = sum;
            }
}

/* Scatters, as the definition of an adjoint has it. */
void ref_smooth_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct smooth_bwd_params *p = &params->smooth_bwd_x;
    const double w[3] = { (double)p->edge, (double)p->centre, (double)p->edge };
    for (size_t r = 0; r < (size_t)p->h * p->width; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[1][bl_at(&p->d, r, c)] = 0;
    for (size_t i = 0; i < p->h; i++)
        for (size_t j = 0; j < p->width; j++)
            for (size_t c = 0; c < p->channels; c++)
                for (int a = -1; a <= 1; a++)
                    for (int b = -1; b <= 1; b++)
                        v[1][bl_at(&p->d, mirrored(i, a, p->h) * p->width + mirrored(j, b, p->width), c)] +=
                            w[a + 1] * w[b + 1] * v[0][bl_at(&p->g, i * p->width + j, c)];
}

void ref_peak_loss_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct peak_loss_params *p = &params->peak_loss_fwd;
    double worst = 0, sum = 0;
    double *y = v[2] + p->y.off;
    for (size_t c = 0; c < p->channels; c++) {
        size_t at = 0;
        double top = 0;
        for (size_t r = 0; r < p->rows; r++) {
            const double x = v[0][bl_at(&p->x, r, c)] * (p->given >> 1 & 1 ? v[1][bl_at(&p->m, r, 0)] : 1);
            if (!r || x > top) {
                top = x;
                at = r;
            }
        }
        y[1 + 2 * c] = top;
        y[2 + 2 * c] = (double)at;
        worst = fmax(worst, 1 - top);
        sum += fmax(0, 1 - top);
    }
    y[0] = p->mean ? sum / p->channels : worst;
}

void ref_peak_loss_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct peak_loss_bwd_params *p = &params->peak_loss_bwd_x;
    const double *y = v[1] + p->y.off;
    size_t worst = 0;
    for (size_t c = 1; c < p->channels; c++)
        worst = fmax(0, 1 - y[1 + 2 * c]) > fmax(0, 1 - y[1 + 2 * worst]) ? c : worst;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const double at = fmin(fmax(y[2 + 2 * c], 0), p->rows - 1.0);
            const bool counts = (p->mean || c == worst) && 1 - y[1 + 2 * c] > 0 && (size_t)at == r;
            v[2][bl_at(&p->d, r, c)] = counts
                ? -(double)p->scale * (p->given & 1 ? v[0][bl_at(&p->m, r, 0)] : 1) / (p->mean ? p->channels : 1) : 0;
        }
}

void ref_attention_gain_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct attention_gain_params *p = &params->attention_gain_fwd;
    for (size_t r = 0; r < (size_t)p->heads * p->tq; r++) {
        const double m = v[1][bl_at(&p->m, r % p->tq, 0)];
        double sum = 0;
        for (size_t c = 0; c < p->tk; c++)
            sum += v[0][bl_at(&p->p, r, c)] * exp(m * v[2][bl_at(&p->k, 0, c)]);
        for (size_t c = 0; c < p->tk; c++)
            v[3][bl_at(&p->y, r, c)] = v[0][bl_at(&p->p, r, c)] * exp(m * v[2][bl_at(&p->k, 0, c)]) / sum;
    }
}

void ref_cosine_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct cosine_params *p = &params->cosine_fwd;
    for (size_t r = 0; r < p->rows; r++) {
        const double *x = v[0] + bl_at(&p->x, r, 0), *y = v[1] + bl_at(&p->y, r, 0);
        double xy = 0, xx = 0, yy = 0;
        for (size_t c = 0; c < p->channels; c++) {
            xy += x[c] * y[c];
            xx += x[c] * x[c];
            yy += y[c] * y[c];
        }
        v[2][bl_at(&p->z, r, 0)] = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
    }
}

void ref_cosine_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct cosine_bwd_params *p = &params->cosine_bwd_x;
    for (size_t r = 0; r < p->rows; r++) {
        const double *x = v[0] + bl_at(&p->x, r, 0), *y = v[1] + bl_at(&p->y, r, 0);
        double xy = 0, xx = 0, yy = 0;
        for (size_t c = 0; c < p->channels; c++) {
            xy += x[c] * y[c];
            xx += x[c] * x[c];
            yy += y[c] * y[c];
        }
        for (size_t c = 0; c < p->channels; c++)
            v[2][bl_at(&p->d, r, c)] = xx > 0 && yy > 0 ? (double)p->scale * (y[c] - xy / xx * x[c]) / sqrt(xx * yy) : 0;
    }
}
