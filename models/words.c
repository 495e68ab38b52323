/* Layer 4. */
#include "words.h"
#include "checked.h"
#include <string.h>

static const char *const TEMPLATE = "a photo of a {object} that is {defect}", *const NORMAL = "a photo of a {object}";

/* --- text ----------------------------------------------------------------------------------------------------------------- */

typedef struct part {
    size_t first, end; /* bytes of the prompt without marks */
} part;

/* A prompt as it grows: marks are taken out, and kept as parts. */
typedef struct text {
    char *plain; /* has room for all that is added */
    size_t n;
    part parts[BL_MAX_WORDS];
    uint32_t count;
} text;

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

static bool blank(const char *s, size_t bytes)
{
    while (bytes && (s[bytes - 1] == ' ' || (s[bytes - 1] >= '\t' && s[bytes - 1] <= '\r')))
        bytes--;
    return !bytes;
}

static bl_result mark(text *t, size_t first)
{
    if (blank(t->plain + first, t->n - first))
        return bl_fail(BL_ERROR_INPUT, "prompt: \"[[%.*s]]\" marks no word", (int)(t->n - first), t->plain + first);
    if (t->count == BL_MAX_WORDS)
        return bl_fail(BL_ERROR_INPUT, "prompt: more than %d words are marked", BL_MAX_WORDS);
    t->parts[t->count++] = (part){ first, t->n };
    return BL_OK;
}

static bl_result add(text *t, const char *s, const char *object, const char *defect, bool nested);

/* The defect is marked as a whole, unless words of it are, or it stands in a mark. */
static bl_result add_defect(text *t, const char *defect, bool nested)
{
    const uint32_t marked = t->count;
    const size_t first = t->n;
    const bl_result result = add(t, defect, NULL, NULL, nested);
    return result == BL_OK && !nested && t->count == marked ? mark(t, first) : result;
}

/* What a caller wrote: a prompt, or with an object a template. \[[ and \]] are brackets that mark nothing. `nested`: within a mark. */
static bl_result add(text *t, const char *s, const char *object, const char *defect, bool nested)
{
    bl_result result = BL_OK;
    bool inside = false;
    size_t open = 0;
    while (*s) {
        if (begins(s, "\\[[") || begins(s, "\\]]")) {
            t->plain[t->n++] = s[1];
            t->plain[t->n++] = s[2];
            s += 3;
        } else if (begins(s, "[[")) {
            if (inside || nested)
                BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: \"[[\" within \"[[\": close the first word with \"]]\""));
            inside = true;
            open = t->n;
            s += 2;
        } else if (begins(s, "]]")) {
            if (!inside)
                BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: \"]]\" without \"[[\" before it"));
            inside = false;
            BL_TRY(mark(t, open));
            s += 2;
        } else if (object && begins(s, "{object}")) {
            BL_TRY(add(t, object, NULL, NULL, inside));
            s += strlen("{object}");
        } else if (object && begins(s, "{defect}")) {
            BL_TRY(add_defect(t, defect, inside));
            s += strlen("{defect}");
        } else if (object && *s == '{') {
            BL_TRY(bl_fail(BL_ERROR_USAGE, "the template has \"%.16s\": only {object} and {defect} are filled in", s));
        } else {
            t->plain[t->n++] = *s++;
        }
    }
    if (inside)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: \"[[\" is not closed with \"]]\""));
fail:
    return result;
}

