/* Barriers, cuts and parts of records. Every barrier is deleted in turn, dispatches are swapped and views moved, and each time the checker
 * must say what a map of every byte says (record_oracle.h). Nothing runs: the driver is the pretended one. */
#include "fake_vulkan.h"
#include "checkpoint.h"
#include "model_fixture.h"
#include "record_oracle.h"

static bl_device *device;
static bl_stream *stream;
static bl_kernels *kernels;
static bl_limits limits; /* of the device when it was opened */

static int open_device(void **state)
{
    (void)state;
    fake_reset(NULL);
    bl_clock = fake_clock; /* stands still: nothing is cut by a time that happens to be measured */
    if (bl_device_open(NULL, NULL, &device) || bl_stream_create(device, &stream) || bl_kernels_create(device, NULL, &kernels))
        return -1;
    limits = device->limits;
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    bl_kernels_destroy(&kernels);
    bl_stream_destroy(&stream);
    bl_device_close(&device);
    expect_clean("all tests");
    return 0;
}

static uint64_t rng = 1;
static uint32_t next(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

/* --- networks ----------------------------------------------------------------------------------------------------------- */

static bl_value input(bl_graph *g, uint32_t n, uint32_t h, uint32_t w, uint32_t c)
{
    return bl_graph_input(g, "input", (bl_shape){ n, h, w, c }, g->type);
}

static bl_value conv(bl_graph *g, bl_value x, uint32_t out, uint32_t stride, bool asymmetric)
{
    const uint32_t in = bl_graph_shape(g, x).c;
    return bl_graph_conv(g, x, input(g, 1, 1, out, 9 * in), input(g, 1, 1, 1, out), 3, stride, asymmetric);
}

static bl_value linear(bl_graph *g, bl_value x, uint32_t out)
{
    return bl_graph_linear(g, x, input(g, 1, 1, out, bl_graph_shape(g, x).c), input(g, 1, 1, 1, out));
}

static bl_value group_norm(bl_graph *g, bl_value x, uint32_t groups)
{
    const uint32_t c = bl_graph_shape(g, x).c;
    return bl_graph_group_norm(g, x, input(g, 1, 1, 1, c), input(g, 1, 1, 1, c), groups, 1e-5f);
}

static bl_value layer_norm(bl_graph *g, bl_value x)
{
    const uint32_t c = bl_graph_shape(g, x).c;
    return bl_graph_layer_norm(g, x, input(g, 1, 1, 1, c), input(g, 1, 1, 1, c), 1e-5f);
}

static bl_value attention(bl_graph *g, bl_value x, bl_value source, uint32_t heads, bool keep)
{
    const uint32_t c = bl_graph_shape(g, x).c;
    const bl_value qkv = linear(g, x, 3 * c), kv = source == BL_NONE ? qkv : linear(g, source, 3 * c);
    const bl_value q = bl_graph_channels(g, qkv, 0, c), k = bl_graph_channels(g, kv, c, c), v = bl_graph_channels(g, kv, 2 * c, c);
    return linear(g, keep ? bl_graph_attention_values(g, bl_graph_attention_probs(g, q, k, heads, false), v, heads)
                         : bl_graph_attention(g, q, k, v, heads, false), c);
}

static bl_value resnet(bl_graph *g, bl_value x, bl_value emb, uint32_t out, uint32_t groups)
{
    bl_value h = conv(g, bl_graph_activation(g, group_norm(g, x, groups), ACT_SILU), out, 1, false);
    if (emb != BL_NONE)
        h = bl_graph_add(g, h, linear(g, emb, out));
    h = conv(g, bl_graph_activation(g, group_norm(g, h, groups), ACT_SILU), out, 1, false);
    return bl_graph_add(g, h, bl_graph_shape(g, x).c == out ? x : linear(g, x, out));
}

static bl_value transformer(bl_graph *g, bl_value x, bl_value context, uint32_t heads, uint32_t groups)
{
    const uint32_t c = bl_graph_shape(g, x).c;
    bl_value h = linear(g, group_norm(g, x, groups), c);
    h = bl_graph_add(g, attention(g, layer_norm(g, h), BL_NONE, heads, false), h);
    h = bl_graph_add(g, attention(g, layer_norm(g, h), context, heads, c == 1280), h);
    h = bl_graph_add(g, linear(g, bl_graph_geglu(g, linear(g, layer_norm(g, h), 8 * c)), c), h);
    return bl_graph_add(g, linear(g, h, c), x);
}

/* The end of a step of sampling: input scaled, guidance, scheduler, blending. */
static void sampler(bl_graph *g)
{
    const bl_shape one = { 1, 4, 4, 4 };
    const bl_value x = bl_graph_input(g, "x", one, BL_F32), mask = bl_graph_input(g, "mask", (bl_shape){ 1, 4, 4, 1 }, BL_F32);
    const bl_value emb = bl_graph_timestep_embedding(g, bl_graph_input(g, "freqs", (bl_shape){ 1, 1, 1, 4 }, BL_F32));
    const bl_value h = bl_graph_add(g, conv(g, bl_graph_scale(g, x, 2, 1, true), 4, 1, false), linear(g, emb, 4));
    const bl_value source = bl_graph_input(g, "source", one, BL_F32), noise = bl_graph_input(g, "noise", one, BL_F32);
    bl_graph_scheduler_step(g, bl_graph_guidance(g, h, 2), noise, x, bl_graph_input(g, "history", (bl_shape){ 4, 4, 4, 4 }, BL_F32));
    bl_graph_blend(g, mask, source, noise, x);
    bl_graph_step_next(g, 2);
}

/* What follows from one tensor, somehow. */
static bl_value random_node(bl_graph *g, bl_value x)
{
    const bl_shape s = bl_graph_shape(g, x);
    if (s.c > 12)
        return next(2) ? linear(g, x, 8) : bl_graph_channels(g, x, 4 * next(s.c / 4 - 1), 8);
    switch (next(15)) {
    case 0: return bl_graph_activation(g, x, ACT_SILU);
    case 1: return bl_graph_activation(g, bl_graph_activation(g, x, ACT_GELU), ACT_SILU);
    case 2: return bl_graph_add(g, x, bl_graph_activation(g, x, ACT_SILU));
    case 3: return bl_graph_add(g, conv(g, x, s.c, 1, false), next(2) ? input(g, 1, 1, 1, s.c) : input(g, s.n, 1, 1, s.c));
    case 4: return bl_graph_concat(g, x, bl_graph_activation(g, x, ACT_SILU));
    case 5: return bl_graph_concat(g, linear(g, x, 4), linear(g, x, 8));
    case 6: return bl_graph_activation(g, group_norm(g, x, 2), ACT_SILU);
    case 7: return resnet(g, x, BL_NONE, 4 + 4 * next(3), 2);
    case 8: return s.h > 3 && s.w > 3 ? conv(g, x, 8, 2, next(2)) : x;
    case 9: return s.h * s.w < 100 ? conv(g, bl_graph_upsample(g, x), 8, 1, false) : bl_graph_upsample(g, conv(g, x, 4, 2, false));
    case 10: return bl_graph_geglu(g, linear(g, x, 16));
    case 11: return s.h * s.w < 50 ? attention(g, layer_norm(g, x), BL_NONE, 2, next(2)) : layer_norm(g, x);
    case 12: return s.n == 2 ? bl_graph_images(g, x, next(2), 1) : x;
    case 13: return bl_graph_reshape(g, x, s.n, s.h * s.w, 1);
    default: return bl_graph_keep(g, layer_norm(g, x));
    }
}

static void random_graph(bl_graph *g, uint32_t nodes)
{
    bl_value alive[5];
    for (size_t i = 0; i < BL_COUNT(alive); i++)
        alive[i] = input(g, 1 + next(2), 3 + next(15), 3 + next(15), 4 + 4 * next(2));
    for (uint32_t i = 0; i < nodes; i++)
        alive[next(BL_COUNT(alive))] = random_node(g, alive[next(BL_COUNT(alive))]);
    for (size_t i = 0; i < BL_COUNT(alive); i++)
        bl_graph_keep(g, alive[i]);
    if (next(2))
        sampler(g);
}

/* --- records ------------------------------------------------------------------------------------------------------------ */

static bl_record copy_of(const bl_record *r)
{
    bl_record copy = { bl_alloc(r->count, sizeof(*r->list)), r->count, r->count };
    assert_non_null(copy.list);
    memcpy(copy.list, r->list, r->count * sizeof(*r->list));
    return copy;
}

/* The same cut at random speeds into pieces, and in segments, of random length. */
static bl_record random_cut(const bl_record *r)
{
    bl_record cut;
    for (uint32_t i = 0; i < r->count; i++)
        bl_kernel_set_rate(kernels, &r->list[i].d, 1 + next(1000));
    double total = 0;
    for (uint32_t i = 0; i < r->count; i++)
        total += bl_dispatch_work(&r->list[i].d) * bl_kernel_rate(kernels, &r->list[i].d);
    const double pieces = r->count * (1 + next(3));
    assert_int_equal(bl_record_cut(kernels, r, total / pieces, &cut), BL_OK);
    assert_int_equal(bl_record_barriers(&cut, total / r->count * (1 + next(20))), BL_OK);
    for (uint32_t i = 0; i < r->count; i++)
        bl_kernel_set_rate(kernels, &r->list[i].d, 1e-3);
    return cut;
}

/* Barriers deleted: those without which something conflicts, those that the checker misses, and those that were needless to insert. */
static struct { uint32_t records, commands, deleted, needed, caught, idle; } barriers;
static struct { uint32_t tried, broken; } swaps, moves;

static void delete_every_barrier(bl_record *r)
{
    if (bl_record_check(r) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_true(oracle_sound(r));
    for (uint32_t from = 0, at = oracle_next(r, 0); at < r->count;) {
        const uint32_t end = oracle_next(r, at);
        const bool needed = oracle_conflict(r->list, from, at, at, end);
        r->list[at].barrier = false;
        const bool caught = bl_record_check(r) != BL_OK;
        r->list[at].barrier = true;
        if (needed != caught)
            fail_msg("the barrier before dispatch %u of %u (%s) is %s, the checker says %s", at, r->count,
                     bl_impls[r->list[at].d.kernel].name, needed ? "needed" : "not needed", caught ? bl_last_error() : "nothing");
        barriers.deleted++;
        barriers.needed += needed;
        barriers.caught += caught;
        barriers.idle += !needed && !r->list[at].begins;
        from = at;
        at = end;
    }
    barriers.records++;
    barriers.commands += r->count;
}

static bool agreed(const bl_record *r, const char *what, uint32_t at)
{
    const bool sound = oracle_sound(r), passed = bl_record_check(r) == BL_OK;
    if (sound != passed)
        fail_msg("%s at dispatch %u of %u is %s, the checker says %s", what, at, r->count, sound ? "harmless" : "a fault",
                 passed ? "nothing" : bl_last_error());
    return sound;
}

static void swap(bl_command *a, bl_command *b)
{
    const bl_command c = *a;
    *a = *b;
    *b = c;
    const bool barrier = a->barrier, begins = a->begins; /* these stay where they were */
    a->barrier = b->barrier;
    a->begins = b->begins;
    b->barrier = barrier;
    b->begins = begins;
}

/* Two dispatches near each other change places, barriers stay. */
static void swap_commands(bl_record *r, uint32_t times)
{
    for (uint32_t i = 0; i < times && r->count > 4; i++) {
        const uint32_t a = next(r->count - 4), b = a + 1 + next(4);
        swap(&r->list[a], &r->list[b]);
        swaps.tried++;
        swaps.broken += !agreed(r, "a swap", a);
        swap(&r->list[a], &r->list[b]);
    }
}

/* The operand of a dispatch, if it is there. */
static bool operand_of(const bl_command *c, uint32_t k, bl_extent *extent, size_t *size)
{
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    bl_operand o[BL_MAX_OPERANDS] = { 0 };
    const bl_op op = bl_impls[c->d.kernel].op;
    bl_op_infos[op].extents(&c->d.p, e);
    bl_op_operands(op, o);
    *extent = e[k];
    *size = o[k].storage ? bl_dtype_size(c->d.type) : sizeof(float);
    return c->d.operands[k].buffer && e[k].rows;
}

/* Two dispatches alone, a view of the one moved to about where the other has one: rows and columns touch, or miss each other by little. */
static void move_views(const bl_record *r, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        bl_command list[2] = { r->list[next(r->count)], r->list[next(r->count)] };
        bl_record pair = { list, 2, 2 };
        const uint32_t j = next(BL_MAX_OPERANDS), k = next(BL_MAX_OPERANDS);
        bl_extent e, other;
        size_t size, other_size;
        if (!operand_of(&list[0], j, &other, &other_size) || !operand_of(&list[1], k, &e, &size))
            continue;
        const struct view at = list[0].d.p.v[j], v = list[1].d.p.v[k];
        bl_buffer *buffer = list[0].d.operands[j].buffer;
        const uint64_t room = buffer->size / size, span = (uint64_t)(e.rows - 1) * v.stride + e.cols;
        const uint64_t back = next(e.cols + 1), forth = next(e.cols + 1);
        const uint64_t near = (list[0].d.operands[j].offset + (at.off + (uint64_t)next(other.rows + 1) * at.stride) * other_size) / size;
        if (span > room)
            continue;
        list[1].d.operands[k] = (bl_slice){ buffer, 0, buffer->size };
        list[1].d.p.v[k].off = (uint32_t)BL_MIN(near + forth - BL_MIN(near, back), room - span);
        list[0].node = 0;
        list[1].node = 1;
        list[0].barrier = true;
        list[1].barrier = false;
        moves.tried++;
        if (!agreed(&pair, "a move", 1)) {
            moves.broken++;
            assert_int_equal(bl_record_barriers(&pair, INFINITY), BL_OK);
            assert_true(list[1].barrier);
        }
    }
}

/* Everything above on what a graph was recorded as, and on cuts of it. */
static void torment(const bl_exec *e, uint32_t cuts, uint32_t faults)
{
    bl_record r = copy_of(bl_exec_record(e));
    delete_every_barrier(&r);
    swap_commands(&r, faults);
    move_views(&r, 8 * faults);
    for (uint32_t i = 0; i < cuts; i++) {
        bl_record cut = random_cut(&r);
        delete_every_barrier(&cut);
        swap_commands(&cut, faults);
        bl_record_destroy(&cut);
    }
    bl_record_destroy(&r);
    oracle_forget();
}

/* A barrier that begins no segment may be needless where matrices of different pitch lie in each other's gaps, which are taken to meet.
 * The planner lays no tensor into the gaps of another, so there are next to none. */
static void report(const char *what)
{
    print_message("%s: %u records of %u dispatches; barriers: %u deleted, %u needed, %u caught, %u needless; %u of %u swaps and %u of %u "
                  "moves are faults\n", what, barriers.records, barriers.commands, barriers.deleted, barriers.needed, barriers.caught,
                  barriers.idle, swaps.broken, swaps.tried, moves.broken, moves.tried);
    assert_int_equal(barriers.needed, barriers.caught);
    assert_true(barriers.needed > 100 && barriers.idle <= barriers.needed / 100);
    assert_true(swaps.broken > 0 && swaps.broken < swaps.tried && moves.broken > 10 && moves.broken < moves.tried);
    memset(&barriers, 0, sizeof(barriers));
    memset(&swaps, 0, sizeof(swaps));
    memset(&moves, 0, sizeof(moves));
}

/* --- barriers ----------------------------------------------------------------------------------------------------------- */

static void barriers_of_random_graphs(void **state)
{
    (void)state;
    uint32_t sliced = 0;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        bl_graph *g = NULL;
        bl_exec *e = NULL;
        bl_result result = BL_ERROR_DEVICE;
        device->limits.binding = seed % 4 ? 1024u << seed % 3 : limits.binding;
        device->limits.allocation = seed % 5 ? 16384 : limits.allocation;
        for (; result != BL_OK; device->limits.binding *= 2, device->limits.allocation *= 2) { /* until the weights fit */
            bl_graph_destroy(&g);
            rng = seed;
            assert_int_equal(bl_graph_create(seed % 3 ? BL_F32 : BL_F16, seed % 6 == 0, &g), BL_OK);
            random_graph(g, 25);
            if (bl_graph_check(g) != BL_OK)
                fail_msg("seed %u: %s", seed, bl_last_error());
            result = bl_exec_create(kernels, stream, g, 2, &e);
            if (result != BL_OK && !strstr(bl_last_error(), "a binding of") && !strstr(bl_last_error(), "a tensor of"))
                fail_msg("seed %u: %s", seed, bl_last_error());
        }
        const bl_record *r = bl_exec_record(e);
        for (uint32_t i = 1; i < r->count; i++)
            sliced += r->list[i].node == r->list[i - 1].node;
        torment(e, 2, 50);
        bl_exec_destroy(&e);
        bl_graph_destroy(&g);
    }
    device->limits = limits;
    assert_true(sliced > 1000);
    report("random graphs");
}

