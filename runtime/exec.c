/* Layer 3. */
#include "exec.h"
#include "checked.h"
#include "half.h"
#include <string.h>

/* The step table as inc/steps.glsl has it. */
typedef struct step_header {
    uint32_t step, reserved[3];
} step_header;

struct bl_exec {
    bl_kernels *kernels;
    bl_stream *stream;
    bl_graph *graph;
    bl_plan *plan;
    bl_buffer *blocks;
    bl_buffer step_buffer;
    bl_slice steps;
    uint32_t step_room;
    bl_commands *segments;
    uint32_t barriers;
};

/* --- hazards -------------------------------------------------------------------------------------------------------- */

/* What one dispatch since the last barrier touches: bytes of a block, and columns where several views share rows. */
typedef struct touch {
    const bl_buffer *buffer;
    uint64_t begin, end;
    uint32_t storage, first_column, columns;
    bool write;
} touch;

typedef struct touches {
    touch *list;
    size_t count, room;
} touches;

static bool conflict(const touch *a, const touch *b)
{
    if (!(a->write || b->write) || a->buffer != b->buffer || a->begin >= b->end || b->begin >= a->end)
        return false;
    /* side by side in the same rows, as the halves of a concatenation */
    const bool apart = a->storage == b->storage &&
        (a->first_column + a->columns <= b->first_column || b->first_column + b->columns <= a->first_column);
    return !apart;
}

static bool conflicts(const touches *since, const touch *now, size_t count)
{
    for (size_t i = 0; i < since->count; i++)
        for (size_t j = 0; j < count; j++)
            if (conflict(&since->list[i], &now[j]))
                return true;
    return false;
}

static bl_result remember(touches *since, const touch *now, size_t count)
{
    if (since->count + count > since->room) {
        const size_t room = since->room * 2 + 64;
        touch *grown = bl_resize(since->list, room, sizeof(*grown));
        if (!grown)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for barriers");
        since->list = grown;
        since->room = room;
    }
    memcpy(since->list + since->count, now, count * sizeof(*now));
    since->count += count;
    return BL_OK;
}

/* --- recording ------------------------------------------------------------------------------------------------------ */

static bl_slice slice_of(const bl_exec *e, uint32_t storage)
{
    const bl_storage *s = &e->graph->storages[storage];
    const bl_place *p = &e->plan->places[storage];
    return s->weight ? s->weight->slice : (bl_slice){ &e->blocks[p->block], p->offset, p->size };
}

static bl_result record_node(bl_exec *e, bl_commands *c, const bl_node *n, touches *since)
{
    bl_result result = BL_OK;
    const bl_graph *g = e->graph;
    const bl_params p = bl_graph_params(g, n);
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent extent[BL_MAX_OPERANDS] = { 0 };
    bl_slice slices[BL_MAX_OPERANDS] = { 0 };
    touch now[BL_MAX_OPERANDS + 1];
    size_t touched = 0;
    bl_kernel kernel;
    const uint32_t count = bl_op_operands(n->op, o);
    bl_op_infos[n->op].extents(&p, extent);
    for (uint32_t i = 0; i < count; i++) {
        if (n->operands[i] == BL_NONE)
            continue;
        const bl_tensor *t = &g->tensors[n->operands[i]];
        const uint64_t size = bl_dtype_size(g->storages[t->storage].type);
        slices[i] = slice_of(e, t->storage);
        if (g->storages[t->storage].weight || !extent[i].rows)
            continue;
        const uint64_t begin = slices[i].offset + t->view.off * size;
        now[touched++] = (touch){ slices[i].buffer, begin,
            begin + ((uint64_t)(extent[i].rows - 1) * t->view.stride + extent[i].cols) * size,
            t->storage, bl_first_column(t), extent[i].cols, !!(o[i].access & BL_WRITE) };
    }
    if (bl_op_infos[n->op].steps)
        now[touched++] = (touch){ &e->step_buffer, 0, e->steps.size, UINT32_MAX, 0, 1, n->op == BL_OP_step_next_fwd };
    if (conflicts(since, now, touched)) {
        bl_commands_barrier(c);
        e->barriers++;
        since->count = 0;
    }
    BL_TRY(remember(since, now, touched));
    BL_TRY(bl_kernel_choose(e->kernels, n->op, n->type, &p, &kernel));
    BL_TRY(bl_kernel_record(e->kernels, c, kernel, n->type, &p, slices, &e->steps));
fail:
    return result;
}

