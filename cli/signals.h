/* Ctrl-C and friends: the first asks to stop, the second stops at once. Layer 6. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

/* Catches SIGINT and SIGTERM, ignores SIGPIPE, and opens whatever of the standard streams is closed on /dev/null, so that no file of
 * ours gets the number of one. */
void signals_install(void);
/* The signal that asked to stop; 0: none. */
int signals_stop(void);
#endif
