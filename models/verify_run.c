/* Verification of whole guided runs of the published code. Layer 5. */
#include "image.h"
#include "method.h"
#include "verify.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEED(p) BL_TRY((p) ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", v->stage))

/* What a run records, in the order of its updates, to be compared at the end. */
typedef struct run {
    bl_verifier *v;
    uint32_t h, w;
    size_t values, words;        /* of the latents; of the embedding of two prompts */
    uint32_t steps;
    float *start, *source, *mask, *draws, *embedding, *detail, *normal;
    float *out;                  /* latents after every update */
    float *loss, *norm, *size, *attention;
    float *emb_out, *emb_loss, *emb_size;
    float *after, *before_step;  /* latents of every step */
    float *prediction;
    float *stepped;              /* what the scheduler alone makes of the latents before a step */
    float *first_grad, *first_x; /* the first gradient that is not zero, and where it was taken */
    float *at, *emb_at, *attention_at; /* steps of the updates */
    uint32_t updates, emb_updates, room, attentions;
    bool first_seen;
    const bl_stage *sampler;
    bl_method method;
    float *last;
} run;

/* --- recording ---------------------------------------------------------------------------------------------------------- */

static void draw(void *context, uint32_t step, float *noise)
{
    const run *r = context;
    memcpy(noise, r->draws + step * r->values, r->values * sizeof(*noise));
}

static void record(void *context, const bl_update *u)
{
    run *r = context;
    if (u->kind == BL_UPDATE_LATENTS && r->updates < r->room) {
        const bool begins = !r->updates || r->at[r->updates - 1] != (float)u->step;
        const float *x = !begins ? r->out + (r->updates - 1) * r->values : u->step ? r->after + (u->step - 1) * r->values : r->start;
        r->at[r->updates] = (float)u->step;
        if (!r->first_seen && u->norm > 0) {
            memcpy(r->first_grad, u->gradient, r->values * sizeof(*r->first_grad));
            memcpy(r->first_x, x, r->values * sizeof(*r->first_x));
            r->first_seen = true;
        }
        memcpy(r->out + r->updates * r->values, u->values, r->values * sizeof(*r->out));
        r->loss[r->updates] = u->loss;
        r->norm[r->updates] = (float)u->norm;
        r->size[r->updates++] = u->size;
        if (u->inner < 10) { /* the reference lists those of the inner loop */
            r->attention_at[r->attentions] = (float)u->step;
            r->attention[r->attentions++] = u->attention_loss;
        }
    }
    if (u->kind == BL_UPDATE_EMBEDDING && r->emb_updates < r->room) {
        memcpy(r->emb_out + r->emb_updates * r->words, u->values, r->words * sizeof(*r->emb_out));
        r->emb_loss[r->emb_updates] = u->loss;
        r->emb_at[r->emb_updates] = (float)u->step;
        r->emb_size[r->emb_updates++] = u->size;
    }
}

static bl_result before(void *context, uint32_t step, bl_sample_state *state)
{
    run *r = context;
    const bl_result result = bl_method_before(&r->method, step, state);
    memcpy(r->before_step + step * r->values, state->latents, r->values * sizeof(*r->before_step));
    return result;
}

static bl_result after(void *context, uint32_t step, const float *latents)
{
    run *r = context;
    const uint32_t channels = r->v->checkpoint->unet.in_channels;
    float *e = r->prediction + step * r->values, *scratch = r->last;
    memcpy(r->after + step * r->values, latents, r->values * sizeof(*r->after));
    const bl_result result = bl_exec_read(r->sampler->exec, r->sampler->prediction, scratch, r->values);
    bl_to_channels_first(scratch, 1, channels, r->h, r->w, channels, e);
    return result;
}

/* --- inputs ------------------------------------------------------------------------------------------------------------- */

static bl_result embed(bl_verifier *v, const char *key, float *out)
{
    bl_result result = BL_OK;
    bl_checkpoint *c = v->checkpoint;
    const uint32_t n = c->text.positions;
    const char *texts[2] = { "", key ? bl_safetensors_metadata(v->file, key) : "" };
    int32_t *ids = bl_alloc(2 * (size_t)n, sizeof(*ids));
    NEED(ids);
    for (int i = 0; i < 2; i++) {
        json_t *parsed = json_loads(texts[i] ? texts[i] : "", JSON_DECODE_ANY, NULL);
        const bl_result r = bl_tokenizer_encode_padded(c->tokenizer,
                                                       json_is_string(parsed) ? json_string_value(parsed) : texts[i] ? texts[i] : "",
                                                       n, ids + i * n, NULL);
        json_decref(parsed);
        BL_TRY(r);
    }
    BL_TRY(bl_encode_text(c, ids, 2, out));
fail:
    bl_free(ids);
    return result;
}

