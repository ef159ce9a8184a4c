/*
 * uring_embed.c - see uring_embed.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring_embed.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SECOND (1000 * OL_MS)

void
ol_embed_init(struct ol_embed *e)
{
    *e = (struct ol_embed){.poll_fd = -1, .event_fd = -1, .timer_fd = -1, .armed = OL_NEVER};
}

static int
add(const struct ol_embed *e, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN};

    return epoll_ctl(e->poll_fd, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : -errno;
}

int
ol_embed_open(struct ol_embed *e, int wake_fd)
{
    int err;

    e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->event_fd >= 0)
        e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (e->timer_fd >= 0)
        e->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->poll_fd < 0) {
        err = -errno;
        goto close_all;
    }
    err = add(e, e->event_fd);
    if (!err)
        err = add(e, e->timer_fd);
    if (!err)
        err = add(e, wake_fd);
    if (err)
        goto close_all;
    return 0;

close_all:
    ol_embed_close(e);
    return err;
}

void
ol_embed_close(struct ol_embed *e)
{
    if (e->poll_fd >= 0)
        close(e->poll_fd);
    if (e->timer_fd >= 0)
        close(e->timer_fd);
    if (e->event_fd >= 0)
        close(e->event_fd);
    ol_embed_init(e);
}

void
ol_embed_drain(struct ol_embed *e)
{
    uint64_t count;

    /* Nothing to read is the usual case: a timer or a wake brought us here. */
    if (read(e->event_fd, &count, sizeof count) < 0)
        return;
}

void
ol_embed_arm(struct ol_embed *e, ol_time until)
{
    struct itimerspec when = {0};

    if (until < 1)
        until = 1; /* zero would disarm it */
    if (until == e->armed)
        return; /* if it has fired it is still readable, as it should be */
    if (until != OL_NEVER) {
        when.it_value.tv_sec = (time_t)(until / SECOND);
        when.it_value.tv_nsec = (long)(until % SECOND);
    }
    OL_ASSERT(timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
    e->armed = until;
}
