/* Known answers: right kernels pass, wrong ones are found, named and left out; what was right is kept for that device and driver. */
#include "context.h"
#include "device_file.h"
#include "exec.h"
#include "file.h"
#include "shader_swap.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <unistd.h>

/* The one program per test has a device of its own; lavapipe compiles few kernels here, the smallest there are. */
static char folder[] = "/tmp/blemish-selftest-XXXXXX";

static struct {
    uint32_t modules, wrong_from, wrong_to; /* shader modules made since reset; those in [wrong_from, wrong_to) get wrong code */
    uint32_t *code;
} swap;

enum { OP_FADD = 129, OP_FSUB = 131, HEADER = 5 };

/* Sums become differences. */
static const uint32_t *make_wrong(const uint32_t *code, size_t *size)
{
    const uint32_t i = swap.modules++;
    if (i < swap.wrong_from || i >= swap.wrong_to)
        return code;
    free(swap.code);
    swap.code = malloc(*size);
    assert_non_null(swap.code);
    memcpy(swap.code, code, *size);
    for (size_t at = HEADER; at < *size / 4 && swap.code[at] >> 16; at += swap.code[at] >> 16)
        if ((swap.code[at] & 0xffff) == OP_FADD)
            swap.code[at] += OP_FSUB - OP_FADD;
    return swap.code;
}

static void wrong_modules(uint32_t from, uint32_t to)
{
    swap.modules = 0;
    swap.wrong_from = from;
    swap.wrong_to = to;
}

typedef struct session {
    bl_device *device;
    bl_stream *stream;
    bl_kernels *kernels;
    bl_prover *prover;
    uint32_t warnings;
    char warning[1400];
} session;

static void on_warning(void *user, const char *text)
{
    session *s = user;
    s->warnings++;
    snprintf(s->warning, sizeof(s->warning), "%s", text);
}

static void begin(session *s, const char *caps, const char *dir)
{
    *s = (session){ 0 };
    if (bl_device_open(getenv("BLEMISH_DEVICE"), caps, &s->device) != BL_OK) {
        print_message("no Vulkan device: %s\n", bl_last_error());
        if (getenv("CI"))
            fail();
        skip();
    }
    assert_int_equal(bl_stream_create(s->device, &s->stream), BL_OK);
    assert_int_equal(bl_kernels_create(s->device, NULL, &s->kernels), BL_OK);
    assert_int_equal(bl_prover_create(s->kernels, s->stream, dir, on_warning, s, &s->prover), BL_OK);
}

static void end(session *s)
{
    bl_prover_destroy(&s->prover);
    bl_kernels_destroy(&s->kernels);
    bl_stream_destroy(&s->stream);
    bl_device_close(&s->device);
}

/* y = x + x of 4 x 8 elements. */
static bl_result sum(session *s, float out[32])
{
    bl_result result = BL_OK;
    bl_graph *g = NULL;
    bl_exec *e = NULL;
    float in[32];
    for (int i = 0; i < 32; i++)
        in[i] = (float)i;
    BL_TRY(bl_graph_create(BL_F32, false, &g));
    const bl_value x = bl_graph_input(g, "x", (bl_shape){ 1, 4, 1, 8 }, BL_F32);
    const bl_value y = bl_graph_keep(g, bl_graph_add(g, x, x));
    BL_TRY(bl_exec_create(s->kernels, s->stream, g, 0, &e));
    BL_TRY(bl_exec_write(e, x, in, 32));
    BL_TRY(bl_exec_run(e));
    BL_TRY(bl_exec_read(e, y, out, 32));
    for (int i = 0; i < 32; i++)
        assert_true(out[i] == 2 * (float)i);
fail:
    bl_exec_destroy(&e);
    bl_graph_destroy(&g);
    return result;
}

static void count_kernel(void *user, const char *name)
{
    char *list = user;
    strcat(list, name);
    strcat(list, " ");
}

