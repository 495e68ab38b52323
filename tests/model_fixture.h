/* A complete but tiny Stable Diffusion checkpoint in diffusers layout, made of seeded numbers, for tests. Static functions only.
 *
 * Pictures are multiples of 4 pixels, 64 x 64 by default; prompts have up to 16 tokens of the vocabulary in data/tokenizer. Every value has
 * at most 7 significant bits, so that F32, F16 and BF16 files hold the same numbers; a tensor's values depend on its name alone, so that
 * variants of the layout (legacy names, linear projections) are the same model. */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H
#include "base.h"
#include "half.h"
#include "safetensors_writer.h"
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FX_TEXT = 16, FX_MLP = 32, FX_TEXT_LAYERS = 2, FX_POSITIONS = 16, FX_VOCABULARY = 586, FX_LEVELS = 2, FX_LAYERS = 1, FX_LATENT = 4,
    FX_VISION = 20, FX_IMAGE = 24, FX_PATCH = 6, FX_PROJECTION = 12, FX_PATH = 256, FX_NAME = 160, FX_TENSORS = 256,
};
static const uint32_t fx_unet_levels[FX_LEVELS] = { 16, 32 }, fx_vae_levels[FX_LEVELS] = { 8, 16 };

#define FX_TEXT_WEIGHTS "text_encoder/model.safetensors"
#define FX_UNET_WEIGHTS "unet/diffusion_pytorch_model.safetensors"
#define FX_VAE_WEIGHTS "vae/diffusion_pytorch_model.safetensors"

/* What happens to one tensor. RESHAPE: 4 more rows; FLAT: all 0; HUGE, NAN: one value of 1e6, or not a number. */
typedef enum fx_damage { FX_NONE, FX_DROP, FX_RESHAPE, FX_INT64, FX_FLAT, FX_HUGE, FX_NAN } fx_damage;

typedef struct fx_options {
    const char *dtype;      /* "F32", also for NULL, "F16" or "BF16" */
    bool legacy_vae;        /* attention named query, key, value, proj_attn */
    bool linear_projection; /* proj_in and proj_out are matrices */
    bool v_prediction;
    bool published;         /* four times as wide, with groups, heads and scaling as all published checkpoints have them */
    const char *scheduler;  /* class; NULL: DDIMScheduler */
    uint32_t vocabulary;    /* entries of the text encoder; 0: as many as the tokenizer has */
    const char *tensor;     /* the one that `damage` is done to, by its present-day name */
    fx_damage damage;
} fx_options;

static inline uint32_t fx_wide(const fx_options *o, uint32_t channels) { return o->published ? 4 * channels : channels; }

/* --- tensors ------------------------------------------------------------------------------------------------------------ */

typedef enum fx_fill { FX_WEIGHT, FX_BIAS, FX_SCALE } fx_fill;

typedef struct fx_part {
    const fx_options *o;
    st_tensor tensors[FX_TENSORS];
    char names[FX_TENSORS][FX_NAME];
    size_t count;
    bool failed;
} fx_part;

static inline void fx_rename(char *name, const char *from, const char *to)
{
    char *at = strstr(name, from), rest[FX_NAME];
    if (!at)
        return;
    snprintf(rest, sizeof(rest), "%s", at + strlen(from));
    snprintf(at, (size_t)(name + FX_NAME - at), "%s%s", to, rest);
}

static inline void fx_store(void *data, size_t i, const char *dtype, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    const uint16_t half = dtype[0] == 'B' ? (uint16_t)(bits >> 16) : bl_half_from_float(v);
    if (strstr(dtype, "16"))
        memcpy((char *)data + 2 * i, &half, sizeof(half));
    else
        memcpy((char *)data + 4 * i, &v, sizeof(v));
}

