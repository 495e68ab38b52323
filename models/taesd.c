/* Layer 4. */
#include "taesd.h"
#include <stdio.h>

/* Numbers of the layers in each half: an activation and an enlargement have one too, though they have no tensors. */
typedef struct half {
    const bl_net *net;
    const char *name;   /* "encoder", "decoder" */
    uint32_t next;
} half;

/* 3x3; those that change the size have no bias. */
static bl_value conv(half *f, bl_value x, uint32_t out, uint32_t in, uint32_t stride, bool bias, const char *of)
{
    if (bias)
        return bl_net_conv(f->net, x, out, in, 3, stride, false, "%s.layers.%u%s", f->name, f->next, of);
    char name[64];
    snprintf(name, sizeof(name), "%s.layers.%u%s.weight", f->name, f->next, of);
    bl_graph *g = f->net->g;
    return bl_graph_conv(g, x, bl_graph_weight(g, bl_weights_conv(f->net->w, g, out, in, 3, name)), BL_NONE, 3, stride, false);
}

/* ReLU(x + three convolutions of x). */
static bl_value block(half *f, bl_value x, uint32_t channels)
{
    bl_graph *g = f->net->g;
    bl_value h = bl_graph_activation(g, conv(f, x, channels, channels, 1, true, ".conv.0"), ACT_RELU);
    h = bl_graph_activation(g, conv(f, h, channels, channels, 1, true, ".conv.2"), ACT_RELU);
    h = conv(f, h, channels, channels, 1, true, ".conv.4");
    return bl_graph_name(g, bl_graph_activation(g, bl_graph_add(g, x, h), ACT_RELU), "%s.layers.%u", f->name, f->next++);
}

/* scale x + shift; fp32. */
static bl_value affine(bl_graph *g, bl_value x, float scale, float shift)
{
    const uint32_t channels = bl_graph_shape(g, x).c;
    const bl_value row = bl_graph_tensor(g, (bl_shape){ bl_graph_shape(g, x).n, 1, 1, channels }, g->type);
    if (row != BL_NONE)
        BL_NODE(g, fill_fwd, ((struct fill_params){ .rows = bl_graph_shape(g, x).n, .channels = channels, .value = shift }), row);
    return bl_graph_add(g, bl_graph_scale(g, x, 1, scale, false), row);
}

bl_value bl_taesd_encode(const bl_net *net, const bl_vae_config *c, bl_value image)
{
    half f = { net, "encoder", 0 };
    const uint32_t channels = c->channels[0];
    bl_value h = bl_graph_clamp(net->g, image, 0.5f, 0.5f); /* it sees 0 .. 1; a picture is within */
    h = conv(&f, h, channels, c->in_channels, 1, true, "");
    f.next++;
    for (uint32_t level = 0; level < c->levels; level++) {
        for (uint32_t i = 0; i < c->encoder_blocks[level]; i++)
            h = block(&f, h, channels);
        if (level + 1 < c->levels) {
            h = conv(&f, h, channels, channels, 2, false, "");
            f.next++;
        }
    }
    return bl_graph_name(net->g, conv(&f, h, c->latent_channels, channels, 1, true, ""), "encoder.layers.%u", f.next);
}

bl_value bl_taesd_decode(const bl_net *net, const bl_vae_config *c, bl_value latents)
{
    bl_graph *g = net->g;
    half f = { net, "decoder", 0 };
    const uint32_t channels = c->channels[0];
    bl_value h = conv(&f, bl_graph_activation(g, latents, ACT_TANH_3), channels, c->latent_channels, 1, true, "");
    h = bl_graph_activation(g, h, ACT_RELU);
    f.next += 2;
    for (uint32_t level = 0; level < c->levels; level++) {
        for (uint32_t i = 0; i < c->decoder_blocks[level]; i++)
            h = block(&f, h, channels);
        if (level + 1 < c->levels) {
            f.next++;
            h = conv(&f, bl_graph_upsample(g, h), channels, channels, 1, false, "");
            f.next++;
        }
    }
    return affine(g, conv(&f, h, c->in_channels, channels, 1, true, ""), 2, -1); /* it makes 0 .. 1 */
}
