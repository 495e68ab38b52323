/* blemish bench: how fast the device is, shader by shader. Layer 6. */
#include "bench_compare.h"
#include "bench_format.h"
#include "bench_plot.h"
#include "commands.h"
#include "host.h"
#include "model_options.h"
#include "output.h"
#include "picture.h"
#include "signals.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench_values {
    model_values model;
    const char *random, *shape, *clip, *format, *out, *plot;
    float time_limit, threshold;
    uint32_t width, height;
    bool list, force;
    session_options on;
} bench_values;

/* What one call works with. */
typedef struct job {
    const command *self;
    const bench_values *values;
    session *s;
    const char *what;
    bench_results results;
    bool full; /* memory ran out for rows */
} job;

/* --- output ---------------------------------------------------------------------------------------------------------------- */

static const char *format_of(const bench_values *v)
{
    static const struct { const char *ending, *format; } endings[] = {
        { ".json", "json" }, { ".jsonl", "json" }, { ".csv", "csv" }, { ".md", "markdown" }, { ".sql", "sql" },
    };
    const char *dot = v->out ? strrchr(v->out, '.') : NULL;
    if (strcmp(v->format, "auto"))
        return v->format;
    for (size_t i = 0; dot && i < sizeof(endings) / sizeof(endings[0]); i++)
        if (!strcmp(dot, endings[i].ending))
            return endings[i].format;
    return v->out ? "json" : "table";
}

static bl_result write_file(const job *j, const char *path, bool (*write)(const void *job, FILE *out))
{
    return picture_write_file(path, write, j) ? BL_OK
        : session_note(j->s, BL_ERROR_OUTPUT, "%s: cannot be written: %s", path, strerror(errno));
}

static const bench_column *columns_of(const job *j)
{
    return !strcmp(j->what, "compare") ? bench_columns_compared : !strcmp(j->what, "model") ? bench_columns_model : bench_columns_shader;
}

static bool write_results(const void *of, FILE *out)
{
    const job *j = of;
    return bench_write(&j->results, format_of(j->values), columns_of(j), out);
}

static bool write_svg(const void *of, FILE *out)
{
    const job *j = of;
    bench_plot(&j->results, &(pen){ .svg = out });
    return true;
}

static bl_result write_png(const job *j, const char *path)
{
    bl_image canvas;
    if (!canvas_create(&canvas, PEN_SCALE * BENCH_PLOT_WIDTH, PEN_SCALE * BENCH_PLOT_HEIGHT, (colour){ 255, 255, 255 }))
        return session_note(j->s, BL_ERROR_MEMORY, "host memory ran out");
    bench_plot(&j->results, &(pen){ .canvas = &canvas });
    const bl_result result = bl_image_write_png(path, &canvas, NULL, 0);
    canvas_free(&canvas);
    return result == BL_OK ? BL_OK : session_note(j->s, result, "%s", bl_last_error());
}

static bl_result write_plot(const job *j, const char *path)
{
    if (!bench_plot_shows(&j->results))
        return session_note(j->s, BL_ERROR_OUTPUT, "%s: not drawn: no kernel was timed", path);
    return picture_has_png_name(path) ? write_png(j, path) : write_file(j, path, write_svg);
}

/* Results where they are wanted: in a file, and readable on stdout. */
static bl_result deliver(const job *j)
{
    const bench_values *v = j->values;
    bl_result result = BL_OK;
    if (v->on.json) {
        print_json(json_pack("{s:O, s:O}", "context", j->results.context, "rows", j->results.rows));
    } else if (!v->out || !v->on.quiet) {
        if (!bench_write(&j->results, v->out ? "table" : format_of(v), columns_of(j), stdout))
            return session_note(j->s, BL_ERROR_MEMORY, "host memory ran out");
        fflush(stdout);
    }
    if (v->out)
        result = write_file(j, v->out, write_results);
    if (v->plot && result == BL_OK)
        result = write_plot(j, v->plot);
    return result;
}

