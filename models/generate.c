/* The order of one generation. Layer 5. */
#include "change.h"
#include "checkpoint.h"
#include "image.h"
#include "method.h"
#include "model.h"
#include "noise_source.h"
#include "photo.h"
#include "preview.h"
#include "sample.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MIN_SIDE = 64, MAX_SIDE = 2048, MAX_STEPS = 1000, MAX_INNER = 100 };

/* Options with defaults filled in, and what is derived from them. */
typedef struct job {
    const bl_generate_options *o;
    bl_checkpoint *c;
    uint32_t width, height, h, w, steps, branches;
    float strength, guidance;
    bl_scheduler_config scheduler;
    bl_schedule schedule;
    bl_noise_source numbers;     /* of the seed: encoder, start, then every step */
    bl_noise_source drawing;     /* the same, gone on with the steps of one run */
    bl_method_spec spec;
    bool guided;                 /* there are words to guide: maps, mask, attention */
    bool changes;                /* the mask of what changed is wanted */
    bl_photo_spec taken;         /* what is to be taken of the photo */
    bl_photo photo;
    bl_words words;
    size_t values;               /* of the latents */
    float *embedding, *normal, *detail; /* each [branches, positions, channels]; the latter two may be NULL */
    float *start, *source, *noise, *latents, *plain;
    float *gain_masks[BL_MAX_LEVELS];
    bl_stage sampler;
    bl_method method;
    bl_image_guide image;
    bl_preview preview;          /* if somebody wants to see it */
    bl_trace_step *trace;
    uint32_t trace_count, trace_room;
    double flops, sampler_flops, decode_flops;
} job;

static void draw_blend_noise(void *context, uint32_t step, float *noise);
static void note_update(void *context, const bl_update *u);

static bl_result check_range(const char *name, float v, float low, float high)
{
    return v >= low && v <= high ? BL_OK /* also false for NaN */
        : bl_fail(BL_ERROR_USAGE, "%s is %g; it ranges from %g to %g", name, (double)v, (double)low, (double)high);
}

static bl_result check_side(const char *name, uint32_t v, uint32_t multiple)
{
    if (v < MIN_SIDE || v > MAX_SIDE)
        return bl_fail(BL_ERROR_USAGE, "%s is %u pixels; it ranges from %d to %d", name, v, MIN_SIDE, MAX_SIDE);
    return v % multiple ? bl_fail(BL_ERROR_USAGE, "%s is %u pixels; this model needs multiples of %u", name, v, multiple) : BL_OK;
}

static const char *const method_names[] = { "cut", "anomalyany", "attend", "sd" }; /* in the order of bl_method_kind */
static const char *const oddity_names[] = { "maps", "blend", "prompt", "gate", "scheduler" };
static const unsigned oddity_bits[] = { BL_ODD_MAPS, BL_ODD_BLEND, BL_ODD_PROMPT, BL_ODD_GATE, BL_ODD_SCHEDULER };

const char *bl_method_name(bl_method_kind kind) { return method_names[kind]; }

/* Takes the oddities that a list names out of *odd. */
static bl_result parse_oddities(const char *list, unsigned *odd)
{
    for (const char *s = list; *s; s += *s == ',') {
        const size_t n = strcspn(s, ",");
        size_t i = 0;
        while (i < BL_COUNT(oddity_names) && (strlen(oddity_names[i]) != n || memcmp(oddity_names[i], s, n)))
            i++;
        if (i == BL_COUNT(oddity_names) && !(n == 3 && !memcmp(s, "all", 3)))
            return bl_fail(BL_ERROR_USAGE, "oddity \"%.*s\" is not known; there are maps, blend, prompt, gate, scheduler, all", (int)n, s);
        *odd &= i == BL_COUNT(oddity_names) ? 0 : ~oddity_bits[i];
        s += n;
    }
    return BL_OK;
}

/* 0 means the default, a negative number none. */
static float value_or(float v, float otherwise) { return v == 0 ? otherwise : v < 0 ? 0 : v; }

