/* Pictures: allocation, naming of formats, decoding behind the scanners, conversion to grey or RGB. Layer 0. */
#include "image.h"
#include "checked.h"
#include "exif.h"
#include "file.h"
#include "jpeg.h"
#include "png.h"
#include <string.h>

static bl_result check_size(uint32_t width, uint32_t height, uint32_t channels)
{
    if (channels != 1 && channels != 3)
        return bl_fail(BL_ERROR_USAGE, "a picture has 1 or 3 channels, not %u", channels);
    if (!width || !height || width > BL_IMAGE_MAX_SIDE || height > BL_IMAGE_MAX_SIDE)
        return bl_fail(BL_ERROR_USAGE, "a picture has 1-%d pixels on a side, not %ux%u", BL_IMAGE_MAX_SIDE, width, height);
    if ((uint64_t)width * height > BL_IMAGE_MAX_PIXELS)
        return bl_fail(BL_ERROR_USAGE, "a picture has at most %d pixels, not %ux%u", BL_IMAGE_MAX_PIXELS, width, height);
    return BL_OK;
}

bl_result bl_image_create(uint32_t width, uint32_t height, uint32_t channels, bl_image *image)
{
    *image = (bl_image){ 0 };
    const bl_result result = check_size(width, height, channels);
    if (result != BL_OK)
        return result;
    uint8_t *pixels = bl_alloc((size_t)width * height, channels);
    if (!pixels)
        return bl_fail(BL_ERROR_MEMORY, "out of memory for a picture of %ux%u", width, height);
    *image = (bl_image){ width, height, channels, pixels };
    return BL_OK;
}

void bl_image_free(bl_image *image)
{
    bl_free(image->pixels);
    *image = (bl_image){ 0 };
}

bl_result bl_image_check(const bl_image *image)
{
    if (!image || !image->pixels)
        return bl_fail(BL_ERROR_USAGE, "no picture given");
    return check_size(image->width, image->height, image->channels);
}

bl_result bl_image_check_declared(const char *format, uint32_t width, uint32_t height, size_t decoded, size_t file_size)
{
    if (!width || !height)
        return bl_fail(BL_ERROR_INPUT, "%s: the picture has no pixels (%ux%u)", format, width, height);
    if (width > BL_IMAGE_MAX_SIDE || height > BL_IMAGE_MAX_SIDE)
        return bl_fail(BL_ERROR_INPUT, "%s: the picture is %ux%u, at most %d pixels on a side are read", format, width, height,
                       BL_IMAGE_MAX_SIDE);
    if ((uint64_t)width * height > BL_IMAGE_MAX_PIXELS)
        return bl_fail(BL_ERROR_INPUT, "%s: the picture is %ux%u, at most %d Mpixel are read", format, width, height,
                       BL_IMAGE_MAX_PIXELS >> 20);
    if (BL_MAX(width, height) > (uint64_t)BL_MIN(width, height) * BL_IMAGE_MAX_ASPECT)
        return bl_fail(BL_ERROR_INPUT, "%s: the picture is %ux%u, sides of at most %d:1 are read", format, width, height,
                       BL_IMAGE_MAX_ASPECT);
    if (decoded > ((size_t)1 << 20) && (decoded - ((size_t)1 << 20)) / BL_IMAGE_MAX_RATIO > file_size)
        return bl_fail(BL_ERROR_INPUT, "%s: %zu bytes of file cannot hold a picture of %ux%u", format, file_size, width, height);
    return BL_OK;
}

/* --- formats --------------------------------------------------------------------------------------------------------- */

typedef struct magic {
    const char *name;
    uint32_t at, size;
    const char *bytes;
} magic;

