/* Layer 4. */
#include "guide.h"
#include "grad.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const float SHARPNESS = 100; /* of the softmax over tokens */

/* The columns of the words' tokens side by side. */
static bl_value pick(bl_graph *g, bl_value maps, const bl_guide_spec *spec)
{
    bl_value picked = BL_NONE;
    for (uint32_t i = 0, run; i < spec->count; i += run) {
        for (run = 1; i + run < spec->count && spec->tokens[i + run] == spec->tokens[i] + run;)
            run++;
        const bl_value columns = bl_graph_channels(g, maps, spec->tokens[i] - 1, run);
        picked = picked == BL_NONE ? columns : bl_graph_concat(g, picked, columns);
    }
    return picked;
}

/* Maps and loss; the layers enter the mean as in the published code: those of the way up, then down, then the middle. */
static void build_loss(bl_guide *u, const bl_unet_config *c, const bl_unet_maps *maps)
{
    bl_graph *g = u->s.graph;
    const bl_guide_spec *spec = &u->spec;
    const uint32_t down = c->down_attention[spec->level] ? c->layers : 0, middle = spec->level == c->levels - 1;
    double all = 0;
    for (uint32_t i = 0; i < maps->count; i++)
        all += (double)maps->heads[i] * spec->branches;
    for (uint32_t i = 0; i < maps->count; i++) {
        const uint32_t ups = maps->count - down - middle;
        const uint32_t at = i < ups ? down + middle + i : i - ups;
        u->mean = bl_graph_heads_mean(g, maps->probs[at], u->mean, maps->heads[at] * spec->branches, (float)(1 / all));
    }
    bl_graph_keep(g, bl_graph_name(g, u->mean, "mean map"));
    bl_value a = pick(g, bl_graph_softmax(g, bl_graph_channels(g, u->mean, 1, spec->slice - 1), SHARPNESS), spec);
    if (spec->smooth)
        a = bl_graph_smooth(g, a, BL_SMOOTH_EDGE, BL_SMOOTH_CENTRE);
    else if (a != BL_NONE) /* a tensor of its own, which can be kept */
        a = bl_graph_copy(g, a, bl_graph_tensor(g, bl_graph_shape(g, a), BL_F32));
    u->maps = bl_graph_keep(g, bl_graph_name(g, a, "word maps"));
    if (spec->masked)
        u->s.mask = bl_graph_input(g, "map mask", (bl_shape){ 1, u->mh, u->mw, 1 }, BL_F32);
    u->loss = bl_graph_keep(g, bl_graph_name(g, bl_graph_peak_loss(g, u->maps, u->s.mask, spec->mean), "attention loss"));
}

enum { MAX_WRT = 64 };

static void build_gradient(bl_guide *u, const char *const *names)
{
    bl_graph *g = u->s.graph;
    bl_value wrt[MAX_WRT], out[MAX_WRT];
    uint32_t count = 0;
    wrt[count++] = u->s.x;
    if (u->spec.embedding)
        wrt[count++] = u->s.context;
    const uint32_t first = count;
    for (; names && *names && count < MAX_WRT; names++)
        wrt[count++] = bl_graph_find(g, *names);
    bl_graph_gradient(g, &(bl_seed){ .y = u->loss, .scale = u->spec.scale != 0 ? u->spec.scale : 1 }, 1, wrt, out, count);
    u->grad_latents = out[0];
    u->grad_embedding = u->spec.embedding ? out[1] : BL_NONE;
    for (uint32_t i = first; i < count; i++)
        bl_graph_name(g, out[i], "grad.%s", g->tensors[wrt[i]].name ? g->tensors[wrt[i]].name : "");
}

static bl_result check_spec(const bl_checkpoint *c, const bl_guide_spec *s)
{
    if (s->branches < 1 || s->branches > 2 || (s->branches == 2 && s->gradient) || !s->count || s->count > BL_MAX_WORDS || s->slice < 2 ||
        s->slice > c->text.positions || !(s->h >> s->level) || !(s->w >> s->level))
        return bl_fail(BL_ERROR_USAGE, "guidance of %u tokens below %u with %u prompts on a grid of %u x %u", s->count, s->slice,
                       s->branches, s->w >> s->level, s->h >> s->level);
    for (uint32_t i = 0; i < s->count; i++)
        if (!s->tokens[i] || s->tokens[i] >= s->slice)
            return bl_fail(BL_ERROR_USAGE, "guidance of token %u; 1 to %u can be guided", s->tokens[i], s->slice - 1);
    return BL_OK;
}

uint32_t bl_guide_level(const bl_unet_config *c, uint32_t h, uint32_t w, uint32_t res)
{
    const uint32_t side = BL_MAX(h, w), wanted = res ? res : BL_MAX(16, side / 4);
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t level = 0; level < c->levels; level++) {
        const double off = fabs(log2((double)(side >> level) / wanted));
        if (bl_unet_has_maps(c, level) && off < least) {
            least = off;
            best = level;
        }
    }
    return best;
}

