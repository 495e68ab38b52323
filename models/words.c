/* Layer 4. */
#include "words.h"
#include <stdio.h>
#include <string.h>

static const char *const TEMPLATE = "a photo of a {object} that is {defect}", *const NORMAL = "a photo of a {object}";

/* --- text ----------------------------------------------------------------------------------------------------------------- */

/* The template with its places filled in; the defect gets marks. To be freed; NULL without memory. */
static char *fill(const char *text, const char *object, const char *defect)
{
    const size_t each = strlen(object) + strlen(defect) + 8; /* more than one place can become */
    size_t places = 1, n = 0;
    for (const char *s = text; (s = strchr(s, '{')); s++)
        places++;
    char *out = bl_alloc(strlen(text) + places * each, 1);
    for (const char *s = text; out && *s;) {
        if (!strncmp(s, "{object}", 8)) {
            n += (size_t)sprintf(out + n, "%s", object);
            s += 8;
        } else if (!strncmp(s, "{defect}", 8)) {
            n += (size_t)sprintf(out + n, "[[%s]]", defect);
            s += 8;
        } else {
            out[n++] = *s++;
        }
    }
    return out;
}

typedef struct part {
    size_t first, end; /* bytes of the prompt without marks */
} part;

/* Takes the marks out of `text`. */
static bl_result unmark(const char *text, char *plain, part *parts, uint32_t *count)
{
    size_t n = 0, open = 0;
    bool inside = false;
    *count = 0;
    for (const char *s = text; *s;) {
        if (!strncmp(s, "[[", 2)) {
            if (inside)
                return bl_fail(BL_ERROR_INPUT, "prompt: \"[[\" within \"[[\": close the first word with \"]]\"");
            inside = true;
            open = n;
            s += 2;
        } else if (!strncmp(s, "]]", 2)) {
            if (!inside)
                return bl_fail(BL_ERROR_INPUT, "prompt: \"]]\" without \"[[\" before it");
            if (n == open)
                return bl_fail(BL_ERROR_INPUT, "prompt: \"[[]]\" marks no word");
            if (*count == BL_MAX_WORDS)
                return bl_fail(BL_ERROR_INPUT, "prompt: more than %d words are marked", BL_MAX_WORDS);
            parts[(*count)++] = (part){ open, n };
            inside = false;
            s += 2;
        } else {
            plain[n++] = *s++;
        }
    }
    return inside ? bl_fail(BL_ERROR_INPUT, "prompt: \"[[\" is not closed with \"]]\"") : BL_OK;
}

/* The prompt without the marked parts, single spaces between the rest. */
static void leave_out(const char *plain, const part *parts, uint32_t count, char *out)
{
    size_t n = 0;
    uint32_t next = 0;
    for (size_t i = 0; plain[i]; i++) {
        while (next < count && i >= parts[next].end)
            next++;
        const bool marked = next < count && i >= parts[next].first;
        if (!marked && !(plain[i] == ' ' && (!n || out[n - 1] == ' ')))
            out[n++] = plain[i];
    }
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = 0;
}

static bool marked(const char *text) { return text && (strstr(text, "[[") || strstr(text, "]]")); }

/* --- tokens --------------------------------------------------------------------------------------------------------------- */

/* Tokens of the first `bytes` bytes, without start and end, which must be those the whole prompt begins with. */
static bl_result tokens_before(const bl_tokenizer *t, const char *prompt, size_t bytes, const int32_t *whole, size_t whole_count,
                               const part *p, size_t *count)
{
    int32_t *ids = NULL;
    size_t n = 0;
    const bl_result result = bl_tokenizer_encode(t, prompt, bytes, &ids, &n);
    if (result != BL_OK)
        return result;
    *count = n - 2;
    const bool same = n <= whole_count && !memcmp(ids, whole, (n - 1) * sizeof(*ids));
    bl_free(ids);
    return same ? BL_OK : bl_fail(BL_ERROR_INPUT, "prompt: \"%.*s\" is marked, but is only a part of a word", (int)(p->end - p->first),
                                  prompt + p->first);
}

static bl_result find_tokens(const bl_tokenizer *t, const part *parts, uint32_t count, uint32_t length, bl_words *w)
{
    bl_result result = BL_OK;
    int32_t *whole = NULL;
    size_t whole_count = 0;
    BL_TRY(bl_tokenizer_encode(t, w->prompt, strlen(w->prompt), &whole, &whole_count));
    for (uint32_t i = 0; i < count; i++) {
        const part *p = &parts[i];
        const char *word = w->prompt + p->first;
        const int size = (int)(p->end - p->first);
        size_t before, after;
        BL_TRY(tokens_before(t, w->prompt, p->first, whole, whole_count, p, &before));
        BL_TRY(tokens_before(t, w->prompt, p->end, whole, whole_count, p, &after));
        if (after <= before)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: \"%.*s\" is marked, but has no tokens", size, word));
        if (after > length - 2)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: \"%.*s\" lies beyond the %u tokens that the text encoder takes", size, word, length));
        if (w->count + after - before > BL_MAX_WORDS)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: the marked words have more than %d tokens", BL_MAX_WORDS));
        for (size_t k = before; k < after; k++)
            w->tokens[w->count++] = (uint32_t)k + 1;
    }
fail:
    bl_free(whole);
    return result;
}

bl_result bl_words_make(const bl_tokenizer *t, const char *prompt, const char *object, const char *defect, const char *template_text,
                        const char *normal, uint32_t length, bl_words *out)
{
    bl_result result = BL_OK;
    part parts[BL_MAX_WORDS];
    uint32_t count = 0;
    char *made = NULL;
    *out = (bl_words){ 0 };
    if (prompt && (object || defect || template_text))
        return bl_fail(BL_ERROR_USAGE, "a prompt, or an object and a defect and perhaps their template, not both");
    if (!prompt && (!object || !*object || !defect || !*defect))
        return bl_fail(BL_ERROR_USAGE, "a prompt, or an object and a defect, is needed");
    if (!prompt && template_text && !strstr(template_text, "{defect}"))
        return bl_fail(BL_ERROR_USAGE, "the template \"%.100s\" has no {defect}", template_text);
    if (marked(object) || marked(defect) || marked(normal))
        return bl_fail(BL_ERROR_INPUT, "marks stand in prompts and templates only, not in an object, a defect or a normal prompt");
    made = prompt ? bl_text_copy(prompt, strlen(prompt)) : fill(template_text ? template_text : TEMPLATE, object, defect);
    out->prompt = made ? bl_alloc(strlen(made) + 1, 1) : NULL;
    if (!out->prompt)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a prompt"));
    BL_TRY(unmark(made, out->prompt, parts, &count));
    BL_TRY(find_tokens(t, parts, count, length, out));
    if (normal)
        out->normal = bl_text_copy(normal, strlen(normal));
    else if (object)
        out->normal = fill(NORMAL, object, "");
    else if ((out->normal = bl_alloc(strlen(out->prompt) + 1, 1)))
        leave_out(out->prompt, parts, count, out->normal);
    if (!out->normal)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a prompt"));
fail:
    bl_free(made);
    if (result != BL_OK)
        bl_words_free(out);
    return result;
}

void bl_words_free(bl_words *w)
{
    bl_free(w->prompt);
    bl_free(w->normal);
    *w = (bl_words){ 0 };
}
