/* Attention maps and losses: operands, work and cases. Layer 2. */
#include "op.h"

static bl_extent if_given(uint32_t given, uint32_t operand, uint32_t rows, uint32_t cols)
{
    return given >> operand & 1 ? (bl_extent){ rows, cols } : (bl_extent){ 0, 0 };
}

/* Rows and columns that all operands have. */
#define EVERYWHERE(op, count) \
    void extents_##op(const bl_params *p, bl_extent *e) \
    { \
        for (uint32_t i = 0; i < (count); i++) \
            e[i] = (bl_extent){ p->op.rows, p->op.channels }; \
    }
#define FLOPS(op, each) \
    double flops_##op(const bl_params *p) { return (double)(each) * p->op.rows * p->op.channels; }
#define DEPTH(op, expression) \
    uint32_t depth_##op(const bl_params *p) \
    { \
        (void)p; \
        return (expression); \
    }

EVERYWHERE(softmax_fwd, 2)
FLOPS(softmax_fwd, 6)
/* an exponent of up to some hundred has an error of as many units in the last place */
DEPTH(softmax_fwd, p->softmax_fwd.channels + 2000)
EVERYWHERE(softmax_bwd_x, 3)
FLOPS(softmax_bwd_x, 5)
DEPTH(softmax_bwd_x, 4 * p->softmax_bwd_x.channels + 30)

void extents_heads_mean_fwd(const bl_params *p, bl_extent *e)
{
    const struct heads_mean_params *q = &p->heads_mean_fwd;
    e[0] = (bl_extent){ q->heads * q->rows, q->channels };
    e[1] = if_given(q->given, 1, q->rows, q->channels);
    e[2] = (bl_extent){ q->rows, q->channels };
}
double flops_heads_mean_fwd(const bl_params *p)
{
    return (double)p->heads_mean_fwd.heads * p->heads_mean_fwd.rows * p->heads_mean_fwd.channels;
}
DEPTH(heads_mean_fwd, p->heads_mean_fwd.heads + 2)

void extents_heads_mean_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct heads_mean_bwd_params *q = &p->heads_mean_bwd_x;
    e[0] = (bl_extent){ q->rows, q->channels };
    e[1] = if_given(q->given, 1, 1, 2);
    e[2] = (bl_extent){ q->heads * q->rows, q->channels };
}
double flops_heads_mean_bwd_x(const bl_params *p)
{
    return (double)p->heads_mean_bwd_x.heads * p->heads_mean_bwd_x.rows * p->heads_mean_bwd_x.channels;
}
DEPTH(heads_mean_bwd_x, 2)

void extents_loss_scale_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = (bl_extent){ p->loss_scale_fwd.rows, p->loss_scale_fwd.channels };
    e[1] = (bl_extent){ 1, 2 };
}
FLOPS(loss_scale_fwd, 1)
DEPTH(loss_scale_fwd, 1)

#define MAP(op) \
    void extents_##op(const bl_params *p, bl_extent *e) { e[0] = e[1] = (bl_extent){ p->op.h * p->op.width, p->op.channels }; } \
    double flops_##op(const bl_params *p) { return 10.0 * p->op.h * p->op.width * p->op.channels; } \
    DEPTH(op, 9)
MAP(smooth_fwd)
MAP(smooth_bwd_x)

void extents_peak_loss_fwd(const bl_params *p, bl_extent *e)
{
    const struct peak_loss_params *q = &p->peak_loss_fwd;
    e[0] = (bl_extent){ q->rows, q->channels };
    e[1] = if_given(q->given, 1, q->rows, 1);
    e[2] = (bl_extent){ 1, 1 + 2 * q->channels };
}
FLOPS(peak_loss_fwd, 2)
DEPTH(peak_loss_fwd, p->peak_loss_fwd.channels + 2)

void extents_peak_loss_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct peak_loss_bwd_params *q = &p->peak_loss_bwd_x;
    e[0] = if_given(q->given, 0, q->rows, 1);
    e[1] = (bl_extent){ 1, 1 + 2 * q->channels };
    e[2] = (bl_extent){ q->rows, q->channels };
}
FLOPS(peak_loss_bwd_x, 1)
DEPTH(peak_loss_bwd_x, 3)

void extents_attention_gain_fwd(const bl_params *p, bl_extent *e)
{
    const struct attention_gain_params *q = &p->attention_gain_fwd;
    e[0] = e[3] = (bl_extent){ q->heads * q->tq, q->tk };
    e[1] = (bl_extent){ q->tq, 1 };
    e[2] = (bl_extent){ 1, q->tk };
}
double flops_attention_gain_fwd(const bl_params *p)
{
    return 6.0 * p->attention_gain_fwd.heads * p->attention_gain_fwd.tq * p->attention_gain_fwd.tk;
}
DEPTH(attention_gain_fwd, p->attention_gain_fwd.tk + 400)

