#include "prover.h"
#include "device_file.h"
#include <stdio.h>
#include <string.h>

/* Work of a case (bl_op_work), so that drawing its operands and computing the reference take a few milliseconds at most. */
static const double MOST_WORK = 2e6;

/* Beyond the tolerance of the tests: devices may round results towards zero, and have exponentials of a few more ulp. What is really
 * wrong is off by more. */
static const double SLACK = 4;

struct bl_prover {
    bl_kernels *kernels;
    bl_stream *stream;
    char *dir;
    void (*warn)(void *user, const char *text);
    void *user;
    uint64_t *right;          /* bl_kernel_hash of the pipelines that were right, on this device with this driver */
    size_t count, room;
    bool grown;               /* since the file was read */
};

/* --- what is known ------------------------------------------------------------------------------------------------------- */

static const char KIND[] = "selftest";

bool bl_prover_knows(const bl_prover *p, bl_kernel k, bl_dtype t, uint32_t head)
{
    const uint64_t hash = bl_kernel_hash(k, t, head);
    size_t i = 0;
    while (i < p->count && p->right[i] != hash)
        i++;
    return i < p->count;
}

static bl_result remember(bl_prover *p, bl_kernel k, bl_dtype t, uint32_t head)
{
    if (bl_prover_knows(p, k, t, head))
        return BL_OK;
    if (p->count == p->room) {
        const size_t room = 2 * p->room + 64;
        uint64_t *grown = bl_resize(p->right, room, sizeof(*grown));
        if (!grown)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for a self-test");
        p->right = grown;
        p->room = room;
    }
    p->right[p->count++] = bl_kernel_hash(k, t, head);
    p->grown = true;
    return BL_OK;
}

/* --- one pipeline -------------------------------------------------------------------------------------------------------- */

/* The case as implementation k would compute it, if it takes it and it is small. */
static bool takes(const bl_op_case *c, bl_kernel k, bl_op_case *out)
{
    const bl_impl *impl = &bl_impls[k];
    *out = *c;
    if (bl_case_is_bench(c) || bl_op_work(impl->op, BL_F32, &c->p) > MOST_WORK)
        return false;
    bl_case_lay_out(impl->op, &out->p, true);
    return impl->fits(impl->op, &out->p);
}

uint32_t bl_prover_heads(bl_kernel k, uint32_t heads[2])
{
    const bl_op_info *op = &bl_op_infos[bl_impls[k].op];
    uint32_t n = 0;
    for (uint32_t i = 0; i < *op->case_count && n < 2; i++) {
        bl_op_case c;
        const bool taken = takes(&op->cases[i], k, &c);
        const uint32_t head = bl_op_heads(bl_impls[k].op, &c.p).head;
        if (taken && (!n || (head % 4 && !(heads[0] % 4))))
            heads[n++] = head;
    }
    return n;
}

bl_result bl_prover_try(bl_prover *p, bl_kernel k, bl_dtype t, uint32_t head, bl_proof *proof)
{
    bl_result result = BL_OK;
    const bl_op op = bl_impls[k].op;
    bl_problem q = { 0 };
    *proof = (bl_proof){ 0 };
    for (uint32_t i = 0; i < *bl_op_infos[op].case_count; i++) {
        uint64_t random = i + 1; /* another for every case: also another row of the step table */
        double used[BL_MAX_OPERANDS];
        bl_op_case c = bl_op_infos[op].cases[i], taken;
        bl_op_set_head(op, &c.p, head);
        if (!takes(&c, k, &taken))
            continue;
        BL_TRY(bl_problem_create(p->kernels, p->stream, op, t, &c, true, &random, &q));
        q.slack = SLACK;
        BL_TRY(bl_problem_reference(&q, MOST_WORK));
        result = bl_problem_check_once(&q, k, used);
        bl_problem_destroy(&q);
        proof->cases++;
        for (uint32_t n = 0; n < BL_MAX_OPERANDS; n++)
            proof->used = used[n] / SLACK <= proof->used ? proof->used : used[n] / SLACK; /* NaN counts */
        if (result == BL_ERROR_DEVICE && !bl_stream_device(p->stream)->lost)
            result = BL_ERROR_MISMATCH; /* the driver does not take it */
        if (result != BL_OK) {
            snprintf(proof->first_wrong, sizeof(proof->first_wrong), "%s", c.name);
            BL_TRY(bl_fail_in(result, "case %s", c.name));
        }
    }
    BL_TRY(remember(p, k, t, head));
fail:
    bl_problem_destroy(&q);
    return result;
}

/* --- before first use ---------------------------------------------------------------------------------------------------- */

static bl_result prove(void *user, bl_kernel k, bl_dtype t, uint32_t head)
{
    bl_prover *p = user;
    bl_proof proof;
    char reason[1024];
    if (bl_prover_knows(p, k, t, head))
        return BL_OK;
    const bl_result result = bl_prover_try(p, k, t, head, &proof);
    if (result != BL_ERROR_MISMATCH)
        return result;
    const bl_device *d = bl_stream_device(p->stream);
    char label[96];
    bl_kernel_label(k, t, label);
    snprintf(reason, sizeof(reason), "%s", bl_last_error());
    if (t == BL_F32 && !bl_impls[k].caps)
        return bl_fail(BL_ERROR_DEVICE, "%s computes wrong results (%s, %s), and there is nothing simpler: its driver (%s) cannot be used",
                       d->info.name, label, reason, d->info.driver);
    bl_kernel_disable(p->kernels, k, t);
    if (p->warn) {
        char text[1400];
        snprintf(text, sizeof(text), "%s is not used: it computes wrong results here (%s)", label, reason);
        p->warn(p->user, text);
    }
    return result;
}

bl_result bl_prover_create(bl_kernels *ks, bl_stream *s, const char *dir, void (*warn)(void *user, const char *text), void *user,
                           bl_prover **out)
{
    bl_result result = BL_OK;
    size_t size = 0;
    bl_prover *p = *out = bl_alloc(1, sizeof(*p));
    if (!p)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for a self-test");
    *p = (bl_prover){ .kernels = ks, .stream = s, .warn = warn, .user = user };
    if (dir) {
        p->dir = bl_text_copy(dir, strlen(dir));
        if (!p->dir)
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a path"));
        p->right = (uint64_t *)(void *)bl_device_file_read(bl_stream_device(s), dir, KIND, &size);
        p->count = p->room = size / sizeof(*p->right);
    }
    bl_kernels_set_prover(ks, prove, p);
    return BL_OK;
fail:
    bl_prover_destroy(out);
    return result;
}

void bl_prover_destroy(bl_prover **prover)
{
    bl_prover *p = *prover;
    *prover = NULL;
    if (!p)
        return;
    bl_kernels_set_prover(p->kernels, NULL, NULL);
    if (p->dir && p->grown) /* a failure only costs the next start time */
        bl_device_file_write(bl_stream_device(p->stream), p->dir, KIND, p->right, p->count * sizeof(*p->right));
    bl_free(p->right);
    bl_free(p->dir);
    bl_free(p);
}
