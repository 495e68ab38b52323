/* A contact sheet: rows of pictures under headings, each row with its words beneath. Layer 6. */
#ifndef CLI_SHEET_H
#define CLI_SHEET_H
#include "blemish.h"
#include <stdbool.h>
#include <stddef.h>

enum { SHEET_COLUMNS_MAX = 5 };

/* One picture of a row as it is shown. */
typedef struct sheet_cell {
    bl_image image;
    bool exact; /* its values mean something, as those of a mask do: enlarged, it keeps them */
} sheet_cell;

typedef struct sheet_row {
    sheet_cell cells[SHEET_COLUMNS_MAX];
    char *words;  /* beneath on the left; what stands in [[double brackets]] has a colour of its own */
    char *note;   /* beneath on the right, less important */
} sheet_row;

/* Columns and cell size are set by the caller, the rest by sheet_add. */
typedef struct sheet {
    const char *headings[SHEET_COLUMNS_MAX];
    size_t columns;
    uint32_t cell;  /* pixels of the longer side of a shown picture */
    sheet_row *rows;
    size_t count;
} sheet;

/* Adds a row of pictures, which are scaled to the cell, all of one size. Takes over `words` and `note` (malloc), also on failure.
 * BL_ERROR_USAGE: the sheet is now larger than a PNG file may be, see sheet_size; BL_ERROR_MEMORY, also when one of the two is NULL. */
bl_result sheet_add(sheet *s, const sheet_cell cells[], char *words, char *note);
/* In pixels, with the rows that were added. */
void sheet_size(const sheet *s, uint32_t *width, uint32_t *height);
/* Draws the sheet on a canvas, freed by canvas_free. BL_ERROR_MEMORY. */
bl_result sheet_draw(const sheet *s, bl_image *canvas);
void sheet_free(sheet *s);
#endif
