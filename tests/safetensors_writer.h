/* Builds small safetensors files for tests: a list of tensors and metadata in, the bytes of the file out. Static functions only, no
 * library code, so that reader and writer do not share mistakes. */
#ifndef SAFETENSORS_WRITER_H
#define SAFETENSORS_WRITER_H
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct st_tensor {
    const char *name, *dtype;   /* dtype as in the format, "F32" */
    uint32_t rank;
    uint64_t dims[8];
    const void *data;           /* little-endian; NULL: zeros */
} st_tensor;

typedef struct st_metadata {
    const char *key, *value;
} st_metadata;

typedef struct st_buffer {
    uint8_t *bytes;             /* malloc'ed; NULL after memory ran out */
    size_t size, room;
} st_buffer;

static inline void st_put(st_buffer *b, const void *data, size_t n)
{
    if (b->size + n > b->room) {
        const size_t room = 2 * (b->size + n);
        uint8_t *bytes = b->bytes || !b->size ? realloc(b->bytes, room) : NULL;
        if (!bytes) {
            free(b->bytes);
            *b = (st_buffer){ .size = 1 };
            return;
        }
        b->bytes = bytes;
        b->room = room;
    }
    if (data)
        memcpy(b->bytes + b->size, data, n);
    else
        memset(b->bytes + b->size, 0, n);
    b->size += n;
}

static inline void st_put_text(st_buffer *b, const char *text) { st_put(b, text, strlen(text)); }

/* A JSON string. */
static inline void st_put_string(st_buffer *b, const char *text)
{
    st_put_text(b, "\"");
    for (const char *c = text; *c; c++) {
        char escape[8];
        if (*c == '"' || *c == '\\')
            snprintf(escape, sizeof(escape), "\\%c", *c);
        else if ((uint8_t)*c < 0x20)
            snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)*c);
        else
            snprintf(escape, sizeof(escape), "%c", *c);
        st_put_text(b, escape);
    }
    st_put_text(b, "\"");
}

static inline size_t st_dtype_bytes(const char *dtype)
{
    return strstr(dtype, "64") ? 8 : strstr(dtype, "32") ? 4 : strstr(dtype, "16") ? 2 : 1;
}

static inline uint64_t st_tensor_bytes(const st_tensor *t)
{
    uint64_t n = st_dtype_bytes(t->dtype);
    for (uint32_t i = 0; i < t->rank; i++)
        n *= t->dims[i];
    return n;
}

/* The file with the tensors in the order given, header padded with spaces to a multiple of 8. `metadata` may be NULL. The caller frees
 * .bytes, which is NULL when memory ran out. Types of whole bytes only. */
static inline st_buffer st_build(const st_tensor *tensors, size_t count, const st_metadata *metadata, size_t metadata_count)
{
    st_buffer b = { 0 };
    uint64_t offset = 0;
    char number[64];
    st_put(&b, NULL, 8);
    st_put_text(&b, "{");
    if (metadata) {
        st_put_text(&b, "\"__metadata__\":{");
        for (size_t i = 0; i < metadata_count; i++) {
            st_put_text(&b, i ? "," : "");
            st_put_string(&b, metadata[i].key);
            st_put_text(&b, ":");
            st_put_string(&b, metadata[i].value);
        }
        st_put_text(&b, count ? "}," : "}");
    }
    for (size_t i = 0; i < count; i++) {
        st_put_text(&b, i ? "," : "");
        st_put_string(&b, tensors[i].name);
        st_put_text(&b, ":{\"dtype\":");
        st_put_string(&b, tensors[i].dtype);
        st_put_text(&b, ",\"shape\":[");
        for (uint32_t d = 0; d < tensors[i].rank; d++) {
            snprintf(number, sizeof(number), "%s%" PRIu64, d ? "," : "", tensors[i].dims[d]);
            st_put_text(&b, number);
        }
        const uint64_t end = offset + st_tensor_bytes(&tensors[i]);
        snprintf(number, sizeof(number), "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, end);
        st_put_text(&b, number);
        offset = end;
    }
    st_put_text(&b, "}");
    while (b.bytes && b.size % 8)
        st_put_text(&b, " ");
    for (int i = 0; i < 8 && b.bytes; i++)
        b.bytes[i] = (uint8_t)((uint64_t)(b.size - 8) >> 8 * i);
    for (size_t i = 0; i < count; i++)
        st_put(&b, tensors[i].data, (size_t)st_tensor_bytes(&tensors[i]));
    return b;
}

/* Writes bytes to a file; 0 on success. */
static inline int st_save(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    const int failed = !f || fwrite(bytes, 1, size, f) != size;
    return (f && fclose(f)) || failed ? -1 : 0;
}

/* st_build and st_save; 0 on success. */
static inline int st_write(const char *path, const st_tensor *tensors, size_t count, const st_metadata *metadata, size_t metadata_count)
{
    st_buffer b = st_build(tensors, count, metadata, metadata_count);
    const int failed = !b.bytes || st_save(path, b.bytes, b.size);
    free(b.bytes);
    return failed ? -1 : 0;
}
#endif
