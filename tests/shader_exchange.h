/* One shader compiled in place of another, both from files of SPIR-V: exchange_begin, and exchange_on from then on. */
#ifndef SHADER_EXCHANGE_H
#define SHADER_EXCHANGE_H
#include "shader_swap.h"
#include <stdio.h>

enum { EXCHANGE_MAX = 1 << 20 };
typedef struct exchange_code {
    uint32_t words[EXCHANGE_MAX / 4];
    size_t size;
} exchange_code;
static exchange_code exchange_right, exchange_other; /* what the library has, and what is compiled instead */
static bool exchange_on;
static uint32_t exchanged;                           /* modules so far */

static const uint32_t *exchange(const uint32_t *words, size_t *size)
{
    if (!exchange_on || *size != exchange_right.size || memcmp(words, exchange_right.words, *size) != 0)
        return words;
    exchanged++;
    *size = exchange_other.size;
    return exchange_other.words;
}

static inline void exchange_begin(void)
{
    swap_code = exchange;
    swap_begin();
}

/* False, and says so, if there is no such file or nothing in it. */
static inline bool exchange_read(const char *path, exchange_code *out)
{
    FILE *f = fopen(path, "rb");
    out->size = f ? fread(out->words, 1, sizeof(out->words), f) : 0;
    if (f)
        fclose(f);
    if (!out->size)
        fprintf(stderr, "cannot read %s\n", path);
    return out->size > 0;
}
#endif
