/* Loaders, choosing a device, capabilities, memory and copies, on devices as the test describes them: see fake_vulkan.h. */
#include "fake_vulkan.h"
#include "stream.h"

/* --- loaders ---------------------------------------------------------------------------------------------------------- */

static PFN_vkGetInstanceProcAddr no_loader(void) { return NULL; }

static void machines_without_vulkan(void **state)
{
    (void)state;
    bl_device_info infos[2];
    bl_device *d = NULL;
    uint32_t count = 7;
    fake_reset(NULL);
    bl_vulkan_loader = no_loader;
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_ERROR_DEVICE);
    assert_null(d);
    expect_reason("no Vulkan loader");
    assert_int_equal(bl_device_list(infos, 2, &count), BL_ERROR_DEVICE);
    assert_int_equal(count, 0);

    const uint32_t old[] = { 0, VK_API_VERSION_1_0 }; /* 0: without vkEnumerateInstanceVersion */
    for (size_t i = 0; i < BL_COUNT(old); i++) {
        fake_reset(NULL);
        fake.version = old[i];
        assert_int_equal(bl_device_open(NULL, NULL, &d), BL_ERROR_DEVICE);
        expect_reason("loader is older than 1.1");
        expect_clean("old loader");
    }

    const VkResult none[] = { VK_SUCCESS, VK_ERROR_INITIALIZATION_FAILED, VK_ERROR_INCOMPATIBLE_DRIVER };
    for (size_t i = 0; i < BL_COUNT(none); i++) {
        fake_reset(NULL);
        fake.gpu_count = 0;
        fake.fail_name = "EnumeratePhysicalDevices";
        fake.fail_at = none[i] ? 0 : -1;
        fake.fail_on = true;
        fake.error = none[i];
        assert_int_equal(bl_device_open(NULL, NULL, &d), BL_ERROR_DEVICE);
        assert_null(d);
        expect_reason("no Vulkan device on this machine");
        count = 7;
        assert_int_equal(bl_device_list(infos, 2, &count), BL_OK);
        assert_int_equal(count, 0);
        expect_clean("no devices");
    }
}

/* --- choosing --------------------------------------------------------------------------------------------------------- */

static void set_gpu(uint32_t i, const char *name, VkPhysicalDeviceType type)
{
    fake.gpus[i].props.deviceType = type;
    snprintf(fake.gpus[i].props.deviceName, sizeof(fake.gpus[i].props.deviceName), "%s", name);
}

