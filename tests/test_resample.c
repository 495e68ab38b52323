/* Resampling against Pillow: the same bytes for every filter. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "image_files.h"
#include "safetensors.h"
#include <stdio.h>
#include <zlib.h>

enum { FILTERS = 4 };

static bl_image new_image(uint32_t width, uint32_t height, uint32_t channels)
{
    bl_image image;
    assert_int_equal(bl_image_create(width, height, channels, &image), BL_OK);
    return image;
}

/* Ramps, edges between 0 and 255, and something like noise. */
static bl_image source(uint32_t width, uint32_t height, uint32_t channels)
{
    bl_image image = new_image(width, height, channels);
    uint8_t *p = image.pixels;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < channels; c++) {
                const uint32_t v = x * x * 7 + y * 13 + c * 71 + x * y * 3;
                *p++ = (uint8_t)((x / 5 + y / 3) % 2 ? v ^ 255 : v);
            }
    return image;
}

static bl_image resized(const bl_image *in, uint32_t width, uint32_t height, bl_filter filter)
{
    bl_image out;
    assert_int_equal(bl_image_resize(in, width, height, filter, &out), BL_OK);
    assert_int_equal(out.width, width);
    assert_int_equal(out.height, height);
    assert_int_equal(out.channels, in->channels);
    return out;
}

/* CRC-32 of Image.fromarray(source).resize((w, h), filter).tobytes(), NEAREST, BILINEAR, BICUBIC, LANCZOS, made once with Pillow 9.4.0.
 * (Pillow 13 runs the vertical pass first where that is less work, and rounds differently then.) */
static void test_equals_pillow(void **state)
{
    (void)state;
    static const struct { uint32_t w, h, channels, to_w, to_h, crc[FILTERS]; } cases[] = {
        { 13, 7, 3, 29, 17, { 0x417cdef1, 0x0e43782b, 0x1bfd9867, 0x01dea690 } },
        { 64, 48, 3, 9, 11, { 0x78d90705, 0x69c12d42, 0xc8d722ad, 0x733ec7eb } },
        { 17, 5, 1, 17, 23, { 0xc2ba571c, 0xbe0f576c, 0xafc6eef5, 0xc8f6980f } },
        { 31, 40, 1, 10, 40, { 0x8df218ee, 0x6036a3d0, 0xd6d83c52, 0x4a9f8894 } },
        { 5, 78, 3, 53, 3, { 0x5e4a639c, 0x237f76a3, 0xdb428a06, 0xe8b59470 } },
        { 100, 2, 1, 3, 90, { 0x0fceac17, 0x266b12fc, 0xf4005df0, 0x6932b24b } },
        { 1, 1, 3, 4, 3, { 0x81b254fa, 0x81b254fa, 0x81b254fa, 0x81b254fa } },
        { 2, 3, 1, 1, 1, { 0x51d16a4a, 0x21bb9ec5, 0x21bb9ec5, 0x21bb9ec5 } },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_image in = source(cases[i].w, cases[i].h, cases[i].channels);
        for (int f = 0; f < FILTERS; f++) {
            bl_image out = resized(&in, cases[i].to_w, cases[i].to_h, (bl_filter)f);
            const size_t n = (size_t)out.width * out.height * out.channels;
            if (crc32(crc32(0, NULL, 0), out.pixels, (uInt)n) != cases[i].crc[f])
                fail_msg("case %zu, filter %d", i, f);
            bl_image_free(&out);
        }
        bl_image_free(&in);
    }
}

/* The same, readable: 6x4 to 4x3. */
static void test_small_example(void **state)
{
    (void)state;
    static const uint8_t want[FILTERS][12] = {
        { 0x00, 0x1c, 0x3f, 0x50, 0x1a, 0x42, 0x6b, 0x18, 0xd8, 0xaa, 0x7e, 0x03 },
        { 0x07, 0x1e, 0x52, 0x5a, 0x18, 0x35, 0x6e, 0x50, 0x9c, 0x8d, 0x73, 0x2a },
        { 0x04, 0x18, 0x55, 0x5c, 0x10, 0x2c, 0x77, 0x51, 0xa8, 0x97, 0x74, 0x23 },
        { 0x06, 0x17, 0x55, 0x5d, 0x0b, 0x26, 0x7d, 0x53, 0xa9, 0x97, 0x77, 0x20 },
    };
    bl_image in = source(6, 4, 1);
    for (int f = 0; f < FILTERS; f++) {
        bl_image out = resized(&in, 4, 3, (bl_filter)f);
        assert_memory_equal(out.pixels, want[f], 12);
        bl_image_free(&out);
    }
    bl_image_free(&in);
}

