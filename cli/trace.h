/* What happened in each step of a generation: JSON lines, and a plot of them. Layer 6. */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H
#include "blemish.h"
#include <stdbool.h>

/* One JSON object a line: first what the whole generation took, then every update. The file must not exist yet. BL_ERROR_OUTPUT, and
 * errno, when it cannot be written. */
bl_result trace_write(const char *path, const bl_generate_result *made);
/* Attention loss, localisation, gradient norm and step size over the steps, as a PNG file. */
bl_result trace_plot(const char *path, const bl_generate_result *made);
#endif