static void three_gpus(void)
{
    fake_reset(NULL);
    fake.gpu_count = 3;
    set_gpu(0, "Soft Raster", VK_PHYSICAL_DEVICE_TYPE_CPU);
    set_gpu(1, "Small Graphics 500", VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    set_gpu(2, "Large Graphics 9000", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
}

/* The name of the device that `which` opens, or the reason why there is none. */
static const char *opened(const char *which)
{
    static char text[256];
    bl_device *d = NULL;
    const bl_result r = bl_device_open(which, NULL, &d);
    assert_true(r == BL_OK || r == BL_ERROR_DEVICE);
    assert_true((r == BL_OK) == (d != NULL));
    snprintf(text, sizeof(text), "%s", d ? d->info.name : bl_last_error());
    bl_device_close(&d);
    expect_clean(text);
    return text;
}

static void the_best_device_is_taken(void **state)
{
    (void)state;
    three_gpus();
    assert_string_equal(opened(NULL), "Large Graphics 9000");
    assert_string_equal(opened(""), "Large Graphics 9000");
    set_gpu(2, "Virtual", VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU);
    assert_string_equal(opened(NULL), "Small Graphics 500");
    set_gpu(1, "Raster too", VK_PHYSICAL_DEVICE_TYPE_CPU);
    assert_string_equal(opened(NULL), "Virtual");
    set_gpu(2, "Thing", VK_PHYSICAL_DEVICE_TYPE_OTHER);
    assert_string_equal(opened(NULL), "Thing");
    fake.gpu_count = 2;
    assert_string_equal(opened(NULL), "Soft Raster"); /* nothing else; of equals the first */
    three_gpus();
    fake.gpus[2].props.limits.maxPerStageDescriptorStorageBuffers = 4;
    assert_string_equal(opened(NULL), "Small Graphics 500"); /* the best one cannot be used */
    set_gpu(1, "Twin", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
    fake.gpus[2].props.limits.maxPerStageDescriptorStorageBuffers = 8;
    assert_string_equal(opened(NULL), "Twin");
}

static void devices_are_chosen_by_index_uuid_and_name(void **state)
{
    (void)state;
    static const struct { const char *which, *expected; } cases[] = {
        { "0", "Soft Raster" }, { "1", "Small Graphics 500" }, { "2", "Large Graphics 9000" }, { "002", "Large Graphics 9000" },
        { "3", "device 3 asked for, 3 present" }, { "4294967296", "device 4294967296 asked for, 3 present" },
        { "99999999999999999999999999", "device 99999999999999999999 asked for, 3 present" },
        { "raster", "Soft Raster" }, { "LARGE", "Large Graphics 9000" }, { "Graphics 5", "Small Graphics 500" },
        { "graphics", "\"graphics\" matches 2 devices: give its index or UUID" },
        { "11111111-1111-1111-1111-111111111111", "Small Graphics 500" }, { "21212121-2", "Large Graphics 9000" },
        { "1-", "\"1-\" matches 3 devices: give its index or UUID" }, /* part of every UUID */
        { "geforce", "no device has \"geforce\" in its name or UUID" }, { "%s%n", "no device has \"%s%n\" in its name or UUID" },
    };
    three_gpus();
    for (size_t i = 0; i < BL_COUNT(cases); i++)
        assert_string_equal(opened(cases[i].which), cases[i].expected);
    char all[400];
    memset(all, 'x', sizeof(all));
    all[sizeof(all) - 1] = 0;
    assert_non_null(strstr(opened(all), "no device has \"xxx"));
    memcpy(fake.gpus[2].uuid, fake.gpus[1].uuid, VK_UUID_SIZE); /* twins that say the same */
    assert_string_equal(opened("11111111-1111-1111-1111-111111111111"),
                        "\"11111111-1111-1111-1111-111111111111\" matches 2 devices: give its index or UUID");
}

static void devices_that_lack_something_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        three_gpus();
        fake_gpu *g = &fake.gpus[1];
        const char *problem = "";
        switch (i) {
        case 0: g->props.limits.maxPerStageDescriptorStorageBuffers = 7; problem = "fewer than 8 storage buffers"; break;
        case 1: g->props.apiVersion = VK_MAKE_VERSION(1, 0, 300); problem = "Vulkan older than 1.1"; break;
        case 2: g->queue = VK_QUEUE_TRANSFER_BIT; problem = "no compute queue"; break;
        case 3: g->props.limits.maxComputeWorkGroupInvocations = 127; problem = "workgroups smaller than 128"; break;
        case 4: g->props.limits.maxComputeSharedMemorySize = 16383; problem = "less than 16 KiB of workgroup memory"; break;
        default: g->props.limits.maxComputeWorkGroupSize[0] = 64; problem = "workgroups smaller than 128"; break;
        }
        assert_non_null(strstr(opened("1"), "Small Graphics 500 cannot be used: "));
        assert_non_null(strstr(opened("1"), problem));
        bl_device_info infos[3];
        uint32_t count;
        assert_int_equal(bl_device_list(infos, 3, &count), BL_OK);
        assert_int_equal(count, 3);
        for (uint32_t k = 0; k < count; k++) {
            assert_int_equal(infos[k].index, k);
            assert_int_equal(infos[k].usable, k != 1);
            assert_true(k == 1 ? !!strstr(infos[k].problem, problem) : !*infos[k].problem);
        }
    }
    three_gpus();
    fake.gpu_count = 1;
    fake.gpus[0].props.apiVersion = VK_API_VERSION_1_0;
    assert_non_null(strstr(opened(NULL), "cannot be used")); /* nothing better */
}

static void lists_say_what_devices_are(void **state)
{
    (void)state;
    bl_device_info infos[3];
    uint32_t count;
    three_gpus();
    fake.gpus[0].caps = 0;
    fake.gpus[0].allocation = 12345;
    memset(infos, 0xaa, sizeof(infos));
    assert_int_equal(bl_device_list(infos, 2, &count), BL_OK);
    assert_int_equal(count, 3); /* what is there, not what fits */
    assert_string_equal(infos[0].name, "Soft Raster");
    assert_string_equal(infos[0].type, "cpu");
    assert_string_equal(infos[0].api, "1.1.0");
    assert_string_equal(infos[0].driver, "pretended 1.2");
    assert_string_equal(infos[0].uuid, "01010101-0101-0101-0101-010101010101");
    assert_int_equal(infos[0].max_allocation, 12345);
    assert_int_equal(infos[1].memory, 8ull << 30);
    assert_int_equal(infos[1].max_binding, 1u << 30);
    assert_int_equal(infos[1].subgroup_size, 32);
    assert_string_equal(infos[1].type, "integrated");
    assert_true(strstr(infos[1].caps, "s16") && strstr(infos[1].caps, "f16") && !strstr(infos[0].caps, "16"));
    for (size_t i = 0; i < sizeof(infos[2]); i++)
        assert_int_equal(((uint8_t *)&infos[2])[i], 0xaa);
    assert_int_equal(bl_device_list(NULL, 0, &count), BL_OK);
    assert_int_equal(count, 3);
    expect_clean("list");
}

/* --- capabilities ----------------------------------------------------------------------------------------------------- */

static void capabilities_are_a_set(void **state)
{
    (void)state;
    uint32_t caps = 7;
    uint64_t none[BL_LIMIT_COUNT] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
    for (uint32_t set = 1; set < 1u << BL_CAP_COUNT; set++) { /* every set survives its text */
        char text[64];
        bl_caps_text(set, text);
        assert_int_equal(bl_caps_parse(text, &caps, none), BL_OK);
        assert_int_equal(caps, set);
    }
    assert_int_equal(bl_caps_parse("sg,s16,sg", &caps, none), BL_OK); /* in any order, even twice */
    assert_int_equal(caps, BL_CAP_SG | BL_CAP_S16);
    for (unsigned i = 0; i < BL_LIMIT_COUNT; i++)
        assert_true(none[i] == UINT64_MAX);
    static const char *const bad[] = { "", ",", "s16,", ",s16", "s16,,sg", "S16", "s1", "s166", "s16 ,sg", "all",
        "binding", "binding=32M,", "binding=32M,s17" };
    for (size_t i = 0; i < BL_COUNT(bad); i++) {
        assert_int_equal(bl_caps_parse(bad[i], &caps, none), BL_ERROR_USAGE);
        expect_reason("unknown capability");
        for (unsigned c = 0; c < BL_CAP_COUNT; c++) { /* the message names them all */
            char known[64];
            bl_caps_text(1u << c, known);
            expect_reason(known);
        }
        assert_int_equal(caps, BL_CAP_SG | BL_CAP_S16); /* a failure changes nothing */
        assert_true(none[BL_LIMIT_BINDING] == UINT64_MAX);
    }
    assert_int_equal(bl_caps_parse("base", &caps, none), BL_OK);
    assert_int_equal(caps, 0);
}

static void limits_are_only_lowered(void **state)
{
    (void)state;
    const uint64_t own[BL_LIMIT_COUNT] = { 1024, 64 << 10, 1u << 30, 4ull << 30 };
    static const struct { const char *list; uint32_t caps; uint64_t limits[BL_LIMIT_COUNT]; const char *text; } good[] = {
        { "binding=32M", BL_CAP_SG, { 1024, 65536, 32 << 20, 4ull << 30 }, "sg,binding=32M" },
        { "s16,shared=20000,invocations=128", BL_CAP_S16, { 128, 20000, 1 << 30, 4ull << 30 }, "s16,invocations=128,shared=20000" },
        { "allocation=3G,f16", BL_CAP_F16, { 1024, 65536, 1 << 30, 3ull << 30 }, "f16,allocation=3G" },
        { "binding=2G,invocations=1K,s16", BL_CAP_S16, { 1024, 65536, 1 << 30, 4ull << 30 }, "s16" },
        { "binding=64M,s16,binding=256M", BL_CAP_S16, { 1024, 65536, 64 << 20, 4ull << 30 }, "s16,binding=64M" },
        { "base", 0, { 128, 16384, 128 << 20, 4ull << 30 }, "base" },
        { "base,binding=32M,shared=1G", 0, { 128, 16384, 32 << 20, 4ull << 30 }, "base,binding=32M" },
        { "binding=1024K,base", 0, { 128, 16384, 1 << 20, 4ull << 30 }, "base,binding=1M" },
        { "sg,allocation=8388609", BL_CAP_SG, { 1024, 65536, 1 << 30, 8388609 }, "sg,allocation=8388609" },
    };
    for (size_t i = 0; i < BL_COUNT(good); i++)
        for (int again = 0; again < 2; again++) { /* what is shown says the same */
            uint32_t caps = BL_CAP_SG;
            uint64_t limits[BL_LIMIT_COUNT];
            char text[BL_CAPS_TEXT];
            memcpy(limits, own, sizeof(limits));
            assert_int_equal(bl_caps_parse(again ? good[i].text : good[i].list, &caps, limits), BL_OK);
            assert_int_equal(caps, good[i].caps);
            assert_memory_equal(limits, good[i].limits, sizeof(limits));
            bl_caps_limits_text(caps, limits, own, text);
            assert_string_equal(text, good[i].text);
        }
    static const struct { const char *list, *reason; } bad[] = {
        { "binding=", "\"binding=\": binding is a whole number, perhaps of K, M or G, from 1M on" },
        { "binding=M", "from 1M on" }, { "binding=32m", "from 1M on" }, { "binding=32MB", "from 1M on" }, { "binding=0", "from 1M on" },
        { "binding=-1", "from 1M on" }, { "binding=1.5G", "from 1M on" }, { "binding= 32M", "from 1M on" },
        { "binding=18446744073709551617G", "from 1M on" }, { "binding=1023K", "from 1M on" },
        { "invocations=127", "invocations is a whole number, perhaps of K, M or G, from 128 on" },
        { "s16,shared=16383", "shared is a whole number, perhaps of K, M or G, from 16K on" },
        { "allocation=8191K", "allocation is a whole number, perhaps of K, M or G, from 8M on" },
        { "memory=1G", "unknown limit \"memory\"; known are invocations, shared, binding and allocation" },
        { "base,s16", "\"base,s16\": base means no capability" }, { "s16,base", "only limits stand beside it" },
        { "=1G", "unknown limit \"\"" }, { "s16=1", "unknown limit \"s16\"" }, { "base=1", "unknown limit \"base\"" },
    };
    for (size_t i = 0; i < BL_COUNT(bad); i++) {
        uint32_t caps = BL_CAP_SG;
        uint64_t limits[BL_LIMIT_COUNT];
        memcpy(limits, own, sizeof(limits));
        assert_int_equal(bl_caps_parse(bad[i].list, &caps, limits), BL_ERROR_USAGE);
        expect_reason(bad[i].reason);
        assert_int_equal(caps, BL_CAP_SG);
        assert_memory_equal(limits, own, sizeof(limits));
    }
}

static void forced_capabilities_clamp_the_device(void **state)
{
    (void)state;
    bl_device *d = NULL;
    fake_reset(NULL);
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_OK);
    assert_int_equal(d->caps & (BL_CAP_S16 | BL_CAP_F16 | BL_CAP_SG | BL_CAP_SGSIZE), BL_CAP_S16 | BL_CAP_F16 | BL_CAP_SG);
    assert_int_equal(fake.enabled, BL_CAP_S16 | BL_CAP_F16);
    assert_int_equal(d->limits.invocations, 1024);
    assert_int_equal(d->limits.buffers, 16);
    bl_device_close(&d);

    assert_int_equal(bl_device_open(NULL, "s16", &d), BL_OK);
    assert_int_equal(d->caps, BL_CAP_S16);
    assert_int_equal(fake.enabled, BL_CAP_S16); /* what is not used is not switched on */
    assert_int_equal(d->limits.binding, 1u << 30);
    bl_device_close(&d);

    assert_int_equal(bl_device_open(NULL, "base", &d), BL_OK);
    assert_int_equal(d->caps, 0);
    assert_int_equal(fake.enabled, 0);
    assert_int_equal(d->limits.invocations, 128);
    assert_int_equal(d->limits.shared, 16 << 10);
    assert_int_equal(d->limits.buffers, 8);
    assert_int_equal(d->limits.binding, 128 << 20);
    bl_device_close(&d);

    fake.gpus[0].props.limits.maxStorageBufferRange = 64 << 20;
    assert_int_equal(bl_device_open(NULL, "base", &d), BL_OK);
    assert_int_equal(d->limits.binding, 64 << 20); /* clamped, never raised */
    bl_device_close(&d);

    char text[BL_CAPS_TEXT], before[BL_CAPS_TEXT];
    fake.gpus[0].props.limits.maxStorageBufferRange = 1 << 30;
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_OK);
    const uint32_t whole = d->caps;
    bl_device_caps_text(d, before);
    bl_device_close(&d);
    assert_int_equal(bl_device_open(NULL, "binding=32M,allocation=256M,shared=16K,invocations=128", &d), BL_OK);
    assert_int_equal(d->caps, whole); /* limits leave the capabilities alone */
    assert_int_equal(d->limits.binding, 32 << 20);
    assert_int_equal(d->limits.allocation, 256 << 20);
    assert_int_equal(d->limits.shared, 16 << 10);
    assert_int_equal(d->limits.invocations, 128);
    assert_int_equal(bl_block_limit(d), 256 << 20);
    bl_device_caps_text(d, text);
    assert_true(!strncmp(text, before, strlen(before)));
    assert_string_equal(text + strlen(before), ",invocations=128,shared=16K,binding=32M,allocation=256M");
    bl_device_close(&d);

    assert_int_equal(bl_device_open(NULL, "sgsize,s16,cm", &d), BL_ERROR_DEVICE);
    assert_null(d);
    expect_reason("Pretended A lacks the capabilities sgsize,cm");
    assert_int_equal(bl_device_open(NULL, "sse2", &d), BL_ERROR_USAGE);
    assert_null(d);
    expect_clean("capabilities");
}

