/* Two files of results, row by row. Layer 6. */
#ifndef CLI_BENCH_COMPARE_H
#define CLI_BENCH_COMPARE_H
#include "bench_rows.h"

typedef struct bench_comparison {
    bench_results rows;  /* name, before_ns, after_ns, change, verdict, note; the context is that of the second file */
    uint32_t same, faster, slower, unsure, single; /* single: in one of the files only */
} bench_comparison;

/* Refuses (false, with the reason noted in the session) files of unlike devices unless `force`. A row is slower or faster when its median
 * changed by more than `threshold` (a share), none of its rounds lies among those of the other file but the slowest quarter of them, and
 * a kernel that never changes did not change as much. Freed by bench_results_free of its rows. */
bool bench_compare(session *s, const bench_results *before, const bench_results *after, double threshold, bool force,
                   bench_comparison *out);
#endif