/* Before anything is measured: minutes would be lost. */
static bool may_write(const job *j)
{
    char reason[512];
    const char *const paths[] = { j->values->out, j->values->plot };
    for (size_t i = 0; i < 2; i++)
        if (paths[i] && !picture_may_write(paths[i], j->values->force, reason, sizeof(reason))) {
            report(j->self->name, "%s", reason);
            return false;
        }
    if (paths[0] && paths[1] && picture_same_file(paths[0], paths[1])) {
        report(j->self->name, "--out and --plot name the same file");
        return false;
    }
    return true;
}

/* --- measuring ------------------------------------------------------------------------------------------------------------- */

static void on_row(void *user, const bl_bench_row *r)
{
    job *j = user;
    json_t *row = bench_row_json(r);
    if (row && r->setup > 0) { /* a network: more than kernels that take what they are given */
        const double peak = host_peak();
        json_object_set_new(row, "host_bytes", peak < 0 ? json_null() : json_real(peak));
        host_restart_peak();
    }
    j->full |= json_array_append_new(j->results.rows, row) != 0;
}

/* Of whose networks: "random sd15", or the last part of the path; "" where there are none. */
static void name_model(const job *j, char *name, size_t size)
{
    const char *path = j->values->model.path, *slash = path ? strrchr(path, '/') : NULL;
    *name = 0;
    if (!strcmp(j->what, "model"))
        snprintf(name, size, "%s%s", j->values->random ? "random " : "",
                 j->values->random ? j->values->random : slash && slash[1] ? slash + 1 : path);
}

static bl_result measure_model(const job *j, const bl_bench_options *options)
{
    model_store store;
    bl_model_options how;
    bl_model *model = NULL;
    host_restart_peak();
    if (j->values->random)
        return bl_bench_random(j->s->context, j->values->random, options);
    if (!model_options_make(j->self, &j->values->model, &store, &how))
        return BL_ERROR_USAGE;
    bl_result result = bl_model_open_with(j->s->context, j->values->model.path, &how, &model);
    if (result == BL_OK && j->values->clip)
        result = bl_model_open_clip(model, j->values->clip);
    if (result == BL_OK)
        result = bl_bench_model(model, options);
    bl_model_close(&model);
    return result;
}

static int measure(job *j, const char *pattern)
{
    const bench_values *v = j->values;
    bl_bench_options options = BL_BENCH_OPTIONS_INIT;
    char name[256];
    options.pattern = pattern;
    options.shape = v->shape;
    options.time_limit = v->time_limit;
    options.width = v->width;
    options.height = v->height;
    options.list = v->list;
    options.row = on_row;
    options.user = j;
    if (!may_write(j))
        return -BL_ERROR_OUTPUT;
    j->results.rows = json_array();
    bl_result result = session_open(j->s);
    if (result == BL_OK) {
        name_model(j, name, sizeof(name));
        j->results.context = bench_context(j->s, j->what, name, (double)v->time_limit, v->shape);
        result = !strcmp(j->what, "peak") ? bl_bench_peak(j->s->context, &options)
            : !strcmp(j->what, "shader") ? bl_bench_shader(j->s->context, &options) : measure_model(j, &options);
    }
    progress_clear(&j->s->progress);
    char reason[1024];
    snprintf(reason, sizeof(reason), "%s", session_reason(j->s, result));
    bl_result delivered = BL_OK;
    if (j->full || (result == BL_OK && !j->results.context))
        delivered = session_note(j->s, BL_ERROR_MEMORY, "host memory ran out");
    else if (json_array_size(j->results.rows)) /* what was measured before it failed or was interrupted is not lost */
        delivered = deliver(j);
    if (result == BL_OK)
        return delivered == BL_OK ? 0 : session_fail(j->s, delivered);
    session_note(j->s, result, "%s", reason);
    return session_fail(j->s, result);
}

