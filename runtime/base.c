#include "base.h"
#include "checked.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REASON_SIZE = 1024 };
static _Thread_local char reason[REASON_SIZE];

bl_memory_api bl_memory = { realloc, free };

bl_result bl_fail(bl_result r, const char *fmt, ...)
{
    char text[REASON_SIZE]; /* an argument may be the recorded reason itself */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(reason, text, sizeof(reason));
    return r;
}

bl_result bl_fail_in(bl_result r, const char *fmt, ...)
{
    char text[REASON_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    strncat(text, ": ", sizeof(text) - 1 - strlen(text));
    strncat(text, reason, sizeof(text) - 1 - strlen(text));
    memcpy(reason, text, sizeof(reason));
    return r;
}

const char *bl_last_error(void) { return reason; }

const char *bl_result_name(bl_result r)
{
    switch (r) {
    case BL_OK: return "ok";
    case BL_ERROR_OUTPUT: return "output";
    case BL_ERROR_USAGE: return "usage";
    case BL_ERROR_INPUT: return "input";
    case BL_ERROR_MODEL: return "model";
    case BL_ERROR_DEVICE: return "device";
    case BL_ERROR_MEMORY: return "memory";
    case BL_ERROR_MISMATCH: return "mismatch";
    case BL_ERROR_CANCELLED: return "cancelled";
    }
    return "unknown";
}

static double monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}
double (*bl_clock)(void) = monotonic;

void *bl_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (!bl_mul(count, size, &bytes))
        return NULL;
    void *p = bl_memory.resize(NULL, bytes ? bytes : 1);
    return p ? memset(p, 0, bytes ? bytes : 1) : NULL;
}

void *bl_resize(void *p, size_t count, size_t size)
{
    size_t bytes;
    return bl_mul(count, size, &bytes) ? bl_memory.resize(p, bytes ? bytes : 1) : NULL;
}

void bl_free(void *p)
{
    if (p)
        bl_memory.release(p);
}

char *bl_text_copy(const char *s, size_t n)
{
    size_t bytes;
    char *copy = bl_add(n, 1, &bytes) ? bl_alloc(bytes, 1) : NULL;
    return copy ? memcpy(copy, s, n) : NULL;
}

uint64_t bl_hash(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    if (!hash)
        hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}
