/* What each operation means: operands, double-precision reference, work, cases. Layer 2.
 * Ships in the library, because check, bench and self-test all read it. How an operation is computed is in shaders/kernels.def. */
#ifndef BL_OP_H
#define BL_OP_H
#include "base.h"
#include "params.h"
#include <string.h>

enum { BL_MAX_OPERANDS = 7 };  /* the eighth binding is the step table */

typedef enum bl_op {
#define O(name, params, operands, steps, cut) BL_OP_##name,
#include "ops.def"
#undef O
    BL_OP_COUNT
} bl_op;

/* The push constants of any op. `v` is the array of views that every block starts with. */
typedef union bl_params {
    struct view v[BL_MAX_OPERANDS];
#define O(name, params, operands, steps, cut) struct params##_params name;
#include "ops.def"
#undef O
} bl_params;

/* Size of an operand as its op sees it: rows x columns, stride excluded. rows is 0 for an absent optional operand. */
typedef struct bl_extent {
    uint32_t rows, cols;
} bl_extent;

/* A problem to check and bench: all of `p` but its views, which the caller lays out. Values are normal(mean, spread). */
typedef struct bl_op_case {
    const char *name;
    bl_params p;
    float mean, spread;  /* spread 0 means the default, normal(0, 1) */
    bool turns;          /* the second half of the columns of operand 0 has the opposite mean: sums leave the range of fp16 and return */
} bl_op_case;

/* The shapes of real networks, which are for measuring; all other cases are for checking. */
static inline bool bl_case_is_bench(const bl_op_case *c) { return !strncmp(c->name, "bench_", 6); }

typedef enum bl_access { BL_READ = 1, BL_WRITE = 2 } bl_access;
typedef struct bl_operand {
    char name;
    unsigned access;  /* bl_access bits */
    bool storage;     /* of the storage type; else always fp32 */
    bool optional;
    char over;        /* name of the operand whose memory this output may take when nothing else needs it; 0: none */
} bl_operand;

typedef struct bl_op_info {
    const char *name;
    const char *operands;  /* "x:t w:t b:t? y:T": t storage type, f fp32; lower case read, upper case written, with + both; ? optional;
                            /x: may be written over operand x, element by element */
    uint32_t params_size;  /* bytes of push constants */
    bool steps;            /* reads the step table */
    void (*extents)(const bl_params *p, bl_extent *e);
    /* A problem in parts: how many units it has along which it can be cut (0: it cannot), and the part that starts with unit `first`.
     * Narrows *p to at most `count` units, and returns how many it took. Parts compute the bytes that the whole would. */
    uint32_t (*units)(const bl_params *p);
    uint32_t (*cut)(bl_params *p, uint32_t first, uint32_t count);
    double (*flops)(const bl_params *p);  /* work the algorithm needs, a multiply-add counts two */
    uint32_t (*depth)(const bl_params *p);/* longest sum behind one output element: tolerances grow with its root */
    /* The meaning, in double. v[i] is operand i laid out as p's views say (off and stride in elements); absent operands are NULL. */
    void (*ref)(const bl_params *p, double *const *v, const struct bl_step *step);
    const bl_op_case *cases;
    const uint32_t *case_count;
} bl_op_info;

extern const bl_op_info bl_op_infos[BL_OP_COUNT];

/* The case of which other shapes take the values: the first for measuring, or the first of all. */
const bl_op_case *bl_op_usual_case(bl_op op);

/* Where the bits of its optional operands are; NULL if it has none. */
uint32_t *bl_op_given(bl_op op, bl_params *p);

/* Operands of an op, at most BL_MAX_OPERANDS; returns their number. */
uint32_t bl_op_operands(bl_op op, bl_operand *out);

/* Shape of an attention problem, which stands in its block behind the views; zeros for other ops. */
typedef struct bl_heads {
    uint32_t images, heads, head, tq, tk;
} bl_heads;
bl_heads bl_op_heads(bl_op op, const bl_params *p);
/* Another head size, with a scale that leaves the scores of random vectors as large as they were; nothing for other ops. */
void bl_op_set_head(bl_op op, bl_params *p, uint32_t head);

/* Work of a problem, for predicting its time: floating-point operations and bytes moved. */
double bl_op_work(bl_op op, bl_dtype t, const bl_params *p);

/* The convenience of every reference and case: element (r, c) of a view. */
static inline size_t bl_at(const struct view *v, size_t r, size_t c) { return v->off + r * v->stride + c; }
#endif
