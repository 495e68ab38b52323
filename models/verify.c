/* Layer 5. */
#include "verify.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- golden tensors ------------------------------------------------------------------------------------------------- */

static void mark(bl_verifier *v, const bl_file_tensor *t)
{
    for (size_t i = 0; i < bl_safetensors_count(v->file); i++)
        if (bl_safetensors_at(v->file, i) == t)
            v->seen[i] = true;
}

bool bl_golden_has(const bl_verifier *v, const char *name) { return bl_safetensors_find(v->file, name) != NULL; }

float *bl_golden(bl_verifier *v, const char *name, const bl_file_tensor **info)
{
    const bl_file_tensor *t = bl_safetensors_find(v->file, name);
    if (info)
        *info = t;
    if (!t) {
        bl_fail(BL_ERROR_INPUT, "%s: tensor \"%s\" is missing", bl_safetensors_path(v->file), name);
        return NULL;
    }
    mark(v, t);
    float *x = t->count < SIZE_MAX / sizeof(float) ? bl_alloc((size_t)t->count, sizeof(*x)) : NULL;
    if (!x) {
        bl_fail(BL_ERROR_MEMORY, "no host memory for tensor \"%s\"", name);
        return NULL;
    }
    if (bl_safetensors_read(v->file, t, 0, (size_t)t->count, x) == BL_OK)
        return x;
    bl_free(x);
    return NULL;
}

float *bl_golden_sized(bl_verifier *v, const char *name, size_t count)
{
    const bl_file_tensor *t = bl_safetensors_find(v->file, name);
    if (t && t->count != count) {
        bl_fail(BL_ERROR_INPUT, "%s: tensor \"%s\" has %llu values, %zu are needed", bl_safetensors_path(v->file), name,
                (unsigned long long)t->count, count);
        return NULL;
    }
    return bl_golden(v, name, NULL);
}

json_t *bl_golden_metadata(const bl_verifier *v, const char *key)
{
    const char *text = bl_safetensors_metadata(v->file, key);
    if (!text)
        return NULL;
    json_t *parsed = json_loads(text, JSON_DECODE_ANY, NULL);
    return parsed ? parsed : json_string(text);
}

/* --- rows ----------------------------------------------------------------------------------------------------------- */

static void report(bl_verifier *v, const char *name, bl_verdict verdict, double max, double rms, double allowed, const char *note)
{
    const char *path = bl_safetensors_path(v->file), *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    uint32_t *counts[] = { &v->summary->passed, &v->summary->failed, &v->summary->skipped };
    ++*counts[verdict];
    if (verdict == BL_FAIL && !*v->summary->first_failure)
        snprintf(v->summary->first_failure, sizeof(v->summary->first_failure), "%s: %s: %s", file, v->stage, name);
    if (v->options->row)
        v->options->row(v->options->user, &(bl_verify_row){ file, v->stage, name, verdict, max, rms, allowed, note ? note : "" });
}

void bl_report(bl_verifier *v, const char *name, double max, double rms, double allowed, const char *note)
{
    report(v, name, rms <= allowed ? BL_PASS : BL_FAIL, max, rms, allowed, note); /* NaN fails */
}

static void mark_name(bl_verifier *v, const char *name)
{
    const bl_file_tensor *t = bl_safetensors_find(v->file, name);
    if (t)
        mark(v, t);
}

void bl_skip(bl_verifier *v, const char *name, const char *why)
{
    mark_name(v, name);
    report(v, name, BL_SKIP, 0, 0, 0, why);
}

void bl_fail_row(bl_verifier *v, const char *name, const char *why)
{
    mark_name(v, name);
    report(v, name, BL_FAIL, 0, 0, 0, why);
}

double bl_allowed(const bl_verifier *v, double f32, double f16) { return v->context->type == BL_F16 ? f16 : f32; }

void bl_expect(bl_verifier *v, const char *name, const float *got, size_t count, double allowed, const char *note)
{
    const bl_file_tensor *t;
    if (!bl_golden_has(v, name))
        return;
    float *want = bl_golden(v, name, &t);
    if (!want || t->count != count) {
        char why[160];
        snprintf(why, sizeof(why), want ? "%zu values, the file has %llu" : "cannot be read", count, (unsigned long long)t->count);
        bl_fail_row(v, name, why);
        bl_free(want);
        return;
    }
    double max = 0, error = 0, scale = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs((double)got[i] - (double)want[i]);
        max = d > max || isnan(d) ? d : max;
        error += d * d;
        scale += (double)want[i] * want[i];
    }
    const double rms = scale > 0 ? sqrt(error / scale) : sqrt(error);
    report(v, name, rms <= allowed ? BL_PASS : BL_FAIL, max, rms, allowed, note); /* NaN fails */
    bl_free(want);
}

