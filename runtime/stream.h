/* Recording, submitting and copying, in order. Layer 1. */
#ifndef BL_STREAM_H
#define BL_STREAM_H
#include "memory.h"

/* One queue's submissions with a bounded staging buffer. */
typedef struct bl_stream bl_stream;
bl_result bl_stream_create(bl_device *d, bl_stream **out);
void bl_stream_destroy(bl_stream **s);  /* waits; sets *s to NULL; NULL is accepted */
bl_device *bl_stream_device(const bl_stream *s);

/* A command buffer that is recorded once and submitted many times. */
typedef struct bl_commands {
    bl_stream *stream;
    VkCommandBuffer cmd;
    VkDescriptorPool sets;
    VkQueryPool times;  /* VK_NULL_HANDLE when the queue has no timestamps or none were asked for */
} bl_commands;
/* Starts recording with room for `dispatches`; `timed` puts a timestamp before and after. */
bl_result bl_commands_begin(bl_stream *s, uint32_t dispatches, bool timed, bl_commands *out);
/* All earlier dispatches and copies happen before all later ones, with their writes visible. */
void bl_commands_barrier(bl_commands *c);
bl_result bl_commands_end(bl_commands *c);
/* Device time of the last run in nanoseconds, after bl_stream_wait; negative if not timed. */
double bl_commands_time(bl_commands *c);
void bl_commands_destroy(bl_commands *c);  /* not while it runs; a zeroed one is accepted */

/* Queues a recorded command buffer behind everything before. When this or a wait fails, nothing runs any more. */
bl_result bl_stream_submit(bl_stream *s, const bl_commands *c);
/* Blocks until everything submitted has finished. */
bl_result bl_stream_wait(bl_stream *s);

/* Copies through the staging buffer, piece by piece; each call waits for everything submitted. `offset` and `size` in bytes. */
bl_result bl_stream_read(bl_stream *s, const bl_slice *from, uint64_t offset, void *data, uint64_t size);
bl_result bl_stream_write(bl_stream *s, const bl_slice *to, uint64_t offset, const void *data, uint64_t size);
/* The same with the data made in place: `fill` writes bytes [at, at + n) of the data to `out`. `at` is a multiple of `piece`, which is at
 * most bl_stream_piece_limit(). For conversion while loading, without a second copy of the file in memory. */
typedef bl_result (*bl_fill_fn)(void *context, uint64_t at, uint64_t n, void *out);
bl_result bl_stream_fill(bl_stream *s, const bl_slice *to, uint64_t offset, uint64_t size, uint64_t piece, bl_fill_fn fill, void *context);
uint64_t bl_stream_piece_limit(void);
#endif