/* Flat stays flat, as weights add up to 1; the same size is a copy; a whole factor of NEAREST repeats pixels. */
static void test_properties(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = { { 1, 1 }, { 3, 50 }, { 23, 19 }, { 200, 2 } };
    for (int f = 0; f < FILTERS; f++) {
        for (int v = 0; v < 256; v += 51) {
            bl_image in = new_image(23, 17, 1);
            memset(in.pixels, v, 23 * 17);
            for (size_t i = 0; i < BL_COUNT(sizes); i++) {
                bl_image out = resized(&in, sizes[i][0], sizes[i][1], (bl_filter)f);
                for (uint32_t j = 0; j < out.width * out.height; j++)
                    assert_int_equal(out.pixels[j], v);
                bl_image_free(&out);
            }
            bl_image_free(&in);
        }
        bl_image in = source(23, 17, 3), same = resized(&in, 23, 17, (bl_filter)f);
        assert_memory_equal(in.pixels, same.pixels, 23 * 17 * 3);
        bl_image_free(&same);
        bl_image_free(&in);
    }
    bl_image in = source(5, 4, 3), out = resized(&in, 15, 8, BL_FILTER_NEAREST);
    for (uint32_t y = 0; y < 8; y++)
        for (uint32_t x = 0; x < 15; x++)
            assert_memory_equal(out.pixels + (y * 15 + x) * 3, in.pixels + (y / 2 * 5 + x / 3) * 3, 3);
    bl_image_free(&out);
    bl_image_free(&in);
}

/* What is out of range; and rows in between are never held all at once. */
static void test_limits(void **state)
{
    (void)state;
    bl_image in = source(8, 9, 1), out;
    memset(&out, 0x55, sizeof(out));
    static const uint32_t sizes[][2] = { { 0, 4 }, { 4, 0 }, { 16385, 1 }, { 16384, 16384 }, { UINT32_MAX, UINT32_MAX } };
    for (size_t i = 0; i < BL_COUNT(sizes); i++) {
        assert_int_equal(bl_image_resize(&in, sizes[i][0], sizes[i][1], BL_FILTER_BICUBIC, &out), BL_ERROR_USAGE);
        assert_null(out.pixels);
    }
    assert_int_equal(bl_image_resize(&in, 4, 4, (bl_filter)4, &out), BL_ERROR_USAGE);
    assert_int_equal(bl_image_resize(&in, 4, 4, (bl_filter)-1, &out), BL_ERROR_USAGE);
    assert_int_equal(bl_image_resize(NULL, 4, 4, BL_FILTER_BICUBIC, &out), BL_ERROR_USAGE);
    assert_int_equal(bl_image_resize(&in, 4, 4, BL_FILTER_BICUBIC, NULL), BL_ERROR_USAGE);
    bl_image two = in;
    two.channels = 2;
    assert_int_equal(bl_image_resize(&two, 4, 4, BL_FILTER_BICUBIC, &out), BL_ERROR_USAGE);
    bl_image_free(&in);

    in = source(2, 16384, 1);
    peak = live;
    out = resized(&in, 4096, 8192, BL_FILTER_LANCZOS);
    assert_true(peak < (size_t)4096 * 8192 + (2 << 20));
    bl_image_free(&out);
    bl_image_free(&in);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    bl_image in = source(20, 30, 3);
    const size_t before = live;
    for (int f = 0; f < FILTERS; f++) {
        long n = 0;
        for (;; n++) {
            bl_image out;
            until_failure = n;
            const bl_result r = bl_image_resize(&in, 7, 40, (bl_filter)f, &out);
            until_failure = -1;
            if (r == BL_OK) {
                bl_image_free(&out);
                break;
            }
            assert_int_equal(r, BL_ERROR_MEMORY);
            assert_null(out.pixels);
            assert_int_equal(live, before);
        }
        assert_true(n >= 2);
    }
    bl_image_free(&in);
}

