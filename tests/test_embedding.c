/* The library inside another program: on that program's own Vulkan device and queue, in several threads, with its pipeline cache kept as
 * bytes, stopped when the program says so, and going on after the device was lost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "blemish_vulkan.h"
#include "device.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MODEL BLEMISH_SOURCE "/models/demo"
enum { SIDE = 64, BYTES = SIDE * SIDE * 3 };

/* The program's device, and how its queue is used. */
static bl_device *own;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int locked, locks;

static void lock(void *user)
{
    assert_ptr_equal(user, &mutex);
    pthread_mutex_lock(&mutex);
    locked++;
    locks++;
}

static void unlock(void *user)
{
    (void)user;
    locked--;
    pthread_mutex_unlock(&mutex);
}

static bl_vulkan handles(void)
{
    bl_vulkan v = BL_VULKAN_INIT;
    v.instance = own->instance;
    v.physical_device = own->phys;
    v.device = own->dev;
    v.queue = own->queue;
    v.queue_family = own->family;
    v.lock = lock;
    v.unlock = unlock;
    v.user = &mutex;
    return v;
}

/* A picture of 64 x 64 pixels in two steps. */
static bl_result generate(bl_context *context, uint64_t seed, uint8_t pixels[BYTES])
{
    bl_model *model = NULL;
    bl_generate_result made = { 0 };
    bl_generate_options o = BL_GENERATE_OPTIONS_INIT;
    o.prompt = "a photo of a hazelnut";
    o.width = o.height = SIDE;
    o.steps = 2;
    o.seed = seed;
    bl_result result = bl_model_open(context, MODEL, &model);
    if (result == BL_OK)
        result = bl_generate(model, &o, &made);
    if (result == BL_OK)
        memcpy(pixels, made.image.pixels, BYTES);
    bl_generate_result_free(&made);
    bl_model_close(&model);
    return result;
}

static bl_context *open_adopted(void)
{
    bl_context *context = NULL;
    const bl_vulkan v = handles();
    if (bl_context_create_vulkan(NULL, &v, &context) != BL_OK)
        fail_msg("%s", bl_last_error());
    return context;
}

static void expected(uint8_t pixels[BYTES], uint64_t seed)
{
    bl_context *context = NULL;
    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    on.device = getenv("BLEMISH_DEVICE");
    on.caps = "base";
    assert_int_equal(bl_context_create(&on, &context), BL_OK);
    assert_int_equal(generate(context, seed, pixels), BL_OK);
    bl_context_destroy(&context);
}

/* --- the caller's device ------------------------------------------------------------------------------------------------- */

static void test_own_device(void **state)
{
    (void)state;
    static uint8_t mine[BYTES], theirs[BYTES];
    expected(theirs, 1);
    for (int i = 0; i < 2; i++) { /* the second time: the first destroyed nothing of the caller's */
        bl_context *context = open_adopted();
        assert_string_equal(bl_context_caps(context), "base");
        locks = 0;
        assert_int_equal(generate(context, 1, mine), BL_OK);
        assert_true(locks > 2);
        assert_int_equal(locked, 0);
        assert_memory_equal(mine, theirs, BYTES);
        bl_context_destroy(&context);
    }
}

typedef struct job {
    uint64_t seed;
    bl_result result;
    uint8_t pixels[BYTES];
} job;

static void *in_thread(void *user)
{
    job *j = user;
    bl_context *context = NULL;
    const bl_vulkan v = handles();
    j->result = bl_context_create_vulkan(NULL, &v, &context);
    if (j->result == BL_OK)
        j->result = generate(context, j->seed, j->pixels);
    bl_context_destroy(&context);
    return NULL;
}

