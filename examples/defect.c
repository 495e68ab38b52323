/* The smallest program: one damaged part from one photo.   defect MODEL PHOTO OBJECT DEFECT OUT.png */
#include <blemish.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s MODEL PHOTO OBJECT DEFECT OUT.png\n", argv[0]);
        return 2;
    }
    bl_context *context = NULL;
    bl_model *model = NULL;
    bl_image photo = { 0 };
    bl_generate_result made = { 0 };
    const bl_context_options on = BL_CONTEXT_OPTIONS_INIT;
    bl_generate_options options = BL_GENERATE_OPTIONS_INIT;
    options.photo = &photo;
    options.object = argv[3];
    options.defect = argv[4];
    options.mask_shape = "ellipse";
    options.steps = 20;

    bl_result result = bl_image_read(argv[2], 3, &photo);
    if (result == BL_OK)
        result = bl_context_create(&on, &context);
    if (result == BL_OK)
        result = bl_model_open(context, argv[1], &model);
    if (result == BL_OK)
        result = bl_generate(model, &options, &made);
    if (result == BL_OK)
        result = bl_image_write_png(argv[5], &made.image, NULL, 0); /* made.mask is where it changed */
    if (result == BL_OK)
        printf("%s: %ux%u pixels in %.1f s\n", argv[5], made.image.width, made.image.height, made.seconds);
    else
        fprintf(stderr, "%s\n", bl_last_error());
    bl_generate_result_free(&made);
    bl_model_close(&model);
    bl_context_destroy(&context);
    bl_image_free(&photo);
    return -result;
}
