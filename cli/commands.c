/* Layer 6. */
#include "commands.h"
#include <string.h>

const command *const commands[] = {
    &command_generate, &command_sheet, &command_devices, &command_inspect, &command_tokens, &command_verify, &command_bench,
    &command_tune, &command_selftest, &command_doctor, &command_version, &command_help, &command_completion,
};
const size_t command_count = sizeof(commands) / sizeof(commands[0]);

const command *commands_find(const char *name)
{
    for (size_t i = 0; i < command_count; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}
