/* A planned graph on a device: recorded once, run many times. Layer 3. */
#ifndef BL_EXEC_H
#define BL_EXEC_H
#include "record.h"

typedef struct bl_exec bl_exec;
/* Fuses and plans `g`, allocates its memory and records it. The graph and every weight it names must outlive the exec; the weights'
 * slices are there by now. `steps`: rows of the step table, 0 for graphs without one. Every pipeline that is new to `ks` is dispatched
 * here, one workgroup first (some drivers compile only then), then more until its speed is known; inputs are not set yet, so
 * nothing is spoilt. */
bl_result bl_exec_create(bl_kernels *ks, bl_stream *s, bl_graph *g, uint32_t steps, bl_exec **out);
/* The same for a graph that has been fused, with its plan for blocks of bl_block_limit, which it takes over. */
bl_result bl_exec_create_planned(bl_kernels *ks, bl_stream *s, bl_graph *g, bl_plan **plan, uint32_t steps, bl_exec **out);
void bl_exec_destroy(bl_exec **exec);  /* sets *exec to NULL; NULL is accepted */

/* Copies between the host and an input or kept tensor, `count` = n*h*w*c floats in [n,h,w,c] order, converted from and to its type.
 * BL_ERROR_USAGE for another count, or a tensor that is not there after a run. */
bl_result bl_exec_write(bl_exec *e, bl_value x, const float *data, size_t count);
bl_result bl_exec_read(bl_exec *e, bl_value x, float *data, size_t count);
/* Sets the step table, at most as many rows as at creation, and starts at its first row. */
bl_result bl_exec_set_steps(bl_exec *e, const struct bl_step *steps, uint32_t count);
/* The row of the step table that the next run uses, which is the number of runs since bl_exec_set_steps. */
bl_result bl_exec_step(bl_exec *e, uint32_t *step);
/* Runs the whole graph once and waits. Segments are grouped into submissions of about 100 ms by the times of earlier runs; one that takes
 * too long by itself is recorded again in smaller pieces. A failure names the segment and its kernels. */
bl_result bl_exec_run(bl_exec *e);
/* The longest submission of the last run, in nanoseconds. */
double bl_exec_longest(const bl_exec *e);
/* Device memory besides weights, in bytes: of an exec, and of one that has not been created, for a plan and its rows of the step table. */
uint64_t bl_exec_bytes(const bl_exec *e);
uint64_t bl_exec_bytes_of(const bl_plan *plan, uint32_t steps);

/* Dispatches before any was cut by time: what follows from the graph and the limits of the device. */
uint32_t bl_exec_dispatches(const bl_exec *e);
/* What is recorded, and another order or cut of it in its place, whose barriers have been set; takes over what *r holds. */
const bl_record *bl_exec_record(const bl_exec *e);
bl_result bl_exec_set_record(bl_exec *e, bl_record *r);
#endif
