/* Verification of single operations and of the schedulers, on the device. Layer 5. */
#include "verify.h"
#include "grad.h"
#include "guide.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NEED(p) BL_TRY((p) ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", v->stage))

/* --- operations ------------------------------------------------------------------------------------------------------ */

/* A graph under test with its golden inputs, and its values that have goldens. */
typedef struct trial {
    bl_verifier *v;
    bl_graph *g;
    const char *op;
    struct { const char *what; bl_value value; float *data; size_t count; } inputs[6];
    size_t input_count;
    struct { const char *what; bl_value value; } outputs[4];
    size_t output_count;
} trial;

/* "<op>.<what>". */
static const char *golden_name(const trial *t, const char *what, char *name, size_t size)
{
    snprintf(name, size, "%s.%s", t->op, what);
    return name;
}

/* Maps are fp32 in every graph, with the ops on them. */
static bool is_map(const trial *t) { return !strcmp(t->op, "softmax") || !strcmp(t->op, "avg_smooth"); }

static bl_value add_input(trial *t, const char *name, bl_shape shape, float *data, size_t count)
{
    const bool fp32 = is_map(t) || !strcmp(name, "gp");
    t->inputs[t->input_count].what = name;
    t->inputs[t->input_count].value = bl_graph_input(t->g, name, shape, fp32 ? BL_F32 : t->g->type);
    t->inputs[t->input_count].data = data;
    t->inputs[t->input_count].count = count;
    return t->inputs[t->input_count++].value;
}

/* A golden [n,c,h,w] as [n,h,w,c]; [n,t,c] and [t,c] as they are. */
static bl_value image_input(trial *t, const char *what)
{
    char name[64];
    const bl_file_tensor *s;
    float *data = bl_golden(t->v, golden_name(t, what, name, sizeof(name)), &s);
    if (!data || s->rank < 2 || s->rank > 4 || s->count > 1u << 26) {
        bl_free(data);
        return bl_graph_fail(t->g, BL_ERROR_INPUT, "%s cannot be used", name);
    }
    const uint32_t d[4] = { (uint32_t)s->dims[0], (uint32_t)s->dims[1], s->rank > 2 ? (uint32_t)s->dims[2] : 1,
                            s->rank > 3 ? (uint32_t)s->dims[3] : 1 };
    if (s->rank == 2)
        return add_input(t, what, (bl_shape){ 1, d[0], 1, d[1] }, data, (size_t)s->count);
    if (s->rank == 3)
        return add_input(t, what, (bl_shape){ d[0], d[1], 1, d[2] }, data, (size_t)s->count);
    float *last = bl_alloc((size_t)s->count, sizeof(*last));
    if (last)
        bl_to_channels_last(data, d[0], d[1], d[2], d[3], d[1], last);
    bl_free(data);
    return last ? add_input(t, what, (bl_shape){ d[0], d[2], d[3], d[1] }, last, (size_t)s->count)
                : bl_graph_fail(t->g, BL_ERROR_MEMORY, "no host memory for %s", name);
}

/* Weights [out,in,k,k] as [out,k*k*in]; [out,in] as they are. */
static bl_value weight_input(trial *t, uint32_t *kernel)
{
    char name[64];
    const bl_file_tensor *s;
    float *data = bl_golden(t->v, golden_name(t, "w", name, sizeof(name)), &s);
    *kernel = 1;
    if (!data || (s->rank != 1 && s->rank != 2 && s->rank != 4) || s->count > 1u << 26) {
        bl_free(data);
        return bl_graph_fail(t->g, BL_ERROR_INPUT, "%s cannot be used", name);
    }
    if (s->rank == 1)
        return add_input(t, "w", (bl_shape){ 1, 1, 1, (uint32_t)s->dims[0] }, data, (size_t)s->count);
    const uint32_t out = (uint32_t)s->dims[0], in = (uint32_t)s->dims[1];
    *kernel = s->rank == 4 ? (uint32_t)s->dims[2] : 1;
    float *last = bl_alloc((size_t)s->count, sizeof(*last));
    if (last)
        bl_to_channels_last(data, out, in, *kernel, *kernel, in, last);
    bl_free(data);
    return last ? add_input(t, "w", (bl_shape){ 1, 1, out, in * *kernel * *kernel }, last, (size_t)s->count)
                : bl_graph_fail(t->g, BL_ERROR_MEMORY, "no host memory for %s", name);
}

