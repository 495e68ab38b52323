/* blemish tune: which kernels are the fastest on this device. Layer 6. */
#include "commands.h"
#include "model_options.h"
#include "output.h"
#include "picture.h"
#include "session.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct tune_values {
    model_values model;
    const char *clip, *out;
    float time_limit;
    uint32_t size;
    bool force;
    session_options on;
} tune_values;

/* One run: the classes with a choice, and how many of them are computed otherwise than before. */
typedef struct job {
    const tune_values *values;
    session s;
    bl_model *model;
    table rows;
    uint32_t classes, faster;
    json_t *json;   /* array; NULL unless wanted, or when memory ran out */
    char *plan;
} job;

/* --- what was found --------------------------------------------------------------------------------------------------------- */

static bool is_changed(const bl_tune_row *r) { return strcmp(r->standard, r->chosen) != 0; }

static void add_row(table *t, const bl_tune_row *r)
{
    const bool changed = is_changed(r);
    table_add(t, "%s", r->standard);
    table_add(t, "%s", changed ? r->chosen : *r->note ? r->note : "the same");
    if (changed) {
        table_add(t, "%.1f", r->before * 1e-3);
        table_add(t, "%.1f", r->after * 1e-3);
        table_add(t, "%.0f %%", 100 * (1 - r->after / r->before));
    } else {
        for (int i = 0; i < 3; i++)
            table_add(t, "%s", "");
    }
    table_add(t, "%s", r->type);
    table_add(t, "%s", r->shape);
}

static json_t *row_json(const bl_tune_row *r)
{
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "op", r->op, "type", r->type, "shape", r->shape, "default", r->standard,
                            "chosen", r->chosen, "tried", (int)r->tried, "note", json_text(r->note));
    if (row && r->before > 0)
        json_object_update_new(row, json_pack("{s:f, s:f}", "before_ns", r->before, "after_ns", r->after));
    return row;
}

static void on_row(void *user, const bl_tune_row *r)
{
    job *j = user;
    const bool changed = is_changed(r);
    j->classes++;
    j->faster += changed;
    if (changed || j->values->on.verbose)
        add_row(&j->rows, r);
    if (j->json && json_array_append_new(j->json, row_json(r))) {
        json_decref(j->json);
        j->json = NULL;
    }
}

static bool print_object(job *j, bl_result result)
{
    json_t *all = json_pack("{s:o, s:o?}", "rows", j->json, "plan", j->plan ? json_loads(j->plan, 0, NULL) : NULL);
    j->json = NULL;
    bool ok = all && session_add_json(&j->s, all);
    if (ok && result != BL_OK)
        ok = !json_object_set_new(all, "error", session_error_json(&j->s, result));
    if (!ok) {
        json_decref(all);
        all = NULL;
    }
    return print_json(all);
}

static bool print_text(job *j)
{
    if (j->rows.count > j->rows.columns && !table_print(&j->rows))
        return false;
    if (j->classes)
        print_line("%u of %u shape classes are faster with another kernel than the default on %s", j->faster, j->classes,
                   bl_context_device(j->s.context)->name);
    return true;
}

/* --- the run ---------------------------------------------------------------------------------------------------------------- */

static bool write_plan(const void *plan, FILE *out) { return fputs(plan, out) >= 0 && fputc('\n', out) != EOF; }

static bl_result measure(job *j, const command *self, const char *pattern)
{
    const tune_values *v = j->values;
    bl_tune_options options = BL_TUNE_OPTIONS_INIT;
    model_store store;
    bl_model_options how;
    if (!model_options_make(self, &v->model, &store, &how))
        return BL_ERROR_USAGE;
    bl_result result = session_open(&j->s);
    if (result == BL_OK && v->model.path)
        result = bl_model_open_with(j->s.context, v->model.path, &how, &j->model);
    if (result == BL_OK && v->clip)
        result = bl_model_open_clip(j->model, v->clip);
    options.model = j->model;
    options.size = v->size;
    options.pattern = pattern;
    options.time_limit = v->time_limit;
    options.row = on_row;
    options.user = j;
    if (result == BL_OK)
        result = bl_tune(j->s.context, &options);
    return result;
}

/* The plan where it is wanted, also that of a run that was cut short. */
static bl_result deliver(job *j)
{
    const tune_values *v = j->values;
    if (!j->s.context || bl_context_plan(j->s.context, &j->plan) != BL_OK)
        return BL_OK; /* the reason of a failure is another */
    if (v->out && j->classes && !picture_write_file(v->out, write_plan, j->plan))
        return session_note(&j->s, BL_ERROR_OUTPUT, "%s: cannot be written: %s", v->out, strerror(errno));
    return BL_OK;
}

