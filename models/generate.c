/* The order of one generation. Layer 5. */
#include "checkpoint.h"
#include "image.h"
#include "model.h"
#include "noise.h"
#include "resample.h"
#include "sample.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MIN_SIDE = 64, MAX_SIDE = 2048, MAX_STEPS = 1000 };

/* Options with defaults filled in, and what is derived from them. */
typedef struct job {
    const bl_generate_options *o;
    bl_checkpoint *c;
    uint32_t width, height, h, w, steps, branches;
    float strength, guidance;
    bl_scheduler_config scheduler;
    bl_schedule schedule;
    size_t values;               /* of the latents */
    float *embedding, *start, *source, *noise, *mask, *latents;
} job;

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

static bl_result fill_in(job *j)
{
    bl_result result = BL_OK;
    const bl_generate_options *o = j->o;
    const bl_checkpoint *c = j->c;
    const uint32_t f = bl_vae_factor(&c->vae), multiple = f << (c->unet.levels - 1);
    if (!o->prompt)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "a prompt is needed"));
    if (o->mask && !o->photo)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "a mask needs a photo"));
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
    j->scheduler = c->scheduler;
    BL_TRY(bl_scheduler_config_override(&j->scheduler, o->scheduler, o->spacing));
    BL_TRY(bl_schedule_create(&j->scheduler, j->steps, o->photo ? (double)j->strength : 1, 0, j->guidance, &j->schedule));
    j->embedding = bl_alloc((size_t)j->branches * c->text.positions * c->text.channels, sizeof(float));
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
    float *arrays[] = { j->embedding, j->start, j->source, j->noise, j->mask, j->latents };
    for (size_t i = 0; i < BL_COUNT(arrays); i++)
        bl_free(arrays[i]);
    bl_schedule_free(&j->schedule);
}

static bl_result encode_prompts(job *j)
{
    bl_result result = BL_OK;
    const uint32_t n = j->c->text.positions;
    const char *texts[2] = { j->o->negative_prompt ? j->o->negative_prompt : "", j->o->prompt };
    int32_t *ids = bl_alloc(2 * (size_t)n, sizeof(*ids));
    if (!ids)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for tokens");
    for (uint32_t i = 0; i < 2; i++) {
        const bl_result encoded = bl_tokenizer_encode_padded(j->c->tokenizer, texts[i], n, ids + i * n, NULL);
        if (encoded == BL_ERROR_INPUT && !i)
            bl_fail(encoded, "negative %s", bl_last_error()); /* the tokenizer speaks of a "prompt" */
        BL_TRY(encoded);
    }
    bl_context_progress(j->c->context, "text", 0, 1);
    BL_TRY(bl_encode_text(j->c, ids + (j->branches == 1 ? n : 0), j->branches, j->embedding));
    bl_context_progress(j->c->context, "text", 1, 1);
fail:
    bl_free(ids);
    return result;
}

/* The largest centred part of the picture with the shape of the result, resized: nothing is stretched. */
static bl_result fit(const bl_image *in, uint32_t width, uint32_t height, uint32_t shape_w, uint32_t shape_h, bl_filter filter,
                     bl_image *out)
{
    bl_image part = { 0 };
    uint32_t w = in->width, h = in->height;
    if ((uint64_t)w * shape_h > (uint64_t)h * shape_w)
        w = (uint32_t)BL_MAX((uint64_t)h * shape_w / shape_h, 1);
    else
        h = (uint32_t)BL_MAX((uint64_t)w * shape_h / shape_w, 1);
    bl_result result = bl_image_create(w, h, in->channels, &part);
    if (result != BL_OK)
        return result;
    const uint32_t x0 = (in->width - w) / 2, y0 = (in->height - h) / 2;
    for (uint32_t y = 0; y < h; y++)
        memcpy(part.pixels + (size_t)y * w * in->channels, in->pixels + ((size_t)(y0 + y) * in->width + x0) * in->channels,
               (size_t)w * in->channels);
    result = bl_image_resize(&part, width, height, filter, out);
    bl_image_free(&part);
    return result;
}

