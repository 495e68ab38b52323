/* What a person or a program reads: messages on stderr, results on stdout, aligned tables, JSON. Layer 6. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PRINTF_LIKE(text, args) __attribute__((format(printf, text, args)))

/* Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
bool text_is_utf8(const char *text);

/* Makes a text safe to print, in place: control characters and broken UTF-8 become '?'; returns the number of its characters. */
size_t text_clean(char *text);
/* "blemish NAME: ..." on stderr as one line; `name` may be NULL. Control characters and broken UTF-8 become '?', because texts from
 * files and drivers pass through here and a terminal obeys what it reads. */
void report(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);
void report_list(const char *name, const char *format, va_list list) PRINTF_LIKE(2, 0);

/* One line of results on stdout. */
void print_line(const char *format, ...) PRINTF_LIKE(1, 2);
/* Prints `json` (NULL: memory ran out while it was made) and releases it. False when there was nothing to print. */
bool print_json(json_t *json);
/* Everything printed has arrived: false, with the reason on stderr, when stdout cannot take it. Called once, at the end. */
bool output_finish(void);

/* A JSON text of any bytes: what is not UTF-8 becomes '?'. */
json_t *json_text(const char *text);

/* Cells row by row, then columns of equal width. */
typedef struct table {
    size_t columns;
    const char *align; /* one 'l' or 'r' per column */
    char **cells;
    size_t count, room;
    bool failed;       /* memory ran out; table_print says so by false */
} table;
void table_add(table *t, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints on stdout and frees the cells; columns empty in every row are left out. */
bool table_print(table *t);
bool table_write(table *t, FILE *out); /* the same to a file */
void table_free(table *t); /* for one that is not printed */

/* "15.6 GiB"; returns `out`, which has room for 16 bytes. */
char *format_bytes(char out[16], double bytes);
#endif