static bl_value vector_input(trial *t, const char *what)
{
    char name[64];
    const bl_file_tensor *s;
    float *data = bl_golden(t->v, golden_name(t, what, name, sizeof(name)), &s);
    return data ? add_input(t, what, (bl_shape){ 1, 1, 1, (uint32_t)s->count }, data, (size_t)s->count)
                : bl_graph_fail(t->g, BL_ERROR_INPUT, "%s cannot be used", name);
}

/* Heads are images in the golden [heads,t,d]; here they are channels, [1,t,heads*d], as networks have them. */
static bl_value heads_input(trial *t, const char *what, uint32_t *heads)
{
    char name[64];
    const bl_file_tensor *s;
    float *data = bl_golden(t->v, golden_name(t, what, name, sizeof(name)), &s);
    float *joined = data && s->rank == 3 && s->count < 1u << 26 ? bl_alloc((size_t)s->count, sizeof(*joined)) : NULL;
    if (!joined) {
        bl_free(data);
        return bl_graph_fail(t->g, BL_ERROR_INPUT, "%s cannot be used", name);
    }
    const size_t n = (size_t)s->dims[0], tokens = (size_t)s->dims[1], d = (size_t)s->dims[2];
    for (size_t h = 0; h < n; h++)
        for (size_t i = 0; i < tokens; i++)
            memcpy(joined + (i * n + h) * d, data + (h * tokens + i) * d, d * sizeof(*data));
    bl_free(data);
    *heads = (uint32_t)n;
    return add_input(t, what, (bl_shape){ 1, (uint32_t)tokens, 1, (uint32_t)(n * d) }, joined, (size_t)s->count);
}

static bool is_attention(const trial *t) { return !strncmp(t->op, "attn_", 5); }

/* Builds the operation that a golden's name stands for; BL_NONE for one that does not exist here. */
static bl_value build(trial *t)
{
    static const struct { const char *op; uint32_t act; } activations[] = {
        { "silu", ACT_SILU }, { "gelu_erf", ACT_GELU }, { "quick_gelu", ACT_QUICK_GELU } };
    bl_graph *g = t->g;
    uint32_t kernel, groups, heads = 0, eps = 5;
    for (size_t i = 0; i < BL_COUNT(activations); i++)
        if (!strcmp(t->op, activations[i].op))
            return bl_graph_activation(g, image_input(t, "x"), activations[i].act);
    if (!strcmp(t->op, "geglu"))
        return bl_graph_geglu(g, image_input(t, "x"));
    if (!strcmp(t->op, "nearest2x"))
        return bl_graph_upsample(g, image_input(t, "x"));
    if (!strcmp(t->op, "softmax"))
        return bl_graph_softmax(g, image_input(t, "x"), 1);
    if (!strcmp(t->op, "avg_smooth"))
        return bl_graph_smooth(g, image_input(t, "x"), BL_SMOOTH_EDGE, BL_SMOOTH_CENTRE);
    if (!strcmp(t->op, "bicubic224"))
        return bl_graph_bicubic(g, image_input(t, "x"), 224, 224);
    if (!strcmp(t->op, "layernorm")) {
        const bl_value x = image_input(t, "x"), w = vector_input(t, "w"), b = vector_input(t, "b");
        return bl_graph_layer_norm(g, x, w, b, 1e-5f);
    }
    if (sscanf(t->op, "groupnorm%u_1e%u", &groups, &eps) >= 1) {
        const bl_value x = image_input(t, "x"), w = vector_input(t, "w"), b = vector_input(t, "b");
        return bl_graph_group_norm(g, x, w, b, groups, (float)pow(10, -(double)eps));
    }
    if (!strcmp(t->op, "linear") || !strncmp(t->op, "conv", 4)) {
        const bl_value x = image_input(t, "x"), w = weight_input(t, &kernel), b = vector_input(t, "b");
        return bl_graph_conv(g, x, w, b, kernel, strstr(t->op, "_s2") ? 2 : 1, strstr(t->op, "_vae") != NULL);
    }
    if (is_attention(t)) {
        const bl_value q = heads_input(t, "q", &heads), k = heads_input(t, "k", &heads), v = heads_input(t, "v", &heads);
        return bl_graph_attention(g, q, k, v, heads, false);
    }
    return BL_NONE;
}

