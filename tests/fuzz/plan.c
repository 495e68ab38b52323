/* A plan of kernel choices, as --plan and a picture's parameters bring it: refused with a reason, or usable whatever it names. */
#include "fuzz.h"
#include "tuning.h"

static const bl_params problem = { .matmul_fwd = { .m = 77, .n = 320, .k = 768 } };
static bl_device device;

static bool of_matmul(const void *user, bl_kernel k) { return (void)user, bl_impls[k].op == BL_OP_matmul_fwd; }

/* What is printed is the same plan, unless memory runs out. */
static void print_again(const json_t *plan)
{
    json_t *again = NULL;
    char *text = bl_tuning_print(plan);
    const bl_result r = text ? bl_tuning_parse("again", text, strlen(text), &again) : BL_ERROR_MEMORY;
    FUZZ_CHECK(r == BL_OK ? json_equal(plan, again) : r == BL_ERROR_MEMORY && !again);
    json_decref(again);
    bl_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *plan = NULL;
    fuzz_begin(data, size, 0);
    if (fuzz_result(bl_tuning_parse("plan", (const char *)data, size, &plan))) {
        bl_tuning_is_for(plan, &device);
        const bl_kernel found = bl_tuning_find(plan, BL_OP_matmul_fwd, BL_F32, &problem);
        FUZZ_CHECK(found <= BL_KERNEL_COUNT);
        json_t *some = bl_tuning_filter(plan, of_matmul, NULL);
        FUZZ_CHECK(some && bl_tuning_count(some) <= bl_tuning_count(plan));
        if (found < BL_KERNEL_COUNT && of_matmul(NULL, found))
            FUZZ_CHECK(bl_tuning_find(some, BL_OP_matmul_fwd, BL_F32, &problem) == found);
        json_decref(some);
        print_again(plan);
        FUZZ_CHECK(bl_tuning_set(plan, BL_OP_matmul_fwd, BL_F32, &problem, 0) == BL_OK);
        FUZZ_CHECK(bl_tuning_find(plan, BL_OP_matmul_fwd, BL_F32, &problem) == 0);
        FUZZ_CHECK(bl_tuning_set(plan, BL_OP_matmul_fwd, BL_F32, &problem, BL_KERNEL_COUNT) == BL_OK);
        FUZZ_CHECK(bl_tuning_find(plan, BL_OP_matmul_fwd, BL_F32, &problem) == BL_KERNEL_COUNT);
    } else {
        FUZZ_CHECK(!plan);
    }
    json_decref(plan);
    return fuzz_end();
}
