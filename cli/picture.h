/* The files that generate makes: their names, when one may be written, and what is written into them. Layer 6. */
#ifndef CLI_PICTURE_H
#define CLI_PICTURE_H
#include "blemish.h"
#include <stdbool.h>

/* "nut.png" for number 0, else "nut-0001.png"; to be freed, NULL when memory runs out. `out` ends in ".png". */
char *picture_path(const char *out, uint32_t number);
bool picture_has_png_name(const char *path);
/* Both name the same existing file. */
bool picture_same_file(const char *a, const char *b);
/* The reason why `path` cannot or must not be written, in `reason`; false then. `force`: an existing file may be replaced. */
bool picture_may_write(const char *path, bool force, char *reason, size_t size);
/* Writes the PNG file with its metadata: "parameters" as the common tools write it, "blemish" as JSON, and XMP saying that it is made by
 * a trained model (IPTC digital source type), on top of a photo if `from_photo`. */
bl_result picture_write(const char *path, const bl_generate_result *made, bool from_photo);
#endif
