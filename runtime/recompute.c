/* Layer 3. */
#include "recompute.h"
#include <string.h>

/* Storages of at most so many bytes stay: statistics of norms, time embeddings. They also cut short what would be computed again. */
enum { SMALL = 4096 };
enum { NOWHERE = UINT32_MAX };

/* What the nodes do with a storage. */
typedef struct use {
    uint64_t bytes;
    uint32_t writes;        /* index + 1 into `writes`; 0: none */
    uint32_t first, last;   /* nodes of the forward part that touch it */
    bool behind;            /* read behind the forward part */
    bool changes;           /* holds different values at different times: a node that reads it cannot run again */
    bool stays;
    uint32_t home;          /* segment that it is computed again with, or NOWHERE */
    uint32_t copy;          /* storage of that, or NOWHERE */
} use;

typedef struct pass {
    bl_graph *g;
    uint32_t forward, segments;
    use *uses;              /* by storage */
    struct { bl_value x; uint32_t next; } *writes; /* tensors that nodes write, chained by storage */
    uint32_t write_count;
    uint64_t *before;       /* by node: bytes that live on, written before it */
    uint64_t *crossing;     /* by node: bytes that would have to stay if a segment began there */
    uint32_t *segment;      /* by node of the forward part */
    bool *again, *done;     /* by node: runs a second time; by segment */
    bl_value *copies;       /* by tensor: its second life, or BL_NONE */
    bl_value *wanted;       /* tensors to compute again in one segment .. */
    bool *listed;           /* .. and, by tensor, whether they are there */
    uint32_t wanted_count;
    bl_node *nodes;         /* the new list */
    uint32_t node_count;
} pass;

/* --- what lives on ------------------------------------------------------------------------------------------------------ */

/* Rows and columns of their storage that both tensors have. */
static bool overlap(const bl_graph *g, bl_value x, bl_value y)
{
    const bl_tensor *t[2] = { &g->tensors[x], &g->tensors[y] };
    uint64_t row[2], rows[2], column[2];
    if (t[0]->storage != t[1]->storage)
        return false;
    for (int i = 0; i < 2; i++) {
        const uint64_t width = g->storages[t[i]->storage].width;
        row[i] = t[i]->view.off / width;
        column[i] = t[i]->view.off % width;
        rows[i] = t[i]->view.stride ? (uint64_t)t[i]->shape.n * t[i]->shape.h * t[i]->shape.w : 1;
    }
    return row[0] < row[1] + rows[1] && row[1] < row[0] + rows[0] && column[0] < column[1] + t[1]->shape.c &&
        column[1] < column[0] + t[0]->shape.c;
}

/* Operands of a node that is not dead. */
static uint32_t operands_of(const bl_node *n, bl_operand *o) { return n->dead ? 0 : bl_op_operands(n->op, o); }

static use *use_of(const pass *p, bl_value x) { return &p->uses[p->g->tensors[x].storage]; }

static void see_write(pass *p, bl_value x, bool changes)
{
    use *u = use_of(p, x);
    for (uint32_t i = u->writes; i; i = p->writes[i - 1].next)
        changes = changes || overlap(p->g, p->writes[i - 1].x, x);
    p->writes[p->write_count].x = x;
    p->writes[p->write_count].next = u->writes;
    u->writes = ++p->write_count;
    u->changes = u->changes || changes;
    u->stays = u->stays || changes;
}

