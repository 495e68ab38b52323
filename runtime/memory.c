#include "memory.h"

static const uint64_t BLOCK = 1ull << 30;  /* some drivers fail well below what they advertise */
static const uint64_t SMALL_BLOCK = 16ull << 20, SMALLEST_LIMIT = 256ull << 20;

static int find_memory_type(const bl_device *d, uint32_t allowed, VkMemoryPropertyFlags want)
{
    for (uint32_t i = 0; i < d->mem.memoryTypeCount; i++)
        if ((allowed >> i & 1) && (d->mem.memoryTypes[i].propertyFlags & want) == want)
            return (int)i;
    return -1;
}

bl_result bl_buffer_create(bl_device *d, uint64_t size, bl_memory_kind kind, const char *label, bl_buffer *out)
{
    bl_result result = BL_OK;
    *out = (bl_buffer){ 0 };
    if (!size || size > d->limits.allocation)
        return bl_fail(BL_ERROR_MEMORY, "%s: %llu bytes, the device allocates at most %llu at once", label, (unsigned long long)size,
                       (unsigned long long)d->limits.allocation);
    if (d->allowed && (size > d->allowed || d->bytes > d->allowed - size))
        return bl_fail(BL_ERROR_MEMORY, "%s: %.1f MiB on top of %.1f MiB are more than the %.1f MiB that are allowed", label,
                       (double)size / 0x1p20, (double)d->bytes / 0x1p20, (double)d->allowed / 0x1p20);
    VK_TRY_MAKE(out->buf, d->vk.CreateBuffer(d->dev, &(VkBufferCreateInfo){
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = size,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
    }, NULL, &out->buf));

    const VkMemoryPropertyFlags visible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, coherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
        cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const VkMemoryPropertyFlags wishes[2][3] = { { VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0, 0 },
                                                 { visible | coherent | cached, visible | coherent, visible } };
    VkMemoryRequirements req;
    d->vk.GetBufferMemoryRequirements(d->dev, out->buf, &req);
    int type = -1;
    for (int i = 0; i < 3 && type < 0; i++)
        type = find_memory_type(d, req.memoryTypeBits, wishes[kind == BL_MEMORY_STAGING][i]);
    if (type < 0)
        BL_TRY(bl_fail(BL_ERROR_DEVICE, "%s: no fitting memory type", label));
    const bl_result allocated = bl_vk(d->vk.AllocateMemory(d->dev, &(VkMemoryAllocateInfo){
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = req.size, .memoryTypeIndex = (uint32_t)type }, NULL, &out->mem), "vk.AllocateMemory");
    if (allocated != BL_OK) {
        out->mem = VK_NULL_HANDLE; /* undefined after a failure */
        BL_TRY(bl_fail_in(allocated, "%s, %.1f MiB on top of %.1f MiB", label, (double)req.size / 0x1p20, (double)d->bytes / 0x1p20));
    }
    out->size = size;
    d->bytes += size;
    d->peak = BL_MAX(d->peak, d->bytes);
    VK_TRY(d->vk.BindBufferMemory(d->dev, out->buf, out->mem, 0));
    if (kind == BL_MEMORY_STAGING) {
        out->coherent = !!(d->mem.memoryTypes[type].propertyFlags & coherent);
        VK_TRY(d->vk.MapMemory(d->dev, out->mem, 0, VK_WHOLE_SIZE, 0, &out->host));
    }
    return BL_OK;

fail:
    bl_buffer_destroy(d, out);
    return result;
}

bl_result bl_buffer_sync(const bl_device *d, const bl_buffer *b, bool to_device)
{
    const VkMappedMemoryRange range = { .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, .memory = b->mem, .size = VK_WHOLE_SIZE };
    if (b->coherent)
        return BL_OK;
    return to_device ? bl_vk(d->vk.FlushMappedMemoryRanges(d->dev, 1, &range), "vk.FlushMappedMemoryRanges")
                     : bl_vk(d->vk.InvalidateMappedMemoryRanges(d->dev, 1, &range), "vk.InvalidateMappedMemoryRanges");
}

