/* The words of a prompt that are guided: nobody counts tokens. Layer 4. */
#ifndef BL_WORDS_H
#define BL_WORDS_H
#include "tokenizer.h"

enum { BL_MAX_WORDS = 16 }; /* tokens that are guided */

typedef struct bl_words {
    char *prompt;                   /* without marks; owned */
    char *normal;                   /* the same without the marked words, or as given; owned */
    uint32_t tokens[BL_MAX_WORDS];  /* of the marked words, ascending; 0 is the start token */
    uint32_t count;                 /* 0: nothing is marked */
} bl_words;

/* A prompt in which words may be marked, "a photo of a [[cracked]] hazelnut", where \[[ and \]] are mere brackets. Or, with prompt
 * NULL, one made from `object` and `defect` by a template with {object} and {defect} (NULL: "a photo of a {object} that is {defect}"): the
 * whole defect is marked, unless marks stand in it. The normal prompt is `normal`; else "a photo of a {object}"; else the prompt without
 * its marked words. `length`: tokens that the text encoder takes, start and end included.
 * BL_ERROR_USAGE: neither prompt nor object and defect, or both; a template without {defect}, or with other places. BL_ERROR_INPUT: marks
 * that are not closed, are empty, stand within others or in the normal prompt; a marked part that is not whole words, has no tokens, too
 * many, or some beyond the encoder's length. */
bl_result bl_words_make(const bl_tokenizer *t, const char *prompt, const char *object, const char *defect, const char *template_text,
                        const char *normal, uint32_t length, bl_words *out);
void bl_words_free(bl_words *w); /* zeroes *w; a zeroed one is accepted */
#endif
