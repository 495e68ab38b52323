/* Which model, and what takes the place of its parts: the options of the commands that run one. Layer 6. */
#ifndef CLI_MODEL_OPTIONS_H
#define CLI_MODEL_OPTIONS_H
#include "blemish.h"
#include "options.h"

typedef struct model_values {
    const char *path, *tokenizer, *vae, *preview_vae, *prediction;
    text_list loras;
} model_values;

/* Their rows but for --model itself, whose need differs; `values` is the command's struct of values, which has a model_values named
 * `model`. */
#define MODEL_OPTIONS(values) \
    { .group = "Parts of the model", .name = "tokenizer", .argument = "DIR", .type = OPTION_PATH, \
      .where = offsetof(values, model.tokenizer), \
      .help = "folder with vocab.json and merges.txt; needed with a single file", .otherwise = "the checkpoint's own" }, \
    { .name = "vae", .argument = "FILE|DIR", .type = OPTION_PATH, .where = offsetof(values, model.vae), \
      .help = "another autoencoder, as safetensors or as a folder; a tiny one (TAESD) takes less memory and time, at some loss of detail", \
      .otherwise = "the checkpoint's own" }, \
    { .name = "preview-vae", .argument = "FILE|DIR", .type = OPTION_PATH, .where = offsetof(values, model.preview_vae), \
      .help = "tiny autoencoder (TAESD) that draws previews", .otherwise = "--vae, if it is a tiny one" }, \
    { .name = "lora", .argument = "FILE[:SCALE]", .type = OPTION_LIST, .where = offsetof(values, model.loras), \
      .help = "LoRA that is added to the weights when they are loaded, SCALE times (1); may be given several times", \
      .otherwise = "none" }, \
    { .name = "prediction", .argument = "WHAT", .type = OPTION_CHOICE, .choices = "epsilon|v", \
      .where = offsetof(values, model.prediction), \
      .help = "what the model predicts, which a single file mostly does not tell: v for Stable Diffusion 2.x of 768 pixels", \
      .otherwise = "what scheduler_config.json or the file's metadata says, else epsilon" }

/* The library's options, valid while *store and the values are. False after a message when a value makes no sense. */
typedef struct model_store {
    bl_lora loras[TEXT_LIST_MAX];
    char paths[TEXT_LIST_MAX][4096];
} model_store;
bool model_options_make(const command *c, const model_values *values, model_store *store, bl_model_options *out);
#endif
