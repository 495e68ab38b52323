/* Layer 4. */
#include "config.h"
#include "json.h"
#include "params.h"
#include <stdio.h>
#include <string.h>

static const size_t MAX_CONFIG = 1 << 20;

static bl_result read_object(const char *path, json_t **out)
{
    const bl_result r = bl_json_read(path, MAX_CONFIG, BL_ERROR_MODEL, out);
    return r == BL_OK && !json_is_object(*out) ? bl_fail(BL_ERROR_MODEL, "%s: not a JSON object", path) : r;
}

/* Refuses a member that is there, not null and not `harmless` (a JSON text). */
static bl_result refuse(const json_t *o, const char *path, const char *key, const char *harmless)
{
    const json_t *v = json_object_get(o, key);
    json_t *ok = harmless ? json_loads(harmless, JSON_DECODE_ANY, NULL) : NULL;
    const bool fine = !v || json_is_null(v) || (ok && json_equal(v, ok));
    json_decref(ok);
    return fine ? BL_OK : bl_fail(BL_ERROR_MODEL, "%s: \"%s\" is set, which is not supported", path, key);
}

/* A list of `count` numbers, or one number for all. */
static bl_result read_levels(const json_t *o, const char *path, const char *key, uint32_t min, uint32_t max, uint32_t *out, uint32_t *count)
{
    const json_t *v = json_object_get(o, key);
    if (*count && json_is_integer(v)) {
        uint32_t one;
        const bl_result r = bl_json_u32(o, path, key, min, max, 0, &one);
        for (uint32_t i = 0; i < *count && r == BL_OK; i++)
            out[i] = one;
        return r;
    }
    if (!json_is_array(v) || json_array_size(v) < 1 || json_array_size(v) > BL_MAX_LEVELS || (*count && json_array_size(v) != *count))
        return bl_fail(BL_ERROR_MODEL, "%s: \"%s\" is not a list of %s%u numbers", path, key, *count ? "" : "1 to ",
                       *count ? *count : BL_MAX_LEVELS);
    *count = (uint32_t)json_array_size(v);
    for (uint32_t i = 0; i < *count; i++) {
        const json_t *e = json_array_get(v, i);
        if (!json_is_integer(e) || json_integer_value(e) < min || json_integer_value(e) > max)
            return bl_fail(BL_ERROR_MODEL, "%s: \"%s\"[%u] is not a whole number from %u to %u", path, key, i, min, max);
        out[i] = (uint32_t)json_integer_value(e);
    }
    return BL_OK;
}

/* Block types: true for `with`, false for `without`; anything else is refused. */
static bl_result read_blocks(const json_t *o, const char *path, const char *key, const char *with, const char *without, uint32_t count,
                             bool *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_array(v) || json_array_size(v) != count)
        return bl_fail(BL_ERROR_MODEL, "%s: \"%s\" is not a list of %u blocks", path, key, count);
    for (uint32_t i = 0; i < count; i++) {
        const char *type = json_string_value(json_array_get(v, i));
        const bool is_with = type && with && !strcmp(type, with), is_without = type && !strcmp(type, without);
        if (!is_with && !is_without)
            return bl_fail(BL_ERROR_MODEL, "%s: block type \"%.60s\" is not supported", path, type ? type : "?");
        out[i] = is_with;
    }
    return BL_OK;
}

static bl_result check_groups(const char *path, const uint32_t *channels, uint32_t levels, uint32_t groups)
{
    for (uint32_t i = 0; i < levels; i++)
        if (channels[i] % groups || channels[i] % 4)
            return bl_fail(BL_ERROR_MODEL, "%s: %u channels in %u groups", path, channels[i], groups);
    return BL_OK;
}