/* --- memory ----------------------------------------------------------------------------------------------------------- */

static void slices_stay_within_small_blocks(void **state)
{
    (void)state;
    enum { SLICES = 300, LIMIT = 65536 + 100 };
    bl_device *d = NULL;
    bl_arena *a = NULL;
    bl_slice slices[SLICES], extra;
    uint32_t rng = 5;
    fake_reset(NULL);
    fake.gpus[0].allocation = LIMIT;
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_OK);
    assert_int_equal(bl_block_limit(d), 65536); /* a multiple of the alignment */
    for (int expected = 0; expected < 3; expected++) { /* unknown, too little, far too much */
        const uint64_t bytes[] = { 0, 10000, 1ull << 40 };
        assert_int_equal(bl_arena_create(d, bytes[expected], "weights", &a), BL_OK);
        for (int i = 0; i < SLICES; i++) {
            rng = rng * 1664525u + 1013904223u;
            const uint64_t size = i == 7 ? 65536 : 1 + (rng >> 8) % (i % 3 ? 700 : 9000);
            assert_int_equal(bl_arena_slice(a, size, &slices[i]), BL_OK);
            assert_int_equal(slices[i].size, size);
            assert_int_equal(slices[i].offset % BL_SLICE_ALIGNMENT, 0);
            assert_true(slices[i].buffer->size <= LIMIT && slices[i].offset + size <= slices[i].buffer->size);
            for (int k = 0; k < i; k++)
                assert_false(slices[k].buffer == slices[i].buffer && slices[k].offset < slices[i].offset + size
                             && slices[i].offset < slices[k].offset + slices[k].size);
        }
        const uint64_t before = d->bytes;
        assert_int_equal(bl_arena_slice(a, 65537, &extra), BL_ERROR_MEMORY);
        expect_reason("weights: a tensor of 65537 bytes, a block holds 65536");
        assert_int_equal(bl_arena_slice(a, UINT64_MAX, &extra), BL_ERROR_MEMORY);
        assert_int_equal(bl_arena_slice(a, 0, &extra), BL_ERROR_MEMORY);
        assert_int_equal(d->bytes, before);
        bl_arena_destroy(&a);
        assert_null(a);
        assert_int_equal(d->bytes, 0);
    }
    bl_device_close(&d);
    expect_clean("arena");
}

