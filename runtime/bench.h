/* Measuring kernels: all cases through all implementations, checked, timed, and put against the device's peak. Layer 2. */
#ifndef BL_BENCH_H
#define BL_BENCH_H
#include "kernel.h"

/* What both need: a device, and a stream of it on which nothing else happens. */
typedef struct bl_bench_target {
    bl_device *device;
    bl_stream *stream;
    /* Told before every row; done of total is only about right. May be NULL. */
    void (*progress)(void *user, const char *name, uint32_t done, uint32_t total);
    void *user;
} bl_bench_target;
bl_result bl_bench_peaks(const bl_bench_target *t, const bl_bench_options *o);
bl_result bl_bench_shaders(const bl_bench_target *t, const bl_bench_options *o);
#endif
