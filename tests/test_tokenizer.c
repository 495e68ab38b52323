/* The tokenizer: a vocabulary of our own against ids made with the Hugging Face tokenizers library, the 40 golden prompts on CLIP's
 * vocabulary, hostile files and prompts, failing allocations, time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tokenizer.h"
#include "file.h"
#include "json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIXTURE TEST_DATA "/tokenizer"
#if defined(__SANITIZE_ADDRESS__)
#define SLOWER 10
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLOWER 10
#endif
#endif
#ifndef SLOWER
#define SLOWER 1
#endif

static bl_tokenizer *open_or_fail(const char *dir)
{
    bl_tokenizer *t = NULL;
    if (bl_tokenizer_open(dir, &t) != BL_OK)
        fail_msg("%s", bl_last_error());
    return t;
}

static void spell_ids(const int32_t *ids, size_t count, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < count && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%d", i ? " " : "", ids[i]);
}

/* Encodes and compares with ids written in a row. */
static int agrees(const bl_tokenizer *t, const char *text, size_t bytes, const char *expected)
{
    char got[4096];
    int32_t *ids;
    size_t count;
    if (bl_tokenizer_encode(t, text, bytes, &ids, &count) != BL_OK) {
        print_error("%s: %s\n", text, bl_last_error());
        return 0;
    }
    spell_ids(ids, count, got, sizeof(got));
    bl_free(ids);
    if (strcmp(got, expected))
        print_error("\"%s\"\n  gives    %s\n  expected %s\n", text, got, expected);
    return !strcmp(got, expected);
}

/* --- our own vocabulary -------------------------------------------------------------------------------------------- */

static void test_own_vocabulary(void **state)
{
    /* Start 584, end 585, "!" 0 is the padding token and, being a plain string in the file, never part of a word. */
    static const struct { const char *text, *ids; } rows[] = {
        { "", "584 585" },
        { " \n ", "584 585" },
        { "a photo of a hazelnut", "584 320 517 525 320 524 585" },
        { "A PHOTO\tof  a\n\xe3\x80\x80Hazelnut ", "584 320 517 525 320 524 585" }, /* ideographic space */
        { "it's the hazelnut's, don't", "584 557 542 528 524 542 267 582 560 585" },
        { "'S''s 'll", "584 542 6 262 338 6 75 331 585" },                         /* 's, then a run of two apostrophes, then s */
        { "42 bottles", "584 275 273 534 68 338 585" },                           /* digits stand alone */
        { "cr\xc3\xa8me br\xc3\xbbl\xc3\xa9" "e caf\xc3\xa9", "584 581 576 577 585" },
        { "cafe\xcc\x81", "584 577 585" },                                        /* e + acute composes */
        { "q\xcc\xa3\xcc\x87 q\xcc\x87\xcc\xa3", "584 336 136 96 136 485 336 136 96 136 485 585" }, /* marks in either order */
        { "\xc4\xb0\xce\xa3 \xe1\xba\x9e", "584 328 136 485 139 481 127 509 585" }, /* dotted I: two code points; sigma is never final */
        { "\xe6\x97\xa5", "584 162 245 354 585" },
        { "\xc2\xbd\xe2\x85\xa7\xd9\xa3", "584 126 377 158 227 371 149 352 585" },  /* a fraction, a Roman and an Arabic numeral */
        { "damaged!!! ?!", "584 556 0 0 0 286 0 585" },
        { "<|startoftext|> a <|EndOfText|>", "584 584 320 585 585" },
        { "<|endoftex|>", "584 27 347 68 77 67 78 69 83 68 343 91 285 585" },
        { "aaaaaaa", "584 514 514 514 320 585" },
        { "zero\xe2\x80\x8bwidth", "584 89 68 81 334 158 222 489 86 72 67 83 327 585" },
        { "\xe6\x97\xa5?\xe6\x97\xa5\xe2\x80\x94\xd7\x90", "584 162 245 354 286 162 245 354 158 222 498 147 494 585" },
        { "\xc3\xa0 \xc3\xad \x7f \x1f", "584 127 510 127 511 477 475 585" },
        { "... .... \xc2\x85", "584 544 13 544 585" },
    };
    (void)state;
    bl_tokenizer *t = open_or_fail(FIXTURE);
    assert_int_equal(bl_tokenizer_size(t), 586);
    assert_int_equal(bl_tokenizer_max_length(t), 16);
    assert_int_equal(bl_tokenizer_bos(t), 584);
    assert_int_equal(bl_tokenizer_eos(t), 585);
    assert_int_equal(bl_tokenizer_pad(t), 0);
    assert_string_equal(bl_tokenizer_text(t, 524), "hazelnut</w>");
    assert_string_equal(bl_tokenizer_text(t, 584), "<|startoftext|>");
    assert_null(bl_tokenizer_text(t, 586));
    assert_null(bl_tokenizer_text(t, -1));
    size_t good = 0;
    for (size_t i = 0; i < BL_COUNT(rows); i++)
        good += (size_t)agrees(t, rows[i].text, strlen(rows[i].text), rows[i].ids);
    assert_int_equal(good, BL_COUNT(rows));
    assert_true(agrees(t, "a\0b", 3, "584 320 444 321 585")); /* a 0 byte is a symbol like any other */
    bl_tokenizer_close(&t);
    assert_null(t);
    bl_tokenizer_close(&t);
    bl_tokenizer_close(NULL);
}

