/* A tiny autoencoder (TAESD) in place of the model's own, or for previews: every layout of its files, what is refused, pictures, gradients.
 * Its values are compared with those of diffusers by verify_taesd (data/taesd). */
#include "image_guide.h"
#include "ldm_writer.h"
#include "model_session.h"
#include "parts.h"

enum { CHANNELS = 8, LEVELS = 2 };
#define TINY_CONFIG "{\"_class_name\":\"AutoencoderTiny\",\"act_fn\":\"relu\",\"encoder_block_out_channels\":[8,8]," \
    "\"decoder_block_out_channels\":[8,8],\"num_encoder_blocks\":[1,3],\"num_decoder_blocks\":[3,1],\"latent_channels\":4," \
    "\"in_channels\":3,\"out_channels\":3,\"upsampling_scaling_factor\":2,\"upsample_fn\":\"nearest\",\"scaling_factor\":1.0," \
    "\"shift_factor\":0.0,\"latent_magnitude\":3,\"latent_shift\":0.5,\"force_upcast\":false}"

static char folder[80], halves[80], file[160]; /* root/tiny in diffusers layout, its file; root/halves with the original ones */

/* --- files ---------------------------------------------------------------------------------------------------------------- */

static void block(fx_part *p, const char *part, uint32_t layer)
{
    for (uint32_t i = 0; i < 3; i++)
        fx_layer(p, fx_at("%s.layers.%u.conv.%u", part, layer, 2 * i).text, CHANNELS, CHANNELS, 3, true);
}

static void tiny_tensors(fx_part *p)
{
    fx_layer(p, "encoder.layers.0", CHANNELS, 3, 3, true);
    block(p, "encoder", 1);
    fx_layer(p, "encoder.layers.2", CHANNELS, CHANNELS, 3, false);
    for (uint32_t i = 3; i < 6; i++)
        block(p, "encoder", i);
    fx_layer(p, "encoder.layers.6", FX_LATENT, CHANNELS, 3, true);
    fx_layer(p, "decoder.layers.0", CHANNELS, FX_LATENT, 3, true);
    for (uint32_t i = 2; i < 5; i++) /* 1 is a ReLU, 5 an enlargement */
        block(p, "decoder", i);
    fx_layer(p, "decoder.layers.6", CHANNELS, CHANNELS, 3, false);
    block(p, "decoder", 7);
    fx_layer(p, "decoder.layers.8", 3, CHANNELS, 3, true);
}

/* One of the two original files: its layers have numbers only, those of the decoder one more, for the limit of its input. */
static void half(fx_part *p, const char *part, uint32_t first)
{
    const size_t length = strlen(part);
    size_t kept = 0;
    tiny_tensors(p);
    for (size_t i = 0; i < p->count; i++) {
        unsigned layer;
        char rest[FX_NAME];
        if (strncmp(p->names[i], part, length)) {
            free((void *)(uintptr_t)p->tensors[i].data);
            continue;
        }
        assert_int_equal(sscanf(p->names[i] + length, ".layers.%u%150s", &layer, rest), 2);
        p->tensors[kept] = p->tensors[i];
        snprintf(p->names[kept], FX_NAME, "%u%.140s", layer + first, rest);
        p->tensors[kept].name = p->names[kept];
        kept++;
    }
    p->count = kept;
}

static void encoder_half(fx_part *p) { half(p, "encoder", 0); }
static void decoder_half(fx_part *p) { half(p, "decoder", 1); }

static int setup_tiny(void **state)
{
    static const fx_options plain = { 0 };
    int failed = setup(state);
    snprintf(folder, sizeof(folder), "%s/tiny", root);
    snprintf(halves, sizeof(halves), "%s/halves", root);
    snprintf(file, sizeof(file), "%s/diffusion_pytorch_model.safetensors", folder);
    failed |= mkdir(folder, 0700) || mkdir(halves, 0700) || fx_write_text(folder, "config.json", TINY_CONFIG);
    failed |= fx_write_part(folder, "diffusion_pytorch_model.safetensors", &plain, tiny_tensors);
    failed |= fx_write_part(halves, "taesd_encoder.safetensors", &plain, encoder_half);
    failed |= fx_write_part(halves, "taesd_decoder.safetensors", &plain, decoder_half);
    return failed;
}