static void test_right(void **state)
{
    (void)state;
    session s;
    float out[32];
    wrong_modules(0, 0);
    begin(&s, "base", NULL);
    assert_int_equal(sum(&s, out), BL_OK);
    assert_int_equal(s.warnings, 0);
    assert_true(bl_prover_knows(s.prover, BL_K_add_fwd_vec4, BL_F32, 0));
    assert_false(bl_prover_knows(s.prover, BL_K_add_fwd, BL_F32, 0)); /* nobody needed it */
    end(&s);
}

/* A wrong tier is left out, with a warning that names it, and the next in the table computes. */
static void test_wrong_tier(void **state)
{
    (void)state;
    session s;
    float out[32];
    char used[256] = "";
    wrong_modules(0, 1);
    begin(&s, NULL, NULL);
    if (!(s.device->caps & BL_CAP_TALL)) {
        end(&s);
        skip();
    }
    assert_int_equal(sum(&s, out), BL_OK);
    assert_int_equal(s.warnings, 1);
    assert_non_null(strstr(s.warning, "add_fwd_tall_f32 is not used: it computes wrong results here (case "));
    assert_false(bl_kernel_able(s.kernels, BL_K_add_fwd_tall, BL_F32));
    assert_int_equal(sum(&s, out), BL_OK); /* said once */
    assert_int_equal(s.warnings, 1);
    bl_kernels_used(s.kernels, count_kernel, used);
    assert_string_equal(used, "add_fwd_vec4_f32 ");
    end(&s);
}

/* What needs nothing has no replacement. */
static void test_wrong_base(void **state)
{
    (void)state;
    session s;
    float out[32];
    wrong_modules(0, 1);
    begin(&s, "base", NULL);
    assert_int_equal(sum(&s, out), BL_ERROR_DEVICE);
    assert_non_null(strstr(bl_last_error(), "computes wrong results (add_fwd_vec4_f32, case "));
    assert_non_null(strstr(bl_last_error(), "reference"));
    assert_non_null(strstr(bl_last_error(), "cannot be used"));
    assert_false(bl_prover_knows(s.prover, BL_K_add_fwd_vec4, BL_F32, 0));
    end(&s);
}

static void test_kept(void **state)
{
    (void)state;
    session s;
    float out[32];
    size_t size = 0, again = 0;
    wrong_modules(0, 0);
    begin(&s, "base", folder);
    char *path = bl_device_file_path(s.device, folder, "selftest");
    assert_int_equal(sum(&s, out), BL_OK);
    end(&s);
    assert_true(bl_path_is_file(path));

    wrong_modules(0, 9); /* it would be noticed if it were tried again */
    begin(&s, "base", folder);
    assert_true(bl_prover_knows(s.prover, BL_K_add_fwd_vec4, BL_F32, 0));
    bl_dispatch d = { .kernel = BL_K_add_fwd_vec4, .type = BL_F32 };
    assert_int_equal(bl_kernel_prove(s.kernels, &d), BL_OK);
    assert_int_equal(swap.modules, 0);
    d.kernel = BL_K_add_fwd;
    assert_int_equal(bl_kernel_prove(s.kernels, &d), BL_ERROR_DEVICE);
    end(&s);

    /* of another driver, or damaged anywhere: as if it were not there */
    begin(&s, "base", NULL);
    uint8_t *data = bl_device_file_read(s.device, folder, "selftest", &size), *file = NULL;
    assert_int_equal(size, sizeof(uint64_t));
    bl_free(data);
    assert_null(bl_device_file_read(s.device, folder, "tuning", &again));
    s.device->driver_uuid[3] ^= 1;
    assert_null(bl_device_file_read(s.device, folder, "selftest", &again));
    s.device->driver_uuid[3] ^= 1;
    s.device->limits.subgroup++;
    assert_null(bl_device_file_read(s.device, folder, "selftest", &again));
    s.device->limits.subgroup--;
    assert_int_equal(bl_file_read_all(path, 4096, &file, &size, BL_ERROR_INPUT), BL_OK);
    for (size_t i = 0; i < size; i++) {
        file[i] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(bl_file_write_atomic(path, file, i % 2 ? size : size - 1), BL_OK);
        if (bl_device_file_read(s.device, folder, "selftest", &again) || again)
            fail_msg("byte %zu changed, and taken", i);
        file[i] ^= (uint8_t)(1 << i % 8);
    }
    bl_free(file);
    remove(path);
    bl_free(path);
    end(&s);
}

