/* Graph, fusion, plan and execution on small networks of every shape that the models use. */
#include "device_session.h"
#include "exec.h"
#include "half.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t rng = 7;
static uint32_t next(uint32_t n)
{
    rng = rng * 1664525u + 1013904223u;
    return (rng >> 8) % n;
}

/* --- building --------------------------------------------------------------------------------------------------------- */

enum { MAX_INPUTS = 64 };
typedef struct net {
    bl_graph *g;
    bl_value inputs[MAX_INPUTS];
    uint32_t count;
} net;

static bl_value input(net *n, uint32_t images, uint32_t h, uint32_t w, uint32_t c)
{
    char name[16];
    snprintf(name, sizeof(name), "input%u", n->count);
    return n->inputs[n->count++] = bl_graph_input(n->g, name, (bl_shape){ images, h, w, c }, n->g->type);
}

static bl_value conv(net *n, bl_value x, uint32_t out)
{
    const uint32_t in = bl_graph_shape(n->g, x).c;
    return bl_graph_conv(n->g, x, input(n, 1, 1, out, 9 * in), input(n, 1, 1, 1, out), 3, 1, false);
}

static bl_value linear(net *n, bl_value x, uint32_t out)
{
    return bl_graph_linear(n->g, x, input(n, 1, 1, out, bl_graph_shape(n->g, x).c), input(n, 1, 1, 1, out));
}

static bl_value norm(net *n, bl_value x)
{
    const uint32_t c = bl_graph_shape(n->g, x).c;
    return bl_graph_group_norm(n->g, x, input(n, 1, 1, 1, c), input(n, 1, 1, 1, c), 2, 1e-5f);
}

/* Everything that fuses: norm and SiLU, convolution with time embedding and residual, upsampling, a concatenated skip. */
static bl_value build(net *n, bl_value *concat)
{
    bl_graph *g = n->g;
    const bl_value x = bl_graph_name(g, conv(n, input(n, 2, 6, 10, 4), 8), "skip");
    const bl_value emb = bl_graph_activation(g, linear(n, input(n, 1, 1, 1, 12), 8), ACT_SILU);
    bl_value h = bl_graph_name(g, norm(n, x), "norm");
    h = bl_graph_name(g, bl_graph_activation(g, h, ACT_SILU), "silu");
    h = bl_graph_name(g, conv(n, h, 8), "conv");
    h = bl_graph_name(g, bl_graph_add(g, h, emb), "time");
    h = bl_graph_name(g, bl_graph_add(g, x, h), "residual");
    h = bl_graph_name(g, linear(n, h, 12), "linear");
    h = bl_graph_name(g, bl_graph_activation(g, h, ACT_QUICK_GELU), "gelu");
    *concat = bl_graph_concat(g, h, x);
    h = bl_graph_name(g, bl_graph_upsample(g, *concat), "up");
    h = bl_graph_name(g, conv(n, h, 8), "last");
    return bl_graph_keep(g, h);
}

static uint32_t live_nodes(const bl_graph *g, bl_op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->node_count; i++)
        n += !g->nodes[i].dead && (op == BL_OP_COUNT || g->nodes[i].op == op);
    return n;
}

static void fusion_merges_what_it_can(void **state)
{
    (void)state;
    net n = { 0 };
    bl_value concat;
    assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
    build(&n, &concat);
    assert_int_equal(bl_graph_check(n.g), BL_OK);
    assert_int_equal(live_nodes(n.g, BL_OP_copy_fwd), 0); /* the concatenation costs nothing */
    assert_int_equal(bl_graph_fuse(n.g), BL_OK);
    assert_int_equal(live_nodes(n.g, BL_OP_activation_fwd), 0);
    assert_int_equal(live_nodes(n.g, BL_OP_add_fwd), 0);
    assert_int_equal(live_nodes(n.g, BL_OP_upsample_fwd), 0);
    assert_int_equal(live_nodes(n.g, BL_OP_COUNT), 3 + 3 + 1 + 1); /* 3 convolutions, 3 of a norm, 2 products */
    bl_graph_destroy(&n.g);
}