static void see_uses(pass *p)
{
    const bl_graph *g = p->g;
    bl_operand o[BL_MAX_OPERANDS];
    for (uint32_t i = 0; i < g->storage_count; i++) {
        const bl_storage *s = &g->storages[i];
        p->uses[i] = (use){ .bytes = s->rows * s->width * bl_dtype_size(s->type), .first = NOWHERE, .home = NOWHERE, .copy = NOWHERE };
        p->uses[i].stays = s->weight || s->pinned || p->uses[i].bytes <= SMALL;
    }
    for (uint32_t n = 0; n < g->node_count; n++) {
        const uint32_t count = operands_of(&g->nodes[n], o);
        for (uint32_t i = 0; i < count; i++) {
            const bl_value x = g->nodes[n].operands[i];
            if (x == BL_NONE)
                continue;
            use *u = use_of(p, x);
            if (n < p->forward) {
                u->first = BL_MIN(u->first, n);
                u->last = n;
            } else if (o[i].access & BL_READ) {
                u->behind = true;
            }
            if (o[i].access & BL_WRITE)
                see_write(p, x, n >= p->forward || (o[i].access & BL_READ));
        }
    }
    for (uint32_t n = 0; n < p->forward; n++) { /* outputs of what cannot run again */
        const uint32_t count = operands_of(&g->nodes[n], o);
        bool once = bl_op_infos[g->nodes[n].op].steps;
        for (uint32_t i = 0; i < count; i++)
            once = once || (g->nodes[n].operands[i] != BL_NONE && use_of(p, g->nodes[n].operands[i])->changes);
        for (uint32_t i = 0; i < count && once; i++)
            if (g->nodes[n].operands[i] != BL_NONE && (o[i].access & BL_WRITE))
                use_of(p, g->nodes[n].operands[i])->stays = true;
    }
}

/* --- segments ----------------------------------------------------------------------------------------------------------- */

/* Node at which a segment begins, not before `from`: about `target` bytes that live on lie before it, and little crosses there. */
static uint32_t cut_at(const pass *p, uint32_t from, uint64_t target, uint64_t slack)
{
    uint32_t best = from;
    uint64_t best_off = UINT64_MAX, best_distance = 0;
    for (uint32_t n = from; n <= p->forward; n++) {
        const uint64_t distance = p->before[n] > target ? p->before[n] - target : target - p->before[n];
        const uint64_t off = distance > slack ? distance : 0;
        if (off < best_off || (off == best_off && (p->crossing[n] < p->crossing[best] ||
                                                   (p->crossing[n] == p->crossing[best] && distance < best_distance)))) {
            best = n;
            best_off = off;
            best_distance = distance;
        }
    }
    return best;
}

/* Segments of about the same bytes that live on, and where every storage is computed again. */
static void cut(pass *p)
{
    for (uint32_t i = 0; i < p->g->storage_count; i++) {
        const use *u = &p->uses[i];
        if (u->stays || u->first == NOWHERE)
            continue;
        if (u->behind)
            p->before[u->last + 1] += u->bytes;
        p->crossing[u->first + 1] += u->bytes;
        p->crossing[u->last + 1] -= u->bytes;
    }
    for (uint32_t n = 1; n <= p->forward; n++) {
        p->before[n] += p->before[n - 1];
        p->crossing[n] += p->crossing[n - 1];
    }
    const uint64_t each = p->before[p->forward] / p->segments;
    uint32_t n = 0;
    for (uint32_t s = 0; s < p->segments; s++) {
        const uint32_t end = s + 1 < p->segments ? cut_at(p, n, (s + 1) * each, each / 4) : p->forward;
        while (n < end)
            p->segment[n++] = s;
    }
    for (uint32_t i = 0; i < p->g->storage_count; i++) {
        use *u = &p->uses[i];
        if (!u->stays && u->writes && u->first != NOWHERE && p->segment[u->first] == p->segment[u->last] &&
            p->segment[u->last] + 1 < p->segments)
            u->home = p->segment[u->last];
    }
}

/* --- the new list of nodes ---------------------------------------------------------------------------------------------- */

/* The same view of the storage that is written a second time. */
static bl_value copy_of(pass *p, bl_value x)
{
    bl_graph *g = p->g;
    use *u = use_of(p, x);
    if (p->copies[x] != BL_NONE)
        return p->copies[x];
    if (u->copy == NOWHERE) {
        const bl_storage s = g->storages[g->tensors[x].storage];
        const bl_value whole = bl_graph_tensor(g, (bl_shape){ 1, (uint32_t)s.rows, 1, (uint32_t)s.width }, s.type);
        if (whole == BL_NONE)
            return BL_NONE;
        u->copy = g->tensors[whole].storage;
    }
    p->copies[x] = bl_graph_channels(g, x, 0, g->tensors[x].shape.c);
    if (p->copies[x] != BL_NONE)
        g->tensors[p->copies[x]].storage = u->copy;
    return p->copies[x];
}

