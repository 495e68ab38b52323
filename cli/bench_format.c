#include "bench_format.h"
#include "output.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const bench_column bench_columns_shader[] = {
    { "name", "name", NULL, 0 }, { "median_ns", "us", "%.1f", 1e-3 }, { "noise", "noise %", "%.1f", 100 },
    { "cold_ns", "cold us", "%.1f", 1e-3 }, { "gflops", "GFLOP/s", "%.2f", 0 }, { "gbps", "GB/s", "%.2f", 0 },
    { "intensity", "FLOP/B", "%.1f", 0 }, { "share", "roof %", "%.0f", 100 }, { "bound", "bound by", NULL, 0 },
    { "compile_ns", "compile ms", "%.0f", 1e-6 }, { "registers", "registers", "%.0f", 0 }, { "spills", "spills", "%.0f", 0 },
    { "drift", "drift %", "%+.0f", 100 }, { "note", "note", NULL, 0 }, { 0 },
};
const bench_column bench_columns_model[] = {
    { "name", "name", NULL, 0 }, { "type", "type", NULL, 0 }, { "shape", "pixels", NULL, 0 }, { "median_ns", "ms", "%.1f", 1e-6 },
    { "noise", "noise %", "%.1f", 100 }, { "flop", "GFLOP", "%.1f", 1e-9 }, { "forward_flop", "of it forward", "%.1f", 1e-9 },
    { "gflops", "GFLOP/s", "%.1f", 0 }, { "gbps", "GB/s", "%.2f", 0 }, { "setup_ns", "ready s", "%.2f", 1e-9 },
    { "weight_bytes", "weights MiB", "%.1f", 0x1p-20 }, { "device_bytes", "device MiB", "%.1f", 0x1p-20 },
    { "host_bytes", "host MiB", "%.1f", 0x1p-20 }, { "note", "note", NULL, 0 }, { 0 },
};
const bench_column bench_columns_compared[] = {
    { "name", "name", NULL, 0 }, { "before_ns", "before us", "%.1f", 1e-3 }, { "after_ns", "after us", "%.1f", 1e-3 },
    { "change", "change %", "%+.1f", 100 }, { "verdict", "verdict", NULL, 0 }, { "note", "note", NULL, 0 }, { 0 },
};

/* A cell as text; "" for what a row does not have, null is unknown. */
static void cell(const json_t *row, const bench_column *c, char *text, size_t size)
{
    const json_t *value = json_object_get(row, c->key);
    const double number = json_number_value(value) * (c->scale != 0 ? c->scale : 1);
    *text = 0;
    if (json_is_string(value))
        snprintf(text, size, "%s", json_string_value(value));
    else if (json_is_number(value) && c->format)
        snprintf(text, size, c->format, number);
    else if (json_is_null(value))
        snprintf(text, size, "unknown");
}

static size_t count_columns(const bench_column *columns)
{
    size_t n = 0;
    while (columns[n].key)
        n++;
    return n;
}

static bool write_table(const bench_results *r, const bench_column *columns, FILE *out)
{
    char align[32], text[512];
    const size_t n = count_columns(columns);
    table t = { .columns = n, .align = align };
    for (size_t i = 0; i < n; i++) {
        align[i] = columns[i].format ? 'r' : 'l';
        table_add(&t, "%s", columns[i].heading);
    }
    for (size_t k = 0; k < json_array_size(r->rows); k++)
        for (size_t i = 0; i < n; i++) {
            cell(json_array_get(r->rows, k), &columns[i], text, sizeof(text));
            table_add(&t, "%s", text);
        }
    return table_write(&t, out);
}

/* --- Markdown -------------------------------------------------------------------------------------------------------------- */

static bool has_column(const bench_results *r, const bench_column *c)
{
    for (size_t k = 0; k < json_array_size(r->rows); k++)
        if (json_object_get(json_array_get(r->rows, k), c->key))
            return true;
    return false;
}

static void write_markdown(const bench_results *r, const bench_column *columns, FILE *out)
{
    char text[512];
    for (const bench_column *c = columns; c->key; c++)
        if (has_column(r, c))
            fprintf(out, "| %s ", c->heading);
    fputs("|\n", out);
    for (const bench_column *c = columns; c->key; c++)
        if (has_column(r, c))
            fputs(c->format ? "|---:" : "|---", out);
    fputs("|\n", out);
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        for (const bench_column *c = columns; c->key; c++) {
            if (!has_column(r, c))
                continue;
            cell(json_array_get(r->rows, k), c, text, sizeof(text));
            fputs("| ", out);
            for (const char *p = text; *p; p++)
                fprintf(out, "%s%c", *p == '|' ? "\\" : "", *p);
            fputc(' ', out);
        }
        fputs("|\n", out);
    }
}

/* --- CSV (RFC 4180) and SQL --------------------------------------------------------------------------------------------------- */

