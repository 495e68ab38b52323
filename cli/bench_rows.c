#include "bench_rows.h"
#include "host.h"
#include "output.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] = "blemish-bench";

/* --- making ---------------------------------------------------------------------------------------------------------------- */

/* The choices of the plan in use; NULL without any. */
static json_t *tuned_choices(const session *s)
{
    char *text = NULL;
    json_t *plan = bl_context_plan(s->context, &text) == BL_OK ? json_loads(text, 0, NULL) : NULL;
    json_t *choices = json_object_get(plan, "choices");
    choices = json_object_size(choices) ? json_incref(choices) : NULL;
    json_decref(plan);
    bl_text_free(text);
    return choices;
}

json_t *bench_context(const session *s, const char *what, const char *model, double time_limit, const char *shape)
{
    const bl_device_info *d = bl_context_device(s->context);
    json_t *device = json_pack("{s:o, s:o, s:o, s:o, s:o, s:i}", "name", json_text(d->name), "uuid", json_text(d->uuid), "type",
                               json_text(d->type), "driver", json_text(d->driver), "api", json_text(d->api), "subgroup",
                               (int)d->subgroup_size);
    json_t *context = json_pack("{s:s, s:i, s:s, s:s, s:o, s:s, s:o, s:s, s:s, s:f, s:s, s:o, s:o}", "schema", schema, "version",
                                BENCH_SCHEMA_VERSION, "measured", what, "blemish", bl_version(), "time", host_time(), "kernels",
                                bl_kernel_version(), "device", device, "caps", bl_context_caps(s->context), "precision",
                                bl_context_precision(s->context), "time_limit", time_limit, "shape", shape ? shape : "", "model",
                                json_text(model), "host", host_json());
    if (context && !strcmp(what, "model")) /* kernels are measured each by itself, whatever is tuned */
        json_object_set_new(context, "tuning", tuned_choices(s));
    return context;
}

static void put(json_t *row, const char *key, double value, bool there)
{
    json_t *number = there ? json_real(value) : NULL;
    if (number)
        json_object_set_new(row, key, number);
}

static void put_text(json_t *row, const char *key, const char *text)
{
    if (*text)
        json_object_set_new(row, key, json_text(text));
}

