/* blemish generate: pictures from words, or from a photo and words. Layer 6. */
#include "commands.h"
#include "model_options.h"
#include "output.h"
#include "picture.h"
#include "session.h"
#include "signals.h"
#include "trace.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct generate_values {
    model_values model;
    const char *clip, *prompt, *negative, *photo, *mask, *scheduler, *spacing, *rng, *out;
    const char *crop, *object, *defect, *template_text, *normal, *detail, *method, *odd_off, *mask_shape, *trace, *plot, *preview;
    float strength, guidance, lambda, growth, prompt_rate, image_weight, image_share, gain;
    uint32_t steps, count, width, height, attention_res, guided_first, guided_last, inner;
    range_value mask_size;
    seed_value seed;
    bool force, dry_run, karras, words_mean, no_mask_out, whole, save_region, save_attention, save_photo;
    session_options on;
} generate_values;

/* One run: what was read, what was made. */
typedef struct job {
    const generate_values *values;
    uint64_t seed; /* of the first picture */
    bl_image photo, mask;
    session s;
    bl_model_options parts;
    model_store store;
    bl_model *model;
    json_t *files; /* array; NULL when memory ran out */
    json_t *memory; /* of --dry-run under --json */
    uint64_t device_bytes;
    uint32_t written;
    bool preview_failed; /* and was told */
} job;

/* --- one picture ------------------------------------------------------------------------------------------------------- */

/* On the command line 0 is 0; in the library it is the default, and a negative number none. */
static float or_none(float v) { return v > 0 ? v : -1; }

/* --mask names a file, not a way to make one. */
static bool mask_is_file(const generate_values *v)
{
    return v->mask && strcmp(v->mask, "auto") && strcmp(v->mask, "foreground") && strcmp(v->mask, "none");
}

/* The shape to draw; NULL: none, or what the library thinks best. */
static const char *mask_shape(const generate_values *v)
{
    return !v->mask || mask_is_file(v) ? NULL : strcmp(v->mask, "auto") ? v->mask : v->mask_shape;
}

/* There are words to guide, by the look of it; the library parses them. */
static bool is_guided(const generate_values *v) { return v->photo && (v->defect || (v->prompt && strstr(v->prompt, "[["))); }

static picture_wishes wishes_of(const generate_values *v)
{
    return (picture_wishes){ .out = v->out, .trace = v->trace, .plot = v->plot, .mask = is_guided(v) && !v->no_mask_out,
                             .region = v->save_region, .attention = v->save_attention, .photo = v->save_photo };
}

static bool names_of(const generate_values *v, uint32_t index, char *names[PICTURE_FILES])
{
    const picture_wishes wishes = wishes_of(v);
    return picture_names(&wishes, v->count > 1 ? index + 1 : 0, names);
}

/* A preview that cannot be written costs no picture. */
static void write_preview(void *user, uint32_t step, uint32_t steps, const bl_image *picture)
{
    job *j = user;
    (void)step, (void)steps;
    if (bl_image_write_png(j->values->preview, picture, NULL, 0) == BL_OK || j->preview_failed)
        return;
    j->preview_failed = true;
    progress_clear(&j->s.progress);
    report(j->s.command, "no preview: %s", bl_last_error());
}

static bl_generate_options options_of(job *j, uint64_t seed)
{
    const generate_values *v = j->values;
    bl_generate_options options = BL_GENERATE_OPTIONS_INIT;
    options.prompt = v->prompt;
    options.negative_prompt = v->negative;
    options.photo = v->photo ? &j->photo : NULL;
    options.mask = j->mask.pixels ? &j->mask : NULL;
    options.mask_shape = mask_shape(v);
    options.mask_smallest = v->mask_size.low;
    options.mask_largest = v->mask_size.high;
    options.crop = v->photo ? v->crop : NULL;
    options.width = v->width;
    options.height = v->height;
    options.steps = v->steps;
    options.strength = v->strength;
    options.guidance = v->guidance;
    options.seed = seed;
    options.rng = v->rng;
    options.scheduler = v->scheduler;
    options.karras = v->karras;
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
    options.no_change_mask = v->no_mask_out;
    options.whole_picture = v->whole;
    options.preview = v->preview ? write_preview : NULL;
    options.preview_user = j;
    return options;
}

