/* Layer 4. */
#include "checkpoint.h"
#include "recompute.h"
#include <stdio.h>
#include <string.h>

/* --- opening -------------------------------------------------------------------------------------------------------- */

/* Builds one network as small as it goes, so that every tensor is asked for. */
static bl_result bind_text(bl_checkpoint *c)
{
    bl_graph *g = NULL;
    bl_result result = BL_OK;
    BL_TRY(bl_graph_create(c->context->type, false, &g));
    const bl_net net = { g, c->text_weights };
    bl_clip_text_build(&net, &c->text, bl_graph_input(g, "x", (bl_shape){ 1, c->text.positions, 1, c->text.channels }, g->type));
    BL_TRY(bl_graph_check(g));
    BL_TRY(bl_clip_text_check(c->text_weights, &c->text)); /* not in the graph: they are looked up on the host */
fail:
    bl_graph_destroy(&g);
    return result;
}

static bl_result bind_unet(bl_checkpoint *c)
{
    bl_graph *g = NULL;
    bl_result result = BL_OK;
    const uint32_t side = 1u << (c->unet.levels - 1);
    BL_TRY(bl_graph_create(c->context->type, false, &g));
    const bl_net net = { g, c->unet_weights };
    bl_unet_build(&net, &c->unet, bl_graph_input(g, "x", (bl_shape){ 1, side, side, c->unet.in_channels }, g->type),
                  bl_graph_input(g, "freqs", (bl_shape){ 1, 1, 1, c->unet.channels[0] / 2 }, BL_F32),
                  bl_graph_input(g, "context", (bl_shape){ 1, c->text.positions, 1, c->unet.context }, g->type), NULL, NULL);
    BL_TRY(bl_graph_check(g));
fail:
    bl_graph_destroy(&g);
    return result;
}

static bl_result bind_vae(bl_checkpoint *c, bl_weights *weights, const bl_vae_config *config, bool encodes)
{
    bl_graph *g = NULL;
    bl_result result = BL_OK;
    const uint32_t side = bl_vae_factor(config);
    BL_TRY(bl_graph_create(c->context->vae_type, false, &g));
    const bl_net net = { g, weights };
    if (encodes)
        bl_vae_encode(&net, config, bl_graph_input(g, "image", (bl_shape){ 1, side, side, 4 }, g->type));
    bl_vae_decode(&net, config, bl_graph_input(g, "latents", (bl_shape){ 1, 1, 1, config->latent_channels }, g->type));
    BL_TRY(bl_graph_check(g));
fail:
    bl_graph_destroy(&g);
    return result;
}

/* Every tensor that the networks need; `places`: where they are, for messages. */
static bl_result bind_all(bl_checkpoint *c, const char *const places[BL_PARTS])
{
    const bl_dtype types[BL_PARTS] = { c->context->type, c->context->type, c->context->vae_type };
    bl_weights **const weights[BL_PARTS] = { &c->text_weights, &c->unet_weights, &c->vae_weights };
    bl_result result = BL_OK;
    for (int i = 0; i < BL_PARTS; i++)
        BL_TRY(bl_weights_open(c->parts.tensors, bl_net_prefix[i], places[i], types[i], c->context->device, weights[i]));
    BL_TRY(bind_text(c));
    BL_TRY(bind_unet(c));
    BL_TRY(bind_vae(c, c->vae_weights, &c->vae, true));
fail:
    return result;
}

