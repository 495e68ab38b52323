/* Pictures in and out: reading PNG, refusing what is broken or of another format, writing PNG with texts, memory running out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "image_files.h"
#include "exif.h"
#include "png.h"
#include <math.h>
#include <stdio.h>
#include <unistd.h>
#include <zlib.h>

/* --- PNG files under construction ------------------------------------------------------------------------------------- */

static void put32(uint32_t v) { put((uint8_t[4]){ (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v }, 4); }

static void chunk(const char *type, const void *data, size_t n)
{
    put32((uint32_t)n);
    put(type, 4);
    put(data, n);
    put32((uint32_t)crc32(crc32(0, NULL, 0), file + file_size - 4 - n, (uInt)(4 + n)));
}

static void header_of(uint32_t w, uint32_t h, int depth, int color, int compression, int filter, int interlace)
{
    file_size = 0;
    put("\x89PNG\r\n\x1a\n", 8);
    uint8_t d[13] = { (uint8_t)(w >> 24), (uint8_t)(w >> 16), (uint8_t)(w >> 8), (uint8_t)w, (uint8_t)(h >> 24), (uint8_t)(h >> 16),
                      (uint8_t)(h >> 8), (uint8_t)h, (uint8_t)depth, (uint8_t)color, (uint8_t)compression, (uint8_t)filter,
                      (uint8_t)interlace };
    chunk("IHDR", d, 13);
}

static void header(uint32_t w, uint32_t h, int depth, int color) { header_of(w, h, depth, color, 0, 0, 0); }

/* `raw`: rows with their filter bytes. */
static void pixels(const void *raw, size_t n)
{
    uLongf size = compressBound((uLong)n);
    uint8_t *packed = malloc(size);
    assert_non_null(packed);
    assert_int_equal(compress2(packed, &size, raw, (uLong)n, 9), Z_OK);
    chunk("IDAT", packed, size);
    free(packed);
}

static void end(void) { chunk("IEND", NULL, 0); }

static const uint8_t grey_rows[] = { 0, 10, 20, 0, 30, 40 }; /* 2x2 */

static void small_png(void)
{
    header(2, 2, 8, 0);
    pixels(grey_rows, sizeof(grey_rows));
    end();
}

/* --- PNG, read ----------------------------------------------------------------------------------------------------------- */

static void test_alpha(void **state)
{
    (void)state;
    uint8_t raw[64 * (1 + 256 * 2)];
    size_t n = 0;
    for (int c = 0; c < 256; c += 4) {
        raw[n++] = 0;
        for (int a = 0; a < 256; a++) {
            raw[n++] = (uint8_t)(c + a % 4);
            raw[n++] = (uint8_t)a;
        }
    }
    header(256, 64, 8, 4);
    pixels(raw, n);
    end();
    bl_image image = accept(3);
    for (int y = 0; y < 64; y++)
        for (int a = 0; a < 256; a++) {
            const double want = floor(((4 * y + a % 4) * (double)a + 255.0 * (255 - a)) / 255.0 + 0.5);
            for (int c = 0; c < 3; c++)
                assert_int_equal(image.pixels[(y * 256 + a) * 3 + c], (int)want);
        }
    bl_image_free(&image);
}

static void test_png_kinds(void **state)
{
    (void)state;
    small_png();
    expect_pixels(1, 2, 2, (uint8_t[]){ 10, 20, 30, 40 });
    expect_pixels(3, 2, 2, (uint8_t[]){ 10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40 });
    /* Luma of the primaries and of white, and RGB as it is. */
    header(2, 2, 8, 2);
    static const uint8_t rgb[] = { 0, 255, 0, 0, 0, 255, 0, 0, 0, 0, 255, 255, 255, 255 };
    pixels(rgb, sizeof(rgb));
    end();
    expect_pixels(1, 2, 2, (uint8_t[]){ 76, 150, 29, 255 });
    expect_pixels(3, 2, 2, (uint8_t[]){ 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255 });
    /* The colour that tRNS names is transparent, so white. */
    header(2, 2, 8, 2);
    chunk("tRNS", "\0\0\0\xff\0\0", 6);
    pixels(rgb, sizeof(rgb));
    end();
    expect_pixels(3, 2, 2, (uint8_t[]){ 255, 0, 0, 255, 255, 255, 0, 0, 255, 255, 255, 255 });
    /* RGBA: an opaque and a clear pixel. */
    header(2, 1, 8, 6);
    pixels("\0\1\2\3\xff\1\2\3\0", 9);
    end();
    expect_pixels(3, 2, 1, (uint8_t[]){ 1, 2, 3, 255, 255, 255 });
    /* 16 bits: the high byte, never rounded up. */
    header(2, 1, 16, 0);
    pixels("\0\x12\xff\x80\x00", 5);
    end();
    expect_pixels(1, 2, 1, (uint8_t[]){ 0x12, 0x80 });
    /* Grey of 2 bits is spread over 0-255. */
    header(4, 1, 2, 0);
    pixels("\0\x1b", 2);
    end();
    expect_pixels(1, 4, 1, (uint8_t[]){ 0, 85, 170, 255 });
    /* Unknown ancillary chunks and split pixel data do not matter. */
    header(2, 2, 8, 0);
    chunk("abCd", "x", 1);
    pixels(grey_rows, sizeof(grey_rows));
    chunk("tIME", "1234567", 7);
    end();
    expect_pixels(1, 2, 2, (uint8_t[]){ 10, 20, 30, 40 });
}

static void test_palette(void **state)
{
    (void)state;
    static const uint8_t palette[] = { 10, 20, 30, 40, 50, 60, 70, 80, 90 };
    static const struct { int depth; const char *row; size_t size; } rows[] = {
        { 1, "\0\x60", 2 }, { 2, "\0\x14", 2 }, { 4, "\0\x01\x10", 3 }, { 8, "\0\0\1\1\0", 5 },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) { /* indices 0 1 1 0 at every depth */
        header(4, 1, rows[i].depth, 3);
        chunk("PLTE", palette, 6);
        pixels(rows[i].row, rows[i].size);
        end();
        expect_pixels(3, 4, 1, (uint8_t[]){ 10, 20, 30, 40, 50, 60, 40, 50, 60, 10, 20, 30 });
    }
    header(2, 1, 8, 3);
    chunk("PLTE", palette, 9);
    chunk("tRNS", "\0\x80", 2); /* the third colour is opaque */
    pixels("\0\0\2", 3);
    end();
    expect_pixels(3, 2, 1, (uint8_t[]){ 255, 255, 255, 70, 80, 90 });

    header(3, 2, 8, 3);
    chunk("PLTE", palette, 9);
    pixels("\0\0\1\2\0\0\1\3", 8);
    end();
    refuse("pixel (2, 1) has colour 3 of a palette of 3");
    header(4, 1, 2, 3);
    chunk("PLTE", palette, 6);
    pixels("\0\x1b", 2);
    end();
    refuse("pixel (2, 0) has colour 2 of a palette of 2");
}

static void test_interlaced(void **state)
{
    (void)state;
    static const int x0[7] = { 0, 4, 0, 2, 0, 1, 0 }, y0[7] = { 0, 0, 4, 0, 2, 0, 1 };
    static const int dx[7] = { 8, 8, 4, 4, 2, 2, 1 }, dy[7] = { 8, 8, 8, 4, 4, 2, 2 };
    uint8_t raw[200], want[9 * 11];
    size_t n = 0;
    for (int i = 0; i < 9 * 11; i++)
        want[i] = (uint8_t)(i * 2 + 7);
    for (int p = 0; p < 7; p++)
        for (int y = y0[p]; y < 11; y += dy[p]) {
            raw[n++] = 0;
            for (int x = x0[p]; x < 9; x += dx[p])
                raw[n++] = want[y * 9 + x];
        }
    header_of(9, 11, 8, 0, 0, 0, 1);
    pixels(raw, n);
    end();
    expect_pixels(1, 9, 11, want);
}

/* One byte order or the other, an entry before it; 2 x 3 pixels, numbered. Where each orientation puts the numbers is written down from
 * the meanings in the specification: the stored row 0 is seen at the top, top, bottom, bottom, left, right, right, left. */
static void test_orientation(void **state)
{
    (void)state;
    static const struct { uint32_t value; bool swapped; uint8_t seen[6]; } cases[] = {
        { 1, false, { 0, 1, 2, 3, 4, 5 } }, { 2, false, { 1, 0, 3, 2, 5, 4 } }, { 3, false, { 5, 4, 3, 2, 1, 0 } },
        { 4, false, { 4, 5, 2, 3, 0, 1 } }, { 5, true, { 0, 2, 4, 1, 3, 5 } }, { 6, true, { 4, 2, 0, 5, 3, 1 } },
        { 7, true, { 5, 3, 1, 4, 2, 0 } }, { 8, true, { 1, 3, 5, 0, 2, 4 } },
        { 0, false, { 0, 1, 2, 3, 4, 5 } }, { 9, false, { 0, 1, 2, 3, 4, 5 } }, { 0x106, false, { 0, 1, 2, 3, 4, 5 } },
    };
    static const uint8_t rows[] = { 0, 0, 1, 0, 2, 3, 0, 4, 5 };
    for (size_t i = 0; i < 2 * BL_COUNT(cases); i++) {
        const bool little = i & 1;
        const uint8_t high = (uint8_t)(cases[i / 2].value >> 8), low = (uint8_t)cases[i / 2].value;
        uint8_t big_exif[] = { 'M', 'M', 0, '*', 0, 0, 0, 8, 0, 2, 1, 0x10, 0, 2, 0, 0, 0, 1, 'x', 0, 0, 0,
                               1, 0x12, 0, 3, 0, 0, 0, 1, high, low, 0, 0, 0, 0, 0, 0 };
        uint8_t little_exif[] = { 'I', 'I', '*', 0, 8, 0, 0, 0, 2, 0, 0x10, 1, 2, 0, 1, 0, 0, 0, 'x', 0, 0, 0,
                                  0x12, 1, 3, 0, 1, 0, 0, 0, low, high, 0, 0, 0, 0, 0, 0 };
        header(2, 3, 8, 0);
        chunk("eXIf", little ? little_exif : big_exif, sizeof(big_exif));
        pixels(rows, sizeof(rows));
        end();
        expect_pixels(1, cases[i / 2].swapped ? 3 : 2, cases[i / 2].swapped ? 2 : 3, cases[i / 2].seen);
    }
    /* cut off anywhere, and offsets that lead nowhere: as it is stored */
    uint8_t exif[] = { 'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0 };
    for (size_t n = 0; n < sizeof(exif); n++) {
        uint8_t *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, exif, n);
        assert_int_equal(bl_exif_orientation(copy, n), 1);
        free(copy);
    }
    assert_int_equal(bl_exif_orientation(exif, sizeof(exif)), 6);
    for (uint32_t at = 0; at < 256; at++) {
        exif[4] = (uint8_t)(at & 1 ? 0xff : 0);
        exif[7] = (uint8_t)at;
        assert_true(bl_exif_orientation(exif, sizeof(exif)) == (at == 8 ? 6 : 1));
    }
}

static void test_hostile_png(void **state)
{
    (void)state;
    small_png();
    const size_t whole = file_size;
    for (size_t cut = 8; cut < whole; cut++) { /* cut off anywhere behind the signature */
        small_png();
        file_size = cut;
        refuse("cut off");
    }
    for (size_t at = 16; at < whole; at++) { /* a changed bit anywhere behind the header's name is found */
        small_png();
        file[at] ^= 0x20;
        refuse("PNG: ");
    }
    file_size = 0;
    refuse("the file is empty");
    small_png();
    file[29] ^= 1;
    refuse("wrong checksum of chunk IHDR");
    small_png();
    put("more", 4);
    refuse("4 bytes follow the end of the picture");
    small_png();
    file_size -= 12;
    refuse("without its end chunk IEND");
    small_png();
    file_size -= 12;
    chunk("IEND", "x", 1);
    refuse("the end chunk IEND holds 1 bytes");

    static const struct { uint32_t w, h; int depth, color, compression, filter, interlace; const char *words; } headers[] = {
        { 0, 2, 8, 0, 0, 0, 0, "has no pixels" },
        { 2, 0, 8, 0, 0, 0, 0, "has no pixels" },
        { 0x7fffffff, 0x7fffffff, 16, 6, 0, 0, 0, "16384 pixels on a side" },
        { 0xffffffff, 1, 8, 0, 0, 0, 0, "16384 pixels on a side" },
        { 16385, 300, 8, 0, 0, 0, 0, "16384 pixels on a side" },
        { 16384, 16384, 8, 2, 0, 0, 0, "at most 64 Mpixel" },
        { 8192, 8193, 1, 0, 0, 0, 0, "at most 64 Mpixel" },
        { 8192, 8192, 8, 2, 0, 0, 0, "cannot hold a picture of 8192x8192" },
        { 65, 1, 8, 0, 0, 0, 0, "at most 64:1" },
        { 2, 130, 8, 0, 0, 0, 0, "at most 64:1" },
        { 2, 2, 3, 0, 0, 0, 0, "no colour type 0 of 3 bits" },
        { 2, 2, 4, 2, 0, 0, 0, "no colour type 2 of 4 bits" },
        { 2, 2, 16, 3, 0, 0, 0, "no colour type 3 of 16 bits" },
        { 2, 2, 8, 5, 0, 0, 0, "no colour type 5" },
        { 2, 2, 8, 7, 0, 0, 0, "no colour type 7" },
        { 2, 2, 0, 0, 0, 0, 0, "no colour type 0 of 0 bits" },
        { 2, 2, 8, 0, 1, 0, 0, "unknown compression 1" },
        { 2, 2, 8, 0, 0, 9, 0, "filter 9" },
        { 2, 2, 8, 0, 0, 0, 2, "interlacing 2" },
        { 2, 3, 8, 0, 0, 0, 0, "cannot be decoded" }, /* a row is missing */
        { 64, 64, 8, 6, 0, 0, 0, "cannot be decoded" },
    };
    for (size_t i = 0; i < BL_COUNT(headers); i++) {
        header_of(headers[i].w, headers[i].h, headers[i].depth, headers[i].color, headers[i].compression, headers[i].filter,
                  headers[i].interlace);
        pixels(grey_rows, sizeof(grey_rows));
        end();
        refuse(headers[i].words);
        assert_true(peak < 4 << 20);
    }

    header(2, 2, 8, 0);
    end();
    refuse("no pixel data");
    header(2, 2, 8, 0);
    chunk("IDAT", NULL, 0);
    pixels(grey_rows, sizeof(grey_rows));
    end();
    refuse("is empty");
    header(2, 2, 8, 0);
    put32(0x3fffffff); /* a length that stb would allocate */
    put("IDAT1234567890123456", 20);
    refuse("says 1073741823 bytes");
    assert_true(peak < 4096);
    header(2, 2, 8, 0);
    put32(0xffffffff);
    put("IDAT1234567890123456", 20);
    refuse("says 4294967295 bytes");
    header(2, 2, 8, 0);
    pixels(grey_rows, sizeof(grey_rows));
    chunk("tIME", "1234567", 7);
    pixels(grey_rows, sizeof(grey_rows));
    end();
    refuse("does not follow the other pixel data");
    header(2, 2, 8, 0);
    chunk("IHDR", file + 16, 13);
    refuse("a second header");
    file_size = 8;
    chunk("gAMA", "1234", 4);
    refuse("starts with chunk gAMA");
    header(2, 2, 8, 0);
    chunk("CgBI", "1234", 4);
    refuse("Apple's own variant");
    header(2, 2, 8, 0);
    chunk("a\1bc", "1234", 4);
    refuse("name is not made of letters");
    header(2, 2, 8, 0);
    chunk("IDAT", "not compressed at all", 21);
    end();
    refuse("cannot be decoded");

    /* Palettes and transparency. */
    header(2, 2, 8, 3);
    pixels(grey_rows, sizeof(grey_rows));
    end();
    refuse("without a palette");
    header(2, 2, 8, 3);
    chunk("PLTE", "1234", 4);
    refuse("a palette (PLTE) of 4 bytes");
    header(2, 2, 8, 3);
    chunk("PLTE", NULL, 0);
    refuse("a palette (PLTE) of 0 bytes");
    header(2, 2, 1, 3);
    chunk("PLTE", "123456789", 9);
    refuse("a palette of 3 colours for 1 bits");
    header(2, 2, 8, 0);
    chunk("PLTE", "123", 3);
    refuse("in a grey picture");
    header(2, 2, 8, 3);
    chunk("PLTE", "123", 3);
    chunk("PLTE", "123", 3);
    refuse("a second palette");
    header(2, 2, 8, 3);
    chunk("tRNS", "1", 1);
    refuse("before the palette");
    header(2, 2, 8, 3);
    chunk("PLTE", "123", 3);
    chunk("tRNS", "12", 2);
    refuse("at most 1 expected");
    header(2, 2, 8, 2);
    chunk("tRNS", "12", 2);
    refuse("of 2 bytes, 6 expected");
    header(2, 2, 8, 6);
    chunk("tRNS", "12", 2);
    refuse("with an alpha channel");
    header(2, 2, 8, 0);
    pixels(grey_rows, sizeof(grey_rows));
    chunk("tRNS", "12", 2);
    refuse("comes after the pixels");
}

/* A file of 32 KB whose pixel data unpack to 32 MB in a picture of 64 pixels: stopped by the budget. */
static void test_bomb(void **state)
{
    (void)state;
    uint8_t *zeros = calloc(32, 1 << 20);
    assert_non_null(zeros);
    header(8, 8, 8, 0);
    pixels(zeros, 32 << 20);
    end();
    free(zeros);
    refuse("more memory than a picture of this size may take");
    assert_true(peak < 2 << 20);
}

static void test_other_formats(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t size; const char *words; } formats[] = {
        { "GIF89a\1\0\1\0", 10, "this is GIF" },
        { "BM\x46\0\0\0", 6, "this is BMP" },
        { "II*\0\x08\0\0\0", 8, "this is TIFF" },
        { "MM\0*\0\0\0\x08", 8, "this is TIFF" },
        { "RIFF\x24\0\0\0WEBPVP8 ", 16, "this is WebP" },
        { "\0\0\0\x18""ftypheic\0\0\0\0", 16, "this is HEIC" },
        { "\0\0\0\x1c""ftypavif\0\0\0\0", 16, "this is AVIF" },
        { "8BPS\0\1", 6, "this is PSD" },
        { "\0\0\0\x0cJXL \r\n\x87\n", 12, "this is JPEG XL" },
        { "\0\0\0\x0cjP  \r\n\x87\n", 12, "this is JPEG 2000" },
        { "P6\n2 2\n255\n", 11, "this is PPM" },
        { "%PDF-1.7", 8, "this is PDF" },
        { "PK\3\4", 4, "a Zip archive" },
        { "<!DOCTYPE html>", 15, "a web page" },
        { "<svg xmlns=", 11, "this is SVG" },
        { "version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS pointer" },
        { "\x89PNG\n\x1a\n\0\0\0\rIHDR", 15, "damaged on the way" },
        { "\x89PN", 3, "neither PNG nor JPEG" },
        { "hello", 5, "neither PNG nor JPEG" },
        { "\xff\xd8", 2, "neither PNG nor JPEG" },
        { "\0", 1, "neither PNG nor JPEG" },
    };
    for (size_t i = 0; i < BL_COUNT(formats); i++) {
        file_size = 0;
        put(formats[i].bytes, formats[i].size);
        refuse(formats[i].words);
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------------- */

static void put_pattern(bl_image *image)
{
    uint32_t v = image->width * 31 + image->height;
    for (size_t i = 0; i < (size_t)image->width * image->height * image->channels; i++) {
        v = v * 1664525 + 1013904223;
        image->pixels[i] = i / 40 % 3 ? (uint8_t)(i * 3) : (uint8_t)(v >> 24); /* smooth and noisy parts: all filters get used */
    }
}

static void load(const uint8_t *data, size_t size)
{
    file_size = 0;
    put(data, size);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = { { 1, 1 }, { 2, 1 }, { 1, 3 }, { 7, 5 }, { 64, 1 }, { 33, 40 }, { 100, 61 }, { 64, 64 } };
    bool seen[5] = { false };
    for (size_t i = 0; i < BL_COUNT(sizes); i++)
        for (uint32_t channels = 1; channels <= 3; channels += 2) {
            bl_image image;
            assert_int_equal(bl_image_create(sizes[i][0], sizes[i][1], channels, &image), BL_OK);
            put_pattern(&image);
            uint8_t *data, *again;
            size_t size, again_size;
            assert_int_equal(bl_png_encode(&image, NULL, 0, &data, &size), BL_OK);
            assert_int_equal(bl_png_encode(&image, NULL, 0, &again, &again_size), BL_OK);
            assert_int_equal(size, again_size);
            assert_memory_equal(data, again, size);
            load(data, size);
            expect_pixels(channels, sizes[i][0], sizes[i][1], image.pixels);
            /* Which row filters were used. */
            const size_t row = (size_t)sizes[i][0] * channels + 1;
            uLongf raw_size = (uLongf)(row * sizes[i][1]);
            uint8_t *raw = malloc(raw_size);
            assert_memory_equal(data + 46 + 4, "IDAT", 4);
            assert_int_equal(uncompress(raw, &raw_size, data + 54, (uLong)(size - 54 - 4 - 12)), Z_OK);
            assert_int_equal(raw_size, row * sizes[i][1]);
            for (uint32_t y = 0; y < sizes[i][1]; y++) {
                assert_in_range(raw[y * row], 0, 4);
                seen[raw[y * row]] = true;
            }
            free(raw);
            bl_free(data);
            bl_free(again);
            bl_image_free(&image);
        }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3] && seen[4]);
}

