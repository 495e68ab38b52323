#include "bench_plot.h"
#include <math.h>
#include <string.h>

enum { WIDTH = BENCH_PLOT_WIDTH, HEIGHT = BENCH_PLOT_HEIGHT, LEFT = 86, TOP = 84, RIGHT = 226, BOTTOM = 70, BOXES = 4096 };
enum { PLOT_WIDTH = WIDTH - LEFT - RIGHT, PLOT_HEIGHT = HEIGHT - TOP - BOTTOM };

/* Families by what names of ops begin with; colours that colour-blind readers tell apart (Okabe, Ito 2008). */
static const struct { const char *name; colour ink; const char *prefixes; } families[] = {
    { "matrix product", { 0x00, 0x72, 0xb2 }, "matmul" },
    { "convolution", { 0xd5, 0x5e, 0x00 }, "conv" },
    { "attention", { 0x00, 0x9e, 0x73 }, "attention heads" },
    { "normalisation", { 0xcc, 0x79, 0xa7 }, "channel_stats group layer normalize" },
    { "elementwise", { 0xe6, 0x9f, 0x00 }, "activation geglu add copy fill upsample clamp bicubic" },
    { "maps, losses, sampling", { 0x56, 0xb4, 0xe9 }, "" },
};
static const colour BLACK = { 0x22, 0x22, 0x22 }, GREY = { 0x44, 0x44, 0x44 }, WHITE = { 255, 255, 255 };
static const colour DECADE = { 0xc9, 0xce, 0xd6 }, BETWEEN = { 0xee, 0xf0, 0xf3 };
enum { FAMILIES = sizeof(families) / sizeof(families[0]) };

typedef struct box {
    double x, y, width, height;
} box;

typedef struct plot {
    const pen *pen;
    double x_low, x_high, y_low, y_high; /* decades */
    box taken[BOXES];                    /* by labels and points, so that labels do not cover them */
    size_t count;
    bool shown[FAMILIES], half;          /* what has points: the legend tells it */
} plot;

static size_t family_of(const char *op)
{
    for (size_t f = 0; f < FAMILIES; f++)
        for (const char *p = families[f].prefixes; *p; p += strcspn(p, " "), p += *p == ' ')
            if (!strncmp(op, p, strcspn(p, " ")))
                return f;
    return FAMILIES - 1;
}

static double at_x(const plot *p, double intensity)
{
    return LEFT + PLOT_WIDTH * (log10(intensity) - p->x_low) / (p->x_high - p->x_low);
}

static double at_y(const plot *p, double gflops)
{
    return TOP + PLOT_HEIGHT * (p->y_high - log10(gflops)) / (p->y_high - p->y_low);
}

static bool is_point(const json_t *row)
{
    return !strcmp(bench_text(row, "kind"), "shader") && bench_number(row, "gflops") > 0 && bench_number(row, "intensity") > 0;
}

bool bench_plot_shows(const bench_results *r)
{
    for (size_t k = 0; k < json_array_size(r->rows); k++)
        if (is_point(json_array_get(r->rows, k)))
            return true;
    return false;
}

/* --- axes ------------------------------------------------------------------------------------------------------------------ */

static double peak(const bench_results *r, const char *name, const char *key)
{
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        const json_t *row = json_array_get(r->rows, k);
        if (!strcmp(bench_text(row, "kind"), "peak") && !strcmp(bench_text(row, "name"), name))
            return bench_number(row, key);
    }
    return 0;
}

/* Whole decades that hold every point and the roofs. */
static void choose_axes(const bench_results *r, plot *p)
{
    double x[2] = { 1e30, 0 }, y[2] = { 1e30, 0 };
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        const json_t *row = json_array_get(r->rows, k);
        const bool roof = !strcmp(bench_text(row, "kind"), "peak") && !strcmp(bench_text(row, "unit"), "FLOP");
        if (roof && bench_number(row, "gflops") > 0)
            y[1] = fmax(y[1], bench_number(row, "gflops"));
        if (!is_point(row))
            continue;
        x[0] = fmin(x[0], bench_number(row, "intensity"));
        x[1] = fmax(x[1], bench_number(row, "intensity"));
        y[0] = fmin(y[0], bench_number(row, "gflops"));
        y[1] = fmax(y[1], bench_number(row, "gflops"));
    }
    const double memory = peak(r, "copy", "gbps"), compute = peak(r, "fma_f32", "gflops");
    if (memory > 0 && compute > 0) /* the ridge is in the picture */
        x[1] = fmax(x[1], 3 * compute / memory);
    p->x_low = floor(log10(x[0]) - 0.05);
    p->x_high = ceil(log10(x[1]) + 0.05);
    p->y_low = floor(log10(y[0]) - 0.05);
    p->y_high = ceil(log10(y[1]) + 0.1);
}

