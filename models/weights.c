/* Layer 4. */
#include "weights.h"
#include "half.h"
#include "lora.h"
#include <stdio.h>
#include <string.h>

/* Host memory for rows on their way; one row may need more. */
static const size_t ROWS_SIZE = 256 << 10;

/* One matrix on the device and where its values come from. A vector is a matrix of one row, its parts one after the other. */
typedef struct entry {
    bl_weight weight;                               /* padded */
    char name[256];                                 /* of the first part */
    const bl_stored *parts[BL_WEIGHT_PARTS];
    uint32_t part_count;
    uint32_t part_rows, cols, taps;                 /* of each part as in the file: rows x (cols * taps) */
    bool loaded;
    bool counted;                                   /* as loaded: it is, or a plan says so */
} entry;

struct bl_weights {
    bl_tensors *tensors;
    const char *net;                                /* what their names start with */
    char *place;                                    /* for messages: where a missing one should be */
    bl_dtype type;
    bl_device *device;
    entry **entries;
    size_t count, room;
    bl_arena **arenas;                              /* one for each load that found something missing */
    size_t arena_count;
};

bl_result bl_weights_open(bl_tensors *tensors, const char *net, const char *place, bl_dtype type, bl_device *d, bl_weights **out)
{
    bl_weights *w = *out = bl_alloc(1, sizeof(*w));
    if (w)
        *w = (bl_weights){ .tensors = tensors, .net = net, .place = bl_text_copy(place, strlen(place)), .type = type, .device = d };
    if (w && w->place)
        return BL_OK;
    bl_weights_close(out);
    return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for weights", place);
}

void bl_weights_close(bl_weights **weights)
{
    bl_weights *w = *weights;
    *weights = NULL;
    if (!w)
        return;
    bl_weights_release(w);
    for (size_t i = 0; i < w->count; i++)
        bl_free(w->entries[i]);
    bl_free(w->entries);
    bl_free(w->place);
    bl_free(w);
}

/* --- binding -------------------------------------------------------------------------------------------------------- */

bl_result bl_weights_find(const bl_weights *w, const char *name, const uint64_t *dims, uint32_t rank, const bl_stored **out)
{
    const bl_result result = bl_tensors_need(w->tensors, w->net, name, dims, rank, out);
    const bl_stored *t = *out;
    if (result != BL_OK)
        return result;
    if (!t)
        return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\" is missing", w->place, name);
    bool fits = t->rank >= rank;
    for (uint32_t i = 0; fits && i < t->rank; i++)
        fits = t->dims[i] == (i < rank ? dims[i] : 1);
    if (!fits) {
        char want[64], got[128];
        bl_dims_text(dims, rank, want, sizeof(want));
        bl_dims_text(t->dims, t->rank, got, sizeof(got));
        return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\" has shape [%s], expected [%s]", bl_stored_path(t), t->stored->name, got, want);
    }
    return bl_stored_check_type(t);
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
        const bl_result result = bl_weights_find(w, names[i], dims, rank, &e->parts[i]);
        if (result != BL_OK) {
            bl_graph_fail(g, result, "%s", bl_last_error());
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

static size_t element(const entry *e) { return bl_dtype_size(e->weight.type); }
static uint64_t bytes_of(const entry *e) { return (uint64_t)e->weight.rows * e->weight.cols * element(e); }
static size_t row_values(const entry *e) { return (size_t)e->cols * e->taps; } /* as in the file */

/* Elements from one row of the stacked parts to the next, on the device. */
static size_t row_stride(const entry *e) { return e->part_rows == 1 ? e->cols : e->weight.cols; }

static bool is_needed(const entry *e, const bl_graph *g)
{
    for (uint32_t i = 0; i < g->storage_count; i++)
        if (g->storages[i].weight == &e->weight)
            return true;
    return false;
}

void bl_weights_pretend(bl_weights *w, const bl_graph *g)
{
    for (size_t i = 0; i < w->count; i++)
        w->entries[i]->counted = g && (w->entries[i]->counted || is_needed(w->entries[i], g));
}

void bl_weights_stop_pretending(bl_weights *w)
{
    for (size_t i = 0; i < w->count; i++)
        w->entries[i]->counted = w->entries[i]->loaded;
}

/* What a load takes, and how much host memory a row of it. */
static uint64_t sum_missing(const bl_weights *w, const bl_graph *g, size_t *row)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < w->count; i++)
        if (!w->entries[i]->counted && is_needed(w->entries[i], g)) {
            sum += bl_slice_bytes(bytes_of(w->entries[i]));
            *row = BL_MAX(*row, row_values(w->entries[i]) * element(w->entries[i]));
        }
    return sum;
}

