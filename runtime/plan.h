/* Where every tensor lies, before anything is allocated. Layer 3. */
#ifndef BL_PLAN_H
#define BL_PLAN_H
#include "graph.h"

typedef struct bl_place {
    bool planned;                /* false: constant, or no node uses it */
    uint32_t root;               /* storage whose memory it has: itself, or an operand that its producer overwrites */
    uint32_t first, last;        /* nodes between which it is alive, both included; of a root, with all that lie over it */
    uint32_t block;
    uint64_t offset, size;       /* bytes; offset in its block */
} bl_place;

typedef struct bl_plan {
    bl_place *places;            /* by storage */
    uint32_t place_count;
    uint64_t *blocks;            /* bytes of each block */
    uint32_t block_count;
    uint64_t bytes;              /* of all blocks: the graph's device memory besides its weights */
} bl_plan;

/* Lays the tensors of a checked graph into blocks of at most `block_limit` bytes so that tensors alive at the same node never overlap,
 * but for outputs that take the memory of an operand which dies there (bl_operand.over).
 * BL_ERROR_MEMORY: a tensor is larger than a block. */
bl_result bl_plan_create(const bl_graph *g, uint64_t block_limit, bl_plan **out);
/* Memory of a storage: of its weight, or its place in `blocks`, which are the plan's on the device. */
bl_slice bl_plan_slice(const bl_graph *g, const bl_plan *plan, bl_buffer *blocks, uint32_t storage);
void bl_plan_destroy(bl_plan **plan);  /* sets *plan to NULL; NULL is accepted */
#endif
