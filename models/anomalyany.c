/* The published code of AnomalyAny, by its equations, with what it does by accident. Layer 4.
 *
 * In every step i: ten times z <- z - 2 s_i grad_z L and E <- E - s_i grad_E (L + 1 - mean cos(E, E')), where
 * L = 0.1 L_img + 0.5 (i/steps) L_att, s_i = max(1e-4, 0.02 - 1e-4 i), L_img in the last 30 %. In the first steps a strong update may
 * follow: five
 * times with scale sqrt(1/10), once with scale. Then the sampler steps, and blends at the level it has left. */
#include "method.h"
#include <math.h>
#include <string.h>

enum { INNER = 10, STRONG = 5, STRONG_STEPS = 10, ALTERED_STEPS = 25 };

/* The embeddings as rows of what the cosine runs over: channels with BL_ODD_PROMPT (columns are tokens), else tokens. */
static void arrange(const bl_method *m, const float *embedding, float *rows, bool back)
{
    const size_t tokens = m->c->text.positions, channels = m->c->text.channels;
    for (size_t b = 0; b < m->spec.branches; b++)
        for (size_t i = 0; i < tokens; i++)
            for (size_t k = 0; k < channels; k++) {
                const size_t e = (b * tokens + i) * channels + k, r = m->spec.odd & BL_ODD_PROMPT ? (b * channels + k) * tokens + i : e;
                if (back)
                    rows[e] = embedding[r];
                else
                    rows[r] = embedding[e];
            }
}

/* 1 - the mean cosine and its gradient with respect to the embedding, in m->rows[0]. */
static bl_result prompt_loss(bl_method *m, const float *embedding, float *loss)
{
    bl_result result = BL_OK;
    const size_t rows = m->spec.branches * (size_t)(m->spec.odd & BL_ODD_PROMPT ? m->c->text.channels : m->c->text.positions);
    const size_t all = m->spec.branches * (size_t)m->c->text.positions * m->c->text.channels;
    arrange(m, embedding, m->rows[0], false);
    arrange(m, m->spec.detail, m->rows[1], false);
    BL_TRY(bl_method_cosine(m, m->rows[0], m->rows[1], loss, m->rows[2]));
    arrange(m, m->rows[2], m->rows[0], true);
    for (size_t i = 0; i < all; i++)
        m->rows[0][i] /= (float)rows;
fail:
    return result;
}

static void report(const bl_method *m, bl_update u, const bl_guidance *found)
{
    const bl_update at = bl_method_found(m, u.kind, u.step, u.inner, found, u.values);
    u.t = at.t;
    u.attention_loss = at.attention_loss;
    u.n = at.n;
    u.x = at.x;
    u.y = at.y;
    if (m->spec.update)
        m->spec.update(m->spec.context, &u);
}

/* n decides once and for all whether the strong update is allowed. */
static void localise(bl_method *m, uint32_t n)
{
    if (n > 10 && n < 50 && (m->spec.odd & BL_ODD_GATE))
        m->strong = false;
}

static bl_result guide(bl_method *m, const bl_sample_state *state, const float *conditional, float t, bl_guidance *found)
{
    m->forwards++;
    m->backwards++;
    m->flops += m->guide.flops;
    return bl_guide_run(&m->guide, state->latents, conditional, m->map_mask, t, found, m->grad, m->grad_embedding);
}

static bl_result strong_update(bl_method *m, uint32_t step, bl_sample_state *state, const float *conditional, float t)
{
    bl_result result = BL_OK;
    const size_t values = (size_t)m->spec.guide.h * m->spec.guide.w * m->c->unet.in_channels;
    for (uint32_t k = 0; k <= STRONG; k++) {
        const double begun = bl_clock(), size = m->spec.scale * (k < STRONG ? sqrt(0.1) : 1);
        bl_guidance found;
        BL_TRY(guide(m, state, conditional, t, &found));
        if (k == STRONG && step >= ALTERED_STEPS)
            break;
        for (size_t i = 0; i < values; i++)
            state->latents[i] = (float)(state->latents[i] - size * m->grad[i]);
        report(m, (bl_update){ .kind = BL_UPDATE_LATENTS, .step = step, .inner = INNER + k, .loss = found.loss, .image_loss = NAN,
            .size = (float)size, .norm = found.norm, .values = state->latents, .gradient = m->grad,
                .seconds = 1e-9 * (bl_clock() - begun) }, &found);
    }
fail:
    return result;
}