/* Why a file of a picture must not be written, noted: what is read is never replaced, and no name stands for two files. */
static bl_result check_names(job *j, char *names[PICTURE_FILES])
{
    const generate_values *v = j->values;
    const char *const in[] = { v->photo, mask_is_file(v) ? v->mask : NULL, v->on.plan };
    char reason[768];
    for (int i = 0; i < PICTURE_FILES; i++) {
        if (!names[i])
            continue;
        for (size_t k = 0; k < sizeof(in) / sizeof(*in); k++)
            if (in[k] && picture_same_file(names[i], in[k]))
                return session_note(&j->s, BL_ERROR_USAGE, "%s: is also what is read; give another name", names[i]);
        for (int k = 0; k < i; k++)
            if (names[k] && picture_same_file(names[i], names[k]))
                return session_note(&j->s, BL_ERROR_USAGE, "%s: would be two files; give one of them another name", names[i]);
        if (!picture_may_write(names[i], v->force, reason, sizeof(reason)))
            return session_note(&j->s, BL_ERROR_OUTPUT, "%s", reason);
    }
    return BL_OK;
}

/* The one file that is written while pictures are made, whatever their number. */
static bool preview_is_apart(const generate_values *v, char *names[PICTURE_FILES])
{
    bool apart = !(v->photo && picture_same_file(v->preview, v->photo)) && !(mask_is_file(v) && picture_same_file(v->preview, v->mask));
    for (int i = 0; i < PICTURE_FILES; i++)
        apart = apart && !(names[i] && picture_same_file(v->preview, names[i]));
    return apart;
}

static bl_result write_file(job *j, picture_file file, const char *part, const bl_generate_result *made)
{
    switch (file) {
    case PICTURE_MASK: return bl_image_write_png(part, &made->mask, NULL, 0);
    case PICTURE_REGION: return bl_image_write_png(part, &made->region, NULL, 0);
    case PICTURE_ATTENTION: return bl_image_write_png(part, &made->attention, NULL, 0);
    case PICTURE_PHOTO: return bl_image_write_png(part, &made->photo, NULL, 0);
    case PICTURE_TRACE: return trace_write(part, made);
    case PICTURE_PLOT: return trace_plot(part, made);
    default: return picture_write(part, made, j->values->photo != NULL);
    }
}

/* Whether the generation made what goes into a file. */
static bool was_made(const bl_generate_result *made, picture_file file)
{
    const bl_image *const pictures[PICTURE_FILES] = { &made->image, &made->mask, &made->region, &made->attention, &made->photo };
    return !pictures[file] || pictures[file]->pixels;
}

/* The picture last: when it is there, all that belongs to it is; when it is not, nothing is. */
static bl_result write_files(job *j, char *names[PICTURE_FILES], const bl_generate_result *made)
{
    picture_set set = { 0 };
    bl_result result = BL_OK;
    for (int i = PICTURE_FILES; i-- && result == BL_OK;) {
        if (!names[i] || !was_made(made, (picture_file)i))
            continue;
        const char *part = picture_set_add(&set, names[i]);
        result = part ? write_file(j, (picture_file)i, part, made) : BL_ERROR_MEMORY;
        if (result != BL_OK)
            session_note(&j->s, result, "%s: %s", names[i], result == BL_ERROR_MEMORY ? "host memory ran out"
                         : i == PICTURE_TRACE ? strerror(errno) : bl_last_error());
    }
    if (result == BL_OK && !picture_set_name(&set))
        result = session_note(&j->s, BL_ERROR_OUTPUT, "%s: cannot be written: %s", names[PICTURE_IMAGE], strerror(errno));
    picture_set_end(&set);
    return result;
}

