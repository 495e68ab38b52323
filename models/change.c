/* Layer 4. */
#include "change.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

float bl_otsu(const float *values, size_t count)
{
    enum { BINS = 256 };
    size_t histogram[BINS] = { 0 };
    double sum = 0, below = 0, below_sum = 0, best = -1;
    int at = 0;
    for (size_t i = 0; i < count; i++) {
        const int bin = (int)(values[i] * BINS);
        histogram[bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin]++;
    }
    for (int i = 0; i < BINS; i++)
        sum += (double)i * (double)histogram[i];
    for (int i = 0; i < BINS - 1; i++) {
        below += (double)histogram[i];
        below_sum += (double)i * (double)histogram[i];
        const double above = (double)count - below;
        if (below <= 0 || above <= 0)
            continue;
        const double apart = below_sum / below - (sum - below_sum) / above, between = below * above * apart * apart;
        if (between > best) {
            best = between;
            at = i;
        }
    }
    return (float)(at + 1) / BINS;
}

/* A map sampled bilinearly at the centre of pixel (x, y) of a picture. */
static float sample(const float *map, uint32_t mh, uint32_t mw, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    const float fx = BL_MIN(BL_MAX(((float)x + 0.5f) * (float)mw / (float)w - 0.5f, 0), (float)(mw - 1));
    const float fy = BL_MIN(BL_MAX(((float)y + 0.5f) * (float)mh / (float)h - 0.5f, 0), (float)(mh - 1));
    const uint32_t x0 = (uint32_t)fx, y0 = (uint32_t)fy, x1 = BL_MIN(x0 + 1, mw - 1), y1 = BL_MIN(y0 + 1, mh - 1);
    const float tx = fx - (float)x0, ty = fy - (float)y0;
    return (1 - ty) * ((1 - tx) * map[y0 * mw + x0] + tx * map[y0 * mw + x1]) +
        ty * ((1 - tx) * map[y1 * mw + x0] + tx * map[y1 * mw + x1]);
}

static float largest(const float *map, size_t count)
{
    float top = 0;
    for (size_t i = 0; map && i < count; i++)
        top = BL_MAX(top, map[i]);
    return top;
}

/* Mean over (2r+1)^2 pixels, within the picture: twice in lines, twice in columns, which is nearly a Gaussian. */
static void blur(float *a, float *scratch, uint32_t w, uint32_t h, uint32_t r)
{
    for (int pass = 0; pass < 4; pass++) {
        const bool lines = pass < 2;
        const uint32_t n = lines ? w : h, others = lines ? h : w;
        const size_t step = lines ? 1 : w, next = lines ? w : 1;
        for (uint32_t o = 0; o < others; o++) {
            const float *in = a + o * next;
            double sum = 0;
            for (uint32_t i = 0; i < BL_MIN(r, n); i++)
                sum += in[i * step];
            for (uint32_t i = 0; i < n; i++) {
                sum += i + r < n ? in[(i + r) * step] : 0;
                sum -= i > r ? in[(i - r - 1) * step] : 0;
                scratch[o * next + i * step] = (float)(BL_MAX(sum, 0) / (BL_MIN(i + r, n - 1) - (i > r ? i - r : 0) + 1)); /* rounding */
            }
        }
        memcpy(a, scratch, (size_t)w * h * sizeof(*a));
    }
}

/* Adds to the n pixels on the stack, which are marked seen, all that is connected to them, by 4 neighbours of `value`. Returns how many are
 * on the stack then. */
static size_t flood(const uint8_t *mask, uint32_t w, uint32_t h, uint8_t value, uint8_t *seen, uint32_t *stack, size_t n)
{
    for (size_t done = 0; done < n; done++) {
        const uint32_t p = stack[done], x = p % w, y = p / w;
        const uint32_t near[4] = { x ? p - 1 : p, x + 1 < w ? p + 1 : p, y ? p - w : p, y + 1 < h ? p + w : p };
        for (int k = 0; k < 4; k++)
            if (!seen[near[k]] && mask[near[k]] == value) {
                seen[near[k]] = 1;
                stack[n++] = near[k];
            }
    }
    return n;
}

