#include "bench.h"
#include "op_shape.h"
#include "peak.h"
#include "rounds.h"
#include "trial.h"
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 160 };
static const double REFERENCE_WORK = 5e8; /* floating-point operations of the reference, for each problem */
static const double PROBE_EVERY = 2.5e8;  /* ns between two looks at the drift */

typedef struct bench {
    const bl_bench_target *target;
    const bl_bench_options *o;
    bl_trial trial;
    bl_peaks peaks;
    bl_program evict_program;
    bl_commands evict;
    bl_probe probe;
    double probed, probe_ns;
    bl_timing_rule rule;     /* of one round */
    uint32_t round, done, total, wrong;
    bl_rounds rows;
    bl_result kept;          /* BL_ERROR_MEMORY: there was no room for a row */
} bench;

static bl_timing_rule rule_of(const bl_bench_options *o)
{
    const double limit = 1e9 * (double)(o->time_limit > 0 ? o->time_limit : 1);
    return (bl_timing_rule){ limit / BL_ROUNDS, (double)(o->noise > 0 ? o->noise : 0.005f) };
}

static bl_bench_row empty_row(const char *kind, const char *name)
{
    return (bl_bench_row){ .kind = kind, .name = name, .op = "", .kernel = "", .type = "", .shape = "", .note = "", .checked = "",
        .unit = "", .bound = "", .statistics = "", .registers = -1, .spills = -1, .instructions = -1, .subgroup = -1, .occupancy = -1 };
}

static void put_times(bl_bench_row *row, const bl_timing *t)
{
    row->runs = t->runs;
    row->wall = t->wall;
    row->median = t->median;
    row->p10 = t->p10;
    row->p90 = t->p90;
    row->noise = t->noise;
}

static void tell(const bench *b, const char *name)
{
    if (b->target->progress)
        b->target->progress(b->target->user, name, BL_MIN(b->done, b->total), b->total);
}

static bool matches(const char *pattern, const char *text) { return !pattern || !fnmatch(pattern, text, 0); }

/* Keeps a row until all rounds are through. */
static void put_row(bench *b, const bl_bench_row *row)
{
    const bl_result result = bl_rounds_add(&b->rows, row);
    b->kept = b->kept == BL_OK ? result : b->kept;
}

static bool uses_matrices(const char *kernel)
{
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        if (!strcmp(bl_impls[k].name, kernel))
            return bl_impls[k].caps & BL_CAP_CM;
    return false;
}

/* Roofline (Williams, Waterman, Patterson 2009). */
static void place_under_roof(const bl_peaks *peaks, bl_bench_row *row)
{
    const double compute = uses_matrices(row->kernel) ? peaks->flops_matrix : peaks->flops_f32;
    const double of_compute = compute > 0 ? row->work / row->median * 1e9 / compute : 0;
    const double of_memory = peaks->bytes > 0 ? row->bytes / row->median * 1e9 / peaks->bytes : 0;
    row->launch = peaks->launch;
    row->share = BL_MAX(of_compute, of_memory);
    row->bound = peaks->launch > row->median / 2 ? "launch" : of_compute >= of_memory ? "compute" : of_memory > 1 ? "cache" : "memory";
}

/* Hands out what all rounds have found, also when they did not come to an end. */
static void tell_rows(const bench *b)
{
    for (size_t i = 0; i < b->rows.count; i++) {
        bl_bench_row row;
        bl_rounds_result(&b->rows.rows[i], &row);
        if (row.runs && strcmp(row.kind, "peak")) {
            place_under_roof(&b->peaks, &row);
            row.drift = row.probe / b->probe.first - 1;
        } else if (row.runs) {
            row.rate = (row.work + row.bytes) / row.median * 1e9; /* one of them is 0 */
        }
        b->o->row(b->o->user, &row);
    }
}

/* --- peaks ----------------------------------------------------------------------------------------------------------------- */

static void on_peak(void *user, const bl_peak_row *p)
{
    static const char *const units[] = { "FLOP", "OP", "B", "s" };
    bench *b = user;
    bl_bench_row row = empty_row("peak", p->name);
    row.unit = units[p->unit];
    row.note = p->unit == BL_UNIT_OP ? "integer operations" : "";
    if (p->missing) {
        row.verdict = BL_SKIP;
        row.note = p->missing;
    } else {
        put_times(&row, &p->t);
        row.work = p->unit == BL_UNIT_FLOP || p->unit == BL_UNIT_OP ? p->work : 0;
        row.bytes = p->unit == BL_UNIT_BYTE ? p->work : 0;
    }
    put_row(b, &row);
}

