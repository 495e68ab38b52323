/* Whole generations on a tiny checkpoint made here: what they promise, and the options that they refuse. */
#include "image.h"
#include "model.h"
#include "model_session.h"
#include "noise.h"
#include "sample.h"

/* --- generation --------------------------------------------------------------------------------------------------------- */

static void a_seed_is_a_picture(void **state)
{
    (void)state;
    need_device();
    bl_generate_options o = options(2, 7);
    bl_generate_result r = make(context, good, o);
    assert_int_equal(r.image.width, 64); /* sample_size times the autoencoder's factor */
    assert_int_equal(r.image.height, 64);
    assert_int_equal(r.steps_run, 2);
    assert_true(r.seconds > 0 && r.device_bytes > 0);
    assert_true(distance(&r.image, context, good, o) == 0);
    o.seed = 8;
    assert_true(distance(&r.image, context, good, o) > 5);
    o.seed = 7;
    o.prompt = "a crack with the bottle";
    assert_true(distance(&r.image, context, good, o) > 0);
    o.prompt = PROMPT;
    o.negative_prompt = "damaged";
    assert_true(distance(&r.image, context, good, o) > 0);
    o.negative_prompt = NULL;
    o.guidance = 1; /* one branch */
    assert_true(distance(&r.image, context, good, o) > 0);
    o.guidance = 7.5f; /* the default by name */
    o.width = o.height = 64;
    assert_true(distance(&r.image, context, good, o) == 0);
    bl_generate_result_free(&r);
    assert_null(r.image.pixels);
}

static void two_pictures_of_one_model(void **state)
{
    (void)state;
    need_device();
    bl_model *m = NULL;
    bl_generate_result r[3] = { 0 };
    bl_generate_options o = options(2, 7);
    assert_int_equal(bl_model_open(context, good, &m), BL_OK);
    for (int i = 0; i < 3; i++) { /* the second of another size and one branch: nothing of it stays */
        o.height = i == 1 ? 96 : 64;
        o.guidance = i == 1 ? 1 : 5;
        assert_int_equal(bl_generate(m, &o, &r[i]), BL_OK);
    }
    assert_true(difference(&r[0].image, &r[2].image) == 0);
    assert_string_equal(r[0].parameters, r[2].parameters);
    for (int i = 0; i < 3; i++)
        bl_generate_result_free(&r[i]);
    bl_model_close(&m);
}

static void parameters_tell_how_it_was_made(void **state)
{
    (void)state;
    need_device();
    bl_generate_options o = options(3, UINT64_MAX);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    o.mask = &spot_mask;
    o.strength = 0.7f;
    o.width = 96;
    bl_generate_result r = make(context, good, o);
    assert_int_equal(r.image.width, 96);
    assert_int_equal(r.image.height, 64);
    json_t *p = json_loads(r.parameters, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(p, "prompt")), PROMPT);
    assert_string_equal(json_string_value(json_object_get(p, "seed")), "18446744073709551615");
    assert_string_equal(json_string_value(json_object_get(p, "scheduler")), "ddim");
    assert_string_equal(json_string_value(json_object_get(p, "precision")), "f32");
    assert_int_equal(json_integer_value(json_object_get(p, "width")), 96);
    assert_true(json_real_value(json_object_get(p, "strength")) == 0.7);
    assert_true(json_is_true(json_object_get(p, "mask")));
    assert_string_equal(json_string_value(json_object_get(p, "model")), "good");
    json_decref(p);
    assert_non_null(strstr(r.parameters_text, "Steps: 3, Sampler: ddim, CFG scale: 7.5, Seed: 18446744073709551615, Size: 96x64"));
    assert_non_null(strstr(r.parameters_text, "Denoising strength: 0.7"));
    assert_non_null(strstr(r.parameters_text, ", Model: good, "));
    bl_generate_result_free(&r);
}

