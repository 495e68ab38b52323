/* The autoencoder of Stable Diffusion (Rombach et al. 2022), as AutoencoderKL of diffusers; or, where the configuration says so, TAESD
 * (taesd.h) in its place. Layer 4. */
#ifndef BL_VAE_H
#define BL_VAE_H
#include "config.h"
#include "layers.h"

/* image [n,h,w,4]: RGB in -1 .. 1 and a zero channel; h and w multiples of 2^(levels-1). Result: [n,h/f,w/f,2*latent], the mean of the
 * latents' distribution and, behind it, the logarithm of its variance; of TAESD [n,h/f,w/f,latent], the latents. Tensors get the names of
 * diffusers' modules. */
bl_value bl_vae_encode(const bl_net *net, const bl_vae_config *c, bl_value image);
/* latents [n,h,w,latent], already divided by the scaling factor. Result: [n,f*h,f*w,4], RGB around -1 .. 1 and a channel that
 * means nothing. */
bl_value bl_vae_decode(const bl_net *net, const bl_vae_config *c, bl_value latents);
/* Pixels of a latent's side: 8 for Stable Diffusion. */
static inline uint32_t bl_vae_factor(const bl_vae_config *c) { return 1u << (c->levels - 1); }
#endif