static bl_value input_named(const trial *t, const char *what)
{
    for (size_t i = 0; i < t->input_count; i++)
        if (!strcmp(t->inputs[i].what, what))
            return t->inputs[i].value;
    return BL_NONE;
}

static void add_output(trial *t, const char *what, bl_value value)
{
    t->outputs[t->output_count].what = what;
    t->outputs[t->output_count++].value = bl_graph_keep(t->g, value);
}

/* The gradients `out` of the inputs `wrt`, when `gradient` arrives at y, if the file has it. */
static void differentiate(trial *t, bl_value y, const char *gradient, const char *const *wrt, const char *const *out, uint32_t count)
{
    bl_value x[3], d[3];
    uint32_t heads;
    char name[64];
    if (y == BL_NONE || !bl_golden_has(t->v, golden_name(t, gradient, name, sizeof(name))))
        return;
    const bl_value gy = !strcmp(gradient, "gy") ? heads_input(t, gradient, &heads) : image_input(t, gradient);
    for (uint32_t i = 0; i < count; i++)
        x[i] = input_named(t, wrt[i]);
    bl_graph_gradient(t->g, &(bl_seed){ .y = y, .gradient = gy }, 1, x, d, count);
    for (uint32_t i = 0; i < count; i++)
        add_output(t, out[i], d[i]);
}

/* "<op>.y", and from what arrives there, "<op>.g", the gradient "<op>.dx". Of attention the gradients of q, k and v. */
static void build_whole(trial *t)
{
    const bl_value y = build(t);
    if (y == BL_NONE)
        return;
    add_output(t, "y", y);
    if (is_attention(t))
        differentiate(t, y, "gy", (const char *const[]){ "q", "k", "v" }, (const char *const[]){ "dq", "dk", "dv" }, 3);
    else
        differentiate(t, y, "g", (const char *const[]){ "x" }, (const char *const[]){ "dx" }, 1);
}

/* The gradients of q and k from "<op>.gp", what arrives at the probabilities. */
static void build_probabilities(trial *t)
{
    uint32_t heads = 0;
    const bl_value q = heads_input(t, "q", &heads), k = heads_input(t, "k", &heads);
    const bl_value p = bl_graph_attention_probs(t->g, q, k, heads, false);
    differentiate(t, p, "gp", (const char *const[]){ "q", "k" }, (const char *const[]){ "dq_p", "dk_p" }, 2);
}

/* The result in the golden's own order: [heads,t,d], [n,c,h,w], or as it is. */
static void reorder(const trial *t, const bl_file_tensor *golden, bl_shape s, const float *raw, float *out)
{
    const size_t count = (size_t)s.n * s.h * s.w * s.c;
    if (is_attention(t) && golden->rank == 3 && golden->dims[0] && golden->dims[0] <= s.c) {
        const size_t heads = (size_t)golden->dims[0], d = s.c / heads;
        for (size_t i = 0; i < s.h; i++)
            for (size_t h = 0; h < heads; h++)
                memcpy(out + (h * s.h + i) * d, raw + (i * heads + h) * d, d * sizeof(*raw));
    } else if (golden->rank == 4) {
        bl_to_channels_first(raw, s.n, s.c, s.h, s.w, s.c, out);
    } else {
        memcpy(out, raw, count * sizeof(*raw));
    }
}

/* Reads and compares one output of a run. */
static bl_result compare_output(const trial *t, bl_exec *exec, const char *what, bl_value x)
{
    bl_result result = BL_OK;
    bl_verifier *v = t->v;
    char name[64];
    const bl_shape s = bl_graph_shape(t->g, x);
    const size_t count = (size_t)bl_rows(s) * s.c;
    const bl_file_tensor *golden = bl_safetensors_find(v->file, golden_name(t, what, name, sizeof(name)));
    float *raw = bl_alloc(count, sizeof(*raw)), *out = bl_alloc(count, sizeof(*out));
    NEED(raw && out);
    if (golden) {
        BL_TRY(bl_exec_read(exec, x, raw, count));
        reorder(t, golden, s, raw, out);
        bl_expect(v, name, out, count, bl_allowed(v, 1e-5, 5e-3), NULL);
    }
fail:
    bl_free(raw);
    bl_free(out);
    return result;
}

