/* The built command line, run in a folder of its own: exit code, both streams and the files it leaves can be looked at. */
#ifndef CLI_RUNNER_H
#define CLI_RUNNER_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "blemish.h"
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { ARGS_MAX = 40 };
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* root/work is the working directory and must stay as empty as a test expects; root/out and root/err hold the streams. */
static char root[] = "/tmp/blemish-cli-XXXXXX", out_path[64], err_path[64];

/* --- running ------------------------------------------------------------------------------------------------------------ */

static inline char *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *data = calloc(1, (16u << 20) + 1);
    assert_non_null(f);
    assert_non_null(data);
    *size = fread(data, 1, 16u << 20, f);
    fclose(f);
    return data;
}

static inline pid_t start(const char *const *args, const char *stdout_path)
{
    char *argv[ARGS_MAX + 2] = { (char *)(uintptr_t)"blemish" };
    for (size_t i = 0; i < ARGS_MAX && args[i]; i++)
        argv[i + 1] = (char *)(uintptr_t)args[i];
    pid_t pid;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults); /* a test run in the background would hand down ignored signals */
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (stdout_path)
        posix_spawn_file_actions_addopen(&files, 1, stdout_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    else
        posix_spawn_file_actions_addclose(&files, 1);
    posix_spawn_file_actions_addopen(&files, 2, err_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(posix_spawn(&pid, BLEMISH_CLI, &files, &attributes, argv, environ), 0);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return pid;
}

static inline int finish(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static inline int run(const char *const *args) { return finish(start(args, out_path)); }
#define RUN(...) run((const char *const[ARGS_MAX + 1]){ __VA_ARGS__ })

static inline bool says(const char *path, const char *part)
{
    size_t size;
    char *text = read_whole(path, &size);
    const bool found = strstr(text, part) != NULL;
    free(text);
    return found;
}

static inline void assert_says(const char *path, const char *part)
{
    size_t size;
    char *text = read_whole(path, &size);
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
    free(text);
}

static inline void assert_empty(const char *path)
{
    size_t size;
    char *text = read_whole(path, &size);
    if (size)
        fail_msg("expected nothing, found \"%s\"", text);
    free(text);
}

static inline json_t *output_json(void)
{
    json_error_t error;
    json_t *json = json_load_file(out_path, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("stdout is not JSON: %s", error.text);
    return json;
}

/* Entries in the working directory, hidden ones too. */
static inline int files_here(void)
{
    DIR *d = opendir(".");
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static inline void remove_all(void)
{
    DIR *d = opendir(".");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            remove(e->d_name);
    closedir(d);
}

/* The folder of a reference checkpoint; skips, or fails on CI, where there is none. */
static inline const char *tiny_model(void)
{
    static char path[512];
    const char *reference = getenv("BLEMISH_REFERENCE");
    if (!reference && getenv("CI"))
        fail_msg("BLEMISH_REFERENCE is not set");
    if (!reference)
        skip();
    snprintf(path, sizeof(path), "%s/models/tiny15", reference ? reference : "");
    return path;
}

/* Skips, or fails on CI, where nothing can compute. */
static inline void need_device(void)
{
    if (RUN("devices") != 5)
        return;
    if (getenv("CI"))
        fail_msg("no Vulkan device");
    skip();
}

/* --- the folder ---------------------------------------------------------------------------------------------------------- */

static inline int before_each(void **state)
{
    (void)state;
    remove_all();
    return 0;
}

static inline int before_all(void **state)
{
    (void)state;
    static const char *const mine[] = { "BLEMISH_MODEL", "BLEMISH_DEVICE", "BLEMISH_CAPS" };
    char path[64];
    if (!mkdtemp(root))
        return -1;
    for (size_t i = 0; i < COUNT(mine); i++)
        unsetenv(mine[i]);
    snprintf(out_path, sizeof(out_path), "%s/out", root);
    snprintf(err_path, sizeof(err_path), "%s/err", root);
    snprintf(path, sizeof(path), "%s/cache", root);
    setenv("BLEMISH_CACHE_DIR", path, 1);
    snprintf(path, sizeof(path), "%s/work", root);
    return mkdir(path, 0700) || chdir(path);
}

static inline void remove_folder(const char *name)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    if (!chdir(path))
        remove_all();
    (void)!chdir("/");
    rmdir(path);
}

static inline int after_all(void **state)
{
    (void)state;
    static const char *const folders[] = { "work", "cache", "" };
    remove(out_path);
    remove(err_path);
    for (size_t i = 0; i < COUNT(folders); i++)
        remove_folder(folders[i]);
    return 0;
}
#endif
