// The table of per-step constants and the counter that says which row is the current one.
#ifndef STEPS_ACCESS
#define STEPS_ACCESS readonly
#endif
layout(std430, binding = BL_STEP_BINDING) STEPS_ACCESS buffer Steps {
    uint step;
    uint reserved0, reserved1, reserved2;
    bl_step rows[];
} steps;
