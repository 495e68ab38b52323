/* The kernel check and bench harness: every case of every op through every implementation and storage type.
 *
 *   check [--bench] [--device D] [--caps C] [--seed N] [-v] [PATTERN]      PATTERN matches row names, e.g. 'matmul_*_f16_*'
 *
 * A row runs twice, the second time in parts (same bytes), with poisoned outputs and guarded gaps between rows, and is compared with
 * the op's double-precision reference; where an output may lie over an operand, a third time so (same bytes); in fp32 all
 * implementations of an op must give the same bytes. Cases named bench_* are timed under --bench only.
 * Exit 0: all rows passed. 1: one failed, or an implementation that runs here has no case. 77: no Vulkan here (1 when CI is set). */
#include "check.h"
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static void measure(const char *row, bl_problem *q, bl_kernel k)
{
    enum { MAX_RUNS = 2000, WARMUP = 2, LEAST = 5 };
    static double ns[MAX_RUNS];
    bl_commands c = { 0 };
    if (bl_problem_upload(q) != BL_OK)
        die("upload");
    double begun = seconds();
    bl_dispatch d;
    if (bl_commands_begin(stream, 1, BL_COMMANDS_TIMED, &c) != BL_OK || bl_problem_dispatch(q, k, &d) != BL_OK ||
        bl_kernel_record(kernels, &c, &d) != BL_OK || bl_commands_end(&c) != BL_OK)
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

static void check_row(bl_problem *q, bl_kernel k, const char *row)
{
    double used[BL_MAX_OPERANDS];
    const bool ok = bl_problem_check(q, k, used) == BL_OK;
    for (uint32_t i = 0; verbose && i < q->n; i++)
        if (used[i] >= 0 && used[i] <= 1)
            printf("    %-60s %c uses %5.1f%% of the tolerance\n", row, q->o[i].name, 100 * used[i]);
    if (!ok)
        fprintf(stderr, "%s: %s\n", row, bl_last_error());
    rows++;
    failures += !ok;
    covered[k] = true;
    if (!ok || verbose)
        printf("%-64s %s\n", row, ok ? "ok" : "FAILED");
}

static void check_case(bl_op op, bl_dtype type, const bl_op_case *c, bool padded)
{
    bl_problem q = { 0 };
    for (int k = 0; k < BL_KERNEL_COUNT; k++) {
        char row[192];
        snprintf(row, sizeof(row), "%s_%s_%s%s", bl_impls[k].name, bl_dtype_name(type), c->name, padded ? "_padded" : "");
        if (bl_impls[k].op != op || !bl_kernel_able(kernels, (bl_kernel)k, type) || fnmatch(pattern, row, 0))
            continue;
        if (!q.kernels && (bl_problem_create(kernels, stream, op, type, c, padded, &rng, &q) != BL_OK ||
                           (!bench && bl_problem_reference(&q, HUGE_VAL) != BL_OK)))
            die(row);
        if (bl_impls[k].fits(op, &q.p))
            bench ? measure(row, &q, (bl_kernel)k) : check_row(&q, (bl_kernel)k, row);
    }
    bl_problem_destroy(&q);
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
            if (bl_case_is_bench(c) != bench)
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
