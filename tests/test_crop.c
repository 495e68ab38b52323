/* Parts of photos: which one is chosen, and that everything around what changed is the photo's own, byte for byte, at any size. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "photo.h"
#include <stdlib.h>
#include <string.h>

static bl_image new_image(uint32_t width, uint32_t height, uint32_t channels)
{
    bl_image image;
    assert_int_equal(bl_image_create(width, height, channels, &image), BL_OK);
    return image;
}

static void fill(bl_image *image, uint32_t x0, uint32_t y0, uint32_t w, uint32_t h, uint8_t value)
{
    for (uint32_t y = y0; y < y0 + h; y++)
        memset(image->pixels + ((size_t)y * image->width + x0) * image->channels, value, (size_t)w * image->channels);
}

/* Something like noise, so that a pixel that moved shows. */
static bl_image a_photo(uint32_t width, uint32_t height)
{
    bl_image photo = new_image(width, height, 3);
    uint32_t v = 1;
    for (size_t i = 0; i < (size_t)width * height * 3; i++)
        photo.pixels[i] = (uint8_t)((v = v * 1664525 + 1013904223) >> 24);
    return photo;
}

/* --- which part ---------------------------------------------------------------------------------------------------------- */

static void assert_crop(bl_crop c, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    if (c.x != x || c.y != y || c.width != width || c.height != height)
        fail_msg("%u,%u,%u,%u, expected %u,%u,%u,%u", c.x, c.y, c.width, c.height, x, y, width, height);
}

static void test_centred(void **state)
{
    (void)state;
    assert_crop(bl_crop_centred(100, 80, 64, 64), 10, 0, 80, 80);
    assert_crop(bl_crop_centred(100, 80, 128, 64), 0, 15, 100, 50);
    assert_crop(bl_crop_centred(1, 1, 64, 128), 0, 0, 1, 1);
    assert_crop(bl_crop_centred(16384, 1, 64, 64), 8191, 0, 1, 1);
}

static void test_around(void **state)
{
    (void)state;
    bl_image region = new_image(400, 300, 1);
    assert_crop(bl_crop_around(&region, 64, 64), 50, 0, 300, 300); /* nothing white: as without a mask */
    fill(&region, 100, 100, 10, 20, 255);
    assert_crop(bl_crop_around(&region, 64, 64), 73, 78, 64, 64);  /* as large as what is generated */
    assert_crop(bl_crop_around(&region, 16, 16), 90, 95, 30, 30);  /* half as large again as the mask */
    assert_crop(bl_crop_around(&region, 16, 32), 97, 94, 16, 32);
    assert_crop(bl_crop_around(&region, 512, 512), 0, 0, 300, 300); /* more than there is: all of it, as near as can be */
    fill(&region, 0, 0, 1, 1, 1); /* any pixel that is not black; a corner */
    assert_crop(bl_crop_around(&region, 16, 16), 0, 0, 180, 180);
    fill(&region, 399, 299, 1, 1, 1);
    assert_crop(bl_crop_around(&region, 16, 16), 50, 0, 300, 300); /* more than fits: as much as there is */
    bl_image_free(&region);
}

static void test_parse(void **state)
{
    (void)state;
    bl_crop c;
    assert_int_equal(bl_crop_parse("10,20,30,40", 40, 60, &c), BL_OK);
    assert_crop(c, 10, 20, 30, 40);
    static const char *const wrong[] = { "", "10", "10,20,30", "10,20,30,40,", "10,20,30,40,50", "10,20,30,", ",,,", "-1,0,5,5", "1, 2,3,4",
        "1,2,3,4 ", "0x1,2,3,4", "1.5,2,3,4", "123456,0,1,1", "center" };
    for (size_t i = 0; i < BL_COUNT(wrong); i++) {
        assert_int_equal(bl_crop_parse(wrong[i], 40, 60, &c), BL_ERROR_USAGE);
        assert_non_null(strstr(bl_last_error(), "must be auto, none or X,Y,WIDTH,HEIGHT"));
    }
    static const char *const outside[] = { "0,0,0,5", "0,0,5,0", "40,0,1,1", "0,60,1,1", "10,0,31,60", "0,20,40,41", "99999,0,1,1" };
    for (size_t i = 0; i < BL_COUNT(outside); i++) {
        assert_int_equal(bl_crop_parse(outside[i], 40, 60, &c), BL_ERROR_USAGE);
        assert_non_null(strstr(bl_last_error(), "does not lie inside a photo of 40x60"));
    }
}

