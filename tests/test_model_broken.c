/* Checkpoints with something wrong, and memory that runs out: always a result with a reason, never a half-made thing. */
#include "failing_memory.h"
#include "model_session.h"

/* --- files -------------------------------------------------------------------------------------------------------------- */

/* What is done to a sound checkpoint: GONE, TEXT (the file's new contents), SET (a member of a JSON file), CUT (to so many bytes; negative:
 * by that many), PICKLE (a .bin file stands where the weights were), or a tensor's damage. */
typedef enum deed { GONE, TEXT, SET, CUT, PICKLE, TENSOR } deed;
#define TEXT_JSON "text_encoder/config.json"
#define UNET_JSON "unet/config.json"
#define VAE_JSON "vae/config.json"
#define SCHEDULER_JSON "scheduler/scheduler_config.json"
static const struct { deed deed; const char *what, *key, *value; int how; const char *message; } broken[] = {
    { GONE, TEXT_JSON, 0, 0, 0, "text_encoder/config.json is missing" }, { GONE, UNET_JSON, 0, 0, 0, "unet/config.json is missing" },
    { GONE, VAE_JSON, 0, 0, 0, "vae/config.json is missing" }, { GONE, SCHEDULER_JSON, 0, 0, 0, "scheduler_config.json is missing" },
    { GONE, FX_TEXT_WEIGHTS, 0, 0, 0, "text_encoder/model.safetensors is missing" },
    { GONE, FX_UNET_WEIGHTS, 0, 0, 0, "unet/diffusion_pytorch_model.safetensors is missing" },
    { GONE, FX_VAE_WEIGHTS, 0, 0, 0, "vae/diffusion_pytorch_model.safetensors is missing" },
    { GONE, "tokenizer/vocab.json", 0, 0, 0, "vocab.json" }, { GONE, "tokenizer/merges.txt", 0, 0, 0, "merges.txt" },
    { PICKLE, FX_TEXT_WEIGHTS, "text_encoder/pytorch_model.bin", 0, 0, "text_encoder/pytorch_model.bin is a PyTorch pickle" },
    { PICKLE, FX_UNET_WEIGHTS, "unet/diffusion_pytorch_model.bin", 0, 0, "unet/diffusion_pytorch_model.bin is a PyTorch pickle" },
    { PICKLE, FX_VAE_WEIGHTS, "vae/diffusion_pytorch_model.bin", 0, 0, "vae/diffusion_pytorch_model.bin is a PyTorch pickle" },
    { TEXT, UNET_JSON, 0, "{\"in_channels\": 4,", 0, "unet/config.json: line 1" }, { TEXT, VAE_JSON, 0, "", 0, "vae/config.json" },
    { TEXT, TEXT_JSON, 0, "hello", 0, "text_encoder/config.json: line 1" }, { TEXT, UNET_JSON, 0, "[]", 0, "unet/config.json: " },
    { TEXT, TEXT_JSON, 0, "[]", 0, "text_encoder/config.json: " }, { TEXT, VAE_JSON, 0, "[1]", 0, "vae/config.json: " },
    { TEXT, SCHEDULER_JSON, 0, "[]", 0, "not a JSON object" }, { TEXT, SCHEDULER_JSON, 0, "{}", 0, "no _class_name" },
    { TEXT, "tokenizer/vocab.json", 0, "{\"a\":-1}", 0, "vocab.json: entry \"a\"" },
    { TEXT, "tokenizer/merges.txt", 0, "#version: 0.2\na b c\n", 0, "merges.txt: line 2" },
    { TEXT, FX_UNET_WEIGHTS, 0, "hello", 0, "is a text file, not a safetensors file" }, { TEXT, FX_VAE_WEIGHTS, 0, "", 0, "is empty" },
    { CUT, FX_TEXT_WEIGHTS, 0, 0, -4, "model.safetensors: is truncated: 4 bytes" },
    { CUT, FX_UNET_WEIGHTS, 0, 0, -1, "is truncated: 1 bytes" },
    { CUT, FX_VAE_WEIGHTS, 0, 0, 300, "vae/diffusion_pytorch_model.safetensors: " },

    { SET, UNET_JSON, "_class_name", "\"UNet3DConditionModel\"", 0, "a UNet3DConditionModel is not a U-Net" },
    { SET, UNET_JSON, "class_embed_type", "\"timestep\"", 0, "\"class_embed_type\" is set, which is not supported" },
    { SET, UNET_JSON, "addition_embed_type", "\"text_time\"", 0, "\"addition_embed_type\" is set" },
    { SET, UNET_JSON, "transformer_layers_per_block", "[1,2]", 0, "\"transformer_layers_per_block\" is set" },
    { SET, UNET_JSON, "only_cross_attention", "true", 0, "\"only_cross_attention\" is set" },
    { SET, UNET_JSON, "in_channels", "9", 0, "inpainting and depth variants are not supported" },
    { SET, UNET_JSON, "in_channels", "\"4\"", 0, "\"in_channels\" is a string, an integer was expected" },
    { SET, UNET_JSON, "block_out_channels", "[16,32,64]", 0, "\"down_block_types\" is not a list of 3 blocks" },
    { SET, UNET_JSON, "block_out_channels", "[]", 0, "\"block_out_channels\" is not a list" },
    { SET, UNET_JSON, "block_out_channels", "[16,32.5]", 0, "\"block_out_channels\"[1] is not a whole number" },
    { SET, UNET_JSON, "down_block_types", "[\"CrossAttnDownBlock2D\",\"AttnDownBlock2D\"]", 0, "block type \"AttnDownBlock2D\"" },
    { SET, UNET_JSON, "up_block_types", "[1,2]", 0, "block type \"?\"" },
    { SET, UNET_JSON, "attention_head_dim", "[2,5]", 0, "32 channels for 5 heads" },
    { SET, UNET_JSON, "attention_head_dim", "\"2\"", 0, "\"attention_head_dim\" is not a list of 2 numbers" },
    { SET, UNET_JSON, "num_attention_heads", "3", 0, "16 channels for 3 heads" },
    { SET, UNET_JSON, "norm_num_groups", "3", 0, "16 channels in 3 groups" },
    { SET, UNET_JSON, "norm_eps", "[]", 0, "\"norm_eps\" is an array" },
    { SET, UNET_JSON, "layers_per_block", "0", 0, "\"layers_per_block\" is 0, not in 1 to 16" },
    { SET, UNET_JSON, "layers_per_block", "2", 0, "\"down_blocks.0.resnets.1.norm1." },
    { SET, UNET_JSON, "cross_attention_dim", "32", 0, "a text embedding of 32 channels, the text encoder makes 16" },
    { SET, UNET_JSON, "sample_size", "[32,32]", 0, "\"sample_size\" is an array" },
    { SET, VAE_JSON, "_class_name", "\"AsymmetricAutoencoderKL\"", 0, "a AsymmetricAutoencoderKL is not an autoencoder" },
    { SET, VAE_JSON, "latent_channels", "8", 0, "expects 4 latent channels, the autoencoder makes 8" },
    { SET, VAE_JSON, "scaling_factor", "0", 0, "scaling_factor 0" },
    { SET, VAE_JSON, "scaling_factor", "\"1\"", 0, "\"scaling_factor\" is a string" },
    { SET, VAE_JSON, "shift_factor", "0.1", 0, "\"shift_factor\" is set" }, { SET, VAE_JSON, "act_fn", "\"relu\"", 0, "\"act_fn\" is set" },
    { SET, VAE_JSON, "norm_num_groups", "3", 0, "8 channels in 3 groups" },
    { SET, VAE_JSON, "in_channels", "4", 0, "\"in_channels\" is 4, not in 3" },
    { SET, VAE_JSON, "block_out_channels", "[8,32]", 0, "tensor \"encoder.down_blocks.1.resnets.0." },
    { SET, TEXT_JSON, "model_type", "\"clip_vision_model\"", 0, "a clip_vision_model is not a CLIP text encoder" },
    { SET, TEXT_JSON, "hidden_act", "\"relu\"", 0, "activation \"relu\" is not supported" },
    { SET, TEXT_JSON, "num_attention_heads", "3", 0, "16 channels for 3 heads" },
    { SET, TEXT_JSON, "hidden_size", "32", 0, "a text embedding of 16 channels, the text encoder makes 32" },
    { SET, TEXT_JSON, "num_hidden_layers", "3", 0, "\"text_model.encoder.layers.2.layer_norm1." },
    { SET, TEXT_JSON, "intermediate_size", "64", 0, "mlp.fc1.weight\" has shape [32,16], expected [64,16]" },
    { SET, TEXT_JSON, "vocab_size", "600", 0, "token_embedding.weight\" has shape [586,16], expected [600,16]" },
    { SET, TEXT_JSON, "max_position_embeddings", "77", 0, "position_embedding.weight\" has shape [16,16], expected [77,16]" },
    { SET, SCHEDULER_JSON, "beta_end", "2", 0, "beta_end 2" },
    { SET, SCHEDULER_JSON, "beta_start", "\"x\"", 0, "\"beta_start\" is a string" },
    { SET, SCHEDULER_JSON, "prediction_type", "\"sample\"", 0, "prediction_type \"sample\"" },
    { SET, SCHEDULER_JSON, "thresholding", "true", 0, "thresholding is true" },
    { SET, SCHEDULER_JSON, "trained_betas", "[1]", 0, "trained_betas" },

    { TENSOR, "text_model.embeddings.token_embedding.weight", 0, 0, FX_DROP, "token_embedding.weight\" is missing" },
    { TENSOR, "text_model.embeddings.token_embedding.weight", 0, 0, FX_INT64, "token_embedding.weight\" is I64" },
    { TENSOR, "text_model.embeddings.position_embedding.weight", 0, 0, FX_RESHAPE,
      "position_embedding.weight\" has shape [20,16], expected [16,16]" },
    { TENSOR, "text_model.encoder.layers.1.mlp.fc2.bias", 0, 0, FX_DROP, "layers.1.mlp.fc2.bias\" is missing" },
    { TENSOR, "conv_in.weight", 0, 0, FX_RESHAPE, "\"conv_in.weight\" has shape [20,4,3,3], expected [16,4,3,3]" },
    { TENSOR, "conv_in.weight", 0, 0, FX_INT64, "\"conv_in.weight\" is I64; F32, F16 and BF16 can be used" },
    { TENSOR, "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight", 0, 0, FX_DROP, "attn2.to_v.weight\" is missing" },
    { TENSOR, "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight", 0, 0, FX_RESHAPE, "has shape [36,16], expected [32,16]" },
    { TENSOR, "up_blocks.1.attentions.1.norm.bias", 0, 0, FX_RESHAPE, "has shape [20], expected [16]" },
    { TENSOR, "encoder.mid_block.attentions.0.to_q.weight", 0, 0, FX_DROP, "attentions.0.to_q.weight\" is missing" },
    { TENSOR, "quant_conv.weight", 0, 0, FX_RESHAPE, "\"quant_conv.weight\" has shape [12,8,1,1], expected [8,8]" },
    { TENSOR, "decoder.conv_out.bias", 0, 0, FX_INT64, "\"decoder.conv_out.bias\" is I64" },
};

