/* The commands, one per file cmd_<name>.c. Layer 6. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H
#include "options.h"

extern const command command_generate, command_sheet, command_devices, command_inspect, command_tokens, command_verify, command_version;
#endif
