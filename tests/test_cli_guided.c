/* The command line makes a guided picture: every file that comes with it, and what is told of them. */
#include "cli_runner.h"

/* A dark square on a light ground, with some texture. */
static void write_photo(const char *path)
{
    enum { SIDE = 96 };
    const bl_image photo = { SIDE, SIDE, 3, calloc(3, SIDE * SIDE) };
    assert_non_null(photo.pixels);
    for (int i = 0; i < SIDE * SIDE; i++) {
        const int x = i % SIDE, y = i / SIDE, inside = x >= 24 && x < 72 && y >= 24 && y < 72;
        memset(photo.pixels + 3 * i, (inside ? 60 : 200) + (x * 7 + y * 13) % 20, 3);
    }
    assert_int_equal(bl_image_write_png(path, &photo, NULL, 0), BL_OK);
    free(photo.pixels);
}

/* How many pixels are white; the rest must be black. */
static size_t white_of(const char *path, uint32_t side, bool *inside)
{
    bl_image image;
    size_t white = 0;
    assert_int_equal(bl_image_read(path, 1, &image), BL_OK);
    assert_true(image.width == side && image.height == side);
    *inside = true;
    for (size_t i = 0; i < (size_t)side * side; i++) {
        assert_true(image.pixels[i] == 0 || image.pixels[i] == 255);
        white += image.pixels[i] != 0;
        const size_t x = i % side, y = i / side;
        *inside = *inside && (!image.pixels[i] || (x >= side / 4 - 1 && x <= side * 3 / 4 && y >= side / 4 - 1 && y <= side * 3 / 4));
    }
    bl_image_free(&image);
    return white;
}

/* Everything that comes with a guided picture, for two seeds. */
static void test_guided(void **state)
{
    (void)state;
    const char *model = tiny_model();
    need_device();
    write_photo("p.png");
    assert_int_equal(RUN("generate", "-m", model, "--object", "hazelnut", "--defect", "cracked", "--photo", "p.png",
                         "--crop", "none", "--mask", "auto", "--mask-size", "0.1-0.4", "--width", "128", "--height", "128",
                         "--steps", "4", "--count", "2", "-o", "g.png",
                         "--save-region", "--save-attention", "--save-photo", "--trace", "t.jsonl", "--plot", "plot.png", "--json"), 0);
    assert_int_equal(files_here(), 15);
    json_t *json = output_json(), *first = json_array_get(json_object_get(json, "files"), 0);
    static const char *const keys[] = { "path", "mask", "region", "attention", "photo", "trace", "plot" };
    static const char *const names[] = { "g-0001.png", "g-0001_mask.png", "g-0001_region.png", "g-0001_attention.png",
                                         "g-0001_photo.png", "t-0001.jsonl", "plot-0001.png" };
    for (size_t i = 0; i < COUNT(keys); i++) {
        assert_string_equal(json_string_value(json_object_get(first, keys[i])), names[i]);
        assert_int_equal(access(names[i], R_OK), 0);
    }
    assert_int_equal(json_integer_value(json_object_get(first, "steps_run")), 2);
    assert_int_equal(json_integer_value(json_object_get(first, "decodes")), 2);
    assert_true(json_integer_value(json_object_get(first, "unet_backwards")) > 0);
    assert_true(json_real_value(json_object_get(first, "gflop")) > json_real_value(json_object_get(first, "plain_gflop")));
    const json_t *parameters = json_object_get(first, "parameters"), *method = json_object_get(parameters, "method");
    const json_t *mask = json_object_get(parameters, "mask");
    assert_string_equal(json_string_value(json_object_get(mask, "shape")), "ellipse");
    assert_true(json_real_value(json_object_get(mask, "smallest")) == 0.1 && json_real_value(json_object_get(mask, "largest")) == 0.4);
    assert_string_equal(json_string_value(json_object_get(method, "name")), "cut");
    assert_string_equal(json_string_value(json_object_get(method, "object")), "hazelnut");
    assert_string_equal(json_string_value(json_object_get(method, "defect")), "cracked");
    assert_string_equal(json_string_value(json_object_get(parameters, "prompt")), "a photo of a hazelnut that is cracked");
    json_decref(json);

    bool inside, region_inside;
    const size_t region = white_of("g-0001_region.png", 128, &region_inside), changed = white_of("g-0001_mask.png", 128, &inside);
    assert_true(region > 0.08 * 64 * 64 && region < 0.45 * 64 * 64 && region_inside);
    assert_true(changed > 0);
    size_t size, other;
    char *a = read_whole("g-0001_region.png", &size), *b = read_whole("g-0002_region.png", &other);
    assert_true(size != other || memcmp(a, b, size)); /* every seed draws its own */
    free(a);
    free(b);

    bl_image photo, used, expected; /* the whole photo, it is square, at the picture's size */
    assert_int_equal(bl_image_read("p.png", 3, &photo), BL_OK);
    assert_int_equal(bl_image_read("g-0001_photo.png", 3, &used), BL_OK);
    assert_int_equal(bl_image_resize(&photo, 128, 128, BL_FILTER_LANCZOS, &expected), BL_OK);
    assert_true(used.width == 128 && used.height == 128);
    assert_memory_equal(used.pixels, expected.pixels, 3 * 128 * 128);
    bl_image made, where; /* what lies further than a cell of the latents from what changed is the photo's own */
    assert_int_equal(bl_image_read("g-0001.png", 3, &made), BL_OK);
    assert_int_equal(bl_image_read("g-0001_mask.png", 1, &where), BL_OK);
    int kept = 0, differ = 0;
    for (int i = 0; i < 128 * 128; i++) {
        bool near = false;
        for (int k = 0; k < 17 * 17 && !near; k++) {
            const int x = i % 128 + k % 17 - 8, y = i / 128 + k / 17 - 8;
            near = x >= 0 && y >= 0 && x < 128 && y < 128 && where.pixels[y * 128 + x];
        }
        const bool same = !memcmp(made.pixels + 3 * i, used.pixels + 3 * i, 3);
        assert_true(near || same);
        kept += !near;
        differ += !same;
    }
    assert_true(kept > 0 && differ > 0);
    bl_image_free(&made);
    bl_image_free(&where);
    bl_image_free(&photo);
    bl_image_free(&used);
    bl_image_free(&expected);

    FILE *f = fopen("t-0001.jsonl", "r");
    char line[4096];
    int updates = 0, lines = 0;
    assert_non_null(f);
    for (; fgets(line, sizeof(line), f); lines++) {
        json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        const bool update = !strcmp(json_string_value(json_object_get(json, "kind")), "update");
        assert_true(lines > 0 || !strcmp(json_string_value(json_object_get(json, "kind")), "run"));
        if (update)
            assert_true(json_real_value(json_object_get(json, "gradient_norm")) > 0 && json_real_value(json_object_get(json, "alpha")) > 0);
        updates += update;
        json_decref(json);
    }
    fclose(f);
    assert_int_equal(updates, 2); /* one in each step that ran */

    /* the same alone, with its mask given: neither a mask nor a region need be written */
    assert_int_equal(RUN("generate", "-m", model, "-p", "a [[cracked]] hazelnut", "--photo", "p.png",
                         "--crop", "none", "--mask", "g-0001_region.png", "--width", "128", "--height", "128",
                         "--steps", "4", "-o", "h.png", "--method", "sd", "--no-mask-out", "-v"), 0);
    assert_int_equal(files_here(), 16);
    assert_says(err_path, "pictures decoded");
}

