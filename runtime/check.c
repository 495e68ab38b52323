#include "check.h"
#include "half.h"
#include <math.h>
#include <string.h>

/* --- numbers ------------------------------------------------------------------------------------------------------------- */

/* Normal numbers from a 64-bit LCG (Knuth's constants) and Box-Muller. */
static double uniform(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (double)((*random >> 11) + 1) / 9007199254740993.0;
}

static double normal(uint64_t *random)
{
    const double radius = sqrt(-2 * log(uniform(random)));
    return radius * cos(6.283185307179586 * uniform(random));
}

static void store(bl_problem_array *a, size_t i, double v)
{
    if (a->half) {
        const uint16_t h = bl_half_from_float((float)v);
        memcpy(a->bytes + 2 * i, &h, 2);
    } else {
        const float f = (float)v;
        memcpy(a->bytes + 4 * i, &f, 4);
    }
}

static double load(const bl_problem_array *a, const uint8_t *bytes, size_t i)
{
    if (a->half) {
        uint16_t h;
        memcpy(&h, bytes + 2 * i, 2);
        return bl_half_to_float(h);
    }
    float f;
    memcpy(&f, bytes + 4 * i, 4);
    return f;
}

/* --- problems ------------------------------------------------------------------------------------------------------------ */

static void fill_steps(bl_problem *q, uint64_t *random)
{
    float *v = (float *)&q->table.row[0];
    for (size_t i = 0; i < 2 * sizeof(struct bl_step) / sizeof(float); i++)
        v[i] = (float)normal(random);
    for (int i = 0; i < 2; i++) {
        q->table.row[i].t = i ? 17 : 981;
        q->table.row[i].save = (float)(i == 0);
        q->table.row[i].push = 1;
        q->table.row[i].guidance = 7.5f;
    }
    q->table.step = uniform(random) < 0.5;
}

void bl_case_lay_out(bl_op op, bl_params *p, bool padded)
{
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t n = bl_op_operands(op, o);
    bl_op_infos[op].extents(p, e);
    for (uint32_t i = 0; i < n; i++)
        if (e[i].rows)
            p->v[i] = (struct view){ padded ? 8 : 0, padded ? (e[i].cols + 3) / 4 * 4 + 4 : e[i].cols };
}

static bl_result create_array(bl_problem *q, uint32_t i, uint64_t *random)
{
    bl_problem_array *a = &q->a[i];
    const bl_extent e = q->e[i];
    const bl_op_case *c = q->c;
    a->bytes = bl_alloc(a->size, 1);
    if (!a->bytes)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for operand %c", q->o[i].name);
    memset(a->bytes, 0xff, a->size); /* NaN: outputs, and the gaps of inputs */
    if (q->o[i].access & BL_READ)
        for (uint32_t r = 0; r < e.rows; r++)
            for (uint32_t col = 0; col < e.cols; col++)
                store(a, bl_at(&q->p.v[i], r, col), (c->turns && !i && col >= e.cols / 2 ? -c->mean : c->mean) +
                      (c->spread ? c->spread : 1) * normal(random));
    const bl_result result = bl_arena_slice(q->arena, a->size, &a->slice);
    q->operands[i] = a->slice;
    return result;
}

bl_result bl_problem_create(bl_kernels *ks, bl_stream *s, bl_op op, bl_dtype type, const bl_op_case *c, bool padded, uint64_t *random,
                            bl_problem *q)
{
    bl_result result = BL_OK;
    *q = (bl_problem){ .kernels = ks, .stream = s, .op = op, .type = type, .c = c, .p = c->p, .slack = 1 };
    q->n = bl_op_operands(op, q->o);
    bl_op_infos[op].extents(&q->p, q->e);
    bl_case_lay_out(op, &q->p, padded);
    uint64_t bytes = bl_slice_bytes(sizeof(q->table));
    for (uint32_t i = 0; i < q->n; i++) {
        bl_problem_array *a = &q->a[i];
        if (!q->e[i].rows)
            continue;
        a->half = q->o[i].storage && type == BL_F16;
        a->elements = bl_at(&q->p.v[i], q->e[i].rows - 1, q->e[i].cols - 1) + 1;
        a->size = a->elements * (a->half ? 2 : 4);
        bytes += bl_slice_bytes(a->size);
    }
    BL_TRY(bl_arena_create(bl_stream_device(s), bytes, "check", &q->arena));
    for (uint32_t i = 0; i < q->n; i++)
        if (q->e[i].rows)
            BL_TRY(create_array(q, i, random));
    fill_steps(q, random);
    BL_TRY(bl_arena_slice(q->arena, sizeof(q->table), &q->steps));
    return BL_OK;
fail:
    bl_problem_destroy(q);
    return result;
}

