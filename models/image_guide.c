#include "image_guide.h"
void bl_image_guide_destroy(bl_image_guide *g){(void)g;}
bl_result bl_image_guide_run(bl_image_guide *g, const float *l, float *a, float *b){(void)g;(void)l;(void)a;(void)b;return BL_ERROR_USAGE;}
