/* Every kernel that the device can run against its reference. Layer 5. */
#include "context.h"
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* What an implementation needs, in the words of --caps. */
static void tier_text(bl_kernel k, bl_dtype t, char text[64])
{
    bl_caps_text((bl_impls[k].caps & ~(uint32_t)BL_IMPL_BIG) | (t == BL_F16 ? BL_CAP_S16 : 0), text);
}

static bool wanted(const bl_context *c, const bl_selftest_options *o, bl_kernel k, bl_dtype t)
{
    char label[96];
    bl_kernel_label(k, t, label);
    return bl_kernel_able(c->kernels, k, t) && (!o->pattern || !fnmatch(o->pattern, label, 0));
}

static bl_result test_kernel(bl_prover *prover, const bl_selftest_options *o, bl_kernel k, bl_dtype t, bl_selftest_summary *summary)
{
    bl_result result = BL_OK;
    char label[96], tier[64], note[1024] = "";
    uint32_t heads[2];
    bl_selftest_row row = { .kernel = label, .tier = tier, .note = note, .verdict = BL_PASS };
    bl_kernel_label(k, t, label);
    tier_text(k, t, tier);
    const uint32_t count = bl_prover_heads(k, heads);
    for (uint32_t i = 0; i < count && row.verdict == BL_PASS; i++) {
        bl_proof proof;
        result = bl_prover_try(prover, k, t, heads[i], &proof);
        if (result != BL_OK && result != BL_ERROR_MISMATCH)
            return bl_fail_in(result, "%s", label);
        row.cases += proof.cases;
        row.used = proof.used <= row.used ? row.used : proof.used;
        if (result != BL_OK) {
            row.verdict = BL_FAIL;
            snprintf(note, sizeof(note), "%s", bl_last_error());
        }
    }
    summary->passed += row.verdict == BL_PASS;
    summary->failed += row.verdict == BL_FAIL;
    if (row.verdict == BL_FAIL && !*summary->first_failure)
        snprintf(summary->first_failure, sizeof(summary->first_failure), "%s", label);
    if (o->row)
        o->row(o->user, &row);
    return BL_OK;
}

bl_result bl_selftest(bl_context *c, const bl_selftest_options *options, bl_selftest_summary *summary)
{
    bl_result result = BL_OK;
    static const bl_selftest_options defaults = BL_SELFTEST_OPTIONS_INIT;
    const bl_selftest_options *o = options ? options : &defaults;
    bl_prover *own = NULL;
    uint32_t total = 0, done = 0;
    if (!c || !summary || o->struct_size != sizeof(*o))
        return bl_fail(BL_ERROR_USAGE, "bl_selftest: no context, no place for the summary, or options of another version");
    *summary = (bl_selftest_summary){ 0 };
    BL_TRY(bl_device_check(c->device));
    if (!c->prover)
        BL_TRY(bl_prover_create(c->kernels, c->stream, NULL, NULL, NULL, &own));
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        for (int t = 0; t < BL_DTYPE_COUNT; t++)
            total += wanted(c, o, (bl_kernel)k, (bl_dtype)t);
    if (!total)
        BL_TRY(bl_fail(BL_ERROR_USAGE, "no kernel that %s runs matches \"%s\"", c->device->info.name, o->pattern ? o->pattern : "*"));
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        for (int t = 0; t < BL_DTYPE_COUNT; t++) {
            if (!wanted(c, o, (bl_kernel)k, (bl_dtype)t))
                continue;
            bl_context_progress(c, "self-test", done++, total);
            BL_TRY(bl_context_cancelled(c));
            BL_TRY(test_kernel(c->prover ? c->prover : own, o, (bl_kernel)k, (bl_dtype)t, summary));
        }
    bl_context_progress(c, "self-test", total, total);
    if (summary->failed)
        BL_TRY(bl_fail(BL_ERROR_MISMATCH, "%u of %u kernels are wrong on %s, the first is %s", summary->failed,
                       summary->passed + summary->failed, c->device->info.name, summary->first_failure));
fail:
    bl_prover_destroy(&own);
    if (c)
        bl_kernels_forget(c->kernels);
    return result;
}
