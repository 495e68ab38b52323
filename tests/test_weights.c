/* Weights on the device: every type of file in both storage types, to the bit; what is loaded, held and given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "half.h"
#include "safetensors_writer.h"
#include "weights.h"
#include <math.h>
#include <stdbool.h>
#include <unistd.h>

static char path[] = "/tmp/blemish-weights-XXXXXX";
static bl_device *device;
static bl_stream *stream;
static uint64_t idle_bytes; /* of the device, without weights */

static int setup(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    if (fd < 0 || close(fd))
        return -1;
    if (bl_device_open(getenv("BLEMISH_DEVICE"), NULL, &device) != BL_OK) {
        print_message("no Vulkan device: %s\n", bl_last_error());
        return 0; /* the tests skip */
    }
    const int failed = bl_stream_create(device, &stream) != BL_OK;
    idle_bytes = device->bytes;
    return failed;
}

static int teardown(void **state)
{
    (void)state;
    bl_stream_destroy(&stream);
    bl_device_close(&device);
    return unlink(path);
}

static void need_device(void)
{
    if (device)
        return;
    if (getenv("CI"))
        fail_msg("no Vulkan device");
    skip();
}

static void expect(bl_result expected, bl_result r)
{
    if (r != expected)
        fail_msg("%s, expected %s: %s", bl_result_name(r), bl_result_name(expected), bl_last_error());
}

/* --- one file with tensors of every form ----------------------------------------------------------------------------------- */

enum { PARTS = 3, FORMS = 6 };
static const char *const names[FORMS][PARTS] = { { "conv" }, { "conv1" }, { "q", "k", "v" }, { "bias" }, { "bq", "bk", "bv" }, { "wide" } };
/* Each part as in the file. The last has more bytes than the staging buffer, and rows that are cut at odd places. */
static const struct form {
    uint32_t parts, rows, cols, kernel; /* kernel 0: a matrix; rows 0: a vector */
} forms[FORMS] = { { 1, 5, 6, 3 }, { 1, 9, 8, 1 }, { 3, 6, 10, 0 }, { 1, 0, 7, 0 }, { 3, 0, 7, 0 }, { 1, 2201, 1030, 0 } };

static uint64_t part_values(const struct form *f) { return (uint64_t)BL_MAX(f->rows, 1u) * f->cols * BL_MAX(f->kernel * f->kernel, 1u); }

/* Value `i` of a part, as the bits of its type: numbers of all magnitudes that a half can have, subnormals and zeroes among them, and in
 * the longer types many between two halves. */
static uint32_t bits_of(const char *dtype, const char *name, uint64_t i)
{
    uint32_t random = (uint32_t)i * 2654435761u + (uint32_t)name[0] * 40503u + (uint32_t)strlen(name);
    random ^= random >> 15;
    random *= 2246822519u;
    random ^= random >> 13;
    const uint32_t half = (random & 0x7800) == 0x7800 ? random & 0x83ff : random & 0xffff; /* below 32768: no rounding beyond */
    if (dtype[0] == 'F' && dtype[1] == '1')
        return half;
    const uint32_t bits = bl_bits_of_float(bl_half_to_float((uint16_t)half));
    if (dtype[0] == 'B')
        return bits >> 16;
    return half & 0x7c00 && random >> 16 & 1 ? bits | 0x1000 : bits | random >> 24; /* in the middle between two halves, or beside one */
}

static double number(const char *dtype, uint32_t bits)
{
    if (dtype[0] == 'B')
        bits <<= 16;
    return dtype[0] == 'F' && dtype[1] == '1' ? bl_half_to_float((uint16_t)bits) : bl_float_from_bits(bits);
}

/* The half nearest to a number in its range, the even one in the middle. */
static uint16_t nearest_half(double v)
{
    int exponent;
    frexp(v, &exponent); /* v = f 2^exponent with 0.5 <= |f| < 1 */
    const int unit = v == 0 ? -24 : BL_MAX(exponent - 11, -24);
    const int steps = (int)nearbyint(ldexp(fabs(v), -unit));
    return (uint16_t)((signbit(v) ? 0x8000 : 0) | ((unit + 24) * 1024 + steps));
}

/* `bad`: a name whose first value is infinite, or NULL. */
static void write_file(const char *dtype, const char *bad)
{
    st_tensor tensors[FORMS * PARTS];
    size_t count = 0;
    const size_t size = st_dtype_bytes(dtype);
    for (size_t i = 0; i < FORMS; i++)
        for (uint32_t part = 0; part < forms[i].parts; part++) {
            const struct form *f = &forms[i];
            const char *name = names[i][part];
            uint8_t *data = malloc(part_values(f) * size);
            assert_non_null(data);
            for (uint64_t k = 0; k < part_values(f); k++) {
                const uint32_t bits = bad && !k && !strcmp(bad, name) ? dtype[1] == '1' ? 0x7c00 : 0x7f800000 : bits_of(dtype, name, k);
                for (size_t b = 0; b < size; b++)
                    data[k * size + b] = (uint8_t)(bits >> 8 * b);
            }
            tensors[count++] = (st_tensor){ name, dtype, f->kernel ? 4 : f->rows ? 2 : 1,
                                            { f->rows ? f->rows : f->cols, f->cols, f->kernel, f->kernel }, data };
        }
    assert_int_equal(st_write(path, tensors, count, NULL, 0), 0);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)tensors[i].data);
}