static inline void fx_tensor(fx_part *p, fx_fill fill, const uint64_t *dims, uint32_t rank, const char *name)
{
    const fx_options *o = p->o;
    const fx_damage damage = o->tensor && !strcmp(o->tensor, name) ? o->damage : FX_NONE;
    if (damage == FX_DROP)
        return;
    if (p->count == FX_TENSORS) {
        p->failed = true;
        return;
    }
    st_tensor *t = &p->tensors[p->count];
    *t = (st_tensor){ .name = p->names[p->count], .dtype = damage == FX_INT64 ? "I64" : o->dtype ? o->dtype : "F32", .rank = rank };
    uint32_t random = 2166136261u; /* FNV-1a of the name seeds the numbers */
    for (const char *c = name; *c; c++)
        random = (random ^ (uint8_t)*c) * 16777619u;
    uint64_t values = 1, fan_in = 1;
    for (uint32_t i = 0; i < rank; i++) {
        t->dims[i] = dims[i] + (!i && damage == FX_RESHAPE ? 4 : 0);
        values *= t->dims[i];
        fan_in *= i ? dims[i] : 1;
    }
    const int exponent = fill == FX_WEIGHT ? (int)lround(log2(1.7 / sqrt((double)fan_in))) : -2;
    void *data = calloc(values, 8);
    t->data = data;
    for (uint64_t i = 0; data && damage != FX_INT64 && damage != FX_FLAT && i < values; i++) {
        random = random * 1664525u + 1013904223u;
        const float v = ldexpf((float)((int32_t)(random >> 8) % 63 - 31) / 32, exponent);
        fx_store(data, i, t->dtype, fill == FX_SCALE ? 1 + (float)((int32_t)(random >> 8) % 31 - 15) / 64 : v);
    }
    if (data && (damage == FX_HUGE || damage == FX_NAN))
        fx_store(data, values / 2, t->dtype, damage == FX_HUGE ? 1e6f : NAN);
    snprintf(p->names[p->count], FX_NAME, "%s", name);
    if (o->legacy_vae && (!strncmp(name, "encoder.", 8) || !strncmp(name, "decoder.", 8))) {
        fx_rename(p->names[p->count], ".to_q.", ".query.");
        fx_rename(p->names[p->count], ".to_k.", ".key.");
        fx_rename(p->names[p->count], ".to_v.", ".value.");
        fx_rename(p->names[p->count], ".to_out.0.", ".proj_attn.");
    }
    p->failed |= !data;
    p->count++;
}

typedef struct fx_name {
    char text[FX_NAME];
} fx_name;

BL_PRINTF(1, 2) static inline fx_name fx_at(const char *fmt, ...)
{
    fx_name n;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(n.text, sizeof(n.text), fmt, ap);
    va_end(ap);
    return n;
}

/* A matrix when `kernel` is 0, else a convolution. */
static inline void fx_layer(fx_part *p, const char *name, uint32_t out, uint32_t in, uint32_t kernel, bool bias)
{
    fx_tensor(p, FX_WEIGHT, (const uint64_t[]){ out, in, kernel, kernel }, kernel ? 4 : 2, fx_at("%s.weight", name).text);
    if (bias)
        fx_tensor(p, FX_BIAS, (const uint64_t[]){ out }, 1, fx_at("%s.bias", name).text);
}

static inline void fx_norm(fx_part *p, const char *name, uint32_t channels)
{
    fx_tensor(p, FX_SCALE, (const uint64_t[]){ channels }, 1, fx_at("%s.weight", name).text);
    fx_tensor(p, FX_BIAS, (const uint64_t[]){ channels }, 1, fx_at("%s.bias", name).text);
}

/* `emb`: channels of the time embedding, 0 without. */
static inline void fx_resnet(fx_part *p, const char *name, uint32_t in, uint32_t out, uint32_t emb)
{
    fx_norm(p, fx_at("%s.norm1", name).text, in);
    fx_layer(p, fx_at("%s.conv1", name).text, out, in, 3, true);
    if (emb)
        fx_layer(p, fx_at("%s.time_emb_proj", name).text, out, emb, 0, true);
    fx_norm(p, fx_at("%s.norm2", name).text, out);
    fx_layer(p, fx_at("%s.conv2", name).text, out, out, 3, true);
    if (in != out)
        fx_layer(p, fx_at("%s.conv_shortcut", name).text, out, in, 1, true);
}

/* --- networks ----------------------------------------------------------------------------------------------------------- */

static inline void fx_encoder(fx_part *p, const char *name, uint32_t c)
{
    static const char *const qkvo[] = { "q_proj", "k_proj", "v_proj", "out_proj" };
    for (uint32_t i = 0; i < FX_TEXT_LAYERS; i++) {
        const fx_name layer = fx_at("%s.encoder.layers.%u", name, i);
        fx_norm(p, fx_at("%.60s.layer_norm1", layer.text).text, c);
        for (size_t k = 0; k < 4; k++)
            fx_layer(p, fx_at("%.60s.self_attn.%s", layer.text, qkvo[k]).text, c, c, 0, true);
        fx_norm(p, fx_at("%.60s.layer_norm2", layer.text).text, c);
        fx_layer(p, fx_at("%.60s.mlp.fc1", layer.text).text, FX_MLP, c, 0, true);
        fx_layer(p, fx_at("%.60s.mlp.fc2", layer.text).text, c, FX_MLP, 0, true);
    }
}