void bl_problem_destroy(bl_problem *q)
{
    for (uint32_t i = 0; i < q->n; i++) {
        bl_free(q->a[i].ref);
        bl_free(q->a[i].bytes);
        bl_free(q->agreed[i]);
    }
    bl_arena_destroy(&q->arena);
    *q = (bl_problem){ 0 };
}

/* --- the reference ------------------------------------------------------------------------------------------------------- */

/* The whole, or as many parts of one unit each as are no more than `flops` of work together. */
static void choose_parts(bl_problem *q, double flops)
{
    const bl_op_info *info = &bl_op_infos[q->op];
    const uint32_t units = info->units(&q->p);
    const uint32_t starts[BL_CHECK_PARTS] = { 0, units ? units - 1 : 0, units / 2 };
    if (info->flops(&q->p) <= flops) {
        q->parts[q->part_count++] = q->p;
        return;
    }
    for (uint32_t i = 0; i < BL_CHECK_PARTS && units; i++) {
        bl_params part = q->p;
        info->cut(&part, starts[i], 1);
        const bool taken = (i > 0 && starts[i] == 0) || (i > 1 && starts[i] == starts[1]);
        flops -= taken ? 0 : info->flops(&part);
        if (!taken && flops >= 0)
            q->parts[q->part_count++] = part;
    }
}

bl_result bl_problem_reference(bl_problem *q, double flops)
{
    double *v[BL_MAX_OPERANDS];
    q->part_count = 0;
    choose_parts(q, flops);
    if (!q->part_count)
        return bl_fail(BL_ERROR_USAGE, "%s: the reference takes too long at this size", bl_op_infos[q->op].name);
    for (uint32_t i = 0; i < q->n; i++) {
        bl_problem_array *a = &q->a[i];
        if (a->size && !a->ref) {
            a->ref = bl_alloc(a->elements, sizeof(double));
            if (!a->ref) {
                q->part_count = 0;
                return bl_fail(BL_ERROR_MEMORY, "no host memory for the reference of operand %c", q->o[i].name);
            }
        }
        /* outputs start as what is there: operands that are changed in place are inputs too */
        for (uint32_t r = 0; a->size && (q->o[i].access & BL_READ) && r < q->e[i].rows; r++)
            for (uint32_t c = 0; c < q->e[i].cols; c++) {
                const size_t at = bl_at(&q->p.v[i], r, c);
                a->ref[at] = load(a, a->bytes, at);
            }
        v[i] = a->ref;
    }
    for (uint32_t part = 0; part < q->part_count; part++)
        bl_op_infos[q->op].ref(&q->parts[part], v, &q->table.row[q->table.step]);
    return BL_OK;
}

/* --- running ------------------------------------------------------------------------------------------------------------- */

bl_result bl_problem_upload(const bl_problem *q)
{
    bl_result result = BL_OK;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->a[i].size)
            BL_TRY(bl_stream_write(q->stream, &q->a[i].slice, 0, q->a[i].bytes, q->a[i].size));
    BL_TRY(bl_stream_write(q->stream, &q->steps, 0, &q->table, sizeof(q->table)));
fail:
    return result;
}

static bl_result dispatch_of(const bl_problem *q, bl_kernel k, const bl_params *p, bl_dispatch *d)
{
    *d = (bl_dispatch){ .kernel = k, .type = q->type, .p = *p, .steps = q->steps };
    memcpy(d->operands, q->operands, sizeof(d->operands));
    return bl_dispatch_whole(d);
}

bl_result bl_problem_dispatch(const bl_problem *q, bl_kernel k, bl_dispatch *d) { return dispatch_of(q, k, &q->p, d); }

static bl_result record_whole(const bl_problem *q, bl_kernel k, bl_commands *c)
{
    bl_dispatch d;
    const bl_result result = bl_problem_dispatch(q, k, &d);
    return result == BL_OK ? bl_kernel_record(q->kernels, c, &d) : result;
}

