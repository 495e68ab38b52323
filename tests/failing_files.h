/* Files whose n-th operation fails, or all from there on, are short or are interrupted; and that counts what is still open. Included once
 * per test program. */
#ifndef FAILING_FILES_H
#define FAILING_FILES_H
#include "base.h"
#include "file.h"
#include <errno.h>
#include <stdbool.h>

static bl_file_api real;    /* the library's own, kept by the test */
static int calls_left;      /* operations that still succeed; -1: all */
static int fail_number;     /* errno of the ones that do not */
static int fail_once;       /* only one fails */
static int opened;          /* descriptors from the table that are not closed */
static size_t max_transfer; /* bytes per read or write; 0: no limit */
static int interrupt;       /* every other call is interrupted */

static inline bool fails(void)
{
    if (interrupt && ++interrupt % 2) {
        errno = EINTR;
        return true;
    }
    if (calls_left < 0)
        return false;
    if (calls_left > 0) {
        calls_left--;
        return false;
    }
    if (fail_once)
        calls_left = -1;
    errno = fail_number;
    return true;
}

static inline int counted(int fd)
{
    opened += fd >= 0;
    return fd;
}

static inline size_t limited(size_t n) { return max_transfer ? BL_MIN(n, max_transfer) : n; }
static inline int t_open_read(const char *p) { return fails() ? -1 : counted(real.open_read(p)); }
static inline int t_open_new(const char *p) { return fails() ? -1 : counted(real.open_new(p)); }
static inline int t_size(int fd, uint64_t *size) { return fails() ? -1 : real.size(fd, size); }
static inline int64_t t_read_at(int fd, void *p, size_t n, uint64_t at) { return fails() ? -1 : real.read_at(fd, p, limited(n), at); }
static inline int64_t t_write(int fd, const void *buf, size_t n) { return fails() ? -1 : real.write(fd, buf, limited(n)); }
static inline int t_sync(int fd) { return fails() ? -1 : real.sync(fd); }
static inline int t_rename(const char *a, const char *b) { return fails() ? -1 : real.rename(a, b); }
static inline int t_sync_directory(const char *p) { return fails() ? -1 : real.sync_directory(p); }
static inline bl_path_kind t_kind(const char *p) { return fails() ? BL_PATH_OTHER : real.kind(p); }

/* The descriptor is gone even when close reports an error. Clean-up always works, or nothing could be proven about it. */
static inline int t_close(int fd)
{
    const int was = interrupt;
    opened--;
    real.close(fd);
    interrupt = 0;
    const bool failed = fails();
    interrupt = was;
    return failed ? -1 : 0;
}

static const bl_file_api faulty = { .open_read = t_open_read, .open_new = t_open_new, .size = t_size, .read_at = t_read_at,
    .write = t_write, .sync = t_sync, .close = t_close, .rename = t_rename, .sync_directory = t_sync_directory, .kind = t_kind };

static inline void use_faulty(int left, int number, int once)
{
    bl_files = faulty;
    bl_files.remove = real.remove;
    calls_left = left;
    fail_number = number;
    fail_once = once;
    opened = 0;
}
#endif
