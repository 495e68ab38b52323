/* Layer 3. */
#include "grad.h"
#include "checked.h"
#include <stdlib.h>

/* A gradient that has arrived at a tensor, which may be a part of others. */
typedef struct piece {
    bl_value x, gradient;
    bool scaled;             /* carries the loss scale */
} piece;

typedef struct grad {
    bl_graph *g;
    uint32_t nodes;          /* of the forward part */
    uint32_t *depends;       /* of every tensor: 1 if it depends on what is asked for */
    bl_value *written;       /* tensors that nodes write or that are asked for, .. */
    uint32_t written_count;
    piece *pieces;
    uint32_t piece_count, piece_room;
    uint32_t *readers;       /* of every tensor: how many operands read it or tensors that share its memory */
    uint32_t *reader;        /* one of those nodes */
    const bl_seed *seeds;
    const bl_value *wrt;     /* what is asked for */
    uint32_t seed_count, wrt_count;
    bool scaled;             /* what arrives at the node that is looked at, and so what it delivers, carries the loss scale */
    bl_value loss_scale;     /* [1,2] fp32: the power of two and its inverse; BL_NONE until a map's gradient is known */
} grad;

/* --- tensors as rectangles of their storage ------------------------------------------------------------------------- */

typedef struct rect {
    uint32_t storage, row, rows, col, cols;
} rect;

static rect rect_of(const bl_graph *g, bl_value x)
{
    const bl_tensor *t = &g->tensors[x];
    const uint32_t width = (uint32_t)g->storages[t->storage].width;
    return (rect){ t->storage, t->view.off / width, bl_rows(t->shape), t->view.off % width, t->shape.c };
}

static bool overlap(rect a, rect b)
{
    return a.storage == b.storage && a.row < b.row + b.rows && b.row < a.row + a.rows && a.col < b.col + b.cols && b.col < a.col + a.cols;
}

static bool contains(rect a, rect b)
{
    return a.storage == b.storage && a.row <= b.row && b.row + b.rows <= a.row + a.rows && a.col <= b.col &&
        b.col + b.cols <= a.col + a.cols;
}

/* --- what depends on what ------------------------------------------------------------------------------------------- */

static bool depends(const grad *a, bl_value x)
{
    for (uint32_t i = 0; x != BL_NONE && i < a->written_count; i++)
        if (a->depends[a->written[i]] && overlap(rect_of(a->g, a->written[i]), rect_of(a->g, x)))
            return true;
    return false;
}

static bl_result find_dependence(grad *a)
{
    const bl_graph *g = a->g;
    a->depends = bl_alloc(g->tensor_count, sizeof(*a->depends));
    a->readers = bl_alloc(g->tensor_count, sizeof(*a->readers));
    a->reader = bl_alloc(g->tensor_count, sizeof(*a->reader));
    a->written = bl_alloc((size_t)g->node_count * 2 + a->wrt_count, sizeof(*a->written));
    if (!a->depends || !a->readers || !a->reader || !a->written)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a gradient");
    for (uint32_t i = 0; i < a->wrt_count; i++) {
        a->depends[a->wrt[i]] = 1;
        a->written[a->written_count++] = a->wrt[i];
    }
    for (uint32_t n = 0; n < g->node_count; n++) {
        bl_operand o[BL_MAX_OPERANDS];
        const uint32_t operands = bl_op_operands(g->nodes[n].op, o);
        const bl_value *v = g->nodes[n].operands;
        bool any = false;
        for (uint32_t i = 0; i < operands; i++)
            if (v[i] != BL_NONE && (o[i].access & BL_READ)) {
                any = any || depends(a, v[i]);
                for (bl_value x = 1; x < g->tensor_count; x++)
                    if (g->tensors[x].storage == g->tensors[v[i]].storage) {
                        a->readers[x]++;
                        a->reader[x] = n;
                    }
            }
        for (uint32_t i = 0; i < operands && any; i++)
            if (v[i] != BL_NONE && (o[i].access & BL_WRITE)) {
                a->depends[v[i]] = 1;
                a->written[a->written_count++] = v[i];
            }
    }
    return BL_OK;
}

/* --- gradients that arrive -------------------------------------------------------------------------------------------- */

