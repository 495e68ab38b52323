/* PNG: chunks, the scan, texts, the encoder. Layer 0. */
#include "png.h"
#include "exif.h"
#include "checked.h"
#include "file.h"
#include "image.h"
#include <string.h>
#include <utf8proc.h>
#include <zlib.h>

static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* --- chunks ------------------------------------------------------------------------------------------------------------ */

enum { CHUNK_FRAME = 12 }; /* length, name, CRC */

typedef struct chunk {
    char type[5];
    const uint8_t *data;
    uint32_t size;
    size_t at; /* of its length field */
} chunk;

static bool chunk_is(const chunk *c, const char *type) { return !memcmp(c->type, type, 4); }

static bool is_letter(uint8_t c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/* The chunk at *at, which moves behind it. */
static bl_result next_chunk(const uint8_t *file, size_t size, size_t *at, chunk *c)
{
    if (size - *at < CHUNK_FRAME)
        return bl_fail(BL_ERROR_INPUT, "PNG: the file ends at byte %zu without its end chunk IEND: it was cut off", size);
    *c = (chunk){ .size = get32(file + *at), .data = file + *at + 8, .at = *at };
    memcpy(c->type, file + *at + 4, 4);
    for (int i = 0; i < 4; i++)
        if (!is_letter((uint8_t)c->type[i]))
            return bl_fail(BL_ERROR_INPUT, "PNG: no chunk starts at byte %zu: its name is not made of letters", *at);
    if (c->size > size - *at - CHUNK_FRAME)
        return bl_fail(BL_ERROR_INPUT, "PNG: chunk %s at byte %zu says %u bytes, the file has %zu left: it was cut off or is damaged",
                       c->type, *at, c->size, size - *at - CHUNK_FRAME);
    if (crc32(crc32(0, NULL, 0), file + *at + 4, 4 + c->size) != get32(c->data + c->size))
        return bl_fail(BL_ERROR_INPUT, "PNG: wrong checksum of chunk %s at byte %zu: the file is damaged", c->type, *at);
    *at += (size_t)CHUNK_FRAME + c->size;
    return BL_OK;
}

bool bl_png_is(const uint8_t *data, size_t size)
{
    return size >= sizeof(signature) && !memcmp(data, signature, sizeof(signature));
}

/* --- scan -------------------------------------------------------------------------------------------------------------- */

static bl_result scan_header(const chunk *c, size_t file_size, bl_png_info *info)
{
    static const uint8_t samples[7] = { 1, 0, 3, 1, 2, 0, 4 }; /* by colour type; 0: there is none */
    if (!chunk_is(c, "IHDR") || c->size != 13)
        return bl_fail(BL_ERROR_INPUT, "PNG: starts with chunk %s of %u bytes, not with a header IHDR of 13", c->type, c->size);
    const uint8_t *h = c->data;
    *info = (bl_png_info){ .width = get32(h), .height = get32(h + 4), .depth = h[8], .color = h[9], .color_at = c->at + 8 + 9 };
    info->samples = info->color < BL_COUNT(samples) ? samples[info->color] : 0;
    const uint32_t d = info->depth;
    const bool depth_ok = info->color == 0   ? d == 1 || d == 2 || d == 4 || d == 8 || d == 16
                          : info->color == 3 ? d == 1 || d == 2 || d == 4 || d == 8
                                             : d == 8 || d == 16;
    if (!info->samples || !depth_ok)
        return bl_fail(BL_ERROR_INPUT, "PNG: there is no colour type %u of %u bits", info->color, d);
    if (h[10] || h[11] || h[12] > 1)
        return bl_fail(BL_ERROR_INPUT, "PNG: unknown compression %u, filter %u or interlacing %u", h[10], h[11], h[12]);
    const size_t row = ((size_t)info->width * info->samples * d + 7) / 8;
    size_t decoded;
    if (!bl_mul(row, info->height, &decoded))
        decoded = SIZE_MAX;
    return bl_image_check_declared("PNG", info->width, info->height, decoded, file_size);
}

static bl_result scan_palette(const chunk *c, bl_png_info *info)
{
    if (info->palette)
        return bl_fail(BL_ERROR_INPUT, "PNG: a second palette (PLTE) at byte %zu", c->at);
    if (info->color == 0 || info->color == 4)
        return bl_fail(BL_ERROR_INPUT, "PNG: a palette (PLTE) in a grey picture");
    if (!c->size || c->size % 3 || c->size > 768)
        return bl_fail(BL_ERROR_INPUT, "PNG: a palette (PLTE) of %u bytes, must be 3 for each of 1-256 colours", c->size);
    info->palette = c->data;
    info->palette_count = c->size / 3;
    if (info->color == 3 && info->palette_count > 1u << info->depth)
        return bl_fail(BL_ERROR_INPUT, "PNG: a palette of %u colours for %u bits per pixel", info->palette_count, info->depth);
    return BL_OK;
}

static bl_result scan_transparency(const chunk *c, bl_png_info *info)
{
    if (info->transparency_type_at)
        return bl_fail(BL_ERROR_INPUT, "PNG: a second transparency chunk (tRNS) at byte %zu", c->at);
    if (info->color == 4 || info->color == 6)
        return bl_fail(BL_ERROR_INPUT, "PNG: a transparency chunk (tRNS) in a picture with an alpha channel");
    if (info->color == 3 && !info->palette)
        return bl_fail(BL_ERROR_INPUT, "PNG: the transparency chunk (tRNS) comes before the palette");
    const uint32_t want = info->color == 3 ? info->palette_count : 2 * info->samples;
    if (c->size > want || (info->color != 3 && c->size != want))
        return bl_fail(BL_ERROR_INPUT, "PNG: a transparency chunk (tRNS) of %u bytes, %s%u expected", c->size,
                       info->color == 3 ? "at most " : "", want);
    info->transparency = c->data;
    info->transparency_size = c->size;
    info->transparency_type_at = c->at + 4;
    return BL_OK;
}

bl_result bl_png_scan(const uint8_t *data, size_t size, bl_png_info *info)
{
    bl_result result = BL_OK;
    *info = (bl_png_info){ 0 };
    if (!bl_png_is(data, size))
        return bl_fail(BL_ERROR_INPUT, "not a PNG file");
    size_t at = sizeof(signature), pixels = 0;
    bool left_pixels = false;
    chunk c;
    BL_TRY(next_chunk(data, size, &at, &c));
    BL_TRY(scan_header(&c, size, info));
    for (;;) {
        BL_TRY(next_chunk(data, size, &at, &c));
        left_pixels |= pixels && !chunk_is(&c, "IDAT");
        if (chunk_is(&c, "IDAT")) {
            if (left_pixels)
                BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: pixel data (IDAT) at byte %zu does not follow the other pixel data", c.at));
            if (info->color == 3 && !info->palette)
                BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: a palette picture without a palette (PLTE) before its pixels"));
            if (!pixels && !c.size)
                BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: the first pixel data chunk (IDAT) at byte %zu is empty", c.at));
            pixels += c.size;
        } else if (chunk_is(&c, "PLTE") || chunk_is(&c, "tRNS")) {
            if (pixels)
                BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: chunk %s at byte %zu comes after the pixels", c.type, c.at));
            BL_TRY(chunk_is(&c, "PLTE") ? scan_palette(&c, info) : scan_transparency(&c, info));
        } else if (chunk_is(&c, "eXIf") && !info->orientation) {
            info->orientation = bl_exif_orientation(c.data, c.size);
        } else if (chunk_is(&c, "IEND")) {
            break;
        } else if (chunk_is(&c, "IHDR")) {
            BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: a second header (IHDR) at byte %zu", c.at));
        } else if (!(c.type[0] & 0x20)) { /* upper case: must be understood */
            BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: unknown critical chunk %s at byte %zu%s", c.type, c.at,
                           chunk_is(&c, "CgBI") ? " (Apple's own variant of PNG)" : ""));
        }
    }
    info->orientation = BL_MAX(info->orientation, 1);
    if (!pixels)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: no pixel data (IDAT)"));
    if (c.size)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: the end chunk IEND holds %u bytes, must be empty", c.size));
    if (at != size)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "PNG: %zu bytes follow the end of the picture", size - at));
