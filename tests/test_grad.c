/* Reverse mode: gradients of small networks against differences of their forward parts, run with changed inputs; what is built for them. */
#include "device_session.h"
#include "exec.h"
#include "grad.h"
#include "recompute.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- networks ----------------------------------------------------------------------------------------------------------- */

enum { MAX_INPUTS = 64, MAX_ENDS = 4 };

typedef struct net {
    bl_graph *g;
    bool forward;                  /* only that is built, with an input added to every tensor that is asked for */
    bl_value inputs[MAX_INPUTS];
    double mean[MAX_INPUTS], spread[MAX_INPUTS];
    bl_value wrt[MAX_ENDS];        /* what is asked for, and the inputs that change it */
    bl_seed seeds[MAX_ENDS];
    uint32_t count, wrt_count, seed_count;
} net;

static bl_value constant(net *n, bl_shape s, double mean, double spread, bl_dtype type)
{
    char name[16];
    assert_true(n->count < MAX_INPUTS);
    snprintf(name, sizeof(name), "input%u", n->count);
    n->mean[n->count] = mean;
    n->spread[n->count] = spread;
    return n->inputs[n->count++] = bl_graph_input(n->g, name, s, type);
}

/* An input whose gradient is asked for. */
static bl_value input(net *n, uint32_t images, uint32_t h, uint32_t w, uint32_t c, bl_dtype type)
{
    return n->wrt[n->wrt_count++] = constant(n, (bl_shape){ images, h, w, c }, 0.1, 1, type);
}

/* A tensor whose gradient is asked for. */
static bl_value ask(net *n, bl_value x)
{
    if (!n->forward)
        return n->wrt[n->wrt_count++] = x;
    n->wrt[n->wrt_count++] = constant(n, bl_graph_shape(n->g, x), 0, 0, bl_graph_type(n->g, x));
    return bl_graph_add(n->g, x, n->wrt[n->wrt_count - 1]);
}

static void end(net *n, bl_value loss, float scale)
{
    n->seeds[n->seed_count++] = (bl_seed){ .y = bl_graph_keep(n->g, loss), .scale = scale };
}

/* The loss is the product of y with a given gradient. */
static void end_with(net *n, bl_value y)
{
    const bl_value d = constant(n, bl_graph_shape(n->g, y), 0, 1, bl_graph_type(n->g, y));
    n->seeds[n->seed_count++] = (bl_seed){ .y = n->forward ? bl_graph_keep(n->g, y) : y, .gradient = d };
}

static bl_value row(net *n, uint32_t channels, double mean, double spread)
{
    return constant(n, (bl_shape){ 1, 1, 1, channels }, mean, spread, n->g->type);
}

static bl_value matrix(net *n, uint32_t out, uint32_t in)
{
    return constant(n, (bl_shape){ 1, 1, out, in }, 0, 1.5 / sqrt(in), n->g->type);
}

static bl_value linear(net *n, bl_value x, uint32_t out)
{
    return bl_graph_linear(n->g, x, matrix(n, out, bl_graph_shape(n->g, x).c), row(n, out, 0, 0.5));
}

static bl_value conv(net *n, bl_value x, uint32_t out, uint32_t stride, bool asymmetric)
{
    return bl_graph_conv(n->g, x, matrix(n, out, 9 * bl_graph_shape(n->g, x).c), row(n, out, 0, 0.5), 3, stride, asymmetric);
}

static bl_value group_norm(net *n, bl_value x)
{
    const uint32_t c = bl_graph_shape(n->g, x).c;
    return bl_graph_group_norm(n->g, x, row(n, c, 1, 0.5), row(n, c, 0, 0.5), 2, 1e-5f);
}

static bl_value layer_norm(net *n, bl_value x)
{
    const uint32_t c = bl_graph_shape(n->g, x).c;
    return bl_graph_layer_norm(n->g, x, row(n, c, 1, 0.5), row(n, c, 0, 0.5), 1e-5f);
}

