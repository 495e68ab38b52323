/* One model in every layout: a folder, a single file with the original names, the fp16 variant, shards, another autoencoder. The tensors
 * and the pictures are the same, and those that diffusers makes; what is no such model is refused by name.
 *   test_checkpoint --write FOLDER      writes the checkpoint for scripts/layouts-golden.py */
#include "ldm.h"
#include "ldm_writer.h"
#include "model_session.h"
#include "parts.h"

static char file[96]; /* root/model.safetensors */
#define TOKENIZER TEST_DATA "/tokenizer"
static const fx_options sd1 = { .published = true }, sd2 = { .published = true, .linear_projection = true };

static int setup_file(void **state)
{
    const int failed = setup(state);
    snprintf(file, sizeof(file), "%s/model.safetensors", root);
    return failed;
}

static int teardown_file(void **state)
{
    unlink(file);
    return teardown(state);
}

/* --- names ---------------------------------------------------------------------------------------------------------------- */

enum { NAMES = 600 };
static char text[1 << 17], names[2 * NAMES][FX_NAME];

/* data/ldm_names.txt: the modules of Stable Diffusion 1.x and 2.x as the original code names them, and as diffusers' own converter does. */
static void names_are_those_of_the_original_code(void **state)
{
    (void)state;
    static st_tensor tensors[2 * NAMES];
    const char *wanted[NAMES];
    size_t count = 0, n;
    FILE *f = fopen(TEST_DATA "/ldm_names.txt", "rb");
    assert_non_null(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), count++) {
        char *now = strchr(line, ' ');
        assert_true(count < NAMES && now);
        *now = 0;
        wanted[count] = now + 1;
        for (size_t k = 0; k < 2; k++) {
            snprintf(names[2 * count + k], FX_NAME, "%s.%s", line, k ? "bias" : "weight");
            tensors[2 * count + k] = (st_tensor){ names[2 * count + k], "F16", 1, { 1 }, NULL };
        }
    }
    assert_int_equal(count, 515);
    assert_int_equal(st_write(file, tensors, 2 * count, NULL, 0), 0);
    bl_tensors *t;
    const bl_safetensors *st;
    assert_int_equal(bl_tensors_create(&t), BL_OK);
    assert_int_equal(bl_tensors_open(t, file, &st), BL_OK);
    assert_int_equal(bl_ldm_add(t, st, BL_LDM_TEXT | BL_LDM_UNET | BL_LDM_VAE), BL_OK);
    assert_int_equal(bl_tensors_finish(t), BL_OK);
    assert_int_equal(bl_tensors_count(t), 2 * count);
    for (size_t i = 0; i < 2 * count; i++) {
        char now[FX_NAME];
        snprintf(now, sizeof(now), "%s.%s", wanted[i / 2], i % 2 ? "bias" : "weight");
        const bl_stored *found = bl_tensors_find(t, "", now);
        if (!found || strcmp(found->stored->name, names[i]))
            fail_msg("%s is not %s", now, names[i]);
    }
    bl_tensors_destroy(&t);
}

/* Of OpenCLIP's 24 layers the last is not used. */
static void the_last_layer_of_open_clip_is_left_out(void **state)
{
    (void)state;
    static const char *const layers[] = { "0", "22", "23", "024", "1000", "x" };
    char all[BL_COUNT(layers)][FX_NAME];
    st_tensor tensors[BL_COUNT(layers)];
    for (size_t i = 0; i < BL_COUNT(layers); i++) {
        snprintf(all[i], FX_NAME, "cond_stage_model.model.transformer.resblocks.%s.attn.in_proj_bias", layers[i]);
        tensors[i] = (st_tensor){ all[i], "F32", 1, { 6 }, NULL };
    }
    assert_int_equal(st_write(file, tensors, BL_COUNT(layers), NULL, 0), 0);
    bl_tensors *t;
    const bl_safetensors *st;
    assert_int_equal(bl_tensors_create(&t), BL_OK);
    assert_int_equal(bl_tensors_open(t, file, &st), BL_OK);
    assert_int_equal(bl_ldm_add(t, st, BL_LDM_TEXT), BL_OK);
    assert_int_equal(bl_tensors_finish(t), BL_OK);
    assert_int_equal(bl_tensors_count(t), 6);
    const bl_stored *v = bl_tensors_find(t, "text_encoder.", "text_model.encoder.layers.22.self_attn.v_proj.bias");
    assert_true(v && v->first == 4 && v->rank == 1 && v->dims[0] == 2);
    bl_tensors_destroy(&t);

    tensors[0].dims[0] = 7;
    assert_int_equal(st_write(file, tensors, 1, NULL, 0), 0);
    assert_int_equal(bl_tensors_create(&t), BL_OK);
    assert_int_equal(bl_tensors_open(t, file, &st), BL_OK);
    assert_int_equal(bl_ldm_add(t, st, BL_LDM_TEXT), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "in_proj_bias\" cannot be parted into 3"));
    bl_tensors_destroy(&t);
}