static inline void fx_text_tensors(fx_part *p)
{
    const uint64_t tokens = p->o->vocabulary ? p->o->vocabulary : FX_VOCABULARY;
    fx_tensor(p, FX_WEIGHT, (const uint64_t[]){ tokens, fx_wide(p->o, FX_TEXT) }, 2, "text_model.embeddings.token_embedding.weight");
    fx_tensor(p, FX_WEIGHT, (const uint64_t[]){ FX_POSITIONS, fx_wide(p->o, FX_TEXT) }, 2,
              "text_model.embeddings.position_embedding.weight");
    fx_encoder(p, "text_model", fx_wide(p->o, FX_TEXT));
    fx_norm(p, "text_model.final_layer_norm", fx_wide(p->o, FX_TEXT));
    if (p->count < FX_TENSORS) { /* as in the published files; of no use to anybody */
        st_tensor *ids = &p->tensors[p->count++];
        *ids = (st_tensor){ .name = "text_model.embeddings.position_ids", .dtype = "I64", .rank = 2, .dims = { 1, FX_POSITIONS } };
    }
}

static inline void fx_clip_tensors(fx_part *p)
{
    const uint64_t places = (FX_IMAGE / FX_PATCH) * (FX_IMAGE / FX_PATCH) + 1;
    fx_text_tensors(p);
    fx_layer(p, "text_projection", FX_PROJECTION, FX_TEXT, 0, false);
    fx_tensor(p, FX_BIAS, (const uint64_t[]){ FX_VISION }, 1, "vision_model.embeddings.class_embedding");
    fx_tensor(p, FX_WEIGHT, (const uint64_t[]){ FX_VISION, 3, FX_PATCH, FX_PATCH }, 4, "vision_model.embeddings.patch_embedding.weight");
    fx_tensor(p, FX_WEIGHT, (const uint64_t[]){ places, FX_VISION }, 2, "vision_model.embeddings.position_embedding.weight");
    fx_norm(p, "vision_model.pre_layrnorm", FX_VISION);
    fx_encoder(p, "vision_model", FX_VISION);
    fx_norm(p, "vision_model.post_layernorm", FX_VISION);
    fx_layer(p, "visual_projection", FX_PROJECTION, FX_VISION, 0, false);
}

static inline void fx_transformer(fx_part *p, const char *name, uint32_t c)
{
    const fx_name block = fx_at("%.60s.transformer_blocks.0", name);
    const uint32_t projection = p->o->linear_projection ? 0 : 1;
    fx_norm(p, fx_at("%.60s.norm", name).text, c);
    fx_layer(p, fx_at("%.60s.proj_in", name).text, c, c, projection, true);
    for (uint32_t i = 1; i <= 2; i++) {
        const uint32_t source = i == 2 ? fx_wide(p->o, FX_TEXT) : c;
        fx_norm(p, fx_at("%.90s.norm%u", block.text, i).text, c);
        fx_layer(p, fx_at("%.90s.attn%u.to_q", block.text, i).text, c, c, 0, false);
        fx_layer(p, fx_at("%.90s.attn%u.to_k", block.text, i).text, c, source, 0, false);
        fx_layer(p, fx_at("%.90s.attn%u.to_v", block.text, i).text, c, source, 0, false);
        fx_layer(p, fx_at("%.90s.attn%u.to_out.0", block.text, i).text, c, c, 0, true);
    }
    fx_norm(p, fx_at("%.90s.norm3", block.text).text, c);
    fx_layer(p, fx_at("%.90s.ff.net.0.proj", block.text).text, 8 * c, c, 0, true);
    fx_layer(p, fx_at("%.90s.ff.net.2", block.text).text, c, 4 * c, 0, true);
    fx_layer(p, fx_at("%.60s.proj_out", name).text, c, c, projection, true);
}