json_t *bench_row_json(const bl_bench_row *r)
{
    static const char *const verdicts[] = { [BL_PASS] = "pass", [BL_FAIL] = "fail", [BL_SKIP] = "skip" };
    json_t *row = json_pack("{s:s, s:o, s:s}", "kind", r->kind, "name", json_text(r->name), "verdict", verdicts[r->verdict]);
    if (!row)
        return NULL;
    const double seconds = r->median * 1e-9;
    const bool timed = r->runs > 0, work = timed && r->work > 0 && seconds > 0, bytes = timed && r->bytes > 0 && seconds > 0;
    const struct { const char *key, *text; } texts[] = {
        { "op", r->op }, { "kernel", r->kernel }, { "type", r->type }, { "shape", r->shape }, { "note", r->note },
        { "checked", r->checked }, { "unit", r->unit }, { "bound", r->bound }, { "statistics", r->statistics },
        { "clock", !timed ? "" : r->wall ? "wall" : "device" },
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_text(row, texts[i].key, texts[i].text);
    if (timed) {
        json_object_set_new(row, "runs", json_integer(r->runs));
        json_object_set_new(row, "rounds", json_integer(r->rounds));
    }
    put(row, "median_ns", r->median, timed);
    put(row, "p10_ns", r->p10, timed);
    put(row, "p90_ns", r->p90, timed);
    put(row, "low_ns", r->low, timed);
    put(row, "high_ns", r->high, timed);
    put(row, "noise", r->noise, timed);
    put(row, "probe_ns", r->probe, timed && r->probe > 0);
    put(row, "cold_ns", r->cold, r->cold > 0);
    put(row, "launch_ns", r->launch, r->launch > 0);
    put(row, "compile_ns", r->compile, r->compile > 0);
    put(row, "flop", r->work, work);
    put(row, "bytes", r->bytes, bytes);
    put(row, "gflops", r->work / seconds * 1e-9, work);
    put(row, "gbps", r->bytes / seconds * 1e-9, bytes);
    put(row, "intensity", r->work / r->bytes, work && bytes);
    put(row, "rate", r->rate, r->rate > 0);
    put(row, "share", r->share, r->share > 0);
    put(row, "drift", r->drift, timed && !strcmp(r->kind, "shader"));
    put(row, "registers", r->registers, r->registers >= 0);
    put(row, "spills", r->spills, r->spills >= 0);
    put(row, "instructions", r->instructions, r->instructions >= 0);
    put(row, "subgroup", r->subgroup, r->subgroup >= 0);
    put(row, "occupancy", r->occupancy, r->occupancy >= 0);
    put(row, "setup_ns", r->setup, r->setup > 0);
    put(row, "forward_flop", r->forward, r->forward > 0);
    put(row, "weight_bytes", (double)r->weights, r->weights > 0);
    put(row, "device_bytes", (double)r->device_bytes, r->device_bytes > 0);
    return row;
}

/* --- reading --------------------------------------------------------------------------------------------------------------- */

double bench_number(const json_t *row, const char *key) { return json_number_value(json_object_get(row, key)); }

const char *bench_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

const char *bench_context_text(const json_t *context, const char *object, const char *key)
{
    return bench_text(json_object_get(context, object), key);
}

/* "" or what is wrong with the line that holds the context. */
static const char *context_trouble(const json_t *context)
{
    if (strcmp(bench_text(context, "schema"), schema))
        return "is not a result of 'blemish bench --format json'";
    if (json_integer_value(json_object_get(context, "version")) != BENCH_SCHEMA_VERSION)
        return "is a result of another version of the schema";
    return json_is_object(json_object_get(context, "device")) && json_is_object(json_object_get(context, "host")) ? ""
        : "lacks its device or host";
}

static const char *row_trouble(const json_t *row)
{
    static const char *const numbers[] = { "rounds", "median_ns", "p10_ns", "p90_ns", "low_ns", "high_ns", "noise" };
    if (!*bench_text(row, "name") || !*bench_text(row, "verdict") || !*bench_text(row, "kind"))
        return "lacks kind, name or verdict";
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && json_object_get(row, "runs"); i++)
        if (!json_is_number(json_object_get(row, numbers[i])) || bench_number(row, numbers[i]) < 0)
            return "has runs but no proper times";
    return "";
}

static bool read_line(session *s, const char *path, size_t number, const char *line, bench_results *out)
{
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        json_decref(object);
        session_note(s, BL_ERROR_INPUT, "%s: line %zu is not a JSON object: the file is damaged", path, number);
        return false;
    }
    const char *trouble = number == 1 ? context_trouble(object) : row_trouble(object);
    if (*trouble) {
        json_decref(object);
        if (number == 1)
            session_note(s, BL_ERROR_INPUT, "%s %s", path, trouble);
        else
            session_note(s, BL_ERROR_INPUT, "%s: line %zu %s: the file is damaged", path, number, trouble);
        return false;
    }
    if (number == 1)
        out->context = object;
    else
        json_array_append_new(out->rows, object);
    return true;
}

bool bench_results_read(session *s, const char *path, bench_results *out)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t room = 0, number = 0;
    *out = (bench_results){ .rows = json_array() };
    if (!f) {
        session_note(s, BL_ERROR_INPUT, "%s: %s", path, strerror(errno));
        return false;
    }
    bool ok = true, ended = true;
    for (ssize_t n; ok && (n = getline(&line, &room, f)) > 0;) {
        ended = line[n - 1] == '\n';
        ok = (size_t)n == strlen(line) && read_line(s, path, ++number, line, out);
        if (!ok && !*s->reason)
            session_note(s, BL_ERROR_INPUT, "%s: line %zu holds a 0 byte: the file is damaged", path, number);
    }
    if (ok && ferror(f)) {
        session_note(s, BL_ERROR_INPUT, "%s: %s", path, strerror(errno));
        ok = false;
    } else if (ok && !number) {
        session_note(s, BL_ERROR_INPUT, "%s is empty", path);
        ok = false;
    } else if (ok && !ended) {
        session_note(s, BL_ERROR_INPUT, "%s ends in the middle of a line: the file is damaged", path);
        ok = false;
    }
    free(line);
    fclose(f);
    if (!ok)
        bench_results_free(out);
    return ok;
}

void bench_results_free(bench_results *r)
{
    json_decref(r->context);
    json_decref(r->rows);
    *r = (bench_results){ 0 };
}
