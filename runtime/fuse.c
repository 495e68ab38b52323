/* Fusion: elementwise work joins the product, convolution or norm that made its input. Layer 3. */
#include "graph.h"

enum { EPILOGUE_A = 3, EPILOGUE_R = 4, EPILOGUE_Y = 5 }; /* operands of matmul_fwd and conv_fwd */

/* Who makes and who reads a tensor. Views count as their own tensors, so anything seen through a view is left alone. */
typedef struct use {
    uint32_t maker, reader, readers;  /* node indices; maker is node_count for inputs */
    bool viewed;                      /* another tensor shares its memory */
} use;

/* Merging changes who makes and reads a tensor, never its memory, so views are looked for once. */
static void find_views(const bl_graph *g, use *uses)
{
    for (bl_value i = 1; i < g->tensor_count; i++)
        for (bl_value j = 1; j < i; j++)
            if (g->tensors[i].storage == g->tensors[j].storage) {
                const uint32_t ci = bl_first_column(&g->tensors[i]), cj = bl_first_column(&g->tensors[j]);
                if (ci < cj + g->tensors[j].shape.c && cj < ci + g->tensors[i].shape.c)
                    uses[i].viewed = uses[j].viewed = true;
            }
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

static uint32_t *act_of(bl_node *n) { return n->op == BL_OP_matmul_fwd ? &n->p.matmul_fwd.act : &n->p.conv_fwd.act; }

/* Order of an epilogue: bias, per-image row, activation, residual. Each may still be added only if nothing after it is there. */
static bool merge_into_product(bl_graph *g, const use *uses, uint32_t at, bl_node *n, bl_node *next)
{
    const bl_value y = n->operands[EPILOGUE_Y];
    if (next->op == BL_OP_activation_fwd && *act_of(n) == ACT_NONE && n->operands[EPILOGUE_R] == BL_NONE) {
        *act_of(n) = next->p.activation_fwd.act;
        n->operands[EPILOGUE_Y] = next->operands[1];
        return true;
    }
    if (next->op != BL_OP_add_fwd)
        return false;
    const bl_value other = next->operands[0] == y ? next->operands[1] : next->operands[0];
    const bool known = uses[other].maker == g->node_count || uses[other].maker < at; /* made before this node runs */
    if (!known || other == y || g->storages[g->tensors[other].storage].type != n->type)
        return false;
    if (next->p.add_fwd.y_rows == 1 && n->operands[EPILOGUE_R] == BL_NONE) {
        n->operands[EPILOGUE_R] = other;
    } else if (next->p.add_fwd.y_rows > 1 && next->operands[0] == y && n->operands[EPILOGUE_A] == BL_NONE && *act_of(n) == ACT_NONE &&
               n->operands[EPILOGUE_R] == BL_NONE) {
        n->operands[EPILOGUE_A] = other;
        if (n->op == BL_OP_matmul_fwd)
            n->p.matmul_fwd.a_rows = next->p.add_fwd.y_rows;
        else if (next->p.add_fwd.y_rows != n->p.conv_fwd.oh * n->p.conv_fwd.ow) { /* the convolution knows images only */
            n->operands[EPILOGUE_A] = BL_NONE;
            return false;
        }
    } else {
        return false;
    }
    n->operands[EPILOGUE_Y] = next->operands[2];
    return true;
}

static bool merge(bl_graph *g, const use *uses, uint32_t at)
{
    bl_node *n = &g->nodes[at];
    const bool product = n->op == BL_OP_matmul_fwd || n->op == BL_OP_conv_fwd;
    const bl_value y = product ? n->operands[EPILOGUE_Y] : n->op == BL_OP_group_norm_fwd ? n->operands[4]
        : n->op == BL_OP_upsample_fwd ? n->operands[1] : BL_NONE;
    if (y == BL_NONE || n->dead || !private_to_reader(g, uses, y))
        return false;
    bl_node *next = &g->nodes[uses[y].reader];
    bool merged = false;
    if (product) {
        merged = merge_into_product(g, uses, at, n, next);
        if (merged)
            next->dead = true;
    } else if (n->op == BL_OP_group_norm_fwd && next->op == BL_OP_activation_fwd && n->p.group_norm_fwd.act == ACT_NONE) {
        n->p.group_norm_fwd.act = next->p.activation_fwd.act;
        n->operands[4] = next->operands[1];
        merged = next->dead = true;
    } else if (n->op == BL_OP_upsample_fwd && next->op == BL_OP_conv_fwd && !next->p.conv_fwd.up) {
        next->p.conv_fwd.up = 1; /* the convolution reads the small image */
        next->p.conv_fwd.h /= 2;
        next->p.conv_fwd.width /= 2;
        next->operands[0] = n->operands[0];
        merged = n->dead = true;
    }
    return merged;
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
