/* Reading JPEG: both codings, and everything that is cut off, damaged or not supported. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "image_files.h"
#include "jpeg.h"
#include <stdio.h>

static void unhex(const char *hex)
{
    file_size = 0;
    for (; *hex; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        put(&(uint8_t){ (uint8_t)byte }, 1);
    }
}

/* Both made once with Pillow 9.4 (quality 40, optimized, chroma halved both ways) from the 20x12 picture of jpeg_source, without JFIF. */
static const char baseline_jpeg[] =
    "ffd8ffdb004300140e0f120f0d14121012171514181e32211e1c1c1e3d2c2e243249404c4b47404645505a736250556d5645466488656d777b818281"
    "4e608d978c7d96737e817cffdb0043011517171e1a1e3b21213b7c5346537c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c"
    "7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7cffc0001108000c001403012200021101031101ffc400170000030100000000000000000000000000"
    "00040506ffc4001c1000020203010100000000000000000000000302043151611222ffc4001501010100000000000000000000000000000305ffc400"
    "1a110002020300000000000000000000000000010204031113ffda000c03010002110311003f00869a1c1f4d0e14d29868792986838e46056b7224c6"
    "87ce00d14530f3801ba32bab72d1ffd9";
static const char progressive_jpeg[] =
    "ffd8ffdb004300140e0f120f0d14121012171514181e32211e1c1c1e3d2c2e243249404c4b47404645505a736250556d5645466488656d777b818281"
    "4e608d978c7d96737e817cffdb0043011517171e1a1e3b21213b7c5346537c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c"
    "7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7cffc2001108000c001403012200021101031101ffc400170000030100000000000000000000000000"
    "00030405ffc400160101010100000000000000000000000000020304ffda000c0301000210031000000185f53cce43447b3fffc40018100101010101"
    "00000000000000000000000001021112ffda0008010100010502984c3c2448e3ffc40017110003010000000000000000000000000000010313ffda00"
    "08010301013f019d59ab3fffc40017110100030000000000000000000000000000010212ffda0008010201013f018b34ffc400141001000000000000"
    "00000000000000000020ffda0008010100063f025fffc4001810010100030000000000000000000000000100101121ffda0008010100013f21c79cc7"
    "1c1d5fffda000c03010002000300000010440fffc400161101010100000000000000000000000000000111ffda0008010301013f106993ffc4001611"
    "01010100000000000000000000000000000111ffda0008010201013f10a34fffc40017100101010100000000000000000000000000516141ffda0008"
    "010100013f10c58a24285c27ffd9";

static int jpeg_source(int x, int y, int c) { return (c == 0 ? x * 12 : c == 1 ? y * 20 : (x + y) * 7) & 255; }

/* The first 0xff `marker` of the file. */
static uint8_t *marker(int code)
{
    for (size_t i = 0; i + 1 < file_size; i++)
        if (file[i] == 0xff && file[i + 1] == code)
            return file + i;
    fail_msg("no marker %02x", (unsigned)code);
    return NULL;
}

static void insert(size_t at, const void *data, size_t n)
{
    assert_true(file_size + n <= sizeof(file));
    memmove(file + at + n, file + at, file_size - at);
    memcpy(file + at, data, n);
    file_size += n;
}

/* --- JPEG, read ---------------------------------------------------------------------------------------------------------- */

static void check_jpeg(const char *hex)
{
    unhex(hex);
    bl_image image = accept(3);
    assert_int_equal(image.width, 20);
    assert_int_equal(image.height, 12);
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 20; x++)
            for (int c = 0; c < 3; c++) /* quality 40: libjpeg itself is off by up to 20 here */
                assert_in_range(image.pixels[(y * 20 + x) * 3 + c] + 24, jpeg_source(x, y, c), jpeg_source(x, y, c) + 48);
    bl_image_free(&image);
    file[file_size] = 7; /* what cameras append is not part of the picture */
    file_size++;
    image = accept(1);
    bl_image_free(&image);
}