bl_result bl_unet_config_parse(const json_t *o, const char *path, bl_unet_config *c)
{
    bl_result result = BL_OK;
    double eps;
    const char *text;
    *c = (bl_unet_config){ 0 };
    static const struct { const char *key, *harmless; } refused[] = {
        { "class_embed_type", NULL }, { "addition_embed_type", NULL }, { "encoder_hid_dim", NULL }, { "encoder_hid_dim_type", NULL },
        { "time_cond_proj_dim", NULL }, { "timestep_post_act", NULL }, { "time_embedding_act_fn", NULL }, { "num_class_embeds", NULL },
        { "center_input_sample", "false" }, { "dual_cross_attention", "false" }, { "only_cross_attention", "false" },
        { "mid_block_only_cross_attention", "false" }, { "resnet_time_scale_shift", "\"default\"" }, { "cross_attention_norm", NULL },
        { "transformer_layers_per_block", "1" }, { "conv_in_kernel", "3" }, { "conv_out_kernel", "3" }, { "act_fn", "\"silu\"" },
        { "flip_sin_to_cos", "true" }, { "freq_shift", "0" }, { "downsample_padding", "1" }, { "time_embedding_type", "\"positional\"" },
        { "time_embedding_dim", NULL }, { "resnet_skip_time_act", "false" }, { "class_embeddings_concat", "false" },
        { "attention_type", "\"default\"" }, { "mid_block_type", "\"UNetMidBlock2DCrossAttn\"" },
    };
    for (size_t i = 0; i < BL_COUNT(refused); i++)
        BL_TRY(refuse(o, path, refused[i].key, refused[i].harmless));
    BL_TRY(bl_json_text(o, path, "_class_name", "UNet2DConditionModel", &text));
    if (strcmp(text, "UNet2DConditionModel"))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: a %.60s is not a U-Net of Stable Diffusion 1.x or 2.x", path, text));
    BL_TRY(bl_json_u32(o, path, "in_channels", 1, 64, 4, &c->in_channels));
    BL_TRY(bl_json_u32(o, path, "out_channels", 1, 64, 4, &c->out_channels));
    if (c->in_channels != c->out_channels)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: %u input channels for %u latents: inpainting and depth variants are not supported", path,
                       c->in_channels, c->out_channels));
    BL_TRY(read_levels(o, path, "block_out_channels", 4, 16384, c->channels, &c->levels));
    BL_TRY(read_blocks(o, path, "down_block_types", "CrossAttnDownBlock2D", "DownBlock2D", c->levels, c->down_attention));
    BL_TRY(read_blocks(o, path, "up_block_types", "CrossAttnUpBlock2D", "UpBlock2D", c->levels, c->up_attention));
    /* diffusers named the number of heads attention_head_dim; num_attention_heads wins where it is set */
    const char *heads = json_is_null(json_object_get(o, "num_attention_heads")) || !json_object_get(o, "num_attention_heads")
        ? "attention_head_dim" : "num_attention_heads";
    BL_TRY(read_levels(o, path, heads, 1, 1024, c->heads, &c->levels));
    for (uint32_t i = 0; i < c->levels; i++)
        if (c->channels[i] % c->heads[i])
            BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: %u channels for %u heads", path, c->channels[i], c->heads[i]));
    BL_TRY(bl_json_u32(o, path, "layers_per_block", 1, 16, 2, &c->layers));
    BL_TRY(bl_json_u32(o, path, "cross_attention_dim", 4, 16384, 1280, &c->context));
    BL_TRY(bl_json_u32(o, path, "norm_num_groups", 1, 1024, 32, &c->groups));
    BL_TRY(bl_json_f64(o, path, "norm_eps", 1e-5, &eps));
    BL_TRY(bl_json_bool(o, path, "use_linear_projection", false, &c->linear_projection));
    BL_TRY(bl_json_u32(o, path, "sample_size", 1, 1024, 64, &c->sample_size));
    BL_TRY(check_groups(path, c->channels, c->levels, c->groups));
    if (c->context % 4 || c->in_channels % 4)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: context of %u and latents of %u channels", path, c->context, c->in_channels));
    c->eps = (float)eps;
fail:
    return result;
}

/* AutoencoderTiny */
static bl_result parse_taesd(const json_t *o, const char *path, bl_vae_config *c)
{
    bl_result result = BL_OK;
    double scaling, shift;
    uint32_t up[BL_MAX_LEVELS];
    c->tiny = true;
    BL_TRY(refuse(o, path, "act_fn", "\"relu\""));
    BL_TRY(refuse(o, path, "upsample_fn", "\"nearest\""));
    BL_TRY(refuse(o, path, "upsampling_scaling_factor", "2"));
    BL_TRY(bl_json_u32(o, path, "in_channels", 3, 3, 3, &c->in_channels));
    BL_TRY(bl_json_u32(o, path, "latent_channels", 4, 64, 4, &c->latent_channels));
    BL_TRY(read_levels(o, path, "encoder_block_out_channels", 4, 16384, c->channels, &c->levels));
    BL_TRY(read_levels(o, path, "decoder_block_out_channels", 4, 16384, up, &c->levels));
    BL_TRY(read_levels(o, path, "num_encoder_blocks", 0, 16, c->encoder_blocks, &c->levels));
    BL_TRY(read_levels(o, path, "num_decoder_blocks", 0, 16, c->decoder_blocks, &c->levels));
    BL_TRY(bl_json_f64(o, path, "scaling_factor", 1, &scaling));
    BL_TRY(bl_json_f64(o, path, "shift_factor", 0, &shift));
    for (uint32_t i = 0; i < c->levels; i++)
        if (c->channels[i] != c->channels[0] || up[i] != c->channels[0] || up[i] % 4)
            BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: %u and %u channels: a tiny autoencoder has the same everywhere, a multiple of 4", path,
                           c->channels[i], up[i]));
    if (!(scaling > 1e-6 && scaling < 1e6) || shift != 0 || c->latent_channels % 4)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: scaling_factor %g, shift_factor %g, %u latent channels", path, scaling, shift,
                       c->latent_channels));
    c->scaling = (float)scaling;
