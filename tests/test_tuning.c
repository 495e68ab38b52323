/* Plans of kernel choices: what one says is done where it can be, whatever else is in it; tune finds what is faster, and keeps it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "context.h"
#include "device_file.h"
#include "file.h"
#include "op_shape.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/blemish-tuning-XXXXXX";
static const char *const CAPS = "base"; /* few kernels, which compile quickly */

static bl_context *open_context(const char *plan, const char *dir)
{
    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    bl_context *c = NULL;
    on.device = getenv("BLEMISH_DEVICE");
    on.caps = CAPS;
    on.no_selftest = 1;
    on.plan = plan;
    on.cache_dir = dir;
    if (bl_context_create(&on, &c) != BL_OK) {
        print_message("no Vulkan device: %s\n", bl_last_error());
        if (getenv("CI"))
            fail();
        skip();
    }
    return c;
}

/* --- shape classes ---------------------------------------------------------------------------------------------------------- */

static void test_classes(void **state)
{
    (void)state;
    static const struct { bl_op op; const char *shape, *class; } cases[] = {
        { BL_OP_matmul_fwd, "m=77,n=320,k=768,act=silu,given=none", "m=128,n=512,k=1024" },
        { BL_OP_matmul_fwd, "m=128,n=512,k=1024,act=none,given=b", "m=128,n=512,k=1024" },
        { BL_OP_conv_fwd, "images=2,h=64,width=48,c=3,oc=5,kernel=3,stride=2,pad=1,up=0,act=none",
          "images=2,h=64,width=64,c=4,oh=32,ow=32,oc=8,kernel=3,stride=2,up=0" },
        { BL_OP_attention_fwd, "images=1,heads=5,head=40,tq=4096,tk=77,causal=0", "images=1,heads=8,head=40,tq=4096,tk=128" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        char text[BL_SHAPE_TEXT];
        bl_params p = bl_op_usual_case(cases[i].op)->p;
        assert_int_equal(bl_op_shape_parse(cases[i].op, cases[i].shape, &p), BL_OK);
        bl_op_class_text(cases[i].op, &p, text);
        assert_string_equal(text, cases[i].class);
    }
    for (int op = 0; op < BL_OP_COUNT; op++) /* a class is its own class */
        for (uint32_t i = 0; i < *bl_op_infos[op].case_count; i++) {
            char text[BL_SHAPE_TEXT], again[BL_SHAPE_TEXT];
            bl_params p = bl_op_infos[op].cases[i].p;
            bl_op_class_text((bl_op)op, &p, text);
            if (strstr(text, "slices=") || bl_op_shape_parse((bl_op)op, text, &p) != BL_OK)
                continue; /* sizes that follow from others, or do not go together once they are rounded */
            bl_op_class_text((bl_op)op, &p, again);
            assert_string_equal(text, again);
        }
}

/* --- reading ----------------------------------------------------------------------------------------------------------------- */

static void test_bad_plans(void **state)
{
    (void)state;
    static const struct { const char *text, *reason; } bad[] = {
        { "", "is empty" }, { "plan", "line 1" }, { "[]", "has no \"choices\"" }, { "{}", "has no \"choices\"" },
        { "{\"choices\": []}", "has no \"choices\"" }, { "{\"choices\": {\"add_fwd f32 rows=1\": 7}}", "is not the name of a kernel" },
        { "{\"choices\": {\"a\": \"b\", \"a\": \"c\"}}", "duplicate" }, { "{\"choices\": {\"a\": [[[[[[1]]]]]]}}", "nested" },
    };
    for (size_t i = 0; i < BL_COUNT(bad); i++) {
        json_t *plan;
        assert_int_equal(bl_tuning_parse("it", bad[i].text, strlen(bad[i].text), &plan), BL_ERROR_INPUT);
        assert_null(plan);
        if (!strstr(bl_last_error(), bad[i].reason))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, bl_last_error(), bad[i].reason);
    }
    bl_context_destroy(&(bl_context *){ open_context(NULL, NULL) }); /* there is a device */
    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    bl_context *c = NULL;
    on.device = getenv("BLEMISH_DEVICE");
    on.plan = "{}";
    assert_int_equal(bl_context_create(&on, &c), BL_ERROR_INPUT);
    assert_null(c);
    assert_string_equal(bl_last_error(), "the plan: has no \"choices\"");
}

/* --- choosing ---------------------------------------------------------------------------------------------------------------- */