bl_result bl_guide_create(bl_checkpoint *c, const bl_guide_spec *spec, bool keep_named, const char *const *wrt, bl_guide *u)
{
    bl_result result = BL_OK;
    *u = (bl_guide){ .spec = *spec, .mh = spec->h >> spec->level, .mw = spec->w >> spec->level };
    BL_TRY(check_spec(c, spec));
    BL_TRY(bl_graph_create(c->context->type, keep_named, &u->s.graph));
    const bl_net net = { u->s.graph, c->unet_weights };
    bl_unet_maps maps = { .level = spec->level, .only = true };
    const bl_value x = bl_stage_unet_inputs(c, &u->s, 1, spec->branches, spec->h, spec->w);
    bl_unet_build(&net, &c->unet, x, u->s.freqs, u->s.context, &maps, NULL);
    build_loss(u, &c->unet, &maps);
    u->forward_flops = bl_graph_flops(u->s.graph);
    const uint32_t forward = u->s.graph->node_count;
    if (spec->gradient)
        build_gradient(u, wrt);
    u->s.out = u->loss;
    u->s.forward_nodes = spec->gradient ? forward : 0;
    BL_TRY(bl_stage_finish(c, 1u << BL_NET_UNET, spec->gradient ? "guide" : spec->branches == 2 ? "both" : "check", 1, &u->s));
    u->flops = bl_graph_flops(u->s.graph); /* with what is computed again */
    BL_TRY(bl_stage_write_frequencies(c, &u->s));
fail:
    if (result != BL_OK)
        bl_guide_destroy(u);
    return result;
}

void bl_guide_destroy(bl_guide *u)
{
    bl_stage_destroy(&u->s);
    *u = (bl_guide){ 0 };
}

/* Pixels of the last token's map that are not below its mean. */
static bl_result localisation(const bl_guide *u, uint32_t *n)
{
    const size_t pixels = (size_t)u->mh * u->mw, words = u->spec.count;
    double mean = 0;
    float *maps = bl_alloc(pixels * words, sizeof(*maps));
    if (!maps)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for attention maps");
    const bl_result result = bl_guide_maps(u, maps);
    *n = 0;
    for (size_t i = 0; i < pixels; i++)
        mean += maps[i * words + words - 1] / (double)pixels;
    for (size_t i = 0; i < pixels; i++)
        *n += maps[i * words + words - 1] >= mean;
    bl_free(maps);
    return result;
}

bl_result bl_guide_run(bl_guide *u, const float *latents, const float *embedding, const float *mask, float t, bl_guidance *out,
                       float *grad_latents, float *grad_embedding)
{
    bl_result result = BL_OK;
    const bl_shape s = bl_graph_shape(u->s.graph, u->s.x), e = bl_graph_shape(u->s.graph, u->s.context);
    const size_t values = (size_t)s.h * s.w * s.c, pixels = (size_t)u->mh * u->mw;
    float y[1 + 2 * BL_MAX_WORDS];
    float *x = bl_alloc(values, sizeof(*x));
    *out = (bl_guidance){ 0 };
    if (!x)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for latents");
    bl_to_channels_last(latents, 1, s.c, s.h, s.w, s.c, x);
    BL_TRY(bl_exec_write(u->s.exec, u->s.x, x, values));
    BL_TRY(bl_exec_write(u->s.exec, u->s.context, embedding, (size_t)bl_rows(e) * e.c));
    if (u->spec.masked)
        BL_TRY(bl_exec_write(u->s.exec, u->s.mask, mask, pixels));
    BL_TRY(bl_exec_set_steps(u->s.exec, &(bl_step){ .t = t, .in_scale = 1 }, 1));
    BL_TRY(bl_exec_run(u->s.exec));
    BL_TRY(bl_stage_read(&u->s, u->loss, y, 1 + 2 * u->spec.count, "the attention loss is not finite"));
    out->loss = y[0];
    for (uint32_t i = 0; i < u->spec.count; i++) {
        out->top[i] = y[1 + 2 * i];
        out->at[i] = (uint32_t)y[2 + 2 * i];
    }
    BL_TRY(localisation(u, &out->n));
    if (grad_latents) {
        BL_TRY(bl_stage_read(&u->s, u->grad_latents, x, values, "the gradient of the attention loss is not finite"));
        for (size_t i = 0; i < values; i++)
            out->norm += (double)x[i] * x[i];
        out->norm = sqrt(out->norm);
        bl_to_channels_first(x, 1, s.c, s.h, s.w, s.c, grad_latents);
    }
    if (grad_embedding)
        BL_TRY(bl_stage_read(&u->s, u->grad_embedding, grad_embedding, (size_t)bl_rows(e) * e.c,
                             "the gradient of the attention loss is not finite"));
fail:
    bl_free(x);
    return result;
}

bl_result bl_guide_maps(const bl_guide *u, float *words)
{
    return bl_stage_read(&u->s, u->maps, words, (size_t)u->mh * u->mw * u->spec.count, "the attention maps are not finite");
}

bl_result bl_guide_mean(const bl_guide *u, float *mean)
{
    return bl_stage_read(&u->s, u->mean, mean, (size_t)u->mh * u->mw * bl_graph_shape(u->s.graph, u->mean).c,
                         "the attention maps are not finite");
}
