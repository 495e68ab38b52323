/* The mask of what changed, its parts, and the overlay of attention. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "change.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { W = 160, H = 128, N = W * H, CELL = 16 };

static uint8_t plain_pixels[3 * N], made_pixels[3 * N];
static const bl_image plain = { W, H, 3, plain_pixels }, made = { W, H, 3, made_pixels };
static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)random_state * n >> 32);
}

/* The same noisy picture twice; `differ`: the second off by up to that much everywhere. */
static void start(uint32_t seed, uint32_t differ)
{
    random_state = seed;
    for (size_t i = 0; i < 3 * N; i++) {
        plain_pixels[i] = (uint8_t)(60 + random_below(120));
        made_pixels[i] = (uint8_t)(plain_pixels[i] + random_below(differ + 1));
    }
}

/* Adds to the pixels of a box. */
static void paint(uint32_t x0, uint32_t y0, uint32_t x1, uint32_t y1, int by)
{
    for (uint32_t y = y0; y < y1; y++)
        for (size_t i = 3 * (y * W + x0); i < 3 * (y * W + x1); i++)
            made_pixels[i] = (uint8_t)(made_pixels[i] + by);
}

/* The number of white pixels; fails unless every pixel is 0 or 255. */
static size_t white_of(const bl_image *mask)
{
    size_t n = 0;
    assert_true(mask->width == W && mask->height == H && mask->channels == 1);
    for (size_t i = 0; i < N; i++) {
        assert_true(mask->pixels[i] == 0 || mask->pixels[i] == 255);
        n += mask->pixels[i] != 0;
    }
    return n;
}

static bl_image changed(const float *attention, const float *allowed)
{
    bl_image mask;
    assert_int_equal(bl_change_mask(&made, &plain, attention, H / CELL, W / CELL, allowed, H / 8, W / 8, &mask), BL_OK);
    return mask;
}

static void the_change_is_found(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 20; seed++) {
        start(seed, 2);
        paint(40, 32, 80, 56, seed % 2 ? 50 : -50);
        bl_image mask = changed(NULL, NULL);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const int out = BL_MAX(BL_MAX(40 - x, x - 79), BL_MAX(32 - y, y - 55)); /* pixels outside the box, or -inside - 1 */
                if ((out > 3 && mask.pixels[y * W + x]) || (out < -3 && !mask.pixels[y * W + x]))
                    fail_msg("seed %u: (%d, %d) is %u", seed, x, y, mask.pixels[y * W + x]);
            }
        white_of(&mask);
        bl_image_free(&mask);
    }
}

static void nothing_changed(void **state)
{
    static float attention[H / CELL * W / CELL], nowhere[H / 8 * W / 8];
    (void)state;
    for (size_t i = 0; i < BL_COUNT(attention); i++)
        attention[i] = (float)i;
    for (uint32_t differ = 0; differ < 2; differ++) { /* rounding is no change */
        start(7, differ);
        bl_image mask = changed(NULL, NULL), weighed = changed(attention, NULL);
        assert_int_equal(white_of(&mask) + white_of(&weighed), 0);
        bl_image_free(&mask);
        bl_image_free(&weighed);
    }
    start(7, 0);
    paint(40, 32, 80, 56, 50);
    bl_image mask = changed(attention, nowhere);
    assert_int_equal(white_of(&mask), 0);
    bl_image_free(&mask);
}

/* Not empty, however small the change is. */
static void something_changed(void **state)
{
    static float attention[H / CELL * W / CELL];
    static const uint32_t sizes[] = { 1, 2, 5, 40 }, levels[] = { 2, 3, 10, 70 };
    (void)state;
    memset(attention, 0, sizeof(attention));
    attention[0] = 1; /* far from what changed: it weighs, it does not forbid */
    for (size_t k = 0; k < BL_COUNT(sizes) * BL_COUNT(levels); k++) {
        const uint32_t size = sizes[k / BL_COUNT(levels)], level = levels[k % BL_COUNT(levels)];
        for (int corner = 0; corner < 2; corner++) {
            start((uint32_t)k, 0);
            const uint32_t x = corner ? W - size : 90, y = corner ? H - size : 70;
            paint(x, y, x + size, y + size, (int)level);
            bl_image mask = changed(NULL, NULL), weighed = changed(attention, NULL);
            if (!white_of(&mask) || !white_of(&weighed))
                fail_msg("a change of %u x %u by %u is lost", size, size, level);
            assert_int_equal(mask.pixels[(y + size / 2) * W + x + size / 2], 255);
            assert_true(white_of(&mask) <= (size + 8) * (size + 8));
            bl_image_free(&mask);
            bl_image_free(&weighed);
        }
    }
}