static void test_texts(void **state)
{
    (void)state;
    bl_image image;
    assert_int_equal(bl_image_create(3, 2, 3, &image), BL_OK);
    static const char xmp[] = "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>";
    const bl_image_text texts[] = { { "parameters", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac\nSteps: 20" }, { "XML:com.adobe.xmp", xmp },
                                    { "empty", "" }, { "parameters", "second" }, { "Gr\xfc n", "latin key" } };
    uint8_t *data;
    size_t size;
    assert_int_equal(bl_png_encode(&image, texts, BL_COUNT(texts), &data, &size), BL_OK);
    load(data, size);
    bl_free(data);
    static const char *const order[] = { "IHDR", "iTXt", "iTXt", "iTXt", "iTXt", "iTXt", "sRGB", "IDAT", "IEND" };
    size_t at = 8;
    for (size_t i = 0; i < BL_COUNT(order); i++) {
        assert_memory_equal(file + at + 4, order[i], 4);
        at += 12 + ((size_t)file[at] << 24 | (size_t)file[at + 1] << 16 | (size_t)file[at + 2] << 8 | file[at + 3]);
    }
    assert_int_equal(at, file_size);
    for (size_t i = 0; i < BL_COUNT(texts); i++) {
        char *text;
        assert_int_equal(bl_png_text(file, file_size, texts[i].key, &text), BL_OK);
        assert_string_equal(text, texts[i == 3 ? 0 : i].text);
        bl_free(text);
    }
    char *text = (char *)file;
    assert_int_equal(bl_png_text(file, file_size, "param", &text), BL_OK); /* no such key */
    assert_null(text);
    file[60] ^= 1;
    assert_int_equal(bl_png_text(file, file_size, "parameters", &text), BL_ERROR_INPUT);
    assert_non_null(strstr(bl_last_error(), "wrong checksum of chunk iTXt"));
    assert_null(text);

    char long_key[81];
    memset(long_key, 'k', 80);
    long_key[80] = 0;
    const bl_image_text bad[] = {
        { "", "x" }, { NULL, "x" }, { "key", NULL }, { " key", "x" }, { "key ", "x" }, { "a  b", "x" }, { "a\nb", "x" },
        { "a\x7f", "x" }, { "a\xa0", "x" }, { long_key, "x" }, { "key", "\xff" }, { "key", "\xc0\x80" }, { "key", "\xed\xa0\x80" },
        { "key", "cut \xe2\x82" },
    };
    for (size_t i = 0; i < BL_COUNT(bad); i++) {
        assert_int_equal(bl_png_encode(&image, &bad[i], 1, &data, &size), BL_ERROR_USAGE);
        assert_null(data);
    }
    const bl_image_text longest = { long_key + 1, "x" };
    assert_int_equal(bl_png_encode(&image, &longest, 1, &data, &size), BL_OK);
    bl_free(data);
    bl_image_free(&image);
}

/* Text chunks of other writers. */
static void test_foreign_texts(void **state)
{
    (void)state;
    static const struct { const char *type, *data; size_t size; const char *text, *words; } chunks[] = {
        { "tEXt", "k\0gr\xfc n", 7, "gr\xc3\xbc n", NULL },
        { "tEXt", "k\0", 2, "", NULL },
        { "iTXt", "k\0\0\0de\0Schl\xc3\xbcssel\0ok", 20, "ok", NULL },
        { "iTXt", "k\0\1\0\0\0x", 7, NULL, "is compressed" },
        { "zTXt", "k\0\0x", 4, NULL, "is compressed" },
        { "iTXt", "k\0\0\0\0", 5, NULL, "is broken" },
        { "iTXt", "k\0", 2, NULL, "is broken" },
        { "iTXt", "k\0\0\0\0\0\xff", 7, NULL, "is not UTF-8" },
        { "iTXt", "k\0\0\0\0\0a\0b", 9, NULL, "is not UTF-8" },
        { "tEXt", "k\0a\0b", 5, NULL, "is not Latin-1" },
        { "tEXt", "k", 1, NULL, NULL }, /* a key without end is no key */
    };
    for (size_t i = 0; i < BL_COUNT(chunks); i++) {
        header(2, 2, 8, 0);
        chunk(chunks[i].type, chunks[i].data, chunks[i].size);
        end();
        char *text;
        const bl_result r = bl_png_text(file, file_size, "k", &text);
        assert_int_equal(r, chunks[i].words ? BL_ERROR_INPUT : BL_OK);
        if (chunks[i].words)
            assert_non_null(strstr(bl_last_error(), chunks[i].words));
        if (chunks[i].text)
            assert_string_equal(text, chunks[i].text);
        else
            assert_null(text);
        bl_free(text);
    }
    file_size = 0;
    char *text;
    assert_int_equal(bl_png_text(file, 0, "k", &text), BL_ERROR_INPUT);
}

static void test_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/blemish-image-XXXXXX", path[64], gone[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.png", dir);
    snprintf(gone, sizeof(gone), "%s/none/a.png", dir);
    bl_image image, back;
    assert_int_equal(bl_image_create(17, 9, 3, &image), BL_OK);
    put_pattern(&image);
    assert_int_equal(bl_image_write_png(path, &image, &(bl_image_text){ "parameters", "p" }, 1), BL_OK);
    assert_int_equal(bl_image_read(path, 3, &back), BL_OK);
    assert_memory_equal(image.pixels, back.pixels, 17 * 9 * 3);
    bl_image_free(&back);
    bl_image_free(&back);
    char *text;
    assert_int_equal(bl_image_read_text(path, "parameters", &text), BL_OK);
    assert_string_equal(text, "p");
    bl_text_free(text);
    assert_int_equal(bl_image_read_text(path, "other", &text), BL_OK);
    assert_null(text);
    bl_text_free(text);
    assert_int_equal(bl_image_read_text(gone, "parameters", &text), BL_ERROR_INPUT);
    assert_null(text);
    assert_int_equal(bl_image_read_text(NULL, "parameters", &text), BL_ERROR_USAGE);
    assert_int_equal(bl_image_read_text(path, NULL, &text), BL_ERROR_USAGE);
    assert_int_equal(bl_image_read_text(path, "parameters", NULL), BL_ERROR_USAGE);

    assert_int_equal(bl_image_write_png(gone, &image, NULL, 0), BL_ERROR_OUTPUT);
    assert_int_equal(bl_image_write_png(NULL, &image, NULL, 0), BL_ERROR_USAGE);
    assert_int_equal(bl_image_write_png(path, NULL, NULL, 0), BL_ERROR_USAGE);
    assert_int_equal(bl_image_write_png(path, &image, NULL, 1), BL_ERROR_USAGE);
    assert_int_equal(bl_image_read(gone, 3, &back), BL_ERROR_INPUT);
    assert_int_equal(bl_image_read(dir, 3, &back), BL_ERROR_INPUT);
    assert_int_equal(bl_image_read(path, 2, &back), BL_ERROR_USAGE);
    assert_int_equal(bl_image_read(NULL, 3, &back), BL_ERROR_USAGE);
    bl_image_free(&image);

    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite("GIF89a", 1, 6, f), 6);
    fclose(f);
    assert_int_equal(bl_image_read(path, 3, &back), BL_ERROR_INPUT);
    assert_non_null(strstr(bl_last_error(), path));
    assert_non_null(strstr(bl_last_error(), "GIF"));
    unlink(path);
    rmdir(dir);

    static const uint32_t sizes[][3] = { { 0, 1, 3 }, { 1, 0, 3 }, { 16385, 1, 1 }, { 16384, 16384, 1 }, { 4, 4, 2 }, { 4, 4, 4 } };
    for (size_t i = 0; i < BL_COUNT(sizes); i++) {
        assert_int_equal(bl_image_create(sizes[i][0], sizes[i][1], sizes[i][2], &image), BL_ERROR_USAGE);
        assert_null(image.pixels);
    }
}