typedef struct update {
    double timestep, loss, norm;
} update;

/* Losses and gradients of every update of a trace; how many there are. */
static size_t read_updates(const char *path, update *out, size_t room)
{
    char line[4096];
    size_t count = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        json_t *json = json_loads(line, 0, NULL);
        if (!strcmp(json_string_value(json_object_get(json, "kind")), "update")) {
            assert_true(count < room);
            out[count++] = (update){ json_number_value(json_object_get(json, "t")),
                json_number_value(json_object_get(json, "attention_loss")), json_number_value(json_object_get(json, "gradient_norm")) };
        }
        json_decref(json);
    }
    fclose(f);
    return count;
}

static bool near(double a, double b) { return a - b < 1e-4 * a && b - a < 1e-4 * a; }

static size_t run_cut(const char *scheduler, const char *out, update *updates, size_t room)
{
    assert_int_equal(RUN("generate", "-m", tiny_model(), "--object", "nut", "--defect", "cracked", "--photo", "p.png",
                         "--crop", "none", "--width", "64", "--height", "64", "--steps", "6", "--scheduler", scheduler, "--spacing",
                         "leading", "--precision", "f32", "-o", out, "--trace", "t.jsonl", "-f"), 0);
    return read_updates("t.jsonl", updates, room);
}

/* Guidance works on latents of one scale whatever the scheduler: from the same start it finds the same loss and gradient. Euler, which
 * is DDIM but for its last step, finds the same in every step; with ancestral noise, what it finds parts from there. */
static void test_guided_by_any_scheduler(void **state)
{
    (void)state;
    enum { STEPS = 3 };
    need_device();
    write_photo("p.png");
    update ddim[STEPS], euler[STEPS], ancestral[STEPS], other[64];
    assert_int_equal(run_cut("ddim", "d.png", ddim, STEPS), STEPS);
    assert_int_equal(run_cut("euler", "e.png", euler, STEPS), STEPS);
    assert_int_equal(run_cut("euler-a", "a.png", ancestral, STEPS), STEPS);
    for (size_t i = 0; i < STEPS; i++) {
        assert_true(ddim[i].norm > 0 && ddim[i].timestep > 0);
        assert_true(ddim[i].timestep == euler[i].timestep && ddim[i].timestep == ancestral[i].timestep);
        assert_true(near(ddim[i].loss, euler[i].loss) && near(ddim[i].norm, euler[i].norm));
        assert_int_equal(near(ddim[i].norm, ancestral[i].norm), i == 0);
    }
    bool inside;
    assert_true(white_of("e_mask.png", 64, &inside) > 0); /* the defect-free denoising has had the same noise */
    assert_true(white_of("a_mask.png", 64, &inside) > 0);

    static const char *const runs[][2] = { { "cut", "dpm++2m" }, { "cut", "lcm" }, { "anomalyany", "euler-a" }, { "anomalyany", "dpm++2m" },
                                           { "attend", "euler" }, { "attend", "lcm" } };
    for (size_t i = 0; i < COUNT(runs); i++) {
        assert_int_equal(RUN("generate", "-m", tiny_model(), "-p", "a [[cracked]] nut", "--photo", "p.png", "--crop", "none", "--width",
                             "64", "--height", "64", "--steps", "4", "--method", runs[i][0], "--scheduler", runs[i][1], "--rng",
                             "torch-cpu", "-o", "o.png", "-f", "--trace", "o.jsonl", "--mask", "none"), 0);
        const size_t count = read_updates("o.jsonl", other, COUNT(other));
        assert_int_equal(count > 0, strcmp(runs[i][0], "attend") != 0);
        for (size_t k = 0; k < count; k++)
            assert_true(other[k].norm >= 0 && other[k].loss > 0 && other[k].loss <= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_guided, before_each),
        cmocka_unit_test_setup(test_guided_by_any_scheduler, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