/* Runs and destroys a network, inputs seeded; the caller frees the result. */
static float *run(net *n, bl_value y, size_t *count)
{
    bl_exec *exec = NULL;
    if (bl_exec_create(kernels, stream, n->g, 0, &exec) != BL_OK)
        fail_msg("%s", bl_last_error());
    rng = 7;
    for (uint32_t i = 0; i < n->count; i++) {
        const bl_shape s = bl_graph_shape(n->g, n->inputs[i]);
        const size_t values = (size_t)s.n * s.h * s.w * s.c;
        float *in = malloc(values * sizeof(*in));
        for (size_t k = 0; k < values; k++)
            in[k] = (float)next(2001) / 1000 - 1;
        assert_int_equal(bl_exec_write(exec, n->inputs[i], in, values), BL_OK);
        free(in);
    }
    const bl_shape s = bl_graph_shape(n->g, y);
    *count = (size_t)s.n * s.h * s.w * s.c;
    float *data = malloc(2 * *count * sizeof(*data));
    for (int i = 0; i < 2; i++) { /* twice: a replay gives the same */
        assert_int_equal(bl_exec_run(exec), BL_OK);
        assert_int_equal(bl_exec_read(exec, y, data + (size_t)i * *count, *count), BL_OK);
    }
    assert_memory_equal(data, data + *count, *count * sizeof(*data));
    bl_exec_destroy(&exec);
    bl_graph_destroy(&n->g);
    return data;
}

/* The same numbers, and not all zero. Frees both. */
static void assert_same(float *a, float *b, size_t count)
{
    double sum = 0;
    assert_memory_equal(a, b, count * sizeof(*a));
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)a[i];
    assert_true(sum > 0.01 * (double)count);
    free(a);
    free(b);
}

static void fusion_keeps_the_bytes(void **state)
{
    (void)state;
    float *result[2];
    size_t count[2];
    need_device();
    for (int plain = 0; plain < 2; plain++) {
        net n = { 0 };
        bl_value concat;
        assert_int_equal(bl_graph_create(BL_F32, plain, &n.g), BL_OK);
        result[plain] = run(&n, build(&n, &concat), &count[plain]);
    }
    assert_int_equal(count[0], count[1]);
    assert_same(result[0], result[1], count[0]);
}

/* The gradient of a layer norm at x, where g arrives: a node of reverse mode, made of a forward one. */
static bl_value norm_gradient(net *n, bl_value x, bl_value g)
{
    const bl_shape s = bl_graph_shape(n->g, x);
    const bl_value w = input(n, 1, 1, 1, s.c), d = bl_graph_layer_norm(n->g, x, w, w, 1e-5f);
    bl_node *node = &n->g->nodes[n->g->node_count - 1];
    *node = (bl_node){ .op = BL_OP_layer_norm_bwd_x, .type = n->g->type, .operands = { x, w, g, BL_NONE, d },
        .p.layer_norm_bwd_x = { .rows = s.n * s.h * s.w, .channels = s.c, .eps = 1e-5f } };
    return d;
}

/* The same of a product whose input is as wide as its output. */
static bl_value product_gradient(net *n, bl_value g)
{
    const bl_shape s = bl_graph_shape(n->g, g);
    const bl_value w = input(n, 1, 1, s.c, s.c), d = bl_graph_linear(n->g, g, w, BL_NONE);
    bl_node *node = &n->g->nodes[n->g->node_count - 1];
    *node = (bl_node){ .op = BL_OP_matmul_bwd_x, .type = n->g->type, .operands = { g, w, BL_NONE, d },
        .p.matmul_bwd_x = { .m = s.n * s.h * s.w, .n = s.c, .k = s.c } };
    return d;
}

