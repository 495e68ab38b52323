/* Parameters of problems by name, statistics of times, and references of parts: what measuring is made of. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "op_shape.h"
#include "timing.h"
#include <math.h>
#include <string.h>

/* --- shapes ---------------------------------------------------------------------------------------------------------------- */

/* Every parameter of every op has a name: views, then four bytes each. */
static void test_fields(void **state)
{
    (void)state;
    for (int op = 0; op < BL_OP_COUNT; op++) {
        bl_operand o[BL_MAX_OPERANDS];
        size_t size = bl_op_operands((bl_op)op, o) * sizeof(struct view);
        for (const char *f = bl_op_fields((bl_op)op); *f; f += strcspn(f, " "), f += strspn(f, " "))
            size += 4;
        if (size != bl_op_infos[op].params_size)
            fail_msg("%s: \"%s\" are %zu bytes of %u", bl_op_infos[op].name, bl_op_fields((bl_op)op), size, bl_op_infos[op].params_size);
    }
}

/* What is written is read again, of every case there is. */
static void test_round_trip(void **state)
{
    (void)state;
    for (int op = 0; op < BL_OP_COUNT; op++)
        for (uint32_t i = 0; i < *bl_op_infos[op].case_count; i++) {
            char text[BL_SHAPE_TEXT], again[BL_SHAPE_TEXT];
            bl_params p = bl_op_infos[op].cases[i].p;
            bl_op_shape_text((bl_op)op, &p, text);
            const bl_result r = bl_op_shape_parse((bl_op)op, text, &p);
            if (r != BL_OK && !strstr(text, "=0")) /* of degenerate cases */
                fail_msg("%s: %s: %s", bl_op_infos[op].name, text, bl_last_error());
            bl_op_shape_text((bl_op)op, &p, again);
            assert_string_equal(text, again);
        }
}

static void test_parse(void **state)
{
    (void)state;
    bl_params p = { .matmul_fwd = { .m = 1, .n = 1, .k = 1, .a_rows = 1 } };
    assert_int_equal(bl_op_shape_parse(BL_OP_matmul_fwd, "m=4096,k=320,act=silu,given=b+r", &p), BL_OK);
    assert_int_equal(p.matmul_fwd.m, 4096);
    assert_int_equal(p.matmul_fwd.n, 1);
    assert_int_equal(p.matmul_fwd.k, 320);
    assert_int_equal(p.matmul_fwd.act, ACT_SILU);
    assert_int_equal(p.matmul_fwd.given, 1 << 2 | 1 << 4);

    bl_params c = { .conv_fwd = { .images = 1, .h = 8, .width = 8, .c = 4, .oh = 8, .ow = 8, .oc = 4, .kernel = 3, .stride = 1, .pad = 1,
        .pad_y = 1 } };
    assert_int_equal(bl_op_shape_parse(BL_OP_conv_fwd, "h=65,width=64,stride=2", &c), BL_OK);
    assert_int_equal(c.conv_fwd.oh, 33);
    assert_int_equal(c.conv_fwd.ow, 32);
    assert_int_equal(bl_op_shape_parse(BL_OP_conv_fwd, "pad=0", &c), BL_OK);
    assert_int_equal(c.conv_fwd.pad_y, 0);

    static const struct { bl_op op; const char *text, *reason; } wrong[] = {
        { BL_OP_matmul_fwd, "x=1", "no parameter \"x\"; it has given m n k a_rows act" },
        { BL_OP_matmul_fwd, "m", "must be written name=value" },
        { BL_OP_matmul_fwd, "m=", "must be written name=value" },
        { BL_OP_matmul_fwd, "m=4,", "ends in a comma" },
        { BL_OP_matmul_fwd, "m=0", "must be a whole number, 1 to" },
        { BL_OP_matmul_fwd, "m=-1", "must be a whole number" },
        { BL_OP_matmul_fwd, "m=1e3", "must be a whole number" },
        { BL_OP_matmul_fwd, "m=99999999999999999999", "must be a whole number" },
        { BL_OP_matmul_fwd, "act=leaky", "must be a whole number" },
        { BL_OP_matmul_fwd, "act=9", "must be one of none, silu" },
        { BL_OP_matmul_fwd, "given=x", "must name optional operands" },
        { BL_OP_matmul_fwd, "given=b+", "must name optional operands" },
        { BL_OP_matmul_fwd, "m=200000000,n=200000000", "too large" },
        { BL_OP_conv_fwd, "h=100000,width=100000", "too large" },
        { BL_OP_conv_fwd, "kernel=99", "larger than the padded picture" },
        { BL_OP_group_norm_fwd, "channels=320,groups=33", "must be a multiple of groups" },
        { BL_OP_layer_norm_fwd, "eps=small", "must be a number" },
    };
    for (size_t i = 0; i < BL_COUNT(wrong); i++) {
        const bl_op_info *info = &bl_op_infos[wrong[i].op];
        bl_params q = info->cases[0].p, before = q;
        assert_int_equal(bl_op_shape_parse(wrong[i].op, wrong[i].text, &q), BL_ERROR_USAGE);
        if (!strstr(bl_last_error(), wrong[i].reason))
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i].text, bl_last_error(), wrong[i].reason);
        assert_memory_equal(&q, &before, sizeof(q));
    }
    assert_true(bl_op_shape_names(BL_OP_matmul_fwd, "m=1,n=2"));
    assert_false(bl_op_shape_names(BL_OP_softmax_fwd, "rows=1,n=2"));
}

/* --- times ----------------------------------------------------------------------------------------------------------------- */

static void test_statistics(void **state)
{
    (void)state;
    double work[11], one[] = { 7 }, two[] = { 4, 2 }, many[] = { 5, 1, 100, 4, 6, 5, 5, 4, 6, 5, 5 };
    bl_timing t;
    bl_timing_of(one, work, 1, &t);
    assert_true(t.runs == 1 && t.median == 7 && t.p10 == 7 && t.p90 == 7 && t.noise == 1);
    bl_timing_of(two, work, 2, &t);
    assert_true(t.median == 3 && t.p10 == 2 && t.p90 == 4);
    bl_timing_of(many, work, 11, &t);
    assert_true(t.median == 5 && t.p10 == 4 && t.p90 == 6); /* outliers do not count */
    assert_true(fabs(t.noise - 1.4826 * 1.2533 / sqrt(11) / 5) < 1e-12); /* deviations 0 0 0 0 0 1 1 1 1 4 95: the median is 1 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_parse), cmocka_unit_test(test_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
