#include "photo.h"
#include "change.h"
#include <math.h>
#include <string.h>

enum { DRAWN_SIDE = 1024 /* a mask is drawn on a photo of at most this; its cells are coarser anyway */ };

static bl_crop all_of(const bl_image *image) { return (bl_crop){ 0, 0, image->width, image->height }; }

static bl_result copy(const bl_image *in, bl_image *out)
{
    return bl_crop_take(in, all_of(in), in->width, in->height, BL_FILTER_NEAREST, out);
}

/* 255 where a pixel is at least `least`, else 0. */
static void harden(bl_image *mask, uint8_t least)
{
    const size_t n = (size_t)mask->width * mask->height;
    for (size_t i = 0; i < n; i++)
        mask->pixels[i] = mask->pixels[i] >= least ? 255 : 0;
}

/* --- before ------------------------------------------------------------------------------------------------------------- */

/* Draws the mask on a picture. One without a foreground may change everywhere, unless the shape was asked for. */
static bl_result draw(bl_photo *p, const bl_image *on, bl_image *region)
{
    const bl_mask_options options = { sizeof(options), p->spec.shape, p->spec.smallest, p->spec.largest, p->spec.seed };
    bl_result result = bl_mask_auto(on, &options, region);
    if (result == BL_ERROR_INPUT && p->spec.may_be_everywhere) {
        bl_context_log(p->spec.context, BL_LOG_WARNING, "%s; it may change everywhere", bl_last_error());
        result = bl_image_create(on->width, on->height, 1, region);
        p->spec.shape = NULL;
        if (result == BL_OK)
            memset(region->pixels, 255, (size_t)on->width * on->height);
    }
    return result;
}

/* The mask at the photo's size. */
static bl_result whole_region(bl_photo *p)
{
    bl_result result = BL_OK;
    const bl_image *photo = p->spec.photo;
    bl_image small = { 0 }, drawn = { 0 };
    if (p->spec.mask)
        return bl_image_resize(p->spec.mask, photo->width, photo->height, BL_FILTER_NEAREST, &p->region);
    const uint32_t side = BL_MAX(photo->width, photo->height);
    if (side <= DRAWN_SIDE)
        return draw(p, photo, &p->region);
    const uint32_t w = (uint32_t)BL_MAX((uint64_t)photo->width * DRAWN_SIDE / side, 1);
    const uint32_t h = (uint32_t)BL_MAX((uint64_t)photo->height * DRAWN_SIDE / side, 1);
    BL_TRY(bl_image_resize(photo, w, h, BL_FILTER_BILINEAR, &small));
    BL_TRY(draw(p, &small, &drawn));
    BL_TRY(bl_image_resize(&drawn, photo->width, photo->height, BL_FILTER_NEAREST, &p->region));
fail:
    bl_image_free(&small);
    bl_image_free(&drawn);
    return result;
}

/* The part of the photo, and the mask of it where `source` has one, which is cut like it. */
static bl_result take_part(bl_photo *p, const bl_image *source, bl_crop source_crop)
{
    bl_result result = BL_OK;
    const bl_photo_spec *s = &p->spec;
    BL_TRY(bl_crop_take(s->photo, p->crop, s->width, s->height, BL_FILTER_LANCZOS, &p->part));
    if (source) { /* BILINEAR: what is thinner than a pixel of the part is not lost */
        const bl_filter filter = p->returns ? BL_FILTER_BILINEAR : BL_FILTER_NEAREST;
        BL_TRY(bl_crop_take(source, source_crop, s->width, s->height, filter, &p->part_region));
        harden(&p->part_region, 1);
    }
fail:
    return result;
}

/* The mask of the latents: any pixel of it lets its cell change, so that a small or thin mask is not lost; the published code takes the
 * nearest pixel of what was given. */
static bl_result make_mask(bl_photo *p, const bl_image *source, bl_crop source_crop)
{
    bl_result result = BL_OK;
    bl_image nearest = { 0 };
    const bl_photo_spec *s = &p->spec;
    const uint32_t w = s->width / s->factor, h = s->height / s->factor, f = s->nearest ? 1 : s->factor;
    const size_t cells = (size_t)w * h;
    size_t white = 0;
    if (s->nearest)
        BL_TRY(bl_crop_take(source, source_crop, w, h, BL_FILTER_NEAREST, &nearest));
    p->mask = bl_alloc(cells, sizeof(*p->mask));
    if (!p->mask)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a mask"));
    const uint8_t *pixels = s->nearest ? nearest.pixels : p->part_region.pixels;
    for (size_t i = 0; i < cells * f * f; i++)
        if (pixels[i])
            p->mask[i / (f * w) / f * w + i % (f * w) / f] = 1;
    for (size_t i = 0; i < cells; i++)
        white += p->mask[i] != 0;
    if (!white)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "the mask is black everywhere at %u x %u latents: nothing may change", w, h));
fail:
    bl_image_free(&nearest);
    return result;
}

/* The region at the result's size, black where nothing is generated. */
static bl_result finish_region(bl_photo *p)
{
    bl_result result = BL_OK;
    bl_image part = { 0 };
    if (!p->part_region.pixels)
        return BL_OK;
    if (!p->returns)
        return copy(&p->part_region, &p->region);
    BL_TRY(p->region.pixels ? bl_crop_take(&p->region, p->crop, p->crop.width, p->crop.height, BL_FILTER_NEAREST, &part)
                            : copy(&p->part_region, &part));
    bl_image_free(&p->region);
    BL_TRY(bl_image_create(p->spec.photo->width, p->spec.photo->height, 1, &p->region));
    BL_TRY(bl_crop_put(&part, p->crop, BL_FILTER_NEAREST, &p->region));
    harden(&p->region, 1);
fail:
    bl_image_free(&part);
    return result;
}

