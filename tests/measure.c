/* What a network costs at full size: time, arithmetic speed, device and host memory.
 *   measure --model DIR [--precision f16|f32] [--caps SET] [--device NAME] [--size PIXELS] unet|decode|encode|guide|load ...
 * One line each: seconds of one run (the median of some, after one to warm up; the first where a run is long); GFLOP/s; seconds until the
 * stage can run, which is loading and recording; MiB of weights, of device memory at its peak, and of host memory at its peak, without
 * what a software device takes from the host. `load` measures loading the U-Net's weights, file cache warm. */
#include "guide.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 5 };
static const double LONG_RUN = 10, MIB = 0x1p20; /* seconds, bytes */

typedef struct subject {
    bl_checkpoint *c;
    uint32_t size;       /* pixels of a side */
    bl_weights *weights;
    bl_stage stage;
    bool load;
} subject;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Peak of resident memory in bytes; 0 where it is not known. */
static double peak_resident(void)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, "VmHWM:", 6))
            kib = strtod(line + 6, NULL);
    if (f)
        fclose(f);
    return kib * 1024;
}

/* From here on: the peaks of what comes. */
static void restart_peaks(bl_device *d)
{
    d->peak = d->bytes;
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f);
        fclose(f);
    }
}

/* What the truncated network and its gradient are of a whole forward pass. */
static bl_result print_share(bl_checkpoint *c, uint32_t side, const bl_guide *guide)
{
    bl_stage whole = { 0 };
    bl_checkpoint_begin(c, true);
    const bl_result result = bl_stage_unet(c, 1, side, side, false, &whole);
    if (result == BL_OK) {
        const double all = bl_graph_flops(whole.graph);
        printf("guide: forward %.1f GFLOP, %.1f %% of the U-Net's %.1f; backward %.1f\n", guide->forward_flops * 1e-9,
               100 * guide->forward_flops / all, all * 1e-9, (guide->flops - guide->forward_flops) * 1e-9);
    }
    bl_stage_destroy(&whole);
    bl_checkpoint_begin(c, false);
    return result;
}

static bl_result prepare(subject *s, const char *what)
{
    const uint32_t side = s->size / bl_vae_factor(&s->c->vae);
    s->load = !strcmp(what, "load");
    s->weights = s->load || !strcmp(what, "unet") || !strcmp(what, "guide") ? s->c->unet_weights : s->c->vae_weights;
    if (!strcmp(what, "decode"))
        return bl_stage_decode(s->c, side, side, false, &s->stage);
    if (!strcmp(what, "encode"))
        return bl_stage_encode(s->c, s->size, s->size, false, &s->stage);
    if (!strcmp(what, "guide")) {
        bl_guide guide;
        const bl_guide_spec spec = { .h = side, .w = side, .level = side >= 64 ? 2 : 1, .branches = 1, .slice = s->c->text.positions - 1,
            .tokens = { 8 }, .count = 1, .smooth = true, .gradient = true };
        const bl_result result = bl_guide_create(s->c, &spec, false, NULL, &guide);
        s->stage = guide.s;
        return result == BL_OK ? print_share(s->c, side, &guide) : result;
    }
    if (s->weights == s->c->unet_weights)
        return bl_stage_unet(s->c, 1, side, side, false, &s->stage);
    return bl_fail(BL_ERROR_USAGE, "\"%s\": unet, decode, encode, guide and load can be measured", what);
}

/* Writes smooth numbers of about the size that a model sees; BL_NONE is accepted. */
static bl_result write_input(const bl_stage *s, bl_value x)
{
    const bl_shape shape = bl_graph_shape(s->graph, x);
    const size_t n = (size_t)shape.n * shape.h * shape.w * shape.c;
    float *data = bl_alloc(n, sizeof(*data));
    if (!data)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for an input");
    for (size_t i = 0; i < n; i++)
        data[i] = sinf((float)(i % 10007));
    const bl_result r = x == BL_NONE ? BL_OK : bl_exec_write(s->exec, x, data, n);
    bl_free(data);
    return r;
}

/* The numbers must be ones that a run on real weights could have given. */
static bl_result check_output(const bl_stage *s)
{
    bl_result result = BL_OK;
    const bl_shape shape = bl_graph_shape(s->graph, s->out);
    const size_t n = (size_t)shape.n * shape.h * shape.w * shape.c;
    float *data = bl_alloc(n, sizeof(*data)), least = INFINITY, most = -INFINITY;
    if (!data)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for an output");
    BL_TRY(bl_exec_read(s->exec, s->out, data, n));
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(data[i]))
            BL_TRY(bl_fail(BL_ERROR_MODEL, "the output is not finite"));
        least = fminf(least, data[i]);
        most = fmaxf(most, data[i]);
    }
    if (least == most)
        BL_TRY(bl_fail(BL_ERROR_MODEL, "the output is flat"));
