#include "sheet.h"
#include "canvas.h"
#include <stdlib.h>
#include <string.h>

enum {
    MARGIN = 28, GAP = 12,             /* around everything; between columns */
    HEADING = 30,                      /* from the top of the headings to the first row */
    BELOW = 9, WORDS = 20, APART = 26, /* from a picture to its words, their height, to the next row */
    MAX_SIDE = 16384, MAX_PIXELS = 64 << 20, /* of a picture, as bl_image_write_png takes it */
    NOTE_SPACE = 24,                   /* between words and note, at least */
};
static const double LARGE = 2, SMALL = 1.75;

static const colour PAPER = { 246, 246, 244 }, FRAME = { 200, 201, 202 }, INK = { 38, 42, 50 }, FAINT = { 112, 116, 122 },
    ACCENT = { 196, 62, 28 };

/* --- rows ----------------------------------------------------------------------------------------------------------------- */

/* The size in which a picture is shown: its longer side is the cell's. */
static void shown_size(const bl_image *in, uint32_t cell, uint32_t *width, uint32_t *height)
{
    const uint32_t longer = in->width > in->height ? in->width : in->height;
    *width = (uint32_t)(((uint64_t)in->width * cell + longer / 2) / longer);
    *height = (uint32_t)(((uint64_t)in->height * cell + longer / 2) / longer);
    *width = *width ? *width : 1;
    *height = *height ? *height : 1;
}

static uint32_t row_height(const sheet_row *r) { return r->cells[0].image.height + BELOW + WORDS; }

void sheet_size(const sheet *s, uint32_t *width, uint32_t *height)
{
    *width = (uint32_t)(2 * MARGIN + s->columns * s->cell + (s->columns - 1) * GAP);
    *height = 2 * MARGIN + HEADING;
    for (size_t i = 0; i < s->count; i++)
        *height += row_height(&s->rows[i]) + (i ? APART : 0);
}

static void row_free(sheet_row *r)
{
    for (size_t i = 0; i < SHEET_COLUMNS_MAX; i++)
        bl_image_free(&r->cells[i].image);
    free(r->words);
    free(r->note);
}

static bl_result scale_row(const sheet *s, const sheet_cell cells[], sheet_row *row)
{
    bl_result result = BL_OK;
    for (size_t i = 0; i < s->columns && result == BL_OK; i++) {
        const bl_image *in = &cells[i].image;
        uint32_t width, height;
        shown_size(in, s->cell, &width, &height);
        const bl_filter filter = cells[i].exact && width >= in->width ? BL_FILTER_NEAREST : BL_FILTER_BICUBIC;
        result = bl_image_resize(in, width, height, filter, &row->cells[i].image);
    }
    return result;
}

bl_result sheet_add(sheet *s, const sheet_cell cells[], char *words, char *note)
{
    uint32_t width, height;
    sheet_row row = { .words = words, .note = note };
    sheet_row *rows = realloc(s->rows, (s->count + 1) * sizeof(*rows));
    if (rows)
        s->rows = rows;
    bl_result result = rows && words && note ? scale_row(s, cells, &row) : BL_ERROR_MEMORY;
    if (result != BL_OK) {
        row_free(&row);
        return result;
    }
    s->rows[s->count++] = row;
    sheet_size(s, &width, &height);
    return height <= MAX_SIDE && (uint64_t)width * height <= MAX_PIXELS ? BL_OK : BL_ERROR_USAGE;
}

void sheet_free(sheet *s)
{
    for (size_t i = 0; i < s->count; i++)
        row_free(&s->rows[i]);
    free(s->rows);
    s->rows = NULL;
    s->count = 0;
}

/* --- drawing -------------------------------------------------------------------------------------------------------------- */

/* Words without their marks. */
typedef struct line {
    char text[512];
    bool marked[512];
    size_t length;
} line;

static bool is_mark(const char *s) { return (s[0] == '[' && s[1] == '[') || (s[0] == ']' && s[1] == ']'); }

