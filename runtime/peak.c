#include "peak.h"
#include <stdio.h>
#include <string.h>

#include "peaks_spv.inc" /* generated: BL_SPIRV_<shader> */

enum { HALF = BL_CAP_F16, DOT8 = BL_CAP_DOT8, CM = BL_CAP_CM, F32 = BL_F32, F16 = BL_F16 };
/* Bytes copied at most: more than caches hold, and on software devices no more than is copied in a moment; and of what the device has. */
enum { LARGE = 256 << 20, LARGE_SOFTWARE = 32 << 20, SHARE_OF_MEMORY = 8 };
enum { COPY_BLOCK = 1 << 16 };                    /* of peak_copy.comp, in bytes, for workgroups of up to 1024 lanes */
enum { LANES_GPU = 1 << 19, LANES_SOFTWARE = 1 << 12, COPY_LANES_SOFTWARE = 8, MATRIX_SUMS = 4, MOST_ITERATIONS = 1 << 24, LAUNCHES = 64 };
static const double LONG_ENOUGH = 5e6;            /* ns of one run */

typedef struct code {
    const uint32_t *code;
    size_t size;
} code;
typedef struct peak_info {
    const char *name;
    uint32_t caps;
    bl_dtype type;
    bl_peak_unit unit;
    uint32_t workgroup, work;
    code spirv[BL_DTYPE_COUNT];
} peak_info;
static const peak_info infos[] = {
#define P(name, shader, caps, type, unit, wg, work) { #name, caps, (bl_dtype)type, BL_UNIT_##unit, wg, work, BL_SPIRV_##shader },
#include "peaks.def"
#undef P
};

const char *bl_peak_name(bl_peak k)
{
    return k == BL_PEAK_submit ? "submit" : k == BL_PEAK_transfer ? "transfer" : infos[k].name;
}

bl_result bl_peaks_create(bl_device *d, bl_stream *s, bl_peaks *p)
{
    bl_result result = BL_OK;
    const float start[4] = { 0.5f, 0.25f };
    const uint64_t most = BL_MIN(d->limits.binding, bl_block_limit(d)), room = bl_device_limit(d) / SHARE_OF_MEMORY;
    const uint64_t size = BL_MIN(BL_MIN(most, room), d->software ? LARGE_SOFTWARE : LARGE) / COPY_BLOCK * COPY_BLOCK;
    *p = (bl_peaks){ .d = d, .stream = s };
    BL_TRY(bl_arena_create(d, 0, "bench", &p->arena));
    BL_TRY(bl_arena_slice(p->arena, size, &p->x));
    BL_TRY(bl_arena_slice(p->arena, size, &p->y));
    BL_TRY(bl_stream_write(s, &p->x, 0, start, sizeof(start)));
    return BL_OK;
fail:
    bl_peaks_destroy(p);
    return result;
}

void bl_peaks_destroy(bl_peaks *p)
{
    bl_arena_destroy(&p->arena);
    *p = (bl_peaks){ 0 };
}

/* --- one kernel ------------------------------------------------------------------------------------------------------------ */

static uint32_t workgroup_of(const bl_peaks *p, bl_peak k)
{
    return k == BL_PEAK_copy && p->d->software ? COPY_LANES_SOFTWARE
        : infos[k].workgroup ? infos[k].workgroup : p->d->limits.subgroup;
}

static bl_result create_program(const bl_peaks *p, bl_peak k, const bl_matrix_shape *shape, bl_program *out)
{
    const peak_info *info = &infos[k];
    const uint32_t constants[BL_PROGRAM_CONSTANTS] = { workgroup_of(p, k), k == BL_PEAK_copy ? p->d->software : shape->m, shape->n,
        shape->k };
    return bl_program_create(p->d, info->spirv[info->type].code, info->spirv[info->type].size, 2, constants, out);
}

static bl_result record(const bl_peaks *p, const bl_program *program, uint32_t groups, uint32_t n, uint32_t times, bl_commands *c)
{
    bl_result result = BL_OK;
    const bl_slice buffers[] = { p->x, p->y };
    BL_TRY(bl_commands_begin(p->stream, times, BL_COMMANDS_TIMED, c));
    for (uint32_t i = 0; i < times; i++) {
        BL_TRY(bl_program_record(program, c, buffers, groups, n));
        bl_commands_barrier(c);
    }
    BL_TRY(bl_commands_end(c));
    return BL_OK;
fail:
    bl_commands_destroy(c);
    return result;
}

