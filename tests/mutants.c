/* Compares the self-test with shaders that are known to be wrong: mutants DIRECTORY <LIST, by tests/mutants.sh.
 * A line of the list is NAME SHADER TYPE; the right code is DIRECTORY/SHADER_TYPE.spv, the wrong one DIRECTORY/NAME.mutant.spv. The right
 * one has to pass, the wrong one has to be noticed. Exit 0: no false alarm, and at least 95 % noticed. 77: no Vulkan here. */
#include "prover.h"
#include "shader_exchange.h"

static const char *const shaders[] = {
#define K(name, op, shader, caps, types, fits, grid, wg, m, n, k) #shader,
#include "kernels.def"
#undef K
};

static bool read_code(const char *dir, const char *name, const char *end, exchange_code *out)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s%s", dir, name, end);
    return exchange_read(path, out);
}

static void die(const char *what)
{
    fprintf(stderr, "mutants: %s: %s\n", what, bl_last_error());
    exit(1);
}

/* Tries every kernel of the shader until one is wrong; BL_ERROR_MISMATCH then. */
static bl_result try_shader(bl_device *d, const char *shader, bl_dtype t, uint32_t *kernels)
{
    bl_result result = BL_OK;
    bl_stream *s = NULL;
    bl_kernels *ks = NULL;
    bl_prover *p = NULL;
    *kernels = 0;
    BL_TRY(bl_stream_create(d, &s));
    BL_TRY(bl_kernels_create(d, NULL, &ks));
    BL_TRY(bl_prover_create(ks, s, NULL, NULL, NULL, &p));
    for (int k = 0; k < BL_KERNEL_COUNT; k++) {
        uint32_t heads[2];
        if (strcmp(shaders[k], shader) || !bl_kernel_able(ks, (bl_kernel)k, t))
            continue;
        ++*kernels;
        const uint32_t count = bl_prover_heads((bl_kernel)k, heads);
        for (uint32_t i = 0; i < count; i++) {
            bl_proof proof;
            BL_TRY(bl_prover_try(p, (bl_kernel)k, t, heads[i], &proof));
        }
    }
fail:
    bl_prover_destroy(&p);
    bl_kernels_destroy(&ks);
    bl_stream_destroy(&s);
    return result;
}

int main(int argc, char **argv)
{
    char line[512], name[128], shader[128], type[8], tried[64][160];
    uint32_t all = 0, noticed = 0, alarms = 0, count = 0, kernels;
    bl_device *d = NULL;
    exchange_begin();
    if (argc != 2 || bl_device_open(getenv("BLEMISH_DEVICE"), getenv("BLEMISH_CAPS"), &d) != BL_OK) {
        fprintf(stderr, "mutants: %s\n", argc != 2 ? "needs a directory" : bl_last_error());
        return argc != 2 || getenv("CI") ? 1 : 77;
    }
    while (fgets(line, sizeof(line), stdin)) {
        char key[160];
        if (sscanf(line, "%127s %127s %7s", name, shader, type) != 3)
            continue;
        const bl_dtype t = strcmp(type, "f16") ? BL_F32 : BL_F16;
        snprintf(key, sizeof(key), "%s_%s", shader, type);
        if (!read_code(argv[1], key, ".spv", &exchange_right) || !read_code(argv[1], name, ".mutant.spv", &exchange_other))
            return 1;
        uint32_t i = 0;
        while (i < count && strcmp(tried[i], key))
            i++;
        exchange_on = false;
        if (i == count && count < BL_COUNT(tried)) {
            snprintf(tried[count++], sizeof(tried[0]), "%s", key);
            const bl_result r = try_shader(d, shader, t, &kernels);
            if (!kernels) {
                printf("%-28s not run: the device has no kernel of %s\n", name, key);
                count--;
                continue;
            }
            if (r != BL_OK && r != BL_ERROR_MISMATCH)
                die(key);
            alarms += r != BL_OK;
            if (r != BL_OK)
                printf("%-28s FALSE ALARM: %s\n", key, bl_last_error());
        }
        exchange_on = true;
        exchanged = 0;
        const bl_result r = try_shader(d, shader, t, &kernels);
        if (r != BL_OK && r != BL_ERROR_MISMATCH)
            die(name);
        if (!exchanged) {
            fprintf(stderr, "mutants: %s_%s.spv is not what the library has\n", shader, type);
            return 1;
        }
        all++;
        noticed += r != BL_OK;
        printf("%-28s %s\n", name, r != BL_OK ? bl_last_error() : "NOT NOTICED");
        fflush(stdout);
    }
    bl_device_close(&d);
    printf("%u of %u wrong shaders noticed, %u false alarms\n", noticed, all, alarms);
    return alarms || !all || noticed * 100 < all * 95;
}