static void photo_and_mask(void **state)
{
    (void)state;
    need_device();
    bl_generate_options o = options(3, 7);
    bl_generate_result text = make(context, good, o);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    o.strength = 0.7f;
    bl_generate_result free_run = make(context, good, o);
    assert_int_equal(free_run.steps_run, 2);
    assert_true(difference(&free_run.image, &text.image) > 1);
    o.mask = &spot_mask;
    bl_generate_result pasted = make(context, good, o);
    o.whole_picture = 1;
    bl_generate_result masked = make(context, good, o);
    assert_true(distance(&masked.image, context, good, o) == 0);
    assert_true(box_difference(&pasted.image, &pasted.photo, 20, 64, 0, 64) == 0); /* the photo's own pixels */
    assert_true(box_difference(&pasted.image, &masked.image, 0, 4, 30, 4) == 0);

    /* the photo through the autoencoder alone */
    bl_model *m = NULL;
    assert_int_equal(bl_model_open(context, good, &m), BL_OK);
    enum { CELLS = 32 * 32, VALUES = FX_LATENT * CELLS };
    static float mean[VALUES], variance[VALUES], noise[VALUES], source[VALUES];
    bl_image fitted = { 0 }, plain = { 0 }, part = { 0 };
    assert_int_equal(bl_image_create(80, 80, 3, &part), BL_OK); /* the centre, as the shape of the result has it */
    for (size_t y = 0; y < 80; y++)
        memcpy(part.pixels + y * 240, photo_pixels + (y * PHOTO_W + 10) * 3, 240);
    assert_int_equal(bl_image_resize(&part, 64, 64, BL_FILTER_LANCZOS, &fitted), BL_OK);
    assert_int_equal(bl_encode_image(m->checkpoint, &fitted, mean, variance), BL_OK);
    bl_noise_normal(7, BL_NOISE_VAE, 0, VALUES, noise);
    bl_sample_posterior(0.5f, mean, variance, noise, VALUES, source);
    assert_int_equal(bl_decode_image(m->checkpoint, source, 32, 32, NULL, &plain), BL_OK);
    const double inside = box_difference(&masked.image, &plain, 0, 4, 30, 4);
    const double outside = box_difference(&masked.image, &plain, 20, 64, 0, 64);
    const double unmasked = box_difference(&free_run.image, &plain, 20, 64, 0, 64);
    /* the autoencoder's norms and attention see the whole picture, so a little changes everywhere */
    if (!(inside > 4 * outside && unmasked > 4 * outside))
        fail_msg("difference of %g inside, %g outside, %g without a mask", inside, outside, unmasked);
    bl_image *all[] = { &part, &fitted, &plain };
    for (size_t i = 0; i < BL_COUNT(all); i++)
        bl_image_free(all[i]);
    bl_model_close(&m);
    bl_generate_result_free(&text);
    bl_generate_result_free(&free_run);
    bl_generate_result_free(&pasted);
    bl_generate_result_free(&masked);
}

typedef struct trace {
    const float *source, *mask;
    uint32_t calls, changed;
} trace;

static bl_result look(void *user, uint32_t step, const float *latents)
{
    trace *t = user;
    assert_int_equal(step, t->calls++);
    t->changed = 0;
    for (size_t i = 0; i < FX_LATENT * 32 * 32; i++)
        t->changed += memcmp(&latents[i], &t->source[i], sizeof(float)) != 0;
    return BL_OK;
}

static void latents_outside_the_mask_are_the_source(void **state)
{
    (void)state;
    need_device();
    enum { CELLS = 32 * 32, VALUES = FX_LATENT * CELLS };
    static float source[VALUES], noise[VALUES], start[VALUES], mask[CELLS], out[VALUES], embedding[FX_POSITIONS * FX_TEXT];
    bl_model *m = NULL;
    bl_schedule schedule;
    trace seen = { source, mask, 0, 0 };
    assert_int_equal(bl_model_open(context, good, &m), BL_OK);
    bl_noise_normal(1, BL_NOISE_LATENTS, 0, VALUES, noise);
    bl_noise_normal(2, BL_NOISE_LATENTS, 0, VALUES, source);
    bl_noise_normal(3, BL_NOISE_LATENTS, 0, FX_POSITIONS * FX_TEXT, embedding);
    assert_int_equal(bl_schedule_create(&m->checkpoint->scheduler, 4, 0.5, 0, 1, &schedule), BL_OK);
    for (size_t i = 0; i < VALUES; i++)
        start[i] = schedule.start_x * source[i] + schedule.start_n * noise[i];
    for (size_t i = 0; i < CELLS; i++)
        mask[i] = i % 32 < 5 && i / 32 < 7;
    bl_stage s = { 0 };
    const bl_sample_input in = { .name = "unet", .after = look, .context = &seen, .h = 32, .w = 32, .embedding = embedding, .branches = 1,
                                 .start = start, .source = source, .noise = noise, .mask = mask, .schedule = &schedule };
    assert_int_equal(bl_sample_stage(m->checkpoint, &in, &s), BL_OK);
    assert_int_equal(bl_sample(m->checkpoint, &s, &in, out), BL_OK);
    bl_stage_destroy(&s);
    assert_int_equal(seen.calls, 2);
    assert_int_equal(seen.changed, FX_LATENT * 5 * 7); /* bit by bit: the cells of the mask and no other */
    for (size_t i = 0; i < VALUES; i++)
        assert_true(mask[i % CELLS] != 0 || !memcmp(&out[i], &source[i], sizeof(float)));
    bl_schedule_free(&schedule);
    bl_model_close(&m);
}

