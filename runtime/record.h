/* A planned graph as the list of dispatches that run it, with the barriers between them. Data only; exec.h puts it on a device. Layer 3. */
#ifndef BL_RECORD_H
#define BL_RECORD_H
#include "kernel.h"
#include "plan.h"

typedef struct bl_command {
    bl_dispatch d;
    uint32_t node;   /* of the graph. Commands of one node are parts of one dispatch: they write different bytes and read none of those */
    bool barrier;    /* everything before has finished */
    bool begins;     /* a segment, the unit of submission, begins here; then there is a barrier, too */
    double ns;       /* predicted time */
} bl_command;

typedef struct bl_record {
    bl_command *list;
    uint32_t count, room;
} bl_record;

/* One command for each live node of the graph, in order; several where an operand is larger than a binding of the device.
 * `blocks`: the plan's, on the device. `steps`: the step table, or a zeroed slice. */
bl_result bl_record_create(const bl_kernels *ks, const bl_graph *g, const bl_plan *plan, bl_buffer *blocks, const bl_slice *steps,
                           bl_record *out);
void bl_record_destroy(bl_record *r);  /* zeroes *r; a zeroed record is accepted */

/* The same with every command that is predicted to take longer than `ns` cut by workgroups into pieces that do not. */
bl_result bl_record_cut(const bl_kernels *ks, const bl_record *r, double ns, bl_record *out);
/* The first workgroups of a dispatch, at most `groups` of them: a box that the grid can be covered with. */
bl_dispatch bl_dispatch_first(const bl_dispatch *d, uint64_t groups);
/* Puts a barrier before every command that touches bytes which another since the last barrier wrote, or writes what it read, and
 * segments at barriers and elsewhere so that none is predicted to take longer than `ns`, unless it is one command. */
bl_result bl_record_barriers(bl_record *r, double ns);
/* Proves it: BL_ERROR_DEVICE names two commands that touch the same bytes with no barrier between them, one of them writing.
 * Works from the bound bytes, row by row, and shares nothing with bl_record_barriers but the list of what a dispatch touches. */
bl_result bl_record_check(const bl_record *r);

/* `rows` times `bytes` bytes, `pitch` apart. */
typedef struct bl_touch {
    const bl_buffer *buffer;
    uint64_t begin, pitch, bytes;
    uint32_t rows;
    bool write;
} bl_touch;
enum { BL_MAX_TOUCHES = BL_MAX_OPERANDS + 1 };
/* What the problem of a dispatch reads and writes; returns how many. */
uint32_t bl_dispatch_touches(const bl_dispatch *d, bl_touch *out);
#endif
