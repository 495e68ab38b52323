/* The random numbers of one picture: this project's own, or those that torch.randn gives for the same seed. Layer 4.
 *
 *   philox      streams of noise.h: a value depends on seed, stream and index alone; the same everywhere
 *   torch-cpu   a CPU generator: MT19937 (Matsumoto, Nishimura 1998) seeded with the lower 32 bits of the seed. 16 numbers and more
 *               come from 24-bit uniform ones in blocks of 16 (j and j + 8 are a Box-Muller pair; when the last block is not full, the
 *               last 16 are drawn anew), fewer from pairs of 53-bit ones, of which the second is kept for the next call. float32
 *   torch-cuda  a CUDA generator: Philox4x32-10 with key = seed and counter = (number of the call, 0, index, 0), and the first number
 *               of curand's Box-Muller, in float32 with fused multiply-add. So it is while one thread makes one number: up to
 *               BL_TORCH_CUDA_MAX numbers in a call on every GPU, above that it depends on the GPU
 *
 * Torch's generators go on from draw to draw, so the order counts: it is that of the diffusers pipelines with one generator, first the
 * sampling of the encoder's distribution (from a photo), then the start noise, then a draw for every step that adds noise. Logarithm,
 * sine and cosine are those of noise.h, rounded once; torch's own are off by a few units in the last place, on CUDA by up to 2^-21 of
 * the circle, so its numbers agree within 2e-6, not to the bit. */
#ifndef BL_NOISE_SOURCE_H
#define BL_NOISE_SOURCE_H
#include "noise.h"

enum { BL_TORCH_CUDA_MAX = 40960 }; /* 40 multiprocessors with 1024 threads: a T4 */

typedef enum bl_rng { BL_RNG_PHILOX, BL_RNG_TORCH_CUDA, BL_RNG_TORCH_CPU, BL_RNG_COUNT } bl_rng;

/* "philox", "torch-cuda", "torch-cpu". */
const char *bl_rng_name(bl_rng rng);
/* NULL is philox. BL_ERROR_USAGE lists the known names. */
bl_result bl_rng_parse(const char *name, bl_rng *out);

/* A copy goes on from the same place. */
typedef struct bl_noise_source {
    bl_rng rng;
    uint64_t seed;
    uint32_t calls;          /* torch-cuda: draws so far */
    uint32_t state[624], at; /* torch-cpu: MT19937 */
    bool spare_given;        /* torch-cpu: second of a pair */
    double spare;
} bl_noise_source;

void bl_noise_source_begin(bl_noise_source *s, bl_rng rng, uint64_t seed);
/* `count` standard normal numbers. philox: numbers `first` .. `first + count - 1` of `stream`; torch: the generator's next, whatever these
 * two are. */
void bl_noise_source_draw(bl_noise_source *s, bl_noise_stream stream, uint64_t first, size_t count, float *out);
#endif
