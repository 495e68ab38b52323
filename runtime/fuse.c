/* Fusion: elementwise work joins the product, convolution or norm that made its input. Layer 3. */
#include "graph.h"

/* Who makes and who reads a tensor. Views count as their own tensors, so anything seen through a view is left alone. */
typedef struct use {
    uint32_t maker, reader, readers;  /* node indices; maker is node_count for inputs */
    bool viewed;                      /* another tensor shares its memory */
} use;

/* True if two tensors may share elements: a storage and columns of it. */
static bool meet(const bl_graph *g, bl_value x, bl_value y)
{
    const bl_tensor *a = &g->tensors[x], *b = &g->tensors[y];
    return a->storage == b->storage && bl_first_column(a) < bl_first_column(b) + b->shape.c &&
        bl_first_column(b) < bl_first_column(a) + a->shape.c;
}

/* Merging changes who makes and reads a tensor, never its memory, so views are looked for once. */
static void find_views(const bl_graph *g, use *uses)
{
    for (bl_value i = 1; i < g->tensor_count; i++)
        for (bl_value j = 1; j < i; j++)
            if (meet(g, i, j))
                uses[i].viewed = uses[j].viewed = true;
}

static void find_uses(const bl_graph *g, use *uses)
{
    for (bl_value i = 0; i < g->tensor_count; i++)
        uses[i] = (use){ .maker = g->node_count, .viewed = uses[i].viewed };
    for (uint32_t n = 0; n < g->node_count; n++) {
        bl_operand o[BL_MAX_OPERANDS];
        const uint32_t count = bl_op_operands(g->nodes[n].op, o);
        for (uint32_t i = 0; i < count && !g->nodes[n].dead; i++) {
            use *u = &uses[g->nodes[n].operands[i]];
            if (o[i].access & BL_WRITE)
                u->maker = n;
            if (o[i].access & BL_READ) {
                u->reader = n;
                u->readers++;
            }
        }
    }
}

/* True if only one node reads x and nothing else needs it to exist. */
static bool private_to_reader(const bl_graph *g, const use *uses, bl_value x)
{
    return uses[x].readers == 1 && !uses[x].viewed && !g->storages[g->tensors[x].storage].pinned;
}

/* True if a node from `from` on and before `to` writes what x sees. */
static bool written_between(const bl_graph *g, bl_value x, uint32_t from, uint32_t to)
{
    for (uint32_t n = from; n < to; n++) {
        bl_operand o[BL_MAX_OPERANDS];
        const uint32_t count = g->nodes[n].dead ? 0 : bl_op_operands(g->nodes[n].op, o);
        for (uint32_t i = 0; i < count; i++)
            if (o[i].access & BL_WRITE && g->nodes[n].operands[i] != BL_NONE && meet(g, g->nodes[n].operands[i], x))
                return true;
    }
    return false;
}

/* A node whose output may take in what is done to it next. The order is: bias, per-image row, activation, residual; each may still be
 * added only if nothing after it is there. NULL: the op has no such thing. */
typedef struct producer {
    bl_value *y;       /* what it makes; NULL if not one tensor */
    bl_value *row;     /* added for every image */
    bl_value *residual;
    uint32_t *act;
} producer;

static producer producer_of(bl_node *n)
{
    producer p = { 0 };
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t count = bl_op_operands(n->op, o);
    const bool product = n->op == BL_OP_matmul_fwd || n->op == BL_OP_conv_fwd;
    uint32_t outputs = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (o[i].access & BL_WRITE) {
            p.y = &n->operands[i];
            outputs++;
        }
        if (o[i].optional && o[i].name == 'r')
            p.residual = &n->operands[i];
        if (product && o[i].name == 'a')
            p.row = &n->operands[i];
    }
    if (outputs != 1)
        p.y = NULL;
    p.act = n->op == BL_OP_matmul_fwd ? &n->p.matmul_fwd.act : n->op == BL_OP_conv_fwd ? &n->p.conv_fwd.act
        : n->op == BL_OP_group_norm_fwd ? &n->p.group_norm_fwd.act : NULL;
    return p;
}

/* A row of every image joins n. The convolution knows the rows of an image, the product is told. */
static bool take_row(bl_node *n, uint32_t rows)
{
    if (n->op == BL_OP_matmul_fwd)
        n->p.matmul_fwd.a_rows = rows;
    return n->op == BL_OP_matmul_fwd || rows == n->p.conv_fwd.oh * n->p.conv_fwd.ow;
}

static bool merge_sum(const bl_graph *g, uint32_t at, bl_node *n, const producer *p, uint32_t sum)
{
    const bl_node *next = &g->nodes[sum];
    const bool first = next->operands[0] == *p->y;
    const bl_value other = next->operands[first], z = next->operands[2];
    const bl_dtype type = g->storages[g->tensors[*p->y].storage].type;
    if (written_between(g, other, at, sum) || g->storages[g->tensors[other].storage].type != type ||
        g->storages[g->tensors[z].storage].type != type || !p->residual || *p->residual != BL_NONE)
        return false;
    if (next->p.add_fwd.y_rows == 1)
        *p->residual = other;
    else if (first && p->row && *p->row == BL_NONE && *p->act == ACT_NONE && take_row(n, next->p.add_fwd.y_rows))
        *p->row = other;
    else
        return false;
    *p->y = z;
    return true;
}

static bool merge(bl_graph *g, const use *uses, uint32_t at)
{
    bl_node *n = &g->nodes[at];
    const producer p = producer_of(n);
    if (n->dead || !p.y || *p.y == BL_NONE || !private_to_reader(g, uses, *p.y))
        return false;
    bl_node *next = &g->nodes[uses[*p.y].reader];
    if (next->op == BL_OP_add_fwd && merge_sum(g, at, n, &p, uses[*p.y].reader)) {
        next->dead = true;
    } else if (next->op == BL_OP_activation_fwd && p.act && *p.act == ACT_NONE && (!p.residual || *p.residual == BL_NONE)) {
        *p.act = next->p.activation_fwd.act;
        *p.y = next->operands[1];
        next->dead = true;
    } else if (n->op == BL_OP_upsample_fwd && next->op == BL_OP_conv_fwd && !next->p.conv_fwd.up) {
        next->p.conv_fwd.up = 1; /* the convolution reads the small image */
        next->p.conv_fwd.h /= 2;
        next->p.conv_fwd.width /= 2;
        next->operands[0] = n->operands[0];
        n->dead = true;
    } else {
        return false;
    }
    return true;
}

bl_result bl_graph_fuse(bl_graph *g)
{
    const bl_result checked = bl_graph_check(g);
    if (checked != BL_OK)
        return checked;
    use *uses = bl_alloc(g->tensor_count, sizeof(*uses));
    if (!uses)
        return bl_fail(BL_ERROR_MEMORY, "no host memory to fuse a graph");
    find_views(g, uses);
    bool again = true;
    while (again) {
        again = false;
        find_uses(g, uses);
        for (uint32_t n = 0; n < g->node_count; n++)
            if (merge(g, uses, n)) {
                again = true;
                find_uses(g, uses);
            }
    }
    bl_free(uses);
    return BL_OK;
}
