/* The exported functions that are only a thin skin. Layer 5. */
#include "context.h"
#include "model.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF(x) #x
#define VERSION_TEXT(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *bl_version(void) { return VERSION_TEXT(BL_VERSION_MAJOR, BL_VERSION_MINOR, BL_VERSION_PATCH); }

bl_result bl_devices(bl_device_info *infos, uint32_t capacity, uint32_t *count)
{
    if (!count || (capacity && !infos))
        return bl_fail(BL_ERROR_USAGE, "bl_devices: no place for the list");
    return bl_device_list(infos, capacity, count);
}

static void warn(void *user, const char *text) { bl_context_log(user, BL_LOG_WARNING, "%s", text); }

/* The kernels compute as the caller's plan says, or the one that was kept. */
static bl_result take_plan(bl_context *c, const bl_context_options *options)
{
    json_t *plan = NULL;
    if (options->plan) {
        const bl_result result = bl_tuning_parse("the plan", options->plan, strlen(options->plan), &plan);
        if (result != BL_OK)
            return result;
        if (!bl_tuning_is_for(plan, c->device))
            bl_context_log(c, BL_LOG_WARNING, "the plan was made with other kernels or capabilities: pictures may differ");
    } else if (!options->no_tune && options->cache_dir) {
        plan = bl_tuning_load(c->device, options->cache_dir);
    }
    bl_kernels_set_tuning(c->kernels, plan);
    return BL_OK;
}

/* On the device that the options name, or on the caller's. */
static bl_result create_context(const bl_context_options *options, const bl_vulkan *vulkan, bl_context **out)
{
    bl_result result = BL_OK;
    static const bl_context_options defaults = BL_CONTEXT_OPTIONS_INIT;
    if (!out)
        return bl_fail(BL_ERROR_USAGE, "bl_context_create: no place for the context");
    *out = NULL;
    if (!options)
        options = &defaults;
    if (options->struct_size != sizeof(*options) || options->precision > BL_PRECISION_F16)
        return bl_fail(BL_ERROR_USAGE, "bl_context_create: options of another version");
    bl_context *c = *out = bl_alloc(1, sizeof(*c));
    if (!c)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a context");
    c->options = *options;
    c->options.device = c->options.caps = c->options.cache_dir = c->options.plan = NULL; /* the caller's, used here only */
    c->options.cache_data = NULL;
    if (vulkan)
        BL_TRY(bl_device_adopt(vulkan, options->caps, &c->device));
    else
        BL_TRY(bl_device_open(options->device, options->caps, &c->device));
    bl_device_caps_text(c->device, c->caps);
    c->device->allowed = options->max_memory;
    const bool half = c->device->caps & BL_CAP_S16;
    if (options->precision == BL_PRECISION_F16 && !half)
        BL_TRY(bl_fail(BL_ERROR_DEVICE, "%s, as it is used here, has no 16-bit storage (capability s16)", c->device->info.name));
    c->type = options->precision == BL_PRECISION_F16 || (options->precision == BL_PRECISION_AUTO && half && !c->device->software)
        ? BL_F16 : BL_F32;
    c->vae_type = BL_F32;
    if (c->device->software)
        bl_context_log(c, BL_LOG_WARNING, "running on the processor: %s", c->device->info.name);
    BL_TRY(bl_stream_create(c->device, &c->stream));
    if (options->cache_dir) {
        c->cache_dir = bl_text_copy(options->cache_dir, strlen(options->cache_dir));
        if (!c->cache_dir)
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a path"));
    }
    const bl_cache_source cache = { options->cache_dir, options->cache_data, options->cache_size };
    BL_TRY(bl_kernels_create(c->device, &cache, &c->kernels));
    BL_TRY(bl_kernels_guard(c->kernels, c->stream));
    BL_TRY(take_plan(c, options));
    if (!options->no_selftest)
        BL_TRY(bl_prover_create(c->kernels, c->stream, options->cache_dir, warn, c, &c->prover));
    if (c->device->software)
        bl_kernels_set_prover(c->kernels, NULL, NULL); /* only when asked: it takes minutes there */
    bl_stream_set_interrupt(c->stream, options->cancel, options->user);
    return BL_OK;
fail:
    bl_context_destroy(out);
    return result;
}

bl_result bl_context_create(const bl_context_options *options, bl_context **out) { return create_context(options, NULL, out); }

bl_result bl_context_create_vulkan(const bl_context_options *options, const bl_vulkan *vulkan, bl_context **out)
{
    if (out)
        *out = NULL;
    if (!vulkan || vulkan->struct_size != sizeof(*vulkan))
        return bl_fail(BL_ERROR_USAGE, "bl_context_create_vulkan: no handles, or of another version");
    return create_context(options, vulkan, out);
}

bl_result bl_context_pipeline_cache(const bl_context *c, void **data, size_t *size)
{
    uint8_t *bytes = NULL;
    if (data)
        *data = NULL;
    if (!c || !data || !size)
        return bl_fail(BL_ERROR_USAGE, "bl_context_pipeline_cache: no context, or no place for the bytes");
    const bl_result result = bl_kernels_cache(c->kernels, &bytes, size);
    *data = bytes;
    return result;
}

void bl_data_free(void *data) { bl_free(data); }

void bl_context_destroy(bl_context **context)
{
    if (!context || !*context)
        return;
    bl_context *c = *context;
    *context = NULL;
    bl_prover_destroy(&c->prover);
    bl_kernels_destroy(&c->kernels);
    bl_stream_destroy(&c->stream);
    bl_device_close(&c->device);
    bl_free(c->cache_dir);
    bl_free(c);
}

