/* A fuzz target without a fuzzer: runs it on every file of the folders given, and on mutations of each by the target's own mutator, always
 * the same ones. Usage: fuzz_NAME MUTATIONS FOLDER|FILE ... */
#include "fuzz.h"
#include <dirent.h>

enum { MAX_INPUT = 1 << 16 };

#pragma weak LLVMFuzzerInitialize
#pragma weak LLVMFuzzerCustomMutator

static uint8_t input[MAX_INPUT];
static unsigned long files, runs;

/* A few bytes changed, put in or taken out. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max)
{
    static const uint8_t odd[] = { 0, 1, 7, 8, 0x20, '"', '[', '{', 0x7f, 0x80, 0xc0, 0xfe, 0xff };
    if (!fuzz_dice)
        fuzz_dice = 1;
    for (uint32_t n = 1 + fuzz_roll(3); n && max; n--) {
        const size_t at = fuzz_roll((uint32_t)size + 1);
        const uint8_t byte = fuzz_roll(2) ? odd[fuzz_roll(sizeof(odd))] : (uint8_t)fuzz_roll(256);
        const uint32_t deed = fuzz_roll(4);
        size = fuzz_replace(data, size, max, at, deed < 3 && at < size, &byte, deed > 0 || at == size);
    }
    return size;
}

/* Aborts where the target does. */
static void run(size_t size)
{
    uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees a byte too far */
    if (!exact)
        abort();
    memcpy(exact, input, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    runs++;
}

static bool replay_file(const char *path, unsigned mutations)
{
    static uint8_t original[MAX_INPUT];
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    const size_t size = fread(original, 1, sizeof(original), f);
    fclose(f);
    files++;
    memcpy(input, original, size);
    run(size);
    size_t now = size;
    for (unsigned i = 0; i < mutations; i++) {
        if (i % 4 == 0) { /* several changes on top of each other */
            memcpy(input, original, size);
            now = size;
        }
        fuzz_dice = i * 2654435761u + 1;
        now = LLVMFuzzerCustomMutator ? LLVMFuzzerCustomMutator(input, now, sizeof(input), fuzz_dice)
                                      : LLVMFuzzerMutate(input, now, sizeof(input));
        run(now);
    }
    return true;
}

static bool replay(const char *path, unsigned mutations)
{
    DIR *d = opendir(path);
    bool ok = true;
    if (!d)
        return replay_file(path, mutations);
    for (struct dirent *e; (e = readdir(d)) && ok;) {
        char below[1024];
        snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
        ok = e->d_name[0] == '.' || replay_file(below, mutations);
    }
    closedir(d);
    return ok;
}

int main(int argc, char **argv)
{
    const unsigned mutations = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 2; i < argc; i++)
        if (!replay(argv[i], mutations)) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 2;
        }
    printf("%lu files, %lu runs\n", files, runs);
    return files ? 0 : 2;
}
