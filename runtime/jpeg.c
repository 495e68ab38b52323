/* JPEG: segments and a walk through the entropy-coded data that keeps no pixels. Layer 0. */
#include "jpeg.h"
#include "exif.h"
#include "image.h"
#include <string.h>

/* --- Huffman tables (T.81 annex C, F.2.2.3) ----------------------------------------------------------------------------- */

enum { FAST_BITS = 9, BLOCK_SIZE = 64, UNSENT = 0xff };

typedef struct huffman {
    bool defined;
    uint16_t fast[1 << FAST_BITS]; /* length << 8 | symbol of the code that these bits start with; 0: longer or none */
    int32_t end[17];               /* by length: one above the last code, or -1 */
    int32_t offset[17];            /* by length: index of the first symbol minus the first code */
    uint8_t symbols[256];
} huffman;

/* False if the counts ask for more codes than there are. */
static bool huffman_build(huffman *h, const uint8_t counts[16], const uint8_t *symbols, uint32_t n)
{
    memset(h, 0, sizeof(*h));
    memcpy(h->symbols, symbols, n);
    int32_t code = 0, index = 0;
    for (int length = 1; length <= 16; length++, code <<= 1) {
        h->offset[length] = index - code;
        h->end[length] = -1;
        for (int i = 0; i < counts[length - 1]; i++, code++, index++) {
            if (code >= 1 << length)
                return false;
            if (length <= FAST_BITS)
                for (int j = 0; j < 1 << (FAST_BITS - length); j++)
                    h->fast[code << (FAST_BITS - length) | j] = (uint16_t)(length << 8 | symbols[index]);
        }
        if (counts[length - 1])
            h->end[length] = code;
    }
    h->defined = true;
    return true;
}

/* --- entropy-coded bits (F.2.2.5) --------------------------------------------------------------------------------------- */

/* What became of the data: the first problem sticks, and reading goes on with zeros. */
typedef enum trouble { NONE, SHORT, BAD_CODE, BAD_RESTART } trouble;

typedef struct bits {
    const uint8_t *p, *end;
    uint32_t held;    /* the lowest `count` bits are next */
    int count;
    int padding;      /* bits of `held` that are not from the file */
    trouble trouble;
} bits;

static void trouble_set(bits *b, trouble t)
{
    if (b->trouble == NONE)
        b->trouble = t;
}

static void bits_fill(bits *b)
{
    while (b->count <= 24) {
        uint32_t byte = 0;
        if (b->p < b->end && (b->p[0] != 0xff || (b->end - b->p > 1 && b->p[1] == 0))) {
            byte = b->p[0];
            b->p += byte == 0xff ? 2 : 1; /* a 0 is stuffed behind 0xff */
        } else { /* the end, or a marker */
            b->padding += 8;
        }
        b->held = b->held << 8 | byte;
        b->count += 8;
    }
}

static void bits_drop(bits *b, int n)
{
    b->count -= n;
    if (b->count < b->padding) {
        b->padding = b->count;
        trouble_set(b, SHORT);
    }
}

static uint32_t bits_get(bits *b, int n) /* n <= 16 */
{
    if (!n)
        return 0;
    if (b->count < n)
        bits_fill(b);
    const uint32_t v = b->held >> (b->count - n) & ((1u << n) - 1);
    bits_drop(b, n);
    return v;
}

static int bits_symbol(bits *b, const huffman *h)
{
    if (b->count < 16)
        bits_fill(b);
    const uint16_t fast = h->fast[b->held >> (b->count - FAST_BITS) & ((1 << FAST_BITS) - 1)];
    if (fast) {
        bits_drop(b, fast >> 8);
        return fast & 0xff;
    }
    for (int length = FAST_BITS + 1; length <= 16; length++) {
        const int32_t code = (int32_t)(b->held >> (b->count - length) & ((1u << length) - 1));
        if (code < h->end[length]) {
            bits_drop(b, length);
            return h->symbols[code + h->offset[length]];
        }
    }
    bits_drop(b, 16);
    trouble_set(b, BAD_CODE);
    return 0;
}

/* To the next restart marker, which must be number `n`. */
static void bits_restart(bits *b, uint32_t n)
{
    b->held = 0;
    b->count = b->padding = 0;
    while (b->end - b->p > 1 && b->p[0] == 0xff && b->p[1] == 0xff) /* fill bytes */
        b->p++;
    if (b->end - b->p < 2)
        trouble_set(b, SHORT);
    else if (b->p[0] != 0xff || b->p[1] != 0xd0 + (n & 7))
        trouble_set(b, BAD_RESTART);
    else
        b->p += 2;
}

