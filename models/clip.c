/* Layer 4. */
#include "clip.h"
#include "file.h"
#include <stdio.h>
#include <string.h>

/* --- opening ---------------------------------------------------------------------------------------------------------------- */

static bl_result bind(const bl_clip *clip)
{
    bl_result result = BL_OK;
    bl_graph *g = NULL;
    const bl_clip_config *c = &clip->config;
    BL_TRY(bl_graph_create(BL_F32, false, &g));
    const bl_net net = { g, clip->weights };
    bl_clip_vision_build(&net, c, bl_graph_input(g, "x", (bl_shape){ 1, c->size, c->size, 4 }, BL_F32));
    const bl_value h = bl_clip_text_build(&net, &c->text, bl_graph_input(g, "y", (bl_shape){ 1, c->text.positions, 1,
        c->text.channels }, BL_F32));
    bl_net_linear(&net, h, c->projection, false, "text_projection");
    BL_TRY(bl_graph_check(g));
    BL_TRY(bl_clip_text_check(clip->weights, &c->text));
fail:
    bl_graph_destroy(&g);
    return result;
}

static bl_result find_tokenizer(bl_clip *clip, const char *dir)
{
    static const char *const places[] = { "vocab.json", "tokenizer/vocab.json" };
    bool own = false;
    for (size_t i = 0; i < BL_COUNT(places); i++) {
        char *path = bl_path_join(dir, places[i]);
        if (!path)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for a path");
        own = own || bl_path_exists(path);
        bl_free(path);
    }
    const bl_result result = own ? bl_tokenizer_open(dir, &clip->own) : BL_OK;
    clip->tokenizer = own ? clip->own : clip->checkpoint->tokenizer;
    return result;
}

static bl_result create(bl_checkpoint *c, bl_clip **out)
{
    *out = bl_alloc(1, sizeof(**out));
    if (!*out)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a model");
    (*out)->checkpoint = c;
    return bl_device_check(c->context->device);
}

/* Every tensor, once the collection and the configuration are there. */
static bl_result bind_in(bl_clip *clip, const char *place)
{
    const bl_result opened = bl_weights_open(clip->tensors, "", place, BL_F32, clip->checkpoint->context->device, &clip->weights);
    const bl_result result = opened == BL_OK ? bind(clip) : opened;
    if (result == BL_OK)
        clip->checkpoint->clip_weights = clip->weights;
    return result;
}

bl_result bl_clip_open_random(bl_checkpoint *c, const bl_clip_config *config, bl_clip **out)
{
    bl_result result = BL_OK;
    BL_TRY(create(c, out));
    (*out)->config = *config;
    BL_TRY(bl_tensors_create_random(&(*out)->tensors));
    BL_TRY(bind_in(*out, "random weights"));
fail:
    if (result != BL_OK)
        bl_clip_close(out);
    return result;
}

bl_result bl_clip_open(bl_checkpoint *c, const char *dir, bl_clip **out)
{
    static const char *const layout = "a CLIP model in the layout of transformers";
    bl_result result = BL_OK;
    char *config = NULL, *place = NULL;
    bl_clip *clip;
    BL_TRY(create(c, out));
    clip = *out;
    if (!bl_path_is_directory(dir))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: no such folder", dir));
    BL_TRY(bl_parts_path(dir, NULL, "config.json", layout, &config));
    BL_TRY(bl_clip_config_read(config, &clip->config));
    BL_TRY(bl_tensors_create(&clip->tensors));
    BL_TRY(bl_parts_add(clip->tensors, dir, NULL, "model", "", layout, &place));
    BL_TRY(bl_tensors_finish(clip->tensors));
    BL_TRY(find_tokenizer(clip, dir));
    BL_TRY(bind_in(clip, place));
fail:
    bl_free(config);
    bl_free(place);
    if (result != BL_OK)
        bl_clip_close(out);
    return result;
}

void bl_clip_close(bl_clip **clip)
{
    bl_clip *c = *clip;
    *clip = NULL;
    if (!c)
        return;
    if (c->checkpoint->clip_weights == c->weights)
        c->checkpoint->clip_weights = NULL;
    bl_weights_close(&c->weights);
    bl_tensors_destroy(&c->tensors);
    bl_tokenizer_close(&c->own);
    bl_free(c);
}

/* --- pictures --------------------------------------------------------------------------------------------------------------- */

