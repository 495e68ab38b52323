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

static bl_bench_target target_of(bl_context *c) { return (bl_bench_target){ c->device, c->stream, on_progress, c }; }

bl_result bl_bench_peak(bl_context *c, const bl_bench_options *o)
{
    const bl_result checked = check_options("bl_bench_peak", c, o);
    if (checked != BL_OK)
        return checked;
    const bl_bench_target target = target_of(c);
    return bl_bench_peaks(&target, o);
}

bl_result bl_bench_shader(bl_context *c, const bl_bench_options *o)
{
    const bl_result checked = check_options("bl_bench_shader", c, o);
    if (checked != BL_OK)
        return checked;
    const bl_bench_target target = target_of(c);
    return bl_bench_shaders(&target, o);
}

const char *bl_kernel_version(void) { return bl_kernels_sum(); }
