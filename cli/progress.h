/* How far it is: a bar on a terminal, a line now and then in a pipe. On stderr. Layer 6. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H
#include <stdbool.h>
#include <stdint.h>

typedef enum progress_mode { PROGRESS_NONE, PROGRESS_LINE, PROGRESS_BAR } progress_mode;

typedef struct progress {
    progress_mode mode;
    const char *command;
    double started, stage_started, shown; /* seconds */
    char stage[32];
    uint32_t item, items; /* picture 2 of 3 */
    bool on_screen;       /* a bar stands in the last line */
} progress;

/* `mode`: "auto" (a bar if stderr is a terminal that can redraw a line), "bar", "line" or "none". */
void progress_start(progress *p, const char *command, const char *mode);
/* As the library's callback: `done` of `total` parts of `stage`. */
void progress_update(progress *p, const char *stage, uint32_t done, uint32_t total);
/* Removes the bar, so that something else can be printed. */
void progress_clear(progress *p);

/* Seconds of a clock that is never set. */
double seconds_now(void);
#endif
