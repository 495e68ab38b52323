/* blemish: finds the command and runs it. Layer 6. */
#include "commands.h"
#include "output.h"
#include "signals.h"
#include <string.h>

static int run_help(const command *self, int argc, char **argv);

static const command command_help = {
    .name = "help", .summary = "how a command is used", .usage = "[COMMAND]", .text = "Explains a command, or lists them all.",
    .operand = "COMMAND", .operand_max = 1, .run = run_help,
};

static const command *const commands[] = {
    &command_generate, &command_sheet, &command_devices, &command_inspect, &command_tokens, &command_verify, &command_version,
    &command_help,
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

static void overview(FILE *out)
{
    fprintf(out, "Usage: blemish COMMAND [options]\n\n"
                 "Training-free visual anomaly generation on any GPU.\n\nCommands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n'blemish COMMAND --help' explains a command and shows an example.\n\n"
                 "Results are on stdout, messages on stderr. Exit codes: 0 fine, 1 a result could\n"
                 "not be written or some pictures failed, 2 usage, 3 photo, mask or prompt,\n"
                 "4 model, 5 device, 6 memory, 7 a comparison failed, 130 interrupted (143 by\n"
                 "SIGTERM).\n");
}

static int unknown_command(const char *name)
{
    report(NULL, "unknown command \"%s\"", name);
    fprintf(stderr, "See 'blemish help'.\n");
    return EXIT_USAGE;
}

static int run_help(const command *self, int argc, char **argv)
{
    operands rest;
    if (!options_parse(self, argc, argv, NULL, &rest))
        return EXIT_USAGE;
    const command *c = rest.count ? find_command(rest.items[0]) : NULL;
    if (rest.count && !c)
        return unknown_command(rest.items[0]);
    if (c)
        options_help(c, stdout);
    else
        overview(stdout);
    return 0;
}

/* --help works anywhere, whatever stands beside it. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        overview(stderr);
        return EXIT_USAGE;
    }
    const char *name = !strcmp(argv[1], "--version") ? "version" : argv[1];
    const command *c = find_command(name);
    if (wants_help(argc, argv) && (c || name[0] == '-')) {
        if (c)
            options_help(c, stdout);
        else
            overview(stdout);
        return 0;
    }
    return c ? c->run(c, argc - 1, argv + 1) : unknown_command(name);
}

int main(int argc, char **argv)
{
    signals_install();
    const int code = dispatch(argc, argv);
    return output_finish() || code ? code : EXIT_OUTPUT;
}