static bl_value resnet(net *n, bl_value x, uint32_t out)
{
    bl_graph *g = n->g;
    const bl_value shortcut = bl_graph_shape(g, x).c == out ? x : linear(n, x, out);
    bl_value h = conv(n, bl_graph_activation(g, group_norm(n, x), ACT_SILU), out, 1, false);
    h = bl_graph_add(g, h, row(n, out, 0, 1)); /* the time */
    h = conv(n, bl_graph_activation(g, group_norm(n, h), ACT_SILU), out, 1, false);
    return bl_graph_add(g, shortcut, h);
}

static bl_value columns(net *n, bl_value x, uint32_t third)
{
    const uint32_t c = bl_graph_shape(n->g, x).c / 3;
    return bl_graph_channels(n->g, x, third * c, c);
}

static bl_value attention(net *n, bl_value x, bool kept, bool causal)
{
    bl_graph *g = n->g;
    const uint32_t c = bl_graph_shape(g, x).c;
    const bl_value qkv = linear(n, layer_norm(n, x), 3 * c), q = columns(n, qkv, 0), k = columns(n, qkv, 1), v = columns(n, qkv, 2);
    const bl_value y = kept ? bl_graph_attention_values(g, bl_graph_attention_probs(g, q, k, 2, causal), v, 2)
        : bl_graph_attention(g, q, k, v, 2, causal);
    return bl_graph_add(g, linear(n, y, c), x);
}

static void make_resnet(net *n)
{
    end_with(n, resnet(n, resnet(n, input(n, 2, 4, 3, 4, BL_F32), 8), 8));
}

/* The last one also reads what the norm of a concatenation reads; one skip is read thrice. */
static void make_skips(net *n)
{
    bl_graph *g = n->g;
    const bl_value x = conv(n, input(n, 1, 6, 4, 4, BL_F32), 4, 1, false), down = conv(n, x, 8, 2, false);
    const bl_value lower = conv(n, bl_graph_activation(g, down, ACT_GELU), 4, 2, true);
    const bl_value up = conv(n, bl_graph_upsample(g, bl_graph_upsample(g, lower)), 4, 1, false);
    const bl_value half = bl_graph_reshape(g, bl_graph_rows(g, x, 0, 16), 1, 4, 4);
    end_with(n, bl_graph_add(g, half, up));
    const bl_value wide = bl_graph_concat(g, bl_graph_upsample(g, conv(n, down, 8, 1, false)), x);
    end_with(n, resnet(n, wide, 4));
}

static void make_transformer(net *n)
{
    bl_value x = linear(n, input(n, 2, 5, 1, 6, BL_F32), 8);
    x = attention(n, attention(n, attention(n, x, false, false), true, false), false, true);
    x = attention(n, x, true, true);
    end_with(n, bl_graph_add(n->g, linear(n, bl_graph_geglu(n->g, linear(n, layer_norm(n, x), 16)), 8), x));
}

/* A tensor read in many ways: twice by one op, by columns of the same and of other widths, in other shapes, by rows. */
static void make_many_readers(net *n)
{
    bl_graph *g = n->g;
    const bl_value x = bl_graph_activation(g, linear(n, input(n, 1, 2, 3, 6, BL_F32), 9), ACT_QUICK_GELU);
    const bl_value left = columns(n, x, 0), again = bl_graph_reshape(g, columns(n, x, 0), 1, 6, 1);
    const bl_value right = bl_graph_reshape(g, columns(n, x, 2), 1, 3, 2);
    end_with(n, bl_graph_add(g, x, x));
    end_with(n, bl_graph_add(g, bl_graph_activation(g, left, ACT_SILU), left));
    end_with(n, bl_graph_add(g, bl_graph_activation(g, again, ACT_GELU), bl_graph_reshape(g, right, 1, 6, 1)));
    const bl_value y = linear(n, x, 4);
    end_with(n, bl_graph_add(g, bl_graph_rows(g, y, 0, 3), bl_graph_activation(g, bl_graph_rows(g, y, 3, 3), ACT_SILU)));
}

