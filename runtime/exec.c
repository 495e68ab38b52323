/* Layer 3. */
#include "exec.h"
#include "checked.h"
#include "half.h"
#include <stdio.h>
#include <string.h>

/* Drivers reset a device after two seconds, and a desktop stutters long before. No submission is to take longer than LIMIT; most of it
 * is there for what a prediction gets wrong. */
static const double TARGET = 100e6, LIMIT = 250e6;    /* ns of a submission */
static const double PIECE = 25e6, FINEST = 0.1e6;     /* ns of a command and of a segment; as fine as they are ever cut */

/* The step table as inc/steps.glsl has it. */
typedef struct step_header {
    uint32_t step, reserved[3];
} step_header;

typedef struct segment {
    uint32_t first, count;  /* commands of the record */
    double said, ns;        /* predicted when it was recorded; measured since */
} segment;

/* Segments that were submitted together. */
typedef struct submission {
    uint32_t first, count;
    double predicted, ns;   /* ns < 0: it has not finished */
} submission;

struct bl_exec {
    bl_kernels *kernels;
    bl_stream *stream;
    bl_graph *graph;
    bl_plan *plan;
    bl_buffer *blocks;
    bl_buffer step_buffer;
    bl_slice steps;
    uint32_t step_room;
    bl_record whole, record;    /* before and after cutting by time */
    double piece;               /* ns a command may take */
    segment *segments;
    bl_commands *commands;      /* of the segments, side by side */
    submission *submissions;
    uint32_t segment_count, submission_count;
    double longest;
    bool late;                  /* a segment took too long in the last run */
};

/* --- speed ---------------------------------------------------------------------------------------------------------- */

static bl_result run_dispatch(bl_exec *e, const bl_dispatch *d, double *ns)
{
    bl_result result = BL_OK;
    bl_commands c = { 0 };
    BL_TRY(bl_commands_begin(e->stream, 1, 0, &c));
    BL_TRY(bl_kernel_record(e->kernels, &c, d));
    BL_TRY(bl_commands_end(&c));
    BL_TRY(bl_stream_submit(e->stream, &c, 1, ns));
    BL_TRY(bl_stream_wait(e->stream));
fail:
    bl_commands_destroy(&c);
    return result;
}

/* Compiles the pipeline of a dispatch, where a driver does so at the first one, then measures its speed on a growing part of the grid. */
static bl_result measure(bl_exec *e, const bl_dispatch *whole)
{
    static const double ENOUGH = 2e6, MOST = 50e6; /* ns */
    bl_result result = BL_OK;
    double ns = 0, groups = 1, done = 0;
    const double all = (double)whole->groups[0] * whole->groups[1] * whole->groups[2];
    bl_dispatch part = bl_dispatch_first(whole, 1);
    BL_TRY(run_dispatch(e, &part, NULL));
    while (ns < ENOUGH && done < all) {
        part = bl_dispatch_first(whole, (uint64_t)groups);
        BL_TRY(run_dispatch(e, &part, &ns));
        done = (double)part.groups[0] * part.groups[1] * part.groups[2];
        bl_kernel_set_rate(e->kernels, &part, BL_MAX(ns, 1) / bl_dispatch_work(&part));
        groups = BL_MAX(done * BL_MIN(16, MOST / BL_MAX(ns, 1)), done + 1);
    }
fail:
    return result;
}

/* Takes kernels for the graph that are known to be right here: one that is not is able no more, and the next in the table is taken. */
static bl_result choose_kernels(bl_exec *e)
{
    bl_result result = BL_OK;
    for (bool proven = false; !proven;) {
        bl_record_destroy(&e->whole);
        BL_TRY(bl_record_create(e->kernels, e->graph, e->plan, e->blocks, &e->steps, &e->whole));
        proven = true;
        for (uint32_t i = 0; i < e->whole.count; i++) {
            const bl_result proof = bl_kernel_prove(e->kernels, &e->whole.list[i].d);
            if (proof != BL_ERROR_MISMATCH)
                BL_TRY(proof);
            proven &= proof == BL_OK;
        }
    }
fail:
    return result;
}

/* --- recording ------------------------------------------------------------------------------------------------------ */

/* What is at fault, for a person: "conv_fwd_direct_f32 (up_blocks.1.resnets.0)". */
static void command_text(const bl_exec *e, uint32_t at, char *text, size_t size)
{
    const bl_command *c = &e->record.list[at];
    char label[96];
    const char *name = NULL;
    bl_kernel_label(c->d.kernel, c->d.type, label);
    for (uint32_t n = c->node; n < e->graph->node_count && !name; n++)
        for (uint32_t i = 0; i < BL_MAX_OPERANDS; i++)
            if (e->graph->nodes[n].operands[i] && e->graph->tensors[e->graph->nodes[n].operands[i]].name)
                name = e->graph->tensors[e->graph->nodes[n].operands[i]].name;
    snprintf(text, size, "%s%s%s%s", label, name ? " (" : "", name ? name : "", name ? ")" : "");
}

