/* What a single-file checkpoint is, from the shapes of its tensors: the config.json that it lacks. Layer 4.
 * Some things have no shape and are taken as all published checkpoints have them: Stable Diffusion 1.x (1x1 convolutions around its
 * transformers) has 8 heads, 2.x (matrices there) heads of 64 channels; text encoders have heads of 64 channels; groups are 32, and latents
 * are scaled by 0.18215, but those of TAESD not at all. Whether a model predicts epsilon or v cannot be seen. */
#ifndef BL_SHAPES_H
#define BL_SHAPES_H
#include "config.h"
#include "tensors.h"

/* Of the tensors "text_encoder.*", "unet.*" and "vae.*"; `path` is for messages. BL_ERROR_MODEL: some are missing, or it is no network that
 * could be built; everything that the readers of config.json check is checked. */
bl_result bl_text_config_of(const bl_tensors *t, const char *path, bool open_clip, bl_text_config *out);
bl_result bl_unet_config_of(const bl_tensors *t, const char *path, bl_unet_config *out);
/* Of either kind; `net`: what its names start with. `encodes`: its encoder is needed too. */
bl_result bl_vae_config_of(const bl_tensors *t, const char *net, const char *path, bool encodes, bl_vae_config *out);
#endif
