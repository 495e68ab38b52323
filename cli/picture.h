/* The files that generate makes: their names, when one may be written, and what is written into them. Layer 6. */
#ifndef CLI_PICTURE_H
#define CLI_PICTURE_H
#include "blemish.h"
#include <stdbool.h>

/* "nut.png" for number 0, else "nut-0001.png"; to be freed, NULL when memory runs out. `out` ends in ".png". */
char *picture_path(const char *out, uint32_t number);
bool picture_has_png_name(const char *path);
/* The same name with `ending` in place of ".png": "nut_mask.png" for "_mask.png"; to be freed, NULL when memory runs out. */
char *picture_beside(const char *path, const char *ending);
/* Both name the same existing file; or the same place, whether or not a file is there. */
bool picture_same_file(const char *a, const char *b);
/* The reason why `path` cannot or must not be written, in `reason`; false then. `force`: an existing file may be replaced. */
bool picture_may_write(const char *path, bool force, char *reason, size_t size);
/* Writes the PNG file with its metadata: "parameters" as the common tools write it, "blemish" as JSON, and XMP saying that it is made by
 * a trained model (IPTC digital source type), on top of a photo if `from_photo`. */
bl_result picture_write(const char *path, const bl_generate_result *made, bool from_photo);

/* The picture and what belongs to it get their names together or not at all: each is written under a temporary name beside its own. */
enum { PICTURE_FILES = 5 };
typedef struct picture_set {
    struct { char *path, *part; } files[PICTURE_FILES];
    int count;
} picture_set;
/* The temporary name to write `path` to; valid until picture_set_end. NULL when memory runs out. */
const char *picture_set_add(picture_set *set, const char *path);
/* Gives every file its name, in the order of adding; when one cannot have it those before it are removed. False, and errno, then. */
bool picture_set_name(picture_set *set);
void picture_set_end(picture_set *set); /* removes what is left under temporary names; frees and zeroes *set */
#endif