enum { NO_RESIDUAL, NOT_YET_MADE, NOT_YET_MADE_VIEW, KEPT, SEEN_THROUGH_A_VIEW, TWICE, PER_IMAGE, MERGES, MERGES_VIEW, MERGES_THREE,
       MERGES_PRODUCT, SUMS };

/* Sums of gradients: those before MERGES stay. */
static bl_value build_sum(net *n, int what)
{
    bl_graph *g = n->g;
    const bl_value x = input(n, 2, 5, 1, 8), other = bl_graph_activation(g, input(n, 2, 5, 1, 8), ACT_SILU);
    const bl_value d = what == NO_RESIDUAL ? bl_graph_geglu(g, input(n, 2, 5, 1, 16)) : norm_gradient(n, x, other);
    const bl_value view = bl_graph_channels(g, bl_graph_activation(g, input(n, 2, 5, 1, 12), ACT_SILU), 2, 8);
    switch (what) {
    case NOT_YET_MADE: return bl_graph_add(g, d, bl_graph_activation(g, x, ACT_GELU));
    case NOT_YET_MADE_VIEW: return bl_graph_add(g, d, view);
    case KEPT: return bl_graph_add(g, other, bl_graph_keep(g, d));
    case SEEN_THROUGH_A_VIEW: return bl_graph_add(g, other, bl_graph_reshape(g, d, 2, 5, 1));
    case TWICE: return bl_graph_add(g, d, d);
    case PER_IMAGE: return bl_graph_add(g, d, input(n, 2, 1, 1, 8));
    case MERGES_VIEW: return bl_graph_add(g, norm_gradient(n, d, other), view);
    case MERGES_THREE: return bl_graph_add(g, norm_gradient(n, other, x), bl_graph_add(g, d, other));
    case MERGES_PRODUCT: return bl_graph_add(g, product_gradient(n, other), d);
    default: return bl_graph_add(g, other, d);
    }
}

static void sums_join_the_gradient_made_last(void **state)
{
    (void)state;
    for (int what = 0; what < SUMS; what++) {
        net n = { 0 };
        assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
        bl_graph_keep(n.g, build_sum(&n, what));
        assert_int_equal(bl_graph_fuse(n.g), BL_OK);
        if (live_nodes(n.g, BL_OP_add_fwd) != (what < MERGES))
            fail_msg("sum %d: %u additions are left", what, live_nodes(n.g, BL_OP_add_fwd));
        for (uint32_t i = 0; i < n.g->node_count; i++) {
            const bl_node *node = &n.g->nodes[i];
            if (node->op == BL_OP_layer_norm_bwd_x)
                assert_int_equal(bl_graph_params(n.g, node).layer_norm_bwd_x.given, node->operands[3] == BL_NONE ? 0 : 1 << 3);
        }
        bl_graph_destroy(&n.g);
    }
}

static void sums_keep_the_bytes(void **state)
{
    (void)state;
    need_device();
    for (int what = 0; what < SUMS; what++) {
        float *result[2];
        size_t count;
        for (int plain = 0; plain < 2; plain++) {
            net n = { 0 };
            assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
            const bl_value y = bl_graph_keep(n.g, build_sum(&n, what));
            for (bl_value i = 1; plain && i < n.g->tensor_count; i++)
                bl_graph_keep(n.g, i);
            result[plain] = run(&n, y, &count);
        }
        assert_same(result[0], result[1], count);
    }
}

/* What bl_op_given says, extents show. */
static void every_optional_operand_has_its_bit(void **state)
{
    (void)state;
    for (bl_op op = 0; op < BL_OP_COUNT; op++) {
        bl_operand o[BL_MAX_OPERANDS];
        const uint32_t count = bl_op_operands(op, o);
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t there = 0; o[i].optional && there < 2; there++) {
                bl_params p = bl_op_infos[op].cases[0].p;
                bl_extent e[BL_MAX_OPERANDS] = { 0 };
                *bl_op_given(op, &p) = there << i;
                bl_op_infos[op].extents(&p, e);
                if ((e[i].rows > 0) != there)
                    fail_msg("%s: operand %c, given %u, has %u rows", bl_op_infos[op].name, o[i].name, there, e[i].rows);
            }
    }
}