fail:
    return result;
}

bl_result bl_vae_config_parse(const json_t *o, const char *path, bl_vae_config *c)
{
    bl_result result = BL_OK;
    bool ignored[BL_MAX_LEVELS];
    double scaling;
    const char *text;
    *c = (bl_vae_config){ 0 };
    BL_TRY(bl_json_text(o, path, "_class_name", "AutoencoderKL", &text));
    if (!strcmp(text, "AutoencoderTiny"))
        return parse_taesd(o, path, c);
    if (strcmp(text, "AutoencoderKL"))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: a %.60s is not an autoencoder of Stable Diffusion", path, text));
    BL_TRY(refuse(o, path, "act_fn", "\"silu\""));
    BL_TRY(refuse(o, path, "shift_factor", NULL));
    BL_TRY(bl_json_u32(o, path, "in_channels", 3, 3, 3, &c->in_channels));
    BL_TRY(bl_json_u32(o, path, "latent_channels", 4, 64, 4, &c->latent_channels));
    BL_TRY(read_levels(o, path, "block_out_channels", 4, 16384, c->channels, &c->levels));
    BL_TRY(read_blocks(o, path, "down_block_types", NULL, "DownEncoderBlock2D", c->levels, ignored));
    BL_TRY(read_blocks(o, path, "up_block_types", NULL, "UpDecoderBlock2D", c->levels, ignored));
    BL_TRY(bl_json_u32(o, path, "layers_per_block", 1, 16, 2, &c->layers));
    BL_TRY(bl_json_u32(o, path, "norm_num_groups", 1, 1024, 32, &c->groups));
    BL_TRY(bl_json_f64(o, path, "scaling_factor", 0.18215, &scaling));
    if (!(scaling > 1e-6 && scaling < 1e6) || c->latent_channels % 4)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: scaling_factor %g, %u latent channels", path, scaling, c->latent_channels));
    BL_TRY(check_groups(path, c->channels, c->levels, c->groups));
    c->scaling = (float)scaling;
fail:
    return result;
}

/* "quick_gelu" or "gelu". */
static bl_result read_activation(const json_t *o, const char *path, uint32_t *act)
{
    const char *text;
    const bl_result result = bl_json_text(o, path, "hidden_act", "quick_gelu", &text);
    if (result != BL_OK)
        return result;
    *act = !strcmp(text, "quick_gelu") ? ACT_QUICK_GELU : !strcmp(text, "gelu") ? ACT_GELU : ACT_NONE;
    return *act != ACT_NONE ? BL_OK : bl_fail(BL_ERROR_MODEL, "%s: activation \"%.40s\" is not supported", path, text);
}

bl_result bl_text_config_parse(const json_t *o, const char *path, bl_text_config *c)
{
    bl_result result = BL_OK;
    double eps;
    const char *type;
    *c = (bl_text_config){ 0 };
    BL_TRY(bl_json_text(o, path, "model_type", "clip_text_model", &type));
    if (strcmp(type, "clip_text_model"))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: a %.60s is not a CLIP text encoder", path, type));
    BL_TRY(bl_json_u32(o, path, "hidden_size", 4, 16384, 512, &c->channels));
    BL_TRY(bl_json_u32(o, path, "intermediate_size", 4, 65536, 2048, &c->intermediate));
    BL_TRY(bl_json_u32(o, path, "num_hidden_layers", 1, 128, 12, &c->layers));
    BL_TRY(bl_json_u32(o, path, "num_attention_heads", 1, 1024, 8, &c->heads));
    BL_TRY(bl_json_u32(o, path, "max_position_embeddings", 2, 4096, 77, &c->positions));
    BL_TRY(bl_json_u32(o, path, "vocab_size", 2, 1 << 20, 49408, &c->vocabulary));
    BL_TRY(bl_json_f64(o, path, "layer_norm_eps", 1e-5, &eps));
    BL_TRY(read_activation(o, path, &c->act));
    if (c->channels % c->heads || c->channels % 4 || c->intermediate % 4)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: %u channels for %u heads", path, c->channels, c->heads));
    c->eps = (float)eps;
fail:
    return result;
}

