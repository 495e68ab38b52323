/* Layer 4. */
#include "shapes.h"
#include <stdarg.h>
#include <stdio.h>

static const char TEXT[] = "text_encoder.", UNET[] = "unet.";
enum { HEAD = 64, HEADS_OF_1 = 8, MAX_LAYERS = 200 };

BL_PRINTF(3, 4) static const bl_stored *find(const bl_tensors *t, const char *net, const char *fmt, ...)
{
    char name[BL_TENSOR_NAME];
    va_list list;
    va_start(list, fmt);
    vsnprintf(name, sizeof(name), fmt, list);
    va_end(list);
    return bl_tensors_find(t, net, name);
}

/* A dimension of a tensor that must be there; 0 if the tensor has none. */
static bl_result dim(const bl_tensors *t, const char *path, const char *net, const char *name, uint32_t i, json_int_t *out)
{
    const bl_stored *one = bl_tensors_find(t, net, name);
    if (!one)
        return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s%s\" is missing", path, net, name);
    *out = i < one->rank ? (json_int_t)one->dims[i] : 0; /* a file's dimensions are below 2^63 */
    return BL_OK;
}

/* How many numbers from 0 on a name has; `fmt` has one %u. */
#define COUNT_OF(out, t, net, fmt) for (*(out) = 0; *(out) < MAX_LAYERS && find(t, net, fmt, *(out)); ++*(out))

static bl_result finish(json_t *o, bl_result result)
{
    json_decref(o);
    return result;
}

static void append(json_t *o, const char *list, json_t *value)
{
    json_t *array = json_object_get(o, list);
    if (!array) {
        json_object_set_new(o, list, json_array());
        array = json_object_get(o, list);
    }
    json_array_append_new(array, value);
}

static json_int_t rows_of(const bl_stored *t) { return t->rank ? (json_int_t)t->dims[0] : 0; }

/* Rows of "<part>down_blocks.<i>.resnets.0.conv1.weight" for every level. */
static uint32_t add_levels(json_t *o, const bl_tensors *t, const char *net, const char *part)
{
    uint32_t level = 0;
    for (const bl_stored *conv; level <= BL_MAX_LEVELS &&
         (conv = find(t, net, "%sdown_blocks.%u.resnets.0.conv1.weight", part, level)); level++)
        append(o, "block_out_channels", json_integer(rows_of(conv)));
    return level;
}

