/* Layer 4. */
#include "unet.h"
#include <math.h>
#include <stdio.h>

enum { PREFIX = 96 };

/* What every block needs. */
typedef struct unet {
    const bl_net *net;
    const bl_unet_config *c;
    bl_value emb, context;   /* activated time embedding; text embedding */
    bl_unet_maps *maps;
    const bl_unet_gain *gain;
    uint32_t level;          /* of the layers being built */
    uint32_t maps_left;      /* map layers still to come */
    bool done;               /* the last one is there and nothing else is wanted */
} unet;

void bl_unet_frequencies(uint32_t half, float *out)
{
    /* the exponent is rounded to float first, as in the reference implementation */
    for (uint32_t i = 0; i < half; i++)
        out[i] = (float)exp((double)((float)(-log(10000.0) * i) / (float)half));
}

/* Cross-attention layers on the grid of a level: those of the way down, of the middle, and of the way up. */
static uint32_t map_layers(const bl_unet_config *c, uint32_t level)
{
    const uint32_t last = c->levels - 1;
    return (c->down_attention[level] ? c->layers : 0) + (level == last) + (c->up_attention[last - level] ? c->layers + 1 : 0);
}

bool bl_unet_has_maps(const bl_unet_config *c, uint32_t level) { return level < c->levels && map_layers(c, level) > 0; }

/* Probabilities of a cross-attention layer, raised where the caller wants it. */
static bl_value probabilities(unet *u, bl_value q, bl_value k, uint32_t heads)
{
    bl_graph *g = u->net->g;
    const bl_value probs = bl_graph_attention_probs(g, q, k, heads, false);
    if (u->gain) {
        const bl_value last = bl_graph_images(g, probs, bl_graph_shape(g, probs).n - heads, heads);
        bl_graph_attention_gain(g, last, u->gain->masks[u->level], u->gain->gain, last);
    }
    return probs;
}

/* x + to_out(attention(norm(x), source)); self-attention when `source` is BL_NONE. */
static bl_value attention(unet *u, bl_value x, bl_value source, uint32_t heads, const char *block, const char *norm, const char *attn)
{
    static const char *const qkv[] = { "to_q", "to_k", "to_v" };
    bl_graph *g = u->net->g;
    const uint32_t c = bl_graph_shape(g, x).c;
    const bool mapped = source != BL_NONE && u->maps && u->level == u->maps->level, last = mapped && u->maps_left == 1 && u->maps->only;
    char prefix[PREFIX];
    snprintf(prefix, sizeof(prefix), "%s.%s", block, attn);
    const bl_value h = bl_net_layer_norm(u->net, x, 1e-5f, "%s.%s", block, norm);
    bl_value y;
    if (source == BL_NONE) {
        const bl_value a = bl_net_linears(u->net, h, c, false, 3, qkv, prefix);
        y = bl_graph_attention(g, bl_graph_channels(g, a, 0, c), bl_graph_channels(g, a, c, c), bl_graph_channels(g, a, 2 * c, c), heads,
                               false);
    } else {
        const bl_value q = bl_net_linear(u->net, h, c, false, "%s.to_q", prefix);
        const bl_value kv = last ? bl_net_linear(u->net, source, c, false, "%s.to_k", prefix)
            : bl_net_linears(u->net, source, c, false, 2, qkv + 1, prefix);
        const bl_value k = bl_graph_channels(g, kv, 0, c), v = last ? BL_NONE : bl_graph_channels(g, kv, c, c);
        const bl_value probs = mapped || u->gain ? probabilities(u, q, k, heads) : BL_NONE;
        if (mapped) {
            if (u->maps->count < BL_MAX_MAPS) {
                u->maps->heads[u->maps->count] = heads;
                u->maps->probs[u->maps->count++] = bl_graph_name(g, probs, "%s.probs", prefix);
            }
            u->maps_left--;
        }
        if (last) {
            u->done = true;
            return x;
        }
        y = probs != BL_NONE ? bl_graph_attention_values(g, probs, v, heads) : bl_graph_attention(g, q, k, v, heads, false);
    }
    return bl_graph_add(g, bl_net_linear(u->net, y, c, true, "%s.to_out.0", prefix), x);
}

/* Spatial transformer: norm, projection, self-attention, cross-attention, feed-forward, projection, + input. */
static bl_value transformer(unet *u, bl_value x, uint32_t heads, const char *name)
{
    const bl_net *net = u->net;
    bl_graph *g = net->g;
    const uint32_t c = bl_graph_shape(g, x).c;
    char block[PREFIX];
    snprintf(block, sizeof(block), "%s.transformer_blocks.0", name);
    /* conv and linear projections are the same product on channels-last tensors */
    bl_value h = bl_net_linear(net, bl_net_group_norm(net, x, u->c->groups, 1e-6f, "%s.norm", name), c, true, "%s.proj_in", name);
    h = attention(u, h, BL_NONE, heads, block, "norm1", "attn1");
    h = attention(u, h, u->context, heads, block, "norm2", "attn2");
    if (u->done)
        return h;
    bl_value f = bl_net_linear(net, bl_net_layer_norm(net, h, 1e-5f, "%s.norm3", block), 8 * c, true, "%s.ff.net.0.proj", block);
    f = bl_net_linear(net, bl_graph_geglu(g, f), c, true, "%s.ff.net.2", block);
    h = bl_graph_add(g, f, h);
    h = bl_graph_add(g, bl_net_linear(net, h, c, true, "%s.proj_out", name), x);
    return bl_graph_name(g, h, "%s", name);
}

