/* Reader of safetensors files: container. Layer 0. */
#include "safetensors.h"
#include "checked.h"
#include "file.h"
#include "half.h"
#include "json.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_SIZE = 8,    /* the header length in front of the header */
    HEADER_DEPTH = 4,   /* the grammar needs 3 */
    /* Commas of the largest header that is accepted: entries, their 3 keys, their dims and offsets. Bounds what the parser allocates. */
    MAX_COMMAS = BL_SAFETENSORS_MAX_TENSORS * (1 + 2 + (BL_SAFETENSORS_MAX_RANK - 1) + 1) + BL_SAFETENSORS_MAX_METADATA + 1,
    HEAD_SIZE = 4096,   /* bytes looked at to recognise another format */
    CHUNK = 32768,      /* bytes converted at a time, on the stack */
    MAX_QUOTED = 200    /* bytes of a name in a message */
};

struct bl_safetensors {
    bl_file file;
    bl_result kind;
    bl_file_tensor *tensors;          /* by offset */
    const bl_file_tensor **by_name;
    size_t count;
    const char **metadata;            /* key, value, key, value, ... */
    size_t metadata_count;            /* pairs */
    char *text;                       /* all names, keys and values, each with a final 0 */
};

/* --- element types ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint8_t bits;
    bool readable;
} dtypes[BL_FILE_DTYPE_COUNT] = {
    [BL_FILE_BOOL] = { "BOOL", 8, true }, [BL_FILE_F4] = { "F4", 4, false },
    [BL_FILE_F6_E2M3] = { "F6_E2M3", 6, false }, [BL_FILE_F6_E3M2] = { "F6_E3M2", 6, false },
    [BL_FILE_U8] = { "U8", 8, true }, [BL_FILE_I8] = { "I8", 8, true },
    [BL_FILE_F8_E5M2] = { "F8_E5M2", 8, false }, [BL_FILE_F8_E4M3] = { "F8_E4M3", 8, false },
    [BL_FILE_F8_E8M0] = { "F8_E8M0", 8, false }, [BL_FILE_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 8, false },
    [BL_FILE_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 8, false },
    [BL_FILE_I16] = { "I16", 16, true }, [BL_FILE_U16] = { "U16", 16, true },
    [BL_FILE_F16] = { "F16", 16, true }, [BL_FILE_BF16] = { "BF16", 16, true },
    [BL_FILE_I32] = { "I32", 32, true }, [BL_FILE_U32] = { "U32", 32, true }, [BL_FILE_F32] = { "F32", 32, true },
    [BL_FILE_C64] = { "C64", 64, false }, [BL_FILE_F64] = { "F64", 64, true },
    [BL_FILE_I64] = { "I64", 64, true }, [BL_FILE_U64] = { "U64", 64, true },
};

static bool dtype_valid(bl_file_dtype t) { return (unsigned)t < BL_FILE_DTYPE_COUNT; }
const char *bl_file_dtype_name(bl_file_dtype t) { return dtype_valid(t) ? dtypes[t].name : "?"; }
unsigned bl_file_dtype_bits(bl_file_dtype t) { return dtype_valid(t) ? dtypes[t].bits : 0; }
bool bl_file_dtype_readable(bl_file_dtype t) { return dtype_valid(t) && dtypes[t].readable; }

/* --- files that are something else --------------------------------------------------------------------------------------- */

static bool contains(const uint8_t *data, size_t n, const char *word)
{
    const size_t length = strlen(word);
    for (size_t i = 0; i + length <= n; i++)
        if (!memcmp(data + i, word, length))
            return true;
    return false;
}

static bool starts_with(const uint8_t *data, size_t n, const char *word)
{
    for (; *word; word++, data++, n--)
        if (!n || tolower(*data) != *word)
            return false;
    return true;
}

#define PICKLE "can run code when it is loaded, so it is not read; convert it to .safetensors with a tool you trust"

/* What a file that cannot be a safetensors file is instead; NULL if unknown. Asked only after it has failed, so that no valid header length
 * is ever taken for a magic number. */
