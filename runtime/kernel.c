#include "kernel.h"
#include "checked.h"
#include <stdio.h>
#include <string.h>

enum { MAX_BUFFERS = 8, PUSH_SIZE = 128, GROUP_LIMIT = 65535 };

#include "kernels_spv.inc" /* generated: BL_SPIRV_<shader> */

static const struct { const uint32_t *code; size_t size; } spirv[BL_KERNEL_COUNT + 1][BL_DTYPE_COUNT] = {
#define K(name, op, shader, caps, types, fits, grid, wg, m, n, k) BL_SPIRV_##shader,
#include "kernels.def"
#undef K
    { { NULL, 0 }, { NULL, 0 } },
};

/* A pipeline and what it was made for; head is specialisation constant 4. */
typedef struct pipeline {
    bl_kernel kernel;
    bl_dtype type;
    uint32_t head;
    VkPipeline pipe;
    double rate;                /* ns of a unit of work; 0: not measured */
    double work, took;          /* noted since the rate was last corrected */
    double compile;             /* ns that making it took; 0: not noted */
} pipeline;

struct bl_kernels {
    bl_device *d;
    VkDescriptorSetLayout sets[2][MAX_BUFFERS];  /* by step table or not, and number of operands */
    VkPipelineLayout layouts[2][MAX_BUFFERS];
    VkPipelineCache cache;
    char *cache_dir;
    pipeline *pipes;
    size_t pipe_count, pipe_room;
    bool used[BL_KERNEL_COUNT + 1][BL_DTYPE_COUNT], disabled[BL_KERNEL_COUNT + 1][BL_DTYPE_COUNT];
    json_t *tuning;
    bool keep_stats;
    bl_prove_fn prove;
    void *prover;
    bl_stream *guarded;
    bl_buffer counter;
    bl_commands sentinel;
};

static bl_result create_layout(bl_kernels *ks, bool steps, uint32_t operands)
{
    bl_result result = BL_OK;
    const bl_device *d = ks->d;
    VkDescriptorSetLayoutBinding bind[MAX_BUFFERS];
    uint32_t n = 0;
    for (uint32_t b = 0; b < operands; b++)
        bind[n++] = (VkDescriptorSetLayoutBinding){ b, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL };
    if (steps)
        bind[n++] = (VkDescriptorSetLayoutBinding){ BL_STEP_BINDING, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT,
            NULL };
    VK_TRY_MAKE(ks->sets[steps][operands], d->vk.CreateDescriptorSetLayout(d->dev, &(VkDescriptorSetLayoutCreateInfo){
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = n, .pBindings = bind }, NULL, &ks->sets[steps][operands]));
    VK_TRY_MAKE(ks->layouts[steps][operands], d->vk.CreatePipelineLayout(d->dev, &(VkPipelineLayoutCreateInfo){
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1, .pSetLayouts = &ks->sets[steps][operands], .pushConstantRangeCount = 1,
        .pPushConstantRanges = &(VkPushConstantRange){ VK_SHADER_STAGE_COMPUTE_BIT, 0, PUSH_SIZE },
    }, NULL, &ks->layouts[steps][operands]));
fail:
    return result;
}

bl_result bl_kernels_create(bl_device *d, const bl_cache_source *cache, bl_kernels **out)
{
    bl_result result = BL_OK;
    bl_kernels *ks = *out = bl_alloc(1, sizeof(*ks));
    if (!ks)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for the kernel table");
    ks->d = d;
    for (uint32_t steps = 0; steps < 2; steps++)
        for (uint32_t n = steps ? 0 : 1; n <= BL_MAX_OPERANDS; n++)
            BL_TRY(create_layout(ks, steps, n));
    if (cache && cache->dir) {
        ks->cache_dir = bl_text_copy(cache->dir, strlen(cache->dir));
        if (!ks->cache_dir)
            BL_TRY(bl_fail(BL_ERROR_MEMORY, "no host memory for a path"));
    }
    BL_TRY(bl_pipeline_cache_open(d, cache, &ks->cache));
    return BL_OK;
fail:
    bl_kernels_destroy(out);
    return result;
}