fail:
    return result;
}

/* --- text, read -------------------------------------------------------------------------------------------------------- */

static bool is_utf8(const uint8_t *s, size_t n)
{
    while (n) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t used = utf8proc_iterate(s, (utf8proc_ssize_t)n, &code);
        if (used <= 0)
            return false;
        s += used;
        n -= (size_t)used;
    }
    return true;
}

/* tEXt: Latin-1. */
static char *latin1_to_utf8(const uint8_t *s, size_t n)
{
    char *text = bl_alloc(2 * n + 1, 1), *p = text;
    for (size_t i = 0; text && i < n; i++) {
        if (s[i] < 0x80) {
            *p++ = (char)s[i];
        } else {
            *p++ = (char)(0xc0 | s[i] >> 6);
            *p++ = (char)(0x80 | (s[i] & 0x3f));
        }
    }
    return text;
}

/* `s`: the `n` bytes behind the key and its 0. */
static bl_result text_of(const chunk *c, const uint8_t *s, size_t n, char **text)
{
    const bool international = chunk_is(c, "iTXt");
    if (chunk_is(c, "zTXt") || (international && n && s[0]))
        return bl_fail(BL_ERROR_INPUT, "PNG: the text chunk %s at byte %zu is compressed; only plain ones are read", c->type, c->at);
    if (international) { /* compression flag and method, then language and translated key, each up to a 0 */
        const uint8_t *language = n > 2 ? memchr(s + 2, 0, n - 2) : NULL;
        const uint8_t *key = language ? memchr(language + 1, 0, n - (size_t)(language + 1 - s)) : NULL;
        if (!key)
            return bl_fail(BL_ERROR_INPUT, "PNG: the text chunk iTXt at byte %zu is broken", c->at);
        n -= (size_t)(key + 1 - s);
        s = key + 1;
    }
    if (n > BL_PNG_MAX_TEXT)
        return bl_fail(BL_ERROR_INPUT, "PNG: the text at byte %zu has %zu bytes, at most %d are read", c->at, n, BL_PNG_MAX_TEXT);
    if (n && (memchr(s, 0, n) || (international && !is_utf8(s, n))))
        return bl_fail(BL_ERROR_INPUT, "PNG: the text at byte %zu is not %s", c->at, international ? "UTF-8" : "Latin-1");
    *text = international ? bl_text_copy((const char *)s, n) : latin1_to_utf8(s, n);
    return *text ? BL_OK : bl_fail(BL_ERROR_MEMORY, "out of memory for a text of %zu bytes", n);
}

