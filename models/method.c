/* Layer 4. */
#include "method.h"
#include "grad.h"
#include <math.h>
#include <string.h>

void bl_mask_on_grid(const float *mask, uint32_t h, uint32_t w, uint32_t level, float *out)
{
    const uint32_t mh = h >> level, mw = w >> level, side = 1u << level;
    float largest = 0;
    for (uint32_t y = 0; y < mh; y++)
        for (uint32_t x = 0; x < mw; x++) {
            float sum = 0;
            for (uint32_t j = 0; j < side; j++)
                for (uint32_t i = 0; i < side; i++)
                    sum += mask[(y * side + j) * w + x * side + i];
            out[y * mw + x] = sum;
            largest = BL_MAX(largest, sum);
        }
    for (uint32_t i = 0; i < mh * mw && largest > 0; i++)
        out[i] /= largest;
}

/* --- cosine of text embeddings -------------------------------------------------------------------------------------------- */

/* x: rows of one; source: of the other; history: the gradient; out: cosines. */
static bl_result create_cosine(bl_method *m, uint32_t rows, uint32_t columns)
{
    bl_result result = BL_OK;
    bl_stage *s = &m->cosine;
    const bl_shape shape = { 1, rows, 1, columns };
    BL_TRY(bl_graph_create(BL_F32, false, &s->graph));
    s->x = bl_graph_input(s->graph, "a", shape, BL_F32);
    s->source = bl_graph_input(s->graph, "b", shape, BL_F32);
    s->out = bl_graph_keep(s->graph, bl_graph_cosine(s->graph, s->x, s->source));
    bl_graph_gradient(s->graph, &(bl_seed){ .y = s->out, .scale = -1 }, 1, &s->x, &s->history, 1);
    BL_TRY(bl_stage_finish(m->c, 0, "prompt", 1, s)); /* it has no weights */
fail:
    return result;
}

