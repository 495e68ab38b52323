/* LoRA: what is added to the weights, against sums in double precision made here; the pictures of a merged checkpoint; broken files. */
#include "failing_memory.h"
#include "lora.h"
#include "model_session.h"
#include "parts.h"

static char file[96], second[96];
static const fx_options published = { .published = true };

static int setup_files(void **state)
{
    const int failed = setup(state);
    snprintf(file, sizeof(file), "%s/lora.safetensors", root);
    snprintf(second, sizeof(second), "%s/second.safetensors", root);
    fx_remove(good);
    return failed || fx_write(good, TEST_DATA "/tokenizer", &published);
}

static int teardown_files(void **state)
{
    unlink(file);
    unlink(second);
    return teardown(state);
}

/* --- files ---------------------------------------------------------------------------------------------------------------- */

/* Layers of the fixture, of every form: as the file calls them, in the model, and [rows][columns]. */
typedef struct layer {
    const char *kohya, *peft, *tensor;
    uint32_t rows, in, kernel; /* kernel 0: linear */
    uint32_t rank;
    float alpha;               /* 0: none in the file */
} layer;
static const layer layers[] = {
    { "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
      "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
      "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight", 64, 64, 0, 4, 2 },
    { "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0",
      "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
      "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0.weight", 128, 128, 0, 1, 0 },
    { "lora_unet_mid_block_attentions_0_proj_in", "unet.mid_block.attentions.0.proj_in", "unet.mid_block.attentions.0.proj_in.weight",
      128, 128, 1, 3, 3 },
    { "lora_unet_up_blocks_0_resnets_1_conv1", "unet.up_blocks.0.resnets.1.conv1", "unet.up_blocks.0.resnets.1.conv1.weight", 128, 192,
      3, 5, 0.5f },
    { "lora_te_text_model_encoder_layers_1_mlp_fc1", "text_encoder.text_model.encoder.layers.1.mlp.fc1",
      "text_encoder.text_model.encoder.layers.1.mlp.fc1.weight", 32, 64, 0, 2, 16 },
};
enum { LAYERS = BL_COUNT(layers), TENSORS = 3 * LAYERS };

static uint32_t columns_of(const layer *l) { return l->in * BL_MAX(l->kernel * l->kernel, 1u); }

/* Numbers that all types hold exactly. */
static float number(uint32_t seed, uint32_t i)
{
    const uint32_t random = (seed * 7919 + i) * 2654435761u;
    return (float)((int32_t)(random >> 8) % 63 - 31) / 512;
}
static float down_at(size_t l, uint32_t r, uint32_t c) { return number((uint32_t)l + 1, r * columns_of(&layers[l]) + c); }
static float up_at(size_t l, uint32_t row, uint32_t r) { return number((uint32_t)l + 100, row * layers[l].rank + r); }

typedef enum spelling { KOHYA, PEFT, DIFFUSERS, OLD_TEXT } spelling;
static const char *const ends[][2] = { { ".lora_down.weight", ".lora_up.weight" }, { ".lora_A.weight", ".lora_B.weight" },
    { ".lora.down.weight", ".lora.up.weight" }, { ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight" } };

static char names[TENSORS][FX_NAME];
static st_tensor tensors[TENSORS];

/* The layers [first, end) as tensors: down, up, and alpha where there is one. */
static size_t build(spelling s, const char *dtype, size_t first, size_t end)
{
    size_t n = 0;
    for (size_t l = first; l < end; l++) {
        const layer *o = &layers[l];
        const uint32_t k = o->kernel, columns = columns_of(o);
        for (int up = 0; up < 2; up++) {
            const uint32_t count = up ? o->rows * o->rank : o->rank * columns;
            void *data = calloc(count, 4);
            for (uint32_t i = 0; i < count; i++)
                fx_store(data, i, dtype, up ? up_at(l, i / o->rank, i % o->rank) : down_at(l, i / columns, i % columns));
            snprintf(names[n], FX_NAME, "%s%s", s == KOHYA ? o->kohya : o->peft, ends[s][up]);
            tensors[n] = (st_tensor){ names[n], dtype, k ? 4 : 2, { up ? o->rows : o->rank, up ? o->rank : o->in, up ? 1 : k, up ? 1 : k },
                                      data };
            n++;
        }
        if (o->alpha != 0) {
            float *alpha = calloc(1, sizeof(*alpha));
            *alpha = o->alpha;
            snprintf(names[n], FX_NAME, "%s.alpha", s == KOHYA ? o->kohya : o->peft);
            tensors[n] = (st_tensor){ names[n], "F32", 0, { 0 }, alpha };
            n++;
        }
    }
    return n;
}

static void save(const char *path, size_t n)
{
    assert_int_equal(st_write(path, tensors, n, NULL, 0), 0);
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)tensors[i].data);
}