static void schedulers_and_spacings_run(void **state)
{
    (void)state;
    static const struct { const char *scheduler, *spacing; bool photo; uint32_t run; } cases[] = {
        { "ddim", "leading", false, 4 }, { "ddim", "trailing", false, 4 }, { "ddim", "linspace", false, 4 }, { "pndm", NULL, false, 5 },
        { "pndm-diffusers", NULL, false, 5 }, { "ddim", NULL, true, 2 }, { "pndm", NULL, true, 4 }, { "pndm-diffusers", NULL, true, 3 },
        { "pndm", "trailing", true, 4 },
    };
    bl_generate_result r[BL_COUNT(cases)];
    need_device();
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_generate_options o = options(4, 7);
        o.scheduler = cases[i].scheduler;
        o.spacing = cases[i].spacing;
        o.photo = cases[i].photo ? &photo : NULL;
        o.crop = o.photo ? "none" : NULL;
        r[i] = make(context, good, o);
        if (r[i].steps_run != cases[i].run)
            fail_msg("%s: %u evaluations, not %u", cases[i].scheduler, r[i].steps_run, cases[i].run);
    }
    for (size_t i = 0; i < BL_COUNT(cases); i++) /* no two alike, but the two PNDM that start at the top */
        for (size_t k = 0; k < i; k++)
            if ((difference(&r[i].image, &r[k].image) == 0) != (i == 4 && k == 3))
                fail_msg("rows %zu and %zu differ by %g", k, i, difference(&r[i].image, &r[k].image));
    assert_true(distance(&r[3].image, context, variant(&(fx_options){ .scheduler = "PNDMScheduler" }), options(4, 7)) == 0);
    assert_true(distance(&r[0].image, context, variant(&(fx_options){ .v_prediction = true }), options(4, 7)) > 1);
    for (size_t i = 0; i < BL_COUNT(cases); i++)
        bl_generate_result_free(&r[i]);
}

static void layouts_of_one_model_give_one_picture(void **state)
{
    (void)state;
    static const fx_options layouts[] = { { .dtype = "F16" }, { .dtype = "BF16" }, { .legacy_vae = true }, { .linear_projection = true } };
    need_device();
    bl_generate_options o = options(2, 7);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    bl_generate_result r = make(context, good, o);
    for (size_t i = 0; i < BL_COUNT(layouts); i++)
        if (distance(&r.image, context, variant(&layouts[i]), o) != 0)
            fail_msg("layout %zu gives another picture", i);
    bl_generate_result_free(&r);
}

/* --- devices ------------------------------------------------------------------------------------------------------------ */

static void join_name(void *user, const char *name)
{
    char *all = user;
    snprintf(all + strlen(all), 4096 - strlen(all), "%s ", name);
}

static void capabilities_do_not_change_the_picture(void **state)
{
    (void)state;
    char names[4096] = "", base_names[4096] = "";
    bl_context *base = NULL, *all = NULL;
    need_device();
    bl_generate_options o = options(2, 7);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    o.mask = &spot_mask;
    o.strength = 1;
    assert_int_equal(open_context("base", BL_PRECISION_F32, &base), BL_OK);
    assert_string_equal(bl_context_caps(base), "base");
    assert_int_equal(open_context(bl_context_device(context)->caps, BL_PRECISION_F32, &all), BL_OK);
    assert_string_equal(bl_context_caps(all), bl_context_device(context)->caps);
    bl_generate_result r = make(all, good, o);
    assert_true(distance(&r.image, base, good, o) == 0);
    assert_true(distance(&r.image, context, good, o) == 0);
    bl_context_kernels(all, join_name, names);
    bl_context_kernels(base, join_name, base_names);
    assert_non_null(strstr(base_names, "conv_fwd_staged_small_f32 "));
    assert_null(strstr(base_names, "_f16 "));
    assert_null(strstr(base_names, "_sg"));
    assert_null(strstr(base_names, "_direct"));
    const bool sg = strstr(bl_context_caps(all), "sg"), tall = strstr(bl_context_caps(all), "tall");
    assert_true(sg == (strstr(names, "_sg") != NULL));
    assert_true(tall == (strstr(names, "conv_fwd_direct_f32 ") != NULL));
    assert_true((sg || tall) == (strcmp(names, base_names) != 0));
    bl_generate_result_free(&r);
    bl_context_destroy(&base);
    bl_context_destroy(&all);
}

