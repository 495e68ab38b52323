/* Layer 4. */
#include "tensors.h"
#include "half.h"
#include "lora.h"
#include "noise.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bl_tensors {
    bl_safetensors **files;
    size_t file_count;
    bl_stored *all;         /* by name once finished */
    bl_stored **flat;       /* by flat name */
    size_t count, room;
    bl_lora_layer **layers;
    size_t layer_count;
    bool random;            /* there are no files, and instead of `all` what was made up */
    bl_stored **made_up;
    size_t made_up_count;
};

bl_result bl_tensors_create(bl_tensors **out)
{
    *out = bl_alloc(1, sizeof(**out));
    return *out ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory for the tensors of a model");
}

bl_result bl_tensors_create_random(bl_tensors **out)
{
    const bl_result result = bl_tensors_create(out);
    if (result == BL_OK)
        (*out)->random = true;
    return result;
}

void bl_tensors_destroy(bl_tensors **tensors)
{
    bl_tensors *t = *tensors;
    *tensors = NULL;
    if (!t)
        return;
    for (size_t i = 0; i < t->layer_count; i++)
        bl_free(t->layers[i]);
    for (size_t i = 0; i < t->file_count; i++)
        bl_safetensors_close(&t->files[i]);
    for (size_t i = 0; i < t->made_up_count; i++)
        bl_free(t->made_up[i]);
    bl_free(t->made_up);
    bl_free(t->layers);
    bl_free(t->files);
    bl_free(t->flat);
    bl_free(t->all);
    bl_free(t);
}

/* --- filling -------------------------------------------------------------------------------------------------------- */

bl_result bl_tensors_open(bl_tensors *t, const char *path, const bl_safetensors **out)
{
    bl_safetensors **files = bl_resize(t->files, t->file_count + 1, sizeof(*files));
    if (!files)
        return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for a file", path);
    t->files = files;
    const bl_result result = bl_safetensors_open(path, BL_ERROR_MODEL, &files[t->file_count]);
    if (result == BL_OK)
        *out = files[t->file_count++];
    return result;
}

bl_result bl_tensors_add(bl_tensors *t, const bl_safetensors *file, const bl_file_tensor *stored, uint32_t part, uint32_t parts,
                         const char *net, const char *name)
{
    if (strlen(net) + strlen(name) >= BL_TENSOR_NAME)
        return BL_OK;
    if (parts > 1 && (!stored->rank || stored->dims[0] % parts))
        return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\" cannot be parted into %u", bl_safetensors_path(file), stored->name, parts);
    if (t->count == t->room) {
        const size_t room = t->room * 2 + 512;
        bl_stored *grown = bl_resize(t->all, room, sizeof(*grown));
        if (!grown)
            return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for %zu tensors", bl_safetensors_path(file), room);
        t->all = grown;
        t->room = room;
    }
    bl_stored *one = &t->all[t->count++];
    *one = (bl_stored){ .file = file, .stored = stored, .first = stored->count / parts * part, .rank = stored->rank };
    memcpy(one->dims, stored->dims, sizeof(one->dims));
    if (parts > 1)
        one->dims[0] /= parts;
    snprintf(one->name, sizeof(one->name), "%s%s", net, name);
    return BL_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const bl_stored *)a)->name, ((const bl_stored *)b)->name); }

static int by_flat_name(const void *a, const void *b)
{
    const bl_stored *const *one = a, *const *two = b;
    const char *x = (*one)->name, *y = (*two)->name;
    for (; *x; x++, y++) {
        const char left = *x == '.' ? '_' : *x, right = *y == '.' ? '_' : *y;
        if (left != right)
            return (unsigned char)left < (unsigned char)right ? -1 : 1;
    }
    return *y ? -1 : 0;
}

bl_result bl_tensors_finish(bl_tensors *t)
{
    if (t->count)
        qsort(t->all, t->count, sizeof(*t->all), by_name);
    for (size_t i = 1; i < t->count; i++)
        if (!strcmp(t->all[i].name, t->all[i - 1].name))
            return bl_fail(BL_ERROR_MODEL, "%s: tensors \"%s\" and \"%s\" are the same one of the network",
                           bl_safetensors_path(t->all[i].file), t->all[i - 1].stored->name, t->all[i].stored->name);
    t->flat = bl_alloc(t->count, sizeof(*t->flat));
    if (!t->flat)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for %zu tensors", t->count);
    for (size_t i = 0; i < t->count; i++)
        t->flat[i] = &t->all[i];
    if (t->count)
        qsort(t->flat, t->count, sizeof(*t->flat), by_flat_name);
    return BL_OK;
}

bl_result bl_tensors_keep_layer(bl_tensors *t, const bl_lora_layer *layer, bl_lora_layer **out)
{
    bl_lora_layer *copy = bl_alloc(1, sizeof(*copy)), **layers = bl_resize(t->layers, t->layer_count + 1, sizeof(*layers));
    if (layers)
        t->layers = layers;
    if (!copy || !layers) {
        bl_free(copy);
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a LoRA");
    }
    *copy = *layer;
    *out = t->layers[t->layer_count++] = copy;
    return BL_OK;
}

/* --- questions ------------------------------------------------------------------------------------------------------ */

size_t bl_tensors_count(const bl_tensors *t) { return t->random ? t->made_up_count : t->count; }

const bl_stored *bl_tensors_at(const bl_tensors *t, size_t i)
{
    if (i >= bl_tensors_count(t))
        return NULL;
    return t->random ? t->made_up[i] : &t->all[i];
}