static void blocks_have_the_expected_size(void **state)
{
    (void)state;
    bl_device *d = NULL;
    bl_arena *a = NULL;
    bl_slice s;
    fake_reset(NULL);
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_OK);
    assert_int_equal(bl_block_limit(d), 1ull << 30); /* whatever the device promises */
    assert_int_equal(bl_arena_create(d, 40000, "weights", &a), BL_OK);
    for (int i = 0; i < 40; i++)
        assert_int_equal(bl_arena_slice(a, 1000, &s), BL_OK); /* 1024 with the alignment: a little more than expected */
    assert_true(fake.live[FAKE_Memory] == 2 && d->bytes < 40000 + (16 << 20) + 1024);
    bl_arena_destroy(&a);
    assert_int_equal(bl_arena_create(d, 40960, "weights", &a), BL_OK);
    for (int i = 0; i < 40; i++)
        assert_int_equal(bl_arena_slice(a, 1000, &s), BL_OK);
    assert_int_equal(fake.live[FAKE_Memory], 1);
    assert_int_equal(d->bytes, 40960);
    bl_arena_destroy(&a);
    bl_device_close(&d);
    expect_clean("arena");
}

static void memory_is_accounted(void **state)
{
    (void)state;
    bl_device *d = NULL;
    bl_buffer a, b, c;
    fake_reset(NULL);
    fake.gpus[0].allocation = 1 << 20;
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_OK);
    assert_int_equal(bl_buffer_create(d, 1000, BL_MEMORY_DEVICE, "first", &a), BL_OK);
    assert_int_equal(bl_buffer_create(d, 5000, BL_MEMORY_STAGING, "second", &b), BL_OK);
    assert_non_null(b.host);
    assert_null(a.host);
    assert_int_equal(d->bytes, 6000);
    bl_buffer_destroy(d, &b);
    bl_buffer_destroy(d, &b); /* a zeroed one is accepted */
    assert_int_equal(d->bytes, 1000);
    assert_int_equal(d->peak, 6000);
    assert_int_equal(bl_buffer_create(d, (1 << 20) + 1, BL_MEMORY_DEVICE, "too large", &c), BL_ERROR_MEMORY);
    expect_reason("too large: 1048577 bytes, the device allocates at most 1048576 at once");
    assert_int_equal(bl_buffer_create(d, 0, BL_MEMORY_DEVICE, "empty", &c), BL_ERROR_MEMORY);
    fake.fail_name = "AllocateMemory";
    fake.fail_at = fake.calls = 0;
    fake.error = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    assert_int_equal(bl_buffer_create(d, 1 << 20, BL_MEMORY_DEVICE, "weights", &c), BL_ERROR_MEMORY);
    expect_reason("weights, 1.0 MiB on top of 0.0 MiB: vkAllocateMemory: out of device memory");
    assert_true(!c.buf && !c.mem && !c.size);
    assert_int_equal(d->bytes, 1000);
    assert_int_equal(d->peak, 6000); /* what failed was never there */
    assert_int_equal(bl_buffer_create(d, 5001, BL_MEMORY_DEVICE, "third", &c), BL_OK);
    assert_int_equal(d->peak, 6001);
    bl_buffer_destroy(d, &a);
    bl_buffer_destroy(d, &c);
    assert_int_equal(d->bytes, 0);
    bl_device_close(&d);
    expect_clean("buffers");
}

