/* The CLIP text encoder (Radford et al. 2021), as CLIPTextModel of transformers. Layer 4. */
#ifndef BL_CLIP_TEXT_H
#define BL_CLIP_TEXT_H
#include "config.h"
#include "layers.h"

/* x: token plus position embeddings [n,positions,1,channels]. Result: last_hidden_state after the final norm, same shape. Every layer's
 * output is named "hidden_states.<i>", x itself "hidden_states.0". */
bl_value bl_clip_text_build(const bl_net *net, const bl_text_config *c, bl_value x);

/* BL_ERROR_MODEL unless the two embedding tables are there, of the right shape and of a type that can be read. */
bl_result bl_clip_text_check(const bl_weights *w, const bl_text_config *c);
/* Looks the embeddings of `count` prompts up in the file, on the host: the token table is larger than a binding may be, and few of its rows
 * are used. ids [count, positions]; out [count, positions, channels]. BL_ERROR_MODEL: tables missing or of another shape; an id without
 * a row. */
bl_result bl_clip_text_embed(const bl_weights *w, const bl_text_config *c, const int32_t *ids, uint32_t count, float *out);
#endif