static void test_padded(void **state)
{
    (void)state;
    bl_tokenizer *t = open_or_fail(FIXTURE);
    int32_t ids[9] = { 0 };
    uint32_t used = 0;
    ids[8] = -7;
    assert_int_equal(bl_tokenizer_encode_padded(t, "a photo of a hazelnut", 8, ids, &used), BL_OK);
    assert_int_equal(used, 7);
    assert_memory_equal(ids, ((int32_t[]){ 584, 320, 517, 525, 320, 524, 585, 0, -7 }), sizeof(ids));
    assert_int_equal(bl_tokenizer_encode_padded(t, "a photo of a hazelnut", 7, ids, NULL), BL_OK);
    assert_int_equal(bl_tokenizer_encode_padded(t, "", 2, ids, &used), BL_OK);
    assert_int_equal(used, 2);

    assert_int_equal(bl_tokenizer_encode_padded(t, "a photo of a cracked hazelnut, broken", 7, ids, &used), BL_ERROR_INPUT);
    /* Of "cracked" only a part fits, so the message starts with the whole word. */
    assert_string_equal(bl_last_error(),
        "prompt: 14 tokens with start and end, at most 7: too long from \"cracked hazelnut , broken\" on");
    assert_int_equal(bl_tokenizer_encode_padded(t, "<|endoftext|> caf\xc3\xa9\x1b broken <|endoftext|> a", 3, ids, NULL), BL_ERROR_INPUT);
    assert_non_null(strstr(bl_last_error(), "from \"caf\xc3\xa9 ? broken"));
    char words[300 * sizeof("hazelnut\xc3\xa9 ")] = "";
    for (size_t i = 0; i < 300; i++)
        strcat(words, "hazelnut\xc3\xa9 ");
    assert_int_equal(bl_tokenizer_encode_padded(t, words, 9, ids, NULL), BL_ERROR_INPUT);
    assert_non_null(strstr(bl_last_error(), "...\" on"));
    assert_int_equal(bl_tokenizer_encode_padded(t, "", 1, ids, NULL), BL_ERROR_USAGE);
    bl_tokenizer_close(&t);
}

/* --- the golden prompts -------------------------------------------------------------------------------------------- */

static const char *reference(void)
{
    const char *dir = getenv("BLEMISH_REFERENCE");
    if (!dir && getenv("CI"))
        fail_msg("BLEMISH_REFERENCE is not set");
    if (!dir)
        skip();
    return dir;
}

/* The bytes that hex digits up to `end` stand for, and a 0. */
static size_t unhex(const char *hex, const char *end, char *out)
{
    size_t n = 0;
    for (; hex + 1 < end; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        out[n++] = (char)byte;
    }
    out[n] = 0;
    return n;
}

