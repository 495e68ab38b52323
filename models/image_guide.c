#include "image_guide.h"
void bl_image_guide_destroy(bl_image_guide *g){(void)g;}
bl_result bl_image_guide_run(bl_image_guide *g, const float *l, float *a, float *b){(void)g;(void)l;(void)a;(void)b;return BL_ERROR_USAGE;}
bl_result bl_image_guide_for_prompt(bl_checkpoint *c, bl_clip *clip, uint32_t h, uint32_t w, const char *prompt, bl_image_guide *out){(void)c;(void)clip;(void)h;(void)w;(void)prompt;(void)out;return BL_ERROR_USAGE;}
bl_result bl_clip_open(bl_checkpoint *c, const char *dir, bl_clip **out){(void)c;(void)dir;(void)out;return bl_fail(BL_ERROR_USAGE,"no clip yet");}
void bl_clip_close(bl_clip **c){(void)c;}
