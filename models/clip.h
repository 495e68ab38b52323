#ifndef BL_CLIP_H
#define BL_CLIP_H
#include "checkpoint.h"
typedef struct bl_clip bl_clip;
#endif