static bl_result fill_in_method(job *j)
{
    bl_result result = BL_OK;
    const bl_generate_options *o = j->o;
    const bl_checkpoint *c = j->c;
    bl_method_spec *m = &j->spec;
    size_t kind = o->method ? 0 : o->photo && j->words.count ? BL_METHOD_CUT : BL_METHOD_SD;
    while (o->method && kind < BL_COUNT(method_names) && strcmp(method_names[kind], o->method))
        kind++;
    if (kind == BL_COUNT(method_names))
        BL_TRY(bl_fail(BL_ERROR_USAGE, "method \"%s\" is not known; there are cut, anomalyany, attend, sd", o->method));
    if (kind != BL_METHOD_SD && (!o->photo || !j->words.count))
        BL_TRY(bl_fail(BL_ERROR_USAGE, "method %s needs %s", method_names[kind],
                       !o->photo ? "a photo" : "guided words: an object and a defect, or a prompt with [[words]]"));
    *m = (bl_method_spec){ .kind = (bl_method_kind)kind, .schedule = &j->schedule, .branches = j->branches,
        .growth = value_or(o->growth, 1),
        .lambda = value_or(o->lambda, 10), .inner = o->inner ? o->inner : 1, .prompt_rate = value_or(o->prompt_rate, 0.1f),
        .image_weight = value_or(o->image_weight, 1), .image_share = value_or(o->image_share, 0.3f),
        .odd = BL_ODD_ALL, .scale = value_or(o->lambda, 20), .gain = value_or(o->gain, 3), .update = note_update, .context = j };
    static const struct { uint32_t step; float value; } thresholds[] = { { 0, 0.05f }, { 10, 0.5f }, { 20, 0.8f } };
    for (; m->threshold_count < BL_COUNT(thresholds); m->threshold_count++) {
        m->thresholds[m->threshold_count].step = thresholds[m->threshold_count].step;
        m->thresholds[m->threshold_count].value = thresholds[m->threshold_count].value;
    }
    BL_TRY(check_range("lambda", m->lambda, 1e-6f, 1e6f));
    BL_TRY(check_range("the growth", m->growth, 0, 1000));
    BL_TRY(check_range("the rate of the prompt", m->prompt_rate, 0, 1));
    BL_TRY(check_range("the weight of the image loss", m->image_weight, 0, 1e6f));
    BL_TRY(check_range("the share of the image loss", m->image_share, 0, 1));
    BL_TRY(check_range("the gain", m->gain, 0, 50));
    if (m->inner > MAX_INNER)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "%u updates in a step; at most %d", m->inner, MAX_INNER));
    if (o->odd_off)
        BL_TRY(parse_oddities(o->odd_off, &m->odd));
    j->guided = o->photo && j->words.count;
    j->changes = j->guided && !o->no_change_mask;
    /* Stable Diffusion 1 pads with the end token, which competes as in the published code; in 2 only real words do. */
    uint32_t used = c->text.positions;
    if (bl_tokenizer_pad(c->tokenizer) != bl_tokenizer_eos(c->tokenizer)) {
        int32_t *ids = bl_alloc(c->text.positions, sizeof(*ids));
        const bl_result encoded = ids ? bl_tokenizer_encode_padded(c->tokenizer, j->words.prompt, c->text.positions, ids, &used)
                                      : bl_fail(BL_ERROR_MEMORY, "no host memory for a prompt");
        bl_free(ids);
        BL_TRY(encoded);
    }
    m->guide = (bl_guide_spec){ .h = j->h, .w = j->w, .level = bl_guide_level(&c->unet, j->h, j->w, o->attention_res),
        .branches = 1, .slice = used - 1, .count = j->words.count,
        .smooth = true, .mean = o->words_mean != 0 };
    memcpy(m->guide.tokens, j->words.tokens, sizeof(m->guide.tokens));
fail:
    return result;
}

/* The scheduler that the method needs, if the caller names none; NULL: the checkpoint's own. */
static const char *scheduler_of(const job *j)
{
    if (j->o->scheduler)
        return j->o->scheduler;
    if (j->spec.kind == BL_METHOD_ANOMALYANY && j->c->scheduler.kind == BL_SCHEDULER_PNDM)
        return j->spec.odd & BL_ODD_SCHEDULER ? "pndm-diffusers" : "pndm";
    return j->spec.kind == BL_METHOD_CUT ? "ddim" : NULL;
}

