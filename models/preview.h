/* What latents look like while they are denoised: decoded by a tiny autoencoder where there is one, else by a linear map. Layer 4. */
#ifndef BL_PREVIEW_H
#define BL_PREVIEW_H
#include "checkpoint.h"

typedef struct bl_preview {
    bl_checkpoint *c;
    uint32_t h, w;      /* of the latents */
    bl_stage stage;     /* of the tiny autoencoder; without one zeroed */
} bl_preview;

/* For latents [channels, h, w]; the device's memory for it is taken here. */
bl_result bl_preview_create(bl_checkpoint *c, uint32_t h, uint32_t w, bl_preview *out);
void bl_preview_destroy(bl_preview *p); /* zeroes *p; a zeroed one is accepted */
/* The caller frees the picture: f*h x f*w pixels, or without a tiny autoencoder h x w. */
bl_result bl_preview_draw(const bl_preview *p, const float *latents, bl_image *out);
#endif
