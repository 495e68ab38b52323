/* The command line puts pictures on a contact sheet: what it asks for, what it shows, and that it is the same every time. */
#include "cli_runner.h"

enum { W = 40, H = 20, MARGIN = 28, GAP = 12, TOP = 58, CELL = 160 }; /* of the pictures; of the sheet */

static const uint8_t PHOTO[3] = { 10, 120, 30 }, DEFECT[3] = { 200, 40, 160 }, HEAT[3] = { 0, 0, 130 }, PAPER[3] = { 246, 246, 244 };

static void write_flat(const char *path, uint32_t w, uint32_t h, const uint8_t rgb[3], const char *parameters)
{
    const bl_image image = { w, h, 3, malloc(3 * (size_t)w * h) };
    assert_non_null(image.pixels);
    for (size_t i = 0; i < 3 * (size_t)w * h; i++)
        image.pixels[i] = rgb[i % 3];
    assert_int_equal(bl_image_write_png(path, &image, &(bl_image_text){ "blemish", parameters }, parameters != NULL), BL_OK);
    free(image.pixels);
}

/* Its left half is white. */
static void write_mask(const char *path)
{
    uint8_t pixels[W * H];
    for (int i = 0; i < W * H; i++)
        pixels[i] = i % W < W / 2 ? 255 : 0;
    assert_int_equal(bl_image_write_png(path, &(bl_image){ W, H, 1, pixels }, NULL, 0), BL_OK);
}

/* A picture as generate leaves it, with what belongs to it. */
static void write_all(const char *stem, const char *parameters)
{
    char path[64];
    snprintf(path, sizeof(path), "%s.png", stem);
    write_flat(path, W, H, DEFECT, parameters);
    snprintf(path, sizeof(path), "%s_photo.png", stem);
    write_flat(path, W, H, PHOTO, NULL);
    snprintf(path, sizeof(path), "%s_attention.png", stem);
    write_flat(path, W, H, HEAT, NULL);
    snprintf(path, sizeof(path), "%s_mask.png", stem);
    write_mask(path);
}

#define GUIDED "{\"seed\":\"7\",\"method\":{\"object\":\"nut\",\"defect\":\"cracked\"}}"

static const uint8_t *at(const bl_image *image, int x, int y)
{
    return image->pixels + 3 * ((size_t)y * image->width + (size_t)x);
}

/* Pixels of a box, of the sheet, that are not paper, and how many of them are much redder than blue: guided words. */
static int drawn(const bl_image *sheet, int x0, int y0, int x1, int y1, int *red)
{
    int n = 0;
    *red = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            const uint8_t *p = at(sheet, x, y);
            n += memcmp(p, PAPER, 3) != 0;
            *red += p[0] > p[2] + 60;
        }
    return n;
}