static bl_result make(job *j, uint64_t seed, char *names[PICTURE_FILES], bl_generate_result *made)
{
    const bl_generate_options options = options_of(j, seed);
    bl_result result = bl_generate(j->model, &options, made);
    if (result == BL_OK && signals_stop()) /* too late for the library to see */
        result = BL_ERROR_CANCELLED;
    if (result == BL_OK)
        result = check_names(j, names); /* again: it took minutes */
    return result == BL_OK ? write_files(j, names, made) : result;
}

/* Names of what was written besides the picture. */
static void add_names(json_t *item, char *names[PICTURE_FILES], const bl_generate_result *made)
{
    static const char *const keys[PICTURE_FILES] = { NULL, "mask", "region", "attention", "photo", "trace", "plot" };
    for (int i = 0; i < PICTURE_FILES; i++)
        if (keys[i] && names[i] && was_made(made, (picture_file)i))
            json_object_set_new(item, keys[i], json_text(names[i]));
}

/* Keeps what --json tells of one picture, made or failed. */
static void keep(job *j, char *names[PICTURE_FILES], uint64_t seed, const bl_generate_result *made, bl_result result)
{
    char number[24]; /* as text: many readers of JSON keep 53 bits of a number */
    snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
    json_t *item;
    if (result == BL_OK) {
        item = json_pack("{s:o, s:s, s:i, s:i, s:i, s:f, s:I, s:i, s:i, s:i, s:f, s:f, s:o}", "path", json_text(names[PICTURE_IMAGE]),
                         "seed", number, "width", (int)made->image.width, "height", (int)made->image.height, "steps_run",
                         (int)made->steps_run, "seconds", made->seconds, "device_bytes", (json_int_t)made->device_bytes, "unet_forwards",
                         (int)made->forwards, "unet_backwards", (int)made->backwards, "decodes", (int)made->decodes, "gflop", made->gflop,
                         "plain_gflop", made->plain_gflop, "parameters", json_loads(made->parameters, 0, NULL));
        add_names(item, names, made);
    } else {
        item = json_pack("{s:n, s:s, s:o}", "path", "seed", number, "error", session_error_json(&j->s, result));
    }
    if (j->files && json_array_append_new(j->files, item)) {
        json_decref(j->files);
        j->files = NULL;
    }
}

/* What it took, and how much of the picture the mask covers. */
static void say_cost(job *j, const char *path, const bl_generate_result *made)
{
    char bytes[16];
    const size_t pixels = (size_t)made->image.width * made->image.height;
    size_t white = 0;
    for (size_t i = 0; made->mask.pixels && i < pixels; i++)
        white += made->mask.pixels[i] != 0;
    session_say(&j->s, "%s: %ux%u pixels, %u steps, %s of device memory", path, made->image.width, made->image.height, made->steps_run,
                format_bytes(bytes, (double)made->device_bytes));
    session_say(&j->s, "%s: U-Net %u times forward, %u backward, %u pictures decoded; %.1f GFLOP, %.2f times the plain loop's", path,
                made->forwards, made->backwards, made->decodes, made->gflop, made->gflop / made->plain_gflop);
    if (made->mask.pixels)
        session_say(&j->s, "%s: the mask covers %.2f %% of the picture", path, 100.0 * (double)white / (double)pixels);
}