/* Only real words compete in Stable Diffusion 2, whose texts are padded with something else than the end token. */
static bl_result find_slice(bl_verifier *v, bl_guide_spec *spec)
{
    const bl_tokenizer *t = v->checkpoint->tokenizer;
    int32_t *ids = NULL;
    size_t count = 0;
    spec->slice = v->checkpoint->text.positions - 1;
    if (bl_tokenizer_pad(t) == bl_tokenizer_eos(t))
        return BL_OK;
    json_t *prompt = bl_golden_metadata(v, "prompt");
    const char *text = json_is_string(prompt) ? json_string_value(prompt) : "";
    const bl_result result = bl_tokenizer_encode(t, text, strlen(text), &ids, &count);
    if (result == BL_OK)
        spec->slice = (uint32_t)count - 1;
    json_decref(prompt);
    bl_free(ids);
    return result;
}

static void read_thresholds(bl_verifier *v, bl_method_spec *spec)
{
    json_t *j = bl_golden_metadata(v, "thresholds"), *value;
    const char *key;
    json_object_foreach(j, key, value)
        if (spec->threshold_count < BL_MAX_THRESHOLDS) {
            spec->thresholds[spec->threshold_count].step = (uint32_t)strtoul(key, NULL, 10);
            spec->thresholds[spec->threshold_count++].value = (float)json_number_value(value);
        }
    json_decref(j);
}

/* Start latents from the picture and the reference's noise. The reference's are in the file as what its first update made of them: that
 * has weight
 * 0 and leaves them as they are. */
static bl_result make_start(run *r, const bl_schedule *schedule)
{
    bl_result result = BL_OK;
    bl_verifier *v = r->v;
    const bl_file_tensor *shape;
    bl_image image = { 0 };
    float *pixels = bl_golden(v, "input_u8", &shape), *noise = bl_golden_sized(v, "noise.randn", r->values);
    float *sampled = bl_golden_sized(v, "noise.vae_sample", r->values);
    float *mean = bl_alloc(3 * r->values, sizeof(*mean));
    BL_TRY(bl_golden_missing(pixels));
    BL_TRY(bl_golden_missing(noise));
    BL_TRY(bl_golden_missing(sampled));
    NEED(mean);
    float *log_variance = mean + r->values, *own = log_variance + r->values;
    const uint32_t f = bl_vae_factor(&v->checkpoint->vae);
    if (shape->rank != 3 || shape->dims[0] != (uint64_t)r->h * f || shape->dims[1] != (uint64_t)r->w * f || shape->dims[2] != 3)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "input_u8 is not a picture of the latents' size"));
    BL_TRY(bl_image_create(r->w * f, r->h * f, 3, &image));
    for (size_t i = 0; i < shape->count; i++)
        image.pixels[i] = (uint8_t)pixels[i];
    BL_TRY(bl_encode_image(v->checkpoint, &image, mean, log_variance));
    bl_sample_posterior(v->checkpoint->vae.scaling, mean, log_variance, sampled, r->values, own);
    double error = 0, scale = 0, max = 0;
    for (size_t i = 0; i < r->values; i++) {
        const double ours = (double)schedule->start_x * own[i] + (double)schedule->start_n * noise[i], d = fabs(ours - r->start[i]);
        error += d * d;
        scale += (double)r->start[i] * r->start[i];
        max = fmax(max, d);
        r->source[i] = own[i];
        r->start[i] = (float)ours;
    }
    bl_report(v, "start", max, sqrt(error / scale), 1e-5, NULL);
fail:
    bl_image_free(&image);
    bl_free(pixels);
    bl_free(noise);
    bl_free(sampled);
    bl_free(mean);
    return result;
}

/* --- comparing ------------------------------------------------------------------------------------------------------------ */

/* The updates themselves, what came out minus what went in: the ten of a step together, and each by itself. Latents are stored in fp32,
 * whose rounding (ours and the reference's, each of half a unit at most) is a part of the smallest updates: it is allowed on top. */
