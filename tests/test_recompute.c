/* Activations computed again: results keep their bytes, memory falls, nothing is lost and nothing runs twice without need.
 * Most of it without a device: graphs are executed on hashes, which lie where the plan puts the elements. */
#include "device_session.h"
#include "exec.h"
#include "grad.h"
#include "recompute.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rng = 1;
static uint32_t next(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

/* --- networks --------------------------------------------------------------------------------------------------------- */

static bl_value input(bl_graph *g, uint32_t n, uint32_t h, uint32_t w, uint32_t c)
{
    return bl_graph_input(g, "input", (bl_shape){ n, h, w, c }, g->type);
}

static bl_value conv(bl_graph *g, bl_value x, uint32_t out)
{
    const uint32_t in = bl_graph_shape(g, x).c;
    return bl_graph_conv(g, x, input(g, 1, 1, out, 9 * in), input(g, 1, 1, 1, out), 3, 1, false);
}

static bl_value linear(bl_graph *g, bl_value x, uint32_t out)
{
    return bl_graph_linear(g, x, input(g, 1, 1, out, bl_graph_shape(g, x).c), input(g, 1, 1, 1, out));
}

static bl_value group_norm(bl_graph *g, bl_value x)
{
    const uint32_t c = bl_graph_shape(g, x).c;
    return bl_graph_group_norm(g, x, input(g, 1, 1, 1, c), input(g, 1, 1, 1, c), 2, 1e-5f);
}

static bl_value layer_norm(bl_graph *g, bl_value x)
{
    const uint32_t c = bl_graph_shape(g, x).c;
    return bl_graph_layer_norm(g, x, input(g, 1, 1, 1, c), input(g, 1, 1, 1, c), 1e-5f);
}

static bl_value attention(bl_graph *g, bl_value x, bool kept)
{
    const uint32_t c = bl_graph_shape(g, x).c;
    const bl_value qkv = linear(g, layer_norm(g, x), 3 * c);
    const bl_value q = bl_graph_channels(g, qkv, 0, c), k = bl_graph_channels(g, qkv, c, c), v = bl_graph_channels(g, qkv, 2 * c, c);
    const bl_value y = kept ? bl_graph_attention_values(g, bl_graph_attention_probs(g, q, k, 2, false), v, 2)
        : bl_graph_attention(g, q, k, v, 2, false);
    return bl_graph_add(g, linear(g, y, c), x);
}

static bl_value resnet(bl_graph *g, bl_value x, bl_value emb, uint32_t out)
{
    const bl_value shortcut = bl_graph_shape(g, x).c == out ? x : linear(g, x, out);
    bl_value h = conv(g, bl_graph_activation(g, group_norm(g, x), ACT_SILU), out);
    if (emb != BL_NONE)
        h = bl_graph_add(g, h, linear(g, emb, out));
    h = conv(g, bl_graph_activation(g, group_norm(g, h), ACT_SILU), out);
    return bl_graph_add(g, shortcut, h);
}

static void chain(bl_graph *g)
{
    bl_value x = input(g, 1, 16, 16, 16);
    for (int i = 0; i < 48; i++)
        x = bl_graph_activation(g, x, i % 2 ? ACT_SILU : ACT_GELU);
}

static void residual(bl_graph *g)
{
    bl_value x = conv(g, input(g, 1, 12, 12, 4), 16);
    for (int i = 0; i < 8; i++)
        x = resnet(g, x, BL_NONE, 16);
}

static void transformer(bl_graph *g)
{
    bl_value x = linear(g, input(g, 2, 80, 1, 8), 16);
    for (int i = 0; i < 6; i++) {
        x = attention(g, x, i % 2);
        x = bl_graph_add(g, linear(g, bl_graph_geglu(g, linear(g, layer_norm(g, x), 64)), 16), x);
    }
}

/* Down, up, and skips that the way up writes beside its own channels. */
static void skips(bl_graph *g)
{
    const bl_value image = input(g, 1, 16, 16, 4), emb = bl_graph_activation(g, linear(g, input(g, 1, 1, 1, 8), 16), ACT_SILU);
    bl_value skip[6], x = conv(g, image, 16);
    for (int i = 0; i < 6; i++)
        skip[i] = x = resnet(g, x, emb, 16);
    for (int i = 6; i-- > 0;)
        x = resnet(g, bl_graph_concat(g, x, skip[i]), emb, 16);
}

/* One step of sampling of x, which changes it and the step. */
static void sample(bl_graph *g, bl_value x, bl_value e)
{
    const bl_shape s = bl_graph_shape(g, x);
    bl_graph_scheduler_step(g, bl_graph_guidance(g, e, 1), BL_NONE, x, bl_graph_input(g, "history", (bl_shape){ 4 * s.n, s.h, s.w, s.c },
                                                                                      BL_F32));
    bl_graph_step_next(g, 8);
}

/* What follows from the step, and what from tensors that are changed in place, or written twice: read behind the forward part. */
static void states(bl_graph *g)
{
    const bl_shape one = { 1, 12, 12, 12 };
    const bl_value x = bl_graph_input(g, "x", one, BL_F32), z = bl_graph_input(g, "input", one, BL_F32);
    const bl_value a = bl_graph_activation(g, bl_graph_scale(g, z, 1, 1, true), ACT_SILU), b = bl_graph_activation(g, x, ACT_GELU);
    const bl_value twice = bl_graph_keep(g, bl_graph_copy(g, a, bl_graph_tensor(g, one, BL_F32)));
    const bl_value first = bl_graph_activation(g, twice, ACT_SILU);
    bl_graph_copy(g, b, twice);
    bl_value h = bl_graph_add(g, bl_graph_activation(g, first, ACT_SILU), bl_graph_activation(g, twice, ACT_SILU));
    if (next(2))
        sample(g, x, h);
    for (int i = 0; i < 8; i++)
        h = layer_norm(g, h);
}

/* Two images in one tensor, each written by a node of its own. */
static bl_value pair(bl_graph *g, bl_value x, bl_value y)
{
    bl_shape s = bl_graph_shape(g, x);
    s.n = 2;
    const bl_value both = bl_graph_tensor(g, s, bl_graph_type(g, x));
    bl_graph_copy(g, x, bl_graph_images(g, both, 0, 1));
    bl_graph_copy(g, y, bl_graph_images(g, both, 1, 1));
    return both;
}

/* Only the first image of every pair is read behind the forward part. */
static void pairs(bl_graph *g)
{
    bl_value x = input(g, 1, 12, 12, 16);
    for (int i = 0; i < 8; i++) {
        const bl_value both = pair(g, linear(g, x, 16), linear(g, x, 16));
        const bl_value first = bl_graph_images(g, both, 0, 1), second = bl_graph_images(g, both, 1, 1);
        x = bl_graph_add(g, bl_graph_activation(g, first, ACT_SILU), linear(g, second, 16));
    }
}

static bl_value random_node(bl_graph *g, bl_value x)
{
    const bl_shape s = bl_graph_shape(g, x);
    if (s.c > 16)
        return next(2) ? linear(g, x, 8) : bl_graph_channels(g, x, 4 * next(s.c / 4 - 1), 8);
    switch (next(15)) {
    case 14: return s.n == 1 ? pair(g, layer_norm(g, x), bl_graph_activation(g, x, ACT_SILU)) : x;
    case 0: return bl_graph_activation(g, x, ACT_SILU);
    case 1: return bl_graph_activation(g, bl_graph_activation(g, x, ACT_GELU), ACT_SILU);
    case 2: return bl_graph_add(g, x, bl_graph_activation(g, x, ACT_SILU));
    case 3: return bl_graph_add(g, conv(g, x, s.c), next(2) ? input(g, 1, 1, 1, s.c) : input(g, s.n, 1, 1, s.c));
    case 4: return bl_graph_concat(g, x, bl_graph_activation(g, x, ACT_SILU));
    case 5: return bl_graph_concat(g, linear(g, x, 4), linear(g, x, 8));
    case 6: return bl_graph_activation(g, group_norm(g, x), ACT_SILU);
    case 7: return resnet(g, x, BL_NONE, 4 + 4 * next(3));
    case 8: return s.h * s.w < 300 ? conv(g, bl_graph_upsample(g, x), 8) : layer_norm(g, x);
    case 9: return bl_graph_geglu(g, linear(g, x, 16));
    case 10: return s.h * s.w < 200 ? attention(g, x, next(2)) : layer_norm(g, x);
    case 11: return s.n == 2 ? bl_graph_images(g, x, next(2), 1) : x;
    case 12: return bl_graph_reshape(g, x, s.n, s.h * s.w, 1);
    default: return next(3) ? layer_norm(g, x) : bl_graph_keep(g, layer_norm(g, x));
    }
}

static void random_graph(bl_graph *g)
{
    bl_value alive[4];
    for (size_t i = 0; i < BL_COUNT(alive); i++)
        alive[i] = input(g, 1 + next(2), 8 + next(10), 8 + next(10), 4 + 4 * next(2));
    if (g->type == BL_F32 && next(2))
        states(g);
    for (uint32_t i = 0; i < 25; i++)
        alive[next(BL_COUNT(alive))] = random_node(g, alive[next(BL_COUNT(alive))]);
}

/* What the gradient of an op may read of its operands, as bits. */
static uint32_t read_by_gradient(bl_op op)
{
    switch (op) {
    case BL_OP_group_norm_fwd: return 3;
    case BL_OP_layer_norm_fwd: return 9; /* the output, too: some are read behind the forward part only */
    case BL_OP_activation_fwd:
    case BL_OP_geglu_fwd: return 1;
    case BL_OP_attention_fwd: return 15;
    case BL_OP_attention_probs_fwd: return 7;
    case BL_OP_attention_values_fwd: return 3;
    default: return 0;
    }
}

/* Behind the forward part, readers in reverse order, as a gradient has them; their sums are kept. */
static void mirror(bl_graph *g)
{
    bl_value sums[64], kept = BL_NONE;
    uint32_t count = 0;
    for (uint32_t n = g->node_count; n-- > 0;)
        for (uint32_t i = 0; i < BL_MAX_OPERANDS; i++) {
            const bl_value x = g->nodes[n].operands[i];
            if (!(read_by_gradient(g->nodes[n].op) >> i & 1) || x == BL_NONE || g->storages[g->tensors[x].storage].type != g->type)
                continue;
            const bl_shape s = bl_graph_shape(g, x);
            const bl_value y = bl_graph_activation(g, x, ACT_QUICK_GELU);
            uint32_t k = 0;
            for (; k < count; k++) {
                const bl_shape t = bl_graph_shape(g, sums[k]);
                if (!memcmp(&s, &t, sizeof(s)))
                    break;
            }
            assert_true(k < BL_COUNT(sums));
            sums[k] = k == count ? y : bl_graph_add(g, sums[k], y);
            count += k == count;
        }
    for (uint32_t k = 0; k < count; k++)
        kept = bl_graph_keep(g, sums[k]);
    assert_true(kept != BL_NONE);
}

/* The same where a step of sampling comes first, if there was none: what follows from x may not be computed from what x is by then. */
static void mirror_after_step(bl_graph *g)
{
    const bl_value x = bl_graph_find(g, "x");
    bool stepped = x == BL_NONE;
    for (uint32_t n = 0; n < g->node_count; n++)
        stepped = stepped || g->nodes[n].op == BL_OP_step_next_fwd;
    if (!stepped)
        sample(g, x, bl_graph_activation(g, x, ACT_SILU));
    mirror(g);
}

/* A forward part, readers of it, fused; *forward is the number of its nodes. */
static bl_graph *build(void (*make)(bl_graph *), bl_dtype type, uint32_t *forward)
{
    bl_graph *g = NULL;
    assert_int_equal(bl_graph_create(type, false, &g), BL_OK);
    make(g);
    *forward = g->node_count;
    mirror_after_step(g);
    if (bl_graph_fuse(g) != BL_OK)
        fail_msg("%s", bl_last_error());
    return g;
}

static void (*const networks[])(bl_graph *) = { chain, residual, transformer, skips, pairs };
static const uint32_t counts[] = { 1, 2, 3, 4, 5, 8, 13, 32, 1000 };

/* --- execution on hashes ---------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

typedef struct machine {
    const bl_graph *g;
    const bl_plan *plan;
    uint64_t *memory, *blocks; /* one hash for two bytes; where each block begins, in bytes */
} machine;

