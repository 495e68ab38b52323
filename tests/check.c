/* The kernel check and bench harness: every case of every op through every implementation and storage type.
 *
 *   check [--bench] [--device D] [--caps C] [--seed N] [-v] [PATTERN]      PATTERN matches row names, e.g. 'matmul_*_f16_*'
 *
 * A row runs twice, the second time in parts (same bytes), with poisoned outputs and guarded gaps between rows, and is compared with
 * the op's double-precision reference; where an output may lie over an operand, a third time so (same bytes); in fp32 all
 * implementations of an op must give the same bytes. Cases named bench_* are timed under --bench only.
 * Exit 0: all rows passed. 1: one failed, or an implementation that runs here has no case. 77: no Vulkan here (1 when CI is set). */
#include "half.h"
#include "kernel.h"
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct array {
    double *ref;         /* laid out as the view says */
    uint8_t *bytes;      /* the same in the operand's type, as uploaded */
    size_t elements, size;
    bool half;
    bl_slice slice;
} array;

static bl_device *device;
static bl_stream *stream;
static bl_kernels *kernels;
static const char *pattern = "*";
static bool bench, verbose;
static unsigned rows, failures;
static bool covered[BL_KERNEL_COUNT + 1];
static uint64_t rng = 1;

static void die(const char *what)
{
    fprintf(stderr, "check: %s: %s\n", what, bl_last_error());
    exit(1);
}

/* Normal numbers from a 64-bit LCG (Knuth's constants) and Box-Muller. */
static double uniform(void)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (double)((rng >> 11) + 1) / 9007199254740993.0;
}
static double normal(void) { return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()); }

static void store(array *a, size_t i, double v)
{
    if (a->half) {
        const uint16_t h = bl_half_from_float((float)v);
        memcpy(a->bytes + 2 * i, &h, 2);
        a->ref[i] = bl_half_to_float(h);
    } else {
        const float f = (float)v;
        memcpy(a->bytes + 4 * i, &f, 4);
        a->ref[i] = f;
    }
}

static double load(const array *a, const uint8_t *bytes, size_t i)
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

/* One case in one layout and storage type: inputs, reference, device memory. */
typedef struct problem {
    bl_op op;
    bl_dtype type;
    const bl_op_case *c;
    bl_params p;
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS];
    array a[BL_MAX_OPERANDS];
    uint32_t n;
    bl_arena *arena;
    bl_slice operands[BL_MAX_OPERANDS], steps;
    struct { uint32_t step, reserved[3]; struct bl_step row[2]; } table;
} problem;

static void fill_steps(problem *q)
{
    memset(&q->table, 0, sizeof(q->table));
    float *v = (float *)&q->table.row[0];
    for (size_t i = 0; i < 2 * sizeof(struct bl_step) / sizeof(float); i++)
        v[i] = (float)normal();
    for (int i = 0; i < 2; i++) {
        q->table.row[i].t = i ? 17 : 981;
        q->table.row[i].save = (float)(i == 0);
        q->table.row[i].push = 1;
        q->table.row[i].guidance = 7.5f;
    }
    q->table.step = uniform() < 0.5;
}

static void problem_create(problem *q, bl_op op, bl_dtype type, const bl_op_case *c, bool padded)
{
    *q = (problem){ .op = op, .type = type, .c = c, .p = c->p };
    q->n = bl_op_operands(op, q->o);
    bl_op_infos[op].extents(&q->p, q->e);
    if (bl_arena_create(device, 0, "check", &q->arena) != BL_OK)
        die("arena");
    for (uint32_t i = 0; i < q->n; i++) {
        array *a = &q->a[i];
        if (!q->e[i].rows)
            continue;
        q->p.v[i] = (struct view){ padded ? 8 : 0, padded ? (q->e[i].cols + 3) / 4 * 4 + 4 : q->e[i].cols };
        a->half = q->o[i].storage && type == BL_F16;
        a->elements = bl_at(&q->p.v[i], q->e[i].rows - 1, q->e[i].cols - 1) + 1;
        a->size = a->elements * (a->half ? 2 : 4);
        a->ref = calloc(a->elements, sizeof(double));
        a->bytes = malloc(a->size);
        if (!a->ref || !a->bytes || bl_arena_slice(q->arena, a->size, &a->slice) != BL_OK)
            die("array");
        memset(a->bytes, 0xff, a->size); /* NaN: outputs, and the gaps of inputs */
        if (q->o[i].access & BL_READ)
            for (uint32_t r = 0; r < q->e[i].rows; r++)
                for (uint32_t col = 0; col < q->e[i].cols; col++)
                    store(a, bl_at(&q->p.v[i], r, col), c->mean + (c->spread ? c->spread : 1) * normal());
        q->operands[i] = a->slice;
    }
    fill_steps(q);
    if (bl_arena_slice(q->arena, sizeof(q->table), &q->steps) != BL_OK)
        die("step table");
}

