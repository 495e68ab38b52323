/* The commands that look at the machine: doctor, with and without a device, and selftest. */
#include "cli_runner.h"

static void assert_narrow(const char *path)
{
    size_t size;
    char *text = read_whole(path, &size);
    for (const char *line = text; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n')) {
        const size_t n = strcspn(line, "\n");
        const char *word = line + strspn(line, " ");
        if (n > 79 && strcspn(word, " \n") < n - (size_t)(word - line) && !memchr(line, '/', n)) /* one long word may stand alone */
            fail_msg("%zu columns: %.*s", n, (int)n, line);
        if (n && line[n - 1] == ' ')
            fail_msg("ends in a space: \"%.*s\"", (int)n, line);
    }
    free(text);
}

/* No driver at all. */
static void test_no_device(void **state)
{
    (void)state;
    char *before = getenv("VK_DRIVER_FILES") ? strdup(getenv("VK_DRIVER_FILES")) : NULL;
    setenv("VK_DRIVER_FILES", "nowhere.json", 1);
    setenv("VK_ICD_FILENAMES", "nowhere.json", 1);
    assert_int_equal(RUN("doctor"), 5);
    assert_says(out_path, "blemish       0.");
    assert_says(out_path, "VK_DRIVER_FILES=nowhere.json");
    assert_says(out_path, "loader ");
    assert_true(says(out_path, "install the driver of the GPU") || says(out_path, "no Vulkan loader"));
    assert_narrow(out_path);
    assert_int_equal(RUN("doctor", "--json"), 5);
    json_t *json = output_json();
    assert_int_equal(json_array_size(json_object_get(json, "devices")), 0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "environment"), "VK_DRIVER_FILES")), "nowhere.json");
    json_decref(json);
    assert_int_equal(RUN("selftest"), 5);
    unsetenv("VK_ICD_FILENAMES");
    if (before)
        setenv("VK_DRIVER_FILES", before, 1);
    else
        unsetenv("VK_DRIVER_FILES");
    free(before);
    assert_int_equal(files_here(), 0);
}

static void test_doctor(void **state)
{
    (void)state;
    need_device();
    const int code = RUN("doctor");
    assert_true(code == 0 || code == 5); /* a device that cannot be used is a report, too */
    assert_says(out_path, "device        0: ");
    assert_says(out_path, "  tier s16    ");
    assert_says(out_path, "  watchdog    ");
    assert_narrow(out_path);
    assert_empty(err_path);
    assert_int_equal(RUN("doctor", "--json"), code);
    json_t *json = output_json(), *d = json_array_get(json_object_get(json, "devices"), 0);
    assert_true(json_integer_value(json_object_get(json_object_get(d, "memory"), "free")) > 0);
    assert_int_equal(json_array_size(json_object_get(d, "tiers")), 7);
    assert_true(json_is_string(json_object_get(json_object_get(json, "loader"), "version")));
    assert_int_equal(RUN("doctor", "now"), 2);
    json_decref(json);
    assert_int_equal(files_here(), 0);
}

/* What it has found is kept, and the doctor tells. */
static void test_selftest(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(RUN("selftest", "no_such_kernel"), 2);
    assert_says(err_path, "matches \"no_such_kernel\"");
    assert_int_equal(RUN("selftest", "--caps", "base", "copy_fwd_*f32"), 0);
    assert_says(out_path, "base        2      0\n");
    assert_says(out_path, "2 of 2 kernels give the known answers on ");
    assert_int_equal(RUN("selftest", "--caps", "base", "--json", "--no-cache", "copy_fwd_*f32"), 0);
    json_t *json = output_json(), *row = json_array_get(json_object_get(json, "rows"), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "passed")), 2);
    assert_string_equal(json_string_value(json_object_get(row, "kernel")), "copy_fwd_vec4_f32");
    assert_string_equal(json_string_value(json_object_get(row, "verdict")), "pass");
    json_decref(json);
    assert_int_equal(RUN("selftest", "-v", "--caps", "base", "copy_fwd_f32"), 0);
    assert_says(out_path, "copy_fwd_f32  base");
    RUN("doctor");
    assert_says(out_path, "2 kernels are known to be right with this driver");
    assert_int_equal(files_here(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_device, before_each),
        cmocka_unit_test_setup(test_doctor, before_each),
        cmocka_unit_test_setup(test_selftest, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
