/* Layer 4. */
#include "layers.h"
#include <stdarg.h>
#include <stdio.h>

enum { NAME_SIZE = 200 };
typedef struct name { char text[NAME_SIZE]; } name;

#define FORMAT(out, fmt) \
    name out; \
    do { \
        va_list ap; \
        va_start(ap, fmt); \
        vsnprintf(out.text, sizeof(out.text), fmt, ap); \
        va_end(ap); \
    } while (0)

static name join(const char *prefix, const char *separator, const char *suffix)
{
    name n;
    snprintf(n.text, sizeof(n.text), "%.140s%s%.50s", prefix, separator, suffix);
    return n;
}

static bl_value vector(const bl_net *net, uint32_t n, const char *of, const char *what)
{
    const name full = join(of, ".", what);
    const char *names[] = { full.text };
    return bl_graph_weight(net->g, bl_weights_vector(net->w, net->g, n, 1, names));
}

bl_value bl_net_linear(const bl_net *net, bl_value x, uint32_t out, bool bias, const char *fmt, ...)
{
    FORMAT(n, fmt);
    const name weight = join(n.text, ".", "weight");
    const char *names[] = { weight.text };
    const uint32_t in = bl_graph_shape(net->g, x).c;
    const bl_value w = bl_graph_weight(net->g, bl_weights_matrix(net->w, net->g, out, in, 1, names));
    return bl_graph_linear(net->g, x, w, bias ? vector(net, out, n.text, "bias") : BL_NONE);
}

bl_value bl_net_linears(const bl_net *net, bl_value x, uint32_t out, bool bias, uint32_t parts, const char *const *suffixes,
                        const char *prefix)
{
    name weights[BL_WEIGHT_PARTS], biases[BL_WEIGHT_PARTS];
    const char *w_names[BL_WEIGHT_PARTS], *b_names[BL_WEIGHT_PARTS];
    for (uint32_t i = 0; i < parts; i++) {
        const name n = join(prefix, ".", suffixes[i]);
        weights[i] = join(n.text, ".", "weight");
        biases[i] = join(n.text, ".", "bias");
        w_names[i] = weights[i].text;
        b_names[i] = biases[i].text;
    }
    const bl_value w = bl_graph_weight(net->g, bl_weights_matrix(net->w, net->g, out, bl_graph_shape(net->g, x).c, parts, w_names));
    const bl_value b = bias ? bl_graph_weight(net->g, bl_weights_vector(net->w, net->g, out, parts, b_names)) : BL_NONE;
    return bl_graph_linear(net->g, x, w, b);
}

bl_value bl_net_conv(const bl_net *net, bl_value x, uint32_t out, uint32_t in, uint32_t kernel, uint32_t stride, bool asymmetric,
                     const char *fmt, ...)
{
    FORMAT(n, fmt);
    const name weight = join(n.text, ".", "weight");
    const bl_value w = bl_graph_weight(net->g, bl_weights_conv(net->w, net->g, out, in, kernel, weight.text));
    return bl_graph_conv(net->g, x, w, vector(net, out, n.text, "bias"), kernel, stride, asymmetric);
}

bl_value bl_net_group_norm(const bl_net *net, bl_value x, uint32_t groups, float eps, const char *fmt, ...)
{
    FORMAT(n, fmt);
    const uint32_t c = bl_graph_shape(net->g, x).c;
    const bl_value w = vector(net, c, n.text, "weight"), b = vector(net, c, n.text, "bias");
    return bl_graph_group_norm(net->g, x, w, b, groups, eps);
}

bl_value bl_net_layer_norm(const bl_net *net, bl_value x, float eps, const char *fmt, ...)
{
    FORMAT(n, fmt);
    const uint32_t c = bl_graph_shape(net->g, x).c;
    const bl_value w = vector(net, c, n.text, "weight"), b = vector(net, c, n.text, "bias");
    return bl_graph_layer_norm(net->g, x, w, b, eps);
}

bl_value bl_net_resnet(const bl_net *net, bl_value x, bl_value emb, uint32_t out, uint32_t groups, float eps, const char *prefix)
{
    bl_graph *g = net->g;
    const uint32_t in = bl_graph_shape(g, x).c;
    /* the shortcut first: the second convolution adds it in its epilogue */
    const bl_value shortcut = in == out ? x : bl_net_conv(net, x, out, in, 1, 1, false, "%s.conv_shortcut", prefix);
    bl_value h = bl_graph_activation(g, bl_net_group_norm(net, x, groups, eps, "%s.norm1", prefix), ACT_SILU);
    const bl_value shift = emb == BL_NONE ? BL_NONE : bl_net_linear(net, emb, out, true, "%s.time_emb_proj", prefix);
    h = bl_net_conv(net, h, out, in, 3, 1, false, "%s.conv1", prefix);
    if (emb != BL_NONE)
        h = bl_graph_add(g, h, shift);
    h = bl_graph_activation(g, bl_net_group_norm(net, h, groups, eps, "%s.norm2", prefix), ACT_SILU);
    h = bl_net_conv(net, h, out, out, 3, 1, false, "%s.conv2", prefix);
    return bl_graph_name(g, bl_graph_add(g, shortcut, h), "%s", prefix);
}

bl_value bl_net_clip_layer(const bl_net *net, const bl_clip_tower *t, bl_value x, const char *prefix)
{
    static const char *const qkv[] = { "q_proj", "k_proj", "v_proj" };
    bl_graph *g = net->g;
    const uint32_t c = t->channels;
    const name attn = join(prefix, ".", "self_attn");
    const bl_value a = bl_net_linears(net, bl_net_layer_norm(net, x, t->eps, "%s.layer_norm1", prefix), c, true, 3, qkv, attn.text);
    const bl_value y = bl_graph_attention(g, bl_graph_channels(g, a, 0, c), bl_graph_channels(g, a, c, c),
                                          bl_graph_channels(g, a, 2 * c, c), t->heads, t->causal);
    const bl_value h = bl_graph_add(g, bl_net_linear(net, y, c, true, "%s.out_proj", attn.text), x);
    bl_value f = bl_net_linear(net, bl_net_layer_norm(net, h, t->eps, "%s.layer_norm2", prefix), t->intermediate, true, "%s.mlp.fc1",
                               prefix);
    f = bl_net_linear(net, bl_graph_activation(g, f, t->act), c, true, "%s.mlp.fc2", prefix);
    return bl_graph_add(g, f, h);
}
