/* What a generation takes of a photo, and how its result goes back into it. Layer 4. */
#ifndef BL_PHOTO_H
#define BL_PHOTO_H
#include "context.h"
#include "crop.h"

typedef struct bl_photo_spec {
    const bl_context *context;   /* for warnings */
    const bl_image *photo;       /* RGB */
    const bl_image *mask;        /* grey; NULL: none is given */
    const char *crop;            /* "auto", "none", "x,y,w,h" */
    const char *shape;           /* of the mask to draw, as in bl_mask_options; NULL: none */
    bool may_be_everywhere;      /* where the photo has no foreground for it */
    float smallest, largest;     /* of that mask */
    uint64_t seed;
    uint32_t width, height;      /* pixels of what is generated */
    uint32_t factor;             /* pixels of a cell of the latents */
    bool nearest;                /* a cell of the mask is what its nearest pixel is; else white if any of its pixels is */
} bl_photo_spec;

typedef struct bl_photo {
    bl_photo_spec spec;          /* its shape is NULL where none was drawn */
    bool returns;                /* the result goes back into the photo, and has its size */
    bl_crop crop;                /* the part of the photo that is generated */
    bl_image part, part_region;  /* width x height: that part, and where it may change, 0 or 255; no pixels: everywhere */
    bl_image region;             /* the same at the result's size */
    float *mask;                 /* of the latents, 0 or 1; NULL: everywhere */
} bl_photo;

/* Cuts the photo and its mask. BL_ERROR_USAGE: a crop that is none; BL_ERROR_INPUT: nothing may change. bl_photo_free also on failure. */
bl_result bl_photo_prepare(const bl_photo_spec *spec, bl_photo *p);
/* Puts the photo back around what changed (`mask`, or without one the region; with `whole` nothing) in `image`, both width x height, and
 * both into the whole photo; makes the picture of the attention [mh, mw] (NULL: none); and moves part and region into the result. */
bl_result bl_photo_return(bl_photo *p, const float *attention, uint32_t mh, uint32_t mw, bool whole, bl_generate_result *made);
void bl_photo_free(bl_photo *p); /* zeroes *p; a zeroed one is accepted */
#endif