bl_result bl_kernels_cache(const bl_kernels *ks, uint8_t **data, size_t *size)
{
    return bl_pipeline_cache_bytes(ks->d, ks->cache, data, size);
}

void bl_kernels_destroy(bl_kernels **k)
{
    bl_kernels *ks = *k;
    *k = NULL;
    if (!ks)
        return;
    const bl_device *d = ks->d;
    if (ks->guarded)
        bl_stream_set_sentinel(ks->guarded, NULL, NULL);
    bl_commands_destroy(&ks->sentinel);
    bl_buffer_destroy(ks->d, &ks->counter);
    if (ks->cache_dir && ks->pipe_count)
        bl_pipeline_cache_save(d, ks->cache_dir, ks->cache);
    for (size_t i = 0; i < ks->pipe_count; i++)
        d->vk.DestroyPipeline(d->dev, ks->pipes[i].pipe, NULL);
    if (ks->cache)
        d->vk.DestroyPipelineCache(d->dev, ks->cache, NULL);
    for (uint32_t steps = 0; steps < 2; steps++)
        for (uint32_t n = 0; n < MAX_BUFFERS; n++) {
            if (ks->layouts[steps][n])
                d->vk.DestroyPipelineLayout(d->dev, ks->layouts[steps][n], NULL);
            if (ks->sets[steps][n])
                d->vk.DestroyDescriptorSetLayout(d->dev, ks->sets[steps][n], NULL);
        }
    json_decref(ks->tuning);
    bl_free(ks->pipes);
    bl_free(ks->cache_dir);
    bl_free(ks);
}

bool bl_kernel_able(const bl_kernels *ks, bl_kernel k, bl_dtype t)
{
    const bl_impl *impl = &bl_impls[k];
    const uint32_t lanes = ks->d->limits.invocations, needs = impl->caps | (t == BL_F16 ? BL_CAP_S16 : 0);
    const uint32_t has = ks->d->caps | (lanes >= BL_BIG ? BL_IMPL_BIG : 0);
    return (impl->types >> t & 1) && spirv[k][t].code && !(needs & ~has) && impl->workgroup <= lanes && !ks->disabled[k][t];
}

void bl_kernel_disable(bl_kernels *ks, bl_kernel k, bl_dtype t)
{
    ks->disabled[k][t] = true;
    ks->used[k][t] = false;
}

void bl_kernels_set_tuning(bl_kernels *ks, json_t *tuning)
{
    json_decref(ks->tuning);
    ks->tuning = tuning;
}

const json_t *bl_kernels_tuning(const bl_kernels *ks) { return ks->tuning; }

static bool takes(const bl_kernels *ks, bl_kernel k, bl_op op, bl_dtype t, const bl_params *p)
{
    return bl_impls[k].op == op && bl_kernel_able(ks, k, t) && bl_impls[k].fits(op, p);
}

/* The workgroups of a problem; false if they are more than the guaranteed limits. */
static bool grid_of(bl_kernel k, const bl_params *p, uint32_t groups[3])
{
    bl_impls[k].grid(&bl_impls[k], p, groups);
    return groups[0] <= GROUP_LIMIT && groups[1] <= GROUP_LIMIT && groups[2] <= GROUP_LIMIT;
}

bl_result bl_kernel_choose(const bl_kernels *ks, bl_op op, bl_dtype t, const bl_params *p, bl_kernel *out)
{
    uint32_t groups[3];
    *out = bl_tuning_find(ks->tuning, op, t, p);
    if (takes(ks, *out, op, t, p) && grid_of(*out, p, groups)) /* it was measured on another problem of the class */
        return BL_OK;
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        if (takes(ks, (bl_kernel)k, op, t, p)) {
            *out = (bl_kernel)k;
            return BL_OK;
        }
    bool wrong = false;
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        wrong |= bl_impls[k].op == op && ks->disabled[k][t];
    return bl_fail(BL_ERROR_DEVICE, "%s: no implementation in %s for this problem on %s%s", bl_op_infos[op].name, bl_dtype_name(t),
                   ks->d->info.name, !wrong ? "" : t == BL_F16 ? ": they gave wrong results; f32 needs none of them"
                   : ": they gave wrong results");
}