static void broken_checkpoints_are_refused(void **state)
{
    (void)state;
    char path[FX_PATH];
    need_device();
    for (size_t i = 0; i < BL_COUNT(broken); i++) {
        const char *what = broken[i].what;
        bl_model *m = (bl_model *)1;
        int failed = 0;
        variant(broken[i].deed == TENSOR ? &(fx_options){ .tensor = what, .damage = (fx_damage)broken[i].how } : NULL);
        switch (broken[i].deed) {
        case GONE: failed = unlink(fx_path(path, other, what)); break;
        case TEXT: failed = fx_write_text(other, what, broken[i].value); break;
        case SET: failed = fx_set(other, what, broken[i].key, broken[i].value); break;
        case CUT: failed = fx_truncate(other, what, broken[i].how); break;
        case PICKLE: failed = unlink(fx_path(path, other, what)) || fx_write_text(other, broken[i].key, "x"); break;
        case TENSOR: break;
        }
        assert_int_equal(failed, 0);
        bl_fail(BL_ERROR_USAGE, "stale");
        const bl_result r = bl_model_open(context, other, &m);
        if (r != BL_ERROR_MODEL || !strstr(bl_last_error(), broken[i].message) || strncmp(bl_last_error(), other, strlen(other)))
            fail_msg("row %zu, %s: %s, \"%s\" lacks \"%s\"", i, what, bl_result_name(r), bl_last_error(), broken[i].message);
        assert_null(m);
    }
}