static void only_where_allowed(void **state)
{
    static float allowed[H / 8 * W / 8];
    (void)state;
    for (uint32_t seed = 0; seed < 40; seed++) {
        start(seed, seed % 3 * 8);
        for (size_t i = 0; i < BL_COUNT(allowed); i++)
            allowed[i] = random_below(4) ? 0.0f : 0.3f + (float)random_below(2);
        paint(20, 20, 120, 100, 40);
        bl_image mask = changed(NULL, allowed);
        assert_true(white_of(&mask) > 0);
        for (size_t y = 0; y < H; y++)
            for (size_t x = 0; x < W; x++)
                assert_true(!mask.pixels[y * W + x] || allowed[y / 8 * (W / 8) + x / 8] > 0);
        bl_image_free(&mask);
    }
}

/* A grid that does not divide the picture, as for a picture of 8 pixels less. */
static void grids_of_any_size(void **state)
{
    static float allowed[15 * 19], attention[7 * 9];
    (void)state;
    for (size_t i = 0; i < BL_COUNT(attention); i++)
        attention[i] = i == 30 ? 4.0f : 0.5f;
    for (size_t i = 0; i < BL_COUNT(allowed); i++)
        allowed[i] = i / 19 < 8;
    start(3, 0);
    paint(0, 0, W, H, 30);
    bl_image mask;
    assert_int_equal(bl_change_mask(&made, &plain, attention, 7, 9, allowed, 15, 19, &mask), BL_OK);
    assert_int_equal(mask.pixels[(H / 2 - 8) * W + 3 * W / 9 + 9], 255); /* where attention peaks: row 3, column 3 */
    assert_int_equal(mask.pixels[(H - 1) * W + W - 1], 0);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(mask.pixels[i], allowed[i / W * 15 / H * 19] > 0 ? 255 : 0);
    bl_image_free(&mask);
}

static void attention_weighs(void **state)
{
    static float attention[H / CELL * W / CELL];
    (void)state;
    for (size_t i = 0; i < BL_COUNT(attention); i++)
        attention[i] = i % (W / CELL) < 5 ? 0.02f : 0.0f; /* any scale: the left half */
    start(5, 0);
    paint(24, 40, 48, 64, 60);
    paint(112, 40, 136, 64, 60); /* the same at the right, which the words do not look at */
    paint(80, 8, 100, 20, 30);   /* and something that differs half as much */
    bl_image both = changed(NULL, NULL), mask = changed(attention, NULL);
    assert_int_equal(both.pixels[52 * W + 36], 255);
    assert_int_equal(both.pixels[52 * W + 124], 255);
    assert_int_equal(both.pixels[14 * W + 90], 0);
    assert_int_equal(mask.pixels[52 * W + 36], 255);
    assert_int_equal(mask.pixels[52 * W + 124], 0);
    bl_image_free(&both);
    bl_image_free(&mask);
}

