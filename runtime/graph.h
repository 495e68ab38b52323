/* A network described once per shape: nothing runs here. Layer 3.
 *
 * Builders append a node and return its output. The first failure (a shape that does not fit, memory) is kept: from then on every
 * builder returns BL_NONE, and bl_graph_check says why, so that a network reads as its equations. All tensors are channels-last
 * [n, h, w, c], which is also [n, tokens, c] with h = tokens, w = 1. */
#ifndef BL_GRAPH_H
#define BL_GRAPH_H
#include "memory.h"
#include "op.h"

typedef uint32_t bl_value;  /* a tensor of a graph */
#define BL_NONE 0u          /* no tensor: an absent optional operand, or a failure kept in the graph */

typedef struct bl_shape {
    uint32_t n, h, w, c;
} bl_shape;

/* A constant matrix on the device, owned by whoever loads it; the slice is filled in before the graph is recorded. */
typedef struct bl_weight {
    const char *name;
    uint32_t rows, cols;
    bl_dtype type;
    bl_slice slice;
} bl_weight;

/* Memory behind values: one matrix of rows x width elements. Views of it share it. */
typedef struct bl_storage {
    uint64_t rows, width;      /* elements */
    bl_dtype type;
    const bl_weight *weight;   /* constant; not planned */
    bool pinned;               /* lives from the first to the last node: inputs, state, kept tensors */
} bl_storage;

typedef struct bl_tensor {
    bl_shape shape;
    uint32_t storage;
    struct view view;          /* in its storage */
    const char *name;          /* owned; NULL if none */
} bl_tensor;

/* First column of its storage that a tensor covers. */
static inline uint32_t bl_first_column(const bl_tensor *t) { return t->view.stride ? t->view.off % t->view.stride : t->view.off; }

typedef struct bl_node {
    bl_op op;
    bl_dtype type;             /* storage type: picks the variant */
    bl_params p;               /* views are filled in when it is recorded */
    bl_value operands[BL_MAX_OPERANDS];
    bool dead;                 /* merged into another by bl_graph_fuse */
} bl_node;

typedef struct bl_graph {
    bl_dtype type;             /* storage type of activations */
    bool keep_named;           /* every named tensor is kept, so that it can be read after a run */
    bl_tensor *tensors;        /* [0] is BL_NONE */
    bl_storage *storages;
    bl_node *nodes;
    uint32_t tensor_count, tensor_room, storage_count, storage_room, node_count, node_room;
    bl_result failed;
    char reason[320];
} bl_graph;

/* `keep_named`: for comparing every stage with golden tensors. */
bl_result bl_graph_create(bl_dtype type, bool keep_named, bl_graph **out);
void bl_graph_destroy(bl_graph **g);  /* sets *g to NULL; NULL is accepted */
/* BL_OK, or the first failure of a builder with its reason. */
bl_result bl_graph_check(const bl_graph *g);
/* Keeps a failure of a caller that builds on the graph; the first one counts. Returns BL_NONE. */
bl_value bl_graph_fail(bl_graph *g, bl_result r, const char *fmt, ...) BL_PRINTF(3, 4);

/* --- tensors -------------------------------------------------------------------------------------------------------- */

/* Written by the host before a run, or state that nodes change in place; keeps its contents between runs. */
bl_value bl_graph_input(bl_graph *g, const char *name, bl_shape shape, bl_dtype type);
bl_value bl_graph_weight(bl_graph *g, const bl_weight *w); /* shape [1, 1, rows, cols] */
/* Names a tensor ("down_blocks.0.resnets.1"); printf-like; names need not be unique. Returns x. */
bl_value bl_graph_name(bl_graph *g, bl_value x, const char *fmt, ...) BL_PRINTF(3, 4);
bl_value bl_graph_keep(bl_graph *g, bl_value x); /* readable after a run; returns x */
bl_shape bl_graph_shape(const bl_graph *g, bl_value x); /* zeroes for BL_NONE */
/* The tensor of that name, the last one if several; BL_NONE if there is none. */
bl_value bl_graph_find(const bl_graph *g, const char *name);

