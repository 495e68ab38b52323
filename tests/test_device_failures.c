/* Devices, streams, kernels and execution when calls fail, and when files or limits are not as hoped: see fake_vulkan.h. */
#include "fake_vulkan.h"
#include "exec.h"
#include "file.h"
#include "pipeline_cache.h"
#include <sys/stat.h>
#include <unistd.h>

static PFN_vkGetInstanceProcAddr (*system_loader)(void); /* the library's own */
static bl_device *keep; /* never closed: drivers stay loaded, so that leak checkers can tell theirs */
static char cache_dir[] = "/tmp/blemish-test-device-XXXXXX";

static const VkResult errors[] = { VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_DEVICE_LOST,
                                   VK_ERROR_INITIALIZATION_FAILED, VK_ERROR_UNKNOWN };

static double no_time(void) { return 0; }

static int set_up(void **state)
{
    (void)state;
    bl_clock = no_time; /* how often the speed of a kernel is measured depends on it, and with that the number of calls */
    system_loader = bl_vulkan_loader;
    bl_device_open(getenv("BLEMISH_DEVICE"), NULL, &keep); /* tests that need it skip */
    return mkdtemp(cache_dir) ? 0 : -1;
}

static void remove_cache(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/pipelines-00001234-00005678.bin", cache_dir);
    remove(path); /* a file or an empty folder */
}

static int tear_down(void **state)
{
    (void)state;
    remove_cache();
    return rmdir(cache_dir);
}

/* --- a whole life ----------------------------------------------------------------------------------------------------- */

enum { INPUTS = 7, IN_COUNT = 2 * 4 * 4 * 4, OUT_COUNT = 2 * 4 * 4 * 4, STEPS = 2 };

typedef struct life {
    bl_device *device;
    bl_stream *stream;
    bl_kernels *kernels;
    bl_arena *arena;
    bl_graph *graph;
    bl_exec *exec;
    bl_commands timed;
    bl_weight weight;
    uint64_t bytes;      /* of the device when all was destroyed but the device */
    uint64_t peak;
    float out[2][OUT_COUNT];
} life;

/* x + linear(silu(norm(conv(x)))), with one constant weight. */
static bl_value describe_graph(life *l, bl_value *inputs)
{
    bl_graph *g = l->graph;
    const bl_shape shapes[INPUTS] = { { 2, 4, 4, 4 }, { 1, 1, 8, 36 }, { 1, 1, 1, 8 }, { 1, 1, 1, 8 }, { 1, 1, 1, 8 }, { 1, 1, 1, 4 },
                                      { 1, 1, 1, 4 } };
    for (uint32_t i = 0; i < INPUTS; i++)
        inputs[i] = bl_graph_input(g, "input", shapes[i], BL_F32);
    bl_value h = bl_graph_conv(g, inputs[0], inputs[1], inputs[2], 3, 1, false);
    h = bl_graph_activation(g, bl_graph_group_norm(g, h, inputs[3], inputs[4], 2, 1e-5f), ACT_SILU);
    h = bl_graph_linear(g, h, bl_graph_weight(g, &l->weight), inputs[5]);
    h = bl_graph_add(g, inputs[0], h);
    bl_graph_step_next(g, STEPS);
    return bl_graph_keep(g, h);
}

static void end_life(life *l)
{
    bl_commands_destroy(&l->timed);
    bl_exec_destroy(&l->exec);
    bl_graph_destroy(&l->graph);
    bl_arena_destroy(&l->arena);
    bl_kernels_destroy(&l->kernels);
    bl_stream_destroy(&l->stream);
    if (l->device) {
        l->bytes = l->device->bytes;
        l->peak = l->device->peak;
    }
    bl_device_close(&l->device);
}