static void test_threads_share_a_queue(void **state)
{
    (void)state;
    static job jobs[2] = { { .seed = 1 }, { .seed = 2 } };
    static uint8_t alone[BYTES];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, in_thread, &jobs[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(locked, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(jobs[i].result, BL_OK);
        expected(alone, jobs[i].seed);
        assert_memory_equal(jobs[i].pixels, alone, BYTES);
    }
}

static void test_refused(void **state)
{
    (void)state;
    bl_context *context = (bl_context *)&mutex;
    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    bl_vulkan v = handles();
    const struct { void *field; size_t size; const char *reason; } missing[] = {
        { &v.instance, sizeof(v.instance), "lacks an instance" }, { &v.physical_device, sizeof(v.physical_device), "a physical device" },
        { &v.device, sizeof(v.device), "a device or a queue" }, { &v.queue, sizeof(v.queue), "a queue" },
        { &v.lock, sizeof(v.lock), "one of lock and unlock" }, { &v.unlock, sizeof(v.unlock), "one of lock and unlock" },
        { &v.struct_size, sizeof(v.struct_size), "of another version" },
    };
    for (size_t i = 0; i < BL_COUNT(missing); i++) {
        memset(missing[i].field, 0, missing[i].size);
        assert_int_equal(bl_context_create_vulkan(NULL, &v, &context), BL_ERROR_USAGE);
        assert_non_null(strstr(bl_last_error(), missing[i].reason));
        assert_null(context);
        v = handles();
    }
    assert_int_equal(bl_context_create_vulkan(NULL, NULL, &context), BL_ERROR_USAGE);
    assert_int_equal(bl_context_create_vulkan(NULL, &v, NULL), BL_ERROR_USAGE);
    v.queue_family = 99;
    assert_int_equal(bl_context_create_vulkan(NULL, &v, &context), BL_ERROR_DEVICE);
    assert_non_null(strstr(bl_last_error(), "queue family 99 does not compute"));
    v = handles();
    on.caps = "s16,nonsense";
    assert_int_equal(bl_context_create_vulkan(&on, &v, &context), BL_ERROR_USAGE);
    assert_null(context);
    assert_int_equal(locked, 0);
}

/* --- a lost device --------------------------------------------------------------------------------------------------------- */

/* The program's dispatch in front of its driver: from the `lose_at`-th submission on, counted from 1, the device is lost. */
static struct {
    bool lost;
    int lose_at, submissions, later; /* submissions in all, and of them after the loss */
} driver;

static VKAPI_ATTR VkResult VKAPI_CALL losing_submit(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
    driver.later += driver.lost;
    driver.lost |= ++driver.submissions == driver.lose_at;
    return driver.lost ? VK_ERROR_DEVICE_LOST : own->vk.QueueSubmit(queue, count, infos, fence);
}

static VKAPI_ATTR VkResult VKAPI_CALL losing_wait(VkDevice device, uint32_t count, const VkFence *fences, VkBool32 all, uint64_t timeout)
{
    return driver.lost ? VK_ERROR_DEVICE_LOST : own->vk.WaitForFences(device, count, fences, all, timeout);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL losing_device(VkDevice device, const char *name)
{
    return !strcmp(name, "vkQueueSubmit") ? (PFN_vkVoidFunction)losing_submit
         : !strcmp(name, "vkWaitForFences") ? (PFN_vkVoidFunction)losing_wait : own->api.GetDeviceProcAddr(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL losing_instance(VkInstance instance, const char *name)
{
    return !strcmp(name, "vkGetDeviceProcAddr") ? (PFN_vkVoidFunction)losing_device : bl_vulkan_loader()(instance, name);
}

static bl_context *open_losing(int lose_at)
{
    bl_context *context = NULL;
    bl_vulkan v = handles();
    v.get_instance_proc_addr = losing_instance;
    memset(&driver, 0, sizeof(driver));
    driver.lose_at = lose_at;
    assert_int_equal(bl_context_create_vulkan(NULL, &v, &context), BL_OK);
    return context;
}

/* At the first submission, soon and in the middle; then the program makes a device and a context anew, and the picture again. */
static void test_goes_on_after_a_loss(void **state)
{
    (void)state;
    static uint8_t want[BYTES], got[BYTES];
    bl_context *context = open_losing(0);
    assert_int_equal(generate(context, 5, want), BL_OK);
    bl_context_destroy(&context);
    const int places[] = { 1, 9, driver.submissions / 2 };
    for (size_t i = 0; i < BL_COUNT(places); i++) {
        context = open_losing(places[i]);
        for (int k = 0; k < 2; k++) { /* a second call says the same, and nothing is submitted any more */
            assert_int_equal(generate(context, 5, got), BL_ERROR_DEVICE);
            assert_non_null(strstr(bl_last_error(), "the device was lost"));
            assert_true(driver.lost && driver.later == 0 && locked == 0);
        }
        bl_context_destroy(&context);
        bl_device_close(&own);
        assert_int_equal(bl_device_open(getenv("BLEMISH_DEVICE"), "base", &own), BL_OK);
        context = open_losing(0);
        assert_int_equal(generate(context, 5, got), BL_OK);
        assert_memory_equal(got, want, BYTES);
        bl_context_destroy(&context);
    }
}

/* --- the pipeline cache as bytes ------------------------------------------------------------------------------------------ */

static void test_cache_bytes(void **state)
{
    (void)state;
    static uint8_t first[BYTES], again[BYTES];
    bl_context *context = open_adopted();
    void *data = NULL;
    size_t size = 0;
    assert_int_equal(generate(context, 3, first), BL_OK);
    assert_int_equal(bl_context_pipeline_cache(context, &data, &size), BL_OK);
    assert_true(size > 64);
    bl_context_destroy(&context);
    for (int damaged = 0; damaged < 2; damaged++) { /* a miss, and no more */
        bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
        const bl_vulkan v = handles();
        uint8_t *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, data, size);
        copy[size / 2] ^= (uint8_t)damaged;
        on.cache_data = copy;
        on.cache_size = size;
        assert_int_equal(bl_context_create_vulkan(&on, &v, &context), BL_OK);
        free(copy); /* read during the call only */
        assert_int_equal(generate(context, 3, again), BL_OK);
        assert_memory_equal(first, again, BYTES);
        bl_context_destroy(&context);
    }
    bl_data_free(data);
    assert_int_equal(bl_context_pipeline_cache(NULL, &data, &size), BL_ERROR_USAGE);
    assert_null(data);
    bl_data_free(NULL);
}

/* --- stopping ------------------------------------------------------------------------------------------------------------- */

/* When the program was asked whether to stop, and the longest it was not. */
static struct {
    double last, gap, stopped_at;
    int asked, stop_after;
} watch;

static int ask(void *user)
{
    (void)user;
    const double now = bl_clock();
    if (watch.asked++)
        watch.gap = BL_MAX(watch.gap, now - watch.last);
    watch.last = now;
    if (!watch.stop_after || watch.asked < watch.stop_after)
        return 0;
    watch.stopped_at = watch.stopped_at > 0 ? watch.stopped_at : now;
    return 1;
}

/* Whenever the wish comes, it is heard at the next question and the call is over soon after: together at most half a second, once
 * kernels are compiled and their speed is known. The best of three, because the machine may be busy with something else. */
static void test_stops_within_half_a_second(void **state)
{
    (void)state;
    bl_context *context = NULL;
    bl_model *model = NULL;
    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    bl_generate_options o = BL_GENERATE_OPTIONS_INIT;
    bl_generate_result made;
    on.device = getenv("BLEMISH_DEVICE");
    on.cancel = ask;
    o.prompt = "a photo of a hazelnut";
    o.steps = 4;
    assert_int_equal(bl_context_create(&on, &context), BL_OK);
    assert_int_equal(bl_model_open(context, MODEL, &model), BL_OK);
    assert_int_equal(bl_generate(model, &o, &made), BL_OK); /* warm */
    bl_generate_result_free(&made);
    double best = 1e300;
    for (int i = 0; i < 3; i++) {
        memset(&watch, 0, sizeof(watch));
        assert_int_equal(bl_generate(model, &o, &made), BL_OK);
        bl_generate_result_free(&made);
        const double gap = watch.gap;
        const int asked = watch.asked;
        memset(&watch, 0, sizeof(watch));
        watch.stop_after = asked / 2;
        assert_int_equal(bl_generate(model, &o, &made), BL_ERROR_CANCELLED);
        assert_null(made.image.pixels);
        best = BL_MIN(best, 1e-6 * (gap + bl_clock() - watch.stopped_at));
    }
    print_message("stops within %.0f ms\n", best);
    assert_true(best < 500);
    watch.stop_after = 0;
    assert_int_equal(bl_generate(model, &o, &made), BL_OK); /* and goes on */
    bl_generate_result_free(&made);
    bl_model_close(&model);
    bl_context_destroy(&context);
}

static int open_own(void **state)
{
    (void)state;
    if (bl_device_open(getenv("BLEMISH_DEVICE"), "base", &own) == BL_OK)
        return 0;
    print_message("%s\n", bl_last_error());
    exit(getenv("CI") ? 1 : 77);
}

static int close_own(void **state)
{
    (void)state;
    bl_device_close(&own);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_device), cmocka_unit_test(test_threads_share_a_queue), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_goes_on_after_a_loss),
        cmocka_unit_test(test_cache_bytes), cmocka_unit_test(test_stops_within_half_a_second),
    };
    return cmocka_run_group_tests(tests, open_own, close_own);
}
