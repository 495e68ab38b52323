/* The guided generator: that guidance does what it says, on a small model with random weights. */
#include "image.h"
#include "model.h"
#include "model_session.h"
#include <math.h>

enum { SEEDS = 40, STEPS = 8 };

static bl_generate_options guided(const char *method, uint64_t seed)
{
    bl_generate_options o = options(STEPS, seed);
    o.prompt = "a photo of a [[hazelnut]]";
    o.photo = &photo;
    o.crop = "none"; /* at the size of what is generated */
    o.method = method;
    o.scheduler = "ddim";
    o.width = o.height = 64;
    return o;
}

static bl_generate_result run(bl_context *c, bl_generate_options o)
{
    bl_generate_result r = make(c, good, o);
    for (uint32_t i = 0; i < r.trace_count; i++)
        assert_true(isfinite(r.trace[i].attention_loss));
    return r;
}

static float last_loss(const bl_generate_result *r)
{
    assert_true(r->trace_count > 0);
    return r->trace[r->trace_count - 1].attention_loss;
}

/* In at least 95 of 100 cases. */
static void assert_mostly(uint32_t yes, uint32_t of, const char *what)
{
    print_message("%s: %u of %u\n", what, yes, of);
    assert_true(of > 0 && yes * 100 >= of * 95);
}

static void guidance_lowers_the_loss(void **state)
{
    (void)state;
    need_device();
    uint32_t lower = 0, updates = 0, below = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bl_generate_options o = guided("cut", seed);
        o.no_change_mask = 1;
        bl_generate_result cut = run(context, o), sd;
        for (uint32_t i = 0; i + 1 < cut.trace_count; i++)
            if (!cut.trace[i].measured && cut.trace[i].attention_loss > 0) {
                assert_true(cut.trace[i + 1].measured && cut.trace[i + 1].step == cut.trace[i].step);
                updates++;
                lower += cut.trace[i + 1].attention_loss < cut.trace[i].attention_loss;
            }
        o = guided("sd", seed);
        o.no_change_mask = 1;
        sd = run(context, o);
        below += last_loss(&cut) < last_loss(&sd);
        bl_generate_result_free(&cut);
        bl_generate_result_free(&sd);
    }
    assert_mostly(lower, updates, "updates that lower the loss at their step");
    assert_mostly(below, SEEDS, "seeds for which cut ends below sd");
}

/* A mask of 64 x 64: `size` x `size` pixels at the left edge, around the middle line. */
static void draw_spot(uint8_t *pixels, uint32_t size)
{
    for (uint32_t i = 0; i < 64 * 64; i++)
        pixels[i] = i % 64 < size && i / 64 >= 32 - size / 2 && i / 64 < 32 + size / 2 ? 255 : 0;
}

/* The hottest pixel of the overlay lies within a cell of the mask: always for a mask of a sixteenth of the picture, mostly for one cell. */
static void the_peak_moves_into_the_mask(void **state)
{
    (void)state;
    need_device();
    enum { RUNS = 10, SMALL = 4, LARGE = 16 };
    static uint8_t pixels[64 * 64];
    const bl_image mask = { 64, 64, 1, pixels };
    uint32_t inside[2] = { 0 }, plain = 0;
    for (uint64_t k = 0; k < 3 * RUNS; k++) {
        const uint32_t size = k < RUNS ? SMALL : LARGE;
        bl_generate_options o = guided(k < 2 * RUNS ? "cut" : "sd", k % RUNS);
        draw_spot(pixels, size);
        o.mask = &mask;
        o.inner = 3;
        o.no_change_mask = 1;
        bl_generate_result r = run(context, o);
        int hottest = -256;
        uint32_t x = 0, y = 0;
        for (uint32_t i = 0; i < r.attention.width * r.attention.height; i++) {
            const uint8_t *p = r.attention.pixels + 3 * i;
            if (p[0] - p[2] > hottest) {
                hottest = p[0] - p[2];
                x = i % r.attention.width;
                y = i / r.attention.width;
            }
        }
        *(k < 2 * RUNS ? &inside[k / RUNS] : &plain) += x < size + 4 && y + 4 >= 32 - size / 2 && y < 32 + size / 2 + 4;
        bl_generate_result_free(&r);
    }
    print_message("peaks inside a mask of 4x4 pixels of 64x64: %u of %u; of 16x16: %u, without guidance %u\n", inside[0], RUNS, inside[1],
                  plain);
    assert_true(inside[1] >= 9 && inside[0] >= 1 && inside[1] > plain);
}

