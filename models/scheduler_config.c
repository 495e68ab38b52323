/* Scheduler configuration: scheduler_config.json, names that stand in for it, noise levels of the training. Layer 4. */
#include "file.h"
#include "json.h"
#include "noise.h"
#include "scheduler_table.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 65536, CONFIG_DEPTH = 16, TRAIN_STEPS_MAX = 10000 };

/* --- names -------------------------------------------------------------------------------------------------------- */

static const char *const spacing_names[] = { "leading", "trailing", "linspace" };
static const char *const prediction_names[] = { "epsilon", "v_prediction" };
static const char *const beta_names[] = { "scaled_linear", "linear", "squaredcos_cap_v2" };
static const char *const final_names[] = { "sigma_min", "zero" };

const char *bl_scheduler_name(bl_scheduler_kind kind) { return bl_schedulers[kind].name; }
const char *bl_spacing_name(bl_spacing spacing) { return spacing_names[spacing]; }
bool bl_scheduler_is_karras(const bl_scheduler_config *config) { return config->karras && bl_schedulers[config->kind].has_karras; }

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

/* Settings that change what a class does in a way that is not built here: the only values that do not, besides null and false. */
static const struct { bl_scheduler_kind kind; const char *key, *values[5]; } only[] = {
    { BL_SCHEDULER_EULER, "interpolation_type", { "linear" } },
    { BL_SCHEDULER_EULER, "timestep_type", { "discrete" } },
    { BL_SCHEDULER_EULER, "use_exponential_sigmas", { NULL } },
    { BL_SCHEDULER_EULER, "use_beta_sigmas", { NULL } },
    { BL_SCHEDULER_EULER, "sigma_min", { NULL } },
    { BL_SCHEDULER_EULER, "sigma_max", { NULL } },
    { BL_SCHEDULER_DPMPP_2M, "algorithm_type", { "dpmsolver++", "deis" } },
    { BL_SCHEDULER_DPMPP_2M, "solver_type", { "midpoint", "heun", "logrho", "bh1", "bh2" } }, /* the last three: midpoint */
    { BL_SCHEDULER_DPMPP_2M, "use_exponential_sigmas", { NULL } },
    { BL_SCHEDULER_DPMPP_2M, "use_beta_sigmas", { NULL } },
    { BL_SCHEDULER_DPMPP_2M, "use_lu_lambdas", { NULL } },
    { BL_SCHEDULER_DPMPP_2M, "use_flow_sigmas", { NULL } },
    { BL_SCHEDULER_DPMPP_2M, "lambda_min_clipped", { NULL } },
    { BL_SCHEDULER_DPMPP_2M, "variance_type", { NULL } },
};

/* Notes in c->problem what of the file's own class is not built. */
static void find_problems(const json_t *object, bl_scheduler_config *c)
{
    for (size_t i = 0; i < BL_COUNT(only); i++) {
        const json_t *v = only[i].kind == c->kind ? json_object_get(object, only[i].key) : NULL;
        bool known = !v || json_is_null(v) || json_is_false(v);
        for (size_t k = 0; k < BL_COUNT(only[i].values) && only[i].values[k]; k++)
            known |= json_is_string(v) && !strcmp(json_string_value(v), only[i].values[k]);
        if (!known)
            snprintf(c->problem, sizeof(c->problem), "%s with %s%s%.40s is not supported; choose another, such as --scheduler %s",
                     bl_schedulers[c->kind].class_name, only[i].key, json_is_string(v) ? " " : " set",
                     json_is_string(v) ? json_string_value(v) : "", bl_schedulers[c->kind].name);
    }
}

/* Which row the class is, or why none. */
static bl_result read_class(const json_t *object, const char *path, bl_scheduler_config *c)
{
    bl_result result = BL_OK;
    const char *class_name, *classes[BL_SCHEDULER_COUNT];
    size_t kind = 0, count = 0;
    char known[256];
    bool skip_prk;
    BL_TRY(bl_json_text(object, path, "_class_name", NULL, &class_name));
    if (!class_name)
        return bl_fail(BL_ERROR_MODEL, "%s: no _class_name: not a scheduler configuration", path);
    while (kind < BL_SCHEDULER_COUNT && (!bl_schedulers[kind].class_name || strcmp(bl_schedulers[kind].class_name, class_name)))
        kind++;
    for (size_t i = 0; i < BL_SCHEDULER_COUNT; i++)
        if (bl_schedulers[i].class_name)
            classes[count++] = bl_schedulers[i].class_name;
    if (kind == BL_SCHEDULER_COUNT)
        snprintf(c->problem, sizeof(c->problem), "scheduler class \"%.40s\" is not known; choose one, such as --scheduler ddim (known: %s)",
                 class_name, list(classes, count, known, sizeof(known)));
    else
        c->kind = (bl_scheduler_kind)kind;
    BL_TRY(bl_json_bool(object, path, "skip_prk_steps", false, &skip_prk));
    if (kind == BL_SCHEDULER_PNDM && !skip_prk)
        snprintf(c->problem, sizeof(c->problem), "PNDMScheduler without skip_prk_steps (Runge-Kutta warm-up) is not supported; "
                 "choose another, such as --scheduler pndm");
    if (kind != BL_SCHEDULER_COUNT)
        find_problems(object, c);
fail:
    return result;
}