/* --- trouble ------------------------------------------------------------------------------------------------------------- */

static void test_memory_runs_out(void **state)
{
    (void)state;
    header(2, 1, 16, 0);
    pixels("\0\x12\xff\x80\x00", 5);
    end();
    fail_each_decode();
    header(2, 1, 8, 3);
    chunk("PLTE", "123456", 6);
    pixels("\0\0\1", 3);
    end();
    fail_each_decode();
    bl_image image;
    assert_int_equal(bl_image_create(30, 20, 3, &image), BL_OK);
    const size_t before = live;
    int failed = 0;
    for (long n = 0;; n++) {
        uint8_t *data;
        size_t size;
        until_failure = n;
        const bl_result r = bl_png_encode(&image, &(bl_image_text){ "k", "v" }, 1, &data, &size);
        until_failure = -1;
        if (r == BL_OK) { /* giving back spare room may fail */
            bl_free(data);
            break;
        }
        assert_int_equal(r, BL_ERROR_MEMORY);
        assert_null(data);
        assert_int_equal(live, before);
        failed++;
    }
    assert_true(failed >= 3);
    bl_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_alpha, start, stop),
        cmocka_unit_test_setup_teardown(test_png_kinds, start, stop),
        cmocka_unit_test_setup_teardown(test_palette, start, stop),
        cmocka_unit_test_setup_teardown(test_interlaced, start, stop),
        cmocka_unit_test_setup_teardown(test_orientation, start, stop),
        cmocka_unit_test_setup_teardown(test_hostile_png, start, stop),
        cmocka_unit_test_setup_teardown(test_bomb, start, stop),
        cmocka_unit_test_setup_teardown(test_other_formats, start, stop),
        cmocka_unit_test_setup_teardown(test_round_trip, start, stop),
        cmocka_unit_test_setup_teardown(test_texts, start, stop),
        cmocka_unit_test_setup_teardown(test_foreign_texts, start, stop),
        cmocka_unit_test_setup_teardown(test_files, start, stop),
        cmocka_unit_test_setup_teardown(test_memory_runs_out, start, stop),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
