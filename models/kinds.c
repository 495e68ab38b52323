/* Layer 4. */
#include "kinds.h"
#include <string.h>

#define UNSUPPORTED "only Stable Diffusion 1.x and 2.x are supported"
#define ADAPTER "such adapters are not supported"
#define IN_PLACE "give the folder of the whole checkpoint with --model"

/* The first row counts of which a tensor's name has the word in it, or, with ^ in front, starts with it. Adapters first: their names
 * contain those of what they are made for. */
static const struct {
    const char *word;
    bl_kind kind;
} rows[] = {
    { "hada_w1", { BL_KIND_NONE, "a LyCORIS adapter (LoHa)", ADAPTER } },
    { "lokr_w", { BL_KIND_NONE, "a LyCORIS adapter (LoKr)", ADAPTER } },
    { "^lora_te2_", { BL_KIND_NONE, "a LoRA for SDXL", UNSUPPORTED } },
    { "^text_encoder_2.", { BL_KIND_NONE, "a LoRA for SDXL", UNSUPPORTED } },
    { ".lora_down.", { BL_KIND_LORA, "a LoRA", "give it with --lora, beside --model" } },
    { ".lora_A.", { BL_KIND_LORA, "a LoRA", "give it with --lora, beside --model" } },
    { "lora.down.", { BL_KIND_LORA, "a LoRA", "give it with --lora, beside --model" } }, /* and "_lora.down." */
    { "lora_linear_layer.down.", { BL_KIND_LORA, "a LoRA", "give it with --lora, beside --model" } },
    { "^control_model.", { BL_KIND_NONE, "a ControlNet", ADAPTER } },
    { "controlnet_cond_embedding.", { BL_KIND_NONE, "a ControlNet", ADAPTER } },
    { "^input_hint_block.", { BL_KIND_NONE, "a ControlNet", ADAPTER } },
    { "motion_modules.", { BL_KIND_NONE, "a motion module (AnimateDiff)", ADAPTER } },
    { "emb_params", { BL_KIND_NONE, "a textual inversion", "embeddings of words are not supported" } },
    { "time_stack.", { BL_KIND_NONE, "Stable Video Diffusion", UNSUPPORTED } },
    { "temporal_transformer_blocks.", { BL_KIND_NONE, "Stable Video Diffusion", UNSUPPORTED } },
    { "^conditioner.embedders.", { BL_KIND_NONE, "an SDXL checkpoint", UNSUPPORTED } },
    { "^add_embedding.", { BL_KIND_NONE, "the U-Net of SDXL", UNSUPPORTED } },
    { "joint_blocks.", { BL_KIND_NONE, "Stable Diffusion 3", UNSUPPORTED } },
    { ".norm1_context.", { BL_KIND_NONE, "Stable Diffusion 3", UNSUPPORTED } },
    { "double_blocks.", { BL_KIND_NONE, "Flux", UNSUPPORTED } },
    { "single_transformer_blocks.", { BL_KIND_NONE, "Flux", UNSUPPORTED } },
    { ".label_emb.", { BL_KIND_NONE, "a U-Net with class embeddings (SDXL, or an unCLIP model)", UNSUPPORTED } },
    { "^model.diffusion_model.input_blocks.", { BL_KIND_CHECKPOINT, "a Stable Diffusion checkpoint in one file",
      "give it with --model and --tokenizer" } },
    { "^input_blocks.", { BL_KIND_NONE, "a U-Net alone, with its original names", "give a whole checkpoint with --model" } },
    { "^down_blocks.", { BL_KIND_PART, "a U-Net alone", IN_PLACE } },
    { "^encoder.layers.1.conv.", { BL_KIND_VAE, "a tiny autoencoder (TAESD)", "give it with --vae or --preview-vae, beside --model" } },
    { "^1.conv.0.", { BL_KIND_NONE, "the encoder of a tiny autoencoder (TAESD)",
      "give the folder that has its decoder beside it with --vae" } },
    { "^3.conv.0.", { BL_KIND_DECODER, "the decoder of a tiny autoencoder (TAESD)",
      "give it with --preview-vae, or the folder that has its encoder beside it with --vae" } },
    { "^first_stage_model.decoder.", { BL_KIND_VAE, "an autoencoder alone", "give it with --vae, beside --model" } },
    { "^decoder.conv_in.", { BL_KIND_VAE, "an autoencoder alone", "give it with --vae, beside --model" } },
    { "^vision_model.", { BL_KIND_PART, "a CLIP model with an image tower", "give its folder with --clip" } },
    { "^text_model.", { BL_KIND_PART, "a CLIP text encoder alone", IN_PLACE } },
    { "^encoder.block.0.layer.0.SelfAttention.", { BL_KIND_NONE, "a T5 text encoder", UNSUPPORTED } },
};
static const bl_kind unknown = { BL_KIND_NONE, "of no known kind", UNSUPPORTED };

static bool says(const char *name, const char *word)
{
    return *word == '^' ? !strncmp(name, word + 1, strlen(word + 1)) : strstr(name, word) != NULL;
}

const bl_kind *bl_kind_of(const bl_safetensors *file)
{
    for (size_t r = 0; r < BL_COUNT(rows); r++)
        for (size_t i = 0; i < bl_safetensors_count(file); i++)
            if (says(bl_safetensors_at(file, i)->name, rows[r].word))
                return &rows[r].kind;
    return &unknown;
}

bl_result bl_kind_expect(const bl_safetensors *file, bl_kind_use use, const char *wanted)
{
    const bl_kind *kind = bl_kind_of(file);
    if (kind->use == use)
        return BL_OK;
    return bl_fail(BL_ERROR_MODEL, "%s: is %s, not %s: %s", bl_safetensors_path(file), kind->what, wanted, kind->way);
}