/* Hashes of element (row, column) of a view. */
static uint64_t *element(const machine *m, uint32_t storage, uint64_t at)
{
    const bl_place *p = &m->plan->places[storage];
    return m->memory + (m->blocks[p->block] + p->offset + at * bl_dtype_size(m->g->storages[storage].type)) / 2;
}

static uint64_t hash_of(const machine *m, bl_value x, struct view v, bl_extent e)
{
    const uint32_t s = m->g->tensors[x].storage;
    uint64_t h = bl_dtype_size(m->g->storages[s].type);
    for (uint32_t r = 0; r < e.rows; r++)
        for (uint32_t c = 0; c < e.cols; c++) {
            const uint64_t *at = element(m, s, v.off + (uint64_t)r * v.stride + c);
            for (uint64_t k = 0; k < bl_dtype_size(m->g->storages[s].type) / 2; k++) {
                assert_true(at[k] != 0); /* never written */
                h = mix(h, at[k]);
            }
        }
    return h;
}

static void fill(const machine *m, bl_value x, struct view v, bl_extent e, uint64_t h)
{
    const uint32_t s = m->g->tensors[x].storage;
    for (uint32_t r = 0; r < e.rows; r++)
        for (uint32_t c = 0; c < e.cols; c++) {
            uint64_t *at = element(m, s, v.off + (uint64_t)r * v.stride + c);
            for (uint64_t k = 0; k < bl_dtype_size(m->g->storages[s].type) / 2; k++)
                at[k] = mix(mix(mix(h, r), c), k) | 1;
        }
}

