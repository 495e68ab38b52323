/* Results of measurements as JSON, one object per line: first where and how, then the rows. docs/benchmark.md says what stands in them.
 * Layer 6. */
#ifndef CLI_BENCH_ROWS_H
#define CLI_BENCH_ROWS_H
#include "session.h"

enum { BENCH_SCHEMA_VERSION = 2 };

typedef struct bench_results {
    json_t *context; /* object */
    json_t *rows;    /* array of objects */
} bench_results;

/* What was measured, where and how; of whose networks (`model`, "" for none). NULL when memory runs out. */
json_t *bench_context(const session *s, const char *what, const char *model, double time_limit, const char *shape);
/* A row, without what does not apply to it. NULL when memory runs out. */
json_t *bench_row_json(const bl_bench_row *r);

/* Reads such a file; false, with the reason noted in the session, when it is damaged or of another kind. Freed by bench_results_free. */
bool bench_results_read(session *s, const char *path, bench_results *out);
void bench_results_free(bench_results *r);

/* Values of a row; 0 and "" where there is none. */
double bench_number(const json_t *row, const char *key);
const char *bench_text(const json_t *row, const char *key);
/* A member of an object in the context: bench_context_text(c, "device", "name"). */
const char *bench_context_text(const json_t *context, const char *object, const char *key);
#endif
