/* Which dispatches of a record must not run at the same time, found the slow way: a map of every byte of device memory, filled from the
 * extents and views of the ops. The parts of one node are free of each other. Static functions only. */
#ifndef RECORD_ORACLE_H
#define RECORD_ORACLE_H
#include "record.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ORACLE_BUFFERS = 256 };
static struct {
    const bl_buffer *buffer;
    uint8_t *reads, *writes; /* 1 for a byte that a marked dispatch reads or writes */
} oracle_maps[ORACLE_BUFFERS];

/* To be called when buffers go, before others take their place. */
static inline void oracle_forget(void)
{
    for (size_t i = 0; i < ORACLE_BUFFERS; i++) {
        free(oracle_maps[i].reads);
        free(oracle_maps[i].writes);
    }
    memset(oracle_maps, 0, sizeof(oracle_maps));
}

static inline size_t oracle_map(const bl_buffer *buffer)
{
    size_t i = 0;
    while (i < ORACLE_BUFFERS && oracle_maps[i].buffer && oracle_maps[i].buffer != buffer)
        i++;
    assert_true(i < ORACLE_BUFFERS);
    if (!oracle_maps[i].buffer) {
        oracle_maps[i].buffer = buffer;
        oracle_maps[i].reads = calloc(buffer->size, 1);
        oracle_maps[i].writes = calloc(buffer->size, 1);
        assert_true(oracle_maps[i].reads && oracle_maps[i].writes);
    }
    return i;
}

typedef enum oracle_what { ORACLE_MARK, ORACLE_CLEAR, ORACLE_MEETS } oracle_what;

static inline bool oracle_bytes(const bl_buffer *buffer, uint64_t begin, uint64_t size, unsigned access, oracle_what what)
{
    const size_t i = oracle_map(buffer);
    uint8_t *reads = oracle_maps[i].reads + begin, *writes = oracle_maps[i].writes + begin;
    assert_true(begin + size <= buffer->size);
    if (what == ORACLE_MEETS)
        return memchr(writes, 1, size) || (access & BL_WRITE && memchr(reads, 1, size));
    if (access & BL_READ)
        memset(reads, what == ORACLE_MARK, size);
    if (access & BL_WRITE)
        memset(writes, what == ORACLE_MARK, size);
    return false;
}

/* Marks or clears what a dispatch touches, or says whether something marked meets it with a write on one side at least. */
static inline bool oracle_visit(const bl_command *c, oracle_what what)
{
    const bl_op op = bl_impls[c->d.kernel].op;
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t n = bl_op_operands(op, o);
    bool met = false;
    bl_op_infos[op].extents(&c->d.p, e);
    for (uint32_t i = 0; i < n; i++) {
        const struct view v = c->d.p.v[i];
        const uint64_t size = o[i].storage ? bl_dtype_size(c->d.type) : sizeof(float);
        const uint32_t at_once = v.stride == e[i].cols ? e[i].rows : 1; /* rows side by side, for speed */
        for (uint32_t row = 0; c->d.operands[i].buffer && row < e[i].rows; row += at_once)
            met |= oracle_bytes(c->d.operands[i].buffer, c->d.operands[i].offset + (v.off + (uint64_t)row * v.stride) * size,
                                e[i].cols * size * at_once, o[i].access, what);
    }
    if (bl_op_infos[op].steps)
        met |= oracle_bytes(c->d.steps.buffer, c->d.steps.offset, c->d.steps.size,
                            op == BL_OP_step_next_fwd ? BL_READ | BL_WRITE : BL_READ, what);
    return met;
}

/* Whether one of the commands [from, to) and one of [first, end) may not run at the same time. */
static inline bool oracle_conflict(const bl_command *list, uint32_t from, uint32_t to, uint32_t first, uint32_t end)
{
    bool met = false;
    for (uint32_t a = from; a < to && !met; a++) {
        oracle_visit(&list[a], ORACLE_MARK);
        for (uint32_t b = BL_MAX(first, a + 1); b < end && !met; b++)
            met = list[b].node != list[a].node && oracle_visit(&list[b], ORACLE_MEETS);
        oracle_visit(&list[a], ORACLE_CLEAR);
    }
    return met;
}

/* First command behind `at` with a barrier before it, or the end. */
static inline uint32_t oracle_next(const bl_record *r, uint32_t at)
{
    do
        at++;
    while (at < r->count && !r->list[at].barrier);
    return at;
}

/* Whether nothing between two barriers conflicts. */
static inline bool oracle_sound(const bl_record *r)
{
    for (uint32_t from = 0, to; from < r->count; from = to) {
        to = oracle_next(r, from);
        if (oracle_conflict(r->list, from, to, from, to))
            return false;
    }
    return true;
}
#endif