static void execute(const machine *m, const bl_node *n, uint64_t *step)
{
    const bl_params p = bl_graph_params(m->g, n);
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t count = bl_op_operands(n->op, o);
    uint64_t h = n->op;
    bl_op_infos[n->op].extents(&p, e);
    for (uint32_t i = 0; i < bl_op_infos[n->op].params_size; i++)
        h = mix(h, ((const uint8_t *)&n->p)[i]);
    for (uint32_t i = 0; i < count; i++)
        if (n->operands[i] != BL_NONE && (o[i].access & BL_READ))
            h = mix(h, hash_of(m, n->operands[i], p.v[i], e[i]));
    if (bl_op_infos[n->op].steps)
        h = mix(h, *step);
    *step += n->op == BL_OP_step_next_fwd;
    for (uint32_t i = 0; i < count; i++)
        if (n->operands[i] != BL_NONE && (o[i].access & BL_WRITE))
            fill(m, n->operands[i], p.v[i], e[i], mix(h, i));
}

/* Of everything that is kept, after a run in planned memory. */
static uint64_t outcome(const bl_graph *g, uint64_t *bytes)
{
    machine m = { .g = g };
    bl_plan *plan = NULL;
    uint64_t h = 0, step = 0, begin = 0;
    if (bl_plan_create(g, 1 << 22, &plan) != BL_OK)
        fail_msg("%s", bl_last_error());
    m.plan = plan;
    m.memory = calloc(plan->bytes / 2, sizeof(*m.memory));
    m.blocks = calloc(plan->block_count, sizeof(*m.blocks));
    for (uint32_t i = 0; i < plan->block_count; begin += plan->blocks[i++])
        m.blocks[i] = begin;
    for (uint32_t s = 0; s < g->storage_count; s++) /* as if the host had written all that is kept */
        for (uint64_t k = 0; g->storages[s].pinned && g->storages[s].rows && k < plan->places[s].size / 2; k++)
            element(&m, s, 0)[k] = mix(s, k) | 1;
    for (uint32_t n = 0; n < g->node_count; n++)
        if (!g->nodes[n].dead)
            execute(&m, &g->nodes[n], &step);
    for (uint32_t s = 0; s < g->storage_count; s++)
        for (uint64_t k = 0; g->storages[s].pinned && g->storages[s].rows && k < plan->places[s].size / 2; k++)
            h = mix(h, element(&m, s, 0)[k]);
    *bytes = plan->bytes;
    free(m.memory);
    free(m.blocks);
    bl_plan_destroy(&plan);
    return h;
}

