/* Verification of the attention loss with its gradient, and of whole guided runs. Layer 5. */
#include "guide.h"
#include "image_guide.h"
#include "verify.h"
#include <stdio.h>
#include <string.h>

#define NEED(p) BL_TRY((p) ? BL_OK : bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", v->stage))

double bl_golden_number(const bl_verifier *v, const char *key, double otherwise)
{
    json_t *j = bl_golden_metadata(v, key);
    const double n = json_is_number(j) ? json_number_value(j) : otherwise;
    json_decref(j);
    return n;
}

static bool flag(const bl_verifier *v, const char *key)
{
    json_t *j = bl_golden_metadata(v, key);
    const bool yes = json_is_true(j);
    json_decref(j);
    return yes;
}

/* --- one evaluation --------------------------------------------------------------------------------------------------- */

bl_result bl_golden_guide(bl_verifier *v, uint32_t h, uint32_t w, const char *res_key, bl_guide_spec *spec)
{
    bl_result result = BL_OK;
    json_t *indices = bl_golden_metadata(v, "indices");
    const double res = bl_golden_number(v, res_key, 0);
    *spec = (bl_guide_spec){ .h = h, .w = w, .branches = 1, .slice = v->checkpoint->text.positions - 1,
        .count = (uint32_t)json_array_size(indices),
        .smooth = true };
    while ((h >> spec->level) > res && spec->level < 31)
        spec->level++;
    if (!spec->count || spec->count > BL_MAX_WORDS)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "the metadata has no token indices"));
    for (uint32_t i = 0; i < spec->count; i++)
        spec->tokens[i] = (uint32_t)json_integer_value(json_array_get(indices, i));
fail:
    json_decref(indices);
    return result;
}

/* Where the first end token is. */
static uint32_t end_of(const bl_verifier *v, const float *ids, size_t count)
{
    uint32_t at = 0;
    while (at + 1 < count && (int32_t)ids[at] != bl_tokenizer_eos(v->checkpoint->tokenizer))
        at++;
    return at;
}

static bl_result expect_map(bl_verifier *v, const bl_stage *s, bl_value x, const char *name)
{
    const bl_shape shape = bl_graph_shape(s->graph, x);
    const size_t count = (size_t)bl_rows(shape) * shape.c;
    float *map = bl_alloc(count, sizeof(*map));
    if (!map)
        return bl_fail(BL_ERROR_MEMORY, "no host memory to verify %s", name);
    const bl_result result = bl_exec_read(s->exec, x, map, count);
    if (result == BL_OK)
        bl_expect(v, name, map, count, bl_allowed(v, 1e-5, 5e-3), NULL);
    bl_free(map);
    return result;
}

/* Kept probabilities "map.N.place", in the order in which they enter the mean: up, down, middle. */
static bl_result expect_maps(bl_verifier *v, const bl_guide *u)
{
    static const char *const places[] = { "up", "down", "mid" };
    bl_result result = BL_OK;
    uint32_t n = 0;
    for (size_t place = 0; place < BL_COUNT(places); place++)
        for (bl_value x = 1; x < u->s.graph->tensor_count; x++) {
            const char *name = u->s.graph->tensors[x].name;
            const size_t length = name ? strlen(name) : 0;
            char golden[32];
            if (length < 6 || strcmp(name + length - 6, ".probs") || strncmp(name, places[place], strlen(places[place])))
                continue;
            snprintf(golden, sizeof(golden), "map.%u.%s", n++, places[place]);
            if (bl_golden_has(v, golden))
                BL_TRY(expect_map(v, &u->s, x, golden));
        }
fail:
    return result;
}

/* Gradients and values of modules by their names. */
static bl_result expect_modules(bl_verifier *v, const bl_guide *u)
{
    bl_result result = BL_OK;
    for (bl_value x = 1; x < u->s.graph->tensor_count; x++) {
        const char *name = u->s.graph->tensors[x].name;
        char golden[160];
        if (!name)
            continue;
        if (!strncmp(name, "grad.", 5) && bl_golden_has(v, name))
            BL_TRY(bl_expect_kept(v, &u->s, x, name, bl_allowed(v, 1e-4, 1.5e-2)));
        snprintf(golden, sizeof(golden), "val.%s", name);
        if (bl_golden_has(v, golden))
            BL_TRY(bl_expect_kept(v, &u->s, x, golden, bl_allowed(v, 1e-5, 5e-3)));
    }
fail:
    return result;
}

