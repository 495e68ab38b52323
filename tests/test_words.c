/* Guided words: marks, templates, and the tokens that they give, on a vocabulary of our own in which "cracked" has five tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bl_tokenizer *tokenizer;

typedef struct row {
    const char *prompt, *object, *defect, *pattern, *normal;
    const char *made, *made_normal, *tokens;
} row;

static bl_result make(const row *r, uint32_t length, bl_words *w)
{
    return bl_words_make(tokenizer, r->prompt, r->object, r->defect, r->pattern, r->normal, length, w);
}

static void spell(const bl_words *w, char *out, size_t size)
{
    size_t n = 0;
    *out = 0;
    for (uint32_t i = 0; i < w->count; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%u", i ? " " : "", w->tokens[i]);
}

static void test_made(void **state)
{
    (void)state;
    static const row rows[] = {
        { .prompt = "a photo of a hazelnut", .made = "a photo of a hazelnut", .made_normal = "a photo of a hazelnut", .tokens = "" },
        { .prompt = "a photo of a [[cracked]] hazelnut", .made = "a photo of a cracked hazelnut", .made_normal = "a photo of a hazelnut",
          .tokens = "5 6 7 8 9" },
        { .prompt = "[[photo]] of a [[hazelnut]]", .made = "photo of a hazelnut", .made_normal = "of a", .tokens = "1 4" },
        { .prompt = "[[photo of]]", .made = "photo of", .made_normal = "", .tokens = "1 2" },
        { .prompt = "a [[ photo ]]of", .made = "a  photo of", .made_normal = "a of", .tokens = "2" }, /* single spaces */
        { .prompt = "hazelnut[['s]]", .made = "hazelnut's", .made_normal = "hazelnut", .tokens = "2" }, /* a word of its own */
        { .prompt = "7[[7]]7", .made = "777", .made_normal = "77", .tokens = "2" },                     /* so is a digit */
        { .prompt = "\\[[a\\]] [[photo]]", .made = "[[a]] photo", .made_normal = "[[a]]", .tokens = "6" },
        { .prompt = "a [b] ] [ {object} {x} \\ photo", .made = "a [b] ] [ {object} {x} \\ photo",
          .made_normal = "a [b] ] [ {object} {x} \\ photo", .tokens = "" }, /* a prompt has no places to fill */
        { .prompt = "Caf\xc3\xa9 [[CR\xc3\x88ME]]", .made = "Caf\xc3\xa9 CR\xc3\x88ME", .made_normal = "Caf\xc3\xa9", .tokens = "2" },
        { .prompt = "a [[photo]]", .normal = "of  \\[[a", .made = "a photo", .made_normal = "of  [[a", .tokens = "2" },
        { .prompt = "", .made = "", .made_normal = "", .tokens = "" },

        { .object = "hazelnut", .defect = "damaged", .made = "a photo of a hazelnut that is damaged",
          .made_normal = "a photo of a hazelnut", .tokens = NULL },
        { .object = "hazelnut", .defect = "cracked photo", .pattern = "a {object} {defect}", .made = "a hazelnut cracked photo",
          .made_normal = "a photo of a hazelnut", .tokens = "3 4 5 6 7 8" },
        { .object = "photo", .defect = "a [[cracked]] photo", .pattern = "{defect}", .made = "a cracked photo",
          .made_normal = "a photo of a photo", .tokens = "2 3 4 5 6" },
        { .object = "[[hazelnut]]", .defect = "of", .pattern = "a {object} {defect}", .made = "a hazelnut of",
          .made_normal = "a photo of a hazelnut", .tokens = "2 3" },
        { .object = "photo", .defect = "of", .pattern = "{defect} [[a {defect}]] {object}{object} [[a]]", .made = "of a of photophoto a",
          .made_normal = "a photo of a photo", .tokens = NULL },
        { .object = "{defect}", .defect = "photo", .pattern = "{object} {defect}", .made = "{defect} photo",
          .made_normal = "a photo of a {defect}", .tokens = NULL }, /* what is filled in has no places */
        { .object = "\\[[a\\]]", .defect = "photo", .pattern = "{object} {defect}", .made = "[[a]] photo",
          .made_normal = "a photo of a [[a]]", .tokens = "6" },
        { .object = "a", .defect = "photo", .pattern = "{defect}", .normal = "of", .made = "photo", .made_normal = "of", .tokens = "1" },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        char tokens[256];
        bl_words w;
        if (make(&rows[i], 77, &w) != BL_OK)
            fail_msg("row %zu: %s", i, bl_last_error());
        spell(&w, tokens, sizeof(tokens));
        if (strcmp(w.prompt, rows[i].made) || strcmp(w.normal, rows[i].made_normal) || (rows[i].tokens && strcmp(tokens, rows[i].tokens)))
            fail_msg("row %zu: \"%s\", normal \"%s\", tokens %s", i, w.prompt, w.normal, tokens);
        bl_words_free(&w);
    }
}