/* --- there and back -------------------------------------------------------------------------------------------------------- */

static const bl_context context; /* logs nowhere */

static bl_photo_spec spec_of(const bl_image *photo, const bl_image *mask, const char *crop)
{
    return (bl_photo_spec){ .context = &context, .photo = photo, .mask = mask, .crop = crop, .width = 64, .height = 64, .factor = 4 };
}

/* What a model might give back: everything is black, and the mask of what changed is half of the part. */
static void black_result(bl_generate_result *made)
{
    *made = (bl_generate_result){ .image = new_image(64, 64, 3), .mask = new_image(64, 64, 1) };
    fill(&made->mask, 16, 16, 32, 32, 255);
}

/* The photo's own where the mask is not near, black deep inside it; the mask 0 or 255, and black outside the crop. */
static void check_result(const bl_photo *p, const bl_image *photo, const bl_generate_result *made)
{
    const bl_crop c = p->crop;
    size_t black = 0;
    assert_int_equal(made->image.width, photo->width);
    assert_int_equal(made->image.height, photo->height);
    assert_int_equal(made->mask.width, photo->width);
    assert_int_equal(made->mask.height, photo->height);
    for (uint32_t y = 0; y < photo->height; y++)
        for (uint32_t x = 0; x < photo->width; x++) {
            const size_t i = (size_t)y * photo->width + x;
            const bool inside = x >= c.x && x < c.x + c.width && y >= c.y && y < c.y + c.height;
            const double u = 64 * (x - c.x + 0.5) / c.width, v = 64 * (y - c.y + 0.5) / c.height; /* in the part */
            const bool deep = inside && u > 18 && u < 46 && v > 18 && v < 46, far = !inside || u < 10 || u > 54 || v < 10 || v > 54;
            const uint8_t mask = made->mask.pixels[i];
            assert_true(mask == 0 || mask == 255);
            if (far && (mask || memcmp(made->image.pixels + 3 * i, photo->pixels + 3 * i, 3)))
                fail_msg("(%u, %u) is not the photo's", x, y);
            if (deep && (!mask || made->image.pixels[3 * i]))
                fail_msg("(%u, %u) is the photo's", x, y);
            black += deep;
        }
    assert_true(black > 0);
}

