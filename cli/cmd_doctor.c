/* blemish doctor: one block to paste into a report. Layer 6. */
#include "commands.h"
#include "output.h"
#include "session.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct doctor_values {
    const char *cache_dir;
    bool json;
} doctor_values;

enum { WIDTH = 79, INDENT = 14 };

/* "  name        text", wrapped between words; a word that is too long for a line has one of its own. */
static void print_entry(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);
static void print_entry(const char *name, const char *format, ...)
{
    char text[2048], line[WIDTH + 1];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    text_clean(text);
    size_t n = (size_t)snprintf(line, sizeof(line), "%-*s", INDENT, name);
    for (const char *p = text + strspn(text, " "); *p; p += strspn(p, " ")) {
        const size_t length = strcspn(p, " ");
        if (n > INDENT && n + 1 + length > WIDTH) {
            print_line("%s", line);
            n = (size_t)snprintf(line, sizeof(line), "%*s", INDENT, "");
        }
        if (n + 1 + length > WIDTH) { /* as it is, so that it can be copied */
            print_line("%s%.*s", line, (int)length, p);
            n = (size_t)snprintf(line, sizeof(line), "%*s", INDENT, "");
        } else {
            n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%.*s", n > INDENT ? " " : "", (int)length, p);
        }
        p += length;
    }
    if (n > INDENT)
        print_line("%s", line);
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
static double number_at(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

/* --- the report as text -------------------------------------------------------------------------------------------------- */

static void print_tiers(const json_t *device)
{
    const json_t *tier;
    size_t i;
    json_array_foreach(json_object_get(device, "tiers"), i, tier)
    {
        char label[INDENT + 1];
        const bool there = json_is_true(json_object_get(tier, "there"));
        snprintf(label, sizeof(label), "%s%-7s", i ? "       " : "  tier ", text_at(tier, "name"));
        if (there)
            print_entry(label, "yes: %s", text_at(tier, "use"));
        else
            print_entry(label, "no: needs %s", text_at(tier, "needs"));
    }
}

static void print_device(const json_t *d)
{
    char heap[16], spare[16], shared[16], binding[16], allocation[16];
    const json_t *memory = json_object_get(d, "memory"), *limits = json_object_get(d, "limits"), *quirk;
    const json_t *timestamps = json_object_get(d, "timestamps"), *tuning = json_object_get(d, "tuning");
    const double right = number_at(json_object_get(d, "selftest"), "right"), bits = number_at(timestamps, "bits");
    size_t i;
    print_line("%s", "");
    print_entry("device", "%.0f: %s%s%s", number_at(d, "index"), text_at(d, "name"), *text_at(d, "problem") ? ", cannot be used: " : "",
                text_at(d, "problem"));
    print_entry("  type", "%s, PCI %s, UUID %s", text_at(d, "type"), text_at(d, "pci"), text_at(d, "uuid"));
    print_entry("  driver", "%s (id %.0f, version %s), Vulkan %s", text_at(d, "driver"), number_at(d, "driver_id"),
                text_at(d, "driver_version"), text_at(d, "api"));
    print_entry("  memory", "%s, of which this process may have %s%s", format_bytes(heap, number_at(memory, "heap")),
                format_bytes(spare, number_at(memory, "free")),
                json_is_true(json_object_get(memory, "budget")) ? " now" : " (the driver does not say what is free)");
    print_entry("  limits", "workgroup %.0f lanes and %s, subgroup %.0f lanes, binding %s, allocation %s, %.0f storage buffers",
                number_at(limits, "invocations"), format_bytes(shared, number_at(limits, "shared")), number_at(limits, "subgroup"),
                format_bytes(binding, number_at(limits, "binding")), format_bytes(allocation, number_at(limits, "allocation")),
                number_at(limits, "storage_buffers"));
    print_tiers(d);
    if (bits > 0)
        print_entry("  timestamps", "%.0f bits of %g ns", bits, number_at(timestamps, "ns"));
    else
        print_entry("  timestamps", "none: times are those of the host");
    print_entry("  watchdog", "%s; submissions here take 0.1 s", text_at(d, "watchdog"));
    if (right > 0)
        print_entry("  self-test", "%.0f kernels are known to be right with this driver", right);
    else
        print_entry("  self-test", "none yet with this driver ('blemish selftest')");
    if (json_is_true(json_object_get(tuning, "there")))
        print_entry("  tuning", "in use: %.0f choices are not the default", number_at(tuning, "choices"));
    else
        print_entry("  tuning", "none with this driver and these kernels ('blemish tune')");
    json_array_foreach(json_object_get(d, "quirks"), i, quirk)
        print_entry(i ? "" : "  known", "- %s %s", text_at(quirk, "text"), text_at(quirk, "link"));
}

static void print_report(const json_t *report)
{
    const json_t *loader = json_object_get(report, "loader"), *cache = json_object_get(report, "cache"), *item;
    const bool found = json_is_true(json_object_get(loader, "found"));
    const char *name, *problem = text_at(loader, "problem");
    char size[16];
    double bytes = 0;
    size_t i;
    print_entry("blemish", "%s, %s", text_at(report, "version"), text_at(report, "system"));
    json_array_foreach(json_object_get(cache, "files"), i, item)
        bytes += number_at(item, "bytes");
    if (json_is_string(json_object_get(cache, "dir")))
        print_entry("cache", "%s (files: %zu, %s)", text_at(cache, "dir"), json_array_size(json_object_get(cache, "files")),
                    format_bytes(size, bytes));
    else
        print_entry("cache", "none: neither XDG_CACHE_HOME nor HOME is set");
    i = 0;
    json_object_foreach((json_t *)json_object_get(report, "environment"), name, item)
        print_entry(i++ ? "" : "environment", "%s=%s", name, json_string_value(item));
    if (found)
        print_entry("loader", "Vulkan %s%s%s", text_at(loader, "version"), *problem ? ", but: " : "", problem);
    else
        print_entry("loader", "%s", problem);
    if (found && !json_array_size(json_object_get(report, "devices")))
        print_entry("devices", "none: install the driver of the GPU, or Mesa's software driver (Debian: mesa-vulkan-drivers)");
    json_array_foreach(json_object_get(report, "devices"), i, item)
        print_device(item);
}

/* --- asking the drivers, which may crash ----------------------------------------------------------------------------------- */

/* Makes the report and writes it to `to`. */
static void make_report(const char *cache, int to)
{
    char *text = NULL;
    if (bl_doctor(cache, &text) == BL_OK)
        for (size_t at = 0, size = strlen(text); at < size;) {
            const ssize_t n = write(to, text + at, size - at);
            if (n < 0 && errno != EINTR)
                break;
            at += n > 0 ? (size_t)n : 0;
        }
    bl_text_free(text);
}

/* The report of another process: a driver that crashes takes only that one along. NULL with a message. */
static json_t *ask(const command *self, const char *cache)
{
    int ends[2], status = 0;
    json_error_t error;
    if (pipe(ends)) {
        report(self->name, "no pipe: %s", strerror(errno));
        return NULL;
    }
    const pid_t child = fork();
    if (!child) {
        close(ends[0]);
        make_report(cache, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    FILE *in = child > 0 ? fdopen(ends[0], "r") : NULL;
    json_t *json = in ? json_loadf(in, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (in)
        fclose(in);
    else
        close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!json && child > 0 && WIFSIGNALED(status))
        report(self->name, "a Vulkan driver or layer crashed (signal %d) while the devices were listed; VK_LOADER_DEBUG=all shows which",
               WTERMSIG(status));
    else if (!json)
        report(self->name, "no report: %s", child > 0 ? "host memory ran out" : strerror(errno));
    return json;
}

static int run(const command *self, int argc, char **argv)
{
    doctor_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    char folder[SESSION_PATH_MAX];
    const char *cache = session_cache_path(values.cache_dir, folder);
    json_t *json = ask(self, cache);
    if (!json)
        return -BL_ERROR_DEVICE;
    const json_t *device;
    bool usable = false;
    size_t i;
    json_array_foreach(json_object_get(json, "devices"), i, device)
        usable |= json_is_true(json_object_get(device, "usable"));
    if (values.json) {
        print_json(json); /* takes it over */
    } else {
        print_report(json);
        json_decref(json);
    }
    return usable ? 0 : -BL_ERROR_DEVICE;
}

static const cli_option options[] = {
    { .name = "cache-dir", .argument = "DIR", .type = OPTION_PATH, .where = offsetof(doctor_values, cache_dir), .env = "BLEMISH_CACHE_DIR",
      .help = "folder for compiled kernels, as the other commands have it", .otherwise = "$XDG_CACHE_HOME/blemish or ~/.cache/blemish" },
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(doctor_values, json), .help = "print one JSON object instead of text" },
};

const command command_doctor = {
    .name = "doctor", .summary = "what may matter when something does not work, to paste into a report", .usage = "[options]",
    .text = "Prints what Vulkan is there: loader, drivers, devices with their memory,\n"
            "limits and tiers, and why a tier is not there; what resets a busy device, what\n"
            "is known of the driver, what the self-test and tune found, where the cache\n"
            "is. Nothing is computed. Exit code 5 without a device that can be used.",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .run = run,
};