/* Which mask is to be drawn, if any. */
static bl_result fill_in_mask(job *j)
{
    const bl_generate_options *o = j->o;
    const char *shape = o->mask_shape;
    if ((o->mask || shape) && !o->photo)
        return bl_fail(BL_ERROR_USAGE, "a mask needs a photo");
    if (o->mask && shape)
        return bl_fail(BL_ERROR_USAGE, "a mask, or the shape of one to draw, not both");
    if (!o->mask && !shape && j->guided && j->spec.kind != BL_METHOD_ANOMALYANY)
        shape = "foreground";
    const bool anomalyany = j->spec.kind == BL_METHOD_ANOMALYANY;
    j->taken = (bl_photo_spec){ .context = j->c->context, .photo = o->photo, .mask = o->mask, .crop = o->crop ? o->crop : "auto",
        .shape = shape && strcmp(shape, "none") ? shape : NULL, .may_be_everywhere = !o->mask_shape, .smallest = o->mask_smallest,
        .largest = o->mask_largest, .seed = o->seed, .width = j->width, .height = j->height, .factor = bl_vae_factor(&j->c->vae),
        .nearest = anomalyany };
    if (o->crop && !o->photo)
        return bl_fail(BL_ERROR_USAGE, "a crop needs a photo");
    return BL_OK;
}

/* What depends on the number of steps. */
static bl_result fill_in_schedule(job *j)
{
    const bl_generate_options *o = j->o;
    bl_method_spec *m = &j->spec;
    const uint32_t count = j->schedule.count, first = o->guided_first ? o->guided_first : 1, last = o->guided_last ? o->guided_last : count;
    if (j->guided && (first > last || last > count))
        return bl_fail(BL_ERROR_USAGE, "guided steps %u to %u; %u steps run", first, last, count);
    m->first = first - 1;
    m->last = last - 1;
    m->image_steps = (uint32_t)(j->steps * (double)j->strength + 1e-6);
    if (m->kind == BL_METHOD_ANOMALYANY && (m->odd & BL_ODD_BLEND)) {
        m->draw = draw_blend_noise;
        bl_schedule_blend_before(&j->schedule);
    }
    return BL_OK;
}

static bl_result begin_noise(job *j)
{
    bl_rng rng;
    const bl_result result = bl_rng_parse(j->o->rng, &rng);
    if (result != BL_OK)
        return result;
    if (rng == BL_RNG_TORCH_CUDA && j->values > BL_TORCH_CUDA_MAX)
        return bl_fail(BL_ERROR_USAGE, "rng torch-cuda: above %d latents (such as 768x768 pixels has) torch's numbers depend on the GPU; "
                       "%u x %u pixels have %zu", BL_TORCH_CUDA_MAX, j->width, j->height, j->values);
    bl_noise_source_begin(&j->numbers, rng, j->o->seed);
    return BL_OK;
}

static bl_result fill_in(job *j)
{
    bl_result result = BL_OK;
    const bl_generate_options *o = j->o;
    const bl_checkpoint *c = j->c;
    const uint32_t f = bl_vae_factor(&c->vae), multiple = f << (c->unet.levels - 1);
    BL_TRY(bl_words_make(c->tokenizer, o->prompt, o->object, o->defect, o->template_text, o->normal_prompt, c->text.positions, &j->words));
    if (o->photo)
        BL_TRY(bl_image_check(o->photo));
    if (o->mask)
        BL_TRY(bl_image_check(o->mask));
    if (o->photo && o->photo->channels != 3)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "the photo has %u channels, 3 are needed", o->photo->channels));
    if (o->mask && o->mask->channels != 1)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "the mask has %u channels, 1 is needed", o->mask->channels));
    j->width = o->width ? o->width : c->unet.sample_size * f;
    j->height = o->height ? o->height : c->unet.sample_size * f;
    j->steps = o->steps ? o->steps : 50;
    j->strength = o->strength != 0 ? o->strength : 0.5f;
    j->guidance = o->guidance != 0 ? o->guidance : 7.5f;
    BL_TRY(check_side("the width", j->width, multiple));
    BL_TRY(check_side("the height", j->height, multiple));
    if (o->photo)
        BL_TRY(check_range("the strength", j->strength, 0, 1));
    BL_TRY(check_range("the guidance", j->guidance, 1, 100));
    if (j->steps > MAX_STEPS)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "%u steps; at most %d", j->steps, MAX_STEPS));
    j->h = j->height / f;
    j->w = j->width / f;
    j->branches = j->guidance == 1 ? 1 : 2;
    j->values = (size_t)c->unet.in_channels * j->h * j->w;
    BL_TRY(begin_noise(j));
    BL_TRY(fill_in_method(j));
    BL_TRY(fill_in_mask(j));
    j->scheduler = c->scheduler;
    BL_TRY(bl_scheduler_config_override(&j->scheduler, scheduler_of(j), o->spacing, o->karras));
    BL_TRY(bl_schedule_create(&j->scheduler, j->steps, o->photo ? (double)j->strength : 1, 0, j->guidance, &j->schedule));
    BL_TRY(fill_in_schedule(j));
    const size_t words = (size_t)j->branches * c->text.positions * c->text.channels;
    j->embedding = bl_alloc(words, sizeof(float));
    j->normal = j->changes ? bl_alloc(words, sizeof(float)) : NULL;
    j->detail = o->detail ? bl_alloc(words, sizeof(float)) : NULL;
    if ((j->changes && !j->normal) || (o->detail && !j->detail))
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for text embeddings"));
    j->spec.detail = j->detail;
    j->start = bl_alloc(j->values, sizeof(float));
    j->source = bl_alloc(j->values, sizeof(float));
    j->noise = bl_alloc(j->values, sizeof(float));
    j->latents = bl_alloc(j->values, sizeof(float));
    if (!j->embedding || !j->start || !j->source || !j->noise || !j->latents)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for latents"));
