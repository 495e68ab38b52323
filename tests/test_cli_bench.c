/* blemish bench: which rows there are, what is refused, files of results and their comparison. */
#include "cli_runner.h"
#include <math.h>

static const char *const kernels[] = {
#define K(name, op, shader, caps, types, fits, grid, wg, m, n, k) #name,
#include "kernels.def"
#undef K
};

#define BENCH "bench", "--progress", "none", "-q"
#define QUICK BENCH, "--time-limit", "0.02", "shader", "softmax_fwd"
#define REAL BENCH, "shader", "softmax_fwd"

/* --- refused --------------------------------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    need_device();
    static const struct { int code; const char *args[12]; const char *reason; } cases[] = {
        { 2, { "bench" }, "WHAT is missing" },
        { 2, { "bench", "speed" }, "\"speed\": shader, peak, model and compare are what there is" },
        { 2, { "bench", "shader", "a", "b" }, "shader takes one PATTERN" },
        { 2, { "bench", "compare", "a" }, "compare takes two files" },
        { 2, { "bench", "peak", "--shape", "m=1" }, "--shape makes sense only with shader" },
        { 2, { "bench", "shader", "--list", "--plot", "p.svg" }, "contradict each other" },
        { 2, { "bench", "shader", "--format", "xml" }, "--format: must be one of auto, table, markdown, csv, json, sql" },
        { 2, { "bench", "shader", "--time-limit", "0" }, "--time-limit: must be a number, above 0" },
        { 2, { "bench", "model" }, "--model MODEL (or BLEMISH_MODEL) or --random SHAPES is missing" },
        { 2, { "bench", "model", "--random", "sdxl" }, "--random: must be one of sd15, sd21, demo" },
        { 2, { "bench", "model", "--random", "demo", "--model", "m" }, "--random and --model contradict each other" },
        { 2, { "bench", "peak", "--random", "demo" }, "--random makes sense only with model" },
        { 2, { "bench", "shader", "--height", "64" }, "--height makes sense only with model" },
        { 2, { BENCH, "model", "--random", "demo", "nothing" }, "nothing of a model matches \"nothing\": there are text, unet, step" },
        { 2, { BENCH, "model", "--random", "sd15", "--width", "72" }, "72 x 512 pixels: both must be 64 to 2048, multiples of 64" },
        { 2, { BENCH, "shader", "nothing_*" }, "no kernel and no row matches \"nothing_*\"" },
        { 2, { BENCH, "peak", "nothing" }, "no peak matches \"nothing\"" },
        { 2, { BENCH, "shader", "softmax_fwd", "--shape", "m=4" }, "softmax_fwd has no parameter \"m\"; it has rows channels scale" },
        { 2, { BENCH, "shader", "softmax_fwd", "--shape", "rows=0" }, "rows=0: must be a whole number, 1 to" },
        { 1, { BENCH, "shader", "softmax_fwd", "--out", "missing/r.json" }, "missing/r.json: the folder \"missing\"" },
        { 1, { BENCH, "shader", "softmax_fwd", "--out", "a", "--plot", "./a" }, "name the same file" },
        { 3, { "bench", "compare", "missing.json", "missing.json" }, "missing.json: No such file" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const int code = run(cases[i].args);
        assert_says(err_path, cases[i].reason);
        assert_int_equal(code, cases[i].code);
        assert_empty(out_path);
        assert_int_equal(files_here(), 0);
    }
}

/* --- rows ------------------------------------------------------------------------------------------------------------------ */

/* The rows of stdout in format json, without the context. */
static json_t *output_rows(void)
{
    char line[8192];
    json_t *rows = json_array();
    FILE *f = fopen(out_path, "r");
    assert_non_null(f);
    for (int n = 0; fgets(line, sizeof(line), f); n++) {
        json_t *row = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(row);
        if (n)
            json_array_append_new(rows, row);
        else
            assert_string_equal(json_string_value(json_object_get(row, "schema")), "blemish-bench");
        if (!n)
            json_decref(row);
    }
    fclose(f);
    return rows;
}

static const char *text_of(const json_t *rows, size_t i, const char *key)
{
    const char *text = json_string_value(json_object_get(json_array_get(rows, i), key));
    return text ? text : "";
}

