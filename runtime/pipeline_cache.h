/* The driver's pipeline cache on disk. Layer 1.
 * Drivers may crash on foreign or damaged blobs, so ours has its own header with device identity and hash; anything wrong is a miss. */
#ifndef BL_PIPELINE_CACHE_H
#define BL_PIPELINE_CACHE_H
#include "device.h"

/* Where compiled kernels come from. */
typedef struct bl_cache_source {
    const char *dir;          /* folder; NULL: none */
    const void *data;         /* bytes of bl_pipeline_cache_bytes, before those of the folder; NULL: none */
    size_t size;
} bl_cache_source;

/* Creates a cache, filled from the source (NULL: empty) when what it has for this device is sound. */
bl_result bl_pipeline_cache_open(const bl_device *d, const bl_cache_source *source, VkPipelineCache *out);
/* The cache with its header, freed by the caller. */
bl_result bl_pipeline_cache_bytes(const bl_device *d, VkPipelineCache cache, uint8_t **data, size_t *size);
/* Writes the cache to `dir`, making the folder if need be; a failure only costs the next start time. */
void bl_pipeline_cache_save(const bl_device *d, const char *dir, VkPipelineCache cache);
#endif
