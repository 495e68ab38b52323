/* CLIP byte-pair tokenizer: vocabulary files, special tokens, merges. Layer 4. */
#include "tokenizer.h"
#include "checked.h"
#include "file.h"
#include "json.h"
#include "tokenizer_text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES_MAX = 1 << 20,
    VOCABULARY_BYTES_MAX = 32 << 20, /* each of vocab.json and merges.txt; CLIP's have 1 MB and 0.5 MB */
    CONFIG_BYTES_MAX = 1 << 20,
    SPECIAL_BYTES_MAX = 256,
};
static const char END_OF_WORD[] = "</w>";

enum { BOS, EOS, UNK, PAD, SPECIAL_COUNT };
static const char *const special_keys[SPECIAL_COUNT] = { "bos_token", "eos_token", "unk_token", "pad_token" };

typedef struct special {
    char *text;      /* the vocabulary entry */
    bool normalized; /* looked for after normalisation, else in the prompt as written */
    char *pattern;   /* what is looked for; NULL when an earlier special token has the same entry */
    size_t bytes;    /* of the pattern */
    uint32_t id;
} special;

typedef struct merge {
    uint32_t left, right, result;
    uint32_t rank; /* line of merges.txt */
} merge;

struct bl_tokenizer {
    char *arena;            /* the entries, each ending in 0 */
    const char **texts;     /* [size], by id; NULL where an id has no entry */
    uint32_t size;
    merge *merges;          /* by left, then right */
    size_t merge_count;
    uint32_t *first;        /* [size + 1]: merges whose left is i are first[i] .. first[i + 1] - 1 */
    uint32_t byte_id[2][256]; /* [1]: with END_OF_WORD */
    special specials[SPECIAL_COUNT];
    uint32_t max_length;
};

static bl_result no_memory(void) { return bl_fail(BL_ERROR_MEMORY, "tokenizer: out of host memory"); }

/* --- merges -------------------------------------------------------------------------------------------------------- */