static bl_result run_trial(trial *t, void (*make)(trial *t))
{
    bl_result result = BL_OK;
    bl_verifier *v = t->v;
    bl_exec *exec = NULL;
    char name[64];
    BL_TRY(bl_graph_create(v->context->type, false, &t->g));
    make(t);
    BL_TRY(bl_graph_check(t->g));
    if (!t->output_count) {
        bl_skip(v, golden_name(t, "y", name, sizeof(name)), "this operation is not built yet");
        goto fail;
    }
    BL_TRY(bl_exec_create(v->context->kernels, v->context->stream, t->g, 1, &exec));
    BL_TRY(bl_exec_set_steps(exec, &(bl_step){ .in_scale = 1 }, 1)); /* gradients leave through scale_bwd_x, which looks at it */
    for (size_t i = 0; i < t->input_count; i++)
        BL_TRY(bl_exec_write(exec, t->inputs[i].value, t->inputs[i].data, t->inputs[i].count));
    BL_TRY(bl_exec_run(exec));
    for (size_t i = 0; i < t->output_count; i++)
        BL_TRY(compare_output(t, exec, t->outputs[i].what, t->outputs[i].value));
fail:
    bl_exec_destroy(&exec);
    bl_graph_destroy(&t->g);
    for (size_t i = 0; i < t->input_count; i++)
        bl_free(t->inputs[i].data);
    return result;
}

bl_result bl_verify_ops(bl_verifier *v)
{
    bl_result result = BL_OK;
    v->stage = "ops";
    for (size_t i = 0; i < bl_safetensors_count(v->file); i++) {
        const bl_file_tensor *golden = bl_safetensors_at(v->file, i);
        char op[48], input[56];
        const size_t n = strlen(golden->name);
        if (n < 3 || n > 40 || strcmp(golden->name + n - 2, ".y") || v->seen[i])
            continue;
        snprintf(op, sizeof(op), "%.*s", (int)(n - 2), golden->name);
        trial t = { .v = v, .op = op }, of_probabilities = t;
        snprintf(input, sizeof(input), "%s.%s", op, is_attention(&t) ? "q" : "x");
        if (!bl_golden_has(v, input))
            continue;
        BL_TRY(run_trial(&t, build_whole));
        snprintf(input, sizeof(input), "%s.gp", op);
        if (is_attention(&t) && bl_golden_has(v, input))
            BL_TRY(run_trial(&of_probabilities, build_probabilities));
    }
fail:
    v->stage = "-";
    return result;
}

/* --- schedulers ------------------------------------------------------------------------------------------------------ */

/* The scheduler kernel on a synthetic model, 0.1 x sin(t) of what it sees, from x[0 .. n-1] on. */
static bl_result run_schedule(bl_verifier *v, const bl_schedule *schedule, uint32_t channels, uint32_t h, uint32_t w, const float *noise,
                              const float *t, float *x, float *model_in)
{
    bl_result result = BL_OK;
    bl_graph *g = NULL;
    bl_exec *exec = NULL;
    const bl_shape one = { 1, h, w, channels };
    const size_t n = (size_t)channels * h * w;
    float *e = bl_alloc(4 * n, sizeof(*e));
    NEED(e);
    BL_TRY(bl_graph_create(BL_F32, false, &g));
    const bl_value sample = bl_graph_input(g, "x", one, BL_F32), output = bl_graph_input(g, "e", one, BL_F32),
        drawn = noise ? bl_graph_input(g, "noise", one, BL_F32) : BL_NONE,
        history = bl_graph_input(g, "history", (bl_shape){ 4, h, w, channels }, BL_F32);
    bl_graph_scheduler_step(g, output, drawn, sample, history);
    bl_graph_step_next(g, schedule->count);
    BL_TRY(bl_exec_create(v->context->kernels, v->context->stream, g, schedule->count, &exec));
    BL_TRY(bl_exec_set_steps(exec, schedule->steps, schedule->count));
    BL_TRY(bl_exec_write(exec, history, e, 4 * n));
    BL_TRY(bl_exec_write(exec, sample, x, n)); /* any order of values will do: the kernel is elementwise */
    for (uint32_t i = 0; i < schedule->count; i++) {
        for (size_t k = 0; k < n; k++) {
            model_in[i * n + k] = schedule->steps[i].in_scale * x[i * n + k];
            e[k] = (float)(0.1 * (double)model_in[i * n + k] * sin((double)t[i]));
        }
        BL_TRY(bl_exec_write(exec, output, e, n));
        if (noise)
            BL_TRY(bl_exec_write(exec, drawn, noise + i * n, n));
        BL_TRY(bl_exec_run(exec));
        BL_TRY(bl_exec_read(exec, sample, x + (i + 1) * n, n));
    }
fail:
    bl_exec_destroy(&exec);
    bl_graph_destroy(&g);
    bl_free(e);
    return result;
}