/* --- layouts -------------------------------------------------------------------------------------------------------------- */

static bl_parts open_parts(const char *path, const bl_model_options *o)
{
    bl_parts p;
    if (bl_parts_open(path, o, &p) != BL_OK)
        fail_msg("%s", bl_last_error());
    return p;
}

#define SAME(field) \
    if (a->field != b->field) \
        fail_msg("%s differs: %g and %g", #field, (double)a->field, (double)b->field)

static void expect_same_configuration(const bl_parts *a, const bl_parts *b)
{
    SAME(text.channels); SAME(text.intermediate); SAME(text.layers); SAME(text.heads); SAME(text.positions);
    SAME(text.vocabulary); SAME(text.eps); SAME(text.act);
    SAME(unet.in_channels); SAME(unet.out_channels); SAME(unet.levels); SAME(unet.layers); SAME(unet.context); SAME(unet.groups);
    SAME(unet.eps); SAME(unet.linear_projection);
    SAME(vae.in_channels); SAME(vae.latent_channels); SAME(vae.levels); SAME(vae.layers); SAME(vae.groups); SAME(vae.scaling);
    SAME(scheduler.betas); SAME(scheduler.beta_start); SAME(scheduler.beta_end); SAME(scheduler.train_steps); SAME(scheduler.spacing);
    SAME(scheduler.steps_offset); SAME(scheduler.set_alpha_to_one); SAME(scheduler.prediction);
    for (uint32_t i = 0; i < a->unet.levels; i++) {
        SAME(unet.channels[i]); SAME(unet.heads[i]); SAME(unet.down_attention[i]); SAME(unet.up_attention[i]);
    }
    for (uint32_t i = 0; i < a->vae.levels; i++)
        SAME(vae.channels[i]);
}

/* Names, numbers of values and the values themselves, whatever shape (a 1x1 convolution is a matrix). */
static void expect_same_tensors(const bl_parts *a, const bl_parts *b)
{
    static const char *const useless = "text_encoder.text_model.embeddings.position_ids"; /* OpenCLIP has none */
    const bool has[] = { bl_tensors_find(a->tensors, "", useless) != NULL, bl_tensors_find(b->tensors, "", useless) != NULL };
    assert_int_equal(bl_tensors_count(a->tensors) - has[0], bl_tensors_count(b->tensors) - has[1]);
    for (size_t i = 0; i < bl_tensors_count(a->tensors); i++) {
        const bl_stored *x = bl_tensors_at(a->tensors, i), *y = bl_tensors_find(b->tensors, "", x->name);
        uint64_t n = 1, m = 1;
        if (!strcmp(x->name, useless))
            continue;
        if (!y)
            fail_msg("%s is missing", x->name);
        for (uint32_t k = 0; k < x->rank; k++)
            n *= x->dims[k];
        for (uint32_t k = 0; k < y->rank; k++)
            m *= y->dims[k];
        assert_int_equal(n, m);
        float *values = malloc(2 * n * sizeof(*values));
        assert_non_null(values);
        assert_int_equal(bl_stored_read(x, 0, n, values), BL_OK);
        assert_int_equal(bl_stored_read(y, 0, n, values + n), BL_OK);
        if (memcmp(values, values + n, n * sizeof(*values)))
            fail_msg("%s differs", x->name);
        free(values);
    }
}

static void rename_part(const char *from, const char *to)
{
    char path[FX_PATH], renamed[FX_PATH];
    assert_int_equal(rename(fx_path(path, other, from), fx_path(renamed, other, to)), 0);
}

#define STEM "unet/diffusion_pytorch_model"

/* Splits the U-Net of root/other into two files and a list of them. `list`: its name. */
static void shard(const char *list)
{
    static const char *const parts[] = { "diffusion_pytorch_model-00001-of-00002.safetensors",
                                         "diffusion_pytorch_model-00002-of-00002.safetensors" };
    fx_part *p = calloc(1, sizeof(*p));
    char path[FX_PATH], part[FX_NAME];
    json_t *map = json_object();
    p->o = &sd1;
    fx_unet_tensors(p);
    const size_t half = p->count / 3;
    for (size_t i = 0; i < 2; i++) {
        snprintf(part, sizeof(part), "unet/%s", parts[i]);
        assert_int_equal(st_write(fx_path(path, other, part), p->tensors + i * half, i ? p->count - half : half, NULL, 0), 0);
    }
    for (size_t i = 0; i < p->count; i++) {
        json_object_set_new(map, p->tensors[i].name, json_string(parts[i >= half]));
        free((void *)(uintptr_t)p->tensors[i].data);
    }
    free(p);
    json_t *index = json_pack("{s:{s:i},s:o}", "metadata", "total_size", 7, "weight_map", map);
    assert_int_equal(json_dump_file(index, fx_path(path, other, list), 0), 0);
    json_decref(index);
    assert_int_equal(unlink(fx_path(path, other, FX_UNET_WEIGHTS)), 0);
}

/* The other layouts of the checkpoint that `o` describes, made one by one; the path of each. */
enum layout { FOLDER, SINGLE, VARIANT, SHARDS, VARIANT_SHARDS, OLD_SHARDS, LAYOUTS };
static const char *lay_out(enum layout l, const fx_options *o)
{
    fx_options half = *o;
    half.dtype = "F16";
    if (l == SINGLE) {
        assert_int_equal(ldm_write(file, o, o->linear_projection ? LDM_OPEN_CLIP : LDM_CLIP), 0);
        return file;
    }
    variant(l == VARIANT ? &half : o);
    if (o->linear_projection)
        assert_int_equal(fx_set(other, "text_encoder/config.json", "hidden_act", "\"gelu\""), 0);
    if (l == VARIANT) {
        rename_part(FX_TEXT_WEIGHTS, "text_encoder/model.fp16.safetensors");
        rename_part(FX_UNET_WEIGHTS, STEM ".fp16.safetensors");
        rename_part(FX_VAE_WEIGHTS, "vae/diffusion_pytorch_model.fp16.safetensors");
    }
    if (l >= SHARDS)
        shard(l == SHARDS ? STEM ".safetensors.index.json" : l == OLD_SHARDS ? STEM ".fp16.safetensors.index.json"
              : STEM ".safetensors.index.fp16.json");
    return other;
}

static const char *folder_of(const fx_options *o) /* root/good made anew */
{
    fx_remove(good);
    assert_int_equal(fx_write(good, TOKENIZER, o), 0);
    if (o->linear_projection)
        assert_int_equal(fx_set(good, "text_encoder/config.json", "hidden_act", "\"gelu\""), 0);
    return good;
}

static const bl_model_options with_tokenizer = { .struct_size = sizeof(bl_model_options), .tokenizer = TOKENIZER };

static void every_layout_holds_the_same_tensors(void **state)
{
    (void)state;
    const fx_options *const kinds[] = { &sd1, &sd2 };
    for (size_t k = 0; k < 2; k++) {
        bl_parts want = open_parts(folder_of(kinds[k]), NULL);
        assert_true(bl_tensors_count(want.tensors) > 200);
        for (enum layout l = SINGLE; l < (k ? VARIANT : LAYOUTS); l++) {
            bl_parts got = open_parts(lay_out(l, kinds[k]), l == SINGLE ? &with_tokenizer : NULL);
            expect_same_tensors(&want, &got);
            expect_same_configuration(&want, &got);
            assert_int_equal(got.single, l == SINGLE);
            bl_parts_close(&got);
        }
        bl_parts_close(&want);
    }
    /* names of the first transformers */
    bl_parts want = open_parts(folder_of(&sd1), NULL);
    assert_int_equal(ldm_write(file, &sd1, LDM_OLD_CLIP), 0);
    bl_parts got = open_parts(file, &with_tokenizer);
    expect_same_tensors(&want, &got);
    bl_parts_close(&got);
    bl_parts_close(&want);
}

static bl_generate_result picture(const char *path, const bl_model_options *o)
{
    bl_model *m = NULL;
    bl_generate_result r;
    bl_generate_options g = options(2, 7);
    g.width = g.height = 64;
    g.scheduler = "ddim";
    if (bl_model_open_with(context, path, o, &m) != BL_OK || bl_generate(m, &g, &r) != BL_OK)
        fail_msg("%s", bl_last_error());
    bl_model_close(&m);
    return r;
}

static void every_layout_gives_the_same_picture(void **state)
{
    (void)state;
    const fx_options *const kinds[] = { &sd1, &sd2 };
    need_device();
    for (size_t k = 0; k < 2; k++) {
        bl_generate_result want = picture(folder_of(kinds[k]), NULL);
        for (enum layout l = SINGLE; l < (k ? VARIANT : VARIANT_SHARDS); l++) {
            bl_generate_result got = picture(lay_out(l, kinds[k]), l == SINGLE ? &with_tokenizer : NULL);
            assert_true(difference(&want.image, &got.image) == 0);
            bl_generate_result_free(&got);
        }
        bl_generate_result_free(&want);
    }
}

/* --- what diffusers makes of it ------------------------------------------------------------------------------------------- */

/* A LoRA with kohya's names: a matrix and a convolution of the U-Net, a matrix of the text encoder. */
static void lora_tensors(fx_part *p)
{
    static const struct { const char *name; uint32_t out, in, rank, kernel; } layers[] = {
        { "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 64, 64, 4, 0 },
        { "lora_unet_mid_block_resnets_0_conv1", 128, 128, 4, 3 }, { "lora_te_text_model_encoder_layers_0_self_attn_q_proj", 64, 64, 2, 0 },
    };
    for (size_t i = 0; i < BL_COUNT(layers); i++) {
        fx_layer(p, fx_at("%s.lora_down", layers[i].name).text, layers[i].rank, layers[i].in, layers[i].kernel, false);
        fx_layer(p, fx_at("%s.lora_up", layers[i].name).text, layers[i].out, layers[i].rank, layers[i].kernel ? 1 : 0, false);
    }
}

/* For scripts/layouts-golden.py, which makes data/layouts.safetensors and data/layouts_lora.safetensors of it. */
static int write_for_diffusers(const char *dir)
{
    return fx_write(dir, TOKENIZER, &sd1) || fx_write_part(dir, "lora.safetensors", &sd1, lora_tensors);
}

static void expect_golden(const char *path, const bl_model_options *o, const char *golden)
{
    bl_verify_options v = BL_VERIFY_OPTIONS_INIT;
    bl_verify_summary s;
    v.model_dir = path;
    v.model = o;
    v.files = &golden;
    v.file_count = 1;
    v.strict = 1;
    if (bl_verify(context, &v, &s) != BL_OK)
        fail_msg("%s: %s; %s", path, bl_last_error(), s.first_failure);
    assert_true(s.passed > 1 && !s.failed && !s.skipped);
}

/* One golden for every layout: the names and conversions of each are right, not only the same. */
static void every_layout_gives_what_diffusers_does(void **state)
{
    (void)state;
    need_device();
    for (enum layout l = FOLDER; l <= SHARDS; l++)
        expect_golden(lay_out(l, &sd1), l == SINGLE ? &with_tokenizer : NULL, TEST_DATA "/layouts.safetensors");
    char path[FX_PATH];
    const bl_lora lora = { fx_path(path, root, "lora.safetensors"), 1 };
    assert_int_equal(fx_write_part(root, "lora.safetensors", &sd1, lora_tensors), 0);
    for (enum layout l = FOLDER; l <= SINGLE; l++) {
        bl_model_options o = with_tokenizer;
        o.loras = &lora;
        o.lora_count = 1;
        expect_golden(lay_out(l, &sd1), &o, TEST_DATA "/layouts_lora.safetensors");
    }
    unlink(path);
}

/* --- prediction ------------------------------------------------------------------------------------------------------------ */

static void shapes_do_not_tell_the_prediction(void **state)
{
    (void)state;
    static const struct {
        const fx_options *o;
        const char *metadata, *option;
        bl_prediction prediction;
        bool assumed;
        uint32_t side;
    } cases[] = {
        { &sd1, NULL, NULL, BL_PREDICT_EPSILON, false, 64 }, /* there are no published ones of another kind */
        { &sd2, NULL, NULL, BL_PREDICT_EPSILON, true, 64 },
        { &sd2, "v", NULL, BL_PREDICT_V, false, 96 },
        { &sd2, "epsilon", NULL, BL_PREDICT_EPSILON, false, 64 },
        { &sd2, NULL, "v", BL_PREDICT_V, false, 96 },
        { &sd2, "v", "epsilon", BL_PREDICT_EPSILON, false, 64 }, /* who gives an option knows better */
        { &sd1, NULL, "v", BL_PREDICT_V, false, 96 },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        const st_metadata m = { "modelspec.prediction_type", cases[i].metadata };
        bl_model_options o = with_tokenizer;
        o.prediction = cases[i].option;
        assert_int_equal(ldm_write_part(file, cases[i].o, LDM_CLIP, "", false, m.value ? &m : NULL), 0);
        bl_parts p = open_parts(file, &o);
        assert_true(p.scheduler.prediction == cases[i].prediction && p.prediction_assumed == cases[i].assumed &&
                    p.unet.sample_size == cases[i].side);
        assert_int_equal(p.scheduler.kind, p.scheduler.prediction == BL_PREDICT_V ? BL_SCHEDULER_DDIM : BL_SCHEDULER_PNDM);
        bl_parts_close(&p);
    }
    bl_model_options o = BL_MODEL_OPTIONS_INIT;
    o.prediction = "v";
    bl_parts p = open_parts(folder_of(&sd1), &o); /* a folder says, but an option is stronger */
    assert_int_equal(p.scheduler.prediction, BL_PREDICT_V);
    bl_parts_close(&p);
}

/* --- another autoencoder --------------------------------------------------------------------------------------------------- */

static void another_autoencoder(void **state)
{
    (void)state;
    static const fx_options flat = { .published = true, .tensor = "decoder.conv_out.bias", .damage = FX_FLAT },
        old = { .published = true, .tensor = "decoder.conv_out.bias", .damage = FX_FLAT, .legacy_vae = true };
    enum { ORIGINAL, BARE, WHOLE, FOLDER_OF_IT, OF_CHECKPOINT, DIFFUSERS_FILE, OLD_FILE, WAYS };
    char path[FX_PATH], folder[FX_PATH];
    folder_of(&flat);
    bl_parts want = open_parts(good, NULL);
    for (int way = 0; way < WAYS; way++) {
        bl_model_options o = BL_MODEL_OPTIONS_INIT;
        o.vae = file;
        if (way <= WHOLE)
            assert_int_equal(ldm_write_part(file, &flat, LDM_CLIP, way == WHOLE ? "" : "first_stage_model.", way == BARE, NULL), 0);
        if (way == FOLDER_OF_IT)
            o.vae = fx_path(path, good, "vae");
        if (way == OF_CHECKPOINT)
            o.vae = good;
        if (way == OLD_FILE) {
            fx_remove(good);
            assert_int_equal(fx_write(good, TOKENIZER, &old), 0);
        }
        if (way >= DIFFUSERS_FILE)
            o.vae = fx_path(path, good, FX_VAE_WEIGHTS);
        bl_parts got = open_parts(variant(&sd1), &o);
        expect_same_tensors(&want, &got);
        expect_same_configuration(&want, &got);
        bl_parts_close(&got);
    }
    bl_parts_close(&want);

    /* what was replaced need not be there, in a folder or in a file */
    bl_model_options o = with_tokenizer;
    o.vae = fx_path(path, good, "vae");
    variant(&sd1);
    fx_remove_files(fx_path(folder, other, "vae"));
    bl_parts p = open_parts(other, &o);
    bl_parts_close(&p);
    assert_int_equal(ldm_write_part(file, &sd1, LDM_CLIP, "model.", false, NULL), 0);
    assert_int_equal(bl_parts_open(file, &o, &p), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "model.safetensors: has no text encoder (cond_stage_model.*)"));
}

static void the_picture_is_that_of_the_other_autoencoder(void **state)
{
    (void)state;
    need_device();
    static const fx_options scaled = { .published = true, .tensor = "decoder.conv_out.bias", .damage = FX_FLAT };
    bl_generate_result plain = picture(folder_of(&sd1), NULL), want = picture(variant(&scaled), NULL);
    assert_true(difference(&plain.image, &want.image) > 0.5);
    assert_int_equal(ldm_write_part(file, &scaled, LDM_CLIP, "first_stage_model.", true, NULL), 0);
    bl_model_options o = BL_MODEL_OPTIONS_INIT;
    o.vae = file;
    bl_generate_result got = picture(good, &o);
    assert_true(difference(&got.image, &want.image) == 0);
    json_t *j = json_loads(got.parameters, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(j, "vae")), "model.safetensors");
    json_decref(j);
    bl_generate_result_free(&plain);
    bl_generate_result_free(&want);
    bl_generate_result_free(&got);
}