static void specks_and_pinholes_go(void **state)
{
    (void)state;
    start(11, 0);
    paint(40, 32, 120, 96, 60);
    paint(80, 64, 81, 65, -60); /* one pixel within that is as before */
    paint(10, 10, 11, 11, 60);  /* and one outside that is not */
    bl_image mask = changed(NULL, NULL);
    assert_int_equal(mask.pixels[64 * W + 80], 255);
    assert_int_equal(mask.pixels[10 * W + 10], 0);
    bl_image_free(&mask);

    /* the parts themselves: . 0, # 255 */
    static const char before[] = "#....." ".####." ".#..#." ".####." "....##" "#....#", no_specks[] = "......" ".####." ".#..#." ".####."
                                 "....##" ".....#", no_holes[] = "#....." ".####." ".####." ".####." "....##" "#....#";
    static const struct { uint8_t value; size_t least; const char *after; } rows[] = {
        { 255, 2, no_specks }, { 255, 1, before }, { 0, 3, no_holes }, { 0, 2, before }, { 255, 0, before },
        { 255, 100, "......" "......" "......" "......" "......" "......" },
        { 0, 100, "######" "######" "######" "######" "######" "######" },
    };
    for (size_t k = 0; k < BL_COUNT(rows); k++) {
        uint8_t cells[36];
        for (size_t i = 0; i < 36; i++)
            cells[i] = before[i] == '#' ? 255 : 0;
        assert_true(bl_drop_small(cells, 6, 6, rows[k].value, rows[k].least));
        for (size_t i = 0; i < 36; i++)
            if ((cells[i] == 255) != (rows[k].after[i] == '#'))
                fail_msg("row %zu, cell %zu: %u", k, i, cells[i]);
    }
}

static void otsu_parts_in_two(void **state)
{
    static float values[1000];
    (void)state;
    random_state = 1;
    for (int k = 0; k < 50; k++) {
        const float low = (float)random_below(400) / 1000, high = low + 0.1f + (float)random_below(400) / 1000;
        const uint32_t few = 20 + random_below(960);
        for (uint32_t i = 0; i < 1000; i++)
            values[i] = (i < few ? low : high) + (float)random_below(1000) / 40000;
        const float cut = bl_otsu(values, 1000);
        for (uint32_t i = 0; i < 1000; i++)
            if ((values[i] >= cut) != (i >= few))
                fail_msg("%g and %g: cut at %g", (double)low, (double)high, (double)cut);
    }
    for (int k = 0; k <= 4; k++) { /* one value: nothing lies apart, and only 0 is below */
        values[0] = values[1] = (float)k / 4;
        assert_true((values[0] >= bl_otsu(values, 2)) == (k > 0));
    }
    values[0] = 0.2f;
    values[1] = 1;
    const float cut = bl_otsu(values, 2);
    assert_true(cut > 0.2f && cut <= 1);
}

static void overlay(void **state)
{
    static float attention[H / CELL * W / CELL], none[H / CELL * W / CELL];
    bl_image out;
    (void)state;
    start(1, 0);
    attention[2 * (W / CELL) + 7] = 0.001f; /* any scale */
    assert_int_equal(bl_attention_overlay(&plain, attention, H / CELL, W / CELL, &out), BL_OK);
    assert_true(out.width == W && out.height == H && out.channels == 3);
    for (uint32_t y = 0; y < H; y++)
        for (uint32_t x = 0; x < W; x++) {
            const uint8_t *p = out.pixels + 3 * (y * W + x), *in = plain_pixels + 3 * (y * W + x);
            const int grey = (299 * in[0] + 587 * in[1] + 114 * in[2]) / 2000; /* half of it shows */
            const bool peak = y / CELL == 2 && x / CELL == 7 && y % CELL / 2 == CELL / 4 && x % CELL / 2 == CELL / 4;
            const bool far = abs((int)x - 7 * CELL - CELL / 2) > CELL || abs((int)y - 2 * CELL - CELL / 2) > CELL;
            if (peak)
                assert_true(p[0] - grey > 60 && p[0] > p[1] && abs(p[2] - grey) <= 1);
            if (far) /* dark blue */
                assert_true(abs(p[0] - grey) <= 1 && abs(p[1] - grey) <= 1 && abs(p[2] - grey - 64) <= 1);
        }
    bl_image_free(&out);
    assert_int_equal(bl_attention_overlay(&plain, none, H / CELL, W / CELL, &out), BL_OK); /* no attention at all: blue */
    assert_true(out.pixels[2] > out.pixels[0] + 60);
    bl_image_free(&out);
}

