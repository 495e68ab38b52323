/* Results, storage types, host memory, small helpers. Layer 0. */
#ifndef BL_BASE_H
#define BL_BASE_H
#include "blemish.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Storage type of a tensor on the device. Arithmetic is fp32 in both. */
typedef enum bl_dtype { BL_F32, BL_F16, BL_DTYPE_COUNT } bl_dtype;

static inline size_t bl_dtype_size(bl_dtype t) { return t == BL_F16 ? 2 : 4; }
static inline const char *bl_dtype_name(bl_dtype t) { return t == BL_F16 ? "f16" : "f32"; }

#if defined(__GNUC__)
#define BL_PRINTF(text, args) __attribute__((format(printf, text, args)))
#else
#define BL_PRINTF(text, args)
#endif

/* Records the reason of a failure (thread-local, last one wins) and returns `r`. */
bl_result bl_fail(bl_result r, const char *fmt, ...) BL_PRINTF(2, 3);
/* Puts "<text>: " in front of the recorded reason, and returns `r`: callers add what they were doing. */
bl_result bl_fail_in(bl_result r, const char *fmt, ...) BL_PRINTF(2, 3);

/* Evaluates `expr`; on failure leaves through `fail:` with `result` set. */
#define BL_TRY(expr) \
    do { \
        result = (expr); \
        if (result != BL_OK) \
            goto fail; \
    } while (0)

#define BL_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define BL_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Host memory, behind a table so that tests can make the n-th call fail. Written only by tests. */
typedef struct bl_memory_api {
    void *(*resize)(void *p, size_t size);  /* as realloc; p may be NULL, size is never 0 */
    void (*release)(void *p);               /* as free */
} bl_memory_api;
extern bl_memory_api bl_memory;

/* Nanoseconds of a clock that only goes forward; behind a pointer so that tests can pretend a slow device. Written only by tests. */
extern double (*bl_clock)(void);

/* `count * size` zeroed bytes, or NULL when memory runs out or the product overflows; freed by bl_free.
 * A zero product gives a pointer to one byte. */
void *bl_alloc(size_t count, size_t size);
/* Grows or shrinks to `count * size` bytes (new bytes are not zeroed); NULL leaves `p` as it was. */
void *bl_resize(void *p, size_t count, size_t size);
void bl_free(void *p); /* NULL is accepted */
/* FNV-1a of `data`, going on from `hash`, which is 0 in the beginning: against damage, not tampering. */
uint64_t bl_hash(uint64_t hash, const void *data, size_t size);
/* A copy of the first `n` bytes of `s` with a final 0; NULL when memory runs out. */
char *bl_text_copy(const char *s, size_t n);
#endif
