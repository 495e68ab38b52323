/* LoRA (Hu et al.: Low-rank adaptation of large language models. ICLR 2022): W + scale * alpha / rank * up @ down, added to a model's
 * weights while they are loaded. Layer 4.
 * Read are the names of kohya's scripts ("lora_unet_down_blocks_0_..._to_q.lora_down.weight", "lora_te_...", with ".alpha") and of
 * diffusers and PEFT ("unet.down_blocks.0....to_q.lora_A.weight", ".lora.down.weight"); linear layers and convolutions. */
#ifndef BL_LORA_H
#define BL_LORA_H
#include "tensors.h"

enum { BL_LORA_MAX_RANK = 1024 };

/* One layer of a file. A convolution is a matrix of rows: down [rank, in*k*k], up [out, rank]. */
struct bl_lora_layer {
    const bl_safetensors *file;
    const bl_file_tensor *down, *up;
    uint32_t rank;
    double factor;              /* scale * alpha / rank */
    bl_lora_layer *next;        /* of another file, added as well */
};

/* Hangs every layer of a file on its tensor. Without alpha it is that of diffusers' metadata, or the rank. BL_ERROR_MODEL: the file is
 * no LoRA, one of its tensors fits no layer of the model or is of a kind that is not read (LyCORIS, DoRA), shapes that do not go
 * together, an alpha that is not a number. */
bl_result bl_lora_open(bl_tensors *t, const char *path, double scale);

/* Matrices of the tensor that is being read, kept from one call to the next. Zeroed at first, freed by bl_lora_free. */
typedef struct bl_lora_cache {
    const bl_stored *of;
    float *down;                /* of all its layers, one below the other */
    float *up;                  /* one row of each */
    double *sum;                /* one row of the tensor */
} bl_lora_cache;
/* Adds the layers of a tensor to `count` of its rows (rows of [out, everything else]) in `values`; sums are double and rounded once. */
bl_result bl_lora_add(const bl_stored *t, uint64_t first_row, size_t count, float *values, bl_lora_cache *cache);
void bl_lora_free(bl_lora_cache *cache);
#endif