/* --- comparing ------------------------------------------------------------------------------------------------------------- */

static int compare(job *j, const char *before_path, const char *after_path)
{
    enum { REGRESSION = 1 };
    const bench_values *v = j->values;
    bench_results before = { 0 }, after = { 0 };
    bench_comparison compared = { 0 };
    bl_result result = BL_ERROR_INPUT;
    if (!may_write(j))
        return -BL_ERROR_OUTPUT;
    if (bench_results_read(j->s, before_path, &before) && bench_results_read(j->s, after_path, &after) &&
        bench_compare(j->s, &before, &after, (double)v->threshold / 100, v->force, &compared)) {
        j->results = compared.rows;
        result = deliver(j);
    }
    if (result == BL_OK)
        session_say(j->s, "%u the same, %u faster, %u slower, %u unsure, %u in one file only", compared.same, compared.faster,
                    compared.slower, compared.unsure, compared.single);
    bench_results_free(&before);
    bench_results_free(&after);
    return result != BL_OK ? session_fail(j->s, result) : compared.slower ? REGRESSION : 0;
}

/* --- the command ----------------------------------------------------------------------------------------------------------- */

/* Options that do not belong to what is measured; false with the reason on stderr. */
static bool check(const job *j, const operands *rest)
{
    const bench_values *v = j->values;
    const bool shader = !strcmp(j->what, "shader"), model = !strcmp(j->what, "model"), two = !strcmp(j->what, "compare");
    if (!shader && !model && !two && strcmp(j->what, "peak"))
        return options_refuse(j->self, "\"%s\": shader, peak, model and compare are what there is", j->what), false;
    if (two && rest->count != 3)
        return options_refuse(j->self, "compare takes two files of results"), false;
    if (!two && rest->count > 2)
        return options_refuse(j->self, "%s takes one PATTERN (quote it), and \"%s\" is one more", j->what, rest->items[2]), false;
    if (v->shape && !shader)
        return options_refuse(j->self, "--shape makes sense only with shader"), false;
    if (v->plot && !shader)
        return options_refuse(j->self, "--plot makes sense only with shader"), false;
    if (v->list && two)
        return options_refuse(j->self, "--list makes no sense with compare"), false;
    if (v->list && v->plot)
        return options_refuse(j->self, "--list and --plot contradict each other"), false;
    if ((v->random || v->width || v->height) && !model)
        return options_refuse(j->self, "--%s makes sense only with model", v->random ? "random" : v->width ? "width" : "height"), false;
    if (model && !v->model.path && !v->random)
        return options_refuse(j->self, "--model MODEL (or BLEMISH_MODEL) or --random SHAPES is missing"), false;
    return true;
}

static int run(const command *self, int argc, char **argv)
{
    bench_values values = { 0 };
    operands rest;
    session s;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    job j = { .self = self, .values = &values, .s = &s, .what = rest.items[0] };
    if (!check(&j, &rest))
        return EXIT_USAGE;
    session_begin(&s, self, &values.on);
    const int code = !strcmp(j.what, "compare") ? compare(&j, rest.items[1], rest.items[2])
                                                : measure(&j, rest.count > 1 ? rest.items[1] : NULL);
    session_close(&s);
    bench_results_free(&j.results);
    return code;
}

