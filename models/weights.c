/* Layer 4. */
#include "weights.h"
#include "half.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One matrix on the device and where its values come from. */
typedef struct entry {
    bl_weight weight;                               /* padded */
    char name[256];                                 /* of the first part */
    const bl_file_tensor *parts[BL_WEIGHT_PARTS];
    uint32_t part_count;
    uint32_t part_rows, cols, taps;                 /* of each part as in the file: rows x (cols * taps) */
    bool loaded;
} entry;

struct bl_weights {
    bl_safetensors *file;
    bl_dtype type;
    entry **entries;
    size_t count, room;
    bl_arena *arenas[16];                           /* one for each load */
    uint32_t arena_count;
};

bl_result bl_weights_open(const char *path, bl_dtype type, bl_weights **out)
{
    bl_result result = BL_OK;
    bl_weights *w = *out = bl_alloc(1, sizeof(*w));
    if (!w)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for weights");
    w->type = type;
    BL_TRY(bl_safetensors_open(path, BL_ERROR_MODEL, &w->file));
    return BL_OK;
fail:
    bl_weights_close(out);
    return result;
}

void bl_weights_close(bl_weights **weights)
{
    bl_weights *w = *weights;
    *weights = NULL;
    if (!w)
        return;
    for (uint32_t i = 0; i < w->arena_count; i++)
        bl_arena_destroy(&w->arenas[i]);
    for (size_t i = 0; i < w->count; i++)
        bl_free(w->entries[i]);
    bl_free(w->entries);
    bl_safetensors_close(&w->file);
    bl_free(w);
}

bool bl_weights_has(const bl_weights *w, const char *name) { return bl_safetensors_find(w->file, name) != NULL; }
const bl_safetensors *bl_weights_file(const bl_weights *w) { return w->file; }

/* --- binding -------------------------------------------------------------------------------------------------------- */

static void shape_text(const bl_file_tensor *t, char *text, size_t size)
{
    size_t n = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < t->rank && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%llu", i ? "," : "", (unsigned long long)t->dims[i]);
}

/* The tensor, if its shape is `dims` but for trailing ones (a 1x1 convolution is a matrix). */
static const bl_file_tensor *bind(bl_weights *w, bl_graph *g, const char *name, const uint64_t *dims, uint32_t rank)
{
    const char *path = bl_safetensors_path(w->file);
    const bl_file_tensor *t = bl_safetensors_find(w->file, name);
    if (!t) {
        bl_graph_fail(g, BL_ERROR_MODEL, "%s: tensor \"%s\" is missing", path, name);
        return NULL;
    }
    bool fits = t->rank >= rank;
    for (uint32_t i = 0; fits && i < t->rank; i++)
        fits = t->dims[i] == (i < rank ? dims[i] : 1);
    if (!fits) {
        char want[64] = "", got[128];
        for (uint32_t i = 0, n = 0; i < rank; i++)
            n += (uint32_t)snprintf(want + n, sizeof(want) - n, "%s%llu", i ? "," : "", (unsigned long long)dims[i]);
        shape_text(t, got, sizeof(got));
        bl_graph_fail(g, BL_ERROR_MODEL, "%s: tensor \"%s\" has shape [%s], expected [%s]", path, name, got, want);
        return NULL;
    }
    if (t->dtype != BL_FILE_F32 && t->dtype != BL_FILE_F16 && t->dtype != BL_FILE_BF16) {
        bl_graph_fail(g, BL_ERROR_MODEL, "%s: tensor \"%s\" is %s; F32, F16 and BF16 can be used", path, name,
                      bl_file_dtype_name(t->dtype));
        return NULL;
    }
    return t;
}

static const bl_weight *add_entry(bl_weights *w, bl_graph *g, const char *const *names, uint32_t parts, const uint64_t *dims, uint32_t rank,
                                  uint32_t rows, uint32_t cols, uint32_t taps)
{
    entry *e = NULL;
    if (g->failed != BL_OK)
        return NULL;
    for (size_t i = 0; i < w->count; i++)
        if (!strcmp(w->entries[i]->name, names[0]) && w->entries[i]->part_count == parts)
            return &w->entries[i]->weight;
    if (w->count == w->room) {
        const size_t room = w->room * 2 + 256;
        entry **grown = bl_resize(w->entries, room, sizeof(*grown));
        if (!grown)
            goto memory;
        w->entries = grown;
        w->room = room;
    }
    e = bl_alloc(1, sizeof(*e));
    if (!e)
        goto memory;
    e->part_rows = rows;
    e->cols = cols;
    e->taps = taps;
    e->part_count = parts;
    snprintf(e->name, sizeof(e->name), "%s", names[0]);
    for (uint32_t i = 0; i < parts; i++) {
        e->parts[i] = bind(w, g, names[i], dims, rank);
        if (!e->parts[i]) {
            bl_free(e);
            return NULL;
        }
    }
    const bool vector = rows == 1;
    e->weight = (bl_weight){ .name = e->name, .type = w->type, .rows = vector ? 1 : bl_pad4(parts * rows),
                             .cols = vector ? bl_pad4(parts * cols) : bl_pad4(cols) * taps };
    w->entries[w->count++] = e;
    return &e->weight;
memory:
    bl_graph_fail(g, BL_ERROR_MEMORY, "no host memory for weights");
    return NULL;
}