fail:
    bl_free(data);
    return result;
}

static bl_result run(subject *s, double *took)
{
    bl_result result = BL_OK;
    const bl_stage *stage = &s->stage;
    const struct bl_step step = { .t = 500, .in_scale = 1 };
    if (s->load) {
        bl_weights_release(s->weights);
    } else {
        BL_TRY(write_input(stage, stage->x));
        BL_TRY(write_input(stage, stage->context));
        if (stage->freqs != BL_NONE)
            BL_TRY(bl_exec_set_steps(stage->exec, &step, 1));
    }
    const double begin = seconds();
    if (s->load)
        BL_TRY(bl_weights_load(s->weights, stage->graph, s->c->context->stream));
    else
        BL_TRY(bl_exec_run(stage->exec));
    *took = seconds() - begin;
    if (!s->load)
        BL_TRY(check_output(stage));
fail:
    return result;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bl_result measure(bl_checkpoint *c, uint32_t size, const char *what)
{
    bl_result result = BL_OK;
    bl_device *d = c->context->device;
    subject s = { .c = c, .size = size };
    double first, took[RUNS];
    restart_peaks(d);
    double ready = seconds();
    BL_TRY(prepare(&s, what));
    ready = seconds() - ready;
    BL_TRY(run(&s, &first));
    for (size_t i = 0; i < RUNS && first < LONG_RUN; i++)
        BL_TRY(run(&s, &took[i]));
    if (first < LONG_RUN) {
        qsort(took, RUNS, sizeof(took[0]), by_value);
        first = took[RUNS / 2];
    }
    const double host = peak_resident() - (d->software ? (double)(s.load ? bl_weights_bytes(s.weights) : d->peak) : 0);
    printf("%-8s %-5s %6u %9.3f %9.1f %9.2f %9.0f %9.0f %9.0f\n", what, bl_dtype_name(s.stage.graph->type), size, first,
           s.load ? 0 : bl_graph_flops(s.stage.graph) / first * 1e-9, ready, (double)bl_weights_bytes(s.weights) / MIB,
               (double)d->peak / MIB,
           host / MIB);
    fflush(stdout);
fail:
    bl_stage_destroy(&s.stage);
    if (s.weights)
        bl_weights_release(s.weights);
    return result;
}

int main(int argc, char **argv)
{
    bl_result result = BL_OK;
    bl_context *context = NULL;
    bl_checkpoint *c = NULL;
    const char *model = getenv("BLEMISH_MODEL");
    uint32_t size = 512;
    bl_context_options o = BL_CONTEXT_OPTIONS_INIT;
    o.device = getenv("BLEMISH_DEVICE");
    o.caps = getenv("BLEMISH_CAPS");
    int i = 1;
    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        const char *value = argv[i + 1];
        if (!strcmp(argv[i], "--model"))
            model = value;
        else if (!strcmp(argv[i], "--precision"))
            o.precision = !strcmp(value, "f16") ? BL_PRECISION_F16 : BL_PRECISION_F32;
        else if (!strcmp(argv[i], "--caps"))
            o.caps = value;
        else if (!strcmp(argv[i], "--device"))
            o.device = value;
        else if (!strcmp(argv[i], "--size"))
            size = (uint32_t)strtoul(value, NULL, 10);
        else
            break;
    }
    if (!model || i == argc || !strncmp(argv[i], "--", 2)) {

            fputs("usage: measure --model DIR [--precision f16|f32] [--caps SET] [--device NAME] [--size PIXELS] "
                  "unet|decode|encode|guide|load ...\n",
              stderr);
        return 2;
    }
    BL_TRY(bl_context_create(&o, &context));
    BL_TRY(bl_checkpoint_open(context, model, NULL, &c));
    printf("%s, caps %s\n", context->device->info.name, context->caps);
    printf("%-8s %-5s %6s %9s %9s %9s %9s %9s %9s\n", "what", "type", "size", "s", "GFLOP/s", "ready s", "weights", "device", "host MiB");
    for (; i < argc; i++)
        BL_TRY(measure(c, size, argv[i]));
fail:
    if (result != BL_OK)
        fprintf(stderr, "measure: %s\n", bl_last_error());
    if (c)
        bl_checkpoint_close(&c);
    bl_context_destroy(&context);
    return result != BL_OK;
}
