#include "program.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* --- what drivers say ------------------------------------------------------------------------------------------------------ */

VkPipelineCreateFlags bl_pipeline_stats_flags(const bl_device *d)
{
    return d->tells_statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0;
}

static bool same_name(const char *a, const char *b)
{
    while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return !*a && !*b;
}

/* The names that drivers use: RADV, NVIDIA, ANV, Turnip, Honeykrisp, V3DV. */
static double *field_of(bl_pipeline_stats *s, const char *name)
{
    const struct { double *field; const char *names[5]; } table[] = {
        { &s->registers, { "VGPRs", "Register Count", "Max live registers", "Registers used", "GPRs" } },
        { &s->spills, { "Spilled VGPRs", "Spill Count", "Spills", "Spills Size" } },
        { &s->instructions, { "Instructions", "Instruction Count" } },
        { &s->occupancy, { "Subgroups per SIMD", "Max Waves Per Core", "Occupancy", "Thread Count" } },
    };
    for (size_t i = 0; i < BL_COUNT(table); i++)
        for (size_t j = 0; j < BL_COUNT(table[i].names) && table[i].names[j]; j++)
            if (same_name(name, table[i].names[j]))
                return table[i].field;
    return NULL;
}

static double value_of(const VkPipelineExecutableStatisticKHR *s)
{
    switch (s->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: return s->value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: return (double)s->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: return (double)s->value.u64;
    default: return s->value.f64;
    }
}

static void read_statistics(const bl_device *d, VkPipeline pipe, bl_pipeline_stats *out)
{
    enum { ROOM = 64 };
    VkPipelineExecutableStatisticKHR list[ROOM];
    uint32_t count = ROOM;
    for (uint32_t i = 0; i < ROOM; i++)
        list[i] = (VkPipelineExecutableStatisticKHR){ .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR };
    const VkPipelineExecutableInfoKHR info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipe };
    const VkResult r = d->vk.GetPipelineExecutableStatisticsKHR(d->dev, &info, &count, list);
    if (r != VK_SUCCESS && r != VK_INCOMPLETE)
        return;
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const double v = value_of(&list[i]);
        double *field = field_of(out, list[i].name);
        if (field)
            *field = v;
        const int n = snprintf(out->text + used, sizeof(out->text) - used, "%s%.64s=%.10g", used ? ";" : "", list[i].name, v);
        if (n < 0 || used + (size_t)n >= sizeof(out->text)) {
            out->text[used] = 0; /* no half of a number */
            return;
        }
        used += (size_t)n;
    }
}

void bl_pipeline_stats_read(const bl_device *d, VkPipeline pipe, bl_pipeline_stats *out)
{
    VkPipelineExecutablePropertiesKHR executable = { .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR };
    uint32_t count = 1;
    *out = (bl_pipeline_stats){ .registers = -1, .spills = -1, .instructions = -1, .subgroup = -1, .occupancy = -1 };
    if (!pipe || !d->tells_statistics || !d->vk.GetPipelineExecutablePropertiesKHR || !d->vk.GetPipelineExecutableStatisticsKHR)
        return;
    const VkResult r = d->vk.GetPipelineExecutablePropertiesKHR(d->dev, &(VkPipelineInfoKHR){
        .sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipe }, &count, &executable);
    if ((r != VK_SUCCESS && r != VK_INCOMPLETE) || !count)
        return;
    if (executable.subgroupSize)
        out->subgroup = executable.subgroupSize;
    read_statistics(d, pipe, out);
}

/* --- programs -------------------------------------------------------------------------------------------------------------- */

