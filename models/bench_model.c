/* What the networks of a model cost: time of a run, time until it can run, memory. Layer 5. */
#include "guide.h"
#include "image_guide.h"
#include "model.h"
#include "timing.h"
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_RUNS = 256, LEAST_RUNS = 5, LONG_RUN = 4 };

typedef struct bench_model {
    bl_model *model;
    bl_checkpoint *c;
    const bl_bench_options *o;
    uint32_t size, side;    /* pixels; latents */
} bench_model;

static bl_result prepare_text(const bench_model *b, bl_stage *s) { return bl_stage_text(b->c, 1, false, s); }
static bl_result prepare_unet(const bench_model *b, bl_stage *s) { return bl_stage_unet(b->c, 1, b->side, b->side, false, s); }
static bl_result prepare_encode(const bench_model *b, bl_stage *s) { return bl_stage_encode(b->c, b->size, b->size, false, s); }
static bl_result prepare_decode(const bench_model *b, bl_stage *s) { return bl_stage_decode(b->c, b->side, b->side, false, s); }

/* One word on maps of a quarter of the latents' size, or half where that is less than 16: what generate does by default. */
static bl_result prepare_guide(const bench_model *b, bl_stage *s)
{
    bl_guide guide = { 0 };
    const bl_guide_spec spec = { .h = b->side, .w = b->side, .level = b->side >= 64 ? 2 : 1, .branches = 1,
        .slice = b->c->text.positions - 1, .tokens = { 8 }, .count = 1, .smooth = true, .gradient = true };
    const bl_result result = bl_guide_create(b->c, &spec, false, NULL, &guide);
    *s = guide.s;
    return result;
}

static bl_result prepare_image(const bench_model *b, bl_stage *s)
{
    bl_image_guide guide = { 0 };
    const bl_result result = bl_image_guide_for_prompt(b->c, b->model->clip, b->side, b->side, "a photo", &guide);
    *s = guide.s;
    return result;
}

static const struct { const char *name; bl_result (*prepare)(const bench_model *b, bl_stage *s); } networks[] = {
    { "text", prepare_text }, { "unet", prepare_unet }, { "guide", prepare_guide }, { "encode", prepare_encode },
    { "decode", prepare_decode }, { "image", prepare_image },
};

/* --- inputs and outputs ---------------------------------------------------------------------------------------------------- */

static size_t elements(const bl_stage *s, bl_value x)
{
    const bl_shape shape = bl_graph_shape(s->graph, x);
    return (size_t)shape.n * shape.h * shape.w * shape.c;
}

/* Numbers of about the size that a model sees; BL_NONE is accepted. */
static bl_result write_input(const bl_stage *s, bl_value x)
{
    if (x == BL_NONE)
        return BL_OK;
    const size_t n = elements(s, x);
    float *data = bl_alloc(n, sizeof(*data));
    if (!data)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for an input");
    for (size_t i = 0; i < n; i++)
        data[i] = sinf((float)(i % 10007));
    const bl_result result = bl_exec_write(s->exec, x, data, n);
    bl_free(data);
    return result;
}

/* The numbers must be ones that a run can give. */
static bl_result check_output(const bl_stage *s, const char *name)
{
    bl_result result = BL_OK;
    const size_t n = elements(s, s->out);
    float *data = bl_alloc(n, sizeof(*data)), least = INFINITY, most = -INFINITY;
    if (!data)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for an output");
    BL_TRY(bl_exec_read(s->exec, s->out, data, n));
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(data[i]))
            BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: the result is not finite", name));
        least = fminf(least, data[i]);
        most = fmaxf(most, data[i]);
    }
    if (n > 1 && least == most)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: the result is flat", name));
fail:
    bl_free(data);
    return result;
}

static bl_result run_once(const bl_stage *s, const char *name, double *ns)
{
    bl_result result = BL_OK;
    const struct bl_step step = { .t = 500, .in_scale = 1 };
    BL_TRY(write_input(s, s->x));
    BL_TRY(write_input(s, s->context));
    if (s->freqs != BL_NONE)
        BL_TRY(bl_exec_set_steps(s->exec, &step, 1));
    const double begun = bl_clock();
    BL_TRY(bl_exec_run(s->exec));
    *ns = bl_clock() - begun;
    BL_TRY(check_output(s, name));
fail:
    return result;
}