/* The made picture on the mask, the photo beyond the feather, and nothing but a slope between. */
static void the_photo_is_put_back(void **state)
{
    enum { SIDE_X = 90, SIDE_Y = 70, LEFT = 30, TOP = 20, RIGHT = 50, BOTTOM = 45 };
    (void)state;
    for (int edge = 2; edge <= 8; edge *= 2) {
        bl_image photo, over, mask;
        assert_int_equal(bl_image_create(SIDE_X, SIDE_Y, 3, &photo), BL_OK);
        assert_int_equal(bl_image_create(SIDE_X, SIDE_Y, 3, &over), BL_OK);
        assert_int_equal(bl_image_create(SIDE_X, SIDE_Y, 1, &mask), BL_OK);
        for (int i = 0; i < SIDE_X * SIDE_Y; i++) {
            const int x = i % SIDE_X, y = i / SIDE_X;
            memset(photo.pixels + 3 * i, 100, 3);
            memset(over.pixels + 3 * i, 201, 3);
            mask.pixels[i] = x >= LEFT && x < RIGHT && y >= TOP && y < BOTTOM ? 255 : 0;
        }
        assert_int_equal(bl_paste_back(&photo, &mask, (uint32_t)edge, &over), BL_OK);
        int slope = 0;
        for (int i = 0; i < SIDE_X * SIDE_Y; i++) {
            const int x = i % SIDE_X, y = i / SIDE_X, v = over.pixels[3 * i];
            const int dx = BL_MAX(BL_MAX(LEFT - x, x - RIGHT + 1), 0), dy = BL_MAX(BL_MAX(TOP - y, y - BOTTOM + 1), 0);
            const int far = BL_MAX(dx, dy);
            assert_true(far > 0 || v == 201);
            assert_true(far <= 2 * edge || v == 100);
            assert_true(v >= 100 && v <= 201);
            if (y == TOP + 10 && x > 0 && x < LEFT)
                assert_true(v >= over.pixels[3 * (i - 1)]);
            slope += v > 100 && v < 201;
        }
        assert_true(slope > 0);
        bl_image_free(&photo);
        bl_image_free(&over);
        bl_image_free(&mask);
    }
}

/* --- memory --------------------------------------------------------------------------------------------------------------- */

static int until_failure, held;

static void *failing_resize(void *p, size_t size)
{
    if (!until_failure--)
        return NULL;
    held += !p;
    return realloc(p, size);
}

static void counting_free(void *p)
{
    held -= p != NULL;
    free(p);
}

static void memory_may_fail(void **state)
{
    const bl_memory_api before = bl_memory;
    bl_result r[2] = { BL_ERROR_MEMORY, BL_ERROR_MEMORY };
    bool wrong = false;
    int n = 0;
    (void)state;
    start(11, 0);
    paint(40, 32, 120, 96, 60);
    bl_memory = (bl_memory_api){ failing_resize, counting_free };
    for (; (r[0] == BL_ERROR_MEMORY || r[1] == BL_ERROR_MEMORY) && n < 100; n++) {
        bl_image mask[2];
        until_failure = n;
        held = 0;
        r[0] = bl_change_mask(&made, &plain, NULL, 1, 1, NULL, 1, 1, &mask[0]);
        until_failure = n;
        r[1] = bl_mask_auto(&made, &(bl_mask_options){ sizeof(bl_mask_options), "perlin", 0, 0, 1 }, &mask[1]);
        for (int i = 0; i < 2; i++) {
            wrong |= (r[i] == BL_OK) != (mask[i].pixels != NULL);
            bl_image_free(&mask[i]);
        }
        if (held)
            break;
    }
    bl_memory = before;
    assert_int_equal(held, 0);
    assert_false(wrong);
    assert_true(n > 8 && n < 100 && r[0] == BL_OK);
    assert_true(r[1] == BL_OK || r[1] == BL_ERROR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_change_is_found), cmocka_unit_test(nothing_changed), cmocka_unit_test(something_changed),
        cmocka_unit_test(only_where_allowed), cmocka_unit_test(grids_of_any_size), cmocka_unit_test(attention_weighs),
        cmocka_unit_test(specks_and_pinholes_go), cmocka_unit_test(otsu_parts_in_two), cmocka_unit_test(overlay),
        cmocka_unit_test(the_photo_is_put_back), cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