static const merge *find_merge(const bl_tokenizer *t, uint32_t left, uint32_t right)
{
    size_t low = t->first[left], high = t->first[left + 1];
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (t->merges[middle].right == right)
            return &t->merges[middle];
        if (t->merges[middle].right < right)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

#define NOWHERE UINT32_MAX
typedef struct symbol {
    uint32_t id, before, after; /* neighbours, or NOWHERE; id is NOWHERE once it has been merged into the one before */
} symbol;

typedef struct candidate {
    uint64_t order; /* rank, then place */
    uint32_t result;
} candidate;

/* What encoding one text needs. */
typedef struct work {
    const bl_tokenizer *t;
    int32_t *ids;
    size_t count, capacity;
    symbol *symbols;
    candidate *heap; /* the smallest order first */
    size_t symbol_capacity, heap_capacity, heap_count;
} work;

static bl_result reserve(void **p, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return BL_OK;
    const size_t wanted = need <= SIZE_MAX / 2 ? BL_MAX(need * 2, 64) : need;
    void *grown = bl_resize(*p, wanted, size);
    if (!grown)
        return no_memory();
    *p = grown;
    *capacity = wanted;
    return BL_OK;
}

static bl_result append(work *w, uint32_t id)
{
    void *ids = w->ids;
    const bl_result result = reserve(&ids, &w->capacity, w->count + 1, sizeof(*w->ids));
    w->ids = ids;
    if (result == BL_OK)
        w->ids[w->count++] = (int32_t)id;
    return result;
}

/* Proposes to merge the symbol at `place` with the next one, if there is such a merge. The heap has room. */
static void propose(work *w, uint32_t place)
{
    const symbol *s = &w->symbols[place];
    const merge *m = s->after == NOWHERE ? NULL : find_merge(w->t, s->id, w->symbols[s->after].id);
    if (!m)
        return;
    const candidate c = { (uint64_t)m->rank << 32 | place, m->result };
    size_t i = w->heap_count++;
    for (; i && w->heap[(i - 1) / 2].order > c.order; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static candidate take_best(work *w)
{
    const candidate best = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_count; i = child) {
        if (child + 1 < w->heap_count && w->heap[child + 1].order < w->heap[child].order)
            child++;
        if (w->heap[child].order >= last.order)
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return best;
}

/* Steps 5 and 6 of the header, O(bytes log bytes). */
static bl_result encode_word(work *w, const char *s, uint32_t bytes)
{
    bl_result result = BL_OK;
    void *symbols = w->symbols, *heap = w->heap;
    result = reserve(&symbols, &w->symbol_capacity, bytes, sizeof(*w->symbols));
    if (result == BL_OK) /* bytes - 1 pairs at first, two more for each of at most bytes - 1 merges */
        result = reserve(&heap, &w->heap_capacity, (size_t)bytes * 3, sizeof(*w->heap));
    w->symbols = symbols;
    w->heap = heap;
    BL_TRY(result);
    for (uint32_t i = 0; i < bytes; i++)
        w->symbols[i] = (symbol){ w->t->byte_id[i + 1 == bytes][(uint8_t)s[i]], i ? i - 1 : NOWHERE, i + 1 < bytes ? i + 1 : NOWHERE };
    w->heap_count = 0;
    for (uint32_t i = 0; i < bytes; i++)
        propose(w, i);
    while (w->heap_count) {
        const candidate c = take_best(w);
        const uint32_t place = (uint32_t)c.order;
        symbol *left = &w->symbols[place];
        if (left->id == NOWHERE || left->after == NOWHERE)
            continue; /* swallowed since it was proposed, or its neighbour was */
        symbol *right = &w->symbols[left->after];
        const merge *m = find_merge(w->t, left->id, right->id);
        if (!m || m->result != c.result)
            continue;
        left->id = c.result;
        left->after = right->after;
        right->id = NOWHERE;
        if (left->after != NOWHERE)
            w->symbols[left->after].before = place;
        if (left->before != NOWHERE)
            propose(w, left->before);
        propose(w, place);
    }
    for (uint32_t i = 0; i != NOWHERE; i = w->symbols[i].after)
        BL_TRY(append(w, w->symbols[i].id));
fail:
    return result;
}

/* --- encoding ------------------------------------------------------------------------------------------------------ */

/* The leftmost special token from `from` on, the longest of several there; *at is the end of the text if there is none. */
static const special *find_special(const bl_tokenizer *t, bool normalized, const char *s, size_t bytes, size_t from, size_t *at)
{
    for (*at = from; *at < bytes; ++*at) {
        const special *best = NULL;
        for (size_t i = 0; i < SPECIAL_COUNT; i++) {
            const special *p = &t->specials[i];
            if (p->pattern && p->normalized == normalized && p->bytes <= bytes - *at && p->pattern[0] == s[*at] &&
                !memcmp(p->pattern, s + *at, p->bytes) && (!best || p->bytes > best->bytes))
                best = p;
        }
        if (best)
            return best;
    }
    return NULL;
}

static bl_result encode_words(work *w, const char *s, size_t bytes)
{
    bl_result result = BL_OK;
    for (size_t start, end = 0; bl_prompt_next_word(s, bytes, &start, &end);)
        BL_TRY(encode_word(w, s + start, (uint32_t)(end - start)));
fail:
    return result;
}

/* Steps 1 to 6, `normalized` says from where: false, the prompt as written; true, after step 2. Each calls the next, to a depth of two. */
static bl_result encode_text(work *w, bool normalized, const char *s, size_t bytes)
{
    bl_result result = BL_OK;
    char *plain = NULL;
    for (size_t from = 0, at;;) {
        const special *found = find_special(w->t, normalized, s, bytes, from, &at);
        if (normalized) {
            BL_TRY(encode_words(w, s + from, at - from));
        } else if (at > from) {
            size_t plain_bytes;
            BL_TRY(bl_prompt_normalise(s + from, at - from, &plain, &plain_bytes));
            BL_TRY(encode_text(w, true, plain, plain_bytes));
            bl_free(plain);
            plain = NULL;
        }
        if (!found)
            break;
        BL_TRY(append(w, found->id));
        from = at + found->bytes;
    }
fail:
    bl_free(plain);
    return result;
}

static bl_result check_text(const char *text, size_t bytes)
{
    if (bytes > BL_PROMPT_BYTES_MAX)
        return bl_fail(BL_ERROR_INPUT, "prompt: %zu bytes, at most %d", bytes, BL_PROMPT_BYTES_MAX);
    for (size_t i = 0; i < bytes;) {
        int32_t c;
        const size_t step = bl_utf8_decode(text + i, bytes - i, &c);
        if (!step)
            return bl_fail(BL_ERROR_INPUT, "prompt: not UTF-8 at byte %zu (0x%02x)", i, (unsigned)(uint8_t)text[i]);
        i += step;
    }
    return BL_OK;
}

bl_result bl_tokenizer_encode(const bl_tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count)
{
    bl_result result = BL_OK;
    work w = { .t = t };
    *ids = NULL;
    *count = 0;
    BL_TRY(check_text(text, bytes));
    BL_TRY(append(&w, t->specials[BOS].id));
    BL_TRY(encode_text(&w, false, text, bytes));
    BL_TRY(append(&w, t->specials[EOS].id));
    *ids = w.ids;
    *count = w.count;
    w.ids = NULL;
fail:
    bl_free(w.ids);
    bl_free(w.symbols);
    bl_free(w.heap);
    return result;
}

/* Whether a word ends with this token. */
static bool ends_word(const bl_tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < SPECIAL_COUNT; i++)
        if ((uint32_t)id == t->specials[i].id)
            return true;
    const char *text = bl_tokenizer_text(t, id);
    const size_t n = text ? strlen(text) : 0, end = sizeof(END_OF_WORD) - 1;
    return n >= end && !strcmp(text + n - end, END_OF_WORD);
}

/* Writes the text of a token, bytes as in the prompt, a space after a word; stops at `capacity`. Returns the new end. */
static size_t spell(const bl_tokenizer *t, int32_t id, char *out, size_t n, size_t capacity)
{
    uint8_t byte_of[BL_BYTE_SYMBOL_END] = { 0 };
    bool is_byte[BL_BYTE_SYMBOL_END] = { false };
    for (unsigned b = 0; b < 256; b++) {
        byte_of[bl_byte_symbol(b)] = (uint8_t)b;
        is_byte[bl_byte_symbol(b)] = true;
    }
    const char *text = bl_tokenizer_text(t, id);
    size_t bytes = text ? strlen(text) : 0;
    const size_t end = sizeof(END_OF_WORD) - 1;
    const bool last = bytes >= end && !strcmp(text + bytes - end, END_OF_WORD);
    bytes -= last ? end : 0;
    for (size_t i = 0; i < bytes && n < capacity;) {
        int32_t c;
        const size_t step = bl_utf8_decode(text + i, bytes - i, &c);
        if (!step)
            break; /* not in a vocabulary that came from JSON */
        out[n++] = c < BL_BYTE_SYMBOL_END && is_byte[c] ? (char)byte_of[c] : '?';
        i += step;
    }
    if (last && n < capacity)
        out[n++] = ' ';
    return n;
}

static bl_result too_long(const bl_tokenizer *t, const int32_t *ids, size_t count, uint32_t length)
{
    char text[2 * BL_QUOTE_SIZE], quoted[BL_QUOTE_SIZE];
    size_t n = 0, i = length - 1; /* the last place is the end token's */
    while (i > 1 && !ends_word(t, ids[i - 1]))
        i--;
    for (; i + 1 < count && n < sizeof(text); i++)
        n = spell(t, ids[i], text, n, sizeof(text));
    while (n && text[n - 1] == ' ')
        n--;
    return bl_fail(BL_ERROR_INPUT, "prompt: %zu tokens with start and end, at most %u: too long from \"%s\" on", count, length,
        bl_quote(text, n, quoted));
}

bl_result bl_tokenizer_encode_padded(const bl_tokenizer *t, const char *text, uint32_t length, int32_t *ids, uint32_t *used)
{
    bl_result result = BL_OK;
    int32_t *all = NULL;
    size_t count;
    if (length < 2)
        return bl_fail(BL_ERROR_USAGE, "tokenizer: %u ids have no room for start and end", length);
    BL_TRY(bl_tokenizer_encode(t, text, strlen(text), &all, &count));
    if (count > length) {
        result = too_long(t, all, count, length);
        goto fail;
    }
    memcpy(ids, all, count * sizeof(*ids));
    for (size_t i = count; i < length; i++)
        ids[i] = bl_tokenizer_pad(t);
    if (used)
        *used = (uint32_t)count;
fail:
    bl_free(all);
    return result;
}

/* --- files --------------------------------------------------------------------------------------------------------- */

/* The id of an entry of vocab.json, whose values have been checked; false if there is no such entry. */
static bool find_entry(const json_t *vocabulary, const char *text, uint32_t *id)
{
    const json_t *value = json_object_get(vocabulary, text);
    *id = value ? (uint32_t)json_integer_value(value) : 0;
    return value != NULL;
}

/* Checks every entry and keeps the texts by id. */
static bl_result take_vocabulary(bl_tokenizer *t, const char *path, json_t *vocabulary)
{
    char quoted[BL_QUOTE_SIZE];
    size_t bytes = 0;
    if (!json_is_object(vocabulary) || !json_object_size(vocabulary))
        return bl_fail(BL_ERROR_MODEL, "%s: not an object with an id for each entry", path);
    for (void *it = json_object_iter(vocabulary); it; it = json_object_iter_next(vocabulary, it)) {
        const char *text = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        const json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= ENTRIES_MAX)
            return bl_fail(BL_ERROR_MODEL, "%s: entry \"%s\": not an id from 0 to %d", path, bl_quote(text, strlen(text), quoted),
                ENTRIES_MAX - 1);
        t->size = BL_MAX(t->size, (uint32_t)id + 1);
        if (!bl_add(bytes, strlen(text) + 1, &bytes))
            return no_memory();
    }
    t->arena = bl_alloc(bytes, 1);
    t->texts = bl_alloc(t->size, sizeof(*t->texts));
    if (!t->arena || !t->texts)
        return no_memory();
    char *end = t->arena;
    for (void *it = json_object_iter(vocabulary); it; it = json_object_iter_next(vocabulary, it)) {
        const char *text = json_object_iter_key(it);
        const uint32_t id = (uint32_t)json_integer_value(json_object_iter_value(it));
        if (t->texts[id]) {
            char other[BL_QUOTE_SIZE];
            return bl_fail(BL_ERROR_MODEL, "%s: entry \"%s\": id %u is already that of \"%s\"", path,
                bl_quote(text, strlen(text), quoted), id, bl_quote(t->texts[id], strlen(t->texts[id]), other));
        }
        t->texts[id] = end;
        memcpy(end, text, strlen(text) + 1);
        end += strlen(text) + 1;
    }
    return BL_OK;
}

static int compare_merges(const void *a, const void *b)
{
    const merge *x = a, *y = b;
    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    if (x->right != y->right)
        return x->right < y->right ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* One line of merges.txt, "left right", ending in 0; it is overwritten. `number` is 1 for the first line. */
static bl_result take_merge(const char *path, uint32_t number, char *line, const json_t *vocabulary, merge *m)
{
    char quoted[BL_QUOTE_SIZE];
    char *right = strchr(line, ' ');
    if (!right || right == line || !right[1] || strchr(right + 1, ' '))
        return bl_fail(BL_ERROR_MODEL, "%s: line %u: \"%s\" is not two symbols", path, number, bl_quote(line, strlen(line), quoted));
    *right++ = 0;
    const char *const parts[2] = { line, right };
    uint32_t ids[3];
    for (size_t i = 0; i < 2; i++)
        if (!find_entry(vocabulary, parts[i], &ids[i]))
            return bl_fail(BL_ERROR_MODEL, "%s: line %u: \"%s\" is not in vocab.json", path, number,
                bl_quote(parts[i], strlen(parts[i]), quoted));
    memmove(line + 1, line, strlen(line)); /* over the 0 between the two */
    if (!find_entry(vocabulary, line + 1, &ids[2]))
        return bl_fail(BL_ERROR_MODEL, "%s: line %u: the result \"%s\" is not in vocab.json", path, number,
            bl_quote(line + 1, strlen(line + 1), quoted));
    *m = (merge){ ids[0], ids[1], ids[2], number };
    return BL_OK;
}

/* Takes the contents of merges.txt, which are overwritten and end in 0. Blank lines count as lines only. */
static bl_result take_merges(bl_tokenizer *t, const char *path, char *data, size_t size, const json_t *vocabulary)
{
    bl_result result = BL_OK;
    size_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    t->first = bl_alloc((size_t)t->size + 1, sizeof(*t->first));
    t->merges = bl_alloc(BL_MIN(lines, ENTRIES_MAX), sizeof(*t->merges));
    if (!t->first || !t->merges)
        return no_memory();
    uint32_t number = 1;
    for (char *line = data, *end; line <= data + size; line = end + 1, number++) {
        end = memchr(line, '\n', (size_t)(data + size - line));
        end = end ? end : data + size;
        if (memchr(line, 0, (size_t)(end - line)))
            return bl_fail(BL_ERROR_MODEL, "%s: line %u: holds a 0 byte", path, number);
        *end = 0;
        if (end > line && end[-1] == '\r')
            end[-1] = 0;
        if (!*line || (number == 1 && strstr(line, "#version")))
            continue;
        if (t->merge_count == ENTRIES_MAX)
            return bl_fail(BL_ERROR_MODEL, "%s: line %u: more than %d merges", path, number, ENTRIES_MAX);
        BL_TRY(take_merge(path, number, line, vocabulary, &t->merges[t->merge_count]));
        t->merge_count++;
    }
    qsort(t->merges, t->merge_count, sizeof(*t->merges), compare_merges);
    for (size_t i = 0; i < t->merge_count; i++) {
        const merge *m = &t->merges[i];
        if (i && m[-1].left == m->left && m[-1].right == m->right)
            return bl_fail(BL_ERROR_MODEL, "%s: line %u: the same merge as line %u", path, m->rank, m[-1].rank);
        t->first[m->left + 1]++;
    }
    for (uint32_t i = 0; i < t->size; i++)
        t->first[i + 1] += t->first[i];
fail:
    return result;
}

/* Takes one special token from a configuration file: a string, or an object with a string and flags. Absent or null: as it was. */
static bl_result take_special(special *s, const json_t *object, const char *path, const char *key)
{
    bl_result result = BL_OK;
    const json_t *value = json_object_get(object, key);
    const char *text = NULL;
    bool normalized = false, single_word = false;
    char name[512];
    if (!value || json_is_null(value))
        return BL_OK;
    if (json_is_object(value)) {
        snprintf(name, sizeof(name), "%s: %s", path, key);
        BL_TRY(bl_json_text(value, name, "content", NULL, &text));
        BL_TRY(bl_json_bool(value, name, "normalized", false, &normalized));
        BL_TRY(bl_json_bool(value, name, "single_word", false, &single_word));
    } else {
        text = json_string_value(value);
    }
    if (!text || !*text || strlen(text) > SPECIAL_BYTES_MAX)
        return bl_fail(BL_ERROR_MODEL, "%s: %s: not a text of 1 to %d bytes", path, key, SPECIAL_BYTES_MAX);
    if (single_word)
        return bl_fail(BL_ERROR_MODEL, "%s: %s: single_word is not supported", path, key);
    char *copy = bl_text_copy(text, strlen(text));
    if (!copy)
        return no_memory();
    bl_free(s->text);
    s->text = copy;
    s->normalized = normalized;
fail:
    return result;
}

/* Reads one of the two configuration files; a missing one leaves everything as it was. */
static bl_result read_config(bl_tokenizer *t, const char *dir, const char *name)
{
    bl_result result = BL_OK;
    json_t *config = NULL;
    const char *kind = NULL;
    char *path = bl_path_join(dir, name);
    if (!path)
        return no_memory();
    if (!bl_path_exists(path))
        goto fail;
    BL_TRY(bl_json_read(path, CONFIG_BYTES_MAX, BL_ERROR_MODEL, &config));
    if (!json_is_object(config)) {
        result = bl_fail(BL_ERROR_MODEL, "%s: not an object", path);
        goto fail;
    }
    BL_TRY(bl_json_text(config, path, "tokenizer_class", NULL, &kind));
    if (kind && strcmp(kind, "CLIPTokenizer") && strcmp(kind, "CLIPTokenizerFast")) {
        char quoted[BL_QUOTE_SIZE];
        result = bl_fail(BL_ERROR_MODEL, "%s: tokenizer_class \"%s\" is not CLIPTokenizer", path, bl_quote(kind, strlen(kind), quoted));
        goto fail;
    }
    BL_TRY(bl_json_u32(config, path, "model_max_length", 2, 65536, t->max_length, &t->max_length));
    for (size_t i = 0; i < SPECIAL_COUNT; i++)
        BL_TRY(take_special(&t->specials[i], config, path, special_keys[i]));
fail:
    json_decref(config);
    bl_free(path);
    return result;
}

static bl_result default_specials(bl_tokenizer *t)
{
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        const char *text = i == BOS ? "<|startoftext|>" : "<|endoftext|>";
        t->specials[i] = (special){ .text = bl_text_copy(text, strlen(text)), .normalized = true };
        if (!t->specials[i].text)
            return no_memory();
    }
    return BL_OK;
}

/* Gives every special token its id and pattern; of several with one entry only the first is looked for, as it says. */
static bl_result bind_specials(bl_tokenizer *t, const char *path, const json_t *vocabulary)
{
    bl_result result = BL_OK;
    char quoted[BL_QUOTE_SIZE];
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        special *s = &t->specials[i];
        bool seen = false;
        if (!find_entry(vocabulary, s->text, &s->id))
            return bl_fail(BL_ERROR_MODEL, "%s: no entry \"%s\", which is the %s", path, bl_quote(s->text, strlen(s->text), quoted),
                special_keys[i]);
        for (size_t j = 0; j < i; j++)
            seen = seen || t->specials[j].id == s->id;
        if (seen)
            continue;
        if (s->normalized) {
            BL_TRY(bl_prompt_normalise(s->text, strlen(s->text), &s->pattern, &s->bytes));
        } else {
            s->bytes = strlen(s->text);
            s->pattern = bl_text_copy(s->text, s->bytes);
            if (!s->pattern)
                return no_memory();
        }
    }
fail:
    return result;
}

