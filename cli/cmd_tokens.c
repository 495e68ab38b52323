/* blemish tokens: a prompt as the text encoder sees it. Layer 6. */
#include "commands.h"
#include "output.h"
#include "session.h"
#include <stdlib.h>

typedef struct tokens_values {
    const char *model, *tokenizer;
    bool json;
} tokens_values;

static bool print_as_json(const char *prompt, const bl_token *tokens, uint32_t count, uint32_t limit)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count && list; i++) {
        json_t *token = json_pack("{s:i, s:i, s:o}", "index", (int)i, "id", (int)tokens[i].id, "text", json_text(tokens[i].text));
        if (json_array_append_new(list, token)) {
            json_decref(list);
            list = NULL;
        }
    }
    return print_json(json_pack("{s:s, s:o, s:i, s:i}", "prompt", prompt, "tokens", list, "count", (int)count, "limit", (int)limit));
}

static bool print_as_table(const bl_token *tokens, uint32_t count, uint32_t limit)
{
    table t = { .columns = 4, .align = "rrll" };
    const char *const headings[] = { "index", "id", "text", "note" };
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, "%s", headings[i]);
    for (uint32_t i = 0; i < count; i++) {
        table_add(&t, "%u", i);
        table_add(&t, "%d", (int)tokens[i].id);
        table_add(&t, "%s", tokens[i].text);
        table_add(&t, "%s%s", i + 1 == count ? "end" : i ? "" : "start", i >= limit ? i + 1 == count ? ", too long" : "too long" : "");
    }
    return table_print(&t);
}

/* All tokens of `prompt`, to be freed; a prompt is rarely longer than the first guess. */
static bl_result split(const char *dir, const char *prompt, bl_token **tokens, uint32_t *count, uint32_t *limit)
{
    bl_result result = BL_OK;
    uint32_t room = 128;
    for (*count = 0; result == BL_OK; room = *count) {
        free(*tokens);
        *tokens = calloc(room, sizeof(**tokens));
        if (!*tokens)
            return BL_ERROR_MEMORY;
        result = bl_tokenize(dir, prompt, *tokens, room, count, limit);
        if (*count <= room)
            break;
    }
    return result;
}

static int run(const command *self, int argc, char **argv)
{
    tokens_values values = { 0 };
    operands rest;
    if (!options_parse(self, argc, argv, &values, &rest))
        return EXIT_USAGE;
    if (!values.model && !values.tokenizer)
        return options_refuse(self, "--model DIR or --tokenizer DIR is missing (or set BLEMISH_MODEL)");

    bl_token *tokens = NULL;
    uint32_t count = 0, limit = 0;
    const char *prompt = rest.items[0];
    int code = 0;
    const bl_result result = split(values.tokenizer ? values.tokenizer : values.model, prompt, &tokens, &count, &limit);
    if (result != BL_OK) {
        report(self->name, "%s", tokens ? bl_last_error() : "host memory ran out");
        code = session_exit_code(result);
    } else if (!(values.json ? print_as_json(prompt, tokens, count, limit) : print_as_table(tokens, count, limit))) {
        code = -BL_ERROR_MEMORY;
    } else if (count > limit) {
        report(self->name, "%u tokens, the text encoder takes %u (start and end included): the prompt is too long", count, limit);
        code = -BL_ERROR_INPUT;
    }
    free(tokens);
    return code;
}

static const cli_option options[] = {
    { .name = "model", .letter = 'm', .argument = "DIR", .type = OPTION_PATH, .where = offsetof(tokens_values, model),
      .env = "BLEMISH_MODEL", .help = "checkpoint in diffusers layout: its tokenizer is used" },
    { .name = "tokenizer", .argument = "DIR", .type = OPTION_PATH, .where = offsetof(tokens_values, tokenizer), .excludes = "model",
      .help = "or just the folder with vocab.json and merges.txt" },
    { .name = "json", .type = OPTION_FLAG, .where = offsetof(tokens_values, json), .help = "print a JSON object" },
};

const command command_tokens = {
    .name = "tokens", .summary = "how a prompt is split into tokens", .usage = "--model DIR \"PROMPT\"",
    .text = "Lists the tokens of a prompt: index (0 is the start token), id, text. A prompt\n"
            "longer than the text encoder takes gives exit code 3. Needs no device.",
    .examples = "  blemish tokens --model ~/models/sd15 \"a photo of a cracked hazelnut\"\n",
    .options = options, .option_count = sizeof(options) / sizeof(options[0]), .operand = "PROMPT", .operand_min = 1, .operand_max = 1,
    .run = run,
};