static void outside_the_mask_nothing_moves(void **state)
{
    (void)state;
    need_device();
    bl_generate_options o = guided("cut", 3);
    o.mask = &spot_mask;
    o.whole_picture = 1; /* else outside is the photo, whatever the model did */
    bl_generate_result cut = run(context, o), sd;
    o.method = "sd";
    sd = run(context, o);
    /* latents outside are those of the photo in both; the decoder's norms look at the whole picture */
    const double outside = box_difference(&cut.image, &sd.image, 32, 64, 0, 64);
    const double within = box_difference(&cut.image, &sd.image, 0, 4, 30, 4);
    print_message("cut against sd: %.3f levels away from the mask, %.1f inside\n", outside, within);
    assert_true(outside < 5 && within > 2 * outside);
    /* what changed lies inside, is 0 or 255, and has the picture's size */
    assert_true(cut.mask.width == 64 && cut.mask.height == 64 && cut.mask.channels == 1);
    uint32_t white = 0;
    for (uint32_t i = 0; i < 64 * 64; i++) {
        assert_true(cut.mask.pixels[i] == 0 || (cut.mask.pixels[i] == 255 && i % 64 < 8));
        white += cut.mask.pixels[i] != 0;
    }
    assert_true(white > 0);
    bl_generate_result_free(&cut);
    bl_generate_result_free(&sd);
}

static bool same(const bl_image *a, const bl_image *b)
{
    return a->width == b->width && a->height == b->height && !memcmp(a->pixels, b->pixels, (size_t)a->width * a->height * a->channels);
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    need_device();
    static const char *const methods[] = { "cut", "anomalyany", "attend", "sd" };
    for (size_t i = 0; i < BL_COUNT(methods); i++) {
        const bl_generate_options o = guided(methods[i], 5);
        bl_generate_result a = run(context, o), b = run(context, o);
        assert_true(same(&a.image, &b.image) && same(&a.mask, &b.mask) && same(&a.attention, &b.attention));
        assert_int_equal(a.trace_count, b.trace_count);
        for (uint32_t k = 0; k < a.trace_count; k++)
            assert_true(a.trace[k].attention_loss == b.trace[k].attention_loss && a.trace[k].gradient_norm == b.trace[k].gradient_norm);
        assert_string_equal(a.parameters, b.parameters);
        bl_generate_result_free(&a);
        bl_generate_result_free(&b);
    }
}

/* With less memory activations are computed twice, and the bytes stay. */
static void recomputation_keeps_the_bytes(void **state)
{
    (void)state;
    need_device();
    const bl_generate_options o = guided("cut", 5);
    bl_generate_result whole = run(context, o), small = { 0 };
    uint64_t guide = 0, other_stages = 0;
    for (uint32_t i = 0; i < whole.memory.stage_count; i++)
        if (!strcmp(whole.memory.stages[i].name, "guide"))
            guide = whole.memory.stages[i].activations;
        else
            other_stages = BL_MAX(other_stages, whole.memory.stages[i].held);
    assert_true(guide > 0);
    bool fewer = false;
    for (uint64_t limit = whole.memory.peak; limit > whole.memory.peak / 2 && !fewer; limit -= whole.memory.peak / 32) {
        bl_context *c = NULL;
        bl_model *m = NULL;
        bl_context_options with = BL_CONTEXT_OPTIONS_INIT;
        with.device = getenv("BLEMISH_DEVICE");
        with.caps = getenv("BLEMISH_CAPS");
        with.precision = BL_PRECISION_F32;
        with.max_memory = limit;
        with.no_selftest = 1;
        assert_int_equal(bl_context_create(&with, &c), BL_OK);
        assert_int_equal(bl_model_open(c, good, &m), BL_OK);
        const bl_result result = bl_generate(m, &o, &small);
        if (result == BL_OK) {
            assert_true(small.device_bytes <= limit);
            assert_true(same(&whole.image, &small.image) && same(&whole.mask, &small.mask));
            for (uint32_t i = 0; i < small.memory.stage_count; i++)
                fewer |= !strcmp(small.memory.stages[i].name, "guide") && small.memory.stages[i].activations < guide;
            fewer = fewer && small.gflop > whole.gflop;
        } else {
            assert_int_equal(result, BL_ERROR_MEMORY);
        }
        bl_generate_result_free(&small);
        bl_model_close(&m);
        bl_context_destroy(&c);
        if (result != BL_OK)
            break;
    }
    assert_true(fewer);
    bl_generate_result_free(&whole);
}

