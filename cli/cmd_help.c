/* blemish help. Layer 6. */
#include "commands.h"
#include "help.h"

typedef struct help_values {
    bool man;
} help_values;

static int run(const command *self, int argc, char **argv)
{
    help_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    const command *c = rest.count ? commands_find(rest.items[0]) : NULL;
    if (rest.count && !c)
        return options_refuse(self, "unknown command \"%s\"", rest.items[0]);
    if (c)
        (values.man ? help_man_command : help_command)(c, stdout);
    else
        (values.man ? help_man_overview : help_overview)(stdout);
    return 0;
}

static const cli_option options[] = {
    { .name = "man", .type = OPTION_FLAG, .where = offsetof(help_values, man), .help = "as a manual page, for man(1)" },
};

const command command_help = {
    .name = "help", .summary = "how a command is used", .usage = "[COMMAND] [--man]", .text = "Explains a command, or lists them all.",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "COMMAND", .operand_max = 1, .run = run,
};