/* The names of the modules whose gradients the file has. */
static const char **module_names(bl_verifier *v)
{
    const size_t count = bl_safetensors_count(v->file);
    const char **names = bl_alloc(count + 1, sizeof(*names));
    for (size_t i = 0, n = 0; names && i < count; i++) {
        const char *name = bl_safetensors_at(v->file, i)->name;
        if (!strncmp(name, "grad.", 5))
            names[n++] = name + 5;
    }
    return names;
}

/* One run; `named`: with every module kept, else as the generator runs it. */
static bl_result verify_evaluation(bl_verifier *v, const bl_guide_spec *spec, bool named, const float *latents, const float *embedding,
                                   float t)
{
    bl_result result = BL_OK;
    bl_guide u = { 0 };
    bl_guidance found;
    const bl_checkpoint *c = v->checkpoint;
    const size_t values = (size_t)c->unet.in_channels * spec->h * spec->w, words = (size_t)c->text.positions * c->text.channels;
    const double scale = spec->scale != 0 ? (double)spec->scale : 1, grad_allowed = bl_allowed(v, 1e-4, 1.5e-2);
    float losses[BL_MAX_WORDS];
    const char **names = module_names(v);
    float *grad = bl_alloc(values, sizeof(*grad)), *grad_e = bl_alloc(words, sizeof(*grad_e));
    float *maps = NULL;
    NEED(names && grad && grad_e);
    BL_TRY(bl_guide_create(v->checkpoint, spec, named, named ? names : NULL, &u));
    const size_t pixels = (size_t)u.mh * u.mw;
    maps = bl_alloc(pixels, spec->count * sizeof(*maps));
    NEED(maps);
    BL_TRY(bl_guide_run(&u, latents, embedding, NULL, t, &found, grad, grad_e));
    for (size_t i = 0; i < values; i++)
        grad[i] = (float)(grad[i] / scale);
    for (size_t i = 0; i < words; i++)
        grad_e[i] = (float)(grad_e[i] / scale);
    if (named) {
        BL_TRY(expect_maps(v, &u));
        BL_TRY(expect_map(v, &u.s, u.mean, "agg"));
        BL_TRY(expect_modules(v, &u));
    }
    bl_expect(v, "loss", &found.loss, 1, bl_allowed(v, 1e-5, 5e-3), NULL);
    bl_expect(v, "loss.f64", &found.loss, 1, bl_allowed(v, 1e-5, 5e-3), NULL);
    bl_expect(v, "max", found.top, spec->count, bl_allowed(v, 1e-5, 5e-3), NULL);
    for (uint32_t i = 0; i < spec->count; i++)
        losses[i] = 1 - found.top[i];
    bl_expect(v, "losses", losses, spec->count, bl_allowed(v, 1e-5, 5e-3), NULL);
    BL_TRY(bl_guide_maps(&u, maps));
    for (size_t i = 0; i < pixels; i++) /* the last word's */
        maps[i] = maps[i * spec->count + spec->count - 1];
    bl_expect(v, "smoothed_last", maps, pixels, bl_allowed(v, 1e-5, 1e-2), NULL);
    bl_expect(v, "grad_latents", grad, values, grad_allowed, NULL);
    bl_expect(v, "grad_latents.f64", grad, values, grad_allowed, NULL);
    bl_expect(v, "grad_emb", grad_e, words, grad_allowed, NULL);
    const float step = (float)bl_golden_number(v, "step_size", 0);
    for (size_t i = 0; i < values; i++)
        grad[i] = latents[i] - step * grad[i];
    bl_expect(v, "updated", grad, values, bl_allowed(v, 1e-5, 5e-3), NULL);
fail:
    bl_guide_destroy(&u);
    bl_free(names);
    bl_free(grad);
    bl_free(grad_e);
    bl_free(maps);
    return result;
}

