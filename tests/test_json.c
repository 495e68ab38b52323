/* JSON: what is refused, with which words, and the typed getters. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "json.h"
#include "file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void assert_reason(const char *part)
{
    if (!strstr(bl_last_error(), part))
        fail_msg("\"%s\" does not say \"%s\"", bl_last_error(), part);
}

static void test_refused(void **state)
{
    (void)state;
#define TEXT(s) s, sizeof(s) - 1
    static const struct { const char *text; size_t size; const char *reason; } cases[] = {
        { TEXT(""), "is empty" },
        { TEXT("  "), "x.json: line 1, column 2: '[' or '{' expected" },
        { TEXT("7"), "'[' or '{' expected" },
        { TEXT("\xef\xbb\xbf{}"), "byte order mark" },
        { TEXT("{\"a\": 1,\n \"b\" 2}"), "line 2" },
        { TEXT("{\"a\": 1} x"), "end of file expected" },
        { TEXT("{\"a\": 1,}"), "line 1, column 9" },
        { TEXT("{\"a\": 01}"), "x.json: line 1" },
        { TEXT("{\"a\": 9223372036854775808}"), "too big integer" },
        { TEXT("{\"a\": 1e999}"), "real number overflow" },
        { TEXT("{\"a\": NaN}"), "invalid token" },
        { TEXT("{\"a\": 1, \"a\": 2}"), "line 1, column 12: duplicate key \"a\"" },
        { TEXT("{\"down_blocks.0.attentions.1.weight\": 1, \"down_blocks.0.attentions.1.weight\": 1}"),
            "duplicate key \"down_blocks.0.attentions.1.weight\"" },
        { TEXT("{\"q\\\"\": 1, \"q\\\"\": 2}"), "duplicate key \"q\\\"\"" },
        { TEXT("{\"\\\\\": 1, \"\\\\\": 2}"), "duplicate key \"\\\\\"" },
        { TEXT("{\"\": 1, \"\": 2}"), "duplicate key \"\"" },
        { TEXT("{\"a\\u0000\": 1}"), "NUL byte in object key" },
        { TEXT("{\"a\": \"\\u0000\"}"), "\\u0000 is not allowed" },
        { TEXT("{\"a\": \"\0\"}"), "control character 0x0" },
        { TEXT("{\"a\": \"\x80\"}"), "unable to decode byte 0x80" },
        { TEXT("{\"a\": \"\xc0\xaf\"}"), "unable to decode byte 0xc0" },         /* overlong */
        { TEXT("{\"a\": \"\xed\xa0\x80\"}"), "unable to decode byte 0xed" },     /* surrogate */
        { TEXT("{\"a\": \"\\ud800\"}"), "line 1" },
        { TEXT("{\"a\": \"x"), "premature end of input" },
        { TEXT("{\"a\": \x1b}"), "near '?'" },                                   /* no escape sequence on the terminal */
        { TEXT("[[[[[1]]]]]"), "line 1, column 5: nested deeper than 4" },
        { TEXT("{\"a\":\n {\"b\": [{\"c\": {}}]}}"), "line 2, column 15: nested deeper than 4" },
        { TEXT("{\"\xc3\xa4\": [[[[]]]]}"), "line 1, column 10: nested deeper than 4" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        json_t *json = (json_t *)&cases;
        assert_int_equal(bl_json_parse("x.json", cases[i].text, cases[i].size, 4, BL_ERROR_INPUT, &json), BL_ERROR_INPUT);
        assert_null(json);
        assert_reason("x.json: ");
        assert_reason(cases[i].reason);
    }
#undef TEXT
}

static void test_depth(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    json_t *json;
    char *text = malloc(MANY);
    assert_non_null(text);
    memset(text, '[', MANY);
    assert_int_equal(bl_json_parse("deep", text, MANY, 16, BL_ERROR_MODEL, &json), BL_ERROR_MODEL);
    assert_reason("column 17: nested deeper than 16");
    memset(text, ']', MANY); /* closing more than was opened is the parser's to refuse */
    assert_int_equal(bl_json_parse("deep", text, MANY, 16, BL_ERROR_MODEL, &json), BL_ERROR_MODEL);
    assert_reason("expected");
    free(text);

    const char quoted[] = "[\"[[[[{{{{ \\\" [[[ \\\\\", [[\"]]\"]], {}]"; /* 3 levels: the others are text */
    assert_int_equal(bl_json_parse("quoted", quoted, strlen(quoted), 3, BL_ERROR_MODEL, &json), BL_OK);
    assert_int_equal(json_array_size(json), 3);
    json_decref(json);
    assert_int_equal(bl_json_parse("quoted", quoted, strlen(quoted), 2, BL_ERROR_MODEL, &json), BL_ERROR_MODEL);
}

static json_t *parse(const char *text)
{
    json_t *json;
    assert_int_equal(bl_json_parse("c.json", text, strlen(text), 16, BL_ERROR_MODEL, &json), BL_OK);
    return json;
}

