/* Pictures: limits, allocation, and decoding of PNG and JPEG. Layer 0.
 * A file is walked by our own scanners (png.h, jpeg.h) before stb_image sees it: stb takes broken and truncated files as good, and
 * sizes allocations by length fields. stb itself runs with zeroed memory out of a budget that follows from the scanned header. */
#ifndef BL_IMAGE_H
#define BL_IMAGE_H
#include "base.h"

enum {
    BL_IMAGE_MAX_SIDE = 16384,        /* pixels */
    BL_IMAGE_MAX_PIXELS = 64 << 20,
    BL_IMAGE_MAX_FILE = 256 << 20,    /* bytes */
    BL_IMAGE_MAX_ASPECT = 64,         /* longer side over shorter side, of files that are read */
    BL_IMAGE_MAX_RATIO = 4096,        /* decoded bytes per byte of file, after the first MiB; Deflate itself ends at 1032 */
};

/* Zeroed pixels of a new picture. BL_ERROR_USAGE: a side of 0 or above the limits, or channels neither 1 nor 3. *image is zeroed on
 * failure. */
bl_result bl_image_create(uint32_t width, uint32_t height, uint32_t channels, bl_image *image);
/* BL_ERROR_USAGE unless *image is a picture within the limits: what a caller hands in. */
bl_result bl_image_check(const bl_image *image);

/* As bl_image_read, from memory. Samples of 16 bits lose their low byte. Grey of a colour picture is ITU-R 601 luma,
 * (19595 R + 38470 G + 7471 B + 32768) / 65536, as Pillow's "L". Alpha over white is rounded to nearest, per channel and before grey.
 * BL_ERROR_MEMORY: the host is out of memory. */
bl_result bl_image_decode(const uint8_t *data, size_t size, uint32_t channels, bl_image *image);

/* For the scanners: the declared size against the limits above; `decoded` is the bytes of all samples as the file stores them.
 * `format` is for messages. */
bl_result bl_image_check_declared(const char *format, uint32_t width, uint32_t height, size_t decoded, size_t file_size);

/* What stb_image made of a file: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
typedef struct bl_stb_image {
    uint32_t width, height, channels;
    uint8_t *pixels; /* freed by bl_stb_free, never by bl_free */
} bl_stb_image;
/* Decodes a scanned file with at most `budget` bytes of memory at a time. */
bl_result bl_stb_decode(const uint8_t *data, size_t size, size_t budget, bl_stb_image *out);
void bl_stb_free(bl_stb_image *image);
#endif
