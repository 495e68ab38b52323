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
    uint32_t keep_tokens;
} unet;

void bl_unet_frequencies(uint32_t half, float *out)
{
    /* the exponent is rounded to float first, as in the reference implementation */
    for (uint32_t i = 0; i < half; i++)
        out[i] = (float)exp((double)((float)(-log(10000.0) * i) / (float)half));
}

/* x + to_out(attention(norm(x), source)); self-attention when `source` is BL_NONE. */
static bl_value attention(const unet *u, bl_value x, bl_value source, uint32_t heads, const char *block, const char *norm, const char *attn)
{
    static const char *const qkv[] = { "to_q", "to_k", "to_v" };
    bl_graph *g = u->net->g;
    const uint32_t c = bl_graph_shape(g, x).c;
    char prefix[PREFIX];
    snprintf(prefix, sizeof(prefix), "%s.%s", block, attn);
    const bl_value h = bl_net_layer_norm(u->net, x, 1e-5f, "%s.%s", block, norm);
    bl_value q, kv, y, probs = BL_NONE;
    uint32_t k_at = 0;
    if (source == BL_NONE) {
        kv = bl_net_linears(u->net, h, c, false, 3, qkv, prefix);
        q = bl_graph_channels(g, kv, 0, c);
        k_at = c;
    } else {
        q = bl_net_linear(u->net, h, c, false, "%s.to_q", prefix);
        kv = bl_net_linears(u->net, source, c, false, 2, qkv + 1, prefix);
    }
    const bl_value k = bl_graph_channels(g, kv, k_at, c), v = bl_graph_channels(g, kv, k_at + c, c);
    const bl_shape s = bl_graph_shape(g, x);
    if (source != BL_NONE && u->keep_tokens && s.h * s.w == u->keep_tokens)
        y = bl_graph_attention_kept(g, q, k, v, heads, false, &probs);
    else
        y = bl_graph_attention(g, q, k, v, heads, false);
    if (probs != BL_NONE)
        bl_graph_keep(g, bl_graph_name(g, probs, "%s.probs", prefix));
    return bl_graph_add(g, bl_net_linear(u->net, y, c, true, "%s.to_out.0", prefix), x);
}

/* Spatial transformer: norm, projection, self-attention, cross-attention, feed-forward, projection, + input. */
static bl_value transformer(const unet *u, bl_value x, uint32_t heads, const char *name)
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

static bl_value transformer_at(const unet *u, bl_value x, uint32_t heads, const char *block, uint32_t i)
{
    char name[PREFIX];
    snprintf(name, sizeof(name), "%s.attentions.%u", block, i);
    return transformer(u, x, heads, name);
}

bl_value bl_unet_build(const bl_net *net, const bl_unet_config *c, bl_value x, bl_value freqs, bl_value context, uint32_t keep_tokens)
{
    bl_graph *g = net->g;
    const uint32_t emb_channels = 4 * c->channels[0], last = c->levels - 1;
    bl_value skips[BL_MAX_LEVELS * 17 + 1];
    uint32_t skip_count = 0;
    char block[32];

    bl_value emb = bl_graph_timestep_embedding(g, freqs);
    emb = bl_graph_activation(g, bl_net_linear(net, emb, emb_channels, true, "time_embedding.linear_1"), ACT_SILU);
    emb = bl_graph_name(g, bl_net_linear(net, emb, emb_channels, true, "time_embedding.linear_2"), "time_embedding");
    const unet u = { net, c, bl_graph_activation(g, emb, ACT_SILU), context, keep_tokens };

    bl_value h = bl_graph_name(g, bl_net_conv(net, x, c->channels[0], c->in_channels, 3, 1, false, "conv_in"), "conv_in");
    skips[skip_count++] = h;
    for (uint32_t level = 0; level <= last; level++) {
        snprintf(block, sizeof(block), "down_blocks.%u", level);
        for (uint32_t i = 0; i < c->layers; i++) {
            h = resnet(&u, h, c->channels[level], block, i);
            if (c->down_attention[level])
                h = transformer_at(&u, h, c->heads[level], block, i);
            skips[skip_count++] = h;
        }
        if (level < last) {
            h = bl_net_conv(net, h, c->channels[level], c->channels[level], 3, 2, false, "%s.downsamplers.0.conv", block);
            skips[skip_count++] = bl_graph_name(g, h, "%s.downsamplers.0", block);
        }
    }
    h = resnet(&u, h, c->channels[last], "mid_block", 0);
    h = transformer_at(&u, h, c->heads[last], "mid_block", 0);
    h = resnet(&u, h, c->channels[last], "mid_block", 1);
    for (uint32_t up = 0; up <= last; up++) {
        const uint32_t level = last - up;
        snprintf(block, sizeof(block), "up_blocks.%u", up);
        for (uint32_t i = 0; i <= c->layers; i++) {
            h = resnet(&u, bl_graph_concat(g, h, skips[--skip_count]), c->channels[level], block, i);
            if (c->up_attention[up])
                h = transformer_at(&u, h, c->heads[level], block, i);
        }
        if (up < last) {
            h = bl_net_conv(net, bl_graph_upsample(g, h), c->channels[level], c->channels[level], 3, 1, false, "%s.upsamplers.0.conv",
                            block);
            bl_graph_name(g, h, "%s.upsamplers.0", block);
        }
    }
    h = bl_graph_name(g, bl_net_group_norm(net, h, c->groups, c->eps, "conv_norm_out"), "conv_norm_out");
    h = bl_net_conv(net, bl_graph_activation(g, h, ACT_SILU), c->out_channels, c->channels[0], 3, 1, false, "conv_out");
    return bl_graph_name(g, h, "conv_out");
}