/* --- against reference data ------------------------------------------------------------------------------------------------ */

static bl_safetensors *golden;
static char photos[512];

/* The tensor [h, w] or [h, w, 3] of bytes as a picture. */
static bl_image golden_image(const char *name)
{
    const bl_file_tensor *t = bl_safetensors_find(golden, name);
    assert_non_null(t);
    bl_image image = new_image((uint32_t)t->dims[1], (uint32_t)t->dims[0], t->rank == 3 ? (uint32_t)t->dims[2] : 1);
    assert_int_equal(bl_safetensors_read_raw(golden, t, 0, (size_t)t->bytes, image.pixels), BL_OK);
    return image;
}

static bl_image photo(const char *name, uint32_t channels)
{
    char path[600];
    bl_image image;
    snprintf(path, sizeof(path), "%s/%s", photos, name);
    if (bl_image_read(path, channels, &image) != BL_OK)
        fail_msg("%s", bl_last_error());
    return image;
}

static void expect_golden(const bl_image *in, bl_filter filter, const char *name)
{
    bl_image want = golden_image(name), got = resized(in, want.width, want.height, filter);
    const size_t n = (size_t)want.width * want.height * want.channels;
    if (strncmp(name, "mask", 4) == 0)
        for (size_t i = 0; i < n; i++)
            got.pixels[i] = got.pixels[i] != 0; /* masks are kept as 0 and 1 */
    assert_int_equal(got.channels, want.channels);
    if (memcmp(got.pixels, want.pixels, n))
        fail_msg("%s differs", name);
    bl_image_free(&want);
    bl_image_free(&got);
}

static void test_reference(void **state)
{
    (void)state;
    const char *root = getenv("BLEMISH_REFERENCE");
    if (!root) {
        if (getenv("CI"))
            fail_msg("BLEMISH_REFERENCE is not set");
        skip();
    }
    char path[600];
    snprintf(path, sizeof(path), "%s/golden/images.safetensors", root);
    snprintf(photos, sizeof(photos), "%s/photos", root);
    assert_int_equal(bl_safetensors_open(path, BL_ERROR_INPUT, &golden), BL_OK);
    bl_image hazelnut = photo("hazelnut.png", 3), mask = photo("hazelnut_mask.png", 1);
    bl_image thumbnail = golden_image("thumbnail512"), crop = golden_image("up_crop_src");
    expect_golden(&hazelnut, BL_FILTER_LANCZOS, "lanczos256");
    expect_golden(&hazelnut, BL_FILTER_BICUBIC, "thumbnail512"); /* Image.thumbnail is bicubic; half the size needs no reduction first */
    expect_golden(&thumbnail, BL_FILTER_LANCZOS, "thumb_lanczos256");
    expect_golden(&crop, BL_FILTER_LANCZOS, "lanczos_up_crop");
    expect_golden(&mask, BL_FILTER_NEAREST, "mask64");
    expect_golden(&mask, BL_FILTER_NEAREST, "mask32");
    bl_image_free(&hazelnut);
    bl_image_free(&mask);
    bl_image_free(&thumbnail);
    bl_image_free(&crop);
    bl_image table = photo("table.jpg", 3);
    assert_int_equal(table.width, 216);
    assert_int_equal(table.height, 240);
    bl_image_free(&table);
    bl_safetensors_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_equals_pillow, start, stop),
        cmocka_unit_test_setup_teardown(test_small_example, start, stop),
        cmocka_unit_test_setup_teardown(test_properties, start, stop),
        cmocka_unit_test_setup_teardown(test_limits, start, stop),
        cmocka_unit_test_setup_teardown(test_memory_runs_out, start, stop),
        cmocka_unit_test_setup_teardown(test_reference, start, stop),
    };
    return cmocka_run_group_tests_name("resample", tests, NULL, NULL);
}
