/* Sampling: operands, work and cases of what happens around the model in one step: timestep embedding, model input, guidance,
 * scheduler, blending; and the counter of submissions. All but that read the step table. Layer 2. */
#include "op.h"

void extents_timestep_embedding_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = (bl_extent){ 1, p->timestep_embedding_fwd.half_dim };
    e[1] = (bl_extent){ 1, 2 * p->timestep_embedding_fwd.half_dim };
}

double flops_timestep_embedding_fwd(const bl_params *p) { return 3.0 * p->timestep_embedding_fwd.half_dim; }

uint32_t depth_timestep_embedding_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_scale_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = (bl_extent){ p->scale_fwd.rows, p->scale_fwd.channels };
    e[1] = (bl_extent){ p->scale_fwd.copies * p->scale_fwd.rows, p->scale_fwd.channels };
}

double flops_scale_fwd(const bl_params *p) { return (double)p->scale_fwd.rows * p->scale_fwd.channels; }

uint32_t depth_scale_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_scale_bwd_x(const bl_params *p, bl_extent *e)
{
    const struct scale_bwd_params *q = &p->scale_bwd_x;
    e[0] = (bl_extent){ q->copies * q->rows, q->channels };
    e[1] = (bl_extent){ q->given >> 1 & 1, 2 };
    e[2] = (bl_extent){ q->rows, q->channels };
}

double flops_scale_bwd_x(const bl_params *p)
{
    const struct scale_bwd_params *q = &p->scale_bwd_x;
    return (double)q->copies * q->rows * q->channels;
}

uint32_t depth_scale_bwd_x(const bl_params *p) { return p->scale_bwd_x.copies + 2; } /* and the factors */

void extents_guidance_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = (bl_extent){ p->guidance_fwd.branches * p->guidance_fwd.rows, p->guidance_fwd.channels };
    e[1] = (bl_extent){ p->guidance_fwd.rows, p->guidance_fwd.channels };
}

double flops_guidance_fwd(const bl_params *p) { return 3.0 * p->guidance_fwd.rows * p->guidance_fwd.channels; }

uint32_t depth_guidance_fwd(const bl_params *p)
{
    (void)p;
    return 30; /* three terms, of which two weigh `guidance`, 1 to 15 */
}

void extents_scheduler_step_fwd(const bl_params *p, bl_extent *e)
{
    const struct scheduler_step_params *q = &p->scheduler_step_fwd;
    e[0] = e[2] = (bl_extent){ q->rows, q->channels };
    e[1] = (bl_extent){ q->given >> 1 & 1 ? q->rows : 0, q->channels };
    e[3] = (bl_extent){ 4 * q->rows, q->channels };
}

double flops_scheduler_step_fwd(const bl_params *p) { return 16.0 * p->scheduler_step_fwd.rows * p->scheduler_step_fwd.channels; }

uint32_t depth_scheduler_step_fwd(const bl_params *p)
{
    (void)p;
    return 8;
}

void extents_blend_fwd(const bl_params *p, bl_extent *e)
{
    e[0] = (bl_extent){ p->blend_fwd.rows, 1 };
    e[1] = e[2] = e[3] = (bl_extent){ p->blend_fwd.rows, p->blend_fwd.channels };
}

double flops_blend_fwd(const bl_params *p) { return 7.0 * p->blend_fwd.rows * p->blend_fwd.channels; }

uint32_t depth_blend_fwd(const bl_params *p)
{
    (void)p;
    return 3;
}

void extents_step_next_fwd(const bl_params *p, bl_extent *e)
{
    (void)p;
    (void)e;
}

double flops_step_next_fwd(const bl_params *p)
{
    (void)p;
    return 0;
}

uint32_t depth_step_next_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

void extents_sentinel_fwd(const bl_params *p, bl_extent *e)
{
    (void)p;
    e[0] = (bl_extent){ 1, 1 };
}

double flops_sentinel_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

uint32_t depth_sentinel_fwd(const bl_params *p)
{
    (void)p;
    return 1;
}

/* --- cases ---------------------------------------------------------------------------------------------------------- */

#define ROWS(op, label, r, c) .name = label, .p.op = { .rows = (r), .channels = (c) }
#define SCALE(label, r, c, n, s, each) \
    .name = label, .p.scale_fwd = { .rows = (r), .channels = (c), .copies = (n), .scale = (s), .per_step = (each) }
#define SCALE_BWD(label, r, c, n, s, each, with_s) .name = label, \
    .p.scale_bwd_x = { .rows = (r), .channels = (c), .copies = (n), .scale = (s), .per_step = (each), .given = (with_s) << 1 }
