/* Verification of the networks and of whole runs. Layer 5. */
#include "image.h"
#include "sample.h"
#include "verify.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Frees what it is given, so that a stage has one way out. */
#define FREE_ALL(...) \
    do { \
        void *all[] = { __VA_ARGS__ }; \
        for (size_t i = 0; i < BL_COUNT(all); i++) \
            bl_free(all[i]); \
    } while (0)
#define NEED(p) BL_TRY((p) ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", v->stage))

static bool rank_is(const bl_file_tensor *t, uint32_t rank) { return t && t->rank == rank && t->count && t->count < 1u << 28; }

bl_result bl_expect_kept(bl_verifier *v, const bl_stage *s, bl_value x, const char *golden, double allowed)
{
    bl_result result = BL_OK;
    const bl_file_tensor *t = bl_safetensors_find(v->file, golden);
    const bl_shape shape = bl_graph_shape(s->graph, x);
    const size_t count = (size_t)shape.n * shape.h * shape.w * shape.c;
    float *raw = bl_alloc(count, sizeof(*raw)), *nchw = bl_alloc(count, sizeof(*nchw));
    NEED(raw && nchw);
    const uint32_t c = t && t->rank == 4 && t->dims[1] < shape.c ? (uint32_t)t->dims[1] : shape.c; /* rounded up to 4 here */
    BL_TRY(bl_exec_read(s->exec, x, raw, count));
    bl_to_channels_first(raw, shape.n, c, shape.h, shape.w, shape.c, nchw);
    bl_expect(v, golden, nchw, (size_t)shape.n * shape.h * shape.w * c, allowed, NULL);
fail:
    FREE_ALL(raw, nchw);
    return result;
}

/* --- text ----------------------------------------------------------------------------------------------------------- */

/* The tokenizer against the ids of the prompts in the metadata, cut at the encoder's length as the reference does. */
static bl_result verify_tokens(bl_verifier *v, uint32_t n)
{
    bl_result result = BL_OK;
    const uint32_t length = v->checkpoint->text.positions;
    const bl_tokenizer *t = v->checkpoint->tokenizer;
    json_t *prompts = bl_golden_metadata(v, "prompts");
    int32_t *made = NULL;
    float *got = bl_alloc((size_t)n * length, sizeof(*got));
    NEED(got);
    v->stage = "tokens";
    if (!json_is_array(prompts) || json_array_size(prompts) != n)
        goto fail;
    for (uint32_t i = 0; i < n; i++) {
        size_t count;
        const char *text = json_string_value(json_array_get(prompts, i));
        BL_TRY(bl_tokenizer_encode(t, text ? text : "", text ? strlen(text) : 0, &made, &count));
        for (uint32_t k = 0; k < length; k++)
            got[(size_t)i * length + k] = (float)(k >= count ? bl_tokenizer_pad(t)
                                                  : k + 1 == length && count > length ? bl_tokenizer_eos(t) : made[k]);
        bl_free(made);
        made = NULL;
    }
    bl_expect(v, "ids", got, (size_t)n * length, 0, NULL);
fail:
    json_decref(prompts);
    FREE_ALL(made, got);
    return result;
}

