/* Mask-guided attention optimization. Layer 4.
 *
 * Before a guided step (CUT, equations 8, 9, 11): z <- z - mask (alpha_t grad L_att + w grad L_img), with alpha_t = lambda (1 + growth
 * tau) n_t / n_start.
 * The paper writes 1 + Delta_t t; t falls, and so does tau. The text embedding moves towards that of the detailed prompt (equations 12,
 * 13).
 * There the gradient of the cosine is of the order of 1/|E|, and as published moves nothing; it is taken times |E| |E'|, so that the
 * rate is the share of the angle. */
#include "method.h"
#include <math.h>

static void refine_prompt(bl_method *m, float *embedding, const float *detail)
{
    const size_t tokens = m->c->text.positions, channels = m->c->text.channels;
    for (size_t i = 0; i < tokens; i++) {
        const float *g = m->rows[2] + i * channels, *d = detail + i * channels;
        float *e = embedding + i * channels;
        double a = 0, b = 0;
        for (size_t k = 0; k < channels; k++) {
            a += (double)e[k] * e[k];
            b += (double)d[k] * d[k];
        }
        const double size = m->spec.prompt_rate * sqrt(a * b);
        for (size_t k = 0; k < channels; k++)
            e[k] = (float)(e[k] - size * g[k]);
    }
}

bl_result bl_cut_before(bl_method *m, uint32_t step, bl_sample_state *state)
{
    bl_result result = BL_OK;
    const bl_method_spec *s = &m->spec;
    const uint32_t h = s->guide.h, w = s->guide.w, cells = h * w, channels = m->c->unet.in_channels;
    const size_t values = (size_t)cells * channels, words = (size_t)m->c->text.positions * m->c->text.channels;
    const float t = s->schedule->steps[step].t;
    float *conditional = state->embedding + (s->branches - 1) * words;
    if (step < s->first || step > s->last)
        return BL_OK;
    const double tau = s->last > s->first ? 1 - (double)(step - s->first) / (s->last - s->first) : 1;
    const bool image = s->image && step >= s->schedule->count - (uint32_t)lround((double)s->image_share * s->schedule->count);
    for (uint32_t q = 0; q < s->inner; q++) {
        const double begun = bl_clock();
        bl_guidance found;
        float image_loss = NAN, text_loss = 0;
        BL_TRY(bl_guide_run(&m->guide, state->latents, conditional, m->map_mask, t, &found, m->grad, NULL));
        m->forwards++;
        m->backwards++;
        m->flops += m->guide.flops;
        if (step == s->first && !q)
            m->n_start = BL_MAX(found.n, 1);
        const double alpha = s->lambda * (1 + s->growth * tau) * found.n / m->n_start;
        if (image) {
            BL_TRY(bl_image_guide_run(s->image, state->latents, &image_loss, m->image_grad));
            m->decodes++;
            m->flops += s->image->flops;
        }
        for (size_t i = 0; i < values; i++) {
            const double g = alpha * m->grad[i] + (image ? (double)s->image_weight * m->image_grad[i] : 0);
            m->grad[i] = (float)g;
            state->latents[i] = (float)(state->latents[i] - g * (s->mask ? s->mask[i % cells] : 1));
        }
        state->changed |= BL_SAMPLE_LATENTS;
        if (s->detail && s->prompt_rate > 0) {
            BL_TRY(bl_method_cosine(m, conditional, s->detail + (s->branches - 1) * words, &text_loss, m->rows[2]));
            refine_prompt(m, conditional, s->detail + (s->branches - 1) * words);
            state->changed |= BL_SAMPLE_EMBEDDING;
        }
        if (s->update)
            s->update(s->context, &(bl_update){ .kind = BL_UPDATE_LATENTS, .step = step, .inner = q, .t = t, .loss = found.loss,
                .attention_loss = found.loss, .image_loss = image_loss, .size = (float)alpha, .n = found.n, .norm = found.norm,
                .x = found.at[s->guide.count - 1] % m->guide.mw, .y = found.at[s->guide.count - 1] / m->guide.mw,
                .values = state->latents, .gradient = m->grad, .seconds = 1e-9 * (bl_clock() - begun) });
    }
    if (s->measure) {
        bl_guidance after;
        BL_TRY(bl_guide_run(&m->guide, state->latents, conditional, m->map_mask, t, &after, NULL, NULL));
        if (s->update)
            s->update(s->context, &(bl_update){ .kind = BL_UPDATE_STAGE, .step = step, .inner = s->inner, .t = t, .loss = after.loss,
                .attention_loss = after.loss, .image_loss = NAN, .n = after.n, .x = after.at[s->guide.count - 1] % m->guide.mw,
                .y = after.at[s->guide.count - 1] / m->guide.mw, .values = state->latents });
    }
fail:
    return result;
}
