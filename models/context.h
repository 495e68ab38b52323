/* What a caller's context holds: the device with its kernels, the precision, the callbacks. Layer 4. */
#ifndef BL_CONTEXT_H
#define BL_CONTEXT_H
#include "prover.h"

struct bl_context {
    bl_device *device;
    bl_stream *stream;
    bl_kernels *kernels;
    bl_prover *prover;   /* of kernels before their first use; NULL: the caller wants none */
    bl_dtype type;       /* storage of text encoder and U-Net */
    bl_dtype vae_type;   /* of the autoencoder: fp32, because some checkpoints overflow fp16 there */
    char caps[BL_CAPS_TEXT];
    char *cache_dir;     /* NULL: none */
    bl_context_options options;
};

void bl_context_log(const bl_context *c, bl_log_level level, const char *fmt, ...) BL_PRINTF(3, 4);
void bl_context_progress(const bl_context *c, const char *stage, uint32_t done, uint32_t total);
/* BL_ERROR_CANCELLED when the caller wants to stop. */
bl_result bl_context_cancelled(const bl_context *c);
#endif
