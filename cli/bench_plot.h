/* Measurements under the roofline of their device, as a picture. Layer 6. */
#ifndef CLI_BENCH_PLOT_H
#define CLI_BENCH_PLOT_H
#include "bench_rows.h"

/* Writes an SVG file: GFLOP/s over FLOP per byte, both logarithmic; the roofs of the "peak" rows, a point for every "shader" row that was
 * timed, coloured by family of ops. False when there is nothing to show. */
bool bench_plot(const bench_results *r, FILE *out);
#endif
