/* What a drawing of lines, dots and words is made with: into an SVG file, or on a canvas of SCALE times as many pixels. Layer 6.
 * x to the right and y down, in units of the drawing, which SVG takes as pixels. */
#ifndef CLI_PEN_H
#define CLI_PEN_H
#include "canvas.h"
#include <stdio.h>

enum { PEN_SCALE = 2 };

/* One of the two. */
typedef struct pen {
    FILE *svg;
    bl_image *canvas;
} pen;

void pen_begin(const pen *p, int width, int height); /* a canvas has PEN_SCALE times that */
void pen_end(const pen *p);
void pen_line(const pen *p, double x0, double y0, double x1, double y1, double width, colour ink);
/* A disc with an edge. `title`: what SVG shows under the mouse; NULL: nothing. */
void pen_dot(const pen *p, double x, double y, double radius, colour fill, colour edge, const char *title);

typedef enum pen_anchor { PEN_START, PEN_MIDDLE, PEN_END } pen_anchor;
/* Words with a white edge, which keeps them legible on lines and dots; y is their baseline, `size` that of the font. */
void pen_text(const pen *p, double x, double y, pen_anchor anchor, double size, colour ink, const char *words);
#endif
