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
        json_t *token = json_pack("{s:i, s:i, s:o, s:b}", "index", (int)i, "id", (int)t->tokens[i].id, "text",
                                  json_text(t->tokens[i].text), "guided", t->tokens[i].guided);
        if (json_array_append_new(list, token)) {
            json_decref(list);
            list = NULL;
        }
    }
    return print_json(json_pack("{s:s, s:o, s:i, s:i}", "prompt", t->prompt, "tokens", list, "count", (int)t->count, "limit",
                                (int)t->limit));
}

static bool print_as_table(const bl_tokens *tokens)
{
    table t = { .columns = 4, .align = "rrll" };
    const char *const headings[] = { "index", "id", "text", "note" };
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, "%s", headings[i]);
    for (uint32_t i = 0; i < tokens->count; i++) {
        const bool last = i + 1 == tokens->count;
        table_add(&t, "%u", i);
        table_add(&t, "%d", (int)tokens->tokens[i].id);
        table_add(&t, "%s", tokens->tokens[i].text);
        table_add(&t, "%s%s", last ? "end" : !i ? "start" : tokens->tokens[i].guided ? "guided" : "",
                  i < tokens->limit ? "" : last ? ", too long" : "too long"); /* a guided one is never too long */
    }
    return table_print(&t);
}

static int run(const command *self, int argc, char **argv)
{
    tokens_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    if (!values.model && !values.tokenizer)
        return options_refuse(self, "--model DIR or --tokenizer DIR is missing (or set BLEMISH_MODEL)");
    const char *prompt = rest.count ? rest.items[0] : NULL;
    if (prompt && values.object)
        return options_refuse(self, "takes a PROMPT, or --object and --defect, not both");
    if (!prompt && !values.object)
        return options_refuse(self, "PROMPT is missing, or --object and --defect");

    bl_tokens tokens;
    int code = 0;
    const bl_result result = bl_tokenize(values.tokenizer ? values.tokenizer : values.model, prompt, values.object, values.defect,
                                         values.template_text, &tokens);
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

#define AT(field) .where = offsetof(tokens_values, field)

static const cli_option options[] = {
    { .name = "model", .letter = 'm', .argument = "DIR", .type = OPTION_PATH, AT(model), .env = "BLEMISH_MODEL",
      .help = "checkpoint in diffusers layout: its tokenizer is used" },
    { .name = "tokenizer", .argument = "DIR", .type = OPTION_PATH, AT(tokenizer), .excludes = "model",
      .help = "or just the folder with vocab.json and merges.txt" },
    { .name = "object", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(object), .needs = "defect",
      .help = "instead of PROMPT, as for 'blemish generate'" },
    { .name = "defect", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(defect), .needs = "object", .help = "the guided words" },
    { .name = "template", .argument = "TEXT", .type = OPTION_TEXT, .min = 1, AT(template_text), .needs = "object",
      .help = "the prompt made of them", .otherwise = "\"a photo of a {object} that is {defect}\"" },
    { .name = "json", .type = OPTION_FLAG, AT(json), .help = "print a JSON object" },
};

const command command_tokens = {
    .name = "tokens", .summary = "how a prompt is split into tokens", .usage = "--model DIR (\"PROMPT\" | --object TEXT --defect TEXT)",
    .text = "Lists the tokens of a prompt: index (0 is the start token), id, text, and which\n"
            "are guided: those of words in double brackets, or of the defect. A prompt\n"
            "longer than the text encoder takes gives exit code 3. Needs no device.",
    .examples = "  blemish tokens --model ~/models/sd15 \"a photo of a [[cracked]] hazelnut\"\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "PROMPT", .operand_min = 0, .operand_max = 1,
    .run = run,
};
