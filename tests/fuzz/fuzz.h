/* What the fuzz targets share: host memory with a limit, files that exist in memory only, dice for mutators. A target is one program; its
 * inputs are files as a user would have them, so that what a fuzzer finds can be given to the command line as it is.
 *
 * Memory: the library and its JSON parser may hold 64 MiB and 16 bytes for every pixel that a picture declares; more is a finding, and so
 * is a byte that is still held at the end. In one input of eight one allocation fails, so that the ways out of memory are walked too; none
 * of the JSON parser's: jansson 2.14 drops characters when its buffers cannot grow, and then reads beyond them for a quote. */
#ifndef FUZZ_H
#define FUZZ_H
#include "base.h"
#include "file.h"
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max); /* libFuzzer's, or that of replay.c */

#define FUZZ_CHECK(fact) \
    do { \
        if (!(fact)) { \
            fprintf(stderr, "%s:%d: not so: %s; the last reason is \"%s\"\n", __FILE__, __LINE__, #fact, bl_last_error()); \
            abort(); \
        } \
    } while (0)

/* --- memory --------------------------------------------------------------------------------------------------------------- */

static struct {
    size_t held, limit;
    uint32_t until_failure; /* allocations that succeed before one fails; UINT32_MAX: none fails */
} fuzz_memory;

static inline void *fuzz_count(void *p, size_t size)
{
    const size_t before = p ? malloc_usable_size(p) : 0;
    FUZZ_CHECK(size <= fuzz_memory.limit && fuzz_memory.held - before <= fuzz_memory.limit - size);
    void *grown = realloc(p, size);
    if (grown)
        fuzz_memory.held += malloc_usable_size(grown) - before;
    return grown;
}

static inline void fuzz_release(void *p)
{
    if (p)
        fuzz_memory.held -= malloc_usable_size(p);
    free(p);
}

static inline void *fuzz_resize(void *p, size_t size)
{
    if (fuzz_memory.until_failure != UINT32_MAX && fuzz_memory.until_failure-- == 0)
        return NULL;
    return fuzz_count(p, size);
}

static inline void *fuzz_parser_malloc(size_t size) { return fuzz_count(NULL, size); }

/* --- files ---------------------------------------------------------------------------------------------------------------- */

enum { FUZZ_FILES = 8, FUZZ_FD = 1000 };

/* What there is, besides the folder "m"; a file without data is not there. */
static struct fuzz_file {
    const char *path;
    const uint8_t *data;
    size_t size;
} fuzz_files[FUZZ_FILES];
static int fuzz_open_files;

static inline int fuzz_find(const char *path)
{
    for (int i = 0; i < FUZZ_FILES; i++)
        if (fuzz_files[i].data && !strcmp(fuzz_files[i].path, path))
            return i;
    errno = ENOENT;
    return -1;
}

static inline int fuzz_open(const char *path)
{
    const int i = fuzz_find(path);
    fuzz_open_files += i >= 0;
    return i < 0 ? -1 : FUZZ_FD + i;
}

static inline int fuzz_size(int fd, uint64_t *size) { return *size = fuzz_files[fd - FUZZ_FD].size, 0; }

static inline int64_t fuzz_read_at(int fd, void *buf, size_t n, uint64_t at)
{
    const struct fuzz_file *f = &fuzz_files[fd - FUZZ_FD];
    const size_t left = at < f->size ? f->size - (size_t)at : 0, got = BL_MIN(n, left);
    if (got)
        memcpy(buf, f->data + at, got);
    return (int64_t)got;
}

static inline int fuzz_close(int fd) { return (void)fd, fuzz_open_files--, 0; }

static inline bl_path_kind fuzz_kind(const char *path)
{
    return !strcmp(path, "m") ? BL_PATH_DIRECTORY : fuzz_find(path) >= 0 ? BL_PATH_FILE : BL_PATH_NOTHING;
}

static inline int fuzz_no_path(const char *path) { return (void)path, errno = EROFS, -1; }

/* --- one input ------------------------------------------------------------------------------------------------------------ */

/* A number that follows from the input. */
static inline uint32_t fuzz_hash(const uint8_t *data, size_t size)
{
    uint32_t h = 2166136261u ^ (uint32_t)size;
    for (size_t i = 0, step = size / 64 + 1; i < size; i += step)
        h = (h ^ data[i]) * 16777619u;
    return h ^ h >> 15;
}

/* Starts an input: what it allocates is counted from here. `pixels`: those that a picture declares. */
static inline void fuzz_begin(const uint8_t *data, size_t size, size_t pixels)
{
    const uint32_t h = fuzz_hash(data, size);
    fuzz_memory.held = 0;
    fuzz_memory.limit = ((size_t)64 << 20) + 16 * pixels;
    fuzz_memory.until_failure = h % 8 == 7 ? h / 8 % 64 : UINT32_MAX;
    memset(fuzz_files, 0, sizeof(fuzz_files));
    fuzz_open_files = 0;
    bl_memory = (bl_memory_api){ fuzz_resize, fuzz_release };
    json_set_alloc_funcs(fuzz_parser_malloc, fuzz_release);
    bl_files = (bl_file_api){ .open_read = fuzz_open, .open_new = fuzz_no_path, .size = fuzz_size, .read_at = fuzz_read_at,
        .close = fuzz_close, .remove = fuzz_no_path, .sync_directory = fuzz_no_path, .kind = fuzz_kind };
    bl_fail(BL_OK, "%s", "");
}

/* Ends it: nothing is left. */
static inline int fuzz_end(void)
{
    FUZZ_CHECK(fuzz_memory.held == 0);
    FUZZ_CHECK(fuzz_open_files == 0);
    return 0;
}

/* A call either did it or says why not; true if it did it. */
static inline bool fuzz_result(bl_result r)
{
    FUZZ_CHECK(r <= BL_OK && (r == BL_OK || *bl_last_error()));
    return r == BL_OK;
}

/* --- mutators ------------------------------------------------------------------------------------------------------------- */

static uint32_t fuzz_dice; /* not 0 */

/* 0 to n - 1 */
static inline uint32_t fuzz_roll(uint32_t n)
{
    fuzz_dice ^= fuzz_dice << 13;
    fuzz_dice ^= fuzz_dice >> 17;
    fuzz_dice ^= fuzz_dice << 5;
    return fuzz_dice % n;
}

/* Puts `part` in the place of the `old` bytes at `at` of the `size` in `data`; returns the new size, or the old one where there is no room
 * or `part` is NULL. */
static inline size_t fuzz_replace(uint8_t *data, size_t size, size_t max, size_t at, size_t old, const uint8_t *part, size_t n)
{
    if (!part || n > max || size - old > max - n)
        return size;
    memmove(data + at + n, data + at + old, size - at - old);
    if (n)
        memcpy(data + at, part, n);
    return size - old + n;
}

/* Mutates only the `n` bytes at `at`, which may grow by up to 64; returns the new size, and sets *now to what became of them. */
static inline size_t fuzz_mutate_part(uint8_t *data, size_t size, size_t max, size_t at, size_t n, size_t *now)
{
    const size_t room = n + BL_MIN(max - size, (size_t)64);
    uint8_t *part = room ? malloc(room) : NULL;
    *now = n;
    if (!part)
        return size;
    memcpy(part, data + at, n);
    *now = LLVMFuzzerMutate(part, n, room);
    size = fuzz_replace(data, size, max, at, n, part, *now);
    free(part);
    return size;
}
#endif
