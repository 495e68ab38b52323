/* The machine that a measurement was made on. Layer 6. */
#ifndef CLI_HOST_H
#define CLI_HOST_H
#include <jansson.h>

/* {"system", "machine", "processor", "cores", "load", "clock_mhz"}: what the system tells of it; clock_mhz, of the first processor now, may
 * be missing. NULL when memory runs out. */
json_t *host_json(void);
/* From here on: the peak of what comes, where the system can count it anew. */
void host_restart_peak(void);
/* Bytes of memory that the process has held at most, what a software device holds included; negative where the system does not tell. */
double host_peak(void);
/* The time now as "2026-01-31T12:00:00Z". */
json_t *host_time(void);
#endif
