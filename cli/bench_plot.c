#include "bench_plot.h"
#include <math.h>
#include <string.h>

enum { WIDTH = 1120, HEIGHT = 700, LEFT = 86, TOP = 64, RIGHT = 226, BOTTOM = 70, BOXES = 4096 };
enum { PLOT_WIDTH = WIDTH - LEFT - RIGHT, PLOT_HEIGHT = HEIGHT - TOP - BOTTOM };

/* Families by what names of ops begin with; colours that colour-blind readers tell apart (Okabe, Ito 2008). */
static const struct { const char *name, *colour, *prefixes; } families[] = {
    { "matrix product", "#0072b2", "matmul" },
    { "convolution", "#d55e00", "conv" },
    { "attention", "#009e73", "attention heads" },
    { "normalisation", "#cc79a7", "channel_stats group layer normalize" },
    { "elementwise", "#e69f00", "activation geglu add copy fill upsample clamp bicubic" },
    { "maps, losses, sampling", "#56b4e9", "" },
};
enum { FAMILIES = sizeof(families) / sizeof(families[0]) };

typedef struct box {
    double x, y, width, height;
} box;

typedef struct plot {
    FILE *out;
    double x_low, x_high, y_low, y_high; /* decades */
    box taken[BOXES];                    /* by labels and points, so that labels do not cover them */
    size_t count;
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

static void put_escaped(FILE *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
}

static void put_label(const plot *p, double x, double y, const char *anchor, const char *style, const char *text)
{
    fprintf(p->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\" %s>", x, y,
            anchor, style); /* a white edge keeps it legible on lines and points */
    put_escaped(p->out, text);
    fputs("</text>\n", p->out);
}

static bool is_point(const json_t *row)
{
    return !strcmp(bench_text(row, "kind"), "shader") && bench_number(row, "gflops") > 0 && bench_number(row, "intensity") > 0;
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
static bool choose_axes(const bench_results *r, plot *p)
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
    if (!(x[1] > 0))
        return false;
    const double memory = peak(r, "copy", "gbps"), compute = peak(r, "fma_f32", "gflops");
    if (memory > 0 && compute > 0) /* the ridge is in the picture */
        x[1] = fmax(x[1], 3 * compute / memory);
    p->x_low = floor(log10(x[0]) - 0.05);
    p->x_high = ceil(log10(x[1]) + 0.05);
    p->y_low = floor(log10(y[0]) - 0.05);
    p->y_high = ceil(log10(y[1]) + 0.1);
    return true;
}

static void put_grid(const plot *p)
{
    char text[32];
    for (int d = (int)p->x_low; d <= (int)p->x_high; d++) {
        for (int i = 1; i < 10 && (i == 1 || d < (int)p->x_high); i++) {
            const double x = at_x(p, i * pow(10, d));
            fprintf(p->out, "<path d=\"M%.1f %dV%d\" stroke=\"%s\"/>\n", x, TOP, TOP + PLOT_HEIGHT, i == 1 ? "#c9ced6" : "#eef0f3");
        }
        snprintf(text, sizeof(text), "%g", pow(10, d));
        put_label(p, at_x(p, pow(10, d)), TOP + PLOT_HEIGHT + 20, "middle", "fill=\"#444\"", text);
    }
    for (int d = (int)p->y_low; d <= (int)p->y_high; d++) {
        for (int i = 1; i < 10 && (i == 1 || d < (int)p->y_high); i++) {
            const double y = at_y(p, i * pow(10, d));
            fprintf(p->out, "<path d=\"M%d %.1fH%d\" stroke=\"%s\"/>\n", LEFT, y, LEFT + PLOT_WIDTH, i == 1 ? "#c9ced6" : "#eef0f3");
        }
        snprintf(text, sizeof(text), "%g", pow(10, d));
        put_label(p, LEFT - 8, at_y(p, pow(10, d)) + 4, "end", "fill=\"#444\"", text);
    }
    put_label(p, LEFT + PLOT_WIDTH / 2.0, HEIGHT - 24, "middle", "fill=\"#222\" font-size=\"14\"", "arithmetic intensity, FLOP per byte");
    fprintf(p->out, "<g transform=\"translate(24 %d) rotate(-90)\">", TOP + PLOT_HEIGHT / 2);
    put_label(p, 0, 0, "middle", "fill=\"#222\" font-size=\"14\"", "GFLOP/s");
    fputs("</g>\n", p->out);
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
        fprintf(p->out, "<path d=\"M%.1f %.1fH%d\" stroke=\"#222\" stroke-width=\"1.8\"/>\n", at_x(p, pow(10, from)), y, LEFT + PLOT_WIDTH);
        snprintf(text, sizeof(text), "%s: %.4g GFLOP/s", bench_text(row, "name"), roof);
        put_label(p, LEFT + PLOT_WIDTH - 6, y - 6, "end", "fill=\"#222\"", text);
        take(p, (box){ LEFT + PLOT_WIDTH - 240, y - 18, 240, 20 });
    }
    if (memory > 0) {
        const double top = highest > 0 ? highest : pow(10, p->y_high);
        const double x0 = fmax(p->x_low, p->y_low - log10(memory)), x1 = fmin(p->x_high, log10(top / memory));
        if (x1 <= x0)
            return;
        const double ax = at_x(p, pow(10, x0)), ay = at_y(p, memory * pow(10, x0)), bx = at_x(p, pow(10, x1));
        const double by = at_y(p, memory * pow(10, x1));
        fprintf(p->out, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#222\" stroke-width=\"1.8\"/>\n", ax, ay, bx, by);
        snprintf(text, sizeof(text), "copy: %.4g GB/s", memory);
        const double turn = atan2(by - ay, bx - ax) * 57.29578;
        fprintf(p->out, "<g transform=\"translate(%.1f %.1f) rotate(%.1f)\">", ax + 0.3 * (bx - ax), ay + 0.3 * (by - ay), turn);
        put_label(p, 0, -7, "middle", "fill=\"#222\"", text);
        fputs("</g>\n", p->out);
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
    fprintf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\" stroke=\"%s\" opacity=\"0.75\"><title>", x, y,
            half ? "#fff" : families[family].colour, families[family].colour);
    put_escaped(p->out, bench_text(row, "name"));
    fprintf(p->out, "\n%s\n%.4g GFLOP/s, %.4g GB/s, %.0f %% of the roof</title></circle>\n", bench_text(row, "shape"),
            bench_number(row, "gflops"), bench_number(row, "gbps"), 100 * bench_number(row, "share"));
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
            char style[64];
            snprintf(style, sizeof(style), "fill=\"%s\" font-size=\"11\"", families[family_of(bench_text(row, "op"))].colour);
            put_label(p, places[i].x, places[i].y + 10.5, "start", style, name);
            take(p, places[i]);
            return;
        }
}

