/* blemish tokens: a prompt as the text encoder sees it. Layer 6. */
#include "commands.h"
#include "output.h"
#include "session.h"

typedef struct tokens_values {
    const char *model, *tokenizer, *object, *defect, *template_text;
    bool json;
} tokens_values;

static bool print_as_json(const bl_tokens *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->count && list; i++) {
        json_t *token = json_pack("{s:i, s:i, s:o, s:b}", "index", (int)i, "id", (int)t->tokens[i].id, "text", json_text(t->tokens[i].text),
                                  "guided", t->tokens[i].guided);
        if (json_array_append_new(list, token)) {
            json_decref(list);
            list = NULL;
        }
    }
    return print_json(json_pack("{s:s, s:o, s:i, s:i}", "prompt", t->prompt, "tokens", list, "count", (int)t->count, "limit",
                                (int)t->limit));
}

static bool print_as_table(const bl_tokens *t)
{
    table rows = { .columns = 4, .align = "rrll" };
    const char *const headings[] = { "index", "id", "text", "note" };
    for (size_t i = 0; i < rows.columns; i++)
        table_add(&rows, "%s", headings[i]);
    for (uint32_t i = 0; i < t->count; i++) {
        const char *note = i + 1 == t->count ? "end" : i ? t->tokens[i].guided ? "guided" : "" : "start";
        table_add(&rows, "%u", i);
        table_add(&rows, "%d", (int)t->tokens[i].id);
        table_add(&rows, "%s", t->tokens[i].text);
        table_add(&rows, "%s%s%s", note, *note && i >= t->limit ? ", " : "", i >= t->limit ? "too long" : "");
    }
    return table_print(&rows);
}

static int run(const command *self, int argc, char **argv)
{
    tokens_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    if (!values.model && !values.tokenizer)
        return options_refuse(self, "--model DIR or --tokenizer DIR is missing (or set BLEMISH_MODEL)");
    if (!rest.count && !values.object)
        return options_refuse(self, "PROMPT is missing, or --object and --defect");
    if (rest.count && values.object)
        return options_refuse(self, "takes a PROMPT, or --object and --defect, not both");

    bl_tokens tokens;
    bl_generate_options words = BL_GENERATE_OPTIONS_INIT;
    words.prompt = rest.count ? rest.items[0] : NULL;
    words.object = values.object;
    words.defect = values.defect;
    words.template_text = values.template_text;
    int code = 0;
    const bl_result result = bl_tokenize(values.tokenizer ? values.tokenizer : values.model, &words, &tokens);
    if (result != BL_OK) {
        report(self->name, "%s", bl_last_error());
        code = session_exit_code(result);
    } else if (!(values.json ? print_as_json(&tokens) : print_as_table(&tokens))) {
        code = -BL_ERROR_MEMORY;
    } else if (tokens.count > tokens.limit) {
        report(self->name, "%u tokens, the text encoder takes %u (start and end included): the prompt is too long", tokens.count,
               tokens.limit);
        code = -BL_ERROR_INPUT;
    }
    bl_tokens_free(&tokens);
    return code;
}

static const cli_option options[] = {
    { .name = "model", .letter = 'm', .argument = "DIR", .type = OPTION_PATH, .where = offsetof(tokens_values, model),
      .env = "BLEMISH_MODEL", .help = "checkpoint in diffusers layout: its tokenizer is used" },
    { .name = "tokenizer", .argument = "DIR", .type = OPTION_PATH, .where = offsetof(tokens_values, tokenizer), .excludes = "model",
      .help = "or just the folder with vocab.json and merges.txt" },
    { .name = "object", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, .where = offsetof(tokens_values, object), .needs = "defect",
      .help = "instead of a PROMPT, as 'generate' takes it" },
    { .name = "defect", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, .where = offsetof(tokens_values, defect), .needs = "object",
      .help = "likewise: its words are guided" },
    { .name = "template", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, .where = offsetof(tokens_values, template_text),
      .needs = "object", .help = "likewise", .otherwise = "\"a photo of a {object} that is {defect}\"" },
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(tokens_values, json), .help = "print a JSON object" },
};

const command command_tokens = {
    .name = "tokens", .summary = "how a prompt is split into tokens",
    .usage = "--model DIR (\"PROMPT\" | --object TEXT --defect TEXT)",
    .text = "Lists the tokens of a prompt: index (0 is the start token), id, text, and which\n"
            "are guided: those of [[words]] in double brackets, or of the defect. A prompt\n"
            "longer than the text encoder takes gives exit code 3. Needs no device.",
    .examples = "  blemish tokens --model ~/models/sd15 \"a photo of a [[cracked]] hazelnut\"\n"
                "  blemish tokens --model ~/models/sd15 --object hazelnut --defect cracked\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "PROMPT", .operand_max = 1, .run = run,
};
