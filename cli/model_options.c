#include "model_options.h"
#include <stdio.h>
#include <string.h>

static const double SCALE_MAX = 100;

/* FILE[:SCALE]: what follows the last colon is a scale if it is a number, else part of the name. */
static bool split(const char *text, char *path, size_t size, float *scale)
{
    const char *colon = strrchr(text, ':');
    double number = 1;
    const bool negative = colon && colon[1] == '-';
    const bool scaled = colon && colon > text && options_number(colon + 1 + negative, &number);
    const size_t length = scaled ? (size_t)(colon - text) : strlen(text);
    *scale = (float)(negative && scaled ? -number : number);
    if (length >= size)
        return false;
    memcpy(path, text, length);
    path[length] = 0;
    return number <= SCALE_MAX && *scale != 0;
}

bool model_options_make(const command *c, const model_values *v, model_store *store, bl_model_options *out)
{
    *out = (bl_model_options)BL_MODEL_OPTIONS_INIT;
    out->tokenizer = v->tokenizer;
    out->vae = v->vae;
    out->preview_vae = v->preview_vae;
    out->prediction = v->prediction;
    out->loras = store->loras;
    out->lora_count = v->loras.count;
    for (size_t i = 0; i < v->loras.count; i++) {
        store->loras[i].path = store->paths[i];
        if (!split(v->loras.items[i], store->paths[i], sizeof(store->paths[i]), &store->loras[i].scale))
            return options_refuse(c, "--lora: must be FILE or FILE:SCALE with a scale from -%g to %g other than 0, not \"%s\"", SCALE_MAX,
                                  SCALE_MAX, v->loras.items[i]), false;
    }
    return true;
}
