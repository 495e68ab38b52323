/* The table of schedulers and what its functions share; for the files scheduler*.c alone. Layer 4. */
#ifndef BL_SCHEDULER_TABLE_H
#define BL_SCHEDULER_TABLE_H
#include "scheduler.h"

/* One entry of a whole run. */
typedef struct bl_level {
    double time;             /* what the model is told */
    double from, to;         /* abar of that timestep, and of the level the step leads to */
} bl_level;

typedef struct bl_table {
    const bl_scheduler_config *config;
    const double *alphas;    /* [train_steps] */
    bl_level *levels;        /* [n], from noise to data */
    uint32_t n;              /* entries of a whole run, without PNDM's duplicate */
    int32_t stride;          /* timesteps that one step of DDIM and PNDM goes down */
    double eta;
} bl_table;

typedef struct bl_scheduler {
    const char *name, *class_name;  /* class_name: in diffusers; NULL: by name only */
    bl_spacing spacing;             /* defaults of the class */
    bool alpha_to_one;
    bool takes_eta, has_karras;
    double eta;                     /* where it is not chosen */
    bool starts_at_sigma;           /* text-to-image starts from the noise of the first level alone, but for spacing "leading" */
    /* Fills in t->levels. BL_ERROR_USAGE: there are too many steps. */
    bl_result (*levels)(const bl_table *t);
    /* Fills in rows from entry `start` on, and for each the abar that the model is told; returns their number. */
    uint32_t (*steps)(const bl_table *t, uint32_t start, bl_step *steps, double *abar);
} bl_scheduler;

extern const bl_scheduler bl_schedulers[BL_SCHEDULER_COUNT]; /* by kind */

/* abar of a timestep, or of the level after the last one where `time` is negative. */
double bl_table_alpha(const bl_table *t, int32_t time);

bl_result bl_levels_ddim(const bl_table *t);      /* also PNDM's */
bl_result bl_levels_euler(const bl_table *t);
bl_result bl_levels_euler_ancestral(const bl_table *t);
bl_result bl_levels_dpmpp(const bl_table *t);
bl_result bl_levels_lcm(const bl_table *t);
uint32_t bl_steps_ddim(const bl_table *t, uint32_t start, bl_step *steps, double *abar); /* also Euler's */
uint32_t bl_steps_pndm(const bl_table *t, uint32_t start, bl_step *steps, double *abar);
uint32_t bl_steps_dpmpp(const bl_table *t, uint32_t start, bl_step *steps, double *abar);
uint32_t bl_steps_lcm(const bl_table *t, uint32_t start, bl_step *steps, double *abar);
#endif