bl_result bl_png_text(const uint8_t *data, size_t size, const char *key, char **text)
{
    bl_result result = BL_OK;
    *text = NULL;
    if (!bl_png_is(data, size))
        return bl_fail(BL_ERROR_INPUT, "not a PNG file");
    const size_t key_size = strlen(key) + 1; /* with its 0 */
    size_t at = sizeof(signature);
    chunk c;
    do {
        BL_TRY(next_chunk(data, size, &at, &c));
        if ((chunk_is(&c, "iTXt") || chunk_is(&c, "tEXt") || chunk_is(&c, "zTXt")) && c.size >= key_size && !memcmp(c.data, key, key_size))
            return text_of(&c, c.data + key_size, c.size - key_size, text);
    } while (!chunk_is(&c, "IEND"));
fail:
    return result;
}

bl_result bl_image_read_text(const char *path, const char *key, char **text)
{
    bl_result result = BL_OK;
    uint8_t *data = NULL;
    size_t size = 0;
    if (!text)
        return bl_fail(BL_ERROR_USAGE, "bl_image_read_text: no place for a text");
    *text = NULL;
    if (!path || !key)
        return bl_fail(BL_ERROR_USAGE, "bl_image_read_text: no path or no key");
    BL_TRY(bl_file_read_all(path, BL_IMAGE_MAX_FILE, &data, &size, BL_ERROR_INPUT));
    result = bl_png_text(data, size, key, text);
    if (result != BL_OK)
        bl_fail_in(result, "%s", path);
fail:
    bl_free(data);
    return result;
}

void bl_text_free(char *text) { bl_free(text); }

/* --- encoder ----------------------------------------------------------------------------------------------------------- */

