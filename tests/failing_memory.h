/* Host memory whose n-th allocation fails, or all from there on, and that counts what is still held. Included once per test program. */
#ifndef FAILING_MEMORY_H
#define FAILING_MEMORY_H
#include "base.h"
#include <stdlib.h>

static int allocations, fail_at, alive; /* fail_at is counted from 1; 0: none fails */
static bool fail_all;                   /* so do those after it */

static inline void *limited_resize(void *p, size_t size)
{
    if (++allocations == fail_at || (fail_all && fail_at && allocations > fail_at))
        return NULL;
    void *grown = realloc(p, size);
    alive += !p && grown;
    return grown;
}

static inline void counted_release(void *p)
{
    alive -= p != NULL;
    free(p);
}
#endif
