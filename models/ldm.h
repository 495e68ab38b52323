/* The original names of Stable Diffusion's tensors (github.com/CompVis/stable-diffusion, github.com/Stability-AI/stablediffusion), as
 * single-file checkpoints have them, and those of old diffusers files, turned into today's. Layer 4. */
#ifndef BL_LDM_H
#define BL_LDM_H
#include "tensors.h"

typedef enum bl_ldm_nets { BL_LDM_TEXT = 1, BL_LDM_UNET = 2, BL_LDM_VAE = 4 } bl_ldm_nets; /* a set of bits */

/* Adds the tensors of these networks that a single file has, but not what no network needs (averages of training, schedules). */
bl_result bl_ldm_add(bl_tensors *t, const bl_safetensors *file, unsigned nets);
/* Adds the tensors of an autoencoder alone as `net`: original names, with or without "first_stage_model.", or those of diffusers, old or
 * new; of TAESD also those of half of it, its original taesd_encoder or taesd_decoder. */
bl_result bl_ldm_add_vae(bl_tensors *t, const bl_safetensors *file, const char *net);
/* Adds one tensor of an autoencoder in diffusers layout, whose attention old files call "query", "key", "value" and "proj_attn". */
bl_result bl_ldm_add_vae_tensor(bl_tensors *t, const bl_safetensors *file, const bl_file_tensor *stored);
/* Whether its text encoder is OpenCLIP's (Stable Diffusion 2.x). */
bool bl_ldm_is_open_clip(const bl_safetensors *file);
#endif
