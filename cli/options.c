#include "options.h"
#include "output.h"
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 80, LONG_BASE = 256 };

int options_refuse(const command *c, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    report_list(c->name, format, list);
    va_end(list);
    fprintf(stderr, "See 'blemish %s --help'.\n", c->name);
    return EXIT_USAGE;
}

/* --- values ------------------------------------------------------------------------------------------------------------ */

/* Digits only: strtoull takes signs, spaces and wraps negative numbers. */
static bool parse_whole(const char *s, uint64_t *value)
{
    *value = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (!isdigit((unsigned char)*s))
            return false;
        const uint64_t digit = (uint64_t)(*s - '0');
        if (*value > (UINT64_MAX - digit) / 10)
            return false;
        *value = *value * 10 + digit;
    }
    return true;
}

/* 12, 0.5, .5, 1e-3: no sign, no space, no hexadecimal, no "inf", and finite. */
bool options_number(const char *s, double *value)
{
    static const char digits[] = "0123456789";
    const char *p = s + strspn(s, digits);
    size_t count = (size_t)(p - s);
    if (*p == '.') {
        const size_t more = strspn(++p, digits);
        p += more;
        count += more;
    }
    if (!count)
        return false;
    if (*p == 'e' || *p == 'E') {
        p += p[1] == '+' || p[1] == '-' ? 2 : 1;
        const size_t exponent = strspn(p, digits);
        if (!exponent)
            return false;
        p += exponent;
    }
    *value = strtod(s, NULL);
    return !*p && isfinite(*value);
}

/* 500M, 3G, 1.5G, 123456: bytes. */
static bool parse_size(const char *s, uint64_t *bytes)
{
    static const char units[] = "KMG";
    char number[32];
    double value;
    const size_t length = strlen(s);
    const char *unit = length ? strchr(units, toupper((unsigned char)s[length - 1])) : NULL;
    const size_t digits = length - (unit && *unit);
    if (!digits || digits >= sizeof(number))
        return false;
    memcpy(number, s, digits);
    number[digits] = 0;
    if (!options_number(number, &value))
        return false;
    value *= unit && *unit ? (double)(1ull << 10 * (unit - units + 1)) : 1;
    *bytes = value < 0x1p63 ? (uint64_t)value : 0;
    return *bytes > 0;
}

/* MIN-MAX, or one number for both; written without "1e-3". */
static bool parse_range(const char *s, double *low, double *high)
{
    char first[32];
    const size_t length = strcspn(s, "-");
    if (length >= sizeof(first))
        return false;
    memcpy(first, s, length);
    first[length] = 0;
    return options_number(first, low) && options_number(s[length] ? s + length + 1 : s, high) && *low <= *high;
}

static bool is_choice(const char *choices, const char *text)
{
    const size_t length = strlen(text);
    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (length && strcspn(p, "|") == length && !memcmp(p, text, length))
            return true;
    return false;
}

void options_range(const cli_option *o, char *out, size_t size)
{
    int n = 0;
    *out = 0;
    if (o->type == OPTION_CHOICE) {
        for (const char *p = o->choices; *p && n >= 0 && (size_t)n < size; p += strcspn(p, "|"), p += *p == '|')
            n += snprintf(out + n, size - (size_t)n, "%s%.*s", n ? ", " : "", (int)strcspn(p, "|"), p);
    } else if (o->type == OPTION_WHOLE && o->multiple) {
        snprintf(out, size, "%.0f to %.0f, a multiple of %u", o->min, o->max, o->multiple);
    } else if (o->type == OPTION_WHOLE) {
        snprintf(out, size, "%.0f to %.0f", o->min, o->max);
    } else if (o->above) {
        snprintf(out, size, "above %g, at most %g", o->min, o->max);
    } else if (o->type == OPTION_NUMBER || o->type == OPTION_RANGE) {
        snprintf(out, size, "%g to %g", o->min, o->max);
    }
}

