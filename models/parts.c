/* Layer 4. */
#include "parts.h"
#include "file.h"
#include "kinds.h"
#include "ldm.h"
#include "lora.h"
#include "shapes.h"
#include <stdio.h>
#include <string.h>

static const char *const LAYOUT = "a checkpoint in diffusers layout";
static const size_t MAX_INDEX = 8 << 20;
enum { MAX_SHARDS = 256 };

static const char *const folders[BL_PARTS] = { "text_encoder", "unet", "vae" };
static const char *const stems[BL_PARTS] = { "model", "diffusion_pytorch_model", "diffusion_pytorch_model" };
const char *const bl_net_prefix[BL_PARTS] = { "text_encoder.", "unet.", "vae." };

/* --- files of a folder ---------------------------------------------------------------------------------------------- */

static bl_result no_memory(void) { return bl_fail(BL_ERROR_MEMORY, "no host memory for a path"); }

bl_result bl_parts_path(const char *dir, const char *part, const char *file, const char *of, char **out)
{
    bl_result result = BL_OK;
    char *folder = part ? bl_path_join(dir, part) : bl_text_copy(dir, strlen(dir)), *pickle = NULL;
    *out = folder ? bl_path_join(folder, file) : NULL;
    if (!*out)
        BL_TRY(no_memory());
    if (bl_path_is_file(*out))
        goto fail;
    pickle = bl_path_join(folder, !part || !strcmp(part, "text_encoder") ? "pytorch_model.bin" : "diffusion_pytorch_model.bin");
    BL_TRY(pickle && bl_path_is_file(pickle)
           ? bl_fail(BL_ERROR_MODEL, "%s is a PyTorch pickle, which can execute code: convert it to safetensors", pickle)
           : bl_fail(BL_ERROR_MODEL, "%s is missing: %s has it", *out, of));
fail:
    if (result != BL_OK) {
        bl_free(*out);
        *out = NULL;
    }
    bl_free(pickle);
    bl_free(folder);
    return result;
}

/* Old files of the autoencoder have old names. */
static bl_result add_tensor(bl_tensors *t, const bl_safetensors *file, const bl_file_tensor *stored, const char *net)
{
    return strcmp(net, bl_net_prefix[BL_NET_VAE]) ? bl_tensors_add(t, file, stored, 0, 1, net, stored->name)
                                                  : bl_ldm_add_vae_tensor(t, file, stored);
}

static bl_result add_file(bl_tensors *t, const char *path, const char *net)
{
    bl_result result = BL_OK;
    const bl_safetensors *file;
    BL_TRY(bl_tensors_open(t, path, &file));
    for (size_t i = 0; i < bl_safetensors_count(file); i++)
        BL_TRY(add_tensor(t, file, bl_safetensors_at(file, i), net));
fail:
    return result;
}

/* A name that leads nowhere but into the folder of the list. */
static bool is_plain_name(const char *name)
{
    return *name && *name != '.' && !strpbrk(name, "/\\:") && strlen(name) < 256;
}

typedef struct shard {
    const char *name; /* of the list's JSON */
    const bl_safetensors *file;
} shard;

static bl_result open_shard(bl_tensors *t, const char *index, const char *folder, const char *name, shard *shards, size_t *count,
                            const bl_safetensors **out)
{
    bl_result result = BL_OK;
    for (size_t i = 0; i < *count; i++)
        if (!strcmp(shards[i].name, name)) {
            *out = shards[i].file;
            return BL_OK;
        }
    char *path = bl_path_join(folder, name);
    if (!is_plain_name(name))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: shard \"%.80s\" is not the plain name of a file beside it", index, name));
    if (*count == MAX_SHARDS)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: more than %d shards", index, MAX_SHARDS));
    if (!path)
        BL_TRY(no_memory());
    if (!bl_path_is_file(path))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: shard \"%s\" is missing", index, name));
    BL_TRY(bl_tensors_open(t, path, out));
    shards[(*count)++] = (shard){ name, *out };