/* --- copies ----------------------------------------------------------------------------------------------------------- */

static bl_result counting_fill(void *context, uint64_t at, uint64_t n, void *out)
{
    uint32_t *calls = context;
    ++*calls;
    assert_true(at % 3000 == 0);
    for (uint64_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = (uint8_t)((at + i) % 251);
    return BL_OK;
}

static bl_result failing_fill(void *context, uint64_t at, uint64_t n, void *out)
{
    (void)context, (void)n, (void)out;
    return at ? bl_fail(BL_ERROR_MODEL, "file: short") : BL_OK;
}

static void copies_go_piece_by_piece(void **state)
{
    (void)state;
    bl_device *d = NULL;
    bl_stream *s = NULL;
    bl_buffer b;
    uint32_t calls = 0;
    const uint64_t size = (20ull << 20) + 17; /* more than two pieces */
    fake_reset(NULL);
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_OK);
    assert_int_equal(bl_stream_create(d, &s), BL_OK);
    assert_int_equal(bl_buffer_create(d, size + 1000, BL_MEMORY_DEVICE, "data", &b), BL_OK);
    const bl_slice slice = { &b, 256, size + 100 };
    uint8_t *back = malloc(size);
    assert_non_null(back);
    assert_int_equal(bl_stream_fill(s, &slice, 50, size, 3000, counting_fill, &calls), BL_OK);
    assert_int_equal(calls, 3);
    assert_int_equal(bl_stream_read(s, &slice, 50, back, size), BL_OK);
    for (uint64_t i = 0; i < size; i++)
        if (back[i] != i % 251)
            fail_msg("byte %llu is %u", (unsigned long long)i, back[i]);
    assert_int_equal(bl_stream_write(s, &slice, slice.size - 3, "xyz", 3), BL_OK);
    assert_int_equal(bl_stream_read(s, &slice, slice.size - 3, back, 3), BL_OK);
    assert_memory_equal(back, "xyz", 3);
    assert_int_equal(bl_stream_fill(s, &slice, 0, size, bl_stream_piece_limit(), failing_fill, NULL), BL_ERROR_MODEL);
    expect_reason("file: short");
    assert_int_equal(bl_stream_read(s, &slice, slice.size - 2, back, 3), BL_ERROR_USAGE);
    assert_int_equal(bl_stream_read(s, &slice, UINT64_MAX, back, 2), BL_ERROR_USAGE);
    assert_int_equal(bl_stream_write(s, &slice, 1, back, slice.size), BL_ERROR_USAGE);
    assert_int_equal(bl_stream_fill(s, &slice, 0, 1, 0, failing_fill, NULL), BL_ERROR_USAGE);
    assert_int_equal(bl_stream_fill(s, &slice, 0, 1, bl_stream_piece_limit() + 1, failing_fill, NULL), BL_ERROR_USAGE);
    free(back);
    bl_buffer_destroy(d, &b);
    bl_stream_destroy(&s);
    bl_device_close(&d);
    expect_clean("copies");
}

