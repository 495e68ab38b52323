/* What the tests of whole models share: a sound checkpoint in a temporary folder, a context whose callbacks are watched, pictures. Static
 * functions only. */
#ifndef MODEL_SESSION_H
#define MODEL_SESSION_H
#include "model_fixture.h"
#include <setjmp.h>
#include <cmocka.h>

#define PROMPT "a photo of a hazelnut"

/* root/good stays as it was written; root/other is made anew by tests. */
static char root[] = "/tmp/blemish-model-XXXXXX", good[64], other[64];
static bl_context *context; /* f32, the capabilities a user gets */

/* What the callbacks of `context` saw and shall do. */
static struct {
    uint32_t asked, stop_at; /* cancel at the stop_at-th question; 0: never */
    uint32_t seen, done[8], total[8];
    char stages[8][16];
    bool backwards;
} watch;

static inline void on_progress(void *user, const char *stage, uint32_t done, uint32_t total)
{
    assert_ptr_equal(user, &watch);
    const uint32_t last = watch.seen - 1;
    if (watch.seen == BL_COUNT(watch.stages))
        return;
    if (watch.seen && !strcmp(watch.stages[last], stage)) {
        watch.backwards |= done < watch.done[last] || total != watch.total[last];
    } else {
        snprintf(watch.stages[watch.seen++], sizeof(watch.stages[0]), "%s", stage);
        watch.backwards |= done != 0;
    }
    watch.done[watch.seen - 1] = done;
    watch.total[watch.seen - 1] = total;
}

static inline int on_cancel(void *user)
{
    (void)user;
    return ++watch.asked == watch.stop_at;
}

static inline bl_result open_context(const char *caps, bl_precision precision, bl_context **out)
{
    bl_context_options o = BL_CONTEXT_OPTIONS_INIT;
    o.device = getenv("BLEMISH_DEVICE");
    o.caps = caps;
    o.precision = precision;
    o.no_selftest = 1; /* test_selftest.c has it; here submissions and memory are counted */
    o.progress = on_progress;
    o.cancel = on_cancel;
    o.user = &watch;
    return bl_context_create(&o, out);
}

/* --- pictures ----------------------------------------------------------------------------------------------------------- */

enum { PHOTO_W = 100, PHOTO_H = 80 };
static uint8_t photo_pixels[PHOTO_W * PHOTO_H * 3], spot_pixels[64 * 64];
static const bl_image photo = { PHOTO_W, PHOTO_H, 3, photo_pixels }, spot_mask = { 64, 64, 1, spot_pixels };

static inline void make_pictures(void)
{
    for (uint32_t y = 0; y < PHOTO_H; y++)
        for (uint32_t x = 0; x < PHOTO_W; x++)
            for (uint32_t c = 0; c < 3; c++)
                photo_pixels[(y * PHOTO_W + x) * 3 + c] = (uint8_t)(40 + 2 * (c == 1 ? y : x) / 2 + ((x / 9 + y / 7 + c) % 2) * 60);
    for (uint32_t i = 0; i < 64 * 64; i++)
        spot_pixels[i] = i % 64 < 4 && i / 64 >= 30 && i / 64 < 34; /* 4 x 4 at the left edge may change; whatever is not 0 counts */
}

static inline int setup(void **state)
{
    (void)state;
    make_pictures();
    assert_non_null(mkdtemp(root));
    snprintf(good, sizeof(good), "%s/good", root);
    snprintf(other, sizeof(other), "%s/other", root);
    assert_int_equal(fx_write(good, TEST_DATA "/tokenizer", NULL), 0);
    if (open_context(getenv("BLEMISH_CAPS"), BL_PRECISION_F32, &context) != BL_OK)
        print_message("no Vulkan device: %s\n", bl_last_error()); /* tests that need it skip */
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    bl_context_destroy(&context);
    fx_remove(other);
    fx_remove(good);
    return rmdir(root);
}

static inline void need_device(void)
{
    if (context)
        return;
    if (getenv("CI"))
        fail_msg("no Vulkan device");
    skip();
}

/* Checkpoint root/other, made with these options. */
static inline const char *variant(const fx_options *o)
{
    fx_remove(other);
    assert_int_equal(fx_write(other, TEST_DATA "/tokenizer", o), 0);
    return other;
}

static inline bl_generate_options options(uint32_t steps, uint64_t seed)
{
    bl_generate_options o = BL_GENERATE_OPTIONS_INIT;
    o.prompt = PROMPT;
    o.steps = steps;
    o.seed = seed;
    return o;
}

/* Opens, generates, closes; the caller frees the result. */
static inline bl_generate_result make(bl_context *c, const char *dir, bl_generate_options o)
{
    bl_model *m = NULL;
    bl_generate_result r = { 0 };
    memset(&watch, 0, sizeof(watch));
    if (bl_model_open(c, dir, &m) != BL_OK)
        fail_msg("opening: %s", bl_last_error());
    if (bl_generate(m, &o, &r) != BL_OK)
        fail_msg("generating: %s", bl_last_error());
    bl_model_close(&m);
    assert_null(m);
    assert_non_null(r.image.pixels);
    assert_int_equal(r.image.channels, 3);
    return r;
}

/* Mean absolute difference over `height` rows from `top` on and the columns [first, end). */
static inline double box_difference(const bl_image *a, const bl_image *b, uint32_t first, uint32_t end, uint32_t top, uint32_t height)
{
    double sum = 0;
    assert_true(a->width == b->width && a->height == b->height && a->channels == b->channels);
    for (uint32_t y = top; y < top + height; y++)
        for (size_t i = (size_t)(y * a->width + first) * 3; i < (size_t)(y * a->width + end) * 3; i++)
            sum += abs(a->pixels[i] - b->pixels[i]);
    return sum / (3.0 * height * (end - first));
}

static inline double difference(const bl_image *a, const bl_image *b) { return box_difference(a, b, 0, a->width, 0, a->height); }

/* How far the picture of these options is from that of the good checkpoint in `context`. */
static inline double distance(const bl_image *from, bl_context *c, const char *dir, bl_generate_options o)
{
    bl_generate_result r = make(c, dir, o);
    const double d = difference(from, &r.image);
    bl_generate_result_free(&r);
    return d;
}

static inline bool zeroed(const bl_generate_result *r)
{
    return !r->image.pixels && !r->image.width && !r->image.height && !r->image.channels && !r->parameters && !r->parameters_text &&
        !r->mask.pixels && !r->attention.pixels && !r->photo.pixels && !r->trace && !r->steps_run && !r->device_bytes && r->seconds == 0;
}
#endif