/* --- frame and scan ------------------------------------------------------------------------------------------------------ */

typedef struct component {
    uint32_t id, h, v;              /* sampling factors */
    uint32_t columns, rows;         /* blocks that cover the component */
    uint32_t stride;                /* blocks per row with padding to whole MCUs */
    uint64_t *nonzero;              /* progressive: per block, which coefficients are known not to be 0 */
    uint8_t missing[BLOCK_SIZE];    /* per coefficient: low bits not sent so far; UNSENT before its first scan */
} component;

typedef struct scanner {
    const uint8_t *data;
    size_t size, at;
    bl_jpeg_info *info;
    bool frame;                     /* SOF was read */
    component components[3];
    uint32_t mcu_columns, mcu_rows;
    uint32_t restart_interval;
    uint32_t orientation;           /* 0: nothing said so far */
    huffman tables[2][4];           /* DC, AC */
    /* The current scan. */
    uint32_t count;
    struct { component *c; const huffman *dc, *ac; } parts[3];
    int first, last, high, low;     /* spectral selection, successive approximation */
    uint32_t end_of_band;           /* further blocks without coefficients */
} scanner;

static uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

/* G.1.2, F.1.2: each of these reads one block and drops the values. */
static void block_sequential(bits *b, const huffman *dc, const huffman *ac)
{
    const int size = bits_symbol(b, dc);
    if (size > 11)
        trouble_set(b, BAD_CODE);
    bits_get(b, BL_MIN(size, 16));
    for (int k = 1; k < BLOCK_SIZE; k++) {
        const int rs = bits_symbol(b, ac), run = rs >> 4, n = rs & 15;
        if (!n && run != 15)
            return;
        k += run;
        if (k >= BLOCK_SIZE)
            trouble_set(b, BAD_CODE);
        bits_get(b, n);
    }
}

static void block_dc(scanner *s, bits *b, const huffman *dc)
{
    if (s->high) {
        bits_get(b, 1);
        return;
    }
    const int size = bits_symbol(b, dc);
    if (size > 11)
        trouble_set(b, BAD_CODE);
    bits_get(b, BL_MIN(size, 16));
}

static void block_ac_first(scanner *s, bits *b, const huffman *ac, uint64_t *nonzero)
{
    if (s->end_of_band) {
        s->end_of_band--;
        return;
    }
    for (int k = s->first; k <= s->last; k++) {
        const int rs = bits_symbol(b, ac), run = rs >> 4, n = rs & 15;
        if (!n && run != 15) {
            s->end_of_band = (1u << run) - 1 + bits_get(b, run);
            return;
        }
        k += run;
        if (k > s->last) {
            trouble_set(b, BAD_CODE);
            return;
        }
        if (n) {
            bits_get(b, n);
            *nonzero |= (uint64_t)1 << k;
        }
    }
}

static void block_ac_refine(scanner *s, bits *b, const huffman *ac, uint64_t *nonzero)
{
    int k = s->first;
    for (; !s->end_of_band && k <= s->last; k++) {
        const int rs = bits_symbol(b, ac), n = rs & 15;
        int run = rs >> 4;
        if (!n && run != 15) {
            s->end_of_band = (1u << run) + bits_get(b, run);
            break;
        }
        if (n > 1)
            trouble_set(b, BAD_CODE);
        if (n)
            bits_get(b, 1); /* sign */
        for (; k <= s->last; k++) /* known ones on the way get a correction bit each; only zeros count for the run */
            if (*nonzero >> k & 1)
                bits_get(b, 1);
            else if (run-- == 0)
                break;
        if (n && k > s->last)
            trouble_set(b, BAD_CODE);
        else if (n)
            *nonzero |= (uint64_t)1 << k;
    }
    if (s->end_of_band) {
        for (; k <= s->last; k++)
            if (*nonzero >> k & 1)
                bits_get(b, 1);
        s->end_of_band--;
    }
}

static void read_block(scanner *s, bits *b, uint32_t part, uint32_t column, uint32_t row)
{
    component *c = s->parts[part].c;
    if (!s->info->progressive)
        block_sequential(b, s->parts[part].dc, s->parts[part].ac);
    else if (!s->first)
        block_dc(s, b, s->parts[part].dc);
    else if (!s->high)
        block_ac_first(s, b, s->parts[part].ac, &c->nonzero[(size_t)row * c->stride + column]);
    else
        block_ac_refine(s, b, s->parts[part].ac, &c->nonzero[(size_t)row * c->stride + column]);
}

