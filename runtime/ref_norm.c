/* References of the normalisation ops, in double. Layer 2. */
#include "op.h"
#include "ref.h"
#include <math.h>

void ref_channel_stats_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct channel_stats_params *p = &params->channel_stats_fwd;
    for (size_t i = 0; i < p->images; i++)
        for (size_t s = 0; s < p->slices; s++)
            for (size_t c = 0; c < p->channels; c++) {
                const size_t begin = s * p->slice_rows, end = BL_MIN(begin + p->slice_rows, p->rows);
                double mean = 0, m2 = 0;
                for (size_t r = begin; r < end; r++)
                    mean += v[0][bl_at(&p->x, i * p->rows + r, c)] / (double)(end - begin);
                for (size_t r = begin; r < end; r++)
                    m2 += pow(v[0][bl_at(&p->x, i * p->rows + r, c)] - mean, 2);
                v[1][bl_at(&p->y, i * p->slices + s, 2 * c)] = mean;
                v[1][bl_at(&p->y, i * p->slices + s, 2 * c + 1)] = m2;
            }
}

void ref_group_stats_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct group_stats_params *p = &params->group_stats_fwd;
    const size_t per = p->channels / p->groups;
    for (size_t i = 0; i < p->images; i++)
        for (size_t g = 0; g < p->groups; g++) {
            double n = 0, mean = 0, m2 = 0;
            for (size_t s = 0; s < p->slices; s++)
                for (size_t c = g * per; c < (g + 1) * per; c++) {
                    const double part = BL_MIN(p->slice_rows, p->rows - s * p->slice_rows);
                    const double delta = v[0][bl_at(&p->x, i * p->slices + s, 2 * c)] - mean;
                    m2 += v[0][bl_at(&p->x, i * p->slices + s, 2 * c + 1)] + delta * delta * n * part / (n + part);
                    mean += delta * part / (n + part);
                    n += part;
                }
            v[1][bl_at(&p->y, i, 2 * g)] = mean;
            v[1][bl_at(&p->y, i, 2 * g + 1)] = 1 / sqrt(m2 / n + (double)p->eps);
        }
}

void ref_group_norm_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct group_norm_params *p = &params->group_norm_fwd;
    for (size_t r = 0; r < (size_t)p->images * p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const size_t image = r / p->rows, group = c / (p->channels / p->groups);
            const double mean = v[1][bl_at(&p->s, image, 2 * group)], rstd = v[1][bl_at(&p->s, image, 2 * group + 1)];
            const double h = (v[0][bl_at(&p->x, r, c)] - mean) * rstd;
            v[4][bl_at(&p->y, r, c)] = bl_ref_act(h * v[2][bl_at(&p->w, 0, c)] + v[3][bl_at(&p->b, 0, c)], p->act);
        }
}

void ref_layer_norm_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct layer_norm_params *p = &params->layer_norm_fwd;
    for (size_t r = 0; r < p->rows; r++) {
        double mean = 0, variance = 0;
        for (size_t c = 0; c < p->channels; c++)
            mean += v[0][bl_at(&p->x, r, c)] / p->channels;
        for (size_t c = 0; c < p->channels; c++)
            variance += pow(v[0][bl_at(&p->x, r, c)] - mean, 2) / p->channels;
        for (size_t c = 0; c < p->channels; c++) {
            const double h = (v[0][bl_at(&p->x, r, c)] - mean) / sqrt(variance + (double)p->eps);
            v[3][bl_at(&p->y, r, c)] = h * v[1][bl_at(&p->w, 0, c)] + v[2][bl_at(&p->b, 0, c)];
        }
    }
}