static bool is_given(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return v && !json_is_null(v);
}

/* What one family of schedulers has. */
static bl_result read_family(const json_t *object, const char *path, bl_scheduler_config *c)
{
    bl_result result = BL_OK;
    const json_t *solver = json_object_get(object, "solver_type");
    size_t choice;
    BL_TRY(bl_json_bool(object, path, "use_karras_sigmas", false, &c->karras));
    BL_TRY(read_choice(object, path, "final_sigmas_type", final_names, BL_COUNT(final_names), 1, &choice));
    c->final_sigma_zero = choice != 0;
    BL_TRY(bl_json_u32(object, path, "solver_order", 1, 3, 2, &c->order));
    if (c->order > 2 && c->kind == BL_SCHEDULER_DPMPP_2M && !c->problem[0])
        snprintf(c->problem, sizeof(c->problem), "DPMSolverMultistepScheduler with solver_order 3 is not supported; choose another, "
                 "such as --scheduler dpm++2m, which has order 2");
    c->order = BL_MIN(c->order, 2);
    c->heun = json_is_string(solver) && !strcmp(json_string_value(solver), "heun");
    BL_TRY(bl_json_bool(object, path, "lower_order_final", true, &c->lower_order_final));
    BL_TRY(bl_json_bool(object, path, "euler_at_final", false, &c->euler_at_final));
    BL_TRY(bl_json_u32(object, path, "original_inference_steps", 1, c->train_steps, BL_MIN(50, c->train_steps), &c->original_steps));
    BL_TRY(bl_json_f64(object, path, "timestep_scaling", 10, &c->timestep_scaling));
    if (!(c->timestep_scaling > 0 && c->timestep_scaling <= 1e6))
        return bl_fail(BL_ERROR_MODEL, "%s: timestep_scaling %g: above 0 and up to 1e6 is possible", path, c->timestep_scaling);
fail:
    return result;
}

static bl_result read_object(const json_t *object, const char *path, bl_scheduler_config *c)
{
    bl_result result = BL_OK;
    size_t choice;
    if (!json_is_object(object))
        return bl_fail(BL_ERROR_MODEL, "%s: not a JSON object", path);
    BL_TRY(read_class(object, path, c));
    BL_TRY(refuse_true(object, path, "clip_sample"));
    BL_TRY(refuse_true(object, path, "thresholding"));
    BL_TRY(refuse_true(object, path, "rescale_betas_zero_snr"));
    if (is_given(object, "trained_betas"))
        return bl_fail(BL_ERROR_MODEL, "%s: trained_betas are not supported", path);

    const bl_scheduler *of = &bl_schedulers[c->kind];
    const bl_beta_schedule betas = c->kind == BL_SCHEDULER_LCM ? BL_BETAS_SCALED_LINEAR : BL_BETAS_LINEAR;
    c->spacing_given = is_given(object, "timestep_spacing");
    c->alpha_given = is_given(object, "set_alpha_to_one");
    BL_TRY(read_choice(object, path, "timestep_spacing", spacing_names, BL_COUNT(spacing_names), of->spacing, &choice));
    c->spacing = (bl_spacing)choice;
    BL_TRY(read_choice(object, path, "prediction_type", prediction_names, BL_COUNT(prediction_names), BL_PREDICT_EPSILON, &choice));
    c->prediction = (bl_prediction)choice;
    BL_TRY(read_choice(object, path, "beta_schedule", beta_names, BL_COUNT(beta_names), betas, &choice));
    c->betas = (bl_beta_schedule)choice;
    BL_TRY(bl_json_f64(object, path, "beta_start", c->kind == BL_SCHEDULER_LCM ? 0.00085 : 0.0001, &c->beta_start));
    BL_TRY(bl_json_f64(object, path, "beta_end", c->kind == BL_SCHEDULER_LCM ? 0.012 : 0.02, &c->beta_end));
    if (!(c->beta_start > 0 && c->beta_start <= c->beta_end && c->beta_end < 1))
        return bl_fail(BL_ERROR_MODEL, "%s: beta_start %g, beta_end %g: 0 < beta_start <= beta_end < 1 must hold", path, c->beta_start,
                       c->beta_end);
    BL_TRY(bl_json_u32(object, path, "num_train_timesteps", 1, TRAIN_STEPS_MAX, 1000, &c->train_steps));
    BL_TRY(bl_json_u32(object, path, "steps_offset", 0, c->train_steps - 1, BL_MIN(1, c->train_steps - 1), &c->steps_offset));
    BL_TRY(bl_json_bool(object, path, "set_alpha_to_one", of->alpha_to_one, &c->set_alpha_to_one));
    BL_TRY(read_family(object, path, c));
fail:
    return result;
}