/* One MCU (A.2): a block of the only component, or all blocks of each. */
static void read_mcu(scanner *s, bits *b, uint32_t column, uint32_t row)
{
    if (s->count == 1) {
        read_block(s, b, 0, column, row);
        return;
    }
    for (uint32_t part = 0; part < s->count; part++) {
        const component *c = s->parts[part].c;
        for (uint32_t y = 0; y < c->v; y++)
            for (uint32_t x = 0; x < c->h; x++)
                read_block(s, b, part, column * c->h + x, row * c->v + y);
    }
}

static bl_result read_entropy(scanner *s, const uint8_t *end)
{
    bits b = { .p = s->data + s->at, .end = end };
    const uint32_t columns = s->count == 1 ? s->parts[0].c->columns : s->mcu_columns;
    const uint32_t rows = s->count == 1 ? s->parts[0].c->rows : s->mcu_rows;
    uint32_t left = s->restart_interval, restarts = 0;
    s->end_of_band = 0;
    for (uint32_t y = 0; y < rows; y++)
        for (uint32_t x = 0; x < columns; x++) {
            if (s->restart_interval && !left) {
                bits_restart(&b, restarts++);
                left = s->restart_interval;
                s->end_of_band = 0;
            }
            left--;
            if (b.trouble == NONE)
                read_mcu(s, &b, x, y);
            if (b.trouble == NONE)
                continue;
            const char *what = b.trouble == SHORT      ? "the data ends"
                               : b.trouble == BAD_CODE ? "the data makes no sense"
                                                       : "a restart marker is missing";
            return bl_fail(BL_ERROR_INPUT, "JPEG: %s after %llu of %llu MCUs of scan %u: the file was cut off or is damaged", what,
                           (unsigned long long)y * columns + x, (unsigned long long)rows * columns, s->info->scans);
        }
    return BL_OK;
}

/* --- segments ------------------------------------------------------------------------------------------------------------ */

/* p[0..n): the segment behind its length field. */
static bl_result read_frame(scanner *s, uint32_t marker, const uint8_t *p, uint32_t n)
{
    static const char *const unread[16] = {
        [3] = "lossless coding", [5] = "hierarchical coding", [6] = "hierarchical coding", [7] = "hierarchical lossless coding",
        [9] = "arithmetic coding", [10] = "arithmetic coding", [11] = "lossless arithmetic coding", [13] = "hierarchical arithmetic coding",
        [14] = "hierarchical arithmetic coding", [15] = "hierarchical arithmetic coding",
    };
    bl_jpeg_info *info = s->info;
    if (unread[marker & 15])
        return bl_fail(BL_ERROR_INPUT, "JPEG: %s is not supported; save the picture as baseline or progressive JPEG", unread[marker & 15]);
    if (s->frame)
        return bl_fail(BL_ERROR_INPUT, "JPEG: a second frame header at byte %zu", (size_t)(p - s->data));
    if (n < 6 || n != 6u + 3 * p[5])
        return bl_fail(BL_ERROR_INPUT, "JPEG: a frame header of %u bytes", n);
    if (p[0] != 8)
        return bl_fail(BL_ERROR_INPUT, "JPEG: %u bits per sample are not supported, only 8", p[0]);
    *info = (bl_jpeg_info){ .height = get16(p + 1), .width = get16(p + 3), .components = p[5], .progressive = marker == 0xc2 };
    if (info->components == 4)
        return bl_fail(BL_ERROR_INPUT, "JPEG: CMYK pictures (4 components) are not supported; convert it to RGB");
    if (info->components != 1 && info->components != 3)
        return bl_fail(BL_ERROR_INPUT, "JPEG: %u components are not supported, only 1 or 3", info->components);
    if (!info->height && info->width)
        return bl_fail(BL_ERROR_INPUT, "JPEG: a height given after the picture (DNL) is not supported");
    const bl_result result = bl_image_check_declared("JPEG", info->width, info->height,
                                                     (size_t)info->width * info->height * info->components, s->size);
    if (result != BL_OK)
        return result;

    uint32_t h_max = 1, v_max = 1;
    for (uint32_t i = 0; i < info->components; i++) {
        component *c = &s->components[i];
        *c = (component){ .id = p[6 + 3 * i], .h = p[7 + 3 * i] >> 4, .v = p[7 + 3 * i] & 15 };
        memset(c->missing, UNSENT, sizeof(c->missing));
        for (uint32_t j = 0; j < i; j++)
            if (s->components[j].id == c->id)
                return bl_fail(BL_ERROR_INPUT, "JPEG: two components with the number %u", c->id);
        if (!c->h || !c->v || c->h > 4 || c->v > 4)
            return bl_fail(BL_ERROR_INPUT, "JPEG: component %u has sampling factors %ux%u", c->id, c->h, c->v);
        h_max = BL_MAX(h_max, c->h);
        v_max = BL_MAX(v_max, c->v);
    }
    s->mcu_columns = (info->width + 8 * h_max - 1) / (8 * h_max);
    s->mcu_rows = (info->height + 8 * v_max - 1) / (8 * v_max);
    for (uint32_t i = 0; i < info->components; i++) {
        component *c = &s->components[i];
        c->columns = ((info->width * c->h + h_max - 1) / h_max + 7) / 8;
        c->rows = ((info->height * c->v + v_max - 1) / v_max + 7) / 8;
        c->stride = s->mcu_columns * c->h;
        if (info->progressive && !(c->nonzero = bl_alloc((size_t)c->stride * s->mcu_rows * c->v, sizeof(*c->nonzero))))
            return bl_fail(BL_ERROR_MEMORY, "out of memory for a progressive JPEG of %ux%u", info->width, info->height);
    }
    s->frame = true;
    return BL_OK;
}

