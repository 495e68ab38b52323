#include "bench_compare.h"
#include <math.h>
#include <string.h>

/* Seven rounds of each are enough. */
static const double CHANCE_ALLOWED = 1 / 250.0;

/* What must be alike for times to be comparable; kernels and blemish itself are what is compared. */
static bool alike(session *s, const json_t *a, const json_t *b)
{
    static const struct { const char *object, *key, *words; } list[] = {
        { "device", "name", "devices" }, { "device", "driver", "drivers" },
    };
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        const char *before = bench_context_text(a, list[i].object, list[i].key);
        const char *after = bench_context_text(b, list[i].object, list[i].key);
        if (strcmp(before, after)) {
            session_note(s, BL_ERROR_INPUT, "the %s differ, \"%s\" and \"%s\" (--force compares all the same)", list[i].words, before,
                         after);
            return false;
        }
    }
    const char *before = bench_context_text(a, "host", "processor"), *after = bench_context_text(b, "host", "processor");
    if (!strcmp(bench_context_text(b, "device", "type"), "cpu") && strcmp(before, after)) {
        session_note(s, BL_ERROR_INPUT, "the processors differ, \"%s\" and \"%s\" (--force compares all the same)", before, after);
        return false;
    }
    static const struct { const char *key, *words; } texts[] = {
        { "caps", "capabilities in use" }, { "model", "models" },
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(bench_text(a, texts[i].key), bench_text(b, texts[i].key))) {
            session_note(s, BL_ERROR_INPUT, "the %s differ, \"%s\" and \"%s\" (--force compares all the same)", texts[i].words,
                         bench_text(a, texts[i].key), bench_text(b, texts[i].key));
            return false;
        }
    return true;
}

/* The row of the same name, storage and shape. */
static const json_t *find(const bench_results *in, const json_t *row)
{
    static const char *const keys[] = { "name", "type", "shape" };
    for (size_t k = 0; k < json_array_size(in->rows); k++) {
        const json_t *other = json_array_get(in->rows, k);
        bool same = true;
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
            same = same && !strcmp(bench_text(other, keys[i]), bench_text(row, keys[i]));
        if (same)
            return other;
    }
    return NULL;
}

static bool timed(const json_t *row) { return bench_number(row, "runs") > 0 && bench_number(row, "median_ns") > 0; }

static double choose(double n, double k) { return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)); }

/* How often all of m rounds are slower than n others but the slowest quarter of these, by chance alone: the fastest of both then are of
 * the n. */
static double by_chance(double n, double m) { return choose(m + floor(n / 4), m) / choose(n + m, n); }

/* What the later time is multiplied by to be that of the earlier one's work: a peak takes as long as the device needs to be timed. */
static double same_work(const json_t *before, const json_t *after)
{
    const char *const work[] = { "flop", "bytes" };
    for (size_t i = 0; i < 2 && !strcmp(bench_text(before, "kind"), "peak"); i++)
        if (bench_number(before, work[i]) > 0 && bench_number(after, work[i]) > 0)
            return bench_number(before, work[i]) / bench_number(after, work[i]);
    return 1;
}

static const char *unsure(bench_comparison *out, const char *why, const char **note)
{
    *note = why;
    out->unsure++;
    return "unsure";
}

/* Slower when every round was slower than those of the other run, of which the slowest quarter is taken for what else the machine did; and
 * the median by more than the threshold, and by more than the device itself has become slower. The same of faster. */
static const char *judge(bench_comparison *out, const json_t *before, const json_t *after, double threshold, const char **note)
{
    const double scale = same_work(before, after), change = scale * bench_number(after, "median_ns") / bench_number(before, "median_ns");
    const double probe[] = { bench_number(before, "probe_ns"), bench_number(after, "probe_ns") };
    const double device = probe[0] > 0 && probe[1] > 0 ? probe[1] / probe[0] : 1, factor = 1 + threshold;
    const bool slower = scale * bench_number(after, "low_ns") > bench_number(before, "high_ns") && change > factor;
    const bool faster = scale * bench_number(after, "high_ns") < bench_number(before, "low_ns") && change < 1 / factor;
    if (strcmp(bench_text(before, "clock"), bench_text(after, "clock")))
        return unsure(out, "one by device time, one by the wall", note);
    if (!slower && !faster) {
        out->same++;
        return "same";
    }
    const double rounds[] = { bench_number(before, "rounds"), bench_number(after, "rounds") };
    if (by_chance(rounds[faster], rounds[slower]) > CHANCE_ALLOWED)
        return unsure(out, "too few rounds to tell it from noise: a longer --time-limit has more", note);
    if (slower ? change < factor * device : change * factor > device)
        return unsure(out, "the device itself was faster or slower", note);
    out->slower += slower;
    out->faster += faster;
    return slower ? "SLOWER" : "faster";
}

/* Peaks in results of shaders are there for the shares: short of time, and not what is compared. */
static bool is_roof(const bench_comparison *out, const json_t *row)
{
    return !strcmp(bench_text(row, "kind"), "peak") && strcmp(bench_text(out->rows.context, "measured"), "peak");
}

static void compare_row(bench_comparison *out, const json_t *before, const json_t *after, double threshold)
{
    const char *note = "", *verdict;
    const json_t *any = after ? after : before;
    const bool was = before && timed(before), is = after && timed(after);
    if (!was && !is)
        return;
    json_t *row = json_pack("{s:s, s:s, s:s}", "kind", bench_text(any, "kind"), "name", bench_text(any, "name"), "shape",
                            bench_text(any, "shape"));
    if (was)
        json_object_set_new(row, "before_ns", json_real(bench_number(before, "median_ns")));
    if (is)
        json_object_set_new(row, "after_ns", json_real(bench_number(after, "median_ns") * (was ? same_work(before, after) : 1)));
    if (was && is) {
        json_object_set_new(row, "change", json_real(same_work(before, after) * bench_number(after, "median_ns") /
                                                          bench_number(before, "median_ns") - 1));
        verdict = is_roof(out, any) ? "roof" : judge(out, before, after, threshold, &note);
    } else {
        verdict = was ? "gone" : "new";
        note = after && before ? bench_text(any, "note") : "";
        out->single++;
    }
    json_object_set_new(row, "verdict", json_string(verdict));
    if (*note)
        json_object_set_new(row, "note", json_string(note));
    json_array_append_new(out->rows.rows, row);
}

bool bench_compare(session *s, const bench_results *before, const bench_results *after, double threshold, bool force,
                   bench_comparison *out)
{
    *out = (bench_comparison){ 0 };
    if (!force && !alike(s, before->context, after->context))
        return false;
    out->rows = (bench_results){ .context = json_incref(after->context), .rows = json_array() };
    for (size_t k = 0; k < json_array_size(before->rows); k++) {
        const json_t *row = json_array_get(before->rows, k);
        compare_row(out, row, find(after, row), threshold);
    }
    for (size_t k = 0; k < json_array_size(after->rows); k++) {
        const json_t *row = json_array_get(after->rows, k);
        if (!find(before, row))
            compare_row(out, NULL, row, threshold);
    }
    return true;
}