static void test_golden_prompts(void **state)
{
    (void)state;
    const char *dir = reference();
    char path[1024];
    uint8_t *data;
    size_t size, rows = 0, good = 0;
    static char text[65536];
    snprintf(path, sizeof(path), "%s/models/tiny15", dir);
    const clock_t start = clock();
    bl_tokenizer *t = open_or_fail(path);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    snprintf(path, sizeof(path), "%s/golden/tokens.tsv", dir);
    assert_int_equal(bl_file_read_all(path, 1 << 20, &data, &size, BL_ERROR_INPUT), BL_OK);
    for (char *line = (char *)data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, rows++) {
        *end = 0;
        char *tab = strchr(line, '\t');
        assert_non_null(tab);
        const size_t bytes = unhex(line, tab, text);
        tab = strchr(tab + 1, '\t');
        assert_non_null(tab);
        good += (size_t)agrees(t, text, bytes, tab + 1);
    }
    bl_free(data);
    assert_int_equal(bl_tokenizer_size(t), 49408);
    assert_int_equal(bl_tokenizer_max_length(t), 77);
    bl_tokenizer_close(&t);
    print_message("golden prompts: %zu of %zu; vocabulary opened in %.0f ms\n", good, rows, seconds * 1e3);
    assert_int_equal(rows, 40);
    assert_int_equal(good, 40);
    assert_true(seconds < 0.15 * SLOWER);
}

/* One row of tokens.json padded to 77; false when the row is of no use here. */
static bool check_padded(const bl_tokenizer *t, const json_t *row, const char *column)
{
    const json_t *expected = json_object_get(row, column), *nfc = json_object_get(row, "ids_nfc_only");
    int32_t ids[77];
    uint32_t used;
    /* The padded columns were made with ftfy's repairs, which the fast tokenizer lacks. */
    if (!json_equal(json_object_get(row, "ids"), nfc))
        return false;
    const bl_result r = bl_tokenizer_encode_padded(t, json_string_value(json_object_get(row, "prompt")), 77, ids, &used);
    if (json_array_size(nfc) > 77) {
        char count[32];
        snprintf(count, sizeof(count), "prompt: %zu tokens", json_array_size(nfc));
        assert_int_equal(r, BL_ERROR_INPUT);
        assert_non_null(strstr(bl_last_error(), count));
        return false;
    }
    assert_int_equal(r, BL_OK);
    assert_int_equal(json_array_size(expected), 77);
    for (size_t i = 0; i < 77; i++)
        assert_int_equal(ids[i], json_integer_value(json_array_get(expected, i)));
    return true;
}

static void test_golden_padded(void **state)
{
    static const struct { const char *model, *column; int32_t pad; } models[] = {
        { "tiny15", "ids77_sd1", 49407 }, { "tiny21/tokenizer", "ids77_sd2", 0 } };
    (void)state;
    const char *dir = reference();
    char path[1024];
    json_t *rows = NULL;
    snprintf(path, sizeof(path), "%s/golden/tokens.json", dir);
    assert_int_equal(bl_json_read(path, 1 << 22, BL_ERROR_INPUT, &rows), BL_OK);
    assert_int_equal(json_array_size(rows), 40);
    for (size_t m = 0; m < BL_COUNT(models); m++) {
        snprintf(path, sizeof(path), "%s/models/%s", dir, models[m].model);
        bl_tokenizer *t = open_or_fail(path);
        size_t compared = 0;
        assert_int_equal(bl_tokenizer_pad(t), models[m].pad);
        for (size_t i = 0; i < json_array_size(rows); i++)
            compared += check_padded(t, json_array_get(rows, i), models[m].column);
        assert_int_equal(compared, 35); /* 3 with repairs, 2 too long */
        bl_tokenizer_close(&t);
    }
    json_decref(rows);
}

/* --- hostile files ------------------------------------------------------------------------------------------------- */

#define ENDS "\"<|startoftext|>\": 3, \"<|endoftext|>\": 4"
#define VOCABULARY "{\"a\": 0, \"b\": 1, \"ab\": 2, " ENDS ", \"a</w>\": 5, \"b</w>\": 6, \"ab</w>\": 7, \"<END>\": 9, \"<A  B>\": 10}"
#define MERGES "#version: 0.2\na b\na b</w>\n"
static const char *const names[] = { "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json" };

static void write_folder(const char *dir, const char *const contents[4])
{
    char path[256];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (contents[i])
            assert_int_equal(bl_file_write_atomic(path, contents[i], strlen(contents[i])), BL_OK);
        else
            remove(path);
    }
}