/* --- what the new list has to be ---------------------------------------------------------------------------------------- */

static bool same_problem(const bl_node *a, const bl_node *b) { return a->op == b->op && !memcmp(&a->p, &b->p, sizeof(a->p)); }

/* Whether two tensors share elements of a storage: rows and columns that both have. */
static bool share(const bl_graph *g, bl_value x, bl_value y)
{
    const bl_tensor *a = &g->tensors[x], *b = &g->tensors[y];
    const uint32_t width = (uint32_t)g->storages[a->storage].width;
    const uint32_t a_rows = a->view.stride ? a->shape.n * a->shape.h * a->shape.w : 1;
    const uint32_t b_rows = b->view.stride ? b->shape.n * b->shape.h * b->shape.w : 1;
    return a->storage == b->storage && a->view.off / width < b->view.off / width + b_rows &&
        b->view.off / width < a->view.off / width + a_rows && a->view.off % width < b->view.off % width + b->shape.c &&
        b->view.off % width < a->view.off % width + a->shape.c;
}

static bool reads(const bl_graph *g, const bl_node *n, bl_value x)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t count = n->dead ? 0 : bl_op_operands(n->op, o);
    for (uint32_t i = 0; i < count; i++)
        if (n->operands[i] != BL_NONE && (o[i].access & BL_READ) && share(g, n->operands[i], x))
            return true;
    return false;
}

