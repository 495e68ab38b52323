/* The CLIP model of the image loss: what it refuses, its features and gradients against the same in double, its memory. */
#include "failing_memory.h"
#include "image_guide.h"
#include "model.h"
#include "model_session.h"
#include "differences.h"

static char clip_dir[80];
static bl_checkpoint *checkpoint;

static void write_clip(const char *tokenizer, const fx_options *o)
{
    snprintf(clip_dir, sizeof(clip_dir), "%s/clip", root);
    fx_remove_files(clip_dir);
    assert_int_equal(fx_write_clip(clip_dir, tokenizer, o), 0);
}

static bl_clip *open_clip(void)
{
    bl_clip *clip = NULL;
    if (bl_clip_open(checkpoint, clip_dir, &clip) != BL_OK)
        fail_msg("%s", bl_last_error());
    return clip;
}

static int setup_clip(void **state)
{
    const int failed = setup(state);
    return failed || (context && bl_checkpoint_open(context, good, NULL, &checkpoint) != BL_OK);
}

static int teardown_clip(void **state)
{
    bl_checkpoint_close(&checkpoint);
    fx_remove_files(clip_dir);
    return teardown(state);
}

/* --- refusals ----------------------------------------------------------------------------------------------------------- */

typedef enum deed { GONE, TEXT, SET, PART, CUT, PICKLE, TENSOR } deed; /* PART: a member of a configuration inside config.json */
#define VISION "vision_config"
#define WEIGHTS "model.safetensors"
static const struct { deed deed; const char *what, *key, *value; int how; const char *message; } broken[] = {
    { GONE, "config.json", 0, 0, 0, "config.json is missing: a CLIP model in the layout of transformers has it" },
    { GONE, WEIGHTS, 0, 0, 0, "model.safetensors is missing" }, { GONE, "merges.txt", 0, 0, 0, "merges.txt" },
    { PICKLE, 0, 0, 0, 0, "pytorch_model.bin is a PyTorch pickle" }, { TEXT, 0, 0, "[]", 0, "config.json: " },
    { TEXT, 0, 0, "{", 0, "config.json: line 1" }, { TEXT, 0, 0, "{}", 0, "\"text_config\" is missing or not an object" },
    { CUT, 0, 0, 0, -4, "is truncated: 4 bytes" },
    { SET, 0, "model_type", "\"clip_vision_model\"", 0, "a clip_vision_model is not a CLIP model with both towers" },
    { SET, 0, "text_config", "[1]", 0, "\"text_config\" is missing or not an object" },
    { SET, 0, VISION, "null", 0, "\"vision_config\" is missing or not an object" },
    { SET, 0, VISION, "{}", 0, "has shape [20,3,6,6], expected [768,3,32,32]" }, /* defaults of transformers */
    { SET, 0, "projection_dim", "0", 0, "\"projection_dim\" is 0, not in 4" },
    { SET, 0, "projection_dim", "14", 0, "features of 14 channels" },
    { SET, 0, "projection_dim", "16", 0, "\"visual_projection.weight\" has shape [12,20], expected [16,20]" },
    { PART, VISION, "hidden_act", "\"relu\"", 0, "config.json: vision_config: activation \"relu\" is not supported" },
    { PART, VISION, "model_type", "\"siglip_vision_model\"", 0, "a siglip_vision_model is not a CLIP image encoder" },
    { PART, VISION, "num_attention_heads", "3", 0, "20 channels for 3 heads" },
    { PART, VISION, "num_channels", "4", 0, "\"num_channels\" is 4, not in 3" },
    { PART, VISION, "patch_size", "5", 0, "a picture of 24 pixels in patches of 5" },
    { PART, VISION, "patch_size", "0", 0, "\"patch_size\" is 0, not in 2" },
    { PART, VISION, "image_size", "1e9", 0, "\"image_size\"" }, { PART, VISION, "image_size", "4000000000", 0, "\"image_size\"" },
    { PART, VISION, "image_size", "48", 0, "position_embedding.weight\" has shape [17,20], expected [65,20]" },
    { PART, VISION, "patch_size", "12", 0, "patch_embedding.weight\" has shape [20,3,6,6], expected [20,3,12,12]" },
    { PART, VISION, "num_hidden_layers", "3", 0, "\"vision_model.encoder.layers.2." },
    { PART, "text_config", "eos_token_id", "-1", 0, "text_config: \"eos_token_id\" is -1" },
    { PART, "text_config", "vocab_size", "600", 0, "token_embedding.weight\" has shape [586,16], expected [600,16]" },
    { TENSOR, "text_projection.weight", 0, 0, FX_DROP, "\"text_projection.weight\" is missing" },
    { TENSOR, "visual_projection.weight", 0, 0, FX_DROP, "\"visual_projection.weight\" is missing" },
    { TENSOR, "vision_model.pre_layrnorm.bias", 0, 0, FX_DROP, "\"vision_model.pre_layrnorm.bias\" is missing" },
    { TENSOR, "vision_model.post_layernorm.weight", 0, 0, FX_RESHAPE, "has shape [24], expected [20]" },
    { TENSOR, "vision_model.embeddings.class_embedding", 0, 0, FX_INT64, "class_embedding\" is I64" },
    { TENSOR, "vision_model.encoder.layers.1.self_attn.v_proj.weight", 0, 0, FX_DROP, "v_proj.weight\" is missing" },
    { TENSOR, "text_model.embeddings.position_embedding.weight", 0, 0, FX_DROP, "position_embedding.weight\" is missing" },
};

