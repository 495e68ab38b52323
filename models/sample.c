/* Layer 4. */
#include "sample.h"
#include "image.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- sampling ------------------------------------------------------------------------------------------------------- */

/* Writes a latent-shaped array, through `scratch` of the same size. */
static bl_result write_latents(const bl_stage *s, bl_value x, const float *nchw, uint32_t c, uint32_t h, uint32_t w, float *scratch)
{
    bl_to_channels_last(nchw, 1, c, h, w, c, scratch);
    return bl_exec_write(s->exec, x, scratch, (size_t)c * h * w);
}

/* The device counts the steps by itself. */
static bl_result check_step(const bl_checkpoint *c, const bl_stage *s, uint32_t done, uint32_t steps)
{
    uint32_t counted = 0;
    const bl_result result = bl_exec_step(s->exec, &counted);
    if (result != BL_OK || counted == done)
        return result;
    return bl_fail(BL_ERROR_DEVICE, "%s has counted %u steps after step %u of %u", c->context->device->info.name, counted, done, steps);
}

bl_result bl_sample_stage(bl_checkpoint *c, const bl_sample_input *in, bl_stage *s)
{
    return bl_stage_sampler(c, in->branches, in->h, in->w, in->mask != NULL, in->gain_masks != NULL, in->schedule->noisy,
                            in->schedule->count, s);
}

/* What `before` may change, at first all of it. */
static bl_result write_state(const bl_checkpoint *c, const bl_stage *s, const bl_sample_input *in, bl_sample_state *state, float *scratch)
{
    bl_result result = BL_OK;
    const uint32_t channels = c->unet.in_channels;
    if (state->changed & BL_SAMPLE_LATENTS)
        BL_TRY(write_latents(s, s->x, state->latents, channels, in->h, in->w, scratch));
    if (state->changed & BL_SAMPLE_EMBEDDING)
        BL_TRY(bl_exec_write(s->exec, s->context, state->embedding, (size_t)in->branches * c->text.positions * c->text.channels));
    if (in->mask && (state->changed & BL_SAMPLE_NOISE))
        BL_TRY(write_latents(s, s->noise, state->noise, channels, in->h, in->w, scratch));
    if (in->gain_masks && (state->changed & BL_SAMPLE_GAIN))
        BL_TRY(bl_exec_write(s->exec, s->gain, state->gain, c->text.positions));
    state->changed = 0;
fail:
    return result;
}

/* What stays. */
static bl_result write_inputs(const bl_checkpoint *c, const bl_stage *s, const bl_sample_input *in, float *scratch)
{
    bl_result result = BL_OK;
    const uint32_t channels = c->unet.in_channels;
    BL_TRY(bl_exec_write(s->exec, s->history, scratch, 4 * (size_t)channels * in->h * in->w));
    if (in->mask) {
        BL_TRY(write_latents(s, s->source, in->source, channels, in->h, in->w, scratch));
        BL_TRY(bl_exec_write(s->exec, s->mask, in->mask, (size_t)in->h * in->w));
    }
    for (uint32_t level = 0; in->gain_masks && level < c->unet.levels; level++)
        if (s->gain_masks[level] != BL_NONE)
            BL_TRY(bl_exec_write(s->exec, s->gain_masks[level], in->gain_masks[level], (size_t)(in->h >> level) * (in->w >> level)));
    BL_TRY(bl_exec_set_steps(s->exec, in->schedule->steps, in->schedule->count));
fail:
    return result;
}

bl_result bl_sample(bl_checkpoint *c, const bl_stage *s, const bl_sample_input *in, float *latents)
{
    bl_result result = BL_OK;
    char trouble[80];
    double longest = 0; /* without the first of several steps, which is for learning */
    const uint32_t channels = c->unet.in_channels, steps = in->schedule->count;
    const size_t values = (size_t)channels * in->h * in->w, words = (size_t)in->branches * c->text.positions * c->text.channels;
    float *scratch = bl_alloc(4 * values, sizeof(*scratch)), *embedding = bl_alloc(words, sizeof(*embedding));
    float *noise = bl_alloc(values, sizeof(*noise)), *gain = bl_alloc(c->text.positions, sizeof(*gain));
    float *drawn = in->schedule->noisy ? bl_alloc(values, sizeof(*drawn)) : NULL;
    bl_sample_state state = { latents, embedding, noise, gain, BL_SAMPLE_ALL };
    if (!scratch || !embedding || !noise || !gain || (in->schedule->noisy && !drawn))
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for latents"));
    if (in->schedule->noisy && !in->draw)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "the scheduler adds noise, and nothing draws it"));
    memcpy(latents, in->start, values * sizeof(*latents));
    memcpy(embedding, in->embedding, words * sizeof(*embedding));
    if (in->mask)
        memcpy(noise, in->noise, values * sizeof(*noise));
    bl_context_progress(c->context, in->name, 0, steps);
    BL_TRY(write_inputs(c, s, in, scratch));
    for (uint32_t i = 0; i < steps; i++) {
        BL_TRY(bl_context_cancelled(c->context));
        if (in->before)
            BL_TRY(in->before(in->context, i, &state));
        BL_TRY(write_state(c, s, in, &state, scratch));
        if (in->schedule->noisy) {
            in->draw(in->context, i, drawn);
            BL_TRY(write_latents(s, s->drawn, drawn, channels, in->h, in->w, scratch));
        }
        BL_TRY(bl_exec_run(s->exec));
        BL_TRY(check_step(c, s, i + 1, steps));
        longest = i > 1 ? BL_MAX(longest, bl_exec_longest(s->exec)) : bl_exec_longest(s->exec);
        snprintf(trouble, sizeof(trouble), "the latents are not finite after step %u of %u", i + 1, steps);
        BL_TRY(bl_stage_read(s, s->x, scratch, values, trouble));
        bl_to_channels_first(scratch, 1, channels, in->h, in->w, channels, latents);
        bl_context_progress(c->context, in->name, i + 1, steps);
        if (in->after)
            BL_TRY(in->after(in->context, i, latents));
    }
    bl_context_log(c->context, BL_LOG_DEBUG, "sampling: %.1f MiB of activations, %u dispatches a step, the longest submission %.0f ms",
                   (double)bl_exec_bytes(s->exec) / 0x1p20, bl_exec_record(s->exec)->count, longest * 1e-6);