/* Longer signatures before the shorter ones they start with. */
static const magic other_formats[] = {
    { "a PNG file damaged on the way (its signature was changed, as text transfers do)", 0, 4, "\x89PNG" },
    { "MNG, not PNG", 0, 4, "\x8aMNG" },
    { "JNG, not PNG", 0, 4, "\x8bJNG" },
    { "GIF", 0, 4, "GIF8" },
    { "BMP", 0, 2, "BM" },
    { "TIFF", 0, 4, "II*\0" },
    { "TIFF", 0, 4, "MM\0*" },
    { "BigTIFF", 0, 4, "II+\0" },
    { "BigTIFF", 0, 4, "MM\0+" },
    { "WebP", 8, 4, "WEBP" },
    { "HEIC", 4, 8, "ftypheic" },
    { "HEIC", 4, 8, "ftypheix" },
    { "HEIF", 4, 8, "ftypmif1" },
    { "AVIF", 4, 8, "ftypavif" },
    { "a video or ISO media file", 4, 4, "ftyp" },
    { "PSD (Photoshop)", 0, 4, "8BPS" },
    { "JPEG XL", 0, 2, "\xff\x0a" },
    { "JPEG XL", 4, 4, "JXL " },
    { "JPEG 2000", 4, 4, "jP  " },
    { "JPEG 2000", 0, 4, "\xff\x4f\xff\x51" },
    { "JPEG XR", 0, 3, "II\xbc" },
    { "OpenEXR", 0, 4, "\x76\x2f\x31\x01" },
    { "Radiance HDR", 0, 2, "#?" },
    { "ICO", 0, 4, "\0\0\1\0" },
    { "DDS", 0, 4, "DDS " },
    { "QOI", 0, 4, "qoif" },
    { "PBM", 0, 2, "P1" },
    { "PGM", 0, 2, "P2" },
    { "PPM", 0, 2, "P3" },
    { "PBM", 0, 2, "P4" },
    { "PGM", 0, 2, "P5" },
    { "PPM", 0, 2, "P6" },
    { "PAM", 0, 2, "P7" },
    { "PDF", 0, 4, "%PDF" },
    { "PostScript", 0, 4, "%!PS" },
    { "a Zip archive", 0, 2, "PK" },
    { "gzip data", 0, 2, "\x1f\x8b" },
    { "a Git LFS pointer: the file itself was not downloaded", 0, 23, "version https://git-lfs" },
    { "a web page", 0, 9, "<!DOCTYPE" },
    { "a web page", 0, 9, "<!doctype" },
    { "a web page", 0, 5, "<html" },
    { "SVG", 0, 4, "<svg" },
    { "XML", 0, 5, "<?xml" },
};

static bl_result refuse_format(const uint8_t *data, size_t size)
{
    if (!size)
        return bl_fail(BL_ERROR_INPUT, "the file is empty");
    for (size_t i = 0; i < BL_COUNT(other_formats); i++) {
        const magic *m = &other_formats[i];
        if (size >= m->at + m->size && !memcmp(data + m->at, m->bytes, m->size))
            return bl_fail(BL_ERROR_INPUT, "this is %s; pictures are read as PNG or JPEG", m->name);
    }
    return bl_fail(BL_ERROR_INPUT, "neither PNG nor JPEG");
}

/* --- conversion ------------------------------------------------------------------------------------------------------ */

/* c * a + 255 * (255 - a), divided by 255 and rounded; 255 is odd, so there are no ties. */
static uint8_t over_white(uint8_t c, uint8_t alpha)
{
    return (uint8_t)((c * alpha + 255 * (255 - alpha) + 127) / 255);
}

static uint8_t luma(uint8_t r, uint8_t g, uint8_t b)
{
    return (uint8_t)((19595u * r + 38470u * g + 7471u * b + 32768u) >> 16);
}

/* `from`: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
static void convert(const uint8_t *in, uint32_t from, uint8_t *out, uint32_t to, size_t pixels)
{
    if (from == to) {
        memcpy(out, in, pixels * to);
        return;
    }
    for (size_t i = 0; i < pixels; i++, in += from, out += to) {
        const uint8_t alpha = from == 2 ? in[1] : from == 4 ? in[3] : 255;
        const uint8_t r = over_white(in[0], alpha);
        const uint8_t g = from > 2 ? over_white(in[1], alpha) : r;
        const uint8_t b = from > 2 ? over_white(in[2], alpha) : r;
        if (to == 1) {
            out[0] = from > 2 ? luma(r, g, b) : r;
        } else {
            out[0] = r;
            out[1] = g;
            out[2] = b;
        }
    }
}

/* --- PNG -------------------------------------------------------------------------------------------------------------- */

/* Bytes that stb may hold at a time for an honest file: the compressed data, grown by doubling; the filtered rows, the same because
 * interlacing adds row ends that stb does not foresee; the pixels; those of one interlacing pass. */
static size_t png_budget(const bl_png_info *info, size_t file_size)
{
    const size_t samples = (size_t)info->width * info->height * (info->samples + 1) * (info->depth == 16 ? 2 : 1);
    return 2 * file_size + 4 * samples + ((size_t)1 << 20);
}

/* stb leaves colours that the palette lacks uninitialised. So it gets the file as a grey one, whose samples are the indices, and colours
 * are looked up here. `size` bytes at `data` are changed. */