bl_result bl_scheduler_config_parse(const json_t *object, const char *name, bl_scheduler_config *out)
{
    bl_scheduler_config c = { 0 };
    memset(out, 0, sizeof(*out));
    const bl_result result = read_object(object, name, &c);
    if (result == BL_OK)
        *out = c;
    return result;
}

/* Python writes an infinite number, which JSON does not have: "lambda_min_clipped": -Infinity, no limit. It is made null. */
static void replace_infinity(char *text, size_t size)
{
    static const char key[] = "\"lambda_min_clipped\"", word[] = "-Infinity";
    for (size_t i = 0; i + sizeof(key) - 1 < size; i++) {
        size_t at = i + sizeof(key) - 1;
        if (memcmp(text + i, key, sizeof(key) - 1))
            continue;
        while (at < size && strchr(" :\t\r\n", text[at]) && text[at])
            at++;
        if (size - at >= sizeof(word) - 1 && !memcmp(text + at, word, sizeof(word) - 1))
            memcpy(text + at, "null     ", sizeof(word) - 1);
    }
}

bl_result bl_scheduler_config_read(const char *path, bl_scheduler_config *out)
{
    bl_result result = BL_OK;
    json_t *object = NULL;
    uint8_t *data = NULL;
    size_t size;
    memset(out, 0, sizeof(*out));
    BL_TRY(bl_file_read_all(path, CONFIG_MAX_BYTES, &data, &size, BL_ERROR_MODEL));
    replace_infinity((char *)data, size);
    BL_TRY(bl_json_parse(path, (const char *)data, size, CONFIG_DEPTH, BL_ERROR_MODEL, &object));
    BL_TRY(bl_scheduler_config_parse(object, path, out));
fail:
    json_decref(object);
    bl_free(data);
    return result;
}

bl_result bl_scheduler_config_override(bl_scheduler_config *config, const char *name, const char *spacing, bool karras)
{
    bl_scheduler_config c = *config;
    const char *names[BL_SCHEDULER_COUNT];
    char known[128];
    for (size_t i = 0; i < BL_SCHEDULER_COUNT; i++)
        names[i] = bl_schedulers[i].name;
    if (name) {
        const size_t kind = find(names, BL_COUNT(names), name);
        if (kind == BL_COUNT(names))
            return bl_fail(BL_ERROR_USAGE, "scheduler \"%.40s\" is not known; known: %s", name,
                           list(names, BL_COUNT(names), known, sizeof(known)));
        c.kind = (bl_scheduler_kind)kind;
        c.problem[0] = 0;
        if (!c.spacing_given)
            c.spacing = bl_schedulers[kind].spacing;
        if (!c.alpha_given)
            c.set_alpha_to_one = bl_schedulers[kind].alpha_to_one;
    }
    if (spacing) {
        const size_t choice = find(spacing_names, BL_COUNT(spacing_names), spacing);
        if (choice == BL_COUNT(spacing_names))
            return bl_fail(BL_ERROR_USAGE, "timestep spacing \"%.40s\" is not known; known: %s", spacing,
                           list(spacing_names, BL_COUNT(spacing_names), known, sizeof(known)));
        c.spacing = (bl_spacing)choice;
        c.spacing_given = true;
    }
    if (c.problem[0])
        return bl_fail(BL_ERROR_MODEL, "%s", c.problem);
    if (karras && !bl_schedulers[c.kind].has_karras)
        return bl_fail(BL_ERROR_USAGE, "scheduler %s has no Karras sigmas; euler and dpm++2m have", bl_schedulers[c.kind].name);
    c.karras |= karras;
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