/* Every kernel of the table has rows, whatever the device has; no name stands twice. */
static void test_every_kernel(void **state)
{
    (void)state;
    need_device();
    static const char *const caps[] = { "base", NULL };
    for (size_t c = 0; c < COUNT(caps); c++) {
        assert_int_equal(caps[c] ? RUN(BENCH, "shader", "--list", "--format", "json", "--caps", caps[c])
                                 : RUN(BENCH, "shader", "--list", "--format", "json"), 0);
        json_t *rows = output_rows();
        for (size_t k = 0; k < COUNT(kernels); k++) {
            size_t found = 0;
            for (size_t i = 0; i < json_array_size(rows); i++)
                found += !strcmp(text_of(rows, i, "kernel"), kernels[k]);
            if (!found)
                fail_msg("%s has no row", kernels[k]);
        }
        for (size_t i = 0; i < json_array_size(rows); i++)
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(text_of(rows, i, "name"), text_of(rows, j, "name"));
        json_decref(rows);
    }
}

static void test_measured(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(RUN(BENCH, "--time-limit", "0.02", "--format", "json", "shader", "matmul_fwd", "--shape", "m=9,n=8,k=12"), 0);
    json_t *rows = output_rows();
    size_t timed = 0, peaks = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const bool ran = json_object_get(row, "runs") != NULL;
        peaks += !strcmp(text_of(rows, i, "kind"), "peak");
        if (strcmp(text_of(rows, i, "kind"), "shader") || !ran)
            continue;
        timed++;
        assert_string_equal(text_of(rows, i, "verdict"), "pass");
        assert_string_equal(text_of(rows, i, "checked"), "all");
        assert_string_equal(text_of(rows, i, "shape"), "given=b+r,m=9,n=8,k=12,a_rows=1,act=none");
        assert_true(json_number_value(json_object_get(row, "flop")) == 2.0 * 9 * 8 * 12);
        assert_true(json_number_value(json_object_get(row, "median_ns")) > 0);
        assert_true(json_number_value(json_object_get(row, "compile_ns")) > 0);
        assert_true(json_number_value(json_object_get(row, "share")) > 0);
    }
    assert_true(timed >= 2);
    assert_true(peaks >= 3);
    json_decref(rows);
}

static double number_of(const json_t *rows, size_t i, const char *key)
{
    return json_number_value(json_object_get(json_array_get(rows, i), key));
}

/* Networks without a checkpoint: what is measured of each, and the pictures that are made of them. */
static void test_random_model(void **state)
{
    (void)state;
    need_device();
    static const char *const names[] = { "text", "unet", "step", "guide", "encode", "decode", "image", "load", "picture", "guided" };
    assert_int_equal(RUN(BENCH, "--time-limit", "0.02", "--format", "json", "model", "--random", "demo", "--width", "64", "--height", "96",
                         "--no-selftest"), 0);
    json_t *rows = output_rows();
    double picture = 0;
    assert_int_equal(json_array_size(rows), COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++) {
        const bool sum = i >= 8, load = i == 7;
        assert_string_equal(text_of(rows, i, "name"), names[i]);
        assert_string_equal(text_of(rows, i, "shape"), "64x96");
        assert_true(number_of(rows, i, "median_ns") > 0 && number_of(rows, i, "device_bytes") > 0);
        assert_true((number_of(rows, i, "flop") > 0) == !load && (number_of(rows, i, "gbps") > 0) == load);
        assert_true((number_of(rows, i, "weight_bytes") > 0) == !sum);
        assert_true(sum || json_object_get(json_array_get(rows, i), "host_bytes"));
        if (!strcmp(names[i], "guide") || !strcmp(names[i], "image"))
            assert_true(number_of(rows, i, "forward_flop") > 0 && number_of(rows, i, "forward_flop") < number_of(rows, i, "flop"));
        picture += number_of(rows, i, "median_ns") * (i == 0 ? 2 : i == 2 ? 25 : i == 4 || i == 5);
    }
    assert_true(number_of(rows, 2, "flop") > 1.9 * number_of(rows, 1, "flop")); /* two prompts */
    assert_true(fabs(number_of(rows, 8, "median_ns") / picture - 1) < 1e-6);
    assert_true(number_of(rows, 9, "median_ns") > picture);
    json_decref(rows);
}

/* What does not fit is a row that says so, and nothing of it is loaded; what fits is measured. */
static void test_too_large(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(RUN(BENCH, "--time-limit", "0.02", "model", "--random", "demo", "--max-memory", "15M", "[td]e*", "--no-selftest"), 6);
    assert_says(out_path, "decode needs 4.0 MiB of weights and 8.3 MiB besides; the 20.3 MiB in all are more than the 15.0 MiB allowed");
    assert_says(err_path, "decode needs");
    assert_says(out_path, "text    f32   128x128");
    assert_int_equal(RUN(BENCH, "--time-limit", "0.02", "model", "--random", "sd15", "--max-memory", "500M", "unet"), 6);
    assert_says(err_path, "MiB in all are more than the 500.0 MiB allowed");
    const bool f16 = RUN(BENCH, "--time-limit", "0.02", "model", "--random", "demo", "--precision", "f16", "text", "--no-selftest") == 0;
    assert_int_equal(RUN(BENCH, "--time-limit", "0.02", "model", "--random", "demo", "--max-memory", "9M", "--precision", "f32", "[td]e*",
                         "--no-selftest"), 6);
    assert_says(out_path, "the 10.4 MiB in all are more than the 9.0 MiB allowed: try a smaller picture");
    assert_int_equal(says(out_path, "try a smaller picture, or --precision f16"), f16);
    assert_says(err_path, "the 20.3 MiB in all are more than the 9.0 MiB allowed: try a smaller picture\n"); /* the autoencoder is fp32 */
}

