#ifndef BL_CLIP_H
#define BL_CLIP_H
#include "checkpoint.h"
typedef struct bl_clip bl_clip;
bl_result bl_clip_open(bl_checkpoint *c, const char *dir, bl_clip **out);
void bl_clip_close(bl_clip **clip);
#endif