bl_result bl_checkpoint_open(bl_context *context, const char *path, const bl_model_options *options, bl_checkpoint **out)
{
    bl_result result = BL_OK;
    bl_checkpoint *c = *out = bl_alloc(1, sizeof(*c));
    if (!c)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a checkpoint");
    c->context = context;
    BL_TRY(bl_device_check(context->device));
    if (!path)
        return BL_OK;
    bl_parts *p = &c->parts;
    BL_TRY(bl_parts_open(path, options, p));
    c->text = p->text;
    c->unet = p->unet;
    c->vae = p->vae;
    c->scheduler = p->scheduler;
    BL_TRY(bl_tokenizer_open(p->tokenizer, &c->tokenizer));
    BL_TRY(bind_all(c, (const char *const[]){ p->places[0], p->places[1], p->places[2] }));
    if (p->preview_place) {
        BL_TRY(bl_weights_open(p->tensors, "preview.", p->preview_place, context->vae_type, context->device, &c->preview_weights));
        BL_TRY(bind_vae(c, c->preview_weights, &p->preview, false));
    }
    if (p->prediction_assumed)
        bl_context_log(context, BL_LOG_WARNING, "%s: nothing in it says whether this Stable Diffusion 2.x predicts epsilon or v; "
                       "epsilon is assumed. If pictures are mere noise, it is v (option prediction)", path);
fail:
    if (result != BL_OK)
        bl_checkpoint_close(out);
    return result;
}

bl_result bl_checkpoint_open_random(bl_context *context, const bl_published *shapes, bl_checkpoint **out)
{
    static const char *const places[BL_PARTS] = { "random weights", "random weights", "random weights" };
    bl_result result = BL_OK;
    bl_checkpoint *c;
    BL_TRY(bl_checkpoint_open(context, NULL, NULL, out));
    c = *out;
    c->text = shapes->text;
    c->unet = shapes->unet;
    c->vae = shapes->vae;
    BL_TRY(bl_tensors_create_random(&c->parts.tensors));
    BL_TRY(bind_all(c, places));
fail:
    if (result != BL_OK)
        bl_checkpoint_close(out);
    return result;
}

void bl_checkpoint_close(bl_checkpoint **checkpoint)
{
    bl_checkpoint *c = *checkpoint;
    *checkpoint = NULL;
    if (!c)
        return;
    bl_weights_close(&c->text_weights);
    bl_weights_close(&c->unet_weights);
    bl_weights_close(&c->vae_weights);
    bl_weights_close(&c->preview_weights);
    bl_tokenizer_close(&c->tokenizer);
    bl_parts_close(&c->parts);
    bl_free(c);
}

/* --- stages --------------------------------------------------------------------------------------------------------- */

void bl_stage_destroy(bl_stage *s)
{
    if (s->owner) {
        for (int net = 0; net < BL_NET_COUNT; net++)
            s->owner->live[net] -= s->nets >> net & 1;
        if (s->owner->planning)
            s->owner->held.all -= s->activations;
    }
    bl_exec_destroy(&s->exec);
    bl_graph_destroy(&s->graph);
    *s = (bl_stage){ 0 };
}

/* By bits, because compilers may assume that there are no others. */
static bool all_finite(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        if ((bits & 0x7f800000) == 0x7f800000)
            return false;
    }
    return true;
}

bl_result bl_stage_read(const bl_stage *s, bl_value x, float *data, size_t count, const char *trouble)
{
    const bl_result result = bl_exec_read(s->exec, x, data, count);
    if (result != BL_OK || all_finite(data, count))
        return result;
    return bl_fail(BL_ERROR_MODEL, "%s%s", trouble, s->graph->type == BL_F16 ? ": try --precision f32" : "");
}

static bl_weights *net_of(const bl_checkpoint *c, int net)
{
    bl_weights *const all[BL_NET_COUNT] = { c->text_weights, c->unet_weights, c->vae_weights, c->clip_weights, c->preview_weights };
    return all[net];
}

static uint64_t net_bytes(const bl_checkpoint *c, int net) { return net_of(c, net) ? bl_weights_bytes(net_of(c, net)) : 0; }

/* Weights of a stage's networks that are still to be loaded; UINT64_MAX if the device cannot hold them. */
static uint64_t missing(const bl_checkpoint *c, unsigned nets, const bl_graph *g)
{
    uint64_t sum = 0;
    for (int net = 0; net < BL_NET_COUNT; net++)
        if (nets >> net & 1) {
            const uint64_t bytes = bl_weights_missing(net_of(c, net), g);
            sum = bytes > UINT64_MAX - sum ? UINT64_MAX : sum + bytes;
        }
    return sum;
}