static bl_params sum_of(uint32_t rows, uint32_t channels)
{
    bl_params p = { .add_fwd = { .rows = rows, .channels = channels, .y_rows = 1 } };
    bl_case_lay_out(BL_OP_add_fwd, &p, false);
    return p;
}

static bl_kernel chosen(const bl_context *c, uint32_t rows, uint32_t channels)
{
    const bl_params p = sum_of(rows, channels);
    bl_kernel k;
    assert_int_equal(bl_kernel_choose(c->kernels, BL_OP_add_fwd, BL_F32, &p, &k), BL_OK);
    return k;
}

static void test_choice(void **state)
{
    (void)state;
    static const struct { const char *kernel; bl_kernel taken; } cases[] = {
        { "add_fwd", BL_K_add_fwd },              /* able, and fits: not the table's first */
        { "add_fwd_tall", BL_K_add_fwd_vec4 },    /* the device as it is used is not able to */
        { "add_fwd_huge", BL_K_add_fwd_vec4 },    /* there is none of that name */
        { "copy_fwd", BL_K_add_fwd_vec4 },        /* of another op */
        { "", BL_K_add_fwd_vec4 },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        char plan[256];
        snprintf(plan, sizeof(plan), "{\"choices\": {\"add_fwd f32 rows=8,channels=64\": \"%s\", \"no_op f32\": \"add_fwd\"}}",
                 cases[i].kernel);
        bl_context *c = open_context(plan, NULL);
        assert_int_equal(chosen(c, 8, 64), cases[i].taken);
        assert_int_equal(chosen(c, 5, 36), cases[i].taken);              /* of the same class */
        assert_int_equal(chosen(c, 9, 64), BL_K_add_fwd_vec4);           /* of others */
        assert_int_equal(chosen(c, 8, 65), BL_K_add_fwd);
        bl_kernel_disable(c->kernels, BL_K_add_fwd, BL_F32);             /* it computes wrong results here */
        assert_int_equal(chosen(c, 8, 64), BL_K_add_fwd_vec4);
        bl_context_destroy(&c);
    }
    bl_context *c = open_context("{\"choices\": {\"add_fwd f32 rows=8,channels=64\": \"add_fwd_vec4\"}}", NULL);
    assert_int_equal(chosen(c, 8, 61), BL_K_add_fwd); /* the choice does not fit this one of the class */
    bl_context_destroy(&c);
}

/* A choice whose grid is larger than the limits is left out, too. */
static void test_grid(void **state)
{
    (void)state;
    static const struct { uint32_t n; bl_kernel taken; } cases[] = {
        { 1024, BL_K_matmul_fwd_any }, { (1 << 20) - 64, BL_K_matmul_fwd_staged_small },
    };
    bl_context *c = open_context(NULL, NULL);
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        bl_params p = { .matmul_fwd = { .m = 16, .n = cases[i].n, .k = 4, .a_rows = 1 } };
        json_t *plan = bl_tuning_create(c->device);
        bl_kernel taken;
        bl_case_lay_out(BL_OP_matmul_fwd, &p, false);
        assert_int_equal(bl_tuning_set(plan, BL_OP_matmul_fwd, BL_F32, &p, BL_K_matmul_fwd_any), BL_OK);
        bl_kernels_set_tuning(c->kernels, plan);
        assert_int_equal(bl_kernel_choose(c->kernels, BL_OP_matmul_fwd, BL_F32, &p, &taken), BL_OK);
        assert_int_equal(taken, cases[i].taken);
    }
    bl_context_destroy(&c);
}

/* --- keeping ------------------------------------------------------------------------------------------------------------------ */

static json_t *one_choice(const bl_context *c)
{
    const bl_params p = sum_of(8, 64);
    json_t *plan = bl_tuning_create(c->device);
    assert_int_equal(bl_tuning_set(plan, BL_OP_add_fwd, BL_F32, &p, BL_K_add_fwd), BL_OK);
    return plan;
}

/* Whether a context that begins with the folder takes the choice in it. */
static bool is_taken(void)
{
    bl_context *c = open_context(NULL, folder);
    const bl_kernel k = chosen(c, 8, 64);
    bl_context_destroy(&c);
    return k == BL_K_add_fwd;
}