/* Checks `text` and stores it; `label` says where it came from, "--steps" or "BLEMISH_MODEL". */
static bool store(const command *c, const cli_option *o, const char *label, const char *text, void *values)
{
    void *where = (char *)values + o->where;
    char range[160];
    uint64_t whole = 0;
    double number = 0, high = 0;
    bool valid;
    options_range(o, range, sizeof(range));
    switch (o->type) {
    case OPTION_FLAG:
        *(bool *)where = true;
        return true;
    case OPTION_TEXT:
        if (strlen(text) < (size_t)o->min)
            return options_refuse(c, "%s: is empty", label), false;
        *(const char **)where = text;
        return true;
    case OPTION_PATH:
        if (!*text)
            return options_refuse(c, "%s: is empty", label), false;
        if (!strcmp(text, "-"))
            return options_refuse(c, "%s: needs a name; \"-\" for standard input or output does not work here", label), false;
        *(const char **)where = text;
        return true;
    case OPTION_LIST: {
        text_list *list = where;
        if (!*text || !strcmp(text, "-"))
            return options_refuse(c, "%s: needs a name", label), false;
        if (list->count == TEXT_LIST_MAX)
            return options_refuse(c, "%s: is given more than %d times", label, TEXT_LIST_MAX), false;
        list->items[list->count++] = text;
        return true;
    }
    case OPTION_CHOICE:
        if (!is_choice(o->choices, text))
            return options_refuse(c, "%s: must be one of %s, not \"%s\"", label, range, text), false;
        *(const char **)where = text;
        return true;
    case OPTION_WHOLE:
        if (!parse_whole(text, &whole) || (double)whole < o->min || (double)whole > o->max || (o->multiple && whole % o->multiple))
            return options_refuse(c, "%s: must be a whole number, %s, not \"%s\"", label, range, text), false;
        *(uint32_t *)where = (uint32_t)whole;
        return true;
    case OPTION_NUMBER:
        valid = options_number(text, &number) && number >= o->min && number <= o->max;
        if (!valid || (o->above && (float)number <= (float)o->min)) /* as a float: 1e-99 must not become 0 */
            return options_refuse(c, "%s: must be a number, %s, not \"%s\"", label, range, text), false;
        *(float *)where = (float)number;
        return true;
    case OPTION_RANGE:
        valid = parse_range(text, &number, &high) && number >= o->min && high <= o->max;
        if (!valid || (o->above && (float)number <= (float)o->min))
            return options_refuse(c, "%s: must be two numbers MIN-MAX, %s, not \"%s\"", label, range, text), false;
        *(range_value *)where = (range_value){ (float)number, (float)high };
        return true;
    case OPTION_SEED:
        *(seed_value *)where = (seed_value){ .random = !strcmp(text, "random") };
        if (!((seed_value *)where)->random && !parse_whole(text, &((seed_value *)where)->value))
            return options_refuse(c, "%s: must be a whole number below 2^64, or \"random\", not \"%s\"", label, text), false;
        return true;
    case OPTION_SIZE:
        if (!parse_size(text, (uint64_t *)where))
            return options_refuse(c, "%s: must be a size in bytes such as 3G, 1.5G or 500M, not \"%s\"", label, text), false;
        return true;
    }
    return false;
}

/* --- parsing ----------------------------------------------------------------------------------------------------------- */

static size_t find(const command *c, const char *name)
{
    size_t i = 0;
    while (i < c->option_count && strcmp(c->options[i].name, name))
        i++;
    return i;
}

/* getopt does not tell an unknown option from one of several meanings. */
static void refuse_unknown(const command *c, const char *written)
{
    char names[256] = "";
    size_t n = 0, used = 0;
    if (!strncmp(written, "--", 2) && written[2]) {
        const size_t length = strcspn(written + 2, "=");
        for (size_t i = 0; i < c->option_count && used < sizeof(names); i++)
            if (!strncmp(c->options[i].name, written + 2, length)) {
                used += (size_t)snprintf(names + used, sizeof(names) - used, "%s--%s", n ? ", " : "", c->options[i].name);
                n++;
            }
    }
    if (n > 1)
        options_refuse(c, "%s may mean any of %s", written, names);
    else
        options_refuse(c, "unknown option %s", written);
}

/* One option as getopt saw it. `given` holds the texts so far. */
static bool take(const command *c, size_t i, char **argv, const char **given, void *values)
{
    const cli_option *o = &c->options[i];
    const char *text = o->argument ? optarg : "";
    char label[80];
    snprintf(label, sizeof(label), "--%s", o->name);
    if (o->argument && text == argv[optind - 1] && !strncmp(text, "--", 2) && find(c, text + 2) < c->option_count)
        return options_refuse(c, "%s needs a value, and %s is an option (write %s=%s if it is meant)", label, text, label, text), false;
    if (given[i] && o->type != OPTION_LIST && strcmp(given[i], text))
        return options_refuse(c, "%s is given twice, as \"%s\" and as \"%s\"", label, given[i], text), false;
    given[i] = text;
    return store(c, o, label, text, values);
}