static void methods_differ_as_they_should(void **state)
{
    (void)state;
    need_device();
    bl_generate_options o = guided("sd", 11);
    bl_generate_result sd = run(context, o), attend, cut, odd, even;
    o.method = "attend";
    o.gain = 5;
    attend = run(context, o);
    assert_false(same(&sd.image, &attend.image));
    o.method = "cut";
    cut = run(context, o);
    assert_false(same(&sd.image, &cut.image));
    assert_true(cut.backwards == cut.steps_run && sd.backwards == 0 && attend.backwards == 0);
    assert_true(cut.gflop > sd.gflop);
    o.method = "anomalyany";
    o.mask = &spot_mask;
    odd = run(context, o);
    o.odd_off = "all";
    even = run(context, o);
    assert_false(same(&odd.image, &even.image));
    assert_int_equal(odd.backwards, 10 * odd.steps_run);
    bl_generate_result *const all[] = { &sd, &attend, &cut, &odd, &even };
    for (size_t i = 0; i < BL_COUNT(all); i++)
        bl_generate_result_free(all[i]);
}

/* Everything that has no sense, by its reason. */
static void senseless_options_are_refused(void **state)
{
    (void)state;
    need_device();
    bl_model *m = NULL;
    bl_generate_result r;
    assert_int_equal(bl_model_open(context, good, &m), BL_OK);
    for (int i = 0; i < 9; i++) {
        static const char *const reasons[] = { "needs a photo", "needs guided words", "method \"paint\"", "guided steps",
                                               "updates in a step", "oddity \"none\"", "lambda", "rate of the prompt", "not both" };
        bl_generate_options o = guided("cut", 1);
        if (i == 0)
            o.photo = NULL, o.crop = NULL;
        else if (i == 1)
            o.prompt = PROMPT;
        else if (i == 2)
            o.method = "paint";
        else if (i == 3)
            o.guided_first = 100;
        else if (i == 4)
            o.inner = 1000;
        else if (i == 5)
            o.odd_off = "maps,none";
        else if (i == 6)
            o.lambda = 1e9f;
        else if (i == 7)
            o.prompt_rate = 2;
        else
            o.object = "nut";
        assert_int_equal(bl_generate(m, &o, &r), BL_ERROR_USAGE);
        if (!strstr(bl_last_error(), reasons[i]))
            fail_msg("%d: %s", i, bl_last_error());
        assert_true(zeroed(&r));
    }
    bl_model_close(&m);
}

static void on_preview(void *user, uint32_t step, uint32_t steps, const bl_image *picture)
{
    uint32_t *seen = user;
    assert_int_equal(step, ++*seen);
    assert_true(steps == STEPS / 2 && picture->channels == 3 && picture->width == picture->height);
}

static void previews_and_cancelling(void **state)
{
    (void)state;
    need_device();
    uint32_t seen = 0;
    bl_generate_options o = guided("cut", 2);
    o.preview = on_preview;
    o.preview_user = &seen;
    bl_generate_result r = run(context, o);
    assert_int_equal(seen, r.steps_run);
    bl_generate_result_free(&r);
    bl_model *m = NULL;
    uint32_t cancelled = 0;
    o.preview = NULL;
    assert_int_equal(bl_model_open(context, good, &m), BL_OK);
    for (uint32_t stop = 1;; stop += stop / 8 + 1) { /* until it is done before it is stopped */
        memset(&watch, 0, sizeof(watch));
        watch.stop_at = stop;
        const bl_result result = bl_generate(m, &o, &r);
        if (result == BL_OK)
            break;
        assert_int_equal(result, BL_ERROR_CANCELLED);
        assert_true(zeroed(&r));
        cancelled++;
    }
    assert_true(cancelled >= 10);
    bl_generate_result_free(&r);
    memset(&watch, 0, sizeof(watch));
    assert_int_equal(bl_generate(m, &o, &r), BL_OK);
    bl_generate_result_free(&r);
    bl_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guidance_lowers_the_loss),
        cmocka_unit_test(the_peak_moves_into_the_mask),
        cmocka_unit_test(outside_the_mask_nothing_moves),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(recomputation_keeps_the_bytes),
        cmocka_unit_test(methods_differ_as_they_should),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(previews_and_cancelling),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