/* W + scale * alpha / rank * up @ down, one value of layer `l`. */
static double merged(double w, size_t l, uint32_t row, uint32_t column, double scale)
{
    double sum = 0;
    for (uint32_t r = 0; r < layers[l].rank; r++)
        sum += (double)up_at(l, row, r) * (double)down_at(l, r, column);
    return w + sum * scale * (layers[l].alpha != 0 ? (double)layers[l].alpha / layers[l].rank : 1);
}

/* --- values ---------------------------------------------------------------------------------------------------------------- */

static bl_parts open_parts(const bl_lora *loras, size_t count)
{
    const bl_model_options o = { .struct_size = sizeof(o), .loras = loras, .lora_count = count };
    bl_parts p;
    if (bl_parts_open(good, &o, &p) != BL_OK)
        fail_msg("%s", bl_last_error());
    return p;
}

/* Every layer's rows, read from `first` on, against the sums made here; `scales` of each layer in all. */
static void expect_merged(const bl_parts *p, const double scales[LAYERS])
{
    bl_lora_cache cache = { 0 };
    for (size_t l = 0; l < LAYERS; l++) {
        const bl_stored *t = bl_tensors_find(p->tensors, "", layers[l].tensor);
        const uint32_t columns = columns_of(&layers[l]), first = layers[l].rows / 3, count = layers[l].rows - first;
        assert_non_null(t);
        assert_int_equal(t->stored->count, layers[l].rows * columns);
        if (scales[l] == 0)
            assert_null(t->lora);
        float *got = malloc(2ull * count * columns * sizeof(*got)), *plain = got + (size_t)count * columns;
        assert_non_null(got);
        assert_int_equal(bl_stored_read(t, (uint64_t)first * columns, (size_t)count * columns, got), BL_OK);
        memcpy(plain, got, (size_t)count * columns * sizeof(*got));
        if (t->lora)
            assert_int_equal(bl_lora_add(t, first, count, got, &cache), BL_OK);
        for (uint32_t row = 0; row < count; row++)
            for (uint32_t c = 0; c < columns; c++) {
                const double want = merged((double)plain[row * columns + c], l, first + row, c, scales[l]);
                const double error = fabs((double)got[row * columns + c] - want);
                if (error > ldexp(fabs(want), -24) + 1e-12) /* half a unit in the last place, and what double sums leave */
                    fail_msg("%s [%u,%u]: %.9g, expected %.9g", layers[l].tensor, first + row, c, (double)got[row * columns + c], want);
            }
        free(got);
    }
    bl_lora_free(&cache);
}

static void every_spelling_is_merged_to_the_last_bit(void **state)
{
    (void)state;
    static const char *const dtypes[] = { "F32", "F16", "BF16" };
    static const float scales[] = { 1, 0.75f, -2 };
    for (spelling s = KOHYA; s <= OLD_TEXT; s++) {
        save(file, build(s, dtypes[s % 3], 0, LAYERS));
        const bl_lora lora = { file, scales[s % 3] };
        bl_parts p = open_parts(&lora, 1);
        double want[LAYERS];
        for (size_t l = 0; l < LAYERS; l++)
            want[l] = (double)scales[s % 3];
        expect_merged(&p, want);
        bl_parts_close(&p);
    }
}

