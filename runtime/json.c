/* JSON through jansson. Layer 0. */
#include "json.h"
#include "file.h"
#include <stdio.h>
#include <string.h>

enum { FILE_DEPTH = 16, MAX_QUOTED = 120 };

static bool is_continuation(char c) { return ((uint8_t)c & 0xc0) == 0x80; }

/* Refuses nesting beyond `depth` before jansson, which recurses, sees the text. Where this disagrees with a parser about what is inside a
 * string, the text is malformed before that point. */
static bl_result check_depth(const char *name, const char *data, size_t size, unsigned depth, bl_result kind)
{
    unsigned open = 0;
    size_t line = 1, column = 0;
    bool quoted = false, escaped = false;
    for (size_t i = 0; i < size; i++) {
        const char c = data[i];
        column += !is_continuation(c);
        if (c == '\n') {
            line++;
            column = 0;
        }
        if (escaped) {
            escaped = false;
        } else if (quoted) {
            escaped = c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (open++ == depth)
                return bl_fail(kind, "%s: line %zu, column %zu: nested deeper than %u levels", name, line, column, depth);
        } else if ((c == '}' || c == ']') && open) {
            open--;
        }
    }
    return BL_OK;
}

/* The key whose closing quote is at data[end - 1], as written in the text; NULL if there is none. */
static const char *key_before(const char *data, size_t end, int *length)
{
    if (!end || data[end - 1] != '"')
        return NULL;
    size_t begin = end - 1;
    for (;;) {
        size_t slashes = 0;
        while (begin && data[begin - 1] != '"')
            begin--;
        if (!begin)
            return NULL;
        while (slashes + 1 < begin && data[begin - 2 - slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0) /* an escaped quote has an odd number of backslashes in front */
            break;
        begin--;
    }
    size_t n = BL_MIN(end - 1 - begin, (size_t)MAX_QUOTED);
    while (n && n < end - 1 - begin && is_continuation(data[begin + n]))
        n--;
    *length = (int)n;
    return data + begin;
}

/* Jansson's reason, with the key where it leaves it out. It has no words for most allocation failures. */
static bl_result fail_parse(const char *name, const char *data, size_t size, bl_result kind, json_error_t *error)
{
    int length = 0;
    const char *key = NULL;
    const enum json_error_code code = json_error_code(error);
    if (!error->text[0] || code == json_error_out_of_memory)
        return bl_fail(BL_ERROR_MEMORY, "%s: out of memory while parsing %zu bytes", name, size);
    if (code == json_error_duplicate_key && error->position > 0 && (size_t)error->position <= size)
        key = key_before(data, (size_t)error->position, &length);
    if (key)
        return bl_fail(kind, "%s: line %d, column %d: duplicate key \"%.*s\"", name, error->line, error->column, length, key);
    for (char *c = error->text; *c; c++) /* it quotes the text: keep control characters off the user's terminal */
        if ((uint8_t)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return bl_fail(kind, "%s: line %d, column %d: %s", name, error->line, error->column, error->text);
}

bl_result bl_json_parse(const char *name, const char *data, size_t size, unsigned depth, bl_result kind, json_t **out)
{
    bl_result result = BL_OK;
    json_error_t error = { 0 };
    *out = NULL;
    if (!size)
        return bl_fail(kind, "%s: is empty, JSON was expected", name);
    if (size >= 3 && !memcmp(data, "\xef\xbb\xbf", 3))
        return bl_fail(kind, "%s: starts with a byte order mark, which JSON does not allow", name);
    BL_TRY(check_depth(name, data, size, depth, kind));
    *out = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        result = fail_parse(name, data, size, kind, &error);
fail:
    return result;
}

bl_result bl_json_read(const char *path, size_t max, bl_result kind, json_t **out)
{
    bl_result result = BL_OK;
    uint8_t *data = NULL;
    size_t size;
    *out = NULL;
    BL_TRY(bl_file_read_all(path, max, &data, &size, kind));
    BL_TRY(bl_json_parse(path, (const char *)data, size, FILE_DEPTH, kind, out));
fail:
    bl_free(data);
    return result;
}

char *bl_json_print(const json_t *value, size_t flags)
{
    const size_t size = value ? json_dumpb(value, NULL, 0, flags) : 0;
    char *text = size ? bl_alloc(size + 1, 1) : NULL;
    if (text && json_dumpb(value, text, size, flags) != size) {
        bl_free(text);
        return NULL;
    }
    return text;
}

/* --- members ----------------------------------------------------------------------------------------------------------- */

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "something else";
}

/* *member is NULL where the fallback holds. */
static bl_result find(const json_t *object, const char *name, const char *key, const json_t **member)
{
    *member = NULL;
    if (!object)
        return BL_OK;
    if (!json_is_object(object))
        return bl_fail(BL_ERROR_MODEL, "%s: is %s, but an object with \"%s\" was expected", name, type_name(object), key);
    const json_t *v = json_object_get(object, key);
    *member = v && !json_is_null(v) ? v : NULL;
    return BL_OK;
}

static bl_result fail_type(const char *name, const char *key, const json_t *v, const char *expected)
{
    return bl_fail(BL_ERROR_MODEL, "%s: \"%s\" is %s, %s was expected", name, key, type_name(v), expected);
}

bl_result bl_json_u32(const json_t *object, const char *name, const char *key, uint32_t min, uint32_t max, uint32_t fallback, uint32_t *out)
{
    bl_result result = BL_OK;
    const json_t *v;
    BL_TRY(find(object, name, key, &v));
    if (v && !json_is_integer(v))
        BL_TRY(fail_type(name, key, v, "an integer"));
    const json_int_t i = v ? json_integer_value(v) : 0;
    if (v && (i < (json_int_t)min || i > (json_int_t)max))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s: \"%s\" is %" JSON_INTEGER_FORMAT ", not in %u to %u", name, key, i, min, max));
    *out = v ? (uint32_t)i : fallback;
fail:
    return result;
}

bl_result bl_json_f64(const json_t *object, const char *name, const char *key, double fallback, double *out)
{
    bl_result result = BL_OK;
    const json_t *v;
    BL_TRY(find(object, name, key, &v));
    if (v && !json_is_number(v))
        BL_TRY(fail_type(name, key, v, "a number"));
    *out = v ? json_number_value(v) : fallback;
fail:
    return result;
}

bl_result bl_json_bool(const json_t *object, const char *name, const char *key, bool fallback, bool *out)
{
    bl_result result = BL_OK;
    const json_t *v;
    BL_TRY(find(object, name, key, &v));
    if (v && !json_is_boolean(v))
        BL_TRY(fail_type(name, key, v, "true or false"));
    *out = v ? json_is_true(v) : fallback;
fail:
    return result;
}

bl_result bl_json_text(const json_t *object, const char *name, const char *key, const char *fallback, const char **out)
{
    bl_result result = BL_OK;
    const json_t *v;
    BL_TRY(find(object, name, key, &v));
    if (v && !json_is_string(v))
        BL_TRY(fail_type(name, key, v, "a string"));
    *out = v ? json_string_value(v) : fallback;
fail:
    return result;
}