/* --- planning --------------------------------------------------------------------------------------------------------- */

/* A random network of additions, products and concatenations over tensors of many sizes. */
static void random_graph(net *n)
{
    bl_value alive[8];
    for (size_t i = 0; i < BL_COUNT(alive); i++)
        alive[i] = input(n, 1, 1 + next(40), 1, 8);
    for (int i = 0; i < 120; i++) {
        const size_t at = next(BL_COUNT(alive));
        const bl_value x = alive[at];
        switch (next(3)) {
        case 0: alive[at] = bl_graph_activation(n->g, x, ACT_SILU); break;
        case 1: alive[at] = bl_graph_add(n->g, x, bl_graph_activation(n->g, x, ACT_GELU)); break;
        default: alive[at] = bl_graph_channels(n->g, bl_graph_concat(n->g, x, bl_graph_activation(n->g, x, ACT_SILU)), 0, 8); break;
        }
        if (!next(8))
            bl_graph_keep(n->g, alive[at]);
    }
}

static void planned_tensors_never_overlap(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        net n = { 0 };
        bl_plan *plan = NULL;
        rng = seed;
        const uint64_t limit = seed % 2 ? 1 << 20 : 8192; /* one block, or many */
        assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
        random_graph(&n);
        if (seed % 3 == 0)
            assert_int_equal(bl_graph_fuse(n.g), BL_OK);
        assert_int_equal(bl_plan_create(n.g, limit, &plan), BL_OK);
        uint64_t sum = 0;
        for (uint32_t i = 0; i < plan->place_count; i++) {
            const bl_place *a = &plan->places[i];
            if (!a->planned)
                continue;
            sum += a->size;
            assert_int_equal(a->offset % BL_SLICE_ALIGNMENT, 0);
            assert_true(a->offset + a->size <= plan->blocks[a->block] && plan->blocks[a->block] <= limit);
            for (uint32_t j = 0; j < i; j++) {
                const bl_place *b = &plan->places[j];
                const bool together = b->planned && a->root != b->root && a->block == b->block && a->first <= b->last &&
                    b->first <= a->last;
                assert_false(together && a->offset < b->offset + b->size && b->offset < a->offset + a->size);
            }
        }
        assert_true(plan->bytes < sum + (uint64_t)plan->place_count * BL_SLICE_ALIGNMENT); /* memory is reused */
        bl_plan_destroy(&plan);
        bl_graph_destroy(&n.g);
    }
}

static void plan_refuses_a_tensor_larger_than_a_block(void **state)
{
    (void)state;
    net n = { 0 };
    bl_plan *plan = NULL;
    assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
    bl_graph_keep(n.g, bl_graph_activation(n.g, input(&n, 1, 100, 1, 8), ACT_SILU));
    assert_int_equal(bl_plan_create(n.g, 2048, &plan), BL_ERROR_MEMORY);
    assert_null(plan);
    bl_graph_destroy(&n.g);
}

static void reuse_makes_a_chain_cheap(void **state)
{
    (void)state;
    net n = { 0 };
    bl_plan *plan = NULL;
    assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
    bl_value x = input(&n, 1, 64, 1, 64);
    for (int i = 0; i < 50; i++)
        x = bl_graph_activation(n.g, x, ACT_SILU);
    assert_int_equal(bl_plan_create(n.g, 1 << 30, &plan), BL_OK);
    assert_int_equal(plan->bytes, 2 * 64 * 64 * 4); /* the input, and one that is written over and over */
    bl_plan_destroy(&plan);
    bl_graph_destroy(&n.g);
}