/* A context with 16-bit storage; skips where there is none. */
static bl_context *half_context(void)
{
    bl_context *half = NULL;
    need_device();
    if (!strstr(bl_context_device(context)->caps, "s16"))
        skip();
    if (open_context(NULL, BL_PRECISION_F16, &half) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_string_equal(bl_context_precision(half), "f16");
    return half;
}

static void half_precision_is_close(void **state)
{
    (void)state;
    char names[4096] = "";
    bl_context *half = half_context();
    bl_generate_options o = options(3, 7);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    bl_generate_result r = make(context, good, o);
    const double d = distance(&r.image, half, good, o);
    if (!(d > 0 && d < 0.5))
        fail_msg("f16 differs by %g of 255", d);
    assert_true(distance(&r.image, half, variant(&(fx_options){ .dtype = "BF16" }), o) == d);
    bl_context_kernels(half, join_name, names);
    assert_non_null(strstr(names, "layer_norm_fwd"));
    assert_non_null(strstr(names, "_f16 "));
    assert_non_null(strstr(names, "_f32 ")); /* the autoencoder */
    bl_generate_result_free(&r);

    /* a value beyond 65504 is found when it is loaded */
    bl_model *m = NULL;
    o.photo = NULL;
    o.crop = NULL;
    assert_int_equal(bl_model_open(half, variant(&(fx_options){ .tensor = "conv_in.weight", .damage = FX_HUGE }), &m), BL_OK);
    assert_int_equal(bl_generate(m, &o, &r), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "\"conv_in.weight\" holds 1e+06, which 16-bit storage cannot"));
    bl_model_close(&m);
    bl_context_destroy(&half);
}

static void contexts_refused(void **state)
{
    (void)state;
    static const struct { const char *device, *caps; bl_precision precision; bl_result r; const char *message; } cases[] = {
        { "no such adapter", NULL, BL_PRECISION_AUTO, BL_ERROR_DEVICE, "no device has \"no such adapter\" in its name or UUID" },
        { "99", NULL, BL_PRECISION_AUTO, BL_ERROR_DEVICE, "device 99 asked for" },
        { "99999999999999999999", NULL, BL_PRECISION_AUTO, BL_ERROR_DEVICE, "present" },
        { NULL, "s17", BL_PRECISION_AUTO, BL_ERROR_USAGE, "unknown capability \"s17\"; known are base, or any of s16" },
        { NULL, "", BL_PRECISION_AUTO, BL_ERROR_USAGE, "unknown capability \"\"" },
        { NULL, "base,sg", BL_PRECISION_AUTO, BL_ERROR_USAGE, "base means no capability; only limits stand beside it" },
        { NULL, "sg,", BL_PRECISION_AUTO, BL_ERROR_USAGE, "unknown capability \"\"" },
        { NULL, "s", BL_PRECISION_AUTO, BL_ERROR_USAGE, "unknown capability \"s\"" },
        { NULL, "binding=4K", BL_PRECISION_AUTO, BL_ERROR_USAGE, "binding is a whole number, perhaps of K, M or G, from 1M on" },
        { NULL, "base", BL_PRECISION_F16, BL_ERROR_DEVICE, "no 16-bit storage (capability s16)" },
        { NULL, "base", (bl_precision)9, BL_ERROR_USAGE, "options of another version" },
    };
    bl_context_options o = BL_CONTEXT_OPTIONS_INIT;
    bl_context *c = NULL;
    uint32_t count = 0;
    need_device();
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        c = (bl_context *)1;
        o.device = cases[i].device;
        o.caps = cases[i].caps;
        o.precision = cases[i].precision;
        const bl_result r = bl_context_create(&o, &c);
        if (r != cases[i].r || !strstr(bl_last_error(), cases[i].message))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        assert_null(c);
    }
    o = (bl_context_options)BL_CONTEXT_OPTIONS_INIT;
    o.device = "-"; /* in every UUID */
    assert_int_equal(bl_devices(NULL, 0, &count), BL_OK);
    assert_int_equal(bl_context_create(&o, &c), count > 1 ? BL_ERROR_DEVICE : BL_OK);
    assert_true(count == 1 || strstr(bl_last_error(), "give its index or UUID"));
    bl_context_destroy(&c);
    o.struct_size--;
    assert_int_equal(bl_context_create(&o, &c), BL_ERROR_USAGE);
    assert_null(c);
    assert_int_equal(bl_context_create(NULL, NULL), BL_ERROR_USAGE);
}