/* Whether node n writes something that is kept or that a later node reads. */
static bool is_used(const bl_graph *g, uint32_t n)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t count = bl_op_operands(g->nodes[n].op, o);
    bool used = !count;
    for (uint32_t i = 0; i < count; i++) {
        const bl_value y = g->nodes[n].operands[i];
        if (y == BL_NONE || !(o[i].access & BL_WRITE))
            continue;
        used = used || g->storages[g->tensors[y].storage].pinned;
        for (uint32_t m = n + 1; m < g->node_count && !used; m++)
            used = reads(g, &g->nodes[m], y);
    }
    return used;
}

static uint32_t live_nodes(const bl_graph *g, bl_op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->node_count; i++)
        n += !g->nodes[i].dead && (op == BL_OP_COUNT || g->nodes[i].op == op);
    return n;
}

/* Nodes that write the same elements as an earlier one. */
static uint32_t rewrites(const bl_graph *g)
{
    uint32_t found = 0;
    for (uint32_t n = 0; n < g->node_count; n++)
        for (uint32_t m = 0; m < n; m++) {
            bl_operand o[BL_MAX_OPERANDS], q[BL_MAX_OPERANDS];
            const uint32_t count = g->nodes[n].dead || g->nodes[m].dead ? 0 : bl_op_operands(g->nodes[n].op, o);
            const uint32_t others = bl_op_operands(g->nodes[m].op, q);
            for (uint32_t i = 0; i < count; i++)
                for (uint32_t k = 0; k < others; k++)
                    found += g->nodes[n].operands[i] != BL_NONE && g->nodes[m].operands[k] != BL_NONE && (o[i].access & BL_WRITE) &&
                        (q[k].access & BL_WRITE) && share(g, g->nodes[n].operands[i], g->nodes[m].operands[k]);
        }
    return found;
}

/* No node runs for nothing that did not before, none that changes the state of a run does so twice. Returns how many nodes ran once, but
 * later than before. */
static uint32_t inspect(const bl_graph *g, const bl_graph *before, uint32_t forward)
{
    uint32_t moved = 0;
    for (uint32_t n = 0; n < g->node_count; n++) {
        const bl_node *node = &g->nodes[n], *old = n < forward ? &before->nodes[n] : NULL;
        if (old)
            assert_true(same_problem(node, old) && node->dead >= old->dead);
        moved += old && node->dead && !old->dead;
        if (!node->dead && !is_used(g, n) && !(old && !is_used(before, n)))
            fail_msg("node %u of %u, %s, runs for nothing", n, g->node_count, bl_op_infos[node->op].name);
    }
    assert_int_equal(live_nodes(g, BL_OP_scheduler_step_fwd), live_nodes(before, BL_OP_scheduler_step_fwd));
    assert_int_equal(live_nodes(g, BL_OP_step_next_fwd), live_nodes(before, BL_OP_step_next_fwd));
    assert_int_equal(rewrites(g), rewrites(before));
    return moved;
}

