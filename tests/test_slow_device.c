/* How long the submissions of a device of any speed are: the pretended driver with a clock of its own (fake_vulkan.h), the heavy nodes of
 * Stable Diffusion 1.5. 40 GFLOP/s are what a software driver has on a few cores. A workgroup is never cut, so that where one takes longer
 * than a submission may, its submission has nothing else. */
#include "fake_vulkan.h"
#include "exec.h"
#include <math.h>
#include <sys/resource.h>

static const double LIMIT = 250e6, SOFTWARE = 40; /* ns; flops of a nanosecond */

/* --- networks ----------------------------------------------------------------------------------------------------------- */

static bl_value input(bl_graph *g, uint32_t n, uint32_t h, uint32_t w, uint32_t c)
{
    return bl_graph_input(g, "input", (bl_shape){ n, h, w, c }, g->type);
}

static void conv(bl_graph *g, uint32_t images, uint32_t side, uint32_t in, uint32_t out)
{
    bl_graph_conv(g, input(g, images, side, side, in), input(g, 1, 1, out, 9 * in), input(g, 1, 1, 1, out), 3, 1, false);
}

static void attention(bl_graph *g, uint32_t queries, uint32_t keys, uint32_t heads, uint32_t head)
{
    const bl_value k = input(g, 1, keys, 1, heads * head), v = input(g, 1, keys, 1, heads * head);
    bl_graph_attention(g, input(g, 1, queries, 1, heads * head), k, v, heads, false);
}

static bl_value linear(bl_graph *g, bl_value x, uint32_t out)
{
    return bl_graph_linear(g, x, input(g, 1, 1, out, bl_graph_shape(g, x).c), input(g, 1, 1, 1, out));
}

static void feed_forward(bl_graph *g, uint32_t tokens, uint32_t c)
{
    const bl_value norm = bl_graph_layer_norm(g, input(g, 1, tokens, 1, c), input(g, 1, 1, 1, c), input(g, 1, 1, 1, c), 1e-5f);
    linear(g, bl_graph_geglu(g, linear(g, norm, 8 * c)), c);
}

static void unet(bl_graph *g)
{
    conv(g, 2, 64, 320, 320);
    conv(g, 1, 16, 1280, 1280);
    conv(g, 1, 8, 1280, 1280);
    conv(g, 1, 16, 2560, 1280);
    attention(g, 4096, 4096, 8, 40);
    attention(g, 4096, 77, 8, 40);
    feed_forward(g, 4096, 320);
}

static void autoencoder(bl_graph *g)
{
    const bl_value x = input(g, 1, 512, 512, 128);
    bl_graph_group_norm(g, x, input(g, 1, 1, 1, 128), input(g, 1, 1, 1, 128), 32, 1e-5f);
    bl_graph_conv(g, x, input(g, 1, 1, 128, 9 * 128), input(g, 1, 1, 1, 128), 3, 1, false);
    conv(g, 1, 512, 160, 4); /* larger than a binding */
    attention(g, 4096, 4096, 1, 512);
}

static void little(bl_graph *g)
{
    conv(g, 1, 8, 1280, 1280);
    attention(g, 1024, 77, 8, 80);
    feed_forward(g, 64, 1280);
}

/* --- a device ------------------------------------------------------------------------------------------------------------- */

typedef struct machine {
    bl_device *device;
    bl_stream *stream;
    bl_kernels *kernels;
    bl_graph *graph;
    bl_exec *exec;
} machine;

/* What the submissions of a run took. */
static struct {
    uint32_t count, long_ones;   /* all; of at least 50 ms */
    double longest, single;      /* ns: of several workgroups, and of one alone */
    double compiling;
} seen;

static void see(double ns, double compiling, uint64_t groups)
{
    seen.count++;
    seen.long_ones += ns >= 50e6;
    seen.compiling += compiling;
    if (groups > 1)
        seen.longest = BL_MAX(seen.longest, ns);
    else
        seen.single = BL_MAX(seen.single, ns);
}

static double (*real_clock)(void);