static void deliver(grad *a, bl_value x, bl_value gradient)
{
    if (x == BL_NONE || gradient == BL_NONE || !depends(a, x))
        return;
    if (a->piece_count == a->piece_room) {
        const uint32_t room = 2 * a->piece_room + 64;
        piece *grown = bl_resize(a->pieces, room, sizeof(*grown));
        if (!grown) {
            bl_graph_fail(a->g, BL_ERROR_MEMORY, "no host memory for a gradient");
            return;
        }
        a->pieces = grown;
        a->piece_room = room;
    }
    a->pieces[a->piece_count++] = (piece){ x, gradient, a->scaled };
}

static bl_value sum(grad *a, bl_value x, bl_value y) { return x == BL_NONE ? y : y == BL_NONE ? x : bl_graph_add(a->g, x, y); }

static bl_value like(grad *a, bl_value x) { return bl_graph_tensor(a->g, bl_graph_shape(a->g, x), bl_graph_type(a->g, x)); }

static bl_value shaped(grad *a, bl_value x, bl_value as)
{
    const bl_shape s = bl_graph_shape(a->g, as);
    return bl_graph_reshape(a->g, x, s.n, s.h, s.w);
}

/* In fp32, without the loss scale. */
static bl_value unscaled(grad *a, bl_value gradient, bool scaled)
{
    const bl_shape s = bl_graph_shape(a->g, gradient);
    if (!scaled && bl_graph_type(a->g, gradient) == BL_F32)
        return gradient;
    const bl_value d = bl_graph_tensor(a->g, s, BL_F32);
    BL_NODE(a->g, scale_bwd_x, ((struct scale_bwd_params){ .rows = bl_rows(s), .channels = s.c, .copies = 1, .scale = 1 }), gradient,
            scaled ? a->loss_scale : BL_NONE, d);
    return d;
}

/* Whether what has arrived at a rectangle carries the loss scale. If a part does, it loses it. */
static void find_scale(grad *a, rect r)
{
    uint32_t count[2] = { 0, 0 };
    for (uint32_t i = 0; i < a->piece_count; i++)
        count[a->pieces[i].scaled] += overlap(rect_of(a->g, a->pieces[i].x), r);
    a->scaled = count[1] && !count[0];
    for (uint32_t i = 0; i < a->piece_count && count[0] && count[1]; i++) {
        piece *p = &a->pieces[i];
        if (!p->scaled || !overlap(rect_of(a->g, p->x), r))
            continue;
        if (bl_graph_type(a->g, p->gradient) != BL_F32)
            bl_graph_fail(a->g, BL_ERROR_USAGE, "gradient: that of maps meets another one in fp16");
        p->gradient = unscaled(a, p->gradient, true);
        p->scaled = false;
    }
}

/* The sum of what has arrived at exactly x, taken away: an op that can adds it to its own gradient of x. */
static bl_value take(grad *a, bl_value x)
{
    bl_value total = BL_NONE;
    const rect r = rect_of(a->g, x);
    for (uint32_t i = 0; i < a->piece_count; i++) {
        const rect p = rect_of(a->g, a->pieces[i].x);
        if (contains(p, r) && contains(r, p) && a->pieces[i].scaled == a->scaled) {
            total = sum(a, total, shaped(a, a->pieces[i].gradient, x));
            a->pieces[i--] = a->pieces[--a->piece_count];
        }
    }
    return total;
}

static bl_value zeros(grad *a, bl_shape s, bl_dtype type)
{
    const bl_value y = bl_graph_tensor(a->g, s, type);
    if (y != BL_NONE)
        BL_NODE(a->g, fill_fwd, ((struct fill_params){ .rows = bl_rows(s), .channels = s.c }), y);
    return y;
}

static int by_column(const void *a, const void *b)
{
    const rect *x = a, *y = b;
    return x->col < y->col ? -1 : x->col > y->col;
}

enum { MAX_PARTS = 16 };

