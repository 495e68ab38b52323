/* One picture from the files of a checkpoint to the file of the picture, while one thing below the library fails: an allocation, a Vulkan
 * call or a file operation, once or from then on, at every place in turn. Whatever it is: an error with a reason and no file, or the very
 * same file; no memory, no Vulkan object, no open file and no temporary file is left. On the pretended driver (fake_vulkan.h), so that a
 * run takes milliseconds; what devices do wrong is in test_defence.c.
 * A sample of the places; BLEMISH_FAULTS=n: every n-th one, 1 all of them (scripts/faults.sh). */
#include "fake_vulkan.h"
#include "failing_files.h"
#include "failing_memory.h"
#include "model_session.h"

enum { SAMPLE = 100, SAMPLE_CALLS = 20 }; /* places of a kind that are tried, about; of the Vulkan calls, with each error */

enum { WORDS, GUIDED, JOBS };
static const char *const job_names[] = { "words", "photo, mask and guided words" };

static const VkResult errors[] = { VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_DEVICE_LOST,
                                   VK_ERROR_INITIALIZATION_FAILED, VK_ERROR_UNKNOWN };

static char photo_path[96], mask_path[96], cache_dir[80], cache_path[160], out_dir[80], out_path[96];
static uint8_t *expected[JOBS];
static size_t expected_size[JOBS];

/* What a run is made to suffer, and what it came to. */
static struct {
    bl_result result;
    char reason[1024];
    int allocations, operations, calls; /* of each table */
    bool failed;                        /* the place was reached */
} run;

static double no_time(void) { return 0; } /* so that every run does the same */

/* --- the job -------------------------------------------------------------------------------------------------------------- */

static bl_result make_picture(int job)
{
    bl_result result = BL_OK;
    bl_context *c = NULL;
    bl_model *m = NULL;
    bl_image in = { 0 }, mask = { 0 };
    bl_generate_result made = { 0 };
    bl_context_options co = BL_CONTEXT_OPTIONS_INIT;
    bl_generate_options o = options(2, 7);
    co.precision = BL_PRECISION_F32;
    co.cache_dir = cache_dir;
    co.no_selftest = 1; /* the pretended device computes nothing */
    BL_TRY(bl_context_create(&co, &c));
    BL_TRY(bl_model_open(c, good, &m));
    o.guidance = 1;
    if (job == GUIDED) {
        BL_TRY(bl_image_read(photo_path, 3, &in));
        BL_TRY(bl_image_read(mask_path, 1, &mask));
        o.prompt = "a photo of a [[hazelnut]]";
        o.photo = &in;
        o.mask = &mask;
        o.strength = 1;
    }
    memset(&made, 0xff, sizeof(made));
    result = bl_generate(m, &o, &made);
    if (result != BL_OK)
        assert_true(zeroed(&made));
    BL_TRY(result);
    const bl_image_text texts[] = { { "parameters", made.parameters_text }, { "blemish", made.parameters } };
    BL_TRY(bl_image_write_png(out_path, &made.image, texts, BL_COUNT(texts)));
fail:
    snprintf(run.reason, sizeof(run.reason), "%s", bl_last_error()); /* what is freed now may fail too */
    bl_generate_result_free(&made);
    bl_image_free(&in);
    bl_image_free(&mask);
    bl_model_close(&m);
    bl_context_destroy(&c);
    return result;
}

/* --- a run with a fault ----------------------------------------------------------------------------------------------------- */

typedef enum table { MEMORY, FILES, VULKAN } table;

typedef struct fault {
    table table;
    int at;       /* the place, from 0; -1: nothing fails */
    bool on;      /* so does everything after it */
    int error;    /* errno, VkResult */
} fault;

static void run_job(int job, const fault *f)
{
    const bl_memory_api memory = bl_memory;
    enum { MANY = 1 << 30 };
    const bool files = f->table == FILES && f->at >= 0;
    remove(cache_path);
    remove(out_path);
    fake_reset(NULL);
    fake.filled = true;
    fake.incoherent = true; /* flushing may fail, too */
    if (f->table == VULKAN) {
        fake.fail_at = f->at;
        fake.fail_on = f->on;
        fake.error = (VkResult)f->error;
    }
    use_faulty(files ? f->at : MANY, f->error, !f->on);
    allocations = alive = 0;
    fail_at = f->table == MEMORY ? f->at + 1 : 0;
    fail_all = f->on;
    bl_memory = (bl_memory_api){ limited_resize, counted_release };
    bl_fail(BL_OK, "%s", "");
    run.result = make_picture(job);
    bl_memory = memory;
    bl_files = real;
    run.allocations = allocations;
    run.operations = MANY - calls_left;
    run.calls = fake.calls;
    run.failed = f->at >= 0 && (f->table == MEMORY ? allocations > f->at : f->table == FILES ? calls_left < 1 : fake.failed_count > 0);
}

/* The file of the picture is there and right, or not there; nothing else is in its folder. */
static bool picture_is_there(int job, const char *when)
{
    uint8_t *data = NULL;
    size_t size = 0;
    uint32_t entries = 0;
    DIR *d = opendir(out_dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        entries += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    const bool there = bl_path_is_file(out_path);
    if (entries != there)
        fail_msg("%s: %u files, the picture is %s", when, entries, there ? "there" : "not there");
    if (!there)
        return false;
    assert_int_equal(bl_file_read_all(out_path, 1 << 24, &data, &size, BL_ERROR_INPUT), BL_OK);
    if (expected[job] && (size != expected_size[job] || memcmp(data, expected[job], size) != 0))
        fail_msg("%s: another picture", when);
    if (expected[job]) {
        bl_free(data);
    } else {
        expected[job] = data;
        expected_size[job] = size;
    }
    return true;
}

/* The cache is whole or absent. */
static void expect_no_part_of_a_cache(const char *when)
{
    DIR *d = opendir(cache_dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, ".part-"))
            fail_msg("%s: %s is left", when, e->d_name);
    closedir(d);
}

