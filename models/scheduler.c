/* Scheduler configuration, noise levels, and the tables of DDIM and PNDM. Layer 4. */
#include "scheduler.h"
#include "json.h"
#include "noise.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 65536, TRAIN_STEPS_MAX = 10000 };

/* --- names -------------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = { "ddim", "pndm", "pndm-diffusers" };
static const char *const spacing_names[] = { "leading", "trailing", "linspace" };
static const char *const prediction_names[] = { "epsilon", "v_prediction" };
static const char *const beta_names[] = { "scaled_linear", "linear", "squaredcos_cap_v2" };
static const char *const class_names[] = { "DDIMScheduler", "PNDMScheduler" }; /* in the order of kind_names */

const char *bl_scheduler_name(bl_scheduler_kind kind) { return kind_names[kind]; }
const char *bl_spacing_name(bl_spacing spacing) { return spacing_names[spacing]; }

/* Index of `text` among `count` names, or `count`. */
static size_t find(const char *const *names, size_t count, const char *text)
{
    size_t i = 0;
    while (i < count && strcmp(names[i], text))
        i++;
    return i;
}

/* "a, b, c" */
static const char *list(const char *const *names, size_t count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", names[i]);
    return text;
}

/* --- configuration ------------------------------------------------------------------------------------------------- */

/* A text member that must be one of `names`. */
static bl_result read_choice(const json_t *object, const char *path, const char *key, const char *const *names, size_t count,
                             size_t fallback, size_t *out)
{
    const char *text;
    char known[128];
    const bl_result result = bl_json_text(object, path, key, names[fallback], &text);
    if (result != BL_OK)
        return result;
    *out = find(names, count, text);
    if (*out == count)
        return bl_fail(BL_ERROR_MODEL, "%s: %s \"%.40s\" is not supported; known: %s", path, key, text,
                       list(names, count, known, sizeof(known)));
    return BL_OK;
}

/* A switch that must be off: no scheduler here does what it asks for. */
static bl_result refuse_true(const json_t *object, const char *path, const char *key)
{
    bool on;
    const bl_result result = bl_json_bool(object, path, key, false, &on);
    if (result == BL_OK && on)
        return bl_fail(BL_ERROR_MODEL, "%s: %s is true, which is not supported", path, key);
    return result;
}

static bl_result read_object(const json_t *object, const char *path, bl_scheduler_config *c)
{
    bl_result result = BL_OK;
    const char *class_name;
    size_t kind, choice;
    bool skip_prk;

    if (!json_is_object(object))
        return bl_fail(BL_ERROR_MODEL, "%s: not a JSON object", path);
    BL_TRY(bl_json_text(object, path, "_class_name", NULL, &class_name));
    if (!class_name)
        return bl_fail(BL_ERROR_MODEL, "%s: no _class_name: not a scheduler configuration", path);
    kind = find(class_names, BL_COUNT(class_names), class_name);
    if (kind == BL_COUNT(class_names))
        snprintf(c->problem, sizeof(c->problem),
                 "scheduler class \"%.40s\" is not known (known: DDIMScheduler, PNDMScheduler); choose one, such as --scheduler ddim",
                 class_name);
    else
        c->kind = (bl_scheduler_kind)kind;
    BL_TRY(bl_json_bool(object, path, "skip_prk_steps", false, &skip_prk));
    if (kind == BL_SCHEDULER_PNDM && !skip_prk)
        snprintf(c->problem, sizeof(c->problem), "PNDMScheduler without skip_prk_steps (Runge-Kutta warm-up) is not supported; "
                 "choose another, such as --scheduler pndm");

    BL_TRY(refuse_true(object, path, "clip_sample"));
    BL_TRY(refuse_true(object, path, "thresholding"));
    BL_TRY(refuse_true(object, path, "rescale_betas_zero_snr"));
    if (json_object_get(object, "trained_betas") && !json_is_null(json_object_get(object, "trained_betas")))
        return bl_fail(BL_ERROR_MODEL, "%s: trained_betas are not supported", path);

    BL_TRY(read_choice(object, path, "timestep_spacing", spacing_names, BL_COUNT(spacing_names), BL_SPACING_LEADING, &choice));
    c->spacing = (bl_spacing)choice;
    BL_TRY(read_choice(object, path, "prediction_type", prediction_names, BL_COUNT(prediction_names), BL_PREDICT_EPSILON, &choice));
    c->prediction = (bl_prediction)choice;
    BL_TRY(read_choice(object, path, "beta_schedule", beta_names, BL_COUNT(beta_names), BL_BETAS_LINEAR, &choice));
    c->betas = (bl_beta_schedule)choice;
    BL_TRY(bl_json_f64(object, path, "beta_start", 0.0001, &c->beta_start));
    BL_TRY(bl_json_f64(object, path, "beta_end", 0.02, &c->beta_end));
    if (!(c->beta_start > 0 && c->beta_start <= c->beta_end && c->beta_end < 1))
        return bl_fail(BL_ERROR_MODEL, "%s: beta_start %g, beta_end %g: 0 < beta_start <= beta_end < 1 must hold", path, c->beta_start,
                       c->beta_end);
    BL_TRY(bl_json_u32(object, path, "num_train_timesteps", 1, TRAIN_STEPS_MAX, 1000, &c->train_steps));
    BL_TRY(bl_json_u32(object, path, "steps_offset", 0, c->train_steps - 1, BL_MIN(1, c->train_steps - 1), &c->steps_offset));
    BL_TRY(bl_json_bool(object, path, "set_alpha_to_one", kind != BL_SCHEDULER_PNDM, &c->set_alpha_to_one));
fail:
    return result;
}

