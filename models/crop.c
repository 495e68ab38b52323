#include "crop.h"
#include <stdlib.h>
#include <string.h>

/* Decimal digits, at most 5: no photo has a side of more. */
static bool take_number(const char **text, char end, uint32_t *out)
{
    const size_t digits = strspn(*text, "0123456789");
    *out = (uint32_t)strtoul(*text, NULL, 10);
    *text += digits + (end != 0);
    return digits && digits <= 5 && (*text)[end ? -1 : 0] == end;
}

bl_result bl_crop_parse(const char *text, uint32_t photo_width, uint32_t photo_height, bl_crop *out)
{
    bl_crop c;
    const char *p = text;
    if (!take_number(&p, ',', &c.x) || !take_number(&p, ',', &c.y) || !take_number(&p, ',', &c.width) || !take_number(&p, 0, &c.height))
        return bl_fail(BL_ERROR_USAGE, "the crop \"%.60s\" must be auto, none or X,Y,WIDTH,HEIGHT", text);
    if (!c.width || !c.height || c.x >= photo_width || c.y >= photo_height || c.width > photo_width - c.x || c.height > photo_height - c.y)
        return bl_fail(BL_ERROR_USAGE, "the crop \"%.60s\" does not lie inside a photo of %ux%u", text, photo_width, photo_height);
    *out = c;
    return BL_OK;
}

bl_crop bl_crop_centred(uint32_t photo_width, uint32_t photo_height, uint32_t width, uint32_t height)
{
    uint32_t w = photo_width, h = photo_height;
    if ((uint64_t)w * height > (uint64_t)h * width)
        w = (uint32_t)BL_MAX((uint64_t)h * width / height, 1);
    else
        h = (uint32_t)BL_MAX((uint64_t)w * height / width, 1);
    return (bl_crop){ (photo_width - w) / 2, (photo_height - h) / 2, w, h };
}

/* The least window of that shape with sides of at least w and h. */
static void window_for(uint32_t w, uint32_t h, uint32_t width, uint32_t height, uint64_t *out_w, uint64_t *out_h)
{
    *out_w = BL_MAX(w, ((uint64_t)h * width + height - 1) / height);
    *out_h = (*out_w * height + width - 1) / width;
}

bl_crop bl_crop_around(const bl_image *region, uint32_t width, uint32_t height)
{
    const bl_crop most = bl_crop_centred(region->width, region->height, width, height);
    uint32_t x0 = region->width, y0 = region->height, x1 = 0, y1 = 0;
    for (uint32_t y = 0; y < region->height; y++)
        for (uint32_t x = 0; x < region->width; x++)
            if (region->pixels[(size_t)y * region->width + x]) {
                x0 = BL_MIN(x0, x);
                x1 = BL_MAX(x1, x);
                y0 = BL_MIN(y0, y);
                y1 = BL_MAX(y1, y);
            }
    if (x0 > x1)
        return most;
    const uint32_t w = x1 - x0 + 1, h = y1 - y0 + 1;
    uint64_t wanted_w, wanted_h;
    window_for(BL_MAX(w + w / 2, width), BL_MAX(h + h / 2, height), width, height, &wanted_w, &wanted_h);
    if (wanted_w >= most.width || wanted_h >= most.height)
        wanted_w = most.width, wanted_h = most.height;
    const int64_t x = (int64_t)x0 + w / 2 - (int64_t)wanted_w / 2, y = (int64_t)y0 + h / 2 - (int64_t)wanted_h / 2;
    return (bl_crop){ (uint32_t)BL_MIN(BL_MAX(x, 0), (int64_t)(region->width - wanted_w)),
                      (uint32_t)BL_MIN(BL_MAX(y, 0), (int64_t)(region->height - wanted_h)), (uint32_t)wanted_w, (uint32_t)wanted_h };
}

/* Copies rows between a picture and a part of it. */
static void copy_rows(bl_image *part, bl_image *whole, bl_crop c, bool back)
{
    const size_t row = (size_t)c.width * whole->channels;
    for (uint32_t y = 0; y < c.height; y++) {
        uint8_t *in_whole = whole->pixels + ((size_t)(c.y + y) * whole->width + c.x) * whole->channels, *in_part = part->pixels + y * row;
        memcpy(back ? in_whole : in_part, back ? in_part : in_whole, row);
    }
}

bl_result bl_crop_take(const bl_image *in, bl_crop crop, uint32_t width, uint32_t height, bl_filter filter, bl_image *out)
{
    bl_image part;
    bl_result result = bl_image_create(crop.width, crop.height, in->channels, &part);
    if (result != BL_OK)
        return result;
    copy_rows(&part, (bl_image *)(uintptr_t)in, crop, false);
    result = bl_image_resize(&part, width, height, filter, out);
    bl_image_free(&part);
    return result;
}

bl_result bl_crop_put(const bl_image *part, bl_crop crop, bl_filter filter, bl_image *whole)
{
    bl_image resized;
    const bl_result result = bl_image_resize(part, crop.width, crop.height, filter, &resized);
    if (result != BL_OK)
        return result;
    copy_rows(&resized, whole, crop, true);
    bl_image_free(&resized);
    return BL_OK;
}