static void no_folder_is_no_checkpoint(void **state)
{
    (void)state;
    static const struct { const char *file, *message; } cases[] = {
        { "nowhere", "nowhere: no such folder" },
        { "good/unet/config.json", "config.json: is a JSON text, not a safetensors file" },
        { "good/tokenizer", "tokenizer/text_encoder/config.json is missing" },
    };
    char path[FX_PATH];
    bl_model *m = NULL;
    need_device();
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        assert_int_equal(bl_model_open(context, fx_path(path, root, cases[i].file), &m), BL_ERROR_MODEL);
        if (!strstr(bl_last_error(), cases[i].message))
            fail_msg("\"%s\" lacks \"%s\"", bl_last_error(), cases[i].message);
        assert_null(m);
    }
    assert_int_equal(bl_model_open(context, "", &m), BL_ERROR_MODEL);
}

/* Found only when it runs. */
static void models_that_cannot_generate(void **state)
{
    (void)state;
    static const struct { fx_options o; bl_result r; const char *message, *scheduler; } cases[] = {
        { { .vocabulary = 500 }, BL_ERROR_MODEL, "is outside the text encoder's vocabulary of 500", NULL },
        { { .tensor = "conv_in.weight", .damage = FX_NAN }, BL_ERROR_MODEL, "the latents are not finite after step 1 of 2", NULL },
        { { .tensor = "text_model.final_layer_norm.bias", .damage = FX_NAN }, BL_ERROR_MODEL, "the text embedding is not finite", NULL },
        { { .tensor = "decoder.conv_in.weight", .damage = FX_NAN }, BL_ERROR_MODEL, "the picture has values that are not finite", NULL },
        { { .tensor = "decoder.conv_out.weight", .damage = FX_FLAT }, BL_ERROR_OUTPUT, "the picture is one flat colour", NULL },
        { { .scheduler = "HeunDiscreteScheduler" }, BL_ERROR_MODEL, "\"HeunDiscreteScheduler\" is not known", "ddim" },
    };
    need_device();
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_model *m = NULL;
        bl_generate_result out;
        bl_generate_options o = options(2, 7);
        assert_int_equal(bl_model_open(context, variant(&cases[i].o), &m), BL_OK);
        memset(&out, 0xff, sizeof(out));
        const bl_result r = bl_generate(m, &o, &out);
        if (r != cases[i].r || !strstr(bl_last_error(), cases[i].message))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        assert_true(zeroed(&out));
        o.scheduler = cases[i].scheduler;
        if (o.scheduler) {
            assert_int_equal(bl_generate(m, &o, &out), BL_OK);
            bl_generate_result_free(&out);
        }
        bl_model_close(&m);
    }
}

