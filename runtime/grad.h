/* Reverse mode: the gradient of a scalar loss as nodes of the same graph (Griewank, Walther: Evaluating derivatives, 2008). Layer 3.
 *
 * Weights are constants, so there are only gradients of activations, and nodes are built only where a loss depends on what is asked
 * for. The rule of every op is one function in grad.c. A gradient has the type of its tensor.
 *
 * What lies between the attention maps (fp32) and the network's input may be fp16, whose range is too small for gradients: there they
 * carry a power of two that the graph itself chooses from the gradient of the maps (loss_scale_fwd), and lose it again in fp32. */
#ifndef BL_GRAD_H
#define BL_GRAD_H
#include "graph.h"

/* Where reverse mode starts: at a loss (the output of peak_loss_fwd or cosine_fwd; `gradient` is BL_NONE), times `scale`; or at any
 * tensor y with its gradient given. */
typedef struct bl_seed {
    bl_value y, gradient;
    float scale;
} bl_seed;

/* Largest gradient that a map gets, a power of two: far below 65504, the largest of fp16, and as far above the smallest. */
#define BL_LOSS_TARGET 16.0f

/* Appends the nodes of d loss / d wrt[i] and returns the gradients, fp32 and kept, in out[i]; shapes are those of wrt[i].
 * To be called before bl_graph_fuse. Failures are kept in the graph: BL_ERROR_USAGE if the loss does not depend on wrt[i], or if an op on
 * the way has no gradient. */
void bl_graph_gradient(bl_graph *g, const bl_seed *seeds, uint32_t seed_count, const bl_value *wrt, bl_value *out, uint32_t count);
#endif
