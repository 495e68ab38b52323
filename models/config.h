/* What a diffusers folder says of its networks. Layer 4.
 * Read from each part's config.json; nothing is assumed to be 512 px or Stable Diffusion 1.5. A setting that changes the network in a way
 * that is not built here is refused by name. */
#ifndef BL_CONFIG_H
#define BL_CONFIG_H
#include "json.h"

enum { BL_MAX_LEVELS = 8 };

typedef struct bl_unet_config {
    uint32_t in_channels, out_channels;     /* of the latents */
    uint32_t levels;
    uint32_t channels[BL_MAX_LEVELS];
    bool down_attention[BL_MAX_LEVELS], up_attention[BL_MAX_LEVELS];
    uint32_t heads[BL_MAX_LEVELS];
    uint32_t layers;                        /* resnets of a down block; an up block has one more */
    uint32_t context;                       /* channels of the text embedding */
    uint32_t groups;
    float eps;
    bool linear_projection;
    uint32_t sample_size;                   /* latent side it was trained for */
} bl_unet_config;

typedef struct bl_vae_config {
    uint32_t in_channels, latent_channels;
    uint32_t levels;
    uint32_t channels[BL_MAX_LEVELS];
    uint32_t layers;
    uint32_t groups;
    float scaling;                          /* latents = scaling * sample of the encoder's distribution */
    bool tiny;                              /* TAESD (taesd.h): the same channels at all levels, no groups, layers as below */
    uint32_t encoder_blocks[BL_MAX_LEVELS], decoder_blocks[BL_MAX_LEVELS]; /* in the order in which they run */
} bl_vae_config;

typedef struct bl_text_config {
    uint32_t channels, intermediate, layers, heads;
    uint32_t positions, vocabulary;
    float eps;
    uint32_t act;                           /* ACT_GELU or ACT_QUICK_GELU */
} bl_text_config;

typedef struct bl_clip_config {
    bl_text_config text;
    uint32_t channels, intermediate, layers, heads; /* of the vision tower */
    uint32_t size, patch;                           /* pixels of a side: of the picture, of a patch */
    float eps;
    uint32_t act;
    uint32_t projection;                            /* channels of the features */
    int32_t end;                                    /* a text's features are those of its first such id; -1: of its highest */
} bl_clip_config;

bl_result bl_unet_config_read(const char *path, bl_unet_config *out);
bl_result bl_vae_config_read(const char *path, bl_vae_config *out);
bl_result bl_text_config_read(const char *path, bl_text_config *out);
bl_result bl_clip_config_read(const char *path, bl_clip_config *out);
/* The same of an object read from `name`. */
bl_result bl_unet_config_parse(const json_t *o, const char *name, bl_unet_config *out);
bl_result bl_vae_config_parse(const json_t *o, const char *name, bl_vae_config *out);
bl_result bl_text_config_parse(const json_t *o, const char *name, bl_text_config *out);
#endif
