/* The shapes of published models, for networks with random weights. Layer 4. */
#ifndef BL_PUBLISHED_H
#define BL_PUBLISHED_H
#include "config.h"

typedef struct bl_published {
    const char *name;
    bl_text_config text;
    bl_unet_config unet;
    bl_vae_config vae;
    bl_clip_config clip;    /* what its pictures are judged by */
} bl_published;

/* "sd15" and "sd21" (Stable Diffusion 1.5, and 2.1 for 768 pixels, both with CLIP ViT-L/14), or "demo" (models/demo). BL_ERROR_USAGE. */
bl_result bl_published_find(const char *name, const bl_published **out);
#endif