static pipeline *known(const bl_kernels *ks, bl_kernel k, bl_dtype t, uint32_t head)
{
    for (size_t i = 0; i < ks->pipe_count; i++)
        if (ks->pipes[i].kernel == k && ks->pipes[i].type == t && ks->pipes[i].head == head)
            return &ks->pipes[i];
    return NULL;
}

/* The pipeline, made when it is first needed; valid until the next is made. */
static bl_result find_pipeline(bl_kernels *ks, bl_kernel k, bl_dtype t, uint32_t head, VkPipelineLayout layout, pipeline **out)
{
    bl_result result = BL_OK;
    const bl_device *d = ks->d;
    VkShaderModule module = VK_NULL_HANDLE;
    VkPipeline pipe = VK_NULL_HANDLE;
    *out = known(ks, k, t, head);
    if (*out)
        return BL_OK;
    if (ks->pipe_count == ks->pipe_room) {
        pipeline *grown = bl_resize(ks->pipes, ks->pipe_room * 2 + 32, sizeof(*grown));
        if (!grown)
            return bl_fail(BL_ERROR_MEMORY, "no host memory for a pipeline");
        ks->pipes = grown;
        ks->pipe_room = ks->pipe_room * 2 + 32;
    }
    const bl_impl *impl = &bl_impls[k];
    const uint32_t constants[] = { impl->workgroup, impl->tile_m, impl->tile_n, impl->tile_k, head };
    VkSpecializationMapEntry entries[BL_COUNT(constants)];
    for (uint32_t i = 0; i < BL_COUNT(constants); i++)
        entries[i] = (VkSpecializationMapEntry){ i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t) };
    VK_TRY_MAKE(module, d->vk.CreateShaderModule(d->dev, &(VkShaderModuleCreateInfo){
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = spirv[k][t].size, .pCode = spirv[k][t].code }, NULL, &module));
    VK_TRY(d->vk.CreateComputePipelines(d->dev, ks->cache, 1, &(VkComputePipelineCreateInfo){
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = VK_PIPELINE_CREATE_DISPATCH_BASE_BIT | /* any part of the grid can be dispatched */
            (ks->keep_stats ? bl_pipeline_stats_flags(d) : 0),
        .layout = layout,
        .stage = {
            .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = module, .pName = "main",
            .pSpecializationInfo = &(VkSpecializationInfo){ BL_COUNT(constants), entries, sizeof(constants), constants } },
    }, NULL, &pipe));
    if (d->vk.SetDebugUtilsObjectNameEXT) {
        char label[96];
        bl_kernel_label(k, t, label);
        d->vk.SetDebugUtilsObjectNameEXT(d->dev, &(VkDebugUtilsObjectNameInfoEXT){
            .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT, .objectType = VK_OBJECT_TYPE_PIPELINE,
            .objectHandle = (uint64_t)(uintptr_t)pipe, .pObjectName = label });
    }
    *out = &ks->pipes[ks->pipe_count++];
    **out = (pipeline){ .kernel = k, .type = t, .head = head, .pipe = pipe };
fail:
    if (module)
        d->vk.DestroyShaderModule(d->dev, module, NULL);
    if (result != BL_OK)
        return bl_fail_in(result, "%s_%s", impl->name, bl_dtype_name(t));
    return BL_OK;
}

/* --- dispatches --------------------------------------------------------------------------------------------------------- */