fail:
    return result;
}

static void job_free(job *j)
{
    float *arrays[] = { j->embedding, j->normal, j->detail, j->start, j->source, j->noise, j->latents, j->plain };
    bl_method_destroy(&j->method);
    bl_image_guide_destroy(&j->image);
    bl_preview_destroy(&j->preview);
    bl_stage_destroy(&j->sampler);
    for (size_t i = 0; i < BL_COUNT(arrays); i++)
        bl_free(arrays[i]);
    for (size_t i = 0; i < BL_MAX_LEVELS; i++)
        bl_free(j->gain_masks[i]);
    bl_free(j->trace);
    bl_photo_free(&j->photo);
    bl_words_free(&j->words);
    bl_schedule_free(&j->schedule);
}

/* Embedding of a text, after the negative one if there are two branches; `what` for messages about a text of the caller's. */
static bl_result encode_prompt(job *j, const char *text, const char *what, float *out)
{
    bl_result result = BL_OK;
    const uint32_t n = j->c->text.positions;
    const char *texts[2] = { j->o->negative_prompt ? j->o->negative_prompt : "", text };
    int32_t *ids = bl_alloc(2 * (size_t)n, sizeof(*ids));
    if (!ids)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for tokens");
    for (uint32_t i = 0; i < 2; i++) {
        const bl_result encoded = bl_tokenizer_encode_padded(j->c->tokenizer, texts[i], n, ids + i * n, NULL);
        if (encoded == BL_ERROR_INPUT)
            bl_fail(encoded, "%s%s", i ? what : "negative ", bl_last_error()); /* the tokenizer speaks of a "prompt" */
        BL_TRY(encoded);
    }
    BL_TRY(bl_encode_text(j->c, ids + (j->branches == 1 ? n : 0), j->branches, out));
fail:
    bl_free(ids);
    return result;
}

static bl_result encode_prompts(job *j)
{
    bl_result result = BL_OK;
    bl_context_progress(j->c->context, "text", 0, 1);
    BL_TRY(encode_prompt(j, j->words.prompt, "", j->embedding));
    if (j->normal)
        BL_TRY(encode_prompt(j, j->words.normal, "normal ", j->normal));
    if (j->detail)
        BL_TRY(encode_prompt(j, j->o->detail, "detailed ", j->detail));
    bl_context_progress(j->c->context, "text", 1, 1);
fail:
    return result;
}

/* Image-to-image: source latents of the photo, and the mask. */
static bl_result encode_photo(job *j)
{
    bl_result result = BL_OK;
    float *moments = bl_alloc(3 * j->values, sizeof(*moments));
    if (!moments)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for latents"));
    float *mean = moments, *log_variance = moments + j->values, *noise = moments + 2 * j->values;
    BL_TRY(bl_photo_prepare(&j->taken, &j->photo)); /* before the device works for a mask that cannot be */
    j->spec.mask = j->photo.mask;
    BL_TRY(bl_encode_image(j->c, &j->photo.part, mean, log_variance));
    if (!j->c->vae.tiny) /* which has nothing to draw */
        bl_noise_source_draw(&j->numbers, BL_NOISE_VAE, 0, j->values, noise);
    bl_sample_posterior(j->c->vae.scaling, mean, log_variance, noise, j->values, j->source);
fail:
    bl_free(moments);
    return result;
}