/* Two layers of cross-attention with kept probabilities, their mean, and the loss of the published code. */
static bl_value make_maps(net *n, bool mean)
{
    bl_graph *g = n->g;
    const bl_value x = bl_graph_scale(g, input(n, 1, 4, 4, 4, BL_F32), 1, 2, true);
    const bl_value context = input(n, 1, 5, 1, 6, g->type);
    bl_value h = linear(n, x, 8), maps = BL_NONE;
    for (int i = 0; i < 2; i++) {
        const bl_value kv = linear(n, context, 16), q = linear(n, layer_norm(n, h), 8);
        const bl_value p = bl_graph_attention_probs(g, q, bl_graph_channels(g, kv, 0, 8), 2, false);
        h = bl_graph_add(g, linear(n, bl_graph_attention_values(g, p, bl_graph_channels(g, kv, 8, 8), 2), 8), h);
        maps = bl_graph_heads_mean(g, p, maps, 2, 0.25f);
    }
    const bl_value words = bl_graph_channels(g, bl_graph_softmax(g, bl_graph_channels(g, maps, 1, 4), 12), 1, 2);
    const bl_value mask = constant(n, (bl_shape){ 1, 4, 4, 1 }, 0.6, 0.4, BL_F32);
    end(n, bl_graph_peak_loss(g, bl_graph_smooth(g, words, 0.2f, 0.6f), mask, mean), 40);
    return h;
}
static void make_cross_attention(net *n) { make_maps(n, true); }
static void make_cross_attention_largest(net *n) { make_maps(n, false); }
/* The gradient of the maps carries the loss scale, the other one does not. */
static void make_cross_attention_and_more(net *n) { end_with(n, make_maps(n, true)); }

/* As a picture is looked at: the first row is a constant, and is all that is read of the last layer. */
static void make_class_token(net *n)
{
    bl_graph *g = n->g;
    const bl_value m = constant(n, (bl_shape){ 1, 1, 2, 4 }, 0.7, 0.3, BL_F32);
    const bl_value picture = bl_graph_clamp(g, bl_graph_activation(g, input(n, 1, 5, 6, 4, BL_F32), ACT_SILU), 0.6f, 0.3f);
    const bl_value x = ask(n, bl_graph_normalize(g, bl_graph_bicubic(g, picture, 4, 4), m));
    const bl_value h = bl_graph_tensor(g, (bl_shape){ 1, 5, 1, 8 }, g->type);
    bl_graph_copy(g, row(n, 8, 0, 1), bl_graph_rows(g, h, 0, 1));
    bl_graph_copy(g, bl_graph_reshape(g, bl_graph_patches(g, x, matrix(n, 8, 16), 2), 1, 4, 1), bl_graph_rows(g, h, 1, 4));
    const bl_value position = constant(n, (bl_shape){ 1, 5, 1, 8 }, 0, 1, g->type);
    const bl_value all = attention(n, layer_norm(n, bl_graph_add(g, h, position)), false, false);
    const bl_value one = linear(n, layer_norm(n, bl_graph_rows(g, all, 0, 1)), 6);
    end(n, bl_graph_cosine(g, one, row(n, 6, 0, 1)), -1.5f);
}

/* The gradient of what lies between a norm and its activation, and one given there. */
static void make_between(net *n)
{
    const bl_value x = input(n, 1, 3, 3, 4, BL_F32), h = ask(n, group_norm(n, x));
    end_with(n, conv(n, bl_graph_activation(n->g, h, ACT_SILU), 4, 1, false));
}
static void make_given_between(net *n)
{
    const bl_value h = group_norm(n, input(n, 1, 3, 3, 4, BL_F32));
    end_with(n, h);
    end_with(n, conv(n, bl_graph_activation(n->g, h, ACT_SILU), 4, 1, false));
}

