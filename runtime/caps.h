/* Capabilities: a set of bits, not a ladder. Layer 0. */
#ifndef BL_CAPS_H
#define BL_CAPS_H
#include "base.h"

typedef enum bl_cap {
    BL_CAP_S16 = 1 << 0,     /* 16-bit storage */
    BL_CAP_F16 = 1 << 1,     /* fp16 arithmetic */
    BL_CAP_SG = 1 << 2,      /* subgroup arithmetic and shuffles in compute shaders */
    BL_CAP_SGSIZE = 1 << 3,  /* subgroup size control */
    BL_CAP_DOT8 = 1 << 4,    /* 8-bit integer dot product */
    BL_CAP_CM = 1 << 5,      /* KHR cooperative matrix */
    BL_CAP_SHM = 1 << 6,     /* workgroup memory worth using; a software device has it, but uses it only when asked */
} bl_cap;
enum { BL_CAP_COUNT = 7 };

/* "s16,sg", or "base" for none; `text` has room for 128 bytes. */
void bl_caps_text(uint32_t caps, char *text);
/* Parses such a list. BL_ERROR_USAGE naming the known ones. */
bl_result bl_caps_parse(const char *text, uint32_t *caps);
#endif
