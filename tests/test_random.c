/* Networks with random weights: the shapes are those of the published models, and the values are what they should be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "clip.h"
#include "half.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bl_context *context;

static int before_all(void **state)
{
    (void)state;
    const bl_context_options o = BL_CONTEXT_OPTIONS_INIT;
    if (bl_context_create(&o, &context) == BL_OK)
        return 0;
    if (getenv("CI"))
        return -1;
    fprintf(stderr, "no device: %s\n", bl_last_error());
    exit(77);
}

static int after_all(void **state)
{
    (void)state;
    bl_context_destroy(&context);
    return 0;
}

/* Parameters of the network. */
static double count(const bl_tensors *t, const char *net)
{
    double sum = 0;
    for (size_t i = 0; i < bl_tensors_count(t); i++) {
        const bl_stored *one = bl_tensors_at(t, i);
        double n = strncmp(one->name, net, strlen(net)) ? 0 : 1;
        for (uint32_t k = 0; k < one->rank; k++)
            n *= (double)one->dims[k];
        sum += n;
    }
    return sum;
}

/* As many as the published models have. */
static void test_counts(void **state)
{
    (void)state;
    static const struct { const char *name; double text, unet; } models[] = {
        { "sd15", 123060480, 859520964 }, { "sd21", 340387840, 865910724 },
    };
    for (size_t i = 0; i < BL_COUNT(models); i++) {
        const bl_published *shapes;
        bl_checkpoint *c;
        bl_clip *clip;
        assert_int_equal(bl_published_find(models[i].name, &shapes), BL_OK);
        assert_int_equal(bl_checkpoint_open_random(context, shapes, &c), BL_OK);
        assert_int_equal(bl_clip_open_random(c, &shapes->clip, &clip), BL_OK);
        assert_true(count(c->parts.tensors, "text_encoder.") == models[i].text);
        assert_true(count(c->parts.tensors, "unet.") == models[i].unet);
        assert_true(count(c->parts.tensors, "vae.") == 83653863);
        assert_true(count(clip->tensors, "") == 427616512); /* without the scale of logits, which no picture depends on */
        bl_clip_close(&clip);
        bl_checkpoint_close(&c);
    }
    const bl_published *none;
    assert_int_equal(bl_published_find("sdxl", &none), BL_ERROR_USAGE);
}

/* The same configuration and tensors as the model that is shipped. */
static void test_demo(void **state)
{
    (void)state;
    const bl_published *shapes;
    bl_checkpoint *made_up, *real;
    bl_clip *clip;
    assert_int_equal(bl_published_find("demo", &shapes), BL_OK);
    assert_int_equal(bl_checkpoint_open_random(context, shapes, &made_up), BL_OK);
    assert_int_equal(bl_checkpoint_open(context, BLEMISH_SOURCE "/models/demo", NULL, &real), BL_OK);
    assert_int_equal(bl_clip_open(real, BLEMISH_SOURCE "/models/demo/clip", &clip), BL_OK);
    assert_memory_equal(&shapes->text, &real->text, sizeof(real->text));
    assert_memory_equal(&shapes->unet, &real->unet, sizeof(real->unet));
    assert_memory_equal(&shapes->vae, &real->vae, sizeof(real->vae));
    assert_memory_equal(&shapes->clip, &clip->config, sizeof(clip->config));
    for (int net = 0; net < BL_PARTS; net++)
        assert_true(count(made_up->parts.tensors, bl_net_prefix[net]) == count(real->parts.tensors, bl_net_prefix[net]));
    for (size_t i = 0; i < bl_tensors_count(made_up->parts.tensors); i++)
        assert_non_null(bl_tensors_find(real->parts.tensors, "", bl_tensors_at(made_up->parts.tensors, i)->name));
    bl_clip_close(&clip);
    bl_checkpoint_close(&real);
    bl_checkpoint_close(&made_up);
}

static void moments(const float *x, size_t n, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    *deviation = sqrt(squares / (double)n);
}

static void test_values(void **state)
{
    (void)state;
    enum { N = 100000 };
    static const struct { const char *name; uint64_t dims[4]; uint32_t rank; double mean, deviation; } cases[] = {
        { "linear.weight", { 1000, 100 }, 2, 0, 0.1 }, { "conv.weight", { 625, 16, 5, 2 }, 4, 0, 0.079057 },
        { "norm.weight", { N }, 1, 1, 0.05 }, { "norm.bias", { N }, 1, 0, 0.02 },
    };
    static float values[N], part[N], other[N];
    static uint16_t halves[N];
    bl_tensors *t;
    const bl_stored *one, *again;
    assert_int_equal(bl_tensors_create_random(&t), BL_OK);
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        double mean, deviation;
        assert_int_equal(bl_tensors_need(t, "net.", cases[i].name, cases[i].dims, cases[i].rank, &one), BL_OK);
        assert_int_equal(bl_tensors_need(t, "net.", cases[i].name, cases[i].dims, cases[i].rank, &again), BL_OK);
        assert_ptr_equal(one, again);
        assert_int_equal(bl_stored_read(one, 0, N, values), BL_OK);
        moments(values, N, &mean, &deviation);
        assert_true(fabs(mean - cases[i].mean) < 5 * cases[i].deviation / sqrt(N));
        assert_true(fabs(deviation / cases[i].deviation - 1) < 0.01);
        for (size_t at = 0; at < N; at += 777) /* however it is read */
            assert_int_equal(bl_stored_read(one, at, BL_MIN(777, N - at), part + at), BL_OK);
        assert_memory_equal(values, part, sizeof(values));
        assert_int_equal(bl_stored_read_half(one, 0, N, halves), BL_OK);
        for (size_t k = 0; k < N; k++)
            assert_int_equal(halves[k], bl_half_from_float(values[k]));
        if (i)
            assert_memory_not_equal(values, other, sizeof(values));
        memcpy(other, values, sizeof(values));
    }
    assert_int_equal(bl_tensors_count(t), BL_COUNT(cases));
    bl_tensors_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_counts), cmocka_unit_test(test_demo),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