static void start(machine *m, void (*build)(bl_graph *), double slower, double noise, double uneven)
{
    *m = (machine){ 0 };
    fake_reset(NULL);
    fake.gpus[0].props.limits.maxStorageBufferRange = 128 << 20;
    fake.gpus[0].props.deviceType = slower < 1 ? VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU : VK_PHYSICAL_DEVICE_TYPE_CPU;
    fake.speed = SOFTWARE / slower;
    fake.overhead = 1e6;
    fake.compiling = 3e9;
    fake.noise = noise;
    fake.uneven = uneven;
    fake.took = see;
    real_clock = bl_clock;
    bl_clock = fake_clock;
    assert_int_equal(bl_device_open(NULL, NULL, &m->device), BL_OK);
    assert_int_equal(bl_stream_create(m->device, &m->stream), BL_OK);
    assert_int_equal(bl_kernels_create(m->device, NULL, &m->kernels), BL_OK);
    assert_int_equal(bl_kernels_guard(m->kernels, m->stream), BL_OK);
    assert_int_equal(bl_graph_create(BL_F32, true, &m->graph), BL_OK);
    build(m->graph);
    if (bl_exec_create(m->kernels, m->stream, m->graph, 0, &m->exec) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_true(seen.compiling > 0);
}

static void stop(machine *m)
{
    bl_exec_destroy(&m->exec);
    bl_graph_destroy(&m->graph);
    bl_kernels_destroy(&m->kernels);
    bl_stream_destroy(&m->stream);
    bl_device_close(&m->device);
    bl_clock = real_clock;
    expect_clean("slow device");
    memset(&seen, 0, sizeof(seen));
}

static bl_result run(machine *m)
{
    memset(&seen, 0, sizeof(seen));
    const bl_result result = bl_exec_run(m->exec);
    assert_true(seen.compiling == 0); /* that was before */
    return result;
}

static void run_well(machine *m, const char *when)
{
    if (run(m) != BL_OK)
        fail_msg("%s: %s", when, bl_last_error());
    const double longest = BL_MAX(seen.longest, seen.single), told = bl_exec_longest(m->exec);
    assert_true(told > longest * 0.999 && told < longest * 1.001);
}

/* --- tests ---------------------------------------------------------------------------------------------------------------- */

static void warm_submissions_are_short(void **state)
{
    (void)state;
    enum { RUNS = 8 };
    static const struct { const char *name; void (*build)(bl_graph *); double slower, noise, uneven; } cases[] = {
        { "U-Net, 40 times faster", unet, 1 / 40.0, 0, 1 }, { "U-Net", unet, 1, 0, 1 }, { "U-Net, 10 times slower", unet, 10, 0, 1 },
        { "U-Net, 100 times slower", unet, 100, 0, 1 }, { "U-Net, 100 times slower, noise", unet, 100, 0.3, 1 },
        { "U-Net, noise", unet, 1, 0.3, 1 }, { "U-Net, uneven", unet, 1, 0, 9 }, { "U-Net, uneven, noise", unet, 1, 0.3, 9 },
        { "U-Net, 10 times slower, uneven, noise", unet, 10, 0.3, 9 }, { "autoencoder", autoencoder, 1, 0, 1 },
        { "autoencoder, 10 times slower", autoencoder, 10, 0, 1 }, { "autoencoder, 100 times slower", autoencoder, 100, 0, 1 },
        { "autoencoder, 10 times slower, uneven, noise", autoencoder, 10, 0.3, 9 },
        { "little, 1000 times slower", little, 1000, 0, 1 }, { "little, 1000 times slower, noise", little, 1000, 0.3, 1 },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        machine m;
        double longest = 0, single = 0, cold = 0;
        uint32_t all = 0, long_ones = 0;
        start(&m, cases[i].build, cases[i].slower, cases[i].noise, cases[i].uneven);
        for (uint32_t k = 0; k < RUNS; k++) {
            run_well(&m, cases[i].name);
            if (!k) {
                cold = BL_MAX(seen.longest, seen.single);
                continue;
            }
            longest = BL_MAX(longest, seen.longest);
            single = BL_MAX(single, seen.single);
            all += seen.count;
            long_ones += seen.long_ones;
        }
        print_message("%-44s cold %4.0f ms; warm %4.0f ms, one workgroup alone %4.0f ms; %u of %u submissions are long, %u dispatches\n",
                      cases[i].name, cold * 1e-6, longest * 1e-6, single * 1e-6, long_ones, all, bl_exec_record(m.exec)->count);
        if (longest > LIMIT)
            fail_msg("%s: %.0f ms", cases[i].name, longest * 1e-6);
        assert_true(cases[i].slower < 1 || long_ones > all / 2);
        stop(&m);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    print_message("%ld MiB of host memory\n", usage.ru_maxrss / 1024);
}

static void a_device_that_slows_down_is_learnt(void **state)
{
    (void)state;
    static const double to[] = { 8, 1 / 8.0 };
    for (size_t i = 0; i < BL_COUNT(to); i++) {
        machine m;
        start(&m, unet, 10, 0, 1);
        for (uint32_t k = 0; k < 8; k++) {
            if (k == 3)
                fake.speed /= to[i];
            run_well(&m, "slower");
            print_message("run %u: %.0f ms, %.0f ms; %u of %u long; %u dispatches\n", k + 1, seen.longest * 1e-6, seen.single * 1e-6,
                          seen.long_ones, seen.count, bl_exec_record(m.exec)->count);
            if (k && k != 3 && k != 4 && seen.longest > LIMIT)
                fail_msg("run %u: %.0f ms", k + 1, seen.longest * 1e-6);
        }
        stop(&m);
    }
}

static double cancel_at;
static int cancelled(void *user)
{
    (void)user;
    return fake.now >= cancel_at;
}

static void cancelling_takes_half_a_second(void **state)
{
    (void)state;
    machine m;
    start(&m, unet, 100, 0, 1);
    cancel_at = INFINITY;
    bl_stream_set_interrupt(m.stream, cancelled, NULL);
    run_well(&m, "first");
    run_well(&m, "second");
    const double begun = fake.now;
    run_well(&m, "third");
    const double whole = fake.now - begun;
    double latest = 0;
    for (uint32_t i = 0; i < 500; i++) {
        cancel_at = fake.now + whole * (i + 0.5) / 500;
        const bl_result result = run(&m);
        assert_true(result == BL_ERROR_CANCELLED || (result == BL_OK && i > 490)); /* that was the end anyway */
        latest = BL_MAX(latest, fake.now - cancel_at);
    }
    print_message("a run of %.0f s ends within %.0f ms\n", whole * 1e-9, latest * 1e-6);
    assert_true(latest <= 500e6);
    cancel_at = INFINITY;
    run_well(&m, "after all");
    assert_true(seen.longest <= LIMIT);
    stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warm_submissions_are_short), cmocka_unit_test(a_device_that_slows_down_is_learnt),
        cmocka_unit_test(cancelling_takes_half_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
