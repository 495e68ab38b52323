/* `blemish bench` on a driver that compiles one shader in place of another: slow_kernel RIGHT.spv OTHER.spv shader ..., by
 * tests/slow_kernel.sh. Ends as the command does. */
#include "commands.h"
#include "shader_swap.h"
#include <stdio.h>

enum { MAX_CODE = 1 << 20 };
typedef struct code {
    uint32_t words[MAX_CODE / 4];
    size_t size;
} code;
static code right, other;
static bool swapped;

static const uint32_t *swap_right(const uint32_t *words, size_t *size)
{
    if (*size != right.size || memcmp(words, right.words, *size) != 0)
        return words;
    swapped = true;
    *size = other.size;
    return other.words;
}

static bool read_code(const char *path, code *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    out->size = fread(out->words, 1, sizeof(out->words), f);
    fclose(f);
    return out->size > 0;
}

int main(int argc, char **argv)
{
    if (argc < 4 || !read_code(argv[1], &right) || !read_code(argv[2], &other)) {
        fputs("slow_kernel: needs two files of SPIR-V and arguments of bench\n", stderr);
        return 1;
    }
    swap_code = swap_right;
    swap_begin();
    argv[2] = (char *)(uintptr_t)command_bench.name;
    const int result = command_bench.run(&command_bench, argc - 2, argv + 2);
    if (result || swapped)
        return result;
    fputs("slow_kernel: the shader is not what the library has\n", stderr);
    return 1;
}
