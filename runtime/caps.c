#include "caps.h"
#include <stdio.h>
#include <string.h>

static const char *const names[BL_CAP_COUNT] = { "s16", "f16", "sg", "sgsize", "dot8", "cm", "tall" };

/* What the kernels and the staging buffer need, and what the weakest devices we serve have. */
static const struct { const char *name; uint64_t least, base; } limit_infos[BL_LIMIT_COUNT] = {
    [BL_LIMIT_INVOCATIONS] = { "invocations", 128, 128 },
    [BL_LIMIT_SHARED] = { "shared", 16 << 10, 16 << 10 },
    [BL_LIMIT_BINDING] = { "binding", 1 << 20, 128 << 20 },
    [BL_LIMIT_ALLOCATION] = { "allocation", 8 << 20, UINT64_MAX },
};
static const struct { char letter; unsigned shift; } units[] = { { 'G', 30 }, { 'M', 20 }, { 'K', 10 } };

static int put_amount(char *text, uint64_t v)
{
    for (size_t i = 0; i < BL_COUNT(units); i++)
        if (!(v & ((1ull << units[i].shift) - 1)))
            return sprintf(text, "%llu%c", (unsigned long long)(v >> units[i].shift), units[i].letter);
    return sprintf(text, "%llu", (unsigned long long)v);
}

/* "64M" of n bytes; 0 if it is none. */
static uint64_t get_amount(const char *s, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] >= '0' && s[i] <= '9' && v <= UINT32_MAX) {
            v = v * 10 + (uint64_t)(s[i] - '0');
            continue;
        }
        for (size_t u = 0; i && i + 1 == n && u < BL_COUNT(units); u++)
            if (s[i] == units[u].letter && v <= UINT32_MAX)
                return v << units[u].shift;
        return 0;
    }
    return v;
}

void bl_caps_text(uint32_t caps, char *text)
{
    size_t n = 0;
    strcpy(text, "base");
    for (unsigned i = 0; i < BL_CAP_COUNT; i++)
        if (caps >> i & 1)
            n += (size_t)sprintf(text + n, "%s%s", n ? "," : "", names[i]);
}

void bl_caps_limits_text(uint32_t caps, const uint64_t limits[BL_LIMIT_COUNT], const uint64_t own[BL_LIMIT_COUNT], char *text)
{
    bl_caps_text(caps, text);
    text += strlen(text);
    for (unsigned i = 0; i < BL_LIMIT_COUNT; i++)
        if (limits[i] < own[i] && (caps || limits[i] < limit_infos[i].base)) {
            text += sprintf(text, ",%s=", limit_infos[i].name);
            text += put_amount(text, limits[i]);
        }
}

/* One "name=amount" of n bytes; `equals` of them before the sign. */
static bl_result parse_limit(const char *s, size_t n, size_t equals, uint64_t limits[BL_LIMIT_COUNT])
{
    unsigned i = 0;
    while (i < BL_LIMIT_COUNT && (strlen(limit_infos[i].name) != equals || memcmp(limit_infos[i].name, s, equals)))
        i++;
    if (i == BL_LIMIT_COUNT)
        return bl_fail(BL_ERROR_USAGE, "unknown limit \"%.*s\"; known are invocations, shared, binding and allocation",
                       (int)BL_MIN(equals, 40), s);
    const uint64_t v = get_amount(s + equals + 1, n - equals - 1);
    if (v < limit_infos[i].least) {
        char least[24];
        put_amount(least, limit_infos[i].least);
        return bl_fail(BL_ERROR_USAGE, "\"%.*s\": %s is a whole number, perhaps of K, M or G, from %s on", (int)BL_MIN(n, 40), s,
                       limit_infos[i].name, least);
    }
    limits[i] = BL_MIN(limits[i], v);
    return BL_OK;
}

bl_result bl_caps_parse(const char *text, uint32_t *caps, uint64_t limits[BL_LIMIT_COUNT])
{
    uint64_t lowered[BL_LIMIT_COUNT];
    uint32_t set = 0;
    bool base = false, only_limits = true;
    memcpy(lowered, limits, sizeof(lowered));
    for (const char *s = text;; s++) {
        const size_t n = strcspn(s, ","), equals = strcspn(s, "=");
        if (equals < n) {
            const bl_result r = parse_limit(s, n, equals, lowered);
            if (r != BL_OK)
                return r;
        } else {
            unsigned i = 0;
            while (i < BL_CAP_COUNT && (strlen(names[i]) != n || memcmp(names[i], s, n)))
                i++;
            if (n == 4 && !memcmp(s, "base", n))
                base = true;
            else if (i == BL_CAP_COUNT)
                return bl_fail(BL_ERROR_USAGE, "unknown capability \"%.*s\"; known are base, or any of "
                               "s16,f16,sg,sgsize,dot8,cm,tall; and limits", (int)BL_MIN(n, 40), s);
            else
                set |= 1u << i;
            only_limits = false;
        }
        s += n;
        if (!*s)
            break;
    }
    if (base && set)
        return bl_fail(BL_ERROR_USAGE, "\"%.80s\": base means no capability; only limits stand beside it", text);
    if (!only_limits)
        *caps = set;
    for (unsigned i = 0; i < BL_LIMIT_COUNT; i++)
        limits[i] = base ? BL_MIN(lowered[i], limit_infos[i].base) : lowered[i];
    return BL_OK;
}
