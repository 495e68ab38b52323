#include "op_shape.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTENTION "images heads head tq tk scale causal"
#define VALUES "images heads head tq tk"
#define CONV "given images h width c oh ow oc kernel stride pad"
#define SMOOTH "h width channels edge centre"
#define BICUBIC "images h width oh ow channels"

static const char *const fields[BL_OP_COUNT] = {
    [BL_OP_matmul_fwd] = "given m n k a_rows act", [BL_OP_matmul_bwd_x] = "given m n k",
    [BL_OP_conv_fwd] = CONV " up act pad_y", [BL_OP_conv_bwd_x] = CONV " pad_y",
    [BL_OP_channel_stats_fwd] = "images rows channels slices slice_rows",
    [BL_OP_group_stats_fwd] = "images rows channels groups slices slice_rows eps",
    [BL_OP_group_norm_fwd] = "images rows channels groups act", [BL_OP_layer_norm_fwd] = "rows channels eps",
    [BL_OP_channel_stats_bwd] = "images rows channels groups slices slice_rows act",
    [BL_OP_group_stats_bwd] = "images rows channels groups slices",
    [BL_OP_group_norm_bwd_x] = "given images rows channels groups act", [BL_OP_layer_norm_bwd_x] = "given rows channels eps",
    [BL_OP_attention_fwd] = ATTENTION, [BL_OP_attention_probs_fwd] = ATTENTION, [BL_OP_attention_values_fwd] = VALUES,
    [BL_OP_attention_stats_bwd] = ATTENTION, [BL_OP_attention_bwd_q] = ATTENTION, [BL_OP_attention_bwd_kv] = ATTENTION,
    [BL_OP_attention_values_bwd_p] = ("given " VALUES), [BL_OP_attention_values_bwd_v] = VALUES,
    [BL_OP_activation_fwd] = "rows channels act", [BL_OP_activation_bwd_x] = "rows channels act",
    [BL_OP_geglu_fwd] = "rows channels", [BL_OP_geglu_bwd_x] = "rows channels", [BL_OP_add_fwd] = "rows channels y_rows",
    [BL_OP_copy_fwd] = "rows channels", [BL_OP_upsample_fwd] = "images h width channels",
    [BL_OP_upsample_bwd_x] = "images h width channels", [BL_OP_fill_fwd] = "rows channels value",
    [BL_OP_softmax_fwd] = "rows channels scale", [BL_OP_softmax_bwd_x] = "rows channels scale",
    [BL_OP_heads_mean_fwd] = "given heads rows channels scale", [BL_OP_heads_mean_bwd_x] = "given heads rows channels scale",
    [BL_OP_loss_scale_fwd] = "rows channels target", [BL_OP_smooth_fwd] = SMOOTH, [BL_OP_smooth_bwd_x] = SMOOTH,
    [BL_OP_peak_loss_fwd] = "given rows channels mean", [BL_OP_peak_loss_bwd_x] = "given rows channels mean scale",
    [BL_OP_attention_gain_fwd] = "heads tq tk", [BL_OP_cosine_fwd] = "rows channels", [BL_OP_cosine_bwd_x] = "rows channels scale",
    [BL_OP_clamp_fwd] = "rows channels scale shift", [BL_OP_clamp_bwd_x] = "rows channels scale shift",
    [BL_OP_bicubic_fwd] = BICUBIC, [BL_OP_bicubic_bwd_x] = BICUBIC, [BL_OP_normalize_fwd] = "rows channels",
    [BL_OP_normalize_bwd_x] = "rows channels", [BL_OP_timestep_embedding_fwd] = "half_dim",
    [BL_OP_scale_fwd] = "rows channels copies scale per_step", [BL_OP_scale_bwd_x] = "given rows channels copies scale per_step",
    [BL_OP_guidance_fwd] = "rows channels branches", [BL_OP_scheduler_step_fwd] = "given rows channels",
    [BL_OP_blend_fwd] = "rows channels", [BL_OP_step_next_fwd] = "count", [BL_OP_sentinel_fwd] = "last",
};
/* The same name means the same everywhere. */
static const char floats[] = " eps scale value target edge centre shift last ";
static const char may_be_zero[] = " given act causal pad pad_y up mean per_step ";
/* Of a shape class: what does not make it, and what makes it as it is. */
static const char classless[] = " given act causal pad pad_y mean per_step a_rows y_rows ";
static const char exact[] = " head kernel stride up ";
static const char *const activations[] = { "none", "silu", "gelu", "quick_gelu", "relu", "tanh_3" };

