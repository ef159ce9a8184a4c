/*
 * host.c - see host.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include "outlet/loop.h"
#include "sock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
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

/* ---- sockets ----------------------------------------------------------------------------- */

int
ol_host_given(struct ol_driver *d, int fd, struct ol_given *out)
{
    (void)d;
    return ol_sock_given(fd, out);
}

void
ol_host_discard(struct ol_driver *d, int32_t token, bool reset)
{
    (void)d;
    ol_sock_close(token, reset);
}

int
ol_host_address(struct ol_driver *d, struct ol_link *l, bool peer, struct ol_addr *out)
{
    (void)d;
    return ol_sock_name(l->token, peer, out);
}

int
ol_host_credentials(struct ol_driver *d, struct ol_link *l, struct ol_credentials *out)
{
    (void)d;
    return ol_sock_credentials(l->token, out);
}

int
ol_host_tcp_facts(struct ol_driver *d, struct ol_link *l, struct ol_tcp_facts *out)
{
    (void)d;
    return ol_sock_tcp_facts(l->token, out);
}

int
ol_host_dgram_facts(struct ol_driver *d, struct ol_link *l, struct ol_dgram_facts *out)
{
    (void)d;
    return ol_sock_dgram_facts(l->token, l->kind == OL_LINK_LOCAL, out);
}

_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLHUP == EPOLLHUP &&
                   POLLERR == EPOLLERR,
               "one table for both");

int32_t
ol_host_ready(uint32_t bits)
{
    int32_t ready = 0;

    if (bits & POLLIN)
        ready |= OUTLET_READABLE;
    if (bits & POLLOUT)
        ready |= OUTLET_WRITABLE;
    if (bits & (POLLHUP | POLLERR))
        ready |= OUTLET_HANGUP;
    return ready;
}