bl_value bl_clip_vision_build(const bl_net *net, const bl_clip_config *c, bl_value x)
{
    static const char *const class_name[] = { "vision_model.embeddings.class_embedding" };
    static const char *const position_name[] = { "vision_model.embeddings.position_embedding.weight" };
    bl_graph *g = net->g;
    const bl_clip_tower tower = { c->channels, c->intermediate, c->heads, c->act, c->eps, false };
    const uint32_t side = c->size / c->patch, patches = side * side;
    const bl_value w = bl_graph_weight(g, bl_weights_conv(net->w, g, c->channels, 3, c->patch,
                                                          "vision_model.embeddings.patch_embedding.weight"));
    const bl_value class_row = bl_graph_weight(g, bl_weights_vector(net->w, g, c->channels, 1, class_name));
    const bl_value positions = bl_graph_weight(g, bl_weights_matrix(net->w, g, patches + 1, c->channels, 1, position_name));
    bl_value h = bl_graph_tensor(g, (bl_shape){ 1, patches + 1, 1, c->channels }, g->type);
    bl_graph_copy(g, bl_graph_reshape(g, class_row, 1, 1, 1), bl_graph_rows(g, h, 0, 1));
    bl_graph_copy(g, bl_graph_reshape(g, bl_graph_patches(g, x, w, c->patch), 1, patches, 1), bl_graph_rows(g, h, 1, patches));
    h = bl_graph_add(g, h, bl_graph_rows(g, positions, 0, patches + 1)); /* rows are rounded up to 4 */
    h = bl_net_layer_norm(net, h, c->eps, "vision_model.pre_layrnorm"); /* so it is spelt */
    for (uint32_t i = 0; i < c->layers; i++) {
        char layer[64];
        snprintf(layer, sizeof(layer), "vision_model.encoder.layers.%u", i);
        h = bl_net_clip_layer(net, &tower, h, layer);
    }
    h = bl_net_layer_norm(net, bl_graph_rows(g, h, 0, 1), c->eps, "vision_model.post_layernorm");
    return bl_graph_name(g, bl_net_linear(net, h, c->projection, false, "visual_projection"), "image_features");
}

void bl_clip_normalisation(float out[8])
{
    static const double mean[3] = { 0.48145466, 0.4578275, 0.40821073 }, deviation[3] = { 0.26862954, 0.26130258, 0.27577711 };
    for (int i = 0; i < 3; i++) {
        out[i] = (float)mean[i];
        out[4 + i] = (float)(1 / deviation[i]);
    }
    out[3] = out[7] = 0;
}

/* --- words ------------------------------------------------------------------------------------------------------------------ */

static uint32_t end_of(const bl_clip_config *c, const int32_t *ids)
{
    uint32_t highest = 0;
    for (uint32_t i = 0; i < c->text.positions; i++) {
        if (ids[i] == c->end)
            return i;
        highest = ids[i] > ids[highest] ? i : highest;
    }
    return c->end < 0 ? highest : 0; /* without an end token the first, as in transformers */
}

bl_result bl_clip_text_features(bl_clip *clip, const int32_t *ids, float *out)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    const bl_text_config *c = &clip->config.text;
    const size_t values = (size_t)c->positions * c->channels;
    float *x = bl_alloc(values, sizeof(*x));
    if (!x)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a text embedding");
    BL_TRY(bl_clip_text_embed(clip->weights, c, ids, 1, x));
    BL_TRY(bl_graph_create(BL_F32, false, &s.graph));
    const bl_net net = { s.graph, clip->weights };
    s.x = bl_graph_input(s.graph, "hidden_states.0", (bl_shape){ 1, c->positions, 1, c->channels }, BL_F32);
    const bl_value pooled = bl_graph_rows(s.graph, bl_clip_text_build(&net, c, s.x), end_of(&clip->config, ids), 1);
    s.out = bl_net_linear(&net, pooled, clip->config.projection, false, "text_projection");
    BL_TRY(bl_stage_finish(clip->checkpoint, 1u << BL_NET_CLIP, "clip text", 0, &s));
    if (clip->checkpoint->planning)
        goto fail;
    BL_TRY(bl_exec_write(s.exec, s.x, x, values));
    BL_TRY(bl_exec_run(s.exec));
    BL_TRY(bl_stage_read(&s, s.out, out, clip->config.projection, "the features of the text are not finite"));
fail:
    bl_stage_destroy(&s);
    bl_free(x);
    return result;
}

bl_result bl_clip_prompt_features(bl_clip *clip, const char *prompt, float *out)
{
    const uint32_t n = clip->config.text.positions;
    if (!clip->tokenizer)
        return bl_fail(BL_ERROR_MODEL, "the CLIP model has no tokenizer, and there is no checkpoint to take one from");
    int32_t *ids = bl_alloc(n, sizeof(*ids));
    if (!ids)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for tokens");
    bl_result result = bl_tokenizer_encode_padded(clip->tokenizer, prompt, n, ids, NULL);
    if (result == BL_OK)
        result = bl_clip_text_features(clip, ids, out);
    bl_free(ids);
    return result;
}