static void put_legend(const plot *p)
{
    const double x = LEFT + PLOT_WIDTH + 24;
    for (size_t f = 0; f < FAMILIES; f++) {
        const double y = TOP + 14 + 24 * (double)f;
        fprintf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"/>\n", x, y, families[f].colour);
        put_label(p, x + 14, y + 4, "start", "fill=\"#222\"", families[f].name);
    }
    const double y = TOP + 14 + 24 * (double)FAMILIES;
    fprintf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"#fff\" stroke=\"#444\" stroke-width=\"1.5\"/>\n", x, y);
    put_label(p, x + 14, y + 4, "start", "fill=\"#222\"", "stored as fp16");
}

bool bench_plot(const bench_results *r, FILE *out)
{
    char text[512];
    plot p = { .out = out };
    if (!choose_axes(r, &p))
        return false;
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"Helvetica, Arial, DejaVu Sans, sans-serif\" font-size=\"12\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    snprintf(text, sizeof(text), "%.200s", bench_context_text(r->context, "device", "name"));
    put_label(&p, LEFT, 28, "start", "fill=\"#111\" font-size=\"17\" font-weight=\"bold\"", text);
    snprintf(text, sizeof(text), "%.200s; blemish %.20s, kernels %.12s; %.32s", bench_context_text(r->context, "device", "driver"),
             bench_text(r->context, "blemish"), bench_text(r->context, "kernels"), bench_text(r->context, "time"));
    put_label(&p, LEFT, 48, "start", "fill=\"#555\"", text);
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
    fputs("</svg>\n", out);
    return true;
}