static void want(pass *p, const bl_node *n, uint32_t segment)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t count = operands_of(n, o);
    for (uint32_t i = 0; i < count; i++) {
        const bl_value x = n->operands[i];
        if (x == BL_NONE || !(o[i].access & BL_READ) || use_of(p, x)->home != segment || p->listed[x])
            continue;
        p->listed[x] = true;
        p->wanted[p->wanted_count++] = x;
    }
}

static bool is_wanted(const pass *p, const bl_node *n)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t count = operands_of(n, o);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < p->wanted_count && (o[i].access & BL_WRITE); k++)
            if (n->operands[i] != BL_NONE && overlap(p->g, n->operands[i], p->wanted[k]))
                return true;
    return false;
}

/* Appends a node of which everything that is computed again is the second one. */
static void append(pass *p, const bl_node *node)
{
    bl_operand o[BL_MAX_OPERANDS];
    bl_node n = *node;
    const uint32_t count = operands_of(&n, o);
    for (uint32_t i = 0; i < count; i++)
        if (n.operands[i] != BL_NONE && use_of(p, n.operands[i])->home != NOWHERE)
            n.operands[i] = copy_of(p, n.operands[i]);
    p->nodes[p->node_count++] = n;
}

/* Nodes of a segment whose results are read behind the forward part, and those which they follow from, a second time. */
static void run_again(pass *p, uint32_t segment)
{
    const bl_graph *g = p->g;
    p->wanted_count = 0;
    for (uint32_t n = p->forward; n < g->node_count; n++)
        want(p, &g->nodes[n], segment);
    for (uint32_t n = p->forward; n-- > 0;)
        if (p->segment[n] == segment && is_wanted(p, &g->nodes[n])) {
            p->again[n] = true;
            want(p, &g->nodes[n], segment);
        }
    for (uint32_t n = 0; n < p->forward; n++)
        if (p->again[n] && p->segment[n] == segment)
            append(p, &g->nodes[n]);
    p->done[segment] = true;
}

/* Whether a node of the forward part that runs again had to run there, too: its results are read there, or have no second life. */
static bool is_needed_there(const pass *p, uint32_t at)
{
    bl_operand o[BL_MAX_OPERANDS], q[BL_MAX_OPERANDS];
    const uint32_t count = operands_of(&p->nodes[at], o);
    for (uint32_t i = 0; i < count; i++) {
        const bl_value y = p->nodes[at].operands[i];
        if (y == BL_NONE || !(o[i].access & BL_WRITE))
            continue;
        if (use_of(p, y)->home == NOWHERE)
            return true;
        for (uint32_t n = at + 1; n <= use_of(p, y)->last; n++) {
            const uint32_t operands = operands_of(&p->nodes[n], q);
            for (uint32_t k = 0; k < operands; k++)
                if (p->nodes[n].operands[k] != BL_NONE && (q[k].access & BL_READ) && overlap(p->g, p->nodes[n].operands[k], y))
                    return true;
        }
    }
    return false;
}

static void rebuild(pass *p)
{
    const bl_graph *g = p->g;
    bl_operand o[BL_MAX_OPERANDS];
    memcpy(p->nodes, g->nodes, p->forward * sizeof(*p->nodes));
    p->node_count = p->forward;
    for (uint32_t n = p->forward; n < g->node_count; n++) {
        const uint32_t count = operands_of(&g->nodes[n], o);
        for (uint32_t i = 0; i < count; i++) {
            const bl_value x = g->nodes[n].operands[i];
            const uint32_t home = x == BL_NONE ? NOWHERE : use_of(p, x)->home;
            if (home != NOWHERE && !p->done[home])
                run_again(p, home);
        }
        append(p, &g->nodes[n]);
    }
    for (uint32_t n = p->forward; n-- > 0;)
        p->nodes[n].dead = p->nodes[n].dead || (p->again[n] && !is_needed_there(p, n));
}

