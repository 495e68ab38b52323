/* The tensors of a model by the names that diffusers and transformers give them, whatever files they lie in and whatever they are called
 * there. Layer 4.
 * Names start with their network: "unet.conv_in.weight", "text_encoder.text_model....", "vae.decoder....". A collection is filled first,
 * then finished, and only then asked; its tensors stay where they are until it is destroyed. */
#ifndef BL_TENSORS_H
#define BL_TENSORS_H
#include "safetensors.h"

enum { BL_TENSOR_NAME = 200 }; /* bytes with the final 0; no network has longer names */

typedef struct bl_lora_layer bl_lora_layer;

/* One of them. */
typedef struct bl_stored {
    char name[BL_TENSOR_NAME];
    const bl_safetensors *file;             /* NULL: its values are random, see bl_tensors_create_random */
    const bl_file_tensor *stored;           /* what it is there, or a part of it */
    uint64_t first;                         /* its first element in `stored` */
    uint32_t rank;
    uint64_t dims[BL_SAFETENSORS_MAX_RANK];
    bl_lora_layer *lora;                    /* what is added to it (lora.h); NULL: nothing */
} bl_stored;

typedef struct bl_tensors bl_tensors;
bl_result bl_tensors_create(bl_tensors **out);
/* A collection without files, which is not filled but makes up what it is asked for by bl_tensors_need. A tensor's values follow from its
 * name alone and keep the size of what goes through a network: uniform, with the deviation 1/sqrt(inputs) in matrices and convolutions,
 * around 1 in the weights of norms, near 0 in other vectors. */
bl_result bl_tensors_create_random(bl_tensors **out);
void bl_tensors_destroy(bl_tensors **t); /* closes its files, sets *t to NULL; NULL is accepted */

/* Opens a file (BL_ERROR_MODEL) that is closed with the collection; adds nothing of it. */
bl_result bl_tensors_open(bl_tensors *t, const char *path, const bl_safetensors **out);
/* Adds part `part` of `parts` blocks of rows of a file's tensor as "<net><name>"; 0 of 1 is all of it. A name that is too long is left out:
 * nobody asks for it. BL_ERROR_MODEL: the rows cannot be parted so. */
bl_result bl_tensors_add(bl_tensors *t, const bl_safetensors *file, const bl_file_tensor *stored, uint32_t part, uint32_t parts,
                         const char *net, const char *name);
/* Sorts what was added. BL_ERROR_MODEL if two tensors have one name. */
bl_result bl_tensors_finish(bl_tensors *t);

size_t bl_tensors_count(const bl_tensors *t);
const bl_stored *bl_tensors_at(const bl_tensors *t, size_t i); /* in the order of names, or of making up; NULL beyond the last */
/* "<net><name>"; NULL if there is none. */
bl_stored *bl_tensors_find(const bl_tensors *t, const char *net, const char *name);
/* The same for a network that needs it with these dimensions, which a random collection gives it. Elsewhere they are not looked at.
 * BL_ERROR_MEMORY; *out is NULL when there is none. */
bl_result bl_tensors_need(bl_tensors *t, const char *net, const char *name, const uint64_t *dims, uint32_t rank, const bl_stored **out);
/* The same as bl_tensors_find with '.' and '_' taken for one letter, as LoRA files write names. */
bl_stored *bl_tensors_find_flat(const bl_tensors *t, const char *net, const char *name);
/* A LoRA layer that is freed with the collection. */
bl_result bl_tensors_keep_layer(bl_tensors *t, const bl_lora_layer *layer, bl_lora_layer **out);

/* As the functions of safetensors.h, for the tensor as it is in the file, without LoRA. */
bl_result bl_stored_read(const bl_stored *t, uint64_t first_element, size_t count, float *out);
bl_result bl_stored_read_half(const bl_stored *t, uint64_t first_element, size_t count, uint16_t *out);
/* BL_ERROR_MODEL unless its values are F32, F16 or BF16. */
bl_result bl_stored_check_type(const bl_stored *t);
/* The file it is in, for messages. */
const char *bl_stored_path(const bl_stored *t);
/* "2,3": the shape, for messages; "..." ends one that does not fit. */
void bl_dims_text(const uint64_t *dims, uint32_t rank, char *text, size_t size);
#endif
