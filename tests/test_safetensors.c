/* safetensors: good files, some hundred broken ones, values of every type, every call failing in turn, the reference files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "file.h"
#include "safetensors.h"
#include "safetensors_writer.h"
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/blemish-safetensors-XXXXXX";
static char path[64];

static void assert_reason(const char *part)
{
    if (!strstr(bl_last_error(), part))
        fail_msg("\"%s\" does not say \"%s\"", bl_last_error(), part);
}

/* A header of `n` bytes behind its length, then `zeros` bytes. */
static void save_header(const char *header, size_t n, size_t zeros)
{
    st_buffer b = { 0 };
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)n >> 8 * i);
    st_put(&b, length, 8);
    st_put(&b, header, n);
    st_put(&b, NULL, zeros);
    assert_non_null(b.bytes);
    assert_int_equal(st_save(path, b.bytes, b.size), 0);
    free(b.bytes);
}

static void assert_refused(bl_result expected, const char *reason)
{
    bl_safetensors *st = (bl_safetensors *)path;
    const bl_result result = bl_safetensors_open(path, expected, &st);
    if (result != expected)
        fail_msg("\"%s\" was expected, the result is %s", reason, bl_result_name(result));
    assert_null(st);
    assert_reason(path);
    assert_reason(reason);
}

static bl_safetensors *open_good(void)
{
    bl_safetensors *st;
    if (bl_safetensors_open(path, BL_ERROR_MODEL, &st) != BL_OK)
        fail_msg("%s", bl_last_error());
    return st;
}

/* --- broken files ------------------------------------------------------------------------------------------------------ */

#define TEXT(s) s, sizeof(s) - 1
#define ENTRY(dtype, shape, offsets) "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define PAIR(first, second) "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first "}," \
    "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"
#define EMPTY(offsets) "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}," \
    "\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":" offsets "}}"