/* The same in three parts of the problem, where the op has parts, each in two of the grid. */
static bl_result record_parts(const bl_problem *q, bl_kernel k, bl_commands *c)
{
    bl_result result = BL_OK;
    const uint32_t units = bl_op_infos[q->op].units(&q->p), third = units / 3 + 1;
    for (uint32_t first = 0; first < (units ? units : 1);) {
        bl_params p = q->p;
        bl_dispatch d;
        first += units ? bl_op_infos[q->op].cut(&p, first, units - first < third ? units - first : third) : 1;
        BL_TRY(dispatch_of(q, k, &p, &d));
        const int axis = d.groups[0] > 1 ? 0 : d.groups[1] > 1 ? 1 : 2;
        const uint32_t whole = d.groups[axis];
        d.groups[axis] = (whole + 1) / 2;
        BL_TRY(bl_kernel_record(q->kernels, c, &d));
        d.base[axis] = d.groups[axis];
        d.groups[axis] = whole - d.groups[axis];
        if (d.groups[axis])
            BL_TRY(bl_kernel_record(q->kernels, c, &d));
    }
fail:
    return result;
}

/* Lays outputs over the operands whose memory they may take, or apart again; false if there are none. */
static bool lay_over(bl_problem *q, bool over)
{
    bool any = false;
    for (uint32_t y = 0; y < q->n; y++) {
        q->operands[y] = q->a[y].slice;
        for (uint32_t x = 0; over && x < q->n; x++)
            if (q->o[x].name == q->o[y].over && q->e[x].rows == q->e[y].rows && q->e[x].cols == q->e[y].cols) {
                q->operands[y] = q->a[x].slice;
                any = true;
            }
    }
    return any;
}

typedef struct outputs {
    uint8_t *of[BL_MAX_OPERANDS]; /* NULL: not written, or not run */
} outputs;

static void outputs_free(outputs *out)
{
    for (uint32_t i = 0; i < BL_MAX_OPERANDS; i++)
        bl_free(out->of[i]);
}

/* Runs implementation k on fresh operands, and takes what it wrote. */
static bl_result run(const bl_problem *q, bl_kernel k, bool parts, outputs *out)
{
    enum { ROOM = 64 };
    bl_result result = BL_OK;
    bl_commands c = { 0 };
    BL_TRY(bl_problem_upload(q));
    BL_TRY(bl_commands_begin(q->stream, ROOM, 0, &c));
    BL_TRY(parts ? record_parts(q, k, &c) : record_whole(q, k, &c));
    BL_TRY(bl_commands_end(&c));
    BL_TRY(bl_stream_submit(q->stream, &c, 1, NULL));
    BL_TRY(bl_stream_wait(q->stream));
    for (uint32_t i = 0; i < q->n; i++)
        if (q->a[i].size && (q->o[i].access & BL_WRITE)) {
            out->of[i] = bl_alloc(q->a[i].size, 1);
            if (!out->of[i])
                BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for operand %c", q->o[i].name));
            BL_TRY(bl_stream_read(q->stream, &q->operands[i], 0, out->of[i], q->a[i].size));
        }
fail:
    bl_commands_destroy(&c);
    return result;
}

/* --- comparing ----------------------------------------------------------------------------------------------------------- */

/* Half an ulp of the storage type for the rounding of the result; sums grow with the root of their length; ill-conditioned inputs count.
 * Where the mean turns, a sum reaches mean^2 depth / 2 before it comes back to mean sqrt(depth). */
static double allowed(const bl_problem *q, const bl_problem_array *a, double want, double rms)
{
    const double depth = (double)bl_op_infos[q->op].depth(&q->p), mean = fabs(q->c->mean) / (q->c->spread ? (double)q->c->spread : 1);
    const double cond = 1 + mean * (q->c->turns ? sqrt(depth) / 2 : 1);
    const double sums = 2e-7 * (2 + sqrt(depth)) * cond;
    const double rounding = a->half ? 0x1p-11 : 0;
    return sums * (rms + fabs(want)) + rounding * fabs(want) + (a->half ? 0x1p-25 : 1e-30);
}