/* Views: no copy. Channels first .. first+count; images first .. first+count; the same rows under another n, h, w. */
bl_value bl_graph_channels(bl_graph *g, bl_value x, uint32_t first, uint32_t count);
bl_value bl_graph_images(bl_graph *g, bl_value x, uint32_t first, uint32_t count);
bl_value bl_graph_rows(bl_graph *g, bl_value x, uint32_t first, uint32_t count); /* tokens of one image: [1, count, 1, c] */
bl_value bl_graph_reshape(bl_graph *g, bl_value x, uint32_t n, uint32_t h, uint32_t w);
/* y = x, of the same shape and type, into a tensor or a view that is there already. Returns y. */
bl_value bl_graph_copy(bl_graph *g, bl_value x, bl_value y);
/* Channels of a, then of b. No copy where both own their memory: they become views of the result, and their producers write there. */
bl_value bl_graph_concat(bl_graph *g, bl_value a, bl_value b);

/* --- nodes: see params.h for the formulas ----------------------------------------------------------------------------- */

/* y = x w^T + b over channels; w [out, in], b [1, out] or BL_NONE. A 1x1 convolution is this. */
bl_value bl_graph_linear(bl_graph *g, bl_value x, bl_value w, bl_value b);
/* Convolution with `kernel` x `kernel` taps; w [out, kernel*kernel*in]. Stride 1 keeps the size. Stride 2 halves it, padded by one on all
 * sides, or with `asymmetric` (the VAE's encoder) below and right only. */
bl_value bl_graph_conv(bl_graph *g, bl_value x, bl_value w, bl_value b, uint32_t kernel, uint32_t stride, bool asymmetric);
/* Patches of `patch` x `patch` pixels side by side, each one output pixel; w [out, patch*patch*in]. The sides are multiples of it. */
bl_value bl_graph_patches(bl_graph *g, bl_value x, bl_value w, uint32_t patch);
bl_value bl_graph_group_norm(bl_graph *g, bl_value x, bl_value w, bl_value b, uint32_t groups, float eps);
bl_value bl_graph_layer_norm(bl_graph *g, bl_value x, bl_value w, bl_value b, float eps);
/* q [n, tq, heads*d], k and v [n, tk, heads*d]; scale 1/sqrt(d). */
bl_value bl_graph_attention(bl_graph *g, bl_value q, bl_value k, bl_value v, uint32_t heads, bool causal);
/* The same in two halves, for what needs the probabilities, fp32 [n*heads, h, w, tk] with h and w of q: softmax(scale q k^T), and their
 * product with v. */
bl_value bl_graph_attention_probs(bl_graph *g, bl_value q, bl_value k, uint32_t heads, bool causal);
bl_value bl_graph_attention_values(bl_graph *g, bl_value probs, bl_value v, uint32_t heads);
bl_value bl_graph_activation(bl_graph *g, bl_value x, uint32_t act);
bl_value bl_graph_geglu(bl_graph *g, bl_value x);
/* y has x's shape, or [n, 1, 1, c]: one row for each image. */
bl_value bl_graph_add(bl_graph *g, bl_value x, bl_value y);
bl_value bl_graph_upsample(bl_graph *g, bl_value x);
/* freqs: fp32 input [1, 1, 1, half]. Result [1, 1, 1, 2*half], t from the step table. */
bl_value bl_graph_timestep_embedding(bl_graph *g, bl_value freqs);
/* fp32 x [n,h,w,c] to the storage type, times `scale` and, if per_step, the step's in_scale; [copies*n, h, w, c]. */
bl_value bl_graph_scale(bl_graph *g, bl_value x, uint32_t copies, float scale, bool per_step);
/* x [branches*n, h, w, c] to fp32 [n, h, w, c]; branches 1 or 2 (unconditional first). */
bl_value bl_graph_guidance(bl_graph *g, bl_value x, uint32_t branches);
/* In place on the fp32 inputs x [n,h,w,c] and history [4n,h,w,c]; noise may be BL_NONE. */
void bl_graph_scheduler_step(bl_graph *g, bl_value e, bl_value noise, bl_value x, bl_value history);
/* In place on x: outside the mask [n,h,w,1] the source z at the step's new noise level. */
void bl_graph_blend(bl_graph *g, bl_value mask, bl_value z, bl_value noise, bl_value x);
/* Last of a step: the next run uses the next row of the step table, which has `steps`. */
void bl_graph_step_next(bl_graph *g, uint32_t steps);

