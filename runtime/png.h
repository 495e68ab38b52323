/* PNG: a strict scan of files before they are decoded, the encoder, and text chunks. Layer 0.
 * W3C, Portable Network Graphics (PNG) Specification, Second Edition. */
#ifndef BL_PNG_H
#define BL_PNG_H
#include "base.h"

enum {
    BL_PNG_MAX_TEXT = 16 << 20,  /* bytes of one text */
    BL_PNG_MAX_KEY = 79,
};

/* What the chunks before the pixels say. Pointers go into the scanned file. */
typedef struct bl_png_info {
    uint32_t width, height;
    uint32_t depth;                /* bits per sample: 1, 2, 4, 8, 16 */
    uint32_t color;                /* 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA */
    uint32_t samples;              /* per pixel, 1-4 */
    const uint8_t *palette;        /* RGB triples */
    uint32_t palette_count;
    const uint8_t *transparency;   /* contents of tRNS, or NULL */
    uint32_t transparency_size;
    size_t color_at;               /* where in the file the colour type stands */
    size_t transparency_type_at;   /* where the name of the tRNS chunk stands; 0: there is none */
    uint32_t orientation;          /* of Exif, 1-8 */
} bl_png_info;

bool bl_png_is(const uint8_t *data, size_t size);
/* Walks all chunks: names, lengths, CRCs, order, counts, and the limits of image.h. BL_ERROR_INPUT says which chunk and what. */
bl_result bl_png_scan(const uint8_t *data, size_t size, bl_png_info *info);

/* Encodes 8-bit grey or RGB; the texts follow right behind IHDR as uncompressed iTXt. The same picture, texts and zlib give the same
 * bytes. *data is freed by bl_free. BL_ERROR_USAGE: a picture outside the limits of image.h, a key that is not 1-79 printable Latin-1
 * bytes (no space first, last or twice), a text that is not UTF-8 or above BL_PNG_MAX_TEXT. */
bl_result bl_png_encode(const bl_image *image, const bl_image_text *texts, size_t count, uint8_t **data, size_t *size);

/* The first text under `key` (iTXt, or tEXt turned into UTF-8), freed by bl_free; *text is NULL when there is none. BL_ERROR_INPUT:
 * not a PNG file, a broken chunk, a compressed text, one that is not UTF-8 or above BL_PNG_MAX_TEXT. */
bl_result bl_png_text(const uint8_t *data, size_t size, const char *key, char **text);
#endif