/* What is held in truth, and not only planned. */
static void see_held(bl_checkpoint *c)
{
    c->held.all = c->context->device->bytes;
    for (int net = 0; net < BL_NET_COUNT; net++) {
        c->held.nets[net] = net_bytes(c, net);
        if (net_of(c, net))
            bl_weights_stop_pretending(net_of(c, net));
    }
}

void bl_checkpoint_begin(bl_checkpoint *c, bool planning)
{
    c->memory = (bl_memory_plan){ .fits = 1 };
    c->planning = planning;
    see_held(c);
    if (!planning)
        bl_kernels_forget(c->context->kernels);
}

static bl_result check_memory(const bl_checkpoint *c, const bl_memory_stage *s)
{
    const bl_device *d = c->context->device;
    const bool halved = c->stage_nets & (1u << BL_NET_TEXT | 1u << BL_NET_UNET); /* by fp16; all others compute and store fp32 */
    if (s->held <= c->memory.limit)
        return BL_OK;
    if (s->weights == UINT64_MAX)
        return bl_fail(BL_ERROR_MEMORY, "%s: one of its weights is larger than an allocation of this device can be", s->name);
    return bl_fail(BL_ERROR_MEMORY, "%s needs %.1f MiB of weights and %.1f MiB besides; the %.1f MiB in all are more than the %.1f MiB %s: "
                   "try a smaller picture%s", s->name, (double)s->weights / 0x1p20, (double)s->activations / 0x1p20,
                   (double)s->held / 0x1p20, (double)c->memory.limit / 0x1p20, d->allowed == c->memory.limit ? "allowed" : "the device has",
                   halved && c->context->type == BL_F32 && (d->caps & BL_CAP_S16) ? ", or --precision f16" : "");
}

/* Drops the weights of other networks that no stage uses, at last those of its own other parts, until a stage fits the limit; only
 * counts while planning. */
static bl_result make_room(bl_checkpoint *c, unsigned nets, const bl_graph *g, const char *name, uint64_t activations)
{
    static const int order[BL_NET_COUNT] = { BL_NET_TEXT, BL_NET_PREVIEW, BL_NET_VAE, BL_NET_CLIP, BL_NET_UNET };
    bl_memory_plan *m = &c->memory;
    if (!c->planning)
        see_held(c);
    m->limit = bl_device_limit(c->context->device);
    c->stage_nets = nets;
    bl_memory_stage s = { .activations = activations };
    snprintf(s.name, sizeof(s.name), "%s", name);
    for (int i = 0;; i++) { /* once through the others, once through its own */
        s.weights = missing(c, nets, g);
        s.held = s.weights > UINT64_MAX - c->held.all - activations ? UINT64_MAX : c->held.all + s.weights + activations;
        if (s.held <= m->limit || i == 2 * BL_NET_COUNT)
            break;
        const int goes = order[i % BL_NET_COUNT];
        const bool own = nets >> goes & 1;
        if (own != (i >= BL_NET_COUNT) || !c->held.nets[goes] || c->live[goes])
            continue;
        c->held.all -= c->held.nets[goes];
        c->held.nets[goes] = 0;
        m->evicts = 1;
        if (c->planning)
            bl_weights_pretend(net_of(c, goes), NULL);
        else
            bl_weights_release(net_of(c, goes));
    }
    for (int net = 0; net < BL_NET_COUNT; net++)
        if (nets >> net & 1) {
            const uint64_t bytes = missing(c, 1u << net, g);
            if (c->planning)
                bl_weights_pretend(net_of(c, net), g);
            c->held.all += bytes;
            c->held.nets[net] += bytes;
        }
    m->peak = BL_MAX(m->peak, s.held);
    m->fits = m->peak <= m->limit;
    if (m->stage_count < BL_COUNT(m->stages)) /* verification makes more */
        m->stages[m->stage_count++] = s;
    return c->planning ? BL_OK : check_memory(c, &s);
}

