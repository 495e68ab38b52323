/* blemish generate: pictures from words, or from a photo and words. Layer 6. */
#include "commands.h"
#include "output.h"
#include "picture.h"
#include "session.h"
#include "signals.h"
#include "trace.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct generate_values {
    const char *model, *clip, *prompt, *negative, *photo, *mask, *scheduler, *spacing, *out;
    const char *object, *defect, *template_text, *normal, *detail, *method, *odd_off, *mask_shape, *attention, *trace, *plot;
    float strength, guidance, lambda, growth, prompt_rate, image_weight, image_share, gain, mask_smallest, mask_largest;
    uint32_t steps, count, width, height, attention_res, guided_first, guided_last, inner;
    seed_value seed;
    bool force, dry_run, words_mean, no_change_mask, measure;
    session_options on;
} generate_values;

/* One run: what was read, what was made. */
typedef struct job {
    const generate_values *values;
    uint64_t seed; /* of the first picture */
    bl_image photo, mask;
    session s;
    bl_model *model;
    json_t *files; /* array; NULL when memory ran out */
    json_t *memory; /* of --dry-run under --json */
    uint64_t device_bytes;
    uint32_t written;
} job;

/* --- one picture ------------------------------------------------------------------------------------------------------- */

/* On the command line 0 is 0; in the library it is the default, and a negative number none. */
static float or_none(float v) { return v > 0 ? v : -1; }

static bl_generate_options options_of(const job *j, uint64_t seed)
{
    const generate_values *v = j->values;
    bl_generate_options options = BL_GENERATE_OPTIONS_INIT;
    options.prompt = v->prompt;
    options.negative_prompt = v->negative;
    options.photo = v->photo ? &j->photo : NULL;
    options.mask = j->mask.pixels ? &j->mask : NULL;
    options.width = v->width;
    options.height = v->height;
    options.steps = v->steps;
    options.strength = v->strength;
    options.guidance = v->guidance;
    options.seed = seed;
    options.scheduler = v->scheduler;
    options.spacing = v->spacing;
    options.method = v->method;
    options.object = v->object;
    options.defect = v->defect;
    options.template_text = v->template_text;
    options.normal_prompt = v->normal;
    options.detail = v->detail;
    options.attention_res = v->attention_res;
    options.guided_first = v->guided_first;
    options.guided_last = v->guided_last;
    options.inner = v->inner;
    options.lambda = v->lambda;
    options.growth = or_none(v->growth);
    options.words_mean = v->words_mean;
    options.prompt_rate = or_none(v->prompt_rate);
    options.image_weight = or_none(v->image_weight);
    options.image_share = or_none(v->image_share);
    options.gain = or_none(v->gain);
    options.odd_off = v->odd_off;
    options.measure = v->measure;
    options.no_change_mask = v->no_change_mask;
    return options;
}

/* There are words to guide; what is wrong with them the library says. */
static bool guided(const generate_values *v) { return v->defect || (v->prompt && strstr(v->prompt, "[[")); }

/* --mask names a file, not a way to make one. */
static bool mask_file(const generate_values *v)
{
    return v->mask && strcmp(v->mask, "auto") && strcmp(v->mask, "foreground") && strcmp(v->mask, "none");
}

/* The name of the mask of what changed, to be freed. */
static bl_result mask_path(job *j, const char *path, char **mask)
{
    const generate_values *v = j->values;
    const bool wanted = v->photo && guided(v) && !v->no_change_mask;
    *mask = wanted ? picture_beside(path, "_mask.png") : NULL;
    return wanted && !*mask ? session_note(&j->s, BL_ERROR_MEMORY, "host memory ran out") : BL_OK;
}

/* Every name that one picture writes, before minutes are spent and again after; what is read is never replaced, and no name stands for
 * two files. */
