/* One case of one op through one implementation, checked against the op's double-precision reference. Layer 2.
 * check, bench and self-test are loops over this. */
#ifndef BL_CHECK_H
#define BL_CHECK_H
#include "kernel.h"

enum { BL_CHECK_PARTS = 3 };

/* An operand on the host. */
typedef struct bl_problem_array {
    uint8_t *bytes;          /* as uploaded: laid out as the view says, in the operand's type, NaN wherever nothing may be read */
    double *ref;             /* [elements] the same as numbers, then what the reference makes of it; NULL before bl_problem_reference */
    size_t elements, size;   /* size in bytes; 0: an absent optional operand */
    bool half;               /* fp16, else fp32 */
    bl_slice slice;
} bl_problem_array;

/* A case in one layout and storage type: operands of normal numbers, device memory for them, and what the op makes of them. */
typedef struct bl_problem {
    bl_kernels *kernels;
    bl_stream *stream;
    bl_op op;
    bl_dtype type;
    const bl_op_case *c;
    bl_params p;             /* the case's, with views */
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS];
    bl_problem_array a[BL_MAX_OPERANDS];
    uint32_t n;              /* operands */
    bl_arena *arena;
    bl_slice operands[BL_MAX_OPERANDS], steps;
    struct { uint32_t step, reserved[3]; struct bl_step row[2]; } table;
    bl_params parts[BL_CHECK_PARTS]; /* of the problem, that have a reference; the whole is one part */
    uint32_t part_count;     /* 0: there is no reference yet */
    double slack;            /* errors may be so many times the tolerance; 1 from bl_problem_create */
    uint8_t *agreed[BL_MAX_OPERANDS]; /* what the first implementation wrote in fp32, which all others must write */
} bl_problem;

/* Sets the views of a case's parameters: operands side by side, or `padded`: with an offset, and gaps between rows. */
void bl_case_lay_out(bl_op op, bl_params *p, bool padded);

/* Makes the operands of `c`, whose views are `padded` (an offset, and gaps between rows) or not. The kernels, the stream and `c` must
 * outlive the problem. *random is the state of the number stream, which goes on with every problem: any value is a seed, and the same
 * one gives the same operands. BL_ERROR_MEMORY. *q is zeroed on failure. */
bl_result bl_problem_create(bl_kernels *ks, bl_stream *s, bl_op op, bl_dtype type, const bl_op_case *c, bool padded, uint64_t *random,
                            bl_problem *q);
void bl_problem_destroy(bl_problem *q); /* zeroes *q; a zeroed one is accepted */

/* Computes what the op makes of the operands: of the whole problem if that is at most `flops` floating-point operations of work, else of
 * up to BL_CHECK_PARTS small parts of it, the first, the last and one between, as far as they are. BL_ERROR_USAGE: none is that small. */
bl_result bl_problem_reference(bl_problem *q, double flops);

/* Copies the operands to the device; outputs hold NaN there. */
bl_result bl_problem_upload(const bl_problem *q);
/* The whole problem as one dispatch of implementation k. BL_ERROR_DEVICE: its grid is larger than the guaranteed limits. */
bl_result bl_problem_dispatch(const bl_problem *q, bl_kernel k, bl_dispatch *d);

/* Runs implementation k three times: whole; in parts of the problem and of the grid; and, where an output may lie over an operand, so.
 * Compares the first run with the reference and the others with the first, byte by byte; in fp32 also with what other implementations of
 * this problem wrote (except those of matrix hardware, which sum in another order). Nothing may have been written beside a view.
 * used (may be NULL): per operand the largest share of the tolerance that an element took, negative where nothing was compared.
 * BL_ERROR_MISMATCH: a result is wrong, the reason says where. Other errors: it could not run. */
bl_result bl_problem_check(bl_problem *q, bl_kernel k, double used[BL_MAX_OPERANDS]);
/* Runs it once, whole, and compares that with the reference. */
bl_result bl_problem_check_once(bl_problem *q, bl_kernel k, double used[BL_MAX_OPERANDS]);
#endif
