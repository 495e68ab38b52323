/* Capabilities: a set of bits, not a ladder; and the limits that a list of them may lower. Layer 0. */
#ifndef BL_CAPS_H
#define BL_CAPS_H
#include "base.h"

typedef enum bl_cap {
    BL_CAP_S16 = 1 << 0,     /* 16-bit storage */
    BL_CAP_F16 = 1 << 1,     /* fp16 arithmetic */
    BL_CAP_SG = 1 << 2,      /* subgroup arithmetic and shuffles in compute shaders, at least 8 lanes */
    BL_CAP_SGSIZE = 1 << 3,  /* subgroup size control */
    BL_CAP_DOT8 = 1 << 4,    /* 8-bit integer dot product */
    BL_CAP_CM = 1 << 5,      /* KHR cooperative matrix */
    BL_CAP_TALL = 1 << 6,    /* tall register tiles: registers are memory, and workgroup memory a detour; software devices */
} bl_cap;
enum { BL_CAP_COUNT = 7 };

typedef enum bl_limit {
    BL_LIMIT_INVOCATIONS,  /* lanes of a workgroup */
    BL_LIMIT_SHARED,       /* bytes of a workgroup */
    BL_LIMIT_BINDING,      /* bytes of one storage buffer binding */
    BL_LIMIT_ALLOCATION,   /* bytes of one allocation */
    BL_LIMIT_COUNT
} bl_limit;

/* "s16,sg", or "base" for none; `text` has room for 64 bytes. */
void bl_caps_text(uint32_t caps, char *text);
enum { BL_CAPS_TEXT = 192 };
/* The same and then ",binding=32M" for every limit that is below the device's own and, without capabilities, below that of base.
 * `text` has room for BL_CAPS_TEXT bytes. */
void bl_caps_limits_text(uint32_t caps, const uint64_t limits[BL_LIMIT_COUNT], const uint64_t own[BL_LIMIT_COUNT], char *text);
/* Parses such a list. *caps stays as it is if the list names limits only; limits are lowered, never raised.
 * BL_ERROR_USAGE naming what is known; then nothing has changed. */
bl_result bl_caps_parse(const char *text, uint32_t *caps, uint64_t limits[BL_LIMIT_COUNT]);
#endif