static bl_result read_huffman(scanner *s, const uint8_t *p, uint32_t n)
{
    while (n) {
        uint32_t total = 0;
        for (uint32_t i = 1; i <= 16 && i < n; i++)
            total += p[i];
        if (n < 17 || total > 256 || n - 17 < total || p[0] >> 4 > 1 || (p[0] & 15) > 3 ||
            !huffman_build(&s->tables[p[0] >> 4][p[0] & 15], p + 1, p + 17, total))
            return bl_fail(BL_ERROR_INPUT, "JPEG: a broken Huffman table at byte %zu", (size_t)(p - s->data));
        p += 17 + total;
        n -= 17 + total;
    }
    return BL_OK;
}

/* Which components, tables and coefficients the scan holds. */
static bl_result read_scan_header(scanner *s, const uint8_t *p, uint32_t n)
{
    bl_jpeg_info *info = s->info;
    if (!s->frame)
        return bl_fail(BL_ERROR_INPUT, "JPEG: a scan at byte %zu before the frame header", (size_t)(p - s->data));
    if (++info->scans > BL_JPEG_MAX_SCANS)
        return bl_fail(BL_ERROR_INPUT, "JPEG: more than %d scans", BL_JPEG_MAX_SCANS);
    s->count = n ? p[0] : 0;
    if (!s->count || s->count > info->components || n != 4 + 2 * s->count)
        return bl_fail(BL_ERROR_INPUT, "JPEG: scan %u has a broken header", info->scans);
    const uint8_t *select = p + 1 + 2 * s->count;
    s->first = select[0];
    s->last = select[1];
    s->high = select[2] >> 4;
    s->low = select[2] & 15;
    if (!info->progressive)
        s->last = BLOCK_SIZE - 1; /* some writers leave it 0 */
    const bool range_ok = info->progressive ? s->first <= s->last && s->last < BLOCK_SIZE && (s->first || !s->last) && s->high <= 13 &&
                                                  s->low <= 13 && (!s->first || s->count == 1)
                                            : !s->first && !s->high && !s->low;
    if (!range_ok)
        return bl_fail(BL_ERROR_INPUT, "JPEG: scan %u has a broken range of coefficients", info->scans);
    for (uint32_t i = 0; i < s->count; i++) {
        const uint8_t id = p[1 + 2 * i], table = p[2 + 2 * i];
        component *c = NULL;
        for (uint32_t j = 0; j < info->components; j++)
            if (s->components[j].id == id)
                c = &s->components[j];
        for (uint32_t j = 0; j < i; j++)
            if (s->parts[j].c == c)
                c = NULL;
        if (!c)
            return bl_fail(BL_ERROR_INPUT, "JPEG: scan %u names component %u, which is unknown or named twice", info->scans, id);
        if (table >> 4 > 3 || (table & 15) > 3)
            return bl_fail(BL_ERROR_INPUT, "JPEG: scan %u names a Huffman table above 3", info->scans);
        s->parts[i].c = c;
        s->parts[i].dc = &s->tables[0][table >> 4];
        s->parts[i].ac = &s->tables[1][table & 15];
        const bool needs_dc = !info->progressive || (!s->first && !s->high), needs_ac = !info->progressive || s->first;
        if ((needs_dc && !s->parts[i].dc->defined) || (needs_ac && !s->parts[i].ac->defined))
            return bl_fail(BL_ERROR_INPUT, "JPEG: scan %u uses a Huffman table that the file does not define", info->scans);
        for (int k = s->first; k <= s->last; k++) { /* each scan goes on where the one before it stopped */
            if (s->high ? c->missing[k] != s->high || s->low != s->high - 1 : c->missing[k] != UNSENT)
                return bl_fail(BL_ERROR_INPUT, "JPEG: scan %u sends coefficient %d of component %u out of order", info->scans, k, id);
            c->missing[k] = (uint8_t)s->low;
        }
    }
    return BL_OK;
}

