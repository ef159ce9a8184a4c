/*
 * driver_epoll.c - the world through epoll, level-triggered, made to look like completions.
 *
 * Links are made here, and left to the other files; epoll.h says which. What a newcomer gets wrong:
 * a descriptor that epoll knows already cannot be watched twice; a duplicate can.
 *
 * SPDX-License-Identifier: MIT
 */
#include "epoll.h"

#include "host.h"

#include "outlet/loop.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_WAIT = 64, /* per listener */
    /* Once so much was received the batch is handed on, and the rest of the events waits for the
     * next: bytes that have left the first-level cache before they are looked at cost more than a
     * turn of the reactor (unix sockets, 1 KiB each: 7 % of all CPU at 64 KiB). */
    LENT_PER_WAIT = 16384,
    STREAM_BLOCK = OL_RECEIVE_MIN + LENT_PER_WAIT + 2 * OL_LENT_ROOM
};

/* ---- links ----------------------------------------------------------------------------- */

static void
take(struct ol_link *l, enum ol_link_kind kind, int fd)
{
    l->token = fd;
    l->kind = (uint8_t)kind;
    l->flags = 0;
    l->pending = ep_has_messages(l);
    l->work = NULL;
    l->next = NULL;
}

static int
epoll_listen(struct ol_driver *base, struct ol_link *l, const struct ol_listen_spec *spec,
             struct ol_addr *bound)
{
    struct epoll_driver *d = ep_self(base);
    struct ol_sock_file *file = ol_alloc(ep_heap(d), sizeof *file);
    int fd;

    if (!file) {
        if (spec->given)
            close(spec->given);
        return -ENOMEM;
    }
    fd = ol_sock_listen(spec, bound, file);
    if (fd < 0) {
        ol_free(ep_heap(d), file);
        return fd;
    }
    take(l, spec->kind, fd);
    if (spec->kind == OL_LINK_LISTENER || spec->kind == OL_LINK_INHERITED)
        l->pending = spec->singly ? 1 : ACCEPTS_PER_WAIT;
    if (file->is_set)
        l->work = file;
    else
        ol_free(ep_heap(d), file);
    return 0;
}

static int
epoll_connect(struct ol_driver *base, struct ol_link *l, const struct ol_connect_spec *spec)
{
    struct epoll_driver *d = ep_self(base);
    int fd = ol_sock_open(spec);
    int err;

    if (fd < 0)
        return fd;
    take(l, spec->kind, fd);
    l->flags = EP_CONNECTING;
    err = spec->given ? 0 : ol_sock_connect(fd, spec);
    if (spec->given || (err && err != -EINPROGRESS)) {
        /* Also EAGAIN of a unix listener whose backlog is full: epoll would never tell of room. */
        l->pending = (uint16_t)-err; /* 0: it was connected when it was given */
        ol_epoll_push_due(d, l);
        return 0;
    }
    /* Whether it is done already or not: epoll says writable when it is. */
    err = ol_epoll_arm_wanted(d, l);
    if (err) {
        close(fd);
        *l = (struct ol_link){.ops = l->ops, .token = -1};
    }
    return err;
}

static int
epoll_pair(struct ol_driver *d, int32_t tokens[2])
{
    (void)d;
    return ol_sock_pair(tokens);
}

static int
epoll_adopt(struct ol_driver *d, struct ol_link *l, enum ol_link_kind kind, int32_t token)
{
    (void)d;
    OL_ASSERT(token >= 0);
    if (kind == OL_LINK_PACKET)
        ol_sock_use_packets(token);
    take(l, kind, token);
    return 0;
}

static int
epoll_pass(struct ol_driver *base, struct ol_link *l, unsigned max)
{
    struct epoll_driver *d = ep_self(base);

    OL_ASSERT(l->kind == OL_LINK_STREAM || l->kind == OL_LINK_PACKET);
    if (!d->fds)
        d->fds = ol_alloc_zero(ep_heap(d), sizeof *d->fds);
    if (!d->fds)
        return -ENOMEM;
    l->kind = l->kind == OL_LINK_STREAM ? OL_LINK_PASSING : l->kind;
    l->work = (void *)(uintptr_t)max;
    return 0;
}

static void
epoll_give_back(struct ol_driver *base, struct ol_lent *bytes)
{
    struct epoll_driver *d = ep_self(base);

    if (OL_UNLIKELY(!bytes->block))
        return; /* the end of a PACKET link lends nothing */
    if (OL_UNLIKELY(bytes->block == d->dgrams.block))
        ol_lender_give_back(&d->dgrams, bytes);
    else
        ol_lender_give_back(&d->streams, bytes);
}