const bl_device_info *bl_context_device(const bl_context *c) { return &c->device->info; }
const char *bl_context_precision(const bl_context *c) { return bl_dtype_name(c->type); }
const char *bl_context_caps(const bl_context *c) { return c->caps; }

void bl_context_kernels(const bl_context *c, void (*each)(void *user, const char *name), void *user)
{
    bl_kernels_used(c->kernels, each, user);
}

/* The last part of a path as UTF-8: pictures hold no absolute paths. */
static void base_name(const char *path, char *out, size_t size)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && path[start - 1] != '/')
        start--;
    snprintf(out, size, "%.*s", (int)BL_MIN(end - start, size - 1), path + start);
    json_t *readable = json_string(out);
    for (char *s = out; *s && !readable; s++) /* a file's name may be any bytes */
        *s = (unsigned char)*s < 0x80 ? *s : '?';
    json_decref(readable);
}

/* What was put in place of the checkpoint's own parts, or added to them: {"vae": NAME, "loras": [{"name": NAME, "scale": 1}]}. */
static bl_result describe_parts(bl_model *m, const bl_model_options *o)
{
    char name[sizeof(m->name)];
    m->parts = json_object();
    if (o && o->vae) {
        base_name(o->vae, name, sizeof(name));
        json_object_set_new(m->parts, "vae", json_string(name));
    }
    if (o && o->lora_count)
        json_object_set_new(m->parts, "loras", json_array());
    for (size_t i = 0; o && i < o->lora_count; i++) {
        base_name(o->loras[i].path, name, sizeof(name));
        json_t *lora = json_pack("{s:s,s:f}", "name", name, "scale", bl_shortest(o->loras[i].scale == 0 ? 1 : o->loras[i].scale));
        if (json_array_append_new(json_object_get(m->parts, "loras"), lora))
            return bl_fail(BL_ERROR_MEMORY, "no host memory for a model");
    }
    return m->parts ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory for a model");
}

bl_result bl_model_open_with(bl_context *context, const char *path, const bl_model_options *options, bl_model **out)
{
    bl_result result = BL_OK;
    if (out)
        *out = NULL;
    if (!out || !context || !path)
        return bl_fail(BL_ERROR_USAGE, "bl_model_open: no context, path or place for the model");
    bl_model *m = *out = bl_alloc(1, sizeof(*m));
    if (!m)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a model");
    base_name(path, m->name, sizeof(m->name));
    BL_TRY(bl_checkpoint_open(context, path, options, &m->checkpoint)); /* checks the options too */
    BL_TRY(describe_parts(m, options));
    return BL_OK;
fail:
    bl_model_close(out);
    return result;
}

bl_result bl_model_open(bl_context *context, const char *path, bl_model **out)
{
    return bl_model_open_with(context, path, NULL, out);
}

bl_result bl_model_open_clip(bl_model *model, const char *dir)
{
    bl_clip *clip = NULL;
    if (!model || !dir)
        return bl_fail(BL_ERROR_USAGE, "bl_model_open_clip: no model or no folder");
    const bl_result result = bl_clip_open(model->checkpoint, dir, &clip);
    if (result != BL_OK)
        return result;
    bl_clip_close(&model->clip);
    model->clip = clip;
    return BL_OK;
}

void bl_model_close(bl_model **model)
{
    if (!model || !*model)
        return;
    bl_clip_close(&(*model)->clip);
    bl_checkpoint_close(&(*model)->checkpoint);
    json_decref((*model)->parts);
    bl_free(*model);
    *model = NULL;
}

bl_result bl_tokenize(const char *dir, const bl_generate_options *o, bl_tokens *out)
{
    bl_result result = BL_OK;
    bl_tokenizer *t = NULL;
    bl_words words = { 0 };
    int32_t *ids = NULL;
    size_t n = 0;
    if (!out)
        return bl_fail(BL_ERROR_USAGE, "bl_tokenize: no place for the tokens");
    *out = (bl_tokens){ 0 };
    if (!dir || !o || o->struct_size != sizeof(*o))
        return bl_fail(BL_ERROR_USAGE, "bl_tokenize: no folder, no options, or options of another version");
    BL_TRY(bl_tokenizer_open(dir, &t));
    BL_TRY(bl_words_make(t, o->prompt, o->object, o->defect, o->template_text, o->normal_prompt, UINT32_MAX, &words));
    BL_TRY(bl_tokenizer_encode(t, words.prompt, strlen(words.prompt), &ids, &n));
    out->tokens = bl_alloc(n, sizeof(*out->tokens));
    if (!out->tokens)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for tokens"));
    for (size_t i = 0; i < n; i++) {
        const char *text = bl_tokenizer_text(t, ids[i]);
        out->tokens[i].id = ids[i];
        snprintf(out->tokens[i].text, sizeof(out->tokens[i].text), "%s", text ? text : "");
    }
    for (uint32_t i = 0; i < words.count; i++)
        out->tokens[words.tokens[i]].guided = 1;
    out->count = (uint32_t)n; /* a prompt has at most 64 KiB */
    out->limit = bl_tokenizer_max_length(t);
    out->prompt = words.prompt;
    words.prompt = NULL;
fail:
    bl_words_free(&words);
    bl_free(ids);
    bl_tokenizer_close(&t);
    return result;
}

void bl_tokens_free(bl_tokens *tokens)
{
    if (!tokens)
        return;
    bl_free(tokens->prompt);
    bl_free(tokens->tokens);
    *tokens = (bl_tokens){ 0 };
}