const char *bl_op_fields(bl_op op) { return fields[op]; }

static bool listed(const char *list, const char *name, size_t length)
{
    for (const char *p = list; *p; p += strcspn(p, " "), p += strspn(p, " "))
        if (strcspn(p, " ") == length && !strncmp(p, name, length))
            return true;
    return false;
}

/* Parameters stand behind the views, four bytes each; NULL if the op has none of that name. */
static uint32_t *find(bl_op op, bl_params *p, const char *name, size_t length)
{
    bl_operand o[BL_MAX_OPERANDS];
    size_t at = bl_op_operands(op, o) * sizeof(struct view);
    for (const char *f = fields[op]; *f; f += strcspn(f, " "), f += strspn(f, " "), at += sizeof(uint32_t))
        if (strcspn(f, " ") == length && !strncmp(f, name, length))
            return (uint32_t *)((char *)p + at);
    return NULL;
}

static float as_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static uint32_t get(bl_op op, const bl_params *p, const char *name, uint32_t absent)
{
    bl_params copy = *p;
    const uint32_t *f = find(op, &copy, name, strlen(name));
    return f ? *f : absent;
}

static bool named(const char *text, const char *name)
{
    const size_t length = strlen(name);
    for (const char *p = text; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, "=,") == length && !strncmp(p, name, length))
            return true;
    return false;
}

/* --- to text --------------------------------------------------------------------------------------------------------------- */

static int put_given(bl_op op, uint32_t given, char *text, size_t room)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t n = bl_op_operands(op, o);
    int used = 0;
    for (uint32_t i = 0; i < n; i++)
        if ((given >> i & 1) && o[i].optional)
            used += snprintf(text + used, room - (size_t)used, "%s%c", used ? "+" : "", o[i].name);
    return used ? used : snprintf(text, room, "none");
}

void bl_op_shape_text(bl_op op, const bl_params *p, char text[BL_SHAPE_TEXT])
{
    bl_params copy = *p;
    size_t used = 0;
    *text = 0;
    for (const char *f = fields[op]; *f && used + 64 < BL_SHAPE_TEXT; f += strcspn(f, " "), f += strspn(f, " ")) {
        const size_t length = strcspn(f, " ");
        const uint32_t *v = find(op, &copy, f, length);
        char *end = text + used;
        const size_t room = BL_SHAPE_TEXT - used;
        int n = snprintf(end, room, "%s%.*s=", used ? "," : "", (int)length, f);
        if (listed("given", f, length))
            n += put_given(op, *v, end + n, room - (size_t)n);
        else if (listed("act", f, length) && *v < BL_COUNT(activations))
            n += snprintf(end + n, room - (size_t)n, "%s", activations[*v]);
        else if (listed(floats, f, length))
            n += snprintf(end + n, room - (size_t)n, "%.9g", (double)as_float(*v));
        else
            n += snprintf(end + n, room - (size_t)n, "%u", *v);
        used += (size_t)n;
    }
}

static uint32_t class_of(uint32_t size)
{
    uint32_t power = 1;
    while (power < size && power < 1u << 31)
        power *= 2;
    return power;
}

