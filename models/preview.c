/* Layer 4. */
#include "preview.h"
#include "image.h"
#include "sample.h"
#include <math.h>

bl_result bl_preview_create(bl_checkpoint *c, uint32_t h, uint32_t w, bl_preview *out)
{
    *out = (bl_preview){ .c = c, .h = h, .w = w };
    return c->preview_weights || c->vae.tiny ? bl_stage_preview(c, h, w, &out->stage) : BL_OK;
}

void bl_preview_destroy(bl_preview *p)
{
    bl_stage_destroy(&p->stage);
    *p = (bl_preview){ 0 };
}

/* Roughly and at once: a linear map to colours, found by regression for Stable Diffusion 1. */
static void draw_roughly(const bl_preview *p, const float *latents, uint8_t *pixels)
{
    static const float colours[4][3] = {
        { 0.298f, 0.207f, 0.208f }, { 0.187f, 0.286f, 0.173f }, { -0.158f, 0.189f, 0.264f }, { -0.184f, -0.271f, -0.473f },
    };
    const size_t cells = (size_t)p->h * p->w, channels = BL_MIN(p->c->unet.in_channels, 4);
    for (size_t i = 0; i < cells; i++)
        for (size_t k = 0; k < 3; k++) {
            float v = 0;
            for (size_t c = 0; c < channels; c++)
                v += colours[c][k] * latents[c * cells + i];
            pixels[3 * i + k] = (uint8_t)lrintf(255 * BL_MIN(BL_MAX(v / 2 + 0.5f, 0), 1));
        }
}

bl_result bl_preview_draw(const bl_preview *p, const float *latents, bl_image *out)
{
    if (p->stage.exec)
        return bl_decode_stage(&p->stage, latents, out);
    const bl_result result = bl_image_create(p->w, p->h, 3, out);
    if (result == BL_OK)
        draw_roughly(p, latents, out->pixels);
    return result;
}