static bl_result decode_palette(uint8_t *data, size_t size, const bl_png_info *info, uint32_t channels, bl_image *image)
{
    bl_result result = BL_OK;
    bl_stb_image indices = { 0 };
    data[info->color_at] = 0;
    if (info->transparency_type_at)
        memcpy(data + info->transparency_type_at, "skIp", 4); /* any unknown ancillary name */
    BL_TRY(bl_stb_decode(data, size, png_budget(info, size), &indices));
    if (indices.channels != 1 || indices.width != info->width || indices.height != info->height)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: the palette picture cannot be decoded"));
    BL_TRY(bl_image_create(info->width, info->height, channels, image));

    uint8_t colors[256][3];
    for (uint32_t i = 0; i < info->palette_count; i++) {
        uint8_t rgba[4] = { info->palette[3 * i], info->palette[3 * i + 1], info->palette[3 * i + 2], 255 };
        if (i < info->transparency_size)
            rgba[3] = info->transparency[i];
        convert(rgba, 4, colors[i], channels, 1);
    }
    const uint32_t scale = info->depth == 8 ? 1 : 255 / ((1u << info->depth) - 1); /* stb spreads grey of few bits over 0-255 */
    const size_t pixels = (size_t)info->width * info->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint32_t index = indices.pixels[i] / scale;
        if (index >= info->palette_count)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: pixel (%zu, %zu) has colour %u of a palette of %u", i % info->width, i / info->width,
                           index, info->palette_count));
        memcpy(image->pixels + i * channels, colors[index], channels);
    }
fail:
    if (result != BL_OK)
        bl_image_free(image);
    bl_stb_free(&indices);
    return result;
}

/* --- decoding --------------------------------------------------------------------------------------------------------- */

static bl_result decode_direct(const uint8_t *data, size_t size, size_t budget, uint32_t width, uint32_t height, uint32_t channels,
                               bl_image *image)
{
    bl_result result = BL_OK;
    bl_stb_image raw = { 0 };
    BL_TRY(bl_stb_decode(data, size, budget, &raw));
    if (raw.width != width || raw.height != height || raw.channels < 1 || raw.channels > 4)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "the picture was decoded as %ux%u, its header says %ux%u", raw.width, raw.height, width, height));
    BL_TRY(bl_image_create(width, height, channels, image));
    convert(raw.pixels, raw.channels, image->pixels, channels, (size_t)width * height);
fail:
    bl_stb_free(&raw);
    return result;
}

static bl_result decode_png(const uint8_t *data, size_t size, uint32_t channels, bl_image *image, uint32_t *orientation)
{
    bl_result result = BL_OK;
    uint8_t *copy = NULL;
    bl_png_info info;
    BL_TRY(bl_png_scan(data, size, &info));
    *orientation = info.orientation;
    if (info.color != 3)
        return decode_direct(data, size, png_budget(&info, size), info.width, info.height, channels, image);
    copy = bl_alloc(size, 1);
    if (!copy)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "out of memory for a palette picture of %zu bytes", size));
    memcpy(copy, data, size);
    BL_TRY(decode_palette(copy, size, &info, channels, image));
fail:
    bl_free(copy);
    return result;
}

static bl_result decode_jpeg(const uint8_t *data, size_t size, uint32_t channels, bl_image *image, uint32_t *orientation)
{
    bl_jpeg_info info;
    const bl_result result = bl_jpeg_scan(data, size, &info);
    if (result != BL_OK)
        return result;
    *orientation = info.orientation;
    /* stb pads to whole MCUs of up to 32 pixels; per component a byte of samples and, if progressive, two of coefficients; then RGB. */
    const size_t padded = (size_t)(info.width + 31) * (info.height + 31);
    const size_t budget = padded * info.components * 3 + padded * 4 + ((size_t)1 << 20);
    return decode_direct(data, size, budget, info.width, info.height, channels, image);
}

bl_result bl_image_decode(const uint8_t *data, size_t size, uint32_t channels, bl_image *image)
{
    bl_result result = BL_OK;
    uint32_t orientation = 1;
    *image = (bl_image){ 0 };
    if (channels != 1 && channels != 3)
        return bl_fail(BL_ERROR_USAGE, "pictures are read with 1 or 3 channels, not %u", channels);
    if (size > BL_IMAGE_MAX_FILE)
        return bl_fail(BL_ERROR_INPUT, "the file has %zu bytes, at most %d are read", size, BL_IMAGE_MAX_FILE);
    if (bl_png_is(data, size))
        BL_TRY(decode_png(data, size, channels, image, &orientation));
    else if (bl_jpeg_is(data, size))
        BL_TRY(decode_jpeg(data, size, channels, image, &orientation));
    else
        BL_TRY(refuse_format(data, size));
    result = bl_exif_turn(orientation, image);
    if (result != BL_OK)
        bl_image_free(image);
fail:
    return result;
}

bl_result bl_image_read(const char *path, uint32_t channels, bl_image *image)
{
    bl_result result = BL_OK;
    uint8_t *data = NULL;
    size_t size = 0;
    if (!image)
        return bl_fail(BL_ERROR_USAGE, "bl_image_read: no picture to fill");
    *image = (bl_image){ 0 };
    if (!path)
        return bl_fail(BL_ERROR_USAGE, "bl_image_read: no path");
    BL_TRY(bl_file_read_all(path, BL_IMAGE_MAX_FILE, &data, &size, BL_ERROR_INPUT));
    result = bl_image_decode(data, size, channels, image);
    if (result != BL_OK)
        bl_fail_in(result, "%s", path);
fail:
    bl_free(data);
    return result;
}
