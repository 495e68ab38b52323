/* Layer 4. */
#include "context.h"
#include <stdarg.h>
#include <stdio.h>

void bl_context_log(const bl_context *c, bl_log_level level, const char *fmt, ...)
{
    char text[1024];
    if (!c->options.log)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->options.log(c->options.user, level, text);
}

void bl_context_progress(const bl_context *c, const char *stage, uint32_t done, uint32_t total)
{
    if (c->options.progress)
        c->options.progress(c->options.user, stage, done, total);
}

bl_result bl_context_cancelled(const bl_context *c)
{
    return c->options.cancel && c->options.cancel(c->options.user) ? bl_fail(BL_ERROR_CANCELLED, "cancelled") : BL_OK;
}
