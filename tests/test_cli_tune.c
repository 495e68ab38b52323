/* blemish tune, and what --plan and --no-tune make of a picture: with the shipped model, at its smallest. */
#include "cli_runner.h"

#define MODEL BLEMISH_SOURCE "/models/demo"
#define TUNE "tune", "--progress", "none", "-q", "--time-limit", "0.01"
#define GENERATE "generate", "--progress", "none", "-q", "--precision", "f32", "-m", MODEL, "-p", "a photo of a hazelnut", \
    "--width", "64", "--height", "64", "--steps", "1", "--force"

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* What a picture says of its plan; freed by json_decref. */
static json_t *plan_of(const char *picture)
{
    char *text = NULL;
    assert_int_equal(bl_image_read_text(picture, "blemish", &text), BL_OK);
    json_t *parameters = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *plan = json_incref(json_object_get(parameters, "plan"));
    bl_text_free(text);
    json_decref(parameters);
    assert_non_null(plan);
    return plan;
}

static bool ran(const json_t *plan, const char *kernel)
{
    bool found = false;
    for (size_t i = 0; i < json_array_size(json_object_get(plan, "kernels")); i++)
        found |= !strcmp(json_string_value(json_array_get(json_object_get(plan, "kernels"), i)), kernel);
    return found;
}

static void assert_same(const char *a, const char *b, bool whole)
{
    size_t size[2];
    char *file[2] = { read_whole(a, &size[0]), read_whole(b, &size[1]) };
    if (whole)
        assert_true(size[0] == size[1] && !memcmp(file[0], file[1], size[0]));
    bl_image image[2];
    assert_int_equal(bl_image_read(a, 3, &image[0]), BL_OK);
    assert_int_equal(bl_image_read(b, 3, &image[1]), BL_OK);
    assert_memory_equal(image[0].pixels, image[1].pixels, (size_t)image[0].width * image[0].height * 3);
    for (int i = 0; i < 2; i++) {
        bl_image_free(&image[i]);
        free(file[i]);
    }
}

