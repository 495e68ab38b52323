/* A checkpoint, and its networks as stages that run on host arrays. Layer 4. */
#ifndef BL_CHECKPOINT_H
#define BL_CHECKPOINT_H
#include "clip_text.h"
#include "context.h"
#include "exec.h"
#include "parts.h"
#include "published.h"
#include "tokenizer.h"
#include "unet.h"
#include "vae.h"

typedef struct bl_checkpoint {
    bl_context *context;
    bl_parts parts;                  /* its files */
    bl_tokenizer *tokenizer;
    bl_text_config text;
    bl_unet_config unet;
    bl_vae_config vae;
    bl_scheduler_config scheduler;
    bl_weights *text_weights, *unet_weights, *vae_weights;
    bl_weights *preview_weights;     /* of the autoencoder that draws previews, parts.preview; NULL without one */
    bl_weights *clip_weights;        /* of the CLIP model in use, which owns them; NULL without one */
    bl_memory_plan memory;           /* of the stages made since bl_checkpoint_begin */
    unsigned stage_nets;             /* of the last of them */
    bool planning;                   /* stages are only planned: they have no exec */
    bl_result (*planned)(void *user, const bl_graph *g); /* told of them then; NULL: nobody. A failure is the stage's */
    void *planned_user;
    struct { uint64_t all, nets[BL_NET_COUNT]; } held;  /* bytes: device memory, and of it the weights of every network */
    uint32_t live[BL_NET_COUNT];     /* stages there are: their weights stay */
} bl_checkpoint;

/* Opens a folder or file with bl_parts_open and binds every tensor the networks need, so that a broken checkpoint is refused before the
 * device is used. `options` may be NULL. `path` NULL: a checkpoint without networks, for a CLIP model alone. */
bl_result bl_checkpoint_open(bl_context *context, const char *path, const bl_model_options *options, bl_checkpoint **out);
/* The same of networks with random weights, which are made when they are loaded: to be measured, for there are neither tokenizer nor
 * scheduler. */
bl_result bl_checkpoint_open_random(bl_context *context, const bl_published *shapes, bl_checkpoint **out);
void bl_checkpoint_close(bl_checkpoint **c);  /* sets *c to NULL; NULL is accepted */

/* Forgets the stages of the last generation. `planning`: the next ones take no memory and do not run; c->memory tells what they would
 * take. */
void bl_checkpoint_begin(bl_checkpoint *c, bool planning);

/* Whether the last stage that was planned fits. BL_ERROR_MEMORY says what it needs and what there is. */
bl_result bl_checkpoint_check_memory(const bl_checkpoint *c);

/* One recorded network. Inputs are written and outputs read by bl_exec_write and bl_exec_read. */
typedef struct bl_stage {
    bl_graph *graph;
    bl_exec *exec;
    bl_value x;                      /* main input */
    bl_value freqs, context;         /* U-Net: timestep frequencies, text embedding */
    bl_value history, source, noise, mask, drawn; /* sampling: see bl_stage_sampler */
    bl_value prediction;             /* sampling: of the U-Net, after guidance, fp32 like x */
    bl_value gain, gain_masks[BL_MAX_LEVELS]; /* see bl_unet_gain */
    bl_value out;                    /* kept output */
    uint32_t forward_nodes;          /* with a gradient: what comes before it, and may be computed again to save memory; else 0 */
    uint32_t segments;               /* of that, each but the last computed again; 1: none */
    bl_checkpoint *owner;            /* set by bl_stage_finish */
    unsigned nets;                   /* bits 1 << bl_net_kind: those whose weights it uses */
    uint64_t activations;            /* bytes */
} bl_stage;
void bl_stage_destroy(bl_stage *s);  /* zeroes *s; a zeroed one is accepted */
/* Reads a kept tensor; BL_ERROR_MODEL with the reason `trouble` when a value is not finite. */
bl_result bl_stage_read(const bl_stage *s, bl_value x, float *data, size_t count, const char *trouble);

/* For other files with stages: inputs of the U-Net for `samples` latents with `copies` prompts each, as x, freqs and context of *s; returns
 * the network's input [samples*copies,h,w,latent]. Then, when graph and s->out are complete: plans the stage, makes room for it, loads the
 * weights of its networks (bits 1 << bl_net_kind), and records it, except while planning. At last the frequencies of the timestep
 * embedding. */
bl_value bl_stage_unet_inputs(bl_checkpoint *c, bl_stage *s, uint32_t samples, uint32_t copies, uint32_t h, uint32_t w);
bl_result bl_stage_finish(bl_checkpoint *c, unsigned nets, const char *name, uint32_t steps, bl_stage *s);
bl_result bl_stage_write_frequencies(bl_checkpoint *c, bl_stage *s);

/* `keep_named`: tensors with the names of diffusers' modules can be read after a run. */

/* x: embeddings [count, positions, 1, channels] of bl_clip_text_embed; out: last_hidden_state. */
bl_result bl_stage_text(bl_checkpoint *c, uint32_t count, bool keep_named, bl_stage *out);
/* One evaluation: x [n,h,w,latent] fp32, context [n,positions,1,channels]; out the prediction. The step table has one row. */
bl_result bl_stage_unet(bl_checkpoint *c, uint32_t n, uint32_t h, uint32_t w, bool keep_named, bl_stage *out);
/* x: image [1,h,w,4]; out: mean and log variance [1,h/f,w/f,2*latent]. */
bl_result bl_stage_encode(bl_checkpoint *c, uint32_t h, uint32_t w, bool keep_named, bl_stage *out);
/* x: latents [1,h,w,latent], as the U-Net has them; out: image [1,f*h,f*w,4]. */
bl_result bl_stage_decode(bl_checkpoint *c, uint32_t h, uint32_t w, bool keep_named, bl_stage *out);
/* The same with the tiny autoencoder that draws previews: preview_vae or, if it is tiny, the model's own. BL_ERROR_USAGE: there is none. */
bl_result bl_stage_preview(bl_checkpoint *c, uint32_t h, uint32_t w, bl_stage *out);
/* One step of sampling: U-Net for `branches` prompts (2: unconditional first), guidance, scheduler and, if `masked`, blending with the
 * source outside the mask. x: sample [1,h,w,latent], updated in place, history [4,h,w,latent], source and noise [1,h,w,latent],
 * mask [1,h,w,1], all fp32. The step table has room for `steps` rows. `gained`: attention logits of the last prompt are raised by `gain`
 * [1,1,1,positions] times `gain_masks`. `noisy`: the scheduler adds noise, drawn [1,h,w,latent] fp32, written before every step. */
bl_result bl_stage_sampler(bl_checkpoint *c, uint32_t branches, uint32_t h, uint32_t w, bool masked, bool gained, bool noisy,
                           uint32_t steps, bl_stage *out);

/* Text embedding of `count` rows of ids, out [count, positions, channels]. */
bl_result bl_encode_text(bl_checkpoint *c, const int32_t *ids, uint32_t count, float *out);

/* [n,c,h,w] to [n,h,w,padded] with zeros behind, and back from [n,h,w,stride]. */
void bl_to_channels_last(const float *nchw, uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t padded, float *nhwc);
void bl_to_channels_first(const float *nhwc, uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t stride, float *nchw);
#endif
