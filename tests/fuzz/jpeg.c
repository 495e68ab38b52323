/* JPEG files: the scan, the decoder behind it, Exif. */
#include "fuzz.h"
#include "exif.h"
#include "image.h"
#include "jpeg.h"

enum { SEGMENTS = 96, FILE_SIZE = 1 << 17 };

/* A marker with what stands behind it: its segment, and after a scan's header the entropy-coded data. */
typedef struct segment {
    uint8_t marker;
    const uint8_t *data; /* behind the length */
    size_t size;
    const uint8_t *coded;
    size_t coded_size;
} segment;

static segment segments[SEGMENTS];
static uint32_t count;

/* Where the next marker is that ends entropy-coded data. */
static size_t coded_end(const uint8_t *data, size_t size, size_t at)
{
    while (at + 1 < size && (data[at] != 0xff || !data[at + 1] || data[at + 1] == 0xff || (data[at + 1] >= 0xd0 && data[at + 1] <= 0xd7)))
        at++;
    return at + 1 < size ? at : size;
}

/* False if the file is not a row of segments up to its end marker. */
static bool parse(const uint8_t *data, size_t size)
{
    size_t at = 2;
    for (count = 0; count < SEGMENTS && at + 4 <= size && data[at] == 0xff; count++) {
        while (at + 4 < size && data[at + 1] == 0xff) /* fill bytes */
            at++;
        const size_t n = (size_t)data[at + 2] << 8 | data[at + 3];
        if (data[at + 1] == 0xd9)
            return count > 0;
        if (n < 2 || n > size - at - 2)
            return false;
        segment *s = &segments[count];
        *s = (segment){ .marker = data[at + 1], .data = data + at + 4, .size = n - 2 };
        at += 2 + n;
        if (s->marker == 0xda) {
            s->coded = data + at;
            at = coded_end(data, size, at);
            s->coded_size = (size_t)(data + at - s->coded);
        }
    }
    return count > 0;
}