bl_stored *bl_tensors_find(const bl_tensors *t, const char *net, const char *name)
{
    bl_stored key;
    const int n = snprintf(key.name, sizeof(key.name), "%s%s", net, name);
    if (!t->count || n < 0 || (size_t)n >= sizeof(key.name))
        return NULL;
    return bsearch(&key, t->all, t->count, sizeof(*t->all), by_name);
}

bl_stored *bl_tensors_find_flat(const bl_tensors *t, const char *net, const char *name)
{
    bl_stored key, *wanted = &key;
    const int n = snprintf(key.name, sizeof(key.name), "%s%s", net, name);
    if (!t->count || n < 0 || (size_t)n >= sizeof(key.name))
        return NULL;
    bl_stored **found = bsearch(&wanted, t->flat, t->count, sizeof(*t->flat), by_flat_name);
    return found ? *found : NULL;
}

/* --- random tensors -------------------------------------------------------------------------------------------------- */

static bl_result make_up(bl_tensors *t, const char *net, const char *name, const uint64_t *dims, uint32_t rank, const bl_stored **out)
{
    static const bl_file_tensor stored = { .name = "", .dtype = BL_FILE_F32 };
    bl_stored *one = bl_alloc(1, sizeof(*one)), **made_up = bl_resize(t->made_up, t->made_up_count + 1, sizeof(*made_up));
    if (made_up)
        t->made_up = made_up;
    if (!one || !made_up) {
        bl_free(one);
        return bl_fail(BL_ERROR_MEMORY, "no host memory for the tensors of a model");
    }
    *one = (bl_stored){ .stored = &stored, .rank = rank };
    snprintf(one->name, sizeof(one->name), "%s%s", net, name);
    memcpy(one->dims, dims, rank * sizeof(*dims));
    *out = t->made_up[t->made_up_count++] = one;
    return BL_OK;
}

bl_result bl_tensors_need(bl_tensors *t, const char *net, const char *name, const uint64_t *dims, uint32_t rank, const bl_stored **out)
{
    const size_t n = strlen(net);
    if (!t->random) {
        *out = bl_tensors_find(t, net, name);
        return BL_OK;
    }
    for (size_t i = 0; i < t->made_up_count; i++)
        if (!strncmp(t->made_up[i]->name, net, n) && !strcmp(t->made_up[i]->name + n, name)) {
            *out = t->made_up[i];
            return BL_OK;
        }
    return make_up(t, net, name, dims, rank, out);
}

static void read_random(const bl_stored *t, uint64_t first, size_t count, float *out)
{
    enum { WORDS = 128 }; /* each makes two values */
    const char *ending = strrchr(t->name, '.');
    const bool norm = t->rank == 1 && ending && !strcmp(ending, ".weight");
    const uint64_t seed = bl_hash(0, t->name, strlen(t->name));
    double inputs = 1;
    uint32_t words[WORDS];
    for (uint32_t i = 1; i < t->rank; i++)
        inputs *= (double)t->dims[i];
    const float centre = norm ? 1 : 0, deviation = t->rank > 1 ? (float)(1 / sqrt(inputs)) : norm ? 0.05f : 0.02f;
    const float step = deviation * 3.4641016f / 65536; /* uniform numbers that are an apart have the deviation a / sqrt(12) */
    for (size_t i = 0; i < count;) {
        const uint64_t at = first + i;
        bl_noise_words(seed, BL_NOISE_WEIGHTS, at / 2, WORDS, words);
        for (uint64_t k = at % 2; k < 2 * WORDS && i < count; k++, i++)
            out[i] = centre + step * ((float)(words[k / 2] >> (k % 2 * 16) & 0xffff) - 32767.5f);
    }
}

static void read_random_half(const bl_stored *t, uint64_t first, size_t count, uint16_t *out)
{
    float values[256];
    for (size_t i = 0; i < count; i += BL_COUNT(values)) {
        const size_t n = BL_MIN(BL_COUNT(values), count - i);
        read_random(t, first + i, n, values);
        for (size_t k = 0; k < n; k++)
            out[i + k] = bl_half_from_float(values[k]);
    }
}

/* --- values --------------------------------------------------------------------------------------------------------- */

const char *bl_stored_path(const bl_stored *t) { return t->file ? bl_safetensors_path(t->file) : "random weights"; }

bl_result bl_stored_read(const bl_stored *t, uint64_t first_element, size_t count, float *out)
{
    if (!t->file) {
        read_random(t, first_element, count, out);
        return BL_OK;
    }
    return bl_safetensors_read(t->file, t->stored, t->first + first_element, count, out);
}

bl_result bl_stored_read_half(const bl_stored *t, uint64_t first_element, size_t count, uint16_t *out)
{
    if (!t->file) {
        read_random_half(t, first_element, count, out);
        return BL_OK;
    }
    return bl_safetensors_read_half(t->file, t->stored, t->first + first_element, count, out);
}

bl_result bl_stored_check_type(const bl_stored *t)
{
    const bl_file_dtype type = t->stored->dtype;
    if (type == BL_FILE_F32 || type == BL_FILE_F16 || type == BL_FILE_BF16)
        return BL_OK;
    return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\" is %s; F32, F16 and BF16 can be used", bl_stored_path(t), t->stored->name,
                   bl_file_dtype_name(type));
}

void bl_dims_text(const uint64_t *dims, uint32_t rank, char *text, size_t size)
{
    size_t n = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < rank && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%" PRIu64, i ? "," : "", dims[i]);
    if (n >= size && size >= 4)
        memcpy(text + size - 4, "...", 4);
}
