/* Layer 3. */
#include "graph.h"
#include "checked.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const uint32_t MAX_ELEMENTS = 1u << 31; /* shaders count elements in 32 bits */

bl_result bl_graph_create(bl_dtype type, bool keep_named, bl_graph **out)
{
    bl_graph *g = *out = bl_alloc(1, sizeof(*g));
    if (!g)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a graph");
    g->type = type;
    g->keep_named = keep_named;
    g->tensor_count = 1;
    return BL_OK;
}

void bl_graph_destroy(bl_graph **graph)
{
    bl_graph *g = *graph;
    *graph = NULL;
    if (!g)
        return;
    for (uint32_t i = 0; g->tensors && i < g->tensor_count; i++)
        bl_free((void *)(uintptr_t)g->tensors[i].name);
    bl_free(g->tensors);
    bl_free(g->storages);
    bl_free(g->nodes);
    bl_free(g);
}

bl_result bl_graph_check(const bl_graph *g) { return g->failed == BL_OK ? BL_OK : bl_fail(g->failed, "%s", g->reason); }

bl_value bl_graph_fail(bl_graph *g, bl_result r, const char *fmt, ...)
{
    if (g->failed == BL_OK) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(g->reason, sizeof(g->reason), fmt, ap);
        va_end(ap);
        g->failed = r;
    }
    return BL_NONE;
}

/* --- tensors -------------------------------------------------------------------------------------------------------- */

/* Room for one more element of a growing array, zeroed. */
static bool reserve(bl_graph *g, void **array, uint32_t count, uint32_t *room, size_t size)
{
    if (count < *room)
        return true;
    const uint32_t wanted = *room * 2 + 64;
    void *grown = bl_resize(*array, wanted, size);
    if (!grown) {
        bl_graph_fail(g, BL_ERROR_MEMORY, "no host memory for a graph of %u elements", wanted);
        return false;
    }
    memset((char *)grown + *room * size, 0, (wanted - *room) * size);
    *array = grown;
    *room = wanted;
    return true;
}

static bl_value add_tensor(bl_graph *g, bl_shape shape, uint32_t storage, struct view view)
{
    if (!reserve(g, (void **)&g->tensors, g->tensor_count, &g->tensor_room, sizeof(*g->tensors)))
        return BL_NONE;
    g->tensors[g->tensor_count] = (bl_tensor){ shape, storage, view, NULL };
    return g->tensor_count++;
}

static uint64_t rows_of(bl_shape s) { return (uint64_t)s.n * s.h * s.w; }

static bl_value new_tensor(bl_graph *g, bl_shape shape, bl_dtype type, bool pinned, const bl_weight *weight)
{
    size_t elements;
    if (g->failed != BL_OK)
        return BL_NONE;
    if (!bl_product((size_t[]){ shape.n, shape.h, shape.w, shape.c }, 4, &elements) || !elements || elements >= MAX_ELEMENTS)
        return bl_graph_fail(g, BL_ERROR_USAGE, "a tensor of %u x %u x %u x %u is too large", shape.n, shape.h, shape.w, shape.c);
    if (!reserve(g, (void **)&g->storages, g->storage_count, &g->storage_room, sizeof(*g->storages)))
        return BL_NONE;
    g->storages[g->storage_count] = (bl_storage){ rows_of(shape), shape.c, type, weight, pinned };
    return add_tensor(g, shape, g->storage_count++, (struct view){ 0, shape.c });
}

bl_value bl_graph_input(bl_graph *g, const char *name, bl_shape shape, bl_dtype type)
{
    return bl_graph_name(g, new_tensor(g, shape, type, true, NULL), "%s", name);
}

bl_value bl_graph_weight(bl_graph *g, const bl_weight *w)
{
    return w ? new_tensor(g, (bl_shape){ 1, 1, w->rows, w->cols }, w->type, false, w) : BL_NONE;
}

bl_value bl_graph_keep(bl_graph *g, bl_value x)
{
    if (x != BL_NONE)
        g->storages[g->tensors[x].storage].pinned = true;
    return x;
}

