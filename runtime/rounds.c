#include "rounds.h"
#include "timing.h"
#include <string.h>

const bl_rounds_row *bl_rounds_find(const bl_rounds *r, const char *kind, const char *name, const char *shape)
{
    for (size_t i = 0; i < r->count; i++) {
        const bl_bench_row *row = &r->rows[i].row;
        if (!strcmp(row->name, name) && !strcmp(row->shape, shape) && !strcmp(row->kind, kind))
            return &r->rows[i];
    }
    return NULL;
}

/* Where the texts of a row are that do not outlive the call it came with. */
enum { TEXTS = 5 };
static void texts_of(bl_bench_row *row, const char **texts[TEXTS])
{
    const char **all[TEXTS] = { &row->name, &row->shape, &row->note, &row->checked, &row->statistics };
    memcpy(texts, all, sizeof(all));
}

static void free_texts(bl_bench_row *row)
{
    const char **texts[TEXTS];
    texts_of(row, texts);
    for (size_t i = 0; i < TEXTS; i++)
        bl_free((void *)(uintptr_t)*texts[i]);
}

static bl_result copy_texts(bl_bench_row *row)
{
    const char **texts[TEXTS];
    bool all = true;
    texts_of(row, texts);
    for (size_t i = 0; i < TEXTS; i++) {
        *texts[i] = bl_text_copy(*texts[i], strlen(*texts[i]));
        all &= *texts[i] != NULL;
    }
    if (!all)
        free_texts(row);
    return all ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory for results");
}

static bl_result keep(bl_rounds *r, const bl_bench_row *row)
{
    if (r->count == r->room) {
        const size_t room = r->room * 2 + 64;
        bl_rounds_row *rows = bl_resize(r->rows, room, sizeof(*rows));
        if (!rows)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for results");
        r->rows = rows;
        r->room = room;
    }
    bl_rounds_row *kept = &r->rows[r->count];
    *kept = (bl_rounds_row){ .row = *row };
    const bl_result result = copy_texts(&kept->row);
    r->count += result == BL_OK;
    return result;
}

bl_result bl_rounds_add(bl_rounds *r, const bl_bench_row *row)
{
    bl_rounds_row *kept = (bl_rounds_row *)(uintptr_t)bl_rounds_find(r, row->kind, row->name, row->shape);
    if (!kept) {
        const bl_result result = keep(r, row);
        if (result != BL_OK)
            return result;
        kept = &r->rows[r->count - 1];
    } else {
        kept->row.runs += row->runs;
    }
    if (!row->runs || kept->count == BL_ROUNDS)
        return BL_OK;
    const double work = row->work > 0 ? kept->row.work / row->work : 1;
    kept->rounds[kept->count++] = (bl_round){ work * row->median, work * row->p10, work * row->p90, row->probe };
    kept->spent += row->median * row->runs;
    return BL_OK;
}

/* In the middle of one value of every round; they are left in order. */
static double middle(const bl_rounds_row *kept, size_t value, double values[BL_ROUNDS], bl_timing *t)
{
    double work[BL_ROUNDS];
    for (uint32_t i = 0; i < kept->count; i++)
        memcpy(&values[i], (const char *)&kept->rounds[i] + value, sizeof(values[i]));
    bl_timing_of(values, work, kept->count, t);
    return t->median;
}

void bl_rounds_result(const bl_rounds_row *kept, bl_bench_row *out)
{
    bl_timing t;
    double values[BL_ROUNDS];
    *out = kept->row;
    out->rounds = kept->count;
    if (!kept->count)
        return;
    out->p10 = middle(kept, offsetof(bl_round, p10), values, &t);
    out->p90 = middle(kept, offsetof(bl_round, p90), values, &t);
    out->probe = middle(kept, offsetof(bl_round, probe), values, &t);
    out->median = middle(kept, offsetof(bl_round, median), values, &t);
    out->low = t.low;
    out->high = t.high;
    if (kept->count > 1)
        out->noise = t.noise;
}

void bl_rounds_free(bl_rounds *r)
{
    for (size_t i = 0; i < r->count; i++)
        free_texts(&r->rows[i].row);
    bl_free(r->rows);
    *r = (bl_rounds){ 0 };
}