/* The file's object through a parser of it. */
#define READ(name, config) \
    bl_result name##_read(const char *path, config *c) \
    { \
        json_t *o = NULL; \
        *c = (config){ 0 }; \
        bl_result result = read_object(path, &o); \
        if (result == BL_OK) \
            result = name##_parse(o, path, c); \
        json_decref(o); \
        return result; \
    }
READ(bl_unet_config, bl_unet_config)
READ(bl_vae_config, bl_vae_config)
READ(bl_text_config, bl_text_config)

static bl_result read_vision(const json_t *o, const char *path, bl_clip_config *c)
{
    bl_result result = BL_OK;
    double eps;
    uint32_t channels;
    const char *type;
    BL_TRY(bl_json_text(o, path, "model_type", "clip_vision_model", &type));
    if (strcmp(type, "clip_vision_model"))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: a %.60s is not a CLIP image encoder", path, type));
    BL_TRY(bl_json_u32(o, path, "hidden_size", 4, 16384, 768, &c->channels));
    BL_TRY(bl_json_u32(o, path, "intermediate_size", 4, 65536, 3072, &c->intermediate));
    BL_TRY(bl_json_u32(o, path, "num_hidden_layers", 1, 128, 12, &c->layers));
    BL_TRY(bl_json_u32(o, path, "num_attention_heads", 1, 1024, 12, &c->heads));
    BL_TRY(bl_json_u32(o, path, "num_channels", 3, 3, 3, &channels));
    BL_TRY(bl_json_u32(o, path, "image_size", 8, 1024, 224, &c->size));
    BL_TRY(bl_json_u32(o, path, "patch_size", 2, 256, 32, &c->patch));
    BL_TRY(bl_json_f64(o, path, "layer_norm_eps", 1e-5, &eps));
    BL_TRY(read_activation(o, path, &c->act));
    if (c->channels % c->heads || c->channels % 4 || c->intermediate % 4)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: %u channels for %u heads", path, c->channels, c->heads));
    if (c->size % c->patch || c->size / c->patch > 64)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: a picture of %u pixels in patches of %u", path, c->size, c->patch));
    c->eps = (float)eps;
fail:
    return result;
}

bl_result bl_clip_config_read(const char *path, bl_clip_config *c)
{
    static const char *const parts[] = { "text_config", "vision_config" };
    bl_result result = BL_OK;
    json_t *o = NULL;
    const char *type;
    uint32_t end;
    char where[2][512];
    *c = (bl_clip_config){ 0 };
    BL_TRY(read_object(path, &o));
    BL_TRY(bl_json_text(o, path, "model_type", "clip", &type));
    if (strcmp(type, "clip"))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: a %.60s is not a CLIP model with both towers", path, type));
    for (size_t i = 0; i < BL_COUNT(parts); i++) {
        if (!json_is_object(json_object_get(o, parts[i])))
            BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: \"%s\" is missing or not an object", path, parts[i]));
        snprintf(where[i], sizeof(where[i]), "%.490s: %s", path, parts[i]);
    }
    const json_t *text = json_object_get(o, parts[0]);
    BL_TRY(bl_text_config_parse(text, where[0], &c->text));
    BL_TRY(read_vision(json_object_get(o, parts[1]), where[1], c));
    BL_TRY(bl_json_u32(o, path, "projection_dim", 4, 16384, 512, &c->projection));
    if (c->projection % 4)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: features of %u channels", path, c->projection));
    /* OpenAI's models were first published with 2 here, which no text has; then it is the highest id, in transformers too */
    BL_TRY(bl_json_u32(text, where[0], "eos_token_id", 0, 1 << 20, 2, &end));
    c->end = end == 2 ? -1 : (int32_t)end;
fail:
    json_decref(o);
    return result;
}
