/* Whole generations on the real driver while something goes wrong below them, at every place in turn: submissions are dropped, memory is
 * spoilt, the device is lost, calls and allocations fail. Whatever it is, the outcome is an error with a reason and an empty result, or the
 * very same picture; nothing is leaked, and a new context works. Not every place is tried; BLEMISH_THOROUGH=n tries n times as many. */
#include "fake_vulkan.h"
#include "commands.h"
#include "model.h"
#include "model_session.h"

enum { WORDS, MASKED, HALF, GUIDED, KINDS };
static const char *const kind_names[] = { "words", "photo and mask", "words in f16", "guided" };
static PFN_vkGetInstanceProcAddr (*system_loader)(void);
static bl_image expected[KINDS];

/* Time passes when it is asked for, so that the same work is always submitted in the same way, several submissions a step. */
static double ticks;
static double ticking(void) { return ticks += 1.9e6; }

/* From one place to the next when about `few` of `all` are tried. */
static uint32_t stride(uint32_t all, uint32_t few)
{
    const char *times = getenv("BLEMISH_THOROUGH");
    few *= times ? (uint32_t)BL_MAX(atoi(times), 1) : 1;
    return all <= few ? 1 : all / few | 1;
}

/* --- sessions ----------------------------------------------------------------------------------------------------------- */

static bl_context *at_work;
static bl_model *model;

static bl_generate_options job(int kind)
{
    bl_generate_options o = options(2, 7);
    if (kind == MASKED) {
        o.scheduler = "pndm"; /* with history: three evaluations */
        o.guidance = 1;
        o.photo = &photo;
        o.crop = "none"; /* at the size of what is generated */
        o.mask = &spot_mask;
        o.strength = 1;
    }
    if (kind == GUIDED) { /* gradients, and the picture without a defect */
        o.prompt = "a photo of a [[hazelnut]]";
        o.photo = &photo;
        o.crop = "none"; /* at the size of what is generated */
        o.mask = &spot_mask;
        o.guidance = 1;
        o.strength = 1;
    }
    return o;
}

/* A context that nothing has gone wrong in, with the open model; calls and submissions are counted from here. */
static void open_session(int kind)
{
    fake_reset(system_loader());
    memset(&watch, 0, sizeof(watch));
    ticks = 0;
    if (open_context(getenv("BLEMISH_CAPS"), kind == HALF ? BL_PRECISION_F16 : BL_PRECISION_F32, &at_work) != BL_OK ||
        bl_model_open(at_work, good, &model) != BL_OK)
        fail_msg("%s", bl_last_error());
    fake.calls = 0;
    fake.submissions = 0;
}

static void close_session(const char *when)
{
    bl_model_close(&model);
    bl_context_destroy(&at_work);
    expect_clean(when);
}

/* One generation: an error with a reason and nothing else, or the expected picture. */
static bl_result attempt(int kind, const char *when)
{
    bl_generate_result out;
    const bl_generate_options o = job(kind);
    memset(&out, 0xff, sizeof(out));
    bl_fail(BL_OK, "%s", "");
    const bl_result r = bl_generate(model, &o, &out);
    if (r != BL_OK) {
        if (!zeroed(&out))
            fail_msg("%s: failed with a result: %s", when, bl_last_error());
        if (!*bl_last_error())
            fail_msg("%s: failed without a reason", when);
        return r;
    }
    const size_t size = (size_t)out.image.width * out.image.height * 3;
    if (expected[kind].pixels && memcmp(out.image.pixels, expected[kind].pixels, size) != 0)
        fail_msg("%s: another picture", when);
    if (!expected[kind].pixels) {
        expected[kind] = out.image;
        out.image = (bl_image){ 0 };
    }
    bl_generate_result_free(&out);
    return r;
}

static void expect_good(int kind, const char *when)
{
    open_session(kind);
    if (attempt(kind, when) != BL_OK)
        fail_msg("%s, and then: %s", when, bl_last_error());
    close_session(when);
}

/* The device was lost: the context says so from then on, with the first reason, and calls nothing. */
static void expect_lost(int kind, const char *when)
{
    char first[400];
    bl_model *another = NULL;
    snprintf(first, sizeof(first), "%s", bl_last_error());
    assert_true(at_work->device->lost);
    const int before = fake.calls;
    for (int i = 0; i < 2; i++)
        if (attempt(kind, when) != BL_ERROR_DEVICE || !strstr(bl_last_error(), first))
            fail_msg("%s: after \"%s\": \"%s\"", when, first, bl_last_error());
    assert_int_equal(bl_model_open(at_work, good, &another), BL_ERROR_DEVICE);
    expect_reason(first);
    assert_null(another);
    assert_int_equal(fake.calls, before);
}