/* Results of a network for every number of segments; the least memory of it all. */
static void compare(void (*make)(bl_graph *), bl_dtype type, uint64_t *whole, uint64_t *least, uint32_t *more, uint32_t *moved)
{
    uint64_t expected = 0, bytes;
    *least = UINT64_MAX;
    *more = 0;
    const uint64_t seed = rng;
    for (size_t i = 0; i < BL_COUNT(counts); i++) {
        uint32_t forward;
        rng = seed;
        bl_graph *before = build(make, type, &forward);
        rng = seed;
        bl_graph *g = build(make, type, &forward);
        if (bl_graph_recompute(g, forward, counts[i]) != BL_OK)
            fail_msg("%s", bl_last_error());
        *moved += inspect(g, before, forward);
        *more = BL_MAX(*more, live_nodes(g, BL_OP_COUNT) - live_nodes(before, BL_OP_COUNT));
        const uint64_t h = outcome(g, &bytes);
        if (i == 0) {
            expected = h;
            *whole = bytes;
            assert_int_equal(g->node_count, before->node_count);
        }
        if (h != expected)
            fail_msg("%u segments change the result", counts[i]);
        *least = BL_MIN(*least, bytes);
        bl_graph_destroy(&g);
        bl_graph_destroy(&before);
    }
}

static void networks_keep_their_results(void **state)
{
    (void)state;
    static const double most[] = { 0.35, 0.65, 0.65, 0.65, 0.65 }; /* of the memory without; parameters are inputs, a part of it, here */
    for (size_t i = 0; i < BL_COUNT(networks); i++)
        for (int type = BL_F32; type <= BL_F16; type++) {
            uint64_t whole, least;
            uint32_t more, moved = 0;
            compare(networks[i], (bl_dtype)type, &whole, &least, &more, &moved);
            print_message("network %zu, %s: %.0f of %.0f KiB, at most %u nodes more\n", i, bl_dtype_name((bl_dtype)type),
                          (double)least / 1024, (double)whole / 1024, more);
            assert_true((double)least <= most[i] * (double)whole);
        }
}

static void random_graphs_keep_their_results(void **state)
{
    (void)state;
    uint32_t cheaper = 0, seeds = 0, nodes = 0, moved = 0;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        uint64_t whole, least;
        uint32_t more;
        rng = seed;
        compare(random_graph, seed % 3 ? BL_F32 : BL_F16, &whole, &least, &more, &moved);
        cheaper += least < whole;
        nodes += more;
        seeds++;
    }
    print_message("%u of %u random graphs need less memory, with %u nodes more; %u run later\n", cheaper, seeds, nodes, moved);
    assert_true(cheaper > seeds / 2 && nodes > 500 && moved > 50);
}

/* A chain of 48 in four: the last quarter is there, each of the others is computed again but for its last, which the next begins with. */
static void a_chain_is_cut_evenly(void **state)
{
    (void)state;
    uint32_t forward;
    bl_plan *plan = NULL;
    bl_graph *g = build(chain, BL_F32, &forward);
    const uint32_t nodes = g->node_count;
    assert_int_equal(bl_graph_recompute(g, forward, 4), BL_OK);
    assert_in_range(g->node_count - nodes, 3 * 11 - 3, 3 * 11 + 3);
    assert_int_equal(bl_plan_create(g, 1 << 22, &plan), BL_OK);
    assert_in_range(plan->bytes / (16 * 16 * 16 * 4), 12 + 3, 12 + 3 + 5); /* a quarter, borders, and what the gradient works with */
    bl_plan_destroy(&plan);
    bl_graph_destroy(&g);
}

/* --- within a limit --------------------------------------------------------------------------------------------------- */