static void barriers_of_the_small_model(void **state)
{
    (void)state;
    char dir[] = "/tmp/blemish-record-XXXXXX", good[64];
    assert_non_null(mkdtemp(dir));
    snprintf(good, sizeof(good), "%s/good", dir);
    assert_int_equal(fx_write(good, TEST_DATA "/tokenizer", NULL), 0);
    for (int type = BL_F32; type <= BL_F16; type++) {
        bl_context context = { .device = device, .stream = stream, .kernels = kernels, .type = (bl_dtype)type, .vae_type = (bl_dtype)type };
        bl_checkpoint *c = NULL;
        if (bl_checkpoint_open(&context, good, NULL, &c) != BL_OK)
            fail_msg("%s", bl_last_error());
        for (int what = 0; what < 12; what++) {
            bl_stage s;
            const uint32_t side = what < 6 ? 32 : 16;
            device->limits.binding = what < 6 ? limits.binding : 81920; /* weights have up to 73728 bytes */
            const bl_result result = what % 6 == 0 ? bl_stage_text(c, 2, false, &s)
                : what % 6 == 1 ? bl_stage_encode(c, 2 * side, 2 * side, false, &s)
                : what % 6 == 2 ? bl_stage_decode(c, side, side, false, &s)
                : what % 6 == 3 ? bl_stage_unet(c, 2, side, side, true, &s)
                : bl_stage_sampler(c, what % 6 - 3, side, side, true, false, false, 2, &s);
            if (result != BL_OK)
                fail_msg("stage %d: %s", what, bl_last_error());
            torment(s.exec, 1, 40);
            bl_stage_destroy(&s);
        }
        device->limits = limits;
        bl_checkpoint_close(&c);
    }
    fx_remove(good);
    assert_int_equal(rmdir(dir), 0);
    report("small model");
}

