/* The fixture's checkpoint as one file with the names of the original code, written from today's names by rules of its own. Static
 * functions only. */
#ifndef LDM_WRITER_H
#define LDM_WRITER_H
#include "model_fixture.h"

typedef struct ldm_row {
    const char *now, *then;
} ldm_row;

/* Two levels of one layer, transformers at the first and in the middle. */
static const ldm_row ldm_unet[] = {
    { "time_embedding.linear_1.", "time_embed.0." }, { "time_embedding.linear_2.", "time_embed.2." }, { "conv_in.", "input_blocks.0.0." },
    { "down_blocks.0.resnets.0.", "input_blocks.1.0." }, { "down_blocks.0.attentions.0.", "input_blocks.1.1." },
    { "down_blocks.0.downsamplers.0.conv.", "input_blocks.2.0.op." }, { "down_blocks.1.resnets.0.", "input_blocks.3.0." },
    { "mid_block.resnets.0.", "middle_block.0." }, { "mid_block.attentions.0.", "middle_block.1." },
    { "mid_block.resnets.1.", "middle_block.2." }, { "up_blocks.0.resnets.0.", "output_blocks.0.0." },
    { "up_blocks.0.resnets.1.", "output_blocks.1.0." }, { "up_blocks.0.upsamplers.0.conv.", "output_blocks.1.1.conv." },
    { "up_blocks.1.resnets.0.", "output_blocks.2.0." }, { "up_blocks.1.attentions.0.", "output_blocks.2.1." },
    { "up_blocks.1.resnets.1.", "output_blocks.3.0." }, { "up_blocks.1.attentions.1.", "output_blocks.3.1." },
    { "conv_norm_out.", "out.0." }, { "conv_out.", "out.2." }, { 0 },
};
static const ldm_row ldm_resnet[] = { { "norm1.", "in_layers.0." }, { "conv1.", "in_layers.2." }, { "time_emb_proj.", "emb_layers.1." },
    { "norm2.", "out_layers.0." }, { "conv2.", "out_layers.3." }, { "conv_shortcut.", "skip_connection." }, { 0 } };
static const ldm_row ldm_vae[] = {
    { "encoder.down_blocks.0.resnets.0.", "encoder.down.0.block.0." }, { "encoder.down_blocks.1.resnets.0.", "encoder.down.1.block.0." },
    { "encoder.down_blocks.0.downsamplers.0.conv.", "encoder.down.0.downsample.conv." },
    { "decoder.up_blocks.0.resnets.0.", "decoder.up.1.block.0." }, { "decoder.up_blocks.0.resnets.1.", "decoder.up.1.block.1." },
    { "decoder.up_blocks.1.resnets.0.", "decoder.up.0.block.0." }, { "decoder.up_blocks.1.resnets.1.", "decoder.up.0.block.1." },
    { "decoder.up_blocks.0.upsamplers.0.conv.", "decoder.up.1.upsample.conv." },
    { "encoder.mid_block.resnets.0.", "encoder.mid.block_1." }, { "encoder.mid_block.resnets.1.", "encoder.mid.block_2." },
    { "decoder.mid_block.resnets.0.", "decoder.mid.block_1." }, { "decoder.mid_block.resnets.1.", "decoder.mid.block_2." },
    { "encoder.mid_block.attentions.0.", "encoder.mid.attn_1." }, { "decoder.mid_block.attentions.0.", "decoder.mid.attn_1." },
    { "encoder.conv_norm_out.", "encoder.norm_out." }, { "decoder.conv_norm_out.", "decoder.norm_out." }, { "", "" }, { 0 },
};
static const ldm_row ldm_vae_inner[] = { { "group_norm.", "norm." }, { "to_q.", "q." }, { "to_k.", "k." }, { "to_v.", "v." },
    { "to_out.0.", "proj_out." }, { "conv_shortcut.", "nin_shortcut." }, { 0 } };
static const ldm_row ldm_clip[] = { { "", "transformer." }, { 0 } };
static const ldm_row ldm_old_clip[] = { { "text_model.", "transformer." }, { 0 } }; /* of the first transformers */
static const ldm_row ldm_open_clip[] = {
    { "text_model.embeddings.token_embedding.", "model.token_embedding." },
    { "text_model.embeddings.position_embedding.weight", "model.positional_embedding" },
    { "text_model.encoder.layers.0.", "model.transformer.resblocks.0." },
    { "text_model.encoder.layers.1.", "model.transformer.resblocks.1." },
    { "text_model.final_layer_norm.", "model.ln_final." }, { "", "model.unused." }, { 0 },
};
static const ldm_row ldm_open_inner[] = { { "layer_norm1.", "ln_1." }, { "layer_norm2.", "ln_2." },
    { "self_attn.q_proj.", "attn.in_proj_" }, { "self_attn.out_proj.", "attn.out_proj." },
    { "mlp.fc1.", "mlp.c_fc." }, { "mlp.fc2.", "mlp.c_proj." }, { 0 } };
static const ldm_row ldm_none[] = { { 0 } };

