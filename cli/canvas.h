/* What the program draws itself: boxes, lines, words and small pictures, on a canvas that is an RGB picture. Layer 6.
 * x to the right and y down, in pixels; what lies outside of the canvas is not drawn. */
#ifndef CLI_CANVAS_H
#define CLI_CANVAS_H
#include "blemish.h"
#include <stdbool.h>

typedef struct colour {
    uint8_t r, g, b;
} colour;

/* A canvas of one colour, freed by canvas_free. False when memory runs out. */
bool canvas_create(bl_image *c, uint32_t width, uint32_t height, colour paper);
void canvas_free(bl_image *c);
/* Fills x0 <= x < x1, y0 <= y < y1. */
void canvas_box(bl_image *c, int x0, int y0, int x1, int y1, colour ink);
void canvas_line(bl_image *c, double x0, double y0, double x1, double y1, int width, colour ink);
void canvas_disc(bl_image *c, double x, double y, double radius, colour ink); /* with a smooth edge */
/* Puts a picture, grey or RGB, with its upper left corner at x, y. */
void canvas_picture(bl_image *c, int x, int y, const bl_image *picture);

/* Words of printable ASCII; any other character is drawn as "?". A capital letter is 7 `scale` high, from y on; with descenders it is 9.
 * Returns where the next word goes on. */
double canvas_text(bl_image *c, double x, double y, double scale, colour ink, const char *words);
double canvas_text_width(double scale, const char *words);
#endif
