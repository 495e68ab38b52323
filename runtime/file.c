/* Files through POSIX. Layer 0. */
#define _FILE_OFFSET_BITS 64 /* checkpoints exceed 2 GiB on 32-bit systems too */
#include "file.h"
#include "checked.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_TRANSFER = 1 << 30, /* bytes per call; the kernel's own limit is just below 2^31 */
    MAX_NAME = 255,         /* bytes of one path component on the usual file systems */
    MAX_ATTEMPTS = 1000     /* names tried for the temporary file */
};

/* --- the system calls -------------------------------------------------------------------------------------------------- */

/* Non-blocking, because opening a pipe would otherwise wait for a writer; regular files are not affected. */
static int posix_open_read(const char *path) { return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }

static int posix_open_new(const char *path) { return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }

static int posix_size(int fd, uint64_t *size)
{
    struct stat s;
    if (fstat(fd, &s))
        return -1;
    if (!S_ISREG(s.st_mode)) {
        errno = S_ISDIR(s.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    *size = (uint64_t)s.st_size;
    return 0;
}

static int64_t posix_read_at(int fd, void *buf, size_t n, uint64_t offset)
{
    const off_t at = (off_t)offset;
    if (at < 0 || (uint64_t)at != offset) {
        errno = EOVERFLOW;
        return -1;
    }
    return pread(fd, buf, n, at);
}

static int64_t posix_write(int fd, const void *buf, size_t n) { return write(fd, buf, n); }

/* After EINTR the descriptor is gone on Linux and may be on others; closing again could hit another thread's file. */
static int posix_close(int fd) { return close(fd) && errno != EINTR ? -1 : 0; }

static int posix_sync_directory(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    const int failed = fsync(fd), reason = errno;
    close(fd);
    errno = reason;
    return failed;
}

static bl_path_kind posix_kind(const char *path)
{
    struct stat s;
    if (stat(path, &s))
        return errno == ENOENT || errno == ENOTDIR ? BL_PATH_NOTHING : BL_PATH_OTHER;
    return S_ISREG(s.st_mode) ? BL_PATH_FILE : S_ISDIR(s.st_mode) ? BL_PATH_DIRECTORY : BL_PATH_OTHER;
}

bl_file_api bl_files = { posix_open_read, posix_open_new, posix_size, posix_read_at, posix_write, fsync, posix_close, rename, unlink,
    posix_sync_directory, posix_kind };

/* --- reading ----------------------------------------------------------------------------------------------------------- */

/* "<path>: cannot <what>: <the system's words>" */
static bl_result fail_errno(bl_result r, int number, const char *what, const char *path)
{
    char text[128];
    if (strerror_r(number, text, sizeof(text)))
        snprintf(text, sizeof(text), "error %d", number);
    return bl_fail(r, "%s: cannot %s: %s", path, what, text);
}

bl_result bl_file_open(bl_file *f, const char *path, bl_result kind)
{
    bl_result result = BL_OK;
    *f = (bl_file){ .fd = -1 };
    if (!path || !*path)
        return bl_fail(kind, "no file name was given");
    f->path = bl_text_copy(path, strlen(path));
    if (!f->path)
        return bl_fail(BL_ERROR_MEMORY, "%s: out of memory", path);
    do
        f->fd = bl_files.open_read(path);
    while (f->fd < 0 && errno == EINTR);
    if (f->fd < 0) {
        result = fail_errno(kind, errno, "open", path);
    } else if (bl_files.size(f->fd, &f->size)) {
        result = errno == EISDIR ? bl_fail(kind, "%s: is a directory, not a file", path)
            : errno == EINVAL ? bl_fail(kind, "%s: is a pipe or device, not a regular file", path)
            : fail_errno(kind, errno, "get the size", path);
    }
    if (result != BL_OK)
        bl_file_close(f);
    return result;
}

void bl_file_close(bl_file *f)
{
    if (f->fd >= 0)
        bl_files.close(f->fd);
    bl_free(f->path);
    *f = (bl_file){ .fd = -1 };
}

bl_result bl_file_read_at(const bl_file *f, void *buf, size_t n, uint64_t offset, bl_result kind)
{
    if (n > f->size || offset > f->size - n)
        return bl_fail(kind, "%s: %zu bytes at offset %" PRIu64 " are outside its %" PRIu64 " bytes", f->path, n, offset, f->size);
    for (size_t done = 0; done < n;) {
        const int64_t got = bl_files.read_at(f->fd, (uint8_t *)buf + done, BL_MIN(n - done, (size_t)MAX_TRANSFER), offset + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(kind, errno, "read", f->path);
        if (got == 0)
            return bl_fail(kind, "%s: changed while it was read: it ends at byte %" PRIu64 " of %" PRIu64, f->path, offset + done, f->size);
        done += (size_t)got;
    }
    return BL_OK;
}

bl_result bl_file_read_all(const char *path, size_t max, uint8_t **data, size_t *size, bl_result kind)
{
    bl_result result = BL_OK;
    bl_file f;
    uint8_t *bytes = NULL;
    size_t room;
    *data = NULL;
    *size = 0;
    BL_TRY(bl_file_open(&f, path, kind));
    if (f.size > max)
        BL_TRY(bl_fail(kind, "%s: has %" PRIu64 " bytes, at most %zu are read", path, f.size, max));
    bytes = bl_add((size_t)f.size, 1, &room) ? bl_alloc(room, 1) : NULL;
    if (!bytes)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "%s: no memory for its %" PRIu64 " bytes", path, f.size));
    BL_TRY(bl_file_read_at(&f, bytes, (size_t)f.size, 0, kind));
    *data = bytes;
    *size = (size_t)f.size;
    bytes = NULL;

fail:
    bl_free(bytes);
    bl_file_close(&f);
    return result;
}

/* --- writing ----------------------------------------------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        const int64_t put = bl_files.write(fd, data, BL_MIN(size, (size_t)MAX_TRANSFER));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put ? errno : EIO; /* no progress and no reason: do not spin */
            return -1;
        }
        data += put;
        size -= (size_t)put;
    }
    return 0;
}