void bl_op_class_text(bl_op op, const bl_params *p, char text[BL_SHAPE_TEXT])
{
    bl_params copy = *p;
    size_t used = 0;
    *text = 0;
    for (const char *f = fields[op]; *f && used + 64 < BL_SHAPE_TEXT; f += strcspn(f, " "), f += strspn(f, " ")) {
        const size_t length = strcspn(f, " ");
        const uint32_t v = *find(op, &copy, f, length);
        if (!listed(floats, f, length) && !listed(classless, f, length))
            used += (size_t)snprintf(text + used, BL_SHAPE_TEXT - used, "%s%.*s=%u", used ? "," : "", (int)length, f,
                                     listed(exact, f, length) ? v : class_of(v));
    }
}

/* --- from text ------------------------------------------------------------------------------------------------------------- */

static bl_result parse_given(bl_op op, const char *text, size_t length, uint32_t *given)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t n = bl_op_operands(op, o);
    *given = 0;
    if (listed("none", text, length))
        return BL_OK;
    for (size_t at = 0; at < length; at += 2) {
        uint32_t i = 0;
        while (i < n && !(o[i].optional && o[i].name == text[at]))
            i++;
        if (i == n || (at + 1 < length && text[at + 1] != '+') || at + 2 == length)
            return bl_fail(BL_ERROR_USAGE, "given=%.*s: must name optional operands of %s, joined by +, or be none", (int)length, text,
                           bl_op_infos[op].name);
        *given |= 1u << i;
    }
    return BL_OK;
}

/* One "name=value". */
static bl_result parse_one(bl_op op, const char *text, size_t length, bl_params *p)
{
    enum { LARGEST = 1 << 28 };
    char value[32];
    const char *equals = memchr(text, '=', length);
    const size_t name = equals ? (size_t)(equals - text) : length;
    uint32_t *f = find(op, p, text, name);
    if (!f)
        return bl_fail(BL_ERROR_USAGE, "%s has no parameter \"%.*s\"; it has %s", bl_op_infos[op].name, (int)BL_MIN(name, 60), text,
                       fields[op]);
    const size_t digits = equals ? length - name - 1 : 0;
    if (!digits || digits >= sizeof(value))
        return bl_fail(BL_ERROR_USAGE, "\"%.*s\" must be written name=value", (int)BL_MIN(length, 60), text);
    memcpy(value, equals + 1, digits);
    value[digits] = 0;
    if (listed("given", text, name))
        return parse_given(op, value, digits, f);
    for (uint32_t i = 0; i < BL_COUNT(activations); i++)
        if (listed("act", text, name) && !strcmp(value, activations[i])) {
            *f = i;
            return BL_OK;
        }
    char *end;
    if (listed(floats, text, name)) {
        const float number = strtof(value, &end);
        memcpy(f, &number, sizeof(number));
        return !*end && isfinite(number) ? BL_OK : bl_fail(BL_ERROR_USAGE, "%.*s=%s: must be a number", (int)name, text, value);
    }
    const unsigned long whole = strtoul(value, &end, 10);
    const bool zero = listed(may_be_zero, text, name);
    if (strspn(value, "0123456789") != digits || *end || whole > LARGEST || (!whole && !zero))
        return bl_fail(BL_ERROR_USAGE, "%.*s=%s: must be a whole number, %d to %d", (int)name, text, value, !zero, LARGEST);
    if (listed("act", text, name) && whole >= BL_COUNT(activations))
        return bl_fail(BL_ERROR_USAGE, "act=%s: must be one of none, silu, gelu, quick_gelu, relu, tanh_3", value);
    *f = (uint32_t)whole;
    return BL_OK;
}