static const char *other_format(const uint8_t *data, size_t n)
{
    static const struct { const char *magic; size_t size; const char *what; } magics[] = {
        { "GGUF", 4, "is a GGUF file; only safetensors checkpoints are read: take the one it was made from" },
        { "\x1f\x8b", 2, "is gzip-compressed; unpack it first" },
        { "\xfd" "7zXZ", 5, "is xz-compressed; unpack it first" },
        { "\x28\xb5\x2f\xfd", 4, "is zstd-compressed; unpack it first" },
        { "BZh", 3, "is bzip2-compressed; unpack it first" },
        { "7z\xbc\xaf\x27\x1c", 6, "is a 7z archive; unpack it first" },
        { "\x89HDF", 4, "is an HDF5 file; only safetensors checkpoints are read" },
        { "\x93NUMPY", 6, "is a NumPy array; only safetensors files are read" },
        { "\x89PNG", 4, "is a PNG image, not a model file" },
        { "\xff\xd8\xff", 3, "is a JPEG image, not a model file" },
    };
    for (size_t i = 0; i < BL_COUNT(magics); i++)
        if (n >= magics[i].size && !memcmp(data, magics[i].magic, magics[i].size))
            return magics[i].what;
    if (n >= 4 && !memcmp(data, "PK\3\4", 4))
        return contains(data, n, "data.pkl") ? "is a PyTorch pickle checkpoint (zip), which " PICKLE
            : "is a zip archive, not a safetensors file; a PyTorch checkpoint in it has to be converted first";
    if (n >= 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5)
        return "is a Python pickle (an old PyTorch checkpoint), which " PICKLE;
    if (n >= 3 && data[0] == 8 && data[1] < 32 && data[2] == 0x12) /* the version and producer of a protocol buffer */
        return "is an ONNX model; only safetensors checkpoints are read: take the one it was made from";
    if (starts_with(data, n, "version https://git-lfs"))
        return "is a Git LFS pointer, not the model itself; fetch it with \"git lfs pull\"";

    size_t at = n >= 3 && !memcmp(data, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < n && (data[at] == ' ' || (data[at] >= '\t' && data[at] <= '\r')))
        at++;
    const uint8_t *text = data + at;
    if (starts_with(text, n - at, "<!doctype html") || starts_with(text, n - at, "<html") || starts_with(text, n - at, "<head"))
        return "is an HTML page, not a model; the download has failed";
    if (starts_with(text, n - at, "<?xml"))
        return "is an XML document, not a model; the download has failed";
    for (size_t i = 0; i < n; i++) /* text has no control characters and no bytes that UTF-8 never uses */
        if ((data[i] < 0x20 && (data[i] < '\t' || data[i] > '\r')) || data[i] == 0x7f || data[i] == 0xc0 || data[i] >= 0xf5)
            return NULL;
    return starts_with(text, n - at, "{") || starts_with(text, n - at, "[") ? "is a JSON text, not a safetensors file"
        : n ? "is a text file, not a safetensors file" : NULL;
}

/* Fails with what the file is instead, if that is known, else with "<reason>". Leaves out the path. */
static bl_result fail_format(const bl_safetensors *st, const char *reason)
{
    uint8_t head[HEAD_SIZE];
    const size_t n = (size_t)BL_MIN(st->file.size, (uint64_t)sizeof(head));
    const bl_result result = bl_file_read_at(&st->file, head, n, 0, st->kind);
    const char *what = result == BL_OK ? other_format(head, n) : NULL;
    return bl_fail(st->kind, "%s", what ? what : reason);
}

/* --- header ------------------------------------------------------------------------------------------------------------ */

/* A name for a message, short enough for several of them, cut between characters. */
typedef struct quoted {
    char text[MAX_QUOTED + 8];
} quoted;

