/* The host's side of every network on a driver that compiles and submits but computes nothing, such as a real driver on a pretended
 * kernel: devices are opened, kernels chosen and compiled, memory planned and allocated, everything recorded, submitted and waited for.
 *   host_side --model DIR [--size PIXELS] [--precision f16|f32] [--caps LIST]
 * One JSON line: device, capabilities, precision, submissions, dispatches, pipelines, bytes at the peak, or the error. Exit 0: it went
 * through.
 *
 * A driver that does nothing would be found out by the completion sentinel (runtime/stream.h), and that is tried first: without help, the
 * first submission must be refused. Then this program counts in the driver's place. */
#include "checkpoint.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    PFN_vkGetInstanceProcAddr instance;
    PFN_vkGetDeviceProcAddr device;
    bl_vk_device vk;
    VkBuffer counter;          /* the sentinel's: the one buffer of four bytes */
    VkDeviceMemory memory;
    float *count;
    bool helping;
    uint32_t submissions, pipelines, dispatches;
} driver;

static VKAPI_ATTR VkResult VKAPI_CALL create_buffer(VkDevice d, const VkBufferCreateInfo *i, const VkAllocationCallbacks *a, VkBuffer *out)
{
    const VkResult r = driver.vk.CreateBuffer(d, i, a, out);
    if (r == VK_SUCCESS && i->size == sizeof(float))
        driver.counter = *out;
    return r;
}

static VKAPI_ATTR VkResult VKAPI_CALL bind_memory(VkDevice d, VkBuffer b, VkDeviceMemory m, VkDeviceSize at)
{
    if (b == driver.counter)
        driver.memory = m;
    return driver.vk.BindBufferMemory(d, b, m, at);
}

static VKAPI_ATTR VkResult VKAPI_CALL map_memory(VkDevice d, VkDeviceMemory m, VkDeviceSize at, VkDeviceSize n, VkMemoryMapFlags f,
                                                 void **out)
{
    const VkResult r = driver.vk.MapMemory(d, m, at, n, f, out);
    if (r == VK_SUCCESS && m == driver.memory)
        driver.count = *out;
    return r;
}

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue q, uint32_t n, const VkSubmitInfo *i, VkFence fence)
{
    const VkResult r = driver.vk.QueueSubmit(q, n, i, fence);
    driver.submissions++;
    if (r == VK_SUCCESS && driver.helping && driver.count)
        *driver.count += 1;
    return r;
}