static void put(line *l, char letter, bool marked)
{
    if (l->length + 1 == sizeof(l->text))
        return;
    l->marked[l->length] = marked;
    l->text[l->length++] = letter;
}

static line line_of(const char *words)
{
    line l = { .length = 0 };
    bool marked = false;
    for (const char *s = words; *s; s++) {
        if (*s == '\\' && is_mark(s + 1)) { /* mere brackets */
            put(&l, s[1], marked);
            put(&l, s[2], marked);
            s += 2;
        } else if (is_mark(s)) {
            marked = *s++ == '[';
        } else {
            put(&l, *s, marked);
        }
    }
    return l;
}

/* Cuts between characters, also of several bytes, and puts "..." at the end. */
static void fit_line(line *l, double scale, double room)
{
    static const char dots[] = "...";
    if (canvas_text_width(scale, l->text) <= room)
        return;
    while (l->length && canvas_text_width(scale, l->text) + canvas_text_width(scale, dots) > room) {
        do
            l->length--;
        while (l->length && (l->text[l->length] & 0xc0) == 0x80);
        l->text[l->length] = 0;
    }
    if (l->length + sizeof(dots) > sizeof(l->text))
        return;
    memset(l->marked + l->length, l->length && l->marked[l->length - 1], sizeof(dots) - 1);
    memcpy(l->text + l->length, dots, sizeof(dots));
    l->length += sizeof(dots) - 1;
}

/* Runs of one colour at a time. */
static void draw_line(bl_image *c, double x, double y, double scale, colour ink, const line *l)
{
    char run[sizeof(l->text)];
    for (size_t from = 0, to; from < l->length; from = to) {
        for (to = from; to < l->length && l->marked[to] == l->marked[from]; to++)
            run[to - from] = l->text[to];
        run[to - from] = 0;
        x = canvas_text(c, x, y, scale, l->marked[from] ? ACCENT : ink, run);
    }
}

static void draw_words(bl_image *c, const sheet_row *row, uint32_t y)
{
    const double room = (double)c->width - 2 * MARGIN;
    line note = line_of(row->note), words = line_of(row->words);
    fit_line(&note, SMALL, *row->words ? room / 2 : room);
    const double width = canvas_text_width(SMALL, note.text);
    fit_line(&words, LARGE, room - width - (note.length ? NOTE_SPACE : 0));
    draw_line(c, MARGIN, y, LARGE, INK, &words);
    draw_line(c, *row->words ? MARGIN + room - width : MARGIN, y + (LARGE - SMALL) * 7, SMALL, FAINT, &note);
}

static void draw_row(bl_image *c, const sheet *s, const sheet_row *row, uint32_t y)
{
    for (size_t i = 0; i < s->columns; i++) {
        const bl_image *p = &row->cells[i].image;
        const int x = (int)(MARGIN + i * (s->cell + GAP) + (s->cell - p->width) / 2), w = (int)p->width, h = (int)p->height;
        canvas_box(c, x - 1, (int)y - 1, x + w + 1, (int)y + h + 1, FRAME);
        canvas_picture(c, x, (int)y, p);
    }
    draw_words(c, row, y + row->cells[0].image.height + BELOW);
}

bl_result sheet_draw(const sheet *s, bl_image *canvas)
{
    uint32_t width, height;
    sheet_size(s, &width, &height);
    if (!canvas_create(canvas, width, height, PAPER))
        return BL_ERROR_MEMORY;
    for (size_t i = 0; i < s->columns; i++) {
        const double left = (double)(MARGIN + i * (s->cell + GAP)), spare = s->cell - canvas_text_width(LARGE, s->headings[i]);
        canvas_text(canvas, left + (spare > 0 ? spare / 2 : 0), MARGIN - 4, LARGE, INK, s->headings[i]);
    }
    uint32_t y = MARGIN + HEADING;
    for (size_t i = 0; i < s->count; i++) {
        draw_row(canvas, s, &s->rows[i], y);
        y += row_height(&s->rows[i]) + APART;
    }
    return BL_OK;
}