static bl_result expect_updates(run *r)
{
    bl_result result = BL_OK;
    bl_verifier *v = r->v;
    const size_t n = r->values;
    float *golden = bl_golden_sized(v, "upd.lat.out", r->updates * n), *at = bl_golden_sized(v, "upd.lat.at", r->updates);
    float *steps = bl_golden_sized(v, "latents_after_step", r->steps * n);
    double worst = 0, worst_step = 0, raw = 0, raw_step = 0;
    BL_TRY(bl_golden_missing(golden));
    BL_TRY(bl_golden_missing(at));
    BL_TRY(bl_golden_missing(steps));
    for (uint32_t k = 0, first = 0; k < r->updates; k++) {
        const uint32_t step = (uint32_t)at[k];
        const bool begins = !k || step != (uint32_t)at[k - 1], ends = k + 1 == r->updates || step != (uint32_t)at[k + 1];
        first = begins ? k : first;
        for (int whole = 0; whole <= (int)ends; whole++) {
            const bool from_step = whole || begins; /* what went in: the latents of the last step, or the update before */
            const float *x = from_step ? (step ? r->after + (step - 1) * n : r->start) : r->out + (k - 1) * n;
            const float *y = from_step ? (step ? steps + (step - 1) * n : golden) : golden + (k - 1) * n; /* see make_start */
            double error = 0, scale = 0, rounding = 0;
            for (size_t i = 0; i < n; i++) {
                const double ours = (double)r->out[k * n + i] - x[i], theirs = (double)golden[k * n + i] - y[i];
                const double ulp = ldexp(1, ilogb(fabs((double)golden[k * n + i]) + 1e-30) - 23);
                error += (ours - theirs) * (ours - theirs);
                scale += theirs * theirs;
                rounding += 2 * ulp * ulp / 12 * (whole ? k - first + 1 : 1);
            }
            if (scale <= 0)
                continue;
            const double off = sqrt(BL_MAX(error - rounding, 0) / scale);
            *(whole ? &worst_step : &worst) = BL_MAX(whole ? worst_step : worst, off);
            *(whole ? &raw_step : &raw) = BL_MAX(whole ? raw_step : raw, sqrt(error / scale));
        }
    }
    bl_report(v, "upd.lat.out, each update", raw, worst, bl_allowed(v, 1e-2, 0.2),
              "the worst; max as it is, rms without the rounding of latents to fp32");
    bl_report(v, "upd.lat.out, by step", raw_step, worst_step, bl_allowed(v, 1e-2, 0.2), "the same, all updates of a step together");
fail:
    bl_free(golden);
    bl_free(at);
    bl_free(steps);
    return result;
}

/* The scheduler's step by itself, from the latents and predictions of the run: the recorded ones are blended already. */
static bl_result step_alone(run *r, const bl_schedule *schedule)
{
    bl_result result = BL_OK;
    const size_t n = r->values;
    const bl_verifier *v = r->v;
    bl_params p = { .scheduler_step_fwd = { .rows = (uint32_t)n, .channels = 1 } };
    for (uint32_t i = 0; i < 4; i++)
        p.v[i].stride = 1;
    double *e = bl_alloc(6 * n, sizeof(*e));
    NEED(e);
    double *x = e + n, *h = x + n;
    for (uint32_t i = 0; i < schedule->count; i++) {
        for (size_t k = 0; k < n; k++) {
            e[k] = r->prediction[i * n + k];
            x[k] = r->before_step[i * n + k];
        }
        bl_op_infos[BL_OP_scheduler_step_fwd].ref(&p, (double *[]){ e, NULL, x, h }, &schedule->steps[i]);
        for (size_t k = 0; k < n; k++)
            r->stepped[i * n + k] = (float)x[k];
    }
fail:
    bl_free(e);
    return result;
}

/* The published prompt stage, which moves nothing: 1 - mean over channels of cos(E_J - N_J, E' - N) over tokens, all means over both
 * prompts. */