/* The rules of the standard for keywords. */
static bool key_ok(const char *key)
{
    const size_t n = key ? strlen(key) : 0;
    if (!n || n > BL_PNG_MAX_KEY || key[0] == ' ' || key[n - 1] == ' ')
        return false;
    for (size_t i = 0; i < n; i++) {
        const uint8_t c = (uint8_t)key[i];
        if (c < 0x20 || (c > 0x7e && c < 0xa1) || (c == ' ' && key[i + 1] == ' '))
            return false;
    }
    return true;
}

/* Checks the texts and adds up the bytes of their chunks. */
static bl_result texts_size(const bl_image_text *texts, size_t count, size_t *total)
{
    *total = 0;
    if (count && !texts)
        return bl_fail(BL_ERROR_USAGE, "PNG: no texts given");
    for (size_t i = 0; i < count; i++) {
        if (!key_ok(texts[i].key))
            return bl_fail(BL_ERROR_USAGE, "PNG: the key of text %zu must be 1-%d printable Latin-1 characters without spare spaces", i,
                           BL_PNG_MAX_KEY);
        const size_t n = texts[i].text ? strlen(texts[i].text) : 0;
        if (!texts[i].text || n > BL_PNG_MAX_TEXT || !is_utf8((const uint8_t *)texts[i].text, n))
            return bl_fail(BL_ERROR_USAGE, "PNG: the text \"%s\" must be UTF-8 of at most %d bytes", texts[i].key, BL_PNG_MAX_TEXT);
        if (!bl_add(*total, CHUNK_FRAME + strlen(texts[i].key) + 5 + n, total))
            return bl_fail(BL_ERROR_USAGE, "PNG: too many texts");
    }
    return BL_OK;
}

/* Frames the `size` bytes that already stand at p + 8; returns the end. */
static uint8_t *finish_chunk(uint8_t *p, const char *type, size_t size)
{
    put32(p, (uint32_t)size);
    memcpy(p + 4, type, 4);
    put32(p + 8 + size, (uint32_t)crc32(crc32(0, NULL, 0), p + 4, (uInt)(4 + size)));
    return p + CHUNK_FRAME + size;
}

static uint8_t *put_text(uint8_t *p, const bl_image_text *t)
{
    const size_t key = strlen(t->key), text = strlen(t->text);
    memcpy(p + 8, t->key, key);
    memset(p + 8 + key, 0, 5); /* end of key, not compressed (2 bytes), no language, no translated key */
    memcpy(p + 8 + key + 5, t->text, text);
    return finish_chunk(p, "iTXt", key + 5 + text);
}

static uint8_t paeth(uint8_t left, uint8_t up, uint8_t corner)
{
    const int p = left + up - corner;
    const int a = p > left ? p - left : left - p, b = p > up ? p - up : up - p, c = p > corner ? p - corner : corner - p;
    return a <= b && a <= c ? left : b <= c ? up : corner;
}

enum { FILTERS = 5 };

/* Row `y` through each filter: out[f] starts with the filter's number. Returns the one whose bytes, taken as signed, have the least sum
 * of absolute values (the heuristic of section 12.8 of the standard); the first of equals. */
static int filter_row(const uint8_t *row, const uint8_t *above, size_t bytes, size_t step, uint8_t *const out[FILTERS])
{
    uint64_t sum[FILTERS] = { 0 };
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t x = row[i], up = above[i];
        const uint8_t left = i >= step ? row[i - step] : 0, corner = i >= step ? above[i - step] : 0;
        const uint8_t guess[FILTERS] = { 0, left, up, (uint8_t)((left + up) / 2), paeth(left, up, corner) };
        for (int f = 0; f < FILTERS; f++) {
            const uint8_t d = (uint8_t)(x - guess[f]);
            out[f][i + 1] = d;
            sum[f] += d < 128 ? d : 256u - d;
        }
    }
    int best = 0;
    for (int f = 1; f < FILTERS; f++)
        if (sum[f] < sum[best])
            best = f;
    out[best][0] = (uint8_t)best;
    return best;
}

static void *zlib_alloc(void *opaque, uInt count, uInt size)
{
    (void)opaque;
    return bl_alloc(count, size);
}

static void zlib_free(void *opaque, void *p)
{
    (void)opaque;
    bl_free(p);
}