/* The gradient of x from those of its parts: columns side by side become views of one tensor, what no part covers is zero. */
static bl_value join_columns(grad *a, bl_value x, rect r, const piece *parts, uint32_t count)
{
    bl_graph *g = a->g;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_dtype type = bl_graph_type(g, x);
    struct { rect r; bl_value v; } list[MAX_PARTS]; /* the rect first: by_column looks at it */
    for (uint32_t i = 0; i < count; i++) {
        list[i].r = rect_of(g, parts[i].x);
        list[i].v = shaped(a, parts[i].gradient, x);
    }
    qsort(list, count, sizeof(*list), by_column);
    bl_value whole = BL_NONE;
    uint32_t done = 0; /* columns */
    for (uint32_t i = 0; i <= count; i++) {
        const uint32_t next = i < count ? list[i].r.col - r.col : r.cols;
        if (next < done)
            return bl_graph_fail(g, BL_ERROR_USAGE, "gradient: parts of a tensor that overlap");
        if (next > done) {
            const bl_value gap = zeros(a, (bl_shape){ s.n, s.h, s.w, next - done }, type);
            whole = whole == BL_NONE ? gap : bl_graph_concat(g, whole, gap);
        }
        if (i == count)
            break;
        whole = whole == BL_NONE ? list[i].v : bl_graph_concat(g, whole, list[i].v);
        done = next + list[i].r.cols;
    }
    return whole;
}

/* The same for parts that have only some rows: zeros, and the parts copied into them. */
static bl_value join_rows(grad *a, bl_value x, rect r, const piece *parts, uint32_t count)
{
    bl_graph *g = a->g;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_value whole = bl_graph_reshape(g, zeros(a, s, bl_graph_type(g, x)), 1, r.rows, 1);
    for (uint32_t i = 0; i < count; i++) {
        const rect p = rect_of(g, parts[i].x);
        for (uint32_t j = 0; j < i; j++)
            if (overlap(p, rect_of(g, parts[j].x)))
                return bl_graph_fail(g, BL_ERROR_USAGE, "gradient: parts of a tensor that overlap");
        const bl_value part = bl_graph_channels(g, bl_graph_rows(g, whole, p.row - r.row, p.rows), p.col - r.col, p.cols);
        bl_graph_copy(g, bl_graph_reshape(g, parts[i].gradient, 1, p.rows, 1), part);
    }
    return bl_graph_reshape(g, whole, s.n, s.h, s.w);
}

/* The gradient of x: everything that has arrived at it, at tensors it is a part of and at parts of it. BL_NONE: nothing has.
 * What arrived at x and its parts becomes one piece. */
static bl_value gradient_of(grad *a, bl_value x)
{
    bl_graph *g = a->g;
    const rect r = rect_of(g, x);
    piece parts[MAX_PARTS];
    uint32_t count = 0;
    bool columns = true;
    find_scale(a, r);
    bl_value own = take(a, x), total = BL_NONE;
    for (uint32_t i = 0; i < a->piece_count; i++) {
        const rect p = rect_of(g, a->pieces[i].x);
        if (!overlap(p, r))
            continue;
        if (contains(p, r)) {
            const bl_value whole = bl_graph_reshape(g, a->pieces[i].gradient, 1, p.rows, 1);
            const bl_value part = bl_graph_channels(g, bl_graph_rows(g, whole, r.row - p.row, r.rows), r.col - p.col, r.cols);
            total = sum(a, total, shaped(a, part, x));
        } else if (contains(r, p)) {
            uint32_t same = 0;
            while (same < count && !(contains(p, rect_of(g, parts[same].x)) && contains(rect_of(g, parts[same].x), p)))
                same++;
            if (same == MAX_PARTS)
                return bl_graph_fail(g, BL_ERROR_USAGE, "gradient: more than %d parts of a tensor", MAX_PARTS);
            if (same < count)
                parts[same].gradient = sum(a, parts[same].gradient, shaped(a, a->pieces[i].gradient, parts[same].gradient));
            else
                parts[count++] = a->pieces[i];
            columns = columns && p.rows == r.rows;
            a->pieces[i--] = a->pieces[--a->piece_count];
        } else {
            return bl_graph_fail(g, BL_ERROR_USAGE, "gradient: tensors that share memory in a way that is not known");
        }
    }
    if (count)
        own = sum(a, own, columns ? join_columns(a, x, r, parts, count) : join_rows(a, x, r, parts, count));
    deliver(a, x, own);
    return sum(a, own, total);
}

/* --- rules: the gradient gy of a node's output becomes that of its inputs ---------------------------------------------------- */

typedef void rule(grad *a, const bl_node *n, bl_value gy);

