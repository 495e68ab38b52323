/* blemish: finds the command and runs it. Layer 6. */
#include "commands.h"
#include "help.h"
#include "output.h"
#include "signals.h"
#include <string.h>

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
        help_overview(stderr);
        return EXIT_USAGE;
    }
    const char *name = !strcmp(argv[1], "--version") ? "version" : argv[1];
    const command *c = commands_find(name);
    if (wants_help(argc, argv) && (c || name[0] == '-')) {
        if (c)
            help_command(c, stdout);
        else
            help_overview(stdout);
        return 0;
    }
    if (c)
        return c->run(c, argc - 1, argv + 1);
    report(NULL, "unknown command \"%s\"", name);
    fprintf(stderr, "See 'blemish help'.\n");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    signals_install();
    const int code = dispatch(argc, argv);
    return output_finish() || code ? code : EXIT_OUTPUT;
}
