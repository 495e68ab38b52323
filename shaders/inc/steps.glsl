// The table of per-step constants and the counter that says which row is the current one.
#ifndef STEPS_ACCESS
#define STEPS_ACCESS readonly
#endif
layout(std430, binding = BL_STEP_BINDING) STEPS_ACCESS buffer Steps {
    uint step;
    uint reserved0, reserved1, reserved2;
    bl_step rows[];
} steps;

// The current row; of a spoilt counter the last one, so that nothing beyond the table is read. The host sees what the counter is.
#define CURRENT_STEP steps.rows[min(steps.step, uint(steps.rows.length()) - 1)]