/* From opening the device to closing it, as far as it gets. */
static bl_result live(const char *which, const char *cache, life *l)
{
    bl_result result = BL_OK;
    bl_value inputs[INPUTS], y;
    float data[512];
    *l = (life){ .weight = { .name = "weight", .rows = 4, .cols = 8, .type = BL_F32 } };
    for (size_t i = 0; i < BL_COUNT(data); i++)
        data[i] = (float)((i * 37 + 11) % 64) / 32 - 1;
    BL_TRY(bl_device_open(which, NULL, &l->device));
    BL_TRY(bl_stream_create(l->device, &l->stream));
    BL_TRY(bl_kernels_create(l->device, &(bl_cache_source){ .dir = cache }, &l->kernels));
    BL_TRY(bl_arena_create(l->device, 4096, "weights", &l->arena));
    BL_TRY(bl_arena_slice(l->arena, 4 * 8 * sizeof(float), &l->weight.slice));
    BL_TRY(bl_stream_write(l->stream, &l->weight.slice, 0, data, 4 * 8 * sizeof(float)));
    BL_TRY(bl_graph_create(BL_F32, false, &l->graph));
    y = describe_graph(l, inputs);
    BL_TRY(bl_graph_check(l->graph));
    BL_TRY(bl_exec_create(l->kernels, l->stream, l->graph, STEPS, &l->exec));
    BL_TRY(bl_exec_set_steps(l->exec, (struct bl_step[STEPS]){ { 0 } }, STEPS));
    for (uint32_t i = 0; i < INPUTS; i++) {
        const bl_shape s = bl_graph_shape(l->graph, inputs[i]);
        BL_TRY(bl_exec_write(l->exec, inputs[i], data + i, (size_t)s.n * s.h * s.w * s.c));
    }
    for (int i = 0; i < 2; i++) {
        BL_TRY(bl_exec_run(l->exec));
        BL_TRY(bl_exec_read(l->exec, y, l->out[i], OUT_COUNT));
    }
    BL_TRY(bl_commands_begin(l->stream, 1, BL_COMMANDS_TIMED, &l->timed));
    BL_TRY(bl_commands_end(&l->timed));
    BL_TRY(bl_stream_submit(l->stream, &l->timed, 1, NULL));
    BL_TRY(bl_stream_wait(l->stream));
    bl_commands_time(&l->timed);
fail:
    end_life(l);
    return result;
}

static void expect_no_trace(const char *when, const life *l)
{
    expect_clean(when);
    if (l->bytes)
        fail_msg("%s: %llu bytes left", when, (unsigned long long)l->bytes);
}

static bool harmless(const char *call)
{
    static const char *const names[] = { "SetDebugUtilsObjectNameEXT", "GetPipelineCacheData", "GetQueryPoolResults", "QueueWaitIdle" };
    for (size_t i = 0; i < BL_COUNT(names); i++)
        if (!strcmp(names[i], call))
            return true;
    return false;
}

/* The result of a life in which fake.failed failed. */
static void expect_failure(const char *when, bl_result r)
{
    bool named = false, all_harmless = true, no_driver = false;
    for (uint32_t i = 0; i < fake.failed_count; i++) {
        char call[64];
        snprintf(call, sizeof(call), "vk%s:", fake.failed[i]);
        named |= !!strstr(bl_last_error(), call);
        all_harmless &= harmless(fake.failed[i]);
        no_driver |= fake.error == VK_ERROR_INITIALIZATION_FAILED && !strcmp(fake.failed[i], "EnumeratePhysicalDevices");
    }
    if (all_harmless != (r == BL_OK))
        fail_msg("%s: %s", when, r == BL_OK ? "passed over" : bl_last_error());
    if (r == BL_OK)
        return;
    const bool memory = fake.error == VK_ERROR_OUT_OF_HOST_MEMORY || fake.error == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (r != (memory ? BL_ERROR_MEMORY : BL_ERROR_DEVICE))
        fail_msg("%s: %s", when, bl_result_name(r));
    if (no_driver)
        expect_reason("no Vulkan device"); /* what a loader without drivers says */
    else if (!named)
        fail_msg("%s: the reason is \"%s\"", when, bl_last_error());
}

static void a_life_leaves_nothing(void **state)
{
    (void)state;
    life l;
    fake_reset(NULL);
    if (live(NULL, NULL, &l) != BL_OK)
        fail_msg("%s", bl_last_error());
    expect_no_trace("life", &l);
    assert_true(l.peak > 8 << 20); /* the staging buffer at least */
}