/* A white picture with at least `count` pixels of one colour, which a point of softmax has. */
static void assert_points(const char *path, size_t count)
{
    bl_image picture;
    size_t ink = 0;
    assert_int_equal(bl_image_read(path, 3, &picture), BL_OK);
    assert_memory_equal(picture.pixels, "\xff\xff\xff", 3);
    for (const uint8_t *p = picture.pixels, *end = p + (size_t)3 * picture.width * picture.height; p < end; p += 3)
        ink += !memcmp(p, "\x56\xb4\xe9", 3);
    assert_true(ink >= count);
    bl_image_free(&picture);
}

static void test_formats(void **state)
{
    (void)state;
    need_device();
    static const struct { const char *file, *part; } files[] = {
        { "r.md", "| name | us |" }, { "r.csv", "kind,name,op,kernel,type,shape,verdict" }, { "r.sql", "CREATE TABLE IF NOT EXISTS" },
        { "r.jsonl", "{\"schema\":\"blemish-bench\",\"version\":2," },
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        assert_int_equal(RUN(BENCH, "peak", "launch", "--time-limit", "0.02", "--out", files[i].file), 0);
        assert_says(files[i].file, files[i].part);
        assert_says(files[i].file, "launch");
        assert_empty(out_path);
    }
    assert_int_equal(RUN(BENCH, "peak", "launch", "--time-limit", "0.02", "--out", "r.md"), 1); /* it exists */
    assert_says(err_path, "exists already");
    assert_int_equal(RUN(BENCH, "peak", "launch", "--time-limit", "0.02", "--out", "r.md", "--force"), 0);
    assert_int_equal(RUN(QUICK, "--plot", "roof.svg"), 0);
    assert_says("roof.svg", "<svg xmlns=");
    assert_says("roof.svg", "</svg>");
    assert_says(out_path, "softmax_fwd_f32_map_256x75");
    assert_int_equal(RUN(QUICK, "--plot", "roof.png"), 0);
    assert_int_equal(RUN(BENCH, "shader", "*_sg*", "--caps", "base", "--plot", "none.svg"), 1); /* none can run */
    assert_says(err_path, "none.svg: not drawn: no kernel was timed");
    assert_points("roof.png", 100); /* two at least, as in the legend */
    assert_int_equal(RUN(QUICK, "--plot", "roof.png"), 1);
    assert_says(err_path, "exists already");
    assert_int_equal(files_here(), COUNT(files) + 2);
}

/* --- comparing ------------------------------------------------------------------------------------------------------------- */

/* Two rows of a device, the first of which takes `ns`, and a kernel that never changes `probe`. */
static void write_rounds(const char *path, const char *device, double ns, int rounds, double probe)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "{\"schema\":\"blemish-bench\",\"version\":2,\"device\":{\"name\":\"%s\",\"driver\":\"d\",\"type\":\"discrete\"},"
            "\"caps\":\"base\",\"host\":{\"processor\":\"p\"}}\n", device);
    fprintf(f, "{\"kind\":\"shader\",\"name\":\"a\",\"verdict\":\"pass\",\"runs\":9,\"rounds\":%d,\"probe_ns\":%g,"
            "\"median_ns\":%g,\"p10_ns\":%g,\"p90_ns\":%g,\"low_ns\":%g,\"high_ns\":%g,\"noise\":0.01}\n", rounds, probe, ns, 0.9 * ns,
            1.1 * ns, 0.95 * ns, 1.05 * ns);
    fprintf(f, "{\"kind\":\"shader\",\"name\":\"b\",\"verdict\":\"skip\"}\n");
    fclose(f);
}

static void write_results(const char *path, const char *device, double ns) { write_rounds(path, device, ns, 7, 10); }

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define CONTEXT "{\"schema\":\"blemish-bench\",\"version\":2,\"device\":{},\"host\":{}}\n"