static void problem_destroy(problem *q)
{
    for (uint32_t i = 0; i < q->n; i++) {
        free(q->a[i].ref);
        free(q->a[i].bytes);
    }
    bl_arena_destroy(&q->arena);
}

static void upload(problem *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        if (q->a[i].size && bl_stream_write(stream, &q->a[i].slice, 0, q->a[i].bytes, q->a[i].size) != BL_OK)
            die("upload");
    if (bl_stream_write(stream, &q->steps, 0, &q->table, sizeof(q->table)) != BL_OK)
        die("upload");
}

static bl_dispatch dispatch_of(const problem *q, bl_kernel k, const bl_params *p)
{
    bl_dispatch d = { .kernel = k, .type = q->type, .p = *p, .steps = q->steps };
    memcpy(d.operands, q->operands, sizeof(d.operands));
    return d;
}

static bool record_whole(problem *q, bl_kernel k, bl_commands *c)
{
    bl_dispatch d = dispatch_of(q, k, &q->p);
    return bl_dispatch_whole(&d) == BL_OK && bl_kernel_record(kernels, c, &d) == BL_OK;
}

/* The same in three parts of the problem, where the op has parts, each in two of the grid. */
static bool record_parts(problem *q, bl_kernel k, bl_commands *c)
{
    const uint32_t units = bl_op_infos[q->op].units(&q->p), third = units / 3 + 1;
    for (uint32_t first = 0; first < (units ? units : 1);) {
        bl_params p = q->p;
        first += units ? bl_op_infos[q->op].cut(&p, first, units - first < third ? units - first : third) : 1;
        bl_dispatch d = dispatch_of(q, k, &p);
        if (bl_dispatch_whole(&d) != BL_OK)
            return false;
        const int axis = d.groups[0] > 1 ? 0 : d.groups[1] > 1 ? 1 : 2;
        const uint32_t whole = d.groups[axis];
        d.groups[axis] = (whole + 1) / 2;
        if (bl_kernel_record(kernels, c, &d) != BL_OK)
            return false;
        d.base[axis] = d.groups[axis];
        d.groups[axis] = whole - d.groups[axis];
        if (d.groups[axis] && bl_kernel_record(kernels, c, &d) != BL_OK)
            return false;
    }
    return true;
}

/* Lays outputs over the operands whose memory they may take, or apart again; false if there are none. */
static bool lay_over(problem *q, bool over)
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

/* Runs implementation k once; fresh copies of the operands it writes go to out[i]. Returns false with the reason in bl_last_error. */
static bool run(problem *q, bl_kernel k, bool parts, uint8_t *out[BL_MAX_OPERANDS])
{
    enum { ROOM = 64 };
    bl_commands c = { 0 };
    upload(q);
    bool ok = bl_commands_begin(stream, ROOM, 0, &c) == BL_OK && (parts ? record_parts(q, k, &c) : record_whole(q, k, &c)) &&
        bl_commands_end(&c) == BL_OK && bl_stream_submit(stream, &c, 1, NULL) == BL_OK && bl_stream_wait(stream) == BL_OK;
    for (uint32_t i = 0; ok && i < q->n; i++)
        if (q->a[i].size && (q->o[i].access & BL_WRITE)) {
            out[i] = malloc(q->a[i].size);
            ok = out[i] && bl_stream_read(stream, &q->operands[i], 0, out[i], q->a[i].size) == BL_OK;
        }
    bl_commands_destroy(&c);
    return ok;
}

/* Half an ulp of the storage type for the rounding of the result; sums grow with the root of their length; ill-conditioned inputs count. */
static double allowed(const problem *q, const array *a, double want, double rms)
{
    const double cond = 1 + (q->c->spread ? fabs(q->c->mean) / q->c->spread : fabs(q->c->mean));
    const double sums = 2e-7 * (2 + sqrt((double)bl_op_infos[q->op].depth(&q->p))) * cond;
    const double rounding = a->half ? 0x1p-11 : 0;
    return sums * (rms + fabs(want)) + rounding * fabs(want) + (a->half ? 0x1p-25 : 1e-30);
}

