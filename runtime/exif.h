/* Which way up a picture is: Exif orientation, and nothing else of Exif. Layer 0.
 * CIPA DC-008, Exif 2.32, 4.6.4 (tag 274) and TIFF 6.0, 2. */
#ifndef BL_EXIF_H
#define BL_EXIF_H
#include "base.h"

/* The orientation, 1-8, that a TIFF header with its first directory states; 1, as it is stored, where there is none or it is broken:
 * what is only said about a picture must not make it unreadable. */
uint32_t bl_exif_orientation(const uint8_t *tiff, size_t size);
/* Turns a picture, in place, so that it is seen as it should be. BL_ERROR_MEMORY: the picture is as it was. */
bl_result bl_exif_turn(uint32_t orientation, bl_image *image);
#endif
