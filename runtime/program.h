/* One compute pipeline that is not an implementation of an op, and what drivers say about pipelines. Layer 1. */
#ifndef BL_PROGRAM_H
#define BL_PROGRAM_H
#include "stream.h"

/* What the driver says about a compiled pipeline; negative: it does not say. */
typedef struct bl_pipeline_stats {
    double registers;        /* of a lane, at most */
    double spills;           /* registers that went to memory, or their loads and stores: as the driver counts */
    double instructions;
    double subgroup;         /* lanes */
    double occupancy;        /* subgroups that a processor holds at a time, as the driver counts */
    char text[1024];         /* everything it says: "VGPRs=64;Code size=5124" */
} bl_pipeline_stats;
/* Of a pipeline that was made with bl_pipeline_stats_flags (VK_NULL_HANDLE: none). A driver that says nothing leaves all negative and the
 * text empty. */
void bl_pipeline_stats_read(const bl_device *d, VkPipeline pipe, bl_pipeline_stats *out);
VkPipelineCreateFlags bl_pipeline_stats_flags(const bl_device *d);

enum { BL_PROGRAM_BUFFERS = 2, BL_PROGRAM_CONSTANTS = 4 };
typedef struct bl_program {
    bl_device *d;
    VkDescriptorSetLayout set;
    VkPipelineLayout layout;
    VkPipeline pipe;
    uint32_t buffers;
} bl_program;
/* `code`: SPIR-V of `size` bytes with storage buffers at bindings 0 .. buffers - 1 and one uint as push constant; specialisation constants
 * 0 .. are `constants`, the first the size of the workgroup. *out is zeroed on failure. */
bl_result bl_program_create(bl_device *d, const uint32_t *code, size_t size, uint32_t buffers,
                            const uint32_t constants[BL_PROGRAM_CONSTANTS], bl_program *out);
void bl_program_destroy(bl_program *p); /* zeroes *p; a zeroed one is accepted */
/* Records one dispatch of `groups` workgroups in x. */
bl_result bl_program_record(const bl_program *p, bl_commands *c, const bl_slice *buffers, uint32_t groups, uint32_t push);
#endif