static int sync_file(int fd)
{
    int failed;
    do /* only an interruption is repeated: after any other failure the kernel has dropped the data */
        failed = bl_files.sync(fd);
    while (failed && errno == EINTR);
    return failed;
}

/* File systems without such an operation, and directories one may write but not read, offer no more than the rename. */
static int sync_directory(const char *dir)
{
    int failed;
    do
        failed = bl_files.sync_directory(dir);
    while (failed && errno == EINTR);
    return failed && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EACCES ? -1 : 0;
}

/* Puts ".NAME.part-PID-n" behind the `dir` bytes of directory in `temp`; NAME is cut, at a character, where the whole would be too long. */
static void name_temporary(char *temp, size_t room, size_t dir, const char *name, unsigned n)
{
    char tail[64];
    const int tail_size = snprintf(tail, sizeof(tail), ".part-%ld-%u", (long)getpid(), n);
    size_t keep = BL_MIN(strlen(name), (size_t)(MAX_NAME - 1 - tail_size));
    while (keep && ((uint8_t)name[keep] & 0xc0) == 0x80)
        keep--;
    snprintf(temp + dir, room - dir, ".%.*s%s", (int)keep, name, tail);
}

/* Creates the temporary file and sets *fd; `temp` holds its path. Another writer's or a dead process's file is passed over. */
static bl_result open_temporary(const char *path, size_t dir, char *temp, size_t room, int *fd)
{
    for (unsigned n = 0; n < MAX_ATTEMPTS;) {
        name_temporary(temp, room, dir, path + dir, n);
        *fd = bl_files.open_new(temp);
        if (*fd >= 0)
            return BL_OK;
        if (errno == EEXIST)
            n++;
        else if (errno != EINTR)
            return fail_errno(BL_ERROR_OUTPUT, errno, "create a file beside it", path);
    }
    return bl_fail(BL_ERROR_OUTPUT, "%s: %d temporary files of it are lying beside it", path, MAX_ATTEMPTS);
}

bl_result bl_file_write_atomic(const char *path, const void *data, size_t size)
{
    bl_result result = BL_OK;
    char *temp = NULL;
    int fd = -1;
    bool exists = false;
    const char *slash = path ? strrchr(path, '/') : NULL;
    const size_t dir = slash ? (size_t)(slash - path) + 1 : 0; /* with the slash */
    size_t room;

    if (!path || !path[dir] || !strcmp(path + dir, ".") || !strcmp(path + dir, ".."))
        return bl_fail(BL_ERROR_OUTPUT, "\"%s\" does not name a file", path ? path : "");
    temp = bl_add(dir, MAX_NAME + 1, &room) ? bl_alloc(room, 1) : NULL;
    if (!temp)
        return bl_fail(BL_ERROR_MEMORY, "%s: out of memory", path);
    memcpy(temp, path, dir);
    BL_TRY(open_temporary(path, dir, temp, room, &fd));
    exists = true;
    if (write_all(fd, data, size) || sync_file(fd))
        BL_TRY(fail_errno(BL_ERROR_OUTPUT, errno, "write", path));
    const int failed = bl_files.close(fd); /* network file systems report lost writes here */
    fd = -1;
    if (failed)
        BL_TRY(fail_errno(BL_ERROR_OUTPUT, errno, "write", path));
    if (bl_files.rename(temp, path))
        BL_TRY(fail_errno(BL_ERROR_OUTPUT, errno, "put the new file in place", path));
    exists = false;
    if (dir)
        temp[dir] = 0;
    else
        memcpy(temp, ".", 2);
    if (sync_directory(temp))
        BL_TRY(fail_errno(BL_ERROR_OUTPUT, errno, "make the new file durable", path));

fail:
    if (fd >= 0)
        bl_files.close(fd);
    if (exists)
        bl_files.remove(temp);
    bl_free(temp);
    return result;
}

/* --- paths ------------------------------------------------------------------------------------------------------------- */

char *bl_path_join(const char *dir, const char *name)
{
    const size_t a = strlen(dir), b = strlen(name);
    const bool slash = a && dir[a - 1] != '/';
    size_t size;
    char *path = bl_add(a, b, &size) && bl_add(size, 2, &size) ? bl_alloc(size, 1) : NULL;
    if (path)
        snprintf(path, size, "%s%s%s", dir, slash ? "/" : "", name);
    return path;
}

bool bl_path_is_directory(const char *path) { return bl_files.kind(path) == BL_PATH_DIRECTORY; }
bool bl_path_is_file(const char *path) { return bl_files.kind(path) == BL_PATH_FILE; }
bool bl_path_exists(const char *path) { return bl_files.kind(path) != BL_PATH_NOTHING; }