bl_result bl_anomalyany_before(bl_method *m, uint32_t step, bl_sample_state *state)
{
    bl_result result = BL_OK;
    const bl_method_spec *s = &m->spec;
    const size_t values = (size_t)s->guide.h * s->guide.w * m->c->unet.in_channels;
    const size_t words = (size_t)m->c->text.positions * m->c->text.channels;
    const float t = s->schedule->steps[step].t;
    float *conditional = state->embedding + (s->branches - 1) * words;
    const double size = fmax(1e-4, 0.02 - 1e-4 * step), weight = 0.5 * step / s->image_steps;
    const bool image = s->image && step > 0.7 * s->image_steps;
    bl_guidance found = { 0 };
    if (m->both.s.exec) { /* the forward whose result is not used; its maps are */
        BL_TRY(bl_guide_run(&m->both, state->latents, state->embedding, NULL, t, &found, NULL, NULL));
        m->forwards += 2;
        m->flops += m->both.flops;
        localise(m, found.n);
    }
    for (uint32_t q = 0; q < INNER; q++) {
        const double begun = bl_clock();
        float image_loss = NAN, text_loss = 0;
        if (q)
            localise(m, found.n); /* of the maps before the last update, as in the code */
        BL_TRY(guide(m, state, conditional, t, &found));
        if (image) {
            BL_TRY(bl_image_guide_run(s->image, state->latents, &image_loss, m->image_grad));
            m->decodes++;
            m->flops += s->image->flops;
        }
        const double loss = weight * found.loss + (image ? 0.1 * image_loss : 0);
        double norm = 0;
        for (size_t i = 0; i < values; i++) {
            const double g = weight * m->grad[i] + (image ? 0.1 * m->image_grad[i] : 0);
            norm += g * g;
            m->grad[i] = (float)g;
            state->latents[i] = (float)(state->latents[i] - 2 * size * g);
        }
        report(m, (bl_update){ .kind = BL_UPDATE_LATENTS, .step = step, .inner = q, .loss = (float)loss, .image_loss = image_loss,
            .size = (float)(2 * size), .norm = sqrt(norm), .values = state->latents, .gradient = m->grad,
                .seconds = 1e-9 * (bl_clock() - begun) }, &found);
        if (s->detail) {
            BL_TRY(prompt_loss(m, state->embedding, &text_loss));
            for (size_t i = 0; i < s->branches * words; i++) {
                const size_t k = i % words;
                const double g = m->rows[0][i] + (i / words == s->branches - 1 ? weight * m->grad_embedding[k] : 0);
                state->embedding[i] = (float)(state->embedding[i] - size * g);
            }
            report(m, (bl_update){ .kind = BL_UPDATE_EMBEDDING, .step = step, .inner = q, .loss = (float)(loss + text_loss),
                .image_loss = image_loss, .size = (float)size, .values = state->embedding }, &found);
        }
    }
    state->changed |= BL_SAMPLE_LATENTS | BL_SAMPLE_EMBEDDING;
    for (uint32_t k = 0; k < s->threshold_count && m->strong && (step < STRONG_STEPS || !(s->odd & BL_ODD_GATE)); k++)
        if (s->thresholds[k].step == step && found.loss > 1 - s->thresholds[k].value)
            BL_TRY(strong_update(m, step, state, conditional, t));
    if (s->mask && s->draw && (s->odd & BL_ODD_BLEND)) {
        s->draw(s->context, step, state->noise);
        state->changed |= BL_SAMPLE_NOISE;
    }
fail:
    return result;
}