static void make_two_inputs(net *n)
{
    bl_graph *g = n->g;
    const bl_value x = input(n, 1, 3, 2, 4, BL_F32), y = input(n, 1, 3, 2, 4, BL_F32);
    const bl_value h = ask(n, bl_graph_add(g, linear(n, x, 6), bl_graph_activation(g, linear(n, y, 6), ACT_SILU)));
    const bl_value target = constant(n, (bl_shape){ 1, 3, 2, 6 }, 0, 1, g->type);
    const bl_value last = linear(n, bl_graph_activation(g, h, ACT_GELU), 6), loss = bl_graph_cosine(g, last, target);
    end(n, loss, 2);
    end(n, loss, -0.5f); /* two seeds of one loss */
    end_with(n, h);
    end(n, bl_graph_cosine(g, bl_graph_channels(g, last, 1, 5), bl_graph_channels(g, target, 0, 5)), 1);
}

static const struct { const char *name; void (*make)(net *); } networks[] = {
    { "resnet", make_resnet }, { "skips", make_skips }, { "transformer", make_transformer }, { "many readers", make_many_readers },
    { "cross-attention", make_cross_attention }, { "the largest loss", make_cross_attention_largest },
    { "cross-attention and more", make_cross_attention_and_more }, { "class token", make_class_token }, { "between", make_between },
    { "given between", make_given_between }, { "two inputs", make_two_inputs },
};

/* --- running them -------------------------------------------------------------------------------------------------------- */

static size_t size_of(const bl_graph *g, bl_value x) { return (size_t)bl_rows(bl_graph_shape(g, x)) * bl_graph_shape(g, x).c; }

/* Seeded by the name of the input, so that both graphs of a network have the same constants; that of a change is zero. */
static float *values_of(const net *n, uint32_t i)
{
    const size_t count = size_of(n->g, n->inputs[i]);
    uint32_t before = 0;
    for (uint32_t k = 0; k < i; k++)
        before += n->spread[k] != 0;
    uint32_t rng = 1000 * before + 7;
    float *v = calloc(count, sizeof(*v));
    for (size_t k = 0; k < count && n->spread[i] != 0; k++) {
        rng = rng * 1664525u + 1013904223u;
        v[k] = (float)(n->mean[i] + n->spread[i] * ((double)(rng >> 8) / (1 << 23) - 1));
    }
    return v;
}

static bl_exec *start(net *n, bl_plan **plan)
{
    bl_exec *exec = NULL;
    const struct bl_step step = { .in_scale = 0.75f };
    if ((plan ? bl_exec_create_planned(kernels, stream, n->g, plan, 1, &exec) : bl_exec_create(kernels, stream, n->g, 1, &exec)) != BL_OK)
        fail_msg("%s", bl_last_error());
    for (uint32_t i = 0; i < n->count; i++) {
        float *v = values_of(n, i);
        if (bl_exec_write(exec, n->inputs[i], v, size_of(n->g, n->inputs[i])) != BL_OK)
            fail_msg("%s", bl_last_error());
        free(v);
    }
    assert_int_equal(bl_exec_set_steps(exec, &step, 1), BL_OK);
    return exec;
}

static float *read_from(bl_exec *exec, const bl_graph *g, bl_value x)
{
    float *v = malloc(size_of(g, x) * sizeof(*v));
    if (bl_exec_read(exec, x, v, size_of(g, x)) != BL_OK)
        fail_msg("%s", bl_last_error());
    return v;
}