const bl_weight *bl_weights_conv(bl_weights *w, bl_graph *g, uint32_t out, uint32_t in, uint32_t kernel, const char *name)
{
    return add_entry(w, g, &name, 1, (const uint64_t[]){ out, in, kernel, kernel }, kernel == 1 ? 2 : 4, out, in, kernel * kernel);
}

const bl_weight *bl_weights_matrix(bl_weights *w, bl_graph *g, uint32_t out, uint32_t in, uint32_t parts, const char *const *names)
{
    return add_entry(w, g, names, parts, (const uint64_t[]){ out, in }, 2, out, in, 1);
}

const bl_weight *bl_weights_vector(bl_weights *w, bl_graph *g, uint32_t n, uint32_t parts, const char *const *names)
{
    return add_entry(w, g, names, parts, (const uint64_t[]){ n }, 1, 1, n, 1);
}

/* --- loading -------------------------------------------------------------------------------------------------------- */

static uint64_t bytes_of(const bl_weight *w) { return (uint64_t)w->rows * w->cols * bl_dtype_size(w->type); }

/* One piece of an entry being converted. */
typedef struct fill {
    const bl_weights *w;
    const entry *e;
    float *row;  /* one row as in the file */
} fill;

static bl_result store(const fill *f, void *out, size_t i, float v)
{
    if (f->e->weight.type == BL_F32) {
        memcpy((char *)out + 4 * i, &v, 4);
        return BL_OK;
    }
    const uint16_t h = bl_half_from_float(v);
    memcpy((char *)out + 2 * i, &h, 2);
    if ((h & 0x7c00) == 0x7c00)
        return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\" holds %g, which 16-bit storage cannot: use --precision f32",
                       bl_safetensors_path(f->w->file), f->e->name, (double)v);
    return BL_OK;
}

/* Rows [at, at + n) bytes of the stacked, padded matrix. A vector is one row of all its parts. */
static bl_result fill_rows(void *context, uint64_t at, uint64_t n, void *out)
{
    bl_result result = BL_OK;
    const fill *f = context;
    const entry *e = f->e;
    const uint32_t row_values = e->weight.cols, padded = row_values / e->taps;
    const uint64_t row_bytes = (uint64_t)row_values * bl_dtype_size(e->weight.type);
    const bool vector = e->part_rows == 1;
    memset(out, 0, n);
    for (uint64_t r = at / row_bytes; r < (at + n) / row_bytes; r++) {
        const size_t base = (size_t)(r - at / row_bytes) * row_values;
        if (vector) {
            for (uint32_t part = 0; part < e->part_count; part++) {
                BL_TRY(bl_safetensors_read(f->w->file, e->parts[part], 0, e->cols, f->row));
                for (uint32_t c = 0; c < e->cols; c++)
                    BL_TRY(store(f, out, base + (size_t)part * e->cols + c, f->row[c]));
            }
            continue;
        }
        if (r >= (uint64_t)e->part_rows * e->part_count)
            continue; /* padding */
        const size_t values = (size_t)e->cols * e->taps;
        BL_TRY(bl_safetensors_read(f->w->file, e->parts[r / e->part_rows], r % e->part_rows * values, values, f->row));
        for (uint32_t c = 0; c < e->cols; c++)
            for (uint32_t tap = 0; tap < e->taps; tap++)
                BL_TRY(store(f, out, base + (size_t)tap * padded + c, f->row[(size_t)c * e->taps + tap]));
    }
fail:
    return result;
}

static bl_result load_entry(const bl_weights *w, bl_stream *s, bl_arena *arena, entry *e)
{
    bl_result result = BL_OK;
    fill f = { w, e, bl_alloc((size_t)e->cols * e->taps, sizeof(float)) };
    if (!f.row)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a row of %s", e->name);
    const uint64_t row_bytes = (uint64_t)e->weight.cols * bl_dtype_size(w->type);
    BL_TRY(bl_arena_slice(arena, bytes_of(&e->weight), &e->weight.slice));
    BL_TRY(bl_stream_fill(s, &e->weight.slice, 0, bytes_of(&e->weight), row_bytes, fill_rows, &f));
fail:
    bl_free(f.row);
    return result;
}

bl_result bl_weights_load(bl_weights *w, bl_stream *s)
{
    bl_result result = BL_OK;
    bl_arena *arena = NULL;
    uint64_t missing = 0;
    for (size_t i = 0; i < w->count; i++)
        if (!w->entries[i]->loaded)
            missing += (bytes_of(&w->entries[i]->weight) + BL_SLICE_ALIGNMENT - 1) / BL_SLICE_ALIGNMENT * BL_SLICE_ALIGNMENT;
    if (!missing)
        return BL_OK;
    if (w->arena_count == BL_COUNT(w->arenas))
        return bl_fail(BL_ERROR_MEMORY, "%s: weights were loaded in too many pieces", bl_safetensors_path(w->file));
    BL_TRY(bl_arena_create(bl_stream_device(s), missing, "weights", &arena));
    for (size_t i = 0; i < w->count; i++)
        if (!w->entries[i]->loaded)
            BL_TRY(load_entry(w, s, arena, w->entries[i]));
    for (size_t i = 0; i < w->count; i++)
        w->entries[i]->loaded = true;
    w->arenas[w->arena_count++] = arena;
    return BL_OK;
fail: /* all or nothing, so that a later try starts afresh */
    bl_arena_destroy(&arena);
    return result;
}
