/* From text embedding and start latents to a picture. Layer 4. */
#ifndef BL_SAMPLE_H
#define BL_SAMPLE_H
#include "checkpoint.h"

/* What one sampling run starts from; all latents [channels, h, w] as PyTorch has them. */
typedef struct bl_sample_input {
    uint32_t h, w;                  /* of the latents */
    const float *embedding;         /* [branches, positions, channels]; unconditional first when there are two */
    uint32_t branches;              /* 2 with classifier-free guidance, 1 without */
    const float *start;             /* at the first step's noise level */
    const float *source, *noise;    /* for blending: the clean latents to keep, and their noise; NULL without a mask */
    const float *mask;              /* [h, w], 1 where the picture may change; NULL: everywhere */
    const bl_schedule *schedule;
} bl_sample_input;

/* Runs the schedule; latents [channels, h, w]. `each` (may be NULL) sees the latents after every step. Reports progress, can be cancelled.
 * BL_ERROR_MODEL when the latents are not finite after a step, BL_ERROR_DEVICE when the device has counted another number of steps. */
bl_result bl_sample(bl_checkpoint *c, const bl_sample_input *in, float *latents,
                    bl_result (*each)(void *context, uint32_t step, const float *latents), void *context);

/* RGB picture, sides multiples of the VAE's factor, to the distribution of its latents: mean and log variance [channels, h/f, w/f] each. */
bl_result bl_encode_image(bl_checkpoint *c, const bl_image *image, float *mean, float *log_variance);
/* scaling * (mean + sqrt(variance) * noise) over `count` values. */
void bl_sample_posterior(float scaling, const float *mean, const float *log_variance, const float *noise, size_t count, float *latents);
/* Latents [channels, h, w] to pixels, f*h x f*w. BL_ERROR_MODEL when values are not finite. The caller frees the picture. */
bl_result bl_decode_image(bl_checkpoint *c, const float *latents, uint32_t h, uint32_t w, bl_image *image);
/* `pixels` decoded values [.., 4] to RGB bytes: halved, around 0.5, clamped, rounded to nearest even. */
void bl_pixels(const float *decoded, size_t pixels, uint8_t *rgb);
#endif