/* The whole network at the same point. */
static bl_result verify_prediction(bl_verifier *v, const bl_guide_spec *spec, const float *latents, const float *embedding, float t)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    const bl_checkpoint *c = v->checkpoint;
    const uint32_t channels = c->unet.in_channels;
    const size_t values = (size_t)channels * spec->h * spec->w;
    float *x = bl_alloc(values, sizeof(*x));
    NEED(x);
    bl_to_channels_last(latents, 1, channels, spec->h, spec->w, channels, x);
    BL_TRY(bl_stage_unet(v->checkpoint, 1, spec->h, spec->w, false, &s));
    BL_TRY(bl_exec_write(s.exec, s.x, x, values));
    BL_TRY(bl_exec_write(s.exec, s.context, embedding, (size_t)c->text.positions * c->text.channels));
    BL_TRY(bl_exec_set_steps(s.exec, &(bl_step){ .t = t, .in_scale = 1 }, 1));
    BL_TRY(bl_exec_run(s.exec));
    BL_TRY(bl_expect_kept(v, &s, s.out, "eps", bl_allowed(v, 1e-5, 5e-3)));
fail:
    bl_stage_destroy(&s);
    bl_free(x);
    return result;
}

bl_result bl_verify_attention(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *shape, *words;
    bl_guide_spec spec;
    float *latents = NULL, *embedding = NULL, *ids = NULL;
    if (!v->checkpoint || !bl_golden_has(v, "agg") || !bl_golden_has(v, "emb") || !bl_golden_has(v, "latents") ||
        !bl_golden_has(v, "grad_latents"))
        return BL_OK;
    v->stage = "attention loss";
    const bl_checkpoint *c = v->checkpoint;
    BL_TRY(bl_golden_missing(latents = bl_golden(v, "latents", &shape)));
    BL_TRY(bl_golden_missing(embedding = bl_golden(v, "emb", &words)));
    if (shape->rank != 4 || shape->dims[0] != 1 || shape->dims[1] != c->unet.in_channels || shape->dims[2] > 256 || shape->dims[3] > 256 ||
        words->count != (uint64_t)c->text.positions * c->text.channels)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "latents and emb are not those of one prompt"));
    BL_TRY(bl_golden_guide(v, (uint32_t)shape->dims[2], (uint32_t)shape->dims[3], "res", &spec));
    spec.gradient = spec.embedding = true;
    spec.smooth = flag(v, "smooth");
    BL_TRY(bl_golden_missing(ids = bl_golden_sized(v, "ids", c->text.positions)));
    if (flag(v, "normalize_eot"))
        spec.slice = end_of(v, ids, c->text.positions);
    const float t = (float)bl_golden_number(v, "t", 0);
    BL_TRY(verify_evaluation(v, &spec, true, latents, embedding, t));
    v->stage = "attention loss, fused";
    BL_TRY(verify_evaluation(v, &spec, false, latents, embedding, t));
    v->stage = "attention loss, times 2^-12";
    spec.scale = 0x1p-12f;
    BL_TRY(verify_evaluation(v, &spec, false, latents, embedding, t));
    v->stage = "unet";
    BL_TRY(verify_prediction(v, &spec, latents, embedding, t));
fail:
    v->stage = "-";
    bl_free(latents);
    bl_free(embedding);
    bl_free(ids);
    return result;
}

/* --- CLIP ------------------------------------------------------------------------------------------------------------------- */

/* A kept tensor [1,h,w,4] without its last channel, as [1,h,w,3] or [1,3,h,w]. */
static bl_result expect_pixels(bl_verifier *v, const bl_stage *s, bl_value x, bool first, const char *name, double allowed)
{
    bl_result result = BL_OK;
    const bl_shape shape = bl_graph_shape(s->graph, x);
    const size_t pixels = (size_t)shape.h * shape.w;
    float *all = bl_alloc(4 * pixels, sizeof(*all)), *three = bl_alloc(3 * pixels, sizeof(*three));
    NEED(all && three);
    BL_TRY(bl_exec_read(s->exec, x, all, 4 * pixels));
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < 3; k++)
            three[first ? k * pixels + i : 3 * i + k] = all[4 * i + k];
    bl_expect(v, name, three, 3 * pixels, allowed, NULL);
fail:
    bl_free(all);
    bl_free(three);
    return result;
}