/* Transformers at the first level and in the middle. */
static inline void fx_unet_tensors(fx_part *p)
{
    const uint32_t c[FX_LEVELS] = { fx_wide(p->o, fx_unet_levels[0]), fx_wide(p->o, fx_unet_levels[1]) };
    const uint32_t emb = 4 * c[0], last = FX_LEVELS - 1;
    uint32_t skips[2 * FX_LEVELS * FX_LAYERS + 1] = { c[0] }, skip_count = 1, h = c[0];
    fx_layer(p, "time_embedding.linear_1", emb, c[0], 0, true);
    fx_layer(p, "time_embedding.linear_2", emb, emb, 0, true);
    fx_layer(p, "conv_in", c[0], FX_LATENT, 3, true);
    for (uint32_t level = 0; level <= last; level++) {
        for (uint32_t i = 0; i < FX_LAYERS; i++) {
            fx_resnet(p, fx_at("down_blocks.%u.resnets.%u", level, i).text, h, c[level], emb);
            if (!level)
                fx_transformer(p, fx_at("down_blocks.%u.attentions.%u", level, i).text, c[level]);
            skips[skip_count++] = h = c[level];
        }
        if (level < last) {
            fx_layer(p, fx_at("down_blocks.%u.downsamplers.0.conv", level).text, h, h, 3, true);
            skips[skip_count++] = h;
        }
    }
    fx_resnet(p, "mid_block.resnets.0", h, h, emb);
    fx_transformer(p, "mid_block.attentions.0", h);
    fx_resnet(p, "mid_block.resnets.1", h, h, emb);
    for (uint32_t up = 0; up <= last; up++) {
        const uint32_t level = last - up;
        for (uint32_t i = 0; i <= FX_LAYERS; i++) {
            fx_resnet(p, fx_at("up_blocks.%u.resnets.%u", up, i).text, h + skips[--skip_count], c[level], emb);
            h = c[level];
            if (!level)
                fx_transformer(p, fx_at("up_blocks.%u.attentions.%u", up, i).text, h);
        }
        if (up < last)
            fx_layer(p, fx_at("up_blocks.%u.upsamplers.0.conv", up).text, h, h, 3, true);
    }
    fx_norm(p, "conv_norm_out", h);
    fx_layer(p, "conv_out", FX_LATENT, h, 3, true);
}

static inline void fx_vae_middle(fx_part *p, const char *part, uint32_t c)
{
    static const char *const names[] = { "to_q", "to_k", "to_v", "to_out.0" };
    fx_resnet(p, fx_at("%s.mid_block.resnets.0", part).text, c, c, 0);
    fx_norm(p, fx_at("%s.mid_block.attentions.0.group_norm", part).text, c);
    for (size_t i = 0; i < 4; i++)
        fx_layer(p, fx_at("%s.mid_block.attentions.0.%s", part, names[i]).text, c, c, 0, true);
    fx_resnet(p, fx_at("%s.mid_block.resnets.1", part).text, c, c, 0);
}

static inline void fx_vae_tensors(fx_part *p)
{
    const uint32_t c[FX_LEVELS] = { fx_wide(p->o, fx_vae_levels[0]), fx_wide(p->o, fx_vae_levels[1]) }, last = FX_LEVELS - 1;
    uint32_t h = c[0];
    fx_layer(p, "encoder.conv_in", h, 3, 3, true);
    for (uint32_t level = 0; level <= last; level++) {
        for (uint32_t i = 0; i < FX_LAYERS; i++, h = c[level])
            fx_resnet(p, fx_at("encoder.down_blocks.%u.resnets.%u", level, i).text, h, c[level], 0);
        if (level < last)
            fx_layer(p, fx_at("encoder.down_blocks.%u.downsamplers.0.conv", level).text, h, h, 3, true);
    }
    fx_vae_middle(p, "encoder", h);
    fx_norm(p, "encoder.conv_norm_out", h);
    fx_layer(p, "encoder.conv_out", 2 * FX_LATENT, h, 3, true);
    fx_layer(p, "quant_conv", 2 * FX_LATENT, 2 * FX_LATENT, 1, true);

    fx_layer(p, "post_quant_conv", FX_LATENT, FX_LATENT, 1, true);
    fx_layer(p, "decoder.conv_in", h, FX_LATENT, 3, true);
    fx_vae_middle(p, "decoder", h);
    for (uint32_t up = 0; up <= last; up++) {
        for (uint32_t i = 0; i <= FX_LAYERS; i++, h = c[last - up])
            fx_resnet(p, fx_at("decoder.up_blocks.%u.resnets.%u", up, i).text, h, c[last - up], 0);
        if (up < last)
            fx_layer(p, fx_at("decoder.up_blocks.%u.upsamplers.0.conv", up).text, h, h, 3, true);
    }
    fx_norm(p, "decoder.conv_norm_out", h);
    fx_layer(p, "decoder.conv_out", 3, h, 3, true);
}