/* A picture of one colour is a failure that looks like a result. */
static bl_result check_picture(const bl_image *image)
{
    const size_t n = (size_t)image->width * image->height * image->channels;
    for (size_t i = image->channels; i < n; i++)
        if (image->pixels[i] != image->pixels[i % image->channels])
            return BL_OK;
    return bl_fail(BL_ERROR_OUTPUT, "the picture is one flat colour; it is not kept");
}

/* --- the method ----------------------------------------------------------------------------------------------------------- */

/* Noise of the blending of a step; the first one is that of a run without a method. */
static void draw_blend_noise(void *context, uint32_t step, float *noise)
{
    const job *j = context;
    bl_noise_normal(j->o->seed, BL_NOISE_BLEND, step * (uint64_t)j->values, j->values, noise);
}

static void draw_step_noise(void *context, uint32_t step, float *noise)
{
    job *j = context;
    bl_noise_source_draw(&j->drawing, BL_NOISE_STEP, step * (uint64_t)j->values, j->values, noise);
}

static void note_update(void *context, const bl_update *u)
{
    job *j = context;
    if (u->kind == BL_UPDATE_EMBEDDING)
        return;
    if (j->trace_count == j->trace_room) {
        const uint32_t room = 2 * j->trace_room + 64;
        bl_trace_step *grown = bl_resize(j->trace, room, sizeof(*grown));
        if (!grown)
            return; /* a shorter trace: the picture matters more */
        j->trace = grown;
        j->trace_room = room;
    }
    j->trace[j->trace_count++] = (bl_trace_step){ .step = u->step + 1, .inner = u->inner + 1, .measured = u->kind == BL_UPDATE_MEASURED,
        .timestep = u->t, .attention_loss = u->attention_loss, .image_loss = u->kind == BL_UPDATE_MEASURED ? NAN : u->image_loss, .n = u->n,
        .x = u->x, .y = u->y, .gradient_norm = (float)u->norm, .alpha = u->size, .seconds = (float)u->seconds };
}

static bl_result show(job *j, uint32_t step, const float *latents)
{
    bl_image picture;
    const bl_result result = bl_preview_draw(&j->preview, latents, &picture);
    if (result != BL_OK)
        return result;
    j->o->preview(j->o->preview_user, step + 1, j->schedule.count, &picture);
    bl_image_free(&picture);
    return BL_OK;
}

static bl_result before_step(void *context, uint32_t step, bl_sample_state *state)
{
    job *j = context;
    return bl_method_before(&j->method, step, state);
}

static bl_result after_step(void *context, uint32_t step, const float *latents)
{
    job *j = context;
    j->flops += j->sampler_flops;
    return j->o->preview ? show(j, step, latents) : BL_OK;
}

static bl_result after_plain_step(void *context, uint32_t step, const float *latents)
{
    job *j = context;
    (void)step;
    (void)latents;
    j->flops += j->sampler_flops;
    return BL_OK;
}

static bl_sample_input input_of(job *j, bool plain)
{
    return (bl_sample_input){ .name = plain ? "normal" : "unet", .h = j->h, .w = j->w, .embedding = plain ? j->normal : j->embedding,
        .branches = j->branches, .start = j->start, .source = j->source, .noise = j->noise, .mask = j->spec.mask, .schedule = &j->schedule,
        .draw = draw_step_noise, .gain_masks = j->spec.kind == BL_METHOD_ATTEND ? j->gain_masks : NULL,
        .before = j->guided && !plain ? before_step : NULL,
        .after = plain ? after_plain_step : after_step, .context = j };
}

/* The mask at every level's size, for the gain; everywhere without one. */
static bl_result make_gain_masks(job *j)
{
    for (uint32_t level = 0; level < j->c->unet.levels && j->spec.kind == BL_METHOD_ATTEND; level++) {
        const size_t cells = (size_t)(j->h >> level) * (j->w >> level);
        j->gain_masks[level] = bl_alloc(cells, sizeof(float));
        if (!j->gain_masks[level])
            return bl_fail(BL_ERROR_MEMORY, "no host memory for masks");
        if (j->spec.mask)
            bl_mask_on_grid(j->spec.mask, j->h, j->w, level, j->gain_masks[level]);
        for (size_t i = 0; i < cells && !j->spec.mask; i++)
            j->gain_masks[level][i] = 1;
    }
    return BL_OK;
}