bl_value bl_graph_name(bl_graph *g, bl_value x, const char *fmt, ...)
{
    char name[128];
    if (x == BL_NONE)
        return BL_NONE;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    char *copy = bl_text_copy(name, strlen(name));
    if (!copy)
        return bl_graph_fail(g, BL_ERROR_MEMORY, "no host memory for a name");
    bl_free((void *)(uintptr_t)g->tensors[x].name);
    g->tensors[x].name = copy;
    return g->keep_named ? bl_graph_keep(g, x) : x;
}

bl_shape bl_graph_shape(const bl_graph *g, bl_value x) { return x == BL_NONE ? (bl_shape){ 0, 0, 0, 0 } : g->tensors[x].shape; }

bl_value bl_graph_find(const bl_graph *g, const char *name)
{
    for (bl_value i = g->tensor_count; i-- > 1;)
        if (g->tensors[i].name && !strcmp(g->tensors[i].name, name))
            return i;
    return BL_NONE;
}

bl_value bl_graph_channels(bl_graph *g, bl_value x, uint32_t first, uint32_t count)
{
    if (x == BL_NONE)
        return BL_NONE;
    bl_tensor t = g->tensors[x];
    if (!count || first > t.shape.c || count > t.shape.c - first)
        return bl_graph_fail(g, BL_ERROR_USAGE, "channels %u+%u of %u", first, count, t.shape.c);
    t.shape.c = count;
    t.view.off += first;
    return add_tensor(g, t.shape, t.storage, t.view);
}

bl_value bl_graph_images(bl_graph *g, bl_value x, uint32_t first, uint32_t count)
{
    if (x == BL_NONE)
        return BL_NONE;
    bl_tensor t = g->tensors[x];
    if (!count || first > t.shape.n || count > t.shape.n - first)
        return bl_graph_fail(g, BL_ERROR_USAGE, "images %u+%u of %u", first, count, t.shape.n);
    t.shape.n = count;
    t.view.off += first * t.shape.h * t.shape.w * t.view.stride;
    return add_tensor(g, t.shape, t.storage, t.view);
}

bl_value bl_graph_rows(bl_graph *g, bl_value x, uint32_t first, uint32_t count)
{
    if (x == BL_NONE)
        return BL_NONE;
    bl_tensor t = g->tensors[x];
    if (t.shape.n != 1 || !count || first > t.shape.h * t.shape.w || count > t.shape.h * t.shape.w - first)
        return bl_graph_fail(g, BL_ERROR_USAGE, "rows %u+%u of %u x %u x %u", first, count, t.shape.n, t.shape.h, t.shape.w);
    t.shape.h = count;
    t.shape.w = 1;
    t.view.off += first * t.view.stride;
    return add_tensor(g, t.shape, t.storage, t.view);
}

bl_value bl_graph_reshape(bl_graph *g, bl_value x, uint32_t n, uint32_t h, uint32_t w)
{
    if (x == BL_NONE)
        return BL_NONE;
    const bl_tensor t = g->tensors[x];
    const bl_shape shape = { n, h, w, t.shape.c };
    if (rows_of(shape) != rows_of(t.shape))
        return bl_graph_fail(g, BL_ERROR_USAGE, "reshape of %u x %u x %u to %u x %u x %u", t.shape.n, t.shape.h, t.shape.w, n, h, w);
    return add_tensor(g, shape, t.storage, t.view);
}

/* Moves every view of storage `from` into columns first .. of the wider storage `to`. */
static void rebase(bl_graph *g, uint32_t from, uint32_t to, uint32_t first)
{
    const uint32_t old = (uint32_t)g->storages[from].width, wide = (uint32_t)g->storages[to].width;
    for (bl_value i = 1; i < g->tensor_count; i++) {
        bl_tensor *t = &g->tensors[i];
        if (t->storage == from) {
            t->view = (struct view){ t->view.off / old * wide + t->view.off % old + first, wide };
            t->storage = to;
        }
    }
    g->storages[to].pinned |= g->storages[from].pinned;
    g->storages[from].rows = 0;
}