static int tune(job *j, const command *self, const char *pattern)
{
    char reason[1024];
    bl_result result = measure(j, self, pattern);
    progress_clear(&j->s.progress);
    snprintf(reason, sizeof(reason), "%s", session_reason(&j->s, result));
    const bl_result delivered = deliver(j);
    if (result == BL_OK)
        result = delivered;
    else
        session_note(&j->s, result, "%s", reason);
    const bool printed = j->values->on.json ? print_object(j, result) : print_text(j);
    if (result != BL_OK)
        return session_fail(&j->s, result);
    if (!printed)
        report(self->name, "host memory ran out");
    return printed ? 0 : -BL_ERROR_MEMORY;
}

static int run(const command *self, int argc, char **argv)
{
    static const char *const headings[] = { "default", "faster", "us", "us then", "gain", "type", "shape class" };
    tune_values values = { 0 };
    operands rest;
    char reason[768];
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    if ((values.clip || values.size) && !values.model.path)
        return options_refuse(self, "--%s makes sense only with --model (or BLEMISH_MODEL)", values.clip ? "clip" : "size");
    if (values.out && !picture_may_write(values.out, values.force, reason, sizeof(reason))) {
        report(self->name, "%s", reason);
        return -BL_ERROR_OUTPUT;
    }
    job j = { .values = &values, .rows = { .columns = 7, .align = "llrrrll" }, .json = values.on.json ? json_array() : NULL };
    for (size_t i = 0; i < j.rows.columns; i++)
        table_add(&j.rows, "%s", headings[i]);
    session_begin(&j.s, self, &values.on);
    const int code = tune(&j, self, rest.count ? rest.items[0] : NULL);
    bl_model_close(&j.model);
    session_close(&j.s);
    table_free(&j.rows);
    json_decref(j.json);
    bl_text_free(j.plan);
    return code;
}

static const cli_option options[] = {
    { .group = "What is measured", .name = "model", .letter = 'm', .argument = "MODEL", .type = OPTION_PATH,
      .where = offsetof(tune_values, model.path), .env = "BLEMISH_MODEL",
      .help = "what this checkpoint needs for a picture with guided words from a photo",
      .otherwise = "the shapes of Stable Diffusion 1.5 and 2.1 that 'blemish bench shader' has" },
    { .name = "clip", .argument = "DIR", .type = OPTION_PATH, .where = offsetof(tune_values, clip),
      .help = "CLIP model for the image loss", .otherwise = "none" },
    { .name = "size", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 64, .max = 2048, .multiple = 8,
      .where = offsetof(tune_values, size), .help = "side of the picture", .otherwise = "the model's own" },
    { .name = "time-limit", .argument = "SECONDS", .type = OPTION_NUMBER, .min = 0, .max = 3600, .above = true, .value = "0.25",
      .where = offsetof(tune_values, time_limit), .help = "of each kernel that may be the fastest, for each shape class" },
    { .group = "Results", .name = "out", .letter = 'o', .argument = "FILE", .type = OPTION_PATH, .where = offsetof(tune_values, out),
      .help = "write the plan to a file, too, for --plan of other runs" },
    { .name = "force", .letter = 'f', .type = OPTION_FLAG, .where = offsetof(tune_values, force), .help = "replace a file that exists" },
    MODEL_OPTIONS(tune_values),
    SESSION_OPTIONS(tune_values),
};

const command command_tune = {
    .name = "tune", .summary = "finds the fastest kernels of this device",
    .usage = "[options] [PATTERN]",
    .text = "Times the kernels that can compute what a model needs, once they have computed\n"
            "it rightly, and takes another one than the default where it is faster by more\n"
            "than 5 % in each of five rounds. The plan is kept beside the compiled kernels,\n"
            "for this device, driver and version; a later run adds to it, and with --no-tune\n"
            "begins anew. The other commands use it, and every picture says what it was made\n"
            "with: --plan PICTURE makes it again, --no-tune takes the defaults. PATTERN, such\n"
            "as 'conv_*', takes ops and kernels of that name. Nothing else should run\n"
            "meanwhile.",
    .examples = "  blemish tune --model ~/models/sd15\n"
                "  blemish tune 'attention_*' --out plan.json\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "PATTERN", .operand_max = 1, .run = run,
};
