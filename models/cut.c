/* Mask-guided attention optimization. Layer 4.
 *
 * Before a guided step (CUT, equations 8, 9, 11): z <- z - mask (alpha_t grad L_att + w grad L_img), with
 * alpha_t = lambda (1 + growth tau) n_t / n_start. The paper writes 1 + Delta_t t; t falls, and so does tau, from 1 to 0.
 *
 * Two things are ours. A small mask leaves little of the gradient: what is left is stretched to the length of the whole, eight times at
 * most, or nothing would happen there. And a step that does not lower L_att is halved, four times at most.
 *
 * The text embedding moves towards that of the detailed prompt (equations 12, 13). There the gradient of the cosine is of the order of
 * 1/|E|, and as published moves nothing; it is taken times |E| |E'|, so that the rate is the share of the angle. */
#include "method.h"
#include <math.h>
#include <string.h>

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

/* How much the masked gradient is stretched. */
static double stretch(const bl_method *m, size_t values, uint32_t cells)
{
    const double most = 8;
    double all = 0, masked = 0;
    for (size_t i = 0; i < values; i++) {
        const double g = m->grad[i], in = m->spec.mask ? m->spec.mask[i % cells] : 1;
        all += g * g;
        masked += g * g * in * in;
    }
    return masked > 0 ? BL_MIN(sqrt(all / masked), most) : 1;
}

/* Steps from m->before along the gradients until the loss is lower; *alpha is what it took, `after` what the loss is then. */
static bl_result descend(bl_method *m, float t, const float *conditional, bool image, float before, double *alpha, float *latents,
                         bl_guidance *after)
{
    enum { HALVINGS = 4 };
    bl_result result = BL_OK;
    const bl_method_spec *s = &m->spec;
    const uint32_t cells = s->guide.h * s->guide.w;
    const size_t values = (size_t)cells * m->c->unet.in_channels;
    const double longer = stretch(m, values, cells);
    for (int k = 0;; k++) {
        for (size_t i = 0; i < values; i++) {
            const double g = *alpha * longer * m->grad[i] + (image ? (double)s->image_weight * m->image_grad[i] : 0);
            latents[i] = (float)(m->before[i] - g * (s->mask ? s->mask[i % cells] : 1));
        }
        BL_TRY(bl_guide_run(&m->check, latents, conditional, m->map_mask, t, after, NULL, NULL));
        m->forwards++;
        m->flops += m->check.flops;
        if (after->loss < before || before <= 0 || k == HALVINGS)
            break;
        *alpha /= 2;
    }
fail:
    return result;
}

bl_result bl_cut_before(bl_method *m, uint32_t step, bl_sample_state *state)
{
    bl_result result = BL_OK;
    const bl_method_spec *s = &m->spec;
    const size_t values = (size_t)s->guide.h * s->guide.w * m->c->unet.in_channels;
    const size_t words = (size_t)m->c->text.positions * m->c->text.channels;
    const float t = s->schedule->steps[step].t;
    float *conditional = state->embedding + (s->branches - 1) * words;
    const float *detail = s->detail && s->prompt_rate > 0 ? s->detail + (s->branches - 1) * words : NULL;
    if (step < s->first || step > s->last)
        return BL_OK;
    const double tau = s->last > s->first ? 1 - (double)(step - s->first) / (s->last - s->first) : 1;
    const bool image = s->image && step >= s->schedule->count - (uint32_t)lround((double)s->image_share * s->schedule->count);
    for (uint32_t q = 0; q < s->inner; q++) {
        const double begun = bl_clock();
        bl_guidance found, after;
        float image_loss = NAN, text_loss = 0;
        BL_TRY(bl_guide_run(&m->guide, state->latents, conditional, m->map_mask, t, &found, m->grad, NULL));
        m->forwards++;
        m->backwards++;
        m->flops += m->guide.flops;
        if (step == s->first && !q)
            m->n_start = BL_MAX(found.n, 1);
        double alpha = s->lambda * (1 + s->growth * tau) * found.n / m->n_start;
        if (image) {
            BL_TRY(bl_image_guide_run(s->image, state->latents, &image_loss, m->image_grad));
            m->decodes++;
            m->flops += s->image->flops;
        }
        memcpy(m->before, state->latents, values * sizeof(*m->before));
        BL_TRY(descend(m, t, conditional, image, found.loss, &alpha, state->latents, &after));
        state->changed |= BL_SAMPLE_LATENTS;
        if (detail) {
            BL_TRY(bl_method_cosine(m, conditional, detail, &text_loss, m->rows[2]));
            refine_prompt(m, conditional, detail);
            state->changed |= BL_SAMPLE_EMBEDDING;
        }
        bl_update u = bl_method_found(m, BL_UPDATE_LATENTS, step, q, &found, state->latents);
        u.image_loss = image_loss;
        u.size = (float)alpha;
        u.norm = found.norm;
        u.gradient = m->grad;
        u.seconds = 1e-9 * (bl_clock() - begun);
        const bl_update lower = bl_method_found(m, BL_UPDATE_MEASURED, step, q, &after, state->latents);
        if (s->update) {
            s->update(s->context, &u);
            s->update(s->context, &lower);
        }
    }
fail:
    return result;
}
