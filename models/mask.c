/* Masks drawn for a photo: its foreground, and random shapes on it. Layer 4.
 *
 * The foreground is what Otsu's threshold parts by its distance from the colour of the photo's border, which mostly shows what lies behind
 * a product. A photo whose middle looks like its border, or where what stands out runs off all four edges, shows a surface (leather, wood,
 * tiles), which is all foreground. Shapes are those of the field: an ellipse, a freeform stroke (as in inpainting), or Perlin noise above
 * a threshold (as in DRAEM). Decisions are made with the arithmetic that IEEE 754 rounds exactly: a seed draws the same everywhere. */
#include "change.h"
#include "noise.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Words of the seed, one after another. */
typedef struct draws {
    uint64_t seed, next;
} draws;

/* 0 <= u < 1 */
static double uniform(draws *d)
{
    uint32_t word;
    bl_noise_words(d->seed, BL_NOISE_MASK, d->next++, 1, &word);
    return word / 4294967296.0;
}

static double between(draws *d, double low, double high) { return low + (high - low) * uniform(d); }

/* --- foreground ---------------------------------------------------------------------------------------------------------------- */

/* The colour of the photo's border: the median of each channel over its outermost pixels. */
static void border_colour(const bl_image *photo, uint8_t colour[3])
{
    const uint32_t w = photo->width, h = photo->height;
    for (int k = 0; k < 3; k++) {
        size_t histogram[256] = { 0 }, count = 0, seen = 0;
        for (uint32_t y = 0; y < h; y++)
            for (uint32_t x = 0; x < w; x += y && y + 1 < h && w > 1 ? w - 1 : 1, count++)
                histogram[photo->pixels[3 * ((size_t)y * w + x) + (size_t)k]]++;
        int at = 0;
        while ((seen += histogram[at]) * 2 < count)
            at++;
        colour[k] = (uint8_t)at;
    }
}

/* How far every pixel is from a colour, 0-1: the largest difference of a channel, of the mean of 3x3 pixels. */
static float *distance_from(const bl_image *photo, const uint8_t colour[3])
{
    const uint32_t w = photo->width, h = photo->height;
    float *out = bl_alloc((size_t)w * h, sizeof(*out));
    for (uint32_t y = 0; out && y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            int far = 0;
            for (size_t k = 0; k < 3; k++) {
                int sum = 0;
                for (int a = -1; a <= 1; a++)
                    for (int b = -1; b <= 1; b++) {
                        const uint32_t yy = a < 0 && !y ? 0 : BL_MIN(y + (uint32_t)a, h - 1);
                        const uint32_t xx = b < 0 && !x ? 0 : BL_MIN(x + (uint32_t)b, w - 1);
                        sum += photo->pixels[3 * ((size_t)yy * w + xx) + k];
                    }
                far = BL_MAX(far, abs(sum - 9 * colour[k]));
            }
            out[(size_t)y * w + x] = (float)far / (9 * 255);
        }
    return out;
}

/* Whether the middle half of the photo is no further from the border's colour than the border itself, by half. */
static bool looks_the_same(const float *far, uint32_t w, uint32_t h)
{
    double sum[2] = { 0 }, count[2] = { 0 }; /* middle, border */
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            const bool border = !x || !y || x == w - 1 || y == h - 1;
            if (!border && (x < w / 4 || y < h / 4 || x >= w - w / 4 || y >= h - h / 4))
                continue;
            sum[border] += far[(size_t)y * w + x];
            count[border]++;
        }
    return count[0] > 0 && sum[0] / count[0] < 1.5 * sum[1] / count[1];
}

/* Whether what is further than `cut` runs off all four edges. */
static bool runs_off(const float *far, float cut, uint32_t w, uint32_t h)
{
    bool edge[4] = { false };
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++)
            if (far[(size_t)y * w + x] >= cut) {
                edge[0] |= !x;
                edge[1] |= !y;
                edge[2] |= x == w - 1;
                edge[3] |= y == h - 1;
            }
    return edge[0] && edge[1] && edge[2] && edge[3];
}