bl_value bl_graph_concat(bl_graph *g, bl_value a, bl_value b)
{
    if (a == BL_NONE || b == BL_NONE)
        return BL_NONE;
    const bl_value parts[2] = { a, b };
    bl_shape shape = g->tensors[a].shape;
    const bl_shape other = g->tensors[b].shape;
    const bl_dtype type = g->storages[g->tensors[a].storage].type;
    if (shape.n != other.n || shape.h != other.h || shape.w != other.w || type != g->storages[g->tensors[b].storage].type)
        return bl_graph_fail(g, BL_ERROR_USAGE, "concatenation of %ux%ux%u and %ux%ux%u", shape.n, shape.h, shape.w, other.n, other.h,
                             other.w);
    const uint32_t first[2] = { 0, shape.c };
    shape.c += other.c;
    const bl_value whole = new_tensor(g, shape, type, false, NULL);
    for (int i = 0; i < 2 && whole != BL_NONE; i++) {
        const bl_tensor *t = &g->tensors[parts[i]];
        const bl_storage *s = &g->storages[t->storage];
        if (t->view.stride == s->width && t->shape.c == s->width && t->view.off == 0 && rows_of(t->shape) == s->rows && !s->weight &&
            !s->pinned && a != b)
            rebase(g, t->storage, g->tensors[whole].storage, first[i]);
        else
            bl_graph_copy(g, parts[i], bl_graph_channels(g, whole, first[i], t->shape.c));
    }
    return whole;
}

/* --- nodes ---------------------------------------------------------------------------------------------------------- */

void bl_graph_append(bl_graph *g, bl_op op, const bl_params *p, const bl_value *operands, uint32_t count)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t known = bl_op_operands(op, o);
    bl_dtype type = g->type;
    if (g->failed != BL_OK || !reserve(g, (void **)&g->nodes, g->node_count, &g->node_room, sizeof(*g->nodes)))
        return;
    for (uint32_t i = known; i-- > 0;) /* that of the first operand of the storage type */
        if (i < count && o[i].storage && operands[i] != BL_NONE)
            type = g->storages[g->tensors[operands[i]].storage].type;
    bl_node *n = &g->nodes[g->node_count++];
    *n = (bl_node){ .op = op, .type = type };
    memcpy(&n->p, p, bl_op_infos[op].params_size); /* behind them the union has no value */
    memcpy(n->operands, operands, count * sizeof(*operands));
}

#define NODE(op, params, ...) BL_NODE(g, op, params, __VA_ARGS__)

bl_value bl_graph_tensor(bl_graph *g, bl_shape shape, bl_dtype type) { return new_tensor(g, shape, type, false, NULL); }
bl_dtype bl_graph_type(const bl_graph *g, bl_value x) { return x == BL_NONE ? g->type : g->storages[g->tensors[x].storage].type; }

static bl_value activation(bl_graph *g, bl_shape shape) { return new_tensor(g, shape, g->type, false, NULL); }

bl_value bl_graph_copy(bl_graph *g, bl_value x, bl_value y)
{
    const bl_shape s = bl_graph_shape(g, x);
    if (x != BL_NONE && y != BL_NONE)
        NODE(copy_fwd, ((struct copy_params){ .rows = bl_rows(s), .channels = s.c }), x, y);
    return y;
}

static bool is_vector(const bl_graph *g, bl_value x, uint32_t channels)
{
    const bl_shape s = bl_graph_shape(g, x);
    return rows_of(s) == 1 && s.c == channels;
}

/* True if every operand is there; a missing one has been reported, or is a failure of the caller's. */
static bool all(bl_graph *g, const char *op, const bl_value *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (x[i] == BL_NONE)
            bl_graph_fail(g, BL_ERROR_USAGE, "%s: operand %zu is missing", op, i);
    return g->failed == BL_OK;
}
#define ALL(op, ...) all(g, op, (const bl_value[]){ __VA_ARGS__ }, sizeof((const bl_value[]){ __VA_ARGS__ }) / sizeof(bl_value))