bl_result bl_checkpoint_check_memory(const bl_checkpoint *c)
{
    const bl_memory_plan *m = &c->memory;
    return m->stage_count ? check_memory(c, &m->stages[m->stage_count - 1]) : BL_OK;
}

/* Device memory that activations may take once the weights are there and everything has gone that may go. */
static uint64_t room_for(bl_checkpoint *c, unsigned nets, const bl_graph *g)
{
    if (!c->planning)
        see_held(c);
    uint64_t taken = c->held.all, room = bl_device_limit(c->context->device);
    const uint64_t lacking = missing(c, nets, g), table = 1 << 20; /* the step table, rounding */
    for (int i = 0; i < BL_NET_COUNT; i++)
        if (!(nets >> i & 1) && !c->live[i])
            taken -= BL_MIN(c->held.nets[i], taken);
    room -= BL_MIN(taken, room);
    room -= BL_MIN(lacking, room);
    return room - BL_MIN(table, room);
}

bl_result bl_stage_finish(bl_checkpoint *c, unsigned nets, const char *name, uint32_t steps, bl_stage *s)
{
    bl_result result = BL_OK;
    bl_plan *plan = NULL;
    bl_graph_keep(s->graph, s->out);
    BL_TRY(bl_graph_check(s->graph));
    BL_TRY(bl_graph_fuse(s->graph));
    BL_TRY(bl_plan_within(s->graph, s->forward_nodes, bl_block_limit(c->context->device), room_for(c, nets, s->graph), &plan,
                          &s->segments));
    BL_TRY(make_room(c, nets, s->graph, name, bl_exec_bytes_of(plan, steps)));
    s->owner = c;
    s->nets = nets;
    s->activations = bl_exec_bytes_of(plan, steps);
    for (int net = 0; net < BL_NET_COUNT; net++)
        c->live[net] += nets >> net & 1;
    if (c->planning) {
        c->held.all += s->activations;
        result = c->planned ? c->planned(c->planned_user, s->graph) : BL_OK;
        goto fail;
    }
    for (int net = 0; net < BL_NET_COUNT; net++)
        if (nets >> net & 1)
            BL_TRY(bl_weights_load(net_of(c, net), s->graph, c->context->stream));
    BL_TRY(bl_exec_create_planned(c->context->kernels, c->context->stream, s->graph, &plan, steps, &s->exec));
    c->memory.stages[c->memory.stage_count - 1].dispatches = bl_exec_dispatches(s->exec);
fail:
    bl_plan_destroy(&plan);
    return result;
}

/* Ends a stage function: a failed stage leaves nothing behind. */
static bl_result done(bl_stage *s, bl_result result)
{
    if (result != BL_OK)
        bl_stage_destroy(s);
    return result;
}

bl_result bl_stage_text(bl_checkpoint *c, uint32_t count, bool keep_named, bl_stage *s)
{
    bl_result result = BL_OK;
    *s = (bl_stage){ 0 };
    BL_TRY(bl_graph_create(c->context->type, keep_named, &s->graph));
    const bl_net net = { s->graph, c->text_weights };
    s->x = bl_graph_input(s->graph, "hidden_states.0", (bl_shape){ count, c->text.positions, 1, c->text.channels }, c->context->type);
    s->out = bl_clip_text_build(&net, &c->text, s->x);
    BL_TRY(bl_stage_finish(c, 1u << BL_NET_TEXT, "text", 0, s));
fail:
    return done(s, result);
}

bl_value bl_stage_unet_inputs(bl_checkpoint *c, bl_stage *s, uint32_t samples, uint32_t copies, uint32_t h, uint32_t w)
{
    bl_graph *g = s->graph;
    const uint32_t side = 1u << (c->unet.levels - 1);
    if (h % side || w % side)
        return bl_graph_fail(g, BL_ERROR_USAGE, "pictures of %u x %u pixels: this model needs multiples of %u", w * bl_vae_factor(&c->vae),
                             h * bl_vae_factor(&c->vae), side * bl_vae_factor(&c->vae));
    s->x = bl_graph_input(g, "sample", (bl_shape){ samples, h, w, c->unet.in_channels }, BL_F32);
    s->freqs = bl_graph_input(g, "freqs", (bl_shape){ 1, 1, 1, c->unet.channels[0] / 2 }, BL_F32);
    s->context = bl_graph_input(g, "context", (bl_shape){ samples * copies, c->text.positions, 1, c->unet.context }, c->context->type);
    return bl_graph_scale(g, s->x, copies, 1, true);
}

