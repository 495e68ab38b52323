/* Bad inputs at the command line: every class of file that it reads, each with its exit code and its words; nothing is written and nothing
 * is printed but the reason. What one parser refuses in detail is in its own test: test_safetensors.c, test_json.c, test_tokenizer.c,
 * test_image.c, test_jpeg.c, test_frame.c; checkpoints as a whole in test_checkpoint.c, test_model_broken.c and test_lora.c; options in
 * test_cli.c and test_model.c; devices in test_device.c; pipeline caches in test_device_failures.c; output in test_file.c. */
#include "cli_runner.h"
#include "safetensors_writer.h"
#include <zlib.h>

#define CORPUS BLEMISH_SOURCE "/tests/fuzz/corpus/"
#define TOKENIZER TEST_DATA "/tokenizer"
#define BYTES(s) s, sizeof(s) - 1
enum { SIZE_MAX_FILE = 1 << 16 };

static uint8_t bytes[SIZE_MAX_FILE];
static size_t byte_count;

static void load(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    byte_count = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    assert_in_range(byte_count, 1, sizeof(bytes) - 64);
}

/* The command fails with this code and says this; it prints nothing and leaves `files` files. */
static void refuse_leaving(int files, int code, const char *reason, const char *const *args)
{
    const int got = run(args);
    if (got != code || !says(err_path, reason))
        print_message("\"%s\" was expected with code %d, not %d\n", reason, code, got);
    assert_says(err_path, reason);
    assert_int_equal(got, code);
    assert_empty(out_path);
    assert_int_equal(files_here(), files);
}
#define REFUSE(files, code, reason, ...) refuse_leaving(files, code, reason, (const char *const[ARGS_MAX + 1]){ __VA_ARGS__ })

/* --- pictures --------------------------------------------------------------------------------------------------------------- */

#define GENERATE "generate", "--model", "nowhere", "--prompt", "a nut"

static void picture_is_refused(const char *reason)
{
    assert_int_equal(st_save("x", bytes, byte_count), 0);
    REFUSE(1, 3, reason, GENERATE, "--photo", "x");
    assert_says(err_path, "x: "); /* the file has a name */
    REFUSE(1, 3, reason, GENERATE, "--photo", CORPUS "png/color2_8bit", "--mask", "x");
}