/* --- what the device is made to do ---------------------------------------------------------------------------------------- */

typedef enum deed { DROP, DROP_SENTINEL, SPOIL_SENTINEL, KEEP_SENTINEL, PLANT } deed;
static struct {
    deed deed;
    uint32_t at;             /* before or with this submission */
    uint32_t keep;           /* DROP: command buffers that are done */
    uint32_t bits;           /* SPOIL_SENTINEL: what the counter holds instead */
    uint32_t buffer, part;   /* PLANT: of fake.buffers; a whole one, or with 1 .. 8 that eighth of it */
} trouble;

/* What a good run submits. */
enum { MAX_SUBMISSIONS = 4000 };
static struct {
    uint32_t count, commands[MAX_SUBMISSIONS], stage[MAX_SUBMISSIONS];
    uint32_t runs, run[MAX_SUBMISSIONS];  /* those with several command buffers: uploads and measurements have one */
    uint32_t buffers, first[FAKE_MAX_BUFFERS], last[FAKE_MAX_BUFFERS]; /* submissions while it was there */
    uint64_t size[FAKE_MAX_BUFFERS];
} seen;

static void note(VkSubmitInfo *info)
{
    const uint32_t n = fake.submissions - 1;
    assert_true(n < MAX_SUBMISSIONS);
    seen.commands[n] = info->commandBufferCount - 1; /* without the sentinel */
    seen.stage[n] = watch.seen;
    seen.count = n + 1;
    if (seen.commands[n] > 1)
        seen.run[seen.runs++] = n;
    for (uint32_t b = 0; b < fake.buffer_count; b++) {
        if (b >= seen.buffers) {
            seen.first[b] = n;
            seen.size[b] = fake.buffers[b].size;
        }
        if (fake.buffers[b].size)
            seen.last[b] = n;
    }
    seen.buffers = fake.buffer_count;
}

/* By a submission of its own, which has finished when this returns. */
static void fill(VkBuffer b, uint64_t from, uint64_t size, uint32_t bits)
{
    PFN_vkCmdFillBuffer fill_buffer = (PFN_vkCmdFillBuffer)fake_instance.GetDeviceProcAddr(fake.dev, "vkCmdFillBuffer");
    VkCommandPool pool;
    VkCommandBuffer cmd;
    const VkMemoryBarrier all = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT };
    const VkPipelineStageFlags any = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, host = VK_PIPELINE_STAGE_HOST_BIT;
    assert_int_equal(fake_device.CreateCommandPool(fake.dev, &(VkCommandPoolCreateInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, .queueFamilyIndex = fake.family }, NULL, &pool), VK_SUCCESS);
    assert_int_equal(fake_device.AllocateCommandBuffers(fake.dev, &(VkCommandBufferAllocateInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, .commandPool = pool, .commandBufferCount = 1 }, &cmd), VK_SUCCESS);
    assert_int_equal(fake_device.BeginCommandBuffer(cmd, &(VkCommandBufferBeginInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO }), VK_SUCCESS);
    fake_device.CmdPipelineBarrier(cmd, any, any, 0, 1, &all, 0, NULL, 0, NULL);
    fill_buffer(cmd, b, from, size, bits);
    fake_device.CmdPipelineBarrier(cmd, any, any | host, 0, 1, &all, 0, NULL, 0, NULL);
    assert_int_equal(fake_device.EndCommandBuffer(cmd), VK_SUCCESS);
    assert_int_equal(fake_device.QueueSubmit(fake_queue, 1, &(VkSubmitInfo){ .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .commandBufferCount = 1, .pCommandBuffers = &cmd }, VK_NULL_HANDLE), VK_SUCCESS);
    assert_int_equal(fake_device.QueueWaitIdle(fake_queue), VK_SUCCESS);
    fake_device.DestroyCommandPool(fake.dev, pool, NULL);
}

static void fill_part(uint32_t b, uint32_t part, uint32_t bits)
{
    const uint64_t size = fake.buffers[b].size, eighth = size / 32 * 4;
    if (part && eighth)
        fill(fake.buffers[b].buf, (part - 1) * eighth, eighth, bits);
    else
        fill(fake.buffers[b].buf, 0, size, bits);
}

