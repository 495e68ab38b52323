/* Layer 4. */
#include "ldm.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* --- names ---------------------------------------------------------------------------------------------------------- */

/* A name starts with `from` and gets `to` instead. Capitals and # in `from` are numbers, those in `to` what is made of them:
 * #: the number itself. I, O: place in the flat list of input or output blocks; B and L: block and layer there. U: level counted from the
 * other end. T: a layer of OpenCLIP's text encoder that is used. D: a layer of TAESD's decoder, less the one that limits its
 * input. In `to`, * is one of "q", "k" and "v", which are stacked in the file. */
typedef struct row {
    const char *from, *to;
} row;

static const row unet_places[] = {
    { "time_embed.0.", "time_embedding.linear_1." }, { "time_embed.2.", "time_embedding.linear_2." },
    { "input_blocks.0.0.", "conv_in." },
    { "input_blocks.I.0.op.", "down_blocks.B.downsamplers.0.conv." },
    { "input_blocks.I.0.", "down_blocks.B.resnets.L." }, { "input_blocks.I.1.", "down_blocks.B.attentions.L." },
    { "middle_block.0.", "mid_block.resnets.0." }, { "middle_block.1.", "mid_block.attentions.0." },
    { "middle_block.2.", "mid_block.resnets.1." },
    { "output_blocks.O.1.conv.", "up_blocks.B.upsamplers.0.conv." }, { "output_blocks.O.2.conv.", "up_blocks.B.upsamplers.0.conv." },
    { "output_blocks.O.0.", "up_blocks.B.resnets.L." }, { "output_blocks.O.1.", "up_blocks.B.attentions.L." },
    { "out.0.", "conv_norm_out." }, { "out.2.", "conv_out." }, { 0 },
};
static const row unet_layers[] = {
    { "in_layers.0.", "norm1." }, { "in_layers.2.", "conv1." }, { "emb_layers.1.", "time_emb_proj." }, { "out_layers.0.", "norm2." },
    { "out_layers.3.", "conv2." }, { "skip_connection.", "conv_shortcut." }, { 0 },
};
static const row vae_places[] = {
    { "encoder.down.#.block.#.", "encoder.down_blocks.#.resnets.#." },
    { "encoder.down.#.downsample.conv.", "encoder.down_blocks.#.downsamplers.0.conv." },
    { "decoder.up.U.block.#.", "decoder.up_blocks.U.resnets.#." },
    { "decoder.up.U.upsample.conv.", "decoder.up_blocks.U.upsamplers.0.conv." },
    { "encoder.mid.block_1.", "encoder.mid_block.resnets.0." }, { "decoder.mid.block_1.", "decoder.mid_block.resnets.0." },
    { "encoder.mid.block_2.", "encoder.mid_block.resnets.1." }, { "decoder.mid.block_2.", "decoder.mid_block.resnets.1." },
    { "encoder.mid.attn_1.", "encoder.mid_block.attentions.0." }, { "decoder.mid.attn_1.", "decoder.mid_block.attentions.0." },
    { "encoder.norm_out.", "encoder.conv_norm_out." }, { "decoder.norm_out.", "decoder.conv_norm_out." },
    { "encoder.mid_block.attentions.0.", "encoder.mid_block.attentions.0." },
    { "decoder.mid_block.attentions.0.", "decoder.mid_block.attentions.0." }, { "", "" }, { 0 },
};
static const row vae_layers[] = {
    { "nin_shortcut.", "conv_shortcut." }, { "norm.", "group_norm." }, { "q.", "to_q." }, { "k.", "to_k." }, { "v.", "to_v." },
    { "proj_out.", "to_out.0." }, { "query.", "to_q." }, { "key.", "to_k." }, { "value.", "to_v." }, { "proj_attn.", "to_out.0." }, { 0 },
};
static const row clip_places[] = { /* the first transformers had no "text_model." */
    { "text_model.", "text_model." }, { "embeddings.", "text_model.embeddings." }, { "encoder.", "text_model.encoder." },
    { "final_layer_norm.", "text_model.final_layer_norm." }, { 0 },
};
static const row open_clip_places[] = {
    { "token_embedding.", "text_model.embeddings.token_embedding." },
    { "positional_embedding", "text_model.embeddings.position_embedding.weight" },
    { "transformer.resblocks.T.", "text_model.encoder.layers.T." }, { "ln_final.", "text_model.final_layer_norm." }, { 0 },
};
static const row open_clip_layers[] = {
    { "ln_1.", "layer_norm1." }, { "ln_2.", "layer_norm2." }, { "attn.in_proj_weight", "self_attn.*_proj.weight" },
    { "attn.in_proj_bias", "self_attn.*_proj.bias" }, { "attn.out_proj.", "self_attn.out_proj." }, { "mlp.c_fc.", "mlp.fc1." },
    { "mlp.c_proj.", "mlp.fc2." }, { 0 },
};
static const row taesd_encoder_places[] = { { "#.", "encoder.layers.#." }, { 0 } };
static const row taesd_decoder_places[] = { { "D.", "decoder.layers.D." }, { 0 } };
static const row as_they_are[] = { { 0 } };