bl_result bl_stage_write_frequencies(bl_checkpoint *c, bl_stage *s)
{
    const uint32_t half = c->unet.channels[0] / 2;
    if (c->planning)
        return BL_OK;
    float *freqs = bl_alloc(half, sizeof(*freqs));
    if (!freqs)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for %u frequencies", half);
    bl_unet_frequencies(half, freqs);
    const bl_result result = bl_exec_write(s->exec, s->freqs, freqs, half);
    bl_free(freqs);
    return result;
}

bl_result bl_stage_unet(bl_checkpoint *c, uint32_t n, uint32_t h, uint32_t w, bool keep_named, bl_stage *s)
{
    bl_result result = BL_OK;
    *s = (bl_stage){ 0 };
    BL_TRY(bl_graph_create(c->context->type, keep_named, &s->graph));
    const bl_net net = { s->graph, c->unet_weights };
    const bl_value x = bl_stage_unet_inputs(c, s, n, 1, h, w);
    s->out = bl_unet_build(&net, &c->unet, x, s->freqs, s->context, NULL, NULL);
    BL_TRY(bl_stage_finish(c, 1u << BL_NET_UNET, "unet", 1, s));
    BL_TRY(bl_stage_write_frequencies(c, s));
fail:
    return done(s, result);
}

bl_result bl_stage_sampler(bl_checkpoint *c, uint32_t branches, uint32_t h, uint32_t w, bool masked, bool gained, bool noisy,
                           uint32_t steps, bl_stage *s)
{
    bl_result result = BL_OK;
    const bl_shape one = { 1, h, w, c->unet.in_channels };
    *s = (bl_stage){ 0 };
    BL_TRY(bl_graph_create(c->context->type, false, &s->graph));
    bl_graph *g = s->graph;
    const bl_net net = { g, c->unet_weights };
    const bl_value x = bl_stage_unet_inputs(c, s, 1, branches, h, w);
    bl_unet_gain gain = { .gain = BL_NONE };
    if (gained) {
        gain.gain = s->gain = bl_graph_input(g, "gain", (bl_shape){ 1, 1, 1, c->text.positions }, BL_F32);
        for (uint32_t level = 0; level < c->unet.levels; level++)
            if (bl_unet_has_maps(&c->unet, level))
                gain.masks[level] = s->gain_masks[level] = bl_graph_input(g, "gain mask", (bl_shape){ 1, h >> level, w >> level, 1 },
                                                                          BL_F32);
    }
    const bl_value prediction = bl_unet_build(&net, &c->unet, x, s->freqs, s->context, NULL, gained ? &gain : NULL);
    s->history = bl_graph_input(g, "history", (bl_shape){ 4, h, w, one.c }, BL_F32);
    s->prediction = bl_graph_keep(g, bl_graph_guidance(g, prediction, branches));
    s->drawn = noisy ? bl_graph_input(g, "drawn noise", one, BL_F32) : BL_NONE;
    bl_graph_scheduler_step(g, s->prediction, s->drawn, s->x, s->history);
    if (masked) {
        s->mask = bl_graph_input(g, "mask", (bl_shape){ 1, h, w, 1 }, BL_F32);
        s->source = bl_graph_input(g, "source", one, BL_F32);
        s->noise = bl_graph_input(g, "noise", one, BL_F32);
        bl_graph_blend(g, s->mask, s->source, s->noise, s->x);
    }
    bl_graph_step_next(g, steps);
    s->out = s->x;
    BL_TRY(bl_stage_finish(c, 1u << BL_NET_UNET, "unet", steps, s));
    BL_TRY(bl_stage_write_frequencies(c, s));
fail:
    return done(s, result);
}

