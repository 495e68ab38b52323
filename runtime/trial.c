#include "trial.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double TIMED_AT_LEAST = 2e5;  /* ns: shorter dispatches are timed several at a time */
static const double TOO_LONG = 1.5e9;      /* ns: drivers reset a GPU after some 2 s */

bl_result bl_trial_begin(bl_trial *t, bl_op op, bl_dtype type, const bl_op_case *c)
{
    bl_result result = BL_OK;
    BL_TRY(bl_problem_create(t->kernels, t->stream, op, type, c, false, &t->random, &t->problem));
    result = bl_problem_reference(&t->problem, t->reference_work);
    snprintf(t->checked, sizeof(t->checked), "%s", result != BL_OK ? ""
        : bl_op_infos[op].flops(&t->problem.parts[0]) < bl_op_infos[op].flops(&t->problem.p) ? "parts" : "all");
    if (result == BL_ERROR_USAGE)
        result = BL_OK; /* the reference takes too long: see check */
fail:
    return result;
}

void bl_trial_end(bl_trial *t) { bl_problem_destroy(&t->problem); }

bool bl_trial_takes(bl_kernel k, const bl_op_case *c)
{
    bl_params p = c->p;
    bl_case_lay_out(bl_impls[k].op, &p, false);
    return bl_impls[k].fits(bl_impls[k].op, &p);
}

bl_result bl_trial_record(bl_trial *t, const bl_dispatch *d, uint32_t times, bl_commands *c)
{
    bl_result result = BL_OK;
    BL_TRY(bl_commands_begin(t->stream, times, BL_COMMANDS_TIMED, c));
    for (uint32_t i = 0; i < times; i++) {
        if (i)
            bl_commands_barrier(c);
        BL_TRY(bl_kernel_record(t->kernels, c, d));
    }
    BL_TRY(bl_commands_end(c));
    return BL_OK;
fail:
    bl_commands_destroy(c);
    return result;
}

uint32_t bl_trial_repetitions(double ns)
{
    const double times = ceil(TIMED_AT_LEAST / BL_MAX(ns, 1));
    return (uint32_t)BL_MIN(times, BL_TRIAL_LAUNCHES);
}

/* Makes the pipeline, and dispatches one workgroup: some drivers compile only then. */
static bl_result compile(bl_trial *t, const bl_dispatch *whole)
{
    bl_result result = BL_OK;
    bl_dispatch d = *whole;
    bl_commands c = { 0 };
    if (bl_kernel_compile_time(t->kernels, whole) > 0)
        return BL_OK;
    d.groups[0] = d.groups[1] = d.groups[2] = 1;
    const double begun = bl_clock();
    BL_TRY(bl_trial_record(t, &d, 1, &c));
    BL_TRY(bl_stream_submit(t->stream, &c, 1, NULL));
    BL_TRY(bl_stream_wait(t->stream));
    bl_kernel_set_compile_time(t->kernels, whole, bl_clock() - begun);
fail:
    bl_commands_destroy(&c);
    return result;
}

/* What the whole will take, by a part of its grid. Not on software devices, which nobody resets. */
static bl_result predict(bl_trial *t, const bl_dispatch *whole, double *ns)
{
    enum { SHARE = 64 };
    bl_result result = BL_OK;
    const bl_timing_rule once = { 0, 1 };
    bl_dispatch d = *whole;
    bl_commands c = { 0 };
    bl_timing timing;
    const int axis = d.groups[2] >= d.groups[1] && d.groups[2] >= d.groups[0] ? 2 : d.groups[1] >= d.groups[0] ? 1 : 0;
    *ns = 0;
    if (bl_stream_device(t->stream)->software || d.groups[axis] < SHARE)
        return BL_OK;
    d.groups[axis] /= SHARE;
    BL_TRY(bl_trial_record(t, &d, 1, &c));
    BL_TRY(bl_timing_run(t->stream, &c, 1, NULL, &once, &timing));
    *ns = timing.median * whole->groups[axis] / d.groups[axis];
fail:
    bl_commands_destroy(&c);
    return result;
}

/* Compares with the reference: that of the problem, or of a smaller case that the kernel takes. */
static bl_result check(bl_trial *t, bl_kernel k, const char **how)
{
    bl_result result = BL_OK;
    const bl_op op = t->problem.op;
    const bl_op_case *small = NULL;
    bl_problem q = { 0 };
    *how = t->checked;
    if (t->problem.part_count)
        return bl_problem_check_once(&t->problem, k, NULL);
    for (uint32_t i = 0; i < *bl_op_infos[op].case_count; i++) {
        const bl_op_case *c = &bl_op_infos[op].cases[i];
        const double work = bl_op_infos[op].flops(&c->p);
        if (!bl_case_is_bench(c) && bl_trial_takes(k, c) && work <= t->reference_work &&
            (!small || work > bl_op_infos[op].flops(&small->p)))
            small = c;
    }
    if (!small)
        return BL_OK;
    *how = small->name;
    BL_TRY(bl_problem_create(t->kernels, t->stream, op, t->problem.type, small, false, &t->random, &q));
    BL_TRY(bl_problem_reference(&q, t->reference_work));
    BL_TRY(bl_problem_check_once(&q, k, NULL));
fail:
    bl_problem_destroy(&q);
    return result;
}

bl_result bl_trial_admit(bl_trial *t, bl_kernel k, bl_dispatch *d, bl_verdict *verdict, const char **how, char note[BL_TRIAL_NOTE])
{
    bl_result result = BL_OK;
    double expected;
    *note = 0;
    *verdict = BL_SKIP;
    if (bl_problem_dispatch(&t->problem, k, d) != BL_OK || !bl_dispatch_binds(t->kernels, d)) {
        snprintf(note, BL_TRIAL_NOTE, "an operand is larger than a binding, or the grid than the guaranteed limits");
        return BL_OK;
    }
    BL_TRY(compile(t, d));
    BL_TRY(predict(t, d, &expected));
    if (expected > TOO_LONG) {
        snprintf(note, BL_TRIAL_NOTE, "one dispatch would take %.1f s, after which drivers reset a GPU", expected * 1e-9);
        return BL_OK;
    }
    result = check(t, k, how);
    if (result == BL_ERROR_MISMATCH) {
        snprintf(note, BL_TRIAL_NOTE, "wrong: %s", bl_last_error());
        *verdict = BL_FAIL;
        return BL_OK;
    }
    BL_TRY(result);
    BL_TRY(bl_problem_upload(&t->problem));
    *verdict = BL_PASS;
fail:
    return result;
}
