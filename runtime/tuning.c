#include "tuning.h"
#include "device_file.h"
#include "kernel.h"
#include "op_shape.h"
#include <stdio.h>
#include <string.h>

static const char KIND[] = "tuning";
enum { KEY = BL_SHAPE_TEXT + 96, DEPTH = 4 };

static void key_of(bl_op op, bl_dtype t, const bl_params *p, char key[KEY])
{
    char shape[BL_SHAPE_TEXT];
    bl_op_class_text(op, p, shape);
    snprintf(key, KEY, "%s %s %s", bl_op_infos[op].name, bl_dtype_name(t), shape);
}

static bl_kernel kernel_named(const char *name)
{
    int k = 0;
    while (k < BL_KERNEL_COUNT && !(name && !strcmp(bl_impls[k].name, name)))
        k++;
    return (bl_kernel)k;
}

json_t *bl_tuning_create(const bl_device *d)
{
    char caps[BL_CAPS_TEXT];
    bl_device_caps_text(d, caps);
    return json_pack("{s:s,s:s,s:{}}", "kernels", bl_kernels_sum(), "caps", caps, "choices");
}

bl_result bl_tuning_parse(const char *name, const char *text, size_t size, json_t **out)
{
    bl_result result = BL_OK;
    const char *key;
    json_t *choice;
    BL_TRY(bl_json_parse(name, text, size, DEPTH, BL_ERROR_INPUT, out));
    json_t *choices = json_object_get(*out, "choices");
    if (!json_is_object(choices))
        BL_TRY(bl_fail(BL_ERROR_INPUT, "%s: has no \"choices\"", name));
    json_object_foreach(choices, key, choice)
        if (!json_is_string(choice))
            BL_TRY(bl_fail(BL_ERROR_INPUT, "%s: the choice for \"%.100s\" is not the name of a kernel", name, key));
fail:
    if (result != BL_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return result;
}

char *bl_tuning_print(const json_t *tuning) { return bl_json_print(tuning, JSON_INDENT(1) | JSON_SORT_KEYS); }

static bool says(const json_t *tuning, const char *key, const char *expected)
{
    const char *text = json_string_value(json_object_get(tuning, key));
    return text && !strcmp(text, expected);
}

bool bl_tuning_is_for(const json_t *tuning, const bl_device *d)
{
    char caps[BL_CAPS_TEXT];
    bl_device_caps_text(d, caps);
    return says(tuning, "kernels", bl_kernels_sum()) && says(tuning, "caps", caps);
}

size_t bl_tuning_count(const json_t *tuning) { return json_object_size(json_object_get(tuning, "choices")); }

bl_kernel bl_tuning_find(const json_t *tuning, bl_op op, bl_dtype t, const bl_params *p)
{
    char key[KEY];
    if (!bl_tuning_count(tuning))
        return BL_KERNEL_COUNT;
    key_of(op, t, p, key);
    return kernel_named(json_string_value(json_object_get(json_object_get(tuning, "choices"), key)));
}

bl_result bl_tuning_set(json_t *tuning, bl_op op, bl_dtype t, const bl_params *p, bl_kernel k)
{
    char key[KEY];
    json_t *choices = json_object_get(tuning, "choices");
    key_of(op, t, p, key);
    if (k == BL_KERNEL_COUNT)
        json_object_del(choices, key);
    else if (json_object_set_new(choices, key, json_string(bl_impls[k].name)))
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a plan");
    return BL_OK;
}

json_t *bl_tuning_filter(const json_t *tuning, bool (*used)(const void *user, bl_kernel k), const void *user)
{
    const char *key;
    json_t *copy = json_deep_copy(tuning), *choice;
    void *next;
    json_object_foreach_safe(json_object_get(copy, "choices"), next, key, choice) {
        const bl_kernel k = kernel_named(json_string_value(choice));
        if (k == BL_KERNEL_COUNT || !used(user, k))
            json_object_del(json_object_get(copy, "choices"), key);
    }
    return copy;
}

json_t *bl_tuning_load(const bl_device *d, const char *dir)
{
    size_t size;
    json_t *tuning = NULL;
    uint8_t *text = bl_device_file_read(d, dir, KIND, &size);
    if (text && bl_tuning_parse(KIND, (const char *)text, size, &tuning) == BL_OK && !bl_tuning_is_for(tuning, d)) {
        json_decref(tuning);
        tuning = NULL;
    }
    bl_free(text);
    return tuning;
}

bl_result bl_tuning_save(const bl_device *d, const char *dir, const json_t *tuning)
{
    char *text = bl_tuning_print(tuning);
    const bl_result result = text ? bl_device_file_write(d, dir, KIND, text, strlen(text))
                                  : bl_fail(BL_ERROR_MEMORY, "no host memory for a plan");
    bl_free(text);
    return result;
}
