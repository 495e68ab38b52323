#include "stream.h"
#include <string.h>

enum { STAGING = 8 << 20, FLIGHTS = 2 };

/* A submission that runs, or has run. */
typedef struct flight {
    VkFence fence;
    bool pending;
    double begun, *ns;
    uint32_t number;
} flight;

struct bl_stream {
    bl_device *d;
    VkCommandPool pool;
    VkCommandBuffer copy;
    bl_buffer staging;
    flight flights[FLIGHTS];
    uint32_t next;            /* flight of the next submission: the oldest */
    uint32_t number;          /* of the last submission, as the sentinel counts */
    double finished;          /* when the last one that was waited for did */
    const bl_commands *sentinel;
    const bl_buffer *counter;
    int (*interrupt)(void *user);
    void *user;
};

/* Lets everything finish without asking how. */
static void drain(bl_stream *s)
{
    bool pending = false;
    for (uint32_t i = 0; i < FLIGHTS; i++) {
        pending |= s->flights[i].pending;
        s->flights[i].pending = false;
    }
    if (!pending)
        return;
    bl_device_lock(s->d);
    s->d->vk.QueueWaitIdle(s->d->queue); /* a lost device has nothing left to wait for */
    bl_device_unlock(s->d);
}

bl_result bl_stream_create(bl_device *d, bl_stream **out)
{
    bl_result result = BL_OK;
    bl_stream *s = *out = bl_alloc(1, sizeof(*s));
    if (!s)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a stream");
    s->d = d;
    VK_TRY_MAKE(s->pool, d->vk.CreateCommandPool(d->dev, &(VkCommandPoolCreateInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, .queueFamilyIndex = d->family }, NULL, &s->pool));
    VK_TRY(d->vk.AllocateCommandBuffers(d->dev, &(VkCommandBufferAllocateInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = s->pool, .commandBufferCount = 1 }, &s->copy));
    for (uint32_t i = 0; i < FLIGHTS; i++)
        VK_TRY_MAKE(s->flights[i].fence, d->vk.CreateFence(d->dev, &(VkFenceCreateInfo){
            .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO }, NULL, &s->flights[i].fence));
    BL_TRY(bl_buffer_create(d, STAGING, BL_MEMORY_STAGING, "staging buffer", &s->staging));
    return BL_OK;

fail:
    bl_stream_destroy(out);
    return result;
}

void bl_stream_destroy(bl_stream **stream)
{
    bl_stream *s = *stream;
    *stream = NULL;
    if (!s)
        return;
    drain(s);
    bl_buffer_destroy(s->d, &s->staging);
    for (uint32_t i = 0; i < FLIGHTS; i++)
        if (s->flights[i].fence)
            s->d->vk.DestroyFence(s->d->dev, s->flights[i].fence, NULL);
    if (s->pool)
        s->d->vk.DestroyCommandPool(s->d->dev, s->pool, NULL);
    bl_free(s);
}

bl_device *bl_stream_device(const bl_stream *s) { return s->d; }

void bl_stream_set_interrupt(bl_stream *s, int (*interrupt)(void *user), void *user)
{
    s->interrupt = interrupt;
    s->user = user;
}

void bl_stream_set_sentinel(bl_stream *s, const bl_commands *sentinel, const bl_buffer *counter)
{
    drain(s);
    s->sentinel = sentinel;
    s->counter = counter;
    s->number = 0;
}

/* --- recorded commands ---------------------------------------------------------------------------------------------- */

bl_result bl_commands_begin(bl_stream *s, uint32_t dispatches, unsigned flags, bl_commands *c)
{
    bl_result result = BL_OK;
    const bl_device *d = s->d;
    *c = (bl_commands){ .stream = s };
    VK_TRY(d->vk.AllocateCommandBuffers(d->dev, &(VkCommandBufferAllocateInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = s->pool, .commandBufferCount = 1 }, &c->cmd));
    VK_TRY_MAKE(c->sets, d->vk.CreateDescriptorPool(d->dev, &(VkDescriptorPoolCreateInfo){
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = dispatches, .poolSizeCount = 1,
        .pPoolSizes = &(VkDescriptorPoolSize){ VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, dispatches * 8 } }, NULL, &c->sets));
    if ((flags & BL_COMMANDS_TIMED) && d->limits.timestamp_ns > 0)
        VK_TRY_MAKE(c->times, d->vk.CreateQueryPool(d->dev, &(VkQueryPoolCreateInfo){
            .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
            .queryType = VK_QUERY_TYPE_TIMESTAMP, .queryCount = 2 }, NULL, &c->times));
    VK_TRY(d->vk.BeginCommandBuffer(c->cmd, &(VkCommandBufferBeginInfo){ .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = flags & BL_COMMANDS_SHARED ? VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT : 0 }));
    if (c->times) {
        d->vk.CmdResetQueryPool(c->cmd, c->times, 0, 2);
        d->vk.CmdWriteTimestamp(c->cmd, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, c->times, 0);
    }
    bl_commands_barrier(c); /* towards whatever was submitted before, its own last run included */
    return BL_OK;

fail:
    bl_commands_destroy(c);
    return result;
}

