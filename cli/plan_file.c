#include "plan_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PLAN_MAX = 1 << 20 };

/* The whole file as a text; NULL with errno, which is EFBIG or EILSEQ for what no plan is. */
static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? malloc(PLAN_MAX + 1) : NULL;
    const size_t size = text ? fread(text, 1, PLAN_MAX + 1, f) : 0;
    int reason = errno;
    if (text && !ferror(f))
        reason = size > PLAN_MAX ? EFBIG : memchr(text, 0, size) ? EILSEQ : 0;
    if (f)
        fclose(f);
    if (text && !reason) {
        text[size] = 0;
        return text;
    }
    free(text);
    errno = reason;
    return NULL;
}

/* What a picture says of itself: an object, or a word where nothing was chosen. */
static bl_result of_picture(session *s, const char *path, const char *parameters, char **out)
{
    json_t *object = json_loads(parameters, JSON_REJECT_DUPLICATES, NULL);
    const json_t *tuning = json_object_get(json_object_get(object, "plan"), "tuning");
    bl_result result = BL_OK;
    if (json_is_object(tuning))
        result = (*out = json_dumps(tuning, JSON_COMPACT)) ? BL_OK : session_note(s, BL_ERROR_MEMORY, "host memory ran out");
    else if (!json_is_string(tuning))
        result = session_note(s, BL_ERROR_INPUT, "%s: does not say which kernels made it", path);
    json_decref(object);
    return result;
}

bl_result plan_file_read(session *s, const char *path, char **out)
{
    char *parameters = NULL;
    *out = NULL;
    if (bl_image_read_text(path, "blemish", &parameters) == BL_OK) {
        const bl_result result = of_picture(s, path, parameters ? parameters : "", out);
        bl_text_free(parameters);
        return result;
    }
    *out = read_text(path);
    return *out ? BL_OK : session_note(s, BL_ERROR_INPUT, "%s: is neither a plan nor a picture of blemish: %s", path, strerror(errno));
}
