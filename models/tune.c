/* The exported functions of kernel choices: measuring them, and telling them. Layer 5. */
#include "tune.h"
#include "model.h"
#include <math.h>
#include <stdio.h>

/* What the graphs of a model have to be computed. */
typedef struct collector {
    bl_tune_set set;
    const bl_kernels *kernels;
} collector;

static bl_result collect(void *user, const bl_graph *g)
{
    bl_result result = BL_OK;
    collector *all = user;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const bl_node *n = &g->nodes[i];
        const bl_params p = n->dead ? (bl_params){ 0 } : bl_graph_params(g, n);
        if (!n->dead)
            BL_TRY(bl_tune_add(&all->set, all->kernels, n->op, n->type, &p));
    }
fail:
    return result;
}

/* Plans a picture with guided words from a photo: all networks are in it, and their gradients. */
static bl_result collect_model(collector *all, bl_model *model, uint32_t size)
{
    enum { SIDE = 64 };
    static uint8_t pixels[SIDE * SIDE * 3]; /* nothing is read of them */
    const bl_image photo = { SIDE, SIDE, 3, pixels };
    bl_generate_options o = BL_GENERATE_OPTIONS_INIT;
    bl_memory_plan ignored;
    o.object = "object";
    o.defect = "defect";
    o.photo = &photo;
    o.width = o.height = size;
    model->checkpoint->planned = collect;
    model->checkpoint->planned_user = all;
    const bl_result result = bl_generate_plan(model, &o, &ignored);
    model->checkpoint->planned = NULL;
    return result;
}

static bl_result check_options(const bl_context *c, const bl_tune_options *o)
{
    if (!c || !o || o->struct_size != sizeof(*o))
        return bl_fail(BL_ERROR_USAGE, "bl_tune: no context, or options of another version");
    if (o->model && o->model->checkpoint->context != c)
        return bl_fail(BL_ERROR_USAGE, "bl_tune: the model is of another context");
    if (!isfinite(o->time_limit) || o->time_limit < 0)
        return bl_fail(BL_ERROR_USAGE, "bl_tune: the time limit must not be negative");
    return BL_OK;
}

/* What was found is kept, also when something failed later; `result` and its reason stay, or are those of the writing. */
static bl_result keep(const bl_context *c, const json_t *plan, bl_result result)
{
    char reason[1024];
    snprintf(reason, sizeof(reason), "%s", bl_last_error());
    const bl_result kept = c->cache_dir ? bl_tuning_save(c->device, c->cache_dir, plan) : BL_OK;
    return result == BL_OK ? kept : bl_fail(result, "%s", reason);
}

static void on_progress(void *user, const char *name, uint32_t done, uint32_t total) { bl_context_progress(user, name, done, total); }

bl_result bl_tune(bl_context *c, const bl_tune_options *o)
{
    bl_result result = check_options(c, o);
    if (result != BL_OK)
        return result;
    collector all = { .kernels = c->kernels };
    const bl_bench_target target = { c->device, c->stream, on_progress, c };
    const json_t *before = bl_kernels_tuning(c->kernels);
    json_t *plan = before && bl_tuning_is_for(before, c->device) ? json_deep_copy(before) : bl_tuning_create(c->device);
    if (!plan)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a plan"));
    BL_TRY(bl_device_check(c->device));
    if (o->model)
        BL_TRY(collect_model(&all, o->model, o->size));
    else
        for (int t = 0; t < BL_DTYPE_COUNT; t++)
            if ((bl_dtype)t == c->type || (bl_dtype)t == c->vae_type)
                BL_TRY(bl_tune_add_usual(&all.set, c->kernels, (bl_dtype)t));
    result = bl_tune_run(&target, c->kernels, &all.set, o, plan);
    bl_kernels_forget(c->kernels);
    if (result != BL_ERROR_USAGE) {
        result = keep(c, plan, result);
        bl_kernels_set_tuning(c->kernels, json_incref(plan));
    }
fail:
    json_decref(plan);
    bl_tune_set_free(&all.set);
    return result;
}

bl_result bl_context_plan(const bl_context *c, char **json)
{
    if (json)
        *json = NULL;
    if (!c || !json)
        return bl_fail(BL_ERROR_USAGE, "bl_context_plan: no context, or no place for the text");
    const json_t *tuning = bl_kernels_tuning(c->kernels);
    json_t *none = tuning ? NULL : bl_tuning_create(c->device);
    *json = bl_tuning_print(tuning ? tuning : none);
    json_decref(none);
    return *json ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory for a plan");
}