bl_result bl_photo_prepare(const bl_photo_spec *spec, bl_photo *p)
{
    bl_result result = BL_OK;
    *p = (bl_photo){ .spec = *spec };
    const bl_photo_spec *s = &p->spec;
    const bl_image *photo = s->photo, *source = NULL;
    bl_crop source_crop = { 0 };
    const bool chosen = !strcmp(s->crop, "auto");
    p->returns = chosen || strcmp(s->crop, "none");
    p->crop = bl_crop_centred(photo->width, photo->height, s->width, s->height);
    if (p->returns && !chosen) {
        bl_crop given;
        BL_TRY(bl_crop_parse(s->crop, photo->width, photo->height, &given));
        p->crop = bl_crop_centred(given.width, given.height, s->width, s->height);
        p->crop.x += given.x;
        p->crop.y += given.y;
    }
    if (!p->returns && s->mask) { /* cut by itself, as the photo is */
        source = s->mask;
        source_crop = bl_crop_centred(s->mask->width, s->mask->height, s->width, s->height);
    } else if (s->mask || (chosen && s->shape)) {
        BL_TRY(whole_region(p));
        if (chosen)
            p->crop = bl_crop_around(&p->region, s->width, s->height);
        source = &p->region;
        source_crop = p->crop;
    }
    BL_TRY(take_part(p, source, source_crop));
    if (!source && s->shape) {
        BL_TRY(draw(p, &p->part, &p->part_region));
        source = &p->part_region;
        source_crop = all_of(source);
    }
    if (source) {
        BL_TRY(make_mask(p, source, source_crop));
        BL_TRY(finish_region(p));
    }
fail:
    return result;
}

/* --- after -------------------------------------------------------------------------------------------------------------- */

/* Replaces a picture of the part by one of the photo's size. `ground`: what is around it, NULL: black. */
static bl_result put_into(const bl_photo *p, bl_image *picture, const bl_image *ground)
{
    bl_result result = BL_OK;
    const bl_image *photo = p->spec.photo;
    bl_image whole = { 0 };
    BL_TRY(ground ? copy(ground, &whole) : bl_image_create(photo->width, photo->height, picture->channels, &whole));
    BL_TRY(bl_crop_put(picture, p->crop, BL_FILTER_NEAREST, &whole));
    bl_image_free(picture);
    *picture = whole;
    return BL_OK;
fail:
    bl_image_free(&whole);
    return result;
}

static bl_result resize_to_crop(const bl_photo *p, bl_image *picture, bl_filter filter)
{
    bl_image resized;
    const bl_result result = bl_image_resize(picture, p->crop.width, p->crop.height, filter, &resized);
    if (result != BL_OK)
        return result;
    bl_image_free(picture);
    *picture = resized;
    return BL_OK;
}

bl_result bl_photo_return(bl_photo *p, const float *attention, uint32_t mh, uint32_t mw, bool whole, bl_generate_result *made)
{
    bl_result result = BL_OK;
    bl_image ground = { 0 }, limits = { 0 };
    const bl_image *photo = p->spec.photo, *where = made->mask.pixels ? &made->mask : &limits;
    uint32_t edge = BL_MAX(p->spec.factor / 4 * 2, 2); /* one cell of the latents is twice that */
    if (p->returns) {
        edge = BL_MAX((uint32_t)((uint64_t)edge * p->crop.width / p->spec.width) / 2 * 2, 2);
        BL_TRY(bl_crop_take(photo, p->crop, p->crop.width, p->crop.height, BL_FILTER_NEAREST, &ground));
        BL_TRY(resize_to_crop(p, &made->image, BL_FILTER_LANCZOS));
        if (made->mask.pixels) {
            BL_TRY(resize_to_crop(p, &made->mask, BL_FILTER_BILINEAR));
            harden(&made->mask, 128);
        } else if (p->region.pixels) {
            BL_TRY(bl_crop_take(&p->region, p->crop, p->crop.width, p->crop.height, BL_FILTER_NEAREST, &limits));
        }
    } else {
        BL_TRY(copy(&p->part, &ground));
        if (!made->mask.pixels && p->region.pixels)
            BL_TRY(copy(&p->region, &limits));
    }
    if (where->pixels && !whole) {
        if (made->mask.pixels && !memchr(where->pixels, 255, (size_t)where->width * where->height))
            bl_context_log(p->spec.context, BL_LOG_WARNING, "seed %llu: nothing changed, the picture is the photo",
                           (unsigned long long)p->spec.seed);
        BL_TRY(bl_paste_back(&ground, where, edge, &made->image));
    }
    if (attention)
        BL_TRY(bl_attention_overlay(&made->image, attention, mh, mw, &made->attention));
    if (p->returns) {
        BL_TRY(put_into(p, &made->image, photo));
        if (made->mask.pixels)
            BL_TRY(put_into(p, &made->mask, NULL));
        if (made->attention.pixels)
            BL_TRY(put_into(p, &made->attention, photo));
        BL_TRY(copy(photo, &made->photo));
    } else {
        made->photo = p->part;
        p->part = (bl_image){ 0 };
    }
    made->region = p->region;
    p->region = (bl_image){ 0 };
fail:
    bl_image_free(&ground);
    bl_image_free(&limits);
    return result;
}

void bl_photo_free(bl_photo *p)
{
    bl_image_free(&p->part);
    bl_image_free(&p->part_region);
    bl_image_free(&p->region);
    bl_free(p->mask);
    *p = (bl_photo){ 0 };
}