/* The next marker that is not a restart, at or behind `p`; NULL at the end of the file. */
static const uint8_t *next_marker(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (p = memchr(p, 0xff, (size_t)(end - p))) && end - p > 1) {
        if (p[1] == 0xff)
            p++;
        else if (p[1] == 0 || (p[1] >= 0xd0 && p[1] <= 0xd7))
            p += 2;
        else
            return p;
    }
    return NULL;
}

static bl_result scan_segments(scanner *s)
{
    bl_result result = BL_OK;
    const uint8_t *const end = s->data + s->size;
    for (;;) {
        if (s->size - s->at < 2)
            return bl_fail(BL_ERROR_INPUT, "JPEG: the file ends at byte %zu without its end marker: it was cut off", s->size);
        const uint8_t *p = s->data + s->at;
        const uint32_t marker = p[1];
        if (p[0] == 0xff && marker == 0xff) { /* fill byte */
            s->at++;
            continue;
        }
        if (p[0] != 0xff || !marker || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8))
            return bl_fail(BL_ERROR_INPUT, "JPEG: no segment starts at byte %zu", s->at);
        if (marker == 0xd9)
            return BL_OK;
        const size_t left = s->size - s->at - 2;
        const uint32_t n = left < 2 ? 2 : get16(p + 2);
        if (n < 2 || left < n)
            return bl_fail(BL_ERROR_INPUT, "JPEG: segment %02X at byte %zu is cut off or has a broken length", marker, s->at);
        p += 4;
        s->at += 2 + n;
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc)
            BL_TRY(read_frame(s, marker, p, n - 2));
        else if (marker == 0xc4)
            BL_TRY(read_huffman(s, p, n - 2));
        else if (marker == 0xe1 && n > 8 && !memcmp(p, "Exif\0", 6) && !s->orientation)
            s->orientation = bl_exif_orientation(p + 6, n - 8);
        else if (marker == 0xdd && n == 4)
            s->restart_interval = get16(p);
        else if (marker == 0xdc)
            BL_TRY(bl_fail(BL_ERROR_INPUT, "JPEG: a height given after the picture (DNL) is not supported"));
        if (marker != 0xda)
            continue;
        BL_TRY(read_scan_header(s, p, n - 2));
        const uint8_t *next = next_marker(s->data + s->at, end);
        BL_TRY(read_entropy(s, next ? next : end));
        s->at = next ? (size_t)(next - s->data) : s->size;
    }
fail:
    return result;
}

bool bl_jpeg_is(const uint8_t *data, size_t size) { return size >= 3 && !memcmp(data, "\xff\xd8\xff", 3); }

bl_result bl_jpeg_scan(const uint8_t *data, size_t size, bl_jpeg_info *info)
{
    bl_result result = BL_OK;
    *info = (bl_jpeg_info){ 0 };
    scanner *s = NULL;
    if (!bl_jpeg_is(data, size))
        BL_TRY(bl_fail(BL_ERROR_INPUT, "not a JPEG file"));
    s = bl_alloc(1, sizeof(*s));
    if (!s)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "out of memory for scanning a JPEG file"));
    s->data = data;
    s->size = size;
    s->at = 2;
    s->info = info;
    BL_TRY(scan_segments(s));
    info->orientation = BL_MAX(s->orientation, 1);
    if (!info->scans)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "JPEG: no picture before the end marker"));
    for (uint32_t i = 0; i < info->components; i++)
        for (int k = 0; k < BLOCK_SIZE; k++)
            if (s->components[i].missing[k])
                BL_TRY(bl_fail(BL_ERROR_INPUT, "JPEG: coefficient %d of component %u is missing: the last scans were cut off", k,
                               s->components[i].id));
fail:
    for (uint32_t i = 0; s && i < 3; i++)
        bl_free(s->components[i].nonzero);
    bl_free(s);
    return result;
}
