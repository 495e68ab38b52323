/* Comparing stages with golden tensors of an independent implementation. Layer 5.
 * A stage is found by the names of its tensors and the file's metadata, never by the file's name. */
#ifndef BL_VERIFY_H
#define BL_VERIFY_H
#include "clip.h"
#include "guide.h"
#include <jansson.h>

typedef struct bl_verifier {
    bl_context *context;
    const bl_verify_options *options;
    bl_verify_summary *summary;
    bl_checkpoint *checkpoint;     /* NULL without a model */
    bl_clip *clip;                 /* NULL without a CLIP model */
    const bl_safetensors *file;
    bool *seen;                    /* by tensor of the file: used as input, compared, or skipped */
    const char *stage;
} bl_verifier;

/* A tensor as floats, marked as seen; freed by bl_free. NULL if it is not there or cannot be read (the reason is recorded). */
float *bl_golden(bl_verifier *v, const char *name, const bl_file_tensor **info);
/* The same, NULL too if it has not exactly `count` values: what is indexed by another tensor's shape. */
float *bl_golden_sized(bl_verifier *v, const char *name, size_t count);
/* A metadata entry parsed as JSON, or as a plain text; NULL if absent. The caller decrefs. */
json_t *bl_golden_metadata(const bl_verifier *v, const char *key);
double bl_golden_number(const bl_verifier *v, const char *key, double otherwise);
/* The words that a golden of latents of h x w guides, and the grid of its maps, which stands under `res_key`. */
bl_result bl_golden_guide(bl_verifier *v, uint32_t h, uint32_t w, const char *res_key, bl_guide_spec *spec);
bool bl_golden_has(const bl_verifier *v, const char *name);

/* Compares `count` values with tensor `name` of the file and reports a row; nothing if the file has no such tensor. `allowed`: relative
 * RMS. `note` may be NULL. */
void bl_expect(bl_verifier *v, const char *name, const float *got, size_t count, double allowed, const char *note);
/* A kept tensor [n,h,w,c] of a stage that has run with the golden [n,c,h,w], or [n,c] if h = w = 1. */
bl_result bl_expect_kept(bl_verifier *v, const bl_stage *s, bl_value x, const char *golden, double allowed);
/* The kind of a failed look into the file; the reason is recorded already. */
static inline bl_result bl_golden_missing(const float *x) { return x ? BL_OK : BL_ERROR_INPUT; }
/* 8-bit pictures: mean absolute difference in levels instead of relative RMS. */
void bl_expect_picture(bl_verifier *v, const char *name, const bl_image *got, double allowed);
/* A row of the caller's own measure. */
void bl_report(bl_verifier *v, const char *name, double max, double rms, double allowed, const char *note);
/* Reports a tensor that is not compared, or whose stage failed. */
void bl_skip(bl_verifier *v, const char *name, const char *why);
void bl_fail_row(bl_verifier *v, const char *name, const char *why);

/* The bound for one stage: fp32 or fp16 storage. */
double bl_allowed(const bl_verifier *v, double f32, double f16);

/* Stages. Each looks whether the file holds its inputs; BL_OK if not. */
bl_result bl_verify_text(bl_verifier *v);
bl_result bl_verify_unet(bl_verifier *v);
bl_result bl_verify_unet_trace(bl_verifier *v);
bl_result bl_verify_vae(bl_verifier *v);
bl_result bl_verify_plain(bl_verifier *v);
bl_result bl_verify_attention(bl_verifier *v);
bl_result bl_verify_guided(bl_verifier *v);
bl_result bl_verify_clip(bl_verifier *v);
bl_result bl_verify_schedulers(bl_verifier *v);
bl_result bl_verify_ops(bl_verifier *v);
#endif
