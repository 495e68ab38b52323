/* blemish version. Layer 6. */
#include "commands.h"
#include "output.h"
#include "blemish.h"

typedef struct version_values {
    bool json;
} version_values;

static int run(const command *self, int argc, char **argv)
{
    version_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    if (values.json)
        return print_json(json_pack("{s:s, s:s}", "name", "blemish", "version", bl_version())) ? 0 : -BL_ERROR_MEMORY;
    print_line("blemish %s", bl_version());
    return 0;
}

static const cli_option options[] = {
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(version_values, json), .help = "print a JSON object" },
};

const command command_version = {
    .name = "version", .summary = "the version of this program", .usage = "[--json]", .text = "Prints \"blemish\" and the version.",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .run = run,
};