bl_value bl_graph_linear(bl_graph *g, bl_value x, bl_value w, bl_value b)
{
    if (!ALL("linear", x, w))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x), m = bl_graph_shape(g, w);
    if (m.c != s.c || (b != BL_NONE && !is_vector(g, b, m.w)))
        return bl_graph_fail(g, BL_ERROR_USAGE, "linear: %u channels into a %u x %u matrix", s.c, m.w, m.c);
    const bl_value y = activation(g, (bl_shape){ s.n, s.h, s.w, m.w });
    NODE(matmul_fwd, ((struct matmul_params){ .m = bl_rows(s), .n = m.w, .k = s.c, .a_rows = 1 }), x, w, b, BL_NONE, BL_NONE, y);
    return y;
}

bl_value bl_graph_conv(bl_graph *g, bl_value x, bl_value w, bl_value b, uint32_t kernel, uint32_t stride, bool asymmetric)
{
    if (!ALL("conv", x, w))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x), m = bl_graph_shape(g, w);
    if (kernel == 1 && stride == 1)
        return bl_graph_linear(g, x, w, b);
    if ((uint64_t)kernel * kernel * s.c != m.c || (b != BL_NONE && !is_vector(g, b, m.w)) || !(kernel & 1) || stride < 1 || stride > 2)
        return bl_graph_fail(g, BL_ERROR_USAGE, "conv: %u channels, %u x %u taps into a %u x %u matrix", s.c, kernel, kernel, m.w, m.c);
    const uint32_t pad = asymmetric ? 0 : kernel / 2, sides = asymmetric ? 1 : 2 * pad;
    if (s.h + sides < kernel || s.w + sides < kernel)
        return bl_graph_fail(g, BL_ERROR_USAGE, "conv: an input of %u x %u is too small", s.w, s.h);
    const uint32_t oh = (s.h + sides - kernel) / stride + 1, ow = (s.w + sides - kernel) / stride + 1;
    const bl_value y = activation(g, (bl_shape){ s.n, oh, ow, m.w });
    NODE(conv_fwd, ((struct conv_params){ .images = s.n, .h = s.h, .width = s.w, .c = s.c, .oh = oh, .ow = ow, .oc = m.w,
        .kernel = kernel, .stride = stride, .pad = pad, .pad_y = pad }), x, w, b, BL_NONE, BL_NONE, y);
    return y;
}

bl_value bl_graph_patches(bl_graph *g, bl_value x, bl_value w, uint32_t patch)
{
    if (!ALL("patches", x, w))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x), m = bl_graph_shape(g, w);
    if (!patch || s.h % patch || s.w % patch || (uint64_t)patch * patch * s.c != m.c)
        return bl_graph_fail(g, BL_ERROR_USAGE, "patches of %u: %u x %u x %u into a %u x %u matrix", patch, s.h, s.w, s.c, m.w, m.c);
    const uint32_t oh = s.h / patch, ow = s.w / patch;
    const bl_value y = activation(g, (bl_shape){ s.n, oh, ow, m.w });
    NODE(conv_fwd, ((struct conv_params){ .images = s.n, .h = s.h, .width = s.w, .c = s.c, .oh = oh, .ow = ow, .oc = m.w, .kernel = patch,
        .stride = patch }), x, w, BL_NONE, BL_NONE, BL_NONE, y);
    return y;
}

