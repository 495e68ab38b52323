/* Pictures on their way to a model that looks at them: operands, work and cases. Layer 2. */
#include "op.h"

void extents_clamp_fwd(const bl_params *p, bl_extent *e) { e[0] = e[1] = (bl_extent){ p->clamp_fwd.rows, p->clamp_fwd.channels }; }
void extents_clamp_bwd_x(const bl_params *p, bl_extent *e)
{
    e[0] = e[1] = e[2] = (bl_extent){ p->clamp_bwd_x.rows, p->clamp_bwd_x.channels };
}
void extents_normalize_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = e[2] = (bl_extent){ p->normalize_fwd.rows, p->normalize_fwd.channels };
    e[1] = (bl_extent){ 2, p->normalize_fwd.channels };
}
void extents_normalize_bwd_x(const bl_params *p, bl_extent *e) { extents_normalize_fwd(p, e); }
void extents_bicubic_fwd(const bl_params *p, bl_extent *e)
{
    const struct bicubic_params *q = &p->bicubic_fwd;
    e[0] = (bl_extent){ q->images * q->h * q->width, q->channels };
    e[1] = (bl_extent){ q->images * q->oh * q->ow, q->channels };
}
void extents_bicubic_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct bicubic_bwd_params *q = &p->bicubic_bwd_x;
    e[0] = (bl_extent){ q->images * q->oh * q->ow, q->channels };
    e[1] = (bl_extent){ q->images * q->h * q->width, q->channels };
}

double flops_clamp_fwd(const bl_params *p) { return 2.0 * p->clamp_fwd.rows * p->clamp_fwd.channels; }
double flops_clamp_bwd_x(const bl_params *p) { return 3.0 * p->clamp_bwd_x.rows * p->clamp_bwd_x.channels; }
double flops_normalize_fwd(const bl_params *p) { return 2.0 * p->normalize_fwd.rows * p->normalize_fwd.channels; }
double flops_normalize_bwd_x(const bl_params *p) { return 1.0 * p->normalize_bwd_x.rows * p->normalize_bwd_x.channels; }
double flops_bicubic_fwd(const bl_params *p)
{
    const struct bicubic_params *q = &p->bicubic_fwd;
    return 40.0 * q->images * q->oh * q->ow * q->channels;
}
double flops_bicubic_bwd_x(const bl_params *p)
{
    const struct bicubic_bwd_params *q = &p->bicubic_bwd_x;
    return 40.0 * q->images * q->oh * q->ow * q->channels;
}

uint32_t depth_clamp_fwd(const bl_params *p)
{
    (void)p;
    return 4;
}
uint32_t depth_clamp_bwd_x(const bl_params *p) { return depth_clamp_fwd(p); }
uint32_t depth_normalize_fwd(const bl_params *p) { return depth_clamp_fwd(p); }
uint32_t depth_normalize_bwd_x(const bl_params *p) { return depth_clamp_fwd(p); }
uint32_t depth_bicubic_fwd(const bl_params *p)
{
    (void)p;
    return 16;
}
uint32_t depth_bicubic_bwd_x(const bl_params *p)
{
    const struct bicubic_bwd_params *q = &p->bicubic_bwd_x;
    return 16 * (q->oh / q->h + 1) * (q->ow / q->width + 1);
}

#define ROWS(op, label, r, c, ...) .name = label, .p.op = { .rows = (r), .channels = (c), __VA_ARGS__ }
#define CLAMP_CASES(op) \
    { ROWS(op, "decoded_64x64x4", 4096, 4, .scale = 0.5f, .shift = 0.5f) }, { ROWS(op, "one", 1, 1, .scale = 1) }, \
    { ROWS(op, "odd", 37, 3, .scale = -2, .shift = 0.25f) }, \
    { ROWS(op, "bench_decoded_512x512x4", 262144, 4, .scale = 0.5f, .shift = 0.5f) }
#define NORMALIZE_CASES(op) \
    { ROWS(op, "clip_56x56x4", 3136, 4, ) }, { ROWS(op, "one", 1, 1, ) }, { ROWS(op, "odd", 37, 3, ) }, \
    { ROWS(op, "bench_clip_224x224x4", 50176, 4, ) }
#define BICUBIC(op, label, n, y, x, oy, ox, c) \
    { .name = label, .p.op = { .images = (n), .h = (y), .width = (x), .oh = (oy), .ow = (ox), .channels = (c) } }
#define BICUBIC_CASES(op) \
    BICUBIC(op, "decoded_to_clip", 1, 128, 128, 56, 56, 4), BICUBIC(op, "smaller", 2, 19, 31, 7, 8, 3), \
    BICUBIC(op, "larger", 1, 5, 6, 13, 17, 4), BICUBIC(op, "larger_and_smaller", 1, 5, 40, 33, 9, 3), \
    BICUBIC(op, "same", 1, 9, 9, 9, 9, 1), BICUBIC(op, "one_pixel", 1, 1, 1, 4, 4, 1), BICUBIC(op, "to_one", 1, 6, 5, 1, 1, 2), \
    BICUBIC(op, "one_line", 1, 1, 12, 3, 5, 1), BICUBIC(op, "no_tap_at_the_ends", 1, 50, 29, 3, 2, 4), \
    BICUBIC(op, "bench_512_to_224", 1, 512, 512, 224, 224, 4)

const bl_op_case cases_clamp_fwd[] = { CLAMP_CASES(clamp_fwd) };
const bl_op_case cases_clamp_bwd_x[] = { CLAMP_CASES(clamp_bwd_x) };
const bl_op_case cases_normalize_fwd[] = { NORMALIZE_CASES(normalize_fwd) };
const bl_op_case cases_normalize_bwd_x[] = { NORMALIZE_CASES(normalize_bwd_x) };
const bl_op_case cases_bicubic_fwd[] = { BICUBIC_CASES(bicubic_fwd) };
const bl_op_case cases_bicubic_bwd_x[] = { BICUBIC_CASES(bicubic_bwd_x) };
const uint32_t case_count_clamp_fwd = BL_COUNT(cases_clamp_fwd);
const uint32_t case_count_clamp_bwd_x = BL_COUNT(cases_clamp_bwd_x);
const uint32_t case_count_normalize_fwd = BL_COUNT(cases_normalize_fwd);
const uint32_t case_count_normalize_bwd_x = BL_COUNT(cases_normalize_bwd_x);
const uint32_t case_count_bicubic_fwd = BL_COUNT(cases_bicubic_fwd);
const uint32_t case_count_bicubic_bwd_x = BL_COUNT(cases_bicubic_bwd_x);