/* The indices are those of the whole prompt: the ids found there spell the word. */
static void test_tokens_are_the_word(void **state)
{
    (void)state;
    static const row r = { .object = "hazelnut", .defect = "damaged, broken" };
    static const char *const expected[] = { "damaged</w>", ",</w>", "broken</w>" };
    bl_words w;
    int32_t ids[77];
    assert_int_equal(make(&r, 77, &w), BL_OK);
    assert_int_equal(bl_tokenizer_encode_padded(tokenizer, w.prompt, 77, ids, NULL), BL_OK);
    assert_int_equal(w.count, 3);
    for (uint32_t i = 0; i < w.count; i++)
        assert_string_equal(bl_tokenizer_text(tokenizer, ids[w.tokens[i]]), expected[i]);
    bl_words_free(&w);
    assert_null(w.prompt);
    bl_words_free(&w);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct { row r; uint32_t length; bl_result result; const char *reason; } rows[] = {
        { { .prompt = NULL }, 77, BL_ERROR_USAGE, "a prompt, or an object and a defect, is needed" },
        { { .object = "nut" }, 77, BL_ERROR_USAGE, "is needed" },
        { { .defect = "bad" }, 77, BL_ERROR_USAGE, "is needed" },
        { { .object = "nut", .defect = "" }, 77, BL_ERROR_USAGE, "is needed" },
        { { .object = "", .defect = "bad" }, 77, BL_ERROR_USAGE, "is needed" },
        { { .prompt = "a", .object = "nut", .defect = "bad" }, 77, BL_ERROR_USAGE, "not both" },
        { { .prompt = "a", .pattern = "{defect}" }, 77, BL_ERROR_USAGE, "not both" },
        { { .object = "nut", .defect = "bad", .pattern = "a {object}" }, 77, BL_ERROR_USAGE, "\"a {object}\" has no {defect}" },
        { { .object = "nut", .defect = "bad", .pattern = "{defect} {Object}" }, 77, BL_ERROR_USAGE, "has \"{Object}\": only" },
        { { .object = "nut", .defect = " \t", }, 77, BL_ERROR_INPUT, "\"[[ \t]]\" marks no word" },
        { { .prompt = "a [[photo" }, 77, BL_ERROR_INPUT, "\"[[\" is not closed" },
        { { .prompt = "a [[" }, 77, BL_ERROR_INPUT, "\"[[\" is not closed" },
        { { .prompt = "a [[photo\\]]" }, 77, BL_ERROR_INPUT, "\"[[\" is not closed" },
        { { .prompt = "a photo]] of" }, 77, BL_ERROR_INPUT, "\"]]\" without \"[[\"" },
        { { .prompt = "[[a]] photo]] of" }, 77, BL_ERROR_INPUT, "\"]]\" without \"[[\"" },
        { { .prompt = "a [[photo [[of]] a]]" }, 77, BL_ERROR_INPUT, "\"[[\" within \"[[\"" },
        { { .object = "nut", .defect = "a [[b]]", .pattern = "[[{defect}]]" }, 77, BL_ERROR_INPUT, "\"[[\" within \"[[\"" },
        { { .object = "[[nut", .defect = "b]]", .pattern = "{object} {defect}" }, 77, BL_ERROR_INPUT, "\"[[\" is not closed" },
        { { .prompt = "a [[]] photo" }, 77, BL_ERROR_INPUT, "\"[[]]\" marks no word" },
        { { .prompt = "a [[ \n ]] photo" }, 77, BL_ERROR_INPUT, "marks no word" },
        { { .prompt = "a [[\xe2\x80\x83]] photo" }, 77, BL_ERROR_INPUT, "is marked, but has no tokens" }, /* a space that is not ASCII */
        { { .prompt = "[[hazel]]nut" }, 77, BL_ERROR_INPUT, "\"hazel\" is marked, but is only a part of a word" },
        { { .prompt = "hazel[[nut]]" }, 77, BL_ERROR_INPUT, "\"nut\" is marked, but is only a part of a word" },
        { { .prompt = "a[[photo]]of" }, 77, BL_ERROR_INPUT, "\"photo\" is marked, but is only a part of a word" },
        { { .prompt = "cafe[[\xcc\x81]]" }, 77, BL_ERROR_INPUT, "only a part of a word" }, /* an accent that joins the letter before it */
        { { .prompt = "a photo of [[a]]" }, 5, BL_ERROR_INPUT, "\"a\" is marked, but lies beyond the 5 tokens" },
        { { .prompt = "a photo of a [[cracked]]" }, 10, BL_ERROR_INPUT, "\"cracked\" is marked, but lies beyond the 10" },
        { { .prompt = "[[a a a a a a a a a a a a a a a a a]]" }, 77, BL_ERROR_INPUT, "the marked words have more than 16 tokens" },
        { { .prompt = "[[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]][[a]]" }, 77, BL_ERROR_INPUT,
          "more than 16 words are marked" },
        { { .prompt = "a [[photo]]", .normal = "a [[photo]]" }, 77, BL_ERROR_INPUT, "the normal prompt has marks" },
        { { .prompt = "a [[photo]]", .normal = "a photo]]" }, 77, BL_ERROR_INPUT, "\"]]\" without \"[[\"" },
        { { .prompt = "[[cafe]]\xcc\x81 a" }, 77, BL_ERROR_INPUT, "only a part of a word" },
        { { .prompt = "a \xff [[photo]]" }, 77, BL_ERROR_INPUT, "not UTF-8" },
    };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        bl_words w;
        memset(&w, 0xff, sizeof(w));
        const bl_result got = make(&rows[i].r, rows[i].length, &w);
        if (got != rows[i].result || !strstr(bl_last_error(), rows[i].reason))
            fail_msg("row %zu: %s: \"%s\" lacks \"%s\"", i, bl_result_name(got), bl_last_error(), rows[i].reason);
        if (w.prompt || w.normal || w.count)
            fail_msg("row %zu: something is left", i);
    }
}

