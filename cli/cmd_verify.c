/* blemish verify: every stage of the networks against known results. Layer 6. */
#include "commands.h"
#include "model_options.h"
#include "output.h"
#include "session.h"
#include "signals.h"
#include <stdlib.h>

typedef struct verify_values {
    model_values model;
    const char *clip;
    bool strict;
    session_options on;
} verify_values;

/* Rows are printed at the end, when the width of every column is known. */
typedef struct row_collector {
    table rows;
    json_t *json;      /* array, NULL unless wanted or when memory ran out */
    char first[512];   /* "file: stage: tensor" of the first wrong one */
} row_collector;

static const char *const verdict_names[] = { [BL_PASS] = "pass", [BL_FAIL] = "FAIL", [BL_SKIP] = "skip" };

/* "models/tiny15/unet.safetensors" is too wide for a table. */
static const char *base_name(const char *path)
{
    const char *name = path;
    for (const char *p = path; *p; p++)
        if (*p == '/' && p[1])
            name = p + 1;
    return name;
}

static json_t *row_json(const bl_verify_row *r)
{
    static const char *const names[] = { [BL_PASS] = "pass", [BL_FAIL] = "fail", [BL_SKIP] = "skip" };
    json_t *row = json_pack("{s:o, s:o, s:o, s:s, s:o}", "file", json_text(r->file), "stage", json_text(r->stage),
                            "tensor", json_text(r->tensor), "verdict", names[r->verdict], "note", json_text(r->note));
    if (row && r->verdict != BL_SKIP) { /* json_real refuses what is not finite: null then */
        json_t *const numbers[] = { json_real(r->max_error), json_real(r->rms_error), json_real(r->allowed) };
        static const char *const keys[] = { "max_error", "rms_error", "allowed" };
        for (size_t i = 0; i < 3; i++)
            json_object_set_new(row, keys[i], numbers[i] ? numbers[i] : json_null());
    }
    return row;
}

static void on_row(void *user, const bl_verify_row *r)
{
    row_collector *c = user;
    if (r->verdict == BL_FAIL && !*c->first)
        snprintf(c->first, sizeof(c->first), "%s: %s: %s", base_name(r->file), r->stage, r->tensor);
    if (c->json && json_array_append_new(c->json, row_json(r))) {
        json_decref(c->json);
        c->json = NULL;
    }
    table *t = &c->rows;
    table_add(t, "%s", base_name(r->file));
    table_add(t, "%s", r->stage);
    table_add(t, "%s", r->tensor);
    const double numbers[] = { r->max_error, r->rms_error, r->allowed };
    for (size_t i = 0; i < 3; i++)
        if (r->verdict == BL_SKIP)
            table_add(t, "-");
        else
            table_add(t, "%.2e", numbers[i]);
    table_add(t, "%s", verdict_names[r->verdict]);
    table_add(t, "%s", r->note);
}

static bool print_object(const session *s, json_t *rows, const bl_verify_summary *sum, const char *first, bl_result result)
{
    json_t *all = json_pack("{s:o, s:i, s:i, s:i, s:o}", "rows", rows, "passed", (int)sum->passed, "failed", (int)sum->failed, "skipped",
                            (int)sum->skipped, "first_failure", json_text(first));
    if (all && (!session_add_json(s, all) || (result != BL_OK && json_object_set_new(all, "error", session_error_json(s, result))))) {
        json_decref(all);
        all = NULL;
    }
    return print_json(all);
}

static int run(const command *self, int argc, char **argv)
{
    static const char *const headings[] = { "file", "stage", "tensor", "max", "rms", "allowed", "verdict", "reason" };
    verify_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    model_store store;
    bl_model_options model;
    if (!model_options_make(self, &values.model, &store, &model))
        return EXIT_USAGE;

    session s;
    row_collector rows = { .rows = { .columns = 8, .align = "lllrrrll" }, .json = values.on.json ? json_array() : NULL };
    for (size_t i = 0; i < rows.rows.columns; i++)
        table_add(&rows.rows, "%s", headings[i]);
    bl_verify_summary sum = { 0 };
    bl_verify_options options = BL_VERIFY_OPTIONS_INIT;
    options.model_dir = values.model.path;
    options.model = &model;
    options.clip_dir = values.clip;
    options.files = (const char *const *)rest.items;
    options.file_count = (size_t)rest.count;
    options.strict = values.strict;
    options.row = on_row;
    options.user = &rows;
    session_begin(&s, self, &values.on);
    bl_result result = session_open(&s);
    if (result == BL_OK)
        result = bl_verify(s.context, &options, &sum);
    if (result == BL_OK && signals_stop())
        result = BL_ERROR_CANCELLED;

    progress_clear(&s.progress);
    const char *first = *sum.first_failure ? sum.first_failure : rows.first;
    bool printed = true;
    if (values.on.json) {
        printed = print_object(&s, rows.json, &sum, first, result);
    } else if (rows.rows.count > rows.rows.columns) {
        printed = table_print(&rows.rows);
        print_line("%u passed, %u failed, %u skipped", sum.passed, sum.failed, sum.skipped);
        if (*first)
            print_line("first wrong: %s", first);
    }
    int code = result == BL_OK ? 0 : session_fail(&s, result);
    if (!printed && code == 0) {
        report(self->name, "host memory ran out");
        code = -BL_ERROR_MEMORY;
    }
    session_describe(&s);
    session_close(&s);
    table_free(&rows.rows);
    return code;
}

static const cli_option options[] = {
    { .group = "What is verified", .name = "model", .letter = 'm', .argument = "MODEL", .type = OPTION_PATH,
      .where = offsetof(verify_values, model.path), .env = "BLEMISH_MODEL",
      .help = "checkpoint: a folder in diffusers layout, or a single safetensors file", .otherwise = "only files that need none" },
    { .name = "clip", .argument = "DIR", .type = OPTION_PATH, .where = offsetof(verify_values, clip),
      .help = "CLIP model with its image tower", .otherwise = "its stages are skipped" },
    { .name = "strict", .type = OPTION_FLAG, .where = offsetof(verify_values, strict), .help = "a skipped tensor is a failure" },
    MODEL_OPTIONS(verify_values),
    SESSION_OPTIONS(verify_values),
};

const command command_verify = {
    .name = "verify", .summary = "compares every stage of a model with known results",
    .usage = "--model MODEL [options] FILE.safetensors...",
    .text = "Runs every stage for which the files hold inputs, on the device, and compares\n"
            "with the results they expect: one row per tensor with the largest error, the\n"
            "relative RMS error and what is allowed of it. Names the first stage that is\n"
            "wrong. Exit code 7 when one is, or when nothing could be compared.",
    .examples = "  blemish verify --model ~/models/sd15 --precision f32 golden/*.safetensors\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "FILE", .operand_min = 1, .operand_max = 1 << 20,
    .run = run,
};