#define SCHEDULER_STEP(label, r, c, with_z) .name = label, \
    .p.scheduler_step_fwd = { .rows = (r), .channels = (c), .given = (with_z) << 1 }
#define GUIDANCE(label, r, c, n) .name = label, .p.guidance_fwd = { .rows = (r), .channels = (c), .branches = (n) }

const bl_op_case cases_timestep_embedding_fwd[] = {
    { .name = "unet_320", .p.timestep_embedding_fwd.half_dim = 160, .mean = 0.5f, .spread = 0.2f },
    { .name = "tiny_32", .p.timestep_embedding_fwd.half_dim = 16, .mean = 0.5f, .spread = 0.2f },
    { .name = "large_angles", .p.timestep_embedding_fwd.half_dim = 1000, .spread = 3 },
    { .name = "small_angles", .p.timestep_embedding_fwd.half_dim = 1000, .spread = 0.001f },
    { .name = "one", .p.timestep_embedding_fwd.half_dim = 1 },
    { .name = "odd", .p.timestep_embedding_fwd.half_dim = 77 },
    { .name = "bench_unet_320", .p.timestep_embedding_fwd.half_dim = 160 },
};

const bl_op_case cases_scale_fwd[] = {
    { SCALE("latent_32x32x4", 1024, 4, 2, 1, 1) },
    { SCALE("vae_input", 256, 4, 1, 5.5f, 0) },
    { SCALE("one", 1, 1, 1, 0.5f, 1) },
    { SCALE("odd_three_copies", 13, 3, 3, -2, 1) },
    { SCALE("bench_latent_64x64x4", 4096, 4, 2, 1, 1) },
};

const bl_op_case cases_scale_bwd_x[] = {
    { SCALE_BWD("latent_32x32x4", 1024, 4, 2, 1, 1, 1) },
    { SCALE_BWD("vae_input", 256, 4, 1, 5.5f, 0, 1) },
    { SCALE_BWD("no_loss_scale", 256, 4, 1, 5.5f, 1, 0) },
    { SCALE_BWD("one", 1, 1, 1, 0.5f, 1, 1) },
    { SCALE_BWD("odd_three_copies", 13, 3, 3, -2, 1, 0) },
    { SCALE_BWD("bench_latent_64x64x4", 4096, 4, 2, 1, 1, 1) },
};

const bl_op_case cases_guidance_fwd[] = {
    { GUIDANCE("latent_32x32x4", 1024, 4, 2) },
    { GUIDANCE("one_branch", 100, 4, 1) },
    { GUIDANCE("one", 1, 1, 2) },
    { GUIDANCE("odd", 13, 3, 2) },
    { GUIDANCE("bench_latent_64x64x4", 4096, 4, 2) },
};

const bl_op_case cases_scheduler_step_fwd[] = {
    { SCHEDULER_STEP("latent_32x32x4", 1024, 4, 1) },
    { SCHEDULER_STEP("no_noise", 64, 4, 0) },
    { SCHEDULER_STEP("one", 1, 1, 1) },
    { SCHEDULER_STEP("odd", 13, 3, 1) },
    { SCHEDULER_STEP("bench_latent_64x64x4", 4096, 4, 1) },
};

const bl_op_case cases_blend_fwd[] = {
    { ROWS(blend_fwd, "latent_32x32x4", 1024, 4) },
    { ROWS(blend_fwd, "one", 1, 1) },
    { ROWS(blend_fwd, "odd", 13, 3) },
    { ROWS(blend_fwd, "bench_latent_64x64x4", 4096, 4) },
};

const bl_op_case cases_step_next_fwd[] = {
    { .name = "two_steps", .p.step_next_fwd.count = 2 },
};

const bl_op_case cases_sentinel_fwd[] = {
    { .name = "next", .p.sentinel_fwd.last = 8388608 },
    { .name = "again", .p.sentinel_fwd.last = -1000 },
};

const uint32_t case_count_timestep_embedding_fwd = BL_COUNT(cases_timestep_embedding_fwd);
const uint32_t case_count_scale_fwd = BL_COUNT(cases_scale_fwd);
const uint32_t case_count_scale_bwd_x = BL_COUNT(cases_scale_bwd_x);
const uint32_t case_count_guidance_fwd = BL_COUNT(cases_guidance_fwd);
const uint32_t case_count_scheduler_step_fwd = BL_COUNT(cases_scheduler_step_fwd);
const uint32_t case_count_blend_fwd = BL_COUNT(cases_blend_fwd);
const uint32_t case_count_step_next_fwd = BL_COUNT(cases_step_next_fwd);
const uint32_t case_count_sentinel_fwd = BL_COUNT(cases_sentinel_fwd);
