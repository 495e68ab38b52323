#include "published.h"
#include "params.h"
#include <string.h>

/* Levels are listed from the largest picture to the smallest. */
#define TEXT(width, depth, head_count, tokens, length, activation) \
    { .channels = width, .intermediate = 4 * (width), .layers = depth, .heads = head_count, .positions = length, .vocabulary = tokens, \
      .eps = 1e-5f, .act = activation }
#define SD_UNET(width, side, linear, ...) \
    { .in_channels = 4, .out_channels = 4, .levels = 4, .channels = { 320, 640, 1280, 1280 }, .heads = __VA_ARGS__, \
      .down_attention = { true, true, true, false }, .up_attention = { false, true, true, true }, .layers = 2, .context = width, \
      .groups = 32, .eps = 1e-5f, .linear_projection = linear, .sample_size = side }
#define SD_VAE \
    { .in_channels = 3, .latent_channels = 4, .levels = 4, .channels = { 128, 256, 512, 512 }, .layers = 2, .groups = 32, \
      .scaling = 0.18215f }
#define CLIP_TEXT TEXT(768, 12, 12, 49408, 77, ACT_QUICK_GELU)
#define CLIP_L14 \
    { .text = CLIP_TEXT, .channels = 1024, .intermediate = 4096, .layers = 24, .heads = 16, .size = 224, .patch = 14, .eps = 1e-5f, \
      .act = ACT_QUICK_GELU, .projection = 768, .end = -1 }

static const bl_published models[] = {
    { "sd15", CLIP_TEXT, SD_UNET(768, 64, false, { 8, 8, 8, 8 }), SD_VAE, CLIP_L14 },
    { "sd21", TEXT(1024, 23, 16, 49408, 77, ACT_GELU), SD_UNET(1024, 96, true, { 5, 10, 20, 20 }), SD_VAE, CLIP_L14 },
    { .name = "demo", .text = TEXT(128, 3, 4, 1145, 32, ACT_QUICK_GELU),
      .unet = { .in_channels = 4, .out_channels = 4, .levels = 3, .channels = { 32, 64, 128 }, .heads = { 1, 2, 4 },
                .down_attention = { false, true, true }, .up_attention = { true, true, false }, .layers = 2, .context = 128, .groups = 8,
                .eps = 1e-5f, .sample_size = 32 },
      .vae = { .in_channels = 3, .latent_channels = 4, .levels = 3, .channels = { 32, 64, 96 }, .layers = 1, .groups = 8,
               .scaling = 0.8576919411838563f },
      .clip = { .text = TEXT(128, 3, 4, 1145, 32, ACT_QUICK_GELU), .channels = 192, .intermediate = 768, .layers = 4, .heads = 4,
                .size = 64, .patch = 8, .eps = 1e-5f, .act = ACT_QUICK_GELU, .projection = 128, .end = 1144 } },
};

bl_result bl_published_find(const char *name, const bl_published **out)
{
    for (size_t i = 0; i < BL_COUNT(models); i++)
        if (!strcmp(models[i].name, name)) {
            *out = &models[i];
            return BL_OK;
        }
    return bl_fail(BL_ERROR_USAGE, "no shapes are called \"%.40s\": there are sd15, sd21 and demo", name);
}