bl_result bl_verify_text(bl_verifier *v)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    const bl_file_tensor *t;
    float *ids = NULL, *x = NULL, *hidden = NULL;
    int32_t *whole = NULL;
    char name[48];
    if (!v->checkpoint || !bl_golden_has(v, "ids") || !bl_golden_has(v, "last_hidden_state"))
        return BL_OK;
    v->stage = "text";
    const bl_text_config *c = &v->checkpoint->text;
    BL_TRY(bl_golden_missing(ids = bl_golden(v, "ids", &t)));
    if (!rank_is(t, 2) || t->dims[1] != c->positions)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "ids is not [prompts, %u]", c->positions));
    const uint32_t n = (uint32_t)t->dims[0];
    const size_t row = (size_t)c->positions * c->channels;
    BL_TRY(verify_tokens(v, n));
    v->stage = "text";
    whole = bl_alloc((size_t)t->count, sizeof(*whole));
    x = bl_alloc(n * row, sizeof(*x));
    hidden = bl_alloc(n * row, sizeof(*hidden));
    NEED(whole && x && hidden);
    for (size_t i = 0; i < t->count; i++)
        whole[i] = (int32_t)ids[i];
    BL_TRY(bl_clip_text_embed(v->checkpoint->text_weights, c, whole, n, x));
    BL_TRY(bl_stage_text(v->checkpoint, n, true, &s));
    BL_TRY(bl_exec_write(s.exec, s.x, x, n * row));
    BL_TRY(bl_exec_run(s.exec));
    const double allowed = bl_allowed(v, 1e-5, 5e-3);
    for (uint32_t i = 0; i <= c->layers; i++) {
        snprintf(name, sizeof(name), "hidden_states.%u", i);
        const bl_file_tensor *golden = bl_safetensors_find(v->file, name);
        if (!golden || golden->count > n * row)
            continue;
        BL_TRY(bl_exec_read(s.exec, bl_graph_find(s.graph, name), hidden, n * row));
        bl_expect(v, name, hidden, (size_t)golden->count, allowed, NULL); /* the file may hold the first prompts only */
    }
    BL_TRY(bl_exec_read(s.exec, s.out, hidden, n * row));
    bl_expect(v, "last_hidden_state", hidden, n * row, allowed, NULL);
    const bl_file_tensor *exact = bl_safetensors_find(v->file, "last_hidden_state.f64");
    if (exact && exact->count <= n * row)
        bl_expect(v, "last_hidden_state.f64", hidden, (size_t)exact->count, allowed, NULL);
    for (uint32_t i = 0; i < n; i++) { /* pooled: the row of the first end token, which has the highest id */
        uint32_t at = 0;
        for (uint32_t k = 1; k < c->positions; k++)
            if (whole[i * c->positions + k] > whole[i * c->positions + at])
                at = k;
        memmove(hidden + (size_t)i * c->channels, hidden + i * row + (size_t)at * c->channels, c->channels * sizeof(*hidden));
    }
    bl_expect(v, "pooler_output", hidden, (size_t)n * c->channels, allowed, NULL);
fail:
    bl_stage_destroy(&s);
    FREE_ALL(ids, whole, x, hidden);
    return result;
}

/* --- U-Net ---------------------------------------------------------------------------------------------------------- */

/* Runs latents [n,c,h,w] at timestep t with the last n rows of the embedding; results stay in the stage. */
static bl_result run_unet(bl_verifier *v, const float *latents, const bl_file_tensor *shape, const float *emb,
                          const bl_file_tensor *emb_shape, float t, bool keep_named, bl_stage *s)
{
    bl_result result = BL_OK;
    const uint32_t n = (uint32_t)shape->dims[0], c = (uint32_t)shape->dims[1], h = (uint32_t)shape->dims[2], w = (uint32_t)shape->dims[3];
    const size_t row = (size_t)emb_shape->dims[1] * (size_t)emb_shape->dims[2];
    float *x = bl_alloc((size_t)shape->count, sizeof(*x));
    NEED(x);
    if (n > emb_shape->dims[0] || c != v->checkpoint->unet.in_channels)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "%u latents of %u channels for %llu embeddings", n, c, (unsigned long long)emb_shape->dims[0]));
    bl_to_channels_last(latents, n, c, h, w, c, x);
    BL_TRY(bl_stage_unet(v->checkpoint, n, h, w, keep_named, s));
    BL_TRY(bl_exec_write(s->exec, s->x, x, (size_t)shape->count));
    BL_TRY(bl_exec_write(s->exec, s->context, emb + ((size_t)emb_shape->dims[0] - n) * row, n * row));
    BL_TRY(bl_exec_set_steps(s->exec, &(bl_step){ .t = t, .in_scale = 1 }, 1));
    BL_TRY(bl_exec_run(s->exec));
fail:
    bl_free(x);
    return result;
}

/* "eps.t501" and "eps.24x40.t501" give the latents' name and the timestep; false for other names. */
static bool parse_eps(const char *name, char *latents, size_t size, float *t)
{
    if (strncmp(name, "eps.", 4))
        return false;
    const char *at = strrchr(name, 't'), *dot = strchr(name + 4, '.');
    if (name[4] == 't')
        snprintf(latents, size, "latents");
    else if (dot)
        snprintf(latents, size, "latents_%.*s", (int)(dot - name - 4), name + 4);
    else
        return false;
    *t = at ? strtof(at + 1, NULL) : 0;
    return at != NULL;
}

