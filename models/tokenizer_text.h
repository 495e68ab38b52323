/* The text side of the CLIP tokenizer: UTF-8, the byte alphabet, normalisation, words. Layer 4.
 * The steps are those of tokenizer.h. */
#ifndef BL_TOKENIZER_TEXT_H
#define BL_TOKENIZER_TEXT_H
#include "base.h"

/* The code point at the start of `s`, which has `bytes` > 0 bytes. Returns its bytes; 0 with *point -1 where they are not valid UTF-8. */
size_t bl_utf8_decode(const char *s, size_t bytes, int32_t *point);
/* Writes a code point, at most 4 bytes; returns their number. */
size_t bl_utf8_encode(int32_t point, char *out);

enum { BL_QUOTE_SIZE = 72 };
/* Makes any bytes fit for a message: whole code points, "?" for control characters and what is not UTF-8, "..." where it is cut.
 * Returns `out`. */
const char *bl_quote(const char *s, size_t bytes, char out[BL_QUOTE_SIZE]);

/* The code point that stands for a byte (below 256) in a vocabulary: itself where it is printable, else one from U+0100 on, in the order of
 * the bytes. All are below BL_BYTE_SYMBOL_END. */
int32_t bl_byte_symbol(unsigned byte);
enum { BL_BYTE_SYMBOL_END = 256 + 33 + 34 + 1 };

/* Step 2: NFC, white space, lower case, in O(bytes log bytes). *out ends in 0 and is owned by the caller (bl_free); NULL on failure.
 * BL_ERROR_INPUT when the text is not UTF-8. */
bl_result bl_prompt_normalise(const char *text, size_t bytes, char **out, size_t *out_bytes);
/* Step 4: the first word of normalised text from *end on; false if there is none. Start with *end 0. */
bool bl_prompt_next_word(const char *s, size_t bytes, size_t *start, size_t *end);
#endif