/* --- one network ----------------------------------------------------------------------------------------------------------- */

static bl_result time_stage(const bench_model *b, const bl_stage *s, const char *name, bl_timing *t)
{
    bl_result result = BL_OK;
    double ns[MOST_RUNS], work[MOST_RUNS], sorted[MOST_RUNS];
    const double limit = 1e9 * (double)(b->o->time_limit > 0 ? b->o->time_limit : 1);
    const double enough = b->o->noise > 0 ? (double)b->o->noise : 0.005;
    BL_TRY(run_once(s, name, &ns[0])); /* compiles, and learns how to cut the work */
    bool more = ns[0] <= LONG_RUN * limit; /* of a longer one compiling is a small part: it is the measurement */
    uint32_t runs = !more;
    for (const double begun = bl_clock(); more;) {
        BL_TRY(run_once(s, name, &ns[runs++]));
        memcpy(sorted, ns, runs * sizeof(*ns));
        bl_timing_of(sorted, work, runs, t);
        more = runs < MOST_RUNS && bl_clock() - begun < limit && !(runs >= LEAST_RUNS && t->noise <= enough);
    }
    memcpy(sorted, ns, runs * sizeof(*ns));
    bl_timing_of(sorted, work, runs, t);
fail:
    return result;
}

static bl_bench_row empty_row(const char *name, const char *shape)
{
    return (bl_bench_row){ .kind = "model", .name = name, .op = "", .kernel = "", .type = "", .shape = shape, .note = "", .checked = "",
        .unit = "", .bound = "", .statistics = "", .registers = -1, .spills = -1, .instructions = -1, .subgroup = -1, .occupancy = -1 };
}

static bl_result measure(const bench_model *b, size_t network, bl_bench_row *row)
{
    bl_result result = BL_OK;
    bl_device *d = b->c->context->device;
    bl_stage s = { 0 };
    bl_timing t;
    d->peak = d->bytes;
    const double begun = bl_clock();
    BL_TRY(networks[network].prepare(b, &s));
    row->setup = bl_clock() - begun;
    row->type = bl_dtype_name(s.graph->type);
    BL_TRY(time_stage(b, &s, row->name, &t));
    row->runs = t.runs;
    row->wall = 1; /* a run is many submissions */
    row->median = t.median;
    row->p10 = t.p10;
    row->p90 = t.p90;
    row->noise = t.noise;
    row->work = bl_graph_flops(s.graph);
    row->device_bytes = d->peak;
fail:
    bl_stage_destroy(&s);
    return result;
}

bl_result bl_bench_model(bl_model *model, const bl_bench_options *o)
{
    bl_result result = BL_OK;
    char shape[32];
    if (!model || !o || o->struct_size != sizeof(*o) || !o->row)
        return bl_fail(BL_ERROR_USAGE, "bl_bench_model: no model, options of another version, or nobody takes the rows");
    bl_checkpoint *c = model->checkpoint;
    const uint32_t factor = bl_vae_factor(&c->vae), size = o->size ? o->size : c->unet.sample_size * factor;
    const bench_model b = { .model = model, .c = c, .o = o, .size = size, .side = size / factor };
    uint32_t matched = 0;
    if (size < 64 || size > 2048 || size % factor)
        return bl_fail(BL_ERROR_USAGE, "size %u: must be 64 to 2048, a multiple of %u", size, factor);
    snprintf(shape, sizeof(shape), "%ux%u", size, size);
    bl_checkpoint_begin(c, false);
    for (size_t i = 0; i < BL_COUNT(networks); i++) {
        if (o->pattern && fnmatch(o->pattern, networks[i].name, 0))
            continue;
        matched++;
        bl_bench_row row = empty_row(networks[i].name, shape);
        bl_context_progress(c->context, networks[i].name, (uint32_t)i, BL_COUNT(networks));
        if (networks[i].prepare == prepare_image && !model->clip) {
            row.verdict = BL_SKIP;
            row.note = "no CLIP model was given";
        } else if (!o->list) {
            BL_TRY(measure(&b, i, &row));
        }
        o->row(o->user, &row);
    }
    if (!matched)
        result = bl_fail(BL_ERROR_USAGE, "no network matches \"%s\": there are text, unet, guide, encode, decode and image", o->pattern);
fail:
    return result;
}