static const bl_weight *ask(bl_weights *w, bl_graph *g, size_t form)
{
    const struct form *f = &forms[form];
    const bl_weight *weight = f->kernel ? bl_weights_conv(w, g, f->rows, f->cols, f->kernel, names[form][0])
        : f->rows ? bl_weights_matrix(w, g, f->rows, f->cols, f->parts, names[form])
                  : bl_weights_vector(w, g, f->cols, f->parts, names[form]);
    bl_graph_weight(g, weight);
    expect(BL_OK, bl_graph_check(g));
    return weight;
}

/* A graph that asks for the forms whose bits are set. */
static bl_graph *graph_of(bl_weights *w, uint32_t set)
{
    bl_graph *g;
    expect(BL_OK, bl_graph_create(BL_F32, false, &g));
    for (size_t i = 0; i < FORMS; i++)
        if (set >> i & 1)
            ask(w, g, i);
    return g;
}

static bl_tensors *tensors; /* of `path`, while weights of it are open */

static bl_weights *open_weights(bl_dtype type)
{
    bl_weights *w;
    const bl_safetensors *file;
    expect(BL_OK, bl_tensors_create(&tensors));
    expect(BL_OK, bl_tensors_open(tensors, path, &file));
    for (size_t i = 0; i < bl_safetensors_count(file); i++)
        expect(BL_OK, bl_tensors_add(tensors, file, bl_safetensors_at(file, i), 0, 1, "net.", bl_safetensors_at(file, i)->name));
    expect(BL_OK, bl_tensors_finish(tensors));
    expect(BL_OK, bl_weights_open(tensors, "net.", path, type, device, &w));
    return w;
}

static void close_weights(bl_weights **w)
{
    bl_weights_close(w);
    bl_tensors_destroy(&tensors);
}

/* Compares all of a weight with what the file says. */
static void expect_exact(const bl_weight *weight, size_t form, const char *dtype, bl_dtype type)
{
    const struct form *f = &forms[form];
    const uint32_t taps = BL_MAX(f->kernel * f->kernel, 1u), padded = f->rows ? bl_pad4(f->cols) : f->cols;
    const size_t size = bl_dtype_size(type), count = (size_t)weight->rows * weight->cols;
    assert_int_equal(weight->rows % 4, f->rows ? 0 : 1);
    assert_int_equal(weight->cols % 4, 0);
    assert_int_equal(weight->slice.size, count * size);
    uint8_t *got = malloc(count * size), *want = calloc(count, size); /* padded with zeroes */
    assert_true(got && want);
    for (uint32_t part = 0; part < f->parts; part++)
        for (uint64_t i = 0; i < part_values(f); i++) {
            const uint64_t row = i / ((uint64_t)f->cols * taps) + (uint64_t)part * BL_MAX(f->rows, 1u), col = i / taps % f->cols;
            const double v = number(dtype, bits_of(dtype, names[form][part], i));
            const float single = (float)v;
            const uint16_t half = nearest_half(v);
            const size_t at = (size_t)((row * taps + i % taps) * padded + col);
            assert_true(at < count);
            memcpy(want + at * size, type == BL_F32 ? (const void *)&single : &half, size);
        }
    expect(BL_OK, bl_stream_read(stream, &weight->slice, 0, got, count * size));
    if (memcmp(got, want, count * size))
        fail_msg("%s of type %s differs", names[form][0], dtype);
    free(got);
    free(want);
}

/* --- tests ---------------------------------------------------------------------------------------------------------------- */

static const char *const dtypes[] = { "F32", "F16", "BF16" };
static const bl_dtype types[] = { BL_F32, BL_F16 };

static void every_type_arrives_exactly(void **state)
{
    (void)state;
    need_device();
    for (size_t d = 0; d < BL_COUNT(dtypes); d++) {
        write_file(dtypes[d], NULL);
        for (size_t t = 0; t < BL_COUNT(types); t++) {
            bl_weights *w = open_weights(types[t]);
            bl_graph *g = graph_of(w, (1 << FORMS) - 1);
            expect(BL_OK, bl_weights_load(w, g, stream));
            for (size_t i = 0; i < FORMS; i++)
                expect_exact(ask(w, g, i), i, dtypes[d], types[t]);
            bl_graph_destroy(&g);
            close_weights(&w);
            assert_int_equal(device->bytes, idle_bytes);
        }
    }
}

