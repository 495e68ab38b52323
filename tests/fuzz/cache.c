/* Pipeline caches, from memory and from a folder: the driver sees the bytes behind a header of ours that fits, or none. */
#include "fuzz.h"
#include "pipeline_cache.h"

enum { MAGIC = 8, UUID = 24, LENGTH = 40, HASH = 48, HEADER = 56 }; /* where what stands in a header */
static const char path[] = "m/pipelines-00001234-00005678.bin";

static bl_device device;
static uint32_t seen, refuse; /* calls of the driver; it does not take what it is given */

static uint64_t hash_of(const uint8_t *data, size_t size)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 1099511628211u;
    return h;
}

static VKAPI_ATTR VkResult VKAPI_CALL create(VkDevice dev, const VkPipelineCacheCreateInfo *info, const VkAllocationCallbacks *a,
                                             VkPipelineCache *out)
{
    (void)dev, (void)a;
    seen++;
    if (info->initialDataSize) {
        const uint8_t *data = info->pInitialData, *header = data - HEADER;
        uint64_t size, hash;
        memcpy(&size, header + LENGTH, sizeof(size));
        memcpy(&hash, header + HASH, sizeof(hash));
        FUZZ_CHECK(!memcmp(header, "blmpipe", MAGIC) && !memcmp(header + UUID, device.props.pipelineCacheUUID, VK_UUID_SIZE));
        FUZZ_CHECK(size == info->initialDataSize && hash == hash_of(data, size));
        if (refuse)
            return VK_ERROR_INITIALIZATION_FAILED;
    }
    *out = (VkPipelineCache)(uintptr_t)1;
    return VK_SUCCESS;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    device.props.vendorID = 0x1234;
    device.props.deviceID = 0x5678;
    device.props.driverVersion = 1;
    memset(device.props.pipelineCacheUUID, 0x42, VK_UUID_SIZE);
    device.vk.CreatePipelineCache = create;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bl_cache_source sources[] = { { .data = data, .size = size }, { .dir = "m" }, { .dir = "m", .data = data, .size = size } };
    fuzz_begin(data, size, 0);
    fuzz_files[0] = (struct fuzz_file){ path, data, size };
    refuse = size % 2;
    for (size_t i = 0; i < BL_COUNT(sources); i++) {
        VkPipelineCache cache = VK_NULL_HANDLE;
        seen = 0;
        FUZZ_CHECK(fuzz_result(bl_pipeline_cache_open(&device, &sources[i], &cache)) && cache && seen); /* damage costs time only */
    }
    return fuzz_end();
}

/* The header or what is behind it, then size and hash made right. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    fuzz_dice = seed | 1;
    if (size <= HEADER || !fuzz_roll(8))
        return LLVMFuzzerMutate(data, size, max);
    if (fuzz_roll(2))
        size = fuzz_mutate_part(data, size, max, HEADER, size - HEADER, &(size_t){ 0 });
    else
        LLVMFuzzerMutate(data, HEADER, HEADER);
    const uint64_t count = size - BL_MIN(size, (size_t)HEADER), hash = hash_of(data + HEADER, count);
    if (fuzz_roll(8))
        memcpy(data + LENGTH, &count, sizeof(count));
    if (fuzz_roll(8))
        memcpy(data + HASH, &hash, sizeof(hash));
    return size;
}