static void plans_fit_where_they_can(void **state)
{
    (void)state;
    uint64_t whole = 0, least = UINT64_MAX;
    uint32_t last = 1;
    for (uint32_t step = 0; step <= 12; step++) {
        uint32_t forward, segments;
        bl_plan *plan = NULL;
        bl_graph *g = build(residual, BL_F32, &forward);
        const uint32_t nodes = g->node_count, tensors = g->tensor_count;
        const uint64_t limit = step == 0 ? UINT64_MAX : step == 12 ? 0 : whole - whole / 16 * step;
        assert_int_equal(bl_plan_within(g, forward, 1 << 22, limit, &plan, &segments), BL_OK);
        if (step == 0) {
            whole = plan->bytes;
            assert_true(segments == 1 && g->node_count == nodes && g->tensor_count == tensors);
        }
        assert_true(segments >= last && (plan->bytes <= limit || segments > 1));
        assert_true(segments == 1 || g->node_count > nodes);
        if (step < 3)
            assert_true(plan->bytes <= limit);
        assert_int_equal(plan->place_count, g->storage_count);
        bl_graph *again = build(residual, BL_F32, &forward);
        assert_int_equal(bl_graph_recompute(again, forward, segments), BL_OK);
        assert_true(again->node_count == g->node_count && again->tensor_count == g->tensor_count &&
                    again->storage_count == g->storage_count);
        bl_graph_destroy(&again);
        last = segments;
        least = BL_MIN(least, plan->bytes);
        if (step == 12)
            assert_int_equal(plan->bytes, least);
        bl_plan_destroy(&plan);
        bl_graph_destroy(&g);
    }
    assert_true(last > 1 && least < whole);
}

static void nothing_to_recompute(void **state)
{
    (void)state;
    uint32_t forward, segments;
    bl_plan *plan = NULL;
    bl_graph *g = build(residual, BL_F32, &forward);
    const uint32_t nodes = g->node_count;
    assert_int_equal(bl_plan_within(g, 0, 1 << 22, 0, &plan, &segments), BL_OK);
    assert_true(segments == 1 && g->node_count == nodes);
    bl_plan_destroy(&plan);
    assert_int_equal(bl_graph_recompute(g, nodes, 4), BL_OK); /* nobody reads behind */
    assert_int_equal(g->node_count, nodes);
    assert_int_equal(bl_plan_within(g, forward, 1024, 0, &plan, &segments), BL_ERROR_MEMORY);
    assert_null(plan);
    assert_int_equal(g->node_count, nodes);
    bl_graph_fail(g, BL_ERROR_MODEL, "a reason");
    assert_int_equal(bl_graph_recompute(g, forward, 4), BL_ERROR_MODEL);
    bl_graph_destroy(&g);
}

static int allocations_left;
static void *limited_resize(void *p, size_t size) { return allocations_left-- > 0 ? realloc(p, size) : NULL; }

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    bool done = false;
    int n = 0;
    for (; !done && n < 10000; n++) {
        uint32_t forward, segments;
        bl_plan *plan = NULL;
        bl_graph *g = build(chain, BL_F32, &forward);
        allocations_left = n;
        bl_memory.resize = limited_resize;
        const bl_result r = bl_plan_within(g, forward, 1 << 22, 0, &plan, &segments);
        bl_memory = before;
        done = r == BL_OK;
        if (!done && r != BL_ERROR_MEMORY)
            fail_msg("allocation %d failing gives %s: %s", n, bl_result_name(r), bl_last_error());
        assert_true(done == (plan != NULL));
        bl_plan_destroy(&plan);
        bl_graph_destroy(&g);
    }
    assert_true(done && n > 100);
}

/* --- on a device -------------------------------------------------------------------------------------------------------- */

static void write_inputs(bl_exec *e, const bl_graph *g)
{
    for (bl_value x = 1; x < g->tensor_count; x++) {
        const bl_tensor *t = &g->tensors[x];
        if (!t->name || strcmp(t->name, "input"))
            continue;
        const size_t count = (size_t)t->shape.n * t->shape.h * t->shape.w * t->shape.c;
        float *data = malloc(count * sizeof(*data));
        for (size_t i = 0; i < count; i++)
            data[i] = ((float)next(2001) / 1000 - 1) / (t->shape.c >= 16 ? 4 : 1); /* of weights: smaller, so that nothing grows */
        assert_int_equal(bl_exec_write(e, x, data, count), BL_OK);
        free(data);
    }
}