void bl_commands_barrier(bl_commands *c)
{
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    c->stream->d->vk.CmdPipelineBarrier(c->cmd, stages, stages, 0, 1,
        &(VkMemoryBarrier){ .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
            .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
            .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT
                | VK_ACCESS_TRANSFER_WRITE_BIT },
        0, NULL, 0, NULL);
}

static void host_barrier(const bl_device *d, VkCommandBuffer cmd)
{
    d->vk.CmdPipelineBarrier(cmd, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
        &(VkMemoryBarrier){ .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
            .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT, .dstAccessMask = VK_ACCESS_HOST_READ_BIT },
        0, NULL, 0, NULL);
}

void bl_commands_host_barrier(bl_commands *c) { host_barrier(c->stream->d, c->cmd); }

void bl_commands_copy(bl_commands *c, const bl_slice *from, const bl_slice *to)
{
    c->stream->d->vk.CmdCopyBuffer(c->cmd, from->buffer->buf, to->buffer->buf, 1, &(VkBufferCopy){ from->offset, to->offset, from->size });
}

bl_result bl_commands_end(bl_commands *c)
{
    bl_result result = BL_OK;
    const bl_device *d = c->stream->d;
    if (c->times)
        d->vk.CmdWriteTimestamp(c->cmd, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, c->times, 1);
    VK_TRY(d->vk.EndCommandBuffer(c->cmd));
fail:
    return result;
}

double bl_commands_time(bl_commands *c)
{
    const bl_device *d = c->stream->d;
    uint64_t t[2];
    if (!c->times || d->vk.GetQueryPoolResults(d->dev, c->times, 0, 2, sizeof(t), t, sizeof(t[0]),
                                               VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT) != VK_SUCCESS)
        return -1;
    const uint64_t mask = d->limits.timestamp_bits < 64 ? (1ull << d->limits.timestamp_bits) - 1 : UINT64_MAX;
    return (double)((t[1] - t[0]) & mask) * d->limits.timestamp_ns;
}

void bl_commands_destroy(bl_commands *c)
{
    if (c->stream) {
        const bl_device *d = c->stream->d;
        if (c->times)
            d->vk.DestroyQueryPool(d->dev, c->times, NULL);
        if (c->sets)
            d->vk.DestroyDescriptorPool(d->dev, c->sets, NULL);
        if (c->cmd)
            d->vk.FreeCommandBuffers(d->dev, c->stream->pool, 1, &c->cmd);
    }
    *c = (bl_commands){ 0 };
}

/* --- submissions ------------------------------------------------------------------------------------------------------ */

/* The same as bl_vk; the loss of the device is kept. */
static bl_result checked(bl_stream *s, VkResult r, const char *call)
{
    const bl_result result = bl_vk(r, call);
    if (r == VK_ERROR_DEVICE_LOST)
        bl_device_lose(s->d);
    return result;
}
#define STREAM_TRY(call) BL_TRY(checked(s, (call), #call))

static uint32_t number_after(uint32_t n) { return n < BL_SENTINEL_LAST ? n + 1 : 1; }

/* True if the counter shows this submission, or one behind it that has finished as well. */
static bool arrived(const bl_stream *s, uint32_t number, float seen)
{
    for (uint32_t i = 0; i < FLIGHTS && seen != (float)number && number != s->number; i++)
        number = number_after(number);
    return seen == (float)number;
}

static bl_result check_sentinel(bl_stream *s, uint32_t number)
{
    bl_result result = BL_OK;
    BL_TRY(bl_buffer_sync(s->d, s->counter, false));
    const float seen = *(const volatile float *)s->counter->host;
    if (!arrived(s, number, seen)) {
        result = bl_fail(BL_ERROR_DEVICE, "%s ended submission %u without doing it: the completion sentinel is %g", s->d->info.name,
                         number, (double)seen);
        bl_device_lose(s->d);
    }
fail:
    return result;
}

/* Waits for one submission. */
static bl_result retire(bl_stream *s, flight *f)
{
    bl_result result = BL_OK;
    const bl_device *d = s->d;
    STREAM_TRY(d->vk.WaitForFences(d->dev, 1, &f->fence, VK_TRUE, UINT64_MAX));
    f->pending = false;
    const double now = bl_clock(), from = BL_MAX(f->begun, s->finished);
    s->finished = now;
    if (s->sentinel)
        BL_TRY(check_sentinel(s, f->number));
    if (f->ns)
        *f->ns = now - from;
    return BL_OK;
fail:
    return result;
}

