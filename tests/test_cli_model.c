/* The options that say which model: single files, other parts, LoRAs, and what is refused of them; inspect. */
#include "cli_runner.h"
#include "ldm_writer.h"

#define TOKENIZER TEST_DATA "/tokenizer"
#define MODEL "m.safetensors"
#define GENERATE "generate", "--prompt", "a photo of a hazelnut", "--width", "64", "--height", "64", "--steps", "2", "--scheduler", "ddim"
#define NO_MODEL "generate", "--prompt", "a nut", "--model", "nowhere"
static const fx_options sd1 = { .published = true };

/* --- refused before anything is opened -------------------------------------------------------------------------------------- */

static void test_usage(void **state)
{
    (void)state;
    static const struct { const char *args[12]; const char *reason; } cases[] = {
        { { NO_MODEL, "--lora", "" }, "--lora: needs a name" },
        { { NO_MODEL, "--lora", "-" }, "--lora: needs a name" },
        { { NO_MODEL, "--lora" }, "--lora needs a value: --lora FILE[:SCALE]" },
        { { NO_MODEL, "--lora", "a:0" }, "--lora: must be FILE or FILE:SCALE with a scale from -100 to 100 other than 0, not \"a:0\"" },
        { { NO_MODEL, "--lora", "a:1", "--lora", "b:-101" }, "not \"b:-101\"" },
        { { NO_MODEL, "--lora", "a:1e-60" }, "not \"a:1e-60\"" }, /* 0 as a float */
        { { NO_MODEL, "--prediction", "x0" }, "--prediction: must be one of epsilon, v, not \"x0\"" },
        { { NO_MODEL, "--vae", "" }, "--vae: is empty" },
        { { NO_MODEL, "--tokenizer", "-" }, "--tokenizer: needs a name" },
        { { "verify", "--model", "m", "--lora", "a:0", "x" }, "blemish verify: --lora: must be FILE" },
        { { "inspect" }, "FILE is missing" },
        { { "inspect", "a", "b" }, "takes one FILE" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const int code = run(cases[i].args);
        if (code != 2 || !says(err_path, cases[i].reason)) {
            print_message("row %zu gives %d\n", i, code);
            assert_says(err_path, cases[i].reason);
            assert_int_equal(code, 2);
        }
        assert_empty(out_path);
    }
    const char *many[ARGS_MAX + 1] = { NO_MODEL };
    char texts[ARGS_MAX][16];
    for (size_t i = 5; i + 1 < ARGS_MAX; i++) {
        snprintf(texts[i], sizeof(texts[i]), "--lora=x%zu", i);
        many[i] = texts[i];
    }
    assert_int_equal(run(many), 2);
    assert_says(err_path, "--lora: is given more than 16 times");
}

/* --- other formats ---------------------------------------------------------------------------------------------------------- */

#define BYTES(s) s, sizeof(s) - 1
static const struct { const char *bytes; size_t size; const char *message; } formats[] = {
    { BYTES("PK\3\4\0\0\x08\x08\0\0\0\0\0\0archive/data.pkl"), "is a PyTorch pickle checkpoint (zip), which can run code" },
    { BYTES("\x80\x02}q\0"), "is a Python pickle (an old PyTorch checkpoint), which can run code" },
    { BYTES("GGUF\3\0\0\0\0\0\0\0\0\0\0\0"), "is a GGUF file" }, { BYTES("\x08\x07\x12\x07pytorch"), "is an ONNX model" },
    { BYTES("\x1f\x8b\x08\0\0\0\0\0\0\3"), "is gzip-compressed; unpack it first" },
    { BYTES("version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer, not the model itself; fetch it" },
    { BYTES("<html><body>"), "is an HTML page, not a model; the download has failed" },
};

static void test_other_formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(formats); i++) {
        assert_int_equal(st_save("x", formats[i].bytes, formats[i].size), 0);
        assert_int_equal(RUN("inspect", "x"), 4);
        assert_says(err_path, formats[i].message);
        assert_empty(out_path);
    }
}

static void test_other_formats_as_parts(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(fx_write("m", TOKENIZER, &sd1), 0);
    assert_int_equal(mkdir("t", 0700), 0);
    for (size_t i = 0; i < COUNT(formats); i++) {
        assert_int_equal(st_save("x", formats[i].bytes, formats[i].size), 0);
        const char *const ways[][6] = { { "--model", "x", "--tokenizer", TOKENIZER }, { "--model", "m", "--vae", "x" },
                                        { "--model", "m", "--lora", "x" } };
        for (size_t k = 0; k < COUNT(ways); k++) {
            assert_int_equal(RUN(GENERATE, ways[k][0], ways[k][1], ways[k][2], ways[k][3]), 4);
            assert_says(err_path, formats[i].message);
            assert_empty(out_path);
        }
    }
    assert_int_equal(RUN("verify", "--model", "x", "--tokenizer", TOKENIZER, "x"), 4);
    assert_says(err_path, "is an HTML page");
    assert_int_equal(RUN(GENERATE, "--model", "m", "--tokenizer", "t"), 4);
    assert_says(err_path, "vocab.json");
    assert_int_equal(RUN(GENERATE, "--model", "m", "--tokenizer", "x"), 4);
    assert_says(err_path, "x is a file; a tokenizer is a folder");
    rmdir("t");
    fx_remove("m");
}

/* --- pictures --------------------------------------------------------------------------------------------------------------- */

