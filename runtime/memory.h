/* Device memory: buffers, slices of them, and arenas made of blocks. Layer 1. */
#ifndef BL_MEMORY_H
#define BL_MEMORY_H
#include "device.h"

/* Every slice starts at a multiple of this: the largest storage buffer offset alignment a device may ask for. */
enum { BL_SLICE_ALIGNMENT = 256 };

typedef struct bl_buffer {
    VkBuffer buf;
    VkDeviceMemory mem;
    uint64_t size;  /* bytes */
    void *host;     /* mapped for the buffer's lifetime; NULL if not host-visible */
    bool coherent;
} bl_buffer;

/* Part of a buffer that outlives it. */
typedef struct bl_slice {
    bl_buffer *buffer;
    uint64_t offset, size;  /* bytes */
} bl_slice;

typedef enum bl_memory_kind {
    BL_MEMORY_DEVICE,  /* fastest for shaders */
    BL_MEMORY_STAGING, /* mapped, for copies to and from the device */
} bl_memory_kind;

/* `label` goes into error texts. BL_ERROR_MEMORY when the device has no room. */
bl_result bl_buffer_create(bl_device *d, uint64_t size, bl_memory_kind kind, const char *label, bl_buffer *out);
/* Makes what the host wrote to a mapped buffer visible to the device, or (`to_device` false) the other way; nothing to do for coherent
 * memory. */
bl_result bl_buffer_sync(const bl_device *d, const bl_buffer *b, bool to_device);
void bl_buffer_destroy(bl_device *d, bl_buffer *b);  /* zeroes *b; a zeroed buffer is accepted */

/* Where slices lie in blocks of device memory, each no larger than the device allows and 1 GiB: arithmetic alone, nothing is allocated.
 * `expected`: bytes that will be asked for in all, so that blocks are neither many nor too large; 0 if unknown. */
enum { BL_MAX_BLOCKS = 256 };
typedef struct bl_layout {
    uint64_t limit, expected;  /* bytes: of a block; still to come */
    uint64_t sizes[BL_MAX_BLOCKS], used[BL_MAX_BLOCKS];
    uint32_t count;            /* blocks */
} bl_layout;
void bl_layout_begin(const bl_device *d, uint64_t expected, bl_layout *out);
/* A place for `size` bytes, aligned to BL_SLICE_ALIGNMENT, never across blocks. BL_ERROR_MEMORY if larger than a block can be. */
bl_result bl_layout_place(bl_layout *l, uint64_t size, const char *label, uint32_t *block, uint64_t *offset);
uint64_t bl_layout_bytes(const bl_layout *l);  /* of all blocks */

/* Device memory in such a layout: a block is allocated by the first slice in it, all are freed at once. */
typedef struct bl_arena bl_arena;
bl_result bl_arena_create(bl_device *d, uint64_t expected, const char *label, bl_arena **out);
void bl_arena_destroy(bl_arena **arena);  /* sets *arena to NULL; NULL is accepted */
bl_result bl_arena_slice(bl_arena *arena, uint64_t size, bl_slice *out);
uint64_t bl_arena_bytes(const bl_arena *arena);
/* Bytes that one block can have on this device. */
uint64_t bl_block_limit(const bl_device *d);
/* What a slice of `size` bytes takes of a block; `size` is at most 2^63. */
static inline uint64_t bl_slice_bytes(uint64_t size) { return (size + BL_SLICE_ALIGNMENT - 1) / BL_SLICE_ALIGNMENT * BL_SLICE_ALIGNMENT; }
#endif
