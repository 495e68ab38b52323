/* PNG files: the scan, the decoder behind it, the texts. */
#include "fuzz.h"
#include "image.h"
#include "png.h"
#include <zlib.h>

enum { SIGNATURE = 8, FRAME = 12, HEADER = 13, CHUNKS = 64, ROWS = 1 << 15, FILE_SIZE = 1 << 17 };

static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Pixels that the header declares; 0 where the library reads no picture of that size. */
static size_t declared(const uint8_t *data, size_t size)
{
    if (size < SIGNATURE + FRAME + HEADER)
        return 0;
    const uint64_t w = get32(data + 16), h = get32(data + 20);
    return w <= BL_IMAGE_MAX_SIDE && h <= BL_IMAGE_MAX_SIDE && w * h <= BL_IMAGE_MAX_PIXELS ? (size_t)(w * h) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = { "parameters", "blemish", "k" };
    const uint32_t channels = fuzz_hash(data, size) / 8 % 2 ? 1 : 3;
    bl_image image;
    fuzz_begin(data, size, declared(data, size));
    if (fuzz_result(bl_image_decode(data, size, channels, &image))) {
        FUZZ_CHECK(image.pixels && image.channels == channels && (size_t)image.width * image.height == declared(data, size));
        FUZZ_CHECK(bl_image_check(&image) == BL_OK);
    } else {
        FUZZ_CHECK(!image.pixels && !image.width && !image.height);
    }
    bl_image_free(&image);
    for (size_t i = 0; i < BL_COUNT(keys); i++) {
        char *text = NULL;
        if (fuzz_result(bl_png_text(data, size, keys[i], &text)) && text)
            FUZZ_CHECK(strlen(text) <= 2 * size);
        bl_free(text);
    }
    return fuzz_end();
}

/* --- mutator: chunks, their contents and the rows inside IDAT, then lengths and checksums made right --------------------------- */

typedef struct chunk {
    char type[4];
    const uint8_t *data;
    size_t size;
} chunk;

static chunk chunks[CHUNKS];
static uint32_t count;
static uint8_t out[FILE_SIZE], part[FILE_SIZE], rows[ROWS];

/* False if the file is not a row of chunks, whatever their checksums. */
static bool parse(const uint8_t *data, size_t size)
{
    count = 0;
    for (size_t at = SIGNATURE; count < CHUNKS && at < size; count++) {
        if (size - at < FRAME || get32(data + at) > size - at - FRAME)
            return false;
        chunk *c = &chunks[count];
        *c = (chunk){ .data = data + at + 8, .size = get32(data + at) };
        memcpy(c->type, data + at + 4, 4);
        at += FRAME + c->size;
    }
    return count > 1;
}

/* Contents of `n` bytes at `part`, mutated. */
static void mutate_contents(chunk *c)
{
    if (c->size > FILE_SIZE / 2)
        return;
    memcpy(part, c->data, c->size);
    c->size = LLVMFuzzerMutate(part, c->size, c->size + 64);
    c->data = part;
}

/* The rows of the picture: all IDAT become one. */
static void mutate_rows(void)
{
    uint32_t first = 0, kept = 0;
    z_stream z = { 0 };
    if (inflateInit(&z) != Z_OK)
        return;
    z.next_out = rows;
    z.avail_out = ROWS / 2;
    for (uint32_t i = count; i--;)
        first = !memcmp(chunks[i].type, "IDAT", 4) ? i : first;
    for (uint32_t i = 0; i < count; i++) {
        const bool pixels = !memcmp(chunks[i].type, "IDAT", 4);
        if (pixels) {
            z.next_in = (uint8_t *)(uintptr_t)chunks[i].data;
            z.avail_in = (uInt)chunks[i].size;
            inflate(&z, Z_SYNC_FLUSH);
        }
        if (!pixels || i == first)
            chunks[kept++] = chunks[i];
    }
    const size_t n = ROWS / 2 - z.avail_out;
    inflateEnd(&z);
    if (!first)
        return;
    count = kept;
    uLongf packed = FILE_SIZE;
    const size_t now = LLVMFuzzerMutate(rows, n, n + 64);
    if (compress2(part, &packed, rows, (uLong)now, (int)fuzz_roll(10)) != Z_OK)
        return;
    chunks[first].data = part;
    chunks[first].size = packed;
}