/* What just fits. */
static void test_limits(void **state)
{
    (void)state;
    static const row last = { .prompt = "a photo of [[a]]" }, sixteen = { .prompt = "[[a a a a a a a a a a a a a a a a]]" };
    bl_words w;
    assert_int_equal(make(&last, 6, &w), BL_OK);
    assert_int_equal(w.tokens[0], 4);
    bl_words_free(&w);
    assert_int_equal(make(&sixteen, 77, &w), BL_OK);
    assert_int_equal(w.count, BL_MAX_WORDS);
    assert_int_equal(w.tokens[15], 16);
    bl_words_free(&w);
}

static void test_public(void **state)
{
    (void)state;
    bl_generate_options o = BL_GENERATE_OPTIONS_INIT;
    bl_tokens t;
    o.prompt = "a [[cracked]] hazelnut";
    assert_int_equal(bl_tokenize(TEST_DATA "/tokenizer", &o, &t), BL_OK);
    assert_string_equal(t.prompt, "a cracked hazelnut");
    assert_int_equal(t.count, 9);
    assert_int_equal(t.limit, bl_tokenizer_max_length(tokenizer));
    for (uint32_t i = 0; i < t.count; i++)
        assert_int_equal(t.tokens[i].guided, i >= 2 && i < 7);
    assert_string_equal(t.tokens[7].text, "hazelnut</w>");
    bl_tokens_free(&t);
    assert_null(t.tokens);

    char many[512] = "[[photo]]"; /* too long for the text encoder, and still listed */
    for (int i = 0; i < 100; i++)
        strcat(many, " a");
    o.prompt = many;
    assert_int_equal(bl_tokenize(TEST_DATA "/tokenizer", &o, &t), BL_OK);
    assert_int_equal(t.count, 103);
    bl_tokens_free(&t);

    memset(&t, 0xff, sizeof(t));
    o.prompt = "[[";
    assert_int_equal(bl_tokenize(TEST_DATA "/tokenizer", &o, &t), BL_ERROR_INPUT);
    assert_true(!t.prompt && !t.tokens && !t.count && !t.limit);
    o.struct_size--;
    assert_int_equal(bl_tokenize(TEST_DATA "/tokenizer", &o, &t), BL_ERROR_USAGE);
    assert_int_equal(bl_tokenize(NULL, &o, &t), BL_ERROR_USAGE);
    bl_tokens_free(NULL);
}

