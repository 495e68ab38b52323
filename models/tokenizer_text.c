/* The text side of the CLIP tokenizer: UTF-8, normalisation, words. Layer 4. */
#include "tokenizer_text.h"
#include "checked.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bl_result no_memory(void) { return bl_fail(BL_ERROR_MEMORY, "prompt: out of host memory"); }

size_t bl_utf8_decode(const char *s, size_t bytes, int32_t *point)
{
    utf8proc_int32_t c;
    const utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)bytes, &c);
    *point = n > 0 ? c : -1;
    return n > 0 ? (size_t)n : 0;
}

size_t bl_utf8_encode(int32_t point, char *out) { return (size_t)utf8proc_encode_char(point, (utf8proc_uint8_t *)out); }

const char *bl_quote(const char *s, size_t bytes, char out[BL_QUOTE_SIZE])
{
    size_t n = 0;
    for (size_t i = 0; i < bytes;) {
        int32_t c;
        const size_t step = bl_utf8_decode(s + i, bytes - i, &c);
        if (n + 4 + sizeof("...") > BL_QUOTE_SIZE) {
            memcpy(out + n, "...", 3);
            n += 3;
            break;
        }
        if (!step || utf8proc_category(c) == UTF8PROC_CATEGORY_CC)
            out[n++] = '?';
        else
            n += bl_utf8_encode(c, out + n);
        i += step ? step : 1;
    }
    out[n] = 0;
    return out;
}

/* The property White_Space. */
static bool is_space(int32_t c)
{
    return (c >= 0x9 && c <= 0xd) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

int32_t bl_byte_symbol(unsigned byte)
{
    if (byte <= ' ')
        return (int32_t)(256 + byte);
    if (byte <= '~')
        return (int32_t)byte;
    if (byte <= 0xa0)
        return (int32_t)(256 + 33 + byte - 0x7f);
    return byte == 0xad ? 256 + 33 + 34 : (int32_t)byte;
}

static int compare_keys(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Canonical ordering (UAX 15): sorts each run of combining marks by class, stably. utf8proc_decompose() would exchange neighbours, which
 * takes seconds on a prompt of nothing but marks. */
static bl_result order_marks(int32_t *points, size_t count)
{
    uint64_t *keys = NULL; /* class, place, code point */
    for (size_t i = 0; i < count;) {
        size_t end = i;
        bool sorted = true;
        int before = 0, class;
        while (end < count && (class = utf8proc_get_property(points[end])->combining_class) != 0) {
            sorted = sorted && before <= class;
            before = class;
            end++;
        }
        if (!sorted) {
            if (!keys && !(keys = bl_alloc(count, sizeof(*keys))))
                return no_memory();
            for (size_t j = i; j < end; j++)
                keys[j - i] = (uint64_t)utf8proc_get_property(points[j])->combining_class << 56 | (uint64_t)j << 21 | (uint32_t)points[j];
            qsort(keys, end - i, sizeof(*keys), compare_keys);
            for (size_t j = i; j < end; j++)
                points[j] = (int32_t)(keys[j - i] & 0x1fffff);
        }
        i = BL_MAX(end, i + 1);
    }
    bl_free(keys);
    return BL_OK;
}

bl_result bl_prompt_normalise(const char *text, size_t bytes, char **out, size_t *out_bytes)
{
    bl_result result = BL_OK;
    size_t capacity, out_capacity, count = 0, n = 0;
    int32_t *points = NULL;
    char *s = NULL;
    *out = NULL;
    *out_bytes = 0;
    /* No canonical decomposition is longer than 4, no code point longer than 4 bytes. */
    if (!bl_mul(bytes, 4, &capacity) || !(points = bl_alloc(capacity, sizeof(*points)))) {
        result = no_memory();
        goto fail;
    }
    for (size_t i = 0; i < bytes;) {
        int32_t c;
        const size_t step = bl_utf8_decode(text + i, bytes - i, &c);
        if (!step) {
            result = bl_fail(BL_ERROR_INPUT, "prompt: not UTF-8 at byte %zu (0x%02x)", i, (unsigned)(uint8_t)text[i]);
            goto fail;
        }
        i += step;
        const utf8proc_ssize_t got = utf8proc_decompose_char(c, points + count, (utf8proc_ssize_t)(capacity - count),
            UTF8PROC_STABLE | UTF8PROC_COMPOSE, NULL);
        if (got < 0 || (size_t)got > capacity - count) {
            result = bl_fail(BL_ERROR_INPUT, "prompt: U+%04X has no canonical decomposition of at most 4", (unsigned)c);
            goto fail;
        }
        count += (size_t)got;
    }
    BL_TRY(order_marks(points, count));
    const utf8proc_ssize_t composed = utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (composed < 0) {
        result = bl_fail(BL_ERROR_INPUT, "prompt: %s", utf8proc_errmsg(composed));
        goto fail;
    }
    if (!bl_mul((size_t)composed, 4, &out_capacity) || !bl_add(out_capacity, 1, &out_capacity) || !(s = bl_alloc(out_capacity, 1))) {
        result = no_memory();
        goto fail;
    }
    bool space = false;
    for (size_t i = 0; i < (size_t)composed; i++) {
        const int32_t c = points[i];
        const bool was_space = space;
        space = is_space(c);
        if (space && was_space)
            continue;
        n += bl_utf8_encode(space ? ' ' : utf8proc_tolower(c), s + n);
        if (c == 0x130) /* the one letter whose lower case has two code points */
            n += bl_utf8_encode(0x307, s + n);
    }
    *out = s;
    *out_bytes = n;
    s = NULL;
fail:
    bl_free(points);
    bl_free(s);
    return result;
}

typedef enum kind { SPACE, LETTER, NUMBER, OTHER } kind;

static kind kind_at(const char *s, size_t bytes, size_t *step)
{
    int32_t c;
    *step = bl_utf8_decode(s, bytes, &c);
    if (is_space(c))
        return SPACE;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    default:
        return OTHER;
    }
}

/* Bytes of 's, 're, ... at the start of `s`; 0 if there is none. */
static size_t contraction(const char *s, size_t bytes)
{
    static const char *const all[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" };
    for (size_t i = 0; i < BL_COUNT(all); i++)
        if (bytes >= strlen(all[i]) && !memcmp(s, all[i], strlen(all[i])))
            return strlen(all[i]);
    return 0;
}

bool bl_prompt_next_word(const char *s, size_t bytes, size_t *start, size_t *end)
{
    size_t i = *end, step;
    kind k = SPACE;
    while (i < bytes && (k = kind_at(s + i, bytes - i, &step)) == SPACE)
        i += step;
    if (i == bytes)
        return false;
    *start = i;
    *end = i + contraction(s + i, bytes - i);
    if (*end > i)
        return true;
    i += step;
    while (k != NUMBER && i < bytes && kind_at(s + i, bytes - i, &step) == k)
        i += step;
    *end = i;
    return true;
}