static uint32_t groups_of(const bl_peaks *p, bl_peak k)
{
    const uint32_t lanes = workgroup_of(p, k);
    return (p->d->software ? LANES_SOFTWARE : LANES_GPU) / (lanes ? lanes : 1);
}

/* Raises the number of iterations until one run takes long enough, and leaves that recorded. */
static bl_result calibrate(const bl_peaks *p, const bl_program *program, uint32_t groups, uint32_t *n, bl_commands *c)
{
    bl_result result = BL_OK;
    const bl_timing_rule once = { 0, 1 };
    for (*n = 16;; *n *= 4) {
        bl_timing t;
        BL_TRY(record(p, program, groups, *n, 1, c));
        BL_TRY(bl_timing_run(p->stream, c, 1, NULL, &once, &t));
        BL_TRY(bl_timing_run(p->stream, c, 1, NULL, &once, &t)); /* the first one may have compiled */
        if (t.median >= LONG_ENOUGH || *n >= MOST_ITERATIONS)
            return BL_OK;
        bl_commands_destroy(c);
    }
fail:
    bl_commands_destroy(c);
    return result;
}

/* Units of a run of n iterations. */
static bl_result work_of(const bl_peaks *p, bl_peak k, const bl_matrix_shape *shape, uint32_t groups, uint32_t n, double *work)
{
    const peak_info *info = &infos[k];
    float subgroups = 1;
    *work = (double)info->work * info->workgroup * groups * n;
    if (info->work)
        return BL_OK;
    const bl_result result = bl_stream_read(p->stream, &p->y, 0, &subgroups, sizeof(subgroups));
    *work = 2.0 * shape->m * shape->n * shape->k * MATRIX_SUMS * (double)subgroups * groups * n;
    return result;
}

static bl_result measure(bl_peaks *p, bl_peak k, const bl_matrix_shape *shape, const bl_timing_rule *rule, bl_peak_row *row)
{
    bl_result result = BL_OK;
    const peak_info *info = &infos[k];
    bl_program program = { 0 };
    bl_commands c = { 0 };
    uint32_t n = 0, groups = groups_of(p, k), times = 1;
    BL_TRY(create_program(p, k, shape, &program));
    if (k == BL_PEAK_copy) {
        n = (uint32_t)(p->x.size / 16);
        BL_TRY(record(p, &program, groups, n, 1, &c));
        row->work = (double)info->work * n;
    } else if (info->unit == BL_UNIT_TIME) {
        times = LAUNCHES;
        BL_TRY(record(p, &program, 1, 0, times, &c));
    } else {
        BL_TRY(calibrate(p, &program, groups, &n, &c));
        BL_TRY(work_of(p, k, shape, groups, n, &row->work));
    }
    BL_TRY(bl_timing_run(p->stream, &c, times, NULL, rule, &row->t));
    row->rate = row->work / row->t.median * 1e9;
fail:
    bl_commands_destroy(&c);
    bl_program_destroy(&program);
    return result;
}

/* --- all of them ----------------------------------------------------------------------------------------------------------- */

static const char *missing(const bl_peaks *p, const peak_info *info)
{
    const uint32_t lacks = info->caps & ~p->d->caps;
    return lacks & BL_CAP_F16 ? "no fp16 arithmetic (capability f16)" : lacks & BL_CAP_DOT8 ? "no integer dot product (capability dot8)"
        : lacks & BL_CAP_CM ? "no cooperative matrices (capability cm)"
        : !info->spirv[info->type].code ? "left out when this was built: the shader compiler was too old" : NULL;
}

static void keep_roof(bl_peaks *p, bl_peak k, const bl_peak_row *row)
{
    if (k == BL_PEAK_fma_f32)
        p->flops_f32 = BL_MAX(p->flops_f32, row->rate);
    else if (k == BL_PEAK_copy)
        p->bytes = BL_MAX(p->bytes, row->rate);
    else if (k == BL_PEAK_launch)
        p->launch = p->launch > 0 ? BL_MIN(p->launch, row->t.median) : row->t.median;
    else if (k == BL_PEAK_matrix_f32 || k == BL_PEAK_matrix_f16)
        p->flops_matrix = BL_MAX(p->flops_matrix, row->rate);
}