static void no_rule(grad *a, const bl_node *n)
{
    bl_graph_fail(a->g, BL_ERROR_USAGE, "gradient: %s has none", bl_op_infos[n->op].name);
}

static void matmul_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct matmul_params *p = &n->p.matmul_fwd;
    const bl_value x = n->operands[0];
    if (p->act != ACT_NONE || n->operands[3] != BL_NONE) { /* of bl_graph_fuse */
        no_rule(a, n);
        return;
    }
    deliver(a, n->operands[4], gy);
    if (!depends(a, x))
        return;
    const bl_value r = take(a, x), d = like(a, x);
    BL_NODE(a->g, matmul_bwd_x, ((struct matmul_bwd_params){ .m = p->m, .n = p->n, .k = p->k }), gy, n->operands[1], r, d);
    deliver(a, x, d);
}

static void conv_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct conv_params *p = &n->p.conv_fwd;
    const bl_value x = n->operands[0];
    if (p->act != ACT_NONE || n->operands[3] != BL_NONE || p->up) {
        no_rule(a, n);
        return;
    }
    deliver(a, n->operands[4], gy);
    if (!depends(a, x))
        return;
    const bl_value r = take(a, x), d = like(a, x);
    BL_NODE(a->g, conv_bwd_x, ((struct conv_bwd_params){ .images = p->images, .h = p->h, .width = p->width, .c = p->c, .oh = p->oh,
        .ow = p->ow, .oc = p->oc, .kernel = p->kernel, .stride = p->stride, .pad = p->pad, .pad_y = p->pad }), gy, n->operands[1], r, d);
    deliver(a, x, d);
}

/* True if a gradient is asked for or given somewhere in x. */
static bool is_an_end(const grad *a, bl_value x)
{
    bool any = false;
    for (uint32_t i = 0; i < a->wrt_count; i++)
        any = any || overlap(rect_of(a->g, a->wrt[i]), rect_of(a->g, x));
    for (uint32_t i = 0; i < a->seed_count; i++)
        any = any || overlap(rect_of(a->g, a->seeds[i].y), rect_of(a->g, x));
    return any;
}

/* The activation that alone reads x, a whole tensor that need not be kept; NULL if there is none. */
static const bl_node *only_activation(const grad *a, bl_value x)
{
    const bl_storage *s = &a->g->storages[a->g->tensors[x].storage];
    const bl_node *n = &a->g->nodes[a->reader[x]];
    return a->readers[x] == 1 && n->op == BL_OP_activation_fwd && n->operands[0] == x && !s->pinned && !is_an_end(a, x) ? n : NULL;
}

/* Group norm and the activation behind it have one gradient, from x alone, so that what lies between need not be kept. */
static void group_norm_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct group_norm_params *p = &n->p.group_norm_fwd;
    const struct channel_stats_params *slices = NULL;
    const bl_value x = n->operands[0], stats = n->operands[1], w = n->operands[2], b = n->operands[3];
    const bl_node *next = only_activation(a, n->operands[4]);
    uint32_t act = p->act;
    for (uint32_t i = 0; i < a->nodes; i++)
        if (a->g->nodes[i].op == BL_OP_channel_stats_fwd && a->g->nodes[i].operands[0] == x)
            slices = &a->g->nodes[i].p.channel_stats_fwd;
    if (!slices || (next && act != ACT_NONE)) {
        no_rule(a, n);
        return;
    }
    if (next)
        act = next->p.activation_fwd.act;
    const struct channel_stats_params sliced = *slices; /* new nodes move the array */
    const struct group_norm_params q = *p;
    const bl_value u = bl_graph_tensor(a->g, (bl_shape){ q.images, sliced.slices, 1, 2 * q.channels }, BL_F32);
    const bl_value t = bl_graph_tensor(a->g, (bl_shape){ q.images, 1, 1, 4 * q.groups }, BL_F32);
    BL_NODE(a->g, channel_stats_bwd, ((struct channel_stats_bwd_params){ .images = q.images, .rows = q.rows, .channels = q.channels,
        .groups = q.groups, .slices = sliced.slices, .slice_rows = sliced.slice_rows, .act = act }), x, stats, w, b, gy, u);
    BL_NODE(a->g, group_stats_bwd, ((struct group_stats_bwd_params){ .images = q.images, .rows = q.rows, .channels = q.channels,
        .groups = q.groups, .slices = sliced.slices }), stats, u, t);
    const bl_value r = take(a, x), d = like(a, x);
    BL_NODE(a->g, group_norm_bwd_x, ((struct group_norm_bwd_params){ .images = q.images, .rows = q.rows, .channels = q.channels,
        .groups = q.groups, .act = act }), x, t, w, b, gy, r, d);
    deliver(a, x, d);
}