static bl_result check_outputs(job *j, const char *path)
{
    const generate_values *v = j->values;
    char *mask, reason[768];
    bl_result result = mask_path(j, path, &mask);
    const struct { const char *option, *path; } out[] = { { "out", path }, { "out", mask }, { "save-attention", v->attention },
                                                          { "trace", v->trace }, { "plot", v->plot } };
    const char *const in[] = { v->photo, mask_file(v) ? v->mask : NULL };
    for (size_t i = 0; result == BL_OK && i < sizeof(out) / sizeof(*out); i++) {
        if (!out[i].path)
            continue;
        for (size_t k = 0; k < sizeof(in) / sizeof(*in); k++)
            if (in[k] && picture_same_file(out[i].path, in[k]))
                result = session_note(&j->s, BL_ERROR_USAGE, "%s: is also what is read; give --%s another name", out[i].path,
                                      out[i].option);
        for (size_t k = 0; k < i; k++)
            if (out[k].path && picture_same_file(out[i].path, out[k].path))
                result = session_note(&j->s, BL_ERROR_USAGE, "%s: would be two files; give --%s another name", out[i].path,
                                      out[i].option);
        if (result == BL_OK && !picture_may_write(out[i].path, v->force, reason, sizeof(reason)))
            result = session_note(&j->s, BL_ERROR_OUTPUT, "%s", reason);
    }
    free(mask);
    return result;
}

static bl_result write_mask(const char *part, const bl_generate_result *made) { return bl_image_write_png(part, &made->mask, NULL, 0); }
static bl_result write_attention(const char *part, const bl_generate_result *made)
{
    return bl_image_write_png(part, &made->attention, NULL, 0);
}
static bl_result write_made(const char *part, const bl_generate_result *made) { return picture_write(part, made, false); }
static bl_result write_from_photo(const char *part, const bl_generate_result *made) { return picture_write(part, made, true); }

/* The picture last: when it is there, all that belongs to it is; when it is not, nothing is. */
static bl_result write_all(job *j, const char *path, const bl_generate_result *made)
{
    const generate_values *v = j->values;
    picture_set set = { 0 };
    char *mask;
    bl_result result = mask_path(j, path, &mask);
    const struct { const char *path; bl_result (*write)(const char *part, const bl_generate_result *made); } files[] = {
        { made->mask.pixels ? mask : NULL, write_mask }, { made->attention.pixels ? v->attention : NULL, write_attention },
        { v->trace, trace_write }, { v->plot, trace_plot }, { path, v->photo ? write_from_photo : write_made },
    };
    for (size_t i = 0; result == BL_OK && i < sizeof(files) / sizeof(*files); i++) {
        if (!files[i].path)
            continue;
        const char *part = picture_set_add(&set, files[i].path);
        result = part ? files[i].write(part, made) : BL_ERROR_MEMORY;
        if (result != BL_OK)
            session_note(&j->s, result, "%s: %s", files[i].path, result == BL_ERROR_MEMORY ? "host memory ran out"
                         : files[i].write == trace_write ? strerror(errno) : bl_last_error());
    }
    if (result == BL_OK && !picture_set_name(&set))
        result = session_note(&j->s, BL_ERROR_OUTPUT, "%s: cannot be written: %s", path, strerror(errno));
    for (int i = 0; result == BL_OK && i + 1 < set.count; i++)
        session_say(&j->s, "%s", set.files[i].path);
    picture_set_end(&set);
    free(mask);
    return result;
}

static bl_result make(job *j, uint64_t seed, const char *path, bl_generate_result *made)
{
    const bl_generate_options options = options_of(j, seed);
    bl_result result = bl_generate(j->model, &options, made);
    if (result != BL_OK)
        return result;
    if (signals_stop()) /* too late for the library to see */
        return BL_ERROR_CANCELLED;
    result = check_outputs(j, path); /* again: it took minutes */
    return result == BL_OK ? write_all(j, path, made) : result;
}

/* Keeps what --json tells of one picture, made or failed. */
static void keep(job *j, const char *path, uint64_t seed, const bl_generate_result *made, bl_result result)
{
    char number[24]; /* as text: many readers of JSON keep 53 bits of a number */
    snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
    json_t *item;
    if (result == BL_OK)
        item = json_pack("{s:s, s:s, s:i, s:i, s:i, s:f, s:I, s:o}", "path", path, "seed", number, "width", (int)made->image.width,
                         "height", (int)made->image.height, "steps_run", (int)made->steps_run, "seconds", made->seconds,
                         "device_bytes", (json_int_t)made->device_bytes, "parameters", json_loads(made->parameters, 0, NULL));
    else
        item = json_pack("{s:n, s:s, s:o}", "path", "seed", number, "error", session_error_json(&j->s, result));
    if (j->files && json_array_append_new(j->files, item)) {
        json_decref(j->files);
        j->files = NULL;
    }
}