/* CLIP's own vocabulary. */
static void test_clip(void **state)
{
    (void)state;
    static const row rows[] = {
        { .prompt = "a photo of a [[cracked]] hazelnut", .made = "a photo of a cracked hazelnut", .tokens = "5" },
        { .object = "hazelnut", .defect = "damaged", .made = "a photo of a hazelnut that is damaged", .tokens = "8" },
        { .object = "transistor", .defect = "bent-lead", .made = "a photo of a transistor that is bent-lead", .tokens = "9 10 11" },
    };
    const char *reference = getenv("BLEMISH_REFERENCE");
    char dir[512], tokens[64];
    bl_tokenizer *t = NULL, *own = tokenizer;
    if (!reference && getenv("CI"))
        fail_msg("BLEMISH_REFERENCE is not set");
    if (!reference)
        skip();
    snprintf(dir, sizeof(dir), "%s/models/tiny15", reference ? reference : "");
    if (bl_tokenizer_open(dir, &t) != BL_OK)
        fail_msg("%s", bl_last_error());
    tokenizer = t;
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        bl_words w;
        assert_int_equal(make(&rows[i], 77, &w), BL_OK);
        spell(&w, tokens, sizeof(tokens));
        assert_string_equal(w.prompt, rows[i].made);
        assert_string_equal(tokens, rows[i].tokens);
        bl_words_free(&w);
    }
    tokenizer = own;
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

static void test_failing_memory(void **state)
{
    (void)state;
    static const row rows[] = { { .object = "hazelnut", .defect = "[[cracked]] photo" }, { .prompt = "a [[photo]] of" } };
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        const bl_memory_api saved = bl_memory;
        bl_result result = BL_ERROR_MEMORY;
        int n = 0;
        bl_memory = (bl_memory_api){ failing_resize, counting_free };
        for (; n < 200 && result == BL_ERROR_MEMORY; n++) {
            bl_words w;
            until_failure = n;
            held = 0;
            result = make(&rows[i], 77, &w);
            bl_words_free(&w);
            if (held)
                break;
        }
        bl_memory = saved;
        assert_int_equal(held, 0);
        assert_int_equal(result, BL_OK);
        assert_true(n > 5);
    }
}

static int open_tokenizer(void **state)
{
    (void)state;
    return bl_tokenizer_open(TEST_DATA "/tokenizer", &tokenizer) != BL_OK;
}

static int close_tokenizer(void **state)
{
    (void)state;
    bl_tokenizer_close(&tokenizer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made),       cmocka_unit_test(test_tokens_are_the_word), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_public),              cmocka_unit_test(test_clip),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
