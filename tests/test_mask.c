/* Masks drawn for a photo: its foreground of either polarity, shapes of many seeds, the same bytes everywhere, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "image.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W = 96, H = 80, CX = 52, CY = 38, R = 27 }; /* a disc on a background */

static bl_image disc(uint8_t object, uint8_t background)
{
    bl_image photo;
    assert_int_equal(bl_image_create(W, H, 3, &photo), BL_OK);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const bool in = (x - CX) * (x - CX) + (y - CY) * (y - CY) <= R * R;
            const bool hole = x >= CX && x < CX + 4 && y >= CY && y < CY + 4, speck = x >= 3 && x < 7 && y >= 3 && y < 7;
            const int texture = (x * 7 + y * 5) % 11 - 5;
            memset(photo.pixels + 3 * (y * W + x), ((in && !hole) || speck ? object : background) + texture, 3);
        }
    return photo;
}

static bl_result draw(const bl_image *photo, const char *shape, float smallest, float largest, uint64_t seed, bl_image *mask)
{
    return bl_mask_auto(photo, &(bl_mask_options){ sizeof(bl_mask_options), shape, smallest, largest, seed }, mask);
}

static bl_image drawn(const bl_image *photo, const char *shape, float smallest, float largest, uint64_t seed)
{
    bl_image mask;
    if (draw(photo, shape, smallest, largest, seed, &mask) != BL_OK)
        fail_msg("%s, seed %llu: %s", shape, (unsigned long long)seed, bl_last_error());
    assert_true(mask.width == photo->width && mask.height == photo->height && mask.channels == 1);
    for (size_t i = 0; i < (size_t)mask.width * mask.height; i++)
        assert_true(mask.pixels[i] == 0 || mask.pixels[i] == 255);
    return mask;
}

static size_t area(const bl_image *mask)
{
    size_t n = 0;
    for (size_t i = 0; i < (size_t)mask->width * mask->height; i++)
        n += mask->pixels[i] != 0;
    return n;
}

static void foreground_of_either_polarity(void **state)
{
    static const uint8_t greys[][2] = { { 200, 40 }, { 40, 200 }, { 130, 90 }, { 90, 130 } };
    (void)state;
    for (size_t k = 0; k < BL_COUNT(greys); k++) {
        bl_image photo = disc(greys[k][0], greys[k][1]), mask = drawn(&photo, "foreground", 0, 0, k);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const double r = sqrt((x - CX) * (x - CX) + (y - CY) * (y - CY));
                if (fabs(r - R) > 1.6 && (mask.pixels[y * W + x] != 0) != (r < R)) /* the hole is closed, the speck dropped */
                    fail_msg("polarity %zu: (%d, %d), %g from the centre", k, x, y, r);
            }
        bl_image_free(&photo);
        bl_image_free(&mask);
    }
}

static void large_holes_stay(void **state)
{
    (void)state;
    bl_image photo = disc(200, 40);
    for (int y = CY - 8; y < CY + 8; y++)
        memset(photo.pixels + 3 * (y * W + CX - 8), 40, 48);
    bl_image mask = drawn(&photo, "foreground", 0, 0, 0);
    assert_int_equal(mask.pixels[CY * W + CX], 0);
    assert_int_equal(mask.pixels[(CY - 14) * W + CX], 255);
    bl_image_free(&photo);
    bl_image_free(&mask);
}

/* Noise all over, and a plate parted by a cross: surfaces, which are all foreground. */
static void surfaces_are_foreground(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        bl_image photo;
        uint32_t random = 1;
        assert_int_equal(bl_image_create(W, H, 3, &photo), BL_OK);
        for (size_t i = 0; i < W * H; i++) {
            random = random * 1664525 + 1013904223;
            const bool joint = i % W / 4 == CX / 4 || i / W / 4 == CY / 4;
            memset(photo.pixels + 3 * i, k ? (joint ? 60 : 190) : (int)(80 + (random >> 24) / 4), 3);
        }
        bl_image mask = drawn(&photo, "foreground", 0, 0, 0);
        assert_int_equal(area(&mask), W * H);
        bl_image_free(&photo);
        bl_image_free(&mask);
    }
}

static const char *const shapes[] = { "ellipse", "freeform", "perlin" };