fail:
    bl_free(path);
    return result;
}

static bl_result add_shards(bl_tensors *t, const char *index, const char *folder, const char *net)
{
    bl_result result = BL_OK;
    json_t *o = NULL, *value;
    const char *name;
    size_t count = 0;
    shard shards[MAX_SHARDS];
    BL_TRY(bl_json_read(index, MAX_INDEX, BL_ERROR_MODEL, &o));
    json_t *map = json_object_get(o, "weight_map");
    if (!json_is_object(map))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: \"weight_map\" is missing or not an object", index));
    json_object_foreach(map, name, value) {
        const bl_safetensors *file;
        if (!json_is_string(value))
            BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: the shard of tensor \"%.200s\" is not a name", index, name));
        BL_TRY(open_shard(t, index, folder, json_string_value(value), shards, &count, &file));
        const bl_file_tensor *stored = bl_safetensors_find(file, name);
        if (!stored)
            BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: tensor \"%.200s\" is not in shard \"%s\"", index, name, json_string_value(value)));
        BL_TRY(add_tensor(t, file, stored, net));
    }
fail:
    json_decref(o);
    return result;
}

bl_result bl_parts_add(bl_tensors *t, const char *dir, const char *part, const char *stem, const char *net, const char *of, char **place)
{
    /* libraries have spelt the variant's list in two ways */
    static const struct { const char *end; bool list; } ends[] = { { ".safetensors", false }, { ".safetensors.index.json", true },
        { ".fp16.safetensors", false }, { ".safetensors.index.fp16.json", true }, { ".fp16.safetensors.index.json", true } };
    bl_result result = BL_OK;
    char name[96], *folder = part ? bl_path_join(dir, part) : bl_text_copy(dir, strlen(dir));
    *place = NULL;
    if (!folder)
        return no_memory();
    for (size_t i = 0; i < BL_COUNT(ends); i++) {
        snprintf(name, sizeof(name), "%s%s", stem, ends[i].end);
        *place = bl_path_join(folder, name);
        if (!*place)
            BL_TRY(no_memory());
        if (bl_path_exists(*place)) {
            BL_TRY(ends[i].list ? add_shards(t, *place, folder, net) : add_file(t, *place, net));
            goto fail;
        }
        bl_free(*place);
        *place = NULL;
    }
    snprintf(name, sizeof(name), "%s%s", stem, ends[0].end);
    BL_TRY(bl_parts_path(dir, part, name, of, place)); /* says what is missing */
fail:
    bl_free(folder);
    return result;
}

/* --- a folder ------------------------------------------------------------------------------------------------------- */

static bl_result open_folder(const char *dir, const bl_model_options *o, bl_parts *p)
{
    bl_result result = BL_OK;
    char *configs[BL_PARTS] = { NULL }, *scheduler = NULL;
    const int parts = o->vae ? BL_NET_VAE : BL_PARTS; /* another takes its place */
    for (int i = 0; i < parts; i++)
        BL_TRY(bl_parts_path(dir, folders[i], "config.json", LAYOUT, &configs[i]));
    BL_TRY(bl_parts_path(dir, "scheduler", "scheduler_config.json", LAYOUT, &scheduler));
    BL_TRY(bl_text_config_read(configs[BL_NET_TEXT], &p->text));
    BL_TRY(bl_unet_config_read(configs[BL_NET_UNET], &p->unet));
    if (!o->vae)
        BL_TRY(bl_vae_config_read(configs[BL_NET_VAE], &p->vae));
    BL_TRY(bl_scheduler_config_read(scheduler, &p->scheduler));
    for (int i = 0; i < parts; i++)
        BL_TRY(bl_parts_add(p->tensors, dir, folders[i], stems[i], bl_net_prefix[i], LAYOUT, &p->places[i]));
fail:
    for (int i = 0; i < BL_PARTS; i++)
        bl_free(configs[i]);
    bl_free(scheduler);
    return result;
}

