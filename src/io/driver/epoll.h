/*
 * epoll.h - inside the driver for epoll: what its files share.
 *
 *     epoll_links.c --interest--> [epoll] --events--> epoll_wait.c --> bytes of a stream --> told
 *     epoll_send.c  --no room-->                          |
 *                                            all the rest: epoll_events.c --> told
 *
 * driver_epoll.c makes links, and is the table of it all.
 *
 * What a newcomer gets wrong: to tell more than there is room for.  An event that finds none stays
 * in `events`, and the next wait begins with it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_EPOLL_H
#define OL_EPOLL_H

#include "driver.h"
#include "lend.h"
#include "sock.h"

#include <errno.h>
#include <sys/epoll.h>

enum { EP_DGRAM_ROOM = 65536 /* more than any udp datagram */ };

/* flags of a link */
enum {
    EP_WANT_IN = 1,     /* receiving or accepting */
    EP_WANT_OUT = 2,    /* OL_SENT is owed */
    EP_CONNECTING = 4,  /* OL_CONNECTED is owed */
    EP_REGISTERED = 8,  /* epoll knows it... */
    EP_ARMED_IN = 16,   /* ... with EPOLLIN */
    EP_ARMED_OUT = 32,  /* ... with EPOLLOUT */
    EP_DUE = 64,        /* on the list of what the next wait() tells without asking epoll */
    EP_FULL = 128,      /* stream: the last send was cut, there is no room until EPOLLOUT */
    EP_DUPLICATED = 128 /* watch: the descriptor is a duplicate of our own */
};

/*
 * Other fields of a link: `work` is a unix listener's struct ol_sock_file, or how many descriptors
 * a PASSING or PACKET link takes at a time.  `pending` is the errno of a connect that failed at
 * once, until it is told; then how many messages a datagram link, or clients a listener, asks for
 * in one look.
 */
struct epoll_driver {
    struct ol_driver base;
    struct ol_budget *budget;
    int epoll_fd;
    int wake_fd;
    int timer_fd;
    ol_time rings_at;   /* when `timer_fd` does; OL_NEVER: it does not, or nobody counts on it */
    ol_time last_until; /* the last deadline that epoll was given: see time_left() */
    bool is_embedded;
    const struct ol_forks *forks;
    uint32_t depth; /* of who opened it: a forked child must not touch the shared epoll */
    bool has_pwait2;
    _Atomic bool is_woken;

    struct ol_link *due; /* through `next` */
    struct ol_link **due_end;

    struct ol_link *latest; /* stream that brought bytes last and is not closed: see look() */
    struct ol_lender streams;
    struct ol_lender dgrams;

    int event_next; /* events[event_next..event_count) have been reported but not told yet */
    int event_count;
    struct epoll_event events[OL_BATCH_MAX];

    struct ol_addr from[OL_BATCH_MAX]; /* of the completion with the same index */
    struct ol_addr to[OL_BATCH_MAX];
    struct ol_sock_inbox inbox;
    struct ol_sock_fds *fds; /* NULL: nobody passes any */
};

/* What wait() is filling. */
struct ep_batch {
    struct ol_completion *out;
    int count;
    int max;
    bool is_woken;
    bool is_over; /* the room to receive into is used up */
};

/* ---- links (epoll_links.c) ------------------------------------------------------------- */

/* To be told without asking epoll: an end, or a connect that was over at once. */
void ol_epoll_push_due(struct epoll_driver *d, struct ol_link *l);
void ol_epoll_tell_due(struct epoll_driver *d, struct ep_batch *b);
/* Arm what is wanted; what is armed without need is dropped only along with it.  0 or a negated
 * errno. */
int ol_epoll_arm_wanted(struct epoll_driver *d, struct ol_link *l);
/* Something was reported that nobody wants. */
OL_SELDOM void ol_epoll_quiet(struct epoll_driver *d, struct ol_link *l);
int ol_epoll_start(struct ol_driver *base, struct ol_link *l);
void ol_epoll_stop(struct ol_driver *d, struct ol_link *l);
void ol_epoll_close(struct ol_driver *base, struct ol_link *l, bool reset);

/* ---- waiting (epoll_wait.c) ------------------------------------------------------------ */

void ol_epoll_set_timer(struct epoll_driver *d, ol_time until);
int ol_epoll_wait(struct ol_driver *base, ol_time until, struct ol_completion *out, int max);
int ol_epoll_look(struct ol_driver *base, struct ol_completion *out, int max);
void ol_epoll_wake(struct ol_driver *base);
int ol_epoll_embed(struct ol_driver *base);
void ol_epoll_arm(struct ol_driver *base, ol_time until);

/* ---- events (epoll_events.c) ----------------------------------------------------------- */

/* false: the batch is full and the rest of the event is for the next one. */
bool ol_epoll_tell_event(struct epoll_driver *d, struct ep_batch *b, struct epoll_event *e);

/* ---- sending (epoll_send.c) ------------------------------------------------------------ */

int64_t ol_epoll_send_now(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces,
                          int count);
int64_t ol_epoll_send(struct ol_driver *base, struct ol_link *l, const struct iovec *pieces,
                      int count);
int64_t ol_epoll_send_file(struct ol_driver *base, struct ol_link *l, int file, int64_t offset,
                           size_t len);
int64_t ol_epoll_send_fd(struct ol_driver *base, struct ol_link *l, const struct iovec *piece,
                         int fd);
int ol_epoll_send_dgrams(struct ol_driver *base, struct ol_link *l, const struct ol_dgram *messages,
                         int count);

/* ---- inline: short, or done for each message ------------------------------------------- */

static inline struct epoll_driver *
ep_self(struct ol_driver *d)
{
    return OL_CONTAINER(d, struct epoll_driver, base);
}

static inline const ol_heap *
ep_heap(struct epoll_driver *d)
{
    return &d->budget->heap;
}

static inline bool
ep_has_messages(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM || l->kind == OL_LINK_LOCAL || l->kind == OL_LINK_PACKET;
}

static inline struct ol_completion *
ep_tell(struct ep_batch *b, struct ol_link *l, enum ol_activity kind, int32_t result, bool more)
{
    struct ol_completion *c = &b->out[b->count++];

    OL_ASSERT(b->count <= b->max);
    ol_completion_set(c, l, kind, result, more);
    return c;
}

/* One receive of a stream. */
static OL_INSIDE void
ep_tell_stream(struct epoll_driver *d, struct ep_batch *b, struct ol_link *l)
{
    struct ol_completion *c;
    uint8_t *data;
    size_t room;
    ssize_t n;
    int err = ol_lender_offer(&d->streams, OL_RECEIVE_MIN, &data, &room);

    if (OL_UNLIKELY(err == -ENOBUFS)) {
        b->is_over = true;
        return;
    }
    n = OL_UNLIKELY(err) ? err : recv(l->token, data, room, MSG_DONTWAIT);
    if (OL_LIKELY(n > 0)) {
        d->latest = l;
        c = ep_tell(b, l, OL_RECEIVED, (int32_t)n, true);
        ol_lender_lend(&d->streams, data, (size_t)n, &c->bytes);
        return;
    }
    if (n < 0 && !err)
        n = -errno;
    if (n == -EAGAIN || n == -EINTR)
        return;
    c = ep_tell(b, l, OL_RECEIVED, (int32_t)n, false);
    if (n == 0)
        ol_lender_lend(&d->streams, data, 0, &c->bytes);
    l->flags &= (uint8_t)~EP_WANT_IN;
}

#endif
