#include "caps.h"
#include <stdio.h>
#include <string.h>

static const char *const names[BL_CAP_COUNT] = { "s16", "f16", "sg", "sgsize", "dot8", "cm", "shm" };

void bl_caps_text(uint32_t caps, char *text)
{
    size_t n = 0;
    strcpy(text, "base");
    for (unsigned i = 0; i < BL_CAP_COUNT; i++)
        if (caps >> i & 1)
            n += (size_t)sprintf(text + n, "%s%s", n ? "," : "", names[i]);
}

bl_result bl_caps_parse(const char *text, uint32_t *caps)
{
    *caps = 0;
    if (!strcmp(text, "base"))
        return BL_OK;
    for (const char *s = text;; s++) {
        const size_t n = strcspn(s, ",");
        unsigned i = 0;
        while (i < BL_CAP_COUNT && (strlen(names[i]) != n || memcmp(names[i], s, n)))
            i++;
        if (i == BL_CAP_COUNT)
            return bl_fail(BL_ERROR_USAGE, "unknown capability \"%.*s\"; known are base, or any of s16,f16,sg,sgsize,dot8,cm,shm",
                           (int)BL_MIN(n, 40), s);
        *caps |= 1u << i;
        s += n;
        if (!*s)
            return BL_OK;
    }
}
