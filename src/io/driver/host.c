/*
 * host.c - see host.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static int64_t
read_clock(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t); /* cannot fail with these clocks */
    return (int64_t)t.tv_sec * 1000 * OL_MS + t.tv_nsec;
}

ol_time
ol_host_now(struct ol_driver *d)
{
    (void)d;
    return read_clock(CLOCK_MONOTONIC);
}

int64_t
ol_host_real_now(struct ol_driver *d)
{
    (void)d;
    return read_clock(CLOCK_REALTIME);
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