/* --- refused --------------------------------------------------------------------------------------------------------------- */

/* A file of one tensor, by its name. */
static void kinds_are_named(void **state)
{
    (void)state;
    static const struct { const char *name, *as_model, *as_vae; } cases[] = {
        { "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", "is an SDXL checkpoint, not a checkpoint", "is an SDXL" },
        { "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.bias", "is Stable Diffusion 3, not a checkpoint", "Diffusion 3" },
        { "transformer_blocks.0.norm1_context.linear.bias", "is Stable Diffusion 3", "is Stable Diffusion 3" },
        { "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale", "is Flux, not", "is Flux, not an autoencoder: only" },
        { "double_blocks.0.img_attn.proj.bias", "is Flux", "is Flux" },
        { "single_transformer_blocks.0.attn.norm_k.weight", "is Flux", "is Flux" },
        { "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
          "is a LoRA, not a checkpoint of Stable Diffusion 1.x or 2.x: give it with --lora, beside --model",
          "is a LoRA, not an autoencoder" },
        { "unet.mid_block.attentions.0.proj_in.lora_A.weight", "is a LoRA", "is a LoRA" },
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "is a LoRA for SDXL", "is a LoRA for SDXL" },
        { "lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", "is a LyCORIS adapter (LoHa)", "(LoHa)" },
        { "lora_unet_mid_block_attentions_0_proj_in.lokr_w1", "is a LyCORIS adapter (LoKr)", "(LoKr)" },
        { "control_model.input_blocks.0.0.bias", "is a ControlNet", "is a ControlNet" },
        { "controlnet_cond_embedding.conv_in.bias", "is a ControlNet", "is a ControlNet" },
        { "down_blocks.0.motion_modules.0.norm.bias", "is a motion module (AnimateDiff)", "is a motion module" },
        { "emb_params", "is a textual inversion", "is a textual inversion" },
        { "model.diffusion_model.input_blocks.1.1.time_stack.0.norm1.bias", "is Stable Video Diffusion", "is Stable Video" },
        { "model.diffusion_model.label_emb.0.0.bias", "is a U-Net with class embeddings", "is a U-Net with class" },
        { "add_embedding.linear_1.bias", "is the U-Net of SDXL", "is the U-Net of SDXL" },
        { "first_stage_model.decoder.conv_in.bias",
          "is an autoencoder alone, not a checkpoint of Stable Diffusion 1.x or 2.x: give it with --vae", "conv_in.weight\" is missing" },
        { "decoder.conv_in.bias", "is an autoencoder alone", "\"vae.decoder.conv_in.weight\" is missing" },
        { "encoder.layers.1.conv.0.weight", "is a tiny autoencoder (TAESD), not a checkpoint",
          "\"vae.decoder.conv_in.weight\" is missing" },
        { "1.conv.0.weight", "is the encoder of a tiny autoencoder (TAESD)", "is the encoder of a tiny" },
        { "3.conv.0.weight", "is the decoder of a tiny autoencoder (TAESD)", "is the decoder of a tiny" },
        { "down_blocks.0.resnets.0.norm1.bias", "is a U-Net alone, not a checkpoint of Stable Diffusion 1.x or 2.x: give the folder",
          "is a U-Net alone" },
        { "input_blocks.0.0.bias", "is a U-Net alone, with its original names", "is a U-Net alone" },
        { "text_model.final_layer_norm.bias", "is a CLIP text encoder alone", "is a CLIP text encoder alone" },
        { "vision_model.post_layernorm.bias", "is a CLIP model with an image tower", "is a CLIP model" },
        { "encoder.block.0.layer.0.SelfAttention.k.weight", "is a T5 text encoder", "is a T5 text encoder" },
        { "anything", "is of no known kind, not a checkpoint", "is of no known kind, not an autoencoder" },
        { "model.diffusion_model.input_blocks.0.0.bias", "has no text encoder", "\"vae.decoder.conv_in.weight\" is missing" },
    };
    folder_of(&sd1);
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        const st_tensor one = { cases[i].name, "F32", 1, { 4 }, NULL };
        assert_int_equal(st_write(file, &one, 1, NULL, 0), 0);
        for (int vae = 0; vae < 2; vae++) {
            bl_model_options o = with_tokenizer;
            bl_parts p;
            const char *reason = vae ? cases[i].as_vae : cases[i].as_model;
            o.vae = vae ? file : NULL;
            bl_fail(BL_ERROR_USAGE, "stale");
            const bl_result r = bl_parts_open(vae ? good : file, &o, &p);
            if (r != BL_ERROR_MODEL || !strstr(bl_last_error(), reason) || strncmp(bl_last_error(), file, strlen(file)))
                fail_msg("%s: %s, \"%s\" lacks \"%s\"", cases[i].name, bl_result_name(r), bl_last_error(), reason);
            assert_null(p.tensors);
        }
    }
}