bl_result bl_verify_unet(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *emb_shape, *shape;
    float *emb = NULL, *latents = NULL;
    bl_stage s = { 0 };
    bool any = false;
    for (size_t i = 0; i < bl_safetensors_count(v->file); i++)
        any |= !strncmp(bl_safetensors_at(v->file, i)->name, "eps.t", 5);
    if (!v->checkpoint || !any || !bl_golden_has(v, "emb") || !bl_golden_has(v, "latents"))
        return BL_OK;
    v->stage = "unet";
    BL_TRY(bl_golden_missing(emb = bl_golden(v, "emb", &emb_shape)));
    if (bl_golden_has(v, "ids")) { /* the embedding is an input here; the ids only say where it came from */
        float *ids = bl_golden(v, "ids", NULL);
        bl_free(ids);
    }
    for (size_t i = 0; i < bl_safetensors_count(v->file); i++) {
        const char *name = bl_safetensors_at(v->file, i)->name;
        char of[64];
        float t;
        if (!parse_eps(name, of, sizeof(of), &t) || v->seen[i] || !bl_golden_has(v, of))
            continue;
        BL_TRY(bl_golden_missing(latents = bl_golden(v, of, &shape)));
        if (!rank_is(shape, 4) || !rank_is(emb_shape, 3))
            BL_TRY(bl_fail(BL_ERROR_INPUT, "%s is not [n,c,h,w]", of));
        BL_TRY(run_unet(v, latents, shape, emb, emb_shape, t, false, &s));
        BL_TRY(bl_expect_kept(v, &s, s.out, name, bl_allowed(v, 1e-5, 5e-3)));
        bl_stage_destroy(&s);
        bl_free(latents);
        latents = NULL;
    }
fail:
    bl_stage_destroy(&s);
    FREE_ALL(emb, latents);
    return result;
}

bl_result bl_verify_unet_trace(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *emb_shape, *shape;
    float *emb = NULL, *latents = NULL;
    bl_stage s = { 0 };
    char prefix[32];
    json_t *t = bl_golden_metadata(v, "t");
    if (!v->checkpoint || !t || !bl_golden_has(v, "emb") || !bl_golden_has(v, "latents"))
        goto fail;
    v->stage = "unet";
    snprintf(prefix, sizeof(prefix), "t%g.", json_number_value(t));
    BL_TRY(bl_golden_missing(emb = bl_golden(v, "emb", &emb_shape)));
    BL_TRY(bl_golden_missing(latents = bl_golden(v, "latents", &shape)));
    if (!rank_is(shape, 4) || !rank_is(emb_shape, 3))
        BL_TRY(bl_fail(BL_ERROR_INPUT, "latents is not [n,c,h,w]"));
    BL_TRY(run_unet(v, latents, shape, emb, emb_shape, (float)json_number_value(t), true, &s));
    for (bl_value x = 1; x < s.graph->tensor_count; x++) { /* in the order of the network: the first wrong stage comes first */
        char name[160];
        if (!s.graph->tensors[x].name)
            continue;
        snprintf(name, sizeof(name), "%s%s", prefix, s.graph->tensors[x].name);
        if (bl_golden_has(v, name))
            BL_TRY(bl_expect_kept(v, &s, x, name, bl_allowed(v, 1e-5, 5e-3)));
    }
fail:
    json_decref(t);
    bl_stage_destroy(&s);
    FREE_ALL(emb, latents);
    return result;
}

/* --- autoencoder ---------------------------------------------------------------------------------------------------- */

/* Bound for the autoencoder, which has a precision of its own. */
static double vae_allowed(const bl_verifier *v, double f32, double f16) { return v->context->vae_type == BL_F16 ? f16 : f32; }

