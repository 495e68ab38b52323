/* Do two pictures have the same pixels, whatever their metadata? same_pixels A.png B.png; exit 0 yes, 1 no, 2 one cannot be read. */
#include "blemish.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    bl_image images[2] = { { 0 } };
    if (argc != 3) {
        fprintf(stderr, "usage: same_pixels A.png B.png\n");
        return 2;
    }
    for (int i = 0; i < 2; i++)
        if (bl_image_read(argv[i + 1], 3, &images[i]) != BL_OK) {
            fprintf(stderr, "same_pixels: %s\n", bl_last_error());
            bl_image_free(&images[0]);
            return 2;
        }
    const bl_image *a = &images[0], *b = &images[1];
    bool same = a->width == b->width && a->height == b->height;
    const size_t bytes = (size_t)a->width * a->height * 3;
    size_t differ = 0;
    int largest = 0;
    for (size_t i = 0; same && i < bytes; i++) {
        const int d = abs(a->pixels[i] - b->pixels[i]);
        differ += d != 0;
        largest = d > largest ? d : largest;
    }
    if (!same)
        printf("%ux%u and %ux%u\n", a->width, a->height, b->width, b->height);
    else if (differ)
        printf("%zu of %zu values differ, by at most %d\n", differ, bytes, largest);
    same = same && !differ;
    bl_image_free(&images[0]);
    bl_image_free(&images[1]);
    return !same;
}