static int
epoll_watch(struct ol_driver *base, struct ol_link *l, int fd, unsigned events)
{
    struct epoll_driver *d = ep_self(base);
    struct epoll_event e = {.data.ptr = l};
    int copy;

    if (events & OUTLET_READABLE)
        e.events |= EPOLLIN;
    if (events & OUTLET_WRITABLE)
        e.events |= EPOLLOUT;
    if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0) {
        take(l, OL_LINK_WATCH, fd);
        l->flags = EP_REGISTERED;
        return 0;
    }
    if (errno != EEXIST) /* EPERM: a regular file, which is always ready */
        return -errno;
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* epoll knows each descriptor once */
    if (copy < 0)
        return -errno;
    if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, copy, &e) != 0) {
        int err = -errno;

        close(copy);
        return err;
    }
    take(l, OL_LINK_WATCH, copy);
    l->flags = EP_REGISTERED | EP_DUPLICATED;
    return 0;
}

static int
epoll_end_writing(struct ol_driver *d, struct ol_link *l)
{
    (void)d;
    OL_ASSERT(!(l->flags & EP_WANT_OUT));
    return ol_sock_end_writing(l->token);
}

/* ---- the driver itself ----------------------------------------------------------------- */

static int
add_own(struct epoll_driver *d, int *fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = fd};

    return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, *fd, &e) == 0 ? 0 : -errno;
}

static int
epoll_open(struct ol_driver **out, const struct ol_driver_opts *opts)
{
    struct epoll_driver *d = ol_alloc_zero(&opts->budget->heap, sizeof *d);
    int err;

    if (!d)
        return -ENOMEM;
    d->base.ops = &ol_driver_epoll;
    d->budget = ol_budget_ref(opts->budget);
    d->due_end = &d->due;
    d->rings_at = OL_NEVER;
    d->has_pwait2 = true;
    d->forks = ol_forks();
    d->depth = atomic_load(&d->forks->depth);
    ol_lender_init(&d->streams, d->budget, STREAM_BLOCK);
    /* 2 MiB of which only the pages that hold datagrams are ever touched. */
    ol_lender_init(&d->dgrams, d->budget, OL_SOCK_BATCH * ol_lender_stride(EP_DGRAM_ROOM));

    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    err = d->epoll_fd < 0 ? -errno : 0;
    if (err)
        goto free_driver;
    d->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    err = d->wake_fd < 0 ? -errno : add_own(d, &d->wake_fd);
    if (err)
        goto close_wake;
    d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    err = d->timer_fd < 0 ? -errno : add_own(d, &d->timer_fd);
    if (err)
        goto close_timer;
    if (!ol_lender_fill(&d->streams)) {
        err = -ENOMEM;
        goto close_timer;
    }
    *out = &d->base;
    return 0;

close_timer:
    if (d->timer_fd >= 0)
        close(d->timer_fd);
close_wake:
    if (d->wake_fd >= 0)
        close(d->wake_fd);
    close(d->epoll_fd);
free_driver:
    ol_free(&opts->budget->heap, d);
    ol_budget_unref(opts->budget);
    return err;
}

static void
epoll_free(struct ol_driver *base)
{
    struct epoll_driver *d = ep_self(base);
    struct ol_budget *budget = d->budget;

    close(d->timer_fd);
    close(d->wake_fd);
    close(d->epoll_fd);
    ol_lender_fini(&d->streams);
    ol_lender_fini(&d->dgrams);
    ol_free(&budget->heap, d->fds);
    ol_free(&budget->heap, d);
    ol_budget_unref(budget);
}

const struct ol_driver_ops ol_driver_epoll = {
    .name = "epoll",
    .open = epoll_open,
    .free = epoll_free,
    .listen = epoll_listen,
    .accept_start = ol_epoll_start,
    .accept_stop = ol_epoll_stop,
    .connect = epoll_connect,
    .given = ol_host_given,
    .pair = epoll_pair,
    .adopt = epoll_adopt,
    .discard = ol_host_discard,
    .pass = epoll_pass,
    .receive_start = ol_epoll_start,
    .receive_stop = ol_epoll_stop,
    .give_back = epoll_give_back,
    .send_now = ol_epoll_send_now,
    .send = ol_epoll_send,
    .send_file = ol_epoll_send_file,
    .send_fd = ol_epoll_send_fd,
    .send_dgrams = ol_epoll_send_dgrams,
    .end_writing = epoll_end_writing,
    .close = ol_epoll_close,
    .address = ol_host_address,
    .credentials = ol_host_credentials,
    .tcp_facts = ol_host_tcp_facts,
    .dgram_facts = ol_host_dgram_facts,
    .watch = epoll_watch,
    .wait = ol_epoll_wait,
    .look = ol_epoll_look,
    .wake = ol_epoll_wake,
    .now = ol_host_now,
    .real_now = ol_host_real_now,
    .random = ol_host_random,
    .embed = ol_epoll_embed,
    .arm = ol_epoll_arm,
};