static bl_result run_encoder(bl_verifier *v, const float *nchw, uint32_t h, uint32_t w, bool keep_named, bl_stage *s)
{
    bl_result result = BL_OK;
    const size_t count = (size_t)h * w * 4;
    float *x = bl_alloc(count, sizeof(*x));
    NEED(x);
    bl_to_channels_last(nchw, 1, 3, h, w, 4, x);
    BL_TRY(bl_stage_encode(v->checkpoint, h, w, keep_named, s));
    BL_TRY(bl_exec_write(s->exec, s->x, x, count));
    BL_TRY(bl_exec_run(s->exec));
fail:
    bl_free(x);
    return result;
}

/* Latents as the autoencoder sees them times its scaling factor, as bl_stage_decode wants them. */
static bl_result run_decoder(bl_verifier *v, const float *nchw, uint32_t h, uint32_t w, float scale, bool keep_named, bl_stage *s)
{
    bl_result result = BL_OK;
    const uint32_t c = v->checkpoint->vae.latent_channels;
    const size_t count = (size_t)h * w * c;
    float *x = bl_alloc(count, sizeof(*x));
    NEED(x);
    bl_to_channels_last(nchw, 1, c, h, w, c, x);
    for (size_t i = 0; i < count; i++)
        x[i] *= scale;
    BL_TRY(bl_stage_decode(v->checkpoint, h, w, keep_named, s));
    BL_TRY(bl_exec_write(s->exec, s->x, x, count));
    BL_TRY(bl_exec_run(s->exec));
fail:
    bl_free(x);
    return result;
}

static bl_result expect_named(bl_verifier *v, const bl_stage *s, const char *prefix, double allowed)
{
    bl_result result = BL_OK;
    for (bl_value x = 1; x < s->graph->tensor_count; x++) {
        char name[160];
        if (!s->graph->tensors[x].name)
            continue;
        snprintf(name, sizeof(name), "%s%s", prefix, s->graph->tensors[x].name);
        if (bl_golden_has(v, name))
            BL_TRY(bl_expect_kept(v, s, x, name, allowed));
    }
fail:
    return result;
}

/* A small image through both halves, every module compared. */
static bl_result verify_vae_modules(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *shape;
    bl_stage s = { 0 };
    float *image = NULL, *mean = NULL, *log_variance = NULL;
    const double allowed = vae_allowed(v, 1e-5, 5e-3);
    BL_TRY(bl_golden_missing(image = bl_golden(v, "small.image", &shape)));
    if (!rank_is(shape, 4) || shape->dims[0] != 1 || shape->dims[1] != 3)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "small.image is not [1,3,h,w]"));
    BL_TRY(run_encoder(v, image, (uint32_t)shape->dims[2], (uint32_t)shape->dims[3], true, &s));
    BL_TRY(expect_named(v, &s, "small.", allowed));
    const bl_shape m = bl_graph_shape(s.graph, s.out);
    const size_t half = (size_t)m.h * m.w * v->checkpoint->vae.latent_channels;
    mean = bl_alloc(half, sizeof(*mean));
    log_variance = bl_alloc(half, sizeof(*mean));
    NEED(mean && log_variance);
    BL_TRY(bl_read_moments(&s, mean, log_variance));
    bl_expect(v, "small.mean", mean, half, vae_allowed(v, 1e-5, 1e-2), NULL);
    bl_stage_destroy(&s);
    /* the golden's own mean, so that an error of the encoder does not count twice */
    float *golden = bl_golden_sized(v, "small.mean", half);
    BL_TRY(bl_golden_missing(golden));
    const bl_result ran = run_decoder(v, golden, m.h, m.w, v->checkpoint->vae.scaling, true, &s);
    bl_free(golden);
    BL_TRY(ran);
    BL_TRY(expect_named(v, &s, "small.", allowed));
    BL_TRY(bl_expect_kept(v, &s, s.out, "small.decoded", allowed));
fail:
    bl_stage_destroy(&s);
    FREE_ALL(image, mean, log_variance);
    return result;
}

/* Pixels of a decoded golden picture. */
static bl_result to_picture(const bl_verifier *v, const bl_stage *s, bl_image *image)
{
    bl_result result = BL_OK;
    const bl_shape m = bl_graph_shape(s->graph, s->out);
    const size_t pixels = (size_t)m.h * m.w;
    float *out = bl_alloc(pixels, 4 * sizeof(*out));
    NEED(out);
    BL_TRY(bl_exec_read(s->exec, s->out, out, 4 * pixels));
    BL_TRY(bl_image_create(m.w, m.h, 3, image));
    bl_pixels(out, pixels, image->pixels);
fail:
    bl_free(out);
    return result;
}