static bl_result expect_prompt_stage(run *r, uint32_t token)
{
    bl_verifier *v = r->v;
    const bl_checkpoint *c = v->checkpoint;
    const size_t tokens = c->text.positions, channels = c->text.channels, half = tokens * channels;
    const bl_file_tensor *t = bl_safetensors_find(v->file, "upd.emb0.out");
    if (!t || t->count % (2 * channels))
        return BL_OK;
    const size_t repeats = (size_t)t->count / (2 * channels);
    float *out = bl_alloc(t->count, sizeof(*out)), *loss = bl_alloc(repeats, sizeof(*loss));
    if (!out || !loss) {
        bl_free(out);
        bl_free(loss);
        return bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", v->stage);
    }
    double sum = 0;
    for (size_t k = 0; k < channels; k++) {
        const size_t j = token * channels + k;
        const double d = ((double)r->embedding[j] + r->embedding[half + j] - r->normal[j] - r->normal[half + j]) / 2;
        double dot = 0, square = 0;
        for (size_t i = 0; i < tokens; i++) {
            const size_t e = i * channels + k;
            const double f = ((double)r->detail[e] + r->detail[half + e] - r->normal[e] - r->normal[half + e]) / 2;
            dot += d * f;
            square += f * f;
        }
        sum += square > 0 && d != 0 ? dot / (fabs(d) * sqrt((double)tokens) * sqrt(square)) : 0;
    }
    for (size_t i = 0; i < repeats; i++) {
        loss[i] = (float)(1 - sum / (double)channels);
        for (size_t b = 0; b < 2; b++)
            memcpy(out + (2 * i + b) * channels, r->embedding + b * half + token * channels, channels * sizeof(*out));
    }
    bl_expect(v, "upd.emb0.out", out, (size_t)t->count, bl_allowed(v, 1e-5, 5e-3), NULL);
    bl_expect(v, "upd.emb0.loss", loss, repeats, bl_allowed(v, 1e-3, 1e-2), NULL);
    for (size_t i = 0; i < repeats; i++)
        loss[i] = 0;
    bl_expect(v, "upd.emb0.at", loss, repeats, 0, NULL);
    for (size_t i = 0; i < repeats; i++)
        loss[i] = 0.1f;
    bl_expect(v, "upd.emb0.step", loss, repeats, 1e-6, NULL);
    bl_free(out);
    bl_free(loss);
    return BL_OK;
}

static bl_result expect_all(run *r)
{
    bl_result result = BL_OK;
    bl_verifier *v = r->v;
    bl_image picture = { 0 };
    const double latents = bl_allowed(v, 5e-5, 5e-2), losses = bl_allowed(v, 1e-3, 3e-2);
    const bl_file_tensor *t = bl_safetensors_find(v->file, "upd.emb.out");
    bl_expect(v, "loss_att.at", r->attention_at, r->attentions, 0, NULL);
    bl_expect(v, "upd.lat.at", r->at, r->updates, 0, NULL);
    bl_expect(v, "upd.emb.at", r->emb_at, r->emb_updates, 0, NULL);
    bl_expect(v, "loss_att", r->attention, r->attentions, losses, NULL);
    bl_expect(v, "upd.lat.loss", r->loss, r->updates, losses, NULL);
    bl_expect(v, "upd.lat.step", r->size, r->updates, 1e-6, NULL);
    bl_expect(v, "upd.lat.grad_norm", r->norm, r->updates, losses, NULL);
    bl_expect(v, "upd.emb.loss", r->emb_loss, r->emb_updates, losses, NULL);
    bl_expect(v, "upd.emb.step", r->emb_size, r->emb_updates, 1e-6, NULL);
    if (r->first_seen)
        bl_expect(v, "first_nonzero.grad", r->first_grad, r->values, bl_allowed(v, 1e-3, 5e-2), NULL);
    if (r->first_seen)
        bl_expect(v, "first_nonzero.x", r->first_x, r->values, latents, NULL);
    if (t && t->count == r->steps * r->words) { /* the last of each step only */
        for (uint32_t i = 0; i < r->steps && 10 * i + 9 < r->emb_updates; i++)
            memmove(r->emb_out + i * r->words, r->emb_out + (10 * i + 9) * r->words, r->words * sizeof(*r->emb_out));
        bl_expect(v, "upd.emb.out", r->emb_out, r->steps * r->words, bl_allowed(v, 1e-5, 5e-3), NULL);
    } else {
        bl_expect(v, "upd.emb.out", r->emb_out, r->emb_updates * r->words, bl_allowed(v, 1e-5, 5e-3), NULL);
    }
    bl_expect(v, "upd.lat.out", r->out, r->updates * r->values, latents, NULL);
    BL_TRY(expect_updates(r));
    bl_expect(v, "sched_in", r->before_step, r->steps * r->values, latents, NULL);
    bl_expect(v, "noise_pred", r->prediction, r->steps * r->values, bl_allowed(v, 1e-4, 5e-2), NULL);
    bl_expect(v, "sched_out", r->stepped, r->steps * r->values, latents, NULL);
    bl_expect(v, "latents_after_step", r->after, r->steps * r->values, latents, NULL);
    bl_expect(v, "latents_after_step.f64", r->after, r->steps * r->values, latents, NULL);
    BL_TRY(bl_decode_image(v->checkpoint, r->after + (r->steps - 1) * r->values, r->h, r->w, NULL, &picture));
    bl_expect_picture(v, "final_u8", &picture, bl_allowed(v, 0.1, 4));
    const size_t count = (size_t)picture.width * picture.height * picture.channels;
    float *shares = bl_alloc(count, sizeof(*shares));
    NEED(shares);
    for (size_t i = 0; i < count; i++)
        shares[i] = picture.pixels[i] / 255.0f;
    bl_expect(v, "final_image", shares, count, bl_allowed(v, 5e-3, 5e-2), "from 8-bit pixels");
    bl_expect(v, "final_image.f64", shares, count, bl_allowed(v, 5e-3, 5e-2), "from 8-bit pixels");
    bl_free(shares);
fail:
    bl_image_free(&picture);
    return result;
}

