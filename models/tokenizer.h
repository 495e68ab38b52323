/* CLIP byte-pair tokenizer: a prompt to token ids. Layer 4.
 *
 * Gives the ids of the *fast* CLIP tokenizer of the Hugging Face tokenizers library, in this order:
 *   1. special tokens that the files declare as not normalised (plain strings, such as "!" of SD 2) are cut out of the prompt;
 *   2. the rest: Unicode NFC, every run of white space to one space, lower case code point by code point (no final sigma);
 *   3. special tokens declared as normalised (start and end) are cut out of that;
 *   4. the rest falls into words: 's 't 're 've 'm 'll 'd, a run of letters, one number, or a run of anything else but space;
 *   5. the UTF-8 bytes of a word become the printable GPT-2 alphabet, the last one with "</w>" appended;
 *   6. neighbours are merged, lowest rank first, then leftmost (Sennrich et al. 2016, "Neural machine translation of rare words
 *      with subword units"; byte alphabet of Radford et al. 2019); a byte symbol that the vocabulary lacks is the unknown token.
 * Where a special token stands literally in a prompt it is that one id, wherever it stands. */
#ifndef BL_TOKENIZER_H
#define BL_TOKENIZER_H
#include "base.h"

enum { BL_PROMPT_BYTES_MAX = 65536 };

typedef struct bl_tokenizer bl_tokenizer;

/* Reads vocab.json and merges.txt, and tokenizer_config.json and special_tokens_map.json where they exist (else the defaults of CLIP),
 * from `dir`, or from `dir`/tokenizer when `dir` is a checkpoint. Ids are below 2^20; an id without entry is allowed. BL_ERROR_MODEL
 * names the file and the line or entry. *out is NULL on failure. */
bl_result bl_tokenizer_open(const char *dir, bl_tokenizer **out);
void bl_tokenizer_close(bl_tokenizer **tokenizer); /* accepts NULL, leaves NULL */

/* The ids of `bytes` bytes of text with start and end token, neither padded nor truncated. BL_ERROR_INPUT when the text is not UTF-8
 * or longer than BL_PROMPT_BYTES_MAX. *ids is owned by the caller (bl_free); NULL with *count 0 on failure. */
bl_result bl_tokenizer_encode(const bl_tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count);
/* The same for a text ending in 0, padded with the padding token to exactly `length` (at least 2) ids; *used (may be NULL) is the number
 * before padding. A text with more tokens is never cut: BL_ERROR_INPUT says how many it has and from which words on it is too long. */
bl_result bl_tokenizer_encode_padded(const bl_tokenizer *t, const char *text, uint32_t length, int32_t *ids, uint32_t *used);

/* The vocabulary entry, "hazelnut</w>"; NULL for an id that has none. Valid while the tokenizer lives. */
const char *bl_tokenizer_text(const bl_tokenizer *t, int32_t id);
/* Ids that the text encoder takes, start and end included: model_max_length, 2-65536. */
uint32_t bl_tokenizer_max_length(const bl_tokenizer *t);
uint32_t bl_tokenizer_size(const bl_tokenizer *t); /* largest id + 1 */
int32_t bl_tokenizer_bos(const bl_tokenizer *t);   /* start */
int32_t bl_tokenizer_eos(const bl_tokenizer *t);   /* end */
int32_t bl_tokenizer_pad(const bl_tokenizer *t);
#endif