static void test_kept(void **state)
{
    (void)state;
    bl_context *c = open_context(NULL, folder);
    json_t *plan = one_choice(c);
    char *path = bl_device_file_path(c->device, folder, "tuning");
    uint8_t *file = NULL;
    size_t size;
    assert_int_equal(bl_tuning_save(c->device, folder, plan), BL_OK);
    assert_int_equal(chosen(c, 8, 64), BL_K_add_fwd_vec4); /* it had begun before */
    assert_true(is_taken());

    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    bl_context *plain = NULL;
    on.device = getenv("BLEMISH_DEVICE");
    on.caps = CAPS;
    on.cache_dir = folder;
    on.no_tune = 1;
    assert_int_equal(bl_context_create(&on, &plain), BL_OK);
    assert_int_equal(chosen(plain, 8, 64), BL_K_add_fwd_vec4);
    bl_context_destroy(&plain);

    /* of another driver, other capabilities or other kernels, damaged, cut off, too long, no plan: as if it were not there */
    c->device->driver_uuid[3] ^= 1;
    assert_null(bl_tuning_load(c->device, folder));
    c->device->driver_uuid[3] ^= 1;
    c->device->caps ^= BL_CAP_TALL;
    assert_null(bl_tuning_load(c->device, folder));
    c->device->caps ^= BL_CAP_TALL;
    assert_int_equal(bl_file_read_all(path, 4096, &file, &size, BL_ERROR_INPUT), BL_OK);
    for (size_t i = 0; i < size; i++) {
        file[i] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(bl_file_write_atomic(path, file, i % 2 ? size : size - 1), BL_OK);
        if (bl_tuning_load(c->device, folder))
            fail_msg("byte %zu changed, and taken", i);
        file[i] ^= (uint8_t)(1 << i % 8);
    }
    file[size / 2] ^= 1;
    assert_int_equal(bl_file_write_atomic(path, file, size), BL_OK);
    assert_false(is_taken());
    bl_free(file);
    const size_t large = 3u << 20;
    file = bl_alloc(large, 1);
    assert_int_equal(bl_file_write_atomic(path, file, large), BL_OK);
    bl_free(file);
    assert_false(is_taken());
    assert_int_equal(bl_device_file_write(c->device, folder, "tuning", "{\"choices\"", 10), BL_OK); /* a sound file of nonsense */
    assert_false(is_taken());
    json_object_set_new(plan, "kernels", json_string("those of another version"));
    assert_int_equal(bl_tuning_save(c->device, folder, plan), BL_OK);
    assert_false(is_taken());
    json_decref(plan);
    remove(path);
    bl_free(path);
    bl_context_destroy(&c);
}

/* --- measuring ---------------------------------------------------------------------------------------------------------------- */

/* A device on which pipelines bound since slow_from pipelines were, in the order of their first use, and before slow_to, take long. */
static struct {
    VkPipeline seen[64];
    uint32_t count, slow_from, slow_to;
    bool slow;
    PFN_vkCmdBindPipeline bind;
    PFN_vkCmdDispatchBase dispatch;
} slow;

static VKAPI_ATTR void VKAPI_CALL bind_slowly(VkCommandBuffer cmd, VkPipelineBindPoint point, VkPipeline pipe)
{
    uint32_t i = 0;
    while (i < slow.count && slow.seen[i] != pipe)
        i++;
    assert_true(i < BL_COUNT(slow.seen));
    slow.seen[i] = pipe;
    slow.count += i == slow.count;
    slow.slow = i >= slow.slow_from && i < slow.slow_to;
    slow.bind(cmd, point, pipe);
}

static VKAPI_ATTR void VKAPI_CALL dispatch_slowly(VkCommandBuffer cmd, uint32_t x, uint32_t y, uint32_t z, uint32_t nx, uint32_t ny,
                                                  uint32_t nz)
{
    for (int i = 0; i < (slow.slow ? 10 : 1); i++) /* the result is the same every time */
        slow.dispatch(cmd, x, y, z, nx, ny, nz);
}

/* Once for a context: with the last one its driver leaves the memory, and may come back elsewhere. */
static void slow_down(bl_context *c, uint32_t from, uint32_t to)
{
    slow.count = 0;
    slow.slow_from = from;
    slow.slow_to = to;
    slow.bind = c->device->vk.CmdBindPipeline;
    slow.dispatch = c->device->vk.CmdDispatchBase;
    c->device->vk.CmdBindPipeline = bind_slowly;
    c->device->vk.CmdDispatchBase = dispatch_slowly;
}