static void several_are_added(void **state)
{
    (void)state;
    save(file, build(KOHYA, "F32", 0, 3));
    save(second, build(PEFT, "F32", 1, LAYERS));
    const bl_lora loras[] = { { file, 0.5f }, { second, 0.25f }, { second, 0 } }; /* 0 is 1 */
    bl_parts p = open_parts(loras, 3);
    expect_merged(&p, (const double[]){ 0.5, 1.75, 1.75, 1.25, 1.25 });
    bl_parts_close(&p);
    p = open_parts(loras, 1);
    expect_merged(&p, (const double[]){ 0.5, 0.5, 0.5, 0, 0 });
    bl_parts_close(&p);
}

/* Alpha of a whole network, as diffusers writes it; one in the file's tensors is stronger. */
static void metadata_tell_alpha(void **state)
{
    (void)state;
    static const struct { const char *text; bl_result r; const char *message; } cases[] = {
        { "{\"unet.lora_alpha\":8,\"unet.r\":4,\"unet.alpha_pattern\":{},\"unet.use_dora\":false}", BL_OK, NULL },
        { "{\"unet.lora_alpha\":8,\"unet.use_rslora\":true}", BL_ERROR_MODEL, "\"unet.use_rslora\" is set in its metadata" },
        { "{\"text_encoder.use_dora\":true}", BL_ERROR_MODEL, "\"text_encoder.use_dora\" is set" },
        { "{\"unet.alpha_pattern\":{\"a\":1}}", BL_ERROR_MODEL, "\"unet.alpha_pattern\" is set" },
        { "{\"unet.lora_alpha\":\"8\"}", BL_ERROR_MODEL, "\"unet.lora_alpha\" is a string" },
        { "{", BL_ERROR_MODEL, "lora.safetensors: lora_adapter_metadata: line 1" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        const st_metadata metadata = { "lora_adapter_metadata", cases[i].text };
        const bl_lora lora = { file, 1 };
        const bl_model_options o = { .struct_size = sizeof(o), .loras = &lora, .lora_count = 1 };
        bl_parts p;
        const size_t n = build(PEFT, "F32", 0, LAYERS);
        assert_int_equal(st_write(file, tensors, n, &metadata, 1), 0);
        for (size_t k = 0; k < n; k++)
            free((void *)(uintptr_t)tensors[k].data);
        const bl_result r = bl_parts_open(good, &o, &p);
        if (r != cases[i].r || (r != BL_OK && !strstr(bl_last_error(), cases[i].message)))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        if (r == BL_OK) /* the second layer has no alpha of its own, and rank 1 */
            expect_merged(&p, (const double[]){ 1, 8, 1, 1, 1 });
        bl_parts_close(&p);
    }
}

/* Before diffusers 0.20 the matrices hung on attention processors; in the oldest files the U-Net's have no prefix. */
static void the_oldest_names(void **state)
{
    (void)state;
    static const struct { const char *name, *tensor; uint32_t rows, columns; } cases[] = {
        { "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora",
          "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight", 64, 64 },
        { "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora",
          "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 128, 64 },
        { "mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_v_lora",
          "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight", 128, 64 },
        { "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora",
          "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0.weight", 64, 64 },
        { "text_encoder.text_model.encoder.layers.1.self_attn.to_q_lora",
          "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.weight", 64, 64 },
        { "text_encoder.text_model.encoder.layers.0.self_attn.to_out_lora",
          "text_encoder.text_model.encoder.layers.0.self_attn.out_proj.weight", 64, 64 },
    };
    enum { CASES = BL_COUNT(cases), RANK = 2 };
    static const float ones[RANK * 128] = { 1 };
    static char all[2 * CASES][FX_NAME];
    st_tensor t[2 * CASES];
    const bl_lora lora = { file, 3 };
    for (size_t i = 0; i < CASES; i++)
        for (uint32_t up = 0; up < 2; up++) {
            snprintf(all[2 * i + up], FX_NAME, "%s.%s.weight", cases[i].name, up ? "up" : "down");
            t[2 * i + up] = (st_tensor){ all[2 * i + up], "F32", 2, { up ? cases[i].rows : RANK, up ? RANK : cases[i].columns }, ones };
        }
    assert_int_equal(st_write(file, t, 2 * CASES, NULL, 0), 0);
    bl_parts p = open_parts(&lora, 1);
    size_t hung = 0;
    for (size_t i = 0; i < bl_tensors_count(p.tensors); i++)
        hung += bl_tensors_at(p.tensors, i)->lora != NULL;
    assert_int_equal(hung, CASES);
    for (size_t i = 0; i < CASES; i++) {
        const bl_stored *of = bl_tensors_find(p.tensors, "", cases[i].tensor);
        assert_non_null(of);
        assert_non_null(of->lora);
        assert_string_equal(of->lora->down->name, all[2 * i]);
        assert_string_equal(of->lora->up->name, all[2 * i + 1]);
        assert_true(of->lora->rank == RANK && of->lora->factor == 3);
    }
    bl_parts_close(&p);
}

/* --- memory ---------------------------------------------------------------------------------------------------------------- */

static void any_allocation_may_fail(void **state)
{
    (void)state;
    const bl_memory_api before = bl_memory;
    const bl_lora lora = { file, 1 };
    const bl_model_options o = { .struct_size = sizeof(o), .loras = &lora, .lora_count = 1 };
    int total = 1;
    save(file, build(KOHYA, "F32", 0, LAYERS));
    for (int n = 0; n <= total; n++) {
        bl_parts p;
        bl_lora_cache cache = { 0 };
        float *row = calloc(64, sizeof(*row));
        bl_memory = (bl_memory_api){ limited_resize, counted_release };
        allocations = alive = 0;
        fail_at = n;
        bl_result r = bl_parts_open(good, &o, &p);
        if (r == BL_OK)
            r = bl_lora_add(bl_tensors_find(p.tensors, "", layers[0].tensor), 5, 1, row, &cache);
        bl_lora_free(&cache);
        bl_parts_close(&p);
        bl_memory = before;
        free(row);
        total = n ? total : allocations;
        if (r != (n ? BL_ERROR_MEMORY : BL_OK) || alive)
            fail_msg("allocation %d of %d failing gives %s (%s), and leaves %d behind", n, total, bl_result_name(r), bl_last_error(),
                     alive);
    }
    assert_true(total > 20);
}

/* --- pictures -------------------------------------------------------------------------------------------------------------- */

/* Rewrites one part of root/other with the layers of "lora.safetensors" in its weights. */
static void merge_part(void (*fill)(fx_part *), const char *net, const char *path_in_it)
{
    char path[FX_PATH], name[2 * FX_NAME];
    fx_part *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->o = &published;
    fill(p);
    for (size_t i = 0; i < p->count; i++) {
        float *v = (float *)(uintptr_t)p->tensors[i].data;
        snprintf(name, sizeof(name), "%s%s", net, p->tensors[i].name);
        for (size_t l = 0; l < LAYERS; l++)
            for (uint32_t k = 0; !strcmp(name, layers[l].tensor) && k < layers[l].rows * columns_of(&layers[l]); k++)
                v[k] = (float)merged((double)v[k], l, k / columns_of(&layers[l]), k % columns_of(&layers[l]), 8);
    }
    assert_int_equal(st_write(fx_path(path, other, path_in_it), p->tensors, p->count, NULL, 0), 0);
    for (size_t i = 0; i < p->count; i++)
        free((void *)(uintptr_t)p->tensors[i].data);
    free(p);
}

static bl_generate_result picture(bl_context *c, const char *path, const bl_model_options *o)
{
    bl_model *m = NULL;
    bl_generate_result r;
    bl_generate_options g = options(2, 7);
    if (bl_model_open_with(c, path, o, &m) != BL_OK || bl_generate(m, &g, &r) != BL_OK)
        fail_msg("%s", bl_last_error());
    bl_model_close(&m);
    return r;
}

static void the_picture_is_that_of_merged_weights(void **state)
{
    (void)state;
    need_device();
    save(file, build(KOHYA, "F32", 0, LAYERS));
    const bl_lora lora = { file, 8 };
    const bl_model_options o = { .struct_size = sizeof(o), .loras = &lora, .lora_count = 1 };
    variant(&published);
    merge_part(fx_unet_tensors, "unet.", FX_UNET_WEIGHTS);
    merge_part(fx_text_tensors, "text_encoder.", FX_TEXT_WEIGHTS);
    for (int half = 0; half < 2; half++) {
        bl_context *c = context;
        if (half && open_context(NULL, BL_PRECISION_F16, &c) != BL_OK)
            break; /* no 16-bit storage */
        bl_generate_result plain = picture(c, good, NULL), want = picture(c, other, NULL), got = picture(c, good, &o);
        assert_true(difference(&plain.image, &got.image) > 0.5);
        assert_true(difference(&want.image, &got.image) == 0);
        json_t *j = json_loads(got.parameters, 0, NULL), *list = json_object_get(j, "loras");
        assert_int_equal(json_array_size(list), 1);
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")), "lora.safetensors");
        assert_true(json_real_value(json_object_get(json_array_get(list, 0), "scale")) == 8);
        json_decref(j);
        bl_generate_result_free(&plain);
        bl_generate_result_free(&want);
        bl_generate_result_free(&got);
        if (half)
            bl_context_destroy(&c);
    }
}

/* What a LoRA makes too large for a half is found while it is loaded. */
static void sums_beyond_a_half_are_refused(void **state)
{
    (void)state;
    need_device();
    bl_context *c = NULL;
    bl_model *m = NULL;
    bl_generate_result r;
    bl_generate_options g = options(2, 7);
    if (open_context(NULL, BL_PRECISION_F16, &c) != BL_OK)
        skip();
    save(file, build(KOHYA, "F32", 0, 1));
    const bl_lora lora = { file, 1e9f };
    const bl_model_options o = { .struct_size = sizeof(o), .loras = &lora, .lora_count = 1 };
    assert_int_equal(bl_model_open_with(c, good, &o, &m), BL_OK);
    assert_int_equal(bl_generate(m, &g, &r), BL_ERROR_MODEL);
    assert_non_null(strstr(bl_last_error(), "attn1.to_q.weight\" holds "));
    assert_non_null(strstr(bl_last_error(), "which 16-bit storage cannot"));
    bl_model_close(&m);
    bl_context_destroy(&c);
}

/* --- refused --------------------------------------------------------------------------------------------------------------- */

#define Q "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"

static void broken_files_are_refused(void **state)
{
    (void)state;
    static const float not_finite = INFINITY, two[2] = { 1, 1 };
    static const struct { st_tensor all[3]; const char *message; } cases[] = {
        { { { "conv_in.weight", "F32", 1, { 4 }, NULL } }, "lora.safetensors: is of no known kind, not a LoRA" },
        { { { "decoder.conv_in.bias", "F32", 1, { 4 }, NULL } }, "is an autoencoder alone, not a LoRA: give it with --vae" },
        { { { "lora_unet_nowhere.lora_down.weight", "F32", 2, { 2, 64 }, NULL },
            { "lora_unet_nowhere.lora_up.weight", "F32", 2, { 64, 2 }, NULL } },
          "\"lora_unet_nowhere.lora_down.weight\" is for no layer of this model" },
        { { { "lora_te1_x.lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { "lora_te1_x.lora_up.weight", "F32", 2, { 64, 2 }, NULL } },
          "is for no layer of this model" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL } }, "_to_q.lora_down.weight\" has no matrix that goes up with it" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL },
            { "x.lora_up.weight", "F32", 2, { 64, 2 }, NULL } }, "\"x.lora_up.weight\" is not one that a plain LoRA has" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL },
            { Q ".dora_scale", "F32", 2, { 64, 1 }, NULL } }, "_to_q.dora_scale\" is not one that a plain LoRA has" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL },
            { Q ".lora_mid.weight", "F32", 2, { 2, 2 }, NULL } }, "_to_q.lora_mid.weight\" is not one that a plain LoRA has" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL },
            { "x.alpha", "F32", 0, { 0 }, NULL } }, "\"x.alpha\" is not one" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL },
            { Q ".alpha", "F32", 0, { 0 }, &not_finite } }, "_to_q.alpha\" is not a finite number" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL },
            { Q ".alpha", "F32", 1, { 2 }, two } }, "_to_q.alpha\" is not a single number" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 63 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL } },
          "[2,63] and [64,2] make no [64,64] of rank 1 to 1024" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 65, 2 }, NULL } },
          "[2,64] and [65,2] make no [64,64]" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 3 }, NULL } },
          "[2,64] and [64,3] make no [64,64]" },
        { { { Q ".lora_down.weight", "F32", 2, { 0, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 0 }, NULL } },
          "[0,64] and [64,0] make no [64,64]" },
        { { { Q ".lora_down.weight", "F32", 2, { 1025, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 1025 }, NULL } },
          "of rank 1 to 1024" },
        { { { Q ".lora_down.weight", "F32", 0, { 0 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 1 }, NULL } },
          "[] and [64,1] make no" },
        { { { Q ".lora_down.weight", "I32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "F32", 2, { 64, 2 }, NULL } },
          "_to_q.lora_down.weight\" is not F32, F16 or BF16" },
        { { { Q ".lora_down.weight", "F32", 2, { 2, 64 }, NULL }, { Q ".lora_up.weight", "U8", 2, { 64, 2 }, NULL } },
          "_to_q.lora_up.weight\" is not F32, F16 or BF16" },
        { { { "lora_unet_conv_norm_out.lora_down.weight", "F32", 2, { 1, 1 }, NULL },
            { "lora_unet_conv_norm_out.lora_up.weight", "F32", 2, { 64, 1 }, NULL } }, "[1,1] and [64,1] make no [64]" },
        { { { "lora_unet_conv_in.lora_down.weight", "F32", 2, { 1, 36 }, NULL },
            { "lora_unet_conv_in.lora_up.weight", "F32", 2, { 64, 1 }, NULL },
            { "unet.conv_in.lora_A.weight", "F32", 2, { 1, 36 }, NULL } }, "\"unet.conv_in.lora_A.weight\" has no matrix" },
    };
    for (size_t i = 0; i < BL_COUNT(cases); i++) {
        const bl_lora lora = { file, 1 };
        const bl_model_options o = { .struct_size = sizeof(o), .loras = &lora, .lora_count = 1 };
        bl_parts p;
        size_t n = 0;
        while (n < 3 && cases[i].all[n].name)
            n++;
        assert_int_equal(st_write(file, cases[i].all, n, NULL, 0), 0);
        const bl_result r = bl_parts_open(good, &o, &p);
        if (r != BL_ERROR_MODEL || !strstr(bl_last_error(), cases[i].message) || strncmp(bl_last_error(), file, strlen(file)))
            fail_msg("row %zu: %s, \"%s\" lacks \"%s\"", i, bl_result_name(r), bl_last_error(), cases[i].message);
        assert_null(p.tensors);
    }
    static const struct { bl_lora lora; bl_result r; const char *message; } wrong[] = {
        { { "nowhere", 1 }, BL_ERROR_MODEL, "nowhere" }, { { NULL, 1 }, BL_ERROR_USAGE, "LoRA 1 has no path" },
        { { file, NAN }, BL_ERROR_USAGE, "the scale of a LoRA is not a finite number" },
    };
    for (size_t i = 0; i < BL_COUNT(wrong); i++) {
        const bl_model_options o = { .struct_size = sizeof(o), .loras = &wrong[i].lora, .lora_count = 1 };
        bl_parts p;
        assert_int_equal(bl_parts_open(good, &o, &p), wrong[i].r);
        assert_non_null(strstr(bl_last_error(), wrong[i].message));
    }
    const bl_model_options none = { .struct_size = sizeof(none), .lora_count = 1 };
    bl_parts p;
    assert_int_equal(bl_parts_open(good, &none, &p), BL_ERROR_USAGE);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(the_oldest_names),
        cmocka_unit_test(every_spelling_is_merged_to_the_last_bit),
        cmocka_unit_test(several_are_added),
        cmocka_unit_test(metadata_tell_alpha),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(the_picture_is_that_of_merged_weights),
        cmocka_unit_test(sums_beyond_a_half_are_refused),
        cmocka_unit_test(broken_files_are_refused),
    };
    return cmocka_run_group_tests(all, setup_files, teardown_files);
}
