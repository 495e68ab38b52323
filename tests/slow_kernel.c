/* `blemish bench` on a driver that compiles one shader in place of another: slow_kernel RIGHT.spv OTHER.spv shader ..., by
 * tests/slow_kernel.sh. Ends as the command does. */
#include "commands.h"
#include "shader_exchange.h"

int main(int argc, char **argv)
{
    if (argc < 4 || !exchange_read(argv[1], &exchange_right) || !exchange_read(argv[2], &exchange_other)) {
        fputs("slow_kernel: needs two files of SPIR-V and arguments of bench\n", stderr);
        return 1;
    }
    exchange_begin();
    exchange_on = true;
    argv[2] = (char *)(uintptr_t)command_bench.name;
    const int result = command_bench.run(&command_bench, argc - 2, argv + 2);
    if (result || exchanged)
        return result;
    fputs("slow_kernel: the shader is not what the library has\n", stderr);
    return 1;
}