/* Pixels of the first frame that is declared; 0 where the library reads no picture of that size. */
static size_t declared(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    parse(data, size);
    for (uint32_t i = 0; i < count; i++) {
        const segment *s = &segments[i];
        if (s->marker < 0xc0 || s->marker > 0xc2 || s->size < 6)
            continue;
        const uint64_t h = s->data[1] << 8 | s->data[2], w = s->data[3] << 8 | s->data[4];
        return w <= BL_IMAGE_MAX_SIDE && h <= BL_IMAGE_MAX_SIDE && w * h <= BL_IMAGE_MAX_PIXELS ? (size_t)(w * h) : 0;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t pixels = declared(data, size);
    const uint32_t channels = fuzz_hash(data, size) / 8 % 2 ? 1 : 3;
    bl_image image;
    fuzz_begin(data, size, pixels);
    if (fuzz_result(bl_image_decode(data, size, channels, &image))) {
        FUZZ_CHECK(image.pixels && image.channels == channels && (size_t)image.width * image.height == pixels);
        FUZZ_CHECK(bl_image_check(&image) == BL_OK);
    } else {
        FUZZ_CHECK(!image.pixels && !image.width && !image.height);
    }
    bl_image_free(&image);
    const uint32_t seen = bl_exif_orientation(data, size); /* also on its own, where nothing stands in the way */
    FUZZ_CHECK(seen >= 1 && seen <= 8);
    return fuzz_end();
}

/* --- mutator: segments and coded data, then lengths and stuffing made right ------------------------------------------------------ */

static uint8_t out[FILE_SIZE], part[FILE_SIZE];

static void mutate_bytes(const uint8_t **data, size_t *size, size_t limit)
{
    if (!*data || *size > limit)
        return;
    memcpy(part, *data, *size);
    *size = LLVMFuzzerMutate(part, *size, BL_MIN(*size + 64, limit));
    *data = part;
}

/* A 0 behind every 0xff that is no restart marker, so that the data ends where it did. */
static void stuff(uint8_t *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (p[i] == 0xff && (p[i + 1] < 0xd0 || p[i + 1] > 0xd7))
            p[++i] = 0;
    if (n && p[n - 1] == 0xff)
        p[n - 1] = 0xfe;
}

static void insert_segment(uint32_t at, segment s)
{
    if (count == SEGMENTS)
        return;
    memmove(&segments[at + 1], &segments[at], (count - at) * sizeof(*segments));
    segments[at] = s;
    count++;
}

static void mutate_order(void)
{
    static const struct { uint8_t marker; const char *data; size_t size; } known[] = {
        { 0xe1, "Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0", 28 },
        { 0xe1, "Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\3\0\0\0", 28 },
        { 0xdd, "\0\1", 2 }, { 0xdd, "\0\0", 2 }, { 0xfe, "comment", 7 },
        { 0xe0, "JFIF\0\1\1\0\0\1\0\1\0\0", 14 }, { 0xee, "Adobe\0d\0\0\0\0\0", 12 },
        { 0xc4, "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18 }, { 0xc4, "\x10\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18 },
    };
    const uint32_t at = fuzz_roll(count), other = fuzz_roll(count), k = fuzz_roll(BL_COUNT(known));
    const segment s = segments[at];
    switch (fuzz_roll(4)) {
    case 0: insert_segment(other, s); break;
    case 1: memmove(&segments[at], &segments[at + 1], (--count - at) * sizeof(*segments)); break;
    case 2: segments[at] = segments[other]; segments[other] = s; break;
    default: insert_segment(at, (segment){ .marker = known[k].marker, .data = (const uint8_t *)known[k].data, .size = known[k].size });
    }
}

/* The frame: sizes up to 40, one coding or the other, sampling factors. */
static void mutate_frame(void)
{
    for (uint32_t i = 0; i < count; i++) {
        segment *s = &segments[i];
        if (s->marker < 0xc0 || s->marker > 0xc2 || s->size < 9 || s->size > 255)
            continue;
        memcpy(part, s->data, s->size);
        s->data = part;
        switch (fuzz_roll(4)) {
        case 0: part[2] = (uint8_t)(1 + fuzz_roll(40)); break;
        case 1: part[4] = (uint8_t)(1 + fuzz_roll(40)); break;
        case 2: s->marker = (uint8_t)(0xc0 + fuzz_roll(3)); break;
        default: part[7 + 3 * fuzz_roll((uint32_t)(s->size - 6) / 3)] = (uint8_t)((1 + fuzz_roll(4)) << 4 | (1 + fuzz_roll(4)));
        }
        return;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    fuzz_dice = seed | 1;
    if (!bl_jpeg_is(data, size) || !parse(data, size) || !fuzz_roll(16))
        return LLVMFuzzerMutate(data, size, max);
    segment *s = &segments[fuzz_roll(count)];
    switch (fuzz_roll(4)) {
    case 0: mutate_bytes(&s->data, &s->size, 65533); break;
    case 1: mutate_frame(); break;
    case 2: mutate_order(); break;
    default:
        while (s > segments && !s->coded_size)
            s--;
        mutate_bytes(&s->coded, &s->coded_size, FILE_SIZE / 2);
        if (s->coded == part && fuzz_roll(8))
            stuff(part, s->coded_size);
    }
    size_t n = 2;
    memcpy(out, data, 2);
    for (s = segments; s < segments + count && n + 6 + s->size + s->coded_size <= BL_MIN(max, (size_t)FILE_SIZE); s++) {
        memcpy(out + n, (uint8_t[]){ 0xff, s->marker, (uint8_t)((s->size + 2) >> 8), (uint8_t)(s->size + 2) }, 4);
        if (s->size)
            memcpy(out + n + 4, s->data, s->size);
        if (s->coded_size)
            memcpy(out + n + 4 + s->size, s->coded, s->coded_size);
        n += 4 + s->size + s->coded_size;
    }
    if (n + 2 <= max)
        memcpy(out + n, "\xff\xd9", 2), n += 2;
    memcpy(data, out, n);
    return n;
}