static bl_result record_segment(bl_exec *e, segment *s, bl_commands *c)
{
    bl_result result = BL_OK;
    BL_TRY(bl_commands_begin(e->stream, s->count, 0, c)); /* begins with the segment's barrier */
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        if (e->record.list[i].barrier && i > s->first)
            bl_commands_barrier(c);
        BL_TRY(bl_kernel_record(e->kernels, c, &e->record.list[i].d));
        s->said += e->record.list[i].ns;
    }
    s->ns = s->said;
    BL_TRY(bl_commands_end(c));
fail:
    return result;
}

static void drop_segments(bl_exec *e)
{
    for (uint32_t i = 0; e->commands && i < e->segment_count; i++)
        bl_commands_destroy(&e->commands[i]);
    bl_free(e->segments);
    bl_free(e->commands);
    bl_free(e->submissions);
    e->segments = NULL;
    e->commands = NULL;
    e->submissions = NULL;
    e->segment_count = e->submission_count = 0;
}

const bl_record *bl_exec_record(const bl_exec *e) { return &e->record; }

bl_result bl_exec_set_record(bl_exec *e, bl_record *r)
{
    bl_result result = BL_OK;
    drop_segments(e);
    bl_record_destroy(&e->record);
    e->record = *r;
    *r = (bl_record){ 0 };
    BL_TRY(bl_record_check(&e->record));
    for (uint32_t i = 0; i < e->record.count; i++)
        e->segment_count += e->record.list[i].begins;
    e->segments = bl_alloc(e->segment_count, sizeof(*e->segments));
    e->commands = bl_alloc(e->segment_count, sizeof(*e->commands));
    e->submissions = bl_alloc(e->segment_count, sizeof(*e->submissions));
    if (!e->segments || !e->commands || !e->submissions)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for %u segments", e->segment_count));
    for (uint32_t i = 0, s = 0; i < e->record.count; i++) {
        if (e->record.list[i].begins)
            e->segments[s++].first = i;
        e->segments[s - 1].count++;
    }
    for (uint32_t i = 0; i < e->segment_count; i++)
        BL_TRY(record_segment(e, &e->segments[i], &e->commands[i]));
fail:
    return result;
}

/* Cuts, orders and records everything anew, at the speeds known now. */
static bl_result record_all(bl_exec *e)
{
    bl_result result = BL_OK;
    bl_record r = { 0 };
    BL_TRY(bl_record_cut(e->kernels, &e->whole, e->piece, &r));
    BL_TRY(bl_record_barriers(&r, PIECE));
    BL_TRY(bl_exec_set_record(e, &r));
fail:
    bl_record_destroy(&r);
    return result;
}

uint64_t bl_exec_bytes_of(const bl_plan *plan, uint32_t steps)
{
    return plan->bytes + (steps ? sizeof(step_header) + (uint64_t)steps * sizeof(struct bl_step) : 0);
}

bl_result bl_exec_create(bl_kernels *ks, bl_stream *s, bl_graph *g, uint32_t steps, bl_exec **out)
{
    bl_result result = BL_OK;
    bl_plan *plan = NULL;
    *out = NULL;
    BL_TRY(bl_graph_fuse(g));
    BL_TRY(bl_plan_create(g, bl_block_limit(bl_stream_device(s)), &plan));
    BL_TRY(bl_exec_create_planned(ks, s, g, &plan, steps, out));
fail:
    bl_plan_destroy(&plan);
    return result;
}