/* After a failure nothing runs any more, so that the caller may destroy what it had submitted. */
static bl_result submit(bl_stream *s, VkCommandBuffer *list, uint32_t count, double *ns)
{
    bl_result result = BL_OK;
    const bl_device *d = s->d;
    flight *f = &s->flights[s->next];
    BL_TRY(bl_device_check(d));
    if (f->pending)
        BL_TRY(retire(s, f));
    if (s->interrupt && s->interrupt(s->user)) /* after waiting: a wish to stop waits for two at most */
        BL_TRY(bl_fail(BL_ERROR_CANCELLED, "cancelled"));
    STREAM_TRY(d->vk.ResetFences(d->dev, 1, &f->fence));
    if (s->sentinel)
        list[count++] = s->sentinel->cmd;
    const double begun = bl_clock();
    bl_device_lock(d);
    const VkResult submitted = d->vk.QueueSubmit(d->queue, 1, &(VkSubmitInfo){
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = count, .pCommandBuffers = list }, f->fence);
    bl_device_unlock(d);
    BL_TRY(checked(s, submitted, "vk.QueueSubmit("));
    s->number = number_after(s->number);
    s->next = (s->next + 1) % FLIGHTS;
    f->pending = true;
    f->begun = begun;
    f->ns = ns;
    f->number = s->number;
    return BL_OK;
fail:
    drain(s);
    return result;
}

bl_result bl_stream_submit(bl_stream *s, const bl_commands *c, uint32_t count, double *ns)
{
    VkCommandBuffer list[BL_STREAM_BATCH + 1];
    if (!count || count > BL_STREAM_BATCH)
        return bl_fail(BL_ERROR_USAGE, "a submission of %u command buffers", count);
    for (uint32_t i = 0; i < count; i++)
        list[i] = c[i].cmd;
    return submit(s, list, count, ns);
}

bl_result bl_stream_wait(bl_stream *s)
{
    bl_result result = BL_OK;
    for (uint32_t i = 0; i < FLIGHTS; i++) {
        flight *f = &s->flights[(s->next + i) % FLIGHTS]; /* the oldest first */
        if (f->pending)
            BL_TRY(retire(s, f));
    }
    return BL_OK;
fail:
    drain(s);
    return result;
}

/* --- copies --------------------------------------------------------------------------------------------------------- */

static bl_result copy_and_wait(bl_stream *s, VkBuffer from, uint64_t from_at, VkBuffer to, uint64_t to_at, uint64_t n)
{
    bl_result result = BL_OK;
    const bl_device *d = s->d;
    BL_TRY(bl_stream_wait(s)); /* the command buffer and the staging buffer are one of each */
    VK_TRY(d->vk.BeginCommandBuffer(s->copy, &(VkCommandBufferBeginInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT }));
    bl_commands c = { .stream = s, .cmd = s->copy };
    bl_commands_barrier(&c);
    d->vk.CmdCopyBuffer(s->copy, from, to, 1, &(VkBufferCopy){ from_at, to_at, n });
    host_barrier(d, s->copy);
    VK_TRY(d->vk.EndCommandBuffer(s->copy));
    BL_TRY(submit(s, (VkCommandBuffer[2]){ s->copy }, 1, NULL));
    BL_TRY(bl_stream_wait(s));
fail:
    return result;
}

uint64_t bl_stream_piece_limit(void) { return STAGING; }

bl_result bl_stream_read(bl_stream *s, const bl_slice *from, uint64_t offset, void *data, uint64_t size)
{
    bl_result result = BL_OK;
    if (offset > from->size || size > from->size - offset)
        return bl_fail(BL_ERROR_USAGE, "read of %llu bytes at %llu from %llu", (unsigned long long)size, (unsigned long long)offset,
                       (unsigned long long)from->size);
    for (uint64_t at = 0; at < size; at += STAGING) {
        const uint64_t n = BL_MIN(size - at, STAGING);
        BL_TRY(copy_and_wait(s, from->buffer->buf, from->offset + offset + at, s->staging.buf, 0, n));
        BL_TRY(bl_buffer_sync(s->d, &s->staging, false));
        memcpy((char *)data + at, s->staging.host, n);
    }
fail:
    return result;
}

bl_result bl_stream_fill(bl_stream *s, const bl_slice *to, uint64_t offset, uint64_t size, uint64_t piece, bl_fill_fn fill, void *context)
{
    bl_result result = BL_OK;
    if (offset > to->size || size > to->size - offset || !piece || piece > STAGING)
        return bl_fail(BL_ERROR_USAGE, "write of %llu bytes at %llu to %llu, pieces of %llu", (unsigned long long)size,
                       (unsigned long long)offset, (unsigned long long)to->size, (unsigned long long)piece);
    const uint64_t step = STAGING / piece * piece;
    for (uint64_t at = 0; at < size; at += step) {
        const uint64_t n = BL_MIN(size - at, step);
        BL_TRY(fill(context, at, n, s->staging.host));
        BL_TRY(bl_buffer_sync(s->d, &s->staging, true));
        BL_TRY(copy_and_wait(s, s->staging.buf, 0, to->buffer->buf, to->offset + offset + at, n));
    }
fail:
    return result;
}

static bl_result fill_from_memory(void *context, uint64_t at, uint64_t n, void *out)
{
    memcpy(out, (const char *)context + at, n);
    return BL_OK;
}

bl_result bl_stream_write(bl_stream *s, const bl_slice *to, uint64_t offset, const void *data, uint64_t size)
{
    return bl_stream_fill(s, to, offset, size, 1, fill_from_memory, (void *)(uintptr_t)data);
}