static int set_part(const char *part, const char *key, const char *value)
{
    char path[FX_PATH];
    json_t *object = json_load_file(fx_path(path, clip_dir, "config.json"), 0, NULL);
    json_object_set_new(json_object_get(object, part), key, json_loads(value, JSON_DECODE_ANY, NULL));
    const int failed = json_dump_file(object, path, JSON_INDENT(2));
    json_decref(object);
    return failed;
}

static void broken_models_are_refused(void **state)
{
    (void)state;
    char path[FX_PATH];
    need_device();
    for (size_t i = 0; i < BL_COUNT(broken); i++) {
        const char *what = broken[i].what;
        bl_clip *clip = (bl_clip *)1;
        int failed = 0;
        write_clip(TEST_DATA "/tokenizer",
                   broken[i].deed == TENSOR ? &(fx_options){ .tensor = what, .damage = (fx_damage)broken[i].how } : NULL);
        switch (broken[i].deed) {
        case GONE: failed = unlink(fx_path(path, clip_dir, what)); break;
        case TEXT: failed = fx_write_text(clip_dir, "config.json", broken[i].value); break;
        case SET: failed = fx_set(clip_dir, "config.json", broken[i].key, broken[i].value); break;
        case PART: failed = set_part(what, broken[i].key, broken[i].value); break;
        case CUT: failed = fx_truncate(clip_dir, WEIGHTS, broken[i].how); break;
        case PICKLE: failed = unlink(fx_path(path, clip_dir, WEIGHTS)) || fx_write_text(clip_dir, "pytorch_model.bin", "x"); break;
        case TENSOR: break;
        }
        assert_int_equal(failed, 0);
        bl_fail(BL_ERROR_USAGE, "stale");
        const bl_result r = bl_clip_open(checkpoint, clip_dir, &clip);
        if (r != BL_ERROR_MODEL || !strstr(bl_last_error(), broken[i].message) || strncmp(bl_last_error(), clip_dir, strlen(clip_dir)))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), broken[i].message);
        assert_null(clip);
        assert_null(checkpoint->clip_weights);
    }
    bl_clip *clip = NULL;
    assert_int_equal(bl_clip_open(checkpoint, "/nowhere", &clip), BL_ERROR_MODEL);
    assert_string_equal(bl_last_error(), "/nowhere: no such folder");
}