static int make_folder(void **state)
{
    static char dir[64];
    strcpy(dir, "/tmp/blemish_tokenizer_XXXXXX");
    *state = dir;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_folder(void **state)
{
    write_folder(*state, (const char *const[4]){ NULL });
    return rmdir(*state);
}

static void test_small_files(void **state)
{
    const char *dir = *state;
    bl_tokenizer *t;

    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, NULL });
    t = open_or_fail(dir);
    assert_int_equal(bl_tokenizer_max_length(t), 77);
    assert_int_equal(bl_tokenizer_pad(t), 4);
    assert_int_equal(bl_tokenizer_size(t), 11);
    assert_null(bl_tokenizer_text(t, 8)); /* no entry has this id */
    assert_true(agrees(t, "AB abab acb", 11, "3 7 2 7 0 4 6 4")); /* c is unknown */
    bl_tokenizer_close(&t);

    /* No version line, CRLF, blank lines, no line end; the map wins over the configuration. */
    write_folder(dir, (const char *const[4]){ VOCABULARY, "a b\r\n\r\n\na b</w>", "{\"pad_token\": \"a\", \"model_max_length\": 2}",
        "{\"pad_token\": {\"content\": \"b\", \"normalized\": true}, \"eos_token\": null}" });
    t = open_or_fail(dir);
    assert_int_equal(bl_tokenizer_max_length(t), 2);
    assert_int_equal(bl_tokenizer_pad(t), 1);
    assert_true(agrees(t, "aBa", 3, "3 5 1 5 4"));
    bl_tokenizer_close(&t);

    /* A token that is not normalised is matched as written, one that is normalised in lower case even if its entry is not. */
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, "{\"pad_token\": \"<END>\"}" });
    t = open_or_fail(dir);
    assert_true(agrees(t, "a<END>b", 7, "3 5 9 6 4"));
    assert_true(agrees(t, "a<end>", 6, "3 5 4 4 4 4 4 4"));
    bl_tokenizer_close(&t);
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL,
        "{\"pad_token\": {\"content\": \"<END>\", \"normalized\": true}}" });
    t = open_or_fail(dir);
    assert_true(agrees(t, "a<eNd>b", 7, "3 5 9 6 4"));
    bl_tokenizer_close(&t);
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, "{\"pad_token\": \"b\"}" });
    t = open_or_fail(dir);
    assert_true(agrees(t, "aBbaB", 5, "3 7 1 7 4")); /* B is no padding token, not even in lower case */
    bl_tokenizer_close(&t);
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL,
        "{\"pad_token\": {\"content\": \"<A  B>\", \"normalized\": true}}" });
    t = open_or_fail(dir);
    assert_true(agrees(t, "b<a \t\nB>b", 9, "3 6 10 6 4")); /* one space on either side of the comparison */
    bl_tokenizer_close(&t);

    /* Of two special tokens at one place the longer; of two with one entry the first says whether it is normalised. */
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, "{\"unk_token\": \"a\", \"pad_token\": \"ab\"}" });
    t = open_or_fail(dir);
    assert_true(agrees(t, "abaAb", 5, "3 2 0 7 4"));
    bl_tokenizer_close(&t);
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, "{\"unk_token\": \"ab\", \"pad_token\": \"a\"}" });
    t = open_or_fail(dir);
    assert_true(agrees(t, "abaAb", 5, "3 2 0 7 4"));
    bl_tokenizer_close(&t);
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL,
        "{\"eos_token\": \"<|endoftext|>\", \"unk_token\": \"<|endoftext|>\"}" });
    t = open_or_fail(dir);
    assert_true(agrees(t, "a<|endoftext|>a", 15, "3 5 4 5 4"));
    assert_true(agrees(t, "<|Endoftext|>", 13, "3 4 4 4 4 4 4 4 4 4 4 4 4 4 4"));
    bl_tokenizer_close(&t);

    /* Rank before place; a pair that changed since it was proposed is not merged as what it was. */
    write_folder(dir, (const char *const[4]){ "{\"a\": 0, \"b\": 1, \"ab\": 2, " ENDS ", \"b</w>\": 5, \"bb</w>\": 6, \"abb</w>\": 7}",
        "b b</w>\na b\na bb</w>\n", NULL, NULL });
    t = open_or_fail(dir);
    assert_true(agrees(t, "abb abbb", 8, "3 7 2 6 4"));
    bl_tokenizer_close(&t);

    /* No merges at all. */
    write_folder(dir, (const char *const[4]){ VOCABULARY, "", NULL, NULL });
    t = open_or_fail(dir);
    assert_true(agrees(t, "ab", 2, "3 0 6 4"));
    bl_tokenizer_close(&t);
}

