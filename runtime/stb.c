/* The one place where stb_image is compiled: PNG and JPEG from memory, behind a zeroing allocator with a budget. Layer 0.
 * Zeroed, because stb hands out parts of its buffers that a broken file never filled; with a budget, because it sizes buffers by what
 * the file claims. */
#include "image.h"
#include "checked.h"
#include <string.h>

/* In front of every block; keeps the alignment that malloc promises. */
typedef union block {
    struct {
        size_t size;
        union block *previous, *next;
    };
    max_align_t align;
} block;

/* Per call, not per process: set at the start of bl_stb_decode and void after it. */
static _Thread_local struct {
    size_t left;
    bool over_budget, host_failed;
    block *blocks; /* all that stb holds: it forgets some when memory runs out */
} cage;

static void unlink_block(block *b)
{
    *(b->previous ? &b->previous->next : &cage.blocks) = b->next;
    if (b->next)
        b->next->previous = b->previous;
}

static void link_block(block *b)
{
    b->previous = NULL;
    b->next = cage.blocks;
    if (b->next)
        b->next->previous = b;
    cage.blocks = b;
}

static void *cage_resize(void *p, size_t size)
{
    block *old = p ? (block *)p - 1 : NULL;
    const size_t before = old ? old->size : 0;
    if (size > before && size - before > cage.left) {
        cage.over_budget = true;
        return NULL;
    }
    size_t bytes;
    if (old)
        unlink_block(old);
    block *b = bl_add(size, sizeof(block), &bytes) ? bl_resize(old, bytes, 1) : NULL;
    if (!b) {
        if (old)
            link_block(old);
        cage.host_failed = true;
        return NULL;
    }
    link_block(b);
    cage.left = cage.left + before - size;
    b->size = size;
    if (size > before)
        memset((uint8_t *)(b + 1) + before, 0, size - before);
    return b + 1;
}

static void cage_free(void *p)
{
    if (!p)
        return;
    block *b = (block *)p - 1;
    unlink_block(b);
    cage.left += b->size;
    bl_free(b);
}

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#elif defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function" /* said at the end of the file, so not within push and pop */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_GIF /* STBI_ONLY_* alone leaves its prototype */
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_MAX_DIMENSIONS BL_IMAGE_MAX_SIDE
#define STBI_ASSERT(x) ((void)0) /* a library does not abort */
#define STBI_MALLOC(size) cage_resize(NULL, size)
#define STBI_REALLOC(p, size) cage_resize(p, size)
#define STBI_FREE(p) cage_free(p)
#include "stb_image.h"
#if defined(__clang__)
#pragma clang diagnostic pop
#elif defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

bl_result bl_stb_decode(const uint8_t *data, size_t size, size_t budget, bl_stb_image *out)
{
    *out = (bl_stb_image){ 0 };
    if (size > BL_IMAGE_MAX_FILE)
        return bl_fail(BL_ERROR_INPUT, "the file has %zu bytes, at most %d are read", size, BL_IMAGE_MAX_FILE);
    cage.left = budget;
    cage.over_budget = cage.host_failed = false;
    cage.blocks = NULL;
    int width = 0, height = 0, channels = 0;
    uint8_t *pixels = stbi_load_from_memory(data, (int)size, &width, &height, &channels, 0);
    if (pixels)
        unlink_block((block *)pixels - 1); /* the caller's from here on */
    while (cage.blocks)
        cage_free(cage.blocks + 1);
    if (!pixels) {
        if (cage.host_failed)
            return bl_fail(BL_ERROR_MEMORY, "out of memory while a picture was decoded");
        if (cage.over_budget)
            return bl_fail(BL_ERROR_INPUT, "decoding needs more memory than a picture of this size may take");
        const char *why = stbi_failure_reason();
        return bl_fail(BL_ERROR_INPUT, "the picture cannot be decoded: %s", why ? why : "damaged data");
    }
    *out = (bl_stb_image){ (uint32_t)width, (uint32_t)height, (uint32_t)channels, pixels };
    return BL_OK;
}

void bl_stb_free(bl_stb_image *image)
{
    if (image->pixels)
        bl_free((block *)image->pixels - 1);
    *image = (bl_stb_image){ 0 };
}