bl_result bl_dispatch_whole(bl_dispatch *d)
{
    memset(d->base, 0, sizeof(d->base));
    return grid_of(d->kernel, &d->p, d->groups) ? BL_OK : bl_fail(BL_ERROR_DEVICE, "%s: %u x %u x %u workgroups",
        bl_impls[d->kernel].name, d->groups[0], d->groups[1], d->groups[2]);
}

/* The bytes of an operand that its view covers, from `start`, which an offset of a binding may have. */
typedef struct range {
    uint64_t start, first, end;
} range;

static range range_of(const bl_operand *o, bl_dtype t, const bl_extent *e, const struct view *v)
{
    const uint64_t element = o->storage ? bl_dtype_size(t) : sizeof(float), first = v->off * element;
    return (range){ first / BL_SLICE_ALIGNMENT * BL_SLICE_ALIGNMENT, first,
                    (v->off + (uint64_t)(e->rows - 1) * v->stride + e->cols) * element };
}

bool bl_dispatch_binds(const bl_kernels *ks, const bl_dispatch *d)
{
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const bl_op op = bl_impls[d->kernel].op;
    const uint32_t n = bl_op_operands(op, o);
    bl_op_infos[op].extents(&d->p, e);
    for (uint32_t i = 0; i < n; i++) {
        if (!e[i].rows || !d->operands[i].buffer)
            continue;
        const range r = range_of(&o[i], d->type, &e[i], &d->p.v[i]);
        if (r.end - r.start > ks->d->limits.binding)
            return false;
    }
    return true;
}

double bl_dispatch_work(const bl_dispatch *d)
{
    uint32_t grid[3];
    const bl_impl *impl = &bl_impls[d->kernel];
    impl->grid(impl, &d->p, grid);
    return bl_op_work(impl->op, d->type, &d->p) * d->groups[0] / grid[0] * d->groups[1] / grid[1] * d->groups[2] / grid[2];
}

/* Narrows the binding of one operand to what its view covers, and makes the view count from there. */
static bl_result bind_operand(const bl_device *d, const char *op, const bl_operand *o, bl_dtype t, const bl_extent *e,
                              const bl_slice *slice, struct view *view, VkDescriptorBufferInfo *out)
{
    const range r = range_of(o, t, e, view);
    if (r.end > slice->size)
        return bl_fail(BL_ERROR_USAGE, "%s: operand %c ends at byte %llu of %llu", op, o->name, (unsigned long long)r.end,
                       (unsigned long long)slice->size);
    if (r.end - r.start > d->limits.binding)
        return bl_fail(BL_ERROR_DEVICE, "%s: operand %c needs %llu bytes, a binding of %s holds %llu", op, o->name,
                       (unsigned long long)(r.end - r.start), d->info.name, (unsigned long long)d->limits.binding);
    view->off = (uint32_t)((r.first - r.start) / (o->storage ? bl_dtype_size(t) : sizeof(float)));
    *out = (VkDescriptorBufferInfo){ slice->buffer->buf, slice->offset + r.start, r.end - r.start };
    return BL_OK;
}