bl_result bl_program_create(bl_device *d, const uint32_t *code, size_t size, uint32_t buffers,
                            const uint32_t constants[BL_PROGRAM_CONSTANTS], bl_program *p)
{
    bl_result result = BL_OK;
    VkShaderModule module = VK_NULL_HANDLE;
    VkDescriptorSetLayoutBinding bind[BL_PROGRAM_BUFFERS];
    VkSpecializationMapEntry entries[BL_PROGRAM_CONSTANTS];
    *p = (bl_program){ .d = d, .buffers = buffers };
    for (uint32_t i = 0; i < buffers; i++)
        bind[i] = (VkDescriptorSetLayoutBinding){ i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL };
    for (uint32_t i = 0; i < BL_PROGRAM_CONSTANTS; i++)
        entries[i] = (VkSpecializationMapEntry){ i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t) };
    VK_TRY_MAKE(p->set, d->vk.CreateDescriptorSetLayout(d->dev, &(VkDescriptorSetLayoutCreateInfo){
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = buffers, .pBindings = bind }, NULL, &p->set));
    VK_TRY_MAKE(p->layout, d->vk.CreatePipelineLayout(d->dev, &(VkPipelineLayoutCreateInfo){
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .setLayoutCount = 1, .pSetLayouts = &p->set,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &(VkPushConstantRange){ VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint32_t) } }, NULL, &p->layout));
    VK_TRY_MAKE(module, d->vk.CreateShaderModule(d->dev, &(VkShaderModuleCreateInfo){
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = size, .pCode = code }, NULL, &module));
    VK_TRY_MAKE(p->pipe, d->vk.CreateComputePipelines(d->dev, VK_NULL_HANDLE, 1, &(VkComputePipelineCreateInfo){
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .layout = p->layout,
        .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = module, .pName = "main",
            .pSpecializationInfo = &(VkSpecializationInfo){ BL_PROGRAM_CONSTANTS, entries, BL_PROGRAM_CONSTANTS * sizeof(uint32_t),
                constants } } }, NULL, &p->pipe));
fail:
    if (module)
        d->vk.DestroyShaderModule(d->dev, module, NULL);
    if (result != BL_OK)
        bl_program_destroy(p);
    return result;
}

void bl_program_destroy(bl_program *p)
{
    if (p->pipe)
        p->d->vk.DestroyPipeline(p->d->dev, p->pipe, NULL);
    if (p->layout)
        p->d->vk.DestroyPipelineLayout(p->d->dev, p->layout, NULL);
    if (p->set)
        p->d->vk.DestroyDescriptorSetLayout(p->d->dev, p->set, NULL);
    *p = (bl_program){ 0 };
}

bl_result bl_program_record(const bl_program *p, bl_commands *c, const bl_slice *buffers, uint32_t groups, uint32_t push)
{
    bl_result result = BL_OK;
    const bl_device *d = p->d;
    VkDescriptorSet set = VK_NULL_HANDLE;
    VkDescriptorBufferInfo info[BL_PROGRAM_BUFFERS];
    VkWriteDescriptorSet write[BL_PROGRAM_BUFFERS];
    VK_TRY(d->vk.AllocateDescriptorSets(d->dev, &(VkDescriptorSetAllocateInfo){
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, .descriptorPool = c->sets, .descriptorSetCount = 1,
        .pSetLayouts = &p->set }, &set));
    for (uint32_t i = 0; i < p->buffers; i++) {
        info[i] = (VkDescriptorBufferInfo){ buffers[i].buffer->buf, buffers[i].offset, buffers[i].size };
        write[i] = (VkWriteDescriptorSet){ .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, .dstSet = set, .dstBinding = i,
            .descriptorCount = 1, .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, .pBufferInfo = &info[i] };
    }
    d->vk.UpdateDescriptorSets(d->dev, p->buffers, write, 0, NULL);
    d->vk.CmdBindPipeline(c->cmd, VK_PIPELINE_BIND_POINT_COMPUTE, p->pipe);
    d->vk.CmdBindDescriptorSets(c->cmd, VK_PIPELINE_BIND_POINT_COMPUTE, p->layout, 0, 1, &set, 0, NULL);
    d->vk.CmdPushConstants(c->cmd, p->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push), &push);
    d->vk.CmdDispatchBase(c->cmd, 0, 0, 0, groups, 1, 1);
fail:
    return result;
}