static bool compare(const char *row, const problem *q, uint32_t i, const uint8_t *got)
{
    const array *a = &q->a[i];
    const bl_extent e = q->e[i];
    double sum = 0, worst = -1, worst_got = 0, worst_want = 0;
    size_t at_r = 0, at_c = 0;
    for (uint32_t r = 0; r < e.rows; r++)
        for (uint32_t c = 0; c < e.cols; c++)
            sum += pow(a->ref[bl_at(&q->p.v[i], r, c)], 2);
    const double rms = sqrt(sum / ((double)e.rows * e.cols));
    for (uint32_t r = 0; r < e.rows; r++)
        for (uint32_t c = 0; c < e.cols; c++) {
            const size_t at = bl_at(&q->p.v[i], r, c);
            const double g = load(a, got, at), used = fabs(g - a->ref[at]) / allowed(q, a, a->ref[at], rms);
            if (!(used <= worst)) { /* also true for NaN */
                worst = used;
                worst_got = g;
                worst_want = a->ref[at];
                at_r = r;
                at_c = c;
            }
        }
    if (verbose && worst <= 1)
        printf("    %-60s %c uses %5.1f%% of the tolerance\n", row, q->o[i].name, 100 * worst);
    if (worst <= 1)
        return true;
    fprintf(stderr, "%s: %c[%zu,%zu] is %.9g, reference %.9g, %.0f%% of the tolerance\n", row, q->o[i].name, at_r, at_c, worst_got,
            worst_want, 100 * worst);
    return false;
}

