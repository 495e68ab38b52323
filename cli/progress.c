#include "progress.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double bar_interval = 0.1, line_interval = 2; /* seconds between two of them */

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static progress_mode choose(const char *mode)
{
    const char *term = getenv("TERM");
    if (!strcmp(mode, "none"))
        return PROGRESS_NONE;
    if (!strcmp(mode, "auto"))
        return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") ? PROGRESS_BAR : PROGRESS_LINE;
    return strcmp(mode, "bar") ? PROGRESS_LINE : PROGRESS_BAR;
}

void progress_start(progress *p, const char *command, const char *mode)
{
    const double now = seconds_now();
    *p = (progress){ .mode = choose(mode), .command = command, .started = now, .stage_started = now };
    p->shown = p->mode == PROGRESS_LINE ? now : 0; /* the first line after the interval: short work says nothing */
}

/* "1:02:03" or "2:03" */
static const char *clock_text(char out[24], double seconds)
{
    const unsigned s = seconds > 0 && seconds < 1e9 ? (unsigned)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(out, 24, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 24, "%u:%02u", s / 60, s % 60);
    return out;
}

static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20 ? 80 : size.ws_col;
}

void progress_update(progress *p, const char *stage, uint32_t done, uint32_t total)
{
    const double now = seconds_now();
    if (strncmp(p->stage, stage, sizeof(p->stage) - 1)) {
        snprintf(p->stage, sizeof(p->stage), "%s", stage);
        p->stage_started = now;
    }
    if (p->mode == PROGRESS_NONE || now - p->shown < (p->mode == PROGRESS_BAR ? bar_interval : line_interval))
        return;
    p->shown = now;

    char elapsed[24], left[24], item[32] = "", rest[48] = "";
    const double share = total && done < total ? (double)done / total : 1;
    clock_text(elapsed, now - p->started);
    if (p->items > 1)
        snprintf(item, sizeof(item), "picture %u/%u, ", p->item, p->items);
    if (done && done < total)
        snprintf(rest, sizeof(rest), ", %s left in this stage", clock_text(left, (now - p->stage_started) * (total - done) / done));
    if (p->mode == PROGRESS_LINE) {
        fprintf(stderr, "blemish %s: %s%s %u/%u (%.0f %%), %s elapsed%s\n", p->command, item, p->stage, done, total, 100 * share,
                elapsed, rest);
        return;
    }
    enum { CELLS = 20 };
    char cells[CELLS + 1], line[256];
    for (int i = 0; i < CELLS; i++)
        cells[i] = i < (int)(share * CELLS + 0.5) ? '#' : '.';
    cells[CELLS] = 0;
    if (done && done < total)
        snprintf(rest, sizeof(rest), ", %s left", left);
    snprintf(line, sizeof(line), "[%s] %3.0f %%  %s%s %u/%u  %s%s", cells, 100 * share, item, p->stage, done, total, elapsed, rest);
    const int room = terminal_columns() - 1; /* a full line would wrap, and then not be overwritten */
    fprintf(stderr, "\r%.*s\033[K", room, line);
    fflush(stderr);
    p->on_screen = true;
}

void progress_clear(progress *p)
{
    if (!p->on_screen)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    p->on_screen = false;
    p->shown = 0;
}