static const char UNET[] = "model.diffusion_model.", VAE[] = "first_stage_model.", OPEN_CLIP[] = "cond_stage_model.model.";

static const struct network {
    bl_ldm_nets net;
    const char *prefix, *to;
    const row *places, *layers; /* a name is one of a place, and behind it one of a layer, or stays as it is there */
} networks[] = {
    { BL_LDM_UNET, UNET, "unet.", unet_places, unet_layers }, { BL_LDM_VAE, VAE, "vae.", vae_places, vae_layers },
    { BL_LDM_TEXT, "cond_stage_model.transformer.", "text_encoder.", clip_places, as_they_are },
    { BL_LDM_TEXT, OPEN_CLIP, "text_encoder.", open_clip_places, open_clip_layers },
}, vae_alone = { BL_LDM_VAE, "", "vae.", vae_places, vae_layers },
taesd_encoder = { BL_LDM_VAE, "", "vae.", taesd_encoder_places, as_they_are },
taesd_decoder = { BL_LDM_VAE, "", "vae.", taesd_decoder_places, as_they_are };

/* --- numbers in them ------------------------------------------------------------------------------------------------ */

enum {
    LAYERS_USED = 23, /* Stable Diffusion 2.x takes what the last but one of ViT-H's 24 layers makes */
    MAX_NUMBER = 999,
};

/* What turns a flat list of blocks into levels. */
typedef struct numbering {
    unsigned layers; /* resnets of a down block; 0: unknown */
    unsigned levels; /* of the autoencoder */
} numbering;

typedef struct numbers {
    unsigned plain[4], count, block, layer;
} numbers;

/* The digits at *at; false if there are none, or more than any network has. */
static bool read_number(const char **at, unsigned *n)
{
    if (!isdigit((unsigned char)**at) || (**at == '0' && isdigit((unsigned char)(*at)[1])))
        return false;
    for (*n = 0; isdigit((unsigned char)**at); ++*at) {
        *n = *n * 10 + (unsigned)(**at - '0');
        if (*n > MAX_NUMBER)
            return false;
    }
    return true;
}

static bool take_number(char kind, unsigned n, const numbering *by, numbers *out)
{
    const unsigned per_block = by->layers + 1;
    if (kind == 'I' || kind == 'O') {
        if (!by->layers || (kind == 'I' && !n))
            return false;
        n -= kind == 'I'; /* the first is conv_in */
        out->block = n / per_block;
        out->layer = n % per_block;
        return true;
    }
    if (out->count == BL_COUNT(out->plain) || (kind == 'U' && n >= by->levels) || (kind == 'T' && n >= LAYERS_USED) ||
        (kind == 'D' && !n))
        return false;
    out->plain[out->count++] = kind == 'U' ? by->levels - 1 - n : kind == 'D' ? n - 1 : n;
    return true;
}

/* What follows `from` at the start of `name`; NULL if that is not how it starts. */
static const char *match(const char *name, const char *from, const numbering *by, numbers *out)
{
    unsigned n;
    *out = (numbers){ 0 };
    for (; *from; from++) {
        if (*from != '#' && !isupper((unsigned char)*from)) {
            if (*name++ != *from)
                return NULL;
        } else if (!read_number(&name, &n) || !take_number(*from, n, by, out)) {
            return NULL;
        }
    }
    return name;
}

/* Appends `to` to a name; false if it does not fit. */
static bool put(char *name, const char *to, const numbers *n, unsigned part)
{
    size_t at = strlen(name);
    unsigned next = 0;
    for (; *to && at < BL_TENSOR_NAME; to++) {
        char text[8] = { *to };
        if (*to == '*')
            text[0] = "qkv"[part];
        else if (*to == 'B' || *to == 'L')
            snprintf(text, sizeof(text), "%u", *to == 'B' ? n->block : n->layer);
        else if (*to == '#' || isupper((unsigned char)*to))
            snprintf(text, sizeof(text), "%u", n->plain[next++]);
        at += (size_t)snprintf(name + at, BL_TENSOR_NAME - at, "%s", text);
    }
    return at < BL_TENSOR_NAME;
}

