/* Times of recorded commands: repeated until they are known well enough. Layer 1. */
#ifndef BL_TIMING_H
#define BL_TIMING_H
#include "stream.h"

/* When to stop. */
typedef struct bl_timing_rule {
    double limit;            /* ns of wall time after which no further run begins; at least one is timed */
    double noise;            /* enough when bl_timing.noise is at most this, after 5 runs and a tenth of the limit */
} bl_timing_rule;

/* What was found, in nanoseconds of one repetition. */
typedef struct bl_timing {
    uint32_t runs;           /* timed */
    double median, p10, p90;
    double low, high;        /* the least, and the largest without the slowest quarter, which is mostly what else the machine did */
    double noise;            /* standard error of the median as a share of it, from the median absolute deviation; 1 for a single run */
    bool wall;               /* wall time from submission to completion, because the queue has no timestamps */
} bl_timing;

/* Runs `c`, recorded with BL_COMMANDS_TIMED and doing the same thing `repetitions` times, first to warm up and then until the rule says
 * stop. `before` (NULL: none) is submitted and waited for before every run, untimed. */
bl_result bl_timing_run(bl_stream *s, bl_commands *c, uint32_t repetitions, const bl_commands *before, const bl_timing_rule *rule,
                        bl_timing *out);
/* The same of times that were taken otherwise: `ns` is put in order, `work` is room for as many numbers; count is above 0. */
void bl_timing_of(double *ns, double *work, uint32_t count, bl_timing *out);
#endif
