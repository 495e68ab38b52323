/* The command line as data: one table per command, from which parsing, messages and help are made. Layer 6. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes are those of bl_result with the sign turned; these two the command line needs by name. */
enum { EXIT_OUTPUT = 1, EXIT_USAGE = 2 };

/* What an option's value looks like, and the C type that `where` points at. */
typedef enum option_type {
    OPTION_FLAG,   /* bool: no value */
    OPTION_TEXT,   /* const char *: anything, at least `min` bytes */
    OPTION_PATH,   /* const char *: not empty and not "-" */
    OPTION_CHOICE, /* const char *: one of `choices` */
    OPTION_WHOLE,  /* uint32_t: min to max, a multiple of `multiple` */
    OPTION_NUMBER, /* float: min to max, or above min */
    OPTION_RANGE,  /* range_value: "0.05-0.25", each as a number, the first not above the second; or one number for both */
    OPTION_SEED,   /* seed_value */
    OPTION_SIZE,   /* uint64_t: bytes, above 0, with K, M or G behind for powers of 1024 */
    OPTION_LIST,   /* text_list: as OPTION_PATH, once for every time it is given */
} option_type;

typedef struct seed_value {
    bool random; /* the command draws one */
    uint64_t value;
} seed_value;

typedef struct range_value {
    float low, high;
} range_value;

enum { TEXT_LIST_MAX = 16 };
typedef struct text_list {
    const char *items[TEXT_LIST_MAX];
    size_t count;
} text_list;

typedef struct cli_option {
    const char *group;     /* opens a section of the help text; NULL: the section goes on */
    const char *name;      /* long name without dashes */
    char letter;           /* short name, 0: none */
    const char *argument;  /* the value's name in the help text; NULL for a flag */
    option_type type;
    size_t where;          /* offset in the command's values */
    const char *help;      /* what it does, without range and default */
    const char *value;     /* the default, parsed as if it had been given; NULL: none */
    const char *otherwise; /* what happens without it, in words, where there is no `value` */
    const char *env;       /* environment variable that stands in for it; NULL: none */
    const char *choices;   /* "auto|f32|f16" */
    double min, max;
    uint32_t multiple;     /* of whole numbers; 0: any */
    bool above;            /* min itself is not allowed */
    bool required;
    const char *needs;     /* makes sense only with this other option */
    const char *excludes;  /* contradicts this other option */
} cli_option;

typedef struct command {
    const char *name, *summary; /* summary: one line for the overview */
    const char *usage;          /* what follows "blemish NAME" */
    const char *text;           /* what it does, wrapped by hand at 79 columns */
    const char *examples;       /* whole lines; NULL: none */
    const cli_option *options;
    size_t option_count;
    const char *operand;        /* name of what is not an option, for messages; NULL: there is none */
    int operand_min, operand_max;
    int (*run)(const struct command *self, int argc, char **argv); /* argv[0] is the command's name; returns the exit code */
} command;

typedef struct operands {
    char **items;
    int count;
} operands;

/* Fills the struct `values`, which is zeroed, from defaults, environment and argv (which is put in another order). On failure the reason
 * is on stderr and the exit code is EXIT_USAGE. */
bool options_parse(const command *c, int argc, char **argv, void *values, operands *rest);
/* A number as options have it: 12, 0.5, 1e-3; no sign, finite. */
bool options_number(const char *text, double *value);
/* "blemish NAME: reason" and where help is to be found; returns EXIT_USAGE. */
int options_refuse(const command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What values an option takes, in words; "" where anything is. */
void options_range(const cli_option *o, char *out, size_t size);
#endif