static void shapes_lie_on_the_object(void **state)
{
    static const float sizes[][2] = { { 0, 0 }, { 0.02f, 0.04f }, { 0.1f, 0.1f }, { 0.3f, 0.5f } };
    (void)state;
    bl_image photo = disc(40, 200), object = drawn(&photo, "foreground", 0, 0, 0);
    const double whole = (double)area(&object);
    for (size_t s = 0; s < BL_COUNT(shapes); s++)
        for (size_t z = 0; z < BL_COUNT(sizes); z++) {
            const double low = sizes[z][0] > 0 ? (double)sizes[z][0] : 0.05, high = sizes[z][1] > 0 ? (double)sizes[z][1] : 0.25;
            double least = 1, most = 0, columns = 0;
            for (uint64_t seed = 0; seed < 200; seed++) {
                bl_image mask = drawn(&photo, shapes[s], sizes[z][0], sizes[z][1], seed);
                double x = 0;
                for (size_t i = 0; i < W * H; i++) {
                    if (mask.pixels[i] && !object.pixels[i])
                        fail_msg("%s, seed %llu: outside the object", shapes[s], (unsigned long long)seed);
                    x += mask.pixels[i] ? (double)(i % W) : 0;
                }
                const double share = (double)area(&mask) / whole;
                if (share < 0.9 * low - 1e-6 || share > 1.1 * high + 1e-6)
                    fail_msg("%s, seed %llu: %g of the object, %g to %g wanted", shapes[s], (unsigned long long)seed, share, low, high);
                least = fmin(least, share);
                most = fmax(most, share);
                columns += x / (double)area(&mask) < CX;
                bl_image_free(&mask);
            }
            if (low < high && !(least < low + 0.25 * (high - low) && most > high - 0.25 * (high - low)))
                fail_msg("%s: sizes from %g to %g only, %g to %g wanted", shapes[s], least, most, low, high);
            assert_true(columns > 40 && columns < 160); /* to either side of the centre */
        }
    bl_image_free(&photo);
    bl_image_free(&object);
}

static uint32_t hash(const bl_image *mask)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < (size_t)mask->width * mask->height; i++)
        h = (h ^ mask->pixels[i]) * 16777619u;
    return h;
}

/* What a seed means is a promise: these numbers never change. */
static void a_seed_is_a_mask(void **state)
{
    static const uint32_t expected[] = { 0xf861e5b2, 0x445b793d, 0xe8a6d298 };
    (void)state;
    bl_image photo = disc(40, 200);
    for (size_t s = 0; s < BL_COUNT(shapes); s++) {
        bl_image a = drawn(&photo, shapes[s], 0, 0, 42), b = drawn(&photo, shapes[s], 0.05f, 0.25f, 42);
        bl_image c = drawn(&photo, shapes[s], 0, 0, 43);
        assert_memory_equal(a.pixels, b.pixels, W * H);
        assert_memory_not_equal(a.pixels, c.pixels, W * H);
        if (hash(&a) != expected[s])
            fail_msg("%s: seed 42 gives %#x, not %#x", shapes[s], hash(&a), expected[s]);
        bl_image_free(&a);
        bl_image_free(&b);
        bl_image_free(&c);
    }
    bl_image_free(&photo);
}

static void masks_refused(void **state)
{
    static const struct { const char *shape; float smallest, largest; const char *reason; } rows[] = {
        { "square", 0, 0, "mask shape \"square\" is not known; there are foreground, ellipse, freeform, perlin" },
        { "", 0, 0, "is not known" },
        { "ellipse", 0.3f, 0.2f, "a mask of 0.3 to 0.2 of the object" },
        { "ellipse", 0.3f, 0, "a mask of 0.3 to 0.25" },
        { "ellipse", -0.1f, 0.2f, "a mask of -0.1 to 0.2" },
        { "ellipse", 0.1f, 1.5f, "a mask of 0.1 to 1.5" },
        { "ellipse", NAN, 0.2f, "a mask of" },
        { "ellipse", 0.1f, NAN, "a mask of" },
    };
    static const uint8_t flat[] = { 0, 90, 255 };
    static uint8_t grey[64 * 64];
    static const uint32_t sides[] = { 1, 2, 3, 10, 64 };
    bl_image photo = disc(40, 200), mask;
    (void)state;
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        memset(&mask, 0xff, sizeof(mask));
        assert_int_equal(draw(&photo, rows[i].shape, rows[i].smallest, rows[i].largest, 1, &mask), BL_ERROR_USAGE);
        if (!strstr(bl_last_error(), rows[i].reason))
            fail_msg("row %zu: \"%s\" lacks \"%s\"", i, bl_last_error(), rows[i].reason);
        assert_true(!mask.pixels && !mask.width);
    }
    assert_int_equal(draw(&photo, NULL, 0, 0, 1, &mask), BL_ERROR_USAGE);
    assert_int_equal(draw(NULL, "ellipse", 0, 0, 1, &mask), BL_ERROR_USAGE);
    assert_int_equal(draw(&photo, "ellipse", 0, 0, 1, NULL), BL_ERROR_USAGE);
    assert_int_equal(bl_mask_auto(&photo, NULL, &mask), BL_ERROR_USAGE);
    assert_int_equal(bl_mask_auto(&photo, &(bl_mask_options){ 1, "ellipse", 0, 0, 1 }, &mask), BL_ERROR_USAGE);
    assert_int_equal(draw(&(bl_image){ 64, 64, 1, grey }, "ellipse", 0, 0, 1, &mask), BL_ERROR_USAGE);
    assert_non_null(strstr(bl_last_error(), "the photo has 1 channels, 3 are needed"));
    assert_int_equal(draw(&(bl_image){ 64, 64, 3, NULL }, "ellipse", 0, 0, 1, &mask), BL_ERROR_USAGE);
    bl_image_free(&photo);

    for (size_t k = 0; k < BL_COUNT(flat) * BL_COUNT(sides); k++) { /* one colour has no foreground, however small the picture */
        const uint32_t side = sides[k / BL_COUNT(flat)];
        assert_int_equal(bl_image_create(side, side, 3, &photo), BL_OK);
        memset(photo.pixels, flat[k % BL_COUNT(flat)], 3 * (size_t)side * side);
        for (size_t s = 0; s <= BL_COUNT(shapes); s++) {
            assert_int_equal(draw(&photo, s ? shapes[s - 1] : "foreground", 0, 0, 1, &mask), BL_ERROR_INPUT);
            assert_non_null(strstr(bl_last_error(), "the photo has no foreground that a threshold finds"));
            assert_null(mask.pixels);
        }
        bl_image_free(&photo);
    }

    /* a thin frame of an object: the largest ellipse does not fit on it */
    assert_int_equal(bl_image_create(64, 64, 3, &photo), BL_OK);
    for (size_t i = 0; i < 64 * 64; i++)
        memset(photo.pixels + 3 * i, i % 64 >= 30 && i % 64 < 33 && i / 64 > 2 && i / 64 < 61 ? 220 : 20, 3);
    assert_int_equal(draw(&photo, "ellipse", 0.9f, 1, 1, &mask), BL_ERROR_INPUT);
    assert_non_null(strstr(bl_last_error(), "no ellipse of 0.9 to 1 of the object fits on it"));
    assert_null(mask.pixels);
    bl_image_free(&photo);
}

