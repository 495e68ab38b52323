/* References of picture ops, in double. Layer 2. */
#include "op.h"
#include <math.h>

void ref_clamp_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct clamp_params *p = &params->clamp_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[1][bl_at(&p->y, r, c)] = fmin(fmax((double)p->scale * v[0][bl_at(&p->x, r, c)] + (double)p->shift, 0), 1);
}

void ref_clamp_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct clamp_bwd_params *p = &params->clamp_bwd_x;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const double x = (double)p->scale * v[0][bl_at(&p->x, r, c)] + (double)p->shift;
            v[2][bl_at(&p->d, r, c)] = x >= 0 && x <= 1 ? (double)p->scale * v[1][bl_at(&p->g, r, c)] : 0;
        }
}

void ref_normalize_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct normalize_params *p = &params->normalize_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[2][bl_at(&p->y, r, c)] = (v[0][bl_at(&p->x, r, c)] - v[1][bl_at(&p->m, 0, c)]) * v[1][bl_at(&p->m, 1, c)];
}

void ref_normalize_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct normalize_bwd_params *p = &params->normalize_bwd_x;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[2][bl_at(&p->d, r, c)] = v[0][bl_at(&p->g, r, c)] * v[1][bl_at(&p->m, 1, c)];
}

/* The cubic convolution kernel at distance t (Keys 1981), a = -0.75. */
static double keys(double t)
{
    const double a = -0.75;
    t = fabs(t);
    return t <= 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/* The four input pixels, border repeated, and weights of output o. */
static void taps(size_t o, size_t inputs, size_t outputs, size_t at[4], double w[4])
{
    const double x = ((double)o + 0.5) * ((double)inputs / (double)outputs) - 0.5, below = floor(x);
    for (int k = 0; k < 4; k++) {
        w[k] = keys(x - (below + k - 1));
        at[k] = (size_t)fmin(fmax(below + k - 1, 0), (double)inputs - 1);
    }
}

void ref_bicubic_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct bicubic_params *p = &params->bicubic_fwd;
    for (size_t n = 0; n < p->images; n++)
        for (size_t i = 0; i < p->oh; i++)
            for (size_t j = 0; j < p->ow; j++)
                for (size_t c = 0; c < p->channels; c++) {
                    size_t y[4], x[4];
                    double wy[4], wx[4], sum = 0;
                    taps(i, p->h, p->oh, y, wy);
                    taps(j, p->width, p->ow, x, wx);
                    for (int a = 0; a < 4; a++)
                        for (int b = 0; b < 4; b++)
                            sum += wy[a] * wx[b] * v[0][bl_at(&p->x, (n * p->h + y[a]) * p->width + x[b], c)];
                    v[1][bl_at(&p->y, (n * p->oh + i) * p->ow + j, c)] = sum;
                }
}

/* Scatters, as the definition of an adjoint has it. */
void ref_bicubic_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct bicubic_bwd_params *p = &params->bicubic_bwd_x;
    for (size_t r = 0; r < (size_t)p->images * p->h * p->width; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[1][bl_at(&p->d, r, c)] = 0;
    for (size_t n = 0; n < p->images; n++)
        for (size_t i = 0; i < p->oh; i++)
            for (size_t j = 0; j < p->ow; j++) {
                size_t y[4], x[4];
                double wy[4], wx[4];
                taps(i, p->h, p->oh, y, wy);
                taps(j, p->width, p->ow, x, wx);
                for (int a = 0; a < 4; a++)
                    for (int b = 0; b < 4; b++)
                        for (size_t c = 0; c < p->channels; c++)
                            v[1][bl_at(&p->d, (n * p->h + y[a]) * p->width + x[b], c)] +=
                                wy[a] * wx[b] * v[0][bl_at(&p->g, (n * p->oh + i) * p->ow + j, c)];
            }
}