bl_value bl_graph_group_norm(bl_graph *g, bl_value x, bl_value w, bl_value b, uint32_t groups, float eps)
{
    enum { SLICE_ROWS = 64, MAX_SLICES = 256 }; /* of the statistics: short sums, parallel work, a short tail to join */
    if (!ALL("group_norm", x, w, b))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    if (!groups || s.c % groups || !is_vector(g, w, s.c) || !is_vector(g, b, s.c))
        return bl_graph_fail(g, BL_ERROR_USAGE, "group_norm: %u channels in %u groups", s.c, groups);
    const uint32_t rows = s.h * s.w, per_slice = (rows + MAX_SLICES - 1) / MAX_SLICES;
    const uint32_t slice_rows = BL_MAX(SLICE_ROWS, per_slice), slices = (rows + slice_rows - 1) / slice_rows;
    const bl_value partial = new_tensor(g, (bl_shape){ s.n, slices, 1, 2 * s.c }, BL_F32, false, NULL);
    const bl_value stats = new_tensor(g, (bl_shape){ s.n, 1, 1, 2 * groups }, BL_F32, false, NULL);
    const bl_value y = activation(g, s);
    NODE(channel_stats_fwd, ((struct channel_stats_params){ .images = s.n, .rows = rows, .channels = s.c, .slices = slices,
        .slice_rows = slice_rows }), x, partial);
    NODE(group_stats_fwd, ((struct group_stats_params){ .images = s.n, .rows = rows, .channels = s.c, .groups = groups, .slices = slices,
        .slice_rows = slice_rows, .eps = eps }), partial, stats);
    NODE(group_norm_fwd, ((struct group_norm_params){ .images = s.n, .rows = rows, .channels = s.c, .groups = groups }), x, stats, w, b, y);
    return y;
}

bl_value bl_graph_layer_norm(bl_graph *g, bl_value x, bl_value w, bl_value b, float eps)
{
    if (!ALL("layer_norm", x, w, b))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    if (!is_vector(g, w, s.c) || !is_vector(g, b, s.c))
        return bl_graph_fail(g, BL_ERROR_USAGE, "layer_norm: parameters are not of %u channels", s.c);
    const bl_value y = activation(g, s);
    NODE(layer_norm_fwd, ((struct layer_norm_params){ .rows = bl_rows(s), .channels = s.c, .eps = eps }), x, w, b, y);
    return y;
}

static bool attention_fits(bl_graph *g, bl_value q, bl_value k, bl_value v, uint32_t heads, bool causal)
{
    if (!ALL("attention", q, k, v))
        return false;
    const bl_shape a = bl_graph_shape(g, q), b = bl_graph_shape(g, k), c = bl_graph_shape(g, v);
    if (!heads || a.c % heads || a.n != b.n || a.c != b.c || b.n != c.n || b.h != c.h || b.w != c.w || b.c != c.c ||
        (causal && a.h * a.w != b.h * b.w)) {
        bl_graph_fail(g, BL_ERROR_USAGE, "attention: q %ux%ux%u, k %ux%ux%u, v %ux%ux%u, %u heads", a.n, a.h * a.w, a.c, b.n, b.h * b.w,
                      b.c, c.n, c.h * c.w, c.c, heads);
        return false;
    }
    return true;
}

bl_value bl_graph_attention(bl_graph *g, bl_value q, bl_value k, bl_value v, uint32_t heads, bool causal)
{
    if (!attention_fits(g, q, k, v, heads, causal))
        return BL_NONE;
    const bl_shape a = bl_graph_shape(g, q), b = bl_graph_shape(g, k);
    const uint32_t head = a.c / heads;
    const bl_value y = activation(g, a);
    NODE(attention_fwd, ((struct attention_params){ .images = a.n, .heads = heads, .head = head, .tq = a.h * a.w, .tk = b.h * b.w,
        .scale = (float)(1 / sqrt((double)head)), .causal = causal }), q, k, v, y);
    return y;
}

bl_value bl_graph_attention_probs(bl_graph *g, bl_value q, bl_value k, uint32_t heads, bool causal)
{
    if (!attention_fits(g, q, k, k, heads, causal))
        return BL_NONE;
    const bl_shape a = bl_graph_shape(g, q), b = bl_graph_shape(g, k);
    const uint32_t head = a.c / heads, tq = a.h * a.w, tk = b.h * b.w;
    const bl_value probs = new_tensor(g, (bl_shape){ a.n * heads, a.h, a.w, tk }, BL_F32, false, NULL);
    NODE(attention_probs_fwd, ((struct attention_probs_params){ .images = a.n, .heads = heads, .head = head, .tq = tq, .tk = tk,
        .scale = (float)(1 / sqrt((double)head)), .causal = causal }), q, k, probs);
    return probs;
}

