/* References of the elementwise ops, in double. Layer 2. */
#include "op.h"
#include "ref.h"
#include <math.h>

double bl_ref_act(double v, uint32_t act)
{
    switch (act) {
    case ACT_SILU: return v / (1 + exp(-v));
    case ACT_GELU: return v * 0.5 * erfc(-v / sqrt(2));
    case ACT_QUICK_GELU: return v / (1 + exp(-1.702 * v));
    case ACT_RELU: return v < 0 ? 0 : v; /* so that NaN is passed on */
    case ACT_TANH_3: return 3 * tanh(v / 3);
    default: return v;
    }
}

/* Of v / (1 + exp(-v)). */
static double silu_derivative(double v)
{
    const double s = 1 / (1 + exp(-v));
    return s + v * s / (1 + exp(v));
}

double bl_ref_derivative(double v, uint32_t act)
{
    switch (act) {
    case ACT_SILU: return silu_derivative(v);
    case ACT_GELU: return 0.5 * erfc(-v / sqrt(2)) + v * exp(-v * v / 2) / sqrt(2 * acos(-1));
    case ACT_QUICK_GELU: return silu_derivative(1.702 * v);
    case ACT_RELU: return v > 0;
    case ACT_TANH_3: return 1 / (cosh(v / 3) * cosh(v / 3));
    default: return 1;
    }
}

void ref_activation_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct activation_params *p = &params->activation_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[1][bl_at(&p->y, r, c)] = bl_ref_act(v[0][bl_at(&p->x, r, c)], p->act);
}

void ref_geglu_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct geglu_params *p = &params->geglu_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const double gate = v[0][bl_at(&p->x, r, p->channels + c)];
            v[1][bl_at(&p->y, r, c)] = v[0][bl_at(&p->x, r, c)] * bl_ref_act(gate, ACT_GELU);
        }
}

void ref_add_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct add_params *p = &params->add_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[2][bl_at(&p->z, r, c)] = v[0][bl_at(&p->x, r, c)] + v[1][bl_at(&p->y, r / p->y_rows, c)];
}

void ref_copy_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct copy_params *p = &params->copy_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[1][bl_at(&p->y, r, c)] = v[0][bl_at(&p->x, r, c)];
}

void ref_upsample_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct upsample_params *p = &params->upsample_fwd;
    const size_t h = 2 * (size_t)p->h, width = 2 * (size_t)p->width;
    for (size_t n = 0; n < p->images; n++)
        for (size_t i = 0; i < h; i++)
            for (size_t j = 0; j < width; j++)
                for (size_t c = 0; c < p->channels; c++) {
                    const size_t from = (n * p->h + i / 2) * p->width + j / 2;
                    v[1][bl_at(&p->y, (n * h + i) * width + j, c)] = v[0][bl_at(&p->x, from, c)];
                }
}

void ref_activation_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct activation_bwd_params *p = &params->activation_bwd_x;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[2][bl_at(&p->d, r, c)] = v[1][bl_at(&p->g, r, c)] * bl_ref_derivative(v[0][bl_at(&p->x, r, c)], p->act);
}

void ref_geglu_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct geglu_bwd_params *p = &params->geglu_bwd_x;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const double x = v[0][bl_at(&p->x, r, c)], gate = v[0][bl_at(&p->x, r, p->channels + c)], g = v[1][bl_at(&p->g, r, c)];
            v[2][bl_at(&p->d, r, c)] = g * bl_ref_act(gate, ACT_GELU);
            v[2][bl_at(&p->d, r, p->channels + c)] = g * x * bl_ref_derivative(gate, ACT_GELU);
        }
}

void ref_upsample_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct upsample_bwd_params *p = &params->upsample_bwd_x;
    const size_t wide = 2 * (size_t)p->width;
    for (size_t line = 0; line < (size_t)p->images * p->h; line++)
        for (size_t j = 0; j < p->width; j++)
            for (size_t c = 0; c < p->channels; c++) {
                const size_t first = 2 * line * wide + 2 * j;
                v[1][bl_at(&p->d, line * p->width + j, c)] = v[0][bl_at(&p->g, first, c)] + v[0][bl_at(&p->g, first + 1, c)] +
                    v[0][bl_at(&p->g, first + wide, c)] + v[0][bl_at(&p->g, first + wide + 1, c)];
            }
}

void ref_fill_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct fill_params *p = &params->fill_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++)
            v[0][bl_at(&p->y, r, c)] = (double)p->value;
}
