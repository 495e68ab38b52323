/* The device that a group of tests shares, with a stream and kernels; BLEMISH_DEVICE and BLEMISH_CAPS choose. Static functions only. */
#ifndef DEVICE_SESSION_H
#define DEVICE_SESSION_H
#include "kernel.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static bl_device *device;
static bl_stream *stream;
static bl_kernels *kernels;

static int open_device(void **state)
{
    (void)state;
    if (bl_device_open(getenv("BLEMISH_DEVICE"), getenv("BLEMISH_CAPS"), &device) != BL_OK)
        return 0; /* tests that need it skip */
    assert_int_equal(bl_stream_create(device, &stream), BL_OK);
    assert_int_equal(bl_kernels_create(device, NULL, &kernels), BL_OK);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    bl_kernels_destroy(&kernels);
    bl_stream_destroy(&stream);
    bl_device_close(&device);
    return 0;
}

/* At the start of a test that runs on it: skips without one, and fails in CI. */
static void need_device(void)
{
    if (!device) {
        print_message("no Vulkan device: %s\n", bl_last_error());
        if (getenv("CI"))
            fail();
        skip();
    }
}
#endif