static void put_grid(const plot *p)
{
    char text[32];
    for (int d = (int)p->x_low; d <= (int)p->x_high; d++) {
        for (int i = 1; i < 10 && (i == 1 || d < (int)p->x_high); i++) {
            const double x = at_x(p, i * pow(10, d));
            pen_line(p->pen, x, TOP, x, TOP + PLOT_HEIGHT, 1, i == 1 ? DECADE : BETWEEN);
        }
        snprintf(text, sizeof(text), "%g", pow(10, d));
        pen_text(p->pen, at_x(p, pow(10, d)), TOP + PLOT_HEIGHT + 20, PEN_MIDDLE, 12, GREY, text);
    }
    for (int d = (int)p->y_low; d <= (int)p->y_high; d++) {
        for (int i = 1; i < 10 && (i == 1 || d < (int)p->y_high); i++) {
            const double y = at_y(p, i * pow(10, d));
            pen_line(p->pen, LEFT, y, LEFT + PLOT_WIDTH, y, 1, i == 1 ? DECADE : BETWEEN);
        }
        snprintf(text, sizeof(text), "%g", pow(10, d));
        pen_text(p->pen, LEFT - 8, at_y(p, pow(10, d)) + 4, PEN_END, 12, GREY, text);
    }
    pen_text(p->pen, LEFT + PLOT_WIDTH / 2.0, HEIGHT - 24, PEN_MIDDLE, 14, BLACK, "arithmetic intensity, FLOP per byte");
    pen_text(p->pen, LEFT - 8, TOP - 14, PEN_END, 14, BLACK, "GFLOP/s");
}

/* --- roofs ----------------------------------------------------------------------------------------------------------------- */

static void take(plot *p, box b)
{
    if (p->count < BOXES)
        p->taken[p->count++] = b;
}

static void put_roofs(const bench_results *r, plot *p)
{
    char text[128];
    const double memory = peak(r, "copy", "gbps");
    double highest = 0;
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        const json_t *row = json_array_get(r->rows, k);
        const double roof = bench_number(row, "gflops");
        if (strcmp(bench_text(row, "kind"), "peak") || strcmp(bench_text(row, "unit"), "FLOP") || !(roof > 0))
            continue;
        highest = fmax(highest, roof);
        const double from = memory > 0 ? fmax(log10(roof / memory), p->x_low) : p->x_low, y = at_y(p, roof);
        pen_line(p->pen, at_x(p, pow(10, from)), y, LEFT + PLOT_WIDTH, y, 2, BLACK);
        snprintf(text, sizeof(text), "%s: %.4g GFLOP/s", bench_text(row, "name"), roof);
        pen_text(p->pen, LEFT + PLOT_WIDTH - 6, y - 6, PEN_END, 12, BLACK, text);
        take(p, (box){ LEFT + PLOT_WIDTH - 240, y - 18, 240, 20 });
    }
    if (memory > 0) {
        const double top = highest > 0 ? highest : pow(10, p->y_high);
        const double x0 = fmax(p->x_low, p->y_low - log10(memory)), x1 = fmin(p->x_high, log10(top / memory));
        if (x1 <= x0)
            return;
        const double ax = at_x(p, pow(10, x0)), ay = at_y(p, memory * pow(10, x0)), bx = at_x(p, pow(10, x1));
        const double by = at_y(p, memory * pow(10, x1));
        pen_line(p->pen, ax, ay, bx, by, 2, BLACK);
        snprintf(text, sizeof(text), "copy: %.4g GB/s", memory);
        const double x = ax + 0.3 * (bx - ax) + 10, y = ay + 0.3 * (by - ay) + 14;
        pen_text(p->pen, x, y, PEN_START, 12, BLACK, text);
        take(p, (box){ x, y - 12, 110, 16 });
        enum { PIECES = 40 };
        for (int i = 0; i < PIECES; i++) /* names do not lie on the line */
            take(p, (box){ ax + (bx - ax) * i / PIECES - 8, ay + (by - ay) * i / PIECES - 12, 16, 20 });
    }
}

/* --- points ---------------------------------------------------------------------------------------------------------------- */