static quoted quote(const char *name)
{
    quoted q;
    size_t n = strlen(name);
    const bool cut = n > MAX_QUOTED;
    if (cut)
        for (n = MAX_QUOTED; n && ((uint8_t)name[n] & 0xc0) == 0x80;)
            n--;
    snprintf(q.text, sizeof(q.text), "\"%.*s\"%s", (int)n, name, cut ? "..." : "");
    return q;
}

/* "[2,3]" */
static quoted shape_text(const bl_file_tensor *t)
{
    quoted q = { "[" };
    size_t at = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        at += (size_t)snprintf(q.text + at, sizeof(q.text) - at, "%s%" PRIu64, i ? "," : "", t->dims[i]);
    snprintf(q.text + at, sizeof(q.text) - at, "]");
    return q;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* What JSON would let pass or make expensive: padding with NUL, "-0", millions of values. Offsets count from the start of the file. */
static bl_result check_header_text(const bl_safetensors *st, const char *header, size_t size)
{
    const bl_result kind = st->kind;
    char reason[80];
    size_t first = 0, end = size, commas = 0;
    bool in_string = false;
    while (first < size && is_space(header[first]))
        first++;
    if (first == size)
        return bl_fail(kind, "the header is blank");
    if (header[first] != '{') {
        snprintf(reason, sizeof(reason), "the header starts with byte 0x%02x at offset %zu, not with '{'", (uint8_t)header[first],
            LENGTH_SIZE + first);
        return fail_format(st, reason);
    }
    while (end > first && (is_space(header[end - 1]) || !header[end - 1]))
        end--;
    for (size_t i = end; i < size; i++)
        if (!header[i])
            return bl_fail(kind, "the header is padded with NUL bytes from offset %zu on; the format pads with spaces", LENGTH_SIZE + i);
    for (size_t i = first; i < end; i++) {
        if (header[i] == '"')
            in_string = !in_string;
        else if (in_string)
            i += header[i] == '\\'; /* an escaped quote does not end the string */
        else if (header[i] == '-')
            return bl_fail(kind, "the header has a negative number at offset %zu", LENGTH_SIZE + i);
        else if (header[i] == ',' && ++commas > MAX_COMMAS)
            return bl_fail(kind, "the header has more than %d values", MAX_COMMAS);
    }
    return BL_OK;
}

/* A member that is a count of bytes or elements: decimal digits, up to 2^63 - 1 (the parser refuses larger ones). */
static bl_result whole_number(bl_result kind, const json_t *v, const char *what, size_t i, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return bl_fail(kind, "%s[%zu] is %s, a whole number in plain digits was expected", what, i, json_is_real(v) ? "a fraction or "
            "in exponent form" : "not a number");
    *out = (uint64_t)json_integer_value(v);
    return BL_OK;
}

static bl_result check_name(bl_result kind, const char *name)
{
    const size_t length = strlen(name);
    if (length > BL_SAFETENSORS_MAX_NAME)
        return bl_fail(kind, "tensor name %s has %zu bytes, at most %d are read", quote(name).text, length, BL_SAFETENSORS_MAX_NAME);
    for (const uint8_t *c = (const uint8_t *)name; *c; c++)
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0)) /* C0, DEL, C1 in UTF-8 */
            return bl_fail(kind, "a tensor name has a control character at byte %zu", (size_t)(c - (const uint8_t *)name));
    return BL_OK;
}

static bl_result parse_dtype(bl_result kind, const json_t *v, bl_file_dtype *out)
{
    if (!json_is_string(v))
        return bl_fail(kind, "dtype is not a string");
    for (int i = 0; i < BL_FILE_DTYPE_COUNT; i++)
        if (!strcmp(json_string_value(v), dtypes[i].name)) {
            *out = (bl_file_dtype)i;
            return BL_OK;
        }
    return bl_fail(kind, "unknown dtype %s", quote(json_string_value(v)).text);
}