/* Filters and compresses all rows into `capacity` bytes at `out`; `scratch` holds a zeroed row and FILTERS rows with their number. */
static bl_result compress_rows(z_stream *z, const bl_image *image, uint8_t *scratch, uint8_t *out, size_t capacity, size_t *size)
{
    const size_t bytes = (size_t)image->width * image->channels;
    uint8_t *filtered[FILTERS];
    for (int f = 0; f < FILTERS; f++)
        filtered[f] = scratch + bytes + (size_t)f * (bytes + 1);
    const uint8_t *above = scratch;
    z->next_out = out;
    z->avail_out = (uInt)capacity;
    for (uint32_t y = 0; y < image->height; y++) {
        const uint8_t *row = image->pixels + y * bytes;
        z->next_in = filtered[filter_row(row, above, bytes, image->channels, filtered)];
        z->avail_in = (uInt)(bytes + 1);
        const bool last = y + 1 == image->height;
        if (deflate(z, last ? Z_FINISH : Z_NO_FLUSH) != (last ? Z_STREAM_END : Z_OK) || z->avail_in)
            return bl_fail(BL_ERROR_OUTPUT, "PNG: compression failed: %s", z->msg ? z->msg : "no room");
        above = row;
    }
    *size = capacity - z->avail_out;
    return BL_OK;
}

bl_result bl_png_encode(const bl_image *image, const bl_image_text *texts, size_t count, uint8_t **data, size_t *size)
{
    bl_result result = BL_OK;
    uint8_t *scratch = NULL, *file = NULL;
    z_stream z = { .zalloc = zlib_alloc, .zfree = zlib_free };
    bool z_open = false;
    size_t text_bytes, total, packed = 0;
    *data = NULL;
    *size = 0;
    BL_TRY(bl_image_check(image));
    BL_TRY(texts_size(texts, count, &text_bytes));

    const size_t row = (size_t)image->width * image->channels;
    scratch = bl_alloc(row + FILTERS * (row + 1), 1);
    z_open = scratch && deflateInit2(&z, 6, Z_DEFLATED, 15, 8, Z_FILTERED) == Z_OK;
    if (!z_open)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "out of memory for writing a picture of %ux%u", image->width, image->height));
    const size_t bound = deflateBound(&z, (uLong)((row + 1) * image->height));
    /* IHDR of 13 bytes, sRGB of 1, IDAT, IEND. */
    if (!bl_add(text_bytes, sizeof(signature) + 4 * CHUNK_FRAME + 13 + 1 + bound, &total))
        BL_TRY(bl_fail(BL_ERROR_USAGE, "PNG: too many texts"));
    file = bl_alloc(total, 1);
    if (!file)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "out of memory for writing a picture of %ux%u", image->width, image->height));

    memcpy(file, signature, sizeof(signature));
    uint8_t *p = file + sizeof(signature);
    put32(p + 8, image->width);
    put32(p + 12, image->height);
    memcpy(p + 16, (uint8_t[5]){ 8, image->channels == 3 ? 2 : 0 }, 5);
    p = finish_chunk(p, "IHDR", 13);
    for (size_t i = 0; i < count; i++)
        p = put_text(p, &texts[i]);
    p[8] = 0; /* rendering intent: perceptual */
    p = finish_chunk(p, "sRGB", 1);
    BL_TRY(compress_rows(&z, image, scratch, p + 8, bound, &packed));
    p = finish_chunk(p, "IDAT", packed);
    p = finish_chunk(p, "IEND", 0);
    *size = (size_t)(p - file);
    /* The bound is for bytes that do not compress; give the rest back if the host lets us. */
    uint8_t *exact = bl_resize(file, *size, 1);
    *data = exact ? exact : file;
    file = NULL;
fail:
    if (z_open)
        deflateEnd(&z);
    bl_free(scratch);
    bl_free(file);
    return result;
}

bl_result bl_image_write_png(const char *path, const bl_image *image, const bl_image_text *texts, size_t text_count)
{
    bl_result result = BL_OK;
    uint8_t *data = NULL;
    size_t size;
    if (!path)
        return bl_fail(BL_ERROR_USAGE, "bl_image_write_png: no path");
    BL_TRY(bl_png_encode(image, texts, text_count, &data, &size));
    BL_TRY(bl_file_write_atomic(path, data, size));
fail:
    bl_free(data);
    return result;
}