/* The configuration that a row speaks of: settings of its class in diffusers, and "cls" for its name. */
static bl_result read_settings(const bl_verifier *v, const json_t *settings, bl_scheduler_config *config)
{
    bl_result result = BL_OK;
    json_t *cls = json_object_get(settings, "cls");
    const bool dpm = json_is_string(cls) && !strcmp(json_string_value(cls), "DPMSolverMultistepScheduler");
    /* before 0.26 diffusers had no final_sigmas_type, and DPM-Solver no other end than sigma_min */
    json_t *all = json_pack("{s:s, s:f, s:f, s:s, s:O}", "beta_schedule", "scaled_linear", "beta_start", 0.00085, "beta_end", 0.012,
                            "final_sigmas_type", dpm ? "sigma_min" : "zero", "_class_name", cls);
    NEED(all && !json_object_update(all, (json_t *)settings));
    BL_TRY(bl_scheduler_config_parse(all, "settings", config));
    if (config->kind == BL_SCHEDULER_PNDM)
        config->kind = BL_SCHEDULER_PNDM_DIFFUSERS;
fail:
    json_decref(all);
    return result;
}

/* What a whole run starts from, and its levels; Euler's are on the scale of x0 + sigma noise. */
static bl_result verify_start(bl_verifier *v, const char *name, const bl_scheduler_config *config, uint32_t steps, bool euler)
{
    bl_result result = BL_OK;
    bl_schedule s = { 0 };
    char golden[64];
    float *sigmas = NULL;
    BL_TRY(bl_schedule_create_from(config, steps, 0, 0, 1, &s));
    sigmas = bl_alloc((size_t)s.count + 1, sizeof(*sigmas));
    NEED(sigmas);
    for (uint32_t i = 0; i <= s.count; i++)
        sigmas[i] = (float)sqrt((1 - s.abar[i]) / s.abar[i]);
    /* at timestep 0 the reference's fp32 leaves four digits of 1 - abar */
    const double bound = s.steps[0].t > 0 ? 1e-6 : 3e-5;
    const float init = euler ? s.init_sigma / s.start_x : s.init_sigma;
    snprintf(golden, sizeof(golden), "%s.init_noise_sigma", name);
    bl_expect(v, golden, &init, 1, euler ? bound : 0, NULL);
    snprintf(golden, sizeof(golden), "%s.sigmas", name);
    bl_expect(v, golden, sigmas, (size_t)s.count + 1, bound, NULL);
fail:
    bl_schedule_free(&s);
    bl_free(sigmas);
    return result;
}