bl_result bl_kernel_record(bl_kernels *ks, bl_commands *c, const bl_dispatch *dispatch)
{
    bl_result result = BL_OK;
    const bl_device *d = ks->d;
    const bl_kernel k = dispatch->kernel;
    const bl_dtype t = dispatch->type;
    const bl_op_info *info = &bl_op_infos[bl_impls[k].op];
    bl_params p = dispatch->p;
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    VkDescriptorBufferInfo info_of[MAX_BUFFERS];
    VkWriteDescriptorSet write[MAX_BUFFERS];
    VkDescriptorSet set;
    pipeline *pipe = NULL;
    uint32_t present = MAX_BUFFERS;
    const uint32_t n = bl_op_operands(bl_impls[k].op, o);
    if (!bl_kernel_able(ks, k, t))
        return bl_fail(BL_ERROR_DEVICE, "%s_%s does not run on %s", bl_impls[k].name, bl_dtype_name(t), d->info.name);
    if (info->steps && !dispatch->steps.buffer)
        return bl_fail(BL_ERROR_USAGE, "%s: needs a step table", info->name);
    info->extents(&p, e);
    for (uint32_t i = 0; i < n; i++) {
        if (!e[i].rows || !dispatch->operands[i].buffer)
            continue;
        BL_TRY(bind_operand(d, info->name, &o[i], t, &e[i], &dispatch->operands[i], &p.v[i], &info_of[i]));
        present = i;
    }
    for (uint32_t i = 0; i < n; i++) /* an absent operand is never read, but must be bound */
        if (!e[i].rows || !dispatch->operands[i].buffer)
            info_of[i] = info_of[present];
    if (info->steps)
        info_of[n] = (VkDescriptorBufferInfo){ dispatch->steps.buffer->buf, dispatch->steps.offset, dispatch->steps.size };

    const VkPipelineLayout layout = ks->layouts[info->steps][n];
    BL_TRY(find_pipeline(ks, k, t, bl_op_heads(bl_impls[k].op, &p).head, layout, &pipe));
    VK_TRY(d->vk.AllocateDescriptorSets(d->dev, &(VkDescriptorSetAllocateInfo){
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = c->sets, .descriptorSetCount = 1, .pSetLayouts = &ks->sets[info->steps][n] }, &set));
    const uint32_t buffers = n + info->steps;
    for (uint32_t i = 0; i < buffers; i++)
        write[i] = (VkWriteDescriptorSet){ .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
            .dstSet = set, .dstBinding = i < n ? i : BL_STEP_BINDING, .descriptorCount = 1,
            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, .pBufferInfo = &info_of[i] };
    d->vk.UpdateDescriptorSets(d->dev, buffers, write, 0, NULL);
    d->vk.CmdBindPipeline(c->cmd, VK_PIPELINE_BIND_POINT_COMPUTE, pipe->pipe);
    d->vk.CmdBindDescriptorSets(c->cmd, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, NULL);
    d->vk.CmdPushConstants(c->cmd, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, info->params_size, &p);
    d->vk.CmdDispatchBase(c->cmd, dispatch->base[0], dispatch->base[1], dispatch->base[2], dispatch->groups[0], dispatch->groups[1],
                          dispatch->groups[2]);
    ks->used[k][t] = true;
fail:
    return result;
}

void bl_kernels_set_prover(bl_kernels *ks, bl_prove_fn prove, void *user)
{
    ks->prove = prove;
    ks->prover = user;
}

bl_result bl_kernel_prove(const bl_kernels *ks, const bl_dispatch *d)
{
    return ks->prove ? ks->prove(ks->prover, d->kernel, d->type, bl_op_heads(bl_impls[d->kernel].op, &d->p).head) : BL_OK;
}

uint64_t bl_kernel_hash(bl_kernel k, bl_dtype t, uint32_t head)
{
    const bl_impl *impl = &bl_impls[k];
    const uint32_t constants[] = { impl->workgroup, impl->tile_m, impl->tile_n, impl->tile_k, head };
    const uint64_t named = bl_hash(0, impl->name, strlen(impl->name)), built = bl_hash(named, spirv[k][t].code, spirv[k][t].size);
    return bl_hash(built, constants, sizeof(constants));
}

/* The pipeline of a dispatch, if it has been made. */
static pipeline *known_of(const bl_kernels *ks, const bl_dispatch *d)
{
    return known(ks, d->kernel, d->type, bl_op_heads(bl_impls[d->kernel].op, &d->p).head);
}

double bl_kernel_rate(const bl_kernels *ks, const bl_dispatch *d)
{
    const pipeline *found = known_of(ks, d);
    return found ? found->rate : 0;
}

void bl_kernel_set_rate(bl_kernels *ks, const bl_dispatch *d, double ns)
{
    pipeline *found = known_of(ks, d);
    if (found)
        found->rate = ns;
}

