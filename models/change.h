/* The mask of what changed, and pictures of attention. Layer 4. */
#ifndef BL_CHANGE_H
#define BL_CHANGE_H
#include "image.h"

/* Where `made` differs from `plain` (RGB of one size: the defect, and the same photo denoised without it from the same noise) because of
 * the words: all that differs, smoothed, by a third of the most, in regions that reach four fifths of the most when weighed by the words'
 * attention ([mh, mw], any scale; NULL: 1 everywhere), cleaned of specks and pinholes. The difference tells how far a defect reaches,
 * attention which of several changes it is. Grey, 0 or 255. `allowed` [mask_h, mask_w]: 0 where nothing may have changed; NULL: anywhere.
 * Not empty if a pixel there differs by more than rounding, 1 of 255; else black. The caller frees *mask. */
bl_result bl_change_mask(const bl_image *made, const bl_image *plain, const float *attention, uint32_t mh, uint32_t mw,
                         const float *allowed, uint32_t mask_h, uint32_t mask_w, bl_image *mask);
/* Puts the photo back where nothing changed: `made` (RGB) becomes photo + w (made - photo); w is 1 where `mask` (grey) is not 0, falls to 0
 * within 2 `edge` pixels around it, and from there on the pixels are the photo's, byte for byte. All of one size; edge even, from 2. */
bl_result bl_paste_back(const bl_image *photo, const bl_image *mask, uint32_t edge, bl_image *made);
/* Attention [mh, mw] over a grey version of the picture, from blue to red. The caller frees *out. */
bl_result bl_attention_overlay(const bl_image *picture, const float *attention, uint32_t mh, uint32_t mw, bl_image *out);
/* Turns regions of `value` (0 or 255) of fewer than `least` pixels, by 4 neighbours, into the other value. False without memory. */
bool bl_drop_small(uint8_t *mask, uint32_t w, uint32_t h, uint8_t value, size_t least);
/* Otsu's threshold of `count` values from 0 to 1 (Otsu 1979, 256 bins): the value that best parts them in two. */
float bl_otsu(const float *values, size_t count);
#endif