static void other_formats_are_no_pictures(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t size; const char *reason; } cases[] = {
        { BYTES(""), "the file is empty" }, { BYTES("\x89"), "neither PNG nor JPEG" }, { BYTES("hello"), "neither PNG nor JPEG" },
        { BYTES("GIF89a\1\0\1\0"), "this is GIF; pictures are read as PNG or JPEG" }, { BYTES("BM\x46\0\0\0"), "this is BMP" },
        { BYTES("II*\0\x08\0\0\0"), "this is TIFF" }, { BYTES("RIFF\x24\0\0\0WEBPVP8 "), "this is WebP" },
        { BYTES("\0\0\0\x18""ftypheic\0\0\0\0"), "this is HEIC" }, { BYTES("\0\0\0\x1c""ftypavif"), "this is AVIF" },
        { BYTES("P6\n2 2\n255\n"), "this is PPM" }, { BYTES("<!DOCTYPE html>"), "a web page" },
        { BYTES("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer" },
        { BYTES("\x89PNG\n\x1a\n\0\0\0\rIHDR"), "damaged on the way" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        memcpy(bytes, cases[i].bytes, cases[i].size);
        byte_count = cases[i].size;
        picture_is_refused(cases[i].reason);
    }
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Done to a sound file: bytes set (in the header of a PNG file its checksum is made right), cut off, added. */
typedef enum deed { SET8, SET32, CUT, APPEND } deed;

static void damaged_pictures_are_refused(void **state)
{
    (void)state;
    enum { WIDTH = 16, HEIGHT = 20, DEPTH = 24, COLOR = 25, INTERLACE = 28, CHECKSUM = 29 }; /* places in a PNG file */
    enum { FRAME = 0x8c, PRECISION = FRAME + 4, LINES = FRAME + 6, COMPONENTS = FRAME + 9 }; /* in jpeg/baseline */
    static const struct { const char *file; deed deed; size_t at; uint32_t value; const char *reason; } cases[] = {
        { "png/color2_8bit", CUT, 12, 0, "without its end chunk IEND: it was cut off" }, { "png/color2_8bit", CUT, 30, 0, "cut off" },
        { "png/color2_8bit", CUT, 100, 0, "cut off" }, { "png/color2_8bit", APPEND, 4, 0, "4 bytes follow the end of the picture" },
        { "png/color2_8bit", SET8, 45, 0x7e, "wrong checksum of chunk IDAT at byte 33" },
        { "png/color2_8bit", SET32, WIDTH, 0, "the picture has no pixels (0x7)" },
        { "png/color2_8bit", SET32, WIDTH, 16385, "the picture is 16385x7, at most 16384 pixels on a side are read" },
        { "png/color2_8bit", SET32, HEIGHT, 0xffffffff, "at most 16384 pixels on a side" },
        { "png/color2_8bit", SET32, WIDTH, 600, "sides of at most 64:1 are read" },
        { "png/color2_8bit", SET8, DEPTH, 3, "there is no colour type 2 of 3 bits" },
        { "png/color2_8bit", SET8, COLOR, 5, "there is no colour type 5" }, { "png/color2_8bit", SET8, INTERLACE, 2, "interlacing 2" },
        { "png/color2_8bit", SET8, COLOR, 3, "a palette picture without a palette" },
        { "png/palette_8bit", SET8, DEPTH, 1, "a palette of 4 colours for 1 bits" },
        { "png/large", APPEND, 0, 0, "65 bytes of file cannot hold a picture of 8192x8192" },
        { "png/missing_row", APPEND, 0, 0, "cannot be decoded" },
        { "jpeg/baseline", CUT, 2, 0, "without its end marker: it was cut off" }, { "jpeg/baseline", CUT, 20, 0, "the file was cut off" },
        { "jpeg/baseline", CUT, 250, 0, "JPEG: " }, { "jpeg/progressive", CUT, 60, 0, "JPEG: " },
        { "jpeg/baseline", SET8, PRECISION, 12, "12 bits per sample are not supported" },
        { "jpeg/baseline", SET8, FRAME + 1, 0xc9, "arithmetic coding is not supported; save the picture as baseline or progressive" },
        { "jpeg/baseline", SET8, FRAME + 1, 0xc3, "lossless coding is not supported" },
        { "jpeg/baseline", SET8, COMPONENTS, 4, "a frame header of" },
        { "jpeg/baseline", SET8, LINES, 0, "a height given after the picture" },
        { "jpeg/baseline", SET8, LINES - 1, 0xff, "at most 16384 pixels on a side" },
        { "jpeg/grey_restarts", SET8, 0, 0, "neither PNG nor JPEG" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512];
        snprintf(path, sizeof(path), CORPUS "%s", cases[i].file);
        load(path);
        assert_true(strcmp(cases[i].file, "jpeg/baseline") || !memcmp(bytes + FRAME, "\xff\xc0", 2));
        switch (cases[i].deed) {
        case SET8: bytes[cases[i].at] = (uint8_t)cases[i].value; break;
        case SET32: put32(bytes + cases[i].at, cases[i].value); break;
        case CUT: byte_count -= cases[i].at; break;
        case APPEND: byte_count += cases[i].at; break;
        }
        if (!strncmp(cases[i].file, "png/", 4))
            put32(bytes + CHECKSUM, (uint32_t)crc32(0, bytes + 12, 17));
        picture_is_refused(cases[i].reason);
    }
}

/* What is no file at all, wherever a file is read. */
static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("pipe", 0600), 0);
    static const struct { const char *path, *reason; } cases[] = {
        { ".", ".: is a directory, not a file" }, { "pipe", "pipe: is a pipe or device, not a regular file" },
        { "/dev/zero", "/dev/zero: is a pipe or device" }, { "gone", "gone: cannot open: No such file" },
        { "pipe/x", "pipe/x: cannot open: Not a directory" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        REFUSE(1, 3, cases[i].reason, GENERATE, "--photo", cases[i].path);
        REFUSE(1, 3, cases[i].reason, GENERATE, "--photo", CORPUS "png/color2_8bit", "--mask", cases[i].path);
        if (i)
            REFUSE(1, 3, cases[i].reason, "inspect", cases[i].path);
    }
}

/* --- models ----------------------------------------------------------------------------------------------------------------- */

#define ONE(dtype, shape, offsets) "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

/* One of each class of broken container; test_safetensors.c has them all. */
static void broken_containers_are_refused(void **state)
{
    (void)state;
    static const struct { const char *header; size_t size, data; const char *reason; } cases[] = {
        { BYTES(""), 0, "the header length is 0" }, { BYTES("[]"), 0, "starts with byte 0x5b at offset 8, not with '{'" },
        { BYTES("{}\0\0"), 0, "padded with NUL bytes from offset 10" }, { BYTES("{\"\x80\":1}"), 0, "unable to decode byte 0x80" },
        { BYTES("{\"a\":1,\"a\":1}"), 0, "duplicate key \"a\"" }, { BYTES("{\"a\":[[[[[0]]]]]}"), 0, "nested deeper than 4 levels" },
        { BYTES("{\"a\":{}}"), 0, "tensor \"a\": has no dtype" }, { BYTES("{\"a\\u001b\":{}}"), 0, "a control character at byte 1" },
        { BYTES(ONE("Q4_K", "[4]", "[0,4]")), 4, "tensor \"a\": unknown dtype \"Q4_K\"" },
        { BYTES(ONE("U8", "[-4]", "[0,4]")), 4, "negative number at offset" },
        { BYTES(ONE("U8", "[4.0]", "[0,4]")), 4, "shape[0] is a fraction or in exponent form" },
        { BYTES(ONE("U8", "[9223372036854775808]", "[0,4]")), 4, "too big integer" },
        { BYTES(ONE("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]")), 1, "has 9 dimensions, at most 8 are read" },
        { BYTES(ONE("U8", "[4294967296,4294967296]", "[0,0]")), 0, "overflows" },
        { BYTES(ONE("F32", "[2]", "[0,4]")), 4, "F32 [2] needs 8 bytes, its data_offsets give 4" },
        { BYTES(ONE("U8", "[4]", "[1,5]")), 5, "hole of 1 bytes before the first tensor" },
        { BYTES(ONE("U8", "[4]", "[0,4]")), 3, "is truncated: 1 bytes of tensors are missing" },
        { BYTES(ONE("U8", "[4]", "[0,4]")), 5, "has 1 bytes behind the last tensor" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        memset(bytes, 0, sizeof(bytes));
        bytes[0] = (uint8_t)cases[i].size;
        memcpy(bytes + 8, cases[i].header, cases[i].size);
        assert_int_equal(st_save("x", bytes, 8 + cases[i].size + cases[i].data), 0);
        REFUSE(1, 4, cases[i].reason, "inspect", "x");
        assert_says(err_path, "x: ");
    }
    static const struct { const char *bytes; size_t size; const char *reason; } files[] = {
        { BYTES(""), "is empty" }, { BYTES("\1\0\0"), "is shorter than the 8 bytes" },
        { BYTES("\x03\0\0\0\0\0\0\0{}"), "is truncated: 1 bytes of the header of 3 are missing" },
        { BYTES("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "18446744073709551615 is above the format's limit" },
        { BYTES("\x28\xb5\x2f\xfd\x04\x58\0\0\0\0"), "is zstd-compressed" }, { BYTES("7z\xbc\xaf\x27\x1c\0\0"), "is a 7z archive" },
        { BYTES("\x89HDF\r\n\x1a\n\0\0\0\0"), "is an HDF5 file" }, { BYTES("\x93NUMPY\1\0v\0{'descr'"), "is a NumPy array" },
        { BYTES("<?xml version=\"1.0\"?><Error>"), "is an XML document, not a model" }, { BYTES("{\"error\": 1}"), "is a JSON text" },
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        assert_int_equal(st_save("x", files[i].bytes, files[i].size), 0);
        REFUSE(1, 4, files[i].reason, "inspect", "x");
    }
}

/* --- tokenizers and prompts ---------------------------------------------------------------------------------------------------- */

static void broken_tokenizers_are_refused(void **state)
{
    (void)state;
    static const struct { const char *file, *text, *reason; } cases[] = {
        { "vocab.json", "", "vocab.json: is empty, JSON was expected" }, { "vocab.json", "{\"a\":0", "vocab.json: line 1, column 6" },
        { "vocab.json", "[]", "not an object with an id for each entry" }, { "vocab.json", "{\"a\":0,\"a\":1}", "duplicate key \"a\"" },
        { "vocab.json", "{\"a\":0,\"b\":0}", "entry \"b\": id 0 is already that of \"a\"" },
        { "vocab.json", "{\"a\":1048576}", "not an id from 0 to 1048575" }, { "vocab.json", "{\"\xff\":0}", "unable to decode byte 0xff" },
        { "merges.txt", "a\n", "line 1: \"a\" is not two symbols" }, { "merges.txt", "zz zz\n", "line 1: \"zz\" is not in vocab.json" },
        { "tokenizer_config.json", "{\"model_max_length\":1}", "\"model_max_length\" is 1, not in 2 to 65536" },
        { "tokenizer_config.json", "{\"tokenizer_class\":\"T5Tokenizer\"}", "tokenizer_class \"T5Tokenizer\" is not CLIPTokenizer" },
        { "special_tokens_map.json", "{\"bos_token\":\"nowhere\"}", "no entry \"nowhere\", which is the bos_token" },
        { "special_tokens_map.json", "[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]", "nested deeper than 16 levels" },
    };
    static const char *const files[] = { "vocab.json", "merges.txt" };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t k = 0; k < COUNT(files); k++) {
            char path[512];
            snprintf(path, sizeof(path), TOKENIZER "/%s", files[k]);
            load(path);
            assert_int_equal(st_save(files[k], bytes, byte_count), 0);
        }
        assert_int_equal(st_save(cases[i].file, cases[i].text, strlen(cases[i].text)), 0);
        REFUSE(cases[i].file[0] == 'v' || cases[i].file[0] == 'm' ? 2 : 3, 4, cases[i].reason, "tokens", "--tokenizer", ".", "a nut");
        remove_all();
    }
    REFUSE(0, 4, "vocab.json: cannot open: No such file", "tokens", "--tokenizer", ".", "a nut"); /* nothing there */
}

static void hostile_prompts_are_refused(void **state)
{
    (void)state;
    static char text[65537 + 1];
    memset(text, 'a', sizeof(text) - 1);
    REFUSE(0, 3, "65537 bytes, at most 65536", "tokens", "--tokenizer", TOKENIZER, text);
    static const struct { const char *text; int code; const char *reason; } cases[] = {
        { "a [[nut", 3, "\"[[\" is not closed" }, { "a nut]]", 3, "\"]]\" without \"[[\"" }, { "[[a [[b]]]]", 3, "\"[[\" within \"[[\"" },
        { "[[ ]]", 3, "marks no word" }, { "a n[[u]]t", 3, "is only a part of a word" },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        REFUSE(0, cases[i].code, cases[i].reason, "tokens", "--tokenizer", TOKENIZER, cases[i].text);
    REFUSE(0, 2, "the template has \"{who}", "tokens", "--tokenizer", TOKENIZER, "--object", "a", "--defect", "b", "--template",
           "{who} {defect}");
}

/* --- devices and output --------------------------------------------------------------------------------------------------------- */

static void devices_that_are_not_there(void **state)
{
    (void)state;
    const char *drivers = getenv("VK_DRIVER_FILES");
    char kept[1024];
    snprintf(kept, sizeof(kept), "%s", drivers ? drivers : "");
    setenv("VK_DRIVER_FILES", "/nonexistent.json", 1); /* a loader without drivers, or no loader at all */
    REFUSE(0, 5, "Vulkan", "devices");
    REFUSE(0, 5, "Vulkan", GENERATE);
    if (drivers)
        setenv("VK_DRIVER_FILES", kept, 1);
    else
        unsetenv("VK_DRIVER_FILES");
    need_device();
    REFUSE(0, 5, "99", GENERATE, "--device", "99");
    REFUSE(0, 5, "no such device", GENERATE, "--device", "no such device");
    REFUSE(0, 2, "unknown capability \"s17\"", GENERATE, "--caps", "s17");
}

/* Found before minutes are spent. */
static void output_that_cannot_be(void **state)
{
    (void)state;
    char name[320] = "";
    memset(name, 'n', 300);
    strcpy(name + 300, ".png");
    REFUSE(0, 1, "cannot be written: File name too long", GENERATE, "--out", name);
    strcpy(name + 250, ".png"); /* the picture's name would do, those of three not */
    REFUSE(0, 1, "cannot be written: File name too long", GENERATE, "--out", name, "--count", "3");
    assert_int_equal(symlink("none", "link.png"), 0); /* is not followed */
    REFUSE(1, 1, "link.png: exists already", GENERATE, "--out", "link.png");
    assert_int_equal(symlink("loop", "loop"), 0);
    REFUSE(2, 1, "loop/x.png: the folder \"loop\"", GENERATE, "--out", "loop/x.png");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(other_formats_are_no_pictures, before_each),
        cmocka_unit_test_setup(damaged_pictures_are_refused, before_each),
        cmocka_unit_test_setup(what_is_no_file_is_refused, before_each),
        cmocka_unit_test_setup(broken_containers_are_refused, before_each),
        cmocka_unit_test_setup(broken_tokenizers_are_refused, before_each),
        cmocka_unit_test_setup(hostile_prompts_are_refused, before_each),
        cmocka_unit_test_setup(devices_that_are_not_there, before_each),
        cmocka_unit_test_setup(output_that_cannot_be, before_each),
    };
    return cmocka_run_group_tests(tests, before_all, after_all);
}