static void test_jpeg(void **state)
{
    (void)state;
    check_jpeg(baseline_jpeg);
    check_jpeg(progressive_jpeg);
    unhex(progressive_jpeg);
    bl_jpeg_info info;
    assert_int_equal(bl_jpeg_scan(file, file_size, &info), BL_OK);
    assert_true(info.progressive);
    assert_int_equal(info.scans, 10);
    assert_int_equal(info.components, 3);
    assert_int_equal(info.orientation, 1);

    /* on its side: 12 x 20, whatever the next segment of that kind says */
    static const uint8_t side[] = "\xff\xe1\0\x1e" "Exif\0\0" "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
    static const uint8_t other[] = "\xff\xe1\0\x1e" "Exif\0\0" "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0";
    bl_image stored = accept(3);
    insert(2, other, sizeof(other) - 1);
    insert(2, side, sizeof(side) - 1);
    bl_image image = accept(3);
    assert_int_equal(image.width, 12);
    assert_int_equal(image.height, 20);
    assert_memory_equal(image.pixels + 11 * 3, stored.pixels, 3); /* the stored top left is seen at the top right */
    bl_image_free(&image);
    bl_image_free(&stored);
}

static void test_truncated_jpeg(void **state)
{
    (void)state;
    static const char *const files[] = { baseline_jpeg, progressive_jpeg };
    for (size_t f = 0; f < 2; f++)
        for (size_t cut = 3;; cut++) {
            unhex(files[f]);
            if (cut == file_size - 2)
                break;
            file_size = cut;
            refuse("JPEG: ");
            put("\xff\xd9", 2); /* as a repair tool would */
            refuse("JPEG: ");
        }
    unhex(baseline_jpeg);
    file_size -= 2;
    refuse("without its end marker");
    unhex(baseline_jpeg);
    file_size -= 6;
    put("\xff\xd9", 2);
    refuse("the data ends after 1 of 2 MCUs of scan 1");
}