/* Every graph brings what it names, `missing` says before what the device holds after, and memory that was given back can be had again. */
static void graphs_load_what_they_name(void **state)
{
    (void)state;
    need_device();
    const uint64_t allocation = device->limits.allocation;
    write_file("BF16", NULL);
    for (int small = 0; small < 2; small++) { /* one block, or many: the largest tensor takes one of its own */
        device->limits.allocation = small ? bl_slice_bytes(2204 * 1032 * 2) : allocation;
        bl_weights *w = open_weights(BL_F16);
        bl_graph *first = graph_of(w, 1 << 0 | 1 << 3), *second = graph_of(w, 1 << 3 | 1 << 5 | 1 << 2);
        assert_int_equal(bl_weights_bytes(w), 0);
        for (int round = 0; round < 20; round++) {
            const uint64_t one = bl_weights_missing(w, first), other = bl_weights_missing(w, second);
            assert_true(one > 0 && one < 2048 && other > 2201 * 1030 * 2);
            expect(BL_OK, bl_weights_load(w, first, stream));
            assert_int_equal(bl_weights_missing(w, first), 0);
            bl_weights_pretend(w, NULL); /* a plan drops them, */
            assert_int_equal(bl_weights_missing(w, first), one);
            bl_weights_pretend(w, second); /* and takes others, with which they share one */
            assert_int_equal(bl_weights_missing(w, second), 0);
            assert_true(bl_weights_missing(w, first) > 0);
            bl_weights_stop_pretending(w);
            assert_int_equal(bl_weights_missing(w, first), 0);
            assert_int_equal(bl_weights_bytes(w), one);
            assert_null(ask(w, second, 2)->slice.buffer);
            const uint64_t rest = bl_weights_missing(w, second);
            assert_true(small ? rest <= other : rest < other); /* the bias is there */
            expect(BL_OK, bl_weights_load(w, second, stream));
            expect(BL_OK, bl_weights_load(w, second, stream)); /* nothing left to do */
            assert_int_equal(bl_weights_bytes(w), one + rest);
            assert_int_equal(device->bytes, idle_bytes + one + rest);
            expect_exact(ask(w, second, 2), 2, "BF16", BL_F16);
            expect_exact(ask(w, first, 0), 0, "BF16", BL_F16);
            bl_weights_release(w);
            assert_int_equal(bl_weights_bytes(w), 0);
            assert_int_equal(device->bytes, idle_bytes);
            assert_null(ask(w, first, 0)->slice.buffer);
            assert_int_equal(bl_weights_missing(w, second), other);
        }
        bl_graph_destroy(&first);
        bl_graph_destroy(&second);
        close_weights(&w);
    }
    device->limits.allocation = allocation;
}

static void a_load_is_all_or_nothing(void **state)
{
    (void)state;
    need_device();
    const uint64_t allocation = device->limits.allocation;
    write_file("F32", "v");
    bl_weights *w = open_weights(BL_F16);
    bl_graph *good = graph_of(w, 1 << 0), *both = graph_of(w, 1 << 0 | 1 << 2 | 1 << 3);
    expect(BL_ERROR_MODEL, bl_weights_load(w, both, stream));
    assert_non_null(strstr(bl_last_error(), "tensor \"v\" holds inf, which 16-bit storage cannot: use --precision f32"));
    assert_int_equal(bl_weights_bytes(w), 0);
    assert_int_equal(device->bytes, idle_bytes);
    assert_null(ask(w, good, 0)->slice.buffer);
    expect(BL_OK, bl_weights_load(w, good, stream));
    expect(BL_ERROR_MODEL, bl_weights_load(w, both, stream)); /* what was there stays */
    assert_int_equal(device->bytes, idle_bytes + bl_weights_bytes(w));
    expect_exact(ask(w, good, 0), 0, "F32", BL_F16);

    device->limits.allocation = 4096;
    bl_graph *wide = graph_of(w, 1 << 5);
    assert_true(bl_weights_missing(w, wide) == UINT64_MAX);
    expect(BL_ERROR_MEMORY, bl_weights_load(w, wide, stream));
    device->limits.allocation = allocation;
    bl_graph_destroy(&good);
    bl_graph_destroy(&both);
    bl_graph_destroy(&wide);
    close_weights(&w);
    assert_int_equal(device->bytes, idle_bytes);
}

static bl_memory_api memory;
static size_t asked_for;

static void *counting_resize(void *p, size_t size)
{
    asked_for += size;
    return memory.resize(p, size);
}

static void a_load_takes_little_host_memory(void **state)
{
    (void)state;
    need_device();
    write_file("F32", NULL);
    bl_weights *w = open_weights(BL_F32);
    bl_graph *g = graph_of(w, (1 << FORMS) - 1);
    memory = bl_memory;
    bl_memory.resize = counting_resize;
    const bl_result r = bl_weights_load(w, g, stream);
    bl_memory = memory;
    expect(BL_OK, r);
    assert_true(bl_weights_bytes(w) > 8 << 20);
    assert_true(asked_for > 0 && asked_for < 1 << 20);
    bl_graph_destroy(&g);
    close_weights(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_arrives_exactly),
        cmocka_unit_test(graphs_load_what_they_name),
        cmocka_unit_test(a_load_is_all_or_nothing),
        cmocka_unit_test(a_load_takes_little_host_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
