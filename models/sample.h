/* From text embedding and start latents to a picture. Layer 4. */
#ifndef BL_SAMPLE_H
#define BL_SAMPLE_H
#include "checkpoint.h"

enum { BL_SAMPLE_LATENTS = 1, BL_SAMPLE_EMBEDDING = 2, BL_SAMPLE_NOISE = 4, BL_SAMPLE_GAIN = 8, BL_SAMPLE_ALL = 15 };

/* What a method may change before a step; it sets the bits of what it has changed. */
typedef struct bl_sample_state {
    float *latents;                 /* [channels, h, w] */
    float *embedding;               /* [branches, positions, channels] */
    float *noise;                   /* of the blending, [channels, h, w] */
    float *gain;                    /* [positions], 0 at first */
    unsigned changed;               /* BL_SAMPLE_ bits */
} bl_sample_state;

/* What one sampling run starts from; all latents [channels, h, w] as PyTorch has them. */
typedef struct bl_sample_input {
    const char *name;               /* of its progress */
    uint32_t h, w;                  /* of the latents */
    const float *embedding;         /* [branches, positions, channels]; unconditional first when there are two */
    uint32_t branches;              /* 2 with classifier-free guidance, 1 without */
    const float *start;             /* at the first step's noise level */
    const float *source, *noise;    /* for blending: the clean latents to keep, and their noise; NULL without a mask */
    const float *mask;              /* [h, w], 1 where the picture may change; NULL: everywhere */
    float *const *gain_masks;       /* by level, [h >> level, w >> level]: where attention is raised; NULL: nowhere */
    const bl_schedule *schedule;
    /* Draws the normal numbers [channels, h, w] that the schedule adds in a step; only if it is noisy. */
    void (*draw)(void *context, uint32_t step, float *noise);
    bl_result (*before)(void *context, uint32_t step, bl_sample_state *state); /* NULL: nothing changes */
    bl_result (*after)(void *context, uint32_t step, const float *latents);   /* sees the latents after every step; may be NULL */
    void *context;
} bl_sample_input;

/* The stage that bl_sample runs, for inputs of this size; several runs may use it one after another. */
bl_result bl_sample_stage(bl_checkpoint *c, const bl_sample_input *in, bl_stage *s);
/* Runs the schedule; latents [channels, h, w]. Reports progress, can be cancelled.
 * BL_ERROR_MODEL when the latents are not finite after a step, BL_ERROR_DEVICE when the device has counted another number of steps. */
bl_result bl_sample(bl_checkpoint *c, const bl_stage *s, const bl_sample_input *in, float *latents);

/* RGB picture, sides multiples of the VAE's factor, to the distribution of its latents: mean and log variance [channels, h/f, w/f] each. Of
 * TAESD, which has none, the latents and -INFINITY. */
bl_result bl_encode_image(bl_checkpoint *c, const bl_image *image, float *mean, float *log_variance);
/* The same of an encoder (bl_stage_encode) that has run. BL_ERROR_MODEL when values are not finite. */
bl_result bl_read_moments(const bl_stage *s, float *mean, float *log_variance);
/* scaling * (mean + sqrt(variance) * noise) over `count` values; without noise, which may be NULL, where the log variance is
 * -INFINITY. */
void bl_sample_posterior(float scaling, const float *mean, const float *log_variance, const float *noise, size_t count, float *latents);
/* Latents [channels, h, w] to pixels, f*h x f*w. BL_ERROR_MODEL when values are not finite. The caller frees the picture. *flops (may be
 * NULL):
 * the work of it. */
bl_result bl_decode_image(bl_checkpoint *c, const float *latents, uint32_t h, uint32_t w, double *flops, bl_image *image);
/* The same by a decoder that is there already (bl_stage_decode, bl_stage_preview). */
bl_result bl_decode_stage(const bl_stage *s, const float *latents, bl_image *image);
/* `pixels` decoded values [.., 4] to RGB bytes: halved, around 0.5, clamped, rounded to nearest even. */
void bl_pixels(const float *decoded, size_t pixels, uint8_t *rgb);
#endif