/* The sum over the seeds, in double. */
static double loss_of(bl_exec *exec, const net *n)
{
    double sum = 0;
    assert_int_equal(bl_exec_run(exec), BL_OK);
    for (uint32_t i = 0; i < n->seed_count; i++) {
        const bl_seed *s = &n->seeds[i];
        const bool peaks = bl_graph_shape(n->g, s->y).c > 1; /* the loss is the first column */
        float *y = read_from(exec, n->g, s->y), *d = s->gradient != BL_NONE ? read_from(exec, n->g, s->gradient) : NULL;
        for (size_t k = 0; k < (d || !peaks ? size_of(n->g, s->y) : 1); k++)
            sum += d ? (double)d[k] * (double)y[k] : (double)s->scale * (double)y[k];
        free(y);
        free(d);
    }
    return sum;
}

static void build(net *n, void (*make)(net *), bool forward, bl_dtype type)
{
    *n = (net){ .forward = forward };
    assert_int_equal(bl_graph_create(type, false, &n->g), BL_OK);
    make(n);
    if (bl_graph_check(n->g) != BL_OK)
        fail_msg("%s", bl_last_error());
}

enum { FUSED = 0, NOT_FUSED = -1 }; /* more: that many segments */

/* The gradients one after another, which the caller frees. */
static float *gradients(void (*make)(net *), int how, bl_dtype type, size_t *count)
{
    net n;
    bl_value d[MAX_ENDS];
    bl_plan *plan = NULL;
    build(&n, make, false, type);
    const uint32_t forward = n.g->node_count;
    bl_graph_gradient(n.g, n.seeds, n.seed_count, n.wrt, d, n.wrt_count);
    if (bl_graph_check(n.g) != BL_OK)
        fail_msg("%s", bl_last_error());
    for (bl_value i = 1; how == NOT_FUSED && i < n.g->tensor_count; i++)
        bl_graph_keep(n.g, i);
    if (how > 0) {
        assert_int_equal(bl_graph_fuse(n.g), BL_OK);
        assert_int_equal(bl_graph_recompute(n.g, forward, (uint32_t)how), BL_OK);
        assert_int_equal(bl_plan_create(n.g, 1 << 24, &plan), BL_OK);
    }
    bl_exec *exec = start(&n, plan ? &plan : NULL);
    assert_int_equal(bl_exec_run(exec), BL_OK);
    float *all = NULL;
    *count = 0;
    for (uint32_t i = 0; i < n.wrt_count; i++) {
        const size_t more = size_of(n.g, n.wrt[i]);
        assert_int_equal(bl_graph_type(n.g, d[i]), BL_F32);
        float *one = read_from(exec, n.g, d[i]);
        all = realloc(all, (*count + more) * sizeof(*all));
        memcpy(all + *count, one, more * sizeof(*one));
        *count += more;
        free(one);
    }
    bl_exec_destroy(&exec);
    bl_graph_destroy(&n.g);
    return all;
}

/* Of order h^4. */
static double difference(bl_exec *exec, const net *n, bl_value x, float *values, size_t k)
{
    const float kept = values[k], h = 0.015625f;
    double at[4];
    for (int i = 0; i < 4; i++) {
        values[k] = kept + h * (float)(i < 2 ? i - 2 : i - 1);
        assert_int_equal(bl_exec_write(exec, x, values, size_of(n->g, x)), BL_OK);
        at[i] = loss_of(exec, n);
    }
    values[k] = kept;
    assert_int_equal(bl_exec_write(exec, x, values, size_of(n->g, x)), BL_OK);
    return (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * (double)h);
}