/* Every member that a row may have, so that files of different runs have the same columns; then those of the context. */
static const char *const row_keys[] = {
    "kind", "name", "op", "kernel", "type", "shape", "verdict", "note", "checked", "clock", "runs", "rounds", "median_ns", "p10_ns",
    "p90_ns", "low_ns", "high_ns", "noise", "probe_ns", "cold_ns", "launch_ns", "compile_ns", "flop",
    "bytes", "gflops", "gbps", "intensity", "rate", "unit", "share", "bound", "drift",
    "registers", "spills", "instructions", "subgroup", "occupancy", "statistics", "setup_ns", "forward_flop", "weight_bytes",
    "device_bytes", "host_bytes",
    "before_ns", "after_ns", "change",
};
static const struct { const char *column, *object, *key; } context_keys[] = {
    { "measured_at", NULL, "time" }, { "blemish", NULL, "blemish" }, { "kernels", NULL, "kernels" }, { "device", "device", "name" },
    { "driver", "device", "driver" }, { "api", "device", "api" }, { "caps", NULL, "caps" }, { "model", NULL, "model" },
    { "processor", "host", "processor" },
    { "system", "host", "system" },
};
enum { ROW_KEYS = sizeof(row_keys) / sizeof(row_keys[0]), CONTEXT_KEYS = sizeof(context_keys) / sizeof(context_keys[0]) };

static const json_t *value_of(const bench_results *r, const json_t *row, size_t i)
{
    if (i < ROW_KEYS)
        return json_object_get(row, row_keys[i]);
    const json_t *from = r->context;
    i -= ROW_KEYS;
    if (context_keys[i].object)
        from = json_object_get(from, context_keys[i].object);
    return json_object_get(from, context_keys[i].key);
}

static const char *column_name(size_t i) { return i < ROW_KEYS ? row_keys[i] : context_keys[i - ROW_KEYS].column; }

/* A text between quotes, those in it twice. */
static void put_quoted(const char *text, char quote, FILE *out)
{
    fputc(quote, out);
    for (; *text; text++) {
        if (*text == quote)
            fputc(quote, out);
        fputc(*text, out);
    }
    fputc(quote, out);
}

static void put_value(const json_t *value, char quote, const char *absent, FILE *out)
{
    if (json_is_string(value))
        put_quoted(json_string_value(value), quote, out);
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(out, "%.9g", json_real_value(value));
    else
        fputs(absent, out);
}

static void write_csv(const bench_results *r, FILE *out)
{
    for (size_t i = 0; i < ROW_KEYS + CONTEXT_KEYS; i++)
        fprintf(out, "%s%s", i ? "," : "", column_name(i));
    fputs("\r\n", out);
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        for (size_t i = 0; i < ROW_KEYS + CONTEXT_KEYS; i++) {
            fputs(i ? "," : "", out);
            put_value(value_of(r, json_array_get(r->rows, k), i), '"', "", out);
        }
        fputs("\r\n", out);
    }
}

static bool is_text_key(size_t i)
{
    static const char *const texts[] = { "kind", "name", "op", "kernel", "type", "shape", "verdict", "note", "checked", "clock", "unit",
                                         "bound", "statistics" };
    for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]) && i < ROW_KEYS; t++)
        if (!strcmp(texts[t], row_keys[i]))
            return true;
    return i >= ROW_KEYS;
}

/* Standard SQL, as SQLite and PostgreSQL take it. */
static void write_sql(const bench_results *r, FILE *out)
{
    fputs("BEGIN;\nCREATE TABLE IF NOT EXISTS blemish_bench (", out);
    for (size_t i = 0; i < ROW_KEYS + CONTEXT_KEYS; i++)
        fprintf(out, "%s\n  \"%s\" %s", i ? "," : "", column_name(i), is_text_key(i) ? "TEXT" : "DOUBLE PRECISION");
    fputs(");\n", out);
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        fputs("INSERT INTO blemish_bench VALUES (", out);
        for (size_t i = 0; i < ROW_KEYS + CONTEXT_KEYS; i++) {
            fputs(i ? ", " : "", out);
            put_value(value_of(r, json_array_get(r->rows, k), i), '\'', "NULL", out);
        }
        fputs(");\n", out);
    }
    fputs("COMMIT;\n", out);
}

/* --- JSON lines ------------------------------------------------------------------------------------------------------------ */

static bool write_line(const json_t *object, FILE *out)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text)
        fprintf(out, "%s\n", text);
    free(text);
    return text != NULL;
}

static bool write_json(const bench_results *r, FILE *out)
{
    bool ok = write_line(r->context, out);
    for (size_t k = 0; ok && k < json_array_size(r->rows); k++)
        ok = write_line(json_array_get(r->rows, k), out);
    return ok;
}

bool bench_write(const bench_results *r, const char *format, const bench_column *columns, FILE *out)
{
    if (!strcmp(format, "json"))
        return write_json(r, out);
    if (!strcmp(format, "table"))
        return write_table(r, columns, out);
    if (!strcmp(format, "markdown"))
        write_markdown(r, columns, out);
    else if (!strcmp(format, "csv"))
        write_csv(r, out);
    else
        write_sql(r, out);
    return true;
}