/* A pretended kernel signals at once, perhaps while the driver's own thread is still submitting, which a real one never does. */
static VKAPI_ATTR VkResult VKAPI_CALL wait_fences(VkDevice d, uint32_t n, const VkFence *fences, VkBool32 all, uint64_t limit)
{
    nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    return driver.vk.WaitForFences(d, n, fences, all, limit);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_pipelines(VkDevice d, VkPipelineCache c, uint32_t n, const VkComputePipelineCreateInfo *i,
                                                       const VkAllocationCallbacks *a, VkPipeline *out)
{
    driver.pipelines += n;
    return driver.vk.CreateComputePipelines(d, c, n, i, a, out);
}

static VKAPI_ATTR void VKAPI_CALL dispatch(VkCommandBuffer c, uint32_t bx, uint32_t by, uint32_t bz, uint32_t x, uint32_t y, uint32_t z)
{
    driver.dispatches++;
    driver.vk.CmdDispatchBase(c, bx, by, bz, x, y, z);
}

#define WRAP(name, own) \
    if (!strcmp(text, "vk" #name)) { \
        driver.vk.name = (PFN_vk##name)found; \
        return (PFN_vkVoidFunction)own; \
    }

static PFN_vkVoidFunction VKAPI_CALL get_device(VkDevice d, const char *text)
{
    const PFN_vkVoidFunction found = driver.device(d, text);
    WRAP(CreateBuffer, create_buffer)
    WRAP(BindBufferMemory, bind_memory)
    WRAP(MapMemory, map_memory)
    WRAP(QueueSubmit, submit)
    WRAP(WaitForFences, wait_fences)
    WRAP(CreateComputePipelines, create_pipelines)
    WRAP(CmdDispatchBase, dispatch)
    return found;
}

static PFN_vkVoidFunction VKAPI_CALL get_instance(VkInstance i, const char *text)
{
    const PFN_vkVoidFunction found = driver.instance(i, text);
    if (strcmp(text, "vkGetDeviceProcAddr"))
        return found;
    driver.device = (PFN_vkGetDeviceProcAddr)found;
    return (PFN_vkVoidFunction)get_device;
}

static PFN_vkGetInstanceProcAddr loader(void) { return get_instance; }

/* Runs it twice, as sampling does, and reads the result back; what it holds does not matter. */
static bl_result run(bl_stage *s)
{
    bl_result result = BL_OK;
    const bl_shape shape = bl_graph_shape(s->graph, s->out);
    const size_t count = (size_t)shape.n * shape.h * shape.w * shape.c;
    float *values = bl_alloc(count, sizeof(*values));
    if (!values)
        return bl_fail(BL_ERROR_MEMORY, "no host memory for %zu values", count);
    for (int i = 0; i < 2; i++)
        BL_TRY(bl_exec_run(s->exec));
    BL_TRY(bl_exec_read(s->exec, s->out, values, count));
fail:
    bl_free(values);
    bl_stage_destroy(s);
    return result;
}

static bl_result run_all(bl_checkpoint *c, uint32_t size)
{
    bl_result result = BL_OK;
    bl_stage s = { 0 };
    const uint32_t pixels = size ? size : c->unet.sample_size * bl_vae_factor(&c->vae), side = pixels / bl_vae_factor(&c->vae);
    BL_TRY(bl_stage_text(c, 2, false, &s));
    BL_TRY(run(&s));
    BL_TRY(bl_stage_encode(c, pixels, pixels, false, &s));
    BL_TRY(run(&s));
    BL_TRY(bl_stage_sampler(c, 2, side, side, true, false, false, 2, &s));
    BL_TRY(run(&s));
    BL_TRY(bl_stage_decode(c, side, side, false, &s));
    BL_TRY(run(&s));
fail:
    return result;
}

/* Some pretended kernels hand out descriptor 0, which the driver then closes: it must not be a model's. */
static void keep_descriptor_0(void)
{
    if (fcntl(0, F_GETFD) < 0)
        open("/dev/null", O_RDONLY);
}

/* True if a driver that does nothing is noticed at once. What was opened is the caller's to close. */
static bool noticed(const bl_context_options *o, const char *model, bl_context **c, bl_checkpoint **checkpoint)
{
    bl_result r = bl_context_create(o, c);
    keep_descriptor_0();
    if (r == BL_OK && (r = bl_checkpoint_open(*c, model, NULL, checkpoint)) == BL_OK)
        r = run_all(*checkpoint, 0);
    return r == BL_ERROR_DEVICE && strstr(bl_last_error(), "completion sentinel");
}

int main(int argc, char **argv)
{
    const char *model = NULL, *label = getenv("LAB_DEVICE");
    uint32_t size = 0;
    bl_context_options o = BL_CONTEXT_OPTIONS_INIT;
    o.no_selftest = 1; /* it would find that nothing is computed */
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--model"))
            model = argv[i + 1];
        else if (!strcmp(argv[i], "--size"))
            size = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--precision"))
            o.precision = !strcmp(argv[i + 1], "f16") ? BL_PRECISION_F16 : BL_PRECISION_F32;
        else if (!strcmp(argv[i], "--caps"))
            o.caps = argv[i + 1];
    }
    if (!model) {
        fprintf(stderr, "usage: host_side --model DIR [--size PIXELS] [--precision f16|f32] [--caps LIST]\n");
        return 2;
    }
    driver.instance = bl_vulkan_loader();
    if (!driver.instance) {
        fprintf(stderr, "host_side: no Vulkan loader\n");
        return 1;
    }
    bl_vulkan_loader = loader;
    bl_context *c = NULL, *first = NULL;
    bl_checkpoint *checkpoint = NULL, *first_checkpoint = NULL;
    const bool seen = noticed(&o, model, &first, &first_checkpoint);
    driver.helping = true;
    driver.submissions = driver.pipelines = driver.dispatches = 0;
    driver.count = NULL;
    bl_result r = bl_context_create(&o, &c);
    keep_descriptor_0();
    if (r == BL_OK)
        r = bl_checkpoint_open(c, model, NULL, &checkpoint);
    if (r == BL_OK)
        r = run_all(checkpoint, size);
    printf("{\"label\":\"%s\",\"device\":\"%s\",\"caps\":\"%s\",\"precision\":\"%s\",\"submissions\":%u,\"dispatches\":%u,"
           "\"pipelines\":%u,\"bytes\":%llu,\"noticed\":%s,\"error\":\"%s\"}\n", label ? label : "", c ? bl_context_device(c)->name : "",
           c ? bl_context_caps(c) : "", c ? bl_context_precision(c) : "", driver.submissions, driver.dispatches, driver.pipelines,
           c ? (unsigned long long)c->device->peak : 0, seen ? "true" : "false", r == BL_OK ? "" : bl_last_error());
    fflush(stdout); /* before closing, in which a driver may crash that is overtaken by a pretended kernel */
    bl_checkpoint_close(&first_checkpoint);
    bl_context_destroy(&first);
    bl_checkpoint_close(&checkpoint);
    bl_context_destroy(&c);
    return r != BL_OK || !seen;
}
