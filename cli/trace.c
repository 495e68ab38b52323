/* Layer 6. */
#include "trace.h"
#include "canvas.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- JSON lines ------------------------------------------------------------------------------------------------------------ */

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static bool print_object(FILE *f, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    const bool ok = text && fprintf(f, "%s\n", text) > 0;
    free(text);
    json_decref(object);
    return ok;
}

static json_t *summary(const bl_generate_result *made)
{
    json_t *memory = json_object();
    for (uint32_t i = 0; i < made->memory.stage_count; i++) {
        const bl_memory_stage *s = &made->memory.stages[i];
        json_object_set_new(memory, s->name, json_integer((json_int_t)s->held)); /* of stages that run often, the last */
    }
    return json_pack("{s:s,s:i,s:i,s:i,s:i,s:f,s:f,s:f,s:I,s:o}", "kind", "run", "steps", (int)made->steps_run, "unet_forwards",
                     (int)made->forwards, "unet_backwards", (int)made->backwards, "decodes", (int)made->decodes, "gflop", made->gflop,
                     "plain_gflop", made->plain_gflop, "seconds", made->seconds, "device_bytes", (json_int_t)made->device_bytes, "held",
                     memory);
}

static json_t *update_json(const bl_trace_step *s)
{
    json_t *o = json_pack("{s:s,s:i,s:i,s:o,s:o,s:o,s:i,s:[i,i]}", "kind", s->measured ? "measured" : "update", "step", (int)s->step,
                          "inner", (int)s->inner, "t", number((double)s->timestep), "attention_loss", number((double)s->attention_loss),
                          "image_loss", number((double)s->image_loss), "n", (int)s->n, "peak", (int)s->x, (int)s->y);
    if (o && !s->measured)
        json_object_update_new(o, json_pack("{s:o,s:o,s:o}", "gradient_norm", number((double)s->gradient_norm), "alpha",
                                            number((double)s->alpha), "seconds", number((double)s->seconds)));
    return o;
}

bl_result trace_write(const char *path, const bl_generate_result *made)
{
    FILE *f = fopen(path, "wx");
    bool ok = f && print_object(f, summary(made));
    for (uint32_t i = 0; ok && i < made->trace_count; i++)
        ok = print_object(f, update_json(&made->trace[i]));
    ok = f && !fflush(f) && !fsync(fileno(f)) && ok;
    if (f && fclose(f))
        ok = false;
    return ok ? BL_OK : BL_ERROR_OUTPUT;
}

/* --- plot ------------------------------------------------------------------------------------------------------------------- */

enum { WIDTH = 960, PANEL = 190, TOP = 34, LEFT = 90, RIGHT = 20, PANELS = 4, HEIGHT = TOP + PANELS * PANEL + 36 };

static const colour INK = { 40, 44, 52 }, GRID = { 225, 228, 232 }, CURVE = { 32, 110, 190 }, AFTER = { 214, 90, 49 },
    PAPER = { 255, 255, 255 };

static void text(bl_image *c, int x, int y, colour ink, const char *words) { canvas_text(c, x, y, 2, ink, words); }

static double value_of(const bl_trace_step *s, int panel)
{
    const double values[PANELS] = { (double)s->attention_loss, (double)s->n, (double)s->gradient_norm, (double)s->alpha };
    return s->measured && panel > 1 ? NAN : values[panel];
}

/* The steps as a line from 0, updates within one spread over it: what is measured after them comes last. */
typedef struct axis {
    double spread, end;
} axis;

static axis axis_of(const bl_generate_result *made)
{
    uint32_t inner = 1, steps = made->steps_run;
    for (uint32_t i = 0; i < made->trace_count; i++) {
        inner = made->trace[i].inner > inner ? made->trace[i].inner : inner;
        steps = made->trace[i].step > steps ? made->trace[i].step : steps;
    }
    const axis a = { inner, (steps ? steps : 1) - 1 + (inner - 1.0) / inner };
    return a.end > 0 ? a : (axis){ inner, 1 };
}

static double across(const axis *a, double at) { return LEFT + (WIDTH - RIGHT - LEFT) * at / a->end; }