/* A size or form that there is. */
static void mutate_header(void)
{
    static const uint8_t forms[][2] = { { 1, 0 }, { 2, 0 }, { 4, 0 }, { 8, 0 }, { 16, 0 }, { 8, 2 }, { 16, 2 }, { 1, 3 }, { 2, 3 },
                                        { 4, 3 }, { 8, 3 }, { 8, 4 }, { 16, 4 }, { 8, 6 }, { 16, 6 } };
    if (chunks[0].size != HEADER)
        return;
    memcpy(part, chunks[0].data, HEADER);
    const uint32_t deed = fuzz_roll(4);
    if (deed < 2)
        put32(part + 4 * deed, 1 + fuzz_roll(40));
    else if (deed == 2)
        memcpy(part + 8, forms[fuzz_roll(BL_COUNT(forms))], 2);
    else
        part[12] ^= 1;
    chunks[0].data = part;
}

static void insert_chunk(uint32_t at, chunk c)
{
    if (count == CHUNKS)
        return;
    memmove(&chunks[at + 1], &chunks[at], (count - at) * sizeof(*chunks));
    chunks[at] = c;
    count++;
}

static void mutate_order(void)
{
    static const struct { char type[5]; const char *data; size_t size; } known[] = {
        { "PLTE", "\0\0\0\xff\xff\xff\x10\x20\x30", 9 }, { "tRNS", "\0\x80\xff\0\0\0", 6 }, { "tRNS", "\0\x80", 2 }, { "IDAT", "", 0 },
        { "eXIf", "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0", 22 }, { "tEXt", "k\0a text", 8 }, { "zTXt", "k\0\0x", 4 },
        { "iTXt", "k\0\0\0\0\0\xc3\xa4", 8 }, { "gAMA", "\0\0\xb1\x8f", 4 }, { "CgBI", "\0\0\0\0", 4 },
    };
    const uint32_t at = fuzz_roll(count), other = fuzz_roll(count), k = fuzz_roll(BL_COUNT(known));
    chunk c = chunks[at];
    switch (fuzz_roll(4)) {
    case 0: insert_chunk(other, c); break;
    case 1: memmove(&chunks[at], &chunks[at + 1], (--count - at) * sizeof(*chunks)); break;
    case 2: chunks[at] = chunks[other]; chunks[other] = c; break;
    default:
        c = (chunk){ .data = (const uint8_t *)known[k].data, .size = known[k].size };
        memcpy(c.type, known[k].type, 4);
        insert_chunk(at, c);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    fuzz_dice = seed | 1;
    if (!bl_png_is(data, size) || !parse(data, size) || !fuzz_roll(16))
        return LLVMFuzzerMutate(data, size, max);
    switch (fuzz_roll(4)) {
    case 0: mutate_contents(&chunks[fuzz_roll(count)]); break;
    case 1: mutate_rows(); break;
    case 2: mutate_header(); break;
    default: mutate_order();
    }
    size_t n = SIGNATURE;
    memcpy(out, data, SIGNATURE);
    for (uint32_t i = 0; i < count && n + FRAME + chunks[i].size <= BL_MIN(max, (size_t)FILE_SIZE); i++) {
        const chunk *c = &chunks[i];
        put32(out + n, (uint32_t)c->size);
        memcpy(out + n + 4, c->type, 4);
        if (c->size)
            memcpy(out + n + 8, c->data, c->size);
        n += FRAME + c->size;
        put32(out + n - 4, (uint32_t)crc32(0, out + n - 8 - c->size, (uInt)(4 + c->size)));
    }
    memcpy(data, out, n);
    return n;
}