static void test_compare(void **state)
{
    (void)state;
    write_results("before", "gpu", 1000);
    write_results("same", "gpu", 1080); /* rounds overlap */
    write_results("slow", "gpu", 2000);
    write_results("fast", "gpu", 500);
    write_results("other", "gpu 2", 1000);
    assert_int_equal(RUN("bench", "compare", "before", "before"), 0);
    assert_int_equal(RUN("bench", "compare", "before", "same"), 0);
    assert_says(err_path, "1 the same, 0 faster, 0 slower");
    assert_int_equal(RUN("bench", "compare", "before", "slow"), 1);
    assert_says(out_path, "SLOWER");
    assert_says(out_path, "+100.0");
    assert_int_equal(RUN("bench", "compare", "before", "slow", "--threshold", "150"), 0);
    assert_int_equal(RUN("bench", "compare", "before", "fast"), 0);
    assert_says(out_path, "faster");
    write_rounds("hot", "gpu", 2000, 7, 20); /* the whole device is as slow */
    write_rounds("hot and slow", "gpu", 2000, 7, 15);
    write_rounds("once", "gpu", 2000, 1, 10);
    write_rounds("cool", "gpu", 500, 7, 5);
    assert_int_equal(RUN("bench", "compare", "before", "hot"), 0);
    assert_says(out_path, "the device itself was faster or slower");
    assert_int_equal(RUN("bench", "compare", "before", "hot and slow"), 1);
    assert_int_equal(RUN("bench", "compare", "before", "once"), 0);
    assert_says(out_path, "too few rounds");
    assert_int_equal(RUN("bench", "compare", "before", "cool"), 0);
    assert_says(err_path, "0 the same, 0 faster, 0 slower, 1 unsure");
    assert_int_equal(RUN("bench", "compare", "before", "other"), 3);
    assert_says(err_path, "the devices differ, \"gpu\" and \"gpu 2\" (--force");
    assert_int_equal(RUN("bench", "compare", "before", "other", "--force"), 0);
    assert_int_equal(RUN("bench", "compare", "before", "slow", "-q", "--out", "c.csv"), 1);
    assert_says("c.csv", "SLOWER");

    static const struct { const char *text, *reason; } damaged[] = {
        { "", "bad is empty" },
        { "hello\n", "line 1 is not a JSON object" },
        { "[]\n", "line 1 is not a JSON object" },
        { "{}\n", "is not a result of 'blemish bench" },
        { "{\"schema\":\"blemish-bench\",\"version\":1}\n", "another version of the schema" },
        { "{\"schema\":\"blemish-bench\",\"version\":2}\n", "lacks its device or host" },
        { CONTEXT "{\"kind\":\"sh", "line 2 is not a JSON object: the file is damaged" },
        { CONTEXT "{\"kind\":\"shader\"}\n", "line 2 lacks kind, name or verdict" },
        { CONTEXT "{\"kind\":\"shader\",\"name\":\"a\",\"verdict\":\"pass\",\"runs\":3}\n", "line 2 has runs but no proper times" },
        { CONTEXT "{\"kind\":\"shader\",\"name\":\"a\",\"verdict\":\"skip\"}", "ends in the middle of a line" },
    };
    for (size_t i = 0; i < COUNT(damaged); i++) {
        write_text("bad", damaged[i].text);
        assert_int_equal(RUN("bench", "compare", "before", "bad"), 3);
        assert_says(err_path, damaged[i].reason);
        assert_empty(out_path);
    }
}

/* Real runs of the same kernels are alike. Another program may begin or end during one, which is no different from a change of the kernels;
 * of five in a row, two neighbours see the same machine. tests/slow_kernel.sh shows that a difference is seen. */
static void test_two_runs(void **state)
{
    (void)state;
    static const char *const runs[] = { "a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl", "e.jsonl" };
    bool alike = false;
    need_device();
    assert_int_equal(RUN(REAL, "--out", runs[0]), 0);
    for (size_t i = 1; i < COUNT(runs) && !alike; i++) {
        assert_int_equal(RUN(REAL, "--out", runs[i]), 0);
        const int code = RUN("bench", "compare", runs[i - 1], runs[i]);
        assert_true(code == 0 || code == 1);
        char *told = read_whole(out_path, &(size_t){ 0 });
        assert_non_null(strstr(told, "softmax_fwd_f32_map_256x75"));
        alike = code == 0 && !strstr(told, "faster");
        free(told);
    }
    assert_true(alike);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_refused, before_each), cmocka_unit_test_setup(test_every_kernel, before_each),
        cmocka_unit_test_setup(test_measured, before_each), cmocka_unit_test_setup(test_random_model, before_each),
        cmocka_unit_test_setup(test_too_large, before_each), cmocka_unit_test_setup(test_formats, before_each),
        cmocka_unit_test_setup(test_compare, before_each), cmocka_unit_test_setup(test_two_runs, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