static void every_call_may_fail(void **state)
{
    (void)state;
    for (size_t e = 0; e < BL_COUNT(errors); e++)
        for (int on = 0; on < 2; on++) {
            int n = 0;
            for (bool failed = true; failed && n < 5000; n++) {
                life l;
                char when[160];
                remove_cache();
                fake_reset(NULL);
                fake.incoherent = true;
                fake.fail_at = n;
                fake.fail_on = on;
                fake.error = errors[e];
                const bl_result r = live(NULL, cache_dir, &l);
                failed = fake.failed_count > 0;
                snprintf(when, sizeof(when), "call %d, %s, VkResult %d%s", n, failed ? fake.failed[0] : "none", (int)errors[e],
                         on ? " from then on" : "");
                if (failed)
                    expect_failure(when, r);
                else if (r != BL_OK)
                    fail_msg("%s: %s", when, bl_last_error());
                expect_no_trace(when, &l);
            }
            assert_true(n > 150 && n < 5000);
        }
    remove_cache();
}

/* On the real driver, each call once with one of the errors; then all goes well again. */
static void every_call_may_fail_on_the_device(void **state)
{
    (void)state;
    life l, good;
    if (!keep) {
        print_message("no Vulkan device\n");
        if (getenv("CI"))
            fail();
        skip();
    }
    fake_reset(system_loader());
    if (live(getenv("BLEMISH_DEVICE"), NULL, &good) != BL_OK)
        fail_msg("%s", bl_last_error());
    const int calls = fake.calls;
    expect_no_trace("life", &good);
    assert_memory_equal(good.out[0], good.out[1], sizeof(good.out[0]));
    double sum = 0;
    for (size_t i = 0; i < OUT_COUNT; i++)
        sum += (double)good.out[0][i] * (double)good.out[0][i];
    assert_true(sum > 1 && sum < 1e6);
    for (int n = 0; n < calls; n++) {
        char when[160];
        fake_reset(system_loader());
        fake.fail_at = n;
        fake.error = errors[(size_t)n % BL_COUNT(errors)];
        const bl_result r = live(getenv("BLEMISH_DEVICE"), NULL, &l);
        assert_true(fake.failed_count == 1);
        snprintf(when, sizeof(when), "call %d, %s, VkResult %d", n, fake.failed[0], (int)fake.error);
        expect_failure(when, r);
        expect_no_trace(when, &l);
    }
    fake_reset(system_loader());
    assert_int_equal(live(getenv("BLEMISH_DEVICE"), NULL, &l), BL_OK);
    assert_memory_equal(l.out, good.out, sizeof(l.out));
}

static int allocations_left;
static void *limited_resize(void *p, size_t size) { return allocations_left-- > 0 ? realloc(p, size) : NULL; }

static void every_host_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    int n = 0;
    for (bool failed = true; failed && n < 2000; n++) {
        life l;
        char when[64];
        fake_reset(NULL);
        bl_memory.resize = limited_resize;
        allocations_left = n;
        const bl_result r = live(NULL, NULL, &l);
        failed = allocations_left < 0;
        bl_memory = before;
        snprintf(when, sizeof(when), "allocation %d", n);
        if (r != (failed ? BL_ERROR_MEMORY : BL_OK))
            fail_msg("%s: %s: %s", when, bl_result_name(r), bl_last_error());
        expect_no_trace(when, &l);
    }
    assert_true(n > 20 && n < 2000);
}

/* After a failed run the same exec runs again. */
static void a_run_may_be_repeated(void **state)
{
    (void)state;
    static const char *const calls[] = { "QueueSubmit", "ResetFences", "WaitForFences" };
    for (size_t i = 0; i < BL_COUNT(calls); i++) {
        life l = { .weight = { .name = "weight", .rows = 4, .cols = 8, .type = BL_F32 } };
        bl_value inputs[INPUTS];
        fake_reset(NULL);
        assert_int_equal(bl_device_open(NULL, NULL, &l.device), BL_OK);
        assert_int_equal(bl_stream_create(l.device, &l.stream), BL_OK);
        assert_int_equal(bl_kernels_create(l.device, NULL, &l.kernels), BL_OK);
        assert_int_equal(bl_arena_create(l.device, 4096, "weights", &l.arena), BL_OK);
        assert_int_equal(bl_arena_slice(l.arena, 128, &l.weight.slice), BL_OK);
        assert_int_equal(bl_graph_create(BL_F32, false, &l.graph), BL_OK);
        describe_graph(&l, inputs);
        assert_int_equal(bl_exec_create(l.kernels, l.stream, l.graph, STEPS, &l.exec), BL_OK);
        fake.fail_name = calls[i];
        fake.calls = 0;
        fake.fail_at = 0;
        assert_int_equal(bl_exec_run(l.exec), BL_ERROR_DEVICE);
        assert_false(fake.pending); /* nothing runs after a failure */
        assert_int_equal(bl_exec_run(l.exec), BL_OK);
        end_life(&l);
        expect_no_trace(calls[i], &l);
    }
}