static bl_value resnet(const unet *u, bl_value x, uint32_t out, const char *block, uint32_t i)
{
    char name[PREFIX];
    snprintf(name, sizeof(name), "%s.resnets.%u", block, i);
    return bl_net_resnet(u->net, x, u->emb, out, u->c->groups, u->c->eps, name);
}

static bl_value transformer_at(unet *u, bl_value x, uint32_t heads, const char *block, uint32_t i)
{
    char name[PREFIX];
    snprintf(name, sizeof(name), "%s.attentions.%u", block, i);
    return transformer(u, x, heads, name);
}

bl_value bl_unet_build(const bl_net *net, const bl_unet_config *c, bl_value x, bl_value freqs, bl_value context, bl_unet_maps *maps,
                       const bl_unet_gain *gain)
{
    bl_graph *g = net->g;
    const uint32_t emb_channels = 4 * c->channels[0], last = c->levels - 1;
    bl_value skips[BL_MAX_LEVELS * 17 + 1];
    uint32_t skip_count = 0;
    char block[32];

    bl_value emb = bl_graph_timestep_embedding(g, freqs);
    emb = bl_graph_activation(g, bl_net_linear(net, emb, emb_channels, true, "time_embedding.linear_1"), ACT_SILU);
    emb = bl_graph_name(g, bl_net_linear(net, emb, emb_channels, true, "time_embedding.linear_2"), "time_embedding");
    unet u = { .net = net, .c = c, .emb = bl_graph_activation(g, emb, ACT_SILU), .context = context, .maps = maps, .gain = gain };
    if (maps) {
        if (!bl_unet_has_maps(c, maps->level))
            return bl_graph_fail(g, BL_ERROR_USAGE, "no cross-attention layer of this model has the latents' size halved %u times",
                                 maps->level);
        maps->count = 0;
        u.maps_left = map_layers(c, maps->level);
    }

    bl_value h = bl_graph_name(g, bl_net_conv(net, x, c->channels[0], c->in_channels, 3, 1, false, "conv_in"), "conv_in");
    skips[skip_count++] = h;
    for (u.level = 0; u.level <= last && !u.done; u.level++) {
        const uint32_t level = u.level;
        snprintf(block, sizeof(block), "down_blocks.%u", level);
        for (uint32_t i = 0; i < c->layers && !u.done; i++) {
            h = resnet(&u, h, c->channels[level], block, i);
            if (c->down_attention[level])
                h = transformer_at(&u, h, c->heads[level], block, i);
            skips[skip_count++] = h;
        }
        if (level < last && !u.done) {
            h = bl_net_conv(net, h, c->channels[level], c->channels[level], 3, 2, false, "%s.downsamplers.0.conv", block);
            skips[skip_count++] = bl_graph_name(g, h, "%s.downsamplers.0", block);
        }
    }
    if (!u.done) {
        u.level = last;
        h = resnet(&u, h, c->channels[last], "mid_block", 0);
        h = transformer_at(&u, h, c->heads[last], "mid_block", 0);
    }
    if (!u.done)
        h = resnet(&u, h, c->channels[last], "mid_block", 1);
    for (uint32_t up = 0; up <= last && !u.done; up++) {
        const uint32_t level = u.level = last - up;
        snprintf(block, sizeof(block), "up_blocks.%u", up);
        for (uint32_t i = 0; i <= c->layers && !u.done; i++) {
            h = resnet(&u, bl_graph_concat(g, h, skips[--skip_count]), c->channels[level], block, i);
            if (c->up_attention[up])
                h = transformer_at(&u, h, c->heads[level], block, i);
        }
        if (up < last && !u.done) {
            h = bl_net_conv(net, bl_graph_upsample(g, h), c->channels[level], c->channels[level], 3, 1, false, "%s.upsamplers.0.conv",
                            block);
            bl_graph_name(g, h, "%s.upsamplers.0", block);
        }
    }
    if (u.done)
        return BL_NONE;
    h = bl_graph_name(g, bl_net_group_norm(net, h, c->groups, c->eps, "conv_norm_out"), "conv_norm_out");
    h = bl_net_conv(net, bl_graph_activation(g, h, ACT_SILU), c->out_channels, c->channels[0], 3, 1, false, "conv_out");
    return bl_graph_name(g, h, "conv_out");
}
