/* Layer 4. */
#include "clip_text.h"
#include <stdio.h>

bl_value bl_clip_text_build(const bl_net *net, const bl_text_config *c, bl_value x)
{
    const bl_clip_tower tower = { c->channels, c->intermediate, c->heads, c->act, c->eps, true };
    bl_value h = x;
    for (uint32_t i = 0; i < c->layers; i++) {
        char layer[64];
        snprintf(layer, sizeof(layer), "text_model.encoder.layers.%u", i);
        h = bl_graph_name(net->g, bl_net_clip_layer(net, &tower, h, layer), "hidden_states.%u", i + 1);
    }
    return bl_graph_name(net->g, bl_net_layer_norm(net, h, c->eps, "text_model.final_layer_norm"), "last_hidden_state");
}

static const char *const TOKENS = "text_model.embeddings.token_embedding.weight";
static const char *const POSITIONS = "text_model.embeddings.position_embedding.weight";

static bl_result find_tables(const bl_weights *w, const bl_text_config *c, const bl_stored **tokens, const bl_stored **positions)
{
    const bl_result r = bl_weights_find(w, TOKENS, (const uint64_t[]){ c->vocabulary, c->channels }, 2, tokens);
    return r == BL_OK ? bl_weights_find(w, POSITIONS, (const uint64_t[]){ c->positions, c->channels }, 2, positions) : r;
}

bl_result bl_clip_text_check(const bl_weights *w, const bl_text_config *c)
{
    const bl_stored *tokens, *positions;
    return find_tables(w, c, &tokens, &positions);
}

bl_result bl_clip_text_embed(const bl_weights *w, const bl_text_config *c, const int32_t *ids, uint32_t count, float *out)
{
    bl_result result = BL_OK;
    const bl_stored *tokens, *positions;
    float *position = NULL;
    const size_t n = c->channels;
    BL_TRY(find_tables(w, c, &tokens, &positions));
    position = bl_alloc(n, sizeof(*position));
    if (!position)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for an embedding"));
    for (uint32_t p = 0; p < c->positions; p++) {
        BL_TRY(bl_stored_read(positions, p * n, n, position));
        for (uint32_t i = 0; i < count; i++) {
            const int32_t id = ids[i * c->positions + p];
            float *row = out + ((size_t)i * c->positions + p) * n;
            if (id < 0 || (uint32_t)id >= c->vocabulary)
                BL_TRY(bl_fail(BL_ERROR_MODEL, "token %d is outside the text encoder's vocabulary of %u", id, c->vocabulary));
            BL_TRY(bl_stored_read(tokens, (uint64_t)id * n, n, row));
            for (size_t k = 0; k < n; k++)
                row[k] += position[k];
        }
    }
fail:
    bl_free(position);
    return result;
}
