/* The model that is shipped with the project, trained and not random: guidance has to do something with it that can be seen. */
#include "cli_runner.h"
#include <math.h>

#define MODEL BLEMISH_SOURCE "/models/demo"
enum { SIDE = 128, PIXELS = SIDE * SIDE };

static const struct {
    const char *photo, *object, *defect, *template;
    int x, y, radius; /* of the region, on the object of that photo */
} cases[] = {
    { "hazelnut", "hazelnut", "crack", "a photo of a {object} with a {defect} on it", 64, 64, 20 },
    { "leather", "leather", "hole", "a photo of a {object} with a {defect} in it", 70, 50, 18 },
    { "ceramic_tile", "ceramic tile", "stain", "a photo of a {object} with a {defect} on it", 60, 70, 20 },
};

static void write_region(const char *path, int x, int y, int radius)
{
    static uint8_t pixels[PIXELS];
    const bl_image region = { SIDE, SIDE, 1, pixels };
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = (i % SIDE - x) * (i % SIDE - x) + (i / SIDE - y) * (i / SIDE - y) <= radius * radius ? 255 : 0;
    assert_int_equal(bl_image_write_png(path, &region, NULL, 0), BL_OK);
}

static bl_image read_picture(const char *path, uint32_t channels)
{
    bl_image image;
    assert_int_equal(bl_image_read(path, channels, &image), BL_OK);
    assert_true(image.width == SIDE && image.height == SIDE);
    return image;
}

/* Something that can be seen changes inside the region and nowhere else, and the written mask says so. */
static void test_defects(void **state)
{
    (void)state;
    need_device();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char photo_path[512];
        snprintf(photo_path, sizeof(photo_path), MODEL "/photos/%s.png", cases[i].photo);
        write_region("region.png", cases[i].x, cases[i].y, cases[i].radius);
        assert_int_equal(RUN("generate", "-m", MODEL, "--photo", photo_path, "--object", cases[i].object, "--defect", cases[i].defect,
                             "--template", cases[i].template, "--mask", "region.png", "--method", "cut", "--seed", "7",
                             "-o", "d.png", "--force"), 0);
        bl_image photo = read_picture(photo_path, 3), made = read_picture("d.png", 3);
        bl_image region = read_picture("region.png", 1), mask = read_picture("d_mask.png", 1);
        double change[2] = { 0 }, count[2] = { 0 }, both = 0, masked = 0;
        for (int p = 0; p < PIXELS; p++) {
            const int in = region.pixels[p] != 0;
            for (int k = 0; k < 3; k++)
                change[in] += abs(made.pixels[3 * p + k] - photo.pixels[3 * p + k]) / 3.0;
            count[in]++;
            masked += mask.pixels[p] != 0;
            both += mask.pixels[p] && in;
        }
        const double inside = change[1] / count[1], outside = change[0] / count[0];
        print_message("%s, %s: %.1f levels inside, %.2f outside; mask of %.0f pixels, %.0f %% of it inside\n", cases[i].object,
                      cases[i].defect, inside, outside, masked, 100 * both / fmax(masked, 1));
        assert_true(inside > 3 && inside > 10 * outside);
        assert_true(masked > 20 && both > 0.9 * masked);
        bl_image_free(&photo);
        bl_image_free(&made);
        bl_image_free(&region);
        bl_image_free(&mask);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defects, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
