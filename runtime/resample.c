/* Separable resampling in the fixed-point arithmetic of Pillow 9. Layer 0.
 * Horizontal pass first, always. Pillow 13 runs the vertical pass first where that is less work, and then rounds differently. */
#include "checked.h"
#include "image.h"
#include <math.h>
#include <string.h>

/* Weights are fixed-point. 8 bits of pixel and 2 bits of headroom, for the sum of |weights| and the overshoot of negative lobes, leave
 * 22 of 32: the sum of |weights| stays below 2 for the filters here. */
enum { WEIGHT_BITS = 32 - 8 - 2, WEIGHT_HALF = 1 << (WEIGHT_BITS - 1) };

/* --- filters: x in units of the widened pixel -------------------------------------------------------------------------- */

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0)
        return 1.0;
    x *= 3.14159265358979323846;
    return sin(x) / x;
}

static double lanczos(double x)
{
    return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

typedef struct kernel {
    double (*weight)(double x);
    double support; /* half width */
} kernel;

static const kernel kernels[] = {
    [BL_FILTER_BILINEAR] = { bilinear, 1.0 },
    [BL_FILTER_BICUBIC] = { bicubic, 2.0 },
    [BL_FILTER_LANCZOS] = { lanczos, 3.0 },
};

/* --- weights ------------------------------------------------------------------------------------------------------------ */

/* For each output position: which inputs count, and how much. */
typedef struct taps {
    uint32_t width;          /* weights kept per output: what the filter covers, at most all inputs */
    uint32_t *first, *count; /* [outputs] */
    int32_t *weights;        /* [outputs][width], fixed-point */
} taps;

static void taps_free(taps *t)
{
    bl_free(t->first);
    bl_free(t->count);
    bl_free(t->weights);
    *t = (taps){ 0 };
}

static bl_result taps_create(const kernel *k, uint32_t in, uint32_t out, taps *t)
{
    const double scale = (double)in / out;
    const double widen = scale < 1.0 ? 1.0 : scale;
    const double support = k->support * widen;
    const double narrow = 1.0 / widen;
    *t = (taps){ .width = BL_MIN((uint32_t)ceil(support) * 2 + 1, in) };
    t->first = bl_alloc(out, sizeof(*t->first));
    t->count = bl_alloc(out, sizeof(*t->count));
    size_t cells;
    t->weights = bl_mul(out, t->width, &cells) ? bl_alloc(cells, sizeof(*t->weights)) : NULL;
    double *row = bl_alloc(t->width, sizeof(*row));
    if (!t->first || !t->count || !t->weights || !row) {
        taps_free(t);
        bl_free(row);
        return bl_fail(BL_ERROR_MEMORY, "out of memory for resampling %u to %u pixels", in, out);
    }
    for (uint32_t i = 0; i < out; i++) {
        const double center = (i + 0.5) * scale;
        /* Truncation, not floor: the lower bound may be negative, and is clamped then. */
        const int low = (int)(center - support + 0.5), high = (int)(center + support + 0.5);
        const uint32_t first = low < 0 ? 0 : (uint32_t)low;
        const uint32_t count = BL_MIN((uint32_t)high, in) - first;
        double sum = 0.0;
        for (uint32_t j = 0; j < count; j++) {
            row[j] = k->weight((j + first - center + 0.5) * narrow);
            sum += row[j];
        }
        int32_t *weights = t->weights + (size_t)i * t->width;
        for (uint32_t j = 0; j < count; j++) {
            const double w = (sum != 0.0 ? row[j] / sum : row[j]) * (1 << WEIGHT_BITS);
            weights[j] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
        }
        t->first[i] = first;
        t->count[i] = count;
    }
    bl_free(row);
    return BL_OK;
}

/* --- passes ------------------------------------------------------------------------------------------------------------- */

static uint8_t clip8(int32_t sum)
{
    const int32_t v = sum >> WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void resample_row(const uint8_t *src, const taps *t, uint32_t width, uint32_t channels, uint8_t *dst)
{
    for (uint32_t x = 0; x < width; x++) {
        const int32_t *w = t->weights + (size_t)x * t->width;
        const uint8_t *p = src + (size_t)t->first[x] * channels;
        for (uint32_t c = 0; c < channels; c++) {
            int32_t sum = WEIGHT_HALF;
            for (uint32_t i = 0; i < t->count[x]; i++)
                sum += w[i] * p[i * channels + c];
            *dst++ = clip8(sum);
        }
    }
}

static void add_row(const uint8_t *src, int32_t weight, size_t bytes, int32_t *sums)
{
    for (size_t i = 0; i < bytes; i++)
        sums[i] += weight * src[i];
}

/* The position is accumulated, not multiplied: rounding must be Pillow's where a sample falls on a pixel edge. */
static void nearest_positions(uint32_t in, uint32_t out, uint32_t *at)
{
    const double scale = (double)in / out;
    double x = scale * 0.5;
    for (uint32_t i = 0; i < out; i++, x += scale)
        at[i] = BL_MIN((uint32_t)x, in - 1);
}

static bl_result resize_nearest(const bl_image *in, bl_image *out)
{
    uint32_t *columns = bl_alloc((size_t)out->width + out->height, sizeof(*columns));
    if (!columns)
        return bl_fail(BL_ERROR_MEMORY, "out of memory for resampling to %ux%u", out->width, out->height);
    uint32_t *rows = columns + out->width;
    nearest_positions(in->width, out->width, columns);
    nearest_positions(in->height, out->height, rows);
    uint8_t *dst = out->pixels;
    for (uint32_t y = 0; y < out->height; y++) {
        const uint8_t *src = in->pixels + (size_t)rows[y] * in->width * in->channels;
        for (uint32_t x = 0; x < out->width; x++, dst += in->channels)
            memcpy(dst, src + (size_t)columns[x] * in->channels, in->channels);
    }
    bl_free(columns);
    return BL_OK;
}

/* Horizontal first, rounded to 8 bits, then vertical; a side that keeps its length is not touched. Rows in between live in a ring that
 * holds just those one output row needs. */
static bl_result resize_separable(const bl_image *in, const kernel *k, bl_image *out)
{
    bl_result result = BL_OK;
    taps across = { 0 }, down = { 0 };
    uint8_t *ring = NULL;
    int32_t *sums = NULL;
    const bool rows = in->width != out->width, columns = in->height != out->height;
    const size_t in_row = (size_t)in->width * in->channels, out_row = (size_t)out->width * in->channels;
    if (rows)
        BL_TRY(taps_create(k, in->width, out->width, &across));
    if (!columns) {
        for (uint32_t y = 0; y < in->height; y++)
            if (rows)
                resample_row(in->pixels + y * in_row, &across, out->width, in->channels, out->pixels + y * out_row);
            else
                memcpy(out->pixels + y * out_row, in->pixels + y * in_row, in_row);
        goto fail;
    }
    BL_TRY(taps_create(k, in->height, out->height, &down));
    ring = bl_alloc(down.width, out_row);
    sums = bl_alloc(out_row, sizeof(*sums));
    if (!ring || !sums)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "out of memory for resampling to %ux%u", out->width, out->height));
    uint32_t ready = 0; /* input rows that went through the ring */
    for (uint32_t y = 0; y < out->height; y++) {
        for (size_t i = 0; i < out_row; i++)
            sums[i] = WEIGHT_HALF;
        for (uint32_t j = 0; j < down.count[y]; j++) {
            const uint32_t at = down.first[y] + j;
            uint8_t *row = ring + at % down.width * out_row;
            if (rows)
                for (ready = BL_MAX(ready, down.first[y]); ready <= at; ready++)
                    resample_row(in->pixels + ready * in_row, &across, out->width, in->channels, ring + ready % down.width * out_row);
            add_row(rows ? row : in->pixels + at * in_row, down.weights[(size_t)y * down.width + j], out_row, sums);
        }
        for (size_t i = 0; i < out_row; i++)
            out->pixels[y * out_row + i] = clip8(sums[i]);
    }
fail:
    taps_free(&across);
    taps_free(&down);
    bl_free(ring);
    bl_free(sums);
    return result;
}

bl_result bl_image_resize(const bl_image *in, uint32_t width, uint32_t height, bl_filter filter, bl_image *out)
{
    bl_result result = BL_OK;
    if (!out)
        return bl_fail(BL_ERROR_USAGE, "bl_image_resize: no picture to fill");
    *out = (bl_image){ 0 };
    BL_TRY(bl_image_check(in));
    if ((unsigned)filter > BL_FILTER_LANCZOS)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "there is no resampling filter %d", (int)filter));
    BL_TRY(bl_image_create(width, height, in->channels, out));
    BL_TRY(filter == BL_FILTER_NEAREST ? resize_nearest(in, out) : resize_separable(in, &kernels[filter], out));
    return BL_OK;
fail:
    bl_image_free(out);
    return result;
}
