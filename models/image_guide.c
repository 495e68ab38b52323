/* Layer 4. */
#include "image_guide.h"
#include "grad.h"
#include <math.h>

/* From pixels of 0-1 to the cosine. */
static bl_value build_loss(bl_image_guide *u, const bl_clip *clip, bl_value pixels)
{
    bl_graph *g = u->s.graph;
    const bl_net net = { g, clip->weights };
    u->text = bl_graph_input(g, "text features", (bl_shape){ 1, 1, 1, clip->config.projection }, BL_F32);
    u->normalisation = bl_graph_input(g, "normalisation", (bl_shape){ 1, 1, 2, 4 }, BL_F32);
    bl_value x = bl_graph_bicubic(g, pixels, clip->config.size, clip->config.size);
    x = bl_graph_name(g, bl_graph_normalize(g, x, u->normalisation), "x224");
    return bl_graph_cosine(g, bl_clip_vision_build(&net, &clip->config, x), u->text);
}

static bl_result write_constants(const bl_image_guide *u, const bl_clip *clip, const float *text)
{
    bl_result result = BL_OK;
    float normalisation[8];
    bl_clip_normalisation(normalisation);
    BL_TRY(bl_exec_write(u->s.exec, u->text, text, clip->config.projection));
    BL_TRY(bl_exec_write(u->s.exec, u->normalisation, normalisation, 8));
fail:
    return result;
}

bl_result bl_image_guide_create(bl_checkpoint *c, bl_clip *clip, uint32_t h, uint32_t w, const float *text, bl_image_guide *u)
{
    bl_result result = BL_OK;
    bl_stage *s = &u->s;
    *u = (bl_image_guide){ 0 };
    BL_TRY(bl_graph_create(BL_F32, false, &s->graph));
    const bl_net vae = { s->graph, c->vae_weights };
    s->x = bl_graph_input(s->graph, "latents", (bl_shape){ 1, h, w, c->vae.latent_channels }, BL_F32);
    const bl_value decoded = bl_vae_decode(&vae, &c->vae, bl_graph_scale(s->graph, s->x, 1, 1 / c->vae.scaling, false));
    u->loss = s->out = build_loss(u, clip, bl_graph_clamp(s->graph, decoded, 0.5f, 0.5f));
    u->forward_flops = bl_graph_flops(s->graph);
    s->forward_nodes = s->graph->node_count;
    bl_graph_gradient(s->graph, &(bl_seed){ .y = u->loss, .scale = -1 }, 1, &s->x, &u->grad_latents, 1);
    BL_TRY(bl_stage_finish(c, 1u << BL_NET_VAE | 1u << BL_NET_CLIP, "image", 1, s));
    u->flops = bl_graph_flops(s->graph); /* with what is computed again */
    if (!c->planning)
        BL_TRY(write_constants(u, clip, text));
fail:
    if (result != BL_OK)
        bl_image_guide_destroy(u);
    return result;
}

bl_result bl_image_guide_for_prompt(bl_checkpoint *c, bl_clip *clip, uint32_t h, uint32_t w, const char *prompt, bl_image_guide *out)
{
    float *text = bl_alloc(clip->config.projection, sizeof(*text));
    if (!text)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for the features of a text");
    bl_result result = bl_clip_prompt_features(clip, prompt, text);
    if (result == BL_OK)
        result = bl_image_guide_create(c, clip, h, w, text, out);
    bl_free(text);
    return result;
}

void bl_image_guide_destroy(bl_image_guide *u)
{
    bl_stage_destroy(&u->s);
    *u = (bl_image_guide){ 0 };
}

bl_result bl_image_guide_run(bl_image_guide *u, const float *latents, float *loss, float *grad_latents)
{
    bl_result result = BL_OK;
    const bl_shape s = bl_graph_shape(u->s.graph, u->s.x);
    const size_t values = (size_t)s.h * s.w * s.c;
    float cosine;
    float *x = bl_alloc(values, sizeof(*x));
    if (!x)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for latents");
    bl_to_channels_last(latents, 1, s.c, s.h, s.w, s.c, x);
    BL_TRY(bl_exec_write(u->s.exec, u->s.x, x, values));
    BL_TRY(bl_exec_set_steps(u->s.exec, &(bl_step){ .in_scale = 1 }, 1));
    BL_TRY(bl_exec_run(u->s.exec));
    BL_TRY(bl_stage_read(&u->s, u->loss, &cosine, 1, "the image loss is not finite"));
    BL_TRY(bl_stage_read(&u->s, u->grad_latents, x, values, "the gradient of the image loss is not finite"));
    *loss = 1 - cosine;
    bl_to_channels_first(x, 1, s.c, s.h, s.w, s.c, grad_latents);
fail:
    bl_free(x);
    return result;
}

bl_result bl_image_guide_of_pixels(bl_checkpoint *c, bl_clip *clip, uint32_t h, uint32_t w, const float *text, bl_image_guide *u,
                                   bl_value *features, bl_value *x224, bl_value *grad_x224)
{
    bl_result result = BL_OK;
    bl_stage *s = &u->s;
    bl_value out[2];
    *u = (bl_image_guide){ 0 };
    BL_TRY(bl_graph_create(BL_F32, true, &s->graph));
    s->x = bl_graph_input(s->graph, "pixels", (bl_shape){ 1, h, w, 4 }, BL_F32);
    u->loss = s->out = build_loss(u, clip, s->x);
    s->forward_nodes = s->graph->node_count;
    *features = bl_graph_find(s->graph, "image_features");
    *x224 = bl_graph_find(s->graph, "x224");
    bl_graph_gradient(s->graph, &(bl_seed){ .y = u->loss, .scale = -1 }, 1, (bl_value[]){ s->x, *x224 }, out, 2);
    u->grad_latents = out[0];
    *grad_x224 = out[1];
    BL_TRY(bl_stage_finish(c, 1u << BL_NET_CLIP, "image", 1, s));
    BL_TRY(write_constants(u, clip, text));
fail:
    if (result != BL_OK)
        bl_image_guide_destroy(u);
    return result;
}
