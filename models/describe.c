/* Layer 5. */
#include "model.h"
#include "json.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

double bl_shortest(float v)
{
    char text[32];
    double d = (double)v;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)v);
        if (sscanf(text, "%lf", &d) == 1 && (float)d == v)
            break;
    }
    return d;
}

static void append(void *user, const char *name) { json_array_append_new(user, json_string(name)); }

static bool was_used(const void *kernels, bl_kernel k) { return bl_kernel_used(kernels, k); }

/* Those choices that may have made a difference; "default" where there are none. */
static json_t *tuning_json(const bl_kernels *ks)
{
    json_t *used = bl_tuning_count(bl_kernels_tuning(ks)) ? bl_tuning_filter(bl_kernels_tuning(ks), was_used, ks) : NULL;
    if (bl_tuning_count(used))
        return used;
    json_decref(used);
    return json_string("default");
}

/* What computed it: kernels, and for every stage its dispatches and memory. Nothing that differs from run to run. */
static json_t *plan_json(const bl_checkpoint *c)
{
    json_t *plan = json_object(), *kernels = json_array();
    bl_kernels_used(c->context->kernels, append, kernels);
    for (uint32_t i = 0; i < c->memory.stage_count; i++) {
        const bl_memory_stage *s = &c->memory.stages[i];
        json_object_set_new(plan, s->name, json_pack("{s:i,s:I}", "dispatches", (int)s->dispatches, "activations",
                                                     (json_int_t)s->activations));
    }
    json_object_set_new(plan, "kernels", kernels);
    json_object_set_new(plan, "tuning", tuning_json(c->context->kernels));
    return plan;
}

/* The words as the caller wrote them, marks and all. */
static void add_words(json_t *j, const bl_generate_options *o)
{
    const struct { const char *name, *text; } texts[] = { { "marked_prompt", o->prompt }, { "object", o->object }, { "defect", o->defect },
        { "template", o->object ? o->template_text : NULL }, { "detail", o->detail } };
    for (size_t i = 0; i < BL_COUNT(texts); i++)
        if (texts[i].text)
            json_object_set_new(j, texts[i].name, json_string(texts[i].text));
}

/* Where the photo might change: true, a mask that was given; false, everywhere; or how it was drawn by the seed. */
static json_t *mask_json(const bl_description *d)
{
    const bl_generate_options *o = d->options;
    if (!d->mask_shape)
        return json_boolean(o->mask);
    json_t *j = json_pack("{s:s}", "shape", d->mask_shape);
    if (o->mask_smallest != 0)
        json_object_set_new(j, "smallest", json_real(bl_shortest(o->mask_smallest)));
    if (o->mask_largest != 0)
        json_object_set_new(j, "largest", json_real(bl_shortest(o->mask_largest)));
    return j;
}

/* How the defect was made: what the method uses, and nothing else. */
static json_t *method_json(const bl_description *d)
{
    const bl_method_spec *m = d->method;
    json_t *tokens = json_array();
    json_t *j = json_pack("{s:s}", "name", bl_method_name(m->kind));
    for (uint32_t i = 0; i < d->words->count; i++)
        json_array_append_new(tokens, json_integer((json_int_t)d->words->tokens[i]));
    json_object_set_new(j, "tokens", tokens);
    if (d->words->count)
        json_object_update_new(j, json_pack("{s:s,s:i,s:b}", "normal_prompt", d->words->normal, "attention_level", (int)m->guide.level,
                                            "words_mean", m->guide.mean));
    if (m->kind == BL_METHOD_CUT)
        json_object_update_new(j, json_pack("{s:f,s:f,s:i,s:i,s:i,s:f,s:f,s:f,s:b}", "lambda", bl_shortest(m->lambda), "growth",
            bl_shortest(m->growth), "guided_first", (int)m->first + 1, "guided_last", (int)m->last + 1, "inner", (int)m->inner,
            "prompt_rate", bl_shortest(m->prompt_rate), "image_weight", bl_shortest(m->image_weight), "image_share",
            bl_shortest(m->image_share), "image_loss", m->image != NULL));
    if (m->kind == BL_METHOD_ANOMALYANY)
        json_object_update_new(j, json_pack("{s:f,s:b}", "lambda", bl_shortest(m->scale), "image_loss", m->image != NULL));
    if (m->kind == BL_METHOD_ATTEND)
        json_object_update_new(j, json_pack("{s:f,s:i,s:i}", "gain", bl_shortest(m->gain), "guided_first", (int)m->first + 1,
                                            "guided_last", (int)m->last + 1));
    if (m->kind == BL_METHOD_ANOMALYANY && d->options->odd_off)
        json_object_set_new(j, "odd_off", json_string(d->options->odd_off));
    if (d->options->attention_res)
        json_object_set_new(j, "attention_res", json_integer(d->options->attention_res));
    add_words(j, d->options);
    return j;
}