bl_result bl_scheduler_config_read(const char *path, bl_scheduler_config *out)
{
    json_t *object = NULL;
    memset(out, 0, sizeof(*out));
    bl_result result = bl_json_read(path, CONFIG_MAX_BYTES, BL_ERROR_MODEL, &object);
    if (result != BL_OK)
        return result;
    bl_scheduler_config c = { 0 };
    result = read_object(object, path, &c);
    json_decref(object);
    if (result == BL_OK)
        *out = c;
    return result;
}

bl_result bl_scheduler_config_override(bl_scheduler_config *config, const char *name, const char *spacing)
{
    bl_scheduler_config c = *config;
    char known[128];
    if (name) {
        const size_t kind = find(kind_names, BL_COUNT(kind_names), name);
        if (kind == BL_COUNT(kind_names))
            return bl_fail(BL_ERROR_USAGE, "scheduler \"%.40s\" is not known; known: %s", name,
                           list(kind_names, BL_COUNT(kind_names), known, sizeof(known)));
        c.kind = (bl_scheduler_kind)kind;
        c.problem[0] = 0;
    }
    if (spacing) {
        const size_t choice = find(spacing_names, BL_COUNT(spacing_names), spacing);
        if (choice == BL_COUNT(spacing_names))
            return bl_fail(BL_ERROR_USAGE, "timestep spacing \"%.40s\" is not known; known: %s", spacing,
                           list(spacing_names, BL_COUNT(spacing_names), known, sizeof(known)));
        c.spacing = (bl_spacing)choice;
    }
    if (c.problem[0])
        return bl_fail(BL_ERROR_MODEL, "%s", c.problem);
    *config = c;
    return BL_OK;
}

/* --- noise levels --------------------------------------------------------------------------------------------------- */

/* cos^2((u + 0.008) / 1.008 * pi / 2), 0 <= u <= 1 (Nichol, Dhariwal: Improved DDPM. ICML 2021). */
static double squared_cosine(double u)
{
    double sine, cosine;
    bl_sincos_turns((u + 0.008) / 1.008 / 4, &sine, &cosine);
    return cosine * cosine;
}

static double beta_at(const bl_scheduler_config *c, uint32_t k)
{
    const double u = c->train_steps > 1 ? k / (c->train_steps - 1.0) : 0;
    double root;
    switch (c->betas) {
    case BL_BETAS_LINEAR:
        return c->beta_start + u * (c->beta_end - c->beta_start);
    case BL_BETAS_SQUAREDCOS_CAP_V2:
        return BL_MIN(1 - squared_cosine((k + 1.0) / c->train_steps) / squared_cosine((double)k / c->train_steps), 0.999);
    case BL_BETAS_SCALED_LINEAR:
        break;
    }
    root = sqrt(c->beta_start) + u * (sqrt(c->beta_end) - sqrt(c->beta_start));
    return root * root;
}

bl_result bl_scheduler_alphas(const bl_scheduler_config *config, double *alphas)
{
    double product = 1;
    for (uint32_t k = 0; k < config->train_steps; k++) {
        product *= 1 - beta_at(config, k);
        if (!(product > 1e-12 && product < 1))
            return bl_fail(BL_ERROR_MODEL, "the scheduler's betas leave a signal of %g at timestep %u; between 1e-12 and 1 is usable",
                           product, (unsigned)k);
        alphas[k] = product;
    }
    return BL_OK;
}

