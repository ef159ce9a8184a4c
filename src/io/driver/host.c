/*
 * host.c - see host.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

ol_time
ol_host_now(struct ol_driver *d)
{
    (void)d;
    return ol_read_clock(CLOCK_MONOTONIC);
}

int64_t
ol_host_real_now(struct ol_driver *d)
{
    (void)d;
    return ol_read_clock(CLOCK_REALTIME);
}

void
ol_host_random(struct ol_driver *d, void *bytes, size_t len)
{
    uint8_t *at = bytes;

    (void)d;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        OL_ASSERT(n > 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

static struct {
    pthread_once_t once;
    struct ol_forks count;
} forks = {.once = PTHREAD_ONCE_INIT};

static void
before_fork(void)
{
    atomic_fetch_add(&forks.count.made, 1);
}

static void
after_fork_in_child(void)
{
    atomic_fetch_add(&forks.count.depth, 1);
}

static void
watch_forks(void)
{
    int err = pthread_atfork(before_fork, NULL, after_fork_in_child);

    /* Without it a child would disturb its parent; there is no memory to report it to. */
    OL_ASSERT(err == 0);
}

const struct ol_forks *
ol_forks(void)
{
    pthread_once(&forks.once, watch_forks);
    return &forks.count;
}
