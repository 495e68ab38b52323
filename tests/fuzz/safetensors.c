/* safetensors files: the container, values of every type, and what `blemish inspect` tells of them. */
#include "fuzz.h"
#include "kinds.h"
#include "lora.h"
#include "parts.h"
#include "safetensors.h"

enum { READ = 64 }; /* elements of a tensor */

static void check_tensor(const bl_safetensors *st, const bl_file_tensor *t, uint64_t *end)
{
    uint64_t count = 1, nonfinite;
    float values[READ];
    uint16_t halves[READ];
    uint8_t raw[READ];
    FUZZ_CHECK(t->rank <= BL_SAFETENSORS_MAX_RANK && t->dtype < BL_FILE_DTYPE_COUNT);
    for (uint32_t i = 0; i < t->rank; i++)
        FUZZ_CHECK(!__builtin_mul_overflow(count, t->dims[i], &count));
    FUZZ_CHECK(t->count == count && t->bytes * 8 == count * bl_file_dtype_bits(t->dtype));
    FUZZ_CHECK(!*end || t->offset == *end);
    FUZZ_CHECK(bl_safetensors_find(st, t->name) == t);
    *end = t->offset + t->bytes;
    FUZZ_CHECK(*end <= fuzz_files[0].size);

    const size_t n = (size_t)BL_MIN(count, (uint64_t)READ);
    const bool readable = bl_file_dtype_readable(t->dtype);
    FUZZ_CHECK((bl_safetensors_read(st, t, count - n, n, values) == BL_OK) == readable);
    FUZZ_CHECK((bl_safetensors_read_half(st, t, 0, n, halves) == BL_OK) == readable);
    FUZZ_CHECK(bl_safetensors_read(st, t, count, 1, values) != BL_OK);
    FUZZ_CHECK(bl_safetensors_read_raw(st, t, 0, (size_t)BL_MIN(t->bytes, (uint64_t)READ), raw) == BL_OK);
    if (count <= 1 << 16)
        FUZZ_CHECK((bl_safetensors_count_nonfinite(st, t, &nonfinite) == BL_OK) == (readable || !count));
}

/* Two linear layers and a convolution, for LoRAs to be hung on. */
static const char base[] = "\x25\1\0\0\0\0\0\0"
    "{\"unet.conv_in.weight\":{\"dtype\":\"F16\",\"shape\":[4,4,3,3],\"data_offsets\":[0,288]},"
    "\"unet.mid_block.attentions.0.proj_in.weight\":{\"dtype\":\"F16\",\"shape\":[4,4],\"data_offsets\":[288,320]},"
    "\"text_encoder.text_model.encoder.layers.0.mlp.fc1.weight\":{\"dtype\":\"F16\",\"shape\":[8,4],\"data_offsets\":[320,384]}}";
static uint8_t base_file[sizeof(base) - 1 + 384];

static void check_lora(void)
{
    bl_tensors *t = NULL;
    const bl_safetensors *file;
    bl_lora_cache cache = { 0 };
    if (!fuzz_result(bl_tensors_create(&t)))
        return;
    bl_result r = bl_tensors_open(t, "base", &file);
    for (size_t i = 0; r == BL_OK && i < bl_safetensors_count(file); i++)
        r = bl_tensors_add(t, file, bl_safetensors_at(file, i), 0, 1, "", bl_safetensors_at(file, i)->name);
    if (r == BL_OK)
        r = bl_tensors_finish(t);
    FUZZ_CHECK(r == BL_OK || r == BL_ERROR_MEMORY || fuzz_memory.until_failure != UINT32_MAX);
    if (r == BL_OK && fuzz_result(bl_lora_open(t, "file", 0.5)))
        for (size_t i = 0; i < bl_tensors_count(t); i++) {
            float rows[2 * 36] = { 0 };
            const bl_stored *one = bl_tensors_at(t, i);
            if (one->lora)
                fuzz_result(bl_lora_add(one, 1, 2, rows, &cache));
        }
    bl_lora_free(&cache);
    bl_tensors_destroy(&t);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    memcpy(base_file, base, sizeof(base) - 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bl_safetensors *st = NULL;
    const uint32_t h = fuzz_hash(data, size);
    fuzz_begin(data, size, 0);
    fuzz_files[0] = (struct fuzz_file){ "file", data, size };
    fuzz_files[1] = (struct fuzz_file){ "base", base_file, sizeof(base_file) };
    const bool sound = fuzz_result(bl_safetensors_open("file", BL_ERROR_MODEL, &st));
    FUZZ_CHECK(sound == (st != NULL));
    if (sound) {
        uint64_t end = 0;
        for (size_t i = 0; i < bl_safetensors_count(st); i++)
            check_tensor(st, bl_safetensors_at(st, i), &end);
        FUZZ_CHECK(!end || end == size);
        for (size_t i = 0; i < bl_safetensors_metadata_count(st); i++)
            FUZZ_CHECK(bl_safetensors_metadata(st, bl_safetensors_metadata_key(st, i)));
        const bl_kind *kind = bl_kind_of(st);
        FUZZ_CHECK(kind && *kind->what);
        if (kind->use == BL_KIND_LORA)
            check_lora();
    }
    bl_safetensors_close(&st);
    if (sound && h % 4 == 1) { /* it is slower */
        char *json = NULL;
        FUZZ_CHECK(fuzz_result(bl_inspect("file", 1, &json)) == (json != NULL));
        bl_text_free(json);
    }
    return fuzz_end();
}

/* --- mutator: the header or the data, then length and size made right ---------------------------------------------------------- */

static uint64_t get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 8; i--;)
        v = v << 8 | p[i];
    return v;
}

static void put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* The largest number behind "data_offsets", up to 4096. */
static size_t data_size(const uint8_t *header, size_t n)
{
    static const char key[] = "data_offsets";
    size_t most = 0, number = 0;
    int offsets = 0; /* brackets of such an array are open */
    for (size_t i = 0; i < n; i++) {
        if (i + sizeof(key) <= n && !memcmp(header + i, key, sizeof(key) - 1))
            offsets = 1;
        number = header[i] >= '0' && header[i] <= '9' ? BL_MIN(number * 10 + header[i] - '0', (size_t)4097) : 0;
        most = offsets && number <= 4096 ? BL_MAX(most, number) : most;
        offsets &= header[i] != ']';
    }
    return most;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    static const uint8_t zeros[4096];
    fuzz_dice = seed | 1;
    const uint64_t length = size >= 8 ? get64(data) : 0;
    if (size < 10 || !length || length > size - 8 || !fuzz_roll(16))
        return LLVMFuzzerMutate(data, size, max);
    size_t now = (size_t)length;
    if (fuzz_roll(8))
        size = fuzz_mutate_part(data, size, max, 8, (size_t)length, &now);
    else
        size = fuzz_mutate_part(data, size, max, 8 + (size_t)length, size - 8 - (size_t)length, &(size_t){ 0 });
    if (fuzz_roll(16))
        put64(data, now);
    if (now > size - 8 || !fuzz_roll(8))
        return size;
    const size_t want = data_size(data + 8, now), have = size - 8 - now;
    return want <= have ? 8 + now + want : fuzz_replace(data, size, max, size, 0, zeros, want - have);
}
