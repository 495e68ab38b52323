/* An open model, and the words that describe a picture made with it. Layer 5. */
#ifndef BL_MODEL_H
#define BL_MODEL_H
#include "crop.h"
#include "method.h"

struct bl_model {
    bl_checkpoint *checkpoint;
    bl_clip *clip;   /* NULL without one */
    char name[256];  /* last part of its path, UTF-8: pictures hold no absolute paths */
    json_t *parts;   /* another autoencoder and LoRAs, as they are written into pictures */
};

/* Options with every default filled in. */
typedef struct bl_description {
    const bl_generate_options *options;
    const bl_model *model;
    const bl_scheduler_config *scheduler;
    const bl_method_spec *method;
    const bl_words *words;
    const char *mask_shape;  /* of the one drawn; NULL: none is */
    const bl_crop *crop;     /* the part of the photo that was generated and put back; NULL: nothing was put back */
    const char *rng;
    uint32_t width, height, steps;
    float strength, guidance;
} bl_description;
const char *bl_method_name(bl_method_kind kind); /* "cut", "anomalyany", "attend", "sd" */
/* The parameters as one JSON object, and as the text the common tools write (prompt, "Negative prompt: ...", "Steps: ..., Seed: ..."). Both
 * are freed by bl_free. */
double bl_shortest(float v); /* the decimal of fewest digits that is the same float: 7.5, not 7.5000000000000000 */
bl_result bl_describe(const bl_description *d, char **json, char **text);
#endif