static void layer_norm_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct layer_norm_params p = n->p.layer_norm_fwd;
    const bl_value x = n->operands[0], w = n->operands[1], r = take(a, x), d = like(a, x);
    BL_NODE(a->g, layer_norm_bwd_x, ((struct layer_norm_bwd_params){ .rows = p.rows, .channels = p.channels, .eps = p.eps }), x, w, gy,
            r, d);
    deliver(a, x, d);
}

static void attention_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct attention_params p = n->p.attention_fwd;
    const bl_value q = n->operands[0], k = n->operands[1], v = n->operands[2], y = n->operands[3];
    const bl_value s = bl_graph_tensor(a->g, (bl_shape){ p.images, p.tq, 1, 2 * p.heads }, BL_F32);
    BL_NODE(a->g, attention_stats_bwd, ((struct attention_stats_bwd_params){ .images = p.images, .heads = p.heads, .head = p.head,
        .tq = p.tq, .tk = p.tk, .scale = p.scale, .causal = p.causal }), q, k, y, gy, s);
    if (depends(a, k) || depends(a, v)) {
        const bl_value dk = like(a, k), dv = like(a, v);
        BL_NODE(a->g, attention_bwd_kv, ((struct attention_bwd_kv_params){ .images = p.images, .heads = p.heads, .head = p.head,
            .tq = p.tq, .tk = p.tk, .scale = p.scale, .causal = p.causal }), q, k, v, gy, s, dk, dv);
        deliver(a, k, dk);
        deliver(a, v, dv);
    }
    if (depends(a, q)) {
        const bl_value d = like(a, q);
        BL_NODE(a->g, attention_bwd_q, ((struct attention_bwd_q_params){ .images = p.images, .heads = p.heads, .head = p.head,
            .tq = p.tq, .tk = p.tk, .scale = p.scale, .causal = p.causal }), q, k, v, gy, s, d);
        deliver(a, q, d);
    }
}

static void attention_values_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct attention_values_params s = n->p.attention_values_fwd;
    const bl_value p = n->operands[0], v = n->operands[1];
    if (depends(a, p)) {
        const bl_value besides = take(a, p), d = like(a, p);
        BL_NODE(a->g, attention_values_bwd_p, ((struct attention_values_bwd_p_params){ .images = s.images, .heads = s.heads, .head = s.head,
            .tq = s.tq, .tk = s.tk }), gy, v, besides, d);
        deliver(a, p, d);
    }
    if (depends(a, v)) {
        const bl_value d = like(a, v);
        BL_NODE(a->g, attention_values_bwd_v, ((struct attention_values_bwd_v_params){ .images = s.images, .heads = s.heads,
            .head = s.head, .tq = s.tq, .tk = s.tk }), p, gy, d);
        deliver(a, v, d);
    }
}

/* Through the softmax to the scores e, then dq = scale e k and dk = scale e^T q, which are the products of the values. */
static void attention_probs_rule(grad *a, const bl_node *n, bl_value gp)
{
    const struct attention_probs_params s = n->p.attention_probs_fwd;
    const bl_value q = n->operands[0], k = n->operands[1], p = n->operands[2], e = like(a, p);
    BL_NODE(a->g, softmax_bwd_x, ((struct softmax_bwd_params){ .rows = s.images * s.heads * s.tq, .channels = s.tk, .scale = s.scale }),
            p, gp, e);
    if (depends(a, k)) {
        const bl_value d = like(a, k);
        BL_NODE(a->g, attention_values_bwd_v, ((struct attention_values_bwd_v_params){ .images = s.images, .heads = s.heads,
            .head = s.head, .tq = s.tq, .tk = s.tk }), e, q, d);
        deliver(a, k, d);
    }
    if (depends(a, q)) {
        const bl_value d = like(a, q);
        BL_NODE(a->g, attention_values_fwd, ((struct attention_values_params){ .images = s.images, .heads = s.heads, .head = s.head,
            .tq = s.tq, .tk = s.tk }), e, k, d);
        deliver(a, q, d);
    }
}