/* --- files -------------------------------------------------------------------------------------------------------------- */

static const char *const fx_folders[] = { "tokenizer", "text_encoder", "unet", "vae", "scheduler" };

static inline const char *fx_path(char *path, const char *dir, const char *file)
{
    snprintf(path, FX_PATH, "%s/%s", dir, file);
    return path;
}

/* 0 on success, as all of these. */
static inline int fx_write_text(const char *dir, const char *file, const char *text)
{
    char path[FX_PATH];
    return st_save(fx_path(path, dir, file), text, strlen(text));
}

/* Sets a member of a JSON file to a JSON value; NULL removes it. */
static inline int fx_set(const char *dir, const char *file, const char *key, const char *value)
{
    char path[FX_PATH];
    json_t *object = json_load_file(fx_path(path, dir, file), 0, NULL);
    if (value)
        json_object_set_new(object, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(object, key);
    const int failed = (value && !json_object_get(object, key)) || json_dump_file(object, path, JSON_INDENT(2));
    json_decref(object);
    return failed;
}

static inline int fx_copy(const char *from, const char *dir, const char *file)
{
    char path[FX_PATH], data[16384];
    FILE *f = fopen(fx_path(path, from, strrchr(file, '/') + 1), "rb");
    const size_t n = f ? fread(data, 1, sizeof(data), f) : sizeof(data);
    if (f)
        fclose(f);
    return n == sizeof(data) || st_save(fx_path(path, dir, file), data, n);
}

/* Cuts a file to `size` bytes; negative: by that many. */
static inline int fx_truncate(const char *dir, const char *file, long size)
{
    char path[FX_PATH];
    struct stat s;
    return stat(fx_path(path, dir, file), &s) || truncate(path, size < 0 ? s.st_size + size : size);
}

static inline int fx_write_part(const char *dir, const char *file, const fx_options *o, void (*fill)(fx_part *))
{
    static const st_metadata metadata[] = { { "format", "pt" } };
    char path[FX_PATH];
    fx_part *p = calloc(1, sizeof(*p));
    if (!p)
        return -1;
    p->o = o;
    fill(p);
    const int failed = p->failed || st_write(fx_path(path, dir, file), p->tensors, p->count, metadata, 1);
    for (size_t i = 0; i < p->count; i++)
        free((void *)(uintptr_t)p->tensors[i].data);
    free(p);
    return failed;
}

/* Writes the checkpoint into the new folder `dir`. `tokenizer`: folder with the four files. */
static inline int fx_write(const char *dir, const char *tokenizer, const fx_options *options)
{
    static const fx_options defaults = { 0 };
    static const char *const files[] = { "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
                                         "tokenizer/special_tokens_map.json" };
    const fx_options *o = options ? options : &defaults;
    char path[FX_PATH], text[1024];
    int failed = mkdir(dir, 0700);
    for (size_t i = 0; i < BL_COUNT(fx_folders); i++)
        failed |= mkdir(fx_path(path, dir, fx_folders[i]), 0700);
    for (size_t i = 0; i < BL_COUNT(files); i++)
        failed |= fx_copy(tokenizer, dir, files[i]);
    snprintf(text, sizeof(text), "{\"model_type\":\"clip_text_model\",\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
             "\"num_attention_heads\":%d,\"max_position_embeddings\":%d,\"vocab_size\":%u,\"layer_norm_eps\":1e-5,"
             "\"hidden_act\":\"quick_gelu\"}", (int)fx_wide(o, FX_TEXT), FX_MLP, FX_TEXT_LAYERS, o->published ? 1 : 2, FX_POSITIONS,
             o->vocabulary ? o->vocabulary : FX_VOCABULARY);
    failed |= fx_write_text(dir, "text_encoder/config.json", text);
    snprintf(text, sizeof(text), "{\"_class_name\":\"UNet2DConditionModel\",\"sample_size\":32,\"in_channels\":4,\"out_channels\":4,"
             "\"block_out_channels\":[%u,%u],\"down_block_types\":[\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"
             "\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\"],\"layers_per_block\":%d,\"cross_attention_dim\":%d,"
             "\"attention_head_dim\":%s,\"norm_num_groups\":%d,\"norm_eps\":1e-5,\"flip_sin_to_cos\":true,\"freq_shift\":0,"
             "\"class_embed_type\":null,\"use_linear_projection\":%s}", fx_wide(o, fx_unet_levels[0]), fx_wide(o, fx_unet_levels[1]),
             FX_LAYERS, (int)fx_wide(o, FX_TEXT), !o->published ? "2" : o->linear_projection ? "[1,2]" : "8", o->published ? 32 : 4,
             o->linear_projection ? "true" : "false");
    failed |= fx_write_text(dir, "unet/config.json", text);
    snprintf(text, sizeof(text), "{\"_class_name\":\"AutoencoderKL\",\"in_channels\":3,\"out_channels\":3,\"latent_channels\":4,"
             "\"block_out_channels\":[%u,%u],\"down_block_types\":[\"DownEncoderBlock2D\",\"DownEncoderBlock2D\"],"
             "\"up_block_types\":[\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"],\"layers_per_block\":%d,\"norm_num_groups\":%d,"
             "\"act_fn\":\"silu\",\"scaling_factor\":%s}", fx_wide(o, fx_vae_levels[0]), fx_wide(o, fx_vae_levels[1]), FX_LAYERS,
             o->published ? 32 : 4, o->published ? "0.18215" : "0.5");
    failed |= fx_write_text(dir, "vae/config.json", text);
    snprintf(text, sizeof(text), "{\"_class_name\":\"%s\",\"beta_schedule\":\"scaled_linear\",\"beta_start\":0.00085,\"beta_end\":0.012,"
             "\"num_train_timesteps\":1000,\"clip_sample\":false,\"set_alpha_to_one\":false,\"skip_prk_steps\":true,\"steps_offset\":1,"
             "\"prediction_type\":\"%s\"}", o->scheduler ? o->scheduler : "DDIMScheduler", o->v_prediction ? "v_prediction" : "epsilon");
    failed |= fx_write_text(dir, "scheduler/scheduler_config.json", text);
    failed |= fx_write_part(dir, FX_TEXT_WEIGHTS, o, fx_text_tensors);
    failed |= fx_write_part(dir, FX_UNET_WEIGHTS, o, fx_unet_tensors);
    failed |= fx_write_part(dir, FX_VAE_WEIGHTS, o, fx_vae_tensors);
    return failed;
}

