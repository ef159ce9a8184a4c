/*
 * epoll_links.c - what a link wants of epoll, and its end.
 *
 * What a newcomer would get wrong: epoll reports HUP and ERR even to whom nothing is of interest. A
 * paused link whose peer resets would make every wait() return at once, so such a link is taken out
 * of epoll until something is started on it again; then the error is found by the system call
 * itself.
 *
 * Interest is changed late: a bit that is no longer wanted stays armed until it is reported once
 * more. Most of the time it is wanted again before that, and no system call was needed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "epoll.h"

#include <unistd.h>

/* ---- what is told without asking epoll ------------------------------------------------- */

void
ol_epoll_push_due(struct epoll_driver *d, struct ol_link *l)
{
    if (l->flags & EP_DUE)
        return;
    if (!d->due && d->is_embedded)
        ol_epoll_set_timer(d, 0); /* whoever polls the embedded descriptor must come */
    l->flags |= EP_DUE;
    l->next = NULL;
    *d->due_end = l;
    d->due_end = &l->next;
}

OL_APART void
ol_epoll_tell_due(struct epoll_driver *d, struct ep_batch *b)
{
    while (d->due && b->count < b->max) {
        struct ol_link *l = d->due;

        d->due = l->next;
        if (!d->due)
            d->due_end = &d->due;
        l->next = NULL;
        l->flags &= (uint8_t)~EP_DUE;
        if (l->token < 0) {
            l->kind = OL_LINK_NONE;
            ep_tell(b, l, OL_CLOSED, 0, false);
        } else {
            l->flags &= (uint8_t)~EP_CONNECTING;
            ep_tell(b, l, OL_CONNECTED, -(int32_t)l->pending, false);
            l->pending = ep_has_messages(l);
        }
    }
}

/* ---- interest -------------------------------------------------------------------------- */

static uint8_t
wanted(const struct ol_link *l)
{
    uint8_t armed = 0;

    if (l->flags & EP_WANT_IN)
        armed |= EP_ARMED_IN;
    if (l->flags & (EP_WANT_OUT | EP_CONNECTING))
        armed |= EP_ARMED_OUT;
    return armed;
}

static int
set_interest(struct epoll_driver *d, struct ol_link *l, uint8_t armed)
{
    struct epoll_event e = {.data.ptr = l};

    if (armed & EP_ARMED_IN)
        e.events |= EPOLLIN;
    if (armed & EP_ARMED_OUT)
        e.events |= EPOLLOUT;
    if (epoll_ctl(d->epoll_fd, l->flags & EP_REGISTERED ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, l->token,
                  &e) != 0)
        return -errno;
    l->flags = (uint8_t)((l->flags & ~(EP_ARMED_IN | EP_ARMED_OUT)) | EP_REGISTERED | armed);
    return 0;
}

/* Arm what is wanted; what is armed without need is dropped only along with it. */
int
ol_epoll_arm_wanted(struct epoll_driver *d, struct ol_link *l)
{
    uint8_t want = wanted(l);

    if ((l->flags & want) == want)
        return 0;
    return set_interest(d, l, want);
}

static void
unregister(struct epoll_driver *d, struct ol_link *l)
{
    /* A watched descriptor may have been closed by its owner: then it is out already. */
    if (l->flags & EP_REGISTERED)
        (void)epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, l->token, NULL);
    l->flags &= (uint8_t) ~(EP_REGISTERED | EP_ARMED_IN | EP_ARMED_OUT);
}

/* Something was reported that nobody wants. */
OL_SELDOM void
ol_epoll_quiet(struct epoll_driver *d, struct ol_link *l)
{
    uint8_t want = wanted(l);

    if (want == 0 && !(l->flags & (EP_ARMED_IN | EP_ARMED_OUT))) {
        unregister(d, l); /* HUP or ERR, which cannot be switched off */
    } else if (set_interest(d, l, want) != 0) {
        unregister(d, l); /* changing needs no memory: cannot be, but must not spin */
    }
}

int
ol_epoll_start(struct ol_driver *base, struct ol_link *l)
{
    struct epoll_driver *d = ep_self(base);
    int err;

    OL_ASSERT(l->token >= 0 && !(l->flags & EP_CONNECTING));
    l->flags |= EP_WANT_IN;
    err = ol_epoll_arm_wanted(d, l);
    if (err)
        l->flags &= (uint8_t)~EP_WANT_IN;
    return err;
}

void
ol_epoll_stop(struct ol_driver *d, struct ol_link *l)
{
    (void)d;
    l->flags &= (uint8_t)~EP_WANT_IN;
}

/* ---- the end of a link ----------------------------------------------------------------- */

static void
forget_events(struct epoll_driver *d, const struct ol_link *l)
{
    for (int i = d->event_next; i < d->event_count; i++) {
        if (d->events[i].data.ptr == l)
            d->events[i].data.ptr = NULL;
    }
}

/*
 * Does close() alone take it out of epoll?  Only while no child has a copy: such a copy would go on
 * reporting a link that is gone, for ever.  In a process that never forked nobody has (a program
 * that posix_spawn(3) starts has them until it executes; what they report meanwhile finds a link of
 * its reactor that wants nothing of it).  One system call less of six for each short connection.
 */
static bool
closing_unregisters(const struct epoll_driver *d, const struct ol_link *l)
{
    return l->kind == OL_LINK_STREAM &&
           atomic_load_explicit(&d->forks->made, memory_order_relaxed) == 0;
}

static void
close_descriptor(struct epoll_driver *d, struct ol_link *l, bool reset)
{
    /* A child shares epoll, socket and file with its parent. */
    bool is_ours = atomic_load_explicit(&d->forks->depth, memory_order_relaxed) == d->depth;

    if (is_ours && !closing_unregisters(d, l))
        unregister(d, l);
    if (l->kind == OL_LINK_WATCH) {
        if (l->flags & EP_DUPLICATED)
            close(l->token);
        return;
    }
    if (l->kind == OL_LINK_LISTENER || l->kind == OL_LINK_LOCAL) {
        if (l->work && is_ours)
            ol_sock_unlink(l->work); /* before the close, see sock.h */
        ol_free(ep_heap(d), l->work);
    }
    l->work = NULL;
    ol_sock_close(l->token, reset && is_ours);
}

void
ol_epoll_close(struct ol_driver *base, struct ol_link *l, bool reset)
{
    struct epoll_driver *d = ep_self(base);

    OL_ASSERT(l->kind != OL_LINK_NONE && l->token >= 0);
    forget_events(d, l);
    if (d->latest == l)
        d->latest = NULL;
    close_descriptor(d, l, reset);
    l->token = -1;
    l->flags &= EP_DUE; /* a connect that failed is not told any more, only its end */
    ol_epoll_push_due(d, l);
}