bl_result bl_verify_vae(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *shape;
    bl_stage s = { 0 };
    bl_image picture = { 0 };
    float *pixels = NULL, *image = NULL, *mean = NULL, *log_variance = NULL, *noise = NULL, *latents = NULL;
    if (!v->checkpoint || !bl_golden_has(v, "image_u8") || !bl_golden_has(v, "mean") || !bl_golden_has(v, "latents_scaled"))
        return BL_OK;
    v->stage = "vae";
    if (bl_golden_has(v, "small.image"))
        BL_TRY(verify_vae_modules(v));
    BL_TRY(bl_golden_missing(pixels = bl_golden(v, "image_u8", &shape)));
    if (!rank_is(shape, 3) || shape->dims[2] != 3)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "image_u8 is not [h,w,3]"));
    const uint32_t h = (uint32_t)shape->dims[0], w = (uint32_t)shape->dims[1], f = bl_vae_factor(&v->checkpoint->vae);
    const size_t n = (size_t)h * w, half = n / f / f * v->checkpoint->vae.latent_channels;
    image = bl_alloc(n, 3 * sizeof(*image));
    mean = bl_alloc(half, sizeof(*mean));
    log_variance = bl_alloc(half, sizeof(*mean));
    latents = bl_alloc(half, sizeof(*mean));
    NEED(image && mean && log_variance && latents);
    for (size_t p = 0; p < n; p++)
        for (size_t k = 0; k < 3; k++)
            image[k * n + p] = 2.0f * (pixels[3 * p + k] / 255.0f) - 1.0f;
    bl_expect(v, "image", image, 3 * n, 1e-6, NULL);
    BL_TRY(run_encoder(v, image, h, w, false, &s));
    BL_TRY(bl_read_moments(&s, mean, log_variance));
    bl_stage_destroy(&s);
    bl_expect(v, "mean", mean, half, vae_allowed(v, 1e-5, 1e-2), NULL);
    if (!v->checkpoint->vae.tiny)
        bl_expect(v, "logvar", log_variance, half, vae_allowed(v, 1e-5, 1e-2), NULL);
    if (bl_golden_has(v, "noise")) {
        BL_TRY(bl_golden_missing(noise = bl_golden_sized(v, "noise", half)));
        bl_sample_posterior(v->checkpoint->vae.scaling, mean, log_variance, noise, half, latents);
        bl_expect(v, "latents_scaled", latents, half, vae_allowed(v, 1e-5, 1e-2), NULL);
    }
    float *golden = bl_golden_sized(v, "latents_scaled", half);
    BL_TRY(bl_golden_missing(golden));
    const bl_result ran = run_decoder(v, golden, h / f, w / f, 1, false, &s);
    bl_free(golden);
    BL_TRY(ran);
    BL_TRY(bl_expect_kept(v, &s, s.out, "decoded", vae_allowed(v, 1e-5, 5e-3)));
    BL_TRY(to_picture(v, &s, &picture));
    bl_expect_picture(v, "decoded_u8", &picture, vae_allowed(v, 0.1, 1));
fail:
    bl_stage_destroy(&s);
    bl_image_free(&picture);
    FREE_ALL(pixels, image, mean, log_variance, noise, latents);
    return result;
}

/* --- whole runs ------------------------------------------------------------------------------------------------------ */

/* Latents of every step, one after another. */
typedef struct trajectory {
    float *steps;
    size_t values;
    uint32_t room;
} trajectory;

static bl_result keep_step(void *context, uint32_t step, const float *latents)
{
    trajectory *t = context;
    if (step < t->room)
        memcpy(t->steps + step * t->values, latents, t->values * sizeof(*latents));
    return BL_OK;
}