static void prove(const char *name, void (*make)(net *))
{
    net n;
    size_t count, at = 0;
    float *d = gradients(make, FUSED, BL_F32, &count);
    build(&n, make, true, BL_F32);
    bl_exec *exec = start(&n, NULL);
    for (uint32_t i = 0; i < n.wrt_count; i++) {
        const size_t values = size_of(n.g, n.wrt[i]);
        float *x = read_from(exec, n.g, n.wrt[i]);
        double largest = 0, worst = 0;
        for (size_t k = 0; k < values; k++)
            largest = fmax(largest, fabs((double)d[at + k]));
        assert_true(largest > 1e-3);
        for (size_t k = 0; k < values; k++) {
            const double found = difference(exec, &n, n.wrt[i], x, k), off = fabs(found - (double)d[at + k]) / largest;
            worst = fmax(worst, off);
            if (!(off <= 1e-3))
                fail_msg("%s, gradient %u, element %zu: differences say %.7g, reverse mode %.7g (largest %.3g)", name, i, k, found,
                         (double)d[at + k], largest);
        }
        print_message("%s, gradient %u: off by %.1e of the largest, %.3g\n", name, i, worst, largest);
        at += values;
        free(x);
    }
    assert_int_equal(at, count);
    free(d);
    bl_exec_destroy(&exec);
    bl_graph_destroy(&n.g);
}

static void gradients_are_those_of_differences(void **state)
{
    (void)state;
    need_device();
    for (size_t i = 0; i < BL_COUNT(networks); i++)
        prove(networks[i].name, networks[i].make);
}

static void gradients_keep_their_bytes(void **state)
{
    (void)state;
    static const int hows[] = { NOT_FUSED, 1, 2, 3, 5 };
    need_device();
    for (size_t i = 0; i < BL_COUNT(networks); i++) {
        size_t count, same;
        float *want = gradients(networks[i].make, FUSED, BL_F32, &count);
        for (size_t k = 0; k < BL_COUNT(hows); k++) {
            float *got = gradients(networks[i].make, hows[k], BL_F32, &same);
            assert_int_equal(count, same);
            if (memcmp(got, want, count * sizeof(*got)))
                fail_msg("%s, %d: other bytes", networks[i].name, hows[k]);
            free(got);
        }
        free(want);
    }
}

/* A loss scale of its own makes no difference but rounding: fp16 agrees with fp32. */
static void maps_in_half_precision(void **state)
{
    (void)state;
    need_device();
    size_t count, same;
    float *want = gradients(make_cross_attention, FUSED, BL_F32, &count), *got = gradients(make_cross_attention, FUSED, BL_F16, &same);
    double error = 0, all = 0;
    assert_int_equal(count, same);
    for (size_t i = 0; i < count; i++) {
        error += pow((double)got[i] - (double)want[i], 2);
        all += pow((double)want[i], 2);
    }
    print_message("fp16: off by %.1e\n", sqrt(error / all));
    assert_true(sqrt(error) < 0.02 * sqrt(all));
    free(want);
    free(got);
}

/* --- what is built --------------------------------------------------------------------------------------------------------- */

static uint32_t nodes_of(const bl_graph *g, uint32_t from, bl_op op)
{
    uint32_t n = 0;
    for (uint32_t i = from; i < g->node_count; i++)
        n += op == BL_OP_COUNT || g->nodes[i].op == op;
    return n;
}

