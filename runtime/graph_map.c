/* Graph builders of attention maps, losses and pictures. Layer 3. */
#include "graph.h"

static bool present(bl_graph *g, const char *op, bl_value x, bl_value y)
{
    if (x == BL_NONE || y == BL_NONE)
        bl_graph_fail(g, BL_ERROR_USAGE, "%s: an operand is missing", op);
    return g->failed == BL_OK;
}

bl_value bl_graph_heads_mean(bl_graph *g, bl_value x, bl_value r, uint32_t heads, float scale)
{
    if (!present(g, "heads_mean", x, x))
        return BL_NONE;
    bl_shape s = bl_graph_shape(g, x);
    if (!heads || s.n % heads || (r != BL_NONE && bl_rows(bl_graph_shape(g, r)) != bl_rows(s) / heads))
        return bl_graph_fail(g, BL_ERROR_USAGE, "heads_mean: %u maps for %u heads", s.n, heads);
    s.n /= heads;
    const bl_value y = bl_graph_tensor(g, s, BL_F32);
    BL_NODE(g, heads_mean_fwd, ((struct heads_mean_params){ .heads = heads, .rows = bl_rows(s), .channels = s.c, .scale = scale }), x, r,
            y);
    return y;
}

bl_value bl_graph_softmax(bl_graph *g, bl_value x, float scale)
{
    if (!present(g, "softmax", x, x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_value y = bl_graph_tensor(g, s, BL_F32);
    BL_NODE(g, softmax_fwd, ((struct softmax_params){ .rows = bl_rows(s), .channels = s.c, .scale = scale }), x, y);
    return y;
}

bl_value bl_graph_smooth(bl_graph *g, bl_value x, float edge, float centre)
{
    if (!present(g, "smooth", x, x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    if (s.n != 1 || s.h < 2 || s.w < 2)
        return bl_graph_fail(g, BL_ERROR_USAGE, "smooth: a map of %u x %u", s.w, s.h);
    const bl_value y = bl_graph_tensor(g, s, BL_F32);
    BL_NODE(g, smooth_fwd, ((struct smooth_params){ .h = s.h, .width = s.w, .channels = s.c, .edge = edge, .centre = centre }), x, y);
    return y;
}

bl_value bl_graph_peak_loss(bl_graph *g, bl_value x, bl_value mask, bool mean)
{
    if (!present(g, "peak_loss", x, x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x), m = bl_graph_shape(g, mask);
    if (mask != BL_NONE && (bl_rows(m) != bl_rows(s) || m.c != 1))
        return bl_graph_fail(g, BL_ERROR_USAGE, "peak_loss: a mask of %u x %u for maps of %u", bl_rows(m), m.c, bl_rows(s));
    const bl_value y = bl_graph_tensor(g, (bl_shape){ 1, 1, 1, 1 + 2 * s.c }, BL_F32);
    BL_NODE(g, peak_loss_fwd, ((struct peak_loss_params){ .rows = bl_rows(s), .channels = s.c, .mean = mean }), x, mask, y);
    return y;
}

bl_value bl_graph_attention_gain(bl_graph *g, bl_value p, bl_value mask, bl_value gain, bl_value y)
{
    if (!present(g, "attention_gain", p, mask) || !present(g, "attention_gain", gain, y))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, p), m = bl_graph_shape(g, mask), k = bl_graph_shape(g, gain);
    if (bl_rows(m) != s.h * s.w || m.c != 1 || bl_rows(k) != 1 || k.c != s.c)
        return bl_graph_fail(g, BL_ERROR_USAGE, "attention_gain: a mask of %u rows and %u gains for %u x %u probabilities", bl_rows(m), k.c,
                             s.h * s.w, s.c);
    BL_NODE(g, attention_gain_fwd, ((struct attention_gain_params){ .heads = s.n, .tq = s.h * s.w, .tk = s.c }), p, mask, gain, y);
    return y;
}

bl_value bl_graph_cosine(bl_graph *g, bl_value x, bl_value y)
{
    if (!present(g, "cosine", x, y))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x), t = bl_graph_shape(g, y);
    if (bl_rows(s) != bl_rows(t) || s.c != t.c)
        return bl_graph_fail(g, BL_ERROR_USAGE, "cosine: %u x %u and %u x %u", bl_rows(s), s.c, bl_rows(t), t.c);
    const bl_value z = bl_graph_tensor(g, (bl_shape){ s.n, s.h, s.w, 1 }, BL_F32);
    BL_NODE(g, cosine_fwd, ((struct cosine_params){ .rows = bl_rows(s), .channels = s.c }), x, y, z);
    return z;
}

bl_value bl_graph_clamp(bl_graph *g, bl_value x, float scale, float shift)
{
    if (!present(g, "clamp", x, x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_value y = bl_graph_tensor(g, s, bl_graph_type(g, x));
    BL_NODE(g, clamp_fwd, ((struct clamp_params){ .rows = bl_rows(s), .channels = s.c, .scale = scale, .shift = shift }), x, y);
    return y;
}

bl_value bl_graph_bicubic(bl_graph *g, bl_value x, uint32_t oh, uint32_t ow)
{
    if (!present(g, "bicubic", x, x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_value y = bl_graph_tensor(g, (bl_shape){ s.n, oh, ow, s.c }, bl_graph_type(g, x));
    BL_NODE(g, bicubic_fwd, ((struct bicubic_params){ .images = s.n, .h = s.h, .width = s.w, .oh = oh, .ow = ow, .channels = s.c }), x, y);
    return y;
}

bl_value bl_graph_normalize(bl_graph *g, bl_value x, bl_value m)
{
    if (!present(g, "normalize", x, m))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x), t = bl_graph_shape(g, m);
    if (bl_rows(t) != 2 || t.c != s.c)
        return bl_graph_fail(g, BL_ERROR_USAGE, "normalize: %u channels with %u x %u factors", s.c, bl_rows(t), t.c);
    const bl_value y = bl_graph_tensor(g, s, bl_graph_type(g, x));
    BL_NODE(g, normalize_fwd, ((struct normalize_params){ .rows = bl_rows(s), .channels = s.c }), x, m, y);
    return y;
}
