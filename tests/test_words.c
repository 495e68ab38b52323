/* Guided words: templates, marks, which tokens they are, what is refused. Our own vocabulary, and CLIP's where it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 16 }; /* tokens, as our vocabulary's files say */
static bl_tokenizer *own;

/* "damaged</w> hazelnut</w>": the entries of the guided tokens, read where the text encoder will find them. */
static void spell(const bl_tokenizer *t, const bl_words *w, char *out, size_t size)
{
    int32_t *ids;
    size_t count, n = 0;
    *out = 0;
    assert_int_equal(bl_tokenizer_encode(t, w->prompt, strlen(w->prompt), &ids, &count), BL_OK);
    for (uint32_t i = 0; i < w->count; i++) {
        assert_true(w->tokens[i] > 0 && w->tokens[i] + 1 < count && (!i || w->tokens[i] > w->tokens[i - 1]));
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", bl_tokenizer_text(t, ids[w->tokens[i]]));
    }
    bl_free(ids);
}

typedef struct row {
    const char *prompt, *object, *defect, *template_text, *normal; /* as given */
    const char *made, *plain, *guided;
    uint32_t first;                                                /* index of the first guided token; 0: none */
} row;

static void expect(const bl_tokenizer *t, const row *r, uint32_t length)
{
    bl_words w;
    char guided[1024];
    if (bl_words_make(t, r->prompt, r->object, r->defect, r->template_text, r->normal, length, &w) != BL_OK)
        fail_msg("\"%s\": %s", r->made, bl_last_error());
    assert_string_equal(w.prompt, r->made);
    assert_string_equal(w.normal, r->plain);
    spell(t, &w, guided, sizeof(guided));
    assert_string_equal(guided, r->guided);
    assert_int_equal(w.count ? w.tokens[0] : 0, r->first);
    bl_words_free(&w);
    assert_true(!w.prompt && !w.normal && !w.count);
}

static void words_are_found(void **state)
{
    static const row rows[] = {
        { "a photo of a hazelnut", NULL, NULL, NULL, NULL, "a photo of a hazelnut", "a photo of a hazelnut", "", 0 },
        { "", NULL, NULL, NULL, NULL, "", "", "", 0 },
        { "a photo of a [[damaged]] hazelnut", NULL, NULL, NULL, NULL, "a photo of a damaged hazelnut", "a photo of a hazelnut",
          "damaged</w>", 5 },
        { "a [[damaged]] hazelnut", NULL, NULL, NULL, "the hazelnut", "a damaged hazelnut", "the hazelnut", "damaged</w>", 2 },
        { "[[damaged]] photo of a [[broken]] hazelnut with a [[crack]]", NULL, NULL, NULL, NULL,
          "damaged photo of a broken hazelnut with a crack", "photo of a hazelnut with a", "damaged</w> broken</w> crack</w>", 1 },
        { "a [[hazelnut with a crack]] on it", NULL, NULL, NULL, NULL, "a hazelnut with a crack on it", "a on it",
          "hazelnut</w> with</w> a</w> crack</w>", 2 },
        { "a [[bottles]] hat", NULL, NULL, NULL, NULL, "a bottles hat", "a hat", "bottl e s</w>", 2 },
        { "a [[ Damaged ]] hazelnut", NULL, NULL, NULL, NULL, "a  Damaged  hazelnut", "a hazelnut", "damaged</w>", 2 },
        { "a hazelnut,[[broken]], [[damaged]]", NULL, NULL, NULL, NULL, "a hazelnut,broken, damaged", "a hazelnut,,",
          "broken</w> damaged</w>", 4 },
        { "[[caf\xc3\xa9]] it[['s]]", NULL, NULL, NULL, NULL, "caf\xc3\xa9 it's", "it", "caf\xc3\x83\xc2\xa9</w> 's</w>", 1 },
        { "a single [ or ] marks nothing", NULL, NULL, NULL, NULL, "a single [ or ] marks nothing",
          "a single [ or ] marks nothing", "", 0 },
        { NULL, "hazelnut", "damaged", NULL, NULL, "a photo of a hazelnut that is damaged", "a photo of a hazelnut", "damaged</w>", 8 },
        { NULL, "hazelnut", "damaged", NULL, "a hat", "a photo of a hazelnut that is damaged", "a hat", "damaged</w>", 8 },
        { NULL, "bottle", "broken crack", "{defect} on {object}", NULL, "broken crack on bottle", "a photo of a bottle",
          "broken</w> crack</w>", 1 },
        { NULL, "hat", "broken", "a {object}, {defect} and {defect} {", NULL, "a hat, broken and broken {", "a photo of a hat",
          "broken</w> broken</w>", 4 },
        { NULL, "hat", "broken", "[[the]] {object} is {defect}", NULL, "the hat is broken", "a photo of a hat", "the</w> broken</w>", 1 },
        { NULL, "{defect}", "{object}", "{object} a {defect}", NULL, "{defect} a {object}", "a photo of a {defect}", NULL, 0 },
    };
    (void)state;
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        bl_words w;
        if (rows[i].guided) {
            expect(own, &rows[i], 64);
            continue;
        }
        /* what is filled in is not a template */
        assert_int_equal(bl_words_make(own, NULL, rows[i].object, rows[i].defect, rows[i].template_text, NULL, 64, &w), BL_OK);
        assert_string_equal(w.prompt, rows[i].made);
        assert_string_equal(w.normal, rows[i].plain);
        assert_true(w.count > 0);
        bl_words_free(&w);
    }
}

