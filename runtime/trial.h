/* Implementations put to one problem: is the result right, and can it be timed. Layer 2. What bench and tune have in common. */
#ifndef BL_TRIAL_H
#define BL_TRIAL_H
#include "check.h"
#include "timing.h"

enum { BL_TRIAL_NOTE = 512, BL_TRIAL_LAUNCHES = 32 };

typedef struct bl_trial {
    bl_kernels *kernels;
    bl_stream *stream;
    double reference_work;   /* floating-point operations of the reference at most, for each problem; 5e8 take about a second */
    uint64_t random;         /* state of the number stream: any value is a seed */
    bl_problem problem;      /* the one at hand; kernels NULL: none */
    char checked[16];        /* how much of it has a reference: "all", "parts", "" */
} bl_trial;

/* Makes the problem of a case, laid out without gaps, and its reference. The case must outlive it. */
bl_result bl_trial_begin(bl_trial *t, bl_op op, bl_dtype type, const bl_op_case *c);
void bl_trial_end(bl_trial *t); /* zeroes the problem; a trial without one is accepted */

/* True if the implementation takes the case, laid out without gaps. */
bool bl_trial_takes(bl_kernel k, const bl_op_case *c);
/* Makes *d the dispatch of implementation k, compiles it and compares its result with the reference, so that it can be timed: the
 * operands are on the device then. *verdict is BL_SKIP when it cannot be timed, BL_FAIL when its result is wrong, and the reason is in
 * `note`, else BL_PASS. *how (untouched if skipped): what was compared, as bl_bench_row.checked. Fails only with what ends all work. */
bl_result bl_trial_admit(bl_trial *t, bl_kernel k, bl_dispatch *d, bl_verdict *verdict, const char **how, char note[BL_TRIAL_NOTE]);

/* Records a dispatch `times` times with barriers between them, for bl_timing_run. */
bl_result bl_trial_record(bl_trial *t, const bl_dispatch *d, uint32_t times, bl_commands *c);
/* How often a dispatch that takes `ns` should be recorded to be timed well: 1 to BL_TRIAL_LAUNCHES. */
uint32_t bl_trial_repetitions(double ns);
#endif