/* Blocks of Stable Diffusion 1.5 with their channels. */
static void block(bl_graph *g, uint32_t what)
{
    static const struct { uint32_t side, c, skip; } levels[] = { { 64, 320, 320 }, { 32, 640, 320 }, { 16, 1280, 640 }, { 8, 1280, 1280 } };
    if (what < BL_COUNT(levels)) { /* of the way up: a skip, a residual block, a transformer, twice the size */
        const uint32_t side = levels[what].side, c = levels[what].c;
        const bl_value emb = bl_graph_activation(g, linear(g, input(g, 1, 1, 1, 320), 1280), ACT_SILU);
        const bl_value skip = conv(g, input(g, 1, side, side, 8), levels[what].skip, 1, false);
        bl_value h = resnet(g, bl_graph_concat(g, conv(g, skip, c, 1, false), skip), emb, c, 32);
        h = transformer(g, h, input(g, 1, 77, 1, 768), 8, 32);
        bl_graph_keep(g, conv(g, bl_graph_upsample(g, h), c, 1, false));
    } else { /* of the autoencoder: attention with one head, then lines of 256 pixels */
        bl_value h = input(g, 1, 32, 32, 512);
        h = bl_graph_add(g, attention(g, group_norm(g, h, 32), BL_NONE, 1, false), h);
        bl_graph_keep(g, h);
        h = resnet(g, input(g, 1, 128, 128, 256), BL_NONE, 128, 32);
        bl_graph_keep(g, conv(g, resnet(g, conv(g, bl_graph_upsample(g, h), 128, 1, false), BL_NONE, 128, 32), 4, 2, true));
    }
}

