/* Layer 3. */
#include "record.h"
#include <string.h>

static bl_result append(bl_record *r, const bl_command *c)
{
    if (r->count == r->room) {
        const uint32_t room = r->room * 2 + 256;
        bl_command *grown = bl_resize(r->list, room, sizeof(*grown));
        if (!grown)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for %u dispatches", room);
        r->list = grown;
        r->room = room;
    }
    r->list[r->count++] = *c;
    return BL_OK;
}

void bl_record_destroy(bl_record *r)
{
    bl_free(r->list);
    *r = (bl_record){ 0 };
}

/* --- from the graph -------------------------------------------------------------------------------------------------- */

/* Takes a kernel for the problem of *d. */
static bl_result choose(const bl_kernels *ks, bl_op op, bl_dispatch *d)
{
    const bl_result result = bl_kernel_choose(ks, op, d->type, &d->p, &d->kernel);
    return result == BL_OK ? bl_dispatch_whole(d) : result;
}

/* The whole node, or as few parts as the bindings of the device allow. */
static bl_result add_node(const bl_kernels *ks, bl_op op, bl_command *whole, bl_record *out)
{
    bl_result result = BL_OK;
    BL_TRY(choose(ks, op, &whole->d));
    const uint32_t units = bl_op_infos[op].units(&whole->d.p);
    if (bl_dispatch_binds(ks, &whole->d) || !units)
        return append(out, whole); /* if an operand is too large after all, recording says so */
    uint32_t count = units;
    for (uint32_t first = 0; first < units;) {
        bl_command part = *whole;
        uint32_t took = bl_op_infos[op].cut(&part.d.p, first, BL_MIN(count, units - first));
        BL_TRY(choose(ks, op, &part.d));
        if (!bl_dispatch_binds(ks, &part.d) && took > 1) {
            count = (took + 1) / 2;
            continue;
        }
        BL_TRY(append(out, &part));
        first += took;
    }
fail:
    return result;
}

bl_result bl_record_create(const bl_kernels *ks, const bl_graph *g, const bl_plan *plan, bl_buffer *blocks, const bl_slice *steps,
                           bl_record *out)
{
    bl_result result = BL_OK;
    *out = (bl_record){ 0 };
    for (uint32_t i = 0; i < g->node_count; i++) {
        const bl_node *n = &g->nodes[i];
        bl_command c = { .node = i, .d = { .type = n->type } };
        bl_operand o[BL_MAX_OPERANDS];
        const uint32_t count = n->dead ? 0 : bl_op_operands(n->op, o);
        if (n->dead)
            continue;
        c.d.p = bl_graph_params(g, n);
        if (bl_op_infos[n->op].steps)
            c.d.steps = *steps;
        for (uint32_t k = 0; k < count; k++)
            if (n->operands[k] != BL_NONE)
                c.d.operands[k] = bl_plan_slice(g, plan, blocks, g->tensors[n->operands[k]].storage);
        BL_TRY(add_node(ks, n->op, &c, out));
    }
    return BL_OK;
fail:
    bl_record_destroy(out);
    return result;
}

/* --- pieces by time ---------------------------------------------------------------------------------------------------- */

/* Whole planes of the grid if they fit, else whole lines of a plane, else a part of a line. */
bl_dispatch bl_dispatch_first(const bl_dispatch *d, uint64_t groups)
{
    bl_dispatch piece = *d;
    const uint64_t line = d->groups[0], plane = line * d->groups[1];
    if (groups >= plane) {
        piece.groups[2] = (uint32_t)BL_MIN(groups / plane, d->groups[2]);
    } else {
        piece.groups[2] = 1;
        piece.groups[1] = (uint32_t)BL_MAX(groups / line, 1);
        if (groups < line)
            piece.groups[0] = (uint32_t)BL_MAX(groups, 1);
    }
    return piece;
}

