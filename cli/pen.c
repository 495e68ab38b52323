#include "pen.h"
#include <math.h>

static const colour WHITE = { 255, 255, 255 };

static void put_escaped(FILE *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
}

static void put_colour(FILE *out, const char *attribute, colour c)
{
    fprintf(out, " %s=\"#%02x%02x%02x\"", attribute, c.r, c.g, c.b);
}

void pen_begin(const pen *p, int width, int height)
{
    if (p->svg)
        fprintf(p->svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                "font-family=\"Helvetica, Arial, DejaVu Sans, sans-serif\">\n"
                "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", width, height, width, height, width, height);
}

void pen_end(const pen *p)
{
    if (p->svg)
        fputs("</svg>\n", p->svg);
}

void pen_line(const pen *p, double x0, double y0, double x1, double y1, double width, colour ink)
{
    if (p->svg) {
        fprintf(p->svg, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke-width=\"%g\"", x0, y0, x1, y1, width);
        put_colour(p->svg, "stroke", ink);
        fputs("/>\n", p->svg);
    } else {
        canvas_line(p->canvas, PEN_SCALE * x0, PEN_SCALE * y0, PEN_SCALE * x1, PEN_SCALE * y1, (int)lrint(PEN_SCALE * width), ink);
    }
}

void pen_dot(const pen *p, double x, double y, double radius, colour fill, colour edge, const char *title)
{
    if (p->svg) {
        fprintf(p->svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%g\" opacity=\"0.75\"", x, y, radius);
        put_colour(p->svg, "fill", fill);
        put_colour(p->svg, "stroke", edge);
        fputs("><title>", p->svg);
        put_escaped(p->svg, title ? title : "");
        fputs("</title></circle>\n", p->svg);
    } else {
        canvas_disc(p->canvas, PEN_SCALE * x, PEN_SCALE * y, PEN_SCALE * (radius + 0.5), edge);
        canvas_disc(p->canvas, PEN_SCALE * x, PEN_SCALE * y, PEN_SCALE * (radius - 0.5), fill);
    }
}

void pen_text(const pen *p, double x, double y, pen_anchor anchor, double size, colour ink, const char *words)
{
    static const char *const anchors[] = { "start", "middle", "end" };
    if (p->svg) {
        fprintf(p->svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%g\" stroke=\"#fff\" stroke-width=\"3\" "
                "paint-order=\"stroke\"", x, y, anchors[anchor], size);
        put_colour(p->svg, "fill", ink);
        fputs(">", p->svg);
        put_escaped(p->svg, words);
        fputs("</text>\n", p->svg);
        return;
    }
    const double scale = PEN_SCALE * size / 10, edge = PEN_SCALE; /* capitals are 7 tenths of a font's size, and 7 scales */
    const double left = PEN_SCALE * x - anchor * canvas_text_width(scale, words) / 2, top = PEN_SCALE * y - 7 * scale;
    for (int side = 0; side < 4; side++)
        canvas_text(p->canvas, left + (side & 1 ? edge : -edge), top + (side & 2 ? edge : -edge), scale, WHITE, words);
    canvas_text(p->canvas, left, top, scale, ink, words);
}
