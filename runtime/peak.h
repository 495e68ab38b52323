/* What the device can do at most, measured with the kernels of shaders/peaks.def. Layer 2. */
#ifndef BL_PEAK_H
#define BL_PEAK_H
#include "program.h"
#include "timing.h"

typedef enum bl_peak {
#define P(name, shader, caps, type, unit, wg, work) BL_PEAK_##name,
#include "peaks.def"
#undef P
    /* From here on without a kernel. */
    BL_PEAK_transfer,        /* vkCmdCopyBuffer of x to y: read and written bytes, as those of `copy` */
    BL_PEAK_submit,          /* an empty submission, from the call to its fence, by the wall */
    BL_PEAK_COUNT
} bl_peak;
typedef enum bl_peak_unit { BL_UNIT_FLOP, BL_UNIT_OP, BL_UNIT_BYTE, BL_UNIT_TIME } bl_peak_unit;

/* One measurement. */
typedef struct bl_peak_row {
    char name[64];           /* "fma_f32", "matrix_f32_16x16x16" */
    bl_peak_unit unit;
    double work;             /* units of one run */
    double rate;             /* units per second; 0 of times */
    const char *missing;     /* why it was not measured; NULL: it was */
    bl_timing t;
} bl_peak_row;

/* The kernels with what they work on, and the roofs found so far. */
typedef struct bl_peaks {
    bl_device *d;
    bl_stream *stream;
    bl_arena *arena;
    bl_slice x, y;           /* larger than caches where the device has room: copying one to the other empties them */
    double flops_f32, flops_matrix, bytes; /* per second, the most that was found; 0: not measured, or not there */
    double launch;           /* ns of an empty dispatch with its barrier, the least that was found; 0: as above */
} bl_peaks;
bl_result bl_peaks_create(bl_device *d, bl_stream *s, bl_peaks *out); /* *out is zeroed on failure */
void bl_peaks_destroy(bl_peaks *p); /* zeroes *p; a zeroed one is accepted */

const char *bl_peak_name(bl_peak k);
/* Measures one: a row, for matrix products one of every shape, and none if an error comes first. What the device lacks is a row without
 * a measurement. `each` is called with every row. */
bl_result bl_peak_measure(bl_peaks *p, bl_peak k, const bl_timing_rule *rule, void (*each)(void *user, const bl_peak_row *row), void *user);

/* Records a copy of x to y as commands of its own. */
bl_result bl_peaks_evict(bl_peaks *p, bl_program *program, bl_commands *out);

/* A small kernel whose time is taken again and again: a device that has become slower since the start has lowered its clocks. */
typedef struct bl_probe {
    bl_program program;
    bl_commands commands;
    uint32_t turns;          /* of its loop */
    double first;            /* ns of a turn at the start */
} bl_probe;
bl_result bl_probe_create(bl_peaks *p, bl_probe *out); /* *out is zeroed on failure */
/* What it takes now, in ns of a turn. */
bl_result bl_probe_time(bl_peaks *p, bl_probe *probe, double *ns);
void bl_probe_destroy(bl_probe *probe); /* zeroes; a zeroed one is accepted */
#endif