typedef enum ldm_text { LDM_CLIP, LDM_OLD_CLIP, LDM_OPEN_CLIP } ldm_text;

typedef struct ldm_file {
    fx_part *parts[3];
    st_tensor tensors[2 * FX_TENSORS];
    char names[2 * FX_TENSORS][FX_NAME];
    void *stacked[16];
    size_t count, stacked_count;
} ldm_file;

static inline const ldm_row *ldm_find(const ldm_row *rows, const char *name)
{
    while (rows->now && strncmp(name, rows->now, strlen(rows->now)))
        rows++;
    return rows->now ? rows : NULL;
}

static inline st_tensor *ldm_tensor(fx_part *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->tensors[i].name, name))
            return &p->tensors[i];
    return NULL;
}

/* q, k and v of OpenCLIP, which are one tensor. */
static inline void ldm_stack(ldm_file *f, fx_part *p, st_tensor *q)
{
    const size_t size = (size_t)st_tensor_bytes(q);
    uint8_t *data = calloc(3, size);
    f->stacked[f->stacked_count++] = data;
    for (size_t i = 0; data && i < 3; i++) {
        char name[FX_NAME];
        snprintf(name, sizeof(name), "%s", q->name);
        *(strstr(name, "q_proj")) = "qkv"[i];
        memcpy(data + i * size, ldm_tensor(p, name)->data, size);
    }
    f->tensors[f->count].data = data;
    f->tensors[f->count].dims[0] *= 3;
}

static inline void ldm_add(ldm_file *f, fx_part *p, const char *prefix, const ldm_row *places, const ldm_row *inner)
{
    for (size_t i = 0; i < p->count; i++) {
        st_tensor *t = &p->tensors[i];
        if (places == ldm_open_clip && (strstr(t->name, "k_proj") || strstr(t->name, "v_proj")))
            continue;
        const ldm_row *place = ldm_find(places, t->name);
        const char *rest = t->name + strlen(place->now);
        const ldm_row *layer = ldm_find(inner, rest);
        f->tensors[f->count] = *t;
        if (places == ldm_vae && strstr(t->name, "attentions") && t->rank == 2) { /* a 1x1 convolution there */
            f->tensors[f->count].rank = 4;
            f->tensors[f->count].dims[2] = f->tensors[f->count].dims[3] = 1;
        }
        if (places == ldm_open_clip && strstr(t->name, "q_proj"))
            ldm_stack(f, p, t);
        snprintf(f->names[f->count], FX_NAME, "%s%s%s%s", prefix, place->then, layer ? layer->then : "",
                 layer ? rest + strlen(layer->now) : rest);
        f->tensors[f->count].name = f->names[f->count];
        f->count++;
    }
}

static inline ldm_file *ldm_build(const fx_options *options, ldm_text text)
{
    static const fx_options defaults = { .published = true };
    void (*const fill[3])(fx_part *) = { fx_text_tensors, fx_unet_tensors, fx_vae_tensors };
    ldm_file *f = calloc(1, sizeof(*f));
    for (size_t i = 0; f && i < 3; i++) {
        f->parts[i] = calloc(1, sizeof(*f->parts[i]));
        f->parts[i]->o = options ? options : &defaults;
        fill[i](f->parts[i]);
    }
    ldm_add(f, f->parts[0], "cond_stage_model.", text == LDM_CLIP ? ldm_clip : text == LDM_OLD_CLIP ? ldm_old_clip : ldm_open_clip,
            text == LDM_OPEN_CLIP ? ldm_open_inner : ldm_none);
    ldm_add(f, f->parts[1], "model.diffusion_model.", ldm_unet, ldm_resnet);
    ldm_add(f, f->parts[2], "first_stage_model.", ldm_vae, ldm_vae_inner);
    static const char *const useless[] = { "alphas_cumprod", "model_ema.decay", "model_ema.diffusion_modelinput_blocks00weight" };
    for (size_t i = 0; i < BL_COUNT(useless); i++)
        f->tensors[f->count++] = (st_tensor){ useless[i], "F32", 1, { 7 }, NULL };
    return f;
}

static inline void ldm_free(ldm_file *f)
{
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < f->parts[i]->count; k++)
            free((void *)(uintptr_t)f->parts[i]->tensors[k].data);
        free(f->parts[i]);
    }
    for (size_t i = 0; i < f->stacked_count; i++)
        free(f->stacked[i]);
    free(f);
}

/* Writes the whole file, or only those tensors whose names start with `only`, less that beginning if `bare`. 0 on success. */
static inline int ldm_write_part(const char *path, const fx_options *o, ldm_text text, const char *only, bool bare,
                                 const st_metadata *metadata)
{
    ldm_file *f = ldm_build(o, text);
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        if (!strncmp(f->tensors[i].name, only, strlen(only))) {
            f->tensors[n] = f->tensors[i];
            f->tensors[n++].name += bare ? strlen(only) : 0;
        }
    const int failed = st_write(path, f->tensors, n, metadata, metadata ? 1 : 0);
    ldm_free(f);
    return failed;
}
#define ldm_write(path, o, text) ldm_write_part(path, o, text, "", false, NULL)
#endif