/* The sentinel's counter is the only buffer of one number. */
static uint32_t counter(void)
{
    uint32_t found = FAKE_MAX_BUFFERS;
    for (uint32_t b = 0; b < fake.buffer_count; b++)
        if (fake.buffers[b].size == sizeof(float))
            found = found == FAKE_MAX_BUFFERS ? b : FAKE_MAX_BUFFERS + 1;
    assert_true(found < FAKE_MAX_BUFFERS);
    return found;
}

static void tamper(VkSubmitInfo *info)
{
    static const uint32_t NANS = 0x7fc07fc0; /* one of fp32, two of fp16 */
    if (fake.submissions - 1 != trouble.at)
        return;
    const uint32_t last = info->commandBufferCount - 1;
    switch (trouble.deed) {
    case DROP: info->commandBufferCount = trouble.keep; break;
    case SPOIL_SENTINEL: fill_part(counter(), 0, trouble.bits); /* fall through */
    case DROP_SENTINEL: info->commandBufferCount = last; break;
    case KEEP_SENTINEL: info->pCommandBuffers += last; info->commandBufferCount = 1; break;
    case PLANT: fill_part(trouble.buffer, trouble.part, NANS); break;
    }
}

/* Opens a session in which that happens. */
static void open_troubled(int kind, deed what, uint32_t at)
{
    open_session(kind);
    trouble.deed = what;
    trouble.at = at;
    fake.at_submit = tamper;
}

/* Fills `seen`. */
static void record(int kind)
{
    memset(&seen, 0, sizeof(seen));
    open_session(kind);
    fake.at_submit = note;
    if (attempt(kind, "a good run") != BL_OK)
        fail_msg("%s", bl_last_error());
    close_session("a good run");
}

/* The first or last submission of a stage, or of all. */
static bool at_edge(uint32_t n)
{
    return !n || n + 1 == seen.count || seen.stage[n] != seen.stage[n + 1] || seen.stage[n] != seen.stage[n - 1];
}

/* --- bookkeeping ---------------------------------------------------------------------------------------------------------- */

static uint32_t cases;

/* Ends a case. Every case starts with a new context, so nothing that an earlier one left behind is needed for all to be well; now and
 * then that is seen to the end. */
static void end_case(int kind, const char *when)
{
    close_session(when);
    if (++cases % 16 == 0)
        expect_good(kind, when);
}

static void end_cases(int kind, const char *what, uint32_t least)
{
    expect_good(kind, what);
    print_message("%s, %s: %u cases\n", what, kind_names[kind], cases);
    assert_true(cases >= least);
    cases = 0;
}

/* --- dropped work --------------------------------------------------------------------------------------------------------- */

static void dropped(int kind, deed what, uint32_t n, const char *text)
{
    char when[120];
    snprintf(when, sizeof(when), "%s, %s %u of %u", kind_names[kind], text, n + 1, seen.count);
    open_troubled(kind, what, n);
    if (attempt(kind, when) != BL_ERROR_DEVICE)
        fail_msg("%s: not noticed, or \"%s\"", when, bl_last_error());
    expect_reason("without doing it: the completion sentinel is");
    if (seen.commands[n] > 1) {
        expect_reason("segments ");
        expect_reason("_f32");
    }
    expect_lost(kind, when);
    end_case(kind, when);
}

static void dropped_work_is_noticed(void **state)
{
    (void)state;
    need_device();
    for (int kind = WORDS; kind < KINDS; kind += kind == MASKED ? GUIDED - MASKED : 1) {
        record(kind);
        trouble.keep = 0;
        for (uint32_t n = 0, step = stride(seen.count, 6); n < seen.count; n++)
            if (n % step == 0 || at_edge(n))
                dropped(kind, DROP, n, "dropped submission");
        end_cases(kind, "dropped submissions", 10);
        for (uint32_t i = 0, step = stride(seen.runs, 5); i < seen.runs; i += step) {
            const uint32_t n = seen.run[i];
            trouble.keep = 1 + n % (seen.commands[n] - 1);
            dropped(kind, DROP, n, "the tail of submission");
        }
        end_cases(kind, "dropped tails", 4);
    }
}

static void a_sentinel_is_believed_only_if_it_is_right(void **state)
{
    (void)state;
    static const uint32_t garbage[] = { 0x7fc00000, 0x7f800000, 0xff800000, 0, 0xbf800000, 0x4b000000, 1, 0x7f7fffff, 0xffffffff };
    need_device();
    record(WORDS);
    for (uint32_t n = 0, i = 0, step = stride(seen.count, 12); n < seen.count; n += step, i++) {
        trouble.bits = garbage[i % BL_COUNT(garbage)];
        dropped(WORDS, i % 4 == 3 ? DROP_SENTINEL : SPOIL_SENTINEL, n, "another number or none from the sentinel of submission");
    }
    end_cases(WORDS, "wrong sentinels", BL_COUNT(garbage) + 3);
}