static void there_and_back(uint32_t width, uint32_t height, const char *crop, bool masked)
{
    bl_image photo = a_photo(width, height), mask = new_image(width, height, 1);
    fill(&mask, width / 2, height / 3, BL_MAX(width / 8, 1), BL_MAX(height / 8, 1), 255);
    const bl_photo_spec spec = spec_of(&photo, masked ? &mask : NULL, crop);
    bl_photo p;
    bl_generate_result made;
    black_result(&made);
    if (bl_photo_prepare(&spec, &p) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_int_equal(p.part.width, 64);
    assert_int_equal(p.part.height, 64);
    assert_true(!masked == !p.mask && !masked == !p.part_region.pixels);
    assert_int_equal(bl_photo_return(&p, NULL, 0, 0, false, &made), BL_OK);
    check_result(&p, &photo, &made);
    if (masked) /* what was given, as far as it is generated */
        for (uint32_t y = 0; y < height; y++)
            for (uint32_t x = 0; x < width; x++) {
                const bool in = x >= p.crop.x && x < p.crop.x + p.crop.width && y >= p.crop.y && y < p.crop.y + p.crop.height;
                assert_int_equal(made.region.pixels[y * width + x], in ? mask.pixels[y * width + x] : 0);
            }
    else
        assert_null(made.region.pixels);
    assert_memory_equal(made.photo.pixels, photo.pixels, (size_t)width * height * 3);
    bl_generate_result_free(&made);
    bl_photo_free(&p);
    bl_image_free(&photo);
    bl_image_free(&mask);
}

static void test_there_and_back(void **state)
{
    (void)state;
    there_and_back(64, 64, "auto", true);      /* nothing is resized */
    there_and_back(64, 64, "auto", false);
    there_and_back(1000, 700, "auto", true);   /* much smaller than the photo */
    there_and_back(1000, 700, "auto", false);
    there_and_back(701, 1003, "100,200,501,400", true);
    there_and_back(701, 1003, "100,200,501,400", false);
    there_and_back(40, 50, "auto", true);      /* smaller than what is generated */
}

/* The part of 64 pixels around a small mask in a large photo is the photo's, unscaled. */
static void test_small_mask_keeps_its_pixels(void **state)
{
    (void)state;
    bl_image photo = a_photo(900, 600), mask = new_image(900, 600, 1);
    fill(&mask, 300, 200, 3, 1, 255);
    const bl_photo_spec spec = spec_of(&photo, &mask, "auto");
    bl_photo p;
    assert_int_equal(bl_photo_prepare(&spec, &p), BL_OK);
    assert_crop(p.crop, 269, 168, 64, 64);
    for (uint32_t y = 0; y < 64; y++)
        assert_memory_equal(p.part.pixels + y * 64 * 3, photo.pixels + ((168 + y) * 900 + 269) * 3, 64 * 3);
    double cells = 0;
    for (int i = 0; i < 16 * 16; i++)
        cells += (double)p.mask[i];
    assert_true(cells == 2); /* pixels 31 to 33 */
    bl_photo_free(&p);

    /* one pixel, in a photo that is shrunk to an eighth: not lost */
    const bl_photo_spec whole = spec_of(&photo, &mask, "0,0,512,512");
    assert_int_equal(bl_photo_prepare(&whole, &p), BL_OK);
    assert_non_null(memchr(p.part_region.pixels, 255, 64 * 64));
    bl_photo_free(&p);

    /* outside of what is generated: refused, not ignored */
    const bl_photo_spec beside = spec_of(&photo, &mask, "600,300,100,100");
    assert_int_equal(bl_photo_prepare(&beside, &p), BL_ERROR_INPUT);
    assert_non_null(strstr(bl_last_error(), "nothing may change"));
    bl_photo_free(&p);
    bl_image_free(&photo);
    bl_image_free(&mask);
}

static void test_none(void **state)
{
    (void)state;
    bl_image photo = a_photo(100, 80), mask = new_image(50, 40, 1);
    fill(&mask, 20, 10, 10, 10, 255);
    const bl_photo_spec spec = spec_of(&photo, &mask, "none");
    bl_photo p;
    bl_generate_result made;
    black_result(&made);
    assert_int_equal(bl_photo_prepare(&spec, &p), BL_OK);
    assert_int_equal(bl_photo_return(&p, (float[4]){ 0, 1, 2, 3 }, 2, 2, true, &made), BL_OK);
    const bl_image *all[] = { &made.image, &made.mask, &made.region, &made.photo, &made.attention };
    for (size_t i = 0; i < BL_COUNT(all); i++) {
        assert_int_equal(all[i]->width, 64);
        assert_int_equal(all[i]->height, 64);
    }
    for (size_t i = 0; i < 64 * 64 * 3; i++) /* --whole */
        assert_int_equal(made.image.pixels[i], 0);
    bl_generate_result_free(&made);
    bl_photo_free(&p);
    bl_image_free(&photo);
    bl_image_free(&mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_centred), cmocka_unit_test(test_around), cmocka_unit_test(test_parse), cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_small_mask_keeps_its_pixels), cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