/* --- tables --------------------------------------------------------------------------------------------------------- */

typedef struct table {
    const bl_scheduler_config *config;
    const double *alphas;
    uint32_t n;      /* entries of a whole run, without PNDM's duplicate */
    int32_t stride;  /* timesteps that one step goes down */
    double eta;
} table;

/* Timestep of entry k, descending; as diffusers 0.21 does it with numpy, whose rint rounds halves to even and whose arange multiplies a
 * rounded difference. (Where that rounding gives numpy's "trailing" one entry too many, timestep -1, it is left out.) */
static int32_t timestep(const table *t, uint32_t k)
{
    const double train = t->config->train_steps, n = t->n;
    switch (t->config->spacing) {
    case BL_SPACING_TRAILING:
        return (int32_t)rint(train + k * (train - train / n - train)) - 1;
    case BL_SPACING_LINSPACE:
        return t->n == 1 ? 0 : (int32_t)rint((n - 1 - k) * ((train - 1) / (n - 1)));
    case BL_SPACING_LEADING:
        break;
    }
    return (int32_t)((t->n - 1 - k) * (t->config->train_steps / t->n) + t->config->steps_offset);
}

static double alpha_at(const table *t, int32_t time)
{
    if (time < 0)
        return t->config->set_alpha_to_one ? 1 : t->alphas[0];
    return t->alphas[BL_MIN(time, (int32_t)t->config->train_steps - 1)];
}

/* x' = *cx * x + *ce * e from timestep `from` to `to` for model output e, without noise (PNDM eq. 11, which is DDIM eq. 12 with eta 0,
 * written without cancellation), plus what noise of deviation `sigma` takes from the direction to x. */
static void transfer(const table *t, int32_t from, int32_t to, double sigma, double *cx, double *ce)
{
    const double a = alpha_at(t, from), p = alpha_at(t, to);
    *cx = sqrt(p / a);
    *ce = (a - p) / (a * sqrt(1 - p) + sqrt(a * (1 - a) * p));
    if (sigma > 0)
        *ce += sqrt(BL_MAX(1 - p - sigma * sigma, 0)) - sqrt(1 - p);
    if (t->config->prediction == BL_PREDICT_V) { /* epsilon = sqrt(a) v + sqrt(1 - a) x */
        *cx += *ce * sqrt(1 - a);
        *ce *= sqrt(a);
    }
}

static void set_level(const table *t, int32_t time, int32_t to, bl_step *s)
{
    s->t = (float)time;
    s->in_scale = 1;
    s->pe = 1;
    s->blend_x = (float)sqrt(alpha_at(t, to));
    s->blend_n = (float)sqrt(1 - alpha_at(t, to));
}

static uint32_t ddim_table(const table *t, uint32_t start, bl_step *steps)
{
    uint32_t count = 0;
    for (uint32_t k = start; k < t->n; k++) {
        bl_step *s = &steps[count++];
        const int32_t time = timestep(t, k), to = time - t->stride;
        const double a = alpha_at(t, time), p = alpha_at(t, to);
        const double sigma = t->eta * sqrt(BL_MAX((1 - p) / (1 - a) * (1 - a / p), 0)); /* DDIM eq. 16 */
        double cx, ce;
        transfer(t, time, to, sigma, &cx, &ce);
        set_level(t, time, to, s);
        s->cx = (float)cx;
        s->k0 = (float)ce;
        s->kn = (float)sigma;
    }
    return count;
}

/* Base entry that entry k of PNDM's table (t0, t1, t1, t2, ...) repeats. */
static uint32_t pndm_entry(uint32_t k) { return k < 2 ? k : k - 1; }

/* Adams-Bashforth weights of the output and its predecessors, by evaluation; the second one is Heun's: it repeats the first step from
 * the saved sample with the mean of the outputs at both ends, and is not remembered. */
static uint32_t pndm_table(const table *t, uint32_t start, bl_step *steps)
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
        const int32_t time = timestep(t, k), from = i == 1 ? time + t->stride : time;
        double cx, ce;
        transfer(t, from, from - t->stride, 0, &cx, &ce);
        set_level(t, time, from - t->stride, s);
        *(i == 1 ? &s->cs : &s->cx) = (float)cx;
        s->k0 = (float)(ce * w[0]);
        s->k1 = (float)(ce * w[1]);
        s->k2 = (float)(ce * w[2]);
        s->k3 = (float)(ce * w[3]);
        s->save = i == 0;
        s->push = i != 1;
    }
}