static const row *find_row(const row *rows, const char *name, const numbering *by, numbers *n, const char **rest)
{
    for (; rows->from; rows++)
        if ((*rest = match(name, rows->from, by, n)))
            return rows;
    return NULL;
}

/* Adds one tensor by its name in a network; nothing if the network has none of that name. */
static bl_result add(bl_tensors *t, const bl_safetensors *file, const bl_file_tensor *stored, const struct network *net, const char *name,
                     const numbering *by)
{
    bl_result result = BL_OK;
    numbers in_place, in_layer;
    const char *inner, *rest;
    const row *place = find_row(net->places, name, by, &in_place, &inner);
    if (!place)
        return BL_OK;
    const row *layer = find_row(net->layers, inner, by, &in_layer, &rest);
    const unsigned parts = layer && strchr(layer->to, '*') ? 3 : 1;
    for (unsigned part = 0; part < parts && result == BL_OK; part++) {
        char full[BL_TENSOR_NAME] = "";
        if (put(full, place->to, &in_place, part) && (!layer || put(full, layer->to, &in_layer, part)) &&
            strlen(full) + strlen(layer ? rest : inner) < sizeof(full)) {
            strcat(full, layer ? rest : inner);
            result = bl_tensors_add(t, file, stored, part, parts, net->to, full);
        }
    }
    return result;
}

/* --- files ---------------------------------------------------------------------------------------------------------- */

static bool has(const bl_safetensors *file, const char *prefix, const char *fmt, unsigned n)
{
    char name[128], inner[96];
    snprintf(inner, sizeof(inner), fmt, n);
    snprintf(name, sizeof(name), "%s%s", prefix, inner);
    return bl_safetensors_find(file, name) != NULL;
}

static numbering numbering_of(const bl_safetensors *file, const char *unet, const char *vae)
{
    numbering n = { 0 };
    for (unsigned i = 2; i < 64 && !n.layers; i++) /* the first downsampling comes behind the first block */
        n.layers = has(file, unet, "input_blocks.%u.0.op.weight", i) ? i - 1 : 0;
    while (n.levels < 64 && has(file, vae, "decoder.up.%u.block.0.conv1.weight", n.levels))
        n.levels++;
    return n;
}

bl_result bl_ldm_add(bl_tensors *t, const bl_safetensors *file, unsigned nets)
{
    bl_result result = BL_OK;
    const numbering by = numbering_of(file, UNET, VAE);
    for (size_t i = 0; i < bl_safetensors_count(file) && result == BL_OK; i++) {
        const bl_file_tensor *stored = bl_safetensors_at(file, i);
        for (const struct network *n = networks; n < networks + BL_COUNT(networks) && result == BL_OK; n++) {
            const size_t length = strlen(n->prefix);
            if (nets & n->net && !strncmp(stored->name, n->prefix, length))
                result = add(t, file, stored, n, stored->name + length, &by);
        }
    }
    return result;
}

bl_result bl_ldm_add_vae(bl_tensors *t, const bl_safetensors *file, const char *net)
{
    bl_result result = BL_OK;
    const char *prefix = bl_safetensors_find(file, "first_stage_model.decoder.conv_in.weight") ? VAE : "";
    const size_t length = strlen(prefix);
    const numbering by = numbering_of(file, UNET, prefix);
    struct network as = bl_safetensors_find(file, "1.conv.0.weight") ? taesd_encoder
                      : bl_safetensors_find(file, "3.conv.0.weight") ? taesd_decoder : vae_alone;
    as.to = net;
    for (size_t i = 0; i < bl_safetensors_count(file) && result == BL_OK; i++) {
        const bl_file_tensor *stored = bl_safetensors_at(file, i);
        if (!strncmp(stored->name, prefix, length))
            result = add(t, file, stored, &as, stored->name + length, &by);
    }
    return result;
}

bl_result bl_ldm_add_vae_tensor(bl_tensors *t, const bl_safetensors *file, const bl_file_tensor *stored)
{
    return add(t, file, stored, &vae_alone, stored->name, &(numbering){ 0 });
}

bool bl_ldm_is_open_clip(const bl_safetensors *file)
{
    return has(file, OPEN_CLIP, "ln_final.weight", 0);
}
