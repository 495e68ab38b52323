/* What a file is, as one JSON object. Layer 5. */
#include "file.h"
#include "json.h"
#include "kinds.h"
#include "parts.h"
#include "png.h"
#include <string.h>

/* --- tensors -------------------------------------------------------------------------------------------------------- */

/* A sum over tensors; `list` is NULL unless every one is wanted. */
typedef struct tally {
    uint64_t count, values, bytes;
    uint64_t by_type[BL_FILE_DTYPE_COUNT];
    json_t *list;
} tally;

static void count_tensor(tally *t, const char *name, const bl_file_tensor *one)
{
    t->count++;
    t->values += one->count; /* no wrap: all of them lie in files */
    t->bytes += one->bytes;
    t->by_type[one->dtype]++;
    if (!t->list)
        return;
    json_t *shape = json_array();
    for (uint32_t i = 0; i < one->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)one->dims[i]));
    json_array_append_new(t->list, json_pack("{s:s,s:s,s:o}", "name", name, "type", bl_file_dtype_name(one->dtype), "shape", shape));
}

static void add_tally(json_t *o, const tally *t)
{
    json_t *types = json_object();
    for (int i = 0; i < BL_FILE_DTYPE_COUNT; i++)
        if (t->by_type[i])
            json_object_set_new(types, bl_file_dtype_name((bl_file_dtype)i), json_integer((json_int_t)t->by_type[i]));
    json_object_set_new(o, "tensors", json_pack("{s:I,s:I,s:I,s:o}", "count", (json_int_t)t->count, "parameters", (json_int_t)t->values,
                                                "bytes", (json_int_t)t->bytes, "types", types));
    if (t->list)
        json_object_set(o, "list", t->list);
}

/* --- models --------------------------------------------------------------------------------------------------------- */

static json_t *levels(const uint32_t *values, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(values[i]));
    return list;
}

/* What a checkpoint's networks are, and the device memory that their weights take: of the text encoder without its tables, which stay on
 * the host; the autoencoder is fp32 always. */
static void add_model(json_t *o, const bl_parts *p)
{
    static const char tables[] = "text_encoder.text_model.embeddings.";
    uint64_t values[BL_PARTS] = { 0 };
    json_t *networks = json_object();
    for (size_t i = 0; i < bl_tensors_count(p->tensors); i++) {
        const bl_stored *t = bl_tensors_at(p->tensors, i);
        uint64_t n = 1;
        for (uint32_t k = 0; k < t->rank; k++)
            n *= t->dims[k]; /* no wrap: at most what is stored */
        for (int net = 0; net < BL_PARTS; net++)
            if (!strncmp(t->name, bl_net_prefix[net], strlen(bl_net_prefix[net])) && strncmp(t->name, tables, strlen(tables)))
                values[net] += n;
    }
    static const char *const names[BL_PARTS] = { "text_encoder", "unet", "vae" };
    for (int net = 0; net < BL_PARTS; net++)
        json_object_set_new(networks, names[net], json_integer((json_int_t)values[net]));
    const bl_unet_config *u = &p->unet;
    json_object_set_new(o, "model", json_pack("{s:s,s:i,s:o,s:o,s:i,s:s,s:b,s:s,s:i}", "family", u->linear_projection
        ? "Stable Diffusion 2.x" : "Stable Diffusion 1.x", "context", (int)u->context, "channels", levels(u->channels, u->levels), "heads",
        levels(u->heads, u->levels), "text_layers", (int)p->text.layers, "prediction", p->scheduler.prediction == BL_PREDICT_V ? "v"
        : "epsilon", "prediction_assumed", (int)p->prediction_assumed, "scheduler", p->scheduler.problem[0] ? "unknown"
        : bl_scheduler_name(p->scheduler.kind), "side", (int)(u->sample_size << (p->vae.levels - 1))));
    const uint64_t half = 2 * (values[BL_NET_TEXT] + values[BL_NET_UNET]) + 4 * values[BL_NET_VAE];
    json_object_set_new(o, "weights", json_pack("{s:o,s:I,s:I}", "parameters", networks, "f16_bytes", (json_int_t)half, "f32_bytes",
                                                (json_int_t)(half + 2 * (values[BL_NET_TEXT] + values[BL_NET_UNET]))));
}

static bl_result inspect_folder(const char *path, json_t *o, tally *t)
{
    bl_parts p;
    const bl_result result = bl_parts_open(path, NULL, &p);
    if (result != BL_OK)
        return result;
    json_object_set_new(o, "kind", json_string("a Stable Diffusion checkpoint in diffusers layout"));
    for (size_t i = 0; i < bl_tensors_count(p.tensors); i++)
        count_tensor(t, bl_tensors_at(p.tensors, i)->name, bl_tensors_at(p.tensors, i)->stored);
    add_model(o, &p);
    bl_parts_close(&p);
    return BL_OK;
}

