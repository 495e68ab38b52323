/* Which part of a photo is generated, and how it goes back into the photo. Layer 4. */
#ifndef BL_CROP_H
#define BL_CROP_H
#include "image.h"

/* A part of a picture, in its pixels. */
typedef struct bl_crop {
    uint32_t x, y, width, height;
} bl_crop;

/* "x,y,w,h", decimal, inside a photo of that size. BL_ERROR_USAGE: something else. */
bl_result bl_crop_parse(const char *text, uint32_t photo_width, uint32_t photo_height, bl_crop *out);
/* The largest centred part with the shape of width:height: nothing is stretched. */
bl_crop bl_crop_centred(uint32_t photo_width, uint32_t photo_height, uint32_t width, uint32_t height);
/* The part to generate for a region (grey, of the photo's size) that may change: of that shape, around the region with half its size of
 * surroundings, from which the model sees what it continues; not smaller than width x height, so that small defects are drawn with all the
 * pixels there are. Where that does not fit, as large and as near as the photo allows. */
bl_crop bl_crop_around(const bl_image *region, uint32_t width, uint32_t height);
/* That part, resized. The caller frees *out. */
bl_result bl_crop_take(const bl_image *in, bl_crop crop, uint32_t width, uint32_t height, bl_filter filter, bl_image *out);
/* Puts a picture of any size with as many channels into that part of `whole`, resized. */
bl_result bl_crop_put(const bl_image *part, bl_crop crop, bl_filter filter, bl_image *whole);
#endif