static void bind_bytes(bl_tokenizer *t, const json_t *vocabulary)
{
    for (unsigned last = 0; last < 2; last++)
        for (unsigned b = 0; b < 256; b++) {
            char text[4 + sizeof(END_OF_WORD)];
            const size_t n = bl_utf8_encode(bl_byte_symbol(b), text);
            memcpy(text + n, last ? END_OF_WORD : "", last ? sizeof(END_OF_WORD) : 1);
            if (!find_entry(vocabulary, text, &t->byte_id[last][b]))
                t->byte_id[last][b] = t->specials[UNK].id;
        }
}

/* Reads the four files of a tokenizer folder. */
static bl_result read_folder(bl_tokenizer *t, const char *dir)
{
    bl_result result = BL_OK;
    json_t *vocabulary = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    char *vocabulary_path = bl_path_join(dir, "vocab.json"), *merges_path = bl_path_join(dir, "merges.txt");
    if (!vocabulary_path || !merges_path) {
        result = no_memory();
        goto fail;
    }
    BL_TRY(default_specials(t));
    BL_TRY(read_config(t, dir, "tokenizer_config.json"));
    BL_TRY(read_config(t, dir, "special_tokens_map.json"));
    BL_TRY(bl_json_read(vocabulary_path, VOCABULARY_BYTES_MAX, BL_ERROR_MODEL, &vocabulary));
    BL_TRY(take_vocabulary(t, vocabulary_path, vocabulary));
    BL_TRY(bl_file_read_all(merges_path, VOCABULARY_BYTES_MAX, &data, &size, BL_ERROR_MODEL));
    BL_TRY(take_merges(t, merges_path, (char *)data, size, vocabulary));
    BL_TRY(bind_specials(t, vocabulary_path, vocabulary));
    bind_bytes(t, vocabulary);
fail:
    bl_free(data);
    json_decref(vocabulary);
    bl_free(merges_path);
    bl_free(vocabulary_path);
    return result;
}

