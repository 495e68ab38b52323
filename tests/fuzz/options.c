/* The command line: the first line names a command, every further one is an argument. */
#include "fuzz.h"
#include "commands.h"
#include "model_options.h"
#include <getopt.h>
#include <math.h>

enum { ARGUMENTS = 48, VALUES = 8192 };

/* What was parsed lies within the limits of the table. */
static void check_value(const cli_option *o, const char *values)
{
    uint32_t whole;
    float number, range[2];
    switch (o->type) {
    case OPTION_WHOLE:
        memcpy(&whole, values + o->where, sizeof(whole));
        FUZZ_CHECK(!whole || (whole >= o->min && whole <= o->max && (!o->multiple || whole % o->multiple == 0)));
        break;
    case OPTION_NUMBER:
        memcpy(&number, values + o->where, sizeof(number));
        FUZZ_CHECK(number == 0 || ((double)number >= (double)(float)o->min && (double)number <= (double)(float)o->max));
        break;
    case OPTION_RANGE:
        memcpy(range, values + o->where, sizeof(range));
        FUZZ_CHECK(isfinite(range[0]) && isfinite(range[1]) && range[0] <= range[1]);
        break;
    case OPTION_LIST:
        FUZZ_CHECK(((const text_list *)(const void *)(values + o->where))->count <= TEXT_LIST_MAX);
        break;
    default:
        break;
    }
}

/* --lora FILE[:SCALE], as the commands that have it take it. */
static void check_loras(const command *c, const cli_option *o, const char *values)
{
    static model_store store;
    model_values v = { 0 };
    bl_model_options out;
    v.loras = *(const text_list *)(const void *)(values + o->where);
    if (model_options_make(c, &v, &store, &out))
        for (size_t i = 0; i < out.lora_count; i++)
            FUZZ_CHECK(*out.loras[i].path && out.loras[i].scale != 0 && fabsf(out.loras[i].scale) <= 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(max_align_t) char values[VALUES];
    char *argv[ARGUMENTS + 1] = { 0 }, *text = malloc(size + 1);
    int argc = 0;
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    for (char *at = text; at && argc < ARGUMENTS; argc++) {
        argv[argc] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = 0;
    }
    const command *c = commands_find(argv[0]);
    operands rest;
    fuzz_begin(data, size, 0);
    memset(values, 0, sizeof(values));
    optind = 0; /* glibc: from the start, whatever the last one left */
    if (c && c->option_count && options_parse(c, argc, argv, values, &rest)) {
        FUZZ_CHECK(rest.count >= c->operand_min && rest.count <= c->operand_max);
        for (size_t i = 0; i < c->option_count; i++) {
            check_value(&c->options[i], values);
            if (!strcmp(c->options[i].name, "lora"))
                check_loras(c, &c->options[i], values);
        }
    }
    free(text);
    return fuzz_end();
}
