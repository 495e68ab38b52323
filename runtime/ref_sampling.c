/* References of the sampling ops, in double. Layer 2. */
#include "op.h"
#include <math.h>

void ref_timestep_embedding_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    const struct timestep_embedding_params *p = &params->timestep_embedding_fwd;
    for (size_t i = 0; i < p->half_dim; i++) {
        const float angle = step->t * (float)v[0][bl_at(&p->f, 0, i)]; /* its rounding belongs to the definition: the model saw it */
        v[1][bl_at(&p->y, 0, i)] = cos((double)angle);
        v[1][bl_at(&p->y, 0, p->half_dim + i)] = sin((double)angle);
    }
}

void ref_scale_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    const struct scale_params *p = &params->scale_fwd;
    const double factor = (double)p->scale * (p->per_step ? (double)step->in_scale : 1);
    for (size_t copy = 0; copy < p->copies; copy++)
        for (size_t r = 0; r < p->rows; r++)
            for (size_t c = 0; c < p->channels; c++)
                v[1][bl_at(&p->y, copy * p->rows + r, c)] = v[0][bl_at(&p->x, r, c)] * factor;
}

void ref_scale_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    const struct scale_bwd_params *p = &params->scale_bwd_x;
    const double factor = (double)p->scale * (p->per_step ? (double)step->in_scale : 1) * (v[1] ? v[1][bl_at(&p->s, 0, 1)] : 1);
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            double sum = 0;
            for (size_t copy = 0; copy < p->copies; copy++)
                sum += v[0][bl_at(&p->g, copy * p->rows + r, c)];
            v[2][bl_at(&p->d, r, c)] = factor * sum;
        }
}

void ref_guidance_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    const struct guidance_params *p = &params->guidance_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const double uncond = v[0][bl_at(&p->x, r, c)];
            const double cond = p->branches > 1 ? v[0][bl_at(&p->x, p->rows + r, c)] : uncond;
            v[1][bl_at(&p->y, r, c)] = uncond + (double)step->guidance * (cond - uncond);
        }
}

/* coefficient * v; what is not there, or not yet written and has the coefficient 0, counts nothing */
static double term(float coefficient, const double *v, size_t at) { return v && coefficient != 0 ? (double)coefficient * v[at] : 0; }

void ref_scheduler_step_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    const struct scheduler_step_params *p = &params->scheduler_step_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            double *x = &v[2][bl_at(&p->x, r, c)], *h[4];
            for (size_t i = 0; i < 4; i++)
                h[i] = &v[3][bl_at(&p->h, i * p->rows + r, c)];
            const double before = *x, m = (double)step->px * before + (double)step->pe * v[0][bl_at(&p->e, r, c)];
            *x = (double)step->cx * before + (double)step->k0 * m + term(step->cs, h[3], 0) + term(step->k1, h[0], 0) +
                term(step->k2, h[1], 0) + term(step->k3, h[2], 0) + term(step->kn, v[1], bl_at(&p->z, r, c));
            if (step->save != 0)
                *h[3] = before;
            if (step->push != 0) {
                *h[2] = *h[1];
                *h[1] = *h[0];
                *h[0] = m;
            }
        }
}

void ref_blend_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    const struct blend_params *p = &params->blend_fwd;
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            double *x = &v[3][bl_at(&p->x, r, c)];
            const double m = v[0][bl_at(&p->m, r, 0)];
            const double source = (double)step->blend_x * v[1][bl_at(&p->z, r, c)] + (double)step->blend_n * v[2][bl_at(&p->n, r, c)];
            *x = m * *x + (1 - m) * source;
        }
}

/* The counter belongs to no operand: nothing to compute. */
void ref_step_next_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)params;
    (void)v;
    (void)step;
}

void ref_sentinel_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct sentinel_params *p = &params->sentinel_fwd;
    double *x = &v[0][p->x.off];
    *x = *x >= (double)p->last ? 1 : *x + 1;
}