static bl_result parse_shape(bl_result kind, const json_t *v, bl_file_tensor *t)
{
    bl_result result = BL_OK;
    if (!json_is_array(v))
        return bl_fail(kind, "shape is not an array");
    if (json_array_size(v) > BL_SAFETENSORS_MAX_RANK)
        return bl_fail(kind, "has %zu dimensions, at most %d are read", json_array_size(v), BL_SAFETENSORS_MAX_RANK);
    t->rank = (uint32_t)json_array_size(v);
    size_t count = 1, bytes;
    for (uint32_t i = 0; i < t->rank; i++)
        BL_TRY(whole_number(kind, json_array_get(v, i), "shape", i, &t->dims[i]));
    const unsigned bits = dtypes[t->dtype].bits;
    bool fits = true;
    for (uint32_t i = 0; i < t->rank && fits; i++)
        fits = t->dims[i] <= SIZE_MAX && bl_mul(count, (size_t)t->dims[i], &count);
    if (!fits || !bl_mul(count, bits % 8 ? bits : bits / 8, &bytes))
        return bl_fail(kind, "shape %s of %s overflows", shape_text(t).text, dtypes[t->dtype].name);
    if (bits % 8 && bytes % 8)
        return bl_fail(kind, "shape %s of %s does not fill whole bytes", shape_text(t).text, dtypes[t->dtype].name);
    t->count = count;
    t->bytes = bits % 8 ? bytes / 8 : bytes;
fail:
    return result;
}

/* Sets t->offset to the first byte, still counted from the end of the header. */
static bl_result parse_offsets(bl_result kind, const json_t *v, bl_file_tensor *t)
{
    bl_result result = BL_OK;
    uint64_t range[2];
    if (!json_is_array(v) || json_array_size(v) != 2)
        return bl_fail(kind, "data_offsets is not an array of two numbers");
    for (size_t i = 0; i < 2; i++)
        BL_TRY(whole_number(kind, json_array_get(v, i), "data_offsets", i, &range[i]));
    if (range[1] < range[0])
        return bl_fail(kind, "data_offsets end at %" PRIu64 ", before their start at %" PRIu64, range[1], range[0]);
    if (range[1] - range[0] != t->bytes)
        return bl_fail(kind, "%s %s needs %" PRIu64 " bytes, its data_offsets give %" PRIu64, dtypes[t->dtype].name, shape_text(t).text,
            t->bytes, range[1] - range[0]);
    t->offset = range[0];
fail:
    return result;
}

static bl_result parse_tensor(bl_result kind, const char *name, json_t *entry, bl_file_tensor *t)
{
    static const char *const keys[] = { "dtype", "shape", "data_offsets" };
    bl_result result = BL_OK;
    const char *key;
    json_t *value;
    BL_TRY(check_name(kind, name));
    if (!json_is_object(entry)) {
        result = bl_fail(kind, "is not an object");
    } else {
        json_object_foreach(entry, key, value)
            if (result == BL_OK && strcmp(key, keys[0]) && strcmp(key, keys[1]) && strcmp(key, keys[2]))
                result = bl_fail(kind, "unknown key %s", quote(key).text);
        for (size_t i = 0; i < BL_COUNT(keys) && result == BL_OK; i++)
            if (!json_object_get(entry, keys[i]))
                result = bl_fail(kind, "has no %s", keys[i]);
    }
    if (result == BL_OK)
        result = parse_dtype(kind, json_object_get(entry, "dtype"), &t->dtype);
    if (result == BL_OK)
        result = parse_shape(kind, json_object_get(entry, "shape"), t);
    if (result == BL_OK)
        result = parse_offsets(kind, json_object_get(entry, "data_offsets"), t);
    if (result != BL_OK)
        bl_fail_in(result, "tensor %s", quote(name).text);
fail:
    return result;
}

static bl_result check_metadata(bl_result kind, json_t *metadata, size_t *bytes)
{
    const char *key;
    json_t *value;
    size_t total = 0;
    if (!json_is_object(metadata))
        return bl_fail(kind, "__metadata__ is not an object");
    if (json_object_size(metadata) > BL_SAFETENSORS_MAX_METADATA)
        return bl_fail(kind, "__metadata__ has %zu entries, at most %d are read", json_object_size(metadata), BL_SAFETENSORS_MAX_METADATA);
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return bl_fail(kind, "__metadata__ %s is not a string", quote(key).text);
        total += strlen(key) + json_string_length(value); /* no wrap: both lie in a header of at most 100 MB */
    }
    if (total > BL_SAFETENSORS_MAX_METADATA_BYTES)
        return bl_fail(kind, "__metadata__ has %zu bytes, at most %d are read", total, BL_SAFETENSORS_MAX_METADATA_BYTES);
    *bytes = total;
    return BL_OK;
}