static bl_result one_picture(job *j, uint32_t index)
{
    const generate_values *v = j->values;
    const uint64_t seed = j->seed + index;
    bl_generate_result made = { 0 };
    char *names[PICTURE_FILES];
    *j->s.reason = 0;
    bl_result result = names_of(v, index, names) ? BL_OK : session_note(&j->s, BL_ERROR_MEMORY, "host memory ran out");
    j->s.progress.item = index + 1;
    j->s.progress.items = v->count;
    if (result == BL_OK) {
        result = make(j, seed, names, &made);
        keep(j, names, seed, &made, result);
    }
    if (result == BL_OK) {
        const char *path = names[PICTURE_IMAGE];
        j->written++;
        j->device_bytes = made.device_bytes > j->device_bytes ? made.device_bytes : j->device_bytes;
        session_say(&j->s, "%s: seed %llu, %.1f s", path, (unsigned long long)seed, made.seconds);
        if (v->on.verbose)
            say_cost(j, path, &made);
        progress_clear(&j->s.progress);
        if (!v->on.json)
            print_line("%s", path);
    }
    bl_generate_result_free(&made);
    picture_names_free(names);
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
    const struct { const char *name, *path; } files[] = { { "out", v->out }, { "plot", v->plot }, { "preview", v->preview } };
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (files[i].path && !picture_has_png_name(files[i].path))
            return options_refuse(c, "--%s: \"%s\" must end in .png, the only format written", files[i].name, files[i].path);
    if (!v->prompt && (!v->object || !v->defect))
        return options_refuse(c, "--prompt TEXT is missing, or --object and --defect");
    const struct { const char *name; bool given; } only_guided[] = { { "normal", v->normal }, { "detail", v->detail },
        { "save-attention", v->save_attention }, { "plot", v->plot }, { "clip", v->clip } };
    for (size_t i = 0; i < sizeof(only_guided) / sizeof(*only_guided); i++)
        if (only_guided[i].given && !is_guided(v))
            return options_refuse(c, "--%s makes sense only with --photo and guided words: --object and --defect, or [[words]] in "
                                  "the prompt", only_guided[i].name);
    if (v->guided_last && v->guided_first > v->guided_last)
        return options_refuse(c, "--guided-first is %u, after --guided-last, %u", v->guided_first, v->guided_last);
    if (!v->seed.random && v->seed.value > UINT64_MAX - (v->count - 1))
        return options_refuse(c, "--count: the seed of picture %u would be above 2^64 - 1", v->count);
    return 0;
}