void extents_cosine_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = e[1] = (bl_extent){ p->cosine_fwd.rows, p->cosine_fwd.channels };
    e[2] = (bl_extent){ p->cosine_fwd.rows, 1 };
}
FLOPS(cosine_fwd, 6)
DEPTH(cosine_fwd, p->cosine_fwd.channels + 20)
EVERYWHERE(cosine_bwd_x, 3)
FLOPS(cosine_bwd_x, 10)
DEPTH(cosine_bwd_x, p->cosine_bwd_x.channels + 20)

/* --- cases ---------------------------------------------------------------------------------------------------------- */

#define ROWS(op, label, r, c, ...) .name = label, .p.op = { .rows = (r), .channels = (c), __VA_ARGS__ }

const bl_op_case cases_softmax_fwd[] = {
    { ROWS(softmax_fwd, "map_256x75", 256, 75, .scale = 100), .mean = 0.013f, .spread = 0.02f },
    { ROWS(softmax_fwd, "map_1024x75", 1024, 75, .scale = 100), .mean = 0.013f, .spread = 0.02f },
    { ROWS(softmax_fwd, "large_scores", 33, 20, .scale = 30) },
    { ROWS(softmax_fwd, "beyond_exp", 33, 20, .scale = 30), .mean = 4, .spread = 0.05f }, /* exp of a score overflows */
    { ROWS(softmax_fwd, "negative_scale", 5, 9, .scale = -2) },
    { ROWS(softmax_fwd, "one_column", 7, 1, .scale = 100) },
    { ROWS(softmax_fwd, "one", 1, 1, .scale = 1) },
    { ROWS(softmax_fwd, "bench_map_256x75", 256, 75, .scale = 100), .mean = 0.013f, .spread = 0.02f },
};
const bl_op_case cases_softmax_bwd_x[] = {
    { ROWS(softmax_bwd_x, "map_256x75", 256, 75, .scale = 100) },
    { ROWS(softmax_bwd_x, "probs_2048x77", 2048, 77, .scale = 0.0790569415f) },
    { ROWS(softmax_bwd_x, "one_column", 7, 1, .scale = 1) },
    { ROWS(softmax_bwd_x, "odd", 37, 13, .scale = -1.5f) },
    { ROWS(softmax_bwd_x, "bench_probs_2048x77", 2048, 77, .scale = 0.0790569415f) },
};
#define HEADS(op, label, n, r, c, s, g) \
    .name = label, .p.op = { .heads = (n), .rows = (r), .channels = (c), .scale = (s), .given = (g) << 1 }
const bl_op_case cases_heads_mean_fwd[] = {
    { HEADS(heads_mean_fwd, "first_8x256x77", 8, 256, 77, 0.025f, 0) },
    { HEADS(heads_mean_fwd, "next_8x256x77", 8, 256, 77, 0.025f, 1) },
    { HEADS(heads_mean_fwd, "both_prompts_16x64x77", 16, 64, 77, 0.0125f, 1) },
    { HEADS(heads_mean_fwd, "one", 1, 1, 1, 1, 1) },
    { HEADS(heads_mean_fwd, "odd", 3, 7, 5, -2, 1) },
    { HEADS(heads_mean_fwd, "bench_8x256x77", 8, 256, 77, 0.025f, 1) },
};
const bl_op_case cases_heads_mean_bwd_x[] = {
    { HEADS(heads_mean_bwd_x, "scaled_8x256x77", 8, 256, 77, 0.025f, 1) },
    { HEADS(heads_mean_bwd_x, "plain_8x256x77", 8, 256, 77, 0.025f, 0) },
    { HEADS(heads_mean_bwd_x, "one", 1, 1, 1, 1, 1) },
    { HEADS(heads_mean_bwd_x, "odd", 3, 7, 5, -2, 1) },
    { HEADS(heads_mean_bwd_x, "bench_8x256x77", 8, 256, 77, 0.025f, 1) },
};
const bl_op_case cases_loss_scale_fwd[] = {
    { ROWS(loss_scale_fwd, "map_256x77", 256, 77, .target = 16) },
    { ROWS(loss_scale_fwd, "tiny", 256, 77, .target = 16), .spread = 1e-12f },
    { ROWS(loss_scale_fwd, "huge", 19, 3, .target = 16), .spread = 1e20f },
    { ROWS(loss_scale_fwd, "denormal", 5, 3, .target = 16), .spread = 1e-39f },
    { ROWS(loss_scale_fwd, "one", 1, 1, .target = 1) },
    { ROWS(loss_scale_fwd, "bench_map_256x77", 256, 77, .target = 16) },
};
#define SMOOTH(op, label, y, x, c) \
    .name = label, .p.op = { .h = (y), .width = (x), .channels = (c), .edge = 0.21194156f, .centre = 0.57611688f }