/* --- a run ------------------------------------------------------------------------------------------------------------------ */

static bl_result allocate(run *r)
{
    const size_t n = r->values, w = r->words;
    struct { float **array; size_t count; } all[] = {
        { &r->source, n }, { &r->embedding, w }, { &r->detail, w }, { &r->normal, w }, { &r->out, r->room * n }, { &r->loss, r->room },
        { &r->norm, r->room }, { &r->size, r->room }, { &r->attention, r->room }, { &r->emb_out, r->room * w }, { &r->emb_loss, r->room },
        { &r->emb_size, r->room }, { &r->after, r->steps * n }, { &r->before_step, r->steps * n }, { &r->prediction, r->steps * n },
        { &r->first_grad, n }, { &r->first_x, n }, { &r->last, n }, { &r->at, r->room }, { &r->emb_at, r->room },
        { &r->attention_at, r->room }, { &r->stepped, r->steps * n },
    };
    for (size_t i = 0; i < BL_COUNT(all); i++)
        if (!(*all[i].array = bl_alloc(all[i].count, sizeof(float))))
            return bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", r->v->stage);
    return BL_OK;
}

static void release(run *r)
{
    float *all[] = { r->start, r->source, r->mask, r->draws, r->embedding, r->detail, r->normal, r->out, r->loss, r->norm, r->size,
        r->attention, r->emb_out, r->emb_loss, r->emb_size, r->after, r->before_step, r->prediction, r->first_grad,
        r->first_x, r->last, r->at, r->emb_at, r->attention_at, r->stepped };
    for (size_t i = 0; i < BL_COUNT(all); i++)
        bl_free(all[i]);
    bl_method_destroy(&r->method);
}

static bl_result make_schedule(bl_verifier *v, bl_schedule *schedule)
{
    bl_result result = BL_OK;
    bl_scheduler_config config = v->checkpoint->scheduler;
    json_t *name = bl_golden_metadata(v, "scheduler");
    const bool pndm = json_is_string(name) && !strcmp(json_string_value(name), "PNDMScheduler");
    json_decref(name);
    BL_TRY(bl_scheduler_config_override(&config, pndm ? "pndm-diffusers" : "ddim", NULL, false));
    BL_TRY(bl_schedule_create(&config, (uint32_t)bl_golden_number(v, "num_inference_steps", 0), bl_golden_number(v, "strength", 0), 0,
                              (float)bl_golden_number(v, "guidance_scale", 1), schedule));
    bl_schedule_blend_before(schedule);
fail:
    return result;
}

