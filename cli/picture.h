/* The files that generate makes: their names, when one may be written, and what is written into them. Layer 6. */
#ifndef CLI_PICTURE_H
#define CLI_PICTURE_H
#include "blemish.h"
#include <stdbool.h>
#include <stdio.h>

/* The files of one picture. */
typedef enum picture_file {
    PICTURE_IMAGE, PICTURE_MASK, PICTURE_REGION, PICTURE_ATTENTION, PICTURE_PHOTO, PICTURE_TRACE, PICTURE_PLOT, PICTURE_FILES
} picture_file;

/* Which files are wanted. */
typedef struct picture_wishes {
    const char *out, *trace, *plot;      /* their names; the latter two may be NULL */
    bool mask, region, attention, photo; /* beside the picture: "nut_mask.png" */
} picture_wishes;
/* Their names for picture `number`: "nut.png" and "nut_mask.png" for 0, else "nut-0001.png" and "nut-0001_mask.png"; NULL for what is not
 * wanted. False when memory runs out; freed by picture_names_free in any case. */
bool picture_names(const picture_wishes *wishes, uint32_t number, char *names[PICTURE_FILES]);
void picture_names_free(char *names[PICTURE_FILES]);
bool picture_has_png_name(const char *path);
/* Both name the same existing file; or the same place, whether or not a file is there. */
bool picture_same_file(const char *a, const char *b);
/* The reason why `path` cannot or must not be written, in `reason`; false then. `force`: an existing file may be replaced. */
bool picture_may_write(const char *path, bool force, char *reason, size_t size);
/* XMP saying that a picture is made by a trained model (IPTC digital source type), on top of a photo if `from_photo`, and the key under
 * which PNG files keep it. */
#define PICTURE_MARK_KEY "XML:com.adobe.xmp"
enum { PICTURE_MARK_SIZE = 1024 };
void picture_mark(char mark[PICTURE_MARK_SIZE], bool from_photo);
/* Writes the PNG file with its metadata: "parameters" as the common tools write it, "blemish" as JSON, and the mark above. */
bl_result picture_write(const char *path, const bl_generate_result *made, bool from_photo);

/* The picture and what belongs to it get their names together or not at all: each is written under a temporary name beside its own. */
typedef struct picture_set {
    struct { char *path, *part; } files[PICTURE_FILES];
    int count;
} picture_set;
/* The temporary name to write `path` to; valid until picture_set_end. NULL when memory runs out. */
const char *picture_set_add(picture_set *set, const char *path);
/* Gives every file its name, in the order of adding; when one cannot have it those before it are removed. False, and errno, then. */
bool picture_set_name(picture_set *set);
void picture_set_end(picture_set *set); /* removes what is left under temporary names; frees and zeroes *set */

/* A file of another kind in the same way, complete under its name or as it was before: `write` gets it open. False, and errno, on
 * failure. */
bool picture_write_file(const char *path, bool (*write)(const void *user, FILE *out), const void *user);
#endif