/* --- hazards ---------------------------------------------------------------------------------------------------------- */

static uint32_t barriers_of(void (*make)(net *))
{
    net n = { 0 };
    bl_exec *exec = NULL;
    assert_int_equal(bl_graph_create(BL_F32, true, &n.g), BL_OK); /* nothing fused, nothing reused */
    make(&n);
    if (bl_exec_create(kernels, stream, n.g, 0, &exec) != BL_OK)
        fail_msg("%s", bl_last_error());
    const bl_record *r = bl_exec_record(exec);
    uint32_t barriers = 0;
    for (uint32_t i = 0; i < r->count; i++)
        barriers += r->list[i].barrier && !r->list[i].begins;
    bl_exec_destroy(&exec);
    bl_graph_destroy(&n.g);
    return barriers;
}

static void make_independent(net *n)
{
    const bl_value x = input(n, 1, 8, 1, 8);
    for (int i = 0; i < 5; i++)
        bl_graph_name(n->g, bl_graph_activation(n->g, x, ACT_SILU), "y%d", i);
}

static void make_chain(net *n)
{
    bl_value x = input(n, 1, 8, 1, 8);
    for (int i = 0; i < 5; i++)
        x = bl_graph_name(n->g, bl_graph_activation(n->g, x, ACT_SILU), "y%d", i);
}

/* Two halves of one tensor, written side by side, then read together. */
static void make_halves(net *n)
{
    const bl_value x = input(n, 1, 8, 1, 8);
    const bl_value a = bl_graph_activation(n->g, x, ACT_SILU), b = bl_graph_activation(n->g, x, ACT_GELU);
    bl_graph_name(n->g, bl_graph_activation(n->g, bl_graph_concat(n->g, a, b), ACT_SILU), "y");
}

static void barriers_are_the_needed_ones(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(barriers_of(make_independent), 0);
    assert_int_equal(barriers_of(make_chain), 4);
    assert_int_equal(barriers_of(make_halves), 1);
}

/* --- failures --------------------------------------------------------------------------------------------------------- */

static void builders_keep_the_first_failure(void **state)
{
    (void)state;
    const struct { const char *message; int what; } cases[] = {
        { "linear: 8 channels into a 8 x 12 matrix", 0 }, { "conv: 8 channels", 1 }, { "group_norm: 8 channels in 3 groups", 2 },
        { "attention: ", 3 }, { "add: ", 4 }, { "channels 4+8 of 8", 5 }, { "reshape", 6 }, { "too large", 7 }, { "geglu: 7", 8 },
        { "concatenation of", 9 }, { "operand 0 is missing", 10 }, { "images 1+1 of 1", 11 }, { "guidance: 2 branches of 1", 12 },
        { "too small", 13 },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        net n = { 0 };
        assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
        bl_graph *g = n.g;
        const bl_value x = input(&n, 1, 4, 4, 8), odd = input(&n, 1, 4, 4, 7), v = input(&n, 1, 1, 1, 8), m = input(&n, 1, 1, 8, 12);
        switch (cases[i].what) {
        case 0: bl_graph_linear(g, x, m, BL_NONE); break;
        case 1: bl_graph_conv(g, x, m, BL_NONE, 3, 1, false); break;
        case 2: bl_graph_group_norm(g, x, v, v, 3, 1e-5f); break;
        case 3: bl_graph_attention(g, x, x, odd, 2, false); break;
        case 4: bl_graph_add(g, x, odd); break;
        case 5: bl_graph_channels(g, x, 4, 8); break;
        case 6: bl_graph_reshape(g, x, 1, 5, 4); break;
        case 7: input(&n, 1000, 1000, 1000, 1000); break;
        case 8: bl_graph_geglu(g, odd); break;
        case 9: bl_graph_concat(g, x, v); break;
        case 10: bl_graph_activation(g, BL_NONE, ACT_SILU); break;
        case 11: bl_graph_images(g, x, 1, 1); break;
        case 12: bl_graph_guidance(g, x, 2); break;
        default: bl_graph_conv(g, input(&n, 1, 1, 1, 8), input(&n, 1, 1, 8, 72), BL_NONE, 3, 2, true); break;
        }
        assert_int_equal(bl_graph_activation(g, x, ACT_SILU), BL_NONE); /* nothing more is built */
        assert_int_equal(bl_graph_check(g), BL_ERROR_USAGE);
        if (!strstr(bl_last_error(), cases[i].message))
            fail_msg("\"%s\" lacks \"%s\"", bl_last_error(), cases[i].message);
        bl_graph_destroy(&g);
    }
}