/* --- callbacks ---------------------------------------------------------------------------------------------------------- */

static void progress_goes_forwards(void **state)
{
    (void)state;
    static const char *const stages[] = { "text", "encode", "unet", "decode" };
    need_device();
    bl_generate_options o = options(4, 7);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    bl_generate_result r = make(context, good, o);
    bl_generate_result_free(&r);
    assert_int_equal(watch.seen, BL_COUNT(stages));
    assert_false(watch.backwards);
    for (size_t i = 0; i < BL_COUNT(stages); i++) {
        assert_string_equal(watch.stages[i], stages[i]);
        assert_int_equal(watch.total[i], i == 2 ? 2 : 1);
        assert_int_equal(watch.done[i], watch.total[i]);
    }
}

static void every_question_can_cancel(void **state)
{
    (void)state;
    bl_model *m = NULL;
    bl_result r = BL_ERROR_CANCELLED;
    uint32_t n = 0;
    need_device();
    bl_generate_options o = options(4, 7);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    assert_int_equal(bl_model_open(context, good, &m), BL_OK);
    while (r == BL_ERROR_CANCELLED && n < 20000) {
        bl_generate_result out;
        memset(&out, 0xff, sizeof(out));
        memset(&watch, 0, sizeof(watch));
        watch.stop_at = n += 1 + n / 6; /* it is asked before every submission */
        r = bl_generate(m, &o, &out);
        if (r == BL_ERROR_CANCELLED)
            assert_true(zeroed(&out) && watch.asked == n);
        else
            bl_generate_result_free(&out);
    }
    assert_int_equal(r, BL_OK);
    assert_true(n > 100);
    watch.stop_at = 0;
    bl_model_close(&m);
}

/* --- options ------------------------------------------------------------------------------------------------------------ */

static uint8_t black_pixels[64 * 64];
static const bl_image black_mask = { 64, 64, 1, black_pixels }, grey_photo = { 64, 64, 1, black_pixels }, no_pixels = { 64, 64, 3, NULL },
    tiny_photo = { 1, 1, 3, photo_pixels };