static int teardown_tiny(void **state)
{
    fx_remove_files(folder);
    fx_remove_files(halves);
    return teardown(state);
}

/* --- layouts -------------------------------------------------------------------------------------------------------------- */

static bl_model_options with(const char *vae, const char *preview)
{
    bl_model_options o = BL_MODEL_OPTIONS_INIT;
    o.vae = vae;
    o.preview_vae = preview;
    return o;
}

static void expect_tiny(const bl_vae_config *c)
{
    assert_true(c->tiny && c->levels == LEVELS && c->channels[0] == CHANNELS && c->channels[1] == CHANNELS && c->latent_channels == 4 &&
                c->in_channels == 3 && c->scaling == 1 && c->decoder_blocks[0] == 3 && c->decoder_blocks[1] == 1);
}

static void every_layout_is_the_same_network(void **state)
{
    (void)state;
    const char *const ways[] = { folder, file, halves };
    bl_parts first;
    for (size_t way = 0; way < BL_COUNT(ways); way++) {
        const bl_model_options o = with(ways[way], ways[way]);
        bl_parts p;
        if (bl_parts_open(good, &o, &p) != BL_OK)
            fail_msg("%s: %s", ways[way], bl_last_error());
        expect_tiny(&p.vae);
        expect_tiny(&p.preview);
        assert_true(p.vae.encoder_blocks[0] == 1 && p.vae.encoder_blocks[1] == 3);
        if (!way) {
            first = p;
            continue;
        }
        for (size_t i = 0; i < bl_tensors_count(first.tensors); i++) {
            const bl_stored *a = bl_tensors_at(first.tensors, i), *b = bl_tensors_find(p.tensors, "", a->name);
            float x[1024], y[1024];
            if (!strncmp(a->name, "preview.encoder.", 16))
                continue;
            if (strncmp(a->name, "vae.", 4) && strncmp(a->name, "preview.", 8))
                continue;
            if (!b)
                fail_msg("%s: %s is missing", ways[way], a->name);
            const size_t n = (size_t)a->stored->count;
            assert_true(n <= BL_COUNT(x) && b->stored->count == n);
            assert_int_equal(bl_stored_read(a, 0, n, x), BL_OK);
            assert_int_equal(bl_stored_read(b, 0, n, y), BL_OK);
            assert_memory_equal(x, y, n * sizeof(*x));
        }
        bl_parts_close(&p);
    }
    bl_parts_close(&first);
}