bl_result bl_exec_create_planned(bl_kernels *ks, bl_stream *s, bl_graph *g, bl_plan **plan, uint32_t steps, bl_exec **out)
{
    bl_result result = BL_OK;
    bl_device *d = bl_stream_device(s);
    bl_exec *e = *out = bl_alloc(1, sizeof(*e));
    if (!e)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for an exec");
    e->kernels = ks;
    e->stream = s;
    e->graph = g;
    e->piece = PIECE;
    e->plan = *plan;
    *plan = NULL;
    e->blocks = bl_alloc(e->plan->block_count, sizeof(*e->blocks));
    if (!e->blocks)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for an exec"));
    const uint64_t table = bl_exec_bytes_of(e->plan, steps) - e->plan->bytes;
    if (steps)
        e->steps = (bl_slice){ &e->step_buffer, 0, table };
    BL_TRY(choose_kernels(e)); /* which may take memory of its own: before the rest is */
    for (uint32_t i = 0; i < e->plan->block_count; i++)
        BL_TRY(bl_buffer_create(d, e->plan->blocks[i], BL_MEMORY_DEVICE, "activations", &e->blocks[i]));
    if (steps) {
        BL_TRY(bl_buffer_create(d, table, BL_MEMORY_DEVICE, "step table", &e->step_buffer));
        e->step_room = steps;
        BL_TRY(bl_stream_write(s, &e->steps, 0, &(step_header){ 0 }, sizeof(step_header))); /* an index: never to be left to chance */
    }
    for (uint32_t i = 0; i < e->whole.count; i++)
        if (bl_kernel_rate(ks, &e->whole.list[i].d) <= 0)
            BL_TRY(measure(e, &e->whole.list[i].d));
    BL_TRY(record_all(e));
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
    drop_segments(e);
    bl_record_destroy(&e->record);
    bl_record_destroy(&e->whole);
    for (uint32_t i = 0; e->blocks && i < e->plan->block_count; i++)
        bl_buffer_destroy(d, &e->blocks[i]);
    bl_buffer_destroy(d, &e->step_buffer);
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
    *slice = bl_plan_slice(g, e->plan, e->blocks, t->storage);
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

bl_result bl_exec_step(bl_exec *e, uint32_t *step)
{
    return bl_stream_read(e->stream, &e->steps, offsetof(step_header, step), step, sizeof(*step));
}

/* --- running -------------------------------------------------------------------------------------------------------- */

/* Says where the first submission that did not finish was, and keeps that with the loss of a device. */
static bl_result failed(bl_exec *e, bl_result result)
{
    char from[200], to[200];
    uint32_t i = 0;
    while (i < e->submission_count && e->submissions[i].ns >= 0)
        i++;
    if (result == BL_ERROR_CANCELLED || i == e->submission_count)
        return result;
    const submission *s = &e->submissions[i];
    const segment *a = &e->segments[s->first], *b = &e->segments[s->first + s->count - 1];
    command_text(e, a->first, from, sizeof(from));
    command_text(e, b->first + b->count - 1, to, sizeof(to));
    bl_device *d = bl_stream_device(e->stream);
    result = bl_fail_in(result, "segments %u to %u of %u, from %s to %s", s->first + 1, s->first + s->count, e->segment_count, from, to);
    if (d->lost)
        snprintf(d->lost_reason, sizeof(d->lost_reason), "%s", bl_last_error());
    return result;
}

/* Gives segments and kernels their share of the time of every submission. */
static void learn(bl_exec *e)
{
    for (uint32_t i = 0; i < e->submission_count; i++) {
        const submission *s = &e->submissions[i];
        const double off = s->ns / BL_MAX(s->predicted, 1);
        for (uint32_t k = s->first; k < s->first + s->count; k++) {
            segment *g = &e->segments[k];
            for (uint32_t c = g->first; c < g->first + g->count; c++)
                bl_kernel_tally(e->kernels, &e->record.list[c].d, e->record.list[c].ns / BL_MAX(g->said, 1) * g->ns * off);
            g->ns *= off;
        }
    }
    bl_kernels_learn(e->kernels);
}

/* True if there are several workgroups, which can be cut apart. */
static bool divisible(const bl_exec *e, const segment *s)
{
    const uint32_t *groups = e->record.list[s->first].d.groups;
    return s->count > 1 || groups[0] > 1 || groups[1] > 1 || groups[2] > 1;
}

/* Whether the cut is wrong: a segment by itself takes too long, or there are several times as many pieces as needed. */
static bool cut_again(bl_exec *e)
{
    double said = 0, took = 0;
    bool late = false;
    e->longest = 0;
    for (uint32_t i = 0; i < e->segment_count; i++) {
        said += e->segments[i].said;
        took += e->segments[i].ns;
    }
    for (uint32_t i = 0; i < e->submission_count; i++) {
        const submission *s = &e->submissions[i];
        late |= s->count == 1 && s->ns > LIMIT / 2 && divisible(e, &e->segments[s->first]);
        e->longest = BL_MAX(e->longest, s->ns);
    }
    if (late && e->late) /* better knowledge of the kernels' speed was not enough */
        e->piece = BL_MAX(e->piece / 2, FINEST);
    e->late = late;
    return late || (took < said / 3 && e->record.count > 2 * e->whole.count);
}

bl_result bl_exec_run(bl_exec *e)
{
    bl_result result = BL_OK;
    e->submission_count = 0;
    for (uint32_t i = 0; i < e->segment_count;) {
        submission *s = &e->submissions[e->submission_count++];
        *s = (submission){ .first = i, .ns = -1 };
        while (i < e->segment_count && s->count < BL_STREAM_BATCH && (!s->count || s->predicted + e->segments[i].ns <= TARGET)) {
            s->predicted += e->segments[i++].ns;
            s->count++;
        }
        BL_TRY(bl_stream_submit(e->stream, &e->commands[s->first], s->count, &s->ns));
    }
    BL_TRY(bl_stream_wait(e->stream));
    learn(e);
    if (cut_again(e))
        BL_TRY(record_all(e));
    return BL_OK;
fail:
    return failed(e, result);
}

double bl_exec_longest(const bl_exec *e) { return e->longest; }
uint32_t bl_exec_dispatches(const bl_exec *e) { return e->whole.count; }
uint64_t bl_exec_bytes(const bl_exec *e) { return bl_exec_bytes_of(e->plan, e->step_room); }
