/* Frames of cameras: every format, rows with space between them, and frames that would read or write where they must not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "image.h"
#include <stdlib.h>
#include <string.h>

enum { W = 3, H = 2 };

/* Exactly `size` bytes, so that a sanitizer sees one too many. */
static void *memory(size_t size, const void *from)
{
    void *p = malloc(size);
    assert_non_null(p);
    memcpy(p, from, size);
    return p;
}

static void expect(const bl_frame *frame, const uint8_t pixels[W * H * 3])
{
    bl_image image;
    assert_int_equal(bl_image_from_frame(frame, &image), BL_OK);
    assert_int_equal(image.width, W);
    assert_int_equal(image.height, H);
    assert_int_equal(image.channels, 3);
    assert_memory_equal(image.pixels, pixels, W * H * 3);
    bl_image_free(&image);
}

static void test_formats(void **state)
{
    (void)state;
    static const uint8_t mono[] = { 1, 2, 3, 99, 99, 4, 5, 6 }, grey[] = { 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6 };
    bl_frame f = { memory(8, mono), 8, 5, W, H, BL_PIXEL_MONO8, 0 };
    expect(&f, grey);
    free(f.pixels);

    /* 12 bits that count, at an odd address */
    static const uint16_t wide[] = { 0x01f, 0x020, 0x03f, 0x040, 0x05f, 0x06f };
    uint8_t odd[13] = { 0 };
    memcpy(odd + 1, wide, 12);
    f = (bl_frame){ odd + 1, 12, 0, W, H, BL_PIXEL_MONO16, 12 };
    expect(&f, grey);
    f.bits = 0;
    expect(&f, (uint8_t[18]){ 0 });

    static const uint8_t colour[18] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18 },
                         turned[18] = { 3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10, 15, 14, 13, 18, 17, 16 };
    f = (bl_frame){ memory(18, colour), 18, 0, W, H, BL_PIXEL_RGB8, 0 };
    expect(&f, colour);
    f.format = BL_PIXEL_BGR8;
    expect(&f, turned);
    free(f.pixels);
}

static void test_back(void **state)
{
    (void)state;
    uint8_t colour[18], out[2 * 11 - 2];
    for (uint8_t i = 0; i < sizeof(colour); i++)
        colour[i] = i;
    const bl_image image = { W, H, 3, colour }, grey = { W, H, 1, colour };
    memset(out, 0xee, sizeof(out));
    bl_frame f = { out, sizeof(out), 11, W, H, BL_PIXEL_BGR8, 0 };
    assert_int_equal(bl_image_to_frame(&image, &f), BL_OK);
    static const uint8_t rows[20] = { 2, 1, 0, 5, 4, 3, 8, 7, 6, 0xee, 0xee, 11, 10, 9, 14, 13, 12, 17, 16, 15 };
    assert_memory_equal(out, rows, sizeof(out));
    bl_image again;
    assert_int_equal(bl_image_from_frame(&f, &again), BL_OK);
    assert_memory_equal(again.pixels, colour, sizeof(colour));
    bl_image_free(&again);
    f = (bl_frame){ out, 6, 0, W, H, BL_PIXEL_MONO8, 0 };
    assert_int_equal(bl_image_to_frame(&grey, &f), BL_OK);
    assert_memory_equal(out, colour, 6);

    assert_int_equal(bl_image_to_frame(&image, &f), BL_ERROR_USAGE); /* colour into grey */
    f.format = BL_PIXEL_MONO16;
    f.size = 12;
    assert_int_equal(bl_image_to_frame(&grey, &f), BL_ERROR_USAGE);
    f = (bl_frame){ out, 18, 0, H, W, BL_PIXEL_RGB8, 0 };
    assert_int_equal(bl_image_to_frame(&image, &f), BL_ERROR_USAGE);
    assert_int_equal(bl_image_to_frame(&(bl_image){ 0 }, &f), BL_ERROR_USAGE);
}

static void test_refused(void **state)
{
    (void)state;
    static uint8_t p[64];
    static const uint16_t wide[6] = { 0, 0, 0, 0, 0x1000, 0 };
    static const struct { bl_frame frame; bl_result result; const char *reason; } cases[] = {
        { { NULL, 64, 0, W, H, BL_PIXEL_MONO8, 0 }, BL_ERROR_USAGE, "no pixels" },
        { { p, 64, 0, W, H, (bl_pixel_format)4, 0 }, BL_ERROR_USAGE, "unknown pixel format 4" },
        { { p, 64, 0, W, H, (bl_pixel_format)-1, 0 }, BL_ERROR_USAGE, "unknown pixel format" },
        { { p, 64, 0, 0, H, BL_PIXEL_MONO8, 0 }, BL_ERROR_USAGE, "not 0x2" },
        { { p, 64, 0, W, 16385, BL_PIXEL_MONO8, 0 }, BL_ERROR_USAGE, "not 3x16385" },
        { { p, 64, 2, W, H, BL_PIXEL_MONO8, 0 }, BL_ERROR_USAGE, "2 bytes apart, 3 mono8 pixels need 3" },
        { { p, 64, 8, W, H, BL_PIXEL_RGB8, 0 }, BL_ERROR_USAGE, "3 RGB pixels need 9" },
        { { p, 7, 5, W, H, BL_PIXEL_MONO8, 0 }, BL_ERROR_USAGE, "has 7 bytes, 2 rows 5 bytes apart need more" },
        { { p, 64, SIZE_MAX, W, 3, BL_PIXEL_MONO8, 0 }, BL_ERROR_USAGE, "need more" },
        { { p, 64, SIZE_MAX, W, H, BL_PIXEL_MONO8, 0 }, BL_ERROR_USAGE, "need more" },
        { { p, 64, 0, W, H, BL_PIXEL_MONO8, 12 }, BL_ERROR_USAGE, "a mono8 frame of 12 bits" },
        { { p, 64, 0, W, H, BL_PIXEL_MONO16, 8 }, BL_ERROR_USAGE, "mono16 takes 9 to 16" },
        { { p, 64, 0, W, H, BL_PIXEL_MONO16, 17 }, BL_ERROR_USAGE, "mono16 takes 9 to 16" },
        { { (void *)(uintptr_t)wide, 12, 0, W, H, BL_PIXEL_MONO16, 12 }, BL_ERROR_INPUT, "pixel (1, 1) is 4096, more than 12 bits hold" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_image image = { 1, 1, 1, p };
        assert_int_equal(bl_image_from_frame(&cases[i].frame, &image), cases[i].result);
        assert_non_null(strstr(bl_last_error(), cases[i].reason));
        assert_null(image.pixels);
    }
    bl_image image;
    assert_int_equal(bl_image_from_frame(NULL, &image), BL_ERROR_USAGE);
    assert_int_equal(bl_image_from_frame(&cases[0].frame, NULL), BL_ERROR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_formats), cmocka_unit_test(test_back), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