/* --- memory ------------------------------------------------------------------------------------------------------------- */

/* Open, generate, close with the n-th allocation failing; `opened` (may be NULL) gets the allocations of opening. */
static bl_result run_limited(int n, const bl_generate_options *o, int *opened)
{
    bl_context *c = NULL;
    bl_model *m = NULL;
    bl_generate_result out;
    const int before = alive;
    memset(&out, 0, sizeof(out));
    allocations = 0;
    fail_at = n;
    bl_fail(BL_ERROR_USAGE, "stale");
    bl_result r = o ? BL_OK : open_context(NULL, BL_PRECISION_F32, &c);
    if (!o)
        assert_true((r == BL_OK) == (c != NULL));
    if (o) {
        r = bl_model_open(context, good, &m);
        assert_true((r == BL_OK) == (m != NULL));
        if (opened)
            *opened = allocations;
    }
    if (r == BL_OK && o) {
        memset(&out, 0xff, sizeof(out));
        r = bl_generate(m, o, &out);
        assert_true(r == BL_OK || zeroed(&out));
    }
    if (r != BL_OK && (r != BL_ERROR_MEMORY || !*bl_last_error() || !strcmp(bl_last_error(), "stale")))
        fail_msg("allocation %d failing gives %s: %s", n, bl_result_name(r), bl_last_error());
    bl_generate_result_free(&out);
    bl_model_close(&m);
    bl_context_destroy(&c);
    if (alive != before)
        fail_msg("allocation %d failing leaves %d behind", n, alive - before);
    return r;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    bl_generate_options o = options(2, 7);
    int opened = 0, n;
    need_device();
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    o.mask = &spot_mask;
    o.strength = 1;
    bl_generate_result r = make(context, good, o); /* the kernels of the context are there before it counts */
    bl_memory = (bl_memory_api){ limited_resize, counted_release };
    assert_int_equal(run_limited(0, &o, &opened), BL_OK);
    const int total = allocations;
    assert_true(opened > 100 && total > opened + 100);
    for (n = 1; n <= opened; n += n < 60 ? 1 : opened / 100) /* opening is cheap */
        assert_int_equal(run_limited(n, &o, NULL), BL_ERROR_MEMORY);
    for (n = opened + 1; n <= total; n += BL_MAX((total - opened) / 40, 1))
        assert_int_equal(run_limited(n, &o, NULL), BL_ERROR_MEMORY);
    for (n = total - 12; n <= total; n++) /* the picture and its parameters */
        assert_int_equal(run_limited(n, &o, NULL), BL_ERROR_MEMORY);
    assert_int_equal(run_limited(total + 1, &o, NULL), BL_OK);
    for (n = 1; run_limited(n, NULL, NULL) != BL_OK; n++) /* a context alone */
        assert_true(n < 1000);
    assert_true(n > 2);
    bl_memory = before;
    assert_true(distance(&r.image, context, good, o) == 0); /* nothing that failed left a trace */
    bl_generate_result_free(&r);
}

