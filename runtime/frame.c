/* Frames as cameras give them, to pictures and back. Layer 0. */
#include "checked.h"
#include "image.h"
#include <string.h>

typedef struct pixel_format {
    const char *name;
    uint32_t bytes; /* of a pixel */
} pixel_format;

static const pixel_format formats[] = {
    [BL_PIXEL_MONO8] = { "mono8", 1 }, [BL_PIXEL_MONO16] = { "mono16", 2 }, [BL_PIXEL_RGB8] = { "RGB", 3 }, [BL_PIXEL_BGR8] = { "BGR", 3 },
};

/* That every row lies inside the memory; *stride and *bits are what zeros in the frame stand for. */
static bl_result check(const bl_frame *f, size_t *stride, uint32_t *bits)
{
    if (!f || !f->pixels)
        return bl_fail(BL_ERROR_USAGE, "the frame has no pixels");
    if ((unsigned)f->format >= BL_COUNT(formats))
        return bl_fail(BL_ERROR_USAGE, "the frame has the unknown pixel format %d", (int)f->format);
    const pixel_format *p = &formats[f->format];
    const size_t row = (size_t)f->width * p->bytes;
    *stride = f->stride ? f->stride : row;
    *bits = f->bits ? f->bits : 16;
    const bl_image size = { f->width, f->height, 1, (uint8_t *)f->pixels };
    const bl_result result = bl_image_check(&size);
    if (result != BL_OK)
        return result;
    if (f->bits && (f->format != BL_PIXEL_MONO16 || f->bits < 9 || f->bits > 16))
        return bl_fail(BL_ERROR_USAGE, "a %s frame of %u bits; mono16 takes 9 to 16", p->name, f->bits);
    if (*stride < row)
        return bl_fail(BL_ERROR_USAGE, "the frame's rows are %zu bytes apart, %u %s pixels need %zu", *stride, f->width, p->name, row);
    size_t needed;
    if (!bl_mul(f->height - 1, *stride, &needed) || !bl_add(needed, row, &needed) || f->size < needed)
        return bl_fail(BL_ERROR_USAGE, "the frame has %zu bytes, %u rows %zu bytes apart need more", f->size, f->height, *stride);
    return BL_OK;
}

bl_result bl_image_from_frame(const bl_frame *frame, bl_image *image)
{
    size_t stride;
    uint32_t bits;
    if (!image)
        return bl_fail(BL_ERROR_USAGE, "bl_image_from_frame: no picture to fill");
    *image = (bl_image){ 0 };
    bl_result result = check(frame, &stride, &bits);
    if (result == BL_OK)
        result = bl_image_create(frame->width, frame->height, 3, image);
    if (result != BL_OK)
        return result;
    uint8_t *out = image->pixels;
    for (uint32_t y = 0; y < frame->height; y++) {
        const uint8_t *in = (const uint8_t *)frame->pixels + y * stride;
        for (uint32_t x = 0; x < frame->width; x++, out += 3, in += formats[frame->format].bytes) {
            uint16_t wide;
            switch (frame->format) {
            case BL_PIXEL_MONO8:
                memset(out, in[0], 3);
                break;
            case BL_PIXEL_MONO16:
                memcpy(&wide, in, sizeof(wide)); /* rows may start anywhere */
                if (wide >> bits) {
                    bl_image_free(image);
                    return bl_fail(BL_ERROR_INPUT, "pixel (%u, %u) is %u, more than %u bits hold", x, y, wide, bits);
                }
                memset(out, wide >> (bits - 8), 3);
                break;
            case BL_PIXEL_RGB8:
                memcpy(out, in, 3);
                break;
            case BL_PIXEL_BGR8:
                out[0] = in[2], out[1] = in[1], out[2] = in[0];
                break;
            }
        }
    }
    return BL_OK;
}

bl_result bl_image_to_frame(const bl_image *image, const bl_frame *frame)
{
    size_t stride;
    uint32_t bits;
    bl_result result = bl_image_check(image);
    if (result == BL_OK)
        result = check(frame, &stride, &bits);
    if (result != BL_OK)
        return result;
    if (frame->width != image->width || frame->height != image->height)
        return bl_fail(BL_ERROR_USAGE, "a picture of %ux%u into a frame of %ux%u", image->width, image->height, frame->width,
                       frame->height);
    if ((image->channels == 1) != (frame->format == BL_PIXEL_MONO8) || frame->format == BL_PIXEL_MONO16)
        return bl_fail(BL_ERROR_USAGE, "a picture of %u channels into a %s frame; grey goes into mono8, colour into RGB or BGR",
                       image->channels, formats[frame->format].name);
    const uint8_t *in = image->pixels;
    for (uint32_t y = 0; y < image->height; y++) {
        uint8_t *out = (uint8_t *)frame->pixels + y * stride;
        memcpy(out, in, (size_t)image->width * image->channels);
        for (uint32_t x = 0; x < image->width && frame->format == BL_PIXEL_BGR8; x++) {
            out[3 * x] = in[3 * x + 2];
            out[3 * x + 2] = in[3 * x];
        }
        in += (size_t)image->width * image->channels;
    }
    return BL_OK;
}
