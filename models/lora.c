/* Layer 4. */
#include "lora.h"
#include "checked.h"
#include "json.h"
#include "kinds.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- names ---------------------------------------------------------------------------------------------------------- */

/* How the names of the two matrices end, of which the first row counts that fits, and what that of the layer has in its place. Before
 * version 0.20 diffusers hung them on attention processors and called what the U-Net and the text encoder name differently by one name. */
#define PROCESSOR(part, layer) { ".processor." part "_lora.down.weight", ".processor." part "_lora.up.weight", layer }
#define OLD_TEXT(part, layer) { "." part "_lora.down.weight", "." part "_lora.up.weight", layer }
static const struct { const char *down, *up, *layer; } suffixes[] = {
    { ".lora_down.weight", ".lora_up.weight", "" }, { ".lora_A.weight", ".lora_B.weight", "" },
    { ".lora.down.weight", ".lora.up.weight", "" }, { ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", "" },
    PROCESSOR("to_q", ".to_q"), PROCESSOR("to_k", ".to_k"), PROCESSOR("to_v", ".to_v"), PROCESSOR("to_out", ".to_out.0"),
    OLD_TEXT("to_q", ".q_proj"), OLD_TEXT("to_k", ".k_proj"), OLD_TEXT("to_v", ".v_proj"), OLD_TEXT("to_out", ".out_proj"),
};
/* And how they start; the oldest of a U-Net with nothing. */
static const struct { const char *prefix, *net; bool flat; } prefixes[] = {
    { "lora_unet_", "unet.", true }, { "lora_te_", "text_encoder.", true }, { "unet.", "unet.", false },
    { "text_encoder.", "text_encoder.", false }, { "base_model.model.", "unet.", false }, { "", "unet.", false },
};
static const char ALPHA[] = ".alpha";

/* The length of a name without this end; 0 if it has another. */
static size_t stem_of(const char *name, const char *suffix)
{
    const size_t n = strlen(name), m = strlen(suffix);
    return n > m && !strcmp(name + n - m, suffix) ? n - m : 0;
}

static const bl_file_tensor *find(const bl_safetensors *file, const char *name, size_t stem, const char *suffix)
{
    char full[BL_SAFETENSORS_MAX_NAME + 64];
    snprintf(full, sizeof(full), "%.*s%s", (int)stem, name, suffix);
    return bl_safetensors_find(file, full);
}

/* The tensor of the model that the layer "<stem><end>" is for; NULL if there is none. */
static bl_stored *find_tensor(const bl_tensors *t, const char *name, size_t stem, const char *end)
{
    char full[BL_SAFETENSORS_MAX_NAME + 64];
    for (size_t i = 0; i < BL_COUNT(prefixes); i++) {
        const size_t n = strlen(prefixes[i].prefix);
        if (stem <= n || strncmp(name, prefixes[i].prefix, n))
            continue;
        snprintf(full, sizeof(full), "%.*s%s.weight", (int)(stem - n), name + n, end);
        return prefixes[i].flat ? bl_tensors_find_flat(t, prefixes[i].net, full) : bl_tensors_find(t, prefixes[i].net, full);
    }
    return NULL;
}

/* --- opening -------------------------------------------------------------------------------------------------------- */

static bl_result refuse(const bl_safetensors *file, const bl_file_tensor *t, const char *why)
{
    return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\" %s", bl_safetensors_path(file), t->name, why);
}

static bool is_float(const bl_file_tensor *t)
{
    return t->dtype == BL_FILE_F32 || t->dtype == BL_FILE_F16 || t->dtype == BL_FILE_BF16;
}

/* alpha: a scalar, or one value. */
static bl_result read_alpha(const bl_safetensors *file, const bl_file_tensor *t, double *out)
{
    float alpha;
    if (t->count != 1 || !bl_file_dtype_readable(t->dtype))
        return refuse(file, t, "is not a single number");
    const bl_result result = bl_safetensors_read(file, t, 0, 1, &alpha);
    if (result != BL_OK)
        return result;
    *out = alpha;
    return isfinite(alpha) ? BL_OK : refuse(file, t, "is not a finite number");
}