/* Every stage that runs while latents are denoised. */
static bl_result prepare_sampling(job *j, bl_model *model)
{
    bl_result result = BL_OK;
    BL_TRY(make_gain_masks(j));
    const bl_sample_input in = input_of(j, false);
    BL_TRY(bl_sample_stage(j->c, &in, &j->sampler));
    j->sampler_flops = bl_graph_flops(j->sampler.graph);
    if (model->clip && (j->spec.kind == BL_METHOD_CUT || j->spec.kind == BL_METHOD_ANOMALYANY)) {
        BL_TRY(bl_image_guide_for_prompt(j->c, model->clip, j->h, j->w, j->o->detail ? j->o->detail : j->words.prompt, &j->image));
        j->spec.image = &j->image;
    }
    if (j->guided)
        BL_TRY(bl_method_create(j->c, &j->spec, &j->method));
    if (j->o->preview)
        BL_TRY(bl_preview_create(j->c, j->h, j->w, &j->preview));
fail:
    return result;
}

/* Denoises with the defect, then without it from the same noise. */
static bl_result sample_all(job *j)
{
    bl_result result = BL_OK;
    const bl_sample_input in = input_of(j, false), plain = input_of(j, true);
    j->drawing = j->numbers;
    BL_TRY(bl_sample(j->c, &j->sampler, &in, j->latents));
    if (j->changes) {
        j->drawing = j->numbers;
        j->plain = bl_alloc(j->values, sizeof(float));
        if (!j->plain)
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for latents"));
        BL_TRY(bl_sample(j->c, &j->sampler, &plain, j->plain));
    }
fail:
    return result;
}

/* The words' attention as one map, the strongest of them in every cell. */
static float *joined_maps(const job *j)
{
    const size_t cells = (size_t)j->method.guide.mh * j->method.guide.mw, words = j->words.count;
    float *map = bl_alloc(cells, sizeof(*map));
    for (size_t i = 0; map && i < cells * words; i++)
        map[i / words] = BL_MAX(map[i / words], j->method.maps[i]);
    return map;
}

static bl_result make_pictures(job *j, bl_generate_result *out)
{
    bl_result result = BL_OK;
    bl_image plain = { 0 };
    const uint32_t mh = j->method.guide.mh, mw = j->method.guide.mw;
    float *map = j->guided ? joined_maps(j) : NULL;
    if (j->guided && !map)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for attention maps"));
    j->flops += j->method.flops;
    out->forwards = j->method.forwards + j->schedule.count * j->branches * (j->changes ? 2 : 1);
    out->backwards = j->method.backwards;
    out->decodes = j->method.decodes + (j->changes ? 2 : 1);
    bl_method_destroy(&j->method); /* memory for decoding */
    bl_image_guide_destroy(&j->image);
    bl_preview_destroy(&j->preview);
    bl_stage_destroy(&j->sampler);
    BL_TRY(bl_decode_image(j->c, j->latents, j->h, j->w, &j->decode_flops, &out->image));
    BL_TRY(check_picture(&out->image));
    if (j->changes) {
        BL_TRY(bl_context_cancelled(j->c->context));
        BL_TRY(bl_decode_image(j->c, j->plain, j->h, j->w, &j->decode_flops, &plain));
        BL_TRY(bl_change_mask(&out->image, &plain, map, mh, mw, j->spec.mask, j->h, j->w, &out->mask));
    }
    if (j->o->photo)
        BL_TRY(bl_photo_return(&j->photo, map, mh, mw, j->o->whole_picture, out));
    out->gflop = 1e-9 * (j->flops + j->decode_flops * (j->changes ? 2 : 1));
    out->plain_gflop = 1e-9 * (j->sampler_flops * j->schedule.count + j->decode_flops);
fail:
    bl_free(map);
    bl_image_free(&plain);
    return result;
}

/* --- one generation --------------------------------------------------------------------------------------------------------- */