/* --- attention maps, losses, pictures (graph_map.c); maps are fp32 --------------------------------------------------------- */

/* y = r + scale * sum over heads; x [n*heads, h, w, c], r [n, h, w, c] or BL_NONE. */
bl_value bl_graph_heads_mean(bl_graph *g, bl_value x, bl_value r, uint32_t heads, float scale);
bl_value bl_graph_softmax(bl_graph *g, bl_value x, float scale); /* over channels */
/* 3x3 filter (edge, centre, edge) along lines and columns of one map, reflected at the border. */
bl_value bl_graph_smooth(bl_graph *g, bl_value x, float edge, float centre);
/* How far the maps x [1,h,w,c] are from a peak of 1 inside the mask [1,h,w,1] (BL_NONE: anywhere): [1,1,1,1+2c], first the loss, the
 * largest of max(0, 1 - top) over the maps, or their mean; then top and its row for every map. */
bl_value bl_graph_peak_loss(bl_graph *g, bl_value x, bl_value mask, bool mean);
/* Adds mask [1,h,w,1] times gain [1,1,1,tk] to the logits behind kept probabilities p [heads,h,w,tk], into y of p's shape, which is
 * returned. */
bl_value bl_graph_attention_gain(bl_graph *g, bl_value p, bl_value mask, bl_value gain, bl_value y);
bl_value bl_graph_cosine(bl_graph *g, bl_value x, bl_value y); /* [n,h,w,1] fp32: of the channels of every row */
bl_value bl_graph_clamp(bl_graph *g, bl_value x, float scale, float shift); /* scale x + shift, limited to 0 .. 1 */
bl_value bl_graph_bicubic(bl_graph *g, bl_value x, uint32_t oh, uint32_t ow);
bl_value bl_graph_normalize(bl_graph *g, bl_value x, bl_value m); /* m [1,1,2,c] fp32: what is subtracted, then what is multiplied by */

/* --- for passes and builders in other files ------------------------------------------------------------------------------ */

bl_value bl_graph_tensor(bl_graph *g, bl_shape shape, bl_dtype type); /* a new one, with memory of its own */
bl_dtype bl_graph_type(const bl_graph *g, bl_value x);
/* A node; its storage type is that of its operands. */
void bl_graph_append(bl_graph *g, bl_op op, const bl_params *p, const bl_value *operands, uint32_t count);
/* BL_NODE(g, add_fwd, ((struct add_params){ .. }), x, y, z) */
#define BL_NODE(g, op, params, ...) \
    bl_graph_append(g, BL_OP_##op, &(bl_params){ .op = params }, (const bl_value[]){ __VA_ARGS__ }, \
                    sizeof((const bl_value[]){ __VA_ARGS__ }) / sizeof(bl_value))
static inline uint32_t bl_rows(bl_shape s) { return s.n * s.h * s.w; } /* below 2^31: checked when the tensor was made */
/* Work of all nodes, in floating-point operations; a multiply-add counts two. */
double bl_graph_flops(const bl_graph *g);

/* --- passes ------------------------------------------------------------------------------------------------------------ */

/* Merges activations, additions and upsampling into the products, convolutions and norms beside them (fuse.c). Results keep their
 * order of operations, so in fp32 they keep their bytes. Tensors that are kept stay. */
bl_result bl_graph_fuse(bl_graph *g);
/* Push constants of a node with the views of its operands. */
bl_params bl_graph_params(const bl_graph *g, const bl_node *n);
#endif
