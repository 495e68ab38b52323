/* Files: reading, atomic writing, and every system call failing in turn. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "failing_files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/blemish-file-XXXXXX";
static char path[64];       /* dir/data */

static int restore(void **state)
{
    (void)state;
    bl_files = real;
    calls_left = -1;
    max_transfer = 0;
    interrupt = 0;
    return 0;
}

static void save(const char *p, const void *data, size_t size)
{
    FILE *f = fopen(p, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void assert_contents(const char *p, const char *expected)
{
    uint8_t *data;
    size_t size;
    assert_int_equal(bl_file_read_all(p, 1 << 20, &data, &size, BL_ERROR_INPUT), BL_OK);
    assert_int_equal(size, strlen(expected));
    assert_string_equal((char *)data, expected);
    bl_free(data);
}

static int entries(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static void assert_reason(const char *part)
{
    if (!strstr(bl_last_error(), part))
        fail_msg("\"%s\" does not say \"%s\"", bl_last_error(), part);
}

static void test_read(void **state)
{
    (void)state;
    bl_file f;
    char buf[8] = "";
    save(path, "0123456789", 10);
    assert_int_equal(bl_file_open(&f, path, BL_ERROR_MODEL), BL_OK);
    assert_int_equal(f.size, 10);
    assert_int_equal(bl_file_read_at(&f, buf, 4, 6, BL_ERROR_MODEL), BL_OK);
    assert_memory_equal(buf, "6789", 4);
    assert_int_equal(bl_file_read_at(&f, buf, 0, 10, BL_ERROR_MODEL), BL_OK);
    assert_int_equal(bl_file_read_at(&f, buf, 4, 7, BL_ERROR_MODEL), BL_ERROR_MODEL);
    assert_reason("outside");
    assert_int_equal(bl_file_read_at(&f, buf, 4, UINT64_MAX - 1, BL_ERROR_MODEL), BL_ERROR_MODEL);
    assert_int_equal(bl_file_read_at(&f, buf, SIZE_MAX, 0, BL_ERROR_INPUT), BL_ERROR_INPUT);
    assert_int_equal(truncate(path, 7), 0);
    assert_int_equal(bl_file_read_at(&f, buf, 4, 6, BL_ERROR_MODEL), BL_ERROR_MODEL);
    assert_reason("changed while it was read");
    bl_file_close(&f);
    assert_int_equal(f.fd, -1);
    assert_null(f.path);
    bl_file_close(&f);
}

static void test_read_all(void **state)
{
    (void)state;
    uint8_t *data;
    size_t size;
    save(path, "abc", 3);
    assert_contents(path, "abc");
    assert_int_equal(bl_file_read_all(path, 3, &data, &size, BL_ERROR_INPUT), BL_OK);
    assert_int_equal(data[3], 0);
    bl_free(data);
    assert_int_equal(bl_file_read_all(path, 2, &data, &size, BL_ERROR_INPUT), BL_ERROR_INPUT);
    assert_reason("has 3 bytes, at most 2");
    assert_null(data);
    save(path, "", 0);
    assert_contents(path, "");
}

static void test_not_a_file(void **state)
{
    (void)state;
    char pipe_path[96];
    bl_file f;
    snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", dir);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    const struct { const char *path, *reason; } cases[] = {
        { "", "no file name" }, { NULL, "no file name" }, { dir, "is a directory" }, { pipe_path, "pipe or device" },
        { "/dev/null", "pipe or device" }, { "/nonexistent/x", "No such file" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        assert_int_equal(bl_file_open(&f, cases[i].path, BL_ERROR_INPUT), BL_ERROR_INPUT);
        assert_int_equal(f.fd, -1);
        assert_reason(cases[i].reason);
        if (cases[i].path)
            assert_reason(cases[i].path);
    }
    assert_true(bl_path_is_directory(dir));
    assert_false(bl_path_is_file(dir));
    assert_true(bl_path_is_file(path));
    assert_false(bl_path_is_directory(path));
    assert_false(bl_path_is_file(pipe_path));
    assert_false(bl_path_is_file("/nonexistent/x"));
    assert_int_equal(unlink(pipe_path), 0);
}

static void test_path_join(void **state)
{
    (void)state;
    const struct { const char *dir, *name, *joined; } cases[] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" }, { "/", "b", "/b" }, { "a/b", "c/d", "a/b/c/d" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        char *p = bl_path_join(cases[i].dir, cases[i].name);
        assert_string_equal(p, cases[i].joined);
        bl_free(p);
    }
}

static void test_write(void **state)
{
    (void)state;
    assert_int_equal(bl_file_write_atomic(path, "first", 5), BL_OK);
    assert_contents(path, "first");
    assert_int_equal(bl_file_write_atomic(path, "second", 6), BL_OK);
    assert_contents(path, "second");
    assert_int_equal(bl_file_write_atomic(path, NULL, 0), BL_OK);
    assert_contents(path, "");
    assert_int_equal(entries(), 1);

    char cwd[1024]; /* a bare name: the current directory is the one to write and synchronise */
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(bl_file_write_atomic("bare", "x", 1), BL_OK);
    assert_contents("bare", "x");
    assert_int_equal(unlink("bare"), 0);
    assert_int_equal(chdir(cwd), 0);

    char link_path[96];
    snprintf(link_path, sizeof(link_path), "%s/link", dir);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(bl_file_write_atomic(link_path, "new", 3), BL_OK);
    assert_contents(link_path, "new");
    assert_contents(path, ""); /* not followed */
    assert_int_equal(unlink(link_path), 0);
}

static void test_write_names(void **state)
{
    (void)state;
    char name[400], stale[128];
    const char *const bad[] = { "", ".", "..", "/", "a/", "a/.." };
    for (size_t i = 0; i < BL_COUNT(bad); i++) {
        assert_int_equal(bl_file_write_atomic(bad[i], "x", 1), BL_ERROR_OUTPUT);
        assert_reason("does not name a file");
    }
    assert_int_equal(bl_file_write_atomic(dir, "x", 1), BL_ERROR_OUTPUT); /* a directory */
    assert_int_equal(bl_file_write_atomic("/nonexistent/x", "x", 1), BL_ERROR_OUTPUT);
    assert_reason("No such file");

    /* The longest legal name, of two-byte characters: the temporary name has to be shorter than it, cut between characters. */
    int n = snprintf(name, sizeof(name), "%s/", dir);
    for (int i = 0; i < 127; i++)
        n += snprintf(name + n, sizeof(name) - (size_t)n, "\xc3\xa4");
    snprintf(name + n, sizeof(name) - (size_t)n, "x");
    assert_int_equal(bl_file_write_atomic(name, "long", 4), BL_OK);
    assert_contents(name, "long");
    assert_int_equal(unlink(name), 0);

    /* A file left behind by a dead process with our number is neither used nor removed. */
    snprintf(stale, sizeof(stale), "%s/.data.part-%ld-0", dir, (long)getpid());
    save(stale, "stale", 5);
    assert_int_equal(bl_file_write_atomic(path, "fresh", 5), BL_OK);
    assert_contents(path, "fresh");
    assert_contents(stale, "stale");
    assert_int_equal(unlink(stale), 0);
    assert_int_equal(entries(), 1);
}

static void test_short_and_interrupted(void **state)
{
    (void)state;
    uint8_t *data;
    size_t size;
    use_faulty(-1, 0, 0);
    max_transfer = 3;
    interrupt = 2;
    bl_files.size = real.size; /* these two are not interruptible */
    bl_files.rename = real.rename;
    assert_int_equal(bl_file_write_atomic(path, "0123456789", 10), BL_OK);
    assert_int_equal(opened, 0);
    assert_int_equal(bl_file_read_all(path, 100, &data, &size, BL_ERROR_INPUT), BL_OK);
    assert_int_equal(size, 10);
    assert_memory_equal(data, "0123456789", 10);
    assert_int_equal(opened, 0);
    bl_free(data);
}

static int64_t write_nothing(int fd, const void *buf, size_t n)
{
    (void)fd, (void)buf, (void)n;
    return 0;
}

static void test_write_failures(void **state)
{
    (void)state;
    const struct { int number; const char *words; } reasons[] = {
        { ENOSPC, "No space left" }, { EIO, "Input/output" }, { EROFS, "Read-only" },
    };
    save(path, "old", 3);
    for (size_t r = 0; r < BL_COUNT(reasons); r++)
        for (int once = 0; once < 2; once++) {
            int n = 0;
            for (;; n++) {
                use_faulty(n, reasons[r].number, once);
                max_transfer = 2;
                const bl_result result = bl_file_write_atomic(path, "brand new", 9);
                const int still_open = opened;
                restore(NULL);
                assert_int_equal(still_open, 0);
                assert_int_equal(entries(), 1); /* no temporary file */
                if (result == BL_OK)
                    break;
                assert_int_equal(result, BL_ERROR_OUTPUT);
                assert_reason(reasons[r].words);
                assert_reason(path);
                if (strstr(bl_last_error(), "durable")) {
                    assert_contents(path, "brand new");
                    save(path, "old", 3);
                } else {
                    assert_contents(path, "old");
                }
            }
            assert_int_equal(n, 1 + 5 + 1 + 1 + 1 + 1); /* open, writes of 2, fsync, close, rename, fsync of the directory */
            save(path, "old", 3);
        }

    use_faulty(-1, 0, 0); /* a device that takes nothing and does not say why must not be tried for ever */
    bl_files.write = write_nothing;
    assert_int_equal(bl_file_write_atomic(path, "brand new", 9), BL_ERROR_OUTPUT);
    restore(NULL);
    assert_contents(path, "old");
    assert_int_equal(entries(), 1);
}

static void test_directory_without_sync(void **state)
{
    (void)state;
    const int harmless[] = { EINVAL, EACCES, EOPNOTSUPP };
    for (size_t i = 0; i < BL_COUNT(harmless); i++) {
        use_faulty(0, harmless[i], 0);
        bl_files = real;
        bl_files.sync_directory = t_sync_directory;
        assert_int_equal(bl_file_write_atomic(path, "kept", 4), BL_OK);
        restore(NULL);
        assert_contents(path, "kept");
    }
}

static void test_read_failures(void **state)
{
    (void)state;
    uint8_t *data;
    size_t size;
    save(path, "0123456789", 10);
    int n = 0;
    for (;; n++) {
        use_faulty(n, EIO, 1);
        max_transfer = 4;
        const bl_result result = bl_file_read_all(path, 100, &data, &size, BL_ERROR_MODEL);
        const int still_open = opened, left = calls_left;
        restore(NULL);
        assert_int_equal(still_open, 0);
        if (result == BL_OK) {
            bl_free(data);
            if (left > 0) /* the call that was to fail has not come */
                break;
            continue;     /* a failing close of a file that was read harms nobody */
        }
        assert_int_equal(result, BL_ERROR_MODEL);
        assert_null(data);
        assert_reason("Input/output");
    }
    assert_true(n >= 6); /* open, size, three reads, close */
}

static int allocations_left;

static void *scarce(void *p, size_t size)
{
    return allocations_left-- > 0 ? realloc(p, size) : NULL;
}

static void test_memory_failures(void **state)
{
    (void)state;
    const bl_memory_api memory = bl_memory;
    uint8_t *data;
    size_t size;
    save(path, "old", 3);
    int n[2] = { 0, 0 };
    for (int write = 0; write < 2; write++)
        for (;; n[write]++) {
            bl_memory.resize = scarce;
            allocations_left = n[write];
            const bl_result result = write ? bl_file_write_atomic(path, "new", 3) : bl_file_read_all(path, 9, &data, &size, BL_ERROR_INPUT);
            bl_memory = memory;
            assert_int_equal(entries(), 1);
            if (result == BL_OK)
                break;
            assert_int_equal(result, BL_ERROR_MEMORY);
            assert_contents(path, "old");
        }
    bl_free(data);
    assert_int_equal(n[0], 2);
    assert_int_equal(n[1], 1);
    bl_memory.resize = scarce;
    allocations_left = 0;
    char *joined = bl_path_join("a", "b");
    bl_memory = memory;
    assert_null(joined);
}

static int setup(void **state)
{
    (void)state;
    real = bl_files;
    calls_left = -1;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/data", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_read, restore), cmocka_unit_test_teardown(test_read_all, restore),
        cmocka_unit_test_teardown(test_not_a_file, restore), cmocka_unit_test_teardown(test_path_join, restore),
        cmocka_unit_test_teardown(test_write, restore), cmocka_unit_test_teardown(test_write_names, restore),
        cmocka_unit_test_teardown(test_short_and_interrupted, restore), cmocka_unit_test_teardown(test_write_failures, restore),
        cmocka_unit_test_teardown(test_directory_without_sync, restore), cmocka_unit_test_teardown(test_read_failures, restore),
        cmocka_unit_test_teardown(test_memory_failures, restore),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
