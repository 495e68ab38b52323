/* What a safetensors file holds, by the names in it. Layer 4. */
#ifndef BL_KINDS_H
#define BL_KINDS_H
#include "safetensors.h"

typedef enum bl_kind_use {
    BL_KIND_NONE,       /* nothing here uses it */
    BL_KIND_CHECKPOINT, /* a single-file checkpoint */
    BL_KIND_VAE, BL_KIND_LORA,
    BL_KIND_DECODER,    /* half an autoencoder, enough for previews */
    BL_KIND_PART,       /* of a checkpoint in diffusers layout */
} bl_kind_use;

typedef struct bl_kind {
    bl_kind_use use;
    const char *what;   /* "a LoRA" */
    const char *way;    /* what can be done with it, a whole clause; "" if nothing */
} bl_kind;

/* Never NULL: the last kind is "something unknown". */
const bl_kind *bl_kind_of(const bl_safetensors *file);
/* BL_ERROR_MODEL unless it is of that use: says what the file is and what to do with it. */
bl_result bl_kind_expect(const bl_safetensors *file, bl_kind_use use, const char *wanted);
#endif