/* --- a single file -------------------------------------------------------------------------------------------------- */

static bl_result set_place(bl_parts *p, bl_net_kind net, const char *path)
{
    p->places[net] = bl_text_copy(path, strlen(path));
    return p->places[net] ? BL_OK : no_memory();
}

static bool has_net(const bl_tensors *t, bl_net_kind net)
{
    static const char *const names[BL_PARTS] = { "text_model.embeddings.token_embedding.weight", "conv_in.weight",
                                                 "decoder.conv_in.weight" };
    return bl_tensors_find(t, bl_net_prefix[net], names[net]) != NULL;
}

/* Those of the published checkpoints, which a single file does not tell. */
static const bl_scheduler_config published = { .kind = BL_SCHEDULER_PNDM, .spacing = BL_SPACING_LEADING, .betas = BL_BETAS_SCALED_LINEAR,
    .beta_start = 0.00085, .beta_end = 0.012, .train_steps = 1000, .steps_offset = 1, .alpha_given = true,
    .final_sigma_zero = true };

static bl_result open_single(const char *path, const bl_model_options *o, bl_parts *p, const bl_safetensors **file)
{
    bl_result result = BL_OK;
    BL_TRY(bl_tensors_open(p->tensors, path, file));
    BL_TRY(bl_kind_expect(*file, BL_KIND_CHECKPOINT, "a checkpoint of Stable Diffusion 1.x or 2.x"));
    if (!o->tokenizer)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "%s: a single file has no tokenizer: give the folder with vocab.json and merges.txt with "
                       "--tokenizer, such as that of a checkpoint in diffusers layout", path));
    BL_TRY(bl_ldm_add(p->tensors, *file, BL_LDM_TEXT | BL_LDM_UNET | (o->vae ? 0 : BL_LDM_VAE)));
    for (int i = 0; i < (o->vae ? BL_NET_VAE : BL_PARTS); i++)
        BL_TRY(set_place(p, (bl_net_kind)i, path));
    p->single = true;
    p->scheduler = published;
fail:
    return result;
}

/* What metadata says of the prediction (github.com/Stability-AI/ModelSpec); NULL if nothing. */
static bl_result said_prediction(const bl_safetensors *file, const char **out)
{
    *out = bl_safetensors_metadata(file, "modelspec.prediction_type");
    if (!*out || !strcmp(*out, "epsilon") || !strcmp(*out, "v"))
        return BL_OK;
    return bl_fail(BL_ERROR_MODEL, "%s: modelspec.prediction_type is \"%.40s\"; models that predict epsilon or v are supported",
                   bl_safetensors_path(file), *out);
}

/* The configuration that a single file does not have; all tensors are there. */
static bl_result configure_single(const bl_safetensors *file, const bl_model_options *o, bl_parts *p)
{
    bl_result result = BL_OK;
    const char *path = bl_safetensors_path(file), *prediction = o->prediction;
    if (!has_net(p->tensors, BL_NET_TEXT))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: has no text encoder (cond_stage_model.*)", path));
    BL_TRY(bl_text_config_of(p->tensors, path, bl_ldm_is_open_clip(file), &p->text));
    BL_TRY(bl_unet_config_of(p->tensors, path, &p->unet));
    if (!prediction)
        BL_TRY(said_prediction(file, &prediction));
    p->prediction_assumed = !prediction && p->unet.linear_projection;
    if (prediction && !strcmp(prediction, "v")) {
        p->scheduler.prediction = BL_PREDICT_V;
        p->scheduler.kind = BL_SCHEDULER_DDIM;
        p->unet.sample_size = 96; /* Stable Diffusion 2.0 and 2.1 for 768 pixels */
    }
fail:
    return result;
}

/* --- an autoencoder of its own -------------------------------------------------------------------------------------- */