static bl_result one_picture(job *j, uint32_t index)
{
    const generate_values *v = j->values;
    const uint64_t seed = j->seed + index;
    bl_generate_result made = { 0 };
    char bytes[16], *path = picture_path(v->out, v->count > 1 ? index + 1 : 0);
    *j->s.reason = 0;
    if (!path)
        return session_note(&j->s, BL_ERROR_MEMORY, "host memory ran out");
    j->s.progress.item = index + 1;
    j->s.progress.items = v->count;
    const bl_result result = make(j, seed, path, &made);
    keep(j, path, seed, &made, result);
    if (result == BL_OK) {
        j->written++;
        j->device_bytes = made.device_bytes > j->device_bytes ? made.device_bytes : j->device_bytes;
        session_say(&j->s, "%s: seed %llu, %.1f s", path, (unsigned long long)seed, made.seconds);
        if (v->on.verbose)
            session_say(&j->s, "%s: %ux%u pixels, %u steps, %s of device memory; U-Net %u forward, %u backward, %u decodings; %.1f GFLOP, "
                        "%.2f times those of the plain loop", path, made.image.width, made.image.height, made.steps_run,
                        format_bytes(bytes, (double)made.device_bytes), made.forwards, made.backwards, made.decodes, made.gflop,
                        made.gflop / made.plain_gflop);
        progress_clear(&j->s.progress);
        if (!v->on.json)
            print_line("%s", path);
    }
    bl_generate_result_free(&made);
    free(path);
    return result;
}

/* --- only the memory ---------------------------------------------------------------------------------------------------- */

static bool print_plan(const bl_memory_plan *plan)
{
    char cell[4][16];
    table t = { .columns = 4, .align = "lrrr" };
    static const char *const headings[] = { "stage", "weights", "besides", "held in all" };
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, "%s", headings[i]);
    for (const bl_memory_stage *s = plan->stages; s < plan->stages + plan->stage_count; s++) {
        table_add(&t, "%s", s->name);
        table_add(&t, "%s", format_bytes(cell[1], (double)s->weights));
        table_add(&t, "%s", format_bytes(cell[2], (double)s->activations));
        table_add(&t, "%s", format_bytes(cell[3], (double)s->held));
    }
    if (!table_print(&t))
        return false;
    print_line("peak %s, limit %s: %s", format_bytes(cell[0], (double)plan->peak), format_bytes(cell[1], (double)plan->limit),
               !plan->fits ? "does not fit" : plan->evicts ? "fits, if weights are loaded again for every picture" : "fits");
    return true;
}

static json_t *plan_json(const bl_memory_plan *plan)
{
    json_t *stages = json_array();
    for (uint32_t i = 0; i < plan->stage_count; i++) {
        const bl_memory_stage *s = &plan->stages[i];
        json_array_append_new(stages, json_pack("{s:s, s:I, s:I, s:I}", "name", s->name, "weights", (json_int_t)s->weights,
                                                "activations", (json_int_t)s->activations, "held", (json_int_t)s->held));
    }
    return json_pack("{s:o, s:I, s:I, s:b, s:b}", "stages", stages, "peak", (json_int_t)plan->peak, "limit", (json_int_t)plan->limit,
                     "fits", plan->fits, "evicts", plan->evicts);
}

/* --dry-run: what every picture of the run would need. */
static int dry_run(job *j)
{
    bl_memory_plan plan;
    const bl_generate_options options = options_of(j, j->seed);
    const bl_result result = bl_generate_plan(j->model, &options, &plan);
    progress_clear(&j->s.progress);
    if (result != BL_OK)
        return session_fail(&j->s, result);
    if (j->values->on.json)
        j->memory = plan_json(&plan);
    else if (!print_plan(&plan))
        return -BL_ERROR_MEMORY;
    return plan.fits ? 0 : -BL_ERROR_MEMORY;
}

/* --- the run ----------------------------------------------------------------------------------------------------------- */

