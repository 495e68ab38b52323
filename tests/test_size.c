/* Size: memory that is planned, limited and kept to, and operands larger than a binding computed in parts. */
#include "image.h"
#include "model.h"
#include "model_session.h"

static bl_context *open_with(const char *caps, uint64_t max_memory)
{
    bl_context *c = NULL;
    bl_context_options o = BL_CONTEXT_OPTIONS_INIT;
    o.device = getenv("BLEMISH_DEVICE");
    o.caps = caps;
    o.precision = BL_PRECISION_F32;
    o.max_memory = max_memory;
    o.no_selftest = 1;
    if (bl_context_create(&o, &c) != BL_OK)
        fail_msg("%s", bl_last_error());
    return c;
}

/* A picture of `o` in a context of its own; its plan in *plan. */
static bl_generate_result make_with(const char *caps, uint64_t max_memory, bl_generate_options o, bl_memory_plan *plan)
{
    bl_context *c = open_with(caps, max_memory);
    bl_model *m = NULL;
    bl_generate_result r;
    if (bl_model_open(c, good, &m) != BL_OK || bl_generate_plan(m, &o, plan) != BL_OK || bl_generate(m, &o, &r) != BL_OK)
        fail_msg("%s", bl_last_error());
    bl_model_close(&m);
    bl_context_destroy(&c);
    return r;
}

static bl_generate_options with_photo(void)
{
    bl_generate_options o = options(4, 7);
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    o.mask = &spot_mask;
    o.width = 128;
    return o;
}

static void the_peak_is_planned_and_kept(void **state)
{
    (void)state;
    need_device();
    for (int i = 0; i < 2; i++) {
        const bl_generate_options o = i ? with_photo() : options(2, 7);
        bl_memory_plan plan;
        bl_generate_result r = make_with(NULL, 0, o, &plan);
        assert_int_equal(plan.stage_count, i ? 4 : 3);
        assert_true(plan.fits && !plan.evicts && plan.peak <= plan.limit);
        assert_true(r.device_bytes == plan.peak); /* to the byte */
        assert_int_equal(r.memory.stage_count, plan.stage_count);
        for (uint32_t s = 0; s < plan.stage_count; s++) {
            const bl_memory_stage *a = &plan.stages[s], *b = &r.memory.stages[s];
            assert_string_equal(a->name, b->name);
            assert_true(a->weights == b->weights && a->activations == b->activations && a->held == b->held);
            assert_true(a->weights > 0 && a->activations > 0 && a->held <= plan.peak && !a->dispatches && b->dispatches > 0);
        }
        bl_generate_result_free(&r);
    }
}

static void a_second_picture_needs_no_weights(void **state)
{
    (void)state;
    bl_model *m = NULL;
    bl_memory_plan before, after;
    bl_generate_result r;
    const bl_generate_options o = options(2, 7);
    need_device();
    bl_context *c = open_with(NULL, 0);
    assert_int_equal(bl_model_open(c, good, &m), BL_OK);
    assert_int_equal(bl_generate_plan(m, &o, &before), BL_OK);
    assert_int_equal(bl_generate(m, &o, &r), BL_OK);
    bl_generate_result_free(&r);
    assert_int_equal(bl_generate_plan(m, &o, &after), BL_OK);
    for (uint32_t s = 0; s < after.stage_count; s++)
        assert_true(!after.stages[s].weights && after.stages[s].activations == before.stages[s].activations);
    assert_int_equal(bl_generate(m, &o, &r), BL_OK);
    assert_true(r.device_bytes == BL_MAX(before.peak, after.peak));
    bl_generate_result_free(&r);
    bl_model_close(&m);
    bl_context_destroy(&c);
}

/* Down to what the largest stage needs alone, weights of others go; the picture is the same. Below that the stage is refused. */
static void less_memory_costs_time_then_is_refused(void **state)
{
    (void)state;
    bl_memory_plan full, tight;
    const bl_generate_options o = with_photo();
    need_device();
    bl_generate_result r = make_with(NULL, 0, o, &full), exact = make_with(NULL, full.peak, o, &tight);
    assert_true(tight.fits && !tight.evicts && tight.limit == full.peak && exact.device_bytes == full.peak);
    assert_true(difference(&r.image, &exact.image) == 0);
    bl_generate_result_free(&exact);

    uint64_t least = 0;
    const uint64_t shared = full.stages[0].held - full.stages[0].weights - full.stages[0].activations; /* staging buffer, counter */
    for (uint32_t s = 0; s < full.stage_count; s++)
        least = BL_MAX(least, shared + full.stages[s].weights + full.stages[s].activations);
    assert_true(least < full.peak);
    for (int i = 0; i < 2; i++) {
        const uint64_t allowed = i ? least : full.peak - 1;
        bl_generate_result less = make_with(NULL, allowed, o, &tight);
        assert_true(tight.fits && tight.evicts && tight.peak <= allowed && less.device_bytes == tight.peak);
        assert_true(difference(&r.image, &less.image) == 0);
        assert_string_equal(r.parameters, less.parameters);
        bl_generate_result_free(&less);
    }
    bl_generate_result_free(&r);

    bl_context *c = open_with(NULL, least - 1);
    bl_model *m = NULL;
    assert_int_equal(bl_model_open(c, good, &m), BL_OK);
    assert_int_equal(bl_generate_plan(m, &o, &tight), BL_OK);
    assert_true(!tight.fits && tight.peak == least);
    for (int i = 0; i < 2; i++) { /* again: the failure leaves nothing behind */
        assert_int_equal(bl_generate(m, &o, &r), BL_ERROR_MEMORY);
        assert_true(zeroed(&r));
        assert_non_null(strstr(bl_last_error(), "MiB in all are more than the"));
        assert_non_null(strstr(bl_last_error(), "allowed: try a smaller picture"));
        assert_true(c->device->peak < least);
    }
    bl_model_close(&m);
    bl_context_destroy(&c);
}

/* The pixels of large tensors, whole or in parts, with the halo of the taps and the statistics of the whole: no seams, no difference. */
static void parts_make_the_same_picture(void **state)
{
    (void)state;
    bl_memory_plan plan;
    bl_generate_options o = with_photo();
    o.width = 256;
    o.height = 192;
    need_device();
    bl_generate_result whole = make_with(NULL, 0, o, &plan), parts = make_with("binding=3M", 0, o, &plan);
    assert_true(difference(&whole.image, &parts.image) == 0);
    uint32_t a = 0, b = 0;
    for (uint32_t s = 0; s < whole.memory.stage_count; s++) {
        a += whole.memory.stages[s].dispatches;
        b += parts.memory.stages[s].dispatches;
    }
    print_message("%u dispatches, in parts %u\n", a, b);
    assert_true(b > a + 20); /* it was cut */
    assert_non_null(strstr(parts.parameters, "binding=3M"));
    assert_non_null(strstr(parts.parameters, "\"plan\":{"));
    bl_generate_result_free(&whole);
    bl_generate_result_free(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_peak_is_planned_and_kept), cmocka_unit_test(a_second_picture_needs_no_weights),
        cmocka_unit_test(less_memory_costs_time_then_is_refused), cmocka_unit_test(parts_make_the_same_picture),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