static void a_tokenizer_is_found(void **state)
{
    (void)state;
    need_device();
    write_clip(TEST_DATA "/tokenizer", NULL);
    bl_clip *clip = open_clip();
    assert_true(clip->own && clip->tokenizer == clip->own);
    assert_ptr_equal(checkpoint->clip_weights, clip->weights);
    bl_clip_close(&clip);
    assert_null(clip);
    assert_null(checkpoint->clip_weights);
    write_clip(NULL, NULL);
    clip = open_clip();
    assert_true(!clip->own && clip->tokenizer == checkpoint->tokenizer);
    bl_clip_close(&clip);

    float features[FX_PROJECTION];
    bl_checkpoint *alone = NULL;
    assert_int_equal(bl_checkpoint_open(context, NULL, NULL, &alone), BL_OK);
    assert_int_equal(bl_clip_open(alone, clip_dir, &clip), BL_OK);
    assert_int_equal(bl_clip_prompt_features(clip, PROMPT, features), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "no tokenizer"));
    bl_clip_close(&clip);
    bl_checkpoint_close(&alone);
    bl_clip_close(&clip);
}

/* --- the same in double --------------------------------------------------------------------------------------------------- */

enum { SIDE = FX_IMAGE / FX_PATCH, PLACES = SIDE * SIDE + 1, PIXELS = FX_IMAGE * FX_IMAGE, WIDE = 4096, ROWS_MAX = 64 };
static bl_safetensors *file;

static const double *tensor(const char *fmt, ...) BL_PRINTF(1, 2);
static const double *tensor(const char *fmt, ...)
{
    enum { KEPT = 96 };
    static struct { char name[FX_NAME]; double *values; } cache[KEPT];
    char name[FX_NAME];
    size_t i = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    while (i < KEPT && cache[i].values && strcmp(cache[i].name, name))
        i++;
    assert_true(i < KEPT);
    if (!cache[i].values) { /* for the whole program: few and small */
        static float raw[FX_VOCABULARY * FX_TEXT];
        static double values[KEPT][FX_VOCABULARY * FX_TEXT];
        const bl_file_tensor *t = bl_safetensors_find(file, name);
        if (!t || t->count > BL_COUNT(raw) || bl_safetensors_read(file, t, 0, (size_t)t->count, raw) != BL_OK)
            fail_msg("no tensor %s", name);
        for (size_t k = 0; k < t->count; k++)
            values[i][k] = raw[k];
        snprintf(cache[i].name, sizeof(cache[i].name), "%s", name);
        cache[i].values = values[i];
    }
    return cache[i].values;
}

static void linear(const double *x, size_t rows, size_t in, size_t out, bool bias, const char *name, double *y)
{
    const double *w = tensor("%s.weight", name), *b = bias ? tensor("%s.bias", name) : NULL;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < out; j++) {
            y[r * out + j] = b ? b[j] : 0;
            for (size_t k = 0; k < in; k++)
                y[r * out + j] += x[r * in + k] * w[j * in + k];
        }
}

static void norm(const double *x, size_t rows, size_t c, const char *name, double *y)
{
    const double *w = tensor("%s.weight", name), *b = tensor("%s.bias", name);
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, square = 0;
        for (size_t k = 0; k < c; k++)
            mean += x[r * c + k] / (double)c;
        for (size_t k = 0; k < c; k++)
            square += (x[r * c + k] - mean) * (x[r * c + k] - mean) / (double)c;
        for (size_t k = 0; k < c; k++)
            y[r * c + k] = (x[r * c + k] - mean) / sqrt(square + 1e-5) * w[k] + b[k];
    }
}

static void attention(const double *q, const double *k, const double *v, size_t rows, size_t c, size_t heads, bool causal, double *y)
{
    const size_t d = c / heads;
    double p[ROWS_MAX];
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < rows; i++) {
            const size_t keys = causal ? i + 1 : rows;
            double sum = 0;
            for (size_t j = 0; j < keys; j++) {
                double s = 0;
                for (size_t e = 0; e < d; e++)
                    s += q[i * c + h * d + e] * k[j * c + h * d + e];
                sum += p[j] = exp(s / sqrt((double)d));
            }
            for (size_t e = 0; e < d; e++) {
                y[i * c + h * d + e] = 0;
                for (size_t j = 0; j < keys; j++)
                    y[i * c + h * d + e] += p[j] / sum * v[j * c + h * d + e];
            }
        }
}