static void barriers_of_stable_diffusion(void **state)
{
    (void)state;
    for (uint32_t what = 0; what < 6; what++) {
        bl_graph *g = NULL;
        bl_exec *e = NULL;
        assert_int_equal(bl_graph_create(BL_F16, false, &g), BL_OK);
        device->limits.binding = what == 0 || what == 5 ? 8 << 20 : limits.binding; /* the weights of the others are larger */
        block(g, BL_MIN(what, 4));
        if (bl_exec_create(kernels, stream, g, 0, &e) != BL_OK)
            fail_msg("block %u: %s", what, bl_last_error());
        torment(e, 0, 4);
        bl_exec_destroy(&e);
        bl_graph_destroy(&g);
    }
    device->limits = limits;
    report("Stable Diffusion 1.5");
}

/* --- parts -------------------------------------------------------------------------------------------------------------- */

/* Sizes of a random problem; views are laid out afterwards. */
static bl_params random_problem(bl_op op)
{
    bl_params p = { 0 };
    const uint32_t rows = 1 + next(60), channels = 1 + next(6), act = next(4);
    switch (op) {
    case BL_OP_matmul_fwd: {
        const uint32_t period = 1 + next(9), given = 4 * next(8);
        p.matmul_fwd = (struct matmul_params){ .m = period * (1 + next(8)), .n = channels, .k = 1 + next(5), .a_rows = period, .act = act,
            .given = given };
        break;
    }
    case BL_OP_conv_fwd: {
        struct conv_params *q = &p.conv_fwd;
        *q = (struct conv_params){ .images = 1 + next(3), .h = 1 + next(9), .width = 1 + next(5), .c = 1 + next(3), .oc = channels,
            .kernel = 1 + next(5), .stride = 1 + next(3), .up = next(3), .act = act, .given = 4 * next(8) };
        q->pad = q->pad_y = next(q->kernel + 1);
        q->oh = q->h << q->up; /* lines that see only zeros, and such that are left out, are allowed */
        q->ow = q->width << q->up;
        q->oh = BL_MAX(q->oh / q->stride + next(3), 1);
        break;
    }
    case BL_OP_matmul_bwd_x:
        p.matmul_bwd_x = (struct matmul_bwd_params){ .m = rows, .n = channels, .k = 1 + next(5), .given = next(2) << 2 };
        break;
    case BL_OP_conv_bwd_x: {
        struct conv_bwd_params *q = &p.conv_bwd_x;
        *q = (struct conv_bwd_params){ .images = 1 + next(3), .h = 1 + next(9), .width = 1 + next(5), .c = 1 + next(3), .oc = channels,
            .kernel = 1 + next(5), .stride = 1 + next(3), .given = next(2) << 2 };
        q->pad = q->pad_y = next(q->kernel + 1);
        q->oh = 1 + (q->h - 1) / q->stride + next(3); /* lines that no input reaches are allowed */
        q->ow = q->width;
        break;
    }
    case BL_OP_channel_stats_fwd: {
        const uint32_t slice = 1 + next(rows + 3);
        p.channel_stats_fwd = (struct channel_stats_params){ .images = 1 + next(3), .rows = rows, .channels = channels,
            .slices = bl_ceil_div(rows, slice), .slice_rows = slice };
        break;
    }
    case BL_OP_group_norm_fwd:
        p.group_norm_fwd = (struct group_norm_params){ .images = 1 + next(3), .rows = rows, .channels = 2 * channels, .groups = 2,
            .act = act };
        break;
    case BL_OP_layer_norm_fwd: p.layer_norm_fwd = (struct layer_norm_params){ .rows = rows, .channels = channels, .eps = 0.1f }; break;
    case BL_OP_attention_fwd:
        p.attention_fwd = (struct attention_params){ .images = 1 + next(3), .heads = 1 + next(2), .head = channels, .tq = 1 + next(20),
            .tk = 1 + next(9), .scale = 0.5f };
        break;
    case BL_OP_attention_stats_bwd:
        p.attention_stats_bwd = (struct attention_stats_bwd_params){ .images = 1 + next(3), .heads = 1 + next(2), .head = channels,
            .tq = 1 + next(20), .tk = 1 + next(9), .scale = 0.5f };
        break;
    case BL_OP_attention_bwd_q:
        p.attention_bwd_q = (struct attention_bwd_q_params){ .images = 1 + next(3), .heads = 1 + next(2), .head = channels,
            .tq = 1 + next(20), .tk = 1 + next(9), .scale = 0.5f };
        break;
    case BL_OP_attention_bwd_kv:
        p.attention_bwd_kv = (struct attention_bwd_kv_params){ .images = 1 + next(3), .heads = 1 + next(2), .head = channels,
            .tq = 1 + next(9), .tk = 1 + next(20), .scale = 0.5f };
        break;
    case BL_OP_activation_fwd: p.activation_fwd = (struct activation_params){ .rows = rows, .channels = channels, .act = act }; break;
    case BL_OP_geglu_fwd: p.geglu_fwd = (struct geglu_params){ .rows = rows, .channels = channels }; break;
    case BL_OP_add_fwd: {
        const uint32_t period = 1 + next(9);
        p.add_fwd = (struct add_params){ .rows = period * (1 + next(8)), .channels = channels, .y_rows = period };
        break;
    }
    case BL_OP_copy_fwd: p.copy_fwd = (struct copy_params){ .rows = rows, .channels = channels }; break;
    case BL_OP_upsample_fwd:
        p.upsample_fwd = (struct upsample_params){ .images = 1 + next(3), .h = 1 + next(6), .width = 1 + next(5), .channels = channels };
        break;
    case BL_OP_channel_stats_bwd: {
        const uint32_t slice = 1 + next(rows + 3);
        p.channel_stats_bwd = (struct channel_stats_bwd_params){ .images = 1 + next(3), .rows = rows, .channels = 2 * channels, .groups = 2,
            .slices = bl_ceil_div(rows, slice), .slice_rows = slice, .act = act };
        break;
    }
    case BL_OP_group_norm_bwd_x:
        p.group_norm_bwd_x = (struct group_norm_bwd_params){ .images = 1 + next(3), .rows = rows, .channels = 2 * channels, .groups = 2,
            .act = act, .given = next(2) << 5 };
        break;
    case BL_OP_layer_norm_bwd_x:
        p.layer_norm_bwd_x = (struct layer_norm_bwd_params){ .rows = rows, .channels = channels, .eps = 0.1f, .given = next(2) << 3 };
        break;
    case BL_OP_activation_bwd_x:
        p.activation_bwd_x = (struct activation_bwd_params){ .rows = rows, .channels = channels, .act = act };
        break;
    case BL_OP_geglu_bwd_x: p.geglu_bwd_x = (struct geglu_bwd_params){ .rows = rows, .channels = channels }; break;
    case BL_OP_upsample_bwd_x:
        p.upsample_bwd_x = (struct upsample_bwd_params){ .images = 1 + next(3), .h = 1 + next(6), .width = 1 + next(5),
            .channels = channels };
        break;
    case BL_OP_clamp_fwd:
        p.clamp_fwd = (struct clamp_params){ .rows = rows, .channels = channels, .scale = 0.5f, .shift = 0.5f };
        break;
    case BL_OP_clamp_bwd_x:
        p.clamp_bwd_x = (struct clamp_bwd_params){ .rows = rows, .channels = channels, .scale = 0.5f, .shift = 0.5f };
        break;
    case BL_OP_normalize_fwd: p.normalize_fwd = (struct normalize_params){ .rows = rows, .channels = channels }; break;
    case BL_OP_normalize_bwd_x: p.normalize_bwd_x = (struct normalize_bwd_params){ .rows = rows, .channels = channels }; break;
    case BL_OP_fill_fwd: p.fill_fwd = (struct fill_params){ .rows = rows, .channels = channels, .value = 2 }; break;
    default: fail_msg("%s can be cut: it needs random problems here", bl_op_infos[op].name);
    }
    return p;
}