bl_result bl_describe(const bl_description *d, char **json, char **text)
{
    bl_result result = BL_OK;
    const bl_generate_options *o = d->options;
    const bl_context *c = d->model->checkpoint->context;
    const char *negative = o->negative_prompt ? o->negative_prompt : "", *scheduler = bl_scheduler_name(d->scheduler->kind);
    const char *prediction = d->scheduler->prediction == BL_PREDICT_V ? "v" : "epsilon", *precision = bl_dtype_name(c->type);
    char seed[24], line[512];
    *json = *text = NULL;
    snprintf(seed, sizeof(seed), "%" PRIu64, o->seed); /* as text: 64 bits do not fit every reader's numbers */
    json_t *object = json_pack_ex(NULL, 0, "{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:f,s:s,s:s,s:s,s:s,s:b,s:s,s:s,s:s,s:s}",
        "program", "blemish", "version", bl_version(), "model", d->model->name, "prompt", d->words->prompt, "negative_prompt", negative,
        "width", (int)d->width, "height", (int)d->height, "steps", (int)d->steps, "guidance", bl_shortest(d->guidance), "seed", seed, "rng",
        d->rng, "scheduler", scheduler, "spacing", bl_spacing_name(d->scheduler->spacing), "karras",
        bl_scheduler_is_karras(d->scheduler), "prediction", prediction, "precision", precision, "device", c->device->info.name, "caps",
        c->caps);
    json_object_update(object, d->model->parts);
    json_object_set_new(object, "plan", plan_json(d->model->checkpoint));
    if (object && o->photo) {
        json_object_set_new(object, "strength", json_real(bl_shortest(d->strength)));
        json_object_set_new(object, "mask", mask_json(d));
        if (d->crop)
            json_object_set_new(object, "crop", json_pack("[i,i,i,i]", (int)d->crop->x, (int)d->crop->y, (int)d->crop->width,
                                                          (int)d->crop->height));
        json_object_set_new(object, "whole_picture", json_boolean(o->whole_picture));
        json_object_set_new(object, "method", method_json(d));
    }
    *json = bl_json_print(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!*json)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for parameters"));
    snprintf(line, sizeof(line), "Steps: %u, Sampler: %s%s, CFG scale: %g, Seed: %s, Size: %ux%u%s", d->steps, scheduler,
             bl_scheduler_is_karras(d->scheduler) ? " Karras" : "", bl_shortest(d->guidance), seed, d->width, d->height,
             o->photo ? ", Denoising strength: " : "");
    const size_t size = strlen(d->words->prompt) + strlen(negative) + strlen(line) + sizeof(d->model->name) + 128;
    *text = bl_alloc(size, 1);
    if (!*text)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for parameters"));
    int n = snprintf(*text, size, "%s\n%s%s%s%s", d->words->prompt, *negative ? "Negative prompt: " : "", negative,
                     *negative ? "\n" : "", line);
    if (o->photo)
        n += snprintf(*text + n, size - (size_t)n, "%g", bl_shortest(d->strength));
    snprintf(*text + n, size - (size_t)n, ", Model: %s, RNG: %s, Version: blemish %s", d->model->name, d->rng, bl_version());
fail:
    json_decref(object);
    if (result != BL_OK) {
        bl_free(*json);
        bl_free(*text);
        *json = *text = NULL;
    }
    return result;
}
