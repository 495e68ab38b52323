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
    bl_checkpoint *c;
    bl_clip *clip;          /* NULL without one */
    const bl_bench_options *o;
    uint32_t w, h;          /* of the latents */
    double forward;         /* of the network that was prepared last: its work before a gradient; 0: there is none */
} bench_model;

static bl_result prepare_text(bench_model *b, bl_stage *s) { return bl_stage_text(b->c, 1, false, s); }
static bl_result prepare_unet(bench_model *b, bl_stage *s) { return bl_stage_unet(b->c, 1, b->h, b->w, false, s); }
static bl_result prepare_step(bench_model *b, bl_stage *s) { return bl_stage_sampler(b->c, 2, b->h, b->w, false, false, false, 1, s); }
static bl_result prepare_decode(bench_model *b, bl_stage *s) { return bl_stage_decode(b->c, b->h, b->w, false, s); }

static bl_result prepare_encode(bench_model *b, bl_stage *s)
{
    const uint32_t factor = bl_vae_factor(&b->c->vae);
    return bl_stage_encode(b->c, b->h * factor, b->w * factor, false, s);
}

/* One word, with the maps that generate takes by default. */
static bl_result prepare_guide(bench_model *b, bl_stage *s)
{
    bl_guide guide = { 0 };
    const bl_guide_spec spec = { .h = b->h, .w = b->w, .level = bl_guide_level(&b->c->unet, b->h, b->w, 0), .branches = 1,
        .slice = b->c->text.positions - 1, .tokens = { 8 }, .count = 1, .smooth = true, .gradient = true };
    const bl_result result = bl_guide_create(b->c, &spec, false, NULL, &guide);
    *s = guide.s;
    b->forward = guide.forward_flops;
    return result;
}

/* Numbers of about the size that a model sees. */
static float *make_numbers(size_t n)
{
    float *data = bl_alloc(n, sizeof(*data));
    for (size_t i = 0; data && i < n; i++)
        data[i] = sinf((float)(i % 10007));
    return data;
}

static bl_result prepare_image(bench_model *b, bl_stage *s)
{
    bl_image_guide guide = { 0 };
    float *text = make_numbers(b->clip->config.projection);
    if (!text)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for the features of a text");
    const bl_result result = bl_image_guide_create(b->c, b->clip, b->h, b->w, text, &guide);
    bl_free(text);
    *s = guide.s;
    b->forward = guide.forward_flops;
    return result;
}

enum { TEXT, UNET, STEP, GUIDE, ENCODE, DECODE, IMAGE, LOAD, NETWORKS };
static const struct { const char *name; bl_result (*prepare)(bench_model *b, bl_stage *s); } networks[NETWORKS] = {
    [TEXT] = { "text", prepare_text }, [UNET] = { "unet", prepare_unet }, [STEP] = { "step", prepare_step },
    [GUIDE] = { "guide", prepare_guide }, [ENCODE] = { "encode", prepare_encode }, [DECODE] = { "decode", prepare_decode },
    [IMAGE] = { "image", prepare_image }, [LOAD] = { "load", prepare_unet },
};

/* Pictures as the sum of what they are made of: 25 steps are the default. */
static const struct { const char *name, *note; uint32_t times[NETWORKS]; } pictures[] = {
    { "picture", "2 text, encode, 25 step, decode", { [TEXT] = 2, [ENCODE] = 1, [STEP] = 25, [DECODE] = 1 } },
    { "guided", "the same with guide in every step", { [TEXT] = 2, [ENCODE] = 1, [STEP] = 25, [GUIDE] = 25, [DECODE] = 1 } },
};

/* --- inputs and outputs ---------------------------------------------------------------------------------------------------- */

static size_t elements(const bl_stage *s, bl_value x)
{
    const bl_shape shape = bl_graph_shape(s->graph, x);
    return (size_t)shape.n * shape.h * shape.w * shape.c;
}

