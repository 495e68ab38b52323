/* The files of a tokenizer and a prompt for it. They stand behind each other, parted by bytes 0xff, which UTF-8 never has: merges.txt,
 * vocab.json, tokenizer_config.json, special_tokens_map.json, prompt. An empty vocab.json is made: the parts and results of all merges, and
 * the special tokens. An empty configuration is not there. */
#include "fuzz.h"
#include "tokenizer.h"
#include "tokenizer_text.h"

enum { PARTS = 5, MADE = 1 << 16 };
static const char *const paths[PARTS - 1] = { "m/merges.txt", "m/vocab.json", "m/tokenizer_config.json", "m/special_tokens_map.json" };

typedef struct part {
    const uint8_t *data;
    size_t size;
} part;

static void split(const uint8_t *data, size_t size, part parts[PARTS])
{
    for (int i = 0; i < PARTS; i++) {
        const uint8_t *end = i < PARTS - 1 && size ? memchr(data, 0xff, size) : NULL;
        parts[i] = (part){ data, end ? (size_t)(end - data) : size };
        data += parts[i].size + (end != NULL);
        size -= parts[i].size + (end != NULL);
    }
}

/* --- a vocabulary that fits the merges ------------------------------------------------------------------------------------------ */

static char made[MADE];
static size_t made_size;
static uint32_t made_count;

static void add_entry(const char *text, size_t n)
{
    char entry[600];
    size_t k = 0;
    if (n > 250)
        return;
    entry[k++] = '"';
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"' || text[i] == '\\')
            entry[k++] = '\\';
        entry[k++] = text[i];
    }
    entry[k++] = '"';
    entry[k++] = ':';
    for (size_t i = 0; i + k <= made_size; i++) /* a duplicate would be refused */
        if (!memcmp(made + i, entry, k))
            return;
    if (made_size + k + 24 < MADE)
        made_size += (size_t)snprintf(made + made_size, MADE - made_size, "%c%.*s%u", made_count ? ',' : '{', (int)k, entry, made_count);
    made_count++;
}

static part make_vocabulary(part merges)
{
    made_size = 0;
    made_count = 0;
    add_entry("<|startoftext|>", 15);
    add_entry("<|endoftext|>", 13);
    for (size_t at = 0; at < merges.size && made_count < 200;) {
        const char *line = (const char *)merges.data + at;
        const char *end = memchr(line, '\n', merges.size - at);
        const size_t n = end ? (size_t)(end - line) : merges.size - at;
        const char *space = memchr(line, ' ', n);
        if (space) {
            const size_t left = (size_t)(space - line), right = n - left - 1;
            char both[600];
            add_entry(line, left);
            add_entry(space + 1, right);
            if (left + right < sizeof(both)) {
                memcpy(both, line, left);
                memcpy(both + left, space + 1, right);
                add_entry(both, left + right);
            }
        }
        at += n + 1;
    }
    made[made_size++] = '}';
    return (part){ (const uint8_t *)made, made_size };
}

/* --- one input ------------------------------------------------------------------------------------------------------------------ */

static void encode(const bl_tokenizer *t, const part *prompt)
{
    int32_t *ids = NULL;
    size_t count = 0;
    FUZZ_CHECK(bl_tokenizer_size(t) && bl_tokenizer_max_length(t) >= 2);
    if (fuzz_result(bl_tokenizer_encode(t, (const char *)prompt->data, prompt->size, &ids, &count))) {
        FUZZ_CHECK(count >= 2 && ids[0] == bl_tokenizer_bos(t) && ids[count - 1] == bl_tokenizer_eos(t));
        for (size_t i = 0; i < count; i++)
            FUZZ_CHECK(bl_tokenizer_text(t, ids[i]));
    }
    bl_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bl_tokenizer *t = NULL;
    part parts[PARTS];
    split(data, size, parts);
    if (!parts[1].size)
        parts[1] = make_vocabulary(parts[0]);
    fuzz_begin(data, size, 0);
    for (int i = 0; i < PARTS - 1; i++)
        fuzz_files[i] = (struct fuzz_file){ paths[i], i < 2 || parts[i].size ? parts[i].data : NULL, parts[i].size };
    if (!fuzz_files[0].data)
        fuzz_files[0].data = (const uint8_t *)""; /* a part at the end of an empty input */
    FUZZ_CHECK(fuzz_result(bl_tokenizer_open("m", &t)) == (t != NULL));
    if (t)
        encode(t, &parts[PARTS - 1]);
    bl_tokenizer_close(&t);
    return fuzz_end();
}

/* One part at a time. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    part parts[PARTS];
    size_t now;
    fuzz_dice = seed | 1;
    if (!size || !fuzz_roll(32))
        return LLVMFuzzerMutate(data, size, max);
    split(data, size, parts);
    const part *p = &parts[fuzz_roll(PARTS)];
    const size_t at = (size_t)(p->data - data);
    if (at == size && size == max)
        return size;
    size = fuzz_mutate_part(data, size, max, at, p->size, &now);
    for (size_t i = at; i < at + now; i++)
        if (data[i] == 0xff && fuzz_roll(8))
            data[i] = (uint8_t)fuzz_roll(255);
    return size;
}