static void test_hostile_files(void **state)
{
    static const struct { int file; const char *contents, *message; } rows[] = {
        { 0, NULL, "vocab.json" },
        { 0, "", "vocab.json" },
        { 0, "[1]", "vocab.json: not an object with an id for each entry" },
        { 0, "{}", "vocab.json: not an object with an id for each entry" },
        { 0, "{\"a\": 0, \"a\": 1}", "duplicate" },
        { 0, "{\"a\": 0, \"\\ud800\": 1}", "vocab.json" },
        { 0, "{\"a\": \"0\", " ENDS "}", "vocab.json: entry \"a\": not an id from 0 to 1048575" },
        { 0, "{\"a\": 0.5, " ENDS "}", "vocab.json: entry \"a\": not an id" },
        { 0, "{\"a\": -1, " ENDS "}", "vocab.json: entry \"a\": not an id" },
        { 0, "{\"a\": 1048576, " ENDS "}", "vocab.json: entry \"a\": not an id" },
        { 0, "{\"a\": 9223372036854775807, " ENDS "}", "vocab.json: entry \"a\": not an id" },
        { 0, "{\"a\": [], " ENDS "}", "vocab.json: entry \"a\": not an id" },
        { 0, "{\"a\\u0007\\u001b\": 3, " ENDS "}", "vocab.json: entry \"<|startoftext|>\": id 3 is already that of \"a?" "?\"" },
        { 0, "{\"a\": 0, \"b\": 1, \"ab\": 2, \"b</w>\": 3, \"ab</w>\": 4, \"<|endoftext|>\": 5}",
            "vocab.json: no entry \"<|startoftext|>\", which is the bos_token" },
        { 0, "{\"a\": 0, \"b\": 1, \"ab\": 2, \"b</w>\": 3, \"ab</w>\": 4, \"<|startoftext|>\": 5}",
            "vocab.json: no entry \"<|endoftext|>\", which is the eos_token" },
        { 1, NULL, "merges.txt" },
        { 1, "#version: 0.2\na b\nab\n", "merges.txt: line 3: \"ab\" is not two symbols" },
        { 1, "a b\n b\n", "merges.txt: line 2: \" b\" is not two symbols" },
        { 1, "a b\na \n", "merges.txt: line 2: \"a \" is not two symbols" },
        { 1, "a b a\n", "merges.txt: line 1: \"a b a\" is not two symbols" },
        { 1, "a  b\n", "merges.txt: line 1: \"a  b\" is not two symbols" },
        { 1, "a c\n", "merges.txt: line 1: \"c\" is not in vocab.json" },
        { 1, "\xff\x1b b\n", "merges.txt: line 1: \"?" "?\" is not in vocab.json" },
        { 1, "b a\n", "merges.txt: line 1: the result \"ba\" is not in vocab.json" },
        { 1, "#version: 0.2\na b\na b</w>\na b\n", "merges.txt: line 4: the same merge as line 2" },
        { 2, "[]", "tokenizer_config.json: not an object" },
        { 2, "{\"model_max_length\": \"77\"}", "tokenizer_config.json" },
        { 2, "{\"model_max_length\": 1}", "tokenizer_config.json" },
        { 2, "{\"model_max_length\": 65537}", "tokenizer_config.json" },
        { 2, "{\"tokenizer_class\": \"T5Tokenizer\"}", "tokenizer_config.json: tokenizer_class \"T5Tokenizer\" is not CLIPTokenizer" },
        { 2, "{\"tokenizer_class\": 5}", "tokenizer_config.json" },
        { 3, "{", "special_tokens_map.json" },
        { 3, "{\"bos_token\": 5}", "special_tokens_map.json: bos_token: not a text of 1 to 256 bytes" },
        { 3, "{\"bos_token\": \"\"}", "special_tokens_map.json: bos_token: not a text of 1 to 256 bytes" },
        { 3, "{\"bos_token\": {}}", "special_tokens_map.json: bos_token: not a text" },
        { 3, "{\"bos_token\": {\"content\": 7}}", "special_tokens_map.json: bos_token" },
        { 3, "{\"bos_token\": {\"content\": \"a\", \"normalized\": 1}}", "special_tokens_map.json: bos_token" },
        { 3, "{\"unk_token\": {\"content\": \"a\", \"single_word\": true}}", "unk_token: single_word is not supported" },
        { 3, "{\"unk_token\": \"zz\"}", "vocab.json: no entry \"zz\", which is the unk_token" },
        { 3, "{\"pad_token\": \"zz\"}", "vocab.json: no entry \"zz\", which is the pad_token" },
    };
    const char *dir = *state;
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        const char *contents[4] = { VOCABULARY, MERGES, NULL, NULL };
        contents[rows[i].file] = rows[i].contents;
        write_folder(dir, contents);
        bl_tokenizer *t = (bl_tokenizer *)&t;
        const bl_result r = bl_tokenizer_open(dir, &t);
        if (r != BL_ERROR_MODEL || t || !strstr(bl_last_error(), rows[i].message))
            fail_msg("row %zu: %s, \"%s\", expected \"%s\"", i, bl_result_name(r), bl_last_error(), rows[i].message);
    }
}