bool bl_drop_small(uint8_t *mask, uint32_t w, uint32_t h, uint8_t value, size_t least)
{
    const size_t count = (size_t)w * h;
    uint8_t *seen = bl_alloc(count, 1);
    uint32_t *stack = bl_alloc(count, sizeof(*stack));
    for (size_t i = 0; seen && stack && i < count; i++) {
        if (seen[i] || mask[i] != value)
            continue;
        seen[i] = 1;
        stack[0] = (uint32_t)i;
        const size_t n = flood(mask, w, h, value, seen, stack, 1);
        for (size_t k = 0; k < n && n < least; k++)
            mask[stack[k]] = (uint8_t)(255 - value);
    }
    const bool ok = seen && stack;
    bl_free(seen);
    bl_free(stack);
    return ok;
}

/* Keeps the regions of mask, by 4 neighbours, in which some weight reaches `least`. False without memory. */
static bool keep_heavy(uint8_t *mask, const float *weight, uint32_t w, uint32_t h, float least)
{
    const size_t count = (size_t)w * h;
    uint8_t *seen = bl_alloc(count, 1);
    uint32_t *stack = bl_alloc(count, sizeof(*stack));
    const bool ok = seen && stack;
    size_t n = 0;
    for (size_t i = 0; ok && i < count; i++)
        if (mask[i] && weight[i] >= least) {
            seen[i] = 1;
            stack[n++] = (uint32_t)i;
        }
    if (ok)
        flood(mask, w, h, 255, seen, stack, n);
    for (size_t i = 0; ok && i < count; i++)
        mask[i] = seen[i] ? 255 : 0;
    bl_free(seen);
    bl_free(stack);
    return ok;
}

static bool may_change(const float *allowed, uint32_t mask_h, uint32_t mask_w, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    return !allowed || allowed[(size_t)y * mask_h / h * mask_w + (size_t)x * mask_w / w] > 0;
}

/* How different two RGB pixels are, 0 to 1: mean of what the channels and the brightness (ITU-R BT.601) differ. A stain of the same
 * brightness counts, and the colour casts of an autoencoder count half. */
static float apart(const uint8_t *a, const uint8_t *b)
{
    const float r = (float)a[0] - (float)b[0], g = (float)a[1] - (float)b[1], l = (float)a[2] - (float)b[2];
    return ((fabsf(r) + fabsf(g) + fabsf(l)) / 3 + fabsf(0.299f * r + 0.587f * g + 0.114f * l)) / (2 * 255);
}

bl_result bl_change_mask(const bl_image *made, const bl_image *plain, const float *attention, uint32_t mh, uint32_t mw,
                         const float *allowed, uint32_t mask_h, uint32_t mask_w, bl_image *mask)
{
    bl_result result = BL_OK;
    const uint32_t w = made->width, h = made->height;
    const size_t count = (size_t)w * h, speck = BL_MAX(count / 8192, 4);
    const float extent = 1 / 3.0f, heavy = 0.8f, unseen = 0.5f; /* measured, docs/evaluation.md; `unseen` weighs what has no attention */
    float *change = bl_alloc(count, sizeof(*change)), *weight = bl_alloc(count, sizeof(*weight));
    *mask = (bl_image){ 0 };
    if (!change || !weight)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a mask of %u x %u", w, h));
    BL_TRY(bl_image_create(w, h, 1, mask));
    memset(mask->pixels, 0, count);
    int raw = 0; /* the largest difference that counts, before smoothing hides a small one */
    for (size_t i = 0; i < count; i++) {
        change[i] = apart(made->pixels + 3 * i, plain->pixels + 3 * i);
        if (may_change(allowed, mask_h, mask_w, (uint32_t)(i % w), (uint32_t)(i / w), w, h))
            for (size_t k = 3 * i; k < 3 * i + 3; k++)
                raw = BL_MAX(raw, abs(made->pixels[k] - plain->pixels[k]));
    }
    blur(change, weight, w, h, BL_MAX(BL_MIN(w, h) / 128, 2));
    const float top = largest(attention, (size_t)mh * mw);
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            const size_t i = (size_t)y * w + x;
            if (!may_change(allowed, mask_h, mask_w, x, y, w, h))
                change[i] = -1;
            const float looked = attention && top > 0 ? sample(attention, mh, mw, x, y, w, h) / top : 1;
            weight[i] = change[i] * (unseen + (1 - unseen) * looked); /* attention is coarse and may miss: it does not forbid */
        }
    const float most = largest(change, count);
    if (raw > 1 && most > 0) {
        for (size_t i = 0; i < count; i++)
            mask->pixels[i] = change[i] >= extent * most ? 255 : 0;
        if (!keep_heavy(mask->pixels, weight, w, h, heavy * largest(weight, count)) ||
            !bl_drop_small(mask->pixels, w, h, 0, speck) || !bl_drop_small(mask->pixels, w, h, 255, speck))
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a mask of %u x %u", w, h));
        size_t white = 0;
        for (size_t i = 0; i < count; i++)
            white += mask->pixels[i] && change[i] >= 0;
        for (size_t i = 0; i < count; i++) /* filled pinholes may lie outside; and specks may have been all there was */
            mask->pixels[i] = change[i] < 0 ? 0 : white ? mask->pixels[i] : change[i] >= extent * most ? 255 : 0;
    }
