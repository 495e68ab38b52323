/* What files are, told without a device; and what is no model, named. */
#include "failing_memory.h"
#include "ldm_writer.h"
#include <setjmp.h>
#include <cmocka.h>

static char root[] = "/tmp/blemish-inspect-XXXXXX", folder[64], file[96];
static const fx_options sd1 = { .published = true }, sd2 = { .published = true, .linear_projection = true, .dtype = "F16" };

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    snprintf(folder, sizeof(folder), "%s/folder", root);
    snprintf(file, sizeof(file), "%s/file", root);
    return fx_write(folder, TEST_DATA "/tokenizer", &sd1);
}

static int teardown(void **state)
{
    (void)state;
    fx_remove(folder);
    unlink(file);
    return rmdir(root);
}

static json_t *inspect(const char *path, int list)
{
    char *text = NULL;
    if (bl_inspect(path, list, &text) != BL_OK)
        fail_msg("%s", bl_last_error());
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    bl_text_free(text);
    return o;
}

/* "model.family" */
static const json_t *at(const json_t *o, const char *path)
{
    char part[64];
    for (const char *p = path; p && o; p = strchr(p, '.') ? strchr(p, '.') + 1 : NULL) {
        snprintf(part, sizeof(part), "%.*s", (int)strcspn(p, "."), p);
        o = json_object_get(o, part);
    }
    if (!o)
        fail_msg("no %s", path);
    return o;
}
static const char *text_at(const json_t *o, const char *path) { return json_string_value(at(o, path)); }
static json_int_t number_at(const json_t *o, const char *path) { return json_integer_value(at(o, path)); }

/* --- models ---------------------------------------------------------------------------------------------------------------- */

/* Values of a part of the fixture; `all` with the tables of tokens and places. */
static json_int_t values_of(void (*fill)(fx_part *), bool all)
{
    fx_part *p = calloc(1, sizeof(*p));
    json_int_t sum = 0;
    assert_non_null(p);
    p->o = &sd1;
    fill(p);
    for (size_t i = 0; i < p->count; i++) {
        const st_tensor *t = &p->tensors[i];
        sum += all || !strstr(t->name, "embeddings.") ? (json_int_t)(st_tensor_bytes(t) / st_dtype_bytes(t->dtype)) : 0;
        free((void *)(uintptr_t)t->data);
    }
    free(p);
    return sum;
}

static void expect_model(const json_t *o, bool second)
{
    const json_int_t nets = values_of(fx_text_tensors, false) + values_of(fx_unet_tensors, true), vae = values_of(fx_vae_tensors, true);
    assert_string_equal(text_at(o, "model.family"), second ? "Stable Diffusion 2.x" : "Stable Diffusion 1.x");
    assert_int_equal(number_at(o, "model.context"), 64);
    assert_int_equal(json_integer_value(json_array_get(at(o, "model.channels"), 1)), 128);
    assert_int_equal(json_integer_value(json_array_get(at(o, "model.heads"), 1)), second ? 2 : 8);
    assert_int_equal(number_at(o, "model.text_layers"), FX_TEXT_LAYERS);
    assert_string_equal(text_at(o, "model.prediction"), "epsilon");
    assert_true(json_is_boolean(at(o, "model.prediction_assumed")) && json_is_true(at(o, "model.prediction_assumed")) == second);
    assert_int_equal(number_at(o, "weights.parameters.text_encoder"), values_of(fx_text_tensors, false));
    assert_int_equal(number_at(o, "weights.parameters.unet"), values_of(fx_unet_tensors, true));
    assert_int_equal(number_at(o, "weights.parameters.vae"), vae);
    assert_int_equal(number_at(o, "weights.f16_bytes"), 2 * nets + 4 * vae);
    assert_int_equal(number_at(o, "weights.f32_bytes"), 4 * nets + 4 * vae);
}

