/* The table of schedulers, and the rows of one run. Layer 4. */
#include "scheduler_table.h"
#include <math.h>
#include <string.h>

const bl_scheduler bl_schedulers[BL_SCHEDULER_COUNT] = {
    [BL_SCHEDULER_DDIM] = { .name = "ddim", .class_name = "DDIMScheduler", .alpha_to_one = true, .takes_eta = true,
        .levels = bl_levels_ddim, .steps = bl_steps_ddim },
    [BL_SCHEDULER_PNDM] = { .name = "pndm", .class_name = "PNDMScheduler", .levels = bl_levels_ddim, .steps = bl_steps_pndm },
    [BL_SCHEDULER_PNDM_DIFFUSERS] = { .name = "pndm-diffusers", .levels = bl_levels_ddim, .steps = bl_steps_pndm },
    [BL_SCHEDULER_EULER] = { .name = "euler", .class_name = "EulerDiscreteScheduler", .spacing = BL_SPACING_LINSPACE,
        .alpha_to_one = true, .has_karras = true, .starts_at_sigma = true, .levels = bl_levels_euler, .steps = bl_steps_ddim },
    [BL_SCHEDULER_EULER_ANCESTRAL] = { .name = "euler-a", .class_name = "EulerAncestralDiscreteScheduler",
        .spacing = BL_SPACING_LINSPACE, .alpha_to_one = true, .eta = 1, .starts_at_sigma = true, .levels = bl_levels_euler_ancestral,
        .steps = bl_steps_ddim },
    [BL_SCHEDULER_DPMPP_2M] = { .name = "dpm++2m", .class_name = "DPMSolverMultistepScheduler", .spacing = BL_SPACING_LINSPACE,
        .alpha_to_one = true, .has_karras = true, .levels = bl_levels_dpmpp, .steps = bl_steps_dpmpp },
    [BL_SCHEDULER_LCM] = { .name = "lcm", .class_name = "LCMScheduler", .alpha_to_one = true, .levels = bl_levels_lcm,
        .steps = bl_steps_lcm },
};

static bl_result check_arguments(const bl_scheduler_config *config, uint32_t steps, double eta, float guidance)
{
    const bl_scheduler *of = &bl_schedulers[config->kind];
    if (config->problem[0])
        return bl_fail(BL_ERROR_MODEL, "%s", config->problem);
    if (!steps || steps > config->train_steps)
        return bl_fail(BL_ERROR_USAGE, "%u steps: between 1 and %u are possible", (unsigned)steps, (unsigned)config->train_steps);
    if (!(eta >= 0 && eta <= 1))
        return bl_fail(BL_ERROR_USAGE, "eta %g: between 0 and 1 is possible", eta);
    if (eta > 0 && !of->takes_eta)
        return bl_fail(BL_ERROR_USAGE, "eta %g: scheduler %s has no eta, ddim has", eta, of->name);
    if (!isfinite(guidance))
        return bl_fail(BL_ERROR_USAGE, "guidance %g is not a finite number", (double)guidance);
    return BL_OK;
}

/* The training range is not left, and every step goes down. */
static bl_result check_levels(const bl_table *t)
{
    const bl_scheduler_config *c = t->config;
    const char *spacing = bl_spacing_name(c->spacing);
    if (t->levels[0].time > c->train_steps - 1)
        return bl_fail(BL_ERROR_USAGE, "%u steps with spacing %s and offset %u reach beyond timestep %u: use fewer or another spacing",
                       (unsigned)t->n, spacing, (unsigned)c->steps_offset, (unsigned)c->train_steps - 1);
    for (uint32_t k = 1; k < t->n; k++)
        if (!(t->levels[k].from > t->levels[k - 1].from))
            return bl_fail(BL_ERROR_USAGE, "%u steps with spacing %s repeat timestep %g: use fewer or another spacing", (unsigned)t->n,
                           spacing, t->levels[k].time);
    return BL_OK;
}

bl_result bl_schedule_create_from(const bl_scheduler_config *config, uint32_t steps, uint32_t start, double eta, float guidance,
                                  bl_schedule *out)
{
    bl_result result = BL_OK;
    double *alphas = NULL;
    bl_level *levels = NULL;
    memset(out, 0, sizeof(*out));
    BL_TRY(check_arguments(config, steps, eta, guidance));
    const bl_scheduler *of = &bl_schedulers[config->kind];
    const size_t rows = (size_t)steps + 1; /* PNDM's duplicate */
    alphas = bl_alloc(config->train_steps, sizeof(*alphas));
    levels = bl_alloc(steps, sizeof(*levels));
    out->steps = bl_alloc(rows, sizeof(*out->steps));
    out->abar = bl_alloc(rows + 1, sizeof(*out->abar));
    if (!alphas || !levels || !out->steps || !out->abar) {
        result = bl_fail(BL_ERROR_MEMORY, "no memory for %u scheduler steps", (unsigned)steps);
        goto fail;
    }
    const bl_table t = { config, alphas, levels, steps, (int32_t)(config->train_steps / steps), of->takes_eta ? eta : of->eta };
    BL_TRY(bl_scheduler_alphas(config, alphas));
    BL_TRY(of->levels(&t));
    BL_TRY(check_levels(&t));
    out->count = of->steps(&t, start, out->steps, out->abar);
    if (!out->count) {
        result = bl_fail(BL_ERROR_USAGE, "no step is left of %u when starting at entry %u", (unsigned)steps, (unsigned)start);
        goto fail;
    }
    for (uint32_t i = 0; i < out->count; i++) {
        out->steps[i].guidance = guidance;
        out->noisy |= out->steps[i].kn != 0;
    }
    out->abar[out->count] = (double)out->steps[out->count - 1].blend_x * (double)out->steps[out->count - 1].blend_x;
    out->steps[out->count - 1].blend_x = 1;
    out->steps[out->count - 1].blend_n = 0;
    out->start_x = (float)sqrt(out->abar[0]);
    out->start_n = (float)sqrt(1 - out->abar[0]);
    out->init_sigma = of->starts_at_sigma && config->spacing != BL_SPACING_LEADING ? out->start_n : 1;
fail:
    bl_free(alphas);
    bl_free(levels);
    if (result != BL_OK)
        bl_schedule_free(out);
    return result;
}

bl_result bl_schedule_create(const bl_scheduler_config *config, uint32_t steps, double strength, double eta, float guidance,
                             bl_schedule *out)
{
    memset(out, 0, sizeof(*out));
    if (!(strength > 0 && strength <= 1))
        return bl_fail(BL_ERROR_USAGE, "strength %g: above 0 and up to 1 is possible", strength);
    const double run = floor(steps * (floor(strength * 1e7 + 0.5) / 1e7));
    if (steps && run < 1)
        return bl_fail(BL_ERROR_USAGE, "strength %g of %u steps leaves none: raise one of them", strength, (unsigned)steps);
    return bl_schedule_create_from(config, steps, steps - (uint32_t)BL_MIN(run, steps), eta, guidance, out);
}

void bl_schedule_blend_before(bl_schedule *schedule)
{
    for (uint32_t i = 0; i < schedule->count; i++) {
        schedule->steps[i].blend_x = (float)sqrt(schedule->abar[i]);
        schedule->steps[i].blend_n = (float)sqrt(1 - schedule->abar[i]);
    }
}

void bl_schedule_free(bl_schedule *schedule)
{
    bl_free(schedule->steps);
    bl_free(schedule->abar);
    memset(schedule, 0, sizeof(*schedule));
}