#define A4 "a a a a "
#define M4 "[[a]] [[a]] [[a]] [[a]] "

static void words_are_refused(void **state)
{
    static const struct { const char *prompt, *object, *defect, *template_text, *normal; bl_result r; const char *reason; } rows[] = {
        { NULL, NULL, NULL, NULL, NULL, BL_ERROR_USAGE, "a prompt, or an object and a defect, is needed" },
        { NULL, "hat", NULL, NULL, NULL, BL_ERROR_USAGE, "is needed" },
        { NULL, NULL, "broken", NULL, NULL, BL_ERROR_USAGE, "is needed" },
        { NULL, "", "broken", NULL, NULL, BL_ERROR_USAGE, "is needed" },
        { NULL, "hat", "", NULL, NULL, BL_ERROR_USAGE, "is needed" },
        { "a hat", "hat", NULL, NULL, NULL, BL_ERROR_USAGE, "not both" },
        { "a hat", NULL, "broken", NULL, NULL, BL_ERROR_USAGE, "not both" },
        { "a hat", NULL, NULL, "{defect}", NULL, BL_ERROR_USAGE, "not both" },
        { NULL, "hat", "broken", "a {object}", NULL, BL_ERROR_USAGE, "the template \"a {object}\" has no {defect}" },
        { NULL, "[[hat]]", "broken", NULL, NULL, BL_ERROR_INPUT, "marks stand in prompts and templates only" },
        { NULL, "hat", "[[broken]]", NULL, NULL, BL_ERROR_INPUT, "marks stand in" },
        { "a [[hat]]", NULL, NULL, NULL, "a ]]", BL_ERROR_INPUT, "marks stand in" },
        { "a [[hat", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"[[\" is not closed" },
        { "a hat [[", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"[[\" is not closed" },
        { "a hat]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"]]\" without \"[[\"" },
        { "[[a]] hat]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"]]\" without \"[[\"" },
        { "[[a [[hat]] b]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"[[\" within \"[[\"" },
        { NULL, "hat", "broken", "a [[{defect}]]", NULL, BL_ERROR_INPUT, "\"[[\" within \"[[\"" },
        { "a [[]] hat", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"[[]]\" marks no word" },
        { "a [[ \t]] hat", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "is marked, but has no tokens" },
        { "a [[hazel]]nut", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"hazel\" is marked, but is only a part of a word" },
        { "a hazel[[nut]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"nut\" is marked, but is only a part" },
        { "a[[hat]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "only a part" },
        { "[[a]][[hat]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "only a part" },
        { "[[aa]]aa", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "only a part" },
        { "[[cafe]]\xcc\x81 a", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "only a part" }, /* an accent to be composed */
        { "a [[hat]] \xff", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "UTF-8" },
        { A4 A4 A4 "a a [[hat]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"hat\" lies beyond the 16 tokens" },
        { A4 A4 A4 "a [[a hat]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "\"a hat\" lies beyond" }, /* half of it */
        { M4 M4 M4 M4 "[[hat]]", NULL, NULL, NULL, NULL, BL_ERROR_INPUT, "more than 16 words are marked" },
    };
    (void)state;
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        bl_words w;
        memset(&w, 0xff, sizeof(w));
        const bl_result r = bl_words_make(own, rows[i].prompt, rows[i].object, rows[i].defect, rows[i].template_text, rows[i].normal,
                                          LENGTH, &w);
        if (r != rows[i].r || !strstr(bl_last_error(), rows[i].reason))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), rows[i].reason);
        assert_true(!w.prompt && !w.normal && !w.count);
    }
    /* the last place of all, one token below the end token; and a longer prompt whose marks lie within */
    expect(own, &(row){ .prompt = A4 A4 A4 "a [[hat]]", .made = A4 A4 A4 "a hat", .plain = A4 A4 A4 "a", .guided = "hat</w>",
                        .first = 14 }, LENGTH);
    expect(own, &(row){ .prompt = "[[hat]] " A4 A4 A4 A4 "a", .made = "hat " A4 A4 A4 A4 "a", .plain = A4 A4 A4 A4 "a",
                        .guided = "hat</w>", .first = 1 }, LENGTH);
    bl_words w;
    assert_int_equal(bl_words_make(own, "[[" A4 A4 A4 A4 "a]]", NULL, NULL, NULL, NULL, 64, &w), BL_ERROR_INPUT);
    assert_non_null(strstr(bl_last_error(), "the marked words have more than 16 tokens"));
    assert_int_equal(bl_words_make(own, "[[" A4 A4 A4 "a a a]] [[a]]", NULL, NULL, NULL, NULL, 64, &w), BL_OK);
    assert_int_equal(w.count, BL_MAX_WORDS);
    bl_words_free(&w);
}

