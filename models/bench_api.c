/* The exported functions that measure. Layer 5. */
#include "bench.h"
#include "context.h"
#include <math.h>

static void on_progress(void *user, const char *name, uint32_t done, uint32_t total)
{
    const bl_context *c = user;
    bl_context_progress(c, name, done, total);
}

static bl_result check_options(const char *function, const bl_context *c, const bl_bench_options *o)
{
    if (!c || !o || o->struct_size != sizeof(*o))
        return bl_fail(BL_ERROR_USAGE, "%s: no context, or options of another version", function);
    if (!o->row)
        return bl_fail(BL_ERROR_USAGE, "%s: nobody takes the rows", function);
    if (!isfinite(o->time_limit) || o->time_limit < 0 || !isfinite(o->noise) || o->noise < 0)
        return bl_fail(BL_ERROR_USAGE, "%s: the time limit and the noise must not be negative", function);
    return BL_OK;
}

static bl_result measure(const char *function, bl_context *c, const bl_bench_options *o,
                         bl_result (*bench)(const bl_bench_target *target, const bl_bench_options *o))
{
    const bl_result checked = check_options(function, c, o);
    if (checked != BL_OK)
        return checked;
    const bl_bench_target target = { c->device, c->stream, on_progress, c };
    return bench(&target, o);
}

bl_result bl_bench_peak(bl_context *c, const bl_bench_options *o) { return measure("bl_bench_peak", c, o, bl_bench_peaks); }
bl_result bl_bench_shader(bl_context *c, const bl_bench_options *o) { return measure("bl_bench_shader", c, o, bl_bench_shaders); }

const char *bl_kernel_version(void) { return bl_kernels_sum(); }
