/* Layer 3. */
#include "plan.h"
#include <stdlib.h>
#include <string.h>

static uint64_t align_up(uint64_t a) { return (a + BL_SLICE_ALIGNMENT - 1) / BL_SLICE_ALIGNMENT * BL_SLICE_ALIGNMENT; }

/* First and last use of every storage. */
static void find_lifetimes(const bl_graph *g, bl_plan *plan)
{
    for (uint32_t i = 0; i < g->storage_count; i++) {
        const bl_storage *s = &g->storages[i];
        plan->places[i].root = i;
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

/* True if the tensor is all of its storage. */
static bool is_whole(const bl_graph *g, bl_value x)
{
    const bl_tensor *t = &g->tensors[x];
    const bl_storage *s = &g->storages[t->storage];
    return !t->view.off && t->view.stride == s->width && t->shape.c == s->width &&
        (uint64_t)t->shape.n * t->shape.h * t->shape.w == s->rows;
}

/* Storages that a node may write over its operand `x`: x dies here, nothing else is seen through its memory, y begins here. */
static bool may_lie_over(const bl_graph *g, const bl_plan *plan, uint32_t n, uint32_t count, bl_value x, bl_value y)
{
    if (x == BL_NONE || y == BL_NONE || !is_whole(g, x) || !is_whole(g, y))
        return false;
    const uint32_t below = g->tensors[x].storage, above = g->tensors[y].storage;
    const bl_storage *s = &g->storages[below], *t = &g->storages[above];
    uint32_t uses = 0;
    for (uint32_t i = 0; i < count; i++)
        uses += g->tensors[g->nodes[n].operands[i]].storage == below && g->nodes[n].operands[i] != BL_NONE;
    return uses == 1 && !s->weight && !s->pinned && !t->pinned && s->rows == t->rows && s->width == t->width && s->type == t->type &&
        plan->places[plan->places[below].root].last == n && plan->places[above].first == n;
}

/* Outputs take the memory of operands that die, where the op allows it. */
static void lay_over(const bl_graph *g, bl_plan *plan)
{
    for (uint32_t n = 0; n < g->node_count; n++) {
        bl_operand o[BL_MAX_OPERANDS];
        const uint32_t count = g->nodes[n].dead ? 0 : bl_op_operands(g->nodes[n].op, o);
        for (uint32_t y = 0; y < count; y++)
            for (uint32_t x = 0; o[y].over && x < count; x++) {
                const bl_value *v = g->nodes[n].operands;
                if (o[x].name != o[y].over || !may_lie_over(g, plan, n, count, v[x], v[y]))
                    continue;
                bl_place *above = &plan->places[g->tensors[v[y]].storage];
                above->root = plan->places[g->tensors[v[x]].storage].root;
                plan->places[above->root].last = above->last;
            }
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

/* Puts `p` at the lowest offset at which it overlaps none of the `n` placed ones that are alive with it, and crosses no block border,
 * and in its place among them: `placed` is ordered by offset. Offsets count through all blocks as if they lay one behind the other. */
static void put(bl_place *p, bl_place **placed, size_t n, uint64_t limit)
{
    uint64_t at = 0;
    size_t behind = 0;
    for (size_t i = 0; i < n && placed[i]->offset < at + p->size; i++) {
        const bl_place *q = placed[i];
        if (q->first > p->last || p->first > q->last || q->offset + q->size <= at)
            continue;
        at = align_up(q->offset + q->size);
        if (at / limit != (at + p->size - 1) / limit)
            at = (at / limit + 1) * limit;
    }
    p->offset = at;
    while (behind < n && placed[n - behind - 1]->offset > at)
        behind++;
    memmove(placed + n - behind + 1, placed + n - behind, behind * sizeof(*placed));
    placed[n - behind] = p;
}

static bl_result place_all(bl_plan *plan, uint64_t limit)
{
    bl_result result = BL_OK;
    bl_place **order = bl_alloc(plan->place_count, sizeof(*order)), **placed = bl_alloc(plan->place_count, sizeof(*placed));
    size_t count = 0;
    if (!order || !placed)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a plan"));
    for (uint32_t i = 0; i < plan->place_count; i++)
        if (plan->places[i].planned && plan->places[i].root == i)
            order[count++] = &plan->places[i];
    qsort(order, count, sizeof(*order), by_size);
    if (count && order[0]->size > limit)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "a tensor of %llu bytes; the device allocates %llu at once", (unsigned long long)order[0]->size,
                       (unsigned long long)limit));
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        put(order[i], placed, i, limit);
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
    for (uint32_t i = 0; i < plan->place_count; i++) {
        plan->places[i].block = plan->places[plan->places[i].root].block;
        plan->places[i].offset = plan->places[plan->places[i].root].offset;
    }
fail:
    bl_free(order);
    bl_free(placed);
    return result;
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
    lay_over(g, plan);
    BL_TRY(place_all(plan, block_limit));
    return BL_OK;
fail:
    bl_plan_destroy(out);
    return result;
}

bl_slice bl_plan_slice(const bl_graph *g, const bl_plan *plan, bl_buffer *blocks, uint32_t storage)
{
    const bl_storage *s = &g->storages[storage];
    const bl_place *p = &plan->places[storage];
    return s->weight ? s->weight->slice : (bl_slice){ &blocks[p->block], p->offset, p->size };
}

void bl_plan_destroy(bl_plan **p)
{
    bl_plan *plan = *p;
    *p = NULL;
    if (!plan)
        return;
    bl_free(plan->places);
    bl_free(plan->blocks);
    bl_free(plan);
}