/* Every implementation that ships has a case that is small enough. */
static void test_cases(void **state)
{
    (void)state;
    for (int k = 0; k < BL_KERNEL_COUNT; k++) {
        uint32_t heads[2];
        if (!bl_prover_heads((bl_kernel)k, heads))
            fail_msg("%s has none", bl_impls[k].name);
    }
}

/* --- by the public interface ---------------------------------------------------------------------------------------------- */

static uint32_t rows, wrong_rows;

static void on_row(void *user, const bl_selftest_row *r)
{
    assert_ptr_equal(user, &rows);
    rows++;
    wrong_rows += r->verdict == BL_FAIL;
    assert_true(r->cases > 0);
    assert_string_equal(r->tier, "base");
    assert_true((r->verdict == BL_FAIL) == (*r->note != 0) && (r->verdict == BL_FAIL || r->used <= 1));
}

static void test_interface(void **state)
{
    (void)state;
    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    bl_selftest_options o = BL_SELFTEST_OPTIONS_INIT;
    bl_selftest_summary sum;
    bl_context *c = NULL;
    on.device = getenv("BLEMISH_DEVICE");
    on.caps = "base";
    on.no_selftest = 1; /* it can be asked for all the same */
    wrong_modules(1, 99); /* the first is the sentinel */
    if (bl_context_create(&on, &c) != BL_OK)
        skip();
    o.pattern = "add_fwd*_f32";
    o.row = on_row;
    o.user = &rows;
    assert_int_equal(bl_selftest(c, &o, &sum), BL_ERROR_MISMATCH);
    assert_int_equal(sum.failed, 2);
    assert_int_equal(sum.passed, 0);
    assert_int_equal(rows, 2);
    assert_int_equal(wrong_rows, 2);
    assert_string_equal(sum.first_failure, "add_fwd_vec4_f32");
    bl_context_destroy(&c);
    wrong_modules(0, 0);
    assert_int_equal(bl_context_create(&on, &c), BL_OK);
    assert_int_equal(bl_selftest(c, &o, &sum), BL_OK);
    assert_int_equal(sum.passed, 2);
    o.pattern = "no_such";
    assert_int_equal(bl_selftest(c, &o, &sum), BL_ERROR_USAGE);
    assert_int_equal(bl_selftest(c, NULL, NULL), BL_ERROR_USAGE);
    assert_int_equal(bl_selftest(NULL, NULL, &sum), BL_ERROR_USAGE);
    bl_context_destroy(&c);
}

/* Head sizes of published models: a case, made for another size, must not take a kernel beyond fp16. */
static void test_heads(void **state)
{
    (void)state;
    static const uint32_t heads[] = { 40, 64, 160, 512 };
    session s;
    uint32_t tried = 0, own[2];
    wrong_modules(0, 0);
    begin(&s, NULL, NULL);
    for (int k = 0; k < BL_KERNEL_COUNT; k++) {
        if (!bl_prover_heads((bl_kernel)k, own) || !own[0] || !bl_kernel_able(s.kernels, (bl_kernel)k, BL_F16))
            continue;
        for (size_t i = 0; i < BL_COUNT(heads); i++) {
            bl_proof proof;
            if (bl_prover_try(s.prover, (bl_kernel)k, BL_F16, heads[i], &proof) != BL_OK)
                fail_msg("%s, head %u: %s", bl_impls[k].name, heads[i], bl_last_error());
            tried += proof.cases > 0;
        }
    }
    assert_true(tried > 50 || !(s.device->caps & BL_CAP_S16));
    end(&s);
}

static int set_up(void **state)
{
    (void)state;
    swap_begin();
    swap_code = make_wrong;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(swap.code);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_wrong_tier),
        cmocka_unit_test(test_wrong_base),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_interface),
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
