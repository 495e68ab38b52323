/* What has been found out about one device with one driver, kept in a file of the cache folder. Layer 1.
 * The header holds format, version of the library, device UUID, driver UUID and version, name, subgroup size and a hash: a file of
 * another device, driver or version, or a damaged one, is as if it were not there. */
#ifndef BL_DEVICE_FILE_H
#define BL_DEVICE_FILE_H
#include "device.h"

/* "DIR/KIND-UUID.bin", freed by bl_free; NULL when memory runs out. */
char *bl_device_file_path(const bl_device *d, const char *dir, const char *kind);
/* What was written, freed by bl_free, and its size in bytes; NULL and 0 if there is no file that fits. `kind`: at most 15 bytes. */
uint8_t *bl_device_file_read(const bl_device *d, const char *dir, const char *kind, size_t *size);
/* Writes at most 1 MiB, making the folder if need be. BL_ERROR_OUTPUT leaves an older file as it was. */
bl_result bl_device_file_write(const bl_device *d, const char *dir, const char *kind, const void *data, size_t size);
#endif
