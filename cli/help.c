/* Layer 6. */
#include "help.h"
#include "blemish.h"
#include "commands.h"
#include <string.h>

enum { WIDTH = 79, COLUMN = 26 };

static const char slogan[] = "Training-free visual anomaly generation on any GPU";
static const char streams[] = "Results are on stdout, messages on stderr.";
static const struct { const char *code, *meaning; } exit_codes[] = {
    { "0", "fine" }, { "1", "a result could not be written or some pictures failed" }, { "2", "usage" }, { "3", "photo, mask or prompt" },
    { "4", "model" }, { "5", "device" }, { "6", "memory" }, { "7", "a comparison failed" }, { "130", "interrupted (143 by SIGTERM)" },
};
static const cli_option help_option = { .name = "help", .letter = 'h', .help = "show this text" };

/* What an option does, with its range, default and environment, in one line. */
static void describe(const cli_option *o, char *out, size_t size)
{
    char range[160];
    options_range(o, range, sizeof(range));
    const char *fallback = o->value ? o->value : o->otherwise;
    const char *required = !o->required ? "" : o->env ? "; one of the two is required" : "; required";
    snprintf(out, size, "%s%s%s%s%s%s%s%s%s", o->help, *range ? "; " : "", o->choices ? "one of " : "", range,
             fallback ? "; default: " : "", fallback ? fallback : "", o->env ? "; environment: " : "", o->env ? o->env : "", required);
}

/* Calls `option` for every option of a command, --help last, and `group` before each section. */
static void each_option(const command *c, FILE *out, void (*group)(const char *title, FILE *out),
                        void (*option)(const cli_option *o, FILE *out))
{
    for (size_t i = 0; i < c->option_count; i++) {
        if (c->options[i].group || !i)
            group(c->options[i].group ? c->options[i].group : "Options", out);
        option(&c->options[i], out);
    }
    if (!c->option_count)
        group("Options", out);
    option(&help_option, out);
}

/* --- text -------------------------------------------------------------------------------------------------------------- */

/* Prints words from `indent` on, where the line stands, and goes on there in the next line before they pass WIDTH. */
static void print_wrapped(FILE *out, const char *text, size_t indent)
{
    size_t column = indent;
    for (const char *p = text; *p;) {
        const size_t length = strcspn(p, " ");
        if (column > indent && column + 1 + length > WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        }
        column += (size_t)fprintf(out, "%s%.*s", column > indent ? " " : "", (int)length, p);
        p += length;
        p += strspn(p, " ");
    }
    fputc('\n', out);
}

static void text_group(const char *title, FILE *out) { fprintf(out, "\n%s:\n", title); }

static void text_option(const cli_option *o, FILE *out)
{
    char head[64], text[768], letter[8] = "   ";
    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c,", o->letter);
    snprintf(head, sizeof(head), "  %s --%s%s%s", letter, o->name, o->argument ? " " : "", o->argument ? o->argument : "");
    if (strlen(head) + 2 > COLUMN)
        fprintf(out, "%s\n%*s", head, COLUMN, "");
    else
        fprintf(out, "%-*s", COLUMN, head);
    describe(o, text, sizeof(text));
    print_wrapped(out, text, COLUMN);
}

void help_command(const command *c, FILE *out)
{
    fprintf(out, "Usage: blemish %s%s%s\n\n%s\n", c->name, *c->usage ? " " : "", c->usage, c->text);
    if (c->examples)
        fprintf(out, "\nExamples:\n%s", c->examples);
    each_option(c, out, text_group, text_option);
}

void help_overview(FILE *out)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s Exit codes:", streams);
    for (size_t i = 0; i < sizeof(exit_codes) / sizeof(*exit_codes) && n > 0 && (size_t)n < sizeof(text); i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s %s %s", i ? "," : "", exit_codes[i].code, exit_codes[i].meaning);
    if (n > 0 && (size_t)n < sizeof(text))
        snprintf(text + n, sizeof(text) - (size_t)n, ".");
    fprintf(out, "Usage: blemish COMMAND [options]\n\n%s.\n\nCommands:\n", slogan);
    for (size_t i = 0; i < command_count; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n'blemish COMMAND --help' explains a command and shows an example.\n\n");
    print_wrapped(out, text, 0);
}

/* --- manual pages ------------------------------------------------------------------------------------------------------ */

/* Text as roff takes it: no hyphenation, no control line, no escape. */
static void put(const char *text, FILE *out)
{
    for (const char *p = text; *p; p++) {
        const bool begins = p == text || p[-1] == '\n';
        if (begins && (*p == '.' || *p == '\''))
            fputs("\\&", out);
        if (*p == '-')
            fputs("\\-", out);
        else if (*p == '\\')
            fputs("\\e", out);
        else
            fputc(*p, out);
    }
}

static void put_line(const char *macro, const char *text, FILE *out)
{
    fputs(macro, out);
    put(text, out);
    fputc('\n', out);
}

static void man_title(const char *name, const char *summary, FILE *out)
{
    fprintf(out, ".TH %s 1 \"\" \"blemish %s\" \"User Commands\"\n.SH NAME\n", name, bl_version());
    put(name, out);
    put_line(" \\- ", summary, out);
}

/* Lines as they stand. */
static void man_lines(const char *text, FILE *out)
{
    fputs(".nf\n", out);
    put(text, out);
    fputs(text[strlen(text) - 1] == '\n' ? ".fi\n" : "\n.fi\n", out);
}

static void man_group(const char *title, FILE *out) { fprintf(out, ".SS \"%s\"\n", title); }

static void man_option(const cli_option *o, FILE *out)
{
    char text[768];
    fputs(".TP\n", out);
    if (o->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", out);
    put(o->name, out);
    fputs("\\fR", out);
    if (o->argument) {
        fputs(" \\fI", out);
        put(o->argument, out);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    describe(o, text, sizeof(text));
    put_line("", text, out);
}

void help_man_command(const command *c, FILE *out)
{
    char name[64];
    snprintf(name, sizeof(name), "blemish-%s", c->name);
    man_title(name, c->summary, out);
    fprintf(out, ".SH SYNOPSIS\n.B blemish %s\n", c->name);
    put_line("", c->usage, out);
    fputs(".SH DESCRIPTION\n", out);
    put_line("", c->text, out);
    fputs(".SH OPTIONS\n", out);
    each_option(c, out, man_group, man_option);
    if (c->examples) {
        fputs(".SH EXAMPLES\n", out);
        man_lines(c->examples, out);
    }
    fputs(".SH SEE ALSO\n.BR blemish (1)\n", out);
}

void help_man_overview(FILE *out)
{
    man_title("blemish", slogan, out);
    fputs(".SH SYNOPSIS\n.B blemish\n.I COMMAND\n[options]\n.SH DESCRIPTION\n", out);
    put_line("", streams, out);
    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < command_count; i++) {
        fprintf(out, ".TP\n.BR blemish\\-%s (1)\n", commands[i]->name);
        put_line("", commands[i]->summary, out);
    }
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < sizeof(exit_codes) / sizeof(*exit_codes); i++) {
        fprintf(out, ".TP\n.B %s\n", exit_codes[i].code);
        put_line("", exit_codes[i].meaning, out);
    }
}