static void test_hostile_jpeg(void **state)
{
    (void)state;
    static const struct { int code; const char *words; } frames[] = {
        { 0xc3, "lossless coding is not supported" },  { 0xc5, "hierarchical coding is not supported" },
        { 0xc9, "arithmetic coding is not supported" }, { 0xca, "arithmetic coding is not supported" },
        { 0xcb, "lossless arithmetic coding" },        { 0xcf, "hierarchical arithmetic coding" },
    };
    for (size_t i = 0; i < BL_COUNT(frames); i++) {
        unhex(baseline_jpeg);
        marker(0xc0)[1] = (uint8_t)frames[i].code;
        refuse(frames[i].words);
    }
    static const struct { int at, value; const char *words; } bytes[] = { /* of the frame header */
        { 4, 12, "12 bits per sample" },
        { 5, 0xff, "16384 pixels on a side" },
        { 7, 0x7f, "16384 pixels on a side" },
        { 6, 0, "a height given after the picture" },
        { 8, 0, "has no pixels" },
        { 9, 2, "a frame header of 15 bytes" },
        { 13, 1, "two components with the number 1" },
        { 11, 0x52, "sampling factors 5x2" },
        { 11, 0x02, "sampling factors 0x2" },
        { 10, 9, "names component 1, which is unknown" },
    };
    for (size_t i = 0; i < BL_COUNT(bytes); i++) {
        unhex(baseline_jpeg);
        marker(0xc0)[bytes[i].at] = (uint8_t)bytes[i].value;
        refuse(bytes[i].words);
    }
    unhex(baseline_jpeg); /* a fourth component */
    uint8_t *sof = marker(0xc0);
    sof[3] = 20;
    sof[9] = 4;
    insert((size_t)(sof - file) + 19, "\4\x11\0", 3);
    refuse("CMYK pictures");
    unhex(baseline_jpeg); /* the second of three taken out */
    sof = marker(0xc0);
    sof[3] = 14;
    sof[9] = 2;
    memmove(sof + 13, sof + 16, file_size - (size_t)(sof + 16 - file));
    file_size -= 3;
    refuse("2 components are not supported");

    unhex(baseline_jpeg);
    insert(2, "\xff\xdd\0\4\0\1", 6); /* restarts after each MCU, but there are none */
    refuse("a restart marker is missing after 1 of 2 MCUs");
    unhex(baseline_jpeg);
    insert(2, "\xff\xc4\0\x14\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 22); /* three codes of one bit */
    refuse("a broken Huffman table");
    unhex(baseline_jpeg);
    marker(0xc4)[4] = 3; /* now table 3, and table 0 is missing */
    refuse("uses a Huffman table that the file does not define");
    unhex(baseline_jpeg);
    marker(0xda)[6] = 0x44;
    refuse("names a Huffman table above 3");
    unhex(baseline_jpeg);
    marker(0xda)[4] = 4;
    refuse("scan 1 has a broken header");
    unhex(baseline_jpeg);
    uint8_t scan[14];
    memcpy(scan, marker(0xda), sizeof(scan));
    insert(2, scan, sizeof(scan));
    refuse("a scan at byte 6 before the frame header");
    unhex(baseline_jpeg);
    memcpy(scan, marker(0xda), sizeof(scan));
    insert(file_size - 2, scan, sizeof(scan));
    refuse("scan 2 sends coefficient 0 of component 1 out of order");
    unhex(progressive_jpeg);
    marker(0xda)[11] = 9; /* coefficients 9-0 */
    refuse("a broken range of coefficients");
    unhex(progressive_jpeg);
    marker(0xda)[13] = 0x10; /* a refinement first */
    refuse("out of order");
    unhex(baseline_jpeg);
    insert(2, "\xff\xe5\xff\xff", 4);
    refuse("segment E5 at byte 2 is cut off");
    unhex(baseline_jpeg);
    insert(2, "\xff\xe5\0\1", 4);
    refuse("segment E5 at byte 2 is cut off or has a broken length");
    unhex(baseline_jpeg);
    insert(2, "ab", 2);
    refuse("neither PNG nor JPEG");
    unhex(baseline_jpeg);
    insert((size_t)(marker(0xc0) - file), "ab", 2);
    refuse("no segment starts at byte");
    unhex("ffd8ffd9");
    refuse("no picture before the end marker");
}

/* A grey 8x8 progressive picture: each of 64 coefficients in its own scan, all but for the lowest bit; then one scan more. */
static void test_scan_limit(void **state)
{
    (void)state;
    unhex("ffd8ffdb004300");
    for (int i = 0; i < 64; i++)
        put("\1", 1);
    put("\xff\xc2\0\x0b\x08\0\x08\0\x08\1\1\x11\0", 13);
    for (int class = 0; class < 2; class++) { /* one code, "0": no difference, or end of block */
        put("\xff\xc4\0\x14", 4);
        put((uint8_t[]){ (uint8_t)(class << 4), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 18);
    }
    for (int k = 0; k < 64; k++) {
        put("\xff\xda\0\x08\1\1\0", 7);
        put((uint8_t[]){ (uint8_t)k, (uint8_t)k, 1, 0x7f }, 4);
    }
    const size_t at = file_size;
    put("\xff\xd9", 2);
    refuse("coefficient 0 of component 1 is missing: the last scans were cut off");
    file_size = at;
    put("\xff\xda\0\x08\1\1\0\0\0\x10\x7f\xff\xd9", 13);
    refuse("more than 64 scans");
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    unhex(baseline_jpeg);
    fail_each_decode();
    unhex(progressive_jpeg);
    fail_each_decode();
}

/* Damage at random: whatever comes out, it is a picture or a refusal, and nothing leaks. */
static void test_random_damage(void **state)
{
    (void)state;
    uint32_t v = 1, pictures = 0;
    for (int i = 0; i < 4000; i++) {
        unhex(i % 2 ? baseline_jpeg : progressive_jpeg);
        for (int j = 0; j < 1 + i % 3; j++) {
            v = v * 1664525 + 1013904223;
            file[(v >> 8) % file_size] = (uint8_t)(v >> 24);
        }
        bl_image image;
        const bl_result r = bl_image_decode(file, file_size, 1 + 2 * (i / 2 % 2), &image);
        assert_true(r == BL_OK || r == BL_ERROR_INPUT);
        pictures += r == BL_OK;
        bl_image_free(&image);
        assert_int_equal(live, 0);
    }
    assert_in_range(pictures, 1, 3999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_jpeg, start, stop),
        cmocka_unit_test_setup_teardown(test_truncated_jpeg, start, stop),
        cmocka_unit_test_setup_teardown(test_hostile_jpeg, start, stop),
        cmocka_unit_test_setup_teardown(test_scan_limit, start, stop),
        cmocka_unit_test_setup_teardown(test_memory_runs_out, start, stop),
        cmocka_unit_test_setup_teardown(test_random_damage, start, stop),
    };
    return cmocka_run_group_tests_name("jpeg", tests, NULL, NULL);
}