/* A number every 1, 2, 5, 10, ... steps, so that they do not touch. */
static void draw_steps(bl_image *c, const axis *a, int top, int bottom, bool numbers)
{
    static const int sizes[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500 };
    size_t k = 0;
    while (k + 1 < sizeof(sizes) / sizeof(*sizes) && across(a, sizes[k]) - LEFT < 60)
        k++;
    for (int step = 1; step - 1 <= a->end; step += step == 1 && sizes[k] > 1 ? sizes[k] - 1 : sizes[k]) {
        const int x = (int)across(a, step - 1);
        char label[16];
        snprintf(label, sizeof(label), "%d", step);
        canvas_box(c, x, top, x + 1, bottom, GRID);
        canvas_box(c, x, bottom, x + 1, bottom + 5, INK);
        if (numbers)
            text(c, x - 6 * (int)strlen(label), bottom + 8, INK, label);
    }
}

/* One quantity over the steps; what was measured after the updates of a step in another colour. */
static void draw_panel(bl_image *c, const bl_generate_result *made, int panel)
{
    static const char *const names[PANELS] = { "attention loss", "n: cells above the mean", "|gradient|", "step size alpha" };
    const int top = TOP + panel * PANEL + 26, bottom = TOP + (panel + 1) * PANEL - 16;
    const axis a = axis_of(made);
    double most = 0;
    char label[64];
    for (uint32_t i = 0; i < made->trace_count; i++)
        most = fmax(most, value_of(&made->trace[i], panel)); /* fmax passes over NaN */
    most = panel == 0 ? fmax(most, 1) : most > 0 ? most * 1.05 : 1;
    text(c, LEFT, top - 22, INK, names[panel]);
    draw_steps(c, &a, top, bottom, panel == PANELS - 1);
    for (int k = 0; k <= 2; k++) {
        const int y = bottom - (bottom - top) * k / 2;
        canvas_box(c, LEFT, y, WIDTH - RIGHT, y + 1, GRID);
        snprintf(label, sizeof(label), "%.3g", most * k / 2);
        text(c, 8, y - 7, INK, label);
    }
    canvas_box(c, LEFT, top, LEFT + 1, bottom, INK);
    canvas_box(c, LEFT, bottom, WIDTH - RIGHT, bottom + 1, INK);
    double x0 = 0, y0 = NAN;
    for (uint32_t i = 0; i < made->trace_count; i++) {
        const bl_trace_step *s = &made->trace[i];
        const double v = value_of(s, panel), y = bottom - (bottom - top) * v / most;
        const double x = across(&a, s->step - 1 + (s->inner - 1) / a.spread);
        if (!isfinite(v))
            continue;
        if (s->measured) {
            canvas_box(c, (int)x - 3, (int)y - 3, (int)x + 4, (int)y + 4, AFTER);
            continue;
        }
        if (isfinite(y0))
            canvas_line(c, x0, y0, x, y, 2, CURVE);
        canvas_box(c, (int)x - 2, (int)y - 2, (int)x + 4, (int)y + 4, CURVE);
        x0 = x;
        y0 = y;
    }
}

bl_result trace_plot(const char *path, const bl_generate_result *made)
{
    bl_image c;
    char label[96];
    if (!canvas_create(&c, WIDTH, HEIGHT, PAPER))
        return BL_ERROR_MEMORY;
    uint32_t updates = 0;
    for (uint32_t i = 0; i < made->trace_count; i++)
        updates += !made->trace[i].measured;
    snprintf(label, sizeof(label), "%u steps, %u updates, %.1f s", made->steps_run, updates, made->seconds);
    text(&c, LEFT, 10, INK, label);
    if (updates < made->trace_count)
        text(&c, LEFT + 400, 10, AFTER, "measured after the updates");
    for (int panel = 0; panel < PANELS; panel++)
        draw_panel(&c, made, panel);
    text(&c, WIDTH / 2 - 20, HEIGHT - 22, INK, "step");
    const bl_result result = bl_image_write_png(path, &c, NULL, 0);
    canvas_free(&c);
    return result;
}
