/* A prompt for the tokenizer of tests/data. Of several lines: object, defect, template, normal prompt. */
#include "fuzz.h"
#include "tokenizer.h"
#include "words.h"

enum { TEXTS = 4, LENGTH = 77 };
static bl_tokenizer *tokenizer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    FUZZ_CHECK(bl_tokenizer_open(TEST_DATA "/tokenizer", &tokenizer) == BL_OK);
    return 0;
}

/* The lines of the input, NULL where there are no more; the last has the rest. */
static void split(char *text, char *lines[TEXTS])
{
    for (int i = 0; i < TEXTS; i++) {
        lines[i] = text;
        char *end = text && i < TEXTS - 1 ? strchr(text, '\n') : NULL;
        if (end)
            *end++ = 0;
        text = end;
    }
}

static void mark_words(char *const lines[TEXTS])
{
    bl_words w;
    const bool one = !lines[1];
    const bl_result r = bl_words_make(tokenizer, one ? lines[0] : NULL, one ? NULL : lines[0], lines[1], lines[2], lines[3], LENGTH, &w);
    if (fuzz_result(r)) {
        FUZZ_CHECK(w.prompt && w.count <= BL_MAX_WORDS);
        for (uint32_t i = 0; i < w.count; i++)
            FUZZ_CHECK(w.tokens[i] >= 1 && w.tokens[i] < LENGTH - 1 && (!i || w.tokens[i] > w.tokens[i - 1]));
    }
    bl_words_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int32_t *ids = NULL, padded[LENGTH];
    size_t count = 0;
    uint32_t used;
    char *lines[TEXTS], *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    fuzz_begin(data, size, 0);
    const bool valid = fuzz_result(bl_tokenizer_encode(tokenizer, (const char *)data, size, &ids, &count));
    if (valid) {
        FUZZ_CHECK(count >= 2 && ids[0] == bl_tokenizer_bos(tokenizer) && ids[count - 1] == bl_tokenizer_eos(tokenizer));
        for (size_t i = 0; i < count; i++)
            FUZZ_CHECK(bl_tokenizer_text(tokenizer, ids[i]));
    }
    if (valid && strlen(text) == size && size % 4 == 0 && fuzz_result(bl_tokenizer_encode_padded(tokenizer, text, LENGTH, padded, &used)))
        FUZZ_CHECK(used == count && !memcmp(padded, ids, count * sizeof(*ids)));
    bl_free(ids);
    split(text, lines);
    mark_words(lines);
    free(text);
    return fuzz_end();
}
