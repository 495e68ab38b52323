/* The kernels around the model on a device, where a random case shows nothing: the step counter, coefficients of 0, exact masks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kernel.h"

enum { ROWS = 5, CHANNELS = 3, COUNT = ROWS * CHANNELS, STEPS = 2 };

static bl_device *device;
static bl_stream *stream;
static bl_kernels *kernels;

/* The device's step table. */
typedef struct table {
    uint32_t step, reserved[3];
    struct bl_step rows[STEPS];
} table;

static void teardown(bl_arena **arena)
{
    bl_arena_destroy(arena);
    bl_kernels_destroy(&kernels);
    bl_stream_destroy(&stream);
    bl_device_close(&device);
}

static bl_arena *setup(void)
{
    bl_arena *arena = NULL;
    if (bl_device_open(getenv("BLEMISH_DEVICE"), NULL, &device) != BL_OK) {
        if (getenv("CI"))
            fail_msg("%s", bl_last_error());
        skip();
    }
    assert_int_equal(bl_stream_create(device, &stream), BL_OK);
    assert_int_equal(bl_kernels_create(device, NULL, &kernels), BL_OK);
    assert_int_equal(bl_arena_create(device, 0, "test", &arena), BL_OK);
    return arena;
}

static bl_slice upload(bl_arena *arena, const void *data, size_t size)
{
    bl_slice s = { 0 };
    assert_int_equal(bl_arena_slice(arena, size, &s), BL_OK);
    assert_int_equal(bl_stream_write(stream, &s, 0, data, size), BL_OK);
    return s;
}

static void run(bl_op op, const bl_params *p, const bl_slice *operands, const bl_slice *steps)
{
    bl_dispatch d = { .type = BL_F32, .p = *p, .steps = *steps };
    bl_commands c = { 0 };
    memcpy(d.operands, operands, sizeof(d.operands));
    assert_int_equal(bl_kernel_choose(kernels, op, BL_F32, p, &d.kernel), BL_OK);
    assert_int_equal(bl_dispatch_whole(&d), BL_OK);
    assert_int_equal(bl_commands_begin(stream, 1, 0, &c), BL_OK);
    assert_int_equal(bl_kernel_record(kernels, &c, &d), BL_OK);
    assert_int_equal(bl_commands_end(&c), BL_OK);
    assert_int_equal(bl_stream_submit(stream, &c, 1, NULL), BL_OK);
    assert_int_equal(bl_stream_wait(stream), BL_OK);
    bl_commands_destroy(&c);
}

static void the_counter_stops_at_the_end(void **state)
{
    (void)state;
    bl_arena *arena = setup();
    table t = { .rows = { { .t = 981, .guidance = 3 }, { .t = 1, .guidance = 5 } } }, got;
    const bl_slice steps = upload(arena, &t, sizeof(t)), none[BL_MAX_OPERANDS] = { { 0 } };
    const bl_params p = { .step_next_fwd.count = STEPS };
    for (uint32_t expected = 1; expected <= STEPS + 2; expected++) {
        run(BL_OP_step_next_fwd, &p, none, &steps);
        assert_int_equal(bl_stream_read(stream, &steps, 0, &got, sizeof(got)), BL_OK);
        t.step = BL_MIN(expected, (uint32_t)STEPS);
        assert_memory_equal(&got, &t, sizeof(t));
    }
    t.step = 0x7fc00000; /* spoilt: not made a number of steps that looks right */
    assert_int_equal(bl_stream_write(stream, &steps, 0, &t, sizeof(t)), BL_OK);
    run(BL_OP_step_next_fwd, &p, none, &steps);
    assert_int_equal(bl_stream_read(stream, &steps, 0, &got, sizeof(got)), BL_OK);
    assert_memory_equal(&got, &t, sizeof(t));
    teardown(&arena);
}

/* A first DDIM step: no history, no noise buffer, and the second row of the table, which is the last. */
static void scheduler_step(uint32_t counter)
{
    bl_arena *arena = setup();
    const table t = { .step = counter, .rows = { { .cx = NAN }, { .pe = 1, .cx = 0.5f, .k0 = 0.25f, .push = 1, .save = 1 } } };
    float e[COUNT], x[COUNT], h[4 * COUNT];
    for (int i = 0; i < COUNT; i++) {
        e[i] = (float)i;
        x[i] = (float)(8 - i);
    }
    memset(h, 0xff, sizeof(h)); /* NaN */
    const bl_slice steps = upload(arena, &t, sizeof(t));
    const bl_slice operands[] = { upload(arena, e, sizeof(e)), { 0 }, upload(arena, x, sizeof(x)), upload(arena, h, sizeof(h)) };
    bl_params p = { .scheduler_step_fwd = { .rows = ROWS, .channels = CHANNELS } };
    for (int i = 0; i < 4; i++)
        p.v[i].stride = CHANNELS;
    run(BL_OP_scheduler_step_fwd, &p, operands, &steps);
    float new_x[COUNT], new_h[4 * COUNT];
    assert_int_equal(bl_stream_read(stream, &operands[2], 0, new_x, sizeof(new_x)), BL_OK);
    assert_int_equal(bl_stream_read(stream, &operands[3], 0, new_h, sizeof(new_h)), BL_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_true(new_x[i] == 0.5f * x[i] + 0.25f * e[i]); /* exact in fp32 */
        assert_true(new_h[i] == e[i]);
        assert_true(isnan(new_h[COUNT + i]) && isnan(new_h[2 * COUNT + i]));
        assert_true(new_h[3 * COUNT + i] == x[i]);
    }
    teardown(&arena);
}

static void a_coefficient_of_0_reads_nothing(void **state)
{
    (void)state;
    scheduler_step(1);
}

static void nothing_beyond_the_table_is_read(void **state)
{
    (void)state;
    scheduler_step(STEPS);
    scheduler_step(0x7fc00000);
}

/* Inside the mask the sample keeps its bits, outside it is the source. */
static void a_mask_of_0_or_1_is_exact(void **state)
{
    (void)state;
    bl_arena *arena = setup();
    const table t = { .rows = { { .blend_x = 1, .blend_n = 0 } } };
    float m[ROWS], z[COUNT], n[COUNT], x[COUNT], got[COUNT];
    for (int i = 0; i < COUNT; i++) {
        m[i / CHANNELS] = (float)(i / CHANNELS % 2);
        z[i] = 1.1f * (float)i;
        n[i] = 3;
        x[i] = 1e6f / (float)(i + 3);
    }
    const bl_slice steps = upload(arena, &t, sizeof(t));
    const bl_slice operands[] = { upload(arena, m, sizeof(m)), upload(arena, z, sizeof(z)), upload(arena, n, sizeof(n)),
                                  upload(arena, x, sizeof(x)) };
    bl_params p = { .blend_fwd = { .m.stride = 1, .z.stride = CHANNELS, .n.stride = CHANNELS, .x.stride = CHANNELS,
                                   .rows = ROWS, .channels = CHANNELS } };
    run(BL_OP_blend_fwd, &p, operands, &steps);
    assert_int_equal(bl_stream_read(stream, &operands[3], 0, got, sizeof(got)), BL_OK);
    for (int i = 0; i < COUNT; i++)
        assert_true(got[i] == (m[i / CHANNELS] == 1 ? x[i] : z[i]));
    teardown(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counter_stops_at_the_end), cmocka_unit_test(a_coefficient_of_0_reads_nothing),
        cmocka_unit_test(nothing_beyond_the_table_is_read), cmocka_unit_test(a_mask_of_0_or_1_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
