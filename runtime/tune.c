#include "tune.h"
#include "op_shape.h"
#include "trial.h"
#include <fnmatch.h>
#include <string.h>

enum { ROUNDS = 5, CANDIDATES = 32 };
static const double REFERENCE_WORK = 5e7; /* floating-point operations of the reference, for each problem */
static const double LEAST_GAIN = 0.05;    /* share of the time: less is none */

typedef struct candidate {
    bl_kernel kernel;
    bl_dispatch d;
    bl_commands c;
    uint32_t repetitions;
    double ns[ROUNDS];
} candidate;

typedef struct tuner {
    const bl_tune_options *o;
    bl_trial trial;
    bl_timing_rule rule;      /* of one implementation in one round */
    candidate list[CANDIDATES]; /* the table's first, then those that have been faster in every round */
    uint32_t count;
} tuner;

/* --- problems -------------------------------------------------------------------------------------------------------------- */

/* A problem as the case that it is measured as. */
static bl_op_case case_of(const struct bl_tune_problem *q, const char *name)
{
    bl_op_case c = *bl_op_usual_case(q->op);
    c.name = name;
    c.p = q->p;
    return c;
}

static bool takes(const bl_kernels *ks, bl_kernel k, const struct bl_tune_problem *q)
{
    const bl_op_case c = case_of(q, "");
    return bl_impls[k].op == q->op && bl_kernel_able(ks, k, q->type) && bl_trial_takes(k, &c);
}

bl_result bl_tune_add(bl_tune_set *set, const bl_kernels *ks, bl_op op, bl_dtype type, const bl_params *p)
{
    const struct bl_tune_problem q = { op, type, *p };
    char shape[BL_SHAPE_TEXT], other[BL_SHAPE_TEXT];
    uint32_t able = 0;
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        able += takes(ks, (bl_kernel)k, &q);
    if (able < 2)
        return BL_OK;
    bl_op_class_text(op, p, shape);
    for (uint32_t i = 0; i < set->count; i++) {
        struct bl_tune_problem *there = &set->list[i];
        bl_op_class_text(there->op, &there->p, other);
        if (there->op != op || there->type != type || strcmp(shape, other))
            continue;
        if (bl_op_work(op, type, p) > bl_op_work(op, type, &there->p))
            *there = q;
        return BL_OK;
    }
    if (set->count == set->room) {
        const uint32_t room = 2 * set->room + 64;
        struct bl_tune_problem *grown = bl_resize(set->list, room, sizeof(*grown));
        if (!grown)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for problems");
        set->list = grown;
        set->room = room;
    }
    set->list[set->count++] = q;
    return BL_OK;
}

bl_result bl_tune_add_usual(bl_tune_set *set, const bl_kernels *ks, bl_dtype type)
{
    bl_result result = BL_OK;
    for (int op = 0; op < BL_OP_COUNT; op++)
        for (uint32_t i = 0; i < *bl_op_infos[op].case_count; i++)
            if (bl_case_is_bench(&bl_op_infos[op].cases[i]))
                BL_TRY(bl_tune_add(set, ks, (bl_op)op, type, &bl_op_infos[op].cases[i].p));
fail:
    return result;
}

void bl_tune_set_free(bl_tune_set *set)
{
    bl_free(set->list);
    *set = (bl_tune_set){ 0 };
}

/* --- one problem ------------------------------------------------------------------------------------------------------------ */

static void drop(tuner *u, uint32_t i)
{
    bl_commands_destroy(&u->list[i].c);
    memmove(&u->list[i], &u->list[i + 1], (--u->count - i) * sizeof(u->list[i]));
}

/* Gathers the implementations that compute the problem at hand, recorded so that they can be timed. The table's first is among them, or
 * there are none, and the row says why. */
static bl_result gather(tuner *u, const struct bl_tune_problem *q, bl_tune_row *row, char note[BL_TRIAL_NOTE])
{
    bl_result result = BL_OK;
    const bl_timing_rule once = { 0, 1 };
    for (int k = 0; k < BL_KERNEL_COUNT && u->count < CANDIDATES; k++) {
        candidate *a = &u->list[u->count];
        bl_verdict verdict;
        bl_timing t;
        const char *how, *first = row->standard;
        if (!takes(u->trial.kernels, (bl_kernel)k, q))
            continue;
        *a = (candidate){ .kernel = (bl_kernel)k };
        row->standard = row->chosen = *first ? first : bl_impls[k].name;
        BL_TRY(bl_trial_admit(&u->trial, a->kernel, &a->d, &verdict, &how, note));
        if (verdict != BL_PASS && !*first) {
            row->note = note;
            return BL_OK;
        }
        if (verdict != BL_PASS)
            continue;
        BL_TRY(bl_trial_record(&u->trial, &a->d, 1, &a->c));
        u->count++;
        BL_TRY(bl_timing_run(u->trial.stream, &a->c, 1, NULL, &once, &t));
        a->repetitions = bl_trial_repetitions(t.median);
        if (a->repetitions > 1) {
            bl_commands_destroy(&a->c);
            BL_TRY(bl_trial_record(&u->trial, &a->d, a->repetitions, &a->c));
        }
    }
fail:
    return result;
}

