#include "signals.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static atomic_int stop; /* the handler may run on a thread of the driver */

static void on_signal(int signal)
{
    if (atomic_exchange(&stop, signal))
        _exit(128 + signal);
}

int signals_stop(void) { return atomic_load(&stop); }

void signals_install(void)
{
    for (int fd = 0; fd < 3; fd++) /* stdout gets a descriptor that refuses writes: a lost result is an error */
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            (void)!open("/dev/null", fd == 1 ? O_RDONLY : O_RDWR);
    static const int asked[] = { SIGINT, SIGTERM };
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        struct sigaction now;
        if (!sigaction(asked[i], NULL, &now) && now.sa_handler == SIG_IGN)
            continue; /* started in the background of a script */
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
        sigemptyset(&action.sa_mask);
        sigaction(asked[i], &action, NULL);
    }
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
}