/* `negative` NULL: that of the file's metadata. */
static bl_result embed_prompts(bl_verifier *v, const char *negative, float **out)
{
    bl_result result = BL_OK;
    bl_checkpoint *c = v->checkpoint;
    const uint32_t n = c->text.positions;
    const char *prompt = bl_safetensors_metadata(v->file, "prompt");
    negative = negative ? negative : bl_safetensors_metadata(v->file, "negative_prompt");
    int32_t *ids = bl_alloc(2 * (size_t)n, sizeof(*ids));
    *out = bl_alloc(2 * (size_t)n * c->text.channels, sizeof(**out));
    NEED(ids && *out);
    /* texts may stand as JSON strings or bare */
    const char *texts[2] = { negative ? negative : "", prompt ? prompt : "" };
    for (int i = 0; i < 2; i++) {
        json_t *parsed = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        const bl_result r = bl_tokenizer_encode_padded(c->tokenizer, json_is_string(parsed) ? json_string_value(parsed) : texts[i], n,
                                                       ids + i * n, NULL);
        json_decref(parsed);
        BL_TRY(r);
    }
    BL_TRY(bl_encode_text(c, ids, 2, *out));
fail:
    bl_free(ids);
    return result;
}

/* One sampler of the file: compares its latents after every step and its picture. */
static bl_result verify_run(bl_verifier *v, const char *name, bl_sample_input *in, uint32_t channels)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    bl_image picture = { 0 };
    char golden[48];
    trajectory t = { NULL, (size_t)channels * in->h * in->w, in->schedule->count };
    float *last = bl_alloc(t.values, sizeof(*last));
    t.steps = bl_alloc((size_t)t.room * t.values, sizeof(*t.steps));
    NEED(last && t.steps);
    in->after = keep_step;
    in->context = &t;
    BL_TRY(bl_sample_stage(v->checkpoint, in, &s));
    BL_TRY(bl_sample(v->checkpoint, &s, in, last));
    bl_stage_destroy(&s);
    for (size_t i = 0; !strcmp(name, "euler") && i < t.room * t.values; i++) /* the reference has x0 + sigma noise */
        t.steps[i] /= (float)sqrt(in->schedule->abar[i / t.values + 1]);
    /* PyTorch encodes a PIL picture in channels-last order, where its group norm (1.13) keeps one fp32 sum per channel and thread and
     * E[x^2] - E[x]^2: the reference itself is 5e-4 from double precision there. */
    const bool from_picture = !strcmp(name, "i2i");
    const char *note = v->context->type == BL_F16 ? "f16: a loose bound, for the report"
        : from_picture ? "the reference's own encoder is this far from double precision" : NULL;
    snprintf(golden, sizeof(golden), "%s.latents", name);
    bl_expect(v, golden, t.steps, (size_t)t.room * t.values, bl_allowed(v, from_picture ? 1e-3 : 1e-4, 0.1), note);
    BL_TRY(bl_decode_image(v->checkpoint, last, in->h, in->w, NULL, &picture));
    snprintf(golden, sizeof(golden), "%s.image", name);
    bl_expect_picture(v, golden, &picture, bl_allowed(v, 0.1, 4));
fail:
    bl_stage_destroy(&s);
    bl_image_free(&picture);
    FREE_ALL(last, t.steps);
    return result;
}

/* Start latents of the image-to-image run from its picture and its two noises. */
static bl_result start_from_picture(bl_verifier *v, const bl_schedule *schedule, size_t values, float *start)
{
    bl_result result = BL_OK;
    const bl_file_tensor *shape;
    bl_image image = { 0 };
    float *pixels = bl_golden(v, "i2i.input_u8", &shape);
    float *noise = bl_golden_sized(v, "i2i.noise", values), *noise_vae = bl_golden_sized(v, "i2i.noise_vae", values);
    float *mean = bl_alloc(values, sizeof(*mean)), *log_variance = bl_alloc(values, sizeof(*mean));
    BL_TRY(bl_golden_missing(pixels));
    BL_TRY(bl_golden_missing(noise));
    BL_TRY(bl_golden_missing(noise_vae));
    NEED(mean && log_variance);
    const uint32_t f = bl_vae_factor(&v->checkpoint->vae);
    if (!rank_is(shape, 3) || shape->dims[2] != 3 ||
        shape->dims[0] / f * (shape->dims[1] / f) * v->checkpoint->vae.latent_channels != values)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "i2i.input_u8 is not a picture of the size of the latents"));
    BL_TRY(bl_image_create((uint32_t)shape->dims[1], (uint32_t)shape->dims[0], 3, &image));
    for (size_t i = 0; i < shape->count; i++)
        image.pixels[i] = (uint8_t)pixels[i];
    BL_TRY(bl_encode_image(v->checkpoint, &image, mean, log_variance));
    bl_sample_posterior(v->checkpoint->vae.scaling, mean, log_variance, noise_vae, values, start);
    for (size_t i = 0; i < values; i++)
        start[i] = schedule->start_x * start[i] + schedule->start_n * noise[i];
