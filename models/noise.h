/* Counter-based random numbers: the same bits from every compiler, on every processor. Layer 4.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011). The key is the 64-bit seed, the
 * counter (block index low, block index high, stream, 0). A block gives four words, so word i is lane i % 4 of block i / 4. A value
 * depends on seed, stream and its index alone: draws need no order, and there is no state.
 *
 * Logarithm, sine and cosine are this file's own, in double precision with + - * / and square root only, which IEEE 754 rounds
 * exactly; compiled without contraction (-ffp-contract=off) they leave a compiler no freedom. */
#ifndef BL_NOISE_H
#define BL_NOISE_H
#include "base.h"

/* What the numbers are for; streams of one seed are independent. The values are part of what a seed means: only append. */
typedef enum bl_noise_stream {
    BL_NOISE_LATENTS, /* start noise, one number per latent, NCHW */
    BL_NOISE_VAE,     /* sampling of the encoder's distribution */
    BL_NOISE_BLEND,   /* noise of the source in masked blending */
    BL_NOISE_STEP,    /* noise of stochastic scheduler steps: step i starts at i * latents */
    BL_NOISE_MASK,    /* random masks */
    BL_NOISE_SYNTHESIS, /* defects made without a model */
    BL_NOISE_WEIGHTS, /* weights of networks that are only measured */
} bl_noise_stream;

/* One block: ten rounds over `counter` under `key`, words in the order of the paper. */
void bl_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Uniform words `first` .. `first + count - 1` of a stream; indices wrap at 2^64. */
void bl_noise_words(uint64_t seed, uint32_t stream, uint64_t first, size_t count, uint32_t *out);

/* Standard normal numbers `first` .. `first + count - 1` of a stream (Box, Muller 1958): words 2j and 2j+1 give numbers 2j (cosine) and
 * 2j+1 (sine). At most 6.8 in magnitude. A tensor is filled in NCHW order whatever its layout in memory. */
void bl_noise_normal(uint64_t seed, uint32_t stream, uint64_t first, size_t count, float *out);

/* Natural logarithm of a positive, normal, finite x; within 2 ulp, or 1e-16 absolute near 1. */
double bl_log(double x);
/* Sine and cosine of `turns` * 2 pi for 0 <= turns <= 1; within 3e-16 absolute. */
void bl_sincos_turns(double turns, double *sine, double *cosine);
#endif