/* A limit: the sentinel says that a submission was worked through to its end. Where a driver drops what stands before the sentinel, or
 * kills a dispatch and goes on (as amdgpu's soft recovery does), the sentinel counts all the same; what is found then is found by the
 * checks of values, and a picture of finite wrong values is not. */
static void a_sentinel_does_not_vouch_for_what_is_before_it(void **state)
{
    (void)state;
    uint32_t other = 0;
    need_device();
    record(WORDS);
    for (uint32_t i = 0, step = stride(seen.runs, 5); i < seen.runs; i += step) {
        bl_generate_result out;
        const bl_generate_options o = job(WORDS);
        open_troubled(WORDS, KEEP_SENTINEL, seen.run[i]);
        memset(&out, 0xff, sizeof(out));
        if (bl_generate(model, &o, &out) == BL_OK) {
            other += difference(&out.image, &expected[WORDS]) != 0;
        } else {
            assert_true(zeroed(&out));
            assert_null(strstr(bl_last_error(), "sentinel"));
        }
        bl_generate_result_free(&out);
        end_case(WORDS, "all but the sentinel dropped");
    }
    assert_true(other > 0);
    end_cases(WORDS, "all but the sentinel dropped", 4);
}

/* --- spoilt memory -------------------------------------------------------------------------------------------------------- */

static void plant(int kind, uint32_t at, uint32_t outcomes[2])
{
    char when[160];
    snprintf(when, sizeof(when), "%s, NaN in buffer %u (part %u), before submission %u of %u", kind_names[kind], trouble.buffer,
             trouble.part, at + 1, seen.count);
    open_troubled(kind, PLANT, at);
    const bl_result r = attempt(kind, when);
    if (r != BL_OK && !strstr(bl_last_error(), "not finite") && !strstr(bl_last_error(), "sentinel") &&
        !strstr(bl_last_error(), "has counted"))
        fail_msg("%s: %s", when, bl_last_error());
    outcomes[r != BL_OK]++;
    if (at_work->device->lost)
        expect_lost(kind, when);
    end_case(kind, when);
}

/* In every buffer at about `moments` of its life: the first, the last, others between. */
static void plant_everywhere(int kind, uint32_t moments)
{
    uint32_t outcomes[2] = { 0 };
    record(kind);
    for (uint32_t b = 0; b < seen.buffers; b++) {
        const uint32_t life = seen.last[b] - seen.first[b], step = stride(life, moments - 1);
        for (uint32_t m = 0; m <= life; m = m < life ? BL_MIN(m + step, life) : life + 1) {
            trouble.buffer = b;
            trouble.part = m / step % 3 == 1 ? 1 + (b + m) % 8 : 0;
            plant(kind, seen.first[b] + m, outcomes);
        }
    }
    print_message("%s: %u buffers, %u times the same picture, %u errors\n", kind_names[kind], seen.buffers, outcomes[0], outcomes[1]);
    assert_true(outcomes[0] > 3 && outcomes[1] > 3);
    end_cases(kind, "spoilt memory", 2 * seen.buffers);
}

static void spoilt_memory_makes_no_other_picture(void **state)
{
    (void)state;
    need_device();
    plant_everywhere(MASKED, 4);
    plant_everywhere(GUIDED, 2);
    if (strstr(bl_context_device(context)->caps, "s16"))
        plant_everywhere(HALF, 2);
}

/* Of the step table only the counter, in the last step: its rows are finite, and so is everything made from them. */
static void a_spoilt_count_of_steps_is_noticed(void **state)
{
    (void)state;
    const uint64_t table = 16 + 3 * sizeof(struct bl_step);
    uint32_t noticed = 0;
    need_device();
    record(MASKED);
    trouble.buffer = 0;
    while (trouble.buffer < seen.buffers && seen.size[trouble.buffer] != table)
        trouble.buffer++;
    assert_true(trouble.buffer < seen.buffers);
    trouble.part = 1;
    for (uint32_t n = seen.last[trouble.buffer] - 3; n <= seen.last[trouble.buffer]; n++) {
        open_troubled(MASKED, PLANT, n);
        if (attempt(MASKED, "a spoilt count") != BL_OK) {
            expect_reason("has counted 2143322048 steps after step 3 of 3");
            noticed++;
        }
        end_case(MASKED, "a spoilt count");
    }
    assert_true(noticed > 0);
    end_cases(MASKED, "spoilt counts of steps", 4);
}