bl_result bl_bench_peaks(const bl_bench_target *target, const bl_bench_options *o)
{
    bl_result result = BL_OK;
    bench b = { .target = target, .o = o, .rule = rule_of(o), .total = BL_PEAK_COUNT * BL_ROUNDS };
    uint32_t matched = 0;
    for (int k = 0; k < BL_PEAK_COUNT; k++)
        matched += matches(o->pattern, bl_peak_name((bl_peak)k));
    if (!matched)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "no peak matches \"%s\"", o->pattern));
    if (!o->list)
        BL_TRY(bl_peaks_create(target->device, target->stream, &b.peaks));
    for (b.round = 0; b.round < (o->list ? 1 : BL_ROUNDS); b.round++)
        for (int k = 0; k < BL_PEAK_COUNT; k++, b.done++) {
            if (!matches(o->pattern, bl_peak_name((bl_peak)k)))
                continue;
            tell(&b, bl_peak_name((bl_peak)k));
            if (o->list) {
                const bl_bench_row row = empty_row("peak", bl_peak_name((bl_peak)k));
                put_row(&b, &row);
            } else {
                BL_TRY(bl_peak_measure(&b.peaks, (bl_peak)k, &b.rule, on_peak, &b));
            }
        }
    result = b.kept;
fail:
    tell_rows(&b);
    bl_rounds_free(&b.rows);
    bl_peaks_destroy(&b.peaks);
    return result;
}

/* --- which rows there are ---------------------------------------------------------------------------------------------------- */

/* "matmul_fwd_direct_f32_query_64x64" */
static void name_row(bl_kernel k, bl_dtype t, const bl_op_case *c, char name[NAME])
{
    static const char prefix[] = "bench_";
    const char *of = strncmp(c->name, prefix, strlen(prefix)) ? c->name : c->name + strlen(prefix);
    snprintf(name, NAME, "%s_%s_%s", bl_impls[k].name, bl_dtype_name(t), of);
}

static bool wanted(const bl_bench_options *o, bl_kernel k, bl_dtype t, const bl_op_case *c)
{
    char name[NAME], label[96];
    bl_kernel_label(k, t, label);
    if (matches(o->pattern, label) || matches(o->pattern, bl_impls[k].name) || matches(o->pattern, bl_op_infos[bl_impls[k].op].name))
        return true;
    if (!c)
        return false;
    name_row(k, t, c, name);
    return matches(o->pattern, name);
}

/* A case of its own for a kernel that takes none of the usual ones: the most work among those that it takes. NULL: there is one. */
static const bl_op_case *case_of_its_own(bl_kernel k)
{
    const bl_op op = bl_impls[k].op;
    const bl_op_case *largest = NULL;
    for (uint32_t i = 0; i < *bl_op_infos[op].case_count; i++) {
        const bl_op_case *c = &bl_op_infos[op].cases[i];
        if (!bl_trial_takes(k, c))
            continue;
        if (bl_case_is_bench(c))
            return NULL;
        if (!largest || bl_op_work(op, BL_F32, &c->p) > bl_op_work(op, BL_F32, &largest->p))
            largest = c;
    }
    return largest;
}

/* Why a kernel does not run; "" if it does. */
static void why_not(const bench *b, bl_kernel k, bl_dtype t, char text[NAME])
{
    const bl_device *d = b->target->device;
    const bl_impl *impl = &bl_impls[k];
    const uint32_t lacks = ((impl->caps & ~(uint32_t)BL_IMPL_BIG) | (t == BL_F16 ? BL_CAP_S16 : 0)) & ~d->caps;
    char names[64];
    *text = 0;
    if (bl_kernel_able(b->trial.kernels, k, t))
        return;
    bl_caps_text(lacks, names);
    const uint32_t lanes = BL_MAX(impl->workgroup, impl->caps & BL_IMPL_BIG ? (uint32_t)BL_BIG : 0);
    if (lacks)
        snprintf(text, NAME, "needs the capabilities %s", names);
    else if (lanes > d->limits.invocations)
        snprintf(text, NAME, "needs workgroups of %u lanes", lanes);
    else
        snprintf(text, NAME, "left out when this was built: the shader compiler was too old");
}