static void test_broken_headers(void **state)
{
    (void)state;
    static const struct { const char *header; size_t size, zeros; const char *reason; } cases[] = {
        { TEXT(""), 8, "header length is 0" },
        { TEXT("    "), 0, "the header is blank" },
        { TEXT("[]"), 0, "starts with byte 0x5b at offset 8" },
        { TEXT("  \n x{}"), 0, "starts with byte 0x78 at offset 12" },
        { TEXT("\xef\xbb\xbf{}"), 0, "starts with byte 0xef at offset 8" },
        { TEXT("{}\0\0\0\0\0\0"), 0, "padded with NUL bytes from offset 10" },
        { TEXT("{}  \0 \0"), 0, "padded with NUL bytes from offset 12" },
        { TEXT("{} {}"), 0, "header: line 1, column 4: end of file expected" },
        { TEXT("{"), 0, "header: line 1" },
        { TEXT("{\"a\":\n{\"dtype\" \"U8\"}}"), 0, "header: line 2, column " },
        { TEXT("{\"a\":[[[[[0]]]]]}"), 0, "nested deeper than 4" },
        { TEXT("{\"\x80\":1}"), 0, "unable to decode byte 0x80" },
        { TEXT("{\"\xc0\x80\":1}"), 0, "unable to decode byte 0xc0" },
        { TEXT("{\"\xed\xa0\x80\":1}"), 0, "unable to decode byte 0xed" },
        { TEXT("{\"a\\u0000\":1}"), 0, "NUL byte" },
        { TEXT("{\"a\":1,\"a\":1}"), 0, "duplicate key \"a\"" },
        { TEXT("{\"conv_in.weight.of.some.length\":{\"dtype\":\"I8\"},\"conv_in.weight.of.some.length\":{}}"), 0,
            "duplicate key \"conv_in.weight.of.some.length\"" },
        { TEXT("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\"}}"), 0, "duplicate key \"dtype\"" },
        { TEXT("{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}"), 0, "duplicate key \"k\"" },
        { TEXT("{\"__metadata__\":[]}"), 0, "__metadata__ is not an object" },
        { TEXT("{\"__metadata__\":null}"), 0, "__metadata__ is not an object" },
        { TEXT("{\"__metadata__\":{\"k\":1}}"), 0, "__metadata__ \"k\" is not a string" },
        { TEXT("{\"__metadata__\":{\"k\":null}}"), 0, "__metadata__ \"k\" is not a string" },
        { TEXT("{\"a\":7}"), 0, "tensor \"a\": is not an object" },
        { TEXT("{\"a\":{}}"), 0, "tensor \"a\": has no dtype" },
        { TEXT("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}"), 0, "tensor \"a\": has no shape" },
        { TEXT("{\"a\":{\"dtype\":\"U8\",\"shape\":[0]}}"), 0, "tensor \"a\": has no data_offsets" },
        { TEXT("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"strides\":[1]}}"), 0, "unknown key \"strides\"" },
        { TEXT("{\"a\\u001b[2J\":{}}"), 0, "control character at byte 1" },
        { TEXT("{\"ab\x7f\":{}}"), 0, "control character at byte 2" },
        { TEXT("{\"\xc2\x9b\":{}}"), 0, "control character at byte 0" },
        { TEXT("{\"a\":{\"dtype\":5,\"shape\":[0],\"data_offsets\":[0,0]}}"), 0, "dtype is not a string" },
        { TEXT(ENTRY("Q4_K", "[4]", "[0,4]")), 4, "unknown dtype \"Q4_K\"" },
        { TEXT(ENTRY("f32", "[1]", "[0,4]")), 4, "unknown dtype \"f32\"" },
        { TEXT(ENTRY("U8", "4", "[0,4]")), 4, "shape is not an array" },
        { TEXT(ENTRY("U8", "[\"4\"]", "[0,4]")), 4, "shape[0] is not a number" },
        { TEXT(ENTRY("U8", "[2,2.0]", "[0,4]")), 4, "shape[1] is a fraction or in exponent form" },
        { TEXT(ENTRY("U8", "[4e0]", "[0,4]")), 4, "shape[0] is a fraction or in exponent form" },
        { TEXT(ENTRY("U8", "[true]", "[0,1]")), 1, "shape[0] is not a number" },
        { TEXT(ENTRY("U8", "[-4]", "[0,4]")), 4, "negative number at offset " },
        { TEXT(ENTRY("U8", "[-0]", "[0,0]")), 0, "negative number at offset " },
        { TEXT(ENTRY("U8", "[04]", "[0,4]")), 4, "header: line 1" },
        { TEXT(ENTRY("U8", "[+4]", "[0,4]")), 4, "header: line 1" },
        { TEXT(ENTRY("U8", "[0x4]", "[0,4]")), 4, "header: line 1" },
        { TEXT(ENTRY("U8", "[9223372036854775808]", "[0,4]")), 4, "too big integer" },
        { TEXT(ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]")), 1, "has 9 dimensions, at most 8" },
        { TEXT(ENTRY("U8", "[4294967296,4294967296]", "[0,0]")), 0, "shape [4294967296,4294967296] of U8 overflows" },
        { TEXT(ENTRY("U8", "[4294967296,4294967296,0]", "[0,0]")), 0, "overflows" },
        { TEXT(ENTRY("F64", "[4611686018427387904]", "[0,0]")), 0, "of F64 overflows" },
        { TEXT(ENTRY("F4", "[9223372036854775807]", "[0,0]")), 0, "of F4 overflows" },
        { TEXT(ENTRY("F4", "[3]", "[0,2]")), 2, "shape [3] of F4 does not fill whole bytes" },
        { TEXT(ENTRY("F6_E2M3", "[2,3]", "[0,5]")), 5, "does not fill whole bytes" },
        { TEXT(ENTRY("U8", "[4]", "4")), 4, "data_offsets is not an array of two" },
        { TEXT(ENTRY("U8", "[4]", "[4]")), 4, "data_offsets is not an array of two" },
        { TEXT(ENTRY("U8", "[4]", "[0,2,4]")), 4, "data_offsets is not an array of two" },
        { TEXT(ENTRY("U8", "[4]", "[0,4.0]")), 4, "data_offsets[1] is a fraction" },
        { TEXT(ENTRY("U8", "[4]", "[null,4]")), 4, "data_offsets[0] is not a number" },
        { TEXT(ENTRY("U8", "[4]", "[4,0]")), 4, "data_offsets end at 0, before their start at 4" },
        { TEXT(ENTRY("F32", "[2,3]", "[0,20]")), 20, "tensor \"a\": F32 [2,3] needs 24 bytes, its data_offsets give 20" },
        { TEXT(ENTRY("F32", "[]", "[0,8]")), 8, "F32 [] needs 4 bytes" },
        { TEXT(ENTRY("U8", "[0]", "[0,1]")), 1, "U8 [0] needs 0 bytes" },
        { TEXT(ENTRY("U8", "[9223372036854775807]", "[0,9223372036854775807]")), 4, "is truncated: 9223372036854775803 bytes" },
        { TEXT(ENTRY("U8", "[4]", "[4,8]")), 8, "hole of 4 bytes before the first tensor \"a\"" },
        { TEXT(ENTRY("U8", "[4]", "[0,4]")), 3, "is truncated: 1 bytes of tensors are missing" },
        { TEXT(ENTRY("U8", "[4]", "[0,4]")), 0, "is truncated: 4 bytes of tensors are missing" },
        { TEXT(ENTRY("U8", "[4]", "[0,4]")), 9, "has 5 bytes behind the last tensor" },
        { TEXT("{}"), 1, "has 1 bytes behind the last tensor" },
        { TEXT(PAIR("[0,4]", "[5,9]")), 9, "hole of 1 bytes between tensors \"a\" and \"b\"" },
        { TEXT(PAIR("[5,9]", "[0,4]")), 9, "hole of 1 bytes between tensors \"b\" and \"a\"" },
        { TEXT(PAIR("[0,4]", "[3,7]")), 7, "tensor \"b\" at byte 3 overlaps tensor \"a\", which ends at 4" },
        { TEXT(PAIR("[0,4]", "[0,4]")), 4, "tensor \"b\" at byte 0 overlaps tensor \"a\"" },
        { TEXT(EMPTY("[2,2]")), 4, "tensor \"e\" at byte 2 overlaps tensor \"a\"" },
        { TEXT(EMPTY("[9,9]")), 4, "hole of 5 bytes" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        save_header(cases[i].header, cases[i].size, cases[i].zeros);
        assert_refused(i % 2 ? BL_ERROR_MODEL : BL_ERROR_INPUT, cases[i].reason);
    }
    assert_true(BL_COUNT(cases) >= 45);
}

static void test_other_formats(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t size; const char *reason; } cases[] = {
        { TEXT(""), "is empty" },
        { TEXT("\x02\0\0\0{}"), "is shorter than the 8 bytes" },
        { TEXT("\x03\0\0\0\0\0\0\0{}"), "is truncated: 1 bytes of the header of 3 are missing" },
        { TEXT("\x01\xe1\xf5\x05\0\0\0\0{}"), "header length 100000001 is above the format's limit of 100000000" },
        { TEXT("\0\0\0\0\0\0\0\x80{}"), "header length 9223372036854775808 is above" },
        { TEXT("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "header length 18446744073709551615 is above" },
        { TEXT("\xf8\xff\xff\xff\xff\xff\xff\xff{}"), "header length 18446744073709551608 is above" }, /* 8 + N wraps to 0 */
        { TEXT("PK\3\4\0\0\x08\x08\0\0\0\0\0\0archive/data.pkl"), "PyTorch pickle checkpoint (zip), which can run code" },
        { TEXT("PK\3\4\x14\0\0\0\x08\0\0\0\0\0model/readme.txt"), "is a zip archive" },
        { TEXT("\x80\x02}q\0(X\x0a\0\0\0state_dict"), "Python pickle" },
        { TEXT("\x80\x02."), "Python pickle" },
        { TEXT("\x80\x04\x95\x01\0\0\0\0\0\0\0N."), "Python pickle" },
        { TEXT("GGUF\3\0\0\0\0\0\0\0\0\0\0\0"), "GGUF" },
        { TEXT("GGUF"), "GGUF" },
        { TEXT("\x1f\x8b\x08\0\0\0\0\0\0\3\0\0\0\0"), "gzip-compressed" },
        { TEXT("\x28\xb5\x2f\xfd\x04\x58\0\0\0\0"), "zstd-compressed" },
        { TEXT("\x89HDF\r\n\x1a\n\0\0\0\0"), "HDF5" },
        { TEXT("\x93NUMPY\1\0v\0{'descr'"), "NumPy" },
        { TEXT("\x89PNG\r\n\x1a\n\0\0\0\r"), "PNG image" },
        { TEXT("\xff\xd8\xff\xe0\0\x10JFIF"), "JPEG image" },
        { TEXT("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a"), "Git LFS pointer" },
        { TEXT("<!DOCTYPE html><html><body>404</body></html>"), "HTML page" },
        { TEXT("\n\n  <HTML lang=\"en\">"), "HTML page" },
        { TEXT("\xef\xbb\xbf<html>"), "HTML page" },
        { TEXT("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"), "XML document" },
        { TEXT("{\"error\": \"Repository not found\"}"), "JSON text" },
        { TEXT("Access to this model is restricted.\n"), "text file" },
        { TEXT("gated"), "text file" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        assert_int_equal(st_save(path, cases[i].bytes, cases[i].size), 0);
        assert_refused(BL_ERROR_MODEL, cases[i].reason);
    }

    uint8_t *big = calloc(1, 600000); /* a gzip file whose first bytes happen to be a fitting header length */
    assert_non_null(big);
    memcpy(big, "\x1f\x8b\x08\0\0\0\0\0", 8);
    memset(big + 8, 0x55, 600000 - 8);
    assert_int_equal(st_save(path, big, 600000), 0);
    free(big);
    assert_refused(BL_ERROR_MODEL, "gzip-compressed");

    bl_safetensors *st;
    char pipe_path[96];
    snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", dir);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    const struct { const char *path, *reason; } paths[] = {
        { dir, "is a directory" }, { pipe_path, "is a pipe or device" }, { "/nonexistent/model.safetensors", "No such file" },
        { "", "no file name" }, { NULL, "no file name" },
    };
    for (size_t i = 0; i < BL_COUNT(paths); i++) {
        assert_int_equal(bl_safetensors_open(paths[i].path, BL_ERROR_MODEL, &st), BL_ERROR_MODEL);
        assert_reason(paths[i].reason);
        assert_null(st);
    }
    unlink(pipe_path);
}

/* A header of `open`, entries "0", "1", ... that all continue with `rest`, and `close`. */
static void save_repeated(const char *open, const char *rest, int count, const char *close)
{
    st_buffer b = { 0 };
    st_put_text(&b, open);
    for (int i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%s\"%d\"", i ? "," : "", i);
        st_put_text(&b, key);
        st_put_text(&b, rest);
    }
    st_put_text(&b, close);
    assert_non_null(b.bytes);
    save_header((const char *)b.bytes, b.size, 0);
    free(b.bytes);
}

/* Counts and sizes just inside and just outside the limits. */
static void test_limits(void **state)
{
    (void)state;
    bl_safetensors *st;
    char name[BL_SAFETENSORS_MAX_NAME + 2];
    for (size_t length = BL_SAFETENSORS_MAX_NAME; length <= BL_SAFETENSORS_MAX_NAME + 1; length++) {
        memset(name, 'n', length);
        name[length] = 0;
        const st_tensor t = { .name = name, .dtype = "U8", .rank = 1, .dims = { 0 } };
        assert_int_equal(st_write(path, &t, 1, NULL, 0), 0);
        if (length > BL_SAFETENSORS_MAX_NAME)
            break;
        st = open_good();
        assert_non_null(bl_safetensors_find(st, name));
        bl_safetensors_close(&st);
    }
    assert_refused(BL_ERROR_MODEL, "has 513 bytes, at most 512");

    static const char *const entry = ":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}";
    save_repeated("{", entry, BL_SAFETENSORS_MAX_TENSORS + 1, "}");
    assert_refused(BL_ERROR_MODEL, "has 65537 tensors, at most 65536");
    save_repeated("{", entry, BL_SAFETENSORS_MAX_TENSORS, "}");
    st = open_good();
    assert_int_equal(bl_safetensors_count(st), BL_SAFETENSORS_MAX_TENSORS);
    assert_string_equal(bl_safetensors_find(st, "65535")->name, "65535");
    assert_null(bl_safetensors_find(st, "65536"));
    bl_safetensors_close(&st);

    save_repeated("{\"__metadata__\":{", ":\"v\"", BL_SAFETENSORS_MAX_METADATA + 1, "}}");
    assert_refused(BL_ERROR_MODEL, "__metadata__ has 4097 entries, at most 4096");
    save_repeated("{\"__metadata__\":{", ":\"v\"", BL_SAFETENSORS_MAX_METADATA, "}}");
    st = open_good();
    assert_int_equal(bl_safetensors_metadata_count(st), BL_SAFETENSORS_MAX_METADATA);
    bl_safetensors_close(&st);

    char *value = calloc(1, BL_SAFETENSORS_MAX_METADATA_BYTES + 1);
    assert_non_null(value);
    memset(value, 'v', BL_SAFETENSORS_MAX_METADATA_BYTES);
    const st_metadata long_value = { "k", value };
    assert_int_equal(st_write(path, NULL, 0, &long_value, 1), 0);
    assert_refused(BL_ERROR_MODEL, "__metadata__ has 1048577 bytes, at most 1048576");
    value[BL_SAFETENSORS_MAX_METADATA_BYTES - 1] = 0; /* with the key: exactly the limit */
    assert_int_equal(st_write(path, NULL, 0, &long_value, 1), 0);
    st = open_good();
    assert_int_equal(strlen(bl_safetensors_metadata(st, "k")), BL_SAFETENSORS_MAX_METADATA_BYTES - 1);
    bl_safetensors_close(&st);
    free(value);

    /* Millions of values would cost the parser many times the bytes of the file. */
    save_repeated("{\"a\":{", ":0", 724993 + 1, "}}");
    assert_refused(BL_ERROR_MODEL, "tensor \"a\": unknown key \"0\"");
    save_repeated("{\"a\":{", ":0", 724993 + 2, "}}");
    assert_refused(BL_ERROR_MODEL, "the header has more than 724993 values");

    save_header("{}                  ", 20, 0);
    assert_int_equal(bl_safetensors_open_limited(path, 19, BL_ERROR_MODEL, &st), BL_ERROR_MODEL);
    assert_reason("the header of 20 bytes is larger than the 19");
    assert_int_equal(bl_safetensors_open_limited(path, 20, BL_ERROR_MODEL, &st), BL_OK);
    bl_safetensors_close(&st);
    assert_null(st);
    bl_safetensors_close(&st);
    bl_safetensors_close(NULL);
}

/* What the container promises once it is open, whatever the bytes were. */
static void assert_sound(const bl_safetensors *st, uint64_t file_size)
{
    uint64_t end = 0;
    for (size_t i = 0; i < bl_safetensors_count(st); i++) {
        const bl_file_tensor *t = bl_safetensors_at(st, i);
        uint64_t count = 1;
        for (uint32_t d = 0; d < t->rank; d++)
            count *= t->dims[d];
        assert_int_equal(t->count, count);
        assert_int_equal(t->bytes * 8, count * bl_file_dtype_bits(t->dtype));
        if (i)
            assert_int_equal(t->offset, end);
        end = t->offset + t->bytes;
        assert_true(bl_safetensors_find(st, t->name) == t);
    }
    if (end)
        assert_int_equal(end, file_size);
    assert_null(bl_safetensors_at(st, bl_safetensors_count(st)));
}

/* Every prefix, and every byte of the header replaced: refused with a reason, or sound. */
static void test_mutations(void **state)
{
    (void)state;
    static const char replacements[] = "\0 09\"\\{}[],:-.\x80\xff";
    const st_metadata m = { "k", "v" };
    const st_tensor tensors[] = {
        { .name = "w", .dtype = "F16", .rank = 2, .dims = { 2, 3 } }, { .name = "b", .dtype = "I64", .rank = 0 },
    };
    st_buffer b = st_build(tensors, 2, &m, 1);
    assert_non_null(b.bytes);
    bl_safetensors *st;
    for (size_t n = 0; n < b.size; n++) {
        assert_int_equal(st_save(path, b.bytes, n), 0);
        assert_int_equal(bl_safetensors_open(path, BL_ERROR_INPUT, &st), BL_ERROR_INPUT);
        assert_reason(path);
    }
    int accepted = 0;
    for (size_t i = 0; i < 8 + (size_t)b.bytes[0]; i++)
        for (size_t r = 0; r < sizeof(replacements) - 1; r++) {
            const uint8_t old = b.bytes[i];
            b.bytes[i] = (uint8_t)replacements[r];
            assert_int_equal(st_save(path, b.bytes, b.size), 0);
            const bl_result result = bl_safetensors_open(path, BL_ERROR_INPUT, &st);
            b.bytes[i] = old;
            if (result == BL_OK) {
                accepted++;
                assert_sound(st, b.size);
                bl_safetensors_close(&st);
            } else {
                assert_int_equal(result, BL_ERROR_INPUT);
            }
        }
    assert_true(accepted > 0); /* names and metadata may be anything */
    free(b.bytes);
}

/* --- good files -------------------------------------------------------------------------------------------------------- */

static void test_good(void **state)
{
    (void)state;
    const st_metadata metadata[] = { { "format", "pt" }, { "note", "a \"quoted\"\nline \xc3\xa4" }, { "", "" } };
    const float data[] = { 1, 2, 3, 4, 5, 6 };
    const st_tensor tensors[] = {
        { .name = "z.first", .dtype = "F32", .rank = 2, .dims = { 2, 3 }, .data = data },
        { .name = "empty", .dtype = "BF16", .rank = 3, .dims = { 4, 0, 7 } },
        { .name = "another empty", .dtype = "F64", .rank = 1, .dims = { 0 } },
        { .name = "a.last", .dtype = "F32", .rank = 0, .data = data + 4 },
        { .name = "\xe5\xad\x97", .dtype = "U8", .rank = 8, .dims = { 1, 1, 1, 3, 1, 1, 1, 1 } },
    };
    assert_int_equal(st_write(path, tensors, BL_COUNT(tensors), metadata, BL_COUNT(metadata)), 0);
    bl_safetensors *st = open_good();
    assert_string_equal(bl_safetensors_path(st), path);
    assert_int_equal(bl_safetensors_count(st), 5);
    const char *const order[] = { "z.first", "another empty", "empty", "a.last", "\xe5\xad\x97" };
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(bl_safetensors_at(st, i)->name, order[i]);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    assert_sound(st, (uint64_t)s.st_size);

    const bl_file_tensor *t = bl_safetensors_find(st, "z.first");
    assert_true(t->dtype == BL_FILE_F32 && t->rank == 2 && t->dims[0] == 2 && t->dims[1] == 3);
    float out[6] = { 0 };
    assert_int_equal(bl_safetensors_read(st, t, 0, 6, out), BL_OK);
    assert_memory_equal(out, data, sizeof(data));
    assert_int_equal(bl_safetensors_read(st, t, 4, 2, out), BL_OK);
    assert_memory_equal(out, data + 4, 8);
    assert_int_equal(bl_safetensors_read(st, t, 6, 0, out), BL_OK);
    assert_int_equal(bl_safetensors_read(st, t, 5, 2, out), BL_ERROR_USAGE);
    assert_reason("2 elements at 5 are outside its 6");
    assert_int_equal(bl_safetensors_read(st, t, UINT64_MAX, 2, out), BL_ERROR_USAGE);
    assert_int_equal(bl_safetensors_read(st, t, 0, SIZE_MAX, out), BL_ERROR_USAGE);
    uint8_t raw[5];
    assert_int_equal(bl_safetensors_read_raw(st, t, 19, 5, raw), BL_OK);
    assert_memory_equal(raw, (const uint8_t *)data + 19, 5);
    assert_int_equal(bl_safetensors_read_raw(st, t, 20, 5, raw), BL_ERROR_USAGE);
    assert_int_equal(bl_safetensors_read(st, bl_safetensors_find(st, "empty"), 0, 0, NULL), BL_OK);
    t = bl_safetensors_find(st, "a.last");
    assert_int_equal(t->count, 1);
    assert_int_equal(bl_safetensors_read(st, t, 0, 1, out), BL_OK);
    assert_true(out[0] == 5);
    assert_null(bl_safetensors_find(st, "a.las"));
    assert_null(bl_safetensors_find(st, ""));

    assert_int_equal(bl_safetensors_metadata_count(st), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(bl_safetensors_metadata_key(st, i), metadata[i].key);
        assert_string_equal(bl_safetensors_metadata_value(st, i), metadata[i].value);
        assert_string_equal(bl_safetensors_metadata(st, metadata[i].key), metadata[i].value);
    }
    assert_null(bl_safetensors_metadata_key(st, 3));
    assert_null(bl_safetensors_metadata_value(st, 3));
    assert_null(bl_safetensors_metadata(st, "Format"));
    bl_safetensors_close(&st);

    static const char *const headers[] = { "{}", " \t\r\n{}", "{}   \n\t", "{\"__metadata__\":{}}", "{ }" };
    for (size_t i = 0; i < BL_COUNT(headers); i++) {
        save_header(headers[i], strlen(headers[i]), 0);
        st = open_good();
        assert_int_equal(bl_safetensors_count(st), 0);
        assert_int_equal(bl_safetensors_metadata_count(st), 0);
        assert_null(bl_safetensors_find(st, "__metadata__"));
        bl_safetensors_close(&st);
    }

    save_header(TEXT("{\"b\\\"-,\":{\"data_offsets\":[3,7],\"shape\":[1],\"dtype\":\"F32\"},\n" /* signs in a name, unaligned data */
        "\"a\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[0,3]}}"), 7);
    st = open_good();
    assert_string_equal(bl_safetensors_at(st, 0)->name, "a");
    assert_int_equal(bl_safetensors_at(st, 0)->count, 6);
    assert_int_equal(bl_safetensors_read(st, bl_safetensors_find(st, "b\"-,"), 0, 1, out), BL_OK);
    assert_true(out[0] == 0);
    bl_safetensors_close(&st);
}

static void test_dtypes(void **state)
{
    (void)state;
    static const uint8_t bytes[] = { 0x00, 0x3c, 0xff, 0xfb, 0x01, 0x00, 0x00, 0x7c, 0x00, 0xc0, 0x80, 0x3f, 0x00, 0x00, 0xf0, 0xff };
    const float inf = INFINITY;
    static const struct { const char *dtype; bl_file_dtype t; unsigned bits; bool readable; } known[] = {
        { "BOOL", BL_FILE_BOOL, 8, true }, { "U8", BL_FILE_U8, 8, true }, { "I8", BL_FILE_I8, 8, true },
        { "F8_E5M2", BL_FILE_F8_E5M2, 8, false }, { "F8_E4M3", BL_FILE_F8_E4M3, 8, false }, { "F8_E8M0", BL_FILE_F8_E8M0, 8, false },
        { "F8_E4M3FNUZ", BL_FILE_F8_E4M3FNUZ, 8, false }, { "F8_E5M2FNUZ", BL_FILE_F8_E5M2FNUZ, 8, false },
        { "I16", BL_FILE_I16, 16, true }, { "U16", BL_FILE_U16, 16, true }, { "F16", BL_FILE_F16, 16, true },
        { "BF16", BL_FILE_BF16, 16, true }, { "I32", BL_FILE_I32, 32, true }, { "U32", BL_FILE_U32, 32, true },
        { "F32", BL_FILE_F32, 32, true }, { "C64", BL_FILE_C64, 64, false }, { "F64", BL_FILE_F64, 64, true },
        { "I64", BL_FILE_I64, 64, true }, { "U64", BL_FILE_U64, 64, true },
    };
    const struct { bl_file_dtype t; size_t at; float expected; } values[] = {
        { BL_FILE_BOOL, 0, 0 }, { BL_FILE_BOOL, 1, 1 }, { BL_FILE_U8, 2, 255 }, { BL_FILE_I8, 2, -1 }, { BL_FILE_I8, 1, 60 },
        { BL_FILE_I16, 1, -1025 }, { BL_FILE_U16, 1, 64511 }, { BL_FILE_F16, 0, 1 }, { BL_FILE_F16, 1, -65504 },
        { BL_FILE_F16, 2, 0x1p-24f }, { BL_FILE_F16, 3, inf }, { BL_FILE_BF16, 4, -2 }, { BL_FILE_BF16, 5, 1 },
        { BL_FILE_I32, 0, -67159040 }, { BL_FILE_I32, 3, -1048576 }, { BL_FILE_U32, 0, 4227808256.f }, { BL_FILE_U32, 3, 4293918720.f },
        { BL_FILE_F32, 2, 0x1.018p0f }, { BL_FILE_I64, 0, 0x1.fp62f }, { BL_FILE_I64, 1, -0x1.fffff8p51f },
        { BL_FILE_U64, 1, 0x1.ffep63f },
    };
    st_tensor tensors[BL_COUNT(known)];
    for (size_t i = 0; i < BL_COUNT(known); i++)
        tensors[i] = (st_tensor){ .name = known[i].dtype, .dtype = known[i].dtype, .rank = 1, .data = bytes,
            .dims = { 8 * sizeof(bytes) / known[i].bits } };
    assert_int_equal(st_write(path, tensors, BL_COUNT(known), NULL, 0), 0);
    bl_safetensors *st = open_good();
    for (size_t i = 0; i < BL_COUNT(known); i++) {
        const bl_file_tensor *t = bl_safetensors_find(st, known[i].dtype);
        float out[sizeof(bytes)];
        uint64_t nonfinite;
        assert_non_null(t);
        assert_int_equal(t->dtype, known[i].t);
        assert_string_equal(bl_file_dtype_name(t->dtype), known[i].dtype);
        assert_int_equal(bl_file_dtype_bits(t->dtype), known[i].bits);
        assert_int_equal(bl_file_dtype_readable(t->dtype), known[i].readable);
        const bl_result result = bl_safetensors_read(st, t, 0, (size_t)t->count, out);
        if (!known[i].readable) {
            assert_int_equal(result, BL_ERROR_MODEL);
            assert_reason("are not supported");
            assert_reason(known[i].dtype);
            assert_int_equal(bl_safetensors_count_nonfinite(st, t, &nonfinite), BL_ERROR_MODEL);
            uint8_t raw[sizeof(bytes)];
            assert_int_equal(bl_safetensors_read_raw(st, t, 0, sizeof(raw), raw), BL_OK);
            assert_memory_equal(raw, bytes, sizeof(raw));
            continue;
        }
        assert_int_equal(result, BL_OK);
        for (size_t v = 0; v < BL_COUNT(values); v++)
            if (values[v].t == t->dtype && !(out[values[v].at] == values[v].expected))
                fail_msg("%s[%zu] is %a, not %a", known[i].dtype, values[v].at, (double)out[values[v].at], (double)values[v].expected);
        assert_int_equal(bl_safetensors_count_nonfinite(st, t, &nonfinite), BL_OK);
        /* F16: infinity and a NaN; BF16 and F32: the NaN at the end; F64: that, and 1e290, which is too large for a float. */
        assert_int_equal(nonfinite, t->dtype == BL_FILE_F16 || t->dtype == BL_FILE_F64 ? 2
            : t->dtype == BL_FILE_BF16 || t->dtype == BL_FILE_F32 ? 1 : 0);
    }
    bl_safetensors_close(&st);
    assert_string_equal(bl_file_dtype_name(BL_FILE_DTYPE_COUNT), "?");
    assert_int_equal(bl_file_dtype_bits(BL_FILE_DTYPE_COUNT), 0);
    assert_false(bl_file_dtype_readable(BL_FILE_DTYPE_COUNT));

    const double doubles[] = { 0.1, -1e300, 1e-300, 16777217 };
    const st_tensor d = { .name = "d", .dtype = "F64", .rank = 1, .dims = { 4 }, .data = doubles };
    assert_int_equal(st_write(path, &d, 1, NULL, 0), 0);
    st = open_good();
    float out[4];
    assert_int_equal(bl_safetensors_read(st, bl_safetensors_at(st, 0), 0, 4, out), BL_OK);
    assert_true(out[0] == 0.1f && out[1] == -inf && out[2] == 0 && out[3] == 16777216);
    bl_safetensors_close(&st);
}

/* Longer than any buffer, from odd starts: no element is lost or doubled where pieces meet. */
static void test_long_tensors(void **state)
{
    (void)state;
    enum { N = 100003 };
    int32_t *values = malloc(N * sizeof(*values));
    uint16_t *bits = malloc(N * sizeof(*bits));
    float *out = malloc(N * sizeof(*out));
    assert_true(values && bits && out);
    for (int i = 0; i < N; i++) {
        values[i] = i - 50000;
        bits[i] = (uint16_t)i;
    }
    const st_tensor tensors[] = {
        { .name = "odd", .dtype = "U8", .rank = 1, .dims = { 3 } }, /* makes the rest unaligned */
        { .name = "i", .dtype = "I32", .rank = 1, .dims = { N }, .data = values },
        { .name = "u", .dtype = "U16", .rank = 1, .dims = { N }, .data = bits },
    };
    assert_int_equal(st_write(path, tensors, BL_COUNT(tensors), NULL, 0), 0);
    bl_safetensors *st = open_good();
    const size_t starts[] = { 0, 1, 8191, 16384, 99999 };
    for (size_t s = 0; s < 2 * BL_COUNT(starts); s++) {
        const bool is_signed = s % 2;
        const size_t start = starts[s / 2], n = N - start;
        assert_int_equal(bl_safetensors_read(st, bl_safetensors_find(st, is_signed ? "i" : "u"), start, n, out), BL_OK);
        for (size_t i = 0; i < n; i++)
            if (out[i] != (is_signed ? (float)values[start + i] : (float)bits[start + i]))
                fail_msg("element %zu of %zu from %zu", i, n, start);
    }
    bl_safetensors_close(&st);
    free(values);
    free(bits);
    free(out);
}

/* --- the world failing --------------------------------------------------------------------------------------------------- */

static void save_small(void)
{
    const st_metadata m = { "k", "v" };
    const uint16_t data[6] = { 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600 };
    const st_tensor tensors[] = {
        { .name = "w", .dtype = "F16", .rank = 2, .dims = { 2, 3 }, .data = data }, { .name = "b", .dtype = "I64", .rank = 0 },
    };
    assert_int_equal(st_write(path, tensors, 2, &m, 1), 0);
}

static void test_changed(void **state)
{
    (void)state;
    float out[6];
    uint8_t raw[12];
    struct stat s;
    for (int grow = 0; grow < 2; grow++) {
        save_small();
        bl_safetensors *st = open_good();
        const bl_file_tensor *w = bl_safetensors_find(st, "w");
        assert_int_equal(stat(path, &s), 0);
        assert_int_equal(truncate(path, grow ? s.st_size + 1 : s.st_size - 10), 0);
        assert_int_equal(bl_safetensors_read(st, w, 0, 6, out), BL_ERROR_MODEL);
        assert_reason("changed");
        assert_int_equal(bl_safetensors_read_raw(st, w, 0, 12, raw), BL_ERROR_MODEL);
        assert_reason("changed");
        bl_safetensors_close(&st);
    }
}

static bl_file_api real_files;
static int calls_left, opened;

static bool fails(void)
{
    errno = EIO;
    return calls_left-- <= 0;
}

static int t_open_read(const char *p)
{
    const int fd = fails() ? -1 : real_files.open_read(p);
    opened += fd >= 0;
    return fd;
}

static int t_size(int fd, uint64_t *size) { return fails() ? -1 : real_files.size(fd, size); }
static int64_t t_read_at(int fd, void *buf, size_t n, uint64_t o) { return fails() ? -1 : real_files.read_at(fd, buf, n > 7 ? 7 : n, o); }

/* One byte more at every look. */
static int growing_size(int fd, uint64_t *size)
{
    return real_files.size(fd, size) ? -1 : (*size += (uint64_t)opened++, 0);
}

static int t_close(int fd)
{
    opened--;
    return real_files.close(fd);
}

static bl_result open_and_read(void)
{
    bl_result result = BL_OK;
    bl_safetensors *st = NULL;
    float out[6];
    uint8_t raw[8];
    BL_TRY(bl_safetensors_open(path, BL_ERROR_MODEL, &st));
    BL_TRY(bl_safetensors_read(st, bl_safetensors_find(st, "w"), 0, 6, out));
    BL_TRY(bl_safetensors_read_raw(st, bl_safetensors_find(st, "b"), 0, 8, raw));
    assert_true(out[5] == 6);
fail:
    bl_safetensors_close(&st);
    return result;
}

static void test_file_failures(void **state)
{
    (void)state;
    save_small();
    real_files = bl_files;
    for (int n = 0;; n++) {
        bl_files.open_read = t_open_read;
        bl_files.size = t_size;
        bl_files.read_at = t_read_at;
        bl_files.close = t_close;
        calls_left = n;
        opened = 0;
        const bl_result result = open_and_read();
        bl_files = real_files;
        assert_int_equal(opened, 0);
        if (result == BL_OK) {
            assert_true(n > 20);
            break;
        }
        assert_int_equal(result, BL_ERROR_MODEL);
        assert_reason(path);
    }

    opened = 0;
    bl_files.size = growing_size;
    assert_refused(BL_ERROR_MODEL, "changed while it was read");
    bl_files = real_files;

    assert_int_equal(st_save(path, "GGUF....", 8), 0); /* the look for other formats fails: still refused */
    bl_files.read_at = t_read_at;
    calls_left = 2;
    const bl_result result = open_and_read();
    bl_files = real_files;
    assert_int_equal(result, BL_ERROR_MODEL);
    assert_reason("header length");
}

static int allocations_left;
static void *scarce(void *p, size_t size) { return allocations_left-- > 0 ? realloc(p, size) : NULL; }
static void *scarce_malloc(size_t size) { return scarce(NULL, size); }

/* Ours fail with BL_ERROR_MEMORY; jansson reports some of its own as a syntax error. The sanitizer looks for leaks. */
static void test_memory_failures(void **state)
{
    (void)state;
    const bl_memory_api memory = bl_memory;
    save_small();
    for (int with_parser = 0; with_parser < 2; with_parser++)
        for (int n = 0;; n++) {
            bl_memory.resize = scarce;
            if (with_parser)
                json_set_alloc_funcs(scarce_malloc, free);
            allocations_left = n;
            const bl_result result = open_and_read();
            bl_memory = memory;
            json_set_alloc_funcs(malloc, free);
            if (result == BL_OK) {
                assert_true(n > (with_parser ? 20 : 6));
                break;
            }
            assert_true(result == BL_ERROR_MEMORY || (with_parser && result == BL_ERROR_MODEL));
            assert_reason(path);
        }
}

/* --- reference files ----------------------------------------------------------------------------------------------------- */

/* Opens every file below `folder` and reads all of it; returns how many. */
static int check_folder(const char *folder)
{
    int files = 0;
    DIR *d = opendir(folder);
    if (!d)
        fail_msg("%s cannot be listed", folder);
    for (struct dirent *e; (e = readdir(d));) {
        char *p = bl_path_join(folder, e->d_name);
        const size_t length = strlen(p);
        if (e->d_name[0] != '.' && bl_path_is_directory(p)) {
            files += check_folder(p);
        } else if (length > 12 && !strcmp(p + length - 12, ".safetensors")) {
            bl_safetensors *st;
            if (bl_safetensors_open(p, BL_ERROR_MODEL, &st) != BL_OK)
                fail_msg("%s", bl_last_error());
            struct stat s;
            assert_int_equal(stat(p, &s), 0);
            assert_sound(st, (uint64_t)s.st_size);
            assert_true(bl_safetensors_count(st) > 0);
            for (size_t i = 0; i < bl_safetensors_count(st); i++) {
                uint64_t nonfinite = 1;
                assert_int_equal(bl_safetensors_count_nonfinite(st, bl_safetensors_at(st, i), &nonfinite), BL_OK);
                if (nonfinite)
                    fail_msg("%s: %s has %" PRIu64 " values that are not finite", p, bl_safetensors_at(st, i)->name, nonfinite);
            }
            bl_safetensors_close(&st);
            files++;
        }
        bl_free(p);
    }
    closedir(d);
    return files;
}

static bl_safetensors *open_reference(const char *root, const char *name)
{
    bl_safetensors *st;
    char *p = bl_path_join(root, name);
    if (bl_safetensors_open(p, BL_ERROR_MODEL, &st) != BL_OK)
        fail_msg("%s", bl_last_error());
    bl_free(p);
    return st;
}

static void test_reference(void **state)
{
    (void)state;
    const char *root = getenv("BLEMISH_REFERENCE");
    if (!root) {
        if (getenv("CI"))
            fail_msg("BLEMISH_REFERENCE is not set");
        skip();
    }
    static const char *const folders[] = { "models", "golden" };
    for (size_t i = 0; i < BL_COUNT(folders); i++) {
        char *folder = bl_path_join(root, folders[i]);
        const int files = check_folder(folder);
        bl_free(folder);
        assert_true(files >= 8);
    }

    bl_safetensors *st = open_reference(root, "models/tiny15/unet/diffusion_pytorch_model.safetensors");
    assert_int_equal(bl_safetensors_count(st), 684);
    assert_string_equal(bl_safetensors_metadata(st, "format"), "pt");
    const bl_file_tensor *t = bl_safetensors_find(st, "conv_in.weight");
    assert_true(t && t->dtype == BL_FILE_F32 && t->rank == 4 && t->dims[1] == 4 && t->dims[2] == 3 && t->dims[3] == 3);
    bl_safetensors_close(&st);

    st = open_reference(root, "models/tiny15/text_encoder/model.safetensors");
    t = bl_safetensors_find(st, "text_model.embeddings.position_ids");
    assert_true(t && t->dtype == BL_FILE_I64 && t->count == 77);
    float ids[77];
    assert_int_equal(bl_safetensors_read(st, t, 0, 77, ids), BL_OK);
    for (int i = 0; i < 77; i++)
        assert_true(ids[i] == (float)i);
    bl_safetensors_close(&st);

    st = open_reference(root, "golden/unet_tiny21.safetensors");
    assert_string_equal(bl_safetensors_metadata(st, "model"), "tiny21");
    assert_int_equal(bl_safetensors_metadata_count(st), 1);
    bl_safetensors_close(&st);
    st = open_reference(root, "golden/schedulers.safetensors");
    assert_non_null(strstr(bl_safetensors_metadata(st, "ddim10"), "\"DDIMScheduler\""));
    bl_safetensors_close(&st);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/file", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_headers), cmocka_unit_test(test_other_formats), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_good), cmocka_unit_test(test_dtypes), cmocka_unit_test(test_long_tensors),
        cmocka_unit_test(test_changed), cmocka_unit_test(test_file_failures), cmocka_unit_test(test_memory_failures),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
