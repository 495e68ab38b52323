/* The files of a model, a folder in diffusers layout or a single file: its networks' tensors and what they are. No device. Layer 4. */
#ifndef BL_PARTS_H
#define BL_PARTS_H
#include "config.h"
#include "scheduler.h"
#include "tensors.h"

typedef enum bl_net_kind { BL_NET_TEXT, BL_NET_UNET, BL_NET_VAE, BL_NET_CLIP, BL_NET_PREVIEW, BL_NET_COUNT } bl_net_kind;
enum { BL_PARTS = BL_NET_CLIP }; /* networks of a checkpoint */

typedef struct bl_parts {
    bl_tensors *tensors;
    char *places[BL_PARTS];     /* the file, or the list of files, that each network's tensors are in */
    char *preview_place;        /* of the autoencoder that draws previews, whose names start with "preview."; NULL: there is none */
    char *tokenizer;            /* its folder, or the folder that has it */
    bl_text_config text;
    bl_unet_config unet;
    bl_vae_config vae, preview;
    bl_scheduler_config scheduler;
    bool single;                /* one file */
    bool prediction_assumed;    /* nothing says whether it predicts epsilon or v, and there are published models of both kinds like it */
} bl_parts;

/* What the names of each network's tensors start with. */
extern const char *const bl_net_prefix[BL_PARTS];

/* Opens the files of `path`, with other parts in place and LoRAs added as `options` (NULL: none) says, and checks that they go together,
 * but not that every tensor is there. BL_ERROR_MODEL names the file; BL_ERROR_USAGE: a single file without options->tokenizer. *out is
 * closed by bl_parts_close, and zeroed on failure. */
bl_result bl_parts_open(const char *path, const bl_model_options *options, bl_parts *out);
void bl_parts_close(bl_parts *p);

/* "dir/part/file", or "dir/file" if `part` is NULL. BL_ERROR_MODEL with the reason when it is not there; `of` says what has it. */
bl_result bl_parts_path(const char *dir, const char *part, const char *file, const char *of, char **out);
/* Adds the weights in "dir/part" as `net`: "<stem>.safetensors", the list of its shards "<stem>.safetensors.index.json", or the fp16
 * variant of either, in this order. *place (may be NULL on failure) is the file or list, freed by bl_free. BL_ERROR_MODEL: there are
 * none, or a shard or a tensor of the list is missing. */
bl_result bl_parts_add(bl_tensors *t, const char *dir, const char *part, const char *stem, const char *net, const char *of, char **place);
#endif