fail:
    bl_free(change);
    bl_free(weight);
    if (result != BL_OK)
        bl_image_free(mask);
    return result;
}

/* 1 within `r` pixels (of a square) of where `a` is 1. */
static void widen(float *a, float *scratch, uint32_t w, uint32_t h, uint32_t r)
{
    for (int pass = 0; pass < 2; pass++) {
        const bool lines = !pass;
        const uint32_t n = lines ? w : h, others = lines ? h : w;
        const size_t step = lines ? 1 : w, next = lines ? w : 1;
        for (uint32_t o = 0; o < others; o++) {
            uint32_t end = 0; /* of what the last 1 so far reaches */
            for (uint32_t i = 0; i < BL_MIN(r, n); i++)
                end = a[o * next + i * step] > 0 ? i + r + 1 : end;
            for (uint32_t i = 0; i < n; i++) {
                if (i + r < n && a[o * next + (i + r) * step] > 0)
                    end = i + 2 * r + 1;
                scratch[o * next + i * step] = i < end;
            }
        }
        memcpy(a, scratch, (size_t)w * h * sizeof(*a));
    }
}

bl_result bl_paste_back(const bl_image *photo, const bl_image *mask, uint32_t edge, bl_image *made)
{
    bl_result result = BL_OK;
    const uint32_t w = made->width, h = made->height;
    const size_t count = (size_t)w * h;
    float *weight = bl_alloc(count, sizeof(*weight)), *scratch = bl_alloc(count, sizeof(*scratch));
    if (!weight || !scratch)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a picture of %u x %u", w, h));
    for (size_t i = 0; i < count; i++)
        weight[i] = mask->pixels[i] != 0;
    /* the blur reaches as far as the mask was widened: 1 inside, and nothing further out than twice that */
    widen(weight, scratch, w, h, edge);
    blur(weight, scratch, w, h, edge / 2);
    for (size_t i = 0; i < 3 * count; i++)
        made->pixels[i] = (uint8_t)lrintf((float)photo->pixels[i] + weight[i / 3] * ((float)made->pixels[i] - (float)photo->pixels[i]));
fail:
    bl_free(weight);
    bl_free(scratch);
    return result;
}

/* Blue, cyan, yellow, red for 0 to 1. */
static void heat(float v, float rgb[3])
{
    rgb[0] = BL_MIN(BL_MAX(1.5f - fabsf(4 * v - 3), 0), 1);
    rgb[1] = BL_MIN(BL_MAX(1.5f - fabsf(4 * v - 2), 0), 1);
    rgb[2] = BL_MIN(BL_MAX(1.5f - fabsf(4 * v - 1), 0), 1);
}

bl_result bl_attention_overlay(const bl_image *picture, const float *attention, uint32_t mh, uint32_t mw, bl_image *out)
{
    const float top = largest(attention, (size_t)mh * mw);
    const bl_result result = bl_image_create(picture->width, picture->height, 3, out);
    for (uint32_t y = 0; result == BL_OK && y < picture->height; y++)
        for (uint32_t x = 0; x < picture->width; x++) {
            const uint8_t *in = picture->pixels + 3 * ((size_t)y * picture->width + x);
            uint8_t *p = out->pixels + 3 * ((size_t)y * picture->width + x);
            const float grey = (0.299f * in[0] + 0.587f * in[1] + 0.114f * in[2]) / 255;
            float rgb[3];
            heat(top > 0 ? sample(attention, mh, mw, x, y, picture->width, picture->height) / top : 0, rgb);
            for (int k = 0; k < 3; k++)
                p[k] = (uint8_t)lrintf(255 * (0.5f * grey + 0.5f * rgb[k]));
        }
    return result;
}