/* Nothing outside the view may have been written. */
static bool gaps_untouched(const char *row, const problem *q, uint32_t i, const uint8_t *got)
{
    const array *a = &q->a[i];
    const size_t size = a->half ? 2 : 4;
    const struct view v = q->p.v[i];
    for (size_t at = 0; at < a->elements; at++) {
        const bool inside = at >= v.off && (at - v.off) % v.stride < q->e[i].cols;
        if (!inside && memcmp(got + at * size, a->bytes + at * size, size)) {
            fprintf(stderr, "%s: %c writes outside its view, at element %zu\n", row, q->o[i].name, at);
            return false;
        }
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void measure(const char *row, problem *q, bl_kernel k)
{
    enum { MAX_RUNS = 2000, WARMUP = 2, LEAST = 5 };
    static double ns[MAX_RUNS];
    bl_commands c = { 0 };
    upload(q);
    double begun = seconds();
    if (bl_commands_begin(stream, 1, BL_COMMANDS_TIMED, &c) != BL_OK || !record_whole(q, k, &c) || bl_commands_end(&c) != BL_OK)
        die(row);
    int runs = 0;
    double first = 0;
    for (int i = -WARMUP; runs < MAX_RUNS && (runs < LEAST || seconds() - begun < 1); i++) {
        const double start = seconds();
        if (bl_stream_submit(stream, &c, 1, NULL) != BL_OK || bl_stream_wait(stream) != BL_OK)
            die(row);
        const double wall = 1e9 * (seconds() - start), timed = bl_commands_time(&c);
        if (i == -WARMUP) {
            first = wall;
            begun = seconds();
        }
        if (i >= 0)
            ns[runs++] = timed > 0 ? timed : wall;
    }
    bl_commands_destroy(&c);
    qsort(ns, (size_t)runs, sizeof(ns[0]), by_value);
    double bytes = 0;
    for (uint32_t i = 0; i < q->n; i++)
        bytes += (double)q->e[i].rows * q->e[i].cols * (q->a[i].half ? 2 : 4);
    const double median = ns[runs / 2], flops = bl_op_infos[q->op].flops(&q->p);
    printf("%-58s %10.1f us %8.2f GFLOP/s %7.2f GB/s  (p10 %.1f, p90 %.1f, %d runs, first %.2f s)\n", row, median * 1e-3, flops / median,
           bytes / median, ns[runs / 10] * 1e-3, ns[runs * 9 / 10] * 1e-3, runs, first * 1e-9);
    fflush(stdout);
}

static void check_row(problem *q, bl_kernel k, const char *layout, uint8_t *same[BL_MAX_OPERANDS])
{
    char row[192];
    snprintf(row, sizeof(row), "%s_%s_%s%s", bl_impls[k].name, bl_dtype_name(q->type), q->c->name, layout);
    if (fnmatch(pattern, row, 0))
        return;
    if (bench) {
        measure(row, q, k);
        return;
    }
    uint8_t *first[BL_MAX_OPERANDS] = { 0 }, *second[BL_MAX_OPERANDS] = { 0 }, *third[BL_MAX_OPERANDS] = { 0 };
    bool ok = run(q, k, false, first) && run(q, k, true, second) && (!lay_over(q, true) || run(q, k, false, third));
    lay_over(q, false);
    if (!ok)
        fprintf(stderr, "%s: %s\n", row, bl_last_error());
    for (uint32_t i = 0; ok && i < q->n; i++) {
        if (!first[i])
            continue;
        ok = compare(row, q, i, first[i]) && gaps_untouched(row, q, i, first[i]);
        if (ok && memcmp(first[i], second[i], q->a[i].size)) {
            fprintf(stderr, "%s: a run in parts differs in %c\n", row, q->o[i].name);
            ok = false;
        }
        if (ok && third[i] && memcmp(first[i], third[i], q->a[i].size)) {
            fprintf(stderr, "%s: %c differs when it lies over %c\n", row, q->o[i].name, q->o[i].over);
            ok = false;
        }
        if (ok && q->type == BL_F32 && !(bl_impls[k].caps & BL_CAP_CM)) {
            if (same[i] && memcmp(same[i], first[i], q->a[i].size)) {
                fprintf(stderr, "%s: %c differs from another implementation's\n", row, q->o[i].name);
                ok = false;
            }
            if (!same[i]) {
                same[i] = first[i];
                first[i] = NULL;
            }
        }
    }
    for (uint32_t i = 0; i < q->n; i++) {
        free(first[i]);
        free(second[i]);
        free(third[i]);
    }
    rows++;
    failures += !ok;
    covered[k] = true;
    if (!ok || verbose)
        printf("%-64s %s\n", row, ok ? "ok" : "FAILED");
}

static void check_case(bl_op op, bl_dtype type, const bl_op_case *c, bool padded)
{
    problem q;
    uint8_t *same[BL_MAX_OPERANDS] = { 0 };
    bool made = false;
    for (int k = 0; k < BL_KERNEL_COUNT; k++) {
        char row[192];
        snprintf(row, sizeof(row), "%s_%s_%s%s", bl_impls[k].name, bl_dtype_name(type), c->name, padded ? "_padded" : "");
        if (bl_impls[k].op != op || !bl_kernel_able(kernels, (bl_kernel)k, type) || fnmatch(pattern, row, 0))
            continue;
        if (!made) {
            problem_create(&q, op, type, c, padded);
            made = true;
            if (!bench) { /* outputs start as what is there: in-place operands are inputs too */
                double *v[BL_MAX_OPERANDS];
                for (uint32_t i = 0; i < q.n; i++)
                    v[i] = q.a[i].ref;
                bl_op_infos[op].ref(&q.p, v, &q.table.row[q.table.step]);
            }
        }
        if (bl_impls[k].fits(op, &q.p))
            check_row(&q, (bl_kernel)k, padded ? "_padded" : "", same);
    }
    for (uint32_t i = 0; i < BL_MAX_OPERANDS; i++)
        free(same[i]);
    if (made)
        problem_destroy(&q);
}

int main(int argc, char **argv)
{
    const char *which = getenv("BLEMISH_DEVICE"), *caps = getenv("BLEMISH_CAPS");
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            bench = true;
        else if (!strcmp(argv[i], "-v"))
            verbose = true;
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            which = argv[++i];
        else if (!strcmp(argv[i], "--caps") && i + 1 < argc)
            caps = argv[++i];
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            rng = strtoull(argv[++i], NULL, 0);
        else
            pattern = argv[i];
    }
    if (bl_device_open(which, caps, &device) != BL_OK) {
        const bool skip = !getenv("CI") && !which && !caps;
        fprintf(stderr, "check: %s%s\n", skip ? "skipped: " : "", bl_last_error());
        return skip ? 77 : 1;
    }
    if (bl_stream_create(device, &stream) != BL_OK || bl_kernels_create(device, NULL, &kernels) != BL_OK)
        die("device");
    char text[BL_CAPS_TEXT];
    bl_device_caps_text(device, text);
    printf("device: %s   caps: %s   subgroup: %u   seed: %llu\n", device->info.name, text, device->limits.subgroup,
           (unsigned long long)rng);
    for (int op = 0; op < BL_OP_COUNT; op++)
        for (uint32_t i = 0; i < *bl_op_infos[op].case_count; i++) {
            const bl_op_case *c = &bl_op_infos[op].cases[i];
            if (!strncmp(c->name, "bench_", 6) != bench)
                continue;
            for (int t = 0; t < BL_DTYPE_COUNT; t++)
                for (int padded = 0; padded < (bench ? 1 : 2); padded++)
                    check_case((bl_op)op, (bl_dtype)t, c, padded);
        }
    for (int k = 0; k < BL_KERNEL_COUNT && !bench && !strcmp(pattern, "*"); k++)
        if (!covered[k] && (bl_kernel_able(kernels, (bl_kernel)k, BL_F32) || bl_kernel_able(kernels, (bl_kernel)k, BL_F16))) {
            fprintf(stderr, "%s: runs here but no case fits it\n", bl_impls[k].name);
            failures++;
        }
    if (!bench)
        printf("%u rows, %u failed\n", rows, failures);
    bl_kernels_destroy(&kernels);
    bl_stream_destroy(&stream);
    bl_device_close(&device);
    return failures != 0 || (!bench && !rows);
}