/* What diffusers says of all layers of a network in the file's metadata. */
enum { NETS = 2 };
static const char *const nets[NETS] = { "unet.", "text_encoder." };
typedef struct adapter {
    const bl_safetensors *file;
    double scale;
    double alpha[NETS];     /* 0: nothing is said, it is the rank */
} adapter;

static bl_result read_adapter(adapter *a)
{
    static const struct { const char *key; bool pattern; } refused[] = { { "use_rslora", false }, { "use_dora", false },
                                                                         { "alpha_pattern", true } };
    bl_result result = BL_OK;
    const char *path = bl_safetensors_path(a->file), *text = bl_safetensors_metadata(a->file, "lora_adapter_metadata");
    json_t *o = NULL;
    char key[64];
    if (!text)
        return BL_OK;
    result = bl_json_parse("lora_adapter_metadata", text, strlen(text), 8, BL_ERROR_MODEL, &o);
    if (result != BL_OK)
        return bl_fail_in(result, "%s", path);
    for (int net = 0; net < NETS; net++) {
        for (size_t i = 0; i < BL_COUNT(refused); i++) {
            snprintf(key, sizeof(key), "%s%s", nets[net], refused[i].key);
            const json_t *v = json_object_get(o, key);
            if (refused[i].pattern ? json_object_size(v) > 0 : json_is_true(v))
                BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: \"%s\" is set in its metadata, which is not supported", path, key));
        }
        snprintf(key, sizeof(key), "%slora_alpha", nets[net]);
        BL_TRY(bl_json_f64(o, path, key, 0, &a->alpha[net]));
    }
fail:
    json_decref(o);
    return result;
}

/* Values of a row [everything but the first dimension]; false if there are none. */
static bool columns_of(const bl_stored *t, size_t *out)
{
    bool fits = t->rank >= 2 && t->dims[0];
    *out = 1;
    for (uint32_t i = 1; i < t->rank && fits; i++)
        fits = bl_mul(*out, (size_t)t->dims[i], out);
    return fits && *out;
}

/* `row`: of suffixes. */
static bl_result hang(bl_tensors *t, const adapter *a, const bl_file_tensor *down, size_t stem, size_t row)
{
    bl_result result = BL_OK;
    const bl_safetensors *file = a->file;
    size_t columns;
    char shapes[3][96];
    bl_stored *of = find_tensor(t, down->name, stem, suffixes[row].layer);
    bl_lora_layer *layer, **end;
    const bl_file_tensor *up = find(file, down->name, stem, suffixes[row].up), *given = find(file, down->name, stem, ALPHA);
    if (!of)
        return refuse(file, down, "is for no layer of this model");
    if (!up)
        return refuse(file, down, "has no matrix that goes up with it");
    if (!is_float(down) || !is_float(up))
        return refuse(file, is_float(down) ? up : down, "is not F32, F16 or BF16");
    const uint64_t rank = down->rank ? down->dims[0] : 0;
    if (!columns_of(of, &columns) || !rank || rank > BL_LORA_MAX_RANK || !up->rank || up->dims[0] != of->dims[0] ||
        up->count / of->dims[0] != rank || down->count / rank != columns) {
        bl_dims_text(down->dims, down->rank, shapes[0], sizeof(shapes[0]));
        bl_dims_text(up->dims, up->rank, shapes[1], sizeof(shapes[1]));
        bl_dims_text(of->dims, of->rank, shapes[2], sizeof(shapes[2]));
        return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\": [%s] and [%s] make no [%s] of rank 1 to %d", bl_safetensors_path(file),
                       down->name, shapes[0], shapes[1], shapes[2], BL_LORA_MAX_RANK);
    }
    const double said = a->alpha[strncmp(of->name, nets[0], strlen(nets[0])) ? 1 : 0];
    double alpha = said != 0 ? said : (double)rank;
    if (given)
        BL_TRY(read_alpha(file, given, &alpha));
    BL_TRY(bl_tensors_keep_layer(t, &(bl_lora_layer){ file, down, up, (uint32_t)rank, a->scale * alpha / (double)rank, NULL }, &layer));
    for (end = &of->lora; *end; end = &(*end)->next)
        if ((*end)->file == file)
            BL_TRY(refuse(file, down, "is a second one for the same layer"));
    *end = layer;