/* Starts a text with room for a template and for what comes into its places. */
static bl_result text_create(const char *pattern, const char *object, const char *defect, text *t)
{
    const size_t each = BL_MAX(object ? strlen(object) : 0, defect ? strlen(defect) : 0);
    size_t places = 0, bytes;
    for (const char *s = pattern; (s = strchr(s, '{')); s++)
        places++;
    *t = (text){ 0 };
    if (bl_mul(places, each, &bytes) && bl_add(bytes, strlen(pattern) + 1, &bytes))
        t->plain = bl_alloc(bytes, 1);
    return t->plain ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory for a prompt");
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

/* --- tokens --------------------------------------------------------------------------------------------------------------- */

/* Tokens of the prompt's first `bytes` bytes, without start and end, which must be those that the whole prompt begins with. */
static bl_result tokens_before(const bl_tokenizer *t, const text *prompt, size_t bytes, const int32_t *whole, size_t whole_count,
                               const part *p, size_t *count)
{
    int32_t *ids = NULL;
    size_t n = 0;
    const bl_result result = bl_tokenizer_encode(t, prompt->plain, bytes, &ids, &n);
    if (result != BL_OK)
        return result;
    *count = n - 2;
    const bool same = n <= whole_count && !memcmp(ids, whole, (n - 1) * sizeof(*ids));
    bl_free(ids);
    return same ? BL_OK : bl_fail(BL_ERROR_INPUT, "prompt: \"%.*s\" is marked, but is only a part of a word", (int)(p->end - p->first),
                                  prompt->plain + p->first);
}

/* A mark's tokens are those by which the prompt up to its end is longer than the prompt up to its start. */
static bl_result find_tokens(const bl_tokenizer *t, const text *prompt, uint32_t length, bl_words *w)
{
    bl_result result = BL_OK;
    int32_t *whole = NULL;
    size_t whole_count = 0;
    BL_TRY(bl_tokenizer_encode(t, prompt->plain, prompt->n, &whole, &whole_count));
    for (const part *p = prompt->parts; p < prompt->parts + prompt->count; p++) {
        const char *word = prompt->plain + p->first;
        const int size = (int)(p->end - p->first);
        size_t before, after;
        BL_TRY(tokens_before(t, prompt, p->first, whole, whole_count, p, &before));
        BL_TRY(tokens_before(t, prompt, p->end, whole, whole_count, p, &after));
        if (after <= before)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: \"%.*s\" is marked, but has no tokens", size, word));
        if (after > length - 2)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: \"%.*s\" is marked, but lies beyond the %u tokens that the text encoder takes", size,
                           word, length));
        if (w->count + after - before > BL_MAX_WORDS)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "prompt: the marked words have more than %d tokens", BL_MAX_WORDS));
        for (size_t k = before; k < after; k++)
            w->tokens[w->count++] = (uint32_t)k + 1;
    }
fail:
    bl_free(whole);
    return result;
}

/* The defect-free prompt: as given, else that of the object, else the prompt without its marked words. */
static bl_result make_normal(const char *normal, const char *object, const text *prompt, char **out)
{
    bl_result result = BL_OK;
    text t = { 0 };
    const char *source = normal ? normal : object ? NORMAL : prompt->plain;
    BL_TRY(text_create(source, object, NULL, &t));
    if (!normal && !object)
        leave_out(prompt->plain, prompt->parts, prompt->count, t.plain);
    else
        BL_TRY(add(&t, source, normal ? NULL : object, "", false));
    if (normal && t.count)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "the normal prompt has marks: nothing is guided in it"));
    *out = t.plain;
    t.plain = NULL;
fail:
    bl_free(t.plain);
    return result;
}

bl_result bl_words_make(const bl_tokenizer *t, const char *prompt, const char *object, const char *defect, const char *template_text,
                        const char *normal, uint32_t length, bl_words *out)
{
    bl_result result = BL_OK;
    text made = { 0 };
    const char *pattern = prompt ? prompt : template_text ? template_text : TEMPLATE;
    *out = (bl_words){ 0 };
    if (prompt && (object || defect || template_text))
        return bl_fail(BL_ERROR_USAGE, "a prompt, or an object and a defect and perhaps their template, not both");
    if (!prompt && (!object || !*object || !defect || !*defect))
        return bl_fail(BL_ERROR_USAGE, "a prompt, or an object and a defect, is needed");
    if (!prompt && !strstr(pattern, "{defect}"))
        return bl_fail(BL_ERROR_USAGE, "the template \"%.100s\" has no {defect}", pattern);
    BL_TRY(text_create(pattern, object, defect, &made));
    BL_TRY(add(&made, pattern, object, defect, false));
    BL_TRY(find_tokens(t, &made, length, out));
    BL_TRY(make_normal(normal, object, &made, &out->normal));
    out->prompt = made.plain;
    made.plain = NULL;
fail:
    bl_free(made.plain);
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