static int allocations_left;
static void *limited_resize(void *p, size_t size) { return allocations_left-- > 0 ? realloc(p, size) : NULL; }

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    bl_memory.resize = limited_resize;
    bool done = false;
    int n = 0;
    for (; !done && n < 10000; n++) {
        net t = { 0 };
        bl_plan *plan = NULL;
        bl_value concat;
        allocations_left = n;
        bl_result r = bl_graph_create(BL_F32, false, &t.g);
        if (r == BL_OK) {
            build(&t, &concat);
            r = bl_graph_fuse(t.g);
        }
        if (r == BL_OK)
            r = bl_plan_create(t.g, 1 << 20, &plan);
        done = r == BL_OK;
        if (!done && r != BL_ERROR_MEMORY)
            fail_msg("allocation %d failing gives %s: %s", n, bl_result_name(r), bl_last_error());
        bl_plan_destroy(&plan);
        bl_graph_destroy(&t.g);
    }
    bl_memory = before;
    assert_true(done && n > 20);
}

static void copies_refuse_wrong_counts(void **state)
{
    (void)state;
    need_device();
    net n = { 0 };
    bl_exec *exec = NULL;
    float data[64] = { 0 };
    assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
    const bl_value x = input(&n, 1, 8, 1, 8), inner = bl_graph_activation(n.g, x, ACT_SILU);
    const bl_value y = bl_graph_keep(n.g, bl_graph_add(n.g, inner, inner));
    assert_int_equal(bl_exec_create(kernels, stream, n.g, 0, &exec), BL_OK);
    assert_int_equal(bl_exec_write(exec, x, data, 63), BL_ERROR_USAGE);
    assert_int_equal(bl_exec_read(exec, inner, data, 64), BL_ERROR_USAGE);
    assert_int_equal(bl_exec_read(exec, 12345, data, 64), BL_ERROR_USAGE);
    assert_int_equal(bl_exec_set_steps(exec, &(struct bl_step){ 0 }, 1), BL_ERROR_USAGE);
    assert_int_equal(bl_exec_write(exec, x, data, 64), BL_OK);
    assert_int_equal(bl_exec_run(exec), BL_OK);
    assert_int_equal(bl_exec_read(exec, y, data, 64), BL_OK);
    bl_exec_destroy(&exec);
    bl_graph_destroy(&n.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fusion_merges_what_it_can), cmocka_unit_test(fusion_keeps_the_bytes),
        cmocka_unit_test(sums_join_the_gradient_made_last), cmocka_unit_test(sums_keep_the_bytes),
        cmocka_unit_test(every_optional_operand_has_its_bit),
        cmocka_unit_test(planned_tensors_never_overlap),
        cmocka_unit_test(plan_refuses_a_tensor_larger_than_a_block), cmocka_unit_test(reuse_makes_a_chain_cheap),
        cmocka_unit_test(barriers_are_the_needed_ones), cmocka_unit_test(builders_keep_the_first_failure),
        cmocka_unit_test(every_allocation_may_fail), cmocka_unit_test(copies_refuse_wrong_counts),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
