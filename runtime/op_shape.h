/* The parameters of a problem by name, as text: "m=4096,n=320,k=320,a_rows=1,act=none". Layer 2. */
#ifndef BL_OP_SHAPE_H
#define BL_OP_SHAPE_H
#include "op.h"

enum { BL_SHAPE_TEXT = 256 };

/* The names of an op's parameters behind its views, in the order of its struct in params.h: "given m n k a_rows act". */
const char *bl_op_fields(bl_op op);
/* All parameters with their values; optional operands that are there stand as "given=b+r", activations by name. */
void bl_op_shape_text(bl_op op, const bl_params *p, char text[BL_SHAPE_TEXT]);

/* The shape class of a problem, for which one choice of implementation is made: its sizes in the same form, those of heads and
 * convolution kernels as they are and all others rounded up to a power of two; numbers, flags and optional operands are left out. */
void bl_op_class_text(bl_op op, const bl_params *p, char text[BL_SHAPE_TEXT]);

/* Changes those parameters of *p that `text` names; views are left alone. What follows from others and is not named follows them: the
 * output of a convolution, the slices of channel statistics. BL_ERROR_USAGE, and *p as it was: a name that the op does not have, a value
 * that cannot be, a problem of more than 2^32 elements in an operand. */
bl_result bl_op_shape_parse(bl_op op, const char *text, bl_params *p);
/* True if the op has every parameter that `text` names. */
bool bl_op_shape_names(bl_op op, const char *text);
#endif
