#include "host.h"
#include "output.h"
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* The first value of `key` in /proc/cpuinfo; "" where there is none. */
static void processor_value(const char *key, char *value, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    *value = 0;
    while (f && !*value && fgets(line, sizeof(line), f)) {
        char *colon = strchr(line, ':');
        if (colon && !strncmp(line, key, strlen(key))) {
            line[strcspn(line, "\n")] = 0;
            snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " "));
        }
    }
    if (f)
        fclose(f);
}

json_t *host_json(void)
{
    struct utsname system = { 0 };
    char processor[256], clock[64];
    double load = 0;
    uname(&system);
    processor_value("model name", processor, sizeof(processor));
    processor_value("cpu MHz", clock, sizeof(clock));
    FILE *f = fopen("/proc/loadavg", "r");
    if (f && fscanf(f, "%lf", &load) != 1)
        load = 0;
    if (f)
        fclose(f);
    char name[200];
    snprintf(name, sizeof(name), "%.60s %.120s", system.sysname, system.release);
    json_t *host = json_pack("{s:o, s:o, s:o, s:i, s:f}", "system", json_text(name), "machine", json_text(system.machine), "processor",
                             json_text(processor), "cores", (int)sysconf(_SC_NPROCESSORS_ONLN), "load", load);
    if (host && *clock)
        json_object_set_new(host, "clock_mhz", json_real(strtod(clock, NULL)));
    return host;
}

/* Linux (proc(5)): 5 resets the peak. */
void host_restart_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f)
        return;
    fputs("5", f);
    fclose(f);
}

double host_peak(void)
{
    static const char key[] = "VmHWM:";
    char line[256];
    double kib = -1 / 1024.0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, key, strlen(key)))
            kib = strtod(line + strlen(key), NULL);
    if (f)
        fclose(f);
    return kib * 1024;
}

json_t *host_time(void)
{
    char text[32];
    struct tm utc;
    const time_t now = time(NULL);
    return gmtime_r(&now, &utc) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc) ? json_string(text) : json_string("");
}