/* What contradicts itself beyond what the table of options can say; 0 or the exit code. */
static int check_values(const command *c, const generate_values *v)
{
    const struct { const char *name, *path; } files[] = { { "out", v->out }, { "save-attention", v->attention }, { "plot", v->plot } };
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (files[i].path && !picture_has_png_name(files[i].path))
            return options_refuse(c, "--%s: \"%s\" must end in .png, the only format written", files[i].name, files[i].path);
    if (!v->prompt && (!v->object || !v->defect))
        return options_refuse(c, "--prompt TEXT is missing, or --object and --defect");
    const struct { const char *name; bool given; } only_guided[] = { { "normal", v->normal }, { "detail", v->detail },
        { "save-attention", v->attention }, { "plot", v->plot }, { "clip", v->clip } };
    for (size_t i = 0; i < sizeof(only_guided) / sizeof(*only_guided); i++)
        if (only_guided[i].given && !(v->photo && guided(v)))
            return options_refuse(c, "--%s makes sense only with --photo and guided words: --object and --defect, or [[words]] in "
                                  "the prompt", only_guided[i].name);
    if (v->count > 1 && (v->attention || v->trace || v->plot))
        return options_refuse(c, "--save-attention, --trace and --plot are for one picture, not for --count %u", v->count);
    if (v->mask_smallest > v->mask_largest)
        return options_refuse(c, "--mask-smallest is %g, above --mask-largest, %g", (double)v->mask_smallest, (double)v->mask_largest);
    if (!v->seed.random && v->seed.value > UINT64_MAX - (v->count - 1))
        return options_refuse(c, "--count: the seed of picture %u would be above 2^64 - 1", v->count);
    return 0;
}

/* Where the photo may change: as told, else with guided words its foreground. */
static bl_result read_mask(job *j)
{
    const generate_values *v = j->values;
    if (mask_file(v))
        return bl_image_read(v->mask, 1, &j->mask);
    if (!v->photo || (v->mask && !strcmp(v->mask, "none")) || (!v->mask && !guided(v)) ||
        (!v->mask && v->method && !strcmp(v->method, "anomalyany")))
        return BL_OK;
    const bl_mask_options options = { sizeof(options), v->mask && !strcmp(v->mask, "auto") ? v->mask_shape : "foreground", v->mask_smallest,
                                      v->mask_largest, j->seed };
    return bl_mask_auto(&j->photo, &options, &j->mask);
}

static bl_result check_all_outputs(job *j)
{
    bl_result result = BL_OK;
    for (uint32_t i = 0; result == BL_OK && i < j->values->count; i++) {
        char *path = picture_path(j->values->out, j->values->count > 1 ? i + 1 : 0);
        result = path ? check_outputs(j, path) : session_note(&j->s, BL_ERROR_MEMORY, "host memory ran out");
        free(path);
    }
    return result;
}

static bl_result choose_seed(job *j)
{
    uint32_t drawn = 0; /* 32 bits: short enough to write down */
    j->seed = j->values->seed.value;
    if (!j->values->seed.random)
        return BL_OK;
    FILE *f = fopen("/dev/urandom", "rb");
    const bool ok = f && fread(&drawn, sizeof(drawn), 1, f) == 1;
    if (f)
        fclose(f);
    j->seed = drawn;
    return ok ? BL_OK : session_note(&j->s, BL_ERROR_INPUT, "/dev/urandom: cannot be read for a random seed");
}

/* Everything before the first picture. */
static bl_result prepare(job *j)
{
    const generate_values *v = j->values;
    bl_result result = v->dry_run ? BL_OK : check_all_outputs(j);
    if (result == BL_OK)
        result = choose_seed(j);
    if (result == BL_OK && v->photo)
        result = bl_image_read(v->photo, 3, &j->photo);
    if (result == BL_OK)
        result = read_mask(j);
    if (result == BL_OK)
        result = session_open(&j->s);
    if (result == BL_OK)
        result = bl_model_open(j->s.context, v->model, &j->model);
    if (result == BL_OK && v->clip)
        result = bl_model_open_clip(j->model, v->clip);
    return result == BL_OK && signals_stop() ? BL_ERROR_CANCELLED : result;
}

