/* For tests of pictures: host memory that is counted and can run out, a file made byte by byte, and what decoding it must give.
 * Included once per test program, behind cmocka.h. */
#ifndef IMAGE_FILES_H
#define IMAGE_FILES_H
#include "base.h"
#include "image.h"
#include <stdlib.h>
#include <string.h>

/* --- memory that is counted and can run out ---------------------------------------------------------------------------- */

typedef union head { size_t size; max_align_t align; } head;
static size_t live, peak;   /* bytes */
static long until_failure;  /* calls that still succeed before one fails; -1: none fails */

static inline void *counted_resize(void *p, size_t size)
{
    if (until_failure >= 0 && until_failure-- == 0)
        return NULL;
    head *h = p ? (head *)p - 1 : NULL;
    const size_t before = h ? h->size : 0;
    h = realloc(h, sizeof(head) + size);
    if (!h)
        return NULL;
    h->size = size;
    live = live - before + size;
    peak = BL_MAX(peak, live);
    return h + 1;
}

static inline void counted_release(void *p)
{
    head *h = (head *)p - 1;
    live -= h->size;
    free(h);
}

static inline int start(void **state)
{
    (void)state;
    until_failure = -1;
    bl_memory = (bl_memory_api){ counted_resize, counted_release };
    return 0;
}

static inline int stop(void **state)
{
    (void)state;
    return live != 0; /* nothing leaks, whatever the test did */
}

/* --- files under construction -------------------------------------------------------------------------------------------- */

static uint8_t file[1 << 17];
static size_t file_size;

static inline void put(const void *data, size_t n)
{
    assert_true(file_size + n <= sizeof(file));
    if (n)
        memcpy(file + file_size, data, n);
    file_size += n;
}

/* --- expectations -------------------------------------------------------------------------------------------------------- */

/* The file is refused with these words, and leaves nothing behind. */
static inline void refuse(const char *words)
{
    bl_image image;
    memset(&image, 0x55, sizeof(image));
    const size_t before = live;
    peak = live;
    const bl_result r = bl_image_decode(file, file_size, 3, &image);
    if (r != BL_ERROR_INPUT || !strstr(bl_last_error(), words))
        fail_msg("expected \"%s\", got %s: %s", words, bl_result_name(r), r ? bl_last_error() : "");
    assert_int_equal(live, before);
    assert_null(image.pixels);
    assert_int_equal(image.width | image.height | image.channels, 0);
}

static inline bl_image accept(uint32_t channels)
{
    bl_image image;
    if (bl_image_decode(file, file_size, channels, &image) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_int_equal(image.channels, channels);
    return image;
}

static inline void expect_pixels(uint32_t channels, uint32_t width, uint32_t height, const uint8_t *want)
{
    bl_image image = accept(channels);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_memory_equal(image.pixels, want, (size_t)width * height * channels);
    bl_image_free(&image);
}

/* Decodes the file with the first, the second, ... allocation failing, until none is left to fail. */
static inline void fail_each_decode(void)
{
    int failed = 0;
    for (long n = 0;; n++) {
        bl_image image;
        until_failure = n;
        const bl_result r = bl_image_decode(file, file_size, 3, &image);
        const bool all = until_failure >= 0; /* the failing call was not reached */
        until_failure = -1;
        if (all) {
            assert_int_equal(r, BL_OK);
            bl_image_free(&image);
            break;
        }
        assert_int_equal(r, BL_ERROR_MEMORY);
        assert_null(image.pixels);
        assert_int_equal(live, 0);
        failed++;
    }
    assert_true(failed >= 3);
}
#endif