uint64_t bl_weights_missing(const bl_weights *w, const bl_graph *g)
{
    size_t row = 0;
    bl_layout l;
    bl_layout_begin(w->device, sum_missing(w, g, &row), &l);
    for (size_t i = 0; i < w->count; i++) {
        uint32_t block;
        uint64_t offset;
        if (!w->entries[i]->counted && is_needed(w->entries[i], g) &&
            bl_layout_place(&l, bytes_of(w->entries[i]), w->entries[i]->name, &block, &offset) != BL_OK)
            return UINT64_MAX;
    }
    return bl_layout_bytes(&l);
}

uint64_t bl_weights_bytes(const bl_weights *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->arena_count; i++)
        bytes += bl_arena_bytes(w->arenas[i]);
    return bytes;
}

void bl_weights_release(bl_weights *w)
{
    for (size_t i = 0; i < w->count; i++) {
        w->entries[i]->weight.slice = (bl_slice){ 0 };
        w->entries[i]->loaded = w->entries[i]->counted = false;
    }
    for (size_t i = 0; i < w->arena_count; i++)
        bl_arena_destroy(&w->arenas[i]);
    bl_free(w->arenas);
    w->arenas = NULL;
    w->arena_count = 0;
}

/* An entry on its way to the device, through memory for some of its rows. */
typedef struct filler {
    const entry *e;
    void *rows;
    float *merged;          /* the same rows before they are halves; NULL if no tensor has LoRA layers */
    size_t size;            /* bytes of `rows` */
    bl_lora_cache lora;
} filler;

static bl_result refuse_value(const bl_stored *t, float v)
{
    return bl_fail(BL_ERROR_MODEL, "%s: tensor \"%s\" holds %g, which 16-bit storage cannot: use --precision f32",
                   bl_stored_path(t), t->stored->name, (double)v);
}

/* Rows of one part with its LoRA layers, in the storage type. */
static bl_result read_merged(filler *f, const bl_stored *t, uint64_t first, size_t count)
{
    bl_result result = BL_OK;
    const size_t row = row_values(f->e);
    const bool half = f->e->weight.type == BL_F16;
    float *values = half ? f->merged : f->rows;
    uint16_t *h = f->rows;
    BL_TRY(bl_stored_read(t, first * row, count * row, values));
    BL_TRY(bl_lora_add(t, first, count, values, &f->lora));
    for (size_t i = 0; half && i < count * row; i++) {
        h[i] = bl_half_from_float(values[i]);
        if (!bl_half_is_finite(h[i]))
            return refuse_value(t, values[i]);
    }
fail:
    return result;
}

/* Rows of one part, in the storage type. */
static bl_result read_rows(filler *f, uint32_t part, uint64_t first, size_t count)
{
    bl_result result = BL_OK;
    const bl_stored *t = f->e->parts[part];
    const size_t values = count * row_values(f->e);
    const uint16_t *h = f->rows;
    bool finite = true;
    size_t at = 0;
    float v;
    if (t->lora)
        return read_merged(f, t, first, count);
    first *= row_values(f->e);
    if (f->e->weight.type == BL_F32)
        return bl_stored_read(t, first, values, f->rows);
    BL_TRY(bl_stored_read_half(t, first, values, f->rows));
    for (size_t i = 0; i < values; i++)
        finite &= bl_half_is_finite(h[i]);
    if (finite)
        return BL_OK;
    while (bl_half_is_finite(h[at]))
        at++;
    BL_TRY(bl_stored_read(t, first + at, 1, &v));
    BL_TRY(refuse_value(t, v));
fail:
    return result;
}