static void skip_row(bench *b, bl_kernel k, bl_dtype t, const char *name, const char *shape, const char *why)
{
    bl_bench_row row = empty_row("shader", name);
    row.op = bl_op_infos[bl_impls[k].op].name;
    row.kernel = bl_impls[k].name;
    row.type = bl_dtype_name(t);
    row.shape = shape;
    row.note = why;
    row.verdict = *why ? BL_SKIP : BL_PASS;
    put_row(b, &row);
}

/* --- one row --------------------------------------------------------------------------------------------------------------- */

/* Cold once, in the first round. */
static bl_result time_hot_and_cold(bench *b, const bl_dispatch *d, bl_bench_row *row)
{
    bl_result result = BL_OK;
    bl_commands c = { 0 };
    bl_timing t;
    const bl_timing_rule once = { 0, 1 }, cold = { b->rule.limit * BL_ROUNDS / 4, b->rule.noise };
    BL_TRY(bl_trial_record(&b->trial, d, 1, &c));
    BL_TRY(bl_timing_run(b->target->stream, &c, 1, NULL, &once, &t));
    if (t.median <= b->rule.limit) { /* else once is all there is time for in a round */
        const uint32_t repetitions = bl_trial_repetitions(t.median);
        if (!b->round) {
            BL_TRY(bl_timing_run(b->target->stream, &c, 1, &b->evict, &cold, &t));
            row->cold = t.median;
        }
        if (repetitions > 1) {
            bl_commands_destroy(&c);
            BL_TRY(bl_trial_record(&b->trial, d, repetitions, &c));
        }
        BL_TRY(bl_timing_run(b->target->stream, &c, repetitions, NULL, &b->rule, &t));
    }
    put_times(row, &t);
fail:
    bl_commands_destroy(&c);
    return result;
}

static void put_statistics(const bench *b, const bl_dispatch *d, bl_bench_row *row, bl_pipeline_stats *stats)
{
    bl_kernel_stats(b->trial.kernels, d, stats);
    row->registers = stats->registers;
    row->spills = stats->spills;
    row->instructions = stats->instructions;
    row->subgroup = stats->subgroup;
    row->occupancy = stats->occupancy;
    row->statistics = stats->text;
    row->compile = bl_kernel_compile_time(b->trial.kernels, d);
}

static double bytes_of(const bl_problem *q)
{
    double bytes = 0;
    for (uint32_t i = 0; i < q->n; i++) {
        const int ways = !!(q->o[i].access & BL_READ) + !!(q->o[i].access & BL_WRITE);
        bytes += (double)q->e[i].rows * q->e[i].cols * (q->a[i].half ? 2 : 4) * ways;
    }
    return bytes;
}

static bl_result probe_now(bench *b, double *ns)
{
    bl_result result = BL_OK;
    if (bl_clock() - b->probed > PROBE_EVERY) {
        BL_TRY(bl_probe_time(&b->peaks, &b->probe, &b->probe_ns));
        b->probed = bl_clock();
    }
    *ns = b->probe_ns;
fail:
    return result;
}

/* Measures implementation k on the problem at hand. What goes wrong with this row alone is in the row. */
static bl_result measure(bench *b, bl_kernel k, bl_bench_row *row, char note[BL_TRIAL_NOTE])
{
    bl_result result = BL_OK;
    bl_dispatch d;
    BL_TRY(bl_trial_admit(&b->trial, k, &d, &row->verdict, &row->checked, note));
    row->note = note;
    b->wrong += row->verdict == BL_FAIL;
    if (row->verdict != BL_PASS)
        return BL_OK;
    BL_TRY(time_hot_and_cold(b, &d, row));
    row->work = bl_op_infos[b->trial.problem.op].flops(&b->trial.problem.p);
    row->bytes = bytes_of(&b->trial.problem);
    BL_TRY(probe_now(b, &row->probe));
fail:
    return result;
}

/* --- all rows -------------------------------------------------------------------------------------------------------------- */