/* One row: {"cls": "DDIMScheduler", "steps": 10, "start": 0, ...}. */
static bl_result verify_schedule(bl_verifier *v, const char *name, const json_t *settings, const float *x0, const float *noise,
                                 const bl_file_tensor *shape)
{
    bl_result result = BL_OK;
    bl_schedule schedule = { 0 };
    char golden[64];
    const uint32_t c = (uint32_t)shape->dims[1], h = (uint32_t)shape->dims[2], w = (uint32_t)shape->dims[3];
    const size_t n = (size_t)shape->count;
    bl_scheduler_config config;
    float *x = NULL, *model_in = NULL, *t = NULL, *drawn = NULL;
    BL_TRY(read_settings(v, settings, &config));
    const bool old = config.kind == BL_SCHEDULER_DPMPP_2M && config.karras && !json_object_get(settings, "final_sigmas_type");
    if (old || config.problem[0]) {
        static const char *const parts[] = { "timesteps", "init_noise_sigma", "sigmas", "noise", "x", "model_in", "last" };
        for (size_t i = 0; i < BL_COUNT(parts); i++) {
            snprintf(golden, sizeof(golden), "%s.%s", name, parts[i]);
            if (bl_golden_has(v, golden))
                bl_skip(v, golden, !old ? config.problem
                        : "diffusers before 0.22 steps between rounded timesteps here, not between the Karras sigmas");
        }
        return BL_OK;
    }
    BL_TRY(bl_schedule_create_from(&config, (uint32_t)json_integer_value(json_object_get(settings, "steps")),
                                   (uint32_t)json_integer_value(json_object_get(settings, "start")),
                                   json_number_value(json_object_get(settings, "eta")), 1, &schedule));
    x = bl_alloc((schedule.count + 1) * n, sizeof(*x));
    model_in = bl_alloc(schedule.count * n, sizeof(*model_in));
    t = bl_alloc(schedule.count, sizeof(*t));
    NEED(x && model_in && t);
    const bool euler = config.kind == BL_SCHEDULER_EULER || config.kind == BL_SCHEDULER_EULER_ANCESTRAL;
    const bool whole = !json_integer_value(json_object_get(settings, "start")); /* a whole run starts from x0 as it is */
    BL_TRY(verify_start(v, name, &config, (uint32_t)json_integer_value(json_object_get(settings, "steps")), euler));
    bool between = false; /* timesteps are not whole: then the reference's are as exact as seventh powers of fp32 sigmas */
    for (uint32_t i = 0; i < schedule.count; i++) {
        t[i] = schedule.steps[i].t;
        between |= t[i] != floorf(t[i]);
    }
    snprintf(golden, sizeof(golden), "%s.timesteps", name);
    bl_expect(v, golden, t, schedule.count, between ? 1e-5 : 0, NULL);
    if (bl_golden_has(v, golden)) { /* for the model: x is about the steps alone */
        bl_free(t);
        BL_TRY(bl_golden_missing(t = bl_golden_sized(v, golden, schedule.count)));
    }
    snprintf(golden, sizeof(golden), "%s.noise", name);
    const bl_file_tensor *drawn_shape = NULL;
    if (bl_golden_has(v, golden))
        drawn = bl_golden(v, golden, &drawn_shape);
    if (drawn_shape && drawn_shape->count != schedule.count * n)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "%s has %llu values", golden, (unsigned long long)drawn_shape->count));
    for (size_t i = 0; i < n; i++)
        x[i] = whole ? schedule.init_sigma * x0[i] : schedule.start_x * x0[i] + schedule.start_n * noise[i];
    BL_TRY(run_schedule(v, &schedule, c, h, w, drawn, t, x, model_in));
    for (size_t i = 0; euler && i < (schedule.count + 1) * n; i++)
        x[i] /= (float)sqrt(schedule.abar[i / n]);
    const double bound = t[0] > 0 ? 1e-5 : 3e-5;
    snprintf(golden, sizeof(golden), "%s.x", name);
    bl_expect(v, golden, x, (schedule.count + 1) * n, bound, NULL);
    snprintf(golden, sizeof(golden), "%s.model_in", name);
    bl_expect(v, golden, model_in, schedule.count * n, bound, NULL);
    snprintf(golden, sizeof(golden), "%s.last", name);
    bl_expect(v, golden, x + schedule.count * n, n, bound, NULL);
fail:
    bl_schedule_free(&schedule);
    bl_free(x);
    bl_free(model_in);
    bl_free(t);
    bl_free(drawn);
    return result;
}