static bl_result inspect_safetensors(const char *path, json_t *o, tally *t)
{
    bl_result result = BL_OK;
    bl_safetensors *file = NULL;
    bl_parts p = { 0 };
    const bl_model_options no_tokenizer = { .struct_size = sizeof(no_tokenizer), .tokenizer = path }; /* it is not opened here */
    json_t *metadata = json_object();
    BL_TRY(bl_safetensors_open(path, BL_ERROR_MODEL, &file));
    const bl_kind *kind = bl_kind_of(file);
    json_object_set_new(o, "kind", json_string(kind->what));
    json_object_set_new(o, "use", json_string(kind->way));
    for (size_t i = 0; i < bl_safetensors_count(file); i++)
        count_tensor(t, bl_safetensors_at(file, i)->name, bl_safetensors_at(file, i));
    for (size_t i = 0; i < bl_safetensors_metadata_count(file); i++)
        json_object_set_new(metadata, bl_safetensors_metadata_key(file, i), json_string(bl_safetensors_metadata_value(file, i)));
    json_object_set(o, "metadata", metadata);
    if (kind->use == BL_KIND_CHECKPOINT && (result = bl_parts_open(path, &no_tokenizer, &p)) == BL_OK) {
        add_model(o, &p);
    } else if (result == BL_ERROR_MODEL) { /* no model that could run, but what it is can be told */
        json_object_set_new(o, "problem", json_string(bl_last_error()));
        result = BL_OK;
    }
fail:
    bl_parts_close(&p);
    bl_safetensors_close(&file);
    json_decref(metadata);
    return result;
}

/* --- pictures ------------------------------------------------------------------------------------------------------- */

static bl_result inspect_picture(const char *path, bool png, json_t *o)
{
    bl_result result = BL_OK;
    bl_image image = { 0 };
    char *text = NULL, *own = NULL;
    BL_TRY(bl_image_read(path, 3, &image));
    json_object_set_new(o, "kind", json_string(png ? "a PNG picture" : "a JPEG picture"));
    json_object_set_new(o, "width", json_integer(image.width));
    json_object_set_new(o, "height", json_integer(image.height));
    if (png) {
        BL_TRY(bl_image_read_text(path, "parameters", &text));
        BL_TRY(bl_image_read_text(path, "blemish", &own));
    }
    json_t *parsed = own ? json_loads(own, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (text)
        json_object_set_new(o, "text", json_string(text));
    if (parsed)
        json_object_set_new(o, "parameters", parsed);
fail:
    bl_image_free(&image);
    bl_text_free(text);
    bl_text_free(own);
    return result;
}

/* --- all of it ------------------------------------------------------------------------------------------------------ */

static bl_result inspect_file(const char *path, json_t *o, tally *t)
{
    bl_result result = BL_OK;
    bl_file file;
    uint8_t head[8] = { 0 };
    BL_TRY(bl_file_open(&file, path, BL_ERROR_INPUT));
    json_object_set_new(o, "bytes", json_integer((json_int_t)file.size));
    result = bl_file_read_at(&file, head, (size_t)BL_MIN(file.size, (uint64_t)sizeof(head)), 0, BL_ERROR_INPUT);
    bl_file_close(&file);
    if (result != BL_OK)
        return result;
    const bool png = bl_png_is(head, sizeof(head)), jpeg = head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff;
    if (png || jpeg)
        return inspect_picture(path, png, o);
    BL_TRY(inspect_safetensors(path, o, t));
    add_tally(o, t);
fail:
    return result;
}

bl_result bl_inspect(const char *path, int list, char **json)
{
    bl_result result = BL_OK;
    tally t = { .list = list ? json_array() : NULL };
    json_t *o = json_object();
    if (json)
        *json = NULL;
    if (!path || !json)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "bl_inspect: no path, or no place for the result"));
    if (!o || (list && !t.list))
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory to look at a file"));
    if (bl_path_is_directory(path)) {
        BL_TRY(inspect_folder(path, o, &t));
        add_tally(o, &t);
    } else {
        BL_TRY(inspect_file(path, o, &t));
    }
    *json = bl_json_print(o, JSON_COMPACT);
    if (!*json)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory to tell what a file is"));
fail:
    json_decref(t.list);
    json_decref(o);
    return result;
}
