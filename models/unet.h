/* The U-Net of Stable Diffusion 1.x and 2.x (Rombach et al. 2022), as UNet2DConditionModel of diffusers. Layer 4. */
#ifndef BL_UNET_H
#define BL_UNET_H
#include "config.h"
#include "layers.h"

/* Appends one evaluation: x [n,h,w,in] latents, freqs as bl_unet_frequencies [1,1,1,c0/2] fp32, context [n,tokens,1,context]; the result is
 * the prediction [n,h,w,out] (epsilon or v, as trained). h and w are multiples of 2^(levels-1). The timestep is the step table's.
 * Tensors get the names of diffusers' modules. `keep_tokens`: cross-attention layers with that many queries keep their probabilities,
 * named "<attention>.probs" [n*heads, queries, 1, tokens]; 0: none. */
bl_value bl_unet_build(const bl_net *net, const bl_unet_config *c, bl_value x, bl_value freqs, bl_value context, uint32_t keep_tokens);

/* Frequencies of the timestep embedding, `half` of them: exp(-ln(10000) i / half). */
void bl_unet_frequencies(uint32_t half, float *out);
#endif