/* The pieces like `first` that the grid of `c` is covered with. */
static bl_result append_pieces(bl_record *out, const bl_command *c, const bl_dispatch *first)
{
    bl_result result = BL_OK;
    const uint32_t *whole = c->d.groups, *step = first->groups;
    const double ns = c->ns / whole[0] / whole[1] / whole[2];
    for (uint32_t z = 0; z < whole[2]; z += step[2])
        for (uint32_t y = 0; y < whole[1]; y += step[1])
            for (uint32_t x = 0; x < whole[0]; x += step[0]) {
                bl_command piece = *c;
                const uint32_t at[3] = { x, y, z };
                piece.ns = ns;
                for (int i = 0; i < 3; i++) {
                    piece.d.base[i] = c->d.base[i] + at[i];
                    piece.d.groups[i] = BL_MIN(step[i], whole[i] - at[i]);
                    piece.ns *= piece.d.groups[i];
                }
                BL_TRY(append(out, &piece));
            }
fail:
    return result;
}

bl_result bl_record_cut(const bl_kernels *ks, const bl_record *r, double ns, bl_record *out)
{
    bl_result result = BL_OK;
    *out = (bl_record){ 0 };
    for (uint32_t i = 0; i < r->count; i++) {
        bl_command c = r->list[i];
        c.ns = bl_dispatch_work(&c.d) * bl_kernel_rate(ks, &c.d);
        const double groups = (double)c.d.groups[0] * c.d.groups[1] * c.d.groups[2], share = c.ns > ns ? ns / c.ns : 1;
        const bl_dispatch first = bl_dispatch_first(&c.d, (uint64_t)BL_MAX(groups * share, 1));
        BL_TRY(append_pieces(out, &c, &first));
    }
    return BL_OK;
fail:
    bl_record_destroy(out);
    return result;
}

/* --- hazards ------------------------------------------------------------------------------------------------------------ */

uint32_t bl_dispatch_touches(const bl_dispatch *d, bl_touch *out)
{
    const bl_op op = bl_impls[d->kernel].op;
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t operands = bl_op_operands(op, o);
    uint32_t n = 0;
    bl_op_infos[op].extents(&d->p, e);
    for (uint32_t i = 0; i < operands; i++) {
        if (!e[i].rows || !d->operands[i].buffer)
            continue;
        const struct view v = d->p.v[i];
        const uint64_t size = o[i].storage ? bl_dtype_size(d->type) : sizeof(float);
        out[n++] = (bl_touch){ d->operands[i].buffer, d->operands[i].offset + v.off * size, v.stride * size, e[i].cols * size,
                               v.stride ? e[i].rows : 1, !!(o[i].access & BL_WRITE) };
    }
    if (bl_op_infos[op].steps)
        out[n++] = (bl_touch){ d->steps.buffer, d->steps.offset, 0, d->steps.size, 1, op == BL_OP_step_next_fwd };
    return n;
}

/* True for parts of one dispatch, which touch the same or do not meet. */
static bool same_problem(const bl_command *a, const bl_command *b)
{
    return a->node == b->node && !memcmp(&a->d.p, &b->d.p, sizeof(a->d.p));
}

static uint64_t end_of(const bl_touch *t) { return t->begin + (t->rows - 1) * t->pitch + t->bytes; }

/* Whether two touches may meet: by their ends, and for rows of one matrix by their columns. */
static bool may_meet(const bl_touch *a, const bl_touch *b)
{
    if (a->buffer != b->buffer || !(a->write || b->write) || a->begin >= end_of(b) || b->begin >= end_of(a))
        return false;
    if (a->pitch != b->pitch || !a->pitch)
        return true;
    const uint64_t shift = (b->begin % a->pitch + a->pitch - a->begin % a->pitch) % a->pitch;
    return shift < a->bytes || shift + b->bytes > a->pitch;
}

/* What the commands since the last barrier touch. */
typedef struct since {
    bl_touch *touches;
    uint32_t *nodes;
    size_t count, room;
} since;