static void options_refused(void **state)
{
    (void)state;
    typedef bl_generate_options opt;
    static const struct { opt o; bl_result r; const char *message; } cases[] = {
        { { .prompt = NULL }, BL_ERROR_USAGE, "a prompt, or an object and a defect, is needed" },
        { { .object = "hazelnut" }, BL_ERROR_USAGE, "a prompt, or an object and a defect, is needed" },
        { { .prompt = PROMPT, .defect = "damaged" }, BL_ERROR_USAGE, "not both" },
        { { .prompt = "a [[damaged hazelnut" }, BL_ERROR_INPUT, "\"[[\" is not closed" },
        { { .prompt = PROMPT, .photo = &photo, .method = "cut" }, BL_ERROR_USAGE, "method cut needs guided words" },
        { { .prompt = "a [[damaged]] hazelnut", .method = "attend" }, BL_ERROR_USAGE, "method attend needs a photo" },
        { { .prompt = PROMPT, .method = "paint" },
          BL_ERROR_USAGE, "method \"paint\" is not known; there are cut, anomalyany, attend, sd" },
        { { .prompt = PROMPT, .odd_off = "maps,none" }, BL_ERROR_USAGE, "oddity \"none\" is not known" },
        { { .prompt = PROMPT, .lambda = -1 }, BL_ERROR_USAGE, "lambda is 0; it ranges" },
        { { .prompt = PROMPT, .growth = NAN }, BL_ERROR_USAGE, "the growth is" },
        { { .prompt = PROMPT, .prompt_rate = 1.5f }, BL_ERROR_USAGE, "the rate of the prompt is 1.5" },
        { { .prompt = PROMPT, .gain = 51 }, BL_ERROR_USAGE, "the gain is 51" },
        { { .prompt = PROMPT, .inner = 101 }, BL_ERROR_USAGE, "101 updates in a step; at most 100" },
        { { .object = "hazelnut", .defect = "damaged", .photo = &photo, .strength = 1, .guided_first = 2, .guided_last = 1 },
          BL_ERROR_USAGE, "guided steps 2 to 1" },
        { { .object = "hazelnut", .defect = "damaged", .photo = &photo, .strength = 1, .guided_last = 3 }, BL_ERROR_USAGE,
          "guided steps 1 to 3; 2 steps run" },
        { { .prompt = "photo photo photo photo photo photo photo photo photo photo photo photo photo photo hazelnut" }, BL_ERROR_INPUT,
          "prompt: 17 tokens with start and end, at most 16: too long from \"hazelnut\" on" },
        { { .prompt = PROMPT, .negative_prompt = "photo photo photo photo photo photo photo photo photo photo photo photo photo photo of" },
          BL_ERROR_INPUT, "negative prompt: 17 tokens" },
        { { .prompt = "photo \xff" }, BL_ERROR_INPUT, "not UTF-8 at byte 6 (0xff)" },
        { { .prompt = PROMPT, .negative_prompt = "\xc3" }, BL_ERROR_INPUT, "negative prompt: not UTF-8 at byte 0" },
        { { .prompt = PROMPT, .mask = &spot_mask }, BL_ERROR_USAGE, "a mask needs a photo" },
        { { .prompt = PROMPT, .mask_shape = "none" }, BL_ERROR_USAGE, "a mask needs a photo" },
        { { .prompt = PROMPT, .photo = &photo, .mask = &spot_mask, .mask_shape = "ellipse" }, BL_ERROR_USAGE, "not both" },
        { { .prompt = PROMPT, .photo = &photo, .mask_shape = "star" }, BL_ERROR_USAGE, "mask shape \"star\" is not known" },
        { { .prompt = PROMPT, .photo = &photo, .mask_shape = "perlin", .mask_smallest = 0.5f }, BL_ERROR_USAGE, "a mask of 0.5 to 0.25" },
        { { .prompt = PROMPT, .photo = &photo, .mask = &black_mask }, BL_ERROR_INPUT, "the mask is black everywhere at 32 x 32" },
        { { .prompt = PROMPT, .photo = &grey_photo }, BL_ERROR_USAGE, "the photo has 1 channels, 3 are needed" },
        { { .prompt = PROMPT, .photo = &photo, .mask = &photo }, BL_ERROR_USAGE, "the mask has 3 channels, 1 is needed" },
        { { .prompt = PROMPT, .photo = &no_pixels }, BL_ERROR_USAGE, "" },
        { { .prompt = PROMPT, .photo = &photo, .strength = 0.0001f }, BL_ERROR_USAGE, "strength 0.0001 of 2 steps leaves none" },
        { { .prompt = PROMPT, .photo = &photo, .strength = 2 }, BL_ERROR_USAGE, "the strength is 2" },
        { { .prompt = PROMPT, .photo = &photo, .strength = -0.5f }, BL_ERROR_USAGE, "the strength is -0.5" },
        { { .prompt = PROMPT, .photo = &photo, .strength = NAN }, BL_ERROR_USAGE, "the strength is" },
        { { .prompt = PROMPT, .photo = &photo, .strength = 0.4f }, BL_ERROR_USAGE, "strength 0.4 of 2 steps leaves none" },
        { { .prompt = PROMPT, .guidance = 0.5f }, BL_ERROR_USAGE, "the guidance is 0.5; it ranges from 1 to 100" },
        { { .prompt = PROMPT, .guidance = NAN }, BL_ERROR_USAGE, "the guidance is" },
        { { .prompt = PROMPT, .guidance = 1000 }, BL_ERROR_USAGE, "the guidance is 1000" },
        { { .prompt = PROMPT, .guidance = -INFINITY }, BL_ERROR_USAGE, "the guidance is -inf" },
        { { .prompt = PROMPT, .steps = 2000 }, BL_ERROR_USAGE, "2000 steps; at most 1000" },
        { { .prompt = PROMPT, .width = 20 }, BL_ERROR_USAGE, "the width is 20 pixels; it ranges from 64 to 2048" },
        { { .prompt = PROMPT, .width = 65 }, BL_ERROR_USAGE, "the width is 65 pixels; this model needs multiples of 4" },
        { { .prompt = PROMPT, .height = 66 }, BL_ERROR_USAGE, "the height is 66 pixels; this model needs multiples of 4" },
        { { .prompt = PROMPT, .height = 4096 }, BL_ERROR_USAGE, "the height is 4096 pixels; it ranges from 64 to 2048" },
        { { .prompt = PROMPT, .width = UINT32_MAX }, BL_ERROR_USAGE, "the width is 4294967295" },
        { { .prompt = PROMPT, .scheduler = "heun" }, BL_ERROR_USAGE,
          "scheduler \"heun\" is not known; known: ddim, pndm, pndm-diffusers, euler, euler-a, dpm++2m, lcm" },
        { { .prompt = PROMPT, .scheduler = "lcm", .steps = 51 }, BL_ERROR_USAGE, "51 steps: scheduler lcm runs at most 50" },
        { { .prompt = PROMPT, .scheduler = "euler-a", .karras = 1 }, BL_ERROR_USAGE, "scheduler euler-a has no Karras sigmas" },
        { { .prompt = PROMPT, .rng = "cuda" }, BL_ERROR_USAGE, "rng \"cuda\" is not known; known: philox, torch-cuda, torch-cpu" },
        { { .prompt = PROMPT, .spacing = "even" }, BL_ERROR_USAGE, "\"even\" is not known; known: leading, trailing, linspace" },
    };
    bl_model *m = NULL;
    bl_generate_result out;
    need_device();
    assert_int_equal(bl_model_open(context, good, &m), BL_OK);
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_generate_options o = cases[i].o;
        o.struct_size = sizeof(o);
        o.steps = o.steps ? o.steps : 2;
        memset(&out, 0xff, sizeof(out));
        bl_fail(BL_ERROR_USAGE, "stale");
        const bl_result r = bl_generate(m, &o, &out);
        if (r != cases[i].r || !strstr(bl_last_error(), cases[i].message) || !strcmp(bl_last_error(), "stale"))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        if (!zeroed(&out))
            fail_msg("row %zu: the result is not zeroed", i);
    }
    bl_generate_options o = options(2, 7);
    o.photo = &tiny_photo; /* any size */
    o.crop = "none"; /* at the size of what is generated */
    assert_int_equal(bl_generate(m, &o, &out), BL_OK);
    bl_generate_result_free(&out);
    assert_int_equal(bl_generate(NULL, &o, &out), BL_ERROR_USAGE);
    assert_int_equal(bl_generate(m, NULL, &out), BL_ERROR_USAGE);
    assert_int_equal(bl_generate(m, &o, NULL), BL_ERROR_USAGE);
    o.struct_size++;
    assert_int_equal(bl_generate(m, &o, &out), BL_ERROR_USAGE);
    assert_true(zeroed(&out));
    bl_model_close(&m);
}