static void a_folder(void **state)
{
    (void)state;
    const json_int_t all = values_of(fx_text_tensors, true) + values_of(fx_unet_tensors, true) + values_of(fx_vae_tensors, true);
    json_t *o = inspect(folder, 0);
    assert_string_equal(text_at(o, "kind"), "a Stable Diffusion checkpoint in diffusers layout");
    expect_model(o, false);
    assert_int_equal(number_at(o, "model.side"), 64); /* sample_size 32, of 2 pixels each */
    assert_int_equal(number_at(o, "tensors.parameters"), all);
    assert_int_equal(number_at(o, "tensors.types.I64"), 1);
    assert_int_equal(number_at(o, "tensors.types.F32"), number_at(o, "tensors.count") - 1);
    assert_int_equal(number_at(o, "tensors.bytes"), 4 * all + 4 * FX_POSITIONS);
    assert_string_equal(text_at(o, "model.scheduler"), "ddim");
    assert_null(json_object_get(o, "list"));
    json_decref(o);
}

static void a_single_file(void **state)
{
    (void)state;
    static const st_metadata metadata = { "modelspec.title", "a \"toy\"\n" };
    struct stat s;
    assert_int_equal(ldm_write_part(file, &sd2, LDM_OPEN_CLIP, "", false, &metadata), 0);
    assert_int_equal(stat(file, &s), 0);
    json_t *o = inspect(file, 1), *tensor;
    size_t i, found = 0;
    assert_string_equal(text_at(o, "kind"), "a Stable Diffusion checkpoint in one file");
    assert_string_equal(text_at(o, "use"), "give it with --model and --tokenizer");
    expect_model(o, true);
    assert_int_equal(number_at(o, "bytes"), s.st_size);
    assert_string_equal(json_string_value(json_object_get(at(o, "metadata"), "modelspec.title")), "a \"toy\"\n");
    assert_int_equal(json_array_size(at(o, "list")), number_at(o, "tensors.count"));
    json_array_foreach(at(o, "list"), i, tensor)
        if (!strcmp(text_at(tensor, "name"), "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight")) {
            assert_string_equal(text_at(tensor, "type"), "F16");
            assert_int_equal(json_array_size(at(tensor, "shape")), 2);
            assert_int_equal(json_integer_value(json_array_get(at(tensor, "shape"), 0)), 192);
            found++;
        }
    assert_int_equal(found, 1);
    json_decref(o);

    assert_int_equal(ldm_write_part(file, &sd1, LDM_CLIP, "model.", false, NULL), 0);
    o = inspect(file, 0);
    assert_string_equal(text_at(o, "kind"), "a Stable Diffusion checkpoint in one file");
    assert_non_null(strstr(text_at(o, "problem"), "has no text encoder"));
    assert_null(json_object_get(o, "model"));
    json_decref(o);

    assert_int_equal(ldm_write_part(file, &sd1, LDM_CLIP, "first_stage_model.", true, NULL), 0);
    o = inspect(file, 0);
    assert_string_equal(text_at(o, "kind"), "an autoencoder alone");
    assert_string_equal(text_at(o, "use"), "give it with --vae, beside --model");
    assert_int_equal(number_at(o, "tensors.parameters"), values_of(fx_vae_tensors, true));
    json_decref(o);
}

/* --- pictures -------------------------------------------------------------------------------------------------------------- */

static void pictures(void **state)
{
    (void)state;
    static uint8_t pixels[2 * 3 * 3];
    const bl_image image = { 2, 3, 3, pixels };
    const bl_image_text texts[] = { { "parameters", "a nut\nSteps: 7" }, { "blemish", "{\"program\":\"blemish\",\"steps\":7}" } };
    assert_int_equal(bl_image_write_png(file, &image, texts, 2), BL_OK);
    json_t *o = inspect(file, 1);
    assert_string_equal(text_at(o, "kind"), "a PNG picture");
    assert_true(number_at(o, "width") == 2 && number_at(o, "height") == 3);
    assert_string_equal(text_at(o, "text"), "a nut\nSteps: 7");
    assert_int_equal(number_at(o, "parameters.steps"), 7);
    assert_null(json_object_get(o, "tensors"));
    json_decref(o);
    const bl_image_text broken = { "blemish", "{" }; /* of somebody else */
    assert_int_equal(bl_image_write_png(file, &image, &broken, 1), BL_OK);
    o = inspect(file, 0);
    assert_true(!json_object_get(o, "text") && !json_object_get(o, "parameters"));
    json_decref(o);
}