/* In place; text: causal, quick GELU, 2 heads; vision: GELU, 4 heads. */
static void encode(double *h, size_t rows, size_t c, bool text)
{
    static double n[WIDE], q[WIDE], k[WIDE], v[WIDE], y[WIDE];
    for (int i = 0; i < FX_TEXT_LAYERS; i++) {
        const fx_name layer = fx_at("%s.encoder.layers.%d", text ? "text_model" : "vision_model", i);
        norm(h, rows, c, fx_at("%.60s.layer_norm1", layer.text).text, n);
        linear(n, rows, c, c, true, fx_at("%.60s.self_attn.q_proj", layer.text).text, q);
        linear(n, rows, c, c, true, fx_at("%.60s.self_attn.k_proj", layer.text).text, k);
        linear(n, rows, c, c, true, fx_at("%.60s.self_attn.v_proj", layer.text).text, v);
        attention(q, k, v, rows, c, text ? 2 : 4, text, y);
        linear(y, rows, c, c, true, fx_at("%.60s.self_attn.out_proj", layer.text).text, n);
        for (size_t e = 0; e < rows * c; e++)
            h[e] += n[e];
        norm(h, rows, c, fx_at("%.60s.layer_norm2", layer.text).text, n);
        linear(n, rows, c, FX_MLP, true, fx_at("%.60s.mlp.fc1", layer.text).text, y);
        for (size_t e = 0; e < rows * FX_MLP; e++)
            y[e] *= text ? 1 / (1 + exp(-1.702 * y[e])) : 0.5 * erfc(-y[e] / sqrt(2));
        linear(y, rows, FX_MLP, c, true, fx_at("%.60s.mlp.fc2", layer.text).text, n);
        for (size_t e = 0; e < rows * c; e++)
            h[e] += n[e];
    }
}

static void text_features(const int32_t *ids, size_t end, double *out)
{
    static double h[FX_POSITIONS * FX_TEXT], n[FX_POSITIONS * FX_TEXT];
    const double *tokens = tensor("text_model.embeddings.token_embedding.weight");
    const double *places = tensor("text_model.embeddings.position_embedding.weight");
    for (size_t i = 0; i < FX_POSITIONS * FX_TEXT; i++)
        h[i] = tokens[(size_t)ids[i / FX_TEXT] * FX_TEXT + i % FX_TEXT] + places[i];
    encode(h, FX_POSITIONS, FX_TEXT, true);
    norm(h, FX_POSITIONS, FX_TEXT, "text_model.final_layer_norm", n);
    linear(n + end * FX_TEXT, 1, FX_TEXT, FX_PROJECTION, false, "text_projection", out);
}

/* image: [FX_IMAGE, FX_IMAGE, 3] in 0 .. 1, the size that needs no resizing. */
static void image_features(const double *image, double *out)
{
    static const double mean[] = { 0.48145466, 0.4578275, 0.40821073 }, deviation[] = { 0.26862954, 0.26130258, 0.27577711 };
    static double h[PLACES * FX_VISION], n[PLACES * FX_VISION];
    const double *first = tensor("vision_model.embeddings.class_embedding");
    const double *patch = tensor("vision_model.embeddings.patch_embedding.weight");
    const double *places = tensor("vision_model.embeddings.position_embedding.weight");
    for (size_t t = 0; t < PLACES; t++)
        for (size_t j = 0; j < FX_VISION; j++) {
            double *sum = &n[t * FX_VISION + j];
            *sum = places[t * FX_VISION + j] + (t ? 0 : first[j]);
            for (size_t c = 0; t && c < 3; c++)
                for (size_t k = 0; k < FX_PATCH * FX_PATCH; k++) {
                    const size_t y = (t - 1) / SIDE * FX_PATCH + k / FX_PATCH, x = (t - 1) % SIDE * FX_PATCH + k % FX_PATCH;
                    *sum += (image[(y * FX_IMAGE + x) * 3 + c] - mean[c]) / deviation[c] * patch[(j * 3 + c) * FX_PATCH * FX_PATCH + k];
                }
        }
    norm(n, PLACES, FX_VISION, "vision_model.pre_layrnorm", h);
    encode(h, PLACES, FX_VISION, false);
    norm(h, 1, FX_VISION, "vision_model.post_layernorm", n);
    linear(n, 1, FX_VISION, FX_PROJECTION, false, "visual_projection", out);
}