static bool overlaps(const plot *p, box b)
{
    for (size_t i = 0; i < p->count; i++) {
        const box *t = &p->taken[i];
        if (b.x < t->x + t->width && t->x < b.x + b.width && b.y < t->y + t->height && t->y < b.y + b.height)
            return true;
    }
    return b.x < LEFT || b.x + b.width > LEFT + PLOT_WIDTH || b.y < TOP || b.y + b.height > TOP + PLOT_HEIGHT;
}

/* The fastest row of its op, of all types and shapes: it gets a label. */
static bool is_best(const bench_results *r, const json_t *row)
{
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        const json_t *other = json_array_get(r->rows, k);
        if (is_point(other) && !strcmp(bench_text(other, "op"), bench_text(row, "op")) &&
            bench_number(other, "gflops") > bench_number(row, "gflops"))
            return false;
    }
    return true;
}

static void put_point(plot *p, const json_t *row)
{
    const double x = at_x(p, bench_number(row, "intensity")), y = at_y(p, bench_number(row, "gflops"));
    const size_t family = family_of(bench_text(row, "op"));
    const bool half = !strcmp(bench_text(row, "type"), "f16");
    p->shown[family] = true;
    p->half |= half;
    char title[512];
    snprintf(title, sizeof(title), "%.100s\n%.200s\n%.4g GFLOP/s, %.4g GB/s, %.0f %% of the roof", bench_text(row, "name"),
             bench_text(row, "shape"), bench_number(row, "gflops"), bench_number(row, "gbps"), 100 * bench_number(row, "share"));
    pen_dot(p->pen, x, y, 3.5, half ? WHITE : families[family].ink, families[family].ink, title);
    take(p, (box){ x - 3, y - 3, 6, 6 });
}

/* Beside its point where nothing is in the way, else nowhere: the title of the point says it too. */
static void put_name(plot *p, const json_t *row)
{
    const char *name = bench_text(row, "kernel");
    const double x = at_x(p, bench_number(row, "intensity")), y = at_y(p, bench_number(row, "gflops")), width = 6.3 * (double)strlen(name);
    const box places[] = { { x + 7, y - 7, width, 13 }, { x - 7 - width, y - 7, width, 13 }, { x - width / 2, y - 20, width, 13 },
                           { x - width / 2, y + 7, width, 13 }, { x + 6, y - 19, width, 13 }, { x + 6, y + 6, width, 13 } };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (!overlaps(p, places[i])) {
            pen_text(p->pen, places[i].x, places[i].y + 10.5, PEN_START, 11, families[family_of(bench_text(row, "op"))].ink, name);
            take(p, places[i]);
            return;
        }
}

static void put_legend(const plot *p)
{
    const double x = LEFT + PLOT_WIDTH + 24;
    double y = TOP + 14;
    for (size_t f = 0; f < FAMILIES; f++)
        if (p->shown[f]) {
            pen_dot(p->pen, x, y, 5, families[f].ink, families[f].ink, NULL);
            pen_text(p->pen, x + 14, y + 4, PEN_START, 12, BLACK, families[f].name);
            y += 24;
        }
    if (p->half) {
        pen_dot(p->pen, x, y, 4.5, WHITE, GREY, NULL);
        pen_text(p->pen, x + 14, y + 4, PEN_START, 12, BLACK, "stored as fp16");
    }
}

static void put_heading(const plot *p, const json_t *context)
{
    char text[512];
    snprintf(text, sizeof(text), "%.200s", bench_context_text(context, "device", "name"));
    pen_text(p->pen, LEFT, 26, PEN_START, 17, BLACK, text);
    snprintf(text, sizeof(text), "%.200s; blemish %.20s, kernels %.12s; %.32s", bench_context_text(context, "device", "driver"),
             bench_text(context, "blemish"), bench_text(context, "kernels"), bench_text(context, "time"));
    pen_text(p->pen, LEFT, 46, PEN_START, 12, GREY, text);
}

void bench_plot(const bench_results *r, const pen *pen)
{
    plot p = { .pen = pen };
    choose_axes(r, &p);
    pen_begin(pen, BENCH_PLOT_WIDTH, BENCH_PLOT_HEIGHT);
    put_heading(&p, r->context);
    put_grid(&p);
    for (size_t k = 0; k < json_array_size(r->rows); k++)
        if (is_point(json_array_get(r->rows, k)))
            put_point(&p, json_array_get(r->rows, k));
    put_roofs(r, &p);
    for (size_t k = 0; k < json_array_size(r->rows); k++) {
        const json_t *row = json_array_get(r->rows, k);
        if (is_point(row) && is_best(r, row))
            put_name(&p, row);
    }
    put_legend(&p);
    pen_end(pen);
}