/* Everything that is kept and is no input, after a run; the caller frees it. */
static float *run(bl_graph *g, size_t *count)
{
    bl_plan *plan = NULL;
    bl_exec *e = NULL;
    float *data = NULL;
    *count = 0;
    assert_int_equal(bl_plan_create(g, bl_block_limit(device), &plan), BL_OK);
    if (bl_exec_create_planned(kernels, stream, g, &plan, 1, &e) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_int_equal(bl_exec_set_steps(e, &(struct bl_step){ .t = 7, .in_scale = 1 }, 1), BL_OK);
    rng = 5;
    write_inputs(e, g);
    assert_int_equal(bl_exec_run(e), BL_OK);
    for (uint32_t s = 0; s < g->storage_count; s++) {
        bl_value x = 1; /* the first tensor of a storage that is all of it */
        while (x < g->tensor_count && g->tensors[x].storage != s)
            x++;
        if (!g->storages[s].pinned || !g->storages[s].rows || x == g->tensor_count || g->tensors[x].shape.c != g->storages[s].width ||
            (g->tensors[x].name && !strcmp(g->tensors[x].name, "input")))
            continue;
        const bl_shape shape = g->tensors[x].shape;
        const size_t more = (size_t)shape.n * shape.h * shape.w * shape.c;
        data = realloc(data, (*count + more) * sizeof(*data));
        if (bl_exec_read(e, x, data + *count, more) != BL_OK)
            fail_msg("%s", bl_last_error());
        *count += more;
    }
    bl_exec_destroy(&e);
    return data;
}

/* With the gradient of everything it computes, as far as it goes; *forward is where that begins. */
static bl_graph *build_gradient(void (*make)(bl_graph *), bl_dtype type, uint32_t *forward)
{
    bl_graph *g = NULL;
    assert_int_equal(bl_graph_create(type, false, &g), BL_OK);
    make(g);
    *forward = g->node_count;
    const bl_node *last = &g->nodes[g->node_count - 1];
    bl_operand o[BL_MAX_OPERANDS];
    const bl_value y = last->operands[bl_op_operands(last->op, o) - 1], x = 1; /* the last output, the first input */
    const bl_value gradient = input(g, bl_graph_shape(g, y).n, bl_graph_shape(g, y).h, bl_graph_shape(g, y).w, bl_graph_shape(g, y).c);
    bl_value d;
    bl_graph_gradient(g, &(bl_seed){ .y = y, .gradient = gradient, .scale = 1 }, 1, &x, &d, 1);
    bl_graph_keep(g, d);
    if (bl_graph_check(g) != BL_OK || bl_graph_fuse(g) != BL_OK)
        fail_msg("%s", bl_last_error());
    return g;
}

typedef bl_graph *builder(void (*make)(bl_graph *), bl_dtype type, uint32_t *forward);

static void same_bytes(builder *make, void (*network)(bl_graph *), bl_dtype type, const uint32_t *segments, size_t count)
{
    float *expected = NULL;
    size_t values = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t forward;
        size_t n;
        rng = 1;
        bl_graph *g = make(network, type, &forward);
        const uint32_t nodes = g->node_count;
        assert_int_equal(bl_graph_recompute(g, forward, segments[i]), BL_OK);
        assert_true(segments[i] == 1 || g->node_count > nodes);
        float *found = run(g, &n);
        if (!expected) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += (double)found[k] * (double)found[k];
            assert_true(n > 0 && sum > 0 && sum < 1e12); /* finite, and not all zero */
            values = n;
            expected = found;
        } else {
            assert_int_equal(n, values);
            assert_memory_equal(found, expected, n * sizeof(*found));
            free(found);
        }
        bl_graph_destroy(&g);
    }
    free(expected);
}

static void devices_compute_the_same_bytes(void **state)
{
    (void)state;
    need_device();
    static const uint32_t few[] = { 1, 2, 5, 1000 };
    for (size_t i = 0; i < BL_COUNT(networks); i++)
        for (int type = BL_F32; type <= (device->caps & BL_CAP_S16 ? BL_F16 : BL_F32); type++)
            same_bytes(build, networks[i], (bl_dtype)type, few, BL_COUNT(few));
}

static void gradients_keep_their_bytes(void **state)
{
    (void)state;
    need_device();
    static const uint32_t few[] = { 1, 3, 8 };
    for (size_t i = 0; i < BL_COUNT(networks); i++)
        same_bytes(build_gradient, networks[i], BL_F32, few, BL_COUNT(few));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_keep_their_results), cmocka_unit_test(random_graphs_keep_their_results),
        cmocka_unit_test(a_chain_is_cut_evenly), cmocka_unit_test(plans_fit_where_they_can), cmocka_unit_test(nothing_to_recompute),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(devices_compute_the_same_bytes), cmocka_unit_test(gradients_keep_their_bytes),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