bl_result bl_generate(bl_model *model, const bl_generate_options *options, bl_generate_result *out)
{
    if (!out)
        return bl_fail(BL_ERROR_USAGE, "no place for a result");
    *out = (bl_generate_result){ 0 };
    if (!model || !options || options->struct_size != sizeof(*options))
        return bl_fail(BL_ERROR_USAGE, "bl_generate: no model, no options, or options of another version");
    bl_result result = BL_OK;
    const double begun = bl_clock();
    job j = { .o = options, .c = model->checkpoint };
    BL_TRY(bl_device_check(j.c->context->device));
    BL_TRY(fill_in(&j));
    bl_checkpoint_begin(j.c, false);
    BL_TRY(encode_prompts(&j));
    if (options->photo) {
        BL_TRY(bl_context_cancelled(j.c->context));
        BL_TRY(encode_photo(&j));
    }
    bl_noise_source_draw(&j.numbers, BL_NOISE_LATENTS, 0, j.values, j.noise);
    for (size_t i = 0; i < j.values; i++)
        j.start[i] = options->photo
            ? j.schedule.start_x * j.source[i] + j.schedule.start_n * j.noise[i] : j.schedule.init_sigma * j.noise[i];
    BL_TRY(prepare_sampling(&j, model));
    BL_TRY(sample_all(&j));
    BL_TRY(bl_context_cancelled(j.c->context));
    BL_TRY(make_pictures(&j, out));
    out->trace = j.trace;
    out->trace_count = j.trace_count;
    j.trace = NULL;
    out->steps_run = j.schedule.count;
    out->device_bytes = j.c->context->device->peak;
    out->memory = j.c->memory;
    BL_TRY(bl_describe(&(bl_description){ .options = options, .model = model, .scheduler = &j.scheduler, .method = &j.spec,
        .words = &j.words, .rng = bl_rng_name(j.numbers.rng),
        .mask_shape = j.photo.spec.shape, .crop = j.photo.returns ? &j.photo.crop : NULL,
        .width = j.width, .height = j.height, .steps = j.steps, .strength = j.strength, .guidance = j.guidance }, &out->parameters,
        &out->parameters_text));
    out->seconds = 1e-9 * (bl_clock() - begun);
fail:
    job_free(&j);
    if (result != BL_OK)
        bl_generate_result_free(out);
    return result;
}

bl_result bl_generate_plan(bl_model *model, const bl_generate_options *options, bl_memory_plan *plan)
{
    if (!plan)
        return bl_fail(BL_ERROR_USAGE, "no place for a plan");
    *plan = (bl_memory_plan){ 0 };
    if (!model || !options || options->struct_size != sizeof(*options))
        return bl_fail(BL_ERROR_USAGE, "bl_generate_plan: no model, no options, or options of another version");
    bl_result result = BL_OK;
    bl_checkpoint *c = model->checkpoint;
    bl_stage s = { 0 };
    job j = { .o = options, .c = c };
    bl_checkpoint_begin(c, true);
    BL_TRY(fill_in(&j));
    for (int i = 0; i < 1 + (j.normal != NULL) + (j.detail != NULL); i++) {
        BL_TRY(bl_stage_text(c, j.branches, false, &s));
        bl_stage_destroy(&s);
    }
    if (options->photo) {
        BL_TRY(bl_stage_encode(c, j.height, j.width, false, &s));
        bl_stage_destroy(&s);
    }
    if (options->mask || j.taken.shape) { /* its contents do not matter */
        j.photo.mask = bl_alloc((size_t)j.h * j.w, sizeof(float));
        if (!j.photo.mask)
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a mask"));
        j.spec.mask = j.photo.mask;
    }
    BL_TRY(prepare_sampling(&j, model));
    bl_method_destroy(&j.method);
    bl_image_guide_destroy(&j.image);
    bl_preview_destroy(&j.preview);
    bl_stage_destroy(&j.sampler);
    for (int i = 0; i < 1 + j.changes; i++) {
        BL_TRY(bl_stage_decode(c, j.h, j.w, false, &s));
        bl_stage_destroy(&s);
    }
    *plan = c->memory;
fail:
    job_free(&j);
    bl_checkpoint_begin(c, false);
    return result;
}

void bl_generate_result_free(bl_generate_result *r)
{
    if (!r)
        return;
    bl_image_free(&r->image);
    bl_image_free(&r->mask);
    bl_image_free(&r->region);
    bl_image_free(&r->attention);
    bl_image_free(&r->photo);
    bl_free(r->trace);
    bl_free(r->parameters);
    bl_free(r->parameters_text);
    *r = (bl_generate_result){ 0 };
}