static const cli_option options[] = {
    { .group = "What is measured", .name = "shape", .argument = "LIST", .type = OPTION_TEXT, .min = 1,
      .where = offsetof(bench_values, shape),
      .help = "shader: this problem, by names of the op's parameters, such as m=4096,n=320,k=320; in all matching ops that have them",
      .otherwise = "shapes of Stable Diffusion" },
    { .name = "time-limit", .argument = "SECONDS", .type = OPTION_NUMBER, .min = 0, .max = 3600, .above = true, .value = "1",
      .where = offsetof(bench_values, time_limit), .help = "of each row; one that is known well enough ends before" },
    { .name = "list", .type = OPTION_FLAG, .where = offsetof(bench_values, list), .help = "only list the rows, measure nothing" },
    { .name = "model", .letter = 'm', .argument = "MODEL", .type = OPTION_PATH, .where = offsetof(bench_values, model.path),
      .env = "BLEMISH_MODEL", .help = "model: the checkpoint, a folder in diffusers layout or a single safetensors file" },
    { .name = "random", .argument = "SHAPES", .type = OPTION_CHOICE, .choices = "sd15|sd21|demo", .where = offsetof(bench_values, random),
      .excludes = "model", .help = "model: no checkpoint but random weights in the shapes of Stable Diffusion 1.5 or 2.1 (for 768"
      " pixels) with CLIP ViT-L/14, or of the model that comes with blemish", .otherwise = "a checkpoint" },
    { .name = "clip", .argument = "DIR", .type = OPTION_PATH, .where = offsetof(bench_values, clip),
      .excludes = "random", .help = "model: CLIP model for the image loss", .otherwise = "it is not measured" },
    { .name = "width", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 64, .max = 2048, .multiple = 8,
      .where = offsetof(bench_values, width), .help = "model: of the picture; Stable Diffusion needs multiples of 64",
      .otherwise = "the model's own" },
    { .name = "height", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 64, .max = 2048, .multiple = 8,
      .where = offsetof(bench_values, height), .help = "model: of the picture; Stable Diffusion needs multiples of 64",
      .otherwise = "the model's own" },
    { .group = "Results", .name = "format", .argument = "FORMAT", .type = OPTION_CHOICE, .choices = "auto|table|markdown|csv|json|sql",
      .value = "auto", .where = offsetof(bench_values, format),
      .help = "auto is a table on stdout, and in a file what its name ends in, else json (one object per line)" },
    { .name = "out", .letter = 'o', .argument = "FILE", .type = OPTION_PATH, .where = offsetof(bench_values, out),
      .help = "write the results to a file; stdout has them as a table" },
    { .name = "plot", .argument = "FILE", .type = OPTION_PATH, .where = offsetof(bench_values, plot),
      .help = "shader: draw them under the device's roofline, as PNG or, with any other name, SVG" },
    { .name = "threshold", .argument = "PERCENT", .type = OPTION_NUMBER, .min = 0, .max = 1000, .value = "5",
      .where = offsetof(bench_values, threshold), .help = "compare: smaller changes of the median are none" },
    { .name = "force", .letter = 'f', .type = OPTION_FLAG, .where = offsetof(bench_values, force),
      .help = "replace files that exist; compare: also results of unlike devices" },
    MODEL_OPTIONS(bench_values),
    SESSION_OPTIONS(bench_values),
};

const command command_bench = {
    .name = "bench", .summary = "measures the device, shader by shader, and compares measurements",
    .usage = "shader|peak|model [PATTERN] [options]\n       blemish bench compare BEFORE AFTER [options]",
    .text = "shader: every kernel in every storage type, checked against its reference and\n"
            "then timed, with its share of the device's own peak. peak: that peak. model:\n"
            "the networks of a checkpoint, or random ones. PATTERN is the name of a kernel,\n"
            "an op or a row, * ? and [] as in the shell. compare: two results as JSON, row\n"
            "by row; exit code 1 when something became slower. Exit code 7 when a result is\n"
            "wrong. Times are the device's own where its queue has timestamps.",
    .examples = "  blemish bench shader 'matmul_fwd*' --shape m=4096,n=320,k=320\n"
                "  blemish bench model --random sd15 unet --precision f16\n"
                "  blemish bench shader --time-limit 0.3 --out before.jsonl --plot roofline.png\n"
                "  blemish bench compare before.jsonl after.jsonl\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "WHAT", .operand_min = 1, .operand_max = 3,
    .run = run,
};
