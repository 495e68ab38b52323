/* blemish inspect: what a model file or a picture is. Layer 6. */
#include "commands.h"
#include "output.h"
#include "session.h"
#include <string.h>

typedef struct inspect_values {
    bool json, tensors;
} inspect_values;

/* --- as text ----------------------------------------------------------------------------------------------------------- */

/* A list of numbers as "320-640-1280". */
static const char *dashed(const json_t *list, char *out, size_t size)
{
    size_t n = 0, i;
    const json_t *v;
    out[0] = 0;
    json_array_foreach(list, i, v)
        if (n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? "-" : "", (long long)json_integer_value(v));
    return out;
}

static void add_row(table *t, const char *name) { table_add(t, "%s", name); }

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void add_text(table *t, const char *name, const json_t *value)
{
    if (!json_is_string(value) || !*json_string_value(value))
        return;
    add_row(t, name);
    table_add(t, "%s", json_string_value(value));
}

static void add_tensors(table *t, json_t *tensors)
{
    char bytes[16];
    const char *type;
    json_t *count;
    add_row(t, "tensors");
    table_add(t, "%.0f, %.0f parameters, %s", number(tensors, "count"), number(tensors, "parameters"),
              format_bytes(bytes, number(tensors, "bytes")));
    json_object_foreach(json_object_get(tensors, "types"), type, count) {
        add_row(t, "type");
        table_add(t, "%s (%lld)", type, (long long)json_integer_value(count));
    }
}

static void add_model(table *t, const json_t *m, const json_t *weights)
{
    char channels[160], heads[160], bytes[2][16];
    const json_t *p = json_object_get(weights, "parameters");
    add_row(t, "family");
    table_add(t, "%s, pictures of %.0f pixels", json_string_value(json_object_get(m, "family")), number(m, "side"));
    add_row(t, "U-Net");
    table_add(t, "channels %s, heads %s, context %.0f, %.0f parameters", dashed(json_object_get(m, "channels"), channels, sizeof(channels)),
              dashed(json_object_get(m, "heads"), heads, sizeof(heads)), number(m, "context"), number(p, "unet"));
    add_row(t, "text encoder");
    table_add(t, "%.0f layers, %.0f parameters without its tables", number(m, "text_layers"), number(p, "text_encoder"));
    add_row(t, "autoencoder");
    table_add(t, "%.0f parameters", number(p, "vae"));
    add_row(t, "prediction");
    table_add(t, "%s%s", json_string_value(json_object_get(m, "prediction")),
              json_is_true(json_object_get(m, "prediction_assumed")) ? ", assumed: nothing in the file says so" : "");
    add_row(t, "scheduler");
    table_add(t, "%s", json_string_value(json_object_get(m, "scheduler")));
    add_row(t, "weights");
    table_add(t, "%s on the device with --precision f16, %s with f32", format_bytes(bytes[0], number(weights, "f16_bytes")),
              format_bytes(bytes[1], number(weights, "f32_bytes")));
}

/* The text of a picture is as many rows as it has lines. */
static void add_lines(table *t, const char *name, const char *text)
{
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        add_row(t, line == text ? name : "");
        table_add(t, "%.*s", (int)strcspn(line, "\n"), line);
    }
}

static bool print_text(json_t *o, bool tensors)
{
    table t = { .columns = 2, .align = "ll" };
    const char *key;
    json_t *value;
    size_t i;
    char bytes[16];
    add_row(&t, "kind");
    table_add(&t, "%s", json_string_value(json_object_get(o, "kind")));
    add_text(&t, "use", json_object_get(o, "use"));
    add_text(&t, "problem", json_object_get(o, "problem"));
    if (json_object_get(o, "bytes")) {
        add_row(&t, "size");
        table_add(&t, "%s", format_bytes(bytes, number(o, "bytes")));
    }
    if (json_object_get(o, "width")) {
        add_row(&t, "pixels");
        table_add(&t, "%.0f x %.0f", number(o, "width"), number(o, "height"));
    }
    if (json_object_get(o, "tensors"))
        add_tensors(&t, json_object_get(o, "tensors"));
    if (json_object_get(o, "model"))
        add_model(&t, json_object_get(o, "model"), json_object_get(o, "weights"));
    json_object_foreach(json_object_get(o, "metadata"), key, value) {
        add_row(&t, key);
        table_add(&t, "%s", json_string_value(value));
    }
    if (json_object_get(o, "text"))
        add_lines(&t, "parameters", json_string_value(json_object_get(o, "text")));
    if (!table_print(&t))
        return false;
    table list = { .columns = 3, .align = "lll" };
    const char *const headings[] = { "tensor", "type", "shape" };
    for (i = 0; tensors && i < list.columns; i++)
        table_add(&list, "%s", headings[i]);
    json_array_foreach(json_object_get(o, "list"), i, value) {
        char shape[160];
        table_add(&list, "%s", json_string_value(json_object_get(value, "name")));
        table_add(&list, "%s", json_string_value(json_object_get(value, "type")));
        table_add(&list, "%s", dashed(json_object_get(value, "shape"), shape, sizeof(shape)));
    }
    if (tensors)
        print_line("%s", "");
    return !tensors || table_print(&list);
}

static int run(const command *self, int argc, char **argv)
{
    inspect_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    char *text = NULL;
    const bl_result result = bl_inspect(rest.items[0], values.tensors, &text);
    if (result != BL_OK) {
        report(self->name, "%s", bl_last_error());
        return session_exit_code(result);
    }
    json_t *o = json_loads(text, 0, NULL);
    bl_text_free(text);
    const bool printed = o && (values.json ? print_json(json_incref(o)) : print_text(o, values.tensors));
    json_decref(o);
    if (!printed)
        report(self->name, "host memory ran out");
    return printed ? 0 : -BL_ERROR_MEMORY;
}

static const cli_option options[] = {
    { .name = "tensors", .type = OPTION_FLAG, .where = offsetof(inspect_values, tensors), .help = "list every tensor" },
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(inspect_values, json), .help = "print a JSON object" },
};

const command command_inspect = {
    .name = "inspect", .summary = "what a model file or a picture is",
    .usage = "FILE|FOLDER [options]",
    .text = "Says what a safetensors file, a checkpoint's folder or a picture is: kind,\n"
            "tensors, networks, the device memory of their weights, metadata; of a picture\n"
            "the parameters that it was made with. A file of another kind is named, with\n"
            "what can be done about it, and gives exit code 4. Needs no device.",
    .examples = "  blemish inspect sd15.safetensors\n"
                "  blemish inspect --json cracked.png\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "FILE", .operand_min = 1, .operand_max = 1,
    .run = run,
};