/* "temb.<size>": the timestep embedding of every entry of temb.t. */
static bl_result verify_embeddings(bl_verifier *v, uint32_t size)
{
    bl_result result = BL_OK;
    bl_graph *g = NULL;
    bl_exec *exec = NULL;
    const bl_file_tensor *shape;
    char golden[32];
    float *t = NULL, *freqs = NULL, *out = NULL;
    snprintf(golden, sizeof(golden), "temb.%u", size);
    if (!bl_golden_has(v, golden) || !bl_golden_has(v, "temb.t"))
        return BL_OK;
    t = bl_golden(v, "temb.t", &shape);
    BL_TRY(t ? BL_OK : BL_ERROR_INPUT);
    const uint32_t count = (uint32_t)shape->count;
    freqs = bl_alloc(size / 2, sizeof(*freqs));
    out = bl_alloc((size_t)count * size, sizeof(*out));
    NEED(freqs && out);
    bl_unet_frequencies(size / 2, freqs);
    BL_TRY(bl_graph_create(v->context->type, false, &g));
    const bl_value f = bl_graph_input(g, "freqs", (bl_shape){ 1, 1, 1, size / 2 }, BL_F32);
    const bl_value y = bl_graph_keep(g, bl_graph_timestep_embedding(g, f));
    BL_TRY(bl_exec_create(v->context->kernels, v->context->stream, g, 1, &exec));
    BL_TRY(bl_exec_write(exec, f, freqs, size / 2));
    for (uint32_t i = 0; i < count; i++) {
        BL_TRY(bl_exec_set_steps(exec, &(bl_step){ .t = t[i], .in_scale = 1 }, 1));
        BL_TRY(bl_exec_run(exec));
        BL_TRY(bl_exec_read(exec, y, out + (size_t)i * size, size));
    }
    bl_expect(v, golden, out, (size_t)count * size, bl_allowed(v, 1e-5, 5e-3), NULL);
fail:
    bl_exec_destroy(&exec);
    bl_graph_destroy(&g);
    bl_free(t);
    bl_free(freqs);
    bl_free(out);
    return result;
}

/* abar, beta, and noising of the source at the timesteps that names give: "add_noise.t281". */
static bl_result verify_noising(bl_verifier *v, const float *x0, const float *noise, size_t n)
{
    bl_result result = BL_OK;
    const bl_scheduler_config config = { .kind = BL_SCHEDULER_DDIM, .betas = BL_BETAS_SCALED_LINEAR, .beta_start = 0.00085,
        .beta_end = 0.012, .train_steps = 1000 };
    double *alphas = bl_alloc(config.train_steps, sizeof(*alphas));
    float *out = bl_alloc(BL_MAX(n, config.train_steps), sizeof(*out));
    NEED(alphas && out);
    BL_TRY(bl_scheduler_alphas(&config, alphas));
    for (uint32_t i = 0; i < config.train_steps; i++)
        out[i] = (float)alphas[i];
    bl_expect(v, "alphas_cumprod", out, config.train_steps, 1e-5, NULL);
    for (uint32_t i = 0; i < config.train_steps; i++)
        out[i] = (float)(1 - alphas[i] / (i ? alphas[i - 1] : 1));
    bl_expect(v, "betas", out, config.train_steps, 1e-5, NULL);
    for (size_t i = 0; i < bl_safetensors_count(v->file); i++) {
        const char *name = bl_safetensors_at(v->file, i)->name;
        unsigned t;
        if (sscanf(name, "add_noise.t%u", &t) != 1 || t >= config.train_steps)
            continue;
        for (size_t k = 0; k < n; k++)
            out[k] = (float)(sqrt(alphas[t]) * (double)x0[k] + sqrt(1 - alphas[t]) * (double)noise[k]);
        bl_expect(v, name, out, n, 1e-5, NULL);
    }
fail:
    bl_free(alphas);
    bl_free(out);
    return result;
}

bl_result bl_verify_schedulers(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *shape, *noise_shape;
    float *x0 = NULL, *noise = NULL;
    if (!bl_golden_has(v, "alphas_cumprod") || !bl_golden_has(v, "x0") || !bl_golden_has(v, "noise"))
        return BL_OK;
    v->stage = "schedulers";
    x0 = bl_golden(v, "x0", &shape);
    noise = bl_golden(v, "noise", &noise_shape);
    BL_TRY(x0 && noise ? BL_OK : BL_ERROR_INPUT);
    if (shape->rank != 4 || shape->dims[0] != 1 || shape->count != noise_shape->count || shape->count > 1u << 24)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "x0 and noise are not [1,c,h,w]"));
    BL_TRY(verify_noising(v, x0, noise, (size_t)shape->count));
    BL_TRY(verify_embeddings(v, 32));
    BL_TRY(verify_embeddings(v, 320));
    for (size_t i = 0; i < bl_safetensors_metadata_count(v->file); i++) {
        const char *name = bl_safetensors_metadata_key(v->file, i);
        json_t *settings = bl_golden_metadata(v, name);
        const bl_result r = json_is_object(settings) && json_object_get(settings, "cls")
            ? verify_schedule(v, name, settings, x0, noise, shape) : BL_OK;
        json_decref(settings);
        BL_TRY(r);
    }
fail:
    v->stage = "-";
    bl_free(x0);
    bl_free(noise);
    return result;
}
