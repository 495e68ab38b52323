/* References of the matrix product and the convolution and of their gradients, in double. Layer 2. */
#include "op.h"
#include "ref.h"

/* act(sum + b + a) + r of output element (row, col); `image` is its row of a. */
static double epilogue(double sum, const struct view *views, double *const *v, uint32_t act, size_t image, size_t row, size_t col)
{
    if (v[2])
        sum += v[2][bl_at(&views[2], 0, col)];
    if (v[3])
        sum += v[3][bl_at(&views[3], image, col)];
    sum = bl_ref_act(sum, act);
    return v[4] ? sum + v[4][bl_at(&views[4], row, col)] : sum;
}

void ref_matmul_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct matmul_params *p = &params->matmul_fwd;
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (size_t k = 0; k < p->k; k++)
                sum += v[0][bl_at(&p->x, i, k)] * v[1][bl_at(&p->w, j, k)];
            v[5][bl_at(&p->y, i, j)] = epilogue(sum, params->v, v, p->act, i / p->a_rows, i, j);
        }
}

/* The row of x that output pixel (oy, ox) of an image sees through tap (ky, kx); false outside the image. */
static bool conv_row(const struct conv_params *p, size_t image, size_t oy, size_t ox, size_t ky, size_t kx, size_t *row)
{
    const int64_t y = (int64_t)(oy * p->stride + ky) - (int32_t)p->pad_y, x = (int64_t)(ox * p->stride + kx) - p->pad;
    if (y < 0 || x < 0 || y >= (int64_t)p->h << p->up || x >= (int64_t)p->width << p->up)
        return false;
    *row = (image * p->h + (size_t)(y >> p->up)) * p->width + (size_t)(x >> p->up);
    return true;
}

void ref_conv_fwd(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct conv_params *p = &params->conv_fwd;
    const size_t pixels = (size_t)p->oh * p->ow;
    for (size_t i = 0; i < p->images * pixels; i++)
        for (size_t j = 0; j < p->oc; j++) {
            double sum = 0;
            for (size_t ky = 0; ky < p->kernel; ky++)
                for (size_t kx = 0; kx < p->kernel; kx++) {
                    size_t row;
                    if (!conv_row(p, i / pixels, i % pixels / p->ow, i % p->ow, ky, kx, &row))
                        continue;
                    for (size_t c = 0; c < p->c; c++)
                        sum += v[0][bl_at(&p->x, row, c)] * v[1][bl_at(&p->w, j, (ky * p->kernel + kx) * p->c + c)];
                }
            v[5][bl_at(&p->y, i, j)] = epilogue(sum, params->v, v, p->act, i / pixels, i, j);
        }
}

void ref_matmul_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct matmul_bwd_params *p = &params->matmul_bwd_x;
    for (size_t i = 0; i < p->m; i++)
        for (size_t k = 0; k < p->k; k++) {
            double sum = 0;
            for (size_t j = 0; j < p->n; j++)
                sum += v[0][bl_at(&p->g, i, j)] * v[1][bl_at(&p->w, j, k)];
            v[3][bl_at(&p->d, i, k)] = sum + (v[2] ? v[2][bl_at(&p->r, i, k)] : 0);
        }
}

/* The output line (or column) that reads input line i through tap k; false if there is none. */
static bool conv_output(int64_t i, uint32_t k, uint32_t pad, uint32_t stride, uint32_t size, size_t *out)
{
    const int64_t at = i + pad - k;
    *out = (size_t)(at / stride);
    return at >= 0 && at % stride == 0 && at / stride < size;
}

void ref_conv_bwd_x(const bl_params *params, double *const *v, const struct bl_step *step)
{
    (void)step;
    const struct conv_bwd_params *p = &params->conv_bwd_x;
    const size_t pixels = (size_t)p->h * p->width;
    for (size_t i = 0; i < p->images * pixels; i++)
        for (size_t c = 0; c < p->c; c++) {
            double sum = 0;
            for (uint32_t ky = 0; ky < p->kernel; ky++)
                for (uint32_t kx = 0; kx < p->kernel; kx++) {
                    size_t oy, ox;
                    if (!conv_output((int64_t)(i % pixels / p->width), ky, p->pad_y, p->stride, p->oh, &oy) ||
                        !conv_output((int64_t)(i % p->width), kx, p->pad, p->stride, p->ow, &ox))
                        continue;
                    const size_t row = (i / pixels * p->oh + oy) * p->ow + ox;
                    for (size_t j = 0; j < p->oc; j++)
                        sum += v[0][bl_at(&p->g, row, j)] * v[1][bl_at(&p->w, j, (ky * p->kernel + kx) * p->c + c)];
                }
            v[3][bl_at(&p->d, i, c)] = sum + (v[2] ? v[2][bl_at(&p->r, i, c)] : 0);
        }
}