#define SMOOTH_CASES(op) \
    { SMOOTH(op, "map_16x16", 16, 16, 1) }, { SMOOTH(op, "words_32x24", 32, 24, 3) }, { SMOOTH(op, "two_lines", 2, 9, 2) }, \
    { SMOOTH(op, "two_columns", 5, 2, 1) }, { SMOOTH(op, "smallest", 2, 2, 1) }, { SMOOTH(op, "three", 3, 3, 4) }, \
    { SMOOTH(op, "bench_map_16x16", 16, 16, 1) }
const bl_op_case cases_smooth_fwd[] = { SMOOTH_CASES(smooth_fwd) };
const bl_op_case cases_smooth_bwd_x[] = { SMOOTH_CASES(smooth_bwd_x) };
const bl_op_case cases_peak_loss_fwd[] = {
    { ROWS(peak_loss_fwd, "one_word", 256, 1, .given = 0), .mean = 0, .spread = 0.2f },
    { ROWS(peak_loss_fwd, "masked", 256, 1, .given = 2), .spread = 0.2f },
    { ROWS(peak_loss_fwd, "words_masked", 64, 3, .given = 2), .spread = 0.3f },
    { ROWS(peak_loss_fwd, "words_mean", 64, 3, .mean = 1), .spread = 0.2f },
    { ROWS(peak_loss_fwd, "reached", 64, 2, .mean = 1), .spread = 3 },
    { ROWS(peak_loss_fwd, "one", 1, 1, .given = 2) },
    { ROWS(peak_loss_fwd, "bench_one_word", 256, 1, .given = 2), .spread = 0.2f },
};
const bl_op_case cases_peak_loss_bwd_x[] = {
    { ROWS(peak_loss_bwd_x, "one_word", 256, 1, .scale = 1) , .spread = 0.5f },
    { ROWS(peak_loss_bwd_x, "masked", 5, 1, .scale = -3, .given = 1), .spread = 0.5f },
    { ROWS(peak_loss_bwd_x, "words_masked", 4, 3, .scale = 1, .given = 1), .spread = 2 },
    { ROWS(peak_loss_bwd_x, "words_mean", 64, 3, .scale = 1, .mean = 1), .mean = 0.5f, .spread = 0.5f },
    { ROWS(peak_loss_bwd_x, "any_row", 9, 2, .scale = 1, .mean = 1), .spread = 1000 },
    { ROWS(peak_loss_bwd_x, "bench_one_word", 256, 1, .scale = 1), .spread = 0.5f },
};
#define GAIN(label, n, q, k) .name = label, .p.attention_gain_fwd = { .heads = (n), .tq = (q), .tk = (k) }, .mean = 3, .spread = 0.5f
const bl_op_case cases_attention_gain_fwd[] = {
    { GAIN("unet_8x256x77", 8, 256, 77) },
    { GAIN("one", 1, 1, 1) },
    { GAIN("odd", 3, 7, 5) },
    { .name = "large_gain", .p.attention_gain_fwd = { .heads = 2, .tq = 9, .tk = 77 }, .mean = 12, .spread = 0.5f },
    { GAIN("bench_8x4096x77", 8, 4096, 77) },
};
const bl_op_case cases_cosine_fwd[] = {
    { ROWS(cosine_fwd, "clip_768", 1, 768, ) },
    { ROWS(cosine_fwd, "prompt_77x768", 77, 768, ), .mean = 0.5f, .spread = 1 },
    { ROWS(cosine_fwd, "tokens_1536x77", 1536, 77, ), .mean = 0.5f, .spread = 1 },
    { ROWS(cosine_fwd, "one", 1, 1, ) },
    { ROWS(cosine_fwd, "bench_prompt_77x768", 77, 768, ), .mean = 0.5f, .spread = 1 },
};
const bl_op_case cases_cosine_bwd_x[] = {
    { ROWS(cosine_bwd_x, "clip_768", 1, 768, .scale = -1) },
    { ROWS(cosine_bwd_x, "prompt_77x768", 77, 768, .scale = -1), .mean = 0.5f, .spread = 1 },
    { ROWS(cosine_bwd_x, "tokens_1536x77", 1536, 77, .scale = -1), .mean = 0.5f, .spread = 1 },
    { ROWS(cosine_bwd_x, "two", 3, 2, .scale = 2) },
    { ROWS(cosine_bwd_x, "bench_prompt_77x768", 77, 768, .scale = -1), .mean = 0.5f, .spread = 1 },
};

#define COUNT(op) const uint32_t case_count_##op = BL_COUNT(cases_##op);
COUNT(softmax_fwd)
COUNT(softmax_bwd_x)
COUNT(heads_mean_fwd)
COUNT(heads_mean_bwd_x)
COUNT(loss_scale_fwd)
COUNT(smooth_fwd)
COUNT(smooth_bwd_x)
COUNT(peak_loss_fwd)
COUNT(peak_loss_bwd_x)
COUNT(attention_gain_fwd)
COUNT(cosine_fwd)
COUNT(cosine_bwd_x)