static const char *keep_text(char **at, const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = memcpy(*at, text, n);
    *at += n;
    return copy;
}

static int by_range(const void *a, const void *b)
{
    const bl_file_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) /* empty ones first, then each starts where the one before ends */
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    const bl_file_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The tensors, sorted, must cover the `size` bytes behind the header exactly: a file then has one meaning only. */
static bl_result check_coverage(const bl_safetensors *st, uint64_t size)
{
    uint64_t end = 0;
    for (size_t i = 0; i < st->count; i++) {
        const bl_file_tensor *t = &st->tensors[i];
        if (t->offset < end)
            return bl_fail(st->kind, "tensor %s at byte %" PRIu64 " overlaps tensor %s, which ends at %" PRIu64, quote(t->name).text,
                t->offset, quote(t[-1].name).text, end);
        if (t->offset > end && !i)
            return bl_fail(st->kind, "hole of %" PRIu64 " bytes before the first tensor %s", t->offset, quote(t->name).text);
        if (t->offset > end)
            return bl_fail(st->kind, "hole of %" PRIu64 " bytes between tensors %s and %s", t->offset - end, quote(t[-1].name).text,
                quote(t->name).text);
        end += t->bytes; /* no wrap: both are below 2^63 */
    }
    if (end > size)
        return bl_fail(st->kind, "is truncated: %" PRIu64 " bytes of tensors are missing", end - size);
    if (end < size)
        return bl_fail(st->kind, "has %" PRIu64 " bytes behind the last tensor", size - end);
    return BL_OK;
}

/* Fills `st` from the parsed header; `data` is where the tensors start in the file. */
static bl_result bind_header(bl_safetensors *st, json_t *header, uint64_t data)
{
    bl_result result = BL_OK;
    json_t *metadata = json_object_get(header, "__metadata__"), *value;
    const char *key;
    size_t text_size = 0, i = 0;

    st->count = json_object_size(header) - (metadata != NULL);
    if (st->count > BL_SAFETENSORS_MAX_TENSORS)
        BL_TRY(bl_fail(st->kind, "has %zu tensors, at most %d are read", st->count, BL_SAFETENSORS_MAX_TENSORS));
    if (metadata) {
        BL_TRY(check_metadata(st->kind, metadata, &text_size));
        st->metadata_count = json_object_size(metadata);
        text_size += 2 * st->metadata_count;
    }
    json_object_foreach(header, key, value)
        text_size += strlen(key) + 1;

    st->tensors = bl_alloc(st->count, sizeof(*st->tensors));
    st->by_name = bl_alloc(st->count, sizeof(*st->by_name));
    st->metadata = bl_alloc(st->metadata_count, 2 * sizeof(*st->metadata));
    st->text = bl_alloc(text_size, 1);
    if (!st->tensors || !st->by_name || !st->metadata || !st->text)
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "out of memory for %zu tensors", st->count));
    char *text = st->text;
    json_object_foreach(header, key, value) {
        if (value == metadata)
            continue;
        st->tensors[i].name = keep_text(&text, key);
        BL_TRY(parse_tensor(st->kind, key, value, &st->tensors[i++]));
    }
    i = 0;
    if (metadata)
        json_object_foreach(metadata, key, value) {
            st->metadata[i++] = keep_text(&text, key);
            st->metadata[i++] = keep_text(&text, json_string_value(value));
        }
    qsort(st->tensors, st->count, sizeof(*st->tensors), by_range);
    BL_TRY(check_coverage(st, st->file.size - data));
    for (i = 0; i < st->count; i++) {
        st->tensors[i].offset += data;
        st->by_name[i] = &st->tensors[i];
    }
    qsort(st->by_name, st->count, sizeof(*st->by_name), by_name);