void bl_expect_picture(bl_verifier *v, const char *name, const bl_image *got, double allowed)
{
    const bl_file_tensor *t;
    if (!bl_golden_has(v, name))
        return;
    const size_t count = (size_t)got->width * got->height * got->channels;
    float *want = bl_golden(v, name, &t);
    if (!want || t->count != count) {
        bl_fail_row(v, name, "a picture of another size");
        bl_free(want);
        return;
    }
    double max = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs(got->pixels[i] - (double)want[i]);
        max = BL_MAX(max, d);
        sum += d;
    }
    report(v, name, sum / (double)count <= allowed ? BL_PASS : BL_FAIL, max, sum / (double)count, allowed,
           "mean difference in 8-bit levels");
    bl_free(want);
}

/* --- files ---------------------------------------------------------------------------------------------------------- */

/* Why nothing looked at a tensor. */
static const char *reason_for(const bl_verifier *v)
{
    if (bl_safetensors_metadata(v->file, "clip") && !v->clip)
        return "needs --clip";
    if (!v->checkpoint)
        return "needs --model";
    return "no stage here computes it";
}

/* The name in the file's metadata against the folder's: goldens belong to one model's exact bytes. True with the reason if they differ. */
static bool of_another(const bl_verifier *v, const char *kind, const char *dir, char *why, size_t size)
{
    const char *name = bl_safetensors_metadata(v->file, kind);
    if (!name || !dir)
        return false;
    size_t end = strlen(dir), n = strlen(name);
    while (end > 1 && dir[end - 1] == '/')
        end--;
    const char *at = end >= n ? dir + end - n : NULL;
    const bool differs = !at || memcmp(at, name, n) || (at > dir && at[-1] != '/');
    if (differs)
        snprintf(why, size, "made with %s \"%.60s\", not this one", kind, name);
    return differs;
}

static bl_result verify_file(bl_verifier *v, const char *path)
{
    static bl_result (*const stages[])(bl_verifier *) = {
        bl_verify_text, bl_verify_unet, bl_verify_unet_trace, bl_verify_vae, bl_verify_plain, bl_verify_attention, bl_verify_guided,
        bl_verify_clip, bl_verify_schedulers, bl_verify_ops,
    };
    bl_result result = BL_OK;
    bl_safetensors *file = NULL;
    BL_TRY(bl_safetensors_open(path, BL_ERROR_INPUT, &file));
    v->file = file;
    v->seen = bl_alloc(bl_safetensors_count(file), sizeof(*v->seen));
    if (!v->seen)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", path));
    char why[200] = "";
    if (!of_another(v, "model", v->options->model_dir, why, sizeof(why)))
        of_another(v, "clip", v->options->clip_dir, why, sizeof(why));
    for (size_t i = 0; i < BL_COUNT(stages) && !*why; i++) {
        BL_TRY(bl_context_cancelled(v->context));
        BL_TRY(stages[i](v));
    }
    v->stage = "-";
    for (size_t i = 0; i < bl_safetensors_count(file); i++)
        if (!v->seen[i]) {
            const char *name = bl_safetensors_at(file, i)->name;
            bl_skip(v, name, *why ? why : reason_for(v));
        }
fail:
    bl_free(v->seen);
    v->seen = NULL;
    bl_safetensors_close(&file);
    return result;
}

bl_result bl_verify(bl_context *context, const bl_verify_options *options, bl_verify_summary *summary)
{
    bl_result result = BL_OK;
    bl_checkpoint *alone = NULL; /* without networks, for a CLIP model alone */
    if (!context || !options || !summary || options->struct_size != sizeof(*options) || (options->file_count && !options->files))
        return bl_fail(BL_ERROR_USAGE, "bl_verify: no context, options, files or place for the summary");
    *summary = (bl_verify_summary){ 0 };
    bl_verifier v = { .context = context, .options = options, .summary = summary, .stage = "-" };
    if (options->model_dir)
        BL_TRY(bl_checkpoint_open(context, options->model_dir, options->model, &v.checkpoint));
    if (options->clip_dir && !v.checkpoint)
        BL_TRY(bl_checkpoint_open(context, NULL, NULL, &alone));
    if (options->clip_dir)
        BL_TRY(bl_clip_open(v.checkpoint ? v.checkpoint : alone, options->clip_dir, &v.clip));
    for (size_t i = 0; i < options->file_count; i++)
        BL_TRY(verify_file(&v, options->files[i]));
    if (summary->failed)
        BL_TRY(bl_fail(BL_ERROR_MISMATCH, "%u tensors differ; the first is %s", summary->failed, summary->first_failure));
    if (!summary->passed)
        BL_TRY(bl_fail(BL_ERROR_MISMATCH, "nothing could be compared"));
    if (options->strict && summary->skipped)
        BL_TRY(bl_fail(BL_ERROR_MISMATCH, "%u tensors were skipped", summary->skipped));
fail:
    bl_clip_close(&v.clip);
    bl_checkpoint_close(&v.checkpoint);
    bl_checkpoint_close(&alone);
    return result;
}
