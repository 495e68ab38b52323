/* Which implementation is the fastest for each shape class: all that can compute it, measured against the table's first. Layer 2. */
#ifndef BL_TUNE_H
#define BL_TUNE_H
#include "bench.h"

/* The problems to measure, one of each op, storage type and shape class: the one with the most work. */
typedef struct bl_tune_set {
    struct bl_tune_problem { bl_op op; bl_dtype type; bl_params p; } *list;
    uint32_t count, room;
} bl_tune_set;
/* Adds a problem. Those that only one implementation of `ks` takes are left out. BL_ERROR_MEMORY. */
bl_result bl_tune_add(bl_tune_set *set, const bl_kernels *ks, bl_op op, bl_dtype type, const bl_params *p);
/* Adds the shapes of real networks among the cases of all ops, in one storage type. */
bl_result bl_tune_add_usual(bl_tune_set *set, const bl_kernels *ks, bl_dtype type);
void bl_tune_set_free(bl_tune_set *set); /* zeroes *set; a zeroed one is accepted */

/* Measures those problems of the set that o->pattern takes, and tells *tuning what was found: for each shape class the fastest
 * implementation, or nothing where that is the table's first. `ks` are of the target's device. What was found before a failure stays. */
bl_result bl_tune_run(const bl_bench_target *target, bl_kernels *ks, const bl_tune_set *set, const bl_tune_options *o, json_t *tuning);
#endif
