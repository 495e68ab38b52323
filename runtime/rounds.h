/* Rows that are measured in several rounds, put together: what else happens on a machine comes and goes within seconds, so times that are
 * taken at once agree with each other and not with those of the next minute. Layer 2. */
#ifndef BL_ROUNDS_H
#define BL_ROUNDS_H
#include "base.h"

enum { BL_ROUNDS = 9 };

/* What one round has found of a row, in ns; `probe`: a kernel that never changes took so long right after it. */
typedef struct bl_round {
    double median, p10, p90, probe;
} bl_round;

typedef struct bl_rounds_row {
    bl_bench_row row;        /* of the first round; its texts are owned */
    bl_round rounds[BL_ROUNDS];
    uint32_t count;          /* rounds; 0: it was not timed */
    double spent;            /* ns of all that was timed */
} bl_rounds_row;

typedef struct bl_rounds {
    bl_rounds_row *rows;     /* in the order in which they came */
    size_t count, room;
} bl_rounds;

/* Keeps a copy of a row that is new; of one with the same kind, name and shape its times as those of one more round. A peak may do another
 * amount of work in each, and its times are scaled. */
bl_result bl_rounds_add(bl_rounds *r, const bl_bench_row *row);
/* NULL: there is none. Valid until a row is added. */
const bl_rounds_row *bl_rounds_find(const bl_rounds *r, const char *kind, const char *name, const char *shape);
/* The row as all rounds say: times are medians of those of the rounds. Its texts are those that are kept. */
void bl_rounds_result(const bl_rounds_row *kept, bl_bench_row *out);
void bl_rounds_free(bl_rounds *r); /* zeroes *r */
#endif