bl_value bl_graph_attention_values(bl_graph *g, bl_value probs, bl_value v, uint32_t heads)
{
    if (!ALL("attention_values", probs, v))
        return BL_NONE;
    const bl_shape p = bl_graph_shape(g, probs), s = bl_graph_shape(g, v);
    if (!heads || s.c % heads || p.n != s.n * heads || p.c != s.h * s.w)
        return bl_graph_fail(g, BL_ERROR_USAGE, "attention_values: %u maps of %u keys for v %ux%ux%u, %u heads", p.n, p.c, s.n, s.h * s.w,
                             s.c, heads);
    const bl_value y = bl_graph_tensor(g, (bl_shape){ s.n, p.h, p.w, s.c }, bl_graph_type(g, v));
    NODE(attention_values_fwd, ((struct attention_values_params){ .images = s.n, .heads = heads, .head = s.c / heads, .tq = p.h * p.w,
        .tk = p.c }), probs, v, y);
    return y;
}

bl_value bl_graph_activation(bl_graph *g, bl_value x, uint32_t act)
{
    if (!ALL("activation", x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_value y = activation(g, s);
    NODE(activation_fwd, ((struct activation_params){ .rows = bl_rows(s), .channels = s.c, .act = act }), x, y);
    return y;
}

bl_value bl_graph_geglu(bl_graph *g, bl_value x)
{
    if (!ALL("geglu", x))
        return BL_NONE;
    bl_shape s = bl_graph_shape(g, x);
    if (s.c & 1)
        return bl_graph_fail(g, BL_ERROR_USAGE, "geglu: %u channels", s.c);
    s.c /= 2;
    const bl_value y = activation(g, s);
    NODE(geglu_fwd, ((struct geglu_params){ .rows = bl_rows(s), .channels = s.c }), x, y);
    return y;
}

/* One row seen as the row of each of n images: a view of stride 0. */
static bl_value broadcast(bl_graph *g, bl_value x, uint32_t n)
{
    bl_tensor t = g->tensors[x];
    if (t.shape.n == n)
        return x;
    t.shape.n = n;
    t.view.stride = 0;
    return add_tensor(g, t.shape, t.storage, t.view);
}

bl_value bl_graph_add(bl_graph *g, bl_value x, bl_value y)
{
    if (!ALL("add", x, y))
        return BL_NONE;
    const bl_shape a = bl_graph_shape(g, x), b = bl_graph_shape(g, y);
    const bool same = a.n == b.n && a.h == b.h && a.w == b.w;
    if (a.c != b.c || !(same || (b.h == 1 && b.w == 1 && (b.n == a.n || b.n == 1))))
        return bl_graph_fail(g, BL_ERROR_USAGE, "add: %ux%ux%ux%u and %ux%ux%ux%u", a.n, a.h, a.w, a.c, b.n, b.h, b.w, b.c);
    if (!same)
        y = broadcast(g, y, a.n);
    if (bl_graph_type(g, x) != bl_graph_type(g, y))
        return bl_graph_fail(g, BL_ERROR_USAGE, "add: operands of two storage types");
    const bl_value z = bl_graph_tensor(g, a, bl_graph_type(g, x));
    NODE(add_fwd, ((struct add_params){ .rows = bl_rows(a), .channels = a.c, .y_rows = same ? 1 : a.h * a.w }), x, y, z);
    return z;
}

bl_value bl_graph_upsample(bl_graph *g, bl_value x)
{
    if (!ALL("upsample", x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_value y = activation(g, (bl_shape){ s.n, 2 * s.h, 2 * s.w, s.c });
    NODE(upsample_fwd, ((struct upsample_params){ .images = s.n, .h = s.h, .width = s.w, .channels = s.c }), x, y);
    return y;
}

/* --- sampling ------------------------------------------------------------------------------------------------------- */

bl_value bl_graph_timestep_embedding(bl_graph *g, bl_value freqs)
{
    if (!ALL("timestep_embedding", freqs))
        return BL_NONE;
    const uint32_t half_dim = bl_graph_shape(g, freqs).c;
    const bl_value y = activation(g, (bl_shape){ 1, 1, 1, 2 * half_dim });
    NODE(timestep_embedding_fwd, ((struct timestep_embedding_params){ .half_dim = half_dim }), freqs, y);
    return y;
}

bl_value bl_graph_scale(bl_graph *g, bl_value x, uint32_t copies, float scale, bool per_step)
{
    if (!ALL("scale", x))
        return BL_NONE;
    const bl_shape s = bl_graph_shape(g, x);
    const bl_value y = activation(g, (bl_shape){ copies * s.n, s.h, s.w, s.c });
    NODE(scale_fwd, ((struct scale_params){ .rows = bl_rows(s), .channels = s.c, .copies = copies, .scale = scale,
        .per_step = per_step }), x, y);
    return y;
}

bl_value bl_graph_guidance(bl_graph *g, bl_value x, uint32_t branches)
{
    if (!ALL("guidance", x))
        return BL_NONE;
    bl_shape s = bl_graph_shape(g, x);
    if (branches < 1 || branches > 2 || s.n % branches)
        return bl_graph_fail(g, BL_ERROR_USAGE, "guidance: %u branches of %u images", branches, s.n);
    s.n /= branches;
    const bl_value y = new_tensor(g, s, BL_F32, false, NULL);
    NODE(guidance_fwd, ((struct guidance_params){ .rows = bl_rows(s), .channels = s.c, .branches = branches }), x, y);
    return y;
}

void bl_graph_scheduler_step(bl_graph *g, bl_value e, bl_value noise, bl_value x, bl_value history)
{
    if (!ALL("scheduler_step", e, x, history))
        return;
    const bl_shape s = bl_graph_shape(g, x), h = bl_graph_shape(g, history);
    if (rows_of(h) != 4 * rows_of(s) || h.c != s.c || rows_of(bl_graph_shape(g, e)) != rows_of(s)) {
        bl_graph_fail(g, BL_ERROR_USAGE, "scheduler_step: a history of %u rows for %u", bl_rows(h), bl_rows(s));
        return;
    }
    NODE(scheduler_step_fwd, ((struct scheduler_step_params){ .rows = bl_rows(s), .channels = s.c }), e, noise, x, history);
}

void bl_graph_step_next(bl_graph *g, uint32_t steps)
{
    NODE(step_next_fwd, ((struct step_next_params){ .count = steps }), BL_NONE);
}

void bl_graph_blend(bl_graph *g, bl_value mask, bl_value z, bl_value noise, bl_value x)
{
    if (!ALL("blend", mask, z, noise, x))
        return;
    const bl_shape s = bl_graph_shape(g, x);
    NODE(blend_fwd, ((struct blend_params){ .rows = bl_rows(s), .channels = s.c }), mask, z, noise, x);
}

/* --- recording ------------------------------------------------------------------------------------------------------ */

bl_params bl_graph_params(const bl_graph *g, const bl_node *n)
{
    bl_params p = n->p;
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t count = bl_op_operands(n->op, o);
    uint32_t *given = bl_op_given(n->op, &p);
    for (uint32_t i = 0; i < count; i++)
        if (n->operands[i] != BL_NONE) {
            p.v[i] = g->tensors[n->operands[i]].view;
            if (o[i].optional)
                *given |= 1u << i;
        }
    return p;
}

double bl_graph_flops(const bl_graph *g)
{
    double flops = 0;
    for (uint32_t n = 0; n < g->node_count; n++)
        if (!g->nodes[n].dead)
            flops += bl_op_infos[g->nodes[n].op].flops(&g->nodes[n].p);
    return flops;
}
