#include "output.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the UTF-8 character at `p`, 0 if there is none. */
static size_t utf8_bytes(const unsigned char *p)
{
    const size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) /* stops at the final 0 as well */
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

bool text_is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        const size_t n = utf8_bytes(p);
        if (!n)
            return false;
        p += n;
    }
    return true;
}

size_t text_clean(char *text)
{
    size_t count = 0;
    for (unsigned char *p = (unsigned char *)text; *p; count++) {
        const size_t n = utf8_bytes(p);
        const bool control = p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0); /* the last: C1 */
        if (!n || control)
            for (size_t i = 0; i < (n ? n : 1); i++)
                p[i] = '?';
        p += n ? n : 1;
    }
    return count;
}

/* --- lines ------------------------------------------------------------------------------------------------------------- */

void report_list(const char *name, const char *format, va_list list)
{
    char text[2048];
    vsnprintf(text, sizeof(text), format, list);
    text_clean(text);
    fprintf(stderr, "blemish%s%s: %s\n", name ? " " : "", name ? name : "", text);
}

void report(const char *name, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    report_list(name, format, list);
    va_end(list);
}

void print_line(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
    fflush(stdout); /* a result is there for the next program as soon as it exists; a failure stays in ferror */
}

bool output_finish(void)
{
    errno = 0;
    const bool earlier = ferror(stdout) != 0;
    if (!fflush(stdout) && !earlier && !fclose(stdout))
        return true;
    report(NULL, "cannot write to standard output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
    return false;
}

/* --- JSON -------------------------------------------------------------------------------------------------------------- */

bool print_json(json_t *json)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (text)
        puts(text);
    free(text);
    return text != NULL;
}

json_t *json_text(const char *text)
{
    if (text_is_utf8(text))
        return json_string(text);
    char *copy = strdup(text);
    if (!copy)
        return NULL;
    text_clean(copy);
    json_t *json = json_string(copy);
    free(copy);
    return json;
}

/* --- tables ------------------------------------------------------------------------------------------------------------ */

void table_add(table *t, const char *format, ...)
{
    if (t->count == t->room && !t->failed) {
        const size_t room = t->room ? 2 * t->room : 64;
        char **cells = room > t->room && room <= SIZE_MAX / sizeof(*cells) ? realloc(t->cells, room * sizeof(*cells)) : NULL;
        t->failed = !cells;
        if (cells) {
            t->cells = cells;
            t->room = room;
        }
    }
    if (t->failed)
        return;
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    text_clean(text);
    t->cells[t->count] = strdup(text);
    t->failed = !t->cells[t->count];
    t->count += !t->failed;
}

bool table_write(table *t, FILE *out)
{
    size_t width[16] = { 0 };
    bool filled[16] = { 0 };
    for (size_t i = 0; i < t->count; i++) {
        const size_t n = text_clean(t->cells[i]), column = i % t->columns;
        width[column] = n > width[column] ? n : width[column];
        filled[column] |= i >= t->columns && n; /* the first row holds the headings */
    }
    size_t pending = 0; /* spaces are printed before the next text, so that no line ends in them */
    for (size_t i = 0; i < t->count && !t->failed; i++) {
        const size_t column = i % t->columns, n = text_clean(t->cells[i]);
        if (filled[column]) {
            const size_t pad = width[column] - n, before = t->align[column] == 'r' ? pad : 0;
            if (n)
                fprintf(out, "%*s%s", (int)(pending + before), "", t->cells[i]);
            pending = (n ? 0 : pending + before) + (pad - before) + 2;
        }
        if (column + 1 == t->columns) {
            fputc('\n', out);
            pending = 0;
        }
    }
    const bool ok = !t->failed;
    table_free(t);
    return ok;
}

bool table_print(table *t) { return table_write(t, stdout); }

void table_free(table *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (table){ .columns = t->columns, .align = t->align };
}

char *format_bytes(char out[16], double bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t u = 0;
    while (bytes >= 1024 && u + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1024;
        u++;
    }
    snprintf(out, 16, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return out;
}
