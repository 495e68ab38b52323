/* Known answers: a pipeline is used once it has computed small problems as the double-precision references do. Layer 2.
 * Drivers have wrong compilers, and say nothing: docs/engine.md has examples. What was right once is kept in the cache folder and not
 * tried again on that device with that driver. */
#ifndef BL_PROVER_H
#define BL_PROVER_H
#include "check.h"

typedef struct bl_prover bl_prover;

typedef struct bl_proof {
    uint32_t cases;           /* that were computed */
    double used;              /* the largest error as a share of what is allowed */
    char first_wrong[64];     /* case; "" if all were right */
} bl_proof;

/* From now on every pipeline of `ks` is proved before its first use. A wrong one that needs a capability (or 16-bit storage) is disabled
 * and named to `warn`; a wrong one that needs none is BL_ERROR_DEVICE: nothing is right to put in its place.
 * `dir`: where it is kept what was right, NULL: nowhere. */
bl_result bl_prover_create(bl_kernels *ks, bl_stream *s, const char *dir, void (*warn)(void *user, const char *text), void *user,
                           bl_prover **out);
void bl_prover_destroy(bl_prover **p); /* writes the file; before the kernels and the stream; sets *p to NULL; NULL is accepted */

/* Proves one pipeline, whatever is known of it. BL_ERROR_MISMATCH: it is wrong, the reason says where. It is not disabled. */
bl_result bl_prover_try(bl_prover *p, bl_kernel k, bl_dtype t, uint32_t head, bl_proof *proof);
/* The head sizes with which an attention kernel is tried where no model says which: the first among its cases, and the first that is not
 * a multiple of 4; 0, one, for others. Returns how many; 0: it has no case. */
uint32_t bl_prover_heads(bl_kernel k, uint32_t heads[2]);
/* What is kept of a pipeline: it was right. */
bool bl_prover_knows(const bl_prover *p, bl_kernel k, bl_dtype t, uint32_t head);
#endif
