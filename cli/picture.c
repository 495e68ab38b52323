#include "picture.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXTENSION = 4 }; /* ".png" */

bool picture_has_png_name(const char *path)
{
    const size_t length = strlen(path);
    return length > EXTENSION && path[length - EXTENSION - 1] != '/' && !strcasecmp(path + length - EXTENSION, ".png");
}

/* "nut.png", 3 and "_mask.png" give "nut-0003_mask.png"; NULL keeps the ending that there is. */
static char *name_of(const char *path, uint32_t number, const char *ending)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    const char *stem_end = dot && dot > base ? dot : path + strlen(path);
    const size_t size = strlen(path) + 32 + (ending ? strlen(ending) : 0);
    char *name = malloc(size), digits[16] = "";
    if (number)
        snprintf(digits, sizeof(digits), "-%04u", number);
    if (name)
        snprintf(name, size, "%.*s%s%s", (int)(stem_end - path), path, digits, ending ? ending : stem_end);
    return name;
}

bool picture_names(const picture_wishes *w, uint32_t number, char *names[PICTURE_FILES])
{
    const struct { const char *path, *ending; } of[PICTURE_FILES] = {
        [PICTURE_IMAGE] = { w->out, NULL },
        [PICTURE_MASK] = { w->mask ? w->out : NULL, "_mask.png" },
        [PICTURE_REGION] = { w->region ? w->out : NULL, "_region.png" },
        [PICTURE_ATTENTION] = { w->attention ? w->out : NULL, "_attention.png" },
        [PICTURE_PHOTO] = { w->photo ? w->out : NULL, "_photo.png" },
        [PICTURE_TRACE] = { w->trace, NULL },
        [PICTURE_PLOT] = { w->plot, NULL },
    };
    bool ok = true;
    for (int i = 0; i < PICTURE_FILES; i++) {
        names[i] = of[i].path ? name_of(of[i].path, number, of[i].ending) : NULL;
        ok = ok && (names[i] || !of[i].path);
    }
    return ok;
}

void picture_names_free(char *names[PICTURE_FILES])
{
    for (int i = 0; i < PICTURE_FILES; i++)
        free(names[i]);
}

/* The folder of a path, to be freed; *name is what follows it. */
static char *folder_of(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

static bool same_inode(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool picture_same_file(const char *a, const char *b)
{
    const char *x, *y;
    char *in = folder_of(a, &x), *also = folder_of(b, &y);
    const bool same = same_inode(a, b) || (!strcmp(x, y) && same_inode(in, also));
    free(in);
    free(also);
    return same;
}

bool picture_may_write(const char *path, bool force, char *reason, size_t size)
{
    struct stat info;
    const char *name;
    char *folder = folder_of(path, &name);
    *reason = 0;
    if (!folder)
        snprintf(reason, size, "host memory ran out");
    else if (stat(folder, &info))
        snprintf(reason, size, "%s: the folder \"%s\": %s", path, folder, strerror(errno));
    else if (!S_ISDIR(info.st_mode))
        snprintf(reason, size, "%s: \"%s\" is not a folder", path, folder);
    else if (access(folder, W_OK | X_OK))
        snprintf(reason, size, "%s: the folder \"%s\" cannot be written: %s", path, folder, strerror(errno));
    else if (lstat(path, &info) && errno != ENOENT) /* such as a name that is too long */
        snprintf(reason, size, "%s: cannot be written: %s", path, strerror(errno));
    else if (!lstat(path, &info) && S_ISDIR(info.st_mode))
        snprintf(reason, size, "%s: is a folder", path);
    else if (!lstat(path, &info) && !force)
        snprintf(reason, size, "%s: exists already (--force replaces it)", path);
    free(folder);
    return !*reason;
}

void picture_mark(char mark[PICTURE_MARK_SIZE], bool from_photo)
{
    snprintf(mark, PICTURE_MARK_SIZE,
             "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
             "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
             " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
             "  <rdf:Description rdf:about=\"\"\n"
             "    xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n"
             "    xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n"
             "    xmp:CreatorTool=\"blemish %s\"\n"
             "    Iptc4xmpExt:DigitalSourceType=\"http://cv.iptc.org/newscodes/digitalsourcetype/%s\"/>\n"
             " </rdf:RDF>\n"
             "</x:xmpmeta>\n"
             "<?xpacket end=\"r\"?>",
             bl_version(), from_photo ? "compositeWithTrainedAlgorithmicMedia" : "trainedAlgorithmicMedia");
}

bl_result picture_write(const char *path, const bl_generate_result *made, bool from_photo)
{
    char mark[PICTURE_MARK_SIZE];
    picture_mark(mark, from_photo);
    const bl_image_text texts[] = {
        { "parameters", made->parameters_text },
        { "blemish", made->parameters },
        { PICTURE_MARK_KEY, mark },
    };
    return bl_image_write_png(path, &made->image, texts, sizeof(texts) / sizeof(texts[0]));
}

/* --- together or not at all ---------------------------------------------------------------------------------------------- */

const char *picture_set_add(picture_set *set, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *part = malloc(strlen(path) + 32), *copy = strdup(path);
    if (!part || !copy || set->count == PICTURE_FILES) {
        free(part);
        free(copy);
        return NULL;
    }
    /* hidden, and longer by what the library's own temporary names are, too: 200 bytes of a name are enough to tell it by */
    sprintf(part, "%.*s.%.200s.new-%ld", (int)(name - path), path, name, (long)getpid());
    set->files[set->count].path = copy;
    set->files[set->count++].part = part;
    return part;
}

/* Names survive a power cut only when the folder is written. */
static void sync_folder(const char *path)
{
    const char *name;
    char *folder = folder_of(path, &name);
    const int fd = folder ? open(folder, O_RDONLY) : -1;
    if (fd >= 0) {
        fsync(fd); /* some file systems have none: the file is there all the same */
        close(fd);
    }
    free(folder);
}

bool picture_set_name(picture_set *set)
{
    for (int i = 0; i < set->count; i++) {
        if (!rename(set->files[i].part, set->files[i].path))
            continue;
        const int reason = errno;
        for (int k = 0; k < i; k++)
            unlink(set->files[k].path);
        errno = reason;
        return false;
    }
    for (int i = 0; i < set->count; i++)
        sync_folder(set->files[i].path);
    return true;
}

void picture_set_end(picture_set *set)
{
    for (int i = 0; i < set->count; i++) {
        unlink(set->files[i].part);
        free(set->files[i].path);
        free(set->files[i].part);
    }
    *set = (picture_set){ 0 };
}

bool picture_write_file(const char *path, bool (*write)(const void *user, FILE *out), const void *user)
{
    picture_set set = { 0 };
    const char *part = picture_set_add(&set, path);
    FILE *f = part ? fopen(part, "wx") : NULL;
    bool ok = f && write(user, f);
    if (f && (fflush(f) || fsync(fileno(f))))
        ok = false;
    if (f && fclose(f))
        ok = false;
    ok = ok && picture_set_name(&set);
    const int reason = errno;
    picture_set_end(&set);
    errno = reason;
    return ok;
}