/* Writes a CLIP model into the new folder `dir`; `tokenizer` NULL: without one. */
static inline int fx_write_clip(const char *dir, const char *tokenizer, const fx_options *options)
{
    static const fx_options defaults = { 0 };
    static const char *const files[] = { "/vocab.json", "/merges.txt", "/tokenizer_config.json", "/special_tokens_map.json" };
    const fx_options *o = options ? options : &defaults;
    char text[1024];
    int failed = mkdir(dir, 0700);
    for (size_t i = 0; tokenizer && i < BL_COUNT(files); i++)
        failed |= fx_copy(tokenizer, dir, files[i]);
    snprintf(text, sizeof(text), "{\"model_type\":\"clip\",\"projection_dim\":%d,\"text_config\":{\"hidden_size\":%d,"
             "\"intermediate_size\":%d,\"num_hidden_layers\":%d,\"num_attention_heads\":2,\"max_position_embeddings\":%d,"
             "\"vocab_size\":%u},\"vision_config\":{\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
             "\"num_attention_heads\":4,\"image_size\":%d,\"patch_size\":%d,\"hidden_act\":\"gelu\"}}", FX_PROJECTION, FX_TEXT, FX_MLP,
             FX_TEXT_LAYERS, FX_POSITIONS, o->vocabulary ? o->vocabulary : FX_VOCABULARY, FX_VISION, FX_MLP, FX_TEXT_LAYERS, FX_IMAGE,
             FX_PATCH);
    failed |= fx_write_text(dir, "config.json", text);
    return failed | fx_write_part(dir, "model.safetensors", o, fx_clip_tensors);
}

static inline void fx_remove_files(const char *dir)
{
    char path[2 * FX_PATH];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

/* Removes the checkpoint and its folder; a missing one is accepted. */
static inline void fx_remove(const char *dir)
{
    char folder[FX_PATH];
    for (size_t i = 0; i < BL_COUNT(fx_folders); i++)
        fx_remove_files(fx_path(folder, dir, fx_folders[i]));
    fx_remove_files(dir);
}
#endif
