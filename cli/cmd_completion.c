/* blemish completion: scripts for bash, zsh and fish, from the tables of options. Layer 6.
 *
 * What an option's value may be is read off its row: the choices; the lower-case words of its argument ("FILE|auto|none"); and file names
 * where the argument is one. */
#include "commands.h"
#include "output.h"
#include <ctype.h>
#include <string.h>

/* Calls `word` for each literal value of an option; how many there are. */
static int each_word(const cli_option *o, void (*word)(const char *text, int length))
{
    int count = 0;
    for (const char *p = o->choices ? o->choices : o->argument ? o->argument : ""; *p; p += strcspn(p, "|"), p += *p == '|')
        if (o->choices || islower((unsigned char)*p)) {
            word(p, (int)strcspn(p, "|"));
            count++;
        }
    return count;
}

static void print_word(const char *text, int length) { printf(" %.*s", length, text); }
static void no_word(const char *text, int length) { (void)text, (void)length; }
static bool has_words(const cli_option *o) { return each_word(o, no_word) > 0; }
static bool is_file(const cli_option *o) { return o->type == OPTION_PATH; }

/* How much of a help text is its first clause. */
static size_t clause(const char *text)
{
    size_t i = 0;
    while (text[i] && !(strchr(";:.", text[i]) && (text[i + 1] == ' ' || !text[i + 1])))
        i++;
    return i;
}

/* --- bash --------------------------------------------------------------------------------------------------------------- */

static void bash_command(const command *c)
{
    printf("    %s)\n        case $previous in\n", c->name);
    for (const cli_option *o = c->options; o < c->options + c->option_count; o++) {
        if (!o->argument)
            continue;
        printf("        --%s", o->name);
        if (o->letter)
            printf(" | -%c", o->letter);
        printf(")");
        if (has_words(o)) {
            printf(" COMPREPLY=($(compgen%s -W '", is_file(o) ? " -f" : "");
            each_word(o, print_word);
            printf("' -- \"$current\"));");
        }
        printf(" return ;;\n");
    }
    printf("        esac\n        [[ $current != -* ]] || COMPREPLY=($(compgen -W '");
    for (const cli_option *o = c->options; o < c->options + c->option_count; o++)
        printf(" --%s", o->name);
    printf(" --help' -- \"$current\"))\n        ;;\n");
}

/* Where nothing is offered, bash completes file names. */
static void bash(void)
{
    printf("# bash completion for blemish, made by 'blemish completion bash'\n_blemish()\n{\n"
           "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < command_count; i++)
        printf(" %s", commands[i]->name);
    printf(" --help --version' -- \"$current\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < command_count; i++)
        bash_command(commands[i]);
    printf("    esac\n}\ncomplete -o default -F _blemish blemish\n");
}

/* --- zsh ---------------------------------------------------------------------------------------------------------------- */

/* Inside single quotes, where a bracket and a colon end a description. */
static void zsh_text(const char *text)
{
    const char *end = text + clause(text);
    for (; text < end; text++)
        printf(*text == '\'' ? "'\\'%c" : strchr("[]:\\", *text) ? "\\%c" : "%c", *text);
}

static void zsh_option(const cli_option *o)
{
    if (o->letter)
        printf(" \\\n            '(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter, o->name);
    else
        printf(" \\\n            '--%s[", o->name);
    zsh_text(o->help);
    printf("]");
    if (o->argument && is_file(o) && has_words(o)) {
        printf(":value:{_alternative \"words\\:word\\:(");
        each_word(o, print_word);
        printf(")\" \"files\\:file\\:_files\"}");
    } else if (o->argument && is_file(o)) {
        printf(":file:_files");
    } else if (o->argument && has_words(o)) {
        printf(":value:(");
        each_word(o, print_word);
        printf(")");
    } else if (o->argument) {
        printf(":value:");
    }
    printf("'");
}

static void zsh(void)
{
    printf("#compdef blemish\n# zsh completion for blemish, made by 'blemish completion zsh'\n_blemish()\n{\n    local -a commands\n"
           "    commands=(\n");
    for (size_t i = 0; i < command_count; i++) {
        printf("        '%s:", commands[i]->name);
        zsh_text(commands[i]->summary);
        printf("'\n");
    }
    printf("    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
           "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n");
    for (size_t i = 0; i < command_count; i++) {
        const command *c = commands[i];
        printf("    %s)\n        _arguments", c->name);
        for (const cli_option *o = c->options; o < c->options + c->option_count; o++)
            zsh_option(o);
        printf(" \\\n            '(-h --help)'{-h,--help}'[show help]' '*:file:_files'\n        ;;\n");
    }
    printf("    esac\n}\n_blemish \"$@\"\n");
}

/* --- fish --------------------------------------------------------------------------------------------------------------- */

static void fish_text(const char *text)
{
    const char *end = text + clause(text);
    for (; text < end; text++)
        printf(strchr("'\\", *text) ? "\\%c" : "%c", *text);
}

static void fish_option(const command *c, const cli_option *o)
{
    printf("complete -c blemish -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
    if (o->letter)
        printf(" -s %c", o->letter);
    if (o->argument)
        printf(is_file(o) ? " -r -F" : " -x");
    if (has_words(o)) {
        printf(" -a '");
        each_word(o, print_word);
        printf("'");
    }
    printf(" -d '");
    fish_text(o->help);
    printf("'\n");
}

static void fish(void)
{
    printf("# fish completion for blemish, made by 'blemish completion fish'\n");
    for (size_t i = 0; i < command_count; i++) {
        printf("complete -c blemish -n __fish_use_subcommand -f -a %s -d '", commands[i]->name);
        fish_text(commands[i]->summary);
        printf("'\n");
    }
    for (size_t i = 0; i < command_count; i++)
        for (const cli_option *o = commands[i]->options; o < commands[i]->options + commands[i]->option_count; o++)
            fish_option(commands[i], o);
    printf("complete -c blemish -l help -s h -d 'show help'\n");
}

/* --- the command -------------------------------------------------------------------------------------------------------- */

static int run(const command *self, int argc, char **argv)
{
    static const struct { const char *shell; void (*print)(void); } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
    operands rest;
    if (!options_parse(self, argc, argv, NULL, &rest))
        return EXIT_USAGE;
    for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++)
        if (!strcmp(rest.items[0], shells[i].shell)) {
            shells[i].print();
            return 0;
        }
    return options_refuse(self, "SHELL must be one of bash, zsh, fish, not \"%s\"", rest.items[0]);
}

const command command_completion = {
    .name = "completion", .summary = "a script that completes commands and options in your shell", .usage = "bash|zsh|fish",
    .text = "Prints a script that makes your shell complete the commands, options and values\n"
            "of blemish. 'cmake --install' puts it in place.",
    .examples = "  source <(blemish completion bash)\n  blemish completion fish > ~/.config/fish/completions/blemish.fish\n",
    .operand = "SHELL", .operand_min = 1, .operand_max = 1, .run = run,
};