static bl_result foreground(const bl_image *photo, bl_image *mask, size_t *area)
{
    const uint32_t w = photo->width, h = photo->height;
    const size_t count = (size_t)w * h;
    uint8_t colour[3];
    border_colour(photo, colour);
    float *far = distance_from(photo, colour), most = 0;
    if (!far)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a mask");
    for (size_t i = 0; i < count; i++)
        most = BL_MAX(most, far[i]);
    for (size_t i = 0; i < count && most > 0; i++)
        far[i] /= most;
    const float cut = bl_otsu(far, count);
    const bool flat = most * 255 < 8, surface = !flat && (looks_the_same(far, w, h) || runs_off(far, cut, w, h));
    for (size_t i = 0; i < count; i++)
        mask->pixels[i] = surface || (!flat && far[i] >= cut) ? 255 : 0;
    bl_free(far);
    const size_t small = BL_MAX(count / 100, 4); /* holes and specks up to a hundredth of the picture */
    if (!bl_drop_small(mask->pixels, w, h, 0, small) || !bl_drop_small(mask->pixels, w, h, 255, small))
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a mask");
    *area = 0;
    for (size_t i = 0; i < count; i++)
        *area += mask->pixels[i] != 0;
    if (!*area || *area < count / 200)
        return bl_fail(BL_ERROR_INPUT, "the photo has no foreground that a threshold finds: give a mask, or none");
    return BL_OK;
}

/* --- shapes: drawn around a point of the foreground; the caller cuts them to it ------------------------------------------ */

/* A random pixel of the foreground. */
static void pick_point(draws *d, const bl_image *object, size_t area, double *x, double *y)
{
    size_t k = (size_t)(uniform(d) * (double)area), i = 0;
    for (;; i++)
        if (object->pixels[i] && !k--)
            break;
    *x = (double)(i % object->width);
    *y = (double)(i / object->width);
}

static void ellipse(draws *d, const bl_image *object, size_t area, double size, bl_image *out)
{
    const double pi = 3.141592653589793, flat = between(d, 0.4, 1), wide = sqrt(size * (double)area / pi / flat), high = wide * flat;
    double cx, cy, sine, cosine;
    pick_point(d, object, area, &cx, &cy);
    bl_sincos_turns(uniform(d), &sine, &cosine);
    for (uint32_t y = 0; y < out->height; y++)
        for (uint32_t x = 0; x < out->width; x++) {
            const double u = ((x - cx) * cosine + (y - cy) * sine) / wide, v = ((y - cy) * cosine - (x - cx) * sine) / high;
            out->pixels[(size_t)y * out->width + x] = u * u + v * v <= 1 ? 255 : 0;
        }
}

/* A stroke of discs that wanders, until it is as large as wanted. */
static void freeform(draws *d, const bl_image *object, size_t area, double size, bl_image *out)
{
    const double wanted = size * (double)area, radius = BL_MAX(sqrt(wanted) * between(d, 0.12, 0.25), 1);
    const int64_t w = out->width, h = out->height, reach = (int64_t)radius + 1;
    double x, y, turns = uniform(d), drawn = 0;
    pick_point(d, object, area, &x, &y);
    for (int step = 0; step < 4096 && drawn < wanted; step++) {
        for (int64_t j = BL_MAX((int64_t)y - reach, 0); j <= BL_MIN((int64_t)y + reach, h - 1); j++)
            for (int64_t i = BL_MAX((int64_t)x - reach, 0); i <= BL_MIN((int64_t)x + reach, w - 1); i++) {
                uint8_t *p = &out->pixels[j * w + i];
                if (!*p && ((double)i - x) * ((double)i - x) + ((double)j - y) * ((double)j - y) <= radius * radius) {
                    *p = 255;
                    drawn += object->pixels[j * w + i] != 0;
                }
            }
        double sine, cosine;
        turns += between(d, -0.08, 0.08);
        turns -= floor(turns);
        bl_sincos_turns(turns, &sine, &cosine);
        const double nx = x + 0.5 * radius * cosine, ny = y + 0.5 * radius * sine;
        if (nx < 0 || ny < 0 || nx >= (double)w || ny >= (double)h || !object->pixels[(int64_t)ny * w + (int64_t)nx]) {
            turns = uniform(d); /* at the edge of the object: another way */
        } else {
            x = nx;
            y = ny;
        }
    }
}

static double fade(double t) { return t * t * t * (t * (t * 6 - 15) + 10); }

/* Gradient noise (Perlin 2002) on a lattice of `cells` across the longer side; 8 directions, so that no root is needed. */
static double lattice(const uint32_t *words, int cells, int i, int j, double x, double y)
{
    static const double way[8][2] = { { 1, 0 }, { -1, 0 }, { 0, 1 }, { 0, -1 }, { 0.7071, 0.7071 }, { -0.7071, 0.7071 },
                                      { 0.7071, -0.7071 }, { -0.7071, -0.7071 } };
    const double *g = way[words[j * (cells + 2) + i] >> 29];
    return g[0] * (x - i) + g[1] * (y - j);
}