static void test_members(void **state)
{
    (void)state;
    json_t *o = parse("{\"u\": 7, \"max\": 4294967295, \"over\": 4294967296, \"neg\": -1, \"f\": 0.25, \"t\": true, \"n\": null,"
        " \"s\": \"text\", \"a\": [1], \"o\": {}, \"big\": 9223372036854775807}");
    uint32_t u = 99;
    double f = 99;
    bool b = false;
    const char *s = "untouched";

    assert_int_equal(bl_json_u32(o, "c.json", "u", 1, 9, 5, &u), BL_OK);
    assert_int_equal(u, 7);
    assert_int_equal(bl_json_u32(o, "c.json", "max", 0, UINT32_MAX, 5, &u), BL_OK);
    assert_int_equal(u, UINT32_MAX);
    assert_int_equal(bl_json_u32(o, "c.json", "missing", 1, 9, 0, &u), BL_OK); /* a fallback need not lie in the range */
    assert_int_equal(u, 0);
    assert_int_equal(bl_json_u32(o, "c.json", "n", 1, 9, 5, &u), BL_OK);
    assert_int_equal(u, 5);
    assert_int_equal(bl_json_u32(NULL, "c.json", "u", 1, 9, 6, &u), BL_OK);
    assert_int_equal(u, 6);
    const struct { const char *key, *reason; } bad[] = {
        { "over", "4294967296, not in 1 to 9" }, { "neg", "-1, not in" }, { "f", "\"f\" is a real number" }, { "t", "is true" },
        { "s", "is a string" }, { "a", "is an array" }, { "o", "is an object" }, { "big", "9223372036854775807" },
    };
    for (size_t i = 0; i < BL_COUNT(bad); i++) {
        assert_int_equal(bl_json_u32(o, "c.json", bad[i].key, 1, 9, 5, &u), BL_ERROR_MODEL);
        assert_reason("c.json: ");
        assert_reason(bad[i].reason);
    }
    assert_int_equal(u, 6);

    assert_int_equal(bl_json_f64(o, "c.json", "f", 1, &f), BL_OK);
    assert_true(f == 0.25);
    assert_int_equal(bl_json_f64(o, "c.json", "neg", 1, &f), BL_OK);
    assert_true(f == -1);
    assert_int_equal(bl_json_f64(o, "c.json", "missing", 2.5, &f), BL_OK);
    assert_true(f == 2.5);
    assert_int_equal(bl_json_f64(o, "c.json", "s", 1, &f), BL_ERROR_MODEL);
    assert_reason("a number was expected");
    assert_true(f == 2.5);

    assert_int_equal(bl_json_bool(o, "c.json", "t", false, &b), BL_OK);
    assert_true(b);
    assert_int_equal(bl_json_bool(o, "c.json", "n", false, &b), BL_OK);
    assert_false(b);
    assert_int_equal(bl_json_bool(o, "c.json", "u", true, &b), BL_ERROR_MODEL);
    assert_reason("true or false was expected");

    assert_int_equal(bl_json_text(o, "c.json", "u", NULL, &s), BL_ERROR_MODEL);
    assert_string_equal(s, "untouched");
    assert_int_equal(bl_json_text(o, "c.json", "s", NULL, &s), BL_OK);
    assert_string_equal(s, "text");
    assert_int_equal(bl_json_text(o, "c.json", "missing", NULL, &s), BL_OK);
    assert_null(s);
    json_decref(o);

    o = parse("[1]");
    assert_int_equal(bl_json_u32(o, "c.json", "u", 1, 9, 5, &u), BL_ERROR_MODEL);
    assert_reason("is an array, but an object with \"u\"");
    json_decref(o);
}

static void test_read(void **state)
{
    (void)state;
    char path[] = "/tmp/blemish-json-XXXXXX";
    json_t *json;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(bl_json_read(path, 100, BL_ERROR_INPUT, &json), BL_ERROR_INPUT);
    assert_reason("is empty");
    assert_int_equal(bl_file_write_atomic(path, "{\"a\": [1, 2.5e0]}", 17), BL_OK);
    assert_int_equal(bl_json_read(path, 17, BL_ERROR_INPUT, &json), BL_OK);
    assert_true(json_real_value(json_array_get(json_object_get(json, "a"), 1)) == 2.5);
    json_decref(json);
    assert_int_equal(bl_json_read(path, 16, BL_ERROR_INPUT, &json), BL_ERROR_INPUT);
    assert_reason("at most 16");
    assert_null(json);
    assert_int_equal(bl_file_write_atomic(path, "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", 34), BL_OK);
    assert_int_equal(bl_json_read(path, 100, BL_ERROR_INPUT, &json), BL_ERROR_INPUT);
    assert_reason("deeper than 16");
    unlink(path);
    assert_int_equal(bl_json_read(path, 100, BL_ERROR_MODEL, &json), BL_ERROR_MODEL);
    assert_reason("No such file");
}

static int allocations_left;
static void *scarce_malloc(size_t size) { return allocations_left-- > 0 ? malloc(size) : NULL; }

/* Jansson's own allocations fail one after the other: an error each time, nothing lost (the sanitizer's part), no crash. */
static void test_memory(void **state)
{
    (void)state;
    const char text[] = "{\"a\": [1, 2.5, \"text\", true], \"a rather long key, longer than a small buffer\": {\"b\": null}}";
    int n = 0;
    for (;; n++) {
        json_t *json;
        allocations_left = n;
        json_set_alloc_funcs(scarce_malloc, free);
        const bl_result result = bl_json_parse("m.json", text, strlen(text), 4, BL_ERROR_MODEL, &json);
        json_set_alloc_funcs(malloc, free);
        if (result == BL_OK) {
            json_decref(json);
            break;
        }
        assert_null(json);
        assert_true(result == BL_ERROR_MEMORY || result == BL_ERROR_MODEL); /* it calls some of them an invalid token */
        assert_reason("m.json: ");
    }
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_depth), cmocka_unit_test(test_members), cmocka_unit_test(test_read),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