/* Tensors of a golden file that stages index by each other's shapes: sizes that do not follow are refused before anything is read. */
static void golden_files_are_checked(void **state)
{
    (void)state;
    need_device();
#define T(n, type, ...) { .name = n, .dtype = type, .rank = sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, .dims = { __VA_ARGS__ } }
    static const struct { const char *what; bl_result expected; st_tensor t[5]; st_metadata m[2]; } cases[] = {
        { "nothing could be compared", BL_ERROR_MISMATCH, { T("stranger", "F32", 3) }, { { 0 } } },
        { "tensor \"noise\" has 7 values", BL_ERROR_INPUT, { T("image_u8", "U8", 64, 64, 3), T("mean", "F32", 1),
          T("latents_scaled", "F32", 1), T("noise", "F32", 7) }, { { 0 } } },
        { "tensor \"latents_scaled\" has 1 values", BL_ERROR_INPUT, { T("image_u8", "U8", 64, 64, 3), T("mean", "F32", 1),
          T("latents_scaled", "F32", 1) }, { { 0 } } },
        { "image_u8 is not [h,w,3]", BL_ERROR_INPUT, { T("image_u8", "U8", 64, 64, 4), T("mean", "F32", 1), T("latents_scaled", "F32", 1) },
          { { 0 } } },
        { "latents is not [n,c,h,w]", BL_ERROR_INPUT, { T("emb", "F32", 1, 77, 16), T("latents", "F32", 16), T("eps.t1", "F32", 16) },
          { { 0 } } },
        { "2 latents of 4 channels for 1 embeddings", BL_ERROR_INPUT, { T("emb", "F32", 1, 77, 16), T("latents", "F32", 2, 4, 8, 8),
          T("eps.t1", "F32", 2, 4, 8, 8) }, { { 0 } } },
        { "x0 and noise are not [1,c,h,w]", BL_ERROR_INPUT, { T("alphas_cumprod", "F64", 1000), T("x0", "F32", 2, 4, 8, 8),
          T("noise", "F32", 2, 4, 8, 8) }, { { 0 } } },
        { "x0 is not [1,4,h,w]", BL_ERROR_INPUT, { T("x0", "F32", 1, 3, 8, 8) }, { { "guidance_scale", "7.5" }, { "prompt", "x" } } },
        { "differ", BL_ERROR_MISMATCH, { T("silu.x", "F32", 3, 4), T("silu.y", "F32", 5, 4) }, { { 0 } } },
        { "attention: ", BL_ERROR_USAGE, { T("attn_a.q", "F32", 2, 4, 4), T("attn_a.k", "F32", 2, 4, 4), T("attn_a.v", "F32", 3, 4, 4),
          T("attn_a.y", "F32", 0, 4, 4) }, { { 0 } } },
    };
#undef T
    char path[96];
    snprintf(path, sizeof(path), "%s/golden.safetensors", root);
    const char *files[] = { path };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_verify_options o = BL_VERIFY_OPTIONS_INIT;
        bl_verify_summary summary;
        size_t tensors = 0, entries = 0;
        while (tensors < BL_COUNT(cases[i].t) && cases[i].t[tensors].name)
            tensors++;
        while (entries < BL_COUNT(cases[i].m) && cases[i].m[entries].key)
            entries++;
        assert_int_equal(st_write(path, cases[i].t, tensors, cases[i].m, entries), 0);
        o.model_dir = good;
        o.files = files;
        o.file_count = 1;
        const bl_result r = bl_verify(context, &o, &summary);
        if (r != cases[i].expected || !strstr(bl_last_error(), cases[i].what))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].what);
    }
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_checkpoints_are_refused), cmocka_unit_test(no_folder_is_no_checkpoint),
        cmocka_unit_test(models_that_cannot_generate), cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(golden_files_are_checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
