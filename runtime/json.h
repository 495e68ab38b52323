/* JSON files through jansson: bounded, depth-limited, no duplicate keys, typed getters with readable errors. Layer 0. */
#ifndef BL_JSON_H
#define BL_JSON_H
#include "base.h"
#include <jansson.h>

/* Parses `size` bytes: one object or array (RFC 8259), strict UTF-8, no duplicate keys, no "\u0000". `name` is used in messages, which
 * give line and column. At most `depth` nested containers (checked before parsing, without recursion). *out is owned by the caller
 * (json_decref), NULL on failure. `kind` is the result for a text that cannot be used. */
bl_result bl_json_parse(const char *name, const char *data, size_t size, unsigned depth, bl_result kind, json_t **out);
/* Reads and parses a file of at most `max` bytes, depth 16. */
bl_result bl_json_read(const char *path, size_t max, bl_result kind, json_t **out);

/* The text of a value (NULL: none), freed by bl_free; `flags` are those of json_dumps. NULL when memory runs out. Not json_dumps: which
 * function frees its result is the program's choice, not the library's. */
char *bl_json_print(const json_t *value, size_t flags);

/* Typed members of `object`, which was read from `name`. A member of the wrong type or out of range is BL_ERROR_MODEL; a missing or
 * null one gives `fallback` (whatever its value), as does a NULL object. *out is untouched on failure. */
bl_result bl_json_u32(const json_t *object, const char *name, const char *key, uint32_t min, uint32_t max, uint32_t fallback,
    uint32_t *out);
bl_result bl_json_f64(const json_t *object, const char *name, const char *key, double fallback, double *out);
bl_result bl_json_bool(const json_t *object, const char *name, const char *key, bool fallback, bool *out);
/* *out points into the object; `fallback` may be NULL. */
bl_result bl_json_text(const json_t *object, const char *name, const char *key, const char *fallback, const char **out);
#endif