/* Parameters that follow from others. */
static bl_result follow(bl_op op, const char *text, bl_params *p)
{
    if (op == BL_OP_conv_fwd || op == BL_OP_conv_bwd_x) {
        const uint32_t kernel = get(op, p, "kernel", 1), stride = get(op, p, "stride", 1), pad = get(op, p, "pad", 0);
        const uint32_t up = get(op, p, "up", 0);
        const uint64_t sides[2] = { (uint64_t)get(op, p, "h", 1) << BL_MIN(up, 3), (uint64_t)get(op, p, "width", 1) << BL_MIN(up, 3) };
        static const char *const outputs[2] = { "oh", "ow" };
        if (up > 3)
            return bl_fail(BL_ERROR_USAGE, "up=%u: must be a whole number, 0 to 3", up);
        if (!named(text, "pad_y"))
            *find(op, p, "pad_y", 5) = pad;
        for (int i = 0; i < 2; i++) {
            if (named(text, outputs[i]))
                continue;
            if (sides[i] + 2 * (uint64_t)pad < kernel)
                return bl_fail(BL_ERROR_USAGE, "kernel=%u: larger than the padded picture", kernel);
            *find(op, p, outputs[i], 2) = (uint32_t)((sides[i] + 2 * (uint64_t)pad - kernel) / stride + 1);
        }
    }
    uint32_t *slices = find(op, p, "slices", 6);
    const uint32_t slice_rows = get(op, p, "slice_rows", 0), rows = get(op, p, "rows", 0);
    if (slices && slice_rows)
        *slices = rows / slice_rows + (rows % slice_rows != 0);
    const uint32_t channels = get(op, p, "channels", 0), groups = get(op, p, "groups", 1), y_rows = get(op, p, "y_rows", 1);
    if (channels % groups)
        return bl_fail(BL_ERROR_USAGE, "channels=%u: must be a multiple of groups, %u", channels, groups);
    if (rows % y_rows)
        return bl_fail(BL_ERROR_USAGE, "rows=%u: must be a multiple of y_rows, %u", rows, y_rows);
    if ((op == BL_OP_smooth_fwd || op == BL_OP_smooth_bwd_x) && (get(op, p, "h", 2) < 2 || get(op, p, "width", 2) < 2))
        return bl_fail(BL_ERROR_USAGE, "h and width must be at least 2");
    return BL_OK;
}

/* No product of sizes may wrap: extents are computed in 32 bits. */
static bl_result check_size(bl_op op, const bl_params *p)
{
    static const char *const products[][6] = {
        { "images", "h", "width" }, { "images", "oh", "ow" }, { "images", "rows", "heads", "copies", "branches" },
        { "images", "heads", "tq" }, { "images", "heads", "tk" }, { "heads", "head" }, { "oc", "kernel", "kernel", "c" },
        { "images", "slices", "channels" }, { "m", "k" }, { "m", "n" }, { "n", "k" },
    };
    enum { MARGIN = 8 }; /* of the small factors in the extents: four histories, twice the columns, an enlarged picture */
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    for (size_t i = 0; i < BL_COUNT(products); i++) {
        double product = MARGIN;
        for (size_t j = 0; j < BL_COUNT(products[i]) && products[i][j]; j++)
            product *= get(op, p, products[i][j], 1);
        if (product > 0x1p33)
            return bl_fail(BL_ERROR_USAGE, "the problem is too large");
    }
    const uint32_t n = bl_op_operands(op, o);
    bl_op_infos[op].extents(p, e);
    for (uint32_t i = 0; i < n; i++)
        if ((uint64_t)e[i].rows * e[i].cols > UINT32_MAX)
            return bl_fail(BL_ERROR_USAGE, "the problem is too large: operand %c has %u x %u elements", o[i].name, e[i].rows, e[i].cols);
    return BL_OK;
}

bl_result bl_op_shape_parse(bl_op op, const char *text, bl_params *p)
{
    bl_result result = BL_OK;
    bl_params changed = *p;
    for (const char *at = text; *at;) {
        const size_t length = strcspn(at, ",");
        BL_TRY(parse_one(op, at, length, &changed));
        at += length;
        if (*at == ',' && !*++at)
            BL_TRY(bl_fail(BL_ERROR_USAGE, "\"%.60s\" ends in a comma", text));
    }
    BL_TRY(follow(op, text, &changed));
    BL_TRY(check_size(op, &changed));
    *p = changed;
fail:
    return result;
}

bool bl_op_shape_names(bl_op op, const char *text)
{
    for (const char *at = text; *at; at += strcspn(at, ","), at += *at == ',')
        if (!listed(fields[op], at, strcspn(at, "=,")))
            return false;
    return true;
}