/* --- calls that fail -------------------------------------------------------------------------------------------------------- */

static const char MAY_LOSE[] = "QueueSubmit WaitForFences QueueWaitIdle";

static void lose(int kind, const char *calls, uint32_t at, bool on)
{
    char when[120];
    open_session(kind);
    fake.fail_name = calls;
    fake.fail_at = (int)at;
    fake.fail_on = on;
    fake.error = VK_ERROR_DEVICE_LOST;
    const bl_result r = attempt(kind, "a lost device");
    snprintf(when, sizeof(when), "%s, lost in call %u%s", kind_names[kind], at, on ? " and from then on" : "");
    if (r != BL_ERROR_DEVICE || !fake.failed_count || !strstr(bl_last_error(), fake.failed[0]))
        fail_msg("%s: %s: %s", when, bl_result_name(r), bl_last_error());
    expect_reason("the device was lost");
}

static void a_lost_device_stays_lost(void **state)
{
    (void)state;
    need_device();
    for (int kind = WORDS; kind < KINDS; kind += kind == MASKED ? GUIDED - MASKED : 1) {
        open_session(kind);
        fake.fail_name = MAY_LOSE;
        assert_int_equal(attempt(kind, "a good run"), BL_OK);
        const uint32_t calls = (uint32_t)fake.calls, step = stride(calls, 10);
        close_session("a good run");
        for (uint32_t n = 0; n < calls; n += step) {
            lose(kind, MAY_LOSE, n, n / step % 2);
            expect_lost(kind, "lost");
            end_case(kind, "lost");
        }
        end_cases(kind, "lost devices", 8);
    }
}

static void a_loss_in_a_run_names_the_segments(void **state)
{
    (void)state;
    need_device();
    record(WORDS);
    for (uint32_t i = 0, step = stride(seen.runs, 5); i < seen.runs; i += step) {
        lose(WORDS, "QueueSubmit", seen.run[i], false);
        expect_reason("segments ");
        expect_reason("_fwd");
        end_case(WORDS, "lost in a run");
    }
    end_cases(WORDS, "lost in runs", 4);
}

/* Calls whose failure changes nothing. */
static bool harmless(const char *call) { return !strcmp(call, "SetDebugUtilsObjectNameEXT") || !strcmp(call, "QueueWaitIdle"); }

static void calls_may_fail(void **state)
{
    (void)state;
    static const VkResult errors[] = { VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_UNKNOWN, VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_DEVICE_LOST };
    need_device();
    open_session(MASKED);
    assert_int_equal(attempt(MASKED, "a good run"), BL_OK);
    const uint32_t calls = (uint32_t)fake.calls, step = stride(calls, 20);
    close_session("a good run");
    for (uint32_t n = 0, i = 0; n < calls; n += step, i++) {
        char when[120];
        open_session(MASKED);
        fake.fail_at = (int)n;
        fake.error = errors[i % BL_COUNT(errors)];
        const bl_result r = attempt(MASKED, "a failed call");
        assert_int_equal(fake.failed_count, 1);
        const char *call = fake.failed[0];
        snprintf(when, sizeof(when), "call %u of %u, %s, VkResult %d", n, calls, call, (int)fake.error);
        const bool memory = fake.error == VK_ERROR_OUT_OF_DEVICE_MEMORY || fake.error == VK_ERROR_OUT_OF_HOST_MEMORY;
        if (r != (harmless(call) ? BL_OK : memory ? BL_ERROR_MEMORY : BL_ERROR_DEVICE) || (r != BL_OK && !strstr(bl_last_error(), call)))
            fail_msg("%s: %s: %s", when, bl_result_name(r), bl_last_error());
        if (at_work->device->lost)
            expect_lost(MASKED, when);
        else if (i % 4 == 0 && attempt(MASKED, when) != BL_OK) /* the same context goes on */
            fail_msg("%s, and once more: %s", when, bl_last_error());
        end_case(MASKED, when);
    }
    end_cases(MASKED, "failed calls", 15);
}

static uint32_t allocations, allocation_fails;
static void *counting_resize(void *p, size_t size) { return allocations++ == allocation_fails ? NULL : realloc(p, size); }