static bl_result remember(since *s, uint32_t node, const bl_touch *touches, uint32_t n)
{
    if (s->count + n > s->room) {
        const size_t room = s->room * 2 + 64;
        bl_touch *grown = bl_resize(s->touches, room, sizeof(*grown));
        if (grown)
            s->touches = grown;
        uint32_t *nodes = grown ? bl_resize(s->nodes, room, sizeof(*nodes)) : NULL;
        if (!nodes)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for barriers");
        s->nodes = nodes;
        s->room = room;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->touches[s->count] = touches[i];
        s->nodes[s->count++] = node;
    }
    return BL_OK;
}

static bool conflicts(const since *s, uint32_t node, const bl_touch *touches, uint32_t n)
{
    for (size_t i = 0; i < s->count; i++)
        for (uint32_t j = 0; j < n && s->nodes[i] != node; j++)
            if (may_meet(&s->touches[i], &touches[j]))
                return true;
    return false;
}

bl_result bl_record_barriers(bl_record *r, double ns)
{
    enum { SEGMENT_COMMANDS = 64 };
    bl_result result = BL_OK;
    since s = { 0 };
    double sum = 0;
    uint32_t begun = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        bl_command *c = &r->list[i];
        bl_touch touches[BL_MAX_TOUCHES];
        const uint32_t n = bl_dispatch_touches(&c->d, touches);
        c->begins = !i || sum + c->ns > ns || i - begun == SEGMENT_COMMANDS;
        c->barrier = c->begins || conflicts(&s, c->node, touches, n);
        if (c->begins) {
            sum = 0;
            begun = i;
        }
        if (c->barrier)
            s.count = 0;
        if (c->barrier || !same_problem(c, c - 1))
            BL_TRY(remember(&s, c->node, touches, n));
        sum += c->ns;
    }
fail:
    bl_free(s.touches);
    bl_free(s.nodes);
    return result;
}

/* Whether two touches meet: every row of the one with fewer against the rows of the other around it. */
static bool meet(const bl_touch *a, const bl_touch *b)
{
    if (a->buffer != b->buffer || !(a->write || b->write))
        return false;
    if (a->rows > b->rows) {
        const bl_touch *t = a;
        a = b;
        b = t;
    }
    for (uint32_t r = 0; r < a->rows; r++) {
        const uint64_t from = a->begin + r * a->pitch, to = from + a->bytes;
        if (to <= b->begin)
            continue;
        /* the first row of b that ends behind `from` */
        const uint64_t behind = from < b->begin + b->bytes ? 0 : b->pitch ? (from - b->begin - b->bytes) / b->pitch + 1 : b->rows;
        if (behind < b->rows && b->begin + behind * b->pitch < to)
            return true;
    }
    return false;
}

static bool commands_meet(const bl_command *a, const bl_command *b)
{
    bl_touch x[BL_MAX_TOUCHES], y[BL_MAX_TOUCHES];
    const uint32_t n = bl_dispatch_touches(&a->d, x), m = bl_dispatch_touches(&b->d, y);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < m; j++)
            if (meet(&x[i], &y[j]))
                return true;
    return false;
}

bl_result bl_record_check(const bl_record *r)
{
    for (uint32_t i = 0, begun = 0; i < r->count; i++) {
        const bl_command *c = &r->list[i];
        if (c->barrier)
            begun = i;
        for (uint32_t k = begun; k < i && !(i > begun && same_problem(c, c - 1)); k++)
            if (r->list[k].node != c->node && (k == begun || !same_problem(&r->list[k], &r->list[k - 1])) && commands_meet(&r->list[k], c))
                return bl_fail(BL_ERROR_DEVICE, "dispatches %u (%s) and %u (%s) touch the same memory with no barrier between them", k,
                               bl_impls[r->list[k].d.kernel].name, i, bl_impls[c->d.kernel].name);
    }
    return BL_OK;
}