void bl_kernel_tally(bl_kernels *ks, const bl_dispatch *d, double ns)
{
    pipeline *found = known_of(ks, d);
    if (found) {
        found->work += bl_dispatch_work(d);
        found->took += ns;
    }
}

void bl_kernels_learn(bl_kernels *ks)
{
    for (size_t i = 0; i < ks->pipe_count; i++) {
        pipeline *p = &ks->pipes[i];
        if (p->work > 0 && p->took > 0)
            p->rate = p->took / p->work;
        p->work = p->took = 0;
    }
}

/* --- measuring ----------------------------------------------------------------------------------------------------------- */

void bl_kernels_keep_stats(bl_kernels *ks) { ks->keep_stats = true; }

void bl_kernel_stats(const bl_kernels *ks, const bl_dispatch *d, bl_pipeline_stats *out)
{
    const pipeline *found = known_of(ks, d);
    bl_pipeline_stats_read(ks->d, ks->keep_stats && found ? found->pipe : VK_NULL_HANDLE, out);
}

double bl_kernel_compile_time(const bl_kernels *ks, const bl_dispatch *d)
{
    const pipeline *found = known_of(ks, d);
    return found ? found->compile : 0;
}

void bl_kernel_set_compile_time(bl_kernels *ks, const bl_dispatch *d, double ns)
{
    pipeline *found = known_of(ks, d);
    if (found)
        found->compile = ns;
}

const char *bl_kernels_sum(void) { return BL_SHADER_SUM; }

/* --- the sentinel ------------------------------------------------------------------------------------------------------- */

bl_result bl_kernels_guard(bl_kernels *ks, bl_stream *s)
{
    bl_result result = BL_OK;
    bl_dispatch d = { .type = BL_F32, .p.sentinel_fwd = { .x = { 0, 1 }, .last = BL_SENTINEL_LAST } };
    BL_TRY(bl_buffer_create(ks->d, sizeof(float), BL_MEMORY_STAGING, "completion counter", &ks->counter));
    *(float *)ks->counter.host = 0;
    BL_TRY(bl_buffer_sync(ks->d, &ks->counter, true));
    d.operands[0] = (bl_slice){ &ks->counter, 0, sizeof(float) };
    BL_TRY(bl_kernel_choose(ks, BL_OP_sentinel_fwd, BL_F32, &d.p, &d.kernel));
    BL_TRY(bl_dispatch_whole(&d));
    BL_TRY(bl_commands_begin(s, 1, BL_COMMANDS_SHARED, &ks->sentinel));
    BL_TRY(bl_kernel_record(ks, &ks->sentinel, &d));
    bl_commands_host_barrier(&ks->sentinel);
    BL_TRY(bl_commands_end(&ks->sentinel));
    ks->used[d.kernel][BL_F32] = false; /* it is not part of what makes a picture */
    ks->guarded = s;
    bl_stream_set_sentinel(s, &ks->sentinel, &ks->counter);
fail:
    return result;
}

void bl_kernel_label(bl_kernel k, bl_dtype t, char *text)
{
    snprintf(text, 96, "%s_%s", bl_impls[k].name, bl_dtype_name(t));
}

void bl_kernels_forget(bl_kernels *ks) { memset(ks->used, 0, sizeof(ks->used)); }

bool bl_kernel_used(const bl_kernels *ks, bl_kernel k)
{
    bool used = false;
    for (int t = 0; t < BL_DTYPE_COUNT; t++)
        used |= ks->used[k][t];
    return used;
}

void bl_kernels_used(const bl_kernels *ks, void (*each)(void *user, const char *name), void *user)
{
    for (int k = 0; k < BL_KERNEL_COUNT; k++)
        for (int t = 0; t < BL_DTYPE_COUNT; t++)
            if (ks->used[k][t]) {
                char name[96];
                bl_kernel_label((bl_kernel)k, (bl_dtype)t, name);
                each(user, name);
            }
}