/* What is not a kernel: an empty submission, by the wall, and the driver's own copy. */
static bl_result measure_command(bl_peaks *p, bl_peak k, const bl_timing_rule *rule, bl_peak_row *row)
{
    bl_result result = BL_OK;
    bl_commands c = { 0 };
    BL_TRY(bl_commands_begin(p->stream, 1, k == BL_PEAK_transfer ? BL_COMMANDS_TIMED : 0, &c));
    if (k == BL_PEAK_transfer) {
        bl_commands_copy(&c, &p->x, &p->y);
        row->work = 2.0 * (double)p->x.size;
    }
    BL_TRY(bl_commands_end(&c));
    BL_TRY(bl_timing_run(p->stream, &c, 1, NULL, rule, &row->t));
    row->rate = row->work / row->t.median * 1e9;
fail:
    bl_commands_destroy(&c);
    return result;
}

bl_result bl_peak_measure(bl_peaks *p, bl_peak k, const bl_timing_rule *rule, void (*each)(void *user, const bl_peak_row *row), void *user)
{
    enum { SHAPES = 32 };
    bl_result result = BL_OK;
    bl_matrix_shape shapes[SHAPES] = { { 0 } };
    const bool command = k >= BL_PEAK_transfer;
    const bool matrix = !command && !infos[k].work && infos[k].unit == BL_UNIT_FLOP;
    bl_peak_row row = { .unit = k == BL_PEAK_submit ? BL_UNIT_TIME : k == BL_PEAK_transfer ? BL_UNIT_BYTE : infos[k].unit };
    uint32_t count = 1, rows = 0;
    snprintf(row.name, sizeof(row.name), "%s", bl_peak_name(k));
    row.missing = command ? NULL : missing(p, &infos[k]);
    if (matrix && !row.missing)
        count = bl_device_matrix_shapes(p->d, shapes, SHAPES);
    for (uint32_t i = 0; i < count; i++) {
        if (matrix && !row.missing) {
            if (shapes[i].half != (infos[k].type == BL_F16))
                continue;
            snprintf(row.name, sizeof(row.name), "%s_%ux%ux%u", infos[k].name, shapes[i].m, shapes[i].n, shapes[i].k);
        }
        if (!row.missing)
            BL_TRY(command ? measure_command(p, k, rule, &row) : measure(p, k, &shapes[i], rule, &row));
        if (!row.missing)
            keep_roof(p, k, &row);
        each(user, &row);
        rows++;
    }
    if (!rows) {
        row.missing = "the device has no such shape";
        each(user, &row);
    }
fail:
    return result;
}

bl_result bl_peaks_evict(bl_peaks *p, bl_program *program, bl_commands *out)
{
    bl_result result = BL_OK;
    *out = (bl_commands){ 0 };
    BL_TRY(create_program(p, BL_PEAK_copy, &(bl_matrix_shape){ 0 }, program));
    BL_TRY(record(p, program, groups_of(p, BL_PEAK_copy), (uint32_t)(p->x.size / 16), 1, out));
    return BL_OK;
fail:
    bl_program_destroy(program);
    return result;
}

/* --- drift ----------------------------------------------------------------------------------------------------------------- */

bl_result bl_probe_time(bl_peaks *p, bl_probe *probe, double *ns)
{
    const bl_timing_rule rule = { 2e7, 0 };
    bl_timing t;
    const bl_result result = bl_timing_run(p->stream, &probe->commands, 1, NULL, &rule, &t);
    *ns = t.median / probe->turns;
    return result;
}

bl_result bl_probe_create(bl_peaks *p, bl_probe *probe)
{
    bl_result result = BL_OK;
    *probe = (bl_probe){ 0 };
    BL_TRY(create_program(p, BL_PEAK_fma_f32, &(bl_matrix_shape){ 0 }, &probe->program));
    BL_TRY(calibrate(p, &probe->program, groups_of(p, BL_PEAK_fma_f32), &probe->turns, &probe->commands));
    BL_TRY(bl_probe_time(p, probe, &probe->first));
    return BL_OK;
fail:
    bl_probe_destroy(probe);
    return result;
}

void bl_probe_destroy(bl_probe *probe)
{
    bl_commands_destroy(&probe->commands);
    bl_program_destroy(&probe->program);
    *probe = (bl_probe){ 0 };
}
