#include "session.h"
#include "output.h"
#include "plan_file.h"
#include "signals.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- callbacks --------------------------------------------------------------------------------------------------------- */

static void on_log(void *user, bl_log_level level, const char *text)
{
    static const char *const names[] = { "error: ", "warning: ", "", "" };
    session *s = user;
    const bl_log_level most = s->on->quiet ? BL_LOG_ERROR : s->on->verbose ? BL_LOG_DEBUG : BL_LOG_WARNING;
    if (level > most)
        return;
    progress_clear(&s->progress);
    report(s->command, "%s%s", names[level], text);
}

static void on_progress(void *user, const char *stage, uint32_t done, uint32_t total)
{
    session *s = user;
    progress_update(&s->progress, stage, done, total);
}

static int on_cancel(void *user)
{
    (void)user;
    return signals_stop();
}

/* --- cache folder ------------------------------------------------------------------------------------------------------ */

/* Makes `path` and the folders above it; false with errno set. */
static bool make_folders(const char *path)
{
    char part[SESSION_PATH_MAX];
    const size_t length = strlen(path);
    if (length >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (size_t i = 1; i <= length; i++)
        if (!path[i] || path[i] == '/') {
            memcpy(part, path, i);
            part[i] = 0;
            if (mkdir(part, 0777) && errno != EEXIST && errno != EISDIR && errno != EROFS && errno != EACCES)
                return false;
        }
    struct stat info;
    if (stat(path, &info))
        return false;
    errno = ENOTDIR;
    return S_ISDIR(info.st_mode);
}

const char *session_cache_path(const char *option, char out[SESSION_PATH_MAX])
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (option)
        n = snprintf(out, SESSION_PATH_MAX, "%s", option);
    else if (xdg && *xdg == '/') /* relative ones are to be ignored (XDG base directory specification) */
        n = snprintf(out, SESSION_PATH_MAX, "%s/blemish", xdg);
    else if (home && *home == '/')
        n = snprintf(out, SESSION_PATH_MAX, "%s/.cache/blemish", home);
    else
        return NULL;
    errno = ENAMETOOLONG;
    return n > 0 && n < SESSION_PATH_MAX ? out : NULL;
}

/* The folder to use, made if need be; NULL: none. */
static const char *cache_folder(session *s, char out[SESSION_PATH_MAX])
{
    *out = 0;
    if (s->on->no_cache)
        return NULL;
    const char *path = session_cache_path(s->on->cache_dir, out);
    if (path && make_folders(path))
        return path;
    if (*out && (s->on->cache_dir || s->on->verbose))
        session_say(s, "warning: compiled kernels are not kept: %s: %s", out, strerror(errno));
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------------------------------- */

void session_begin(session *s, const command *c, const session_options *on)
{
    *s = (session){ .command = c->name, .on = on };
    progress_start(&s->progress, c->name, on->quiet ? "none" : on->progress);
}

bl_result session_open(session *s)
{
    const session_options *on = s->on;
    char cache[SESSION_PATH_MAX], *plan = NULL;
    if (on->plan) {
        const bl_result result = plan_file_read(s, on->plan, &plan);
        if (result != BL_OK)
            return result;
    }
    bl_context_options options = BL_CONTEXT_OPTIONS_INIT;
    options.device = on->device;
    options.caps = on->caps;
    options.precision = !strcmp(on->precision, "f32")   ? BL_PRECISION_F32
                        : !strcmp(on->precision, "f16") ? BL_PRECISION_F16
                                                        : BL_PRECISION_AUTO;
    options.max_memory = on->max_memory;
    options.cache_dir = cache_folder(s, cache);
    options.no_selftest = on->no_selftest;
    options.plan = plan;
    options.no_tune = on->no_tune || on->plan; /* a picture's plan may be the table */
    options.log = on_log;
    options.progress = on_progress;
    options.cancel = on_cancel;
    options.user = s;
    const bl_result result = bl_context_create(&options, &s->context); /* which warns of a software device */
    free(plan);
    return result;
}

void session_close(session *s)
{
    progress_clear(&s->progress);
    bl_context_destroy(&s->context);
}

/* --- messages ---------------------------------------------------------------------------------------------------------- */

void session_say(session *s, const char *format, ...)
{
    if (s->on->quiet)
        return;
    va_list list;
    va_start(list, format);
    progress_clear(&s->progress);
    report_list(s->command, format, list);
    va_end(list);
}

int session_exit_code(bl_result r)
{
    return r == BL_ERROR_CANCELLED ? 128 + (signals_stop() ? signals_stop() : 2) : -(int)r;
}

bl_result session_note(session *s, bl_result r, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(s->reason, sizeof(s->reason), format, list);
    va_end(list);
    return r;
}

const char *session_reason(const session *s, bl_result r)
{
    return r == BL_ERROR_CANCELLED ? "interrupted" : *s->reason ? s->reason : bl_last_error();
}

int session_fail(session *s, bl_result r)
{
    progress_clear(&s->progress);
    report(s->command, "%s", session_reason(s, r));
    return session_exit_code(r);
}

/* --- what was used ------------------------------------------------------------------------------------------------------ */

static void say_kernel(void *user, const char *name) { session_say(user, "kernel: %s", name); }

void session_describe(session *s)
{
    if (!s->on->verbose || !s->context)
        return;
    const bl_device_info *d = bl_context_device(s->context);
    session_say(s, "device: %u %s (%s), %s, Vulkan %s", d->index, d->name, d->type, d->driver, d->api);
    session_say(s, "precision: %s, capabilities: %s", bl_context_precision(s->context), bl_context_caps(s->context));
    bl_context_kernels(s->context, say_kernel, s);
}

static void append_kernel(void *user, const char *name)
{
    json_t **list = user;
    if (*list && json_array_append_new(*list, json_text(name))) {
        json_decref(*list);
        *list = NULL;
    }
}

bool session_add_json(const session *s, json_t *object)
{
    if (!s->context)
        return true;
    const bl_device_info *d = bl_context_device(s->context);
    json_t *kernels = json_array();
    bl_context_kernels(s->context, append_kernel, &kernels);
    json_t *device = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "index", (int)d->index, "name", json_text(d->name),
                               "uuid", json_text(d->uuid), "type", json_text(d->type), "driver", json_text(d->driver),
                               "api", json_text(d->api));
    return !json_object_set_new(object, "device", device) &&
           !json_object_set_new(object, "precision", json_text(bl_context_precision(s->context))) &&
           !json_object_set_new(object, "caps", json_text(bl_context_caps(s->context))) && !json_object_set_new(object, "kernels", kernels);
}

json_t *session_error_json(const session *s, bl_result r)
{
    return json_pack("{s:i, s:o, s:o}", "code", session_exit_code(r), "name", json_text(bl_result_name(r)), "message",
                     json_text(session_reason(s, r)));
}