static int interrupted(job *j)
{
    progress_clear(&j->s.progress);
    if (j->written)
        report(j->s.command, "interrupted: %u of %u pictures are written", j->written, j->values->count);
    else
        report(j->s.command, "interrupted: nothing is written");
    return session_exit_code(BL_ERROR_CANCELLED);
}

/* One failed picture does not stop the others. */
static int make_all(job *j)
{
    const uint32_t count = j->values->count;
    int first = 0;
    uint32_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const bl_result result = one_picture(j, i);
        if (result == BL_OK)
            continue;
        if (result == BL_ERROR_CANCELLED)
            return interrupted(j);
        progress_clear(&j->s.progress);
        if (count > 1)
            report(j->s.command, "picture %u, seed %llu: %s", i + 1, (unsigned long long)j->seed + i, session_reason(&j->s, result));
        else
            session_fail(&j->s, result);
        first = first ? first : session_exit_code(result);
        failed++;
    }
    if (failed && count > 1)
        report(j->s.command, "%u of %u pictures failed", failed, count);
    return failed < count && failed ? EXIT_OUTPUT : first;
}

static bool print_object(job *j, bl_result prepared)
{
    char number[24];
    snprintf(number, sizeof(number), "%llu", (unsigned long long)j->seed);
    json_t *all = json_pack("{s:o, s:s, s:f, s:I}", "files", j->files, "seed", number, "seconds", seconds_now() - j->s.progress.started,
                            "device_bytes", (json_int_t)j->device_bytes);
    j->files = NULL;
    bool ok = all && session_add_json(&j->s, all);
    if (ok && j->memory)
        ok = !json_object_set(all, "memory", j->memory);
    if (ok && prepared != BL_OK)
        ok = !json_object_set_new(all, "error", session_error_json(&j->s, prepared));
    if (!ok) {
        json_decref(all);
        all = NULL;
    }
    return print_json(all);
}

static int run(const command *self, int argc, char **argv)
{
    generate_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest) || check_values(self, &values))
        return EXIT_USAGE;

    job j = { .values = &values, .files = json_array() };
    session_begin(&j.s, self, &values.on);
    const bl_result prepared = prepare(&j);
    int code;
    if (prepared == BL_ERROR_CANCELLED)
        code = interrupted(&j);
    else if (prepared != BL_OK)
        code = session_fail(&j.s, prepared);
    else
        code = values.dry_run ? dry_run(&j) : make_all(&j);
    if (prepared == BL_OK && !values.dry_run) {
        session_describe(&j.s);
        if (values.on.verbose)
            session_say(&j.s, "time: %.1f s", seconds_now() - j.s.progress.started);
    }
    if (values.on.json && !print_object(&j, prepared)) {
        report(self->name, "host memory ran out");
        code = code ? code : -BL_ERROR_MEMORY;
    }
    bl_model_close(&j.model);
    session_close(&j.s);
    bl_image_free(&j.photo);
    bl_image_free(&j.mask);
    json_decref(j.files);
    json_decref(j.memory);
    return code;
}

/* --- options ------------------------------------------------------------------------------------------------------------ */

#define AT(field) .where = offsetof(generate_values, field)