bl_result bl_schedule_create_from(const bl_scheduler_config *config, uint32_t steps, uint32_t start, double eta, float guidance,
                                  bl_schedule *out)
{
    bl_result result = BL_OK;
    double *alphas = NULL;
    memset(out, 0, sizeof(*out));
    if (config->problem[0])
        return bl_fail(BL_ERROR_MODEL, "%s", config->problem);
    if (!steps || steps > config->train_steps)
        return bl_fail(BL_ERROR_USAGE, "%u steps: between 1 and %u are possible", (unsigned)steps, (unsigned)config->train_steps);
    if (!(eta >= 0 && eta <= 1))
        return bl_fail(BL_ERROR_USAGE, "eta %g: between 0 and 1 is possible", eta);
    if (eta > 0 && config->kind != BL_SCHEDULER_DDIM)
        return bl_fail(BL_ERROR_USAGE, "eta %g: scheduler %s adds no noise, ddim does", eta, bl_scheduler_name(config->kind));
    if (!isfinite(guidance))
        return bl_fail(BL_ERROR_USAGE, "guidance %g is not a finite number", (double)guidance);
    table t = { config, NULL, steps, (int32_t)(config->train_steps / steps), eta };
    if (timestep(&t, 0) >= (int32_t)config->train_steps)
        return bl_fail(BL_ERROR_USAGE, "%u steps with spacing leading and offset %u reach beyond timestep %u: use fewer or another spacing",
                       (unsigned)steps, (unsigned)config->steps_offset, (unsigned)config->train_steps - 1);

    alphas = bl_alloc(config->train_steps, sizeof(*alphas));
    out->steps = bl_alloc((size_t)steps + 1, sizeof(*out->steps)); /* PNDM's duplicate */
    if (!alphas || !out->steps) {
        result = bl_fail(BL_ERROR_MEMORY, "no memory for %u scheduler steps", (unsigned)steps);
        goto fail;
    }
    BL_TRY(bl_scheduler_alphas(config, alphas));
    t.alphas = alphas;
    out->count = config->kind == BL_SCHEDULER_DDIM ? ddim_table(&t, start, out->steps) : pndm_table(&t, start, out->steps);
    if (!out->count) {
        result = bl_fail(BL_ERROR_USAGE, "no step is left of %u when starting at entry %u", (unsigned)steps, (unsigned)start);
        goto fail;
    }
    for (uint32_t i = 0; i < out->count; i++)
        out->steps[i].guidance = guidance;
    out->steps[out->count - 1].blend_x = 1;
    out->steps[out->count - 1].blend_n = 0;
    out->start_x = (float)sqrt(alpha_at(&t, (int32_t)out->steps[0].t));
    out->start_n = (float)sqrt(1 - alpha_at(&t, (int32_t)out->steps[0].t));
    out->init_sigma = 1;
fail:
    bl_free(alphas);
    if (result != BL_OK)
        bl_schedule_free(out);
    return result;
}

bl_result bl_schedule_create(const bl_scheduler_config *config, uint32_t steps, double strength, double eta, float guidance,
                             bl_schedule *out)
{
    memset(out, 0, sizeof(*out));
    if (!(strength > 0 && strength <= 1))
        return bl_fail(BL_ERROR_USAGE, "strength %g: above 0 and up to 1 is possible", strength);
    const double run = floor(steps * (floor(strength * 1e7 + 0.5) / 1e7));
    if (steps && run < 1)
        return bl_fail(BL_ERROR_USAGE, "strength %g of %u steps leaves none: raise one of them", strength, (unsigned)steps);
    return bl_schedule_create_from(config, steps, steps - (uint32_t)BL_MIN(run, steps), eta, guidance, out);
}

bl_result bl_schedule_blend_before(const bl_scheduler_config *config, bl_schedule *schedule)
{
    bl_result result = BL_OK;
    double *alphas = bl_alloc(config->train_steps, sizeof(*alphas));
    if (!alphas)
        return bl_fail(BL_ERROR_MEMORY, "no memory for a schedule");
    BL_TRY(bl_scheduler_alphas(config, alphas));
    const table t = { config, alphas, 1, 1, 0 };
    for (uint32_t i = 0; i < schedule->count; i++) {
        const double a = alpha_at(&t, (int32_t)schedule->steps[i].t);
        schedule->steps[i].blend_x = (float)sqrt(a);
        schedule->steps[i].blend_n = (float)sqrt(1 - a);
    }
fail:
    bl_free(alphas);
    return result;
}

void bl_schedule_free(bl_schedule *schedule)
{
    bl_free(schedule->steps);
    memset(schedule, 0, sizeof(*schedule));
}