static void refused(void **state)
{
    (void)state;
    static const fx_options published = { .published = true };
    char encoder[160], decoder[160], own[160], original[160], whole[160];
    snprintf(original, sizeof(original), "%s/first_stage.safetensors", halves);
    snprintf(whole, sizeof(whole), "%s/whole.safetensors", halves);
    assert_int_equal(ldm_write_part(original, &published, LDM_CLIP, "first_stage_model.", false, NULL), 0);
    assert_int_equal(ldm_write(whole, &published, LDM_CLIP), 0);
    snprintf(encoder, sizeof(encoder), "%s/taesd_encoder.safetensors", halves);
    snprintf(decoder, sizeof(decoder), "%s/taesd_decoder.safetensors", halves);
    snprintf(own, sizeof(own), "%s/vae", good);
    const struct { const char *vae, *preview, *key, *value, *message; } cases[] = {
        { encoder, NULL, NULL, NULL, "is the encoder of a tiny autoencoder (TAESD), not an autoencoder: give the folder" },
        { NULL, encoder, NULL, NULL, "is the encoder of a tiny autoencoder (TAESD)" },
        { decoder, NULL, NULL, NULL, "is the decoder of a tiny autoencoder (TAESD), not an autoencoder: give it with --preview-vae" },
        { NULL, own, NULL, NULL, "not a tiny autoencoder (TAESD) for 4 latent channels" },
        { NULL, original, NULL, NULL, "not a tiny autoencoder (TAESD) for 4 latent channels" },
        { NULL, whole, NULL, NULL, "is a Stable Diffusion checkpoint in one file, not an autoencoder" },
        { folder, NULL, "act_fn", "\"silu\"", "\"act_fn\" is set, which is not supported" },
        { folder, NULL, "upsample_fn", "\"bilinear\"", "\"upsample_fn\" is set" },
        { folder, NULL, "upsampling_scaling_factor", "4", "\"upsampling_scaling_factor\" is set" },
        { folder, NULL, "decoder_block_out_channels", "[8,16]", "8 and 16 channels: a tiny autoencoder has the same everywhere" },
        { folder, NULL, "encoder_block_out_channels", "[16,8]", "16 and 8 channels" },
        { folder, NULL, "num_decoder_blocks", "[3]", "\"num_decoder_blocks\" is not a list of 2 numbers" },
        { folder, NULL, "num_encoder_blocks", "[1,17]", "\"num_encoder_blocks\"[1] is not a whole number from 0 to 16" },
        { folder, NULL, "scaling_factor", "0", "scaling_factor 0" }, { folder, NULL, "shift_factor", "0.1", "shift_factor 0.1" },
        { folder, NULL, "latent_channels", "16", "the U-Net expects 4 latent channels, the autoencoder makes 16" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        const bl_model_options o = with(cases[i].vae, cases[i].preview);
        bl_parts p;
        if (cases[i].key)
            assert_int_equal(fx_set(folder, "config.json", cases[i].key, cases[i].value), 0);
        const bl_result r = bl_parts_open(good, &o, &p);
        if (r != BL_ERROR_MODEL || !strstr(bl_last_error(), cases[i].message))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        if (cases[i].key)
            assert_int_equal(fx_write_text(folder, "config.json", TINY_CONFIG), 0);
    }
    const bl_model_options o = with(NULL, decoder); /* enough for a preview */
    bl_parts p;
    assert_int_equal(bl_parts_open(good, &o, &p), BL_OK);
    expect_tiny(&p.preview);
    bl_parts_close(&p);
}

/* Binding asks for every layer. */
static void a_missing_layer_is_named(void **state)
{
    (void)state;
    static const char *const names[] = { "encoder.layers.4.conv.2.bias", "decoder.layers.6.weight", "decoder.layers.7.conv.4.weight" };
    need_device();
    for (size_t i = 0; i < BL_COUNT(names); i++) {
        const fx_options without = { .tensor = names[i], .damage = FX_DROP };
        const bl_model_options o = with(folder, NULL);
        bl_model *m = NULL;
        assert_int_equal(fx_write_part(folder, "diffusion_pytorch_model.safetensors", &without, tiny_tensors), 0);
        assert_int_equal(bl_model_open_with(context, good, &o, &m), BL_ERROR_MODEL);
        if (!strstr(bl_last_error(), names[i]))
            fail_msg("\"%s\" does not name %s", bl_last_error(), names[i]);
    }
    assert_int_equal(fx_write_part(folder, "diffusion_pytorch_model.safetensors", &(fx_options){ 0 }, tiny_tensors), 0);
}

/* --- pictures ------------------------------------------------------------------------------------------------------------- */

static struct {
    uint32_t calls;
    bl_image last;
} shown;

static void on_preview(void *user, uint32_t step, uint32_t steps, const bl_image *picture)
{
    assert_ptr_equal(user, &shown);
    assert_true(step == shown.calls + 1 && step <= steps);
    bl_image_free(&shown.last);
    shown.last = *picture;
    shown.last.pixels = malloc((size_t)picture->width * picture->height * 3);
    assert_non_null(shown.last.pixels);
    memcpy(shown.last.pixels, picture->pixels, (size_t)picture->width * picture->height * 3);
    shown.calls++;
}

/* A picture in three steps, seen step by step; it needs the memory that was planned. */
static bl_generate_result seen(const char *vae, const char *preview, const bl_image *from)
{
    const bl_model_options parts = with(vae, preview);
    bl_generate_options o = options(3, 5);
    bl_generate_result r;
    bl_memory_plan plan;
    bl_model *m = NULL;
    free(shown.last.pixels);
    memset(&shown, 0, sizeof(shown));
    o.width = o.height = 64;
    o.photo = from;
    o.crop = from ? "none" : NULL;
    o.strength = 1;
    o.preview = on_preview;
    o.preview_user = &shown;
    if (bl_model_open_with(context, good, &parts, &m) != BL_OK || bl_generate_plan(m, &o, &plan) != BL_OK ||
        bl_generate(m, &o, &r) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_int_equal(shown.calls, 3);
    assert_true(plan.peak == r.memory.peak && plan.stage_count == r.memory.stage_count);
    bl_model_close(&m);
    return r;
}

static void previews_and_pictures(void **state)
{
    (void)state;
    need_device();
    bl_generate_result plain = seen(NULL, NULL, NULL); /* without a tiny autoencoder: small, a linear map */
    assert_true(shown.last.width == 32 && shown.last.height == 32);
    bl_generate_result own = seen(folder, NULL, NULL); /* what is decoded last is what is shown last */
    assert_true(shown.last.width == 64 && difference(&own.image, &shown.last) == 0);
    assert_true(difference(&own.image, &plain.image) > 1);
    bl_generate_result both = seen(NULL, halves, NULL); /* the picture is the autoencoder's, the preview the tiny one's */
    assert_true(difference(&both.image, &plain.image) == 0 && difference(&own.image, &shown.last) == 0);
    assert_string_equal(both.memory.stages[both.memory.stage_count - 2].name, "preview");
    bl_generate_result photo_of = seen(halves, NULL, &photo); /* encodes too */
    assert_true(difference(&photo_of.image, &own.image) > 0.1);
    bl_generate_result again = seen(file, NULL, &photo);
    assert_true(difference(&photo_of.image, &again.image) == 0);
    bl_generate_result *const all[] = { &plain, &own, &both, &photo_of, &again };
    for (size_t i = 0; i < BL_COUNT(all); i++)
        bl_generate_result_free(all[i]);
}

/* The image loss decodes as well: its gradient against differences of itself, along random directions. */
static void gradient_of_the_image_loss(void **state)
{
    (void)state;
    enum { SIDE = 8, VALUES = FX_LATENT * SIDE * SIDE };
    need_device();
    const bl_model_options o = with(folder, NULL);
    char dir[80];
    bl_checkpoint *c = NULL;
    bl_clip *clip = NULL;
    bl_image_guide u = { 0 };
    float latents[VALUES], moved[VALUES], gradient[VALUES], ignored[VALUES], loss, sides[2];
    snprintf(dir, sizeof(dir), "%s/clip", root);
    assert_int_equal(fx_write_clip(dir, TEST_DATA "/tokenizer", NULL), 0);
    if (bl_checkpoint_open(context, good, &o, &c) != BL_OK || bl_clip_open(c, dir, &clip) != BL_OK)
        fail_msg("%s", bl_last_error());
    bl_checkpoint_begin(c, false);
    uint32_t random = 7;
    for (size_t i = 0; i < VALUES; i++) {
        random = random * 1664525u + 1013904223u;
        latents[i] = (float)(random >> 8) / 0x1p22f - 2;
    }
    if (bl_image_guide_for_prompt(c, clip, SIDE, SIDE, PROMPT, &u) != BL_OK || bl_image_guide_run(&u, latents, &loss, gradient) != BL_OK)
        fail_msg("%s", bl_last_error());
    double norm = 0;
    for (size_t i = 0; i < VALUES; i++)
        norm += (double)gradient[i] * (double)gradient[i];
    norm = sqrt(norm);
    assert_true(norm > 1e-6);
    for (int way = 0; way < 2; way++) { /* along the gradient it changes most */
        const float step = way ? 4e-2f : 2e-2f;
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < VALUES; i++)
                moved[i] = latents[i] + (side ? step : -step) * gradient[i] / (float)norm;
            assert_int_equal(bl_image_guide_run(&u, moved, &sides[side], ignored), BL_OK);
        }
        const double measured = (double)(sides[1] - sides[0]) / (2 * (double)step);
        if (fabs(measured - norm) > 0.05 * norm)
            fail_msg("the loss changes by %g, the gradient says %g", measured, norm);
    }
    bl_image_guide_destroy(&u);
    bl_clip_close(&clip);
    bl_checkpoint_close(&c);
    fx_remove_files(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_is_the_same_network), cmocka_unit_test(refused), cmocka_unit_test(a_missing_layer_is_named),
        cmocka_unit_test(previews_and_pictures), cmocka_unit_test(gradient_of_the_image_loss),
    };
    return cmocka_run_group_tests(tests, setup_tiny, teardown_tiny);
}