static bl_result attempt_counted(uint32_t fails, const char *when)
{
    const bl_memory_api before = bl_memory;
    allocations = 0;
    allocation_fails = fails;
    bl_memory.resize = counting_resize;
    const bl_result r = attempt(MASKED, when);
    bl_memory = before;
    return r;
}

static void allocations_may_fail(void **state)
{
    (void)state;
    need_device();
    open_session(MASKED);
    assert_int_equal(attempt_counted(UINT32_MAX, "a good run"), BL_OK);
    const uint32_t all = allocations, step = stride(all, 16);
    close_session("a good run");
    for (uint32_t n = 0, i = 0; n < all; n += step, i++) {
        char when[80];
        snprintf(when, sizeof(when), "allocation %u of %u", n, all);
        open_session(MASKED);
        const bl_result r = attempt_counted(n, when);
        if (r != BL_ERROR_MEMORY)
            fail_msg("%s: %s: %s", when, bl_result_name(r), bl_last_error());
        expect_reason("memory");
        if (i % 4 == 0 && attempt(MASKED, when) != BL_OK)
            fail_msg("%s, and once more: %s", when, bl_last_error());
        end_case(MASKED, when);
    }
    end_cases(MASKED, "failed allocations", 12);
}

/* --- the command line --------------------------------------------------------------------------------------------------------- */

/* Entries of a folder, hidden ones too. */
static uint32_t files_in(const char *dir)
{
    DIR *d = opendir(dir);
    uint32_t n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

/* `blemish generate` in this process; the exit code. */
static int generate(const char *out)
{
    const char *args[] = { "generate", "--quiet", "--no-cache", "--no-selftest", "--model", good, "--prompt", PROMPT, "--steps", "2",
                           "--seed", "7", "--precision", "f32", "--out", out, NULL };
    char *argv[BL_COUNT(args)];
    memcpy(argv, args, sizeof(args));
    optind = 1; /* of getopt */
    ticks = 0;
    return command_generate.run(&command_generate, (int)BL_COUNT(args) - 1, argv);
}

static void no_file_is_left(void **state)
{
    (void)state;
    char dir[80], out[96];
    bl_image picture;
    need_device();
    record(WORDS);
    snprintf(dir, sizeof(dir), "%s/out", root);
    snprintf(out, sizeof(out), "%s/picture.png", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    for (int i = 0; i < 5; i++) {
        fake_reset(system_loader());
        trouble.deed = i < 3 ? DROP : PLANT;
        trouble.at = i < 3 ? (seen.count - 1) * (uint32_t)i / 2 : 0;
        trouble.keep = trouble.buffer = trouble.part = 0; /* the staging buffer, before the first weights come out of it */
        fake.at_submit = i < 4 ? tamper : NULL;
        fake.fail_at = i < 4 ? -1 : 8;
        fake.fail_name = "AllocateMemory";
        fake.error = VK_ERROR_OUT_OF_DEVICE_MEMORY;
        assert_int_equal(generate(out), i < 3 ? -BL_ERROR_DEVICE : i < 4 ? -BL_ERROR_MODEL : -BL_ERROR_MEMORY);
        assert_int_equal(files_in(dir), 0);
        expect_clean("the command line");
    }
    fake_reset(system_loader());
    assert_int_equal(generate(out), 0);
    assert_int_equal(files_in(dir), 1);
    assert_int_equal(bl_image_read(out, 3, &picture), BL_OK);
    assert_true(difference(&picture, &expected[WORDS]) == 0);
    bl_image_free(&picture);
    expect_clean("the command line");
    remove(out);
    assert_int_equal(rmdir(dir), 0);
}

static int set_up(void **state)
{
    system_loader = bl_vulkan_loader;
    bl_clock = ticking;
    return setup(state); /* its context is never lost: drivers stay loaded, so that leak checkers can tell theirs */
}

static int tear_down(void **state)
{
    for (int i = 0; i < KINDS; i++)
        bl_image_free(&expected[i]);
    return teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_work_is_noticed), cmocka_unit_test(a_sentinel_is_believed_only_if_it_is_right),
        cmocka_unit_test(a_sentinel_does_not_vouch_for_what_is_before_it), cmocka_unit_test(spoilt_memory_makes_no_other_picture),
        cmocka_unit_test(a_spoilt_count_of_steps_is_noticed),
        cmocka_unit_test(a_lost_device_stays_lost), cmocka_unit_test(a_loss_in_a_run_names_the_segments), cmocka_unit_test(calls_may_fail),
        cmocka_unit_test(allocations_may_fail), cmocka_unit_test(no_file_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
