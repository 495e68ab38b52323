/* The CLIP image loss of latents, and its gradient. Layer 4. */
#ifndef BL_IMAGE_GUIDE_H
#define BL_IMAGE_GUIDE_H
#include "clip.h"

/* L_img = 1 - cos(CLIP_image(D(z)), CLIP_text(prompt)), where D decodes, limits to 0 .. 1, resizes bicubically and normalises. */
typedef struct bl_image_guide {
    bl_stage s;
    bl_value text, normalisation; /* inputs: features of the prompt, see bl_clip_normalisation */
    bl_value loss, grad_latents;
    double flops, forward_flops;
} bl_image_guide;

/* For latents of h x w. `text`: features of the prompt, [projection]. */
bl_result bl_image_guide_create(bl_checkpoint *c, bl_clip *clip, uint32_t h, uint32_t w, const float *text, bl_image_guide *out);
/* The same for a prompt. */
bl_result bl_image_guide_for_prompt(bl_checkpoint *c, bl_clip *clip, uint32_t h, uint32_t w, const char *prompt, bl_image_guide *out);
void bl_image_guide_destroy(bl_image_guide *g); /* zeroes *g; a zeroed one is accepted */
/* latents and grad_latents [channels, h, w]. BL_ERROR_MODEL: a value is not finite. */
bl_result bl_image_guide_run(bl_image_guide *g, const float *latents, float *loss, float *grad_latents);
/* For verification: of pixels [1,h,w,4] of 0-1 instead of latents. *features, *x224 (what the tower sees) and its gradient can be read
 * after a run; grad_latents is that of the pixels. */
bl_result bl_image_guide_of_pixels(bl_checkpoint *c, bl_clip *clip, uint32_t h, uint32_t w, const float *text, bl_image_guide *out,
                                   bl_value *features, bl_value *x224, bl_value *grad_x224);
#endif