fail:
    return result;
}

bl_result bl_lora_open(bl_tensors *t, const char *path, double scale)
{
    bl_result result = BL_OK;
    const bl_safetensors *file;
    adapter a = { .scale = scale };
    if (!isfinite(scale))
        return bl_fail(BL_ERROR_USAGE, "%s: the scale of a LoRA is not a finite number", path);
    BL_TRY(bl_tensors_open(t, path, &file));
    BL_TRY(bl_kind_expect(file, BL_KIND_LORA, "a LoRA"));
    a.file = file;
    BL_TRY(read_adapter(&a));
    for (size_t i = 0; i < bl_safetensors_count(file); i++) {
        const bl_file_tensor *one = bl_safetensors_at(file, i);
        bool known = false;
        for (size_t k = 0; k < BL_COUNT(suffixes) && !known; k++) {
            const size_t down = stem_of(one->name, suffixes[k].down), up = stem_of(one->name, suffixes[k].up),
                alpha = stem_of(one->name, ALPHA);
            if (down)
                BL_TRY(hang(t, &a, one, down, k));
            known |= down || (up && find(file, one->name, up, suffixes[k].down)) ||
                (alpha && find(file, one->name, alpha, suffixes[k].down));
        }
        if (!known)
            BL_TRY(refuse(file, one, "is not one that a plain LoRA has (of LyCORIS or DoRA, or without its counterpart)"));
    }
fail:
    return result;
}

/* --- merging -------------------------------------------------------------------------------------------------------- */

void bl_lora_free(bl_lora_cache *c)
{
    bl_free(c->down);
    bl_free(c->up);
    bl_free(c->sum);
    *c = (bl_lora_cache){ 0 };
}

static bl_result fetch(const bl_stored *t, size_t columns, bl_lora_cache *c)
{
    bl_result result = BL_OK;
    size_t ranks = 0, values, at = 0;
    if (c->of == t)
        return BL_OK;
    bl_lora_free(c);
    for (const bl_lora_layer *l = t->lora; l; l = l->next)
        ranks += l->rank; /* no wrap: at most 65536 files of rank 1024 */
    if (bl_mul(ranks, columns, &values)) {
        c->down = bl_alloc(values, sizeof(*c->down));
        c->up = bl_alloc(ranks, sizeof(*c->up));
        c->sum = bl_alloc(columns, sizeof(*c->sum));
    }
    if (!c->down || !c->up || !c->sum)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "%s: no host memory for a LoRA", t->name));
    for (const bl_lora_layer *l = t->lora; l; l = l->next) {
        BL_TRY(bl_safetensors_read(l->file, l->down, 0, l->rank * columns, c->down + at));
        at += l->rank * columns;
    }
    c->of = t;
fail:
    return result;
}

bl_result bl_lora_add(const bl_stored *t, uint64_t first_row, size_t count, float *values, bl_lora_cache *c)
{
    bl_result result = BL_OK;
    size_t columns;
    if (!columns_of(t, &columns)) /* then it has no layers either */
        return BL_OK;
    BL_TRY(fetch(t, columns, c));
    for (size_t row = 0; row < count; row++) {
        float *out = values + row * columns;
        const float *down = c->down;
        for (size_t k = 0; k < columns; k++)
            c->sum[k] = (double)out[k];
        for (const bl_lora_layer *l = t->lora; l; l = l->next) {
            BL_TRY(bl_safetensors_read(l->file, l->up, (first_row + row) * l->rank, l->rank, c->up));
            for (uint32_t r = 0; r < l->rank; r++, down += columns) {
                const double weight = l->factor * (double)c->up[r];
                for (size_t k = 0; k < columns; k++)
                    c->sum[k] += weight * (double)down[k];
            }
        }
        for (size_t k = 0; k < columns; k++)
            out[k] = (float)c->sum[k];
    }
fail:
    return result;
}
