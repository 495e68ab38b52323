/* Layer 4. */
#include "vae.h"
#include "taesd.h"
#include <stdio.h>

enum { PREFIX = 96 };
static const float EPS = 1e-6f;

static bl_value resnet(const bl_net *net, const bl_vae_config *c, bl_value x, uint32_t out, const char *block, uint32_t i)
{
    char name[PREFIX];
    snprintf(name, sizeof(name), "%s.resnets.%u", block, i);
    return bl_net_resnet(net, x, BL_NONE, out, c->groups, EPS, name);
}

/* One head over all pixels. */
static bl_value attention(const bl_net *net, const bl_vae_config *c, bl_value x, const char *block)
{
    static const char *const names[] = { "to_q", "to_k", "to_v" };
    bl_graph *g = net->g;
    const uint32_t channels = bl_graph_shape(g, x).c;
    char prefix[PREFIX];
    snprintf(prefix, sizeof(prefix), "%s.attentions.0", block);
    const bl_value h = bl_net_group_norm(net, x, c->groups, EPS, "%s.group_norm", prefix);
    const bl_value qkv = bl_net_linears(net, h, channels, true, 3, names, prefix);
    const bl_value y = bl_graph_attention(g, bl_graph_channels(g, qkv, 0, channels), bl_graph_channels(g, qkv, channels, channels),
                                          bl_graph_channels(g, qkv, 2 * channels, channels), 1, false);
    const bl_value out = bl_net_linear(net, y, channels, true, "%s.to_out.0", prefix);
    return bl_graph_name(g, bl_graph_add(g, out, x), "%s", prefix);
}

static bl_value middle(const bl_net *net, const bl_vae_config *c, bl_value h, const char *block)
{
    const uint32_t channels = c->channels[c->levels - 1];
    h = resnet(net, c, h, channels, block, 0);
    h = attention(net, c, h, block);
    return resnet(net, c, h, channels, block, 1);
}

/* norm, SiLU, conv */
static bl_value finish(const bl_net *net, const bl_vae_config *c, bl_value h, uint32_t out, const char *part)
{
    const uint32_t in = bl_graph_shape(net->g, h).c;
    h = bl_graph_activation(net->g, bl_net_group_norm(net, h, c->groups, EPS, "%s.conv_norm_out", part), ACT_SILU);
    return bl_graph_name(net->g, bl_net_conv(net, h, out, in, 3, 1, false, "%s.conv_out", part), "%s.conv_out", part);
}

bl_value bl_vae_encode(const bl_net *net, const bl_vae_config *c, bl_value image)
{
    bl_graph *g = net->g;
    const uint32_t moments = 2 * c->latent_channels;
    char block[48];
    if (c->tiny)
        return bl_taesd_encode(net, c, image);
    bl_value h = bl_graph_name(g, bl_net_conv(net, image, c->channels[0], c->in_channels, 3, 1, false, "encoder.conv_in"),
                               "encoder.conv_in");
    for (uint32_t level = 0; level < c->levels; level++) {
        const uint32_t channels = c->channels[level];
        snprintf(block, sizeof(block), "encoder.down_blocks.%u", level);
        for (uint32_t i = 0; i < c->layers; i++)
            h = resnet(net, c, h, channels, block, i);
        if (level + 1 < c->levels) {
            h = bl_net_conv(net, h, channels, channels, 3, 2, true, "%s.downsamplers.0.conv", block);
            bl_graph_name(g, h, "%s.downsamplers.0", block);
        }
    }
    h = finish(net, c, middle(net, c, h, "encoder.mid_block"), moments, "encoder");
    return bl_graph_name(g, bl_net_conv(net, h, moments, moments, 1, 1, false, "quant_conv"), "quant_conv");
}

bl_value bl_vae_decode(const bl_net *net, const bl_vae_config *c, bl_value latents)
{
    bl_graph *g = net->g;
    const uint32_t last = c->levels - 1, latent = c->latent_channels;
    char block[48];
    if (c->tiny)
        return bl_taesd_decode(net, c, latents);
    bl_value h = bl_graph_name(g, bl_net_conv(net, latents, latent, latent, 1, 1, false, "post_quant_conv"), "post_quant_conv");
    h = bl_graph_name(g, bl_net_conv(net, h, c->channels[last], latent, 3, 1, false, "decoder.conv_in"), "decoder.conv_in");
    h = middle(net, c, h, "decoder.mid_block");
    for (uint32_t up = 0; up <= last; up++) {
        const uint32_t channels = c->channels[last - up];
        snprintf(block, sizeof(block), "decoder.up_blocks.%u", up);
        for (uint32_t i = 0; i <= c->layers; i++)
            h = resnet(net, c, h, channels, block, i);
        if (up < last) {
            h = bl_net_conv(net, bl_graph_upsample(g, h), channels, channels, 3, 1, false, "%s.upsamplers.0.conv", block);
            bl_graph_name(g, h, "%s.upsamplers.0", block);
        }
    }
    return finish(net, c, h, c->in_channels, "decoder");
}
