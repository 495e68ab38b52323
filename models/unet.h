/* The U-Net of Stable Diffusion 1.x and 2.x (Rombach et al. 2022), as UNet2DConditionModel of diffusers. Layer 4. */
#ifndef BL_UNET_H
#define BL_UNET_H
#include "config.h"
#include "layers.h"

enum { BL_MAX_MAPS = 64 };

/* Cross-attention maps of one evaluation: those of the layers whose queries lie on the grid of `level` (the latents' size halved level
 * times). */
typedef struct bl_unet_maps {
    uint32_t level;
    bool only;                     /* the network ends with the last of these maps: nothing behind is built */
    bl_value probs[BL_MAX_MAPS];   /* out: kept probabilities [n*heads, h, w, tokens] fp32, named "<attention>.probs", in the
                                      order in which the layers run */
    uint32_t heads[BL_MAX_MAPS];   /* out */
    uint32_t count;                /* out */
} bl_unet_maps;

/* What is added to the attention logits of the last image of a batch, in every cross-attention layer: mask times gain. */
typedef struct bl_unet_gain {
    bl_value masks[BL_MAX_LEVELS]; /* by level, [1,h,w,1] fp32 */
    bl_value gain;                 /* by token, [1,1,1,tokens] fp32 */
} bl_unet_gain;

/* Appends one evaluation: x [n,h,w,in] latents, freqs as bl_unet_frequencies [1,1,1,c0/2] fp32, context [n,tokens,1,context]; the result is
 * the prediction [n,h,w,out] (epsilon or v, as trained); BL_NONE with maps->only. h and w are multiples of 2^(levels-1). The timestep is
 * the step table's. Tensors get the names of diffusers' modules. `maps` and `gain` may be NULL. */
bl_value bl_unet_build(const bl_net *net, const bl_unet_config *c, bl_value x, bl_value freqs, bl_value context, bl_unet_maps *maps,
                       const bl_unet_gain *gain);
/* True if there is a cross-attention layer on the grid of that level. */
bool bl_unet_has_maps(const bl_unet_config *c, uint32_t level);

/* Frequencies of the timestep embedding, `half` of them: exp(-ln(10000) i / half). */
void bl_unet_frequencies(uint32_t half, float *out);
#endif
