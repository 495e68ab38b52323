#include "exif.h"
#include "image.h"
#include <string.h>

enum { ENTRY = 12, ORIENTATION = 0x0112, SHORT = 3 };

static uint32_t get(const uint8_t *p, uint32_t bytes, bool little)
{
    uint32_t v = 0;
    for (uint32_t i = 0; i < bytes; i++)
        v = v << 8 | p[little ? bytes - 1 - i : i];
    return v;
}

uint32_t bl_exif_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8 || (memcmp(tiff, "II*\0", 4) && memcmp(tiff, "MM\0*", 4)))
        return 1;
    const bool little = tiff[0] == 'I';
    const uint32_t at = get(tiff + 4, 4, little);
    if (at < 8 || at > size - 2)
        return 1;
    const uint32_t count = get(tiff + at, 2, little);
    const uint8_t *entry = tiff + at + 2, *end = tiff + size;
    for (uint32_t i = 0; i < count && end - entry >= ENTRY; i++, entry += ENTRY) {
        if (get(entry, 2, little) != ORIENTATION)
            continue;
        const uint32_t value = get(entry + 8, 2, little);
        const bool valid = get(entry + 2, 2, little) == SHORT && get(entry + 4, 4, little) == 1 && value >= 1 && value <= 8;
        return valid ? value : 1;
    }
    return 1;
}

bl_result bl_exif_turn(uint32_t orientation, bl_image *image)
{
    /* how a row and a column of the stored picture go through the one that is seen: 1 right or down, -1 left or up */
    static const struct { int across, down; bool swapped; } ways[9] = {
        [2] = { -1, 1, false }, [3] = { -1, -1, false }, [4] = { 1, -1, false },
        [5] = { 1, 1, true }, [6] = { -1, 1, true }, [7] = { -1, -1, true }, [8] = { 1, -1, true },
    };
    bl_image turned;
    if (orientation < 2 || orientation > 8)
        return BL_OK;
    const uint32_t w = image->width, h = image->height, n = image->channels;
    const bool swapped = ways[orientation].swapped;
    const bl_result result = bl_image_create(swapped ? h : w, swapped ? w : h, n, &turned);
    if (result != BL_OK)
        return result;
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            uint32_t tx = swapped ? y : x, ty = swapped ? x : y;
            tx = ways[orientation].across < 0 ? turned.width - 1 - tx : tx;
            ty = ways[orientation].down < 0 ? turned.height - 1 - ty : ty;
            memcpy(turned.pixels + ((size_t)ty * turned.width + tx) * n, image->pixels + ((size_t)y * w + x) * n, n);
        }
    bl_image_free(image);
    *image = turned;
    return BL_OK;
}