static const cli_option options[] = {
    { .group = "What to make", .name = "model", .letter = 'm', .argument = "DIR", .type = OPTION_PATH, AT(model), .env = "BLEMISH_MODEL",
      .required = true,
      .help = "Stable Diffusion 1.x or 2.x checkpoint in diffusers layout (folders tokenizer, text_encoder, unet, vae, scheduler)" },
    { .name = "prompt", .letter = 'p', .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(prompt),
      .help = "what the picture shows, at most 75 tokens ('blemish tokens' counts them); [[words]] in double brackets are guided" },
    { .name = "object", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(object), .excludes = "prompt", .needs = "defect",
      .help = "instead of --prompt: what is in the photo, \"hazelnut\"" },
    { .name = "defect", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(defect), .excludes = "prompt", .needs = "object",
      .help = "and what is wrong with it, \"damaged\": the guided words" },
    { .name = "template", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(template_text), .needs = "object",
      .help = "the prompt made of them", .otherwise = "\"a photo of a {object} that is {defect}\"" },
    { .name = "normal", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(normal),
      .help = "prompt of the photo without a defect, for the mask of what changed",
      .otherwise = "\"a photo of a {object}\", or the prompt without its guided words" },
    { .name = "detail", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(detail),
      .help = "a longer description of the defect: the text embedding moves towards it", .otherwise = "none" },
    { .name = "negative", .letter = 'n', .argument = "TEXT", .type = OPTION_TEXT, AT(negative),
      .help = "what it should not show", .otherwise = "nothing" },
    { .name = "out", .letter = 'o', .argument = "FILE.png", .type = OPTION_PATH, AT(out), .value = "blemish.png",
      .help = "the picture; its folder must exist. With --count, FILE-0001.png and so on" },
    { .name = "force", .letter = 'f', .type = OPTION_FLAG, AT(force), .help = "replace files that exist, but none that is read" },
    { .name = "count", .letter = 'c', .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 9999, AT(count), .value = "1",
      .help = "number of pictures, with seeds SEED, SEED+1, ..." },

    { .name = "dry-run", .type = OPTION_FLAG, AT(dry_run), .help = "make nothing: print the device memory that every stage would need, and "
      "whether it fits (exit code 6 if not)" },

    { .group = "From a photo", .name = "photo", .argument = "FILE", .type = OPTION_PATH, AT(photo),
      .help = "PNG or JPEG to start from, any size", .otherwise = "none, the words alone" },
    { .name = "mask", .argument = "FILE|auto|foreground|none", .type = OPTION_PATH, AT(mask), .needs = "photo",
      .help = "grey picture: the photo may change only where it is not black. auto: a random shape on the object, by the seed of the first "
              "picture", .otherwise = "the object (foreground) with guided words, else everywhere" },
    { .name = "mask-shape", .argument = "NAME", .type = OPTION_CHOICE, .choices = "ellipse|freeform|perlin", AT(mask_shape),
      .value = "ellipse", .needs = "mask", .help = "of --mask auto" },
    { .name = "mask-smallest", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1, .above = true, AT(mask_smallest),
      .value = "0.05", .needs = "mask", .help = "size of --mask auto, as a share of the object: at least" },
    { .name = "mask-largest", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1, .above = true, AT(mask_largest), .value = "0.25",
      .needs = "mask", .help = "and at most" },
    { .name = "strength", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1, .above = true, AT(strength), .value = "0.5",
      .needs = "photo", .help = "share of the steps run from the photo: more changes more" },

    { .group = "How to make it", .name = "seed", .letter = 's', .argument = "N|random", .type = OPTION_SEED, AT(seed), .value = "42",
      .help = "the same seed gives the same picture; below 2^64. The one drawn by \"random\" is printed and stored" },
    { .name = "steps", .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 1000, AT(steps), .value = "50",
      .help = "steps of the scheduler: more take longer" },
    { .name = "guidance", .letter = 'g', .argument = "X", .type = OPTION_NUMBER, .min = 1, .max = 100, AT(guidance), .value = "7.5",
      .help = "classifier-free guidance scale: how closely to follow the prompt; 1 turns it off" },
    { .name = "width", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 64, .max = 2048, .multiple = 8, AT(width),
      .help = "of the picture; Stable Diffusion needs multiples of 64", .otherwise = "the model's own" },
    { .name = "height", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 64, .max = 2048, .multiple = 8, AT(height),
      .help = "of the picture; Stable Diffusion needs multiples of 64", .otherwise = "the model's own" },
    { .name = "scheduler", .argument = "NAME", .type = OPTION_CHOICE, .choices = "ddim|pndm|pndm-diffusers", AT(scheduler),
      .help = "pndm-diffusers starts in mid-table as diffusers does, for comparison", .otherwise = "what scheduler_config.json says" },
    { .name = "spacing", .argument = "NAME", .type = OPTION_CHOICE, .choices = "leading|trailing|linspace", AT(spacing),
      .help = "which timesteps are visited", .otherwise = "what scheduler_config.json says" },
    { .group = "How the defect is made", .name = "method", .argument = "NAME", .type = OPTION_CHOICE, .choices = "cut|anomalyany|attend|sd",
      AT(method), .help = "cut: attention is driven onto the guided words inside the mask by gradient steps on the latents. anomalyany: "
      "the authors' published code, step for step. attend: attention is raised directly, without a gradient. sd: plain image-to-image",
      .otherwise = "cut with a photo and guided words, else sd" },
    { .name = "clip", .argument = "DIR", .type = OPTION_PATH, AT(clip), .needs = "photo",
      .help = "CLIP model (ViT-L/14): the picture is also led towards the words by its image loss", .otherwise = "none" },
    { .name = "lambda", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1e6, AT(lambda), .value = "0",
      .help = "step size of cut, or of anomalyany's strong update; 0: 10, or 20" },
    { .name = "growth", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1000, AT(growth), .value = "1",
      .help = "the first guided step of cut is 1 + X times as large as the last" },
    { .name = "inner", .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 100, AT(inner), .value = "1",
      .help = "updates in each guided step of cut" },
    { .name = "guided-first", .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 1000, AT(guided_first),
      .help = "first step that is guided", .otherwise = "1" },
    { .name = "guided-last", .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 1000, AT(guided_last),
      .help = "last step that is guided", .otherwise = "the last" },
    { .name = "words-mean", .type = OPTION_FLAG, AT(words_mean),
      .help = "several guided tokens: their mean counts, not the worst of them" },
    { .name = "attention-res", .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 256, AT(attention_res),
      .help = "grid of the attention maps in cells", .otherwise = "16, or a quarter of the latents if that is more" },
    { .name = "prompt-rate", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1, AT(prompt_rate), .value = "0.1",
      .help = "share of the way to --detail in each guided step of cut" },
    { .name = "image-weight", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1e6, AT(image_weight), .value = "1",
      .help = "weight of the image loss of cut, with --clip" },
    { .name = "image-share", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1, AT(image_share), .value = "0.3",
      .help = "the last share of the steps has an image loss" },
    { .name = "gain", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 50, AT(gain), .value = "3",
      .help = "attend: added to the attention logits of the guided words inside the mask" },
    { .name = "odd-off", .argument = "LIST", .type = OPTION_TEXT, .min = 1, AT(odd_off),
      .help = "anomalyany: oddities of the published code to leave out, of scheduler,maps,blend,prompt,gate, or all", .otherwise = "none" },

    { .group = "What to keep besides the picture", .name = "no-mask-out", .type = OPTION_FLAG, AT(no_change_mask),
      .help = "no FILE_mask.png of what changed, which costs a second, defect-free denoising" },
    { .name = "save-attention", .argument = "FILE.png", .type = OPTION_PATH, AT(attention),
      .help = "the guided words' attention over the picture" },
    { .name = "trace", .argument = "FILE", .type = OPTION_PATH, AT(trace),
      .help = "loss, localisation, gradient and step size of every update, as JSON lines" },
    { .name = "plot", .argument = "FILE.png", .type = OPTION_PATH, AT(plot), .help = "a plot of them" },
    { .name = "measure", .type = OPTION_FLAG, AT(measure),
      .help = "cut: evaluate the loss after the updates of each step, too, for the trace" },
    SESSION_OPTIONS(generate_values),
};

const command command_generate = {
    .name = "generate", .summary = "makes pictures from words, or from a photo and words",
    .usage = "-m DIR (-p TEXT | --object TEXT --defect TEXT) ...",
    .text = "Makes a picture of a defect that nobody has photographed from a photo of a\n"
            "normal product and a few words, with a Stable Diffusion checkpoint on your GPU,\n"
            "and FILE_mask.png, which shows what changed. Or makes a picture from words.\n"
            "Prints the name of every picture it wrote.\n"
            "The parameters are stored in the picture, and so is the mark that a model made\n"
            "it (IPTC digital source type). Nothing is written when it is interrupted or\n"
            "fails.",
    .examples = "  blemish generate -m ~/models/sd15 --photo nut.png \\\n      --object hazelnut --defect cracked\n"
                "  blemish generate --model ~/models/sd15 --prompt \"a photo of a hazelnut\"\n"
                "  blemish generate -m ~/models/sd15 -p \"a photo of a cracked hazelnut\" \\\n"
                "      --photo nut.png --mask spot.png --strength 0.6 --count 4 --out crack.png\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .run = run,
};