/* [cols][taps] as in the file to [taps][padded cols]. */
#define REORDER(name, type) \
    static void name(const type *restrict row, uint32_t cols, uint32_t taps, uint32_t padded, type *restrict out) \
    { \
        for (uint32_t t = 0; t < taps; t++) \
            for (uint32_t c = 0; c < cols; c++) \
                out[(size_t)t * padded + c] = row[(size_t)c * taps + t]; \
    }
REORDER(reorder_16, uint16_t)
REORDER(reorder_32, uint32_t)

static void place_row(const entry *e, const void *row, void *out)
{
    const uint32_t padded = e->weight.cols / e->taps;
    if (e->taps == 1)
        memcpy(out, row, e->cols * element(e));
    else if (element(e) == 2)
        reorder_16(row, e->cols, e->taps, padded, out);
    else
        reorder_32(row, e->cols, e->taps, padded, out);
}

/* Bytes [at, at + n) of the padded matrix, whole rows of it. */
static bl_result fill_rows(void *context, uint64_t at, uint64_t n, void *out)
{
    bl_result result = BL_OK;
    filler *f = context;
    const entry *e = f->e;
    const size_t row = row_values(e) * element(e), stride = row_stride(e) * element(e);
    const uint64_t first = at / stride, end = BL_MIN((at + n) / stride, (uint64_t)e->part_count * e->part_rows); /* the rest is padding */
    memset(out, 0, n);
    for (uint64_t r = first; r < end;) {
        const uint32_t part = (uint32_t)(r / e->part_rows), in_part = (uint32_t)(r % e->part_rows);
        const size_t count = (size_t)BL_MIN(end - r, BL_MIN(e->part_rows - in_part, f->size / row));
        BL_TRY(read_rows(f, part, in_part, count));
        for (size_t i = 0; i < count; i++, r++)
            place_row(e, (const char *)f->rows + i * row, (char *)out + (r - first) * stride);
    }
fail:
    return result;
}

static bool has_lora(const bl_weights *w)
{
    for (size_t i = 0; i < w->count; i++)
        for (uint32_t part = 0; part < w->entries[i]->part_count; part++)
            if (w->entries[i]->parts[part]->lora)
                return true;
    return false;
}

bl_result bl_weights_load(bl_weights *w, const bl_graph *g, bl_stream *s)
{
    bl_result result = BL_OK;
    size_t row = 0;
    bl_weights_stop_pretending(w);
    const uint64_t sum = sum_missing(w, g, &row);
    filler f = { .size = BL_MAX(row, ROWS_SIZE) };
    bl_arena *arena = NULL, **arenas = NULL;
    if (!sum)
        return BL_OK;
    f.rows = bl_alloc(f.size, 1);
    arenas = bl_resize(w->arenas, w->arena_count + 1, sizeof(*arenas));
    if (arenas)
        w->arenas = arenas;
    if (w->type == BL_F16 && has_lora(w))
        f.merged = bl_alloc(f.size / sizeof(uint16_t), sizeof(*f.merged));
    if (!f.rows || !arenas || (w->type == BL_F16 && has_lora(w) && !f.merged))
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "%s: no host memory for loading", w->place));
    BL_TRY(bl_arena_create(w->device, sum, "weights", &arena));
    for (size_t i = 0; i < w->count; i++) {
        entry *e = w->entries[i];
        if (e->loaded || !is_needed(e, g))
            continue;
        f.e = e;
        BL_TRY(bl_arena_slice(arena, bytes_of(e), &e->weight.slice));
        BL_TRY(bl_stream_fill(s, &e->weight.slice, 0, bytes_of(e), e->weight.cols * element(e), fill_rows, &f));
    }
    w->arenas[w->arena_count++] = arena;
    arena = NULL;
fail: /* all or nothing, so that a later try starts afresh */
    for (size_t i = 0; i < w->count; i++) {
        entry *e = w->entries[i];
        if (result == BL_OK)
            e->loaded = e->counted = e->weight.slice.buffer;
        else if (!e->loaded)
            e->weight.slice = (bl_slice){ 0 };
    }
    bl_arena_destroy(&arena);
    bl_lora_free(&f.lora);
    bl_free(f.merged);
    bl_free(f.rows);
    return result;
}
