/* The attention loss of mask-guided attention optimization, and its gradient. Layer 4.
 *
 * One evaluation of the U-Net as far as its last needed cross-attention softmax (Chefer et al.: Attend-and-Excite, 2023; CUT, arXiv
 * 2406.01078, equations 6-9). M is the mean of the maps over layers and heads, tokens 1 .. slice-1 of it go through softmax(100 M), the
 * maps
 * of the words are smoothed (Gaussian, sigma 0.5), and the loss is 1 - max over pixels of A_j times the mask: how far the word is
 * from owning one pixel of it. */
#ifndef BL_GUIDE_H
#define BL_GUIDE_H
#include "checkpoint.h"
#include "words.h"

/* Smoothing of a map, 3x3: exp(-(d / (2 sigma))^2) for sigma 0.5, normalised, as in the published code; its sigma is 0.707 in the usual
 * notation. */
#define BL_SMOOTH_EDGE 0.21194156f
#define BL_SMOOTH_CENTRE 0.57611688f


typedef struct bl_guide_spec {
    uint32_t h, w;            /* of the latents */
    uint32_t level;           /* of the maps: the latents' size halved level times */
    uint32_t branches;        /* 1: the conditional prompt. 2, without gradient: the mean runs over both prompts, unconditional first */
    uint32_t slice;           /* tokens 1 .. slice-1 compete */
    uint32_t tokens[BL_MAX_WORDS], count; /* of the words, below slice */
    bool masked;              /* the maps are multiplied by a mask of their size */
    bool smooth, mean;        /* smoothing; mean over several tokens instead of the worst of them */
    bool gradient, embedding; /* with respect to the latents; and to the text embedding */
    float scale;              /* of the loss whose gradient is taken; 0: 1 */
} bl_guide_spec;

typedef struct bl_guide {
    bl_stage s;
    bl_guide_spec spec;
    uint32_t mh, mw;          /* of the maps */
    bl_value mean, maps, loss, grad_latents, grad_embedding;
    double flops;             /* of one run */
    double forward_flops;     /* of it, before the gradient */
} bl_guide;

/* The level of the maps for latents of h x w: the grid of `res` cells (0: a quarter of the latents' longer side, at least 16), or the
 * nearest one that has cross-attention. */
uint32_t bl_guide_level(const bl_unet_config *c, uint32_t h, uint32_t w, uint32_t res);
/* `keep_named`: tensors with the names of diffusers' modules can be read after a run. `wrt`: further tensors by name whose gradients are
 * wanted, named "grad.<name>"; NULL ends the list, NULL: none. */
bl_result bl_guide_create(bl_checkpoint *c, const bl_guide_spec *spec, bool keep_named, const char *const *wrt, bl_guide *out);
void bl_guide_destroy(bl_guide *g); /* zeroes *g; a zeroed one is accepted */

/* What one run found. */
typedef struct bl_guidance {
    float loss;
    float top[BL_MAX_WORDS];    /* of every token: the largest value of its map times the mask */
    uint32_t at[BL_MAX_WORDS];  /* its pixel, counted in rows */
    uint32_t n;                 /* localisation: pixels of the last token's map that are not below its mean */
    double norm;                /* of the gradient with respect to the latents */
} bl_guidance;

/* Runs at timestep t. latents [channels, h, w]; embedding [branches, positions, channels]; mask [mh, mw] or NULL; grad_latents like latents
 * and grad_embedding [positions, channels] may be NULL. BL_ERROR_MODEL: a value is not finite. */
bl_result bl_guide_run(bl_guide *g, const float *latents, const float *embedding, const float *mask, float t, bl_guidance *out,
                       float *grad_latents, float *grad_embedding);
/* The maps of the last run: the smoothed ones of the words [mh*mw, count]; the mean of all layers and heads [mh*mw, positions]. */
bl_result bl_guide_maps(const bl_guide *g, float *words);
bl_result bl_guide_mean(const bl_guide *g, float *mean);
#endif
