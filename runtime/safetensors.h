/* Reader of safetensors files. Layer 0.
 * The format is that of github.com/huggingface/safetensors: a 64-bit little-endian header length, a JSON header, and the tensors, row-major
 * and little-endian, without gap or overlap. The whole container is checked when it is opened; values are read later, a range at a time,
 * by positioned reads (never mapped), so that a checkpoint needs no host memory of its size. */
#ifndef BL_SAFETENSORS_H
#define BL_SAFETENSORS_H
#include "base.h"

enum {
    BL_SAFETENSORS_MAX_RANK = 8,
    BL_SAFETENSORS_MAX_TENSORS = 65536,
    BL_SAFETENSORS_MAX_NAME = 512,              /* bytes */
    BL_SAFETENSORS_MAX_METADATA = 4096,         /* entries */
    BL_SAFETENSORS_MAX_METADATA_BYTES = 1 << 20,/* keys and values together */
    BL_SAFETENSORS_MAX_HEADER = 100000000,      /* bytes; the format's own limit */
    BL_SAFETENSORS_DEFAULT_HEADER = 32 << 20    /* bytes; the largest real headers have a few million */
};

/* Element types of the format; bits and names are in bl_file_dtype_bits and bl_file_dtype_name. */
typedef enum bl_file_dtype {
    BL_FILE_BOOL, BL_FILE_F4, BL_FILE_F6_E2M3, BL_FILE_F6_E3M2, BL_FILE_U8, BL_FILE_I8, BL_FILE_F8_E5M2, BL_FILE_F8_E4M3, BL_FILE_F8_E8M0,
    BL_FILE_F8_E4M3FNUZ, BL_FILE_F8_E5M2FNUZ, BL_FILE_I16, BL_FILE_U16, BL_FILE_F16, BL_FILE_BF16, BL_FILE_I32, BL_FILE_U32, BL_FILE_F32,
    BL_FILE_C64, BL_FILE_F64, BL_FILE_I64, BL_FILE_U64, BL_FILE_DTYPE_COUNT
} bl_file_dtype;

/* As in the header, "BF16"; "?" outside the enumeration. */
const char *bl_file_dtype_name(bl_file_dtype t);
/* Bits of one element, 4 to 64; 0 outside the enumeration. */
unsigned bl_file_dtype_bits(bl_file_dtype t);
/* Whether bl_safetensors_read converts it: BOOL, the integers, F16, BF16, F32, F64. */
bool bl_file_dtype_readable(bl_file_dtype t);

typedef struct bl_file_tensor {
    const char *name;       /* UTF-8 without control characters */
    bl_file_dtype dtype;
    uint32_t rank;          /* 0: a scalar, count 1 */
    uint64_t dims[BL_SAFETENSORS_MAX_RANK]; /* outermost first; a 0 makes an empty tensor */
    uint64_t count;         /* elements */
    uint64_t offset, bytes; /* where it lies, from the start of the file; not aligned */
} bl_file_tensor;

typedef struct bl_safetensors bl_safetensors;

/* Opens a file and checks all of it but the values. `kind` (BL_ERROR_MODEL or BL_ERROR_INPUT) is the result for a file that cannot be used,
 * here and in the reads; the reason names what is wrong and where, and says so when the file is of another known format (pickle, GGUF,
 * ...). BL_ERROR_MEMORY when memory runs out. *out is NULL on failure. */
bl_result bl_safetensors_open(const char *path, bl_result kind, bl_safetensors **out);
/* The same with another limit on the header, in bytes, at most BL_SAFETENSORS_MAX_HEADER. */
bl_result bl_safetensors_open_limited(const char *path, uint64_t header_limit, bl_result kind, bl_safetensors **out);
/* Frees all; tensors, names and metadata are gone with it. NULL and a NULL file are accepted. */
void bl_safetensors_close(bl_safetensors **st);

/* As given to open. */
const char *bl_safetensors_path(const bl_safetensors *st);
size_t bl_safetensors_count(const bl_safetensors *st);
/* Tensor `i` in the order of the file's bytes; NULL beyond the last. Valid until close. */
const bl_file_tensor *bl_safetensors_at(const bl_safetensors *st, size_t i);
/* By exact name, by binary search; NULL if there is none. */
const bl_file_tensor *bl_safetensors_find(const bl_safetensors *st, const char *name);

/* The header's "__metadata__", in the order of the file; NULL for an index or key that it lacks. */
size_t bl_safetensors_metadata_count(const bl_safetensors *st);
const char *bl_safetensors_metadata_key(const bl_safetensors *st, size_t i);
const char *bl_safetensors_metadata_value(const bl_safetensors *st, size_t i);
const char *bl_safetensors_metadata(const bl_safetensors *st, const char *key);

/* Reads `count` elements from `first_element` on as float, row-major. Exact for BOOL (0 or 1), 8- and 16-bit types and F32; others are
 * rounded to nearest, F64 beyond float's range to infinity. `kind` if the type is not readable or the file has changed,
 * BL_ERROR_USAGE if the range leaves the tensor. Reads of one file may run in several threads. On failure `out` is undefined. */
bl_result bl_safetensors_read(const bl_safetensors *st, const bl_file_tensor *t, uint64_t first_element, size_t count, float *out);
/* The same rounded to the nearest half, beyond half's range to infinity; F16 as they are. */
bl_result bl_safetensors_read_half(const bl_safetensors *st, const bl_file_tensor *t, uint64_t first_element, size_t count, uint16_t *out);
/* Reads `n` bytes from `first_byte` of the tensor on, of any type, as they are in the file (little-endian). */
bl_result bl_safetensors_read_raw(const bl_safetensors *st, const bl_file_tensor *t, uint64_t first_byte, size_t n, void *out);
/* Counts the NaN and infinite values of a whole tensor of a readable type (F64: as doubles would be after rounding to float). */
bl_result bl_safetensors_count_nonfinite(const bl_safetensors *st, const bl_file_tensor *t, uint64_t *count);
#endif
