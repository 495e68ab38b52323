/* CLIP with both towers (Radford et al.: Learning transferable visual models from natural language supervision, 2021), as CLIPModel of
 * transformers. Layer 4. */
#ifndef BL_CLIP_H
#define BL_CLIP_H
#include "checkpoint.h"

typedef struct bl_clip {
    bl_checkpoint *checkpoint; /* that it works with */
    bl_clip_config config;
    bl_tensors *tensors;
    bl_weights *weights;       /* fp32, because gradients run through the vision tower */
    bl_tokenizer *own;         /* of the folder; NULL: there is none */
    const bl_tokenizer *tokenizer; /* own, or the checkpoint's; NULL: neither */
} bl_clip;

/* Opens config.json and model.safetensors of `dir` and binds every tensor. Words are split by the tokenizer of `dir`, or, if it has none,
 * by the checkpoint's, which counts the weights among its own. One model at a time. */
bl_result bl_clip_open(bl_checkpoint *c, const char *dir, bl_clip **out);
/* One with random weights and without a tokenizer, to be measured. */
bl_result bl_clip_open_random(bl_checkpoint *c, const bl_clip_config *config, bl_clip **out);
void bl_clip_close(bl_clip **clip); /* sets *clip to NULL; NULL is accepted */

/* The vision tower: x [1,size,size,4], normalised, channel 4 zero; the result is the features [1,1,1,projection]. */
bl_value bl_clip_vision_build(const bl_net *net, const bl_clip_config *c, bl_value x);
/* What pixels of 0-1 are normalised with: means, then the inverse deviations, 4 channels each; of channel 4 nothing is left. */
void bl_clip_normalisation(float out[8]);

/* Features [projection] of one row of ids [positions]: those of its end token. */
bl_result bl_clip_text_features(bl_clip *clip, const int32_t *ids, float *out);
/* The same of a prompt. BL_ERROR_INPUT if it is too long. */
bl_result bl_clip_prompt_features(bl_clip *clip, const char *prompt, float *out);
#endif