/* Whatever the picture, there is a mask within the object, or a reason. */
static void small_and_odd_pictures(void **state)
{
    (void)state;
    uint32_t random = 1, made = 0;
    for (uint32_t k = 0; k < 600; k++) {
        bl_image photo, mask, object;
        const uint32_t w = 1 + k % 23, h = 1 + k / 23;
        assert_int_equal(bl_image_create(w, h, 3, &photo), BL_OK);
        for (size_t i = 0; i < 3 * (size_t)w * h; i++) {
            random = random * 1664525 + 1013904223;
            photo.pixels[i] = (uint8_t)(random >> 24 > 200 ? 230 : 20);
        }
        const bl_result there = draw(&photo, "foreground", 0, 0, k, &object);
        if (draw(&photo, shapes[k % BL_COUNT(shapes)], 0.05f, 1, k, &mask) == BL_OK) {
            made++;
            assert_int_equal(there, BL_OK);
            assert_true(area(&mask) > 0);
            for (size_t i = 0; i < (size_t)w * h; i++)
                assert_true(mask.pixels[i] <= object.pixels[i]);
        } else {
            assert_true(strstr(bl_last_error(), "no foreground") || strstr(bl_last_error(), "fits on it"));
        }
        bl_image_free(&photo);
        bl_image_free(&mask);
        bl_image_free(&object);
    }
    assert_true(made > 100);
}

/* Photos of products: what their masks show was looked at; the shares say that it stays so. */
static void photos(void **state)
{
    static const struct { const char *name; double low, high; } rows[] = {
        { "hazelnut.png", 0.30, 0.42 }, /* of 0.40: the darkest of the side in shadow is lost */
        { "table.jpg", 0.48, 0.58 },    /* dark on bright, with the gaps between its legs */
        { "road.png", 0.99, 1.01 },     /* a surface that fills the photo */
    };
    const char *reference = getenv("BLEMISH_REFERENCE");
    (void)state;
    if (!reference && getenv("CI"))
        fail_msg("BLEMISH_REFERENCE is not set");
    if (!reference)
        skip();
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        char path[512];
        bl_image photo;
        snprintf(path, sizeof(path), "%s/photos/%s", reference ? reference : "", rows[i].name);
        if (bl_image_read(path, 3, &photo) != BL_OK)
            fail_msg("%s", bl_last_error());
        bl_image mask = drawn(&photo, "foreground", 0, 0, 0);
        const double share = (double)area(&mask) / ((double)photo.width * photo.height);
        if (!(share > rows[i].low && share < rows[i].high))
            fail_msg("%s: the foreground is %g of the photo, not %g to %g", rows[i].name, share, rows[i].low, rows[i].high);
        for (size_t s = 0; s < BL_COUNT(shapes); s++) {
            bl_image shape = drawn(&photo, shapes[s], 0, 0, 7);
            for (size_t k = 0; k < (size_t)photo.width * photo.height; k++)
                if (shape.pixels[k] > mask.pixels[k])
                    fail_msg("%s: the %s leaves the object", rows[i].name, shapes[s]);
            bl_image_free(&shape);
        }
        bl_image_free(&mask);
        bl_image_free(&photo);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreground_of_either_polarity), cmocka_unit_test(large_holes_stay),
        cmocka_unit_test(surfaces_are_foreground), cmocka_unit_test(shapes_lie_on_the_object),
        cmocka_unit_test(a_seed_is_a_mask), cmocka_unit_test(masks_refused), cmocka_unit_test(small_and_odd_pictures),
        cmocka_unit_test(photos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