fail:
    return result;
}

/* --- opening ----------------------------------------------------------------------------------------------------------- */

/* The header length, checked against the file and the limits before anything is allocated. */
static bl_result check_length(const bl_safetensors *st, const uint8_t *bytes, uint64_t limit, uint64_t *length)
{
    const uint64_t rest = st->file.size - LENGTH_SIZE;
    char reason[160];
    uint64_t n = 0;
    for (int i = LENGTH_SIZE; i--;)
        n = n << 8 | bytes[i];
    *length = n;
    if (!n)
        snprintf(reason, sizeof(reason), "the header length is 0");
    else if (n > BL_SAFETENSORS_MAX_HEADER)
        snprintf(reason, sizeof(reason), "the header length %" PRIu64 " is above the format's limit of %d bytes", n,
            BL_SAFETENSORS_MAX_HEADER);
    else if (n > rest)
        snprintf(reason, sizeof(reason), "is truncated: %" PRIu64 " bytes of the header of %" PRIu64 " are missing", n - rest, n);
    else if (n > limit)
        snprintf(reason, sizeof(reason), "the header of %" PRIu64 " bytes is larger than the %" PRIu64 " that are read", n, limit);
    else
        return BL_OK;
    return fail_format(st, reason);
}

static bl_result read_header(bl_safetensors *st, uint64_t limit)
{
    bl_result result = BL_OK;
    uint8_t bytes[LENGTH_SIZE];
    uint64_t length, size_now;
    char *text = NULL;
    json_t *header = NULL;

    if (!st->file.size)
        return bl_fail_in(bl_fail(st->kind, "is empty"), "%s", st->file.path);
    if (st->file.size < LENGTH_SIZE)
        return bl_fail_in(fail_format(st, "is shorter than the 8 bytes of a header length"), "%s", st->file.path);
    BL_TRY(bl_file_read_at(&st->file, bytes, sizeof(bytes), 0, st->kind)); /* the reasons of these reads name the file */
    result = check_length(st, bytes, limit, &length);
    if (result != BL_OK)
        goto in_file;
    text = bl_alloc((size_t)length, 1);
    if (!text) {
        result = bl_fail(BL_ERROR_MEMORY, "out of memory for a header of %" PRIu64 " bytes", length);
        goto in_file;
    }
    BL_TRY(bl_file_read_at(&st->file, text, (size_t)length, LENGTH_SIZE, st->kind));
    result = check_header_text(st, text, (size_t)length);
    if (result == BL_OK)
        result = bl_json_parse("header", text, (size_t)length, HEADER_DEPTH, st->kind, &header);
    if (result == BL_OK)
        result = bind_header(st, header, LENGTH_SIZE + length);
    if (result == BL_OK && (bl_files.size(st->file.fd, &size_now) || size_now != st->file.size))
        result = bl_fail(st->kind, "changed while it was read");
in_file:
    if (result != BL_OK)
        bl_fail_in(result, "%s", st->file.path);
fail:
    json_decref(header);
    bl_free(text);
    return result;
}

bl_result bl_safetensors_open_limited(const char *path, uint64_t header_limit, bl_result kind, bl_safetensors **out)
{
    bl_result result = BL_OK;
    *out = NULL;
    bl_safetensors *st = bl_alloc(1, sizeof(*st));
    if (!st)
        return bl_fail(BL_ERROR_MEMORY, "%s: out of memory", path ? path : "");
    st->kind = kind;
    BL_TRY(bl_file_open(&st->file, path, kind));
    BL_TRY(read_header(st, header_limit));
    *out = st;
    return BL_OK;

fail:
    bl_safetensors_close(&st);
    return result;
}

bl_result bl_safetensors_open(const char *path, bl_result kind, bl_safetensors **out)
{
    return bl_safetensors_open_limited(path, BL_SAFETENSORS_DEFAULT_HEADER, kind, out);
}