/* First row of the whole's operand that the part has, which lies inside with all its rows. */
static uint32_t row_inside(const char *op, const struct view *whole, const bl_extent *of, const struct view *part, const bl_extent *e)
{
    const uint32_t row = whole->stride ? (part->off - whole->off) / whole->stride : 0;
    if (part->stride != whole->stride || part->off != whole->off + row * whole->stride || e->cols != of->cols ||
        (whole->stride && row + e->rows > of->rows))
        fail_msg("%s: %u rows from %u are not in a matrix of %u", op, e->rows, row, of->rows);
    return row;
}

enum { MOST_ELEMENTS = 1 << 16, MOST_ROWS = 4096 };

static void parts_make_the_whole(void **state)
{
    (void)state;
    static double data[2][BL_MAX_OPERANDS][MOST_ELEMENTS];
    uint32_t cut[BL_OP_COUNT] = { 0 };
    for (uint32_t turn = 0; turn < 190 * BL_OP_COUNT; turn++) {
        const bl_op op = (bl_op)(turn % BL_OP_COUNT);
        const bl_op_info *info = &bl_op_infos[op];
        if (!info->units(&info->cases[0].p))
            continue;
        bl_params p = random_problem(op);
        bl_operand o[BL_MAX_OPERANDS];
        bl_extent e[BL_MAX_OPERANDS] = { 0 };
        double *whole[BL_MAX_OPERANDS] = { NULL }, *parts[BL_MAX_OPERANDS] = { NULL };
        const uint32_t n = bl_op_operands(op, o);
        uint8_t written[MOST_ROWS] = { 0 };
        info->extents(&p, e);
        for (uint32_t i = 0; i < n; i++) {
            if (!e[i].rows)
                continue;
            p.v[i] = (struct view){ next(50), e[i].rows > 1 && o[i].access == BL_READ && !next(8) ? 0 : e[i].cols + next(4) };
            assert_true(p.v[i].off + e[i].rows * (p.v[i].stride + e[i].cols) < MOST_ELEMENTS && e[i].rows <= MOST_ROWS);
            for (size_t k = 0; k < MOST_ELEMENTS; k++)
                data[0][i][k] = data[1][i][k] = next(2001) / 1000.0 - 1;
            whole[i] = data[0][i];
            parts[i] = data[1][i];
        }
        info->ref(&p, whole, NULL);
        const uint32_t units = info->units(&p), y = n - 1;
        for (uint32_t first = 0; first < units;) {
            bl_params part = p;
            bl_extent of[BL_MAX_OPERANDS] = { 0 };
            const uint32_t asked = 1 + next(units - first), took = info->cut(&part, first, asked);
            assert_true(took >= 1 && took <= asked);
            info->extents(&part, of);
            for (uint32_t i = 0; i < n; i++)
                if (e[i].rows) {
                    const uint32_t row = row_inside(info->name, &p.v[i], &e[i], &part.v[i], &of[i]);
                    for (uint32_t r = 0; i == y && r < of[i].rows; r++)
                        written[row + r]++;
                }
            info->ref(&part, parts, NULL);
            first += took;
            cut[op]++;
        }
        for (uint32_t r = 0; r < e[y].rows; r++)
            assert_int_equal(written[r], 1);
        for (uint32_t i = 0; i < n; i++)
            if (whole[i] && memcmp(data[0][i], data[1][i], sizeof(data[0][i]))) /* the same meaning, in double */
                fail_msg("%s: the parts make something else of %c", info->name, o[i].name);
    }
    for (int op = 0; op < BL_OP_COUNT; op++)
        assert_true(cut[op] > 200 || !bl_op_infos[op].units(&bl_op_infos[op].cases[0].p));
}