/* BL_NONE is accepted. */
static bl_result write_input(const bl_stage *s, bl_value x)
{
    if (x == BL_NONE)
        return BL_OK;
    const size_t n = elements(s, x);
    float *data = make_numbers(n);
    if (!data)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for an input");
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

static bl_result run_network(const bl_stage *s, const char *name, double *ns)
{
    bl_result result = BL_OK;
    const struct bl_step step = { .t = 500, .in_scale = 1, .pe = 1, .cx = 1, .k0 = -0.05f, .guidance = 7.5f };
    BL_TRY(write_input(s, s->x));
    BL_TRY(write_input(s, s->context));
    BL_TRY(write_input(s, s->history));
    if (s->freqs != BL_NONE)
        BL_TRY(bl_exec_set_steps(s->exec, &step, 1));
    const double begun = bl_clock();
    BL_TRY(bl_exec_run(s->exec));
    *ns = bl_clock() - begun;
    BL_TRY(check_output(s, name));
fail:
    return result;
}

/* The U-Net's weights, from where they are. What was recorded with the old ones is not run again. */
static bl_result run_load(const bench_model *b, const bl_stage *s, double *ns)
{
    bl_weights_release(b->c->unet_weights);
    const double begun = bl_clock();
    const bl_result result = bl_weights_load(b->c->unet_weights, s->graph, b->c->context->stream);
    *ns = bl_clock() - begun;
    return result;
}

static bl_result run_once(const bench_model *b, size_t network, const bl_stage *s, double *ns)
{
    return network == LOAD ? run_load(b, s, ns) : run_network(s, networks[network].name, ns);
}

/* --- one network ----------------------------------------------------------------------------------------------------------- */

static bl_result time_stage(const bench_model *b, size_t network, const bl_stage *s, bl_timing *t)
{
    bl_result result = BL_OK;
    double ns[MOST_RUNS], work[MOST_RUNS], sorted[MOST_RUNS];
    const double limit = 1e9 * (double)(b->o->time_limit > 0 ? b->o->time_limit : 1);
    const double enough = b->o->noise > 0 ? (double)b->o->noise : 0.005;
    BL_TRY(run_once(b, network, s, &ns[0])); /* compiles, and learns how to cut the work */
    bool more = ns[0] <= LONG_RUN * limit; /* of a longer one compiling is a small part: it is the measurement */
    uint32_t runs = !more;
    for (const double begun = bl_clock(); more;) {
        BL_TRY(run_once(b, network, s, &ns[runs++]));
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

static uint64_t weight_bytes(const bl_graph *g)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < g->storage_count; i++)
        if (g->storages[i].weight)
            bytes += g->storages[i].rows * g->storages[i].width * bl_dtype_size(g->storages[i].type);
    return bytes;
}

static bl_result measure(bench_model *b, size_t network, bl_bench_row *row)
{
    bl_result result = BL_OK;
    bl_device *d = b->c->context->device;
    bl_stage s = { 0 };
    bl_timing t;
    d->peak = d->bytes;
    b->forward = 0;
    const double begun = bl_clock();
    BL_TRY(networks[network].prepare(b, &s));
    row->setup = bl_clock() - begun;
    row->type = bl_dtype_name(s.graph->type);
    BL_TRY(time_stage(b, network, &s, &t));
    row->runs = row->rounds = t.runs;
    row->wall = 1; /* a run is many submissions */
    row->median = t.median;
    row->p10 = t.p10;
    row->p90 = t.p90;
    row->low = t.low;
    row->high = t.high;
    row->noise = t.noise;
    row->weights = weight_bytes(s.graph);
    row->work = network == LOAD ? 0 : bl_graph_flops(s.graph);
    row->bytes = network == LOAD ? (double)row->weights : 0;
    row->forward = b->forward;
    row->device_bytes = d->peak;
fail:
    bl_stage_destroy(&s);
    return result;
}

/* From the shapes alone: BL_ERROR_MEMORY says what is needed and what there is. */
static bl_result plan(bench_model *b, size_t network)
{
    bl_stage s = { 0 };
    bl_checkpoint_begin(b->c, true);
    bl_result result = networks[network].prepare(b, &s);
    if (result == BL_OK)
        result = bl_checkpoint_check_memory(b->c);
    bl_stage_destroy(&s);
    return result;
}

/* --- all of them ----------------------------------------------------------------------------------------------------------- */

static bool wanted(const bl_bench_options *o, const char *name) { return !o->pattern || !fnmatch(o->pattern, name, 0); }

static bl_result check_pattern(const bl_bench_options *o)
{
    bool any = false;
    for (size_t i = 0; i < BL_COUNT(networks); i++)
        any |= wanted(o, networks[i].name);
    for (size_t i = 0; i < BL_COUNT(pictures); i++)
        any |= wanted(o, pictures[i].name);
    return any ? BL_OK : bl_fail(BL_ERROR_USAGE, "nothing of a model matches \"%s\": there are text, unet, step, guide, encode, decode, "
                                 "image, load, picture and guided", o->pattern);
}

/* Whether a network is to be measured, for itself or as a part of a picture. */
static bool needed(const bl_bench_options *o, size_t network)
{
    bool need = wanted(o, networks[network].name);
    for (size_t i = 0; i < BL_COUNT(pictures); i++)
        need |= wanted(o, pictures[i].name) && pictures[i].times[network];
    return need;
}

/* The sum of rows, if all of them were measured. */
static void add_up(const bl_bench_row rows[NETWORKS], const uint32_t times[NETWORKS], bl_bench_row *sum)
{
    double variance = 0;
    sum->wall = 1;
    sum->runs = UINT32_MAX;
    for (size_t i = 0; i < NETWORKS; i++) {
        if (!times[i])
            continue;
        const bl_bench_row *r = &rows[i];
        const double error = r->noise * r->median * times[i];
        sum->runs = BL_MIN(sum->runs, r->runs);
        sum->median += r->median * times[i];
        sum->p10 += r->p10 * times[i];
        sum->p90 += r->p90 * times[i];
        sum->low += r->low * times[i];
        sum->high += r->high * times[i];
        sum->work += r->work * times[i];
        sum->device_bytes = BL_MAX(sum->device_bytes, r->device_bytes);
        variance += error * error;
    }
    sum->rounds = sum->runs;
    sum->noise = sum->median > 0 ? sqrt(variance) / sum->median : 0;
}

static void tell_pictures(const bench_model *b, const bl_bench_row rows[NETWORKS], const char *shape)
{
    for (size_t i = 0; i < BL_COUNT(pictures); i++) {
        bl_bench_row row = empty_row(pictures[i].name, shape);
        if (!wanted(b->o, row.name))
            continue;
        row.note = pictures[i].note;
        if (!b->o->list)
            add_up(rows, pictures[i].times, &row);
        if (!b->o->list && !row.runs) {
            row = empty_row(row.name, shape);
            row.verdict = BL_SKIP;
            row.note = "a part of it was not measured";
        }
        b->o->row(b->o->user, &row);
    }
}

static bl_result measure_all(bench_model *b, const char *shape)
{
    bl_result result = BL_OK;
    bl_bench_row rows[NETWORKS];
    char reasons[NETWORKS][256] = { "" }, *lacking = NULL;
    for (size_t i = 0; i < NETWORKS && !b->o->list; i++) { /* all is planned before anything is loaded */
        const bl_result planned = needed(b->o, i) && (i != IMAGE || b->clip) ? plan(b, i) : BL_OK;
        if (planned != BL_OK && planned != BL_ERROR_MEMORY)
            return planned;
        if (planned != BL_OK)
            snprintf(lacking = reasons[i], sizeof(reasons[i]), "%s", bl_last_error());
    }
    bl_checkpoint_begin(b->c, false);
    for (size_t i = 0; i < NETWORKS; i++) {
        rows[i] = empty_row(networks[i].name, shape);
        if (!needed(b->o, i))
            continue;
        rows[i].note = i == IMAGE && !b->clip ? "no CLIP model was given" : reasons[i];
        rows[i].verdict = *rows[i].note ? BL_SKIP : BL_PASS;
        bl_context_progress(b->c->context, networks[i].name, (uint32_t)i, NETWORKS);
        if (rows[i].verdict == BL_PASS && !b->o->list)
            BL_TRY(measure(b, i, &rows[i]));
        if (wanted(b->o, networks[i].name))
            b->o->row(b->o->user, &rows[i]);
    }
    tell_pictures(b, rows, shape);
    if (lacking)
        result = bl_fail(BL_ERROR_MEMORY, "%s", lacking);
fail:
    return result;
}

static bl_result bench_networks(bl_checkpoint *c, bl_clip *clip, const bl_bench_options *o)
{
    const uint32_t factor = bl_vae_factor(&c->vae), multiple = factor << (c->unet.levels - 1), own = c->unet.sample_size * factor;
    const uint32_t sides[] = { o->width ? o->width : own, o->height ? o->height : own };
    bench_model b = { .c = c, .clip = clip, .o = o, .w = sides[0] / factor, .h = sides[1] / factor };
    char shape[32];
    const bl_result result = check_pattern(o);
    if (result != BL_OK)
        return result;
    for (size_t i = 0; i < BL_COUNT(sides); i++)
        if (sides[i] < 64 || sides[i] > 2048 || sides[i] % multiple)
            return bl_fail(BL_ERROR_USAGE, "%u x %u pixels: both must be 64 to 2048, multiples of %u", sides[0], sides[1], multiple);
    snprintf(shape, sizeof(shape), "%ux%u", sides[0], sides[1]);
    return measure_all(&b, shape);
}

static bl_result check_options(const char *function, const void *of, const bl_bench_options *o)
{
    return of && o && o->struct_size == sizeof(*o) && o->row ? BL_OK
        : bl_fail(BL_ERROR_USAGE, "%s: nothing to measure, options of another version, or nobody takes the rows", function);
}

bl_result bl_bench_model(bl_model *model, const bl_bench_options *o)
{
    const bl_result result = check_options("bl_bench_model", model, o);
    return result == BL_OK ? bench_networks(model->checkpoint, model->clip, o) : result;
}

bl_result bl_bench_random(bl_context *context, const char *shapes, const bl_bench_options *o)
{
    bl_result result = BL_OK;
    const bl_published *published;
    bl_checkpoint *c = NULL;
    bl_clip *clip = NULL;
    BL_TRY(check_options("bl_bench_random", context && shapes ? context : NULL, o));
    BL_TRY(bl_published_find(shapes, &published));
    BL_TRY(bl_checkpoint_open_random(context, published, &c));
    BL_TRY(bl_clip_open_random(c, &published->clip, &clip));
    BL_TRY(bench_networks(c, clip, o));
fail:
    bl_clip_close(&clip);
    bl_checkpoint_close(&c);
    return result;
}
