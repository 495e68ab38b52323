/* What is known of drivers, as data: nothing here changes what is computed. Layer 1. */
#ifndef BL_QUIRKS_H
#define BL_QUIRKS_H
#include "device.h"

typedef struct bl_quirk {
    VkDriverId driver;       /* 0: any */
    uint32_t vendor;         /* PCI id; 0: any */
    const char *text, *link;
} bl_quirk;

/* Those that concern a device, at most `capacity`; returns how many. */
uint32_t bl_quirks_of(const bl_device *d, const bl_quirk **out, uint32_t capacity);
/* What resets a device that is busy for too long, in words. Never NULL. */
const char *bl_watchdog_of(const bl_device *d);
#endif