static void words_of_clip(void **state)
{
    static const row rows[] = {
        { "a photo of a [[cracked]] hazelnut", NULL, NULL, NULL, NULL, "a photo of a cracked hazelnut", "a photo of a hazelnut",
          "cracked</w>", 5 },
        { NULL, "hazelnut", "damaged", NULL, NULL, "a photo of a hazelnut that is damaged", "a photo of a hazelnut", "damaged</w>", 8 },
        { "a [[hazelnut]]", NULL, NULL, NULL, NULL, "a hazelnut", "a", "hazelnut</w>", 2 },
        { NULL, "transistor", "bent-lead", NULL, NULL, "a photo of a transistor that is bent-lead", "a photo of a transistor",
          "bent</w> -</w> lead</w>", 9 },
    };
    const char *reference = getenv("BLEMISH_REFERENCE");
    char dir[512];
    bl_tokenizer *t = NULL;
    (void)state;
    if (!reference && getenv("CI"))
        fail_msg("BLEMISH_REFERENCE is not set");
    if (!reference)
        skip();
    snprintf(dir, sizeof(dir), "%s/models/tiny15", reference ? reference : "");
    if (bl_tokenizer_open(dir, &t) != BL_OK)
        fail_msg("%s", bl_last_error());
    for (size_t i = 0; i < BL_COUNT(rows); i++)
        expect(t, &rows[i], bl_tokenizer_max_length(t));
    bl_tokenizer_close(&t);
}

/* --- memory --------------------------------------------------------------------------------------------------------------- */

static int until_failure, held;

static void *failing_resize(void *p, size_t size)
{
    if (!until_failure--)
        return NULL;
    held += !p;
    return realloc(p, size);
}

static void counting_free(void *p)
{
    held -= p != NULL;
    free(p);
}

static void memory_may_fail(void **state)
{
    const bl_memory_api before = bl_memory;
    bl_result r = BL_ERROR_MEMORY;
    int n = 0;
    (void)state;
    bl_memory = (bl_memory_api){ failing_resize, counting_free };
    for (; r == BL_ERROR_MEMORY && n < 1000; n++) {
        bl_words w;
        until_failure = n;
        held = 0;
        r = n % 2 ? bl_words_make(own, NULL, "hat", "broken", NULL, NULL, LENGTH, &w)
                  : bl_words_make(own, "a [[damaged]] hat", NULL, NULL, NULL, NULL, LENGTH, &w);
        bl_words_free(&w);
        if (held)
            break;
    }
    bl_memory = before;
    assert_int_equal(held, 0);
    assert_int_equal(r, BL_OK);
    assert_true(n > 5);
}

static int setup(void **state)
{
    (void)state;
    return bl_tokenizer_open(TEST_DATA "/tokenizer", &own) != BL_OK;
}

static int teardown(void **state)
{
    (void)state;
    bl_tokenizer_close(&own);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_found),
        cmocka_unit_test(words_are_refused),
        cmocka_unit_test(words_of_clip),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
