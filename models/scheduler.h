/* Schedulers: what each evaluation of the U-Net does to the latents, as a table of coefficients. Layer 4.
 *
 *   ddim       Song, Meng, Ermon: Denoising diffusion implicit models. ICLR 2021; with eta
 *   pndm       Liu, Ren, Lin, Zhao: Pseudo numerical methods for diffusion models on manifolds. ICLR 2022; its linear multistep form, PLMS
 *   euler      Karras, Aittala, Aila, Laine: Elucidating the design space of diffusion-based generative models. NeurIPS 2022
 *   euler-a    the same with ancestral noise, as k-diffusion has it
 *   dpm++2m    Lu et al.: DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models. 2022; multistep, order 1 or 2
 *   lcm        Luo, Tan, Huang, Li, Zhao: Latent consistency models. 2023
 *
 * for models that predict epsilon or v (Salimans, Ho: Progressive distillation. ICLR 2022). Every step of them is linear in the sample,
 * the model's output, up to three earlier outputs, a saved sample and noise, so one kernel runs them all; struct bl_step holds its
 * coefficients. They are computed in double precision and rounded once. abar below is the cumulative product of 1 - beta.
 *
 * Latents keep the variance of the data in all of them: x = sqrt(abar) x0 + sqrt(1 - abar) noise. Euler is usually written for
 * x / sqrt(abar) = x0 + sigma noise, which it scales by sqrt(abar) = 1 / sqrt(sigma^2 + 1) before the model sees it. Written for what the
 * model sees, its step from sigma to sigma' is DDIM's between the same levels, and the ancestral one is DDIM's with eta 1; so methods
 * that change latents, blending and previews know one scale, and Euler has rows of its own for its levels only. */
#ifndef BL_SCHEDULER_H
#define BL_SCHEDULER_H
#include "base.h"
#include "params.h"

typedef struct bl_step bl_step;
struct json_t;

typedef enum bl_scheduler_kind { /* rows of the table in scheduler.c */
    BL_SCHEDULER_DDIM,
    BL_SCHEDULER_PNDM,           /* in mid-table it starts as at the top: t0, t1, t1, t2, ... */
    BL_SCHEDULER_PNDM_DIFFUSERS, /* in mid-table t0, t1, t2, ...: one label ahead from the third evaluation; for parity */
    BL_SCHEDULER_EULER,
    BL_SCHEDULER_EULER_ANCESTRAL,
    BL_SCHEDULER_DPMPP_2M,
    BL_SCHEDULER_LCM,
    BL_SCHEDULER_COUNT,
} bl_scheduler_kind;
typedef enum bl_spacing { BL_SPACING_LEADING, BL_SPACING_TRAILING, BL_SPACING_LINSPACE } bl_spacing;
typedef enum bl_prediction { BL_PREDICT_EPSILON, BL_PREDICT_V } bl_prediction;
typedef enum bl_beta_schedule { BL_BETAS_SCALED_LINEAR, BL_BETAS_LINEAR, BL_BETAS_SQUAREDCOS_CAP_V2 } bl_beta_schedule;

typedef struct bl_scheduler_config {
    bl_scheduler_kind kind;
    bl_spacing spacing;
    bl_prediction prediction;
    bl_beta_schedule betas;
    double beta_start, beta_end;  /* 0 < start <= end < 1; squaredcos_cap_v2 has no use for them */
    uint32_t train_steps;         /* 1 .. 10000 */
    uint32_t steps_offset;        /* added to the timesteps of "leading" spacing; below train_steps */
    bool set_alpha_to_one;        /* ddim, pndm: abar after the last step is 1, or that of timestep 0 */
    bool final_sigma_zero;        /* euler, dpm++2m: the same */
    bool karras;                  /* euler, dpm++2m: the levels of Karras et al., equation 5, between the first and the last one */
    uint32_t order;               /* dpm++2m: 1 or 2 */
    bool heun;                    /* dpm++2m: solver_type "heun", else "midpoint" */
    bool lower_order_final, euler_at_final; /* dpm++2m: a last step of order 1: in runs of less than 15 steps; always */
    uint32_t original_steps;      /* lcm: steps of the distilled model, 1 .. train_steps; a run has at most as many */
    double timestep_scaling;      /* lcm: of the boundary condition */
    bool spacing_given, alpha_given; /* spacing, set_alpha_to_one: by the file, not by default of its class */
    char problem[384];            /* why the file's own scheduler cannot run, "" if it can; naming another one clears it */
} bl_scheduler_config;