static void test_hostile_bytes(void **state)
{
    const char *dir = *state;
    char path[256];
    bl_tokenizer *t;

    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, NULL });
    snprintf(path, sizeof(path), "%s/merges.txt", dir);
    assert_int_equal(bl_file_write_atomic(path, "a b\na\0 b\n", 9), BL_OK);
    assert_int_equal(bl_tokenizer_open(dir, &t), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "merges.txt: line 2: holds a 0 byte"));

    /* Larger than any vocabulary; a sparse file. */
    for (size_t i = 0; i < 2; i++) {
        write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, NULL });
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        assert_int_equal(truncate(path, (off_t)33 << 20), 0);
        assert_int_equal(bl_tokenizer_open(dir, &t), BL_ERROR_MODEL);
        assert_non_null(strstr(bl_last_error(), names[i]));
        assert_null(t);
    }

    /* A special token of more than 256 bytes. */
    char map[400] = "{\"bos_token\": \"";
    memset(map + strlen(map), 'x', 257);
    strcat(map, "\"}");
    write_folder(dir, (const char *const[4]){ VOCABULARY, MERGES, NULL, map });
    assert_int_equal(bl_tokenizer_open(dir, &t), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "bos_token: not a text of 1 to 256 bytes"));
    assert_int_equal(bl_tokenizer_open("/nowhere/at/all", &t), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "/nowhere/at/all/vocab.json"));
}

/* --- hostile prompts ----------------------------------------------------------------------------------------------- */

static void test_hostile_prompts(void **state)
{
    static const struct { const char *text, *message; } rows[] = {
        { "ab\xff", "prompt: not UTF-8 at byte 2 (0xff)" },
        { "\x80", "prompt: not UTF-8 at byte 0 (0x80)" },
        { "a\xc3", "prompt: not UTF-8 at byte 1 (0xc3)" },             /* cut */
        { "\xc0\xaf", "prompt: not UTF-8 at byte 0" },                 /* overlong */
        { "\xc1\xbf", "prompt: not UTF-8 at byte 0" },
        { "\xe0\x80\xaf", "prompt: not UTF-8 at byte 0" },
        { "\xf0\x80\x80\xaf", "prompt: not UTF-8 at byte 0" },
        { "\xed\xa0\x80", "prompt: not UTF-8 at byte 0" },             /* surrogate */
        { "\xf4\x90\x80\x80", "prompt: not UTF-8 at byte 0" },         /* above U+10FFFF */
        { "\xf8\x88\x80\x80\x80", "prompt: not UTF-8 at byte 0" },
    };
    (void)state;
    bl_tokenizer *t = open_or_fail(FIXTURE);
    int32_t *ids;
    size_t count;
    for (size_t i = 0; i < BL_COUNT(rows); i++) {
        assert_int_equal(bl_tokenizer_encode(t, rows[i].text, strlen(rows[i].text), &ids, &count), BL_ERROR_INPUT);
        assert_null(ids);
        assert_int_equal(count, 0);
        if (!strstr(bl_last_error(), rows[i].message))
            fail_msg("row %zu: \"%s\", expected \"%s\"", i, bl_last_error(), rows[i].message);
    }
    static char text[BL_PROMPT_BYTES_MAX + 1];
    memset(text, 'a', sizeof(text));
    assert_int_equal(bl_tokenizer_encode(t, text, sizeof(text), &ids, &count), BL_ERROR_INPUT);
    assert_string_equal(bl_last_error(), "prompt: 65537 bytes, at most 65536");
    bl_tokenizer_close(&t);
}