/* --- refused --------------------------------------------------------------------------------------------------------------- */

#define BYTES(s) s, sizeof(s) - 1

static void other_formats_are_named(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t size; bl_result r; const char *message; } cases[] = {
        { BYTES("PK\3\4\0\0\x08\x08\0\0\0\0\0\0archive/data.pkl"), BL_ERROR_MODEL,
          "is a PyTorch pickle checkpoint (zip), which can run code when it is loaded, so it is not read; convert it to .safetensors" },
        { BYTES("\x80\x02}q\0(X\x0a\0\0\0state_dict"), BL_ERROR_MODEL,
          "is a Python pickle (an old PyTorch checkpoint), which can run code" },
        { BYTES("GGUF\3\0\0\0\0\0\0\0\0\0\0\0"), BL_ERROR_MODEL,
          "is a GGUF file; only safetensors checkpoints are read: take the one it was made from" },
        { BYTES("\x08\x07\x12\x07pytorch\x1a\x05" "1.9"), BL_ERROR_MODEL, "is an ONNX model; only safetensors checkpoints are read" },
        { BYTES("\x1f\x8b\x08\0\0\0\0\0\0\3"), BL_ERROR_MODEL, "is gzip-compressed; unpack it first" },
        { BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), BL_ERROR_MODEL,
          "is a Git LFS pointer, not the model itself; fetch it with \"git lfs pull\"" },
        { BYTES("<!DOCTYPE html><html>"), BL_ERROR_MODEL, "is an HTML page, not a model; the download has failed" },
        { BYTES("{\"error\":\"Access denied\"}"), BL_ERROR_MODEL, "is a JSON text, not a safetensors file" },
        { BYTES(""), BL_ERROR_MODEL, "is empty" },
        { BYTES("\2\0\0\0\0\0\0\0{}x"), BL_ERROR_MODEL, "has 1 bytes behind the last tensor" },
        { BYTES("\x89PNG\r\n\x1a\n"), BL_ERROR_INPUT, "file: " },
        { BYTES("\xff\xd8\xff\xe0"), BL_ERROR_INPUT, "file: " },
    };
    char *text = (char *)1;
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        assert_int_equal(st_save(file, cases[i].bytes, cases[i].size), 0);
        bl_fail(BL_ERROR_USAGE, "stale");
        const bl_result r = bl_inspect(file, 0, &text);
        if (r != cases[i].r || !strstr(bl_last_error(), cases[i].message) || strncmp(bl_last_error(), file, strlen(file)))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        assert_null(text);
    }
    assert_int_equal(bl_inspect("/nowhere/at/all", 0, &text), BL_ERROR_INPUT);
    assert_int_equal(bl_inspect(root, 0, &text), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "text_encoder/config.json is missing"));
    assert_int_equal(bl_inspect(NULL, 0, &text), BL_ERROR_USAGE);
    assert_int_equal(bl_inspect(file, 0, NULL), BL_ERROR_USAGE);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    assert_int_equal(ldm_write(file, &sd1, LDM_CLIP), 0);
    const char *const paths[] = { file, folder };
    for (size_t i = 0; i < BL_COUNT(paths); i++) {
        int total = 1;
        for (int n = 0; n <= total; n++) {
            char *text = NULL;
            bl_memory = (bl_memory_api){ limited_resize, counted_release };
            allocations = alive = 0;
            fail_at = n;
            const bl_result r = bl_inspect(paths[i], 1, &text);
            bl_free(text);
            bl_memory = before;
            total = n ? total : allocations;
            if (r != (n ? BL_ERROR_MEMORY : BL_OK) || alive)
                fail_msg("allocation %d of %d failing gives %s (%s), and leaves %d behind", n, total, bl_result_name(r), bl_last_error(),
                         alive);
        }
        assert_true(total > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder),
        cmocka_unit_test(a_single_file),
        cmocka_unit_test(pictures),
        cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