fail:
    bl_free(scratch);
    bl_free(embedding);
    bl_free(noise);
    bl_free(gain);
    bl_free(drawn);
    return result;
}

/* --- pictures ------------------------------------------------------------------------------------------------------- */

bl_result bl_read_moments(const bl_stage *s, float *mean, float *log_variance)
{
    bl_result result = BL_OK;
    const bl_vae_config *c = &s->owner->vae;
    const bl_shape m = bl_graph_shape(s->graph, s->out);
    const size_t cells = (size_t)m.h * m.w, values = cells * m.c, half = cells * c->latent_channels;
    float *raw = bl_alloc(values, sizeof(*raw)), *first = bl_alloc(values, sizeof(*first));
    if (!raw || !first)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for latents"));
    BL_TRY(bl_stage_read(s, s->out, raw, values, "the autoencoder made values that are not finite"));
    bl_to_channels_first(raw, 1, m.c, m.h, m.w, m.c, first);
    memcpy(mean, first, half * sizeof(*mean));
    for (size_t i = 0; i < half; i++)
        log_variance[i] = c->tiny ? -INFINITY : first[half + i];
fail:
    bl_free(raw);
    bl_free(first);
    return result;
}

bl_result bl_encode_image(bl_checkpoint *c, const bl_image *image, float *mean, float *log_variance)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    const uint32_t f = bl_vae_factor(&c->vae);
    const size_t pixels = (size_t)image->width * image->height;
    float *x = bl_alloc(pixels, 4 * sizeof(*x));
    if (!x)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a picture of %u x %u", image->width, image->height));
    if (image->channels != 3 || image->width % f || image->height % f)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "a picture of %u x %u with %u channels cannot be encoded", image->width, image->height,
                       image->channels));
    for (size_t p = 0; p < pixels; p++)
        for (size_t k = 0; k < 3; k++)
            x[4 * p + k] = 2.0f * ((float)image->pixels[3 * p + k] / 255.0f) - 1.0f;
    bl_context_progress(c->context, "encode", 0, 1);
    BL_TRY(bl_stage_encode(c, image->height, image->width, false, &s));
    BL_TRY(bl_exec_write(s.exec, s.x, x, 4 * pixels));
    BL_TRY(bl_exec_run(s.exec));
    BL_TRY(bl_read_moments(&s, mean, log_variance));
    bl_context_progress(c->context, "encode", 1, 1);
fail:
    bl_stage_destroy(&s);
    bl_free(x);
    return result;
}

void bl_sample_posterior(float scaling, const float *mean, const float *log_variance, const float *noise, size_t count, float *latents)
{
    for (size_t i = 0; i < count; i++) {
        const float clamped = log_variance[i] < -30 ? -30 : log_variance[i] > 20 ? 20 : log_variance[i];
        const bool certain = isinf(log_variance[i]) && log_variance[i] < 0;
        latents[i] = scaling * (certain ? mean[i] : mean[i] + (float)exp(0.5 * (double)clamped) * noise[i]);
    }
}

void bl_pixels(const float *decoded, size_t pixels, uint8_t *rgb)
{
    for (size_t p = 0; p < pixels; p++)
        for (size_t k = 0; k < 3; k++) {
            const float v = decoded[4 * p + k] / 2 + 0.5f;
            rgb[3 * p + k] = (uint8_t)rintf((v < 0 ? 0 : v > 1 ? 1 : v) * 255.0f);
        }
}

bl_result bl_decode_stage(const bl_stage *s, const float *latents, bl_image *image)
{
    bl_result result = BL_OK;
    const bl_shape in = bl_graph_shape(s->graph, s->x), to = bl_graph_shape(s->graph, s->out);
    const size_t values = (size_t)in.h * in.w * in.c, pixels = (size_t)to.h * to.w;
    float *x = bl_alloc(values, sizeof(*x)), *out = bl_alloc(pixels, 4 * sizeof(*out));
    *image = (bl_image){ 0 };
    if (!x || !out)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a picture of %u x %u", to.w, to.h));
    bl_to_channels_last(latents, 1, in.c, in.h, in.w, in.c, x);
    BL_TRY(bl_exec_write(s->exec, s->x, x, values));
    BL_TRY(bl_exec_run(s->exec));
    BL_TRY(bl_stage_read(s, s->out, out, 4 * pixels, "the picture has values that are not finite"));
    BL_TRY(bl_image_create(to.w, to.h, 3, image));
    bl_pixels(out, pixels, image->pixels);
fail:
    bl_free(x);
    bl_free(out);
    return result;
}

bl_result bl_decode_image(bl_checkpoint *c, const float *latents, uint32_t h, uint32_t w, double *flops, bl_image *image)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    *image = (bl_image){ 0 };
    bl_context_progress(c->context, "decode", 0, 1);
    BL_TRY(bl_stage_decode(c, h, w, false, &s));
    if (flops)
        *flops = bl_graph_flops(s.graph);
    BL_TRY(bl_decode_stage(&s, latents, image));
    bl_context_progress(c->context, "decode", 1, 1);
fail:
    bl_stage_destroy(&s);
    return result;
}