static double cosine_of(const double *a, const double *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < FX_PROJECTION; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

typedef struct loss_inputs {
    double image[PIXELS * 3], text[FX_PROJECTION];
} loss_inputs;

static double image_loss(void *inputs)
{
    const loss_inputs *in = inputs;
    double features[FX_PROJECTION];
    image_features(in->image, features);
    return 1 - cosine_of(features, in->text);
}

static void assert_close(const float *got, const double *want, size_t count, const char *what)
{
    double error = 0, scale = 0;
    for (size_t i = 0; i < count; i++) {
        error += (got[i] - want[i]) * (got[i] - want[i]);
        scale += want[i] * want[i];
    }
    if (!(sqrt(error / scale) <= 1e-5 && scale > 0))
        fail_msg("%s: relative RMS %g", what, sqrt(error / scale));
}

static void open_file(void)
{
    char path[FX_PATH];
    assert_int_equal(bl_safetensors_open(fx_path(path, clip_dir, WEIGHTS), BL_ERROR_MODEL, &file), BL_OK);
}

static void texts_have_the_features_of_their_end(void **state)
{
    (void)state;
    float features[FX_PROJECTION];
    double want[FX_PROJECTION];
    int32_t ids[FX_POSITIONS];
    uint32_t used;
    need_device();
    for (int chosen = 0; chosen < 2; chosen++) { /* the highest id, as in OpenAI's files; or a token that the file names */
        write_clip(TEST_DATA "/tokenizer", NULL);
        if (chosen)
            assert_int_equal(set_part("text_config", "eos_token_id", "7"), 0);
        open_file();
        bl_clip *clip = open_clip();
        assert_int_equal(bl_tokenizer_encode_padded(clip->tokenizer, PROMPT, FX_POSITIONS, ids, &used), BL_OK);
        if (chosen)
            ids[2] = ids[3] = 7;
        assert_int_equal(bl_clip_text_features(clip, ids, features), BL_OK);
        text_features(ids, chosen ? 2 : used - 1, want);
        assert_close(features, want, FX_PROJECTION, "text");
        if (!chosen) {
            memset(features, 0, sizeof(features));
            assert_int_equal(bl_clip_prompt_features(clip, PROMPT, features), BL_OK);
            assert_close(features, want, FX_PROJECTION, "prompt");
        }
        bl_clip_close(&clip);
        bl_safetensors_close(&file);
    }
}

static void pictures_have_the_features_and_gradients_of_the_reference(void **state)
{
    (void)state;
    static loss_inputs in;
    static float image[PIXELS * 4], grads[2][PIXELS * 4];
    static double gradient[PIXELS * 3];
    float features[FX_PROJECTION], text[FX_PROJECTION], cosine;
    double want[FX_PROJECTION];
    bl_image_guide u;
    bl_value seen, pixels, grad_pixels;
    need_device();
    write_clip(TEST_DATA "/tokenizer", NULL);
    open_file();
    bl_clip *clip = open_clip();
    assert_int_equal(bl_clip_prompt_features(clip, PROMPT, text), BL_OK);
    for (size_t i = 0; i < FX_PROJECTION; i++)
        in.text[i] = text[i];
    for (size_t i = 0; i < PIXELS * 4; i++) {
        image[i] = (float)((i * 2654435761u >> 7) % 1024) / 1023; /* the last channel does not matter */
        if (i % 4 < 3)
            in.image[i / 4 * 3 + i % 4] = image[i];
    }
    if (bl_image_guide_of_pixels(checkpoint, clip, FX_IMAGE, FX_IMAGE, text, &u, &seen, &pixels, &grad_pixels) != BL_OK)
        fail_msg("%s", bl_last_error());
    for (int round = 0; round < 2; round++) { /* the second with the same bytes */
        assert_int_equal(bl_exec_write(u.s.exec, u.s.x, image, BL_COUNT(image)), BL_OK);
        assert_int_equal(bl_exec_set_steps(u.s.exec, &(bl_step){ .in_scale = 1 }, 1), BL_OK);
        assert_int_equal(bl_exec_run(u.s.exec), BL_OK);
        assert_int_equal(bl_exec_read(u.s.exec, u.grad_latents, grads[round], BL_COUNT(image)), BL_OK);
    }
    assert_memory_equal(grads[0], grads[1], sizeof(grads[0]));
    assert_int_equal(bl_exec_read(u.s.exec, seen, features, FX_PROJECTION), BL_OK);
    assert_int_equal(bl_exec_read(u.s.exec, u.loss, &cosine, 1), BL_OK);
    image_features(in.image, want);
    assert_close(features, want, FX_PROJECTION, "image");
    assert_true(fabs(cosine - cosine_of(want, in.text)) < 1e-5);
    for (size_t i = 0; i < PIXELS * 4; i++)
        if (i % 4 < 3)
            gradient[i / 4 * 3 + i % 4] = grads[0][i];
        else
            assert_true(grads[0][i] == 0);
    assert_gradient(image_loss, &in, in.image, PIXELS * 3, 11, gradient, 1e-4);
    bl_image_guide_destroy(&u);
    bl_clip_close(&clip);
    bl_safetensors_close(&file);
}

/* --- memory --------------------------------------------------------------------------------------------------------------- */

static void assert_kept(const bl_memory_plan *plan, const bl_generate_result *made)
{
    assert_int_equal(plan->stage_count, made->memory.stage_count);
    for (uint32_t i = 0; i < plan->stage_count; i++) {
        const bl_memory_stage *a = &plan->stages[i], *b = &made->memory.stages[i];
        if (strcmp(a->name, b->name) || a->weights != b->weights || a->activations != b->activations || a->held != b->held)
            fail_msg("stage %s: %llu + %llu of %llu planned, %llu + %llu of %llu made", a->name, (unsigned long long)a->weights,
                     (unsigned long long)a->activations, (unsigned long long)a->held, (unsigned long long)b->weights,
                     (unsigned long long)b->activations, (unsigned long long)b->held);
    }
}

/* With less and less memory: activations are computed twice, weights go and come back, and the pictures stay the same, until they are
 * refused. The second picture finds the weights that the first has left. */
static void its_memory_is_planned_and_kept(void **state)
{
    (void)state;
    need_device();
    write_clip(TEST_DATA "/tokenizer", NULL);
    uint64_t allowed = 0;
    bl_generate_result whole = { 0 };
    bool fits = true, evicts = false;
    for (int i = 0; fits && i < 40; i++) {
        bl_context_options co = BL_CONTEXT_OPTIONS_INIT;
        bl_generate_options o = options(3, 7);
        bl_context *c = NULL;
        bl_model *m = NULL;
        uint64_t peak = 0;
        o.prompt = "a photo of a [[hazelnut]]";
        o.photo = &photo;
        o.crop = "none"; /* at the size of what is generated */
        o.method = "cut";
        o.image_share = 1;
        co.device = getenv("BLEMISH_DEVICE");
        co.precision = BL_PRECISION_F32;
        co.max_memory = allowed;
        co.no_selftest = 1;
        assert_int_equal(bl_context_create(&co, &c), BL_OK);
        if (bl_model_open(c, good, &m) != BL_OK || bl_model_open_clip(m, clip_dir) != BL_OK)
            fail_msg("%s", bl_last_error());
        for (int picture = 0; picture < 2; picture++) {
            bl_memory_plan plan;
            bl_generate_result r;
            assert_int_equal(bl_generate_plan(m, &o, &plan), BL_OK);
            const bl_result made = bl_generate(m, &o, &r);
            if (made != (plan.fits ? BL_OK : BL_ERROR_MEMORY) || (picture && !plan.fits && fits))
                fail_msg("%llu bytes allowed, %llu planned: %s", (unsigned long long)allowed, (unsigned long long)plan.peak,
                         bl_last_error());
            fits = plan.fits;
            evicts |= plan.evicts;
            if (!fits)
                continue;
            peak = BL_MAX(peak, plan.peak);
            assert_kept(&plan, &r);
            assert_true(r.device_bytes == peak && !(i == 0 && plan.evicts) && r.trace_count && isfinite(r.trace[0].image_loss));
            if (i + picture)
                assert_true(difference(&r.image, &whole.image) == 0);
            else
                whole = r;
            if (i + picture)
                bl_generate_result_free(&r);
            allowed = peak - (128 << 10);
        }
        bl_model_close(&m);
        bl_context_destroy(&c);
    }
    assert_true(!fits && evicts);
    bl_generate_result_free(&whole);
}

/* The U-Net, then features of a text, then the image loss. */
static void run_stages(bl_clip *clip, bool planning, bl_memory_plan *out)
{
    float text[FX_PROJECTION] = { 0 };
    bl_stage s;
    bl_image_guide u;
    bl_checkpoint_begin(checkpoint, planning);
    if (bl_stage_unet(checkpoint, 1, 16, 16, false, &s) != BL_OK)
        fail_msg("%s", bl_last_error());
    bl_stage_destroy(&s);
    if (bl_clip_prompt_features(clip, PROMPT, text) != BL_OK || bl_image_guide_create(checkpoint, clip, 8, 8, text, &u) != BL_OK)
        fail_msg("%s", bl_last_error());
    bl_image_guide_destroy(&u);
    *out = checkpoint->memory;
}

/* What was loaded before a plan and is dropped in it does not count as loaded in later stages of it. */
static void dropped_weights_are_planned_anew(void **state)
{
    (void)state;
    bl_memory_plan first, plan, made;
    need_device();
    write_clip(TEST_DATA "/tokenizer", NULL);
    bl_clip *clip = open_clip();
    run_stages(clip, false, &first);
    bl_weights_release(checkpoint->unet_weights);
    run_stages(clip, true, &plan);
    assert_true(plan.stages[1].weights == 0 && plan.stages[2].weights == 0);
    context->device->allowed = plan.stages[0].held - first.stages[2].weights; /* the autoencoder must go, and so must the CLIP model */
    run_stages(clip, true, &plan);
    run_stages(clip, false, &made);
    context->device->allowed = 0;
    assert_int_equal(plan.stage_count, 3);
    for (uint32_t i = 0; i < plan.stage_count; i++)
        if (plan.stages[i].weights != made.stages[i].weights || plan.stages[i].held != made.stages[i].held)
            fail_msg("%s: %llu of %llu planned, %llu of %llu made", plan.stages[i].name, (unsigned long long)plan.stages[i].weights,
                     (unsigned long long)plan.stages[i].held, (unsigned long long)made.stages[i].weights,
                     (unsigned long long)made.stages[i].held);
    assert_true(made.stages[1].weights == first.stages[1].weights && made.stages[2].weights == first.stages[2].weights);
    bl_clip_close(&clip);
}

/* Opens, makes the image loss of a prompt, runs it, closes, with the n-th allocation failing. */
static bl_result run_limited(int n)
{
    bl_clip *clip = NULL;
    bl_image_guide u = { 0 };
    const int before = alive;
    float latents[FX_LATENT * 8 * 8] = { 0 }, gradient[FX_LATENT * 8 * 8], loss;
    allocations = 0;
    fail_at = n;
    bl_fail(BL_ERROR_USAGE, "stale");
    bl_result r = bl_clip_open(checkpoint, clip_dir, &clip);
    assert_true((r == BL_OK) == (clip != NULL));
    if (r == BL_OK)
        r = bl_image_guide_for_prompt(checkpoint, clip, 8, 8, PROMPT, &u);
    if (r == BL_OK)
        r = bl_image_guide_run(&u, latents, &loss, gradient);
    if (r != BL_OK && (r != BL_ERROR_MEMORY || !strcmp(bl_last_error(), "stale")))
        fail_msg("allocation %d failing gives %s: %s", n, bl_result_name(r), bl_last_error());
    bl_image_guide_destroy(&u);
    bl_clip_close(&clip);
    bl_weights_release(checkpoint->vae_weights);
    if (alive != before)
        fail_msg("allocation %d failing leaves %d behind", n, alive - before);
    return r;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    need_device();
    write_clip(TEST_DATA "/tokenizer", NULL);
    bl_checkpoint_begin(checkpoint, false);
    assert_int_equal(run_limited(0), BL_OK); /* the kernels are there before it counts */
    bl_memory = (bl_memory_api){ limited_resize, counted_release };
    assert_int_equal(run_limited(0), BL_OK);
    const int total = allocations;
    for (int n = 1; n <= total; n += n < 80 || n > total - 20 ? 1 : total / 80)
        assert_int_equal(run_limited(n), BL_ERROR_MEMORY);
    assert_int_equal(run_limited(total + 1), BL_OK);
    bl_memory = before;
}

/* --- the reference model -------------------------------------------------------------------------------------------------- */

static void the_reference_model_passes(void **state)
{
    (void)state;
    const char *reference = getenv("BLEMISH_REFERENCE");
    char dir[512], golden[512];
    need_device();
    if (!reference)
        skip();
    snprintf(dir, sizeof(dir), "%s/models/tinyclip", reference);
    snprintf(golden, sizeof(golden), "%s/golden/clip_tiny.safetensors", reference);
    bl_verify_options o = BL_VERIFY_OPTIONS_INIT;
    bl_verify_summary sum;
    o.clip_dir = dir;
    o.files = &(const char *){ golden };
    o.file_count = 1;
    if (bl_verify(context, &o, &sum) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_int_equal(sum.passed, 7);
    assert_int_equal(sum.skipped, 1); /* tokens: there is no tokenizer */
    o.clip_dir = clip_dir; /* of another name */
    assert_int_equal(bl_verify(context, &o, &sum), BL_ERROR_MISMATCH);
    o.clip_dir = NULL;
    assert_int_equal(bl_verify(context, &o, &sum), BL_ERROR_MISMATCH);
    assert_int_equal(sum.failed, 0);
}

/* Inputs of a golden file that do not fit the model are refused before anything is computed. */
static void golden_files_are_checked(void **state)
{
    (void)state;
    static int32_t ids[FX_POSITIONS], strange[FX_POSITIONS] = { 0, FX_VOCABULARY };
#define FILE_OF(id_count, id_data, rank_, ...) { \
        { .name = "token_ids", .dtype = "I32", .rank = 2, .dims = { 1, id_count }, .data = id_data }, \
        { .name = "image_nhwc_u8", .dtype = "U8", .rank = rank_, .dims = { __VA_ARGS__ } }, \
        { .name = "text_features", .dtype = "F32", .rank = 1, .dims = { 3 } } }
    static const struct { const char *what; bl_result expected; st_tensor t[3]; } cases[] = {
        { "token_ids or image_nhwc_u8 are of another size", BL_ERROR_INPUT, FILE_OF(5, ids, 3, 8, 8, 3) },
        { "token_ids or image_nhwc_u8 are of another size", BL_ERROR_INPUT, FILE_OF(FX_POSITIONS, ids, 2, 64, 3) },
        { "token_ids or image_nhwc_u8 are of another size", BL_ERROR_INPUT, FILE_OF(FX_POSITIONS, ids, 3, 3, 8, 8) },
        { "is too large", BL_ERROR_USAGE, FILE_OF(FX_POSITIONS, ids, 3, 0, 8, 3) },
        { "token 586 is outside the text encoder's vocabulary", BL_ERROR_MODEL, FILE_OF(FX_POSITIONS, strange, 3, 8, 8, 3) },
        { "1 tensors differ; the first is golden.safetensors: clip: text_features", BL_ERROR_MISMATCH,
          FILE_OF(FX_POSITIONS, ids, 3, 8, 9, 3) },
    };
    char path[FX_PATH];
    need_device();
    write_clip(TEST_DATA "/tokenizer", NULL);
    fx_path(path, root, "golden.safetensors");
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_verify_options o = BL_VERIFY_OPTIONS_INIT;
        bl_verify_summary sum;
        assert_int_equal(st_write(path, cases[i].t, 3, NULL, 0), 0);
        o.clip_dir = clip_dir;
        o.files = &(const char *){ path };
        o.file_count = 1;
        const bl_result r = bl_verify(context, &o, &sum);
        if (r != cases[i].expected || !strstr(bl_last_error(), cases[i].what))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].what);
    }
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_models_are_refused),
        cmocka_unit_test(a_tokenizer_is_found),
        cmocka_unit_test(texts_have_the_features_of_their_end),
        cmocka_unit_test(pictures_have_the_features_and_gradients_of_the_reference),
        cmocka_unit_test(its_memory_is_planned_and_kept),
        cmocka_unit_test(dropped_weights_are_planned_anew),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(golden_files_are_checked),
        cmocka_unit_test(the_reference_model_passes),
    };
    return cmocka_run_group_tests(tests, setup_clip, teardown_clip);
}
