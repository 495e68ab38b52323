/* What the grid functions of elementwise kernels share. Layer 2. */
#ifndef BL_DISPATCH_H
#define BL_DISPATCH_H
#include "impl.h"

/* Workgroups in a line of the grid; further ones follow in y (shaders/inc/elementwise.glsl counts the same way). */
#define BL_GROUP_LINE 32768u

/* Workgroups for that many lanes of elementwise.glsl. */
void bl_grid_lanes(const bl_impl *impl, uint64_t lanes, uint32_t groups[3]);

/* Lanes for a matrix when each has tile_m rows and tile_n columns; columns are a multiple of tile_n. */
uint64_t bl_lanes(const bl_impl *impl, bl_extent e);
#endif