void bl_safetensors_close(bl_safetensors **st)
{
    bl_safetensors *s = st ? *st : NULL;
    if (!s)
        return;
    bl_file_close(&s->file);
    bl_free(s->tensors);
    bl_free(s->by_name);
    bl_free(s->metadata);
    bl_free(s->text);
    bl_free(s);
    *st = NULL;
}

/* --- questions ----------------------------------------------------------------------------------------------------------- */

const char *bl_safetensors_path(const bl_safetensors *st) { return st->file.path; }
size_t bl_safetensors_count(const bl_safetensors *st) { return st->count; }

const bl_file_tensor *bl_safetensors_at(const bl_safetensors *st, size_t i) { return i < st->count ? &st->tensors[i] : NULL; }

const bl_file_tensor *bl_safetensors_find(const bl_safetensors *st, const char *name)
{
    const bl_file_tensor wanted = { .name = name }, *key = &wanted;
    const bl_file_tensor *const *found = bsearch(&key, st->by_name, st->count, sizeof(*st->by_name), by_name);
    return found ? *found : NULL;
}

size_t bl_safetensors_metadata_count(const bl_safetensors *st) { return st->metadata_count; }

const char *bl_safetensors_metadata_key(const bl_safetensors *st, size_t i)
{
    return i < st->metadata_count ? st->metadata[2 * i] : NULL;
}

const char *bl_safetensors_metadata_value(const bl_safetensors *st, size_t i)
{
    return i < st->metadata_count ? st->metadata[2 * i + 1] : NULL;
}

const char *bl_safetensors_metadata(const bl_safetensors *st, const char *key)
{
    for (size_t i = 0; i < st->metadata_count; i++)
        if (!strcmp(st->metadata[2 * i], key))
            return st->metadata[2 * i + 1];
    return NULL;
}

/* --- values ------------------------------------------------------------------------------------------------------------- */

/* The file is little-endian; on such a host this is nothing. */
static void to_host_order(uint8_t *p, size_t n, size_t size)
{
    const uint16_t probe = 1;
    if (*(const uint8_t *)&probe)
        return;
    for (size_t i = 0; i < n; i++, p += size)
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            const uint8_t byte = p[a];
            p[a] = p[b];
            p[b] = byte;
        }
}

/* Plain loops over one type each, so that compilers vectorise them. `p` is aligned for every type. */
static void convert(bl_file_dtype type, const void *p, size_t n, float *restrict out)
{
#define CONVERT(t, expr) { const t *restrict v = p; for (size_t i = 0; i < n; i++) out[i] = (expr); break; }
    switch (type) {
    case BL_FILE_BOOL: CONVERT(uint8_t, v[i] ? 1.0f : 0.0f)
    case BL_FILE_U8: CONVERT(uint8_t, (float)v[i])
    case BL_FILE_I8: CONVERT(int8_t, (float)v[i])
    case BL_FILE_I16: CONVERT(int16_t, (float)v[i])
    case BL_FILE_U16: CONVERT(uint16_t, (float)v[i])
    case BL_FILE_F16: CONVERT(uint16_t, bl_half_to_float(v[i]))
    case BL_FILE_BF16: CONVERT(uint16_t, bl_bfloat_to_float(v[i]))
    case BL_FILE_I32: CONVERT(int32_t, (float)v[i])
    case BL_FILE_U32: CONVERT(uint32_t, (float)v[i])
    case BL_FILE_F32: CONVERT(float, v[i])
    case BL_FILE_F64: CONVERT(double, (float)v[i])
    case BL_FILE_I64: CONVERT(int64_t, (float)v[i])
    case BL_FILE_U64: CONVERT(uint64_t, (float)v[i])
    default: break;
    }
#undef CONVERT
}

static void convert_to_half(const float *restrict v, size_t n, uint16_t *restrict out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bl_half_from_float(v[i]);
}