bl_result bl_method_cosine(bl_method *m, const float *a, const float *b, float *loss, float *gradient)
{
    bl_result result = BL_OK;
    const bl_stage *s = &m->cosine;
    const bl_shape shape = bl_graph_shape(s->graph, s->x);
    const size_t rows = bl_rows(shape), all = rows * shape.c;
    double sum = 0;
    float *cosines = bl_alloc(rows, sizeof(*cosines));
    if (!cosines)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for the loss of a prompt");
    BL_TRY(bl_exec_write(s->exec, s->x, a, all));
    BL_TRY(bl_exec_write(s->exec, s->source, b, all));
    BL_TRY(bl_exec_set_steps(s->exec, &(bl_step){ .in_scale = 1 }, 1));
    BL_TRY(bl_exec_run(s->exec));
    BL_TRY(bl_stage_read(s, s->out, cosines, rows, "the loss of the prompt is not finite"));
    BL_TRY(bl_stage_read(s, s->history, gradient, all, "the gradient of the prompt is not finite"));
    for (size_t i = 0; i < rows; i++)
        sum += cosines[i];
    *loss = (float)(1 - sum / (double)rows);
fail:
    bl_free(cosines);
    return result;
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

static bl_result create(bl_method *m)
{
    bl_result result = BL_OK;
    bl_checkpoint *c = m->c;
    const bl_method_spec *s = &m->spec;
    bl_guide_spec guide = s->guide;
    const size_t values = (size_t)guide.h * guide.w * c->unet.in_channels;
    const size_t words = (size_t)s->branches * c->text.positions * c->text.channels;
    const bool optimizes = s->kind == BL_METHOD_CUT || s->kind == BL_METHOD_ANOMALYANY;
    guide.gradient = optimizes;
    guide.embedding = s->kind == BL_METHOD_ANOMALYANY;
    guide.masked = s->mask && s->kind != BL_METHOD_ANOMALYANY;
    BL_TRY(bl_guide_create(c, &guide, false, NULL, &m->guide));
    const size_t cells = (size_t)m->guide.mh * m->guide.mw;
    m->maps = bl_alloc(cells * guide.count, sizeof(*m->maps));
    m->map_mask = bl_alloc(cells, sizeof(*m->map_mask));
    m->grad = bl_alloc(values, sizeof(*m->grad));
    m->image_grad = bl_alloc(values, sizeof(*m->image_grad));
    m->grad_embedding = guide.embedding ? bl_alloc(words, sizeof(*m->grad_embedding)) : NULL;
    if (!m->maps || !m->map_mask || !m->grad || !m->image_grad || (guide.embedding && !m->grad_embedding))
        BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for gradients"));
    if (guide.masked)
        bl_mask_on_grid(s->mask, guide.h, guide.w, guide.level, m->map_mask);
    if (s->kind == BL_METHOD_ANOMALYANY && (s->odd & BL_ODD_MAPS) && s->branches == 2) {
        guide.branches = 2;
        guide.gradient = guide.embedding = false;
        BL_TRY(bl_guide_create(c, &guide, false, NULL, &m->both));
    }
    if (s->kind == BL_METHOD_CUT) {
        m->before = bl_alloc(values, sizeof(*m->before));
        if (!m->before)
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for latents"));
        guide.gradient = false;
        BL_TRY(bl_guide_create(c, &guide, false, NULL, &m->check));
    }
    if (s->detail && optimizes) {
        for (size_t i = 0; i < BL_COUNT(m->rows); i++)
            if (!(m->rows[i] = bl_alloc(words, sizeof(*m->rows[i]))))
                BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for gradients"));
        const bool by_channel = s->kind == BL_METHOD_ANOMALYANY && (s->odd & BL_ODD_PROMPT);
        const uint32_t prompts = s->kind == BL_METHOD_ANOMALYANY ? s->branches : 1;
        BL_TRY(create_cosine(m, prompts * (by_channel ? c->text.channels : c->text.positions),
                             by_channel ? c->text.positions : c->text.channels));
    }
fail:
    return result;
}

bl_result bl_method_create(bl_checkpoint *c, const bl_method_spec *spec, bl_method *m)
{
    *m = (bl_method){ .c = c, .spec = *spec, .strong = true };
    const bl_result result = create(m);
    if (result != BL_OK)
        bl_method_destroy(m);
    return result;
}

void bl_method_destroy(bl_method *m)
{
    float *arrays[] = { m->grad, m->image_grad, m->grad_embedding, m->map_mask, m->rows[0], m->rows[1], m->rows[2], m->maps, m->before };
    for (size_t i = 0; i < BL_COUNT(arrays); i++)
        bl_free(arrays[i]);
    bl_guide_destroy(&m->guide);
    bl_guide_destroy(&m->both);
    bl_guide_destroy(&m->check);
    bl_stage_destroy(&m->cosine);
    *m = (bl_method){ 0 };
}

bl_update bl_method_found(const bl_method *m, bl_update_kind kind, uint32_t step, uint32_t inner, const bl_guidance *found,
                          const float *values)
{
    const uint32_t at = found->at[m->spec.guide.count - 1];
    return (bl_update){ .kind = kind, .step = step, .inner = inner, .t = m->spec.schedule->steps[step].t, .loss = found->loss,
        .attention_loss = found->loss, .image_loss = NAN, .n = found->n, .x = at % m->guide.mw, .y = at / m->guide.mw, .values = values };
}

/* --- before a step ------------------------------------------------------------------------------------------------------------ */

static void set_gain(bl_method *m, uint32_t step, bl_sample_state *state)
{
    const bl_method_spec *s = &m->spec;
    memset(state->gain, 0, m->c->text.positions * sizeof(*state->gain));
    if (step >= s->first && step <= s->last)
        for (uint32_t i = 0; i < s->guide.count; i++)
            state->gain[s->guide.tokens[i]] = s->gain;
    state->changed |= BL_SAMPLE_GAIN;
}

/* Where the words look at last: the conditional maps at the last step. */
static bl_result last_maps(bl_method *m, uint32_t step, const bl_sample_state *state)
{
    bl_result result = BL_OK;
    const bl_method_spec *s = &m->spec;
    const size_t words = (size_t)m->c->text.positions * m->c->text.channels;
    bl_guidance found;
    bl_guide *guide = m->check.s.exec ? &m->check : &m->guide;
    BL_TRY(bl_guide_run(guide, state->latents, state->embedding + (s->branches - 1) * words, m->map_mask, s->schedule->steps[step].t,
                        &found, NULL, NULL));
    m->forwards++;
    m->flops += guide->flops;
    BL_TRY(bl_guide_maps(guide, m->maps));
    const bl_update last = bl_method_found(m, BL_UPDATE_MEASURED, step, s->inner, &found, state->latents);
    if (s->update)
        s->update(s->context, &last);
fail:
    return result;
}

bl_result bl_method_before(void *method, uint32_t step, bl_sample_state *state)
{
    bl_result result = BL_OK;
    bl_method *m = method;
    if (m->spec.kind == BL_METHOD_CUT)
        BL_TRY(bl_cut_before(m, step, state));
    if (m->spec.kind == BL_METHOD_ANOMALYANY)
        BL_TRY(bl_anomalyany_before(m, step, state));
    if (m->spec.kind == BL_METHOD_ATTEND)
        set_gain(m, step, state);
    if (step + 1 == m->spec.schedule->count)
        BL_TRY(last_maps(m, step, state));
fail:
    return result;
}