static bl_result bench_row(bench *b, bl_kernel k, bl_dtype t, const bl_op_case *c)
{
    bl_result result = BL_OK;
    char name[NAME], shape[BL_SHAPE_TEXT], note[BL_TRIAL_NOTE];
    bl_pipeline_stats stats;
    bl_dispatch d;
    name_row(k, t, c, name);
    bl_op_shape_text(bl_impls[k].op, &c->p, shape);
    if (b->o->list) {
        skip_row(b, k, t, name, shape, "");
        return BL_OK;
    }
    const bl_rounds_row *before = bl_rounds_find(&b->rows, "shader", name, shape);
    if (b->round && (!before || before->count < b->round || before->spent >= b->rule.limit * BL_ROUNDS))
        return BL_OK; /* it cannot be timed, or has had its time */
    tell(b, name);
    if (!b->trial.problem.kernels) /* the first row that needs it */
        BL_TRY(bl_trial_begin(&b->trial, bl_impls[k].op, t, c));
    bl_bench_row row = empty_row("shader", name);
    row.op = bl_op_infos[bl_impls[k].op].name;
    row.kernel = bl_impls[k].name;
    row.type = bl_dtype_name(t);
    row.shape = shape;
    BL_TRY(measure(b, k, &row, note));
    if (row.verdict == BL_PASS && bl_problem_dispatch(&b->trial.problem, k, &d) == BL_OK)
        put_statistics(b, &d, &row, &stats);
    put_row(b, &row);
fail:
    return result;
}

static bl_result bench_case(bench *b, bl_op op, const bl_op_case *c, bool given)
{
    bl_result result = BL_OK;
    for (int t = 0; t < BL_DTYPE_COUNT; t++) {
        for (int k = 0; k < BL_KERNEL_COUNT; k++) {
            const bl_kernel kernel = (bl_kernel)k;
            if (bl_impls[k].op != op || !bl_kernel_able(b->trial.kernels, kernel, (bl_dtype)t) || !wanted(b->o, kernel, (bl_dtype)t, c))
                continue;
            if (!given && !bl_case_is_bench(c) && case_of_its_own(kernel) != c)
                continue;
            b->done++;
            if (bl_trial_takes(kernel, c))
                BL_TRY(bench_row(b, kernel, (bl_dtype)t, c));
        }
        bl_trial_end(&b->trial);
    }
fail:
    bl_trial_end(&b->trial);
    return result;
}

/* Kernels that do not run here, or not at the shape that was asked for. */
static void report_missing(bench *b, const bl_op_case *given, bl_op op)
{
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        for (int t = 0; t < BL_DTYPE_COUNT; t++) {
            char why[NAME], label[96];
            const bl_kernel kernel = (bl_kernel)k;
            if (bl_impls[k].op != op || !(bl_impls[k].types >> t & 1) || !wanted(b->o, kernel, (bl_dtype)t, given))
                continue;
            bl_kernel_label(kernel, (bl_dtype)t, label);
            why_not(b, kernel, (bl_dtype)t, why);
            if (!*why && given && !bl_trial_takes(kernel, given))
                snprintf(why, sizeof(why), "does not take this shape");
            if (*why)
                skip_row(b, kernel, (bl_dtype)t, label, "", why);
        }
}

/* The peaks that shares refer to. */
static bl_result measure_roof(bench *b, bool matrices)
{
    static const bl_peak needed[] = { BL_PEAK_fma_f32, BL_PEAK_copy, BL_PEAK_launch, BL_PEAK_matrix_f32 };
    bl_result result = BL_OK;
    for (size_t i = 0; i < BL_COUNT(needed) - !matrices; i++) {
        tell(b, bl_peak_name(needed[i]));
        BL_TRY(bl_peak_measure(&b->peaks, needed[i], &b->rule, on_peak, b));
    }
fail:
    return result;
}

/* What all rounds need: the probe, and what empties caches. */
static bl_result begin(bench *b)
{
    bl_result result = BL_OK;
    BL_TRY(bl_peaks_create(b->target->device, b->target->stream, &b->peaks));
    BL_TRY(bl_peaks_evict(&b->peaks, &b->evict_program, &b->evict));
    BL_TRY(bl_probe_create(&b->peaks, &b->probe));
fail:
    return result;
}

/* The case that --shape describes for an op; its name is the shape. */
static bl_result given_case(const bl_bench_options *o, bl_op op, bl_op_case *out)
{
    *out = *bl_op_usual_case(op);
    out->name = o->shape;
    return bl_op_shape_parse(op, o->shape, &out->p);
}

