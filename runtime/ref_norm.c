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

/* --- reverse mode -------------------------------------------------------------------------------------------------- */

/* The gradient with respect to n, the normalised value, behind h = n w + b and its activation. */
static double behind_affine(double n, double w, double b, double g, uint32_t act) { return w * g * bl_ref_derivative(n * w + b, act); }

void ref_channel_stats_bwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct channel_stats_bwd_params *p = &params->channel_stats_bwd;
    for (size_t i = 0; i < p->images; i++)
        for (size_t s = 0; s < p->slices; s++)
            for (size_t c = 0; c < p->channels; c++) {
                const size_t begin = s * p->slice_rows, end = BL_MIN(begin + p->slice_rows, p->rows);
                const size_t group = c / (p->channels / p->groups);
                const double mean = v[1][bl_at(&p->s, i, 2 * group)], rstd = v[1][bl_at(&p->s, i, 2 * group + 1)];
                double sum = 0, sum_n = 0;
                for (size_t r = i * p->rows + begin; r < i * p->rows + end; r++) {
                    const double n = (v[0][bl_at(&p->x, r, c)] - mean) * rstd;
                    const double e = behind_affine(n, v[2][bl_at(&p->w, 0, c)], v[3][bl_at(&p->b, 0, c)], v[4][bl_at(&p->g, r, c)], p->act);
                    sum += e;
                    sum_n += e * n;
                }
                v[5][bl_at(&p->u, i * p->slices + s, 2 * c)] = sum;
                v[5][bl_at(&p->u, i * p->slices + s, 2 * c + 1)] = sum_n;
            }
}

void ref_group_stats_bwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct group_stats_bwd_params *p = &params->group_stats_bwd;
    const size_t per = p->channels / p->groups;
    for (size_t i = 0; i < p->images; i++)
        for (size_t g = 0; g < p->groups; g++)
            for (size_t k = 0; k < 2; k++) {
                double sum = 0;
                for (size_t s = 0; s < p->slices; s++)
                    for (size_t c = g * per; c < (g + 1) * per; c++)
                        sum += v[1][bl_at(&p->u, i * p->slices + s, 2 * c + k)];
                v[2][bl_at(&p->t, i, 4 * g + k)] = v[0][bl_at(&p->s, i, 2 * g + k)];
                v[2][bl_at(&p->t, i, 4 * g + 2 + k)] = sum / ((double)per * p->rows);
            }
}

void ref_group_norm_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct group_norm_bwd_params *p = &params->group_norm_bwd_x;
    for (size_t r = 0; r < (size_t)p->images * p->rows; r++)
        for (size_t c = 0; c < p->channels; c++) {
            const double *t = &v[1][bl_at(&p->t, r / p->rows, 4 * (c / (p->channels / p->groups)))];
            const double n = (v[0][bl_at(&p->x, r, c)] - t[0]) * t[1];
            const double e = behind_affine(n, v[2][bl_at(&p->w, 0, c)], v[3][bl_at(&p->b, 0, c)], v[4][bl_at(&p->g, r, c)], p->act);
            v[6][bl_at(&p->d, r, c)] = t[1] * (e - t[2] - n * t[3]) + (v[5] ? v[5][bl_at(&p->r, r, c)] : 0);
        }
}

void ref_layer_norm_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct layer_norm_bwd_params *p = &params->layer_norm_bwd_x;
    for (size_t r = 0; r < p->rows; r++) {
        double mean = 0, variance = 0, mean_e = 0, mean_en = 0;
        for (size_t c = 0; c < p->channels; c++)
            mean += v[0][bl_at(&p->x, r, c)] / p->channels;
        for (size_t c = 0; c < p->channels; c++)
            variance += pow(v[0][bl_at(&p->x, r, c)] - mean, 2) / p->channels;
        const double rstd = 1 / sqrt(variance + (double)p->eps);
        for (size_t c = 0; c < p->channels; c++) {
            const double e = v[1][bl_at(&p->w, 0, c)] * v[2][bl_at(&p->g, r, c)];
            mean_e += e / p->channels;
            mean_en += e * (v[0][bl_at(&p->x, r, c)] - mean) * rstd / p->channels;
        }
        for (size_t c = 0; c < p->channels; c++) {
            const double e = v[1][bl_at(&p->w, 0, c)] * v[2][bl_at(&p->g, r, c)], n = (v[0][bl_at(&p->x, r, c)] - mean) * rstd;
            v[4][bl_at(&p->d, r, c)] = rstd * (e - mean_e - n * mean_en) + (v[3] ? v[3][bl_at(&p->r, r, c)] : 0);
        }
    }
}