/* Whole files with something amiss, opened as a model with a tokenizer. */
static void single_files_are_refused(void **state)
{
    (void)state;
    static const st_metadata sample = { "modelspec.prediction_type", "sample" };
    static const struct {
        const char *only, *tensor;
        fx_damage damage;
        const st_metadata *metadata;
        const char *message;
    } cases[] = {
        { "", "conv_in.weight", FX_DROP, NULL, "\"unet.conv_in.weight\" is missing" },
        { "", "conv_in.weight", FX_RESHAPE, NULL, "" }, /* seen when it is bound */
        { "", "mid_block.attentions.0.proj_in.weight", FX_DROP, NULL, "no cross-attention in the middle of the U-Net" },
        { "", "text_model.embeddings.position_embedding.weight", FX_DROP, NULL, "position_embedding.weight\" is missing" },
        { "", NULL, FX_NONE, &sample, "modelspec.prediction_type is \"sample\"" },
        { "model.", NULL, FX_NONE, NULL, "has no text encoder" },
        { "cond", NULL, FX_NONE, NULL, "is of no known kind" },
    };
    need_device();
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        const fx_options o = { .published = true, .tensor = cases[i].tensor, .damage = cases[i].damage };
        bl_model *m = NULL;
        assert_int_equal(ldm_write_part(file, &o, LDM_CLIP, cases[i].only, false, cases[i].metadata), 0);
        const bl_result r = bl_model_open_with(context, file, &with_tokenizer, &m);
        if (r != BL_ERROR_MODEL || !strstr(bl_last_error(), cases[i].message) || strncmp(bl_last_error(), file, strlen(file)))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        assert_null(m);
    }
}