static void test_refused(void **state)
{
    (void)state;
    need_device();
    write_text("empty.json", "");
    write_text("list.json", "[1]");
    const bl_image pixel = { 1, 1, 3, (uint8_t[3]){ 0 } };
    assert_int_equal(bl_image_write_png("plain.png", &pixel, NULL, 0), BL_OK);
    static const struct { int code; const char *args[28]; const char *reason; } cases[] = {
        { 2, { "tune", "a", "b" }, "takes one PATTERN" },
        { 2, { "tune", "--size", "64" }, "--size makes sense only with --model" },
        { 2, { "tune", "--plan", "p", "--no-tune" }, "contradict each other" },
        { 2, { TUNE, "nothing_*" }, "no op or kernel with a choice matches \"nothing_*\"" },
        { 1, { TUNE, "add_fwd", "--out", "missing/plan.json" }, "the folder \"missing\"" },
        { 1, { TUNE, "add_fwd", "--out", "list.json" }, "exists already" },
        { 4, { TUNE, "add_fwd", "--model", "missing" }, "missing: no such folder or file" },
        { 3, { TUNE, "add_fwd", "--plan", "missing.json" }, "missing.json: is neither a plan nor a picture of blemish: No such file" },
        { 3, { TUNE, "add_fwd", "--plan", "empty.json" }, "the plan: is empty" },
        { 3, { TUNE, "add_fwd", "--plan", "list.json" }, "the plan: has no \"choices\"" },
        { 3, { TUNE, "add_fwd", "--plan", "." }, ".: is neither a plan nor a picture" },
        { 3, { TUNE, "add_fwd", "--plan", "plain.png" }, "plain.png: does not say which kernels made it" },
        { 2, { GENERATE, "--plan", "a.png", "--no-tune" }, "contradict each other" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const int code = run(cases[i].args);
        assert_says(err_path, cases[i].reason);
        assert_int_equal(code, cases[i].code);
        assert_empty(out_path);
        assert_int_equal(files_here(), 3);
    }
}

/* A plan decides which kernels run and stands in the picture; that picture is a plan, too. */
static void test_picture(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(RUN(TUNE, "-m", MODEL, "--size", "64", "--precision", "f32", "--json", "--out", "found.json", "layer_norm_fwd"), 0);
    json_t *found = output_json(), *row;
    json_t *plan = json_load_file("found.json", JSON_REJECT_DUPLICATES, NULL), *choices = json_object_get(plan, "choices");
    assert_true(json_equal(json_object_get(found, "plan"), plan));
    assert_true(json_array_size(json_object_get(found, "rows")) > 0);
    size_t i;
    json_object_clear(choices); /* what was found differs from run to run: the simplest for all of them */
    json_array_foreach(json_object_get(found, "rows"), i, row)
    {
        json_t *key = json_sprintf("layer_norm_fwd f32 %s", json_string_value(json_object_get(row, "shape")));
        assert_string_equal(json_string_value(json_object_get(row, "op")), "layer_norm_fwd");
        json_object_set_new(choices, json_string_value(key), json_string("layer_norm_fwd"));
        json_decref(key);
    }
    json_object_set_new(choices, "softmax_fwd f32 rows=1,channels=1", json_string("softmax_fwd")); /* nobody needs it */
    assert_int_equal(json_dump_file(plan, "plan.json", 0), 0);

    assert_int_equal(RUN(GENERATE, "--no-tune", "-o", "default.png"), 0);
    assert_int_equal(RUN(GENERATE, "--plan", "plan.json", "-o", "planned.png"), 0);
    assert_empty(err_path);
    assert_int_equal(RUN(GENERATE, "--plan", "planned.png", "-o", "again.png"), 0);
    assert_int_equal(RUN(GENERATE, "--plan", "default.png", "-o", "default2.png"), 0);
    json_t *before = plan_of("default.png"), *after = plan_of("planned.png"), *tuning = json_object_get(after, "tuning");
    assert_false(ran(before, "layer_norm_fwd_f32"));
    assert_true(ran(after, "layer_norm_fwd_f32"));
    assert_string_equal(json_string_value(json_object_get(before, "tuning")), "default");
    assert_string_equal(json_string_value(json_object_get(tuning, "kernels")), bl_kernel_version());
    json_object_del(choices, "softmax_fwd f32 rows=1,channels=1");
    assert_true(json_equal(json_object_get(tuning, "choices"), choices));
    assert_same("planned.png", "again.png", true);
    assert_same("default.png", "default2.png", true);
    assert_same("default.png", "planned.png", false); /* in f32 all of them sum in the same order */
    assert_int_equal(RUN(GENERATE, "--plan", "planned.png", "-o", "planned.png"), 2);
    assert_says(err_path, "planned.png: is also what is read");

    assert_int_equal(RUN("bench", "--progress", "none", "-q", "--time-limit", "0.01", "--precision", "f32", "--plan", "planned.png",
                         "--out", "text.jsonl", "model", "-m", MODEL, "text", "--width", "64", "--height", "64"), 0);
    json_t *context = json_load_file("text.jsonl", JSON_DISABLE_EOF_CHECK, NULL); /* its first line */
    assert_true(json_equal(json_object_get(context, "tuning"), choices));
    json_decref(context);

    json_object_set_new(plan, "kernels", json_string("others"));
    assert_int_equal(json_dump_file(plan, "plan.json", 0), 0);
    assert_int_equal(RUN("generate", "--plan", "plan.json", "-m", MODEL, "-p", "a nut", "--dry-run"), 0);
    assert_says(err_path, "warning: the plan was made with other kernels or capabilities");
    json_decref(before);
    json_decref(after);
    json_decref(plan);
    json_decref(found);
}

/* What is kept in the cache is used by itself and told by the doctor; nonsense there is as if it were not. */
static void test_cache(void **state)
{
    (void)state;
    need_device();
    char path[256];
    setenv("BLEMISH_CACHE_DIR", "kept", 1);
    assert_int_equal(RUN("doctor"), 0);
    assert_says(out_path, "  tuning      none with this driver and these kernels ('blemish tune')");
    assert_int_equal(RUN("tune", "--time-limit", "0.01", "--progress", "none", "normalize_fwd"), 0);
    assert_says(out_path, " of 1 shape classes are faster with another kernel than the default on ");
    assert_int_equal(RUN("doctor", "--json"), 0);
    json_t *json = output_json(), *device = json_array_get(json_object_get(json, "devices"), 0);
    assert_true(json_is_true(json_object_get(json_object_get(device, "tuning"), "there")));
    snprintf(path, sizeof(path), "kept/tuning-%s.bin", json_string_value(json_object_get(device, "uuid")));
    json_decref(json);
    assert_int_equal(access(path, R_OK), 0);
    assert_int_equal(RUN("doctor"), 0);
    assert_says(out_path, "  tuning      in use: ");

    assert_int_equal(RUN(GENERATE, "--no-tune", "-o", "default.png"), 0);
    write_text(path, "{\"choices\": {}}");
    assert_int_equal(RUN(GENERATE, "-o", "bad.png"), 0);
    assert_empty(err_path);
    assert_same("default.png", "bad.png", true);
    assert_int_equal(RUN("tune", "--no-cache", "--time-limit", "0.01", "-q", "normalize_fwd"), 0); /* nothing is kept */
    assert_int_equal(RUN("doctor"), 0);
    assert_says(out_path, "  tuning      none with this driver");
    assert_int_equal(chdir("kept"), 0);
    remove_all();
    assert_int_equal(chdir(".."), 0);
    snprintf(path, sizeof(path), "%s/cache", root);
    setenv("BLEMISH_CACHE_DIR", path, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refused, before_each), cmocka_unit_test_setup(test_picture, before_each),
        cmocka_unit_test_setup(test_cache, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
