/* The op table. Layer 2. */
#include "op.h"
#include <ctype.h>
#include <string.h>

#define O(name, params, operands, steps, cut) \
    void extents_##name(const bl_params *p, bl_extent *e); \
    double flops_##name(const bl_params *p); \
    uint32_t depth_##name(const bl_params *p); \
    void ref_##name(const bl_params *p, double *const *v, const struct bl_step *step); \
    extern const bl_op_case cases_##name[]; \
    extern const uint32_t case_count_##name; \
    uint32_t bl_units_##cut(const bl_params *p); \
    uint32_t bl_cut_##cut(bl_params *p, uint32_t first, uint32_t count);
#include "ops.def"
#undef O

const bl_op_info bl_op_infos[BL_OP_COUNT] = {
#define O(name, params, operands, steps, cut) \
    { #name, operands, sizeof(struct params##_params), steps, extents_##name, bl_units_##cut, bl_cut_##cut, flops_##name, depth_##name, \
      ref_##name, cases_##name, &case_count_##name },
#include "ops.def"
#undef O
};

uint32_t bl_op_operands(bl_op op, bl_operand *out)
{
    uint32_t n = 0;
    for (const char *s = bl_op_infos[op].operands; *s && n < BL_MAX_OPERANDS; n++) {
        out[n] = (bl_operand){ .name = *s };
        for (s += 2; *s && *s != ' '; s++) { /* after "x:" */
            if (isalpha((unsigned char)*s)) {
                out[n].storage = tolower((unsigned char)*s) == 't';
                out[n].access = isupper((unsigned char)*s) ? BL_WRITE : BL_READ;
            }
            if (*s == '+')
                out[n].access = BL_READ | BL_WRITE;
            if (*s == '?')
                out[n].optional = true;
            if (*s == '/')
                out[n].over = *++s;
        }
        s += strspn(s, " ");
    }
    return n;
}

uint32_t *bl_op_given(bl_op op, bl_params *p)
{
    bl_operand o[BL_MAX_OPERANDS];
    const uint32_t n = bl_op_operands(op, o);
    bool any = false;
    for (uint32_t i = 0; i < n; i++)
        any |= o[i].optional;
    return any ? (uint32_t *)((char *)p + n * sizeof(struct view)) : NULL; /* params.h: behind the views */
}

double bl_op_work(bl_op op, bl_dtype t, const bl_params *p)
{
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t n = bl_op_operands(op, o);
    double work = 1 + bl_op_infos[op].flops(p); /* never nothing: times are divided by it */
    bl_op_infos[op].extents(p, e);
    for (uint32_t i = 0; i < n; i++)
        work += (double)e[i].rows * e[i].cols * (o[i].storage ? (double)bl_dtype_size(t) : 4);
    return work;
}

const bl_op_case *bl_op_usual_case(bl_op op)
{
    const bl_op_info *info = &bl_op_infos[op];
    for (uint32_t i = 0; i < *info->case_count; i++)
        if (bl_case_is_bench(&info->cases[i]))
            return &info->cases[i];
    return info->cases;
}