/* Input channels tell the variants apart. */
static void inpainting_is_refused(void **state)
{
    (void)state;
    static const uint64_t channels[] = { 5, 8, 9 };
    for (size_t i = 0; i < BL_COUNT(channels); i++) {
        ldm_file *f = ldm_build(NULL, LDM_CLIP);
        bl_parts p;
        char message[96];
        for (size_t k = 0; k < f->count; k++)
            if (!strcmp(f->tensors[k].name, "model.diffusion_model.input_blocks.0.0.weight")) {
                f->tensors[k].dims[1] = channels[i];
                f->tensors[k].data = NULL;
            }
        assert_int_equal(st_write(file, f->tensors, f->count, NULL, 0), 0);
        ldm_free(f);
        snprintf(message, sizeof(message), ": %d input channels for 4 latents: inpainting", (int)channels[i]);
        assert_int_equal(bl_parts_open(file, &with_tokenizer, &p), BL_ERROR_MODEL);
        if (!strstr(bl_last_error(), message))
            fail_msg("\"%s\" lacks \"%s\"", bl_last_error(), message);
    }
}

static void parts_that_do_not_go_together(void **state)
{
    (void)state;
    bl_parts p;
    folder_of(&sd1);
    assert_int_equal(ldm_write(file, &sd1, LDM_CLIP), 0);
    assert_int_equal(bl_parts_open(file, NULL, &p), BL_ERROR_USAGE);
    assert_non_null(strstr(bl_last_error(), "a single file has no tokenizer: give the folder with vocab.json and merges.txt"));
    assert_int_equal(ldm_write_part(file, &sd1, LDM_CLIP, "c", false, NULL), 0);

    ldm_file *f = ldm_build(NULL, LDM_CLIP); /* one tensor under two of its names */
    f->tensors[f->count++] = (st_tensor){ "cond_stage_model.transformer.final_layer_norm.bias", "F32", 1, { 64 }, NULL };
    assert_int_equal(st_write(file, f->tensors, f->count, NULL, 0), 0);
    ldm_free(f);
    assert_int_equal(bl_parts_open(file, &with_tokenizer, &p), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "are the same one of the network"));

    assert_int_equal(ldm_write_part(file, &sd1, LDM_CLIP, "model.", false, NULL), 0);
    static const struct { const char *vae, *prediction; size_t size; bl_result r; const char *message; } cases[] = {
        { "nowhere", NULL, sizeof(bl_model_options), BL_ERROR_MODEL, "nowhere: " },
        { TOKENIZER, NULL, sizeof(bl_model_options), BL_ERROR_MODEL, "config.json is missing: an autoencoder in diffusers layout has it" },
        { TOKENIZER "/vocab.json", NULL, sizeof(bl_model_options), BL_ERROR_MODEL, "is a JSON text, not a safetensors file" },
        { NULL, "x0", sizeof(bl_model_options), BL_ERROR_USAGE, "prediction \"x0\" is not known; known: epsilon, v" },
        { NULL, NULL, 7, BL_ERROR_USAGE, "options of another version" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        const bl_model_options o = { .struct_size = cases[i].size, .vae = cases[i].vae, .prediction = cases[i].prediction };
        const bl_result r = bl_parts_open(good, &o, &p);
        if (r != cases[i].r || !strstr(bl_last_error(), cases[i].message))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        assert_null(p.tensors);
    }
}