static void activation_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct activation_params p = n->p.activation_fwd;
    const bl_value x = n->operands[0];
    for (uint32_t i = 0; i < a->nodes; i++)
        if (a->g->nodes[i].op == BL_OP_group_norm_fwd && a->g->nodes[i].operands[4] == x && only_activation(a, x)) {
            deliver(a, x, gy); /* group_norm_rule does both */
            return;
        }
    const bl_value d = like(a, x);
    BL_NODE(a->g, activation_bwd_x, ((struct activation_bwd_params){ .rows = p.rows, .channels = p.channels, .act = p.act }), x, gy, d);
    deliver(a, x, d);
}

static void geglu_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct geglu_params p = n->p.geglu_fwd;
    const bl_value x = n->operands[0], d = like(a, x);
    BL_NODE(a->g, geglu_bwd_x, ((struct geglu_bwd_params){ .rows = p.rows, .channels = p.channels }), x, gy, d);
    deliver(a, x, d);
}

static void add_rule(grad *a, const bl_node *n, bl_value gy)
{
    const bl_value x = n->operands[0], y = n->operands[1];
    deliver(a, x, gy);
    if (n->p.add_fwd.y_rows == 1)
        deliver(a, y, gy);
    else if (depends(a, y))
        bl_graph_fail(a->g, BL_ERROR_USAGE, "gradient: a row that is added to many has none");
}

static void copy_rule(grad *a, const bl_node *n, bl_value gy) { deliver(a, n->operands[0], gy); }

static void upsample_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct upsample_params p = n->p.upsample_fwd;
    const bl_value x = n->operands[0], d = like(a, x);
    BL_NODE(a->g, upsample_bwd_x, ((struct upsample_bwd_params){ .images = p.images, .h = p.h, .width = p.width, .channels = p.channels }),
            gy, d);
    deliver(a, x, d);
}

static void scale_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct scale_params p = n->p.scale_fwd;
    const bl_value x = n->operands[0], d = like(a, x);
    BL_NODE(a->g, scale_bwd_x, ((struct scale_bwd_params){ .rows = p.rows, .channels = p.channels, .copies = p.copies, .scale = p.scale,
        .per_step = p.per_step }), gy, a->scaled ? a->loss_scale : BL_NONE, d);
    a->scaled = false;
    deliver(a, x, d);
}

/* From here on gradients carry the loss scale. All heads of one map get the same gradient, so the first one that comes decides. */
static void heads_mean_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct heads_mean_params p = n->p.heads_mean_fwd;
    const bl_value x = n->operands[0], d = like(a, x);
    if (a->loss_scale == BL_NONE) {
        a->loss_scale = bl_graph_keep(a->g, bl_graph_tensor(a->g, (bl_shape){ 1, 1, 1, 2 }, BL_F32));
        BL_NODE(a->g, loss_scale_fwd, ((struct loss_scale_params){ .rows = p.rows, .channels = p.channels, .target = BL_LOSS_TARGET }),
                gy, a->loss_scale);
    }
    deliver(a, n->operands[1], gy);
    BL_NODE(a->g, heads_mean_bwd_x, ((struct heads_mean_bwd_params){ .heads = p.heads, .rows = p.rows, .channels = p.channels,
        .scale = p.scale }), gy, a->scaled ? BL_NONE : a->loss_scale, d);
    a->scaled = true;
    deliver(a, x, d);
}

static void softmax_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct softmax_params p = n->p.softmax_fwd;
    const bl_value x = n->operands[0], y = n->operands[1], d = like(a, x);
    BL_NODE(a->g, softmax_bwd_x, ((struct softmax_bwd_params){ .rows = p.rows, .channels = p.channels, .scale = p.scale }), y, gy, d);
    deliver(a, x, d);
}

static void smooth_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct smooth_params p = n->p.smooth_fwd;
    const bl_value x = n->operands[0], d = like(a, x);
    BL_NODE(a->g, smooth_bwd_x, ((struct smooth_bwd_params){ .h = p.h, .width = p.width, .channels = p.channels, .edge = p.edge,
        .centre = p.centre }), gy, d);
    deliver(a, x, d);
}

