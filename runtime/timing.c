#include "timing.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RUNS = 4096, WARM_UP = 2, LEAST_RUNS = 5 };

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two in the middle, so that the median of two is their mean. */
static double median_of(const double *sorted, uint32_t count) { return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2; }

/* Median absolute deviation, in the scratch room `work`. */
static double deviation_of(const double *sorted, double *work, uint32_t count)
{
    const double median = median_of(sorted, count);
    for (uint32_t i = 0; i < count; i++)
        work[i] = fabs(sorted[i] - median);
    qsort(work, count, sizeof(*work), by_value);
    return median_of(work, count);
}

/* Of normal noise the standard deviation is 1.4826 times the median absolute deviation, and the standard error of the median 1.2533 times
 * that over the root of the count. */
void bl_timing_of(double *ns, double *work, uint32_t count, bl_timing *out)
{
    qsort(ns, count, sizeof(*ns), by_value);
    *out = (bl_timing){ .runs = count, .median = median_of(ns, count), .p10 = ns[(count - 1) / 10],
        .p90 = ns[count - 1 - (count - 1) / 10], .low = ns[0], .high = ns[count - 1 - count / 4], .noise = 1 };
    if (count > 1 && out->median > 0)
        out->noise = 1.4826 * 1.2533 * deviation_of(ns, work, count) / sqrt(count) / out->median;
}

/* One run: its time on the device, or on the wall. */
static bl_result time_once(bl_stream *s, bl_commands *c, const bl_commands *before, double *ns, bool *wall)
{
    bl_result result = BL_OK;
    if (before) {
        BL_TRY(bl_stream_submit(s, before, 1, NULL));
        BL_TRY(bl_stream_wait(s));
    }
    const double begun = bl_clock();
    BL_TRY(bl_stream_submit(s, c, 1, NULL));
    BL_TRY(bl_stream_wait(s));
    const double took = bl_clock() - begun, timed = bl_commands_time(c);
    *wall = timed <= 0;
    *ns = *wall ? took : timed;
fail:
    return result;
}

bl_result bl_timing_run(bl_stream *s, bl_commands *c, uint32_t repetitions, const bl_commands *before, const bl_timing_rule *rule,
                        bl_timing *out)
{
    bl_result result = BL_OK;
    double *ns = bl_alloc(MOST_RUNS, sizeof(*ns)), *sorted = bl_alloc(2 * MOST_RUNS, sizeof(*sorted));
    const double begun = bl_clock();
    uint32_t runs = 0, next_look = LEAST_RUNS;
    bool wall = false;
    *out = (bl_timing){ 0 };
    if (!ns || !sorted)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for times"));
    for (int i = 0; i < WARM_UP && bl_clock() - begun < rule->limit / 4; i++)
        BL_TRY(time_once(s, c, before, &ns[0], &wall));
    while (runs < MOST_RUNS && (!runs || bl_clock() - begun < rule->limit)) {
        BL_TRY(time_once(s, c, before, &ns[runs], &wall));
        ns[runs++] /= repetitions;
        if (runs < next_look)
            continue;
        next_look = runs + runs / 4 + 1; /* sorting must not cost more than running */
        memcpy(sorted, ns, runs * sizeof(*ns));
        bl_timing_of(sorted, sorted + MOST_RUNS, runs, out);
        if (out->noise <= rule->noise && bl_clock() - begun >= rule->limit / 10)
            break;
    }
    memcpy(sorted, ns, runs * sizeof(*ns));
    bl_timing_of(sorted, sorted + MOST_RUNS, runs, out);
    out->wall = wall;
fail:
    bl_free(ns);
    bl_free(sorted);
    return result;
}