static void test_refused(void **state)
{
    (void)state;
    static const struct { const char *args[8]; const char *reason; } cases[] = {
        { { NULL }, "PICTURE is missing" },
        { { "a.png", "--out", "sheet.jpg" }, "--out: \"sheet.jpg\" must end in .png" },
        { { "a.png", "--columns", "photo,heat" }, "--columns: \"heat\" is none of photo, picture, mask, attention, region" },
        { { "a.png", "--columns", "photo,,mask" }, "--columns: \"\" is none of" },
        { { "a.png", "--columns", "" }, "--columns: is empty" },
        { { "a.png", "--columns", "mask,photo,mask" }, "--columns: mask is there twice" },
        { { "a.png", "--cell", "100" }, "--cell: must be a whole number, 160 to 1024" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *args[ARGS_MAX + 1] = { "sheet" };
        memcpy(args + 1, cases[i].args, sizeof(cases[i].args));
        assert_int_equal(run(args), 2);
        assert_says(err_path, cases[i].reason);
        assert_empty(out_path);
        assert_int_equal(files_here(), 0);
    }
}

/* A row that misses a file, has an unlike one or one that is no picture: the reason, and nothing is written. */
static void test_files(void **state)
{
    (void)state;
    static const struct { const char *file, *hint; } beside[] = { { "b_photo.png", "with --save-photo" },
        { "b_mask.png", "for a photo and guided words" }, { "b_attention.png", "with --save-attention" } };
    assert_int_equal(RUN("sheet", "--columns", "picture", "none.png"), 3);
    assert_says(err_path, "none.png");
    write_all("a", GUIDED);
    write_all("b", GUIDED);
    for (size_t i = 0; i < COUNT(beside); i++) {
        assert_int_equal(rename(beside[i].file, "away"), 0);
        assert_int_equal(RUN("sheet", "a.png", "b.png"), 3);
        assert_says(err_path, beside[i].file);
        assert_says(err_path, ": is missing; 'blemish generate' writes it ");
        assert_says(err_path, beside[i].hint);
        assert_empty(out_path);

        write_flat(beside[i].file, W, H + 1, HEAT, NULL);
        assert_int_equal(RUN("sheet", "a.png", "b.png"), 3);
        assert_says(err_path, beside[i].file);
        assert_says(err_path, "they do not belong together");

        FILE *f = fopen(beside[i].file, "wb");
        assert_non_null(f);
        fclose(f);
        assert_int_equal(RUN("sheet", "a.png", "b.png"), 3);
        assert_says(err_path, beside[i].file);
        assert_int_equal(rename("away", beside[i].file), 0);
        assert_int_equal(files_here(), 8);
    }
    assert_int_equal(RUN("sheet", "a.png", "--columns", "picture,region"), 3);
    assert_says(err_path, "a_region.png: is missing; 'blemish generate' writes it with --save-region");

    assert_int_equal(RUN("sheet", "a.png", "--out", "no/sheet.png"), 1);
    assert_says(err_path, "no/sheet.png: the folder \"no\"");
    assert_int_equal(RUN("sheet", "a.png", "--out", "./b.png"), 1);
    assert_says(err_path, "./b.png: exists already (--force replaces it)");
    assert_int_equal(RUN("sheet", "a.png", "--force", "--out", "./a.png"), 2);
    assert_says(err_path, "./a.png: is also what is read");
    assert_int_equal(RUN("sheet", "a.png", "--force", "--out", "a_mask.png"), 2);
    assert_says(err_path, "a_mask.png: is also what is read");

    const char *many[ARGS_MAX + 1] = { "sheet", "--cell", "1024", "--columns", "picture" };
    write_flat("square.png", 8, 8, DEFECT, NULL);
    for (int i = 5; i < 21; i++)
        many[i] = "square.png";
    assert_int_equal(run(many), 2);
    assert_says(err_path, "square.png: with it the sheet would have 1080 x ");
    assert_says(err_path, "give fewer pictures, or a smaller --cell");
    assert_int_equal(files_here(), 9);
}

/* The picture in its place, with its values; words beneath. */
static void expect_row(const bl_image *sheet, int y)
{
    static const uint8_t *const flat[] = { PHOTO, DEFECT, NULL, HEAT };
    for (int i = 0; i < 4; i++) {
        const int x = MARGIN + i * (CELL + GAP), w = CELL, h = CELL * H / W;
        for (int v = 0; v < h; v++)
            for (int u = 0; u < w; u++) {
                const uint8_t *p = at(sheet, x + u, y + v);
                if (flat[i])
                    assert_memory_equal(p, flat[i], 3);
                else
                    assert_true(p[0] == (u < w / 2 ? 255 : 0) && p[1] == p[0] && p[2] == p[0]); /* of a mask no value but its own */
            }
    }
}

static void test_sheet(void **state)
{
    (void)state;
    enum { ROW = CELL * H / W + 29, WIDTH = 2 * MARGIN + 4 * CELL + 3 * GAP, HEIGHT = TOP + 2 * ROW + 26 + MARGIN };
    write_all("a", GUIDED);
    write_all("b", "{\"prompt\":\"a nut\"}");
    assert_int_equal(RUN("sheet", "a.png", "b.png", "--cell", "160"), 0);
    assert_empty(err_path);
    size_t size, again_size;
    char *listed = read_whole(out_path, &size);
    assert_string_equal(listed, "sheet.png\n");
    free(listed);

    bl_image sheet;
    assert_int_equal(bl_image_read("sheet.png", 3, &sheet), BL_OK);
    assert_int_equal(sheet.width, WIDTH);
    assert_int_equal(sheet.height, HEIGHT);
    expect_row(&sheet, TOP);
    expect_row(&sheet, TOP + ROW + 26);
    int red;
    for (int i = 0; i < 4; i++)
        assert_true(drawn(&sheet, MARGIN + i * (CELL + GAP), 0, MARGIN + i * (CELL + GAP) + CELL, TOP - 2, &red) > 100);
    const int words = TOP + CELL * H / W + 2;
    assert_true(drawn(&sheet, MARGIN, words, WIDTH / 2, words + 27, &red) > 100);
    assert_true(red > 50); /* the guided words */
    assert_true(drawn(&sheet, WIDTH / 2, words, WIDTH - MARGIN, words + 27, &red) > 100);
    assert_int_equal(red, 0); /* the name of the file */
    assert_true(drawn(&sheet, MARGIN, words + ROW + 26, WIDTH / 2, words + ROW + 53, &red) > 50);
    assert_int_equal(red, 0);
    assert_int_equal(drawn(&sheet, WIDTH - MARGIN + 2, 0, WIDTH, HEIGHT, &red), 0);
    bl_image_free(&sheet);

    /* the same bytes; files beside a picture are no rows of their own; JSON; the mark of what a model made */
    char *first = read_whole("sheet.png", &size);
    assert_int_equal(RUN("sheet", "a.png", "a_mask.png", "b.png", "b_attention.png", "b_photo.png", "--cell", "160", "-f", "--json"), 0);
    char *again = read_whole("sheet.png", &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(first, again, size);
    free(first);
    free(again);
    json_t *json = output_json();
    assert_string_equal(json_string_value(json_object_get(json, "path")), "sheet.png");
    assert_int_equal(json_integer_value(json_object_get(json, "rows")), 2);
    assert_int_equal(json_integer_value(json_object_get(json, "width")), WIDTH);
    assert_int_equal(json_integer_value(json_object_get(json, "height")), HEIGHT);
    json_decref(json);
    char *mark;
    assert_int_equal(bl_image_read_text("sheet.png", "XML:com.adobe.xmp", &mark), BL_OK);
    assert_non_null(strstr(mark, "digitalsourcetype/compositeWithTrainedAlgorithmicMedia"));
    bl_text_free(mark);

    /* other columns, a larger picture, which is scaled down */
    write_flat("large.png", 500, 1000, DEFECT, NULL);
    assert_int_equal(RUN("sheet", "large.png", "a_mask.png", "--columns", "picture", "-o", "c.png"), 0); /* not beside large.png: a row */
    assert_int_equal(bl_image_read("c.png", 3, &sheet), BL_OK);
    assert_int_equal(sheet.width, 2 * MARGIN + 256);
    assert_int_equal(sheet.height, TOP + 256 + 29 + 26 + 128 + 29 + MARGIN);
    assert_memory_equal(at(&sheet, MARGIN + 128, TOP + 128), DEFECT, 3);
    assert_memory_equal(at(&sheet, MARGIN + 60, TOP + 128), PAPER, 3); /* 128 pixels wide, in the middle of its cell */
    bl_image_free(&sheet);
}

/* Whatever words a picture stores, the sheet is made and nothing is drawn in its margins. */
static void test_words(void **state)
{
    (void)state;
    char lengthy[4096] = "{\"seed\":\"18446744073709551615\",\"prompt\":\"";
    while (strlen(lengthy) < sizeof(lengthy) - 64)
        strcat(lengthy, "W\xc3\xb6rter ");
    strcat(lengthy, "\"}");
    const char *const stored[] = { NULL, "", "no JSON", "[1, 2]", "{\"prompt\":7,\"seed\":7,\"method\":\"cut\"}", lengthy,
        "{\"method\":{\"object\":\"M\xc3\xbctter\",\"defect\":\"bent and [[rusty]]\"}}",
        "{\"method\":{\"marked_prompt\":\"\\\\[[a\\\\]] [[[[b\"}}", "{\"method\":{\"marked_prompt\":\"]][\"}}" };
    for (size_t i = 0; i < COUNT(stored); i++) {
        bl_image sheet;
        int red;
        write_flat("a.png", W, H, DEFECT, stored[i]);
        assert_int_equal(RUN("sheet", "--columns", "picture", "a.png", "--cell", "160", "-f"), 0);
        assert_int_equal(bl_image_read("sheet.png", 3, &sheet), BL_OK);
        const int w = (int)sheet.width, h = (int)sheet.height;
        assert_int_equal(drawn(&sheet, 0, 0, MARGIN - 2, h, &red), 0);
        assert_int_equal(drawn(&sheet, w - MARGIN + 2, 0, w, h, &red), 0);
        assert_true(drawn(&sheet, MARGIN, TOP + CELL * H / W + 2, w - MARGIN, h, &red) > 50);
        bl_image_free(&sheet);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refused, before_each),
        cmocka_unit_test_setup(test_files, before_each),
        cmocka_unit_test_setup(test_sheet, before_each),
        cmocka_unit_test_setup(test_words, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
