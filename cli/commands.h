/* The commands, one per file cmd_<name>.c. Layer 6. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H
#include "options.h"

extern const command command_generate, command_sheet, command_devices, command_inspect, command_tokens, command_verify, command_bench,
    command_tune, command_selftest, command_doctor, command_version, command_help, command_completion;

/* All of them, in the order of the overview. */
extern const command *const commands[];
extern const size_t command_count;
/* NULL: there is none of that name. */
const command *commands_find(const char *name);
#endif