/* One to be read: as which network, and what became of it. */
typedef struct autoencoder {
    const char *net;
    bl_vae_config *config;
    char **place;
    bool encodes;               /* its encoder is needed too */
    bool configured;            /* by a config.json */
} autoencoder;

/* The original TAESD: two files and no configuration. */
static bl_result add_halves(const char *dir, bl_parts *p, autoencoder *a)
{
    static const char *const names[] = { "taesd_decoder.safetensors", "taesd_encoder.safetensors" };
    static const char *const layout = "a tiny autoencoder (TAESD)";
    bl_result result = BL_OK;
    const bl_safetensors *file;
    char *path = NULL;
    for (size_t i = 0; i < (a->encodes ? 2 : 1); i++) {
        bl_free(path);
        BL_TRY(bl_parts_path(dir, NULL, names[i], layout, &path));
        BL_TRY(bl_tensors_open(p->tensors, path, &file));
        BL_TRY(bl_ldm_add_vae(p->tensors, file, a->net));
    }
fail:
    bl_free(path);
    return result;
}

static bool has_file(const char *dir, const char *name)
{
    char *path = bl_path_join(dir, name);
    const bool is_there = path && bl_path_is_file(path);
    bl_free(path);
    return is_there;
}

static bl_result open_autoencoder_folder(const char *path, bl_parts *p, autoencoder *a)
{
    static const char *const layout = "an autoencoder in diffusers layout";
    bl_result result = BL_OK;
    char *config = NULL, *below = bl_path_join(path, folders[BL_NET_VAE]);
    const char *part = below && bl_path_is_directory(below) ? folders[BL_NET_VAE] : NULL;
    if (!part && !has_file(path, "config.json") && has_file(path, "taesd_decoder.safetensors")) {
        BL_TRY(add_halves(path, p, a));
        *a->place = bl_text_copy(path, strlen(path));
        if (!*a->place)
            BL_TRY(no_memory());
        goto fail;
    }
    a->configured = true;
    BL_TRY(bl_parts_path(path, part, "config.json", layout, &config));
    BL_TRY(bl_vae_config_read(config, a->config));
    BL_TRY(bl_parts_add(p->tensors, path, part, stems[BL_NET_VAE], a->net, layout, a->place));
fail:
    bl_free(config);
    bl_free(below);
    return result;
}

/* A folder with config.json, a checkpoint with vae/, the two files of the original TAESD, or a file. */
static bl_result open_autoencoder(const char *path, bl_parts *p, autoencoder *a)
{
    bl_result result = BL_OK;
    const bl_safetensors *file;
    if (bl_path_is_directory(path))
        return open_autoencoder_folder(path, p, a);
    BL_TRY(bl_tensors_open(p->tensors, path, &file));
    const bl_kind_use use = bl_kind_of(file)->use;
    if (use != (a->encodes ? BL_KIND_CHECKPOINT : BL_KIND_DECODER)) /* its own, or enough for previews */
        BL_TRY(bl_kind_expect(file, BL_KIND_VAE, "an autoencoder"));
    BL_TRY(bl_ldm_add_vae(p->tensors, file, a->net));
    *a->place = bl_text_copy(path, strlen(path));
    if (!*a->place)
        BL_TRY(no_memory());
fail:
    return result;
}

/* Once all tensors are there. */
static bl_result configure_autoencoder(const bl_parts *p, const autoencoder *a)
{
    return a->configured ? BL_OK : bl_vae_config_of(p->tensors, a->net, *a->place, a->encodes, a->config);
}

/* --- all of it ------------------------------------------------------------------------------------------------------ */

