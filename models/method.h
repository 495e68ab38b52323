/* How the defect is made: what happens to latents and text embedding before each step of the sampler. Layer 4.
 *
 *   cut         mask-guided attention optimization (CUT, arXiv 2406.01078, equations 5-13)
 *   anomalyany  the authors' published code, step for step
 *   attend      no gradient: the attention logits of the words are raised inside the mask
 *   sd          nothing: image-to-image with blending, the control */
#ifndef BL_METHOD_H
#define BL_METHOD_H
#include "guide.h"
#include "image_guide.h"
#include "sample.h"

typedef enum bl_method_kind { BL_METHOD_CUT, BL_METHOD_ANOMALYANY, BL_METHOD_ATTEND, BL_METHOD_SD } bl_method_kind;

/* What the published code does differently from its paper, or from what it seems to mean. */
enum {
    BL_ODD_MAPS = 1,    /* n_t from a forward with both prompts, whose maps are averaged over both */
    BL_ODD_BLEND = 2,   /* blending at the noise level that the latents have just left, with new noise every step */
    BL_ODD_PROMPT = 4,  /* the cosine of the embeddings runs over tokens, not channels */
    BL_ODD_GATE = 16,   /* the strong update only in the first ten steps and only while never 10 < n < 50 */
    BL_ODD_SCHEDULER = 32, /* PLMS started in mid-table: one label ahead from the third step; for the caller, who chooses the scheduler */
    BL_ODD_ALL = 63,
};

typedef enum bl_update_kind { BL_UPDATE_LATENTS, BL_UPDATE_EMBEDDING, BL_UPDATE_MEASURED /* nothing was changed */ } bl_update_kind;

/* One update, as it happens: for traces and for comparing with the reference. */
typedef struct bl_update {
    bl_update_kind kind;
    uint32_t step, inner;     /* counted from 0 */
    float t;
    float loss;               /* what the gradient is of */
    float attention_loss, image_loss; /* NAN: not evaluated */
    float size;               /* of the step: alpha_t */
    uint32_t n;
    double norm;              /* of the gradient of the latents */
    uint32_t x, y;            /* peak of the last word's map, in cells of the map */
    const float *values;      /* the updated latents, or embedding */
    const float *gradient;    /* of the latents, before the mask; NULL if there is none */
    double seconds;
} bl_update;

enum { BL_MAX_THRESHOLDS = 8 };

typedef struct bl_method_spec {
    bl_method_kind kind;
    bl_guide_spec guide;      /* gradient and embedding are set by the method */
    const bl_schedule *schedule;
    uint32_t branches;
    const float *mask;        /* of the latents, [h, w]; NULL: everywhere */
    const float *detail;      /* embedding of the detailed prompt, [branches, positions, channels]; NULL: none */
    bl_image_guide *image;    /* CLIP image loss; NULL: none */
    uint32_t first, last;     /* steps that cut and attend guide, from 0, both included */
    /* cut */
    float lambda, growth;     /* alpha_t = lambda (1 + growth tau) n_t / n_start, tau from 1 at the first guided step to 0 at the last */
    uint32_t inner;           /* updates in each of them */
    float prompt_rate;        /* share of the way to the detailed prompt in each guided step */
    float image_weight, image_share; /* of the image loss; the last share of the steps has one */
    /* anomalyany */
    unsigned odd;             /* BL_ODD_ bits */
    uint32_t image_steps;     /* what the code divides the step number by: steps of the whole table less the first */
    float scale;              /* of the strong update */
    struct { uint32_t step; float value; } thresholds[BL_MAX_THRESHOLDS];
    uint32_t threshold_count;
    /* draws [channels, h, w] normal numbers for the blending of a step */
    void (*draw)(void *context, uint32_t step, float *noise);
    /* attend */
    float gain;               /* added to the logits where the mask is 1 */
    void (*update)(void *context, const bl_update *u); /* may be NULL */
    void *context;
} bl_method_spec;

typedef struct bl_method {
    bl_checkpoint *c;
    bl_method_spec spec;
    bl_guide guide, both;     /* `both`: maps of the two prompts together */
    bl_guide check;           /* the loss alone */
    bl_stage cosine;          /* of text embeddings */
    float *before;            /* latents before an update */
    float *grad, *image_grad, *grad_embedding, *map_mask;
    float *rows[3];           /* of the cosine: one embedding, the other, the gradient */
    float *maps;              /* of the words at the last step, [mh*mw, tokens] */
    uint32_t n_start;
    bool strong;              /* the strong update is still allowed */
    uint32_t forwards, backwards, decodes; /* of the conditional U-Net (one prompt), and of the autoencoder */
    double flops;             /* spent outside the sampler */
} bl_method;

/* Stages of the method. Weights of the U-Net stay loaded while it lives. */
bl_result bl_method_create(bl_checkpoint *c, const bl_method_spec *spec, bl_method *m);
void bl_method_destroy(bl_method *m); /* zeroes *m; a zeroed one is accepted */
/* For bl_sample_input.before; the context is the bl_method. */
bl_result bl_method_before(void *method, uint32_t step, bl_sample_state *state);
/* A mask of the latents [h, w] as the share of every cell that it covers, on a grid `level` halvings smaller, the largest made 1, so that
 * a small mask counts as much as a large one. */
void bl_mask_on_grid(const float *mask, uint32_t h, uint32_t w, uint32_t level, float *out);

/* Of one method each; files of their own. */
bl_result bl_cut_before(bl_method *m, uint32_t step, bl_sample_state *state);
bl_result bl_anomalyany_before(bl_method *m, uint32_t step, bl_sample_state *state);
/* What was found at a step, as an update; the caller adds what it did. */
bl_update bl_method_found(const bl_method *m, bl_update_kind kind, uint32_t step, uint32_t inner, const bl_guidance *found,
                          const float *values);
/* 1 - the mean cosine of two sets of rows and its gradient times the number of rows: a, b and gradient [rows, columns] as the stage has
 * them. */
bl_result bl_method_cosine(bl_method *m, const float *a, const float *b, float *loss, float *gradient);
#endif
