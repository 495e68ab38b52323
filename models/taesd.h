/* TAESD, the tiny autoencoder of Stable Diffusion (github.com/madebyollin/taesd), as AutoencoderTiny of diffusers: convolutions and ReLU
 * only, a seventeenth of the arithmetic of the autoencoder it stands for. Its latents are those of the U-Net as they are. Layer 4. */
#ifndef BL_TAESD_H
#define BL_TAESD_H
#include "config.h"
#include "layers.h"

/* image [n,h,w,4], fp32: RGB in -1 .. 1 and a zero channel; h and w multiples of 2^(levels-1). Result: the latents themselves
 * [n,h/f,w/f,latent], not a distribution. Tensors get the names of diffusers' modules. */
bl_value bl_taesd_encode(const bl_net *net, const bl_vae_config *c, bl_value image);
/* latents [n,h,w,latent], fp32. Result: [n,f*h,f*w,4], RGB around -1 .. 1 and a channel that means nothing. */
bl_value bl_taesd_decode(const bl_net *net, const bl_vae_config *c, bl_value latents);
#endif