/* Each segment starts with a barrier of its own, so hazards are tracked within segments. */
static bl_result record_segment(bl_exec *e, const bl_segment *segment, bl_commands *c)
{
    bl_result result = BL_OK;
    touches since = { 0 };
    BL_TRY(bl_commands_begin(e->stream, segment->count, false, c));
    for (uint32_t i = segment->first; i < segment->first + segment->count; i++)
        if (!e->graph->nodes[i].dead)
            BL_TRY(record_node(e, c, &e->graph->nodes[i], &since));
    BL_TRY(bl_commands_end(c));
fail:
    bl_free(since.list);
    return result;
}

bl_result bl_exec_create(bl_kernels *ks, bl_stream *s, bl_graph *g, uint32_t steps, bl_exec **out)
{
    bl_result result = BL_OK;
    bl_device *d = bl_stream_device(s);
    bl_exec *e = *out = bl_alloc(1, sizeof(*e));
    if (!e)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for an exec");
    e->kernels = ks;
    e->stream = s;
    e->graph = g;
    BL_TRY(bl_graph_fuse(g));
    BL_TRY(bl_plan_create(g, bl_block_limit(d), &e->plan));
    e->blocks = bl_alloc(e->plan->block_count, sizeof(*e->blocks));
    e->segments = bl_alloc(e->plan->segment_count, sizeof(*e->segments));
    if (!e->blocks || !e->segments)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for an exec"));
    for (uint32_t i = 0; i < e->plan->block_count; i++)
        BL_TRY(bl_buffer_create(d, e->plan->blocks[i], BL_MEMORY_DEVICE, "activations", &e->blocks[i]));
    if (steps) {
        const uint64_t size = sizeof(step_header) + (uint64_t)steps * sizeof(struct bl_step);
        BL_TRY(bl_buffer_create(d, size, BL_MEMORY_DEVICE, "step table", &e->step_buffer));
        e->steps = (bl_slice){ &e->step_buffer, 0, size };
        e->step_room = steps;
    }
    for (uint32_t i = 0; i < e->plan->segment_count; i++)
        BL_TRY(record_segment(e, &e->plan->segments[i], &e->segments[i]));
    return BL_OK;
fail:
    bl_exec_destroy(out);
    return result;
}

void bl_exec_destroy(bl_exec **exec)
{
    bl_exec *e = *exec;
    *exec = NULL;
    if (!e)
        return;
    bl_device *d = bl_stream_device(e->stream);
    for (uint32_t i = 0; e->segments && i < e->plan->segment_count; i++)
        bl_commands_destroy(&e->segments[i]);
    for (uint32_t i = 0; e->blocks && i < e->plan->block_count; i++)
        bl_buffer_destroy(d, &e->blocks[i]);
    bl_buffer_destroy(d, &e->step_buffer);
    bl_free(e->segments);
    bl_free(e->blocks);
    bl_plan_destroy(&e->plan);
    bl_free(e);
}

/* --- data in and out ------------------------------------------------------------------------------------------------ */