void bl_buffer_destroy(bl_device *d, bl_buffer *b)
{
    if (b->buf)
        d->vk.DestroyBuffer(d->dev, b->buf, NULL);
    if (b->mem)
        d->vk.FreeMemory(d->dev, b->mem, NULL);
    d->bytes -= b->size;
    *b = (bl_buffer){ 0 };
}

uint64_t bl_block_limit(const bl_device *d)
{
    const uint64_t quarter = BL_MAX(d->info.memory / 4, SMALLEST_LIMIT); /* of the heap, so that blocks find room beside others */
    return BL_MIN(BL_MIN(d->limits.allocation, BLOCK), quarter) / BL_SLICE_ALIGNMENT * BL_SLICE_ALIGNMENT;
}

void bl_layout_begin(const bl_device *d, uint64_t expected, bl_layout *out)
{
    *out = (bl_layout){ .limit = bl_block_limit(d), .expected = expected };
}

bl_result bl_layout_place(bl_layout *l, uint64_t size, const char *label, uint32_t *block, uint64_t *offset)
{
    if (!size || size > l->limit)
        return bl_fail(BL_ERROR_MEMORY, "%s: a tensor of %llu bytes, a block holds %llu", label, (unsigned long long)size,
                       (unsigned long long)l->limit);
    const uint64_t bytes = bl_slice_bytes(size); /* size <= 1 GiB: cannot wrap */
    uint32_t i = 0;
    while (i < l->count && l->sizes[i] - l->used[i] < bytes)
        i++;
    if (i == BL_MAX_BLOCKS)
        return bl_fail(BL_ERROR_MEMORY, "%s: more than %d blocks of device memory", label, BL_MAX_BLOCKS);
    if (i == l->count)
        l->sizes[l->count++] = BL_MIN(BL_MAX(l->expected ? l->expected : SMALL_BLOCK, bytes), l->limit);
    *block = i;
    *offset = l->used[i];
    l->used[i] += bytes;
    l->expected -= BL_MIN(l->expected, bytes);
    return BL_OK;
}

uint64_t bl_layout_bytes(const bl_layout *l)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < l->count; i++)
        bytes += l->sizes[i];
    return bytes;
}

struct bl_arena {
    bl_device *d;
    const char *label;
    bl_layout layout;
    bl_buffer *blocks[BL_MAX_BLOCKS];  /* NULL: not allocated */
};

bl_result bl_arena_create(bl_device *d, uint64_t expected, const char *label, bl_arena **out)
{
    bl_arena *a = *out = bl_alloc(1, sizeof(*a));
    if (!a)
        return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for an arena", label);
    a->d = d;
    a->label = label;
    bl_layout_begin(d, expected, &a->layout);
    return BL_OK;
}

void bl_arena_destroy(bl_arena **arena)
{
    bl_arena *a = *arena;
    *arena = NULL;
    if (!a)
        return;
    for (uint32_t i = 0; i < a->layout.count; i++) {
        if (a->blocks[i])
            bl_buffer_destroy(a->d, a->blocks[i]);
        bl_free(a->blocks[i]);
    }
    bl_free(a);
}

bl_result bl_arena_slice(bl_arena *a, uint64_t size, bl_slice *out)
{
    bl_result result = BL_OK;
    bl_layout after = a->layout; /* kept when the memory is there */
    uint32_t i;
    uint64_t offset;
    BL_TRY(bl_layout_place(&after, size, a->label, &i, &offset));
    if (!a->blocks[i]) {
        bl_buffer *b = bl_alloc(1, sizeof(*b));
        if (!b)
            return bl_fail(BL_ERROR_MEMORY, "%s: no host memory for a block", a->label);
        result = bl_buffer_create(a->d, after.sizes[i], BL_MEMORY_DEVICE, a->label, b);
        if (result != BL_OK) {
            bl_free(b);
            return result;
        }
        a->blocks[i] = b;
    }
    a->layout = after;
    *out = (bl_slice){ a->blocks[i], offset, size };
fail:
    return result;
}

uint64_t bl_arena_bytes(const bl_arena *a) { return bl_layout_bytes(&a->layout); }