/* The tokenizer against the ids of the text in the metadata; OpenAI's code pads with 0. */
static bl_result verify_clip_tokens(bl_verifier *v)
{
    bl_result result = BL_OK;
    const uint32_t n = v->clip->config.text.positions;
    json_t *text = bl_golden_metadata(v, "text");
    int32_t *ids = bl_alloc(n, sizeof(*ids));
    float *got = bl_alloc(n, sizeof(*got));
    uint32_t used;
    NEED(ids && got);
    if (json_is_string(text) && v->clip->tokenizer) {
        BL_TRY(bl_tokenizer_encode_padded(v->clip->tokenizer, json_string_value(text), n, ids, &used));
        for (uint32_t i = 0; i < used; i++)
            got[i] = (float)ids[i];
        bl_expect(v, "token_ids", got, n, 0, NULL);
    } else {
        bl_skip(v, "token_ids", v->clip->tokenizer ? "the file does not say of which text" : "this CLIP model has no tokenizer");
    }
fail:
    json_decref(text);
    bl_free(ids);
    bl_free(got);
    return result;
}

bl_result bl_verify_clip(bl_verifier *v)
{
    bl_result result = BL_OK;
    const bl_file_tensor *shape, *words;
    bl_image_guide u = { 0 };
    bl_value features, x224, grad_x224;
    float *ids = NULL, *picture = NULL, *x = NULL, *text = NULL, *seen = NULL, cosine;
    int32_t *tokens = NULL;
    if (!v->clip || !bl_golden_has(v, "token_ids") || !bl_golden_has(v, "image_nhwc_u8"))
        return BL_OK;
    v->stage = "clip";
    const bl_clip_config *c = &v->clip->config;
    BL_TRY(bl_golden_missing(ids = bl_golden(v, "token_ids", &words)));
    BL_TRY(bl_golden_missing(picture = bl_golden(v, "image_nhwc_u8", &shape)));
    if (shape->rank != 3 || shape->dims[0] > 4096 || shape->dims[1] > 4096 || shape->dims[2] != 3 || words->count != c->text.positions)
        BL_TRY(bl_fail(BL_ERROR_INPUT, "token_ids or image_nhwc_u8 are of another size"));
    const uint32_t h = (uint32_t)shape->dims[0], w = (uint32_t)shape->dims[1];
    const size_t pixels = (size_t)h * w;
    tokens = bl_alloc(c->text.positions, sizeof(*tokens));
    text = bl_alloc(c->projection, sizeof(*text));
    seen = bl_alloc(c->projection, sizeof(*seen));
    x = bl_alloc(4 * pixels, sizeof(*x));
    NEED(tokens && text && seen && x);
    for (uint32_t i = 0; i < c->text.positions; i++)
        tokens[i] = (int32_t)ids[i];
    BL_TRY(verify_clip_tokens(v));
    BL_TRY(bl_clip_text_features(v->clip, tokens, text));
    bl_expect(v, "text_features", text, c->projection, 1e-5, NULL);
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < 3; k++)
            x[4 * i + k] = picture[3 * i + k] / 255;
    BL_TRY(bl_image_guide_of_pixels(v->clip->checkpoint, v->clip, h, w, text, &u, &features, &x224, &grad_x224));
    BL_TRY(bl_exec_write(u.s.exec, u.s.x, x, 4 * pixels));
    BL_TRY(bl_exec_set_steps(u.s.exec, &(bl_step){ .in_scale = 1 }, 1));
    BL_TRY(bl_exec_run(u.s.exec));
    BL_TRY(expect_pixels(v, &u.s, x224, true, "x224", 1e-5));
    BL_TRY(bl_exec_read(u.s.exec, features, seen, c->projection));
    bl_expect(v, "image_features", seen, c->projection, 1e-5, NULL);
    BL_TRY(bl_exec_read(u.s.exec, u.loss, &cosine, 1));
    const float loss = 1 - cosine, logits = 100 * cosine;
    bl_expect(v, "logits", &logits, 1, 1e-4, NULL); /* a cosine near 0 */
    bl_expect(v, "loss", &loss, 1, 1e-5, NULL);
    BL_TRY(expect_pixels(v, &u.s, grad_x224, true, "grad_x224", 1e-4));
    BL_TRY(expect_pixels(v, &u.s, u.grad_latents, false, "grad_image_nhwc", 1e-4));
fail:
    v->stage = "-";
    bl_image_guide_destroy(&u);
    bl_free(ids);
    bl_free(picture);
    bl_free(x);
    bl_free(text);
    bl_free(seen);
    bl_free(tokens);
    return result;
}
