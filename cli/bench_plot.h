/* Measurements under the roofline of their device, as a picture. Layer 6. */
#ifndef CLI_BENCH_PLOT_H
#define CLI_BENCH_PLOT_H
#include "bench_rows.h"
#include "pen.h"

enum { BENCH_PLOT_WIDTH = 1120, BENCH_PLOT_HEIGHT = 720 };
bool bench_plot_shows(const bench_results *r); /* whether a "shader" row was timed: else there is nothing to draw */
/* GFLOP/s over FLOP per byte, both logarithmic; the roofs of the "peak" rows, a point for every "shader" row that was timed, coloured by
 * family of ops. Something must have been timed. A canvas must have PEN_SCALE times the size above. */
void bench_plot(const bench_results *r, const pen *pen);
#endif