/* Checks that `x` can be copied and gives its place. */
static bl_result locate(const bl_exec *e, bl_value x, size_t count, bl_slice *slice)
{
    const bl_graph *g = e->graph;
    if (x == BL_NONE || x >= g->tensor_count)
        return bl_fail(BL_ERROR_USAGE, "copy of a tensor that is not in the graph");
    const bl_tensor *t = &g->tensors[x];
    const bl_storage *s = &g->storages[t->storage];
    const size_t expected = (size_t)t->shape.n * t->shape.h * t->shape.w * t->shape.c;
    if (s->weight || !s->pinned)
        return bl_fail(BL_ERROR_USAGE, "copy of %s, which is not kept", t->name ? t->name : "a tensor");
    if (count != expected)
        return bl_fail(BL_ERROR_USAGE, "copy of %zu values, %s has %zu", count, t->name ? t->name : "the tensor", expected);
    *slice = slice_of(e, t->storage);
    return BL_OK;
}

bl_result bl_exec_write(bl_exec *e, bl_value x, const float *data, size_t count)
{
    bl_result result = BL_OK;
    bl_slice slice = { 0 };
    uint16_t *half = NULL;
    BL_TRY(locate(e, x, count, &slice));
    const bl_tensor *t = &e->graph->tensors[x];
    if (t->view.stride != t->shape.c)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "write to a view"));
    if (e->graph->storages[t->storage].type == BL_F32) {
        BL_TRY(bl_stream_write(e->stream, &slice, (uint64_t)t->view.off * 4, data, (uint64_t)count * 4));
        return BL_OK;
    }
    half = bl_alloc(count, sizeof(*half));
    if (!half)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for %zu values", count));
    for (size_t i = 0; i < count; i++)
        half[i] = bl_half_from_float(data[i]);
    BL_TRY(bl_stream_write(e->stream, &slice, (uint64_t)t->view.off * 2, half, (uint64_t)count * 2));
fail:
    bl_free(half);
    return result;
}

bl_result bl_exec_read(bl_exec *e, bl_value x, float *data, size_t count)
{
    bl_result result = BL_OK;
    bl_slice slice = { 0 };
    uint8_t *raw = NULL;
    BL_TRY(locate(e, x, count, &slice));
    const bl_tensor *t = &e->graph->tensors[x];
    const size_t size = bl_dtype_size(e->graph->storages[t->storage].type), rows = count / t->shape.c;
    const size_t span = ((rows - 1) * t->view.stride + t->shape.c) * size;
    raw = bl_alloc(span, 1);
    if (!raw)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for %zu bytes", span));
    BL_TRY(bl_stream_read(e->stream, &slice, (uint64_t)t->view.off * size, raw, span));
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < t->shape.c; c++) {
            const uint8_t *from = raw + (r * t->view.stride + c) * size;
            if (size == 4) {
                memcpy(&data[r * t->shape.c + c], from, 4);
            } else {
                uint16_t h;
                memcpy(&h, from, 2);
                data[r * t->shape.c + c] = bl_half_to_float(h);
            }
        }
fail:
    bl_free(raw);
    return result;
}

bl_result bl_exec_set_steps(bl_exec *e, const struct bl_step *steps, uint32_t count)
{
    bl_result result = BL_OK;
    if (!count || count > e->step_room)
        return bl_fail(BL_ERROR_USAGE, "%u steps, the table has room for %u", count, e->step_room);
    BL_TRY(bl_stream_write(e->stream, &e->steps, 0, &(step_header){ 0 }, sizeof(step_header)));
    BL_TRY(bl_stream_write(e->stream, &e->steps, sizeof(step_header), steps, count * sizeof(*steps)));
fail:
    return result;
}

bl_result bl_exec_run(bl_exec *e)
{
    bl_result result = BL_OK;
    for (uint32_t i = 0; i < e->plan->segment_count; i++)
        BL_TRY(bl_stream_submit(e->stream, &e->segments[i]));
    BL_TRY(bl_stream_wait(e->stream));
fail:
    return result;
}

uint64_t bl_exec_bytes(const bl_exec *e) { return e->plan->bytes + e->step_buffer.size; }
uint32_t bl_exec_barriers(const bl_exec *e) { return e->barriers; }