/* Appends a gradient with respect to x of the product of y with a given one; the index of its first node. */
static uint32_t differentiate(net *n, bl_value y, bl_value x)
{
    bl_value out;
    const bl_seed seed = { .y = y, .gradient = constant(n, bl_graph_shape(n->g, y), 0, 1, bl_graph_type(n->g, y)) };
    const uint32_t before = n->g->node_count;
    bl_graph_gradient(n->g, &seed, 1, &x, &out, 1);
    if (bl_graph_check(n->g) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_true(out != BL_NONE);
    return before;
}

static void nothing_is_built_in_vain(void **state)
{
    (void)state;
    for (int what = 0; what < 6; what++) {
        net n = { 0 };
        assert_int_equal(bl_graph_create(BL_F32, false, &n.g), BL_OK);
        bl_graph *g = n.g;
        const bl_value x = input(&n, 1, 4, 1, 8, BL_F32), y = input(&n, 1, 4, 1, 8, BL_F32);
        const bl_value a = bl_graph_activation(g, linear(&n, x, 8), ACT_SILU), b = linear(&n, y, 8);
        const bl_value unused = layer_norm(&n, b), s = bl_graph_add(g, a, b), q = layer_norm(&n, s);
        uint32_t at;
        assert_true(unused != BL_NONE);
        switch (what) {
        case 0: /* one of two ways */
            at = differentiate(&n, s, y);
            assert_int_equal(nodes_of(g, at, BL_OP_COUNT), 1);
            assert_int_equal(nodes_of(g, at, BL_OP_matmul_bwd_x), 1);
            break;
        case 1: /* of what is asked for in the middle the gradient ends there */
            at = differentiate(&n, linear(&n, a, 8), a);
            assert_int_equal(nodes_of(g, at, BL_OP_COUNT), 1);
            break;
        case 2: /* keys and values that are constant */
            at = differentiate(&n, bl_graph_attention(g, q, x, x, 2, false), q);
            assert_int_equal(nodes_of(g, at, BL_OP_attention_bwd_q), 1);
            assert_int_equal(nodes_of(g, at, BL_OP_COUNT), 2);
            break;
        case 3: /* only the values, behind kept probabilities */
            at = differentiate(&n, bl_graph_attention_values(g, bl_graph_attention_probs(g, x, x, 2, false), b, 2), y);
            assert_int_equal(nodes_of(g, at, BL_OP_attention_values_bwd_v), 1);
            assert_int_equal(nodes_of(g, at, BL_OP_COUNT), 2);
            break;
        case 4: /* a norm and the activation behind it have one gradient, of three nodes */
            at = differentiate(&n, bl_graph_activation(g, group_norm(&n, b), ACT_SILU), b);
            assert_int_equal(nodes_of(g, at, BL_OP_activation_bwd_x), 0);
            assert_int_equal(nodes_of(g, at, BL_OP_COUNT), 3);
            break;
        default: { /* columns side by side are put together without a copy or a sum */
            const bl_value qkv = linear(&n, b, 24);
            at = differentiate(&n, bl_graph_attention(g, columns(&n, qkv, 0), columns(&n, qkv, 1), columns(&n, qkv, 2), 2, false), y);
            assert_int_equal(nodes_of(g, at, BL_OP_matmul_bwd_x), 2);
            assert_int_equal(nodes_of(g, at, BL_OP_COUNT), 5);
        }
            break;
        }
        bl_graph_destroy(&n.g);
    }
}

/* --- failures --------------------------------------------------------------------------------------------------------------- */

static void failures_say_why(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "the loss does not depend on tensor 0", "guidance_fwd has none", "a row that is added to many", "a row that is added to many",
        "matmul_fwd has none", "layer_norm_fwd has none", "activation_fwd is no loss", "cosine_fwd is where it starts", "seed 0",
        "seed 0", "tensor 0 is missing", "more than 16 parts", "parts of a tensor that overlap", "share memory in a way",
        "cosine_fwd has none", "seed 0", "meets another one in fp16",
    };
    for (size_t what = 0; what < BL_COUNT(messages); what++) {
        net n = { 0 };
        assert_int_equal(bl_graph_create(what == 16 ? BL_F16 : BL_F32, false, &n.g), BL_OK);
        bl_graph *g = n.g;
        const bl_dtype type = g->type;
        const bl_value x = input(&n, 2, 3, 1, 8, type), r = input(&n, 1, 1, 1, 8, type);
        const bl_shape shape = bl_graph_shape(g, x);
        const bl_value c = constant(&n, shape, 0, 1, type);
        bl_value wrt = x, y = bl_graph_activation(g, x, ACT_SILU), d = constant(&n, shape, 0, 1, type), out;
        const bl_value columns40 = linear(&n, x, 40);
        bl_seed more = { BL_NONE, BL_NONE, 0 };
        switch (what) {
        case 0: wrt = c; break;
        case 1: y = bl_graph_guidance(g, x, 1); break;
        case 2: y = bl_graph_add(g, x, r); wrt = r; break;
        case 3: /* a row for each of two images */
            y = bl_graph_add(g, x, linear(&n, bl_graph_reshape(g, bl_graph_rows(g, bl_graph_images(g, x, 0, 1), 0, 2), 2, 1, 1), 8));
            break;
        case 4: wrt = constant(&n, (bl_shape){ 1, 1, 8, 8 }, 0, 1, type); y = bl_graph_linear(g, x, wrt, BL_NONE); break;
        case 5: y = bl_graph_layer_norm(g, x, r, r, 1e-5f); wrt = r; break;
        case 6: d = BL_NONE; break;
        case 7: /* what follows a loss */
            y = bl_graph_activation(g, bl_graph_cosine(g, x, c), ACT_SILU);
            d = constant(&n, bl_graph_shape(g, y), 0, 1, type);
            break;
        case 8: d = r; break;
        case 9: y = BL_NONE; break;
        case 10: wrt = BL_NONE; break;
        case 11:
        case 12:
        case 13:
            y = bl_graph_channels(g, columns40, 0, 8);
            for (uint32_t i = 1; i < (what == 11 ? 18u : 2u); i++) { /* pieces of two columns */
                const bl_value part = bl_graph_channels(g, columns40, what == 12 ? 4 : 2 * i, what == 11 ? 2 : 8);
                y = what == 11 ? (i == 1 ? bl_graph_concat(g, part, part) : bl_graph_concat(g, y, part)) : bl_graph_add(g, y, part);
            }
            d = constant(&n, bl_graph_shape(g, y), 0, 1, type);
            wrt = what == 13 ? bl_graph_channels(g, columns40, 4, 8) : x;
            break;
        case 14: y = bl_graph_cosine(g, c, x); d = BL_NONE; break;
        case 15: d = constant(&n, shape, 0, 1, BL_F16); break;
        default: { /* the maps of what also has a gradient of another kind */
            const bl_value p = bl_graph_attention_probs(g, y, y, 2, false);
            more.y = bl_graph_peak_loss(g, bl_graph_heads_mean(g, p, BL_NONE, 4, 1), BL_NONE, true);
            more.scale = 1;
            break;
        }
        }
        assert_int_equal(bl_graph_check(g), BL_OK);
        bl_graph_gradient(g, (bl_seed[]){ { y, d, 1 }, more }, 1 + (more.y != BL_NONE), &wrt, &out, 1);
        if (bl_graph_check(g) != BL_ERROR_USAGE || !strstr(bl_last_error(), messages[what]))
            fail_msg("%zu: \"%s\" instead of \"%s\"", what, bl_graph_check(g) == BL_OK ? "no failure" : bl_last_error(), messages[what]);
        assert_int_equal(out, BL_NONE);
        bl_graph_destroy(&n.g);
    }
}

static int allocations_left;
static void *limited_resize(void *p, size_t size) { return allocations_left-- > 0 ? realloc(p, size) : NULL; }

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    bool done = false;
    int failures = 0;
    for (; !done && failures < 1000; failures++) {
        net n;
        bl_value d[MAX_ENDS];
        bl_memory = before;
        build(&n, make_cross_attention_and_more, false, BL_F32);
        allocations_left = failures;
        bl_memory.resize = limited_resize;
        bl_graph_gradient(n.g, n.seeds, n.seed_count, n.wrt, d, n.wrt_count);
        done = n.g->failed == BL_OK;
        if (!done && n.g->failed != BL_ERROR_MEMORY)
            fail_msg("allocation %d failing gives %s: %s", failures, bl_result_name(n.g->failed), n.g->reason);
        bl_graph_destroy(&n.g);
    }
    bl_memory = before;
    assert_true(done && failures > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_differences), cmocka_unit_test(gradients_keep_their_bytes),
        cmocka_unit_test(maps_in_half_precision), cmocka_unit_test(nothing_is_built_in_vain), cmocka_unit_test(failures_say_why),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
