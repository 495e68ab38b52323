#include "stream.h"
#include <string.h>

enum { STAGING = 8 << 20 };

struct bl_stream {
    bl_device *d;
    VkCommandPool pool;
    VkFence fence;
    VkCommandBuffer copy;
    bl_buffer staging;
};

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
    VK_TRY_MAKE(s->fence, d->vk.CreateFence(d->dev, &(VkFenceCreateInfo){ .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO }, NULL, &s->fence));
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
    if (s->fence)
        s->d->vk.QueueWaitIdle(s->d->queue); /* a lost device has nothing left to wait for */
    bl_buffer_destroy(s->d, &s->staging);
    if (s->fence)
        s->d->vk.DestroyFence(s->d->dev, s->fence, NULL);
    if (s->pool)
        s->d->vk.DestroyCommandPool(s->d->dev, s->pool, NULL);
    bl_free(s);
}

bl_device *bl_stream_device(const bl_stream *s) { return s->d; }

/* --- recorded commands ---------------------------------------------------------------------------------------------- */

bl_result bl_commands_begin(bl_stream *s, uint32_t dispatches, bool timed, bl_commands *c)
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
    if (timed && d->limits.timestamp_ns > 0)
        VK_TRY_MAKE(c->times, d->vk.CreateQueryPool(d->dev, &(VkQueryPoolCreateInfo){
            .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
            .queryType = VK_QUERY_TYPE_TIMESTAMP, .queryCount = 2 }, NULL, &c->times));
    VK_TRY(d->vk.BeginCommandBuffer(c->cmd, &(VkCommandBufferBeginInfo){ .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO }));
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

/* After a failure nothing runs any more, so that the caller may destroy what it had submitted. */
static bl_result submit(bl_stream *s, VkCommandBuffer cmd, VkFence fence)
{
    bl_result result = BL_OK;
    const bl_device *d = s->d;
    VK_TRY(d->vk.QueueSubmit(d->queue, 1, &(VkSubmitInfo){
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = cmd ? 1 : 0, .pCommandBuffers = &cmd }, fence));
    return BL_OK;
fail:
    d->vk.QueueWaitIdle(d->queue);
    return result;
}

bl_result bl_stream_submit(bl_stream *s, const bl_commands *c) { return submit(s, c->cmd, VK_NULL_HANDLE); }

static bl_result submit_and_wait(bl_stream *s, VkCommandBuffer cmd)
{
    bl_result result = BL_OK;
    const bl_device *d = s->d;
    VK_TRY(d->vk.ResetFences(d->dev, 1, &s->fence));
    BL_TRY(submit(s, cmd, s->fence));
    VK_TRY(d->vk.WaitForFences(d->dev, 1, &s->fence, VK_TRUE, UINT64_MAX));
    return BL_OK;
fail:
    d->vk.QueueWaitIdle(d->queue); /* as in submit */
    return result;
}

bl_result bl_stream_wait(bl_stream *s) { return submit_and_wait(s, VK_NULL_HANDLE); }

/* --- copies --------------------------------------------------------------------------------------------------------- */

static bl_result copy_and_wait(bl_stream *s, VkBuffer from, uint64_t from_at, VkBuffer to, uint64_t to_at, uint64_t n)
{
    bl_result result = BL_OK;
    const bl_device *d = s->d;
    VK_TRY(d->vk.BeginCommandBuffer(s->copy, &(VkCommandBufferBeginInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT }));
    bl_commands c = { .stream = s, .cmd = s->copy };
    bl_commands_barrier(&c);
    d->vk.CmdCopyBuffer(s->copy, from, to, 1, &(VkBufferCopy){ from_at, to_at, n });
    d->vk.CmdPipelineBarrier(s->copy, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
        &(VkMemoryBarrier){ .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
            .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT, .dstAccessMask = VK_ACCESS_HOST_READ_BIT }, 0, NULL, 0, NULL);
    VK_TRY(d->vk.EndCommandBuffer(s->copy));
    BL_TRY(submit_and_wait(s, s->copy));
fail:
    return result;
}

/* Makes what one side wrote to the staging buffer visible to the other, where the memory is not coherent. */
static bl_result sync_staging(bl_stream *s, bool to_device)
{
    const bl_device *d = s->d;
    const VkMappedMemoryRange range = { .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, .memory = s->staging.mem, .size = VK_WHOLE_SIZE };
    if (s->staging.coherent)
        return BL_OK;
    return to_device ? bl_vk(d->vk.FlushMappedMemoryRanges(d->dev, 1, &range), "vk.FlushMappedMemoryRanges")
                     : bl_vk(d->vk.InvalidateMappedMemoryRanges(d->dev, 1, &range), "vk.InvalidateMappedMemoryRanges");
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
        BL_TRY(sync_staging(s, false));
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
        BL_TRY(sync_staging(s, true));
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