fail:
    bl_image_free(&image);
    FREE_ALL(pixels, noise, noise_vae, mean, log_variance);
    return result;
}

bl_result bl_verify_plain(bl_verifier *v)
{
    /* in the file, ours */
    static const char *const names[][2] = { { "ddim", "ddim" }, { "pndm", "pndm" }, { "euler", "euler" }, { "dpmpp", "dpm++2m" },
                                            { "i2i", "ddim" } };
    bl_result result = BL_OK;
    const bl_file_tensor *shape;
    bl_schedule schedule = { 0 };
    float *x0 = NULL, *embedding = NULL, *start = NULL;
    json_t *guidance = bl_golden_metadata(v, "guidance_scale"), *settings = NULL;
    if (!v->checkpoint || !bl_golden_has(v, "x0") || !guidance || !bl_safetensors_metadata(v->file, "prompt"))
        goto fail;
    v->stage = "plain";
    BL_TRY(bl_golden_missing(x0 = bl_golden(v, "x0", &shape)));
    if (!rank_is(shape, 4) || shape->dims[0] != 1 || shape->dims[1] != v->checkpoint->unet.in_channels)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "x0 is not [1,%u,h,w]", v->checkpoint->unet.in_channels));
    const size_t values = (size_t)shape->count;
    start = bl_alloc(values, sizeof(*start));
    NEED(start);
    for (size_t i = 0; i < BL_COUNT(names); i++) {
        char stage[32];
        const bool from_picture = !strcmp(names[i][0], "i2i");
        settings = bl_golden_metadata(v, names[i][0]);
        if (!json_is_object(settings))
            continue;
        snprintf(stage, sizeof(stage), "plain %s", names[i][0]);
        v->stage = stage;
        bl_scheduler_config config = v->checkpoint->scheduler;
        const char *spacing = json_string_value(json_object_get(settings, "spacing"));
        BL_TRY(bl_scheduler_config_override(&config, names[i][1], spacing, false));
        config.final_sigma_zero &= config.kind != BL_SCHEDULER_DPMPP_2M; /* diffusers before 0.26 */
        const json_t *timesteps = json_object_get(settings, "timesteps"), *steps = json_object_get(settings, "steps"),
            *strength = json_object_get(settings, "strength");
        const bool pndm = !strcmp(names[i][0], "pndm"); /* its table has one entry more than steps */
        BL_TRY(bl_schedule_create(&config, steps ? (uint32_t)json_integer_value(steps) : (uint32_t)json_array_size(timesteps) - pndm,
                                  strength ? json_number_value(strength) : 1, 0, (float)json_number_value(guidance), &schedule));
        /* the image-to-image run was made without the negative prompt of the others */
        BL_TRY(embed_prompts(v, from_picture ? "" : NULL, &embedding));
        if (from_picture)
            BL_TRY(start_from_picture(v, &schedule, values, start));
        else
            for (size_t k = 0; k < values; k++)
                start[k] = schedule.init_sigma * x0[k];
        bl_sample_input in = { .name = "unet", .h = (uint32_t)shape->dims[2], .w = (uint32_t)shape->dims[3], .embedding = embedding,
            .branches = 2,
            .start = start, .schedule = &schedule };
        BL_TRY(verify_run(v, names[i][0], &in, (uint32_t)shape->dims[1]));
        bl_schedule_free(&schedule);
        json_decref(settings);
        settings = NULL;
        bl_free(embedding);
        embedding = NULL;
    }
fail:
    v->stage = "-";
    bl_schedule_free(&schedule);
    json_decref(settings);
    json_decref(guidance);
    FREE_ALL(x0, embedding, start);
    return result;
}