static bl_result check_options(const bl_model_options *o)
{
    if (o->struct_size != sizeof(*o))
        return bl_fail(BL_ERROR_USAGE, "model options of another version");
    if (o->prediction && strcmp(o->prediction, "epsilon") && strcmp(o->prediction, "v"))
        return bl_fail(BL_ERROR_USAGE, "prediction \"%.40s\" is not known; known: epsilon, v", o->prediction);
    if (o->lora_count && !o->loras)
        return bl_fail(BL_ERROR_USAGE, "no list of LoRAs");
    for (size_t i = 0; i < o->lora_count; i++)
        if (!o->loras[i].path)
            return bl_fail(BL_ERROR_USAGE, "LoRA %zu has no path", i + 1);
    return BL_OK;
}

static bl_result check_sizes(const char *path, const bl_parts *p)
{
    if (p->unet.context != p->text.channels)
        return bl_fail(BL_ERROR_MODEL, "%s: the U-Net expects a text embedding of %u channels, the text encoder makes %u", path,
                       p->unet.context, p->text.channels);
    if (p->unet.in_channels != p->vae.latent_channels)
        return bl_fail(BL_ERROR_MODEL, "%s: the U-Net expects %u latent channels, the autoencoder makes %u", path, p->unet.in_channels,
                       p->vae.latent_channels);
    if (p->preview_place && (!p->preview.tiny || p->preview.latent_channels != p->unet.in_channels))
        return bl_fail(BL_ERROR_MODEL, "%s: not a tiny autoencoder (TAESD) for %u latent channels, which previews are drawn with",
                       p->preview_place, p->unet.in_channels);
    return BL_OK;
}

bl_result bl_parts_open(const char *path, const bl_model_options *options, bl_parts *p)
{
    static const bl_model_options none = BL_MODEL_OPTIONS_INIT;
    bl_result result = BL_OK;
    const bl_model_options *o = options ? options : &none;
    const bl_safetensors *file = NULL;
    autoencoder vae = { bl_net_prefix[BL_NET_VAE], &p->vae, &p->places[BL_NET_VAE], true, false },
        preview = { "preview.", &p->preview, &p->preview_place, false, false };
    *p = (bl_parts){ 0 };
    BL_TRY(check_options(o));
    BL_TRY(bl_tensors_create(&p->tensors));
    const char *tokenizer = o->tokenizer ? o->tokenizer : path;
    p->tokenizer = bl_text_copy(tokenizer, strlen(tokenizer));
    if (!p->tokenizer)
        BL_TRY(no_memory());
    if (bl_path_is_directory(path))
        BL_TRY(open_folder(path, o, p));
    else if (bl_path_is_file(path))
        BL_TRY(open_single(path, o, p, &file));
    else
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: no such folder or file", path));
    if (o->vae)
        BL_TRY(open_autoencoder(o->vae, p, &vae));
    if (o->preview_vae)
        BL_TRY(open_autoencoder(o->preview_vae, p, &preview));
    BL_TRY(bl_tensors_finish(p->tensors));
    if (file)
        BL_TRY(configure_single(file, o, p));
    else if (o->prediction)
        p->scheduler.prediction = strcmp(o->prediction, "v") ? BL_PREDICT_EPSILON : BL_PREDICT_V;
    if (file && !o->vae && !has_net(p->tensors, BL_NET_VAE))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: has no autoencoder (first_stage_model.*): give one with --vae", path));
    if (o->vae || file)
        BL_TRY(configure_autoencoder(p, &vae));
    if (o->preview_vae)
        BL_TRY(configure_autoencoder(p, &preview));
    BL_TRY(check_sizes(path, p));
    for (size_t i = 0; i < o->lora_count; i++)
        BL_TRY(bl_lora_open(p->tensors, o->loras[i].path, o->loras[i].scale == 0 ? 1 : (double)o->loras[i].scale));
fail:
    if (result != BL_OK)
        bl_parts_close(p);
    return result;
}

void bl_parts_close(bl_parts *p)
{
    for (int i = 0; i < BL_PARTS; i++)
        bl_free(p->places[i]);
    bl_free(p->preview_place);
    bl_free(p->tokenizer);
    bl_tensors_destroy(&p->tensors);
    *p = (bl_parts){ 0 };
}