/* The factor of the seeds; reverse mode starts here. */
static float scale_of(const grad *a, bl_value y)
{
    float scale = 0;
    for (uint32_t i = 0; i < a->seed_count; i++)
        scale += a->seeds[i].y == y && a->seeds[i].gradient == BL_NONE ? a->seeds[i].scale : 0;
    return scale;
}

static void peak_loss_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct peak_loss_params p = n->p.peak_loss_fwd;
    const bl_value x = n->operands[0], m = n->operands[1], y = n->operands[2], d = like(a, x);
    (void)gy;
    BL_NODE(a->g, peak_loss_bwd_x, ((struct peak_loss_bwd_params){ .rows = p.rows, .channels = p.channels, .mean = p.mean,
        .scale = scale_of(a, y) }), m, y, d);
    deliver(a, x, d);
}

static void cosine_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct cosine_params p = n->p.cosine_fwd;
    const bl_value x = n->operands[0], y = n->operands[1], d = like(a, x);
    (void)gy;
    BL_NODE(a->g, cosine_bwd_x, ((struct cosine_bwd_params){ .rows = p.rows, .channels = p.channels,
        .scale = scale_of(a, n->operands[2]) }),
            x, y, d);
    deliver(a, x, d);
}

static void clamp_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct clamp_params p = n->p.clamp_fwd;
    const bl_value x = n->operands[0], d = like(a, x);
    BL_NODE(a->g, clamp_bwd_x, ((struct clamp_bwd_params){ .rows = p.rows, .channels = p.channels, .scale = p.scale, .shift = p.shift }),
            x, gy, d);
    deliver(a, x, d);
}

static void bicubic_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct bicubic_params p = n->p.bicubic_fwd;
    const bl_value x = n->operands[0], d = like(a, x);
    BL_NODE(a->g, bicubic_bwd_x, ((struct bicubic_bwd_params){ .images = p.images, .h = p.h, .width = p.width, .oh = p.oh, .ow = p.ow,
        .channels = p.channels }), gy, d);
    deliver(a, x, d);
}

static void normalize_rule(grad *a, const bl_node *n, bl_value gy)
{
    const struct normalize_params p = n->p.normalize_fwd;
    const bl_value x = n->operands[0], m = n->operands[1], d = like(a, x);
    BL_NODE(a->g, normalize_bwd_x, ((struct normalize_bwd_params){ .rows = p.rows, .channels = p.channels }), gy, m, d);
    deliver(a, x, d);
}

/* The operands that a rule is for, as bits. What depends on what is asked for in another way stops the gradient with an error. */
static const struct { rule *f; uint32_t of; } rules[BL_OP_COUNT] = {
    [BL_OP_matmul_fwd] = { matmul_rule, 1 | 1 << 4 },
    [BL_OP_conv_fwd] = { conv_rule, 1 | 1 << 4 },
    [BL_OP_group_norm_fwd] = { group_norm_rule, 1 | 1 << 1 }, /* the statistics are those of x */
    [BL_OP_layer_norm_fwd] = { layer_norm_rule, 1 },
    [BL_OP_attention_fwd] = { attention_rule, 1 | 1 << 1 | 1 << 2 },
    [BL_OP_attention_probs_fwd] = { attention_probs_rule, 1 | 1 << 1 },
    [BL_OP_attention_values_fwd] = { attention_values_rule, 1 | 1 << 1 },
    [BL_OP_activation_fwd] = { activation_rule, 1 },
    [BL_OP_geglu_fwd] = { geglu_rule, 1 },
    [BL_OP_add_fwd] = { add_rule, 1 | 1 << 1 },
    [BL_OP_copy_fwd] = { copy_rule, 1 },
    [BL_OP_upsample_fwd] = { upsample_rule, 1 },
    [BL_OP_scale_fwd] = { scale_rule, 1 },
    [BL_OP_heads_mean_fwd] = { heads_mean_rule, 1 | 1 << 1 },
    [BL_OP_softmax_fwd] = { softmax_rule, 1 },
    [BL_OP_smooth_fwd] = { smooth_rule, 1 },
    [BL_OP_peak_loss_fwd] = { peak_loss_rule, 1 },
    [BL_OP_cosine_fwd] = { cosine_rule, 1 },
    [BL_OP_clamp_fwd] = { clamp_rule, 1 },
    [BL_OP_bicubic_fwd] = { bicubic_rule, 1 },
    [BL_OP_normalize_fwd] = { normalize_rule, 1 },
};

