/* Coefficients of every step, scheduler by scheduler. Layer 4. */
#include "noise.h"
#include "scheduler_table.h"
#include <math.h>

/* x' = *cx * x + *ce * e from abar a to abar p for model output e, without noise (PNDM eq. 11, which is DDIM eq. 12 with eta 0,
 * written without cancellation), plus what noise of deviation `sigma` takes from the direction to x. */
static void transfer(bl_prediction prediction, double a, double p, double sigma, double *cx, double *ce)
{
    *cx = sqrt(p / a);
    *ce = (a - p) / (a * sqrt(1 - p) + sqrt(a * (1 - a) * p));
    if (sigma > 0)
        *ce += sqrt(BL_MAX(1 - p - sigma * sigma, 0)) - sqrt(1 - p);
    if (prediction == BL_PREDICT_V) { /* epsilon = sqrt(a) v + sqrt(1 - a) x */
        *cx += *ce * sqrt(1 - a);
        *ce *= sqrt(a);
    }
}

/* m = px * x + pe * e is what the model says of x0. */
static void predict_x0(bl_prediction prediction, double a, bl_step *s)
{
    s->px = (float)(prediction == BL_PREDICT_V ? sqrt(a) : 1 / sqrt(a));
    s->pe = (float)(prediction == BL_PREDICT_V ? -sqrt(1 - a) : -sqrt((1 - a) / a));
}

static void set_level(double time, double to, bl_step *s)
{
    s->t = (float)time;
    s->in_scale = 1;
    s->pe = 1;
    s->blend_x = (float)sqrt(to);
    s->blend_n = (float)sqrt(1 - to);
}

uint32_t bl_steps_ddim(const bl_table *t, uint32_t start, bl_step *steps, double *abar)
{
    uint32_t count = 0;
    for (uint32_t k = start; k < t->n; k++, count++) {
        bl_step *s = &steps[count];
        const double a = t->levels[k].from, p = t->levels[k].to;
        const double sigma = t->eta * sqrt(BL_MAX((1 - p) / (1 - a) * (1 - a / p), 0)); /* DDIM eq. 16 */
        double cx, ce;
        transfer(t->config->prediction, a, p, sigma, &cx, &ce);
        set_level(t->levels[k].time, p, s);
        s->cx = (float)cx;
        s->k0 = (float)ce;
        s->kn = (float)sigma;
        abar[count] = a;
    }
    return count;
}

/* Base entry that entry k of PNDM's table (t0, t1, t1, t2, ...) repeats. */
static uint32_t pndm_entry(uint32_t k) { return k < 2 ? k : k - 1; }

/* Adams-Bashforth weights of the output and its predecessors, by evaluation; the second one is Heun's: it repeats the first step from
 * the saved sample with the mean of the outputs at both ends, and is not remembered. */
uint32_t bl_steps_pndm(const bl_table *t, uint32_t start, bl_step *steps, double *abar)
{
    static const double weights[5][4] = {
        { 1 }, { 1 / 2.0, 1 / 2.0 }, { 3 / 2.0, -1 / 2.0 }, { 23 / 12.0, -16 / 12.0, 5 / 12.0 },
        { 55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0 },
    };
    const bool restart = t->config->kind == BL_SCHEDULER_PNDM; /* the start repeats the second timestep wherever it is */
    for (uint32_t i = 0;; i++) {
        const uint32_t k = restart ? pndm_entry(start) + pndm_entry(i) : pndm_entry(start + i);
        if (k >= t->n)
            return i;
        bl_step *s = &steps[i];
        const double *w = weights[BL_MIN(i, 4)];
        const int32_t time = (int32_t)t->levels[k].time, from = i == 1 ? time + t->stride : time;
        const double p = bl_table_alpha(t, from - t->stride);
        double cx, ce;
        transfer(t->config->prediction, bl_table_alpha(t, from), p, 0, &cx, &ce);
        set_level(time, p, s);
        *(i == 1 ? &s->cs : &s->cx) = (float)cx;
        s->k0 = (float)(ce * w[0]);
        s->k1 = (float)(ce * w[1]);
        s->k2 = (float)(ce * w[2]);
        s->k3 = (float)(ce * w[3]);
        s->save = i == 0;
        s->push = i != 1;
        abar[i] = t->levels[k].from;
    }
}

/* Multistep DPM-Solver++ (Lu et al., algorithm 2) on predictions m of x0. With lambda = -log sigma of both ends, h their difference and
 * h1 that of the step before: exp(-h) is the ratio of the sigmas, 0 at the end, where x' = m. */
uint32_t bl_steps_dpmpp(const bl_table *t, uint32_t start, bl_step *steps, double *abar)
{
    const bl_scheduler_config *c = t->config;
    const bool low_end = c->euler_at_final || c->final_sigma_zero || (c->lower_order_final && t->n < 15);
    uint32_t count = 0;
    for (uint32_t k = start; k < t->n; k++, count++) {
        bl_step *s = &steps[count];
        const double a = t->levels[k].from, p = t->levels[k].to, ratio = sqrt((1 - p) / p * a / (1 - a));
        const double whole = sqrt(p) * (1 - ratio);
        double share = 0; /* of m - h1 */
        if (c->order > 1 && count && !(low_end && k + 1 == t->n)) {
            const double b = t->levels[k - 1].from, h = -bl_log(ratio), h1 = bl_log(sqrt((1 - b) / b * a / (1 - a)));
            share = (c->heun && h > 0 ? sqrt(p) - whole / h : whole / 2) * h / h1;
        }
        set_level(t->levels[k].time, p, s);
        predict_x0(c->prediction, a, s);
        s->cx = (float)sqrt((1 - p) / (1 - a));
        s->k0 = (float)(whole + share);
        s->k1 = (float)-share;
        s->push = 1;
        abar[count] = a;
    }
    return count;
}

/* Multistep consistency sampling (Luo et al., algorithm 3): the model's x0, with the boundary condition of its training (sigma_data 0.5)
 * weighed against the sample, is noised again to the next level. */
uint32_t bl_steps_lcm(const bl_table *t, uint32_t start, bl_step *steps, double *abar)
{
    uint32_t count = 0;
    for (uint32_t k = start; k < t->n; k++, count++) {
        bl_step *s = &steps[count];
        const double a = t->levels[k].from, p = t->levels[k].to;
        const double scaled = t->levels[k].time * t->config->timestep_scaling, both = scaled * scaled + 0.25;
        set_level(t->levels[k].time, p, s);
        predict_x0(t->config->prediction, a, s);
        s->cx = (float)(sqrt(p) * 0.25 / both);
        s->k0 = (float)(sqrt(p) * scaled / sqrt(both));
        s->kn = (float)sqrt(1 - p);
        abar[count] = a;
    }
    return count;
}