/* Image-to-image: source latents of the photo, and the mask at their size. */
static bl_result encode_photo(job *j)
{
    bl_result result = BL_OK;
    bl_image photo = { 0 }, mask = { 0 };
    float *moments = bl_alloc(3 * j->values, sizeof(*moments));
    if (!moments)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for latents"));
    float *mean = moments, *log_variance = moments + j->values, *noise = moments + 2 * j->values;
    BL_TRY(fit(j->o->photo, j->width, j->height, j->width, j->height, BL_FILTER_LANCZOS, &photo));
    BL_TRY(bl_encode_image(j->c, &photo, mean, log_variance));
    bl_noise_normal(j->o->seed, BL_NOISE_VAE, 0, j->values, noise);
    bl_sample_posterior(j->c->vae.scaling, mean, log_variance, noise, j->values, j->source);
    if (j->o->mask) {
        const size_t cells = (size_t)j->h * j->w;
        uint32_t white = 0;
        BL_TRY(fit(j->o->mask, j->w, j->h, j->width, j->height, BL_FILTER_NEAREST, &mask));
        j->mask = bl_alloc(cells, sizeof(*j->mask));
        if (!j->mask)
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a mask"));
        for (size_t i = 0; i < cells; i++) {
            j->mask[i] = mask.pixels[i] != 0;
            white += mask.pixels[i] != 0;
        }
        if (!white)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "the mask is black everywhere at %u x %u latents: nothing may change", j->w, j->h));
    }
fail:
    bl_image_free(&photo);
    bl_image_free(&mask);
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
    bl_stage sampler = { 0 };
    BL_TRY(bl_device_check(j.c->context->device));
    BL_TRY(fill_in(&j));
    bl_checkpoint_begin(j.c, false);
    BL_TRY(encode_prompts(&j));
    bl_noise_normal(options->seed, BL_NOISE_LATENTS, 0, j.values, j.noise);
    if (options->photo) {
        BL_TRY(bl_context_cancelled(j.c->context));
        BL_TRY(encode_photo(&j));
    }
    for (size_t i = 0; i < j.values; i++)
        j.start[i] = options->photo
            ? j.schedule.start_x * j.source[i] + j.schedule.start_n * j.noise[i] : j.schedule.init_sigma * j.noise[i];
    const bl_sample_input in = { .name = "unet", .h = j.h, .w = j.w, .embedding = j.embedding, .branches = j.branches, .start = j.start, .source = j.source,
        .noise = j.noise, .mask = j.mask, .schedule = &j.schedule };
    BL_TRY(bl_sample_stage(j.c, &in, &sampler));
    BL_TRY(bl_sample(j.c, &sampler, &in, j.latents));
    bl_stage_destroy(&sampler);
    BL_TRY(bl_context_cancelled(j.c->context));
    BL_TRY(bl_decode_image(j.c, j.latents, j.h, j.w, &out->image));
    BL_TRY(check_picture(&out->image));
    out->steps_run = j.schedule.count;
    out->device_bytes = j.c->context->device->peak;
    out->memory = j.c->memory;
    BL_TRY(bl_describe(&(bl_description){ .options = options, .model = model, .scheduler = &j.scheduler, .width = j.width,
        .height = j.height, .steps = j.steps, .strength = j.strength, .guidance = j.guidance }, &out->parameters, &out->parameters_text));
    out->seconds = 1e-9 * (bl_clock() - begun);
fail:
    bl_stage_destroy(&sampler);
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
    BL_TRY(bl_stage_text(c, j.branches, false, &s));
    bl_stage_destroy(&s);
    if (options->photo) {
        BL_TRY(bl_stage_encode(c, j.height, j.width, false, &s));
        bl_stage_destroy(&s);
    }
    BL_TRY(bl_stage_sampler(c, j.branches, j.h, j.w, options->mask != NULL, false, j.schedule.count, &s));
    bl_stage_destroy(&s);
    BL_TRY(bl_stage_decode(c, j.h, j.w, false, &s));
    bl_stage_destroy(&s);
    *plan = c->memory;
fail:
    c->planning = false;
    job_free(&j);
    return result;
}

void bl_generate_result_free(bl_generate_result *r)
{
    if (!r)
        return;
    bl_image_free(&r->image);
    bl_free(r->parameters);
    bl_free(r->parameters_text);
    *r = (bl_generate_result){ 0 };
}
