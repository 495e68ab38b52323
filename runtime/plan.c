/* Layer 3. */
#include "plan.h"
#include <stdlib.h>

/* A segment is the unit of recording and submission: short enough to stop between, long enough not to be overhead. */
enum { SEGMENT_NODES = 48 };
static const double SEGMENT_FLOPS = 40e9;

static uint64_t align_up(uint64_t a) { return (a + BL_SLICE_ALIGNMENT - 1) / BL_SLICE_ALIGNMENT * BL_SLICE_ALIGNMENT; }

/* First and last use of every storage. */
static void find_lifetimes(const bl_graph *g, bl_plan *plan)
{
    for (uint32_t i = 0; i < g->storage_count; i++) {
        const bl_storage *s = &g->storages[i];
        plan->places[i].size = s->rows * s->width * bl_dtype_size(s->type); /* below 2^31 elements: cannot wrap */
    }
    for (uint32_t n = 0; n < g->node_count; n++) {
        bl_operand o[BL_MAX_OPERANDS];
        const uint32_t count = bl_op_operands(g->nodes[n].op, o);
        for (uint32_t i = 0; i < count && !g->nodes[n].dead; i++) {
            if (g->nodes[n].operands[i] == BL_NONE)
                continue;
            const uint32_t storage = g->tensors[g->nodes[n].operands[i]].storage;
            bl_place *place = &plan->places[storage];
            if (g->storages[storage].weight)
                continue;
            if (!place->planned)
                place->first = n;
            place->planned = true;
            place->last = n;
        }
    }
    for (uint32_t i = 0; i < g->storage_count; i++)
        if (g->storages[i].pinned && g->storages[i].rows && !g->storages[i].weight) {
            plan->places[i].planned = true;
            plan->places[i].first = 0;
            plan->places[i].last = g->node_count;
        }
}

/* Largest first; equal ones in order, so that a plan does not depend on the sort. */
static int by_size(const void *a, const void *b)
{
    const bl_place *x = *(bl_place *const *)a, *y = *(bl_place *const *)b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b)
{
    const bl_place *x = *(bl_place *const *)a, *y = *(bl_place *const *)b;
    return x->offset != y->offset ? (x->offset > y->offset ? 1 : -1) : x < y ? -1 : x > y;
}

/* Lowest offset at which `p` overlaps none of the `n` placed ones that are alive with it, and crosses no block border. Offsets count
 * through all blocks as if they lay one behind the other. */
static uint64_t lowest_offset(const bl_place *p, bl_place **alive, size_t n, uint64_t limit)
{
    uint64_t at = 0;
    qsort(alive, n, sizeof(*alive), by_offset);
    for (size_t i = 0; i <= n; i++) {
        if (at / limit != (at + p->size - 1) / limit)
            at = (at / limit + 1) * limit;
        if (i == n || at + p->size <= alive[i]->offset)
            break;
        at = BL_MAX(at, align_up(alive[i]->offset + alive[i]->size));
    }
    return at;
}

static bl_result place_all(bl_plan *plan, uint64_t limit)
{
    bl_result result = BL_OK;
    bl_place **order = bl_alloc(plan->place_count, sizeof(*order)), **alive = bl_alloc(plan->place_count, sizeof(*alive));
    size_t count = 0;
    if (!order || !alive)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a plan"));
    for (uint32_t i = 0; i < plan->place_count; i++)
        if (plan->places[i].planned)
            order[count++] = &plan->places[i];
    qsort(order, count, sizeof(*order), by_size);
    if (count && order[0]->size > limit)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "a tensor of %llu bytes; the device allocates %llu at once", (unsigned long long)order[0]->size,
                       (unsigned long long)limit));
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        for (size_t j = 0; j < i; j++)
            if (order[j]->first <= order[i]->last && order[i]->first <= order[j]->last)
                alive[n++] = order[j];
        order[i]->offset = lowest_offset(order[i], alive, n, limit);
        end = BL_MAX(end, order[i]->offset + order[i]->size);
    }
    plan->block_count = (uint32_t)((end + limit - 1) / limit);
    plan->blocks = bl_alloc(plan->block_count, sizeof(*plan->blocks));
    if (!plan->blocks)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a plan"));
    for (size_t i = 0; i < count; i++) {
        order[i]->block = (uint32_t)(order[i]->offset / limit);
        order[i]->offset %= limit;
        uint64_t *size = &plan->blocks[order[i]->block];
        *size = BL_MAX(*size, align_up(order[i]->offset + order[i]->size));
    }
    for (uint32_t i = 0; i < plan->block_count; i++)
        plan->bytes += plan->blocks[i];
fail:
    bl_free(order);
    bl_free(alive);
    return result;
}

static bl_result cut_segments(const bl_graph *g, bl_plan *plan)
{
    plan->segments = bl_alloc(g->node_count, sizeof(*plan->segments));
    if (!plan->segments)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a plan");
    double flops = 0;
    uint32_t live = 0, first = 0;
    for (uint32_t n = 0; n < g->node_count; n++) {
        if (!g->nodes[n].dead) {
            const bl_params p = bl_graph_params(g, &g->nodes[n]);
            flops += bl_op_infos[g->nodes[n].op].flops(&p);
            live++;
        }
        if (live == SEGMENT_NODES || flops >= SEGMENT_FLOPS || n + 1 == g->node_count) {
            plan->segments[plan->segment_count++] = (bl_segment){ first, n + 1 - first };
            first = n + 1;
            flops = live = 0;
        }
    }
    return BL_OK;
}

bl_result bl_plan_create(const bl_graph *g, uint64_t block_limit, bl_plan **out)
{
    bl_result result = BL_OK;
    bl_plan *plan = *out = bl_alloc(1, sizeof(*plan));
    if (!plan)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a plan");
    BL_TRY(bl_graph_check(g));
    plan->place_count = g->storage_count;
    plan->places = bl_alloc(g->storage_count, sizeof(*plan->places));
    if (!plan->places)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a plan"));
    find_lifetimes(g, plan);
    BL_TRY(place_all(plan, block_limit));
    BL_TRY(cut_segments(g, plan));
    return BL_OK;
fail:
    bl_plan_destroy(out);
    return result;
}

void bl_plan_destroy(bl_plan **p)
{
    bl_plan *plan = *p;
    *p = NULL;
    if (!plan)
        return;
    bl_free(plan->places);
    bl_free(plan->blocks);
    bl_free(plan->segments);
    bl_free(plan);
}
