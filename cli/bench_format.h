/* Rows of JSON as a table, Markdown, CSV, JSON lines or SQL. Layer 6. */
#ifndef CLI_BENCH_FORMAT_H
#define CLI_BENCH_FORMAT_H
#include "bench_rows.h"

/* A column of a table. */
typedef struct bench_column {
    const char *key, *heading;
    const char *format;  /* of a number, "%.1f"; NULL: text */
    double scale;        /* the number is multiplied by it first; 0: 1 */
} bench_column;

/* Columns that a reader needs: of shaders and peaks, of networks, and of a comparison. End with a zeroed entry. */
extern const bench_column bench_columns_shader[], bench_columns_model[], bench_columns_compared[];

/* Writes the results in `format`: "table", "markdown", "csv", "json" or "sql". The first two show `columns`; the others all members, and
 * with every row the context. False when memory runs out; errors of `out` stay in it. */
bool bench_write(const bench_results *r, const char *format, const bench_column *columns, FILE *out);
#endif