static struct { uint32_t rows, changed; bl_tune_row last; char chosen[64], standard[64]; } told;

static void on_row(void *user, const bl_tune_row *r)
{
    assert_ptr_equal(user, &told);
    told.rows++;
    told.changed += strcmp(r->chosen, r->standard) != 0;
    told.last = *r;
    snprintf(told.chosen, sizeof(told.chosen), "%s", r->chosen);
    snprintf(told.standard, sizeof(told.standard), "%s", r->standard);
    assert_string_equal(r->op, "normalize_fwd");
    assert_string_equal(r->type, "f32");
    assert_string_equal(r->note, "");
}

static void tune(bl_context *c)
{
    bl_tune_options o = BL_TUNE_OPTIONS_INIT;
    o.pattern = "normalize_fwd";
    o.time_limit = 0.02f;
    o.row = on_row;
    o.user = &told;
    memset(&told, 0, sizeof(told));
    assert_int_equal(bl_tune(c, &o), BL_OK);
    assert_int_equal(told.rows, 1);
}

static bl_kernel usual_kernel(const bl_context *c)
{
    bl_params p = bl_op_usual_case(BL_OP_normalize_fwd)->p;
    bl_kernel k;
    bl_case_lay_out(BL_OP_normalize_fwd, &p, false);
    assert_int_equal(bl_kernel_choose(c->kernels, BL_OP_normalize_fwd, BL_F32, &p, &k), BL_OK);
    return k;
}

static size_t choices_of(const bl_context *c)
{
    char *text;
    assert_int_equal(bl_context_plan(c, &text), BL_OK);
    json_t *plan = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bl_text_free(text);
    assert_string_equal(json_string_value(json_object_get(plan, "kernels")), bl_kernel_version());
    assert_string_equal(json_string_value(json_object_get(plan, "caps")), bl_context_caps(c));
    const size_t n = json_object_size(json_object_get(plan, "choices"));
    json_decref(plan);
    return n;
}

static void test_tune(void **state)
{
    (void)state;
    bl_context *c = open_context(NULL, folder);
    char *path = bl_device_file_path(c->device, folder, "tuning");
    assert_int_equal(choices_of(c), 0);
    slow_down(c, 0, 1); /* the table's first is slow: the other one is taken, now and by the next context */
    tune(c);
    assert_int_equal(told.changed, 1);
    assert_string_equal(told.standard, "normalize_fwd_vec4");
    assert_string_equal(told.chosen, "normalize_fwd");
    assert_int_equal(told.last.tried, 2);
    assert_true(told.last.after > 0 && told.last.after < told.last.before / 2);
    assert_int_equal(choices_of(c), 1);
    assert_int_equal(usual_kernel(c), BL_K_normalize_fwd);
    bl_context_destroy(&c);
    c = open_context(NULL, folder);
    assert_int_equal(usual_kernel(c), BL_K_normalize_fwd);
    slow_down(c, 1, 2); /* the other one is: what was found before is found to be wrong */
    tune(c);
    assert_int_equal(told.changed, 0);
    assert_string_equal(told.chosen, "normalize_fwd_vec4");
    assert_int_equal(choices_of(c), 0);
    bl_context_destroy(&c);
    c = open_context(NULL, folder);
    assert_int_equal(usual_kernel(c), BL_K_normalize_fwd_vec4);

    bl_tune_options o = BL_TUNE_OPTIONS_INIT;
    o.pattern = "nothing";
    assert_int_equal(bl_tune(c, &o), BL_ERROR_USAGE);
    assert_string_equal(bl_last_error(), "no op or kernel with a choice matches \"nothing\"");
    o.time_limit = -1;
    assert_int_equal(bl_tune(c, &o), BL_ERROR_USAGE);
    assert_int_equal(bl_tune(NULL, &o), BL_ERROR_USAGE);
    o.struct_size--;
    assert_int_equal(bl_tune(c, &o), BL_ERROR_USAGE);
    assert_int_equal(bl_context_plan(c, NULL), BL_ERROR_USAGE);
    bl_context_destroy(&c);
    assert_true(bl_path_is_file(path));
    remove(path);
    bl_free(path);
}

/* --- the folder ---------------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes), cmocka_unit_test(test_bad_plans), cmocka_unit_test(test_choice), cmocka_unit_test(test_grid),
        cmocka_unit_test(test_kept), cmocka_unit_test(test_tune),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