static void nothing_is_accepted(void **state)
{
    (void)state;
    bl_model *m = NULL;
    bl_context *c = NULL;
    bl_generate_result out = { 0 };
    bl_image image = { 0 };
    bl_model_close(NULL);
    bl_model_close(&m);
    bl_context_destroy(NULL);
    bl_context_destroy(&c);
    bl_generate_result_free(NULL);
    bl_generate_result_free(&out);
    bl_image_free(&image);
    m = (bl_model *)1;
    assert_int_equal(bl_model_open(NULL, good, &m), BL_ERROR_USAGE);
    assert_null(m);
    assert_int_equal(bl_model_open(context, NULL, &m), BL_ERROR_USAGE);
    assert_int_equal(bl_model_open(context, good, NULL), BL_ERROR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_is_a_picture), cmocka_unit_test(two_pictures_of_one_model),
        cmocka_unit_test(parameters_tell_how_it_was_made), cmocka_unit_test(photo_and_mask),
        cmocka_unit_test(latents_outside_the_mask_are_the_source), cmocka_unit_test(schedulers_and_spacings_run),
        cmocka_unit_test(layouts_of_one_model_give_one_picture), cmocka_unit_test(capabilities_do_not_change_the_picture),
        cmocka_unit_test(half_precision_is_close), cmocka_unit_test(contexts_refused), cmocka_unit_test(progress_goes_forwards),
        cmocka_unit_test(every_question_can_cancel), cmocka_unit_test(options_refused), cmocka_unit_test(nothing_is_accepted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
