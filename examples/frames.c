/* A loop as in an inspection box: every frame of a folder, in the order of their names, becomes a damaged part with its mask.
 *   frames MODEL OBJECT DEFECT OUT FRAME.pgm...
 * A frame is a binary PGM file of 8 bits, as industrial cameras' tools write them. Ctrl-C ends the loop within a submission to the device,
 * some 100 ms; what is written is complete. A frame that fails is told and left out; a lost device is opened anew. */
#include <blemish.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stopped;
static void stop(int signal) { (void)signal, stopped = 1; }
static int wants_to_stop(void *user) { return (void)user, stopped; }

typedef struct box {
    const char *model_dir;
    bl_context *context;
    bl_model *model;
} box;

static void box_close(box *b)
{
    bl_model_close(&b->model);
    bl_context_destroy(&b->context);
}

static bl_result box_open(box *b)
{
    bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    on.cancel = wants_to_stop;
    on.max_memory = 4ull << 30; /* what the box can spare */
    bl_result result = bl_context_create(&on, &b->context);
    if (result == BL_OK)
        result = bl_model_open(b->context, b->model_dir, &b->model);
    if (result != BL_OK)
        box_close(b);
    return result;
}

/* Pixels of a binary PGM file, freed by the caller; NULL: it is none. */
static void *read_pgm(const char *path, bl_frame *frame)
{
    FILE *f = fopen(path, "rb");
    unsigned width, height, most;
    uint8_t *pixels = NULL;
    if (f && fscanf(f, "P5 %5u %5u %3u", &width, &height, &most) == 3 && fgetc(f) != EOF && most == 255 && width && height) {
        const size_t size = (size_t)width * height;
        pixels = malloc(size);
        *frame = (bl_frame){ .pixels = pixels, .size = size, .width = width, .height = height, .format = BL_PIXEL_MONO8 };
        if (pixels && fread(pixels, 1, size, f) != size) {
            free(pixels);
            pixels = NULL;
        }
    }
    if (f)
        fclose(f);
    return pixels;
}

/* OUT/NUMBER.png and OUT/NUMBER_mask.png */
static bl_result write(const char *folder, int number, const bl_generate_result *made)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%04d_mask.png", folder, number);
    bl_result result = bl_image_write_png(path, &made->mask, NULL, 0);
    snprintf(path, sizeof(path), "%s/%04d.png", folder, number);
    if (result == BL_OK)
        result = bl_image_write_png(path, &made->image, NULL, 0);
    if (result == BL_OK)
        printf("%s\n", path);
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: %s MODEL OBJECT DEFECT OUT FRAME.pgm...\n", argv[0]);
        return 2;
    }
    box b = { .model_dir = argv[1] };
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    int failed = 0;
    for (int i = 5; i < argc && !stopped; i++) {
        bl_frame frame;
        bl_image photo = { 0 };
        bl_generate_result made = { 0 };
        bl_generate_options options = BL_GENERATE_OPTIONS_INIT;
        options.photo = &photo;
        options.object = argv[2];
        options.defect = argv[3];
        options.mask_shape = "freeform";
        options.steps = 20;
        options.seed = (uint64_t)i;
        void *pixels = read_pgm(argv[i], &frame);
        bl_result result = pixels ? bl_image_from_frame(&frame, &photo) : BL_ERROR_INPUT;
        if (result == BL_OK && !b.context)
            result = box_open(&b);
        if (result == BL_OK)
            result = bl_generate(b.model, &options, &made);
        if (result == BL_OK)
            result = write(argv[4], i - 4, &made);
        if (result != BL_OK && result != BL_ERROR_CANCELLED) {
            fprintf(stderr, "%s: %s\n", argv[i], pixels ? bl_last_error() : "not a binary PGM file of 8 bits");
            failed++;
        }
        if (result == BL_ERROR_DEVICE)
            box_close(&b); /* lost: the next frame opens it anew */
        bl_generate_result_free(&made);
        bl_image_free(&photo);
        free(pixels);
    }
    box_close(&b);
    return stopped ? 130 : failed != 0;
}