static void expect_same_picture(const char *a, const char *b, bool same)
{
    bl_image x, y;
    assert_int_equal(bl_image_read(a, 3, &x), BL_OK);
    assert_int_equal(bl_image_read(b, 3, &y), BL_OK);
    assert_true(x.width == y.width && x.height == y.height);
    assert_int_equal(!memcmp(x.pixels, y.pixels, 3ull * x.width * x.height), same);
    bl_image_free(&x);
    bl_image_free(&y);
}

static void test_single_file(void **state)
{
    (void)state;
    static const fx_options other = { .published = true, .tensor = "decoder.conv_out.bias", .damage = FX_FLAT };
    static float down[64], up[64];
    const st_tensor lora[] = { { "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "F32", 2, { 1, 64 }, down },
                               { "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "F32", 2, { 32, 1 }, up } };
    need_device();
    for (size_t i = 0; i < 64; i++)
        down[i] = up[i] = i % 2 ? 1 : -0.5f;
    assert_int_equal(fx_write("m", TOKENIZER, &sd1), 0);
    assert_int_equal(ldm_write(MODEL, &sd1, LDM_CLIP), 0);
    assert_int_equal(ldm_write_part("vae.safetensors", &other, LDM_CLIP, "first_stage_model.", true, NULL), 0);
    assert_int_equal(st_write("a:b.safetensors", lora, 2, NULL, 0), 0);

    assert_int_equal(RUN(GENERATE, "--model", MODEL), 2);
    assert_says(err_path, "m.safetensors: a single file has no tokenizer: give the folder with vocab.json and merges.txt with --tokenizer");
    assert_int_equal(RUN("tokens", "--model", MODEL, "a nut"), 4);
    assert_says(err_path, "m.safetensors is a file; a tokenizer is a folder with vocab.json and merges.txt");

    assert_int_equal(RUN(GENERATE, "--model", "m", "-o", "folder.png"), 0);
    assert_int_equal(RUN(GENERATE, "--model", MODEL, "--tokenizer", TOKENIZER, "-o", "single.png"), 0);
    expect_same_picture("folder.png", "single.png", true);
    assert_int_equal(RUN(GENERATE, "--model", MODEL, "--tokenizer", TOKENIZER, "--vae", "vae.safetensors", "-o", "vae.png"), 0);
    expect_same_picture("folder.png", "vae.png", false);
    assert_int_equal(RUN(GENERATE, "--model", "m", "--lora", "a:b.safetensors", "--lora", "a:b.safetensors:-0.5", "-o", "lora.png"), 0);
    expect_same_picture("folder.png", "lora.png", false);
    assert_int_equal(RUN(GENERATE, "--model", "m", "--lora", "a:b.safetensors:0.5", "-o", "half.png"), 0);
    expect_same_picture("lora.png", "half.png", true);
    assert_int_equal(RUN(GENERATE, "--model", "m", "--prediction", "v", "-o", "v.png"), 0);
    expect_same_picture("folder.png", "v.png", false);

    assert_int_equal(RUN("inspect", "lora.png"), 0);
    assert_says(out_path, "a PNG picture");
    assert_says(out_path, "64 x 64");
    assert_says(out_path, "Steps: 2");
    assert_int_equal(RUN("inspect", "--json", "lora.png"), 0);
    json_t *o = output_json(), *list = json_object_get(json_object_get(o, "parameters"), "loras");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "name")), "a:b.safetensors");
    assert_true(json_number_value(json_object_get(json_array_get(list, 1), "scale")) == -0.5);
    json_decref(o);
    fx_remove("m");
}

/* --- inspect ---------------------------------------------------------------------------------------------------------------- */

static void test_inspect(void **state)
{
    (void)state;
    static const st_metadata metadata = { "title", "a toy\x1b[31m" };
    assert_int_equal(RUN("inspect", BLEMISH_SOURCE "/models/demo"), 0);
    assert_says(out_path, "a Stable Diffusion checkpoint in diffusers layout");
    assert_says(out_path, "channels 32-64-128, heads 1-2-4, context 128");
    assert_says(out_path, "on the device with --precision f16");
    assert_empty(err_path);
    assert_int_equal(ldm_write_part(MODEL, &sd1, LDM_CLIP, "", false, &metadata), 0);
    assert_int_equal(RUN("inspect", "--tensors", MODEL), 0);
    assert_says(out_path, "a Stable Diffusion checkpoint in one file");
    assert_says(out_path, "give it with --model and --tokenizer");
    assert_says(out_path, "a toy?[31m");
    assert_says(out_path, "model.diffusion_model.input_blocks.0.0.weight");
    assert_says(out_path, "64-4-3-3");
    assert_int_equal(RUN("inspect", "--json", MODEL), 0);
    json_t *o = output_json();
    assert_string_equal(json_string_value(json_object_get(json_object_get(o, "model"), "family")), "Stable Diffusion 1.x");
    assert_null(json_object_get(o, "list"));
    json_decref(o);
    assert_int_equal(st_save("broken.png", "\x89PNG\r\n\x1a\n", 8), 0);
    assert_int_equal(RUN("inspect", "broken.png"), 3);
    assert_int_equal(RUN("inspect", "nowhere"), 3);
    assert_says(err_path, "nowhere: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_usage, before_each),
        cmocka_unit_test_setup(test_other_formats, before_each),
        cmocka_unit_test_setup(test_other_formats_as_parts, before_each),
        cmocka_unit_test_setup(test_single_file, before_each),
        cmocka_unit_test_setup(test_inspect, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
