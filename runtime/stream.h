/* Recording, submitting and copying, in order. Layer 1. */
#ifndef BL_STREAM_H
#define BL_STREAM_H
#include "memory.h"

/* One queue's submissions with a bounded staging buffer. */
typedef struct bl_stream bl_stream;
bl_result bl_stream_create(bl_device *d, bl_stream **out);
void bl_stream_destroy(bl_stream **s);  /* waits; sets *s to NULL; NULL is accepted */
bl_device *bl_stream_device(const bl_stream *s);
/* `interrupt` is asked before every submission; non-zero ends the call with BL_ERROR_CANCELLED. NULL: never. */
void bl_stream_set_interrupt(bl_stream *s, int (*interrupt)(void *user), void *user);

/* A command buffer that is recorded once and submitted many times. */
typedef struct bl_commands {
    bl_stream *stream;
    VkCommandBuffer cmd;
    VkDescriptorPool sets;
    VkQueryPool times;  /* VK_NULL_HANDLE when the queue has no timestamps or none were asked for */
} bl_commands;
enum { BL_COMMANDS_TIMED = 1,   /* a timestamp before and after */
       BL_COMMANDS_SHARED = 2 };/* may be in several submissions that run */
/* Starts recording with room for `dispatches`. It begins with a barrier. */
bl_result bl_commands_begin(bl_stream *s, uint32_t dispatches, unsigned flags, bl_commands *out);
/* All earlier dispatches and copies happen before all later ones, with their writes visible. */
void bl_commands_barrier(bl_commands *c);
void bl_commands_host_barrier(bl_commands *c); /* the same towards the host, which reads once they have finished */
void bl_commands_copy(bl_commands *c, const bl_slice *from, const bl_slice *to); /* of one size; vkCmdCopyBuffer */
bl_result bl_commands_end(bl_commands *c);
/* Device time of the last run in nanoseconds, after bl_stream_wait; negative if not timed. */
double bl_commands_time(bl_commands *c);
void bl_commands_destroy(bl_commands *c);  /* not while it runs; a zeroed one is accepted */

enum { BL_STREAM_BATCH = 48 };
/* Queues `count` recorded command buffers, at most BL_STREAM_BATCH, behind everything before, as one submission. Two submissions run at
 * most: this waits for the one before the last. `ns` (may be NULL) receives the time it took, in nanoseconds, when it has been waited
 * for. When this or a wait fails, nothing runs any more; the first loss of the device is kept (bl_device_check). */
bl_result bl_stream_submit(bl_stream *s, const bl_commands *list, uint32_t count, double *ns);
/* Blocks until everything submitted has finished. */
bl_result bl_stream_wait(bl_stream *s);

/* From now on every submission ends with `sentinel`, which adds 1 to the fp32 number in the mapped `counter` (1 after BL_SENTINEL_LAST),
 * and a submission has succeeded only if that has happened: some drivers signal the fence of work that they dropped. NULL: no more. */
void bl_stream_set_sentinel(bl_stream *s, const bl_commands *sentinel, const bl_buffer *counter);
#define BL_SENTINEL_LAST 8388608

/* Copies through the staging buffer, piece by piece; each call waits for everything submitted. `offset` and `size` in bytes. */
bl_result bl_stream_read(bl_stream *s, const bl_slice *from, uint64_t offset, void *data, uint64_t size);
bl_result bl_stream_write(bl_stream *s, const bl_slice *to, uint64_t offset, const void *data, uint64_t size);
/* The same with the data made in place: `fill` writes bytes [at, at + n) of the data to `out`. `at` is a multiple of `piece`, which is at
 * most bl_stream_piece_limit(). For conversion while loading, without a second copy of the file in memory. */
typedef bl_result (*bl_fill_fn)(void *context, uint64_t at, uint64_t n, void *out);
bl_result bl_stream_fill(bl_stream *s, const bl_slice *to, uint64_t offset, uint64_t size, uint64_t piece, bl_fill_fn fill, void *context);
uint64_t bl_stream_piece_limit(void);
#endif