bl_result bl_unet_config_of(const bl_tensors *t, const char *path, bl_unet_config *out)
{
    bl_result result = BL_OK;
    json_int_t in = 0, latents = 0, context = 0;
    uint32_t layers;
    bool linear = false;
    json_t *o = json_object();
    if (!o)
        return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for a configuration", path);
    BL_TRY(dim(t, path, UNET, "conv_in.weight", 1, &in));
    BL_TRY(dim(t, path, UNET, "conv_out.weight", 0, &latents));
    const bl_stored *middle = find(t, UNET, "mid_block.attentions.0.proj_in.weight"),
        *keys = find(t, UNET, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight");
    if (!middle || !keys)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: no cross-attention in the middle of the U-Net: not one of Stable Diffusion 1.x or 2.x", path));
    linear = middle->rank == 2;
    context = keys->rank == 2 ? (json_int_t)keys->dims[1] : 0;
    const uint32_t levels = add_levels(o, t, UNET, "");
    COUNT_OF(&layers, t, UNET, "down_blocks.0.resnets.%u.conv1.weight");
    for (uint32_t i = 0; i < levels; i++) {
        const bool down = find(t, UNET, "down_blocks.%u.attentions.0.norm.weight", i);
        const bool up = find(t, UNET, "up_blocks.%u.attentions.0.norm.weight", i);
        append(o, "down_block_types", json_string(down ? "CrossAttnDownBlock2D" : "DownBlock2D"));
        append(o, "up_block_types", json_string(up ? "CrossAttnUpBlock2D" : "UpBlock2D"));
        const json_int_t channels = json_integer_value(json_array_get(json_object_get(o, "block_out_channels"), i));
        append(o, "attention_head_dim", json_integer(linear ? channels / HEAD : HEADS_OF_1));
    }
    json_object_update_new(o, json_pack("{s:I,s:I,s:I,s:i,s:b}", "in_channels", in, "out_channels", latents, "cross_attention_dim", context,
                                        "layers_per_block", (int)layers, "use_linear_projection", (int)linear));
    BL_TRY(bl_unet_config_parse(o, path, out));
fail:
    return finish(o, result);
}

/* Counts the blocks of half a TAESD, which stand between convolutions that change the size and have no bias; before those of the decoder
 * there is one more layer, an enlargement without tensors. False if its layers do not follow each other so. */
static bool count_blocks(json_t *o, const char *list, const bl_tensors *t, const char *net, const char *part, uint32_t first)
{
    uint32_t blocks = 0, levels = 0;
    for (uint32_t i = first; i < MAX_LAYERS && levels <= BL_MAX_LEVELS; i++) {
        if (find(t, net, "%s.layers.%u.conv.0.weight", part, i)) {
            blocks++;
        } else if (find(t, net, "%s.layers.%u.weight", part, i)) {
            append(o, list, json_integer((json_int_t)blocks));
            levels++;
            blocks = 0;
            if (find(t, net, "%s.layers.%u.bias", part, i)) /* the last */
                return true;
        }
    }
    return false;
}

static bl_result taesd_config_of(const bl_tensors *t, const char *net, const char *path, bool encodes, bl_vae_config *out)
{
    bl_result result = BL_OK;
    json_int_t latents = 0, channels = 0;
    json_t *o = json_pack("{s:s}", "_class_name", "AutoencoderTiny");
    if (!o)
        return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for a configuration", path);
    BL_TRY(dim(t, path, net, "decoder.layers.0.weight", 0, &channels));
    BL_TRY(dim(t, path, net, "decoder.layers.0.weight", 1, &latents));
    if (!count_blocks(o, "num_decoder_blocks", t, net, "decoder", 2))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: the layers of its decoder are not those of TAESD", path));
    if (encodes && !count_blocks(o, "num_encoder_blocks", t, net, "encoder", 1))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: has no encoder of TAESD", path));
    json_t *blocks = json_object_get(o, "num_decoder_blocks");
    if (!encodes)
        json_object_set(o, "num_encoder_blocks", blocks); /* not built */
    for (size_t i = 0; i < json_array_size(blocks); i++) {
        append(o, "encoder_block_out_channels", json_integer(channels));
        append(o, "decoder_block_out_channels", json_integer(channels));
    }
    json_object_set_new(o, "latent_channels", json_integer(latents));
    BL_TRY(bl_vae_config_parse(o, path, out));
fail:
    return finish(o, result);
}

bl_result bl_vae_config_of(const bl_tensors *t, const char *net, const char *path, bool encodes, bl_vae_config *out)
{
    if (find(t, net, "decoder.layers.0.weight"))
        return taesd_config_of(t, net, path, encodes, out);
    bl_result result = BL_OK;
    json_int_t latents = 0;
    uint32_t layers;
    json_t *o = json_object();
    if (!o)
        return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for a configuration", path);
    BL_TRY(dim(t, path, net, "decoder.conv_in.weight", 1, &latents));
    const uint32_t levels = add_levels(o, t, net, "encoder.");
    COUNT_OF(&layers, t, net, "encoder.down_blocks.0.resnets.%u.conv1.weight");
    for (uint32_t i = 0; i < levels; i++) {
        append(o, "down_block_types", json_string("DownEncoderBlock2D"));
        append(o, "up_block_types", json_string("UpDecoderBlock2D"));
    }
    json_object_update_new(o, json_pack("{s:I,s:i}", "latent_channels", latents, "layers_per_block", (int)layers));
    BL_TRY(bl_vae_config_parse(o, path, out));
fail:
    return finish(o, result);
}

bl_result bl_text_config_of(const bl_tensors *t, const char *path, bool open_clip, bl_text_config *out)
{
    bl_result result = BL_OK;
    json_int_t tokens = 0, positions = 0, channels = 0, inner = 0;
    uint32_t layers;
    json_t *o = NULL;
    BL_TRY(dim(t, path, TEXT, "text_model.embeddings.token_embedding.weight", 0, &tokens));
    BL_TRY(dim(t, path, TEXT, "text_model.embeddings.token_embedding.weight", 1, &channels));
    BL_TRY(dim(t, path, TEXT, "text_model.embeddings.position_embedding.weight", 0, &positions));
    BL_TRY(dim(t, path, TEXT, "text_model.encoder.layers.0.mlp.fc1.weight", 0, &inner));
    COUNT_OF(&layers, t, TEXT, "text_model.encoder.layers.%u.mlp.fc1.weight");
    o = json_pack("{s:I,s:I,s:i,s:I,s:I,s:I,s:s}", "hidden_size", channels, "intermediate_size", inner, "num_hidden_layers", (int)layers,
                  "num_attention_heads", channels / HEAD, "max_position_embeddings", positions, "vocab_size", tokens, "hidden_act",
                  open_clip ? "gelu" : "quick_gelu");
    if (!o)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "%s: no host memory for a configuration", path));
    BL_TRY(bl_text_config_parse(o, path, out));
fail:
    return finish(o, result);
}
