/* JPEG: a strict scan of files before they are decoded. Layer 0.
 * ITU-T T.81. JPEG has no checksums, and decoders fill what is missing with grey. So the scan walks the entropy-coded data as well: every
 * block of every component must be there, coded by defined Huffman codes, and the file must end in its end marker. */
#ifndef BL_JPEG_H
#define BL_JPEG_H
#include "base.h"

enum { BL_JPEG_MAX_SCANS = 64 };

typedef struct bl_jpeg_info {
    uint32_t width, height;
    uint32_t components;  /* 1 or 3 */
    bool progressive;
    uint32_t scans;
    uint32_t orientation; /* of Exif, 1-8 */
} bl_jpeg_info;

bool bl_jpeg_is(const uint8_t *data, size_t size);
/* Sequential and progressive Huffman JPEG of 8 bits with 1 or 3 components; anything else is BL_ERROR_INPUT and named. Bytes behind the
 * end marker are accepted: cameras append previews there. */
bl_result bl_jpeg_scan(const uint8_t *data, size_t size, bl_jpeg_info *info);
#endif
