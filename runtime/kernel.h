/* The compiled shaders: choosing an implementation, its pipeline, one dispatch. Layer 2. */
#ifndef BL_KERNEL_H
#define BL_KERNEL_H
#include "impl.h"
#include "pipeline_cache.h"
#include "program.h"
#include "tuning.h"

typedef struct bl_kernels bl_kernels;
/* Pipelines are made when first recorded. `cache` (NULL: none) has the driver's pipeline cache, whose folder gets it back in the end;
 * a bad one is a miss. */
bl_result bl_kernels_create(bl_device *d, const bl_cache_source *cache, bl_kernels **out);
/* The driver's pipeline cache now, freed by the caller. */
bl_result bl_kernels_cache(const bl_kernels *ks, uint8_t **data, size_t *size);
void bl_kernels_destroy(bl_kernels **k);  /* writes the cache; sets *k to NULL; NULL is accepted */

/* True if the device, with the capabilities in use, runs implementation `k` for storage type `t`, and it was built. */
bool bl_kernel_able(const bl_kernels *ks, bl_kernel k, bl_dtype t);
/* Takes it out of use, because it computes wrong results here: from now on it is not able. */
void bl_kernel_disable(bl_kernels *ks, bl_kernel k, bl_dtype t);
/* Problems are computed as `tuning` (taken over; NULL: nothing) says from now on; and what that is, which stays the kernels'. */
void bl_kernels_set_tuning(bl_kernels *ks, json_t *tuning);
const json_t *bl_kernels_tuning(const bl_kernels *ks);
/* The implementation for a problem: the one that the tuning names if it is able and fits, else the first in the table that is and does.
 * BL_ERROR_DEVICE if there is none. */
bl_result bl_kernel_choose(const bl_kernels *ks, bl_op op, bl_dtype t, const bl_params *p, bl_kernel *out);

/* One dispatch as data: a problem, or the workgroups base .. base + groups - 1 of its grid. */
typedef struct bl_dispatch {
    bl_kernel kernel;
    bl_dtype type;
    bl_params p;
    bl_slice operands[BL_MAX_OPERANDS];  /* where operand i's view starts counting; buffer NULL: an absent optional one */
    bl_slice steps;                      /* the step table; buffer NULL for ops without */
    uint32_t base[3], groups[3];
} bl_dispatch;

/* Sets base and groups to the whole grid of the problem. BL_ERROR_DEVICE if that is larger than the guaranteed limits. */
bl_result bl_dispatch_whole(bl_dispatch *d);
/* True if the view of every operand fits a binding of the device. */
bool bl_dispatch_binds(const bl_kernels *ks, const bl_dispatch *d);
/* Work of the dispatch, as bl_op_work of the problem and its share of the grid. */
double bl_dispatch_work(const bl_dispatch *d);

/* Records one dispatch. Each operand is bound with exactly the range that its view covers.
 * BL_ERROR_DEVICE if an operand is larger than a binding can be. */
bl_result bl_kernel_record(bl_kernels *ks, bl_commands *c, const bl_dispatch *d);

/* A pipeline that is to be used for the first time, or again; `head`: size of an attention head, else 0. BL_ERROR_MISMATCH: it was wrong
 * and is disabled, another implementation has to be chosen. Other errors end the work. */
typedef bl_result (*bl_prove_fn)(void *user, bl_kernel k, bl_dtype t, uint32_t head);
/* Who is asked by bl_kernel_prove; NULL: every pipeline is taken as it is. `user` must outlive the kernels' use. */
void bl_kernels_set_prover(bl_kernels *ks, bl_prove_fn prove, void *user);
bl_result bl_kernel_prove(const bl_kernels *ks, const bl_dispatch *d);
/* A hash of all that makes a pipeline: its name, code and constants. */
uint64_t bl_kernel_hash(bl_kernel k, bl_dtype t, uint32_t head);

/* Nanoseconds of one unit of work in the pipeline of a dispatch, as measured on this device; 0 while unknown. */
double bl_kernel_rate(const bl_kernels *ks, const bl_dispatch *d);
void bl_kernel_set_rate(bl_kernels *ks, const bl_dispatch *d, double ns);  /* of a pipeline that has been recorded */
/* Notes what a dispatch took, and takes the average of what has been noted of a pipeline as its rate. */
void bl_kernel_tally(bl_kernels *ks, const bl_dispatch *d, double ns);
void bl_kernels_learn(bl_kernels *ks);

/* For measuring. Pipelines made from now on keep what the driver can say about them, and bl_kernel_stats tells it, of the pipeline of a
 * dispatch that has been recorded. */
void bl_kernels_keep_stats(bl_kernels *ks);
void bl_kernel_stats(const bl_kernels *ks, const bl_dispatch *d, bl_pipeline_stats *out);
/* Nanoseconds that making the pipeline of a dispatch took, as noted by the one who saw it made; 0: not noted. */
double bl_kernel_compile_time(const bl_kernels *ks, const bl_dispatch *d);
void bl_kernel_set_compile_time(bl_kernels *ks, const bl_dispatch *d, double ns);
/* SHA-256 of the sources of all shaders and their tables, in hexadecimal: which kernels these are. */
const char *bl_kernels_sum(void);

/* "conv_fwd_direct_f32"; the text has room for 96 bytes. */
void bl_kernel_label(bl_kernel k, bl_dtype t, char *text);

/* Gives the stream a counter that the last dispatch of every submission increments and the host reads, so that work which a driver
 * dropped is noticed (stream.h). The kernels must outlive the stream's last submission. */
bl_result bl_kernels_guard(bl_kernels *ks, bl_stream *s);

/* Forgets which implementations have been recorded. */
void bl_kernels_forget(bl_kernels *ks);
/* Whether an implementation has been recorded since then, in any storage type. */
bool bl_kernel_used(const bl_kernels *ks, bl_kernel k);
/* The implementations recorded since then, in table order: "matmul_fwd_direct_f32". */
void bl_kernels_used(const bl_kernels *ks, void (*each)(void *user, const char *name), void *user);
#endif
