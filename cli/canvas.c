#include "canvas.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <stb_easy_font.h>
#pragma GCC diagnostic pop

static uint8_t *pixel(bl_image *c, int x, int y) { return c->pixels + 3 * ((size_t)y * c->width + (size_t)x); }

static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

/* `covered` of a pixel, 0 to 1, in ink. */
static void blend(uint8_t *p, colour ink, double covered)
{
    const uint8_t rgb[3] = { ink.r, ink.g, ink.b };
    for (int k = 0; k < 3; k++)
        p[k] = (uint8_t)lrint(p[k] + (rgb[k] - p[k]) * fmin(fmax(covered, 0), 1));
}

bool canvas_create(bl_image *c, uint32_t width, uint32_t height, colour paper)
{
    *c = (bl_image){ width, height, 3, calloc((size_t)width * height, 3) };
    if (c->pixels)
        canvas_box(c, 0, 0, (int)width, (int)height, paper);
    return c->pixels != NULL;
}

void canvas_free(bl_image *c)
{
    free(c->pixels);
    *c = (bl_image){ 0 };
}

void canvas_box(bl_image *c, int x0, int y0, int x1, int y1, colour ink)
{
    for (int y = most(y0, 0); y < least(y1, (int)c->height); y++)
        for (int x = most(x0, 0); x < least(x1, (int)c->width); x++)
            memcpy(pixel(c, x, y), &ink, 3);
}

void canvas_line(bl_image *c, double x0, double y0, double x1, double y1, int width, colour ink)
{
    const int steps = (int)fmax(fabs(x1 - x0), fabs(y1 - y0)) + 1;
    for (int i = 0; i <= steps; i++) {
        const int x = (int)lrint(x0 + (x1 - x0) * i / steps), y = (int)lrint(y0 + (y1 - y0) * i / steps);
        canvas_box(c, x, y, x + width, y + width, ink);
    }
}

void canvas_disc(bl_image *c, double x, double y, double radius, colour ink)
{
    for (int v = most((int)(y - radius) - 1, 0); v < least((int)(y + radius) + 2, (int)c->height); v++)
        for (int u = most((int)(x - radius) - 1, 0); u < least((int)(x + radius) + 2, (int)c->width); u++)
            blend(pixel(c, u, v), ink, radius - hypot(u + 0.5 - x, v + 0.5 - y) + 0.5);
}

void canvas_picture(bl_image *c, int x, int y, const bl_image *picture)
{
    const int w = (int)picture->width, h = (int)picture->height, channels = (int)picture->channels;
    for (int v = most(0, -y); v < least(h, (int)c->height - y); v++)
        for (int u = most(0, -x); u < least(w, (int)c->width - x); u++) {
            const uint8_t *from = picture->pixels + (size_t)channels * ((size_t)v * picture->width + (size_t)u);
            for (int k = 0; k < 3; k++)
                pixel(c, x + u, y + v)[k] = from[channels == 3 ? k : 0];
        }
}

/* --- words --------------------------------------------------------------------------------------------------------------- */

/* stb_easy_font draws letters with pixels, as rectangles. Enlarged they are blocks; so strokes are drawn from the centre of every pixel to
 * those of its neighbours, round and smooth at any size. */

enum { GRID = 18, STROKES = 4 * GRID * GRID, QUADS = 64, QUAD = 16 }; /* a letter with an empty frame; floats of a quad */

typedef struct stroke {
    double x, y, dx, dy;
} stroke;

static void letter_pixels(char letter, bool set[GRID][GRID])
{
    float quads[QUADS * QUAD];
    const int n = stb_easy_font_print(1, 1, (char[]){ letter, 0 }, NULL, quads, sizeof(quads));
    for (int i = 0; i < n; i++) {
        const float *a = quads + QUAD * i, *b = a + 8; /* opposite corners: x, y, z, colour each */
        for (int y = (int)a[1]; y < (int)b[1] && y < GRID - 1; y++)
            for (int x = (int)a[0]; x < (int)b[0] && x < GRID - 1; x++)
                set[y][x] = true;
    }
}

/* Diagonals only where no corner joins the two pixels. */
static size_t letter_strokes(char letter, stroke strokes[STROKES])
{
    bool set[GRID][GRID] = { { false } };
    size_t n = 0;
    letter_pixels(letter, set);
    for (int y = 1; y < GRID - 1; y++)
        for (int x = 1; x < GRID - 1; x++) {
            const bool right = set[y][x + 1], down = set[y + 1][x];
            const stroke at = { x - 0.5, y - 0.5, 0, 0 }; /* the frame taken off */
            if (!set[y][x])
                continue;
            const size_t before = n;
            if (right)
                strokes[n++] = (stroke){ at.x, at.y, 1, 0 };
            if (down)
                strokes[n++] = (stroke){ at.x, at.y, 0, 1 };
            if (set[y + 1][x + 1] && !right && !down)
                strokes[n++] = (stroke){ at.x, at.y, 1, 1 };
            if (set[y + 1][x - 1] && !set[y][x - 1] && !down)
                strokes[n++] = (stroke){ at.x, at.y, -1, 1 };
            if (n == before)
                strokes[n++] = at; /* the end of a line, or a dot */
        }
    return n;
}

/* Distance of a point to the nearest stroke. */
static double distance(const stroke *s, size_t n, double x, double y)
{
    double nearest = INFINITY;
    for (; n; n--, s++) {
        const double length = s->dx * s->dx + s->dy * s->dy, along = (x - s->x) * s->dx + (y - s->y) * s->dy;
        const double t = length > 0 ? fmin(fmax(along / length, 0), 1) : 0;
        const double u = x - s->x - t * s->dx, v = y - s->y - t * s->dy;
        nearest = fmin(nearest, u * u + v * v);
    }
    return sqrt(nearest);
}

static void draw_letter(bl_image *c, double left, double top, double scale, colour ink, char letter)
{
    stroke strokes[STROKES];
    const size_t n = letter_strokes(letter, strokes);
    const double radius = 0.48; /* of the font's pixels: a stroke is as wide as one */
    for (int y = most((int)top - 1, 0); y < least((int)(top + GRID * scale), (int)c->height); y++)
        for (int x = most((int)left - 1, 0); x < least((int)(left + GRID * scale), (int)c->width); x++) {
            const double away = distance(strokes, n, (x + 0.5 - left) / scale, (y + 0.5 - top) / scale);
            blend(pixel(c, x, y), ink, (radius - away) * scale + 0.5);
        }
}

/* The next character to draw: "?" for one that the font lacks, however many bytes it has. */
static char next_letter(const char **words)
{
    const char letter = *(*words)++;
    while ((**words & 0xc0) == 0x80)
        (*words)++;
    return letter >= ' ' && letter <= '~' ? letter : '?';
}

static double advance(double scale, char letter) { return scale * stb_easy_font_width((char[]){ letter, 0 }); }

double canvas_text(bl_image *c, double x, double y, double scale, colour ink, const char *words)
{
    while (*words) {
        const char letter = next_letter(&words);
        draw_letter(c, x, y, scale, ink, letter);
        x += advance(scale, letter);
    }
    return x;
}

double canvas_text_width(double scale, const char *words)
{
    double width = 0;
    while (*words)
        width += advance(scale, next_letter(&words));
    return width;
}