bl_result bl_verify_guided(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *shape;
    bl_schedule schedule = { 0 };
    bl_stage sampler = { 0 };
    bl_image_guide image = { 0 };
    run r = { .v = v };
    if (!v->checkpoint || !bl_golden_has(v, "upd.lat.out") || !bl_golden_has(v, "input_u8") || !bl_golden_has(v, "noise.randn"))
        return BL_OK;
    json_t *l_img = bl_golden_metadata(v, "l_img");
    const bool with_image = json_is_true(l_img);
    json_decref(l_img);
    if (with_image && !v->clip)
        return BL_OK;
    v->stage = "guided run";
    BL_TRY(bl_golden_missing(r.start = bl_golden(v, "upd.lat.out", &shape)));
    if (shape->rank != 5 || shape->dims[2] != v->checkpoint->unet.in_channels || shape->dims[3] > 256 || shape->dims[4] > 256)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "upd.lat.out is not [updates,1,channels,h,w]"));
    r.h = (uint32_t)shape->dims[3];
    r.w = (uint32_t)shape->dims[4];
    r.room = (uint32_t)shape->dims[0];
    r.values = (size_t)r.h * r.w * v->checkpoint->unet.in_channels;
    r.words = 2 * (size_t)v->checkpoint->text.positions * v->checkpoint->text.channels;
    BL_TRY(make_schedule(v, &schedule));
    r.steps = schedule.count;
    BL_TRY(allocate(&r));
    for (uint32_t i = 0; i < r.steps; i++)
        r.loss[i] = schedule.steps[i].t;
    bl_expect(v, "timesteps", r.loss, r.steps, 0, NULL);
    BL_TRY(embed(v, "prompt", r.embedding));
    BL_TRY(embed(v, "detailed_prompt", r.detail));
    BL_TRY(embed(v, "normal_prompt", r.normal));
    BL_TRY(make_start(&r, &schedule));
    if (bl_golden_has(v, "noise.randn_like"))
        BL_TRY(bl_golden_missing(r.draws = bl_golden_sized(v, "noise.randn_like", r.steps * r.values)));
    if (bl_golden_has(v, "mask")) {
        BL_TRY(bl_golden_missing(r.mask = bl_golden_sized(v, "mask", (size_t)r.h * r.w)));
    }
    bl_method_spec spec = { .kind = BL_METHOD_ANOMALYANY, .schedule = &schedule, .branches = 2, .mask = r.mask, .detail = r.detail,
        .odd = BL_ODD_ALL, .scale = (float)bl_golden_number(v, "scale_factor", 20), .draw = draw, .update = record, .context = &r };
    spec.image_steps = (uint32_t)(bl_golden_number(v, "num_inference_steps", 0) * bl_golden_number(v, "strength", 0) + 1e-6);
    BL_TRY(bl_golden_guide(v, r.h, r.w, "attention_res", &spec.guide));
    BL_TRY(find_slice(v, &spec.guide));
    read_thresholds(v, &spec);
    BL_TRY(expect_prompt_stage(&r, spec.guide.tokens[0]));
    if (with_image) {
        json_t *prompt = bl_golden_metadata(v, "detailed_prompt");
        const bl_result made = bl_image_guide_for_prompt(v->checkpoint, v->clip, r.h, r.w,
                                                         json_is_string(prompt) ? json_string_value(prompt) : "",
                                                         &image);
        json_decref(prompt);
        BL_TRY(made);
        spec.image = &image;
    }
    const bl_sample_input in = { .name = "unet", .h = r.h, .w = r.w, .embedding = r.embedding, .branches = 2, .start = r.start,
        .source = r.source,
        .noise = r.draws, .mask = r.mask, .schedule = &schedule, .before = before, .after = after, .context = &r };
    BL_TRY(bl_sample_stage(v->checkpoint, &in, &sampler));
    r.sampler = &sampler;
    BL_TRY(bl_method_create(v->checkpoint, &spec, &r.method));
    float *latents = bl_alloc(r.values, sizeof(*latents));
    NEED(latents);
    const bl_result ran = bl_sample(v->checkpoint, &sampler, &in, latents);
    bl_free(latents);
    BL_TRY(ran);
    bl_method_destroy(&r.method);
    bl_stage_destroy(&sampler);
    BL_TRY(step_alone(&r, &schedule));
    BL_TRY(expect_all(&r));
fail:
    v->stage = "-";
    bl_stage_destroy(&sampler);
    bl_image_guide_destroy(&image);
    release(&r);
    bl_schedule_free(&schedule);
    return result;
}
