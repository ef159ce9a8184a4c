/*
 * signals.c - SIGINT, SIGTERM and SIGHUP as a readable descriptor.
 *
 * A signal is then an event like any other: nothing runs inside a handler.  They must be blocked
 * before a thread is started, or the kernel would hand them to that thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t
ending_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

int
cli_signals_open(void)
{
    sigset_t set = ending_signals();

    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

void
cli_signals_end_it(bool at_once)
{
    sigset_t set = ending_signals();

    (void)sigprocmask(at_once ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL); /* the set is a good one */
}

int
cli_signals_read(int fd)
{
    struct signalfd_siginfo info;

    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}