static bl_result check_unchanged(const bl_safetensors *st)
{
    uint64_t size;
    if (bl_files.size(st->file.fd, &size) || size != st->file.size)
        return bl_fail(st->kind, "%s: changed since it was opened", st->file.path);
    return BL_OK;
}

/* `out` is of type `to`, F32 or F16. */
static bl_result read_as(bl_file_dtype to, const bl_safetensors *st, const bl_file_tensor *t, uint64_t first_element, size_t count,
    void *out)
{
    bl_result result = BL_OK;
    union {
        uint8_t bytes[CHUNK];
        uint64_t align;
    } buffer;
    float values[CHUNK / sizeof(float)];
    if (!bl_file_dtype_readable(t->dtype))
        return bl_fail(st->kind, "%s: tensor %s: values of type %s are not supported", st->file.path, quote(t->name).text,
            bl_file_dtype_name(t->dtype));
    if (count > t->count || first_element > t->count - count)
        return bl_fail(BL_ERROR_USAGE, "%s: tensor %s: %zu elements at %" PRIu64 " are outside its %" PRIu64, st->file.path,
            quote(t->name).text, count, first_element, t->count);
    const size_t size = dtypes[t->dtype].bits / 8, chunk = BL_MIN(CHUNK / size, BL_COUNT(values));
    const uint64_t offset = t->offset + first_element * size;
    if (t->dtype == to) { /* straight into place */
        BL_TRY(bl_file_read_at(&st->file, out, count * size, offset, st->kind));
        to_host_order(out, count, size);
        count = 0;
    }
    for (size_t done = 0; done < count;) {
        const size_t n = BL_MIN(count - done, chunk);
        BL_TRY(bl_file_read_at(&st->file, buffer.bytes, n * size, offset + done * size, st->kind));
        to_host_order(buffer.bytes, n, size);
        if (to == BL_FILE_F32) {
            convert(t->dtype, buffer.bytes, n, (float *)out + done);
        } else {
            convert(t->dtype, buffer.bytes, n, values);
            convert_to_half(values, n, (uint16_t *)out + done);
        }
        done += n;
    }
    BL_TRY(check_unchanged(st));
fail:
    return result;
}

bl_result bl_safetensors_read(const bl_safetensors *st, const bl_file_tensor *t, uint64_t first_element, size_t count, float *out)
{
    return read_as(BL_FILE_F32, st, t, first_element, count, out);
}

bl_result bl_safetensors_read_half(const bl_safetensors *st, const bl_file_tensor *t, uint64_t first_element, size_t count, uint16_t *out)
{
    return read_as(BL_FILE_F16, st, t, first_element, count, out);
}

bl_result bl_safetensors_read_raw(const bl_safetensors *st, const bl_file_tensor *t, uint64_t first_byte, size_t n, void *out)
{
    bl_result result = BL_OK;
    if (n > t->bytes || first_byte > t->bytes - n)
        return bl_fail(BL_ERROR_USAGE, "%s: tensor %s: %zu bytes at %" PRIu64 " are outside its %" PRIu64, st->file.path,
            quote(t->name).text, n, first_byte, t->bytes);
    BL_TRY(bl_file_read_at(&st->file, out, n, t->offset + first_byte, st->kind));
    BL_TRY(check_unchanged(st));
fail:
    return result;
}

bl_result bl_safetensors_count_nonfinite(const bl_safetensors *st, const bl_file_tensor *t, uint64_t *count)
{
    bl_result result = BL_OK;
    float values[CHUNK / sizeof(float)];
    *count = 0;
    for (uint64_t done = 0; done < t->count;) {
        const size_t n = (size_t)BL_MIN(t->count - done, (uint64_t)BL_COUNT(values));
        uint32_t bits, found = 0;
        BL_TRY(bl_safetensors_read(st, t, done, n, values));
        for (size_t i = 0; i < n; i++) {
            memcpy(&bits, &values[i], sizeof(bits));
            found += (bits & 0x7f800000) == 0x7f800000; /* by its bits: compilers may assume there are none */
        }
        *count += found;
        done += n;
    }
fail:
    return result;
}