static bool perlin(draws *d, const bl_image *object, double size, bl_image *out)
{
    enum { MOST = 10 };
    const uint32_t w = out->width, h = out->height, side = BL_MAX(w, h);
    const int cells = (int)between(d, 4, MOST);
    const size_t count = (size_t)w * h;
    uint32_t words[(MOST + 2) * (MOST + 2)];
    float *noise = bl_alloc(count, sizeof(*noise)), *inside = bl_alloc(count, sizeof(*inside));
    size_t n = 0;
    for (int i = 0; i < (cells + 2) * (cells + 2); i++)
        bl_noise_words(d->seed, BL_NOISE_MASK, d->next++, 1, &words[i]);
    for (uint32_t y = 0; noise && inside && y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            const double fx = (double)x * cells / side, fy = (double)y * cells / side, tx = fade(fx - floor(fx)), ty = fade(fy - floor(fy));
            const int i = (int)fx, j = (int)fy;
            const double above = lattice(words, cells, i, j, fx, fy) * (1 - tx) + lattice(words, cells, i + 1, j, fx, fy) * tx;
            const double below = lattice(words, cells, i, j + 1, fx, fy) * (1 - tx) + lattice(words, cells, i + 1, j + 1, fx, fy) * tx;
            const size_t at = (size_t)y * w + x;
            noise[at] = (float)(0.5 + 0.5 * (above * (1 - ty) + below * ty));
            if (object->pixels[at])
                inside[n++] = noise[at];
        }
    /* the threshold above which as much of the object lies as wanted, by halving */
    float low = 0, high = 1;
    for (int k = 0; n && k < 24; k++) {
        const float middle = (low + high) / 2;
        size_t more = 0;
        for (size_t i = 0; i < n; i++)
            more += inside[i] >= middle;
        *((double)more > size * (double)n ? &low : &high) = middle;
    }
    for (size_t i = 0; noise && i < count; i++)
        out->pixels[i] = noise[i] >= high ? 255 : 0;
    const bool ok = noise && inside;
    bl_free(noise);
    bl_free(inside);
    return ok;
}

bl_result bl_mask_auto(const bl_image *photo, const bl_mask_options *options, bl_image *mask)
{
    static const char *const shapes[] = { "foreground", "ellipse", "freeform", "perlin" };
    enum { TRIES = 32 };
    bl_result result = BL_OK;
    bl_image object = { 0 };
    size_t area = 0, shape = 0;
    if (!mask)
        return bl_fail(BL_ERROR_USAGE, "no place for a mask");
    *mask = (bl_image){ 0 };
    if (!photo || !options || options->struct_size != sizeof(*options) || !options->shape)
        return bl_fail(BL_ERROR_USAGE, "bl_mask_auto: no photo, no shape, or options of another version");
    BL_TRY(bl_image_check(photo));
    const float smallest = options->smallest != 0 ? options->smallest : 0.05f, largest = options->largest != 0 ? options->largest : 0.25f;
    while (shape < BL_COUNT(shapes) && strcmp(shapes[shape], options->shape))
        shape++;
    if (shape == BL_COUNT(shapes))
        BL_TRY(bl_fail(BL_ERROR_USAGE, "mask shape \"%s\" is not known; there are foreground, ellipse, freeform, perlin",
                       options->shape));
    if (!(smallest > 0 && smallest <= largest && largest <= 1))
        BL_TRY(bl_fail(BL_ERROR_USAGE, "a mask of %g to %g of the object; both lie above 0 and up to 1", (double)smallest,
                       (double)largest));
    if (photo->channels != 3)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "the photo has %u channels, 3 are needed", photo->channels));
    BL_TRY(bl_image_create(photo->width, photo->height, 1, &object));
    BL_TRY(foreground(photo, &object, &area));
    if (!shape) {
        *mask = object;
        return BL_OK;
    }
    BL_TRY(bl_image_create(photo->width, photo->height, 1, mask));
    draws d = { options->seed, 0 };
    const size_t count = (size_t)photo->width * photo->height;
    for (int i = 0; i < TRIES; i++) {
        const double size = between(&d, smallest, largest);
        size_t left = 0;
        memset(mask->pixels, 0, count);
        if (shape == 1)
            ellipse(&d, &object, area, size, mask);
        else if (shape == 2)
            freeform(&d, &object, area, size, mask);
        else if (!perlin(&d, &object, size, mask))
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a mask"));
        for (size_t k = 0; k < count; k++) {
            mask->pixels[k] &= object.pixels[k];
            left += mask->pixels[k] != 0;
        }
        if ((double)left >= 0.9 * smallest * (double)area && (double)left <= 1.1 * largest * (double)area) {
            bl_image_free(&object);
            return BL_OK;
        }
    }
    BL_TRY(bl_fail(BL_ERROR_INPUT, "no %s of %g to %g of the object fits on it", options->shape, (double)smallest, (double)largest));
fail:
    bl_image_free(&object);
    bl_image_free(mask);
    return result;
}
