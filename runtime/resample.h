/* Resampling of 8-bit pictures, equal to Image.resize of Pillow 9.4 byte for byte. Layer 0.
 * Horizontal pass first, always. Pillow 13 runs the vertical pass first where that is less work, and then rounds differently. */
#ifndef BL_RESAMPLE_H
#define BL_RESAMPLE_H
#include "base.h"

typedef enum bl_filter { BL_FILTER_NEAREST, BL_FILTER_BILINEAR, BL_FILTER_BICUBIC, BL_FILTER_LANCZOS } bl_filter;

/* A resized copy. When a side shrinks, its filter widens by the same factor (antialiasing), except for NEAREST.
 * Bicubic has a = -0.5 (Catmull-Rom), Lanczos 3 lobes. *out is zeroed on failure and must not be `in`.
 * BL_ERROR_USAGE: a picture or size outside the limits of image.h; BL_ERROR_MEMORY. */
bl_result bl_image_resize(const bl_image *in, uint32_t width, uint32_t height, bl_filter filter, bl_image *out);
#endif