/* Lists of shards. %s in a text is the shard that is there. */
static void broken_lists_are_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *message; } cases[] = {
        { "[]", "\"weight_map\" is missing or not an object" },
        { "{\"weight_map\":[]}", "\"weight_map\" is missing or not an object" },
        { "{\"weight_map\":{\"conv_in.weight\":7}}", "the shard of tensor \"conv_in.weight\" is not a name" },
        { "{\"weight_map\":{\"conv_in.weight\":\"gone.safetensors\"}}", "shard \"gone.safetensors\" is missing" },
        { "{\"weight_map\":{\"conv_in.weight\":\"../unet/" "a.safetensors\"}}", "is not the plain name of a file beside it" },
        { "{\"weight_map\":{\"conv_in.weight\":\"/etc/passwd\"}}", "shard \"/etc/passwd\" is not the plain name" },
        { "{\"weight_map\":{\"conv_in.weight\":\"\"}}", "shard \"\" is not the plain name" },
        { "{\"weight_map\":{\"conv_in.weight\":\"..\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"conv_in.weight\":\"c:a\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"conv_in.weight\":\"a\\\\b\"}}", "is not the plain name" },
        { "{\"weight_map\":{\"nothing\":\"a.safetensors\"}}", "tensor \"nothing\" is not in shard \"a.safetensors\"" },
        { "{\"weight_map\":{\"a\":\"config.json\"}}", "config.json: is a JSON text" },
        { "{\"weight_map\":{", "line 1" },
        { "{\"weight_map\":{\"conv_in.weight\":\"a.safetensors\"}}", "is missing" }, /* the rest of the network */
    };
    need_device();
    variant(&sd1);
    rename_part(FX_UNET_WEIGHTS, "unet/a.safetensors");
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_model *m = NULL;
        assert_int_equal(fx_write_text(other, STEM ".safetensors.index.json", cases[i].text), 0);
        const bl_result r = bl_model_open(context, other, &m);
        if (r != BL_ERROR_MODEL || !strstr(bl_last_error(), cases[i].message) || strncmp(bl_last_error(), other, strlen(other)))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        assert_null(m);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--write"))
        return write_for_diffusers(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_original_code),
        cmocka_unit_test(the_last_layer_of_open_clip_is_left_out),
        cmocka_unit_test(every_layout_holds_the_same_tensors),
        cmocka_unit_test(every_layout_gives_the_same_picture),
        cmocka_unit_test(every_layout_gives_what_diffusers_does),
        cmocka_unit_test(shapes_do_not_tell_the_prediction),
        cmocka_unit_test(another_autoencoder),
        cmocka_unit_test(the_picture_is_that_of_the_other_autoencoder),
        cmocka_unit_test(kinds_are_named),
        cmocka_unit_test(single_files_are_refused),
        cmocka_unit_test(inpainting_is_refused),
        cmocka_unit_test(parts_that_do_not_go_together),
        cmocka_unit_test(broken_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, setup_file, teardown_file);
}