bl_result bl_tokenizer_open(const char *dir, bl_tokenizer **out)
{
    bl_result result = BL_OK;
    bl_tokenizer *t = NULL;
    *out = NULL;
    char *here = bl_path_join(dir, "vocab.json"), *below = bl_path_join(dir, "tokenizer");
    if (!here || !below || !(t = bl_alloc(1, sizeof(*t)))) {
        result = no_memory();
        goto fail;
    }
    t->max_length = 77;
    if (bl_path_is_file(dir))
        BL_TRY(bl_fail(BL_ERROR_MODEL, "%s is a file; a tokenizer is a folder with vocab.json and merges.txt", dir));
    BL_TRY(read_folder(t, !bl_path_is_file(here) && bl_path_is_directory(below) ? below : dir));
    *out = t;
    t = NULL;
fail:
    bl_tokenizer_close(&t);
    bl_free(below);
    bl_free(here);
    return result;
}

void bl_tokenizer_close(bl_tokenizer **tokenizer)
{
    if (!tokenizer || !*tokenizer)
        return;
    bl_tokenizer *t = *tokenizer;
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        bl_free(t->specials[i].text);
        bl_free(t->specials[i].pattern);
    }
    bl_free(t->first);
    bl_free(t->merges);
    bl_free(t->texts);
    bl_free(t->arena);
    bl_free(t);
    *tokenizer = NULL;
}

const char *bl_tokenizer_text(const bl_tokenizer *t, int32_t id) { return id >= 0 && (uint32_t)id < t->size ? t->texts[id] : NULL; }
uint32_t bl_tokenizer_max_length(const bl_tokenizer *t) { return t->max_length; }
uint32_t bl_tokenizer_size(const bl_tokenizer *t) { return t->size; }
int32_t bl_tokenizer_bos(const bl_tokenizer *t) { return (int32_t)t->specials[BOS].id; }
int32_t bl_tokenizer_eos(const bl_tokenizer *t) { return (int32_t)t->specials[EOS].id; }
int32_t bl_tokenizer_pad(const bl_tokenizer *t) { return (int32_t)t->specials[PAD].id; }