/* --- the pass ----------------------------------------------------------------------------------------------------------- */

static void visit(grad *a, uint32_t at)
{
    bl_operand o[BL_MAX_OPERANDS];
    const bl_node n = a->g->nodes[at]; /* a copy: rules append nodes, which moves the array */
    const uint32_t count = bl_op_operands(n.op, o);
    const bool loss = n.op == BL_OP_peak_loss_fwd || n.op == BL_OP_cosine_fwd;
    uint32_t ways = 0; /* operands that depend on what is asked for */
    for (uint32_t i = 0; i < count; i++)
        ways |= (uint32_t)((o[i].access & BL_READ) && depends(a, n.operands[i])) << i;
    for (uint32_t i = 0; i < count && ways && a->g->failed == BL_OK; i++) {
        if (n.operands[i] == BL_NONE || !(o[i].access & BL_WRITE))
            continue;
        const bl_value gy = gradient_of(a, n.operands[i]);
        bool starts = false;
        for (uint32_t k = 0; k < a->seed_count; k++)
            starts = starts || (a->seeds[k].y == n.operands[i] && a->seeds[k].gradient == BL_NONE);
        if (gy == BL_NONE && !starts)
            continue;
        if (starts != loss || (gy != BL_NONE && loss))
            bl_graph_fail(a->g, BL_ERROR_USAGE, "gradient: %s is %s", bl_op_infos[n.op].name, loss ? "where it starts" : "no loss");
        else if (ways & ~rules[n.op].of)
            no_rule(a, &n);
        else
            rules[n.op].f(a, &n, gy);
    }
}

void bl_graph_gradient(bl_graph *g, const bl_seed *seeds, uint32_t seed_count, const bl_value *wrt, bl_value *out, uint32_t count)
{
    grad a = { .g = g, .nodes = g->node_count, .seeds = seeds, .seed_count = seed_count, .wrt = wrt, .wrt_count = count };
    for (uint32_t i = 0; i < count; i++) {
        out[i] = BL_NONE;
        if (wrt[i] == BL_NONE)
            bl_graph_fail(g, BL_ERROR_USAGE, "gradient: tensor %u is missing", i);
    }
    for (uint32_t i = 0; i < seed_count; i++) {
        const bl_shape y = bl_graph_shape(g, seeds[i].y), d = bl_graph_shape(g, seeds[i].gradient);
        if (seeds[i].y == BL_NONE || (seeds[i].gradient != BL_NONE && (bl_rows(y) != bl_rows(d) || y.c != d.c ||
            bl_graph_type(g, seeds[i].y) != bl_graph_type(g, seeds[i].gradient))))
            bl_graph_fail(g, BL_ERROR_USAGE, "gradient: that of seed %u is of another shape or type, or the seed is missing", i);
    }
    if (g->failed != BL_OK)
        return;
    if (find_dependence(&a) != BL_OK) {
        bl_graph_fail(g, BL_ERROR_MEMORY, "no host memory for a gradient");
    } else {
        for (uint32_t i = 0; i < seed_count; i++)
            if (seeds[i].gradient != BL_NONE)
                deliver(&a, seeds[i].y, seeds[i].gradient);
        for (uint32_t n = a.nodes; n-- > 0 && g->failed == BL_OK;)
            visit(&a, n);
        for (uint32_t i = 0; i < count && g->failed == BL_OK; i++) {
            const bl_value d = gradient_of(&a, wrt[i]);
            out[i] = d == BL_NONE ? bl_graph_fail(g, BL_ERROR_USAGE, "gradient: the loss does not depend on tensor %u", i)
                : bl_graph_keep(g, unscaled(&a, shaped(&a, d, wrt[i]), a.scaled));
        }
    }
    bl_free(a.depends);
    bl_free(a.readers);
    bl_free(a.reader);
    bl_free(a.written);
    bl_free(a.pieces);
}