bl_result bl_stage_encode(bl_checkpoint *c, uint32_t h, uint32_t w, bool keep_named, bl_stage *s)
{
    bl_result result = BL_OK;
    *s = (bl_stage){ 0 };
    BL_TRY(bl_graph_create(c->context->vae_type, keep_named, &s->graph));
    const bl_net net = { s->graph, c->vae_weights };
    s->x = bl_graph_input(s->graph, "image", (bl_shape){ 1, h, w, 4 }, c->context->vae_type);
    s->out = bl_vae_encode(&net, &c->vae, s->x);
    BL_TRY(bl_stage_finish(c, 1u << BL_NET_VAE, "encode", 0, s));
fail:
    return done(s, result);
}

static bl_result decode_with(bl_checkpoint *c, bl_net_kind kind, const bl_vae_config *config, const char *name, uint32_t h, uint32_t w,
                             bool keep_named, bl_stage *s)
{
    bl_result result = BL_OK;
    *s = (bl_stage){ 0 };
    BL_TRY(bl_graph_create(c->context->vae_type, keep_named, &s->graph));
    const bl_net net = { s->graph, net_of(c, kind) };
    s->x = bl_graph_input(s->graph, "latents", (bl_shape){ 1, h, w, config->latent_channels }, BL_F32);
    s->out = bl_vae_decode(&net, config, bl_graph_scale(s->graph, s->x, 1, 1 / config->scaling, false));
    BL_TRY(bl_stage_finish(c, 1u << kind, name, 1, s)); /* scale_fwd binds a step table, though it does not use it here */
fail:
    return done(s, result);
}

bl_result bl_stage_decode(bl_checkpoint *c, uint32_t h, uint32_t w, bool keep_named, bl_stage *s)
{
    return decode_with(c, BL_NET_VAE, &c->vae, "decode", h, w, keep_named, s);
}

bl_result bl_stage_preview(bl_checkpoint *c, uint32_t h, uint32_t w, bl_stage *s)
{
    *s = (bl_stage){ 0 };
    if (c->preview_weights)
        return decode_with(c, BL_NET_PREVIEW, &c->parts.preview, "preview", h, w, false, s);
    return c->vae.tiny ? decode_with(c, BL_NET_VAE, &c->vae, "preview", h, w, false, s)
                       : bl_fail(BL_ERROR_USAGE, "there is no tiny autoencoder to draw previews with");
}

bl_result bl_encode_text(bl_checkpoint *c, const int32_t *ids, uint32_t count, float *out)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    const size_t values = (size_t)count * c->text.positions * c->text.channels; /* config.c bounds the factors */
    float *x = bl_alloc(values, sizeof(*x));
    if (!x)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a text embedding");
    BL_TRY(bl_clip_text_embed(c->text_weights, &c->text, ids, count, x));
    BL_TRY(bl_stage_text(c, count, false, &s));
    BL_TRY(bl_exec_write(s.exec, s.x, x, values));
    BL_TRY(bl_exec_run(s.exec));
    BL_TRY(bl_stage_read(&s, s.out, out, values, "the text embedding is not finite"));
fail:
    bl_stage_destroy(&s);
    bl_free(x);
    return result;
}

/* --- layouts -------------------------------------------------------------------------------------------------------- */

void bl_to_channels_last(const float *nchw, uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t padded, float *nhwc)
{
    const size_t pixels = (size_t)h * w;
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < pixels; p++)
            for (size_t k = 0; k < padded; k++)
                nhwc[(i * pixels + p) * padded + k] = k < c ? nchw[(i * c + k) * pixels + p] : 0;
}

void bl_to_channels_first(const float *nhwc, uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t stride, float *nchw)
{
    const size_t pixels = (size_t)h * w;
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < pixels; p++)
            for (size_t k = 0; k < c; k++)
                nchw[(i * c + k) * pixels + p] = nhwc[(i * pixels + p) * stride + k];
}