/* Every output name, before minutes are spent. */
static bl_result check_outputs(job *j)
{
    const generate_values *v = j->values;
    bl_result result = BL_OK;
    char reason[768];
    for (uint32_t i = 0; i < v->count && result == BL_OK; i++) {
        char *names[PICTURE_FILES];
        if (!names_of(v, i, names))
            result = session_note(&j->s, BL_ERROR_MEMORY, "host memory ran out");
        if (result == BL_OK)
            result = check_names(j, names);
        if (result == BL_OK && v->preview && !preview_is_apart(v, names))
            result = session_note(&j->s, BL_ERROR_USAGE, "%s: is also another file; give the preview another name", v->preview);
        picture_names_free(names);
    }
    if (result == BL_OK && v->preview && !picture_may_write(v->preview, v->force, reason, sizeof(reason)))
        result = session_note(&j->s, BL_ERROR_OUTPUT, "%s", reason);
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
    bl_result result = v->dry_run ? BL_OK : check_outputs(j);
    if (result == BL_OK)
        result = choose_seed(j);
    if (result == BL_OK && v->photo)
        result = bl_image_read(v->photo, 3, &j->photo);
    if (result == BL_OK && mask_is_file(v))
        result = bl_image_read(v->mask, 1, &j->mask);
    if (result == BL_OK)
        result = session_open(&j->s);
    if (result == BL_OK)
        result = bl_model_open_with(j->s.context, v->model.path, &j->parts, &j->model);
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
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    int code = check_values(self, &values);
    if (code)
        return code;

    job j = { .values = &values };
    if (!model_options_make(self, &values.model, &j.store, &j.parts))
        return EXIT_USAGE;
    j.files = json_array();
    session_begin(&j.s, self, &values.on);
    const bl_result prepared = prepare(&j);
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
    { .group = "What to make", .name = "model", .letter = 'm', .argument = "MODEL", .type = OPTION_PATH, AT(model.path),
      .env = "BLEMISH_MODEL", .required = true,
      .help = "Stable Diffusion 1.x or 2.x checkpoint: a folder in diffusers layout (with tokenizer, text_encoder, unet, vae, scheduler), "
              "or a single safetensors file together with --tokenizer" },
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
      .help = "the picture, and FILE_mask.png of what changed; its folder must exist. With --count, FILE-0001.png and so on" },
    { .name = "force", .letter = 'f', .type = OPTION_FLAG, AT(force), .help = "replace files that exist, but none that is read" },
    { .name = "count", .letter = 'c', .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 9999, AT(count), .value = "1",
      .help = "number of pictures, with seeds SEED, SEED+1, ..." },

    { .name = "dry-run", .type = OPTION_FLAG, AT(dry_run), .help = "make nothing: print the device memory that every stage would need, and "
      "whether it fits (exit code 6 if not)" },

    { .group = "From a photo", .name = "photo", .argument = "FILE", .type = OPTION_PATH, AT(photo),
      .help = "PNG or JPEG to start from, any size", .otherwise = "none, the words alone" },
    { .name = "mask", .argument = "FILE|auto|foreground|none", .type = OPTION_PATH, AT(mask), .needs = "photo",
      .help = "where the photo may change: a grey picture, where it is not black; auto: a random shape on the object, another for every "
              "seed; foreground: the object, parted from the border's colour; none: everywhere",
      .otherwise = "foreground with guided words, else none" },
    { .name = "mask-shape", .argument = "NAME", .type = OPTION_CHOICE, .choices = "ellipse|freeform|perlin", AT(mask_shape),
      .value = "ellipse", .needs = "mask", .help = "of --mask auto; freeform is a stroke, perlin noise in patches" },
    { .name = "mask-size", .argument = "MIN-MAX", .type = OPTION_RANGE, .min = 0, .max = 1, .above = true, AT(mask_size),
      .value = "0.05-0.25", .needs = "mask", .help = "of --mask auto, as a share of the object" },
    { .name = "crop", .argument = "auto|none|X,Y,WIDTH,HEIGHT", .type = OPTION_TEXT, .min = 1, AT(crop), .value = "auto", .needs = "photo",
      .help = "the part of the photo that is generated and put back, the result being as large as the photo. auto: what surrounds the "
              "mask; without one, and with numbers, the largest centred part of the shape of --width and --height. none: the result is "
              "that part alone, of the model's size" },
    { .name = "strength", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1, .above = true, AT(strength), .value = "0.5",
      .needs = "photo", .help = "share of the steps run from the photo: more changes more" },

    { .group = "How to make it", .name = "seed", .letter = 's', .argument = "N|random", .type = OPTION_SEED, AT(seed), .value = "42",
      .help = "the same seed gives the same picture; below 2^64. The one drawn by \"random\" is printed and stored" },
    { .name = "rng", .argument = "NAME", .type = OPTION_CHOICE, .choices = "philox|torch-cuda|torch-cpu", AT(rng), .value = "philox",
      .help = "where noise comes from: philox, the same on every device; or what torch makes of the seed, on CUDA (up to 768x768 pixels) "
              "or on the processor" },
    { .name = "steps", .argument = "N", .type = OPTION_WHOLE, .min = 1, .max = 1000, AT(steps), .value = "50",
      .help = "steps of the scheduler: more take longer" },
    { .name = "guidance", .letter = 'g', .argument = "X", .type = OPTION_NUMBER, .min = 1, .max = 100, AT(guidance), .value = "7.5",
      .help = "classifier-free guidance scale: how closely to follow the prompt; 1 turns it off" },
    { .name = "width", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 64, .max = 2048, .multiple = 8, AT(width),
      .help = "of the picture; Stable Diffusion needs multiples of 64", .otherwise = "the model's own" },
    { .name = "height", .argument = "PIXELS", .type = OPTION_WHOLE, .min = 64, .max = 2048, .multiple = 8, AT(height),
      .help = "of the picture; Stable Diffusion needs multiples of 64", .otherwise = "the model's own" },
    { .name = "scheduler", .argument = "NAME", .type = OPTION_CHOICE, .choices = "ddim|pndm|pndm-diffusers|euler|euler-a|dpm++2m|lcm",
      AT(scheduler), .help = "euler-a adds noise in every step; lcm is for models distilled for it, with 4 to 8 steps and a guidance of 1 "
      "to 2; pndm-diffusers starts in mid-table as diffusers does, for comparison",
      .otherwise = "ddim with method cut, else what scheduler_config.json says" },
    { .name = "spacing", .argument = "NAME", .type = OPTION_CHOICE, .choices = "leading|trailing|linspace", AT(spacing),
      .help = "which timesteps are visited", .otherwise = "what scheduler_config.json says" },
    { .name = "karras", .type = OPTION_FLAG, AT(karras), .help = "Karras sigmas, with scheduler euler or dpm++2m" },
    { .group = "How the defect is made", .name = "method", .argument = "NAME", .type = OPTION_CHOICE, .choices = "cut|anomalyany|attend|sd",
      AT(method),
      .help = "cut: attention is driven onto the guided words inside the mask by gradient steps on the latents. anomalyany: the authors' "
              "published code, step for step. attend: attention is raised directly, without a gradient. sd: plain image-to-image",
      .otherwise = "cut with a photo and guided words, else sd" },
    { .name = "clip", .argument = "DIR", .type = OPTION_PATH, AT(clip), .needs = "photo",
      .help = "CLIP model (ViT-L/14): the picture is also led towards the words by its image loss", .otherwise = "none" },
    { .name = "lambda", .argument = "X", .type = OPTION_NUMBER, .min = 0, .max = 1e6, .above = true, AT(lambda),
      .help = "step size of cut, or of anomalyany's strong update", .otherwise = "10, or 20 with anomalyany" },
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

    { .group = "What to keep besides the picture", .name = "no-mask-out", .type = OPTION_FLAG, AT(no_mask_out),
      .help = "no FILE_mask.png of what changed, which costs a second, defect-free denoising" },
    { .name = "whole", .type = OPTION_FLAG, AT(whole), .needs = "photo",
      .help = "the whole picture as the model drew it; without it, what lies outside FILE_mask.png is the photo's own, pixel by pixel" },
    { .name = "save-region", .type = OPTION_FLAG, AT(save_region), .needs = "photo",
      .help = "FILE_region.png: the mask that was given or drawn, where the photo might change" },
    { .name = "save-attention", .type = OPTION_FLAG, AT(save_attention), .needs = "photo",
      .help = "FILE_attention.png: the guided words' attention at the last step, over the picture" },
    { .name = "save-photo", .type = OPTION_FLAG, AT(save_photo), .needs = "photo",
      .help = "FILE_photo.png: the photo as it was used, of the picture's size" },
    { .name = "trace", .argument = "FILE", .type = OPTION_PATH, AT(trace),
      .help = "loss, localisation, gradient, step size and time of every update, as JSON lines" },
    { .name = "plot", .argument = "FILE.png", .type = OPTION_PATH, AT(plot), .help = "a plot of them" },
    { .name = "preview", .argument = "FILE.png", .type = OPTION_PATH, AT(preview),
      .help = "an approximate picture, written anew after every step: small, or with a tiny autoencoder (--preview-vae) of full size" },
    MODEL_OPTIONS(generate_values),
    SESSION_OPTIONS(generate_values),
};

const command command_generate = {
    .name = "generate", .summary = "makes pictures from words, or from a photo and words",
    .usage = "-m MODEL (-p TEXT | --object TEXT --defect TEXT) ...",
    .text = "Makes a picture of a defect that nobody has photographed from a photo of a\n"
            "normal product and a few words, with a Stable Diffusion checkpoint on your GPU,\n"
            "and FILE_mask.png, which shows what changed. Or makes a picture from words.\n"
            "Prints the name of every picture it wrote.\n"
            "The parameters are stored in the picture, and so is the mark that a model made\n"
            "it (IPTC digital source type). Nothing is written when it is interrupted or\n"
            "fails.",
    .examples = "  blemish generate -m ~/models/sd15 --photo nut.png --object hazelnut \\\n"
                "      --defect cracked --mask auto --count 20 --out cracked.png\n"
                "  blemish generate --model ~/models/sd15 --prompt \"a photo of a hazelnut\"\n"
                "  blemish generate -m ~/models/sd15 -p \"a photo of a cracked hazelnut\" \\\n"
                "      --photo nut.png --mask spot.png --strength 0.6 --count 4 --out crack.png\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .run = run,
};