/* Compares operand i in one part; *used is raised to the largest share of the tolerance. */
static bl_result compare_part(const bl_problem *q, const bl_params *part, uint32_t i, const uint8_t *got, double *used)
{
    const bl_problem_array *a = &q->a[i];
    bl_extent all[BL_MAX_OPERANDS] = { 0 };
    bl_op_infos[q->op].extents(part, all);
    const bl_extent e = all[i];
    const struct view v = part->v[i];
    double sum = 0, worst = -1, worst_got = 0, worst_want = 0;
    size_t at_r = 0, at_c = 0;
    for (uint32_t r = 0; r < e.rows; r++)
        for (uint32_t c = 0; c < e.cols; c++)
            sum += pow(a->ref[bl_at(&v, r, c)], 2);
    const double rms = sqrt(sum / ((double)e.rows * e.cols));
    for (uint32_t r = 0; r < e.rows; r++)
        for (uint32_t c = 0; c < e.cols; c++) {
            const size_t at = bl_at(&v, r, c);
            const double g = load(a, got, at), share = fabs(g - a->ref[at]) / allowed(q, a, a->ref[at], rms);
            if (!(share <= worst)) { /* also true for NaN */
                worst = share;
                worst_got = g;
                worst_want = a->ref[at];
                at_r = r + (v.off - q->p.v[i].off) / v.stride;
                at_c = c;
            }
        }
    if (!(worst <= *used))
        *used = worst;
    return worst <= q->slack ? BL_OK
        : bl_fail(BL_ERROR_MISMATCH, "%c[%zu,%zu] is %.9g, reference %.9g, %.0f%% of the tolerance", q->o[i].name, at_r, at_c, worst_got,
                  worst_want, 100 * worst);
}

static bl_result compare(const bl_problem *q, uint32_t i, const uint8_t *got, double *used)
{
    bl_result result = BL_OK;
    for (uint32_t part = 0; part < q->part_count; part++)
        BL_TRY(compare_part(q, &q->parts[part], i, got, used));
fail:
    return result;
}

/* Nothing outside the view may have been written. */
static bl_result gaps_untouched(const bl_problem *q, uint32_t i, const uint8_t *got)
{
    const bl_problem_array *a = &q->a[i];
    const size_t size = a->half ? 2 : 4;
    const struct view v = q->p.v[i];
    for (size_t at = 0; at < a->elements; at++) {
        const bool inside = at >= v.off && (at - v.off) % v.stride < q->e[i].cols;
        if (!inside && memcmp(got + at * size, a->bytes + at * size, size))
            return bl_fail(BL_ERROR_MISMATCH, "%c writes outside its view, at element %zu", q->o[i].name, at);
    }
    return BL_OK;
}

/* Other runs, and other implementations before, must have given the same bytes. */
static bl_result agrees(bl_problem *q, bl_kernel k, uint32_t i, outputs *first, const outputs *parts, const outputs *over)
{
    const size_t size = q->a[i].size;
    if (memcmp(first->of[i], parts->of[i], size))
        return bl_fail(BL_ERROR_MISMATCH, "a run in parts differs in %c", q->o[i].name);
    if (over->of[i] && memcmp(first->of[i], over->of[i], size))
        return bl_fail(BL_ERROR_MISMATCH, "%c differs when it lies over %c", q->o[i].name, q->o[i].over);
    if (q->type != BL_F32 || (bl_impls[k].caps & BL_CAP_CM))
        return BL_OK;
    if (q->agreed[i] && memcmp(q->agreed[i], first->of[i], size))
        return bl_fail(BL_ERROR_MISMATCH, "%c differs from another implementation's", q->o[i].name);
    if (!q->agreed[i]) {
        q->agreed[i] = first->of[i];
        first->of[i] = NULL;
    }
    return BL_OK;
}

static bl_result check(bl_problem *q, bl_kernel k, bool once, double used[BL_MAX_OPERANDS])
{
    bl_result result = BL_OK;
    outputs first = { 0 }, parts = { 0 }, over = { 0 };
    double shares[BL_MAX_OPERANDS];
    for (uint32_t i = 0; i < BL_MAX_OPERANDS; i++)
        shares[i] = -1;
    if (!q->part_count)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "%s: there is no reference to compare with", bl_impls[k].name));
    BL_TRY(run(q, k, false, &first));
    if (!once)
        BL_TRY(run(q, k, true, &parts));
    if (!once && lay_over(q, true))
        BL_TRY(run(q, k, false, &over));
    for (uint32_t i = 0; i < q->n; i++) {
        if (!first.of[i])
            continue;
        BL_TRY(compare(q, i, first.of[i], &shares[i]));
        BL_TRY(gaps_untouched(q, i, first.of[i]));
        if (!once)
            BL_TRY(agrees(q, k, i, &first, &parts, &over));
    }
fail:
    lay_over(q, false);
    if (used)
        memcpy(used, shares, sizeof(shares));
    outputs_free(&first);
    outputs_free(&parts);
    outputs_free(&over);
    return result;
}

bl_result bl_problem_check(bl_problem *q, bl_kernel k, double used[BL_MAX_OPERANDS]) { return check(q, k, false, used); }
bl_result bl_problem_check_once(bl_problem *q, bl_kernel k, double used[BL_MAX_OPERANDS]) { return check(q, k, true, used); }
