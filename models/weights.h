/* The tensors of one network: bound by name and shape first, then streamed to the device. Layer 4.
 * Two gates pass before device memory is touched: the container is sound (safetensors.h), and the network found all it needs. */
#ifndef BL_WEIGHTS_H
#define BL_WEIGHTS_H
#include "graph.h"
#include "stream.h"
#include "tensors.h"

enum { BL_WEIGHT_PARTS = 3 };

typedef struct bl_weights bl_weights;
/* Those tensors of a model whose names start with `net` ("unet."), which are to be stored as `type` on the device. `place` says in messages
 * where a missing one was looked for. Tensors and `net` must outlive the weights. */
bl_result bl_weights_open(bl_tensors *tensors, const char *net, const char *place, bl_dtype type, bl_device *d, bl_weights **out);
void bl_weights_close(bl_weights **w);  /* frees the device memory too; sets *w to NULL; NULL is accepted */
/* For tensors that stay on the host. Its shape is `dims` but for trailing ones (a 1x1 convolution is a matrix). BL_ERROR_MODEL: it is
 * missing, has another shape or a type that cannot be used. */
bl_result bl_weights_find(const bl_weights *w, const char *name, const uint64_t *dims, uint32_t rank, const bl_stored **out);

/* What a network needs. Each returns the matrix as the kernels read it, the same one when asked again, or NULL with the reason kept in the
 * graph (BL_ERROR_MODEL: missing, or another shape). Rows and columns are rounded up to 4 with zeros.
 * Convolutions [out, in, k, k] become [out, k*k*in] with the input channel fastest; [out, in, 1, 1] and [out, in] are the same. */
const bl_weight *bl_weights_conv(bl_weights *w, bl_graph *g, uint32_t out, uint32_t in, uint32_t kernel, const char *name);
/* `parts` matrices [out, in], or vectors, stacked: one product instead of several. */
const bl_weight *bl_weights_matrix(bl_weights *w, bl_graph *g, uint32_t out, uint32_t in, uint32_t parts, const char *const *names);
const bl_weight *bl_weights_vector(bl_weights *w, bl_graph *g, uint32_t n, uint32_t parts, const char *const *names);

/* Loads those weights of a graph that are not on the device yet: all of them, or none on failure. Takes little host memory, whatever the
 * size. BL_ERROR_MODEL: a value that the storage type cannot hold. */
bl_result bl_weights_load(bl_weights *w, const bl_graph *g, bl_stream *s);
/* Device memory that loading them would take, in bytes. UINT64_MAX if the device cannot hold them at all, for which loading gives the
 * reason. */
uint64_t bl_weights_missing(const bl_weights *w, const bl_graph *g);
/* For plans: from now on bl_weights_missing takes those of a graph for loaded, or none any more (g is NULL); and as they really are. */
void bl_weights_pretend(bl_weights *w, const bl_graph *g);
void bl_weights_stop_pretending(bl_weights *w);
uint64_t bl_weights_bytes(const bl_weights *w);  /* device memory held now */
/* Frees the device memory; a later load brings the weights back. Graphs recorded with them may not run any more. */
void bl_weights_release(bl_weights *w);

/* Multiples of 4: what channels are stored as. */
static inline uint32_t bl_pad4(uint32_t n) { return (n + 3) & ~3u; }
#endif