static void expect_clean_end(int job, const fault *f, const char *when)
{
    expect_clean(when);
    if (alive)
        fail_msg("%s: %d allocations are left", when, alive);
    if (opened)
        fail_msg("%s: %d files are open", when, opened);
    expect_no_part_of_a_cache(when);
    const bool there = picture_is_there(job, when);
    if (run.result == BL_OK) {
        if (!there)
            fail_msg("%s: no error and no picture", when);
        return;
    }
    if (run.result > 0 || !*run.reason)
        fail_msg("%s: result %d, reason \"%s\"", when, (int)run.result, run.reason);
    if (!run.failed)
        fail_msg("%s: nothing failed, but: %s", when, run.reason);
    if (there && !strstr(run.reason, "make the new file durable")) /* all but that happens before the file has its name */
        fail_msg("%s: a picture, but: %s", when, run.reason);
    if (f->table == MEMORY && run.result != BL_ERROR_MEMORY)
        fail_msg("%s: %s: %s", when, bl_result_name(run.result), run.reason);
    if (f->table == VULKAN && run.result != BL_ERROR_MEMORY && run.result != BL_ERROR_DEVICE)
        fail_msg("%s: %s: %s", when, bl_result_name(run.result), run.reason);
}

/* --- every place ---------------------------------------------------------------------------------------------------------------- */

static int stride(table t, int places)
{
    const char *given = getenv("BLEMISH_FAULTS");
    return given ? BL_MAX(atoi(given), 1) : BL_MAX(places / (t == VULKAN ? SAMPLE_CALLS : SAMPLE), 1) | 1;
}

/* Fails at places of one kind, and says how many. */
static void fail_everywhere(int job, table t, const char *what, int error, int places)
{
    int tried = 0, errors_seen = 0;
    for (int on = 0; on < 2; on++) {
        const int step = stride(t, places);
        for (int n = on % step; n < places; n += step, tried++) {
            const fault f = { t, n, on, error };
            char when[160];
            snprintf(when, sizeof(when), "%s: %s %d of %d failing with %d%s", job_names[job], what, n, places, error,
                     on ? " from then on" : "");
            run_job(job, &f);
            if (!run.failed)
                fail_msg("%s: was not reached", when);
            expect_clean_end(job, &f, when);
            errors_seen += run.result != BL_OK;
        }
    }
    print_message("%s, %s, error %d: %d runs over %d places, %d ended with an error\n", job_names[job], what, error, tried, places,
                  errors_seen);
}

static void run_well(int job, const char *when)
{
    const fault none = { .at = -1 };
    run_job(job, &none);
    expect_clean_end(job, &none, when);
}

static void fail_at_all(int job)
{
    run_well(job, job_names[job]);
    const int memory_places = run.allocations, file_places = run.operations, vulkan_places = run.calls;
    assert_true(memory_places > 500 && file_places > 100 && vulkan_places > 500);
    fail_everywhere(job, MEMORY, "allocation", 0, memory_places);
    fail_everywhere(job, FILES, "file operation", EIO, file_places);
    fail_everywhere(job, FILES, "file operation", ENOSPC, file_places);
    for (size_t e = 0; e < BL_COUNT(errors); e++)
        fail_everywhere(job, VULKAN, "Vulkan call", errors[e], vulkan_places);
    run_well(job, "after all of them");
}

static void words(void **state)
{
    (void)state;
    fail_at_all(WORDS);
}

static void guided(void **state)
{
    (void)state;
    fail_at_all(GUIDED);
}

/* --- files ------------------------------------------------------------------------------------------------------------------------ */

static int set_up(void **state)
{
    (void)state;
    real = bl_files;
    bl_clock = no_time;
    make_pictures();
    if (!mkdtemp(root))
        return -1;
    snprintf(good, sizeof(good), "%s/good", root);
    snprintf(photo_path, sizeof(photo_path), "%s/photo.png", root);
    snprintf(mask_path, sizeof(mask_path), "%s/mask.png", root);
    snprintf(cache_dir, sizeof(cache_dir), "%s/cache", root);
    snprintf(cache_path, sizeof(cache_path), "%s/pipelines-00001234-00005678.bin", cache_dir);
    snprintf(out_dir, sizeof(out_dir), "%s/out", root);
    snprintf(out_path, sizeof(out_path), "%s/picture.png", out_dir);
    return mkdir(cache_dir, 0700) || mkdir(out_dir, 0700) || fx_write(good, TEST_DATA "/tokenizer", NULL) ||
        bl_image_write_png(photo_path, &photo, NULL, 0) != BL_OK || bl_image_write_png(mask_path, &spot_mask, NULL, 0) != BL_OK;
}

static int tear_down(void **state)
{
    (void)state;
    const char *const files[] = { photo_path, mask_path, cache_path, out_path };
    for (size_t i = 0; i < BL_COUNT(files); i++)
        remove(files[i]);
    for (int i = 0; i < JOBS; i++)
        bl_free(expected[i]);
    rmdir(cache_dir);
    rmdir(out_dir);
    fx_remove(good);
    return rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(words), cmocka_unit_test(guided) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
