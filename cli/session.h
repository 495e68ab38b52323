/* What the commands that compute have in common: options for device, cache and messages, and the context they make. Layer 6. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H
#include "blemish.h"
#include "options.h"
#include "progress.h"
#include <jansson.h>

typedef struct session_options {
    const char *device, *caps, *precision, *cache_dir, *plan, *progress;
    uint64_t max_memory;
    bool no_cache, no_selftest, no_tune, verbose, quiet, json;
} session_options;

/* Their rows; `type` is the command's struct of values, which has a session_options named `on`. */
#define SESSION_OPTIONS(values) \
    { .group = "Device", .name = "device", .letter = 'd', .argument = "DEVICE", .type = OPTION_TEXT, .min = 1, \
      .where = offsetof(values, on.device), .env = "BLEMISH_DEVICE", \
      .help = "index, UUID or part of the name, as 'blemish devices' lists them", \
      .otherwise = "the best GPU, the processor if there is none" }, \
    { .name = "caps", .argument = "LIST", .type = OPTION_TEXT, .min = 1, .where = offsetof(values, on.caps), .env = "BLEMISH_CAPS", \
      .help = "use only these capabilities of the device: s16,sg,...; \"base\" for none; lower its limits: invocations=128," \
              " shared=16K, binding=64M, allocation=256M", .otherwise = "all it has" }, \
    { .name = "precision", .argument = "TYPE", .type = OPTION_CHOICE, .choices = "auto|f32|f16", .value = "auto", \
      .where = offsetof(values, on.precision), \
      .help = "storage of weights and activations; auto is f16 on a GPU that stores 16 bit, else f32" }, \
    { .name = "max-memory", .argument = "SIZE", .type = OPTION_SIZE, .where = offsetof(values, on.max_memory), \
      .env = "BLEMISH_MAX_MEMORY", .help = "device memory held at most, such as 3G or 500M", \
      .otherwise = "what the driver reports free" }, \
    { .name = "cache-dir", .argument = "DIR", .type = OPTION_PATH, .where = offsetof(values, on.cache_dir), .env = "BLEMISH_CACHE_DIR", \
      .help = "folder for compiled kernels; the second start is faster", .otherwise = "$XDG_CACHE_HOME/blemish or ~/.cache/blemish" }, \
    { .name = "no-cache", .type = OPTION_FLAG, .where = offsetof(values, on.no_cache), .excludes = "cache-dir", \
      .help = "neither read nor write compiled kernels" }, \
    { .name = "no-selftest", .type = OPTION_FLAG, .where = offsetof(values, on.no_selftest), .env = "BLEMISH_NO_SELFTEST", \
      .help = "take kernels as the driver compiled them; by itself every one computes known answers before its first use on a device" \
              " and driver" }, \
    { .name = "plan", .argument = "FILE", .type = OPTION_PATH, .where = offsetof(values, on.plan), .excludes = "no-tune", \
      .help = "choose kernels as this plan of 'blemish tune --out' says, or as the picture FILE was made", \
      .otherwise = "what 'blemish tune' has found on this device, if it ran" }, \
    { .name = "no-tune", .type = OPTION_FLAG, .where = offsetof(values, on.no_tune), .env = "BLEMISH_NO_TUNE", \
      .help = "choose kernels by their table, whatever 'blemish tune' has found" }, \
    { .group = "Messages", .name = "progress", .argument = "HOW", .type = OPTION_CHOICE, .choices = "auto|bar|line|none", .value = "auto", \
      .where = offsetof(values, on.progress), .help = "on stderr; auto is a bar on a terminal, in a pipe a line every 2 seconds" }, \
    { .name = "verbose", .letter = 'v', .type = OPTION_FLAG, .where = offsetof(values, on.verbose), .excludes = "quiet", \
      .help = "tell the device, capabilities, kernels that ran, memory and time" }, \
    { .name = "quiet", .letter = 'q', .type = OPTION_FLAG, .where = offsetof(values, on.quiet), \
      .help = "no messages but errors, no progress" }, \
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(values, on.json), .help = "print one JSON object on stdout instead of text" }

typedef struct session {
    const char *command;
    const session_options *on;
    progress progress;
    bl_context *context;
    char reason[1024]; /* of a failure outside the library; "": ask the library */
} session;

enum { SESSION_PATH_MAX = 4096 };
/* The cache folder, in `out` or the option's text, whether or not it is there; NULL: none can be named, or the path is too long. */
const char *session_cache_path(const char *option, char out[SESSION_PATH_MAX]);
/* Sets up messages and progress; the session must stay where it is from here on. */
void session_begin(session *s, const command *c, const session_options *on);
/* Creates the context. */
bl_result session_open(session *s);
void session_close(session *s);
/* A message of the normal kind: not under --quiet; takes the bar off the screen first. */
void session_say(session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Notes why something outside the library failed, as bl_fail does inside; returns `r`. */
bl_result session_note(session *s, bl_result r, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The reason of the last failure, in words. */
const char *session_reason(const session *s, bl_result r);
/* Says why something failed, and returns the exit code: 130 or 143 after a signal, else that of `r`. */
int session_fail(session *s, bl_result r);
int session_exit_code(bl_result r);
/* Under --verbose: the device, precision, capabilities and kernels that ran. */
void session_describe(session *s);
/* Adds "device", "precision", "caps" and "kernels" to an object; does nothing without a context. False when memory runs out. */
bool session_add_json(const session *s, json_t *object);
/* {"code": 3, "name": "input", "message": "..."} of the last failure. */
json_t *session_error_json(const session *s, bl_result r);
#endif
