/* Files: positioned reads of regular files, whole small files, atomic writes. Layer 0.
 * Never mapped: a mapped file that shrinks is a crash. What looks for, opens, reads or writes files goes through bl_file_api; paths are
 * in the form the system takes, messages name the file as the caller did. */
#ifndef BL_FILE_H
#define BL_FILE_H
#include "base.h"

/* What a path leads to, symbolic links followed; OTHER also where it cannot be looked at. */
typedef enum bl_path_kind { BL_PATH_NOTHING, BL_PATH_FILE, BL_PATH_DIRECTORY, BL_PATH_OTHER } bl_path_kind;

/* The system calls behind this file; those that may fail return -1 and set errno. Written only by tests. The callers repeat
 * the opens, reads, writes and syncs after EINTR. */
typedef struct bl_file_api {
    int (*open_read)(const char *path);
    int (*open_new)(const char *path);                                  /* for writing; fails if it exists */
    int (*size)(int fd, uint64_t *size);                                /* -1 with EISDIR for a directory, EINVAL for a pipe or device */
    int64_t (*read_at)(int fd, void *buf, size_t n, uint64_t offset);   /* may be short */
    int64_t (*write)(int fd, const void *buf, size_t n);                /* may be short */
    int (*sync)(int fd);
    int (*close)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*remove)(const char *path);
    int (*sync_directory)(const char *path);
    bl_path_kind (*kind)(const char *path);
} bl_file_api;
extern bl_file_api bl_files;

typedef struct bl_file {
    int fd;
    uint64_t size;  /* bytes, when it was opened */
    char *path;     /* as given; for messages */
} bl_file;

/* Opens a regular file for reading. `kind` (BL_ERROR_INPUT or BL_ERROR_MODEL) is the result for a file that is missing,
 * not readable or not regular. The caller closes it; on failure *f is zeroed with fd -1. */
bl_result bl_file_open(bl_file *f, const char *path, bl_result kind);
void bl_file_close(bl_file *f); /* a closed or zeroed-with-fd -1 file is accepted */
/* Reads exactly `n` bytes at `offset`; a range outside the file as it was opened is an error of `kind`, and so is a file that has
 * become shorter ("changed while it was read"). */
bl_result bl_file_read_at(const bl_file *f, void *buf, size_t n, uint64_t offset, bl_result kind);
/* Reads a whole file of at most `max` bytes into *data (freed by bl_free; a 0 byte follows the contents). */
bl_result bl_file_read_all(const char *path, size_t max, uint8_t **data, size_t *size, bl_result kind);
/* Writes `path` so that it holds either its old contents or all of the new ones: a temporary file beside it (".NAME.part-PID-n"), fsync,
 * rename, fsync of the directory. A symbolic link at `path` is replaced, not followed. BL_ERROR_OUTPUT with nothing left behind on
 * failure; when only the last fsync fails the new contents are in place but may not survive a power cut, which is an error too. */
bl_result bl_file_write_atomic(const char *path, const void *data, size_t size);
/* "dir/name", freed by bl_free; NULL when memory runs out. */
char *bl_path_join(const char *dir, const char *name);
/* Follow symbolic links. A file is a regular one; these are false also when the path cannot be looked at. */
bool bl_path_is_directory(const char *path);
bool bl_path_is_file(const char *path);
/* False only when nothing is there: for files that may be absent, but not passed over because a disk has failed. */
bool bl_path_exists(const char *path);
#endif