/* --- the pipeline cache ----------------------------------------------------------------------------------------------- */

/* Bytes that the driver is given from the folder; opening always works. */
static size_t cache_taken(const char *dir)
{
    bl_device *d = NULL;
    VkPipelineCache cache = VK_NULL_HANDLE;
    fake.cache_data = SIZE_MAX;
    if (bl_device_open(NULL, NULL, &d) != BL_OK || bl_pipeline_cache_open(d, &(bl_cache_source){ .dir = dir }, &cache) != BL_OK)
        fail_msg("%s", bl_last_error());
    d->vk.DestroyPipelineCache(d->dev, cache, NULL);
    bl_device_close(&d);
    expect_clean("cache");
    return fake.cache_data;
}

static void write_bytes(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static int64_t broken_read(int fd, void *buf, size_t n, uint64_t offset)
{
    (void)fd, (void)buf, (void)n, (void)offset;
    return -1;
}

static void a_damaged_cache_is_a_miss(void **state)
{
    (void)state;
    life l;
    char path[128], folder[128];
    uint8_t data[512];
    snprintf(path, sizeof(path), "%s/pipelines-00001234-00005678.bin", cache_dir);
    fake_reset(NULL);
    remove_cache();
    assert_int_equal(cache_taken(NULL), 0);
    assert_int_equal(cache_taken(cache_dir), 0);
    assert_int_equal(live(NULL, cache_dir, &l), BL_OK);
    assert_int_equal(cache_taken(cache_dir), 100); /* what the pretended driver keeps */

    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t size = fread(data, 1, sizeof(data), f);
    fclose(f);
    assert_true(size > 100 && size < sizeof(data));
    for (size_t i = 0; i < size; i++) { /* a flipped bit anywhere */
        data[i] ^= (uint8_t)(1 << i % 8);
        write_bytes(path, data, size);
        if (cache_taken(cache_dir))
            fail_msg("byte %zu flipped, and taken", i);
        data[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < size; n++) { /* cut off anywhere */
        write_bytes(path, data, n);
        if (cache_taken(cache_dir))
            fail_msg("%zu of %zu bytes, and taken", n, size);
    }
    data[size] = 0;
    write_bytes(path, data, size + 1);
    assert_int_equal(cache_taken(cache_dir), 0);
    write_bytes(path, data, size);
    assert_int_equal(cache_taken(cache_dir), 100);

    fake.gpus[0].props.driverVersion++;
    assert_int_equal(cache_taken(cache_dir), 0);
    fake.gpus[0].props.driverVersion--;
    fake.gpus[0].props.pipelineCacheUUID[15]++;
    assert_int_equal(cache_taken(cache_dir), 0);
    fake.gpus[0].props.pipelineCacheUUID[15]--;
    fake.gpus[0].props.deviceID++;
    assert_int_equal(cache_taken(cache_dir), 0);
    fake.gpus[0].props.deviceID--;
    assert_int_equal(cache_taken(cache_dir), 100);

    const bl_file_api before = bl_files;
    bl_files.read_at = broken_read;
    assert_int_equal(cache_taken(cache_dir), 0);
    bl_files = before;

    fake.fail_name = "CreatePipelineCache"; /* the driver does not take it: once more without */
    fake.fail_at = fake.calls = 0;
    assert_int_equal(cache_taken(cache_dir), 0);
    assert_int_equal(fake.failed_count, 1);
    fake.fail_name = NULL;
    fake.fail_at = -1;

    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* a folder in its place: neither read nor written */
    assert_int_equal(cache_taken(cache_dir), 0);
    assert_int_equal(live(NULL, cache_dir, &l), BL_OK);
    assert_int_equal(cache_taken(cache_dir), 0);
    assert_int_equal(rmdir(path), 0);

    snprintf(folder, sizeof(folder), "%s/new", cache_dir); /* made when it is missing */
    assert_int_equal(live(NULL, folder, &l), BL_OK);
    assert_int_equal(cache_taken(folder), 100);
    snprintf(path, sizeof(path), "%s/new/pipelines-00001234-00005678.bin", cache_dir);
    assert_int_equal(remove(path), 0);
    assert_int_equal(rmdir(folder), 0);
    snprintf(folder, sizeof(folder), "%s/no/such", cache_dir);
    assert_int_equal(live(NULL, folder, &l), BL_OK); /* cannot be made */
    assert_int_equal(cache_taken(folder), 0);
    expect_no_trace("cache", &l);
}

/* --- bindings --------------------------------------------------------------------------------------------------------- */

/* Rows of a 256 x `rows` product with weights of 64 KiB, on a device whose bindings hold `binding` bytes. */
static bl_result product(uint32_t binding, uint32_t rows)
{
    bl_result result = BL_OK;
    life l = { 0 };
    fake_reset(NULL);
    fake.gpus[0].props.limits.maxStorageBufferRange = binding;
    BL_TRY(bl_device_open(NULL, NULL, &l.device));
    BL_TRY(bl_stream_create(l.device, &l.stream));
    BL_TRY(bl_kernels_create(l.device, NULL, &l.kernels));
    BL_TRY(bl_graph_create(BL_F32, false, &l.graph));
    const bl_value x = bl_graph_input(l.graph, "x", (bl_shape){ 1, rows, 1, 256 }, BL_F32);
    const bl_value w = bl_graph_input(l.graph, "w", (bl_shape){ 1, 1, 64, 256 }, BL_F32);
    bl_graph_keep(l.graph, bl_graph_linear(l.graph, x, w, BL_NONE));
    BL_TRY(bl_exec_create(l.kernels, l.stream, l.graph, 0, &l.exec));
    BL_TRY(bl_exec_run(l.exec));
fail:
    end_life(&l);
    expect_no_trace("product", &l);
    return result;
}

static void operands_larger_than_a_binding_are_cut_or_refused(void **state)
{
    (void)state;
    if (product(65536, 64) != BL_OK)
        fail_msg("%s", bl_last_error());
    assert_int_equal(product(65535, 1), BL_ERROR_DEVICE);
    expect_reason("operand w needs 65536 bytes, a binding of Pretended A holds 65535");
    if (product(65536, 65) != BL_OK || product(65536, 4000) != BL_OK) /* the rows in parts */
        fail_msg("%s", bl_last_error());
}

static void a_step_table_that_is_missing_is_said(void **state)
{
    (void)state;
    life l = { 0 };
    fake_reset(NULL);
    assert_int_equal(bl_device_open(NULL, NULL, &l.device), BL_OK);
    assert_int_equal(bl_stream_create(l.device, &l.stream), BL_OK);
    assert_int_equal(bl_kernels_create(l.device, NULL, &l.kernels), BL_OK);
    assert_int_equal(bl_graph_create(BL_F32, false, &l.graph), BL_OK);
    bl_graph_step_next(l.graph, 3);
    assert_int_equal(bl_exec_create(l.kernels, l.stream, l.graph, 0, &l.exec), BL_ERROR_USAGE);
    assert_null(l.exec);
    expect_reason("needs a step table");
    end_life(&l);
    expect_no_trace("no steps", &l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_leaves_nothing), cmocka_unit_test(every_call_may_fail), cmocka_unit_test(every_call_may_fail_on_the_device),
        cmocka_unit_test(every_host_allocation_may_fail), cmocka_unit_test(a_run_may_be_repeated),
        cmocka_unit_test(a_damaged_cache_is_a_miss), cmocka_unit_test(operands_larger_than_a_binding_are_cut_or_refused),
        cmocka_unit_test(a_step_table_that_is_missing_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