/* All of them one after another, so that what slows the machine down slows all. One that is not faster than the first is out: with
 * noise alone, one in 32 would be faster in five rounds. */
static bl_result run_rounds(tuner *u)
{
    bl_result result = BL_OK;
    for (uint32_t round = 0; round < ROUNDS && u->count > 1; round++)
        for (uint32_t i = 0; i < u->count;) {
            candidate *a = &u->list[i];
            bl_timing t;
            BL_TRY(bl_timing_run(u->trial.stream, &a->c, a->repetitions, NULL, &u->rule, &t));
            a->ns[round] = t.median;
            if (i && t.median > (1 - LEAST_GAIN) * u->list[0].ns[round])
                drop(u, i);
            else
                i++;
        }
fail:
    return result;
}

static double median_of(const double ns[ROUNDS])
{
    double sorted[ROUNDS], work[ROUNDS];
    bl_timing t;
    memcpy(sorted, ns, sizeof(sorted));
    bl_timing_of(sorted, work, ROUNDS, &t);
    return t.median;
}

static const candidate *fastest(const tuner *u)
{
    const candidate *best = &u->list[0];
    for (uint32_t i = 1; i < u->count; i++)
        if (median_of(u->list[i].ns) < median_of(best->ns))
            best = &u->list[i];
    return best;
}

static bl_result tune(tuner *u, const struct bl_tune_problem *q, json_t *tuning)
{
    bl_result result = BL_OK;
    char shape[BL_SHAPE_TEXT], note[BL_TRIAL_NOTE];
    bl_op_class_text(q->op, &q->p, shape);
    const bl_op_case c = case_of(q, shape);
    bl_tune_row row = { .op = bl_op_infos[q->op].name, .type = bl_dtype_name(q->type), .shape = shape, .standard = "", .chosen = "",
        .note = "" };
    BL_TRY(bl_trial_begin(&u->trial, q->op, q->type, &c));
    BL_TRY(gather(u, q, &row, note));
    row.tried = u->count;
    BL_TRY(run_rounds(u));
    bl_kernel choice = BL_KERNEL_COUNT;
    if (u->count > 1) {
        const candidate *best = fastest(u);
        choice = best->kernel;
        row.chosen = bl_impls[choice].name;
        row.before = median_of(u->list[0].ns);
        row.after = median_of(best->ns);
    }
    BL_TRY(bl_tuning_set(tuning, q->op, q->type, &q->p, choice));
    if (u->o->row)
        u->o->row(u->o->user, &row);
fail:
    while (u->count)
        drop(u, u->count - 1);
    bl_trial_end(&u->trial);
    return result;
}

/* --- all of them ------------------------------------------------------------------------------------------------------------ */

/* By the name of the op, or of an implementation. */
static bool wanted(const bl_kernels *ks, const char *pattern, const struct bl_tune_problem *q)
{
    bool any = !pattern || !fnmatch(pattern, bl_op_infos[q->op].name, 0);
    for (int k = 0; k < BL_KERNEL_COUNT && !any; k++)
        any = takes(ks, (bl_kernel)k, q) && !fnmatch(pattern, bl_impls[k].name, 0);
    return any;
}

bl_result bl_tune_run(const bl_bench_target *target, bl_kernels *ks, const bl_tune_set *set, const bl_tune_options *o, json_t *tuning)
{
    bl_result result = BL_OK;
    uint32_t total = 0, done = 0;
    const double seconds = o->time_limit > 0 ? (double)o->time_limit : 0.25;
    tuner *u = bl_alloc(1, sizeof(*u));
    if (!u)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for tuning");
    *u = (tuner){ .o = o, .rule = { 1e9 * seconds / ROUNDS, 0.01 },
        .trial = { .kernels = ks, .stream = target->stream, .reference_work = REFERENCE_WORK, .random = 1 } };
    for (uint32_t i = 0; i < set->count; i++)
        total += wanted(ks, o->pattern, &set->list[i]);
    if (!total)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "no op or kernel with a choice matches \"%s\"", o->pattern ? o->pattern : "*"));
    for (uint32_t i = 0; i < set->count; i++) {
        if (!wanted(ks, o->pattern, &set->list[i]))
            continue;
        if (target->progress)
            target->progress(target->user, "tuning", done++, total);
        BL_TRY(tune(u, &set->list[i], tuning));
    }
fail:
    bl_free(u);
    return result;
}