/* Finds the new list, and adds its tensors and storages to the graph; the graph's nodes are as they were. */
static bl_result recompute(bl_graph *g, uint32_t forward_nodes, uint32_t segments, bl_node **nodes, uint32_t *count)
{
    bl_result result = BL_OK;
    const size_t forward = forward_nodes, all = g->node_count;
    pass p = { .g = g, .forward = forward_nodes, .segments = segments };
    p.uses = bl_alloc(g->storage_count, sizeof(*p.uses));
    p.writes = bl_alloc(all * BL_MAX_OPERANDS, sizeof(*p.writes));
    p.before = bl_alloc(forward + 2, sizeof(*p.before));
    p.crossing = bl_alloc(forward + 2, sizeof(*p.crossing));
    p.segment = bl_alloc(forward, sizeof(*p.segment));
    p.again = bl_alloc(forward, sizeof(*p.again));
    p.done = bl_alloc(segments, sizeof(*p.done));
    p.copies = bl_alloc(g->tensor_count, sizeof(*p.copies));
    p.wanted = bl_alloc(g->tensor_count, sizeof(*p.wanted));
    p.listed = bl_alloc(g->tensor_count, sizeof(*p.listed));
    p.nodes = bl_alloc(all + forward, sizeof(*p.nodes));
    if (!p.uses || !p.writes || !p.before || !p.crossing || !p.segment || !p.again || !p.done || !p.copies || !p.wanted || !p.listed ||
        !p.nodes)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory to compute activations again"));
    see_uses(&p);
    cut(&p);
    rebuild(&p);
    BL_TRY(bl_graph_check(g));
    *nodes = p.nodes;
    *count = p.node_count;
    p.nodes = NULL;
fail:
    bl_free(p.uses);
    bl_free(p.writes);
    bl_free(p.before);
    bl_free(p.crossing);
    bl_free(p.segment);
    bl_free(p.again);
    bl_free(p.done);
    bl_free(p.copies);
    bl_free(p.wanted);
    bl_free(p.listed);
    bl_free(p.nodes);
    return result;
}

/* --- the graph ---------------------------------------------------------------------------------------------------------- */

bl_result bl_graph_recompute(bl_graph *g, uint32_t forward_nodes, uint32_t segments)
{
    bl_result result = BL_OK;
    bl_node *nodes = NULL;
    uint32_t count = 0;
    BL_TRY(bl_graph_check(g));
    if (segments < 2 || !forward_nodes || forward_nodes > g->node_count)
        return BL_OK;
    BL_TRY(recompute(g, forward_nodes, BL_MIN(segments, forward_nodes), &nodes, &count));
    bl_free(g->nodes);
    g->nodes = nodes;
    g->node_count = g->node_room = count;
fail:
    return result;
}

/* Memory that the graph would need in so many segments; it stays as it is. */
static bl_result try_segments(bl_graph *g, uint32_t forward_nodes, uint32_t segments, uint64_t block_limit, uint64_t *bytes)
{
    bl_result result = BL_OK;
    const bl_graph before = *g;
    bl_node *nodes = NULL;
    bl_plan *plan = NULL;
    uint32_t count = 0;
    BL_TRY(recompute(g, forward_nodes, segments, &nodes, &count));
    g->nodes = nodes;
    g->node_count = count;
    BL_TRY(bl_plan_create(g, block_limit, &plan));
    *bytes = plan->bytes;
fail:
    bl_plan_destroy(&plan);
    bl_free(nodes);
    g->nodes = before.nodes;
    g->node_count = before.node_count;
    g->tensor_count = before.tensor_count; /* what was added has no names to free */
    g->storage_count = before.storage_count;
    return result;
}

bl_result bl_plan_within(bl_graph *g, uint32_t forward_nodes, uint64_t block_limit, uint64_t bytes, bl_plan **out, uint32_t *segments)
{
    enum { MOST = 32 }; /* then the borders between segments take more than is saved */
    bl_result result = BL_OK;
    *segments = 1;
    BL_TRY(bl_plan_create(g, block_limit, out));
    uint64_t least = (*out)->bytes;
    for (uint32_t count = 2; count <= BL_MIN(MOST, forward_nodes) && least > bytes; count++) {
        uint64_t needed = 0;
        BL_TRY(try_segments(g, forward_nodes, count, block_limit, &needed));
        if (needed < least) {
            least = needed;
            *segments = count;
        }
    }
    if (*segments == 1)
        return BL_OK;
    bl_plan_destroy(out);
    BL_TRY(bl_graph_recompute(g, forward_nodes, *segments));
    BL_TRY(bl_plan_create(g, block_limit, out));
    return BL_OK;
fail:
    bl_plan_destroy(out);
    return result;
}
