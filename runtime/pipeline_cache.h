/* The driver's pipeline cache on disk. Layer 1.
 * Drivers may crash on foreign or damaged blobs, so ours has its own header with device identity and hash; anything wrong is a miss. */
#ifndef BL_PIPELINE_CACHE_H
#define BL_PIPELINE_CACHE_H
#include "device.h"

/* Creates a cache, filled from `dir` (NULL: empty) when its file for this device is sound. */
bl_result bl_pipeline_cache_open(const bl_device *d, const char *dir, VkPipelineCache *out);
/* Writes the cache to `dir`, making the folder if need be; a failure only costs the next start time. */
void bl_pipeline_cache_save(const bl_device *d, const char *dir, VkPipelineCache cache);
#endif