static bool parse_arguments(const command *c, int argc, char **argv, const char **given, void *values)
{
    struct option longs[OPTIONS_MAX + 1] = { 0 };
    char shorts[2 * OPTIONS_MAX + 2] = ":", *s = shorts + 1;
    for (size_t i = 0; i < c->option_count; i++) {
        const cli_option *o = &c->options[i];
        longs[i] = (struct option){ o->name, o->argument ? required_argument : no_argument, NULL, LONG_BASE + (int)i };
        if (o->letter) {
            *s++ = o->letter;
            if (o->argument)
                *s++ = ':';
        }
    }
    opterr = 0;
    for (;;) {
        const int found = getopt_long(argc, argv, shorts, longs, NULL);
        if (found == -1)
            return true;
        const int code = found == '?' || found == ':' ? optopt : found;
        size_t i = code >= LONG_BASE ? (size_t)(code - LONG_BASE) : 0;
        if (code < LONG_BASE)
            while (i < c->option_count && (!code || c->options[i].letter != code))
                i++;
        if (i == c->option_count && code)
            return options_refuse(c, "unknown option -%c", code), false;
        if (i == c->option_count)
            return refuse_unknown(c, argv[optind - 1]), false;
        if (found == ':')
            return options_refuse(c, "--%s needs a value: --%s %s", c->options[i].name, c->options[i].name, c->options[i].argument), false;
        if (found == '?')
            return options_refuse(c, "--%s takes no value", c->options[i].name), false;
        if (!take(c, i, argv, given, values))
            return false;
    }
}

/* Environment and defaults for what was not given. */
static bool fill_in(const command *c, const char **given, void *values)
{
    for (size_t i = 0; i < c->option_count; i++) {
        const cli_option *o = &c->options[i];
        const char *env = o->env ? getenv(o->env) : NULL;
        bool ruled_out = false; /* the command line is stronger: --no-cache, --tokenizer */
        for (size_t j = 0; j < c->option_count; j++)
            ruled_out |= given[j] && ((o->excludes && !strcmp(o->excludes, c->options[j].name)) ||
                                      (c->options[j].excludes && !strcmp(c->options[j].excludes, o->name)));
        if (given[i] || ruled_out)
            continue;
        if (env && *env) {
            if (!text_is_utf8(env))
                return options_refuse(c, "%s: is not valid UTF-8", o->env), false;
            if (!store(c, o, o->env, env, values))
                return false;
            given[i] = env;
        } else if (o->value && !store(c, o, o->name, o->value, values)) {
            return false;
        }
    }
    return true;
}

static bool check_given(const command *c, const char **given)
{
    for (size_t i = 0; i < c->option_count; i++) {
        const cli_option *o = &c->options[i];
        if (given[i] && o->needs && !given[find(c, o->needs)])
            return options_refuse(c, "--%s makes sense only with --%s", o->name, o->needs), false;
        if (given[i] && o->excludes && given[find(c, o->excludes)])
            return options_refuse(c, "--%s and --%s contradict each other", o->name, o->excludes), false;
    }
    return true;
}

bool options_parse(const command *c, int argc, char **argv, void *values, operands *rest)
{
    const char *given[OPTIONS_MAX] = { 0 };
    for (int i = 1; i < argc; i++)
        if (!text_is_utf8(argv[i]))
            return options_refuse(c, "argument %d is not valid UTF-8", i), false;
    if (!parse_arguments(c, argc, argv, given, values) || !check_given(c, given) || !fill_in(c, given, values))
        return false;
    *rest = (operands){ argv + optind, argc - optind };
    if (rest->count > c->operand_max && c->operand)
        return options_refuse(c, "takes one %s, and \"%s\" is one more (quote a text with spaces)", c->operand,
                              rest->items[c->operand_max]), false;
    if (rest->count > c->operand_max)
        return options_refuse(c, "takes options only, not \"%s\" (quote a text with spaces)", rest->items[0]), false;
    for (size_t i = 0; i < c->option_count; i++) {
        const cli_option *o = &c->options[i];
        if (o->required && !given[i])
            return options_refuse(c, "--%s %s is missing%s%s%s", o->name, o->argument, o->env ? " (or set " : "", o->env ? o->env : "",
                                  o->env ? ")" : ""), false;
    }
    if (rest->count < c->operand_min)
        return options_refuse(c, "%s is missing", c->operand), false;
    return true;
}