/* Every prompt of 64 KiB takes less than 100 ms. */
static void test_time(void **state)
{
    static const struct { const char *name, *first, *second; } rows[] = { /* what the halves of the prompt repeat */
        { "one word of a", "a", "a" },
        { "one word of several letters", "hazelnutscratchbrokencafaaa", "damagedbottle" },
        { "one run of symbols", "..?", "?" },
        { "marks in the wrong order", "\xcc\x87", "\xcc\xa3" },         /* class 230, then class 220 */
        { "marks that decompose", "\xf0\x9d\x85\xa0", "\xcd\x84" },    /* one musical symbol: three code points */
        { "special tokens", "a!", "!" },
        { "almost special tokens", "<|startoftext|", "<|endoftext|" },
        { "spaces", " ", "\n" },
    };
    (void)state;
    bl_tokenizer *t = open_or_fail(FIXTURE);
    static char text[BL_PROMPT_BYTES_MAX];
    for (size_t r = 0; r < BL_COUNT(rows); r++) {
        size_t n = 0, count;
        int32_t *ids;
        for (size_t step; step = strlen(n < sizeof(text) / 2 ? rows[r].first : rows[r].second), n + step <= sizeof(text); n += step)
            memcpy(text + n, n < sizeof(text) / 2 ? rows[r].first : rows[r].second, step);
        const clock_t start = clock();
        assert_int_equal(bl_tokenizer_encode(t, text, n, &ids, &count), BL_OK);
        const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        print_message("%s: %zu tokens in %.1f ms\n", rows[r].name, count, seconds * 1e3);
        assert_true(seconds < 0.1 * SLOWER);
        if (!r) { /* 65536 letters: pairs, and what ends a word */
            size_t letters = 0;
            for (size_t i = 1; i + 1 < count; i++)
                letters += strcspn(bl_tokenizer_text(t, ids[i]), "<");
            assert_int_equal(letters, sizeof(text));
            assert_string_equal(bl_tokenizer_text(t, ids[1]), "aa");
        }
        bl_free(ids);
    }
    bl_tokenizer_close(&t);
}

/* --- failing allocations ------------------------------------------------------------------------------------------- */

static size_t calls_left;
static void *failing_resize(void *p, size_t size) { return calls_left && calls_left-- ? realloc(p, size) : NULL; }

static void test_failing_memory(void **state)
{
    (void)state;
    const bl_memory_api saved = bl_memory;
    bl_result r = BL_ERROR_MEMORY;
    bl_memory.resize = failing_resize;
    for (size_t n = 0; n < 1000 && r == BL_ERROR_MEMORY; n++) {
        bl_tokenizer *t = NULL;
        int32_t ids[77];
        calls_left = n;
        r = bl_tokenizer_open(FIXTURE, &t);
        if (r == BL_OK)
            r = bl_tokenizer_encode_padded(t, "a photo! q\xcc\x87\xcc\xa3 <|endoftext|> a hazelnut", 77, ids, NULL);
        bl_tokenizer_close(&t);
    }
    bl_memory = saved;
    assert_int_equal(r, BL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_vocabulary),
        cmocka_unit_test(test_padded),
        cmocka_unit_test(test_golden_prompts),
        cmocka_unit_test(test_golden_padded),
        cmocka_unit_test_setup_teardown(test_small_files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_hostile_files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_hostile_bytes, make_folder, remove_folder),
        cmocka_unit_test(test_hostile_prompts),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