static void times_wrap_with_their_bits(void **state)
{
    (void)state;
    bl_device *d = NULL;
    bl_stream *s = NULL;
    bl_commands c;
    fake_reset(NULL);
    fake.gpus[0].props.limits.timestampPeriod = 2.5f;
    assert_int_equal(bl_device_open(NULL, NULL, &d), BL_OK);
    assert_int_equal(bl_stream_create(d, &s), BL_OK);
    assert_int_equal(bl_commands_begin(s, 1, BL_COMMANDS_TIMED, &c), BL_OK);
    assert_int_equal(bl_commands_end(&c), BL_OK);
    assert_int_equal((int)(bl_commands_time(&c) * 10), 250); /* 10 ticks from the last value of 32 bits to 9 */
    bl_commands_destroy(&c);
    assert_int_equal(bl_commands_begin(s, 1, 0, &c), BL_OK);
    assert_true(bl_commands_time(&c) < 0);
    bl_commands_destroy(&c);
    bl_commands_destroy(&c);
    bl_stream_destroy(&s);
    bl_device_close(&d);
    expect_clean("times");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_without_vulkan), cmocka_unit_test(the_best_device_is_taken),
        cmocka_unit_test(devices_are_chosen_by_index_uuid_and_name), cmocka_unit_test(devices_that_lack_something_are_refused),
        cmocka_unit_test(lists_say_what_devices_are), cmocka_unit_test(capabilities_are_a_set), cmocka_unit_test(limits_are_only_lowered),
        cmocka_unit_test(forced_capabilities_clamp_the_device), cmocka_unit_test(slices_stay_within_small_blocks),
        cmocka_unit_test(blocks_have_the_expected_size), cmocka_unit_test(memory_is_accounted), cmocka_unit_test(copies_go_piece_by_piece),
        cmocka_unit_test(times_wrap_with_their_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
