/* blemish selftest: every kernel that the device can run against known answers. Layer 6. */
#include "commands.h"
#include "output.h"
#include "session.h"
#include <stdlib.h>
#include <string.h>

typedef struct selftest_values {
    session_options on;
} selftest_values;

enum { TIERS_MAX = 32 };
/* What is printed at the end, when everything is known. */
typedef struct collector {
    struct { char name[64]; uint32_t passed, failed; } tiers[TIERS_MAX];
    size_t tier_count;
    table rows, wrong;
    bool verbose;
    json_t *json;      /* array, NULL unless wanted or when memory ran out */
} collector;

static json_t *row_json(const bl_selftest_row *r)
{
    json_t *used = json_real(r->used); /* refuses what is not finite: null then */
    return json_pack("{s:o, s:o, s:s, s:i, s:o, s:o}", "kernel", json_text(r->kernel), "tier", json_text(r->tier), "verdict",
                     r->verdict == BL_PASS ? "pass" : "fail", "cases", (int)r->cases, "used", used ? used : json_null(), "note",
                     json_text(r->note));
}

static void on_row(void *user, const bl_selftest_row *r)
{
    collector *c = user;
    size_t i = 0;
    while (i < c->tier_count && strcmp(c->tiers[i].name, r->tier))
        i++;
    if (i == c->tier_count && i < TIERS_MAX)
        snprintf(c->tiers[c->tier_count++].name, sizeof(c->tiers[i].name), "%s", r->tier);
    if (i < TIERS_MAX) {
        c->tiers[i].passed += r->verdict == BL_PASS;
        c->tiers[i].failed += r->verdict == BL_FAIL;
    }
    if (c->json && json_array_append_new(c->json, row_json(r))) {
        json_decref(c->json);
        c->json = NULL;
    }
    if (r->verdict == BL_FAIL) {
        table_add(&c->wrong, "%s", r->kernel);
        table_add(&c->wrong, "%s", r->note);
    }
    if (c->verbose) {
        table_add(&c->rows, "%s", r->kernel);
        table_add(&c->rows, "%s", r->tier);
        table_add(&c->rows, "%u", r->cases);
        table_add(&c->rows, "%.2f", r->used);
        table_add(&c->rows, "%s", r->verdict == BL_PASS ? "pass" : "WRONG");
    }
}

static bool print_text(collector *c)
{
    table tiers = { .columns = 3, .align = "lrr" };
    bool ok = true;
    if (c->verbose) {
        ok = table_print(&c->rows);
        print_line("%s", "");
    }
    table_add(&tiers, "tier");
    table_add(&tiers, "kernels");
    table_add(&tiers, "wrong");
    for (size_t i = 0; i < c->tier_count; i++) {
        table_add(&tiers, "%s", c->tiers[i].name);
        table_add(&tiers, "%u", c->tiers[i].passed + c->tiers[i].failed);
        table_add(&tiers, "%u", c->tiers[i].failed);
    }
    ok = table_print(&tiers) && ok;
    if (c->wrong.count > c->wrong.columns) {
        print_line("%s", "");
        ok = table_print(&c->wrong) && ok;
    }
    return ok;
}

static bool print_object(const session *s, json_t *rows, const bl_selftest_summary *sum, bl_result result)
{
    json_t *all = json_pack("{s:o, s:i, s:i, s:o}", "rows", rows, "passed", (int)sum->passed, "failed", (int)sum->failed, "first_failure",
                            json_text(sum->first_failure));
    if (all && (!session_add_json(s, all) || (result != BL_OK && json_object_set_new(all, "error", session_error_json(s, result))))) {
        json_decref(all);
        all = NULL;
    }
    return print_json(all);
}

static int run(const command *self, int argc, char **argv)
{
    selftest_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    session s;
    collector c = { .rows = { .columns = 5, .align = "llrrl" }, .wrong = { .columns = 2, .align = "ll" }, .verbose = values.on.verbose,
        .json = values.on.json ? json_array() : NULL };
    static const char *const headings[] = { "kernel", "tier", "cases", "error", "verdict" };
    for (size_t i = 0; i < c.rows.columns; i++)
        table_add(&c.rows, "%s", headings[i]);
    table_add(&c.wrong, "wrong");
    table_add(&c.wrong, "where");
    bl_selftest_summary sum = { 0 };
    bl_selftest_options options = BL_SELFTEST_OPTIONS_INIT;
    options.pattern = rest.count ? rest.items[0] : NULL;
    options.row = on_row;
    options.user = &c;
    session_begin(&s, self, &values.on);
    bl_result result = session_open(&s);
    if (result == BL_OK)
        result = bl_selftest(s.context, &options, &sum);

    progress_clear(&s.progress);
    bool printed = true;
    if (values.on.json)
        printed = print_object(&s, c.json, &sum, result);
    else if (c.tier_count)
        printed = print_text(&c);
    if (printed && !values.on.json && result == BL_OK)
        print_line("%u of %u kernels give the known answers on %s", sum.passed, sum.passed + sum.failed,
                   bl_context_device(s.context)->name);
    int code = result == BL_OK ? 0 : session_fail(&s, result);
    if (!printed && code == 0) {
        report(self->name, "host memory ran out");
        code = -BL_ERROR_MEMORY;
    }
    session_close(&s);
    table_free(&c.rows);
    table_free(&c.wrong);
    return code;
}

static const cli_option options[] = {
    SESSION_OPTIONS(selftest_values),
};

const command command_selftest = {
    .name = "selftest", .summary = "computes known answers with every kernel that the device can run",
    .usage = "[options] [PATTERN]",
    .text = "Compares every kernel that the device can run with a double-precision\n"
            "reference, on small problems: odd sizes, long sums, sums beyond the range of\n"
            "fp16. Generation does this by itself for the kernels that it uses, once for a\n"
            "device and a driver; --no-selftest there leaves it out. PATTERN, such as\n"
            "'conv_*_f16', takes the kernels whose name matches. Exit code 7 when one is\n"
            "wrong.",
    .examples = "  blemish selftest\n  blemish selftest --verbose 'matmul_*'\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "PATTERN", .operand_max = 1, .run = run,
};
