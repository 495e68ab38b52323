/* blemish devices: which GPUs there are and what they can do. Layer 6. */
#include "commands.h"
#include "output.h"
#include "session.h"
#include <stdlib.h>

typedef struct devices_values {
    bool json;
} devices_values;

static json_t *device_json(const bl_device_info *d)
{
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:i, s:i, s:i, s:b, s:o}", "index", (int)d->index, "name",
                     json_text(d->name), "uuid", json_text(d->uuid), "type", json_text(d->type), "driver", json_text(d->driver), "api",
                     json_text(d->api), "caps", json_text(d->caps), "memory", (json_int_t)d->memory, "max_binding",
                     (json_int_t)d->max_binding, "max_allocation", (json_int_t)d->max_allocation, "subgroup_size", (int)d->subgroup_size,
                     "max_invocations", (int)d->max_invocations, "max_shared", (int)d->max_shared, "usable", d->usable, "problem",
                     json_text(d->problem));
}

static bool print_as_json(const bl_device_info *infos, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count && list; i++)
        if (json_array_append_new(list, device_json(&infos[i]))) {
            json_decref(list);
            list = NULL;
        }
    return print_json(list);
}

static bool print_as_table(const bl_device_info *infos, uint32_t count)
{
    static const char *const headings[] = { "index", "name", "type", "driver", "api", "memory", "caps", "uuid", "problem" };
    table t = { .columns = sizeof(headings) / sizeof(headings[0]), .align = "rllllrlll" };
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, "%s", headings[i]);
    for (const bl_device_info *d = infos; d < infos + count; d++) {
        char memory[16];
        const char *const cells[] = { d->name, d->type, d->driver, d->api, format_bytes(memory, (double)d->memory), d->caps, d->uuid,
                                      d->usable ? "" : d->problem };
        table_add(&t, "%u", d->index);
        for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
            table_add(&t, "%s", cells[i]);
    }
    return table_print(&t);
}

static int run(const command *self, int argc, char **argv)
{
    enum { FIRST_GUESS = 16 };
    devices_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;

    int code = -BL_ERROR_MEMORY;
    uint32_t room = FIRST_GUESS, count = 0;
    bl_device_info *infos = calloc(room, sizeof(*infos));
    bl_result result = infos ? bl_devices(infos, room, &count) : BL_OK;
    if (infos && result == BL_OK && count > room) {
        free(infos);
        room = count;
        infos = calloc(room, sizeof(*infos));
        result = infos ? bl_devices(infos, room, &count) : BL_OK;
        count = count < room ? count : room; /* one more may have been plugged in */
    }
    if (!infos) {
        report(self->name, "host memory ran out");
        return code;
    }
    const bool printed = values.json ? print_as_json(infos, count) : !count || print_as_table(infos, count);
    if (result != BL_OK) {
        report(self->name, "%s", bl_last_error());
        code = session_exit_code(result);
    } else if (!count) {
        report(self->name, "no Vulkan device: install the driver of the GPU, or Mesa's software driver (Debian: mesa-vulkan-drivers)");
        code = -BL_ERROR_DEVICE;
    } else if (printed) {
        code = 0;
    }
    free(infos);
    return code;
}

static const cli_option options[] = {
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(devices_values, json),
      .help = "print a JSON array, with more limits of each device" },
};

const command command_devices = {
    .name = "devices", .summary = "the devices that can compute, and what they can do", .usage = "[--json]",
    .text = "Lists the Vulkan devices of this machine. --device of the other commands takes\n"
            "the index, the UUID (which stays the same) or a part of the name.\n"
            "Without any device the exit code is 5.",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .run = run,
};