/* --- pieces ------------------------------------------------------------------------------------------------------------- */

/* Marks the workgroups of a piece, which no other piece has. */
static void cover(uint8_t *grid, const bl_dispatch *whole, const bl_dispatch *piece)
{
    for (int i = 0; i < 3; i++)
        assert_true(piece->groups[i] && piece->base[i] >= whole->base[i] &&
                    piece->base[i] + piece->groups[i] <= whole->base[i] + whole->groups[i]);
    for (uint32_t z = 0; z < piece->groups[2]; z++)
        for (uint32_t y = 0; y < piece->groups[1]; y++)
            for (uint32_t x = 0; x < piece->groups[0]; x++) {
                const uint32_t at[3] = { piece->base[0] + x - whole->base[0], piece->base[1] + y - whole->base[1],
                                         piece->base[2] + z - whole->base[2] };
                assert_int_equal(grid[(at[2] * whole->groups[1] + at[1]) * whole->groups[0] + at[0]]++, 0);
            }
}

static uint32_t groups_of(const bl_dispatch *d) { return d->groups[0] * d->groups[1] * d->groups[2]; }

static void pieces_cover_the_grid(void **state)
{
    (void)state;
    enum { SIDE = 24 };
    static uint8_t grid[SIDE * SIDE * SIDE];
    bl_graph *g = NULL;
    bl_exec *e = NULL;
    assert_int_equal(bl_graph_create(BL_F32, false, &g), BL_OK);
    bl_graph_keep(g, bl_graph_activation(g, input(g, 1, 100, 100, 64), ACT_SILU));
    assert_int_equal(bl_exec_create(kernels, stream, g, 0, &e), BL_OK);
    bl_record one = copy_of(bl_exec_record(e)), cut;
    bl_dispatch *d = &one.list[0].d;
    assert_int_equal(one.count, 1);
    uint32_t several = 0, single = 0;
    for (uint32_t turn = 0; turn < 3000; turn++) {
        for (int i = 0; i < 3; i++) {
            d->groups[i] = 1 + next(turn % (1u << (i + 1)) ? SIDE : 1);
            d->base[i] = next(3);
        }
        const uint32_t all = groups_of(d), allowed = 1 + next(all + 5);
        const bl_dispatch first = bl_dispatch_first(d, allowed);
        assert_true(groups_of(&first) <= allowed && !memcmp(first.base, d->base, sizeof(d->base)));
        memset(grid, 0, sizeof(grid));
        cover(grid, d, &first);

        const double rate = 1 + next(1000), ns = bl_dispatch_work(d) * rate, budget = ns * (1 + next(1000)) / (1 + next(8000));
        bl_kernel_set_rate(kernels, d, rate);
        assert_int_equal(bl_record_cut(kernels, &one, budget, &cut), BL_OK);
        double sum = 0;
        memset(grid, 0, sizeof(grid));
        for (uint32_t i = 0; i < cut.count; i++) {
            cover(grid, d, &cut.list[i].d);
            assert_true(cut.list[i].ns <= budget * (1 + 1e-9) || groups_of(&cut.list[i].d) == 1);
            sum += cut.list[i].ns;
            single += groups_of(&cut.list[i].d) == 1 && cut.list[i].ns > budget;
        }
        for (uint32_t i = 0; i < all; i++)
            assert_int_equal(grid[i], 1);
        assert_true(sum > ns * (1 - 1e-9) && sum < ns * (1 + 1e-9));
        several += cut.count > 1;
        assert_true(cut.count == 1 || budget < ns);
        bl_record_destroy(&cut);
    }
    assert_true(several > 1000 && single > 100);
    bl_record_destroy(&one);
    bl_exec_destroy(&e);
    bl_graph_destroy(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(barriers_of_random_graphs), cmocka_unit_test(barriers_of_the_small_model),
        cmocka_unit_test(barriers_of_stable_diffusion), cmocka_unit_test(parts_make_the_whole), cmocka_unit_test(pieces_cover_the_grid),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