/* Which ops are meant, and how many rows they may have. */
static bl_result choose_ops(bench *b, bool chosen[BL_OP_COUNT], bool *matrices)
{
    bool any = false, named = false;
    bl_op last = BL_OP_matmul_fwd;
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        for (int t = 0; t < BL_DTYPE_COUNT; t++) {
            const bl_op op = bl_impls[k].op;
            if (!(bl_impls[k].types >> t & 1))
                continue;
            const bl_op_case shaped = { .name = b->o->shape }, *list = b->o->shape ? &shaped : bl_op_infos[op].cases;
            for (uint32_t i = 0; i < (b->o->shape ? 1 : *bl_op_infos[op].case_count); i++) {
                if (!wanted(b->o, (bl_kernel)k, (bl_dtype)t, &list[i]) || (!b->o->shape && !bl_case_is_bench(&list[i]) &&
                    case_of_its_own((bl_kernel)k) != &list[i]))
                    continue;
                any = true;
                last = op;
                if (b->o->shape && !bl_op_shape_names(op, b->o->shape))
                    continue;
                named = chosen[op] = true;
                b->total += bl_kernel_able(b->trial.kernels, (bl_kernel)k, (bl_dtype)t);
                *matrices |= (bl_impls[k].caps & BL_CAP_CM) && bl_kernel_able(b->trial.kernels, (bl_kernel)k, (bl_dtype)t);
            }
        }
    if (!any)
        return bl_fail(BL_ERROR_USAGE, "no kernel and no row matches \"%s\"", b->o->pattern);
    bl_op_case ignored;
    return named ? BL_OK : given_case(b->o, last, &ignored); /* whose reason says which parameters there are */
}

static bl_result run_round(bench *b, const bool chosen[BL_OP_COUNT])
{
    bl_result result = BL_OK;
    for (int op = 0; op < BL_OP_COUNT; op++) {
        bl_op_case given;
        if (!chosen[op])
            continue;
        if (b->o->shape) {
            BL_TRY(given_case(b->o, (bl_op)op, &given));
            BL_TRY(bench_case(b, (bl_op)op, &given, true));
        }
        for (uint32_t i = 0; !b->o->shape && i < *bl_op_infos[op].case_count; i++)
            BL_TRY(bench_case(b, (bl_op)op, &bl_op_infos[op].cases[i], false));
        if (!b->round)
            report_missing(b, b->o->shape ? &given : NULL, (bl_op)op);
    }
    b->trial.reference_work = 0; /* what was right in the first round is not compared again */
fail:
    return result;
}

bl_result bl_bench_shaders(const bl_bench_target *target, const bl_bench_options *o)
{
    bl_result result = BL_OK;
    bench b = { .target = target, .o = o, .rule = rule_of(o),
        .trial = { .stream = target->stream, .reference_work = REFERENCE_WORK, .random = 1 } };
    bool chosen[BL_OP_COUNT] = { 0 }, matrices = false;
    BL_TRY(bl_kernels_create(target->device, NULL, &b.trial.kernels)); /* of its own, without a cache: compiling is measured */
    bl_kernels_keep_stats(b.trial.kernels);
    BL_TRY(choose_ops(&b, chosen, &matrices));
    b.total *= BL_ROUNDS;
    for (int op = 0; op < BL_OP_COUNT && o->shape; op++) {
        bl_op_case given;
        if (chosen[op]) /* before anything is measured */
            BL_TRY(given_case(o, (bl_op)op, &given));
    }
    if (!o->list)
        BL_TRY(begin(&b));
    for (; b.round < (o->list ? 1 : BL_ROUNDS); b.round++) {
        if (!o->list)
            BL_TRY(measure_roof(&b, matrices));
        BL_TRY(run_round(&b, chosen));
    }
    BL_TRY(b.kept);
    if (b.wrong)
        result = bl_fail(BL_ERROR_MISMATCH, "%u results were wrong", b.wrong);
fail:
    tell_rows(&b);
    bl_trial_end(&b.trial);
    bl_rounds_free(&b.rows);
    bl_probe_destroy(&b.probe);
    bl_commands_destroy(&b.evict);
    bl_program_destroy(&b.evict_program);
    bl_peaks_destroy(&b.peaks);
    bl_kernels_destroy(&b.trial.kernels);
    return result;
}
