/* Activations computed again instead of kept (Chen, Xu, Zhang, Guestrin: Training deep nets with sublinear memory cost, 2016). Layer 3.
 *
 * A gradient reads the activations of its forward part in reverse order, so all of them live until then. Cut into segments, only what one
 * segment takes from another lives on; the rest is computed a second time, a segment at once, where the first node behind the forward
 * part asks for it. The nodes are the same with the same operands, so the results are the same bytes. */
#ifndef BL_RECOMPUTE_H
#define BL_RECOMPUTE_H
#include "plan.h"

/* Cuts the first `forward_nodes` nodes of a graph into `segments` runs and computes the activations of all but the last again; 1 or less
 * changes nothing. To be called after bl_graph_fuse, which keeps the places of nodes. Weights, inputs and kept tensors stay as they are,
 * and so do: what is written from several segments (concatenations), what follows from the step table, what a node changes in place, and
 * what is so small that it costs nothing. */
bl_result bl_graph_recompute(bl_graph *g, uint32_t forward_nodes, uint32_t segments);
/* Plans the graph with as few segments as make it fit into `bytes`, or with those that need the least memory; *segments says how many.
 * Without a forward part (`forward_nodes` 0) that is bl_plan_create. */
bl_result bl_plan_within(bl_graph *g, uint32_t forward_nodes, uint64_t block_limit, uint64_t bytes, bl_plan **out, uint32_t *segments);
#endif