/* Reads scheduler_config.json. What the file leaves out gets the defaults of its class in diffusers 0.30, except that steps_offset is 1
 * and clip_sample false, which is what its Stable Diffusion pipelines set. What its own class cannot do here goes into `problem`, because
 * another scheduler can be named: a class that is not known, PNDM with Runge-Kutta warm-up, stochastic or third-order DPM-Solver.
 * BL_ERROR_MODEL: broken values, or settings that no scheduler here has (clip_sample, thresholding, trained_betas,
 * rescale_betas_zero_snr, prediction of the sample). */
bl_result bl_scheduler_config_read(const char *path, bl_scheduler_config *out);
/* The same from a parsed object; `name` is for messages. */
bl_result bl_scheduler_config_parse(const struct json_t *object, const char *name, bl_scheduler_config *out);

/* Replaces scheduler (a name of bl_scheduler_name) and spacing ("leading", "trailing", "linspace"); NULL keeps, and what the file did
 * not say follows the new scheduler's class. karras: Karras sigmas even if the file does not ask for them. BL_ERROR_USAGE lists the known
 * names, or the scheduler has no Karras sigmas; BL_ERROR_MODEL if `problem` is left. *config is unchanged on failure. */
bl_result bl_scheduler_config_override(bl_scheduler_config *config, const char *name, const char *spacing, bool karras);
/* "ddim", "pndm", "pndm-diffusers", "euler", "euler-a", "dpm++2m", "lcm"; "leading", "trailing", "linspace". */
const char *bl_scheduler_name(bl_scheduler_kind kind);
const char *bl_spacing_name(bl_spacing spacing);
/* Whether the levels are those of Karras et al.: asked for, and a scheduler that has them. */
bool bl_scheduler_is_karras(const bl_scheduler_config *config);

/* The train_steps values of abar. BL_ERROR_MODEL if it does not stay within (1e-12, 1). */
bl_result bl_scheduler_alphas(const bl_scheduler_config *config, double *alphas);

/* The steps of one run. h1, h2, h3 and the saved sample start as anything finite; no row uses them before they are set. */
typedef struct bl_schedule {
    bl_step *steps;          /* one row per evaluation, owned */
    uint32_t count;
    float start_x, start_n;  /* image-to-image starts from start_x * source + start_n * noise */
    float init_sigma;        /* text-to-image starts from init_sigma * noise */
    double *abar;            /* [count + 1], owned: of the noise level that the model is told in every step, and of the one at the end */
    bool noisy;              /* some step adds noise */
} bl_schedule;

/* `steps`: 1 .. train_steps, with lcm 1 .. original_steps. `strength`: 0 < s <= 1, the share of them that runs in image-to-image (1 for
 * text-to-image): the table starts at entry steps - floor(steps * s), as in diffusers. It counts to 7 decimals, so that a float 0.7
 * widened to double is 0.7. `eta`: 0 .. 1, noise of DDIM steps (1: ancestral sampling as in DDPM); 0 with the others. `guidance` is
 * copied into every row.
 *
 * PNDM's table has steps + 1 entries (the second comes twice), so it runs one more, and "pndm" in mid-table two more.
 * With v prediction PNDM combines the outputs before it converts them to epsilon, as diffusers does: first order only; prefer DDIM.
 * Euler with spacing linspace has timesteps between the whole ones, and with Karras sigmas any.
 * blend_x, blend_n: the source at the noise level that the step leads to, and the source itself (1, 0) after the last step.
 *
 * BL_ERROR_USAGE: an argument out of range, no step is left, or so many that timesteps repeat or leave the training range. The caller
 * frees *out; it is zeroed on failure. */
bl_result bl_schedule_create(const bl_scheduler_config *config, uint32_t steps, double strength, double eta, float guidance,
                             bl_schedule *out);
/* The same from entry `start` of the table. */
bl_result bl_schedule_create_from(const bl_scheduler_config *config, uint32_t steps, uint32_t start, double eta, float guidance,
                                  bl_schedule *out);
/* Blends at the noise level that every step starts from, also the last one, as the published AnomalyAny does. */
void bl_schedule_blend_before(bl_schedule *schedule);
/* Frees the rows and zeroes *schedule; a zeroed one is accepted. */
void bl_schedule_free(bl_schedule *schedule);
#endif
