/*
 * driver_epoll.c - the world through epoll, level-triggered, made to look like completions.
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
#include "driver.h"
#include "host.h"
#include "lend.h"
#include "sock.h"

#include "outlet/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
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
    STREAM_BLOCK = OL_RECEIVE_MIN + LENT_PER_WAIT + 2 * OL_LENT_ROOM,
    DGRAM_ROOM = 65536, /* more than any udp datagram */
    SECOND = 1000000000
};

/* flags of a link */
enum {
    WANT_IN = 1,     /* receiving or accepting */
    WANT_OUT = 2,    /* OL_SENT is owed */
    CONNECTING = 4,  /* OL_CONNECTED is owed */
    REGISTERED = 8,  /* epoll knows it... */
    ARMED_IN = 16,   /* ... with EPOLLIN */
    ARMED_OUT = 32,  /* ... with EPOLLOUT */
    DUE = 64,        /* on the list of what the next wait() tells without asking epoll */
    FULL = 128,      /* stream: the last send was cut, there is no room until EPOLLOUT */
    DUPLICATED = 128 /* watch: the descriptor is a duplicate of our own */
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
struct batch {
    struct ol_completion *out;
    int count;
    int max;
    bool is_woken;
    bool is_over; /* the room to receive into is used up */
};

static struct epoll_driver *
self(struct ol_driver *d)
{
    return OL_CONTAINER(d, struct epoll_driver, base);
}

static const ol_heap *
heap_of(struct epoll_driver *d)
{
    return &d->budget->heap;
}

/* ---- waking ------------------------------------------------------------------------------ */

static void
epoll_wake(struct ol_driver *base)
{
    struct epoll_driver *d = self(base);
    int saved = errno; /* a signal handler may be calling */
    uint64_t one = 1;

    if (!atomic_exchange(&d->is_woken, true)) {
        /* It can only fail when the counter is full, and then it is readable anyway. */
        ssize_t n = write(d->wake_fd, &one, sizeof one);

        (void)n;
    }
    errno = saved;
}

static void
drain(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);

    (void)n; /* EAGAIN: nothing was there */
}

static void
set_timer(struct epoll_driver *d, ol_time until)
{
    struct itimerspec at = {{0, 0}, {0, 0}};

    if (until == d->rings_at)
        return;
    d->rings_at = until;
    if (until != OL_NEVER) {
        ol_time t = until > 0 ? until : 1; /* 0 would disarm it */

        at.it_value.tv_sec = t / SECOND;
        at.it_value.tv_nsec = t % SECOND;
    }
    /* Every time is a legal one, so this cannot fail. */
    (void)timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static bool
has_messages(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM || l->kind == OL_LINK_LOCAL || l->kind == OL_LINK_PACKET;
}

static size_t
message_room(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM ? DGRAM_ROOM : OL_PACKET_MAX;
}

/* ---- what is told without asking epoll --------------------------------------------------- */

static void
push_due(struct epoll_driver *d, struct ol_link *l)
{
    if (l->flags & DUE)
        return;
    if (!d->due && d->is_embedded)
        set_timer(d, 0); /* whoever polls the embedded descriptor must come */
    l->flags |= DUE;
    l->next = NULL;
    *d->due_end = l;
    d->due_end = &l->next;
}

static struct ol_completion *
add(struct batch *b, struct ol_link *l, enum ol_activity kind, int32_t result, bool more)
{
    struct ol_completion *c = &b->out[b->count++];

    OL_ASSERT(b->count <= b->max);
    ol_completion_set(c, l, kind, result, more);
    return c;
}

OL_APART static void
tell_due(struct epoll_driver *d, struct batch *b)
{
    while (d->due && b->count < b->max) {
        struct ol_link *l = d->due;

        d->due = l->next;
        if (!d->due)
            d->due_end = &d->due;
        l->next = NULL;
        l->flags &= (uint8_t)~DUE;
        if (l->token < 0) {
            l->kind = OL_LINK_NONE;
            add(b, l, OL_CLOSED, 0, false);
        } else {
            l->flags &= (uint8_t)~CONNECTING;
            add(b, l, OL_CONNECTED, -(int32_t)l->pending, false);
            l->pending = has_messages(l);
        }
    }
}

/* ---- interest ---------------------------------------------------------------------------- */

static uint8_t
wanted(const struct ol_link *l)
{
    uint8_t armed = 0;

    if (l->flags & WANT_IN)
        armed |= ARMED_IN;
    if (l->flags & (WANT_OUT | CONNECTING))
        armed |= ARMED_OUT;
    return armed;
}

static int
set_interest(struct epoll_driver *d, struct ol_link *l, uint8_t armed)
{
    struct epoll_event e = {.data.ptr = l};

    if (armed & ARMED_IN)
        e.events |= EPOLLIN;
    if (armed & ARMED_OUT)
        e.events |= EPOLLOUT;
    if (epoll_ctl(d->epoll_fd, l->flags & REGISTERED ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, l->token,
                  &e) != 0)
        return -errno;
    l->flags = (uint8_t)((l->flags & ~(ARMED_IN | ARMED_OUT)) | REGISTERED | armed);
    return 0;
}

/* Arm what is wanted; what is armed without need is dropped only along with it. */
static int
arm_wanted(struct epoll_driver *d, struct ol_link *l)
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
    if (l->flags & REGISTERED)
        (void)epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, l->token, NULL);
    l->flags &= (uint8_t) ~(REGISTERED | ARMED_IN | ARMED_OUT);
}

/* Something was reported that nobody wants. */
OL_SELDOM static void
quiet(struct epoll_driver *d, struct ol_link *l)
{
    uint8_t want = wanted(l);

    if (want == 0 && !(l->flags & (ARMED_IN | ARMED_OUT))) {
        unregister(d, l); /* HUP or ERR, which cannot be switched off */
    } else if (set_interest(d, l, want) != 0) {
        unregister(d, l); /* changing needs no memory: cannot be, but must not spin */
    }
}

/* ---- events become completions ----------------------------------------------------------- */

static OL_INSIDE void
tell_stream(struct epoll_driver *d, struct batch *b, struct ol_link *l)
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
        c = add(b, l, OL_RECEIVED, (int32_t)n, true);
        ol_lender_lend(&d->streams, data, (size_t)n, &c->bytes);
        return;
    }
    if (n < 0 && !err)
        n = -errno;
    if (n == -EAGAIN || n == -EINTR)
        return;
    c = add(b, l, OL_RECEIVED, (int32_t)n, false);
    if (n == 0)
        ol_lender_lend(&d->streams, data, 0, &c->bytes);
    l->flags &= (uint8_t)~WANT_IN;
}

static void
tell_dgram(struct epoll_driver *d, struct batch *b, struct ol_link *l, int i, uint8_t *data)
{
    size_t len = d->inbox.heads[i].msg_len;
    struct ol_completion *c = add(b, l, OL_RECEIVED, (int32_t)len, true);
    struct ol_addr *from = &d->from[b->count - 1];
    struct ol_addr *to = &d->to[b->count - 1];

    ol_lender_lend_slot(&d->dgrams, data, len, message_room(l), &c->bytes);
    c->truncated = ol_sock_dgram_truncated(&d->inbox, i);
    c->segment = ol_sock_dgram_segment(&d->inbox, i);
    ol_sock_dgram_from(&d->inbox, i, from);
    c->from = from;
    c->to = ol_sock_dgram_to(&d->inbox, i, to) ? to : NULL;
}

static bool
is_end(struct epoll_driver *d, const struct ol_link *l, int i, int n)
{
    return l->kind == OL_LINK_PACKET && d->inbox.heads[i].msg_len == 0 &&
           ol_sock_packet_end(l->token, &d->inbox, i, n);
}

static void
tell_end(struct batch *b, struct ol_link *l)
{
    l->flags &= (uint8_t)~WANT_IN;
    add(b, l, OL_RECEIVED, 0, false)->end = true;
}

/* Asks for as many as came last time, and for twice that when they all came: a lone datagram then
 * costs no second look. */
OL_APART static void
tell_dgrams(struct epoll_driver *d, struct batch *b, struct ol_link *l)
{
    size_t room = message_room(l);
    size_t stride = ol_lender_stride(room);
    uint8_t *first = NULL;
    int asked = l->pending < b->max - b->count ? l->pending : b->max - b->count;
    int n = ol_lender_offer_slots(&d->dgrams, room, asked, &first);

    if (n == 0) {
        b->is_over = true;
        return;
    }
    if (n > 0) {
        for (int i = 0; i < n; i++)
            d->inbox.pieces[i] = (struct iovec){first + (size_t)i * stride, room};
        asked = n;
        n = ol_sock_receive_dgrams(l->token, &d->inbox, asked, l->kind != OL_LINK_DGRAM);
    }
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n < 0) {
        bool more = l->kind != OL_LINK_PACKET && ol_sock_is_peer_error(-n);

        add(b, l, OL_RECEIVED, n, more);
        if (!more)
            l->flags &= (uint8_t)~WANT_IN;
        return;
    }
    for (int i = 0; i < n; i++) {
        if (is_end(d, l, i, n)) {
            tell_end(b, l);
            break;
        }
        tell_dgram(d, b, l, i, first + (size_t)i * stride);
    }
    l->pending = (uint16_t)(n < asked ? n : n * 2 < OL_SOCK_BATCH ? n * 2 : OL_SOCK_BATCH);
}

/* One message, or what a stream has up to the next descriptors. */
OL_APART static void
tell_passing(struct epoll_driver *d, struct batch *b, struct ol_link *l)
{
    bool packet = l->kind == OL_LINK_PACKET;
    size_t size = packet ? OL_PACKET_MAX : OL_RECEIVE_MIN;
    struct ol_completion got = {.fd_count = 0};
    struct ol_completion *c;
    uint8_t *data = NULL;
    int64_t n = ol_lender_offer_slots(&d->dgrams, size, 1, &data);

    if (n == 0)
        n = -ENOBUFS;
    if (n > 0)
        n = ol_sock_receive_fds(l->token, &(struct iovec){data, size}, (unsigned)(uintptr_t)l->work,
                                d->fds, &got);
    if (n == -ENOBUFS) {
        b->is_over = true;
        return;
    }
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n == 0 && packet && ol_sock_at_end(l->token) && !got.fd_count) {
        tell_end(b, l);
        return;
    }
    c = add(b, l, OL_RECEIVED, (int32_t)n, n > 0 || (n == 0 && packet));
    if (!c->more)
        l->flags &= (uint8_t)~WANT_IN;
    if (n < 0)
        return;
    ol_lender_lend_slot(&d->dgrams, data, (size_t)n, size, &c->bytes);
    c->truncated = packet && got.truncated;
    c->fds = got.fds;
    c->fd_count = got.fd_count;
    c->fds_lost = got.fds_lost;
}

OL_APART static void
tell_accepts(struct epoll_driver *d, struct batch *b, struct ol_link *l)
{
    bool singly = l->pending == 1;

    for (int i = 0; i < l->pending && b->count < b->max; i++) {
        struct ol_addr *from = &d->from[b->count];
        int fd = ol_sock_accept(l->token, from);

        if (fd == -EAGAIN)
            return;
        if (fd < 0 && ol_sock_is_lost_client(-fd))
            continue;
        if (fd < 0) {
            /* Mostly EMFILE: the client stays in the backlog until accepting starts again. */
            l->flags &= (uint8_t)~WANT_IN;
            add(b, l, OL_ACCEPTED, fd, false);
            return;
        }
        if (singly)
            l->flags &= (uint8_t)~WANT_IN;
        add(b, l, OL_ACCEPTED, fd, !singly)->from = from;
    }
}

static void
tell_in(struct epoll_driver *d, struct batch *b, struct ol_link *l)
{
    switch ((enum ol_link_kind)l->kind) {
    case OL_LINK_LISTENER:
    case OL_LINK_INHERITED:
        tell_accepts(d, b, l);
        return;
    case OL_LINK_STREAM:
        tell_stream(d, b, l);
        return;
    case OL_LINK_PASSING:
        tell_passing(d, b, l);
        return;
    case OL_LINK_PACKET:
        if (l->work)
            tell_passing(d, b, l);
        else
            tell_dgrams(d, b, l);
        return;
    case OL_LINK_DGRAM:
    case OL_LINK_LOCAL:
        tell_dgrams(d, b, l);
        return;
    case OL_LINK_NONE:
    case OL_LINK_WATCH:
        break;
    }
    OL_ASSERT(false); /* a link that cannot receive */
}

OL_APART static void
tell_watch(struct batch *b, struct ol_link *l, uint32_t bits)
{
    int32_t ready = 0;

    if (bits & EPOLLIN)
        ready |= OUTLET_READABLE;
    if (bits & EPOLLOUT)
        ready |= OUTLET_WRITABLE;
    if (bits & (EPOLLHUP | EPOLLERR))
        ready |= OUTLET_HANGUP;
    add(b, l, OL_READY, ready, true);
}

/* HUP and ERR count as whatever is wanted: the system call then finds out what it was.  false: the
 * batch is full and the rest of the event is for the next one. */
OL_APART static bool
tell_event(struct epoll_driver *d, struct batch *b, struct epoll_event *e)
{
    struct ol_link *l = e->data.ptr;
    uint32_t broken = e->events & (EPOLLHUP | EPOLLERR);

    bool in = l->flags & WANT_IN && (e->events & EPOLLIN || broken);
    bool out = l->flags & WANT_OUT && (e->events & EPOLLOUT || broken);

    if (l->kind == OL_LINK_WATCH) {
        tell_watch(b, l, e->events);
        return true;
    }
    if (l->flags & CONNECTING && (e->events & EPOLLOUT || broken)) {
        l->flags &= (uint8_t)~CONNECTING;
        add(b, l, OL_CONNECTED, ol_sock_error(l->token), false);
        return true;
    }
    if (!in && !out)
        quiet(d, l);
    if (out) {
        l->flags &= (uint8_t) ~(WANT_OUT | FULL);
        add(b, l, OL_SENT, 0, false);
        e->events &= ~(uint32_t)EPOLLOUT; /* told */
    }
    if (in && b->count == b->max)
        return false;
    if (in)
        tell_in(d, b, l);
    return !b->is_over;
}

/* What shows at a descriptor of the driver's own. */
OL_APART static void
hear_own(struct epoll_driver *d, struct batch *b, const int *fd)
{
    if (fd == &d->timer_fd) {
        drain(d->timer_fd);
        d->rings_at = OL_NEVER;
        return;
    }
    /* Read before the flag is cleared: the other way round a wake in between would leave the flag
     * set with nothing to read, and no later one would be heard. */
    drain(d->wake_fd);
    (void)atomic_exchange(&d->is_woken, false);
    b->is_woken = true;
}

static bool
is_just_bytes(const struct ol_link *l, uint32_t events)
{
    return OL_LIKELY(events == EPOLLIN) && OL_LIKELY(l->kind == OL_LINK_STREAM) &&
           OL_LIKELY((l->flags & (WANT_IN | WANT_OUT | CONNECTING)) == WANT_IN);
}

static bool
is_own(const struct epoll_driver *d, const void *who)
{
    return who == &d->wake_fd || who == &d->timer_fd;
}

static void
walk_events(struct epoll_driver *d, struct batch *b)
{
    do {
        struct epoll_event *e = &d->events[d->event_next];

        if (OL_UNLIKELY(is_own(d, e->data.ptr))) {
            hear_own(d, b, e->data.ptr);
        } else if (OL_LIKELY(e->data.ptr)) {
            if (is_just_bytes(e->data.ptr, e->events))
                tell_stream(d, b, e->data.ptr);
            else if (!tell_event(d, b, e))
                return;
            if (OL_UNLIKELY(b->is_over))
                return;
        }
        d->event_next++;
    } while (OL_UNLIKELY(d->event_next < d->event_count) && b->count < b->max);
}

/* ---- waiting ----------------------------------------------------------------------------- */

static int
poll_ms(struct epoll_driver *d, ol_time left)
{
    int64_t ms = left / OL_MS + (left % OL_MS != 0); /* never early */

    if (ms > INT32_MAX)
        ms = INT32_MAX;
    return epoll_wait(d->epoll_fd, d->events, OL_BATCH_MAX, (int)ms);
}

/*
 * How long epoll is to wait.  A deadline that is given to it becomes a timer of the kernel's, which
 * each wait makes and takes back: 1.8 % of all CPU of one busy connection.  So a deadline that
 * outlives a wait is left to a timer that stands until it rings.  When it does, a deadline that was
 * put off meanwhile is waited for anew.
 */
static ol_time
time_left(struct epoll_driver *d, ol_time until)
{
    ol_time now;

    if (OL_UNLIKELY(until <= 0))
        return 0;
    if (OL_LIKELY(until >= d->rings_at))
        return OL_NEVER;
    now = ol_host_now(NULL);
    if (until <= now)
        return 0;
    if (until != d->last_until) {
        d->last_until = until;
        return until - now;
    }
    set_timer(d, until);
    return OL_NEVER;
}

OL_APART static int
poll_precisely(struct epoll_driver *d, ol_time left)
{
    struct timespec t = {left / SECOND, left % SECOND};
    int n;

    if (!d->has_pwait2)
        return poll_ms(d, left);
    n = epoll_pwait2(d->epoll_fd, d->events, OL_BATCH_MAX, &t, NULL);
    if (n >= 0 || (errno != ENOSYS && errno != EPERM))
        return n;
    d->has_pwait2 = false; /* before Linux 5.11, or forbidden */
    return poll_ms(d, left);
}

/* Ask epoll, until there is something or `until` has come: the number of events, or an error. */
static int
poll_events(struct epoll_driver *d, ol_time until)
{
    int n;

    d->event_next = 0;
    d->event_count = 0;
    do {
        ol_time left = time_left(d, until);

        if (OL_LIKELY(left == OL_NEVER))
            n = epoll_wait(d->epoll_fd, d->events, OL_BATCH_MAX, -1);
        else if (left == 0)
            n = epoll_wait(d->epoll_fd, d->events, OL_BATCH_MAX, 0);
        else
            n = poll_precisely(d, left);
    } while (OL_UNLIKELY(n < 0) && errno == EINTR);
    if (OL_UNLIKELY(n < 0))
        return -errno;
    d->event_count = n;
    return n;
}

static int
epoll_driver_wait(struct ol_driver *base, ol_time until, struct ol_completion *out, int max)
{
    struct epoll_driver *d = self(base);
    struct batch b = {.out = out, .max = max < OL_BATCH_MAX ? max : OL_BATCH_MAX};

    OL_ASSERT(max > 0);
    ol_lender_renew(&d->streams);
    if (OL_UNLIKELY(d->dgrams.block))
        ol_lender_renew(&d->dgrams);
    if (OL_UNLIKELY(d->fds))
        d->fds->used = 0;
    if (OL_UNLIKELY(d->due))
        tell_due(d, &b);
    do {
        if (OL_LIKELY(d->event_next == d->event_count)) {
            int n = poll_events(d, b.count > 0 ? 0 : until);

            if (OL_UNLIKELY(n < 0))
                return b.count > 0 ? b.count : n;
            if (OL_UNLIKELY(n == 0))
                break;
        }
        if (OL_LIKELY(b.count < b.max))
            walk_events(d, &b);
    } while (OL_UNLIKELY(b.count == 0 && !b.is_woken));
    return b.count;
}

/* One system call where asking epoll first makes two, and the bytes are here sooner: 12.5 us
 * instead of 16.4 for a round trip of bare loops that spin. */
OL_APART static int
epoll_look(struct ol_driver *base, struct ol_completion *out, int max)
{
    struct epoll_driver *d = self(base);
    struct batch b = {.out = out, .max = max < OL_BATCH_MAX ? max : OL_BATCH_MAX};
    struct ol_link *l = d->latest;

    if (d->due || d->event_next < d->event_count || !l || l->kind != OL_LINK_STREAM ||
        !(l->flags & WANT_IN))
        return epoll_driver_wait(base, 0, out, max);
    ol_lender_renew(&d->streams);
    tell_stream(d, &b, l);
    return b.count;
}

/* ---- links ------------------------------------------------------------------------------- */

static void
take(struct ol_link *l, enum ol_link_kind kind, int fd)
{
    l->token = fd;
    l->kind = (uint8_t)kind;
    l->flags = 0;
    l->pending = has_messages(l);
    l->work = NULL;
    l->next = NULL;
}

static int
epoll_listen(struct ol_driver *base, struct ol_link *l, const struct ol_listen_spec *spec,
             struct ol_addr *bound)
{
    struct epoll_driver *d = self(base);
    struct ol_sock_file *file = ol_alloc(heap_of(d), sizeof *file);
    int fd;

    if (!file) {
        if (spec->given)
            close(spec->given);
        return -ENOMEM;
    }
    fd = ol_sock_listen(spec, bound, file);
    if (fd < 0) {
        ol_free(heap_of(d), file);
        return fd;
    }
    take(l, spec->kind, fd);
    if (spec->kind == OL_LINK_LISTENER || spec->kind == OL_LINK_INHERITED)
        l->pending = spec->singly ? 1 : ACCEPTS_PER_WAIT;
    if (file->is_set)
        l->work = file;
    else
        ol_free(heap_of(d), file);
    return 0;
}

static int
epoll_connect(struct ol_driver *base, struct ol_link *l, const struct ol_connect_spec *spec)
{
    struct epoll_driver *d = self(base);
    int fd = ol_sock_open(spec);
    int err;

    if (fd < 0)
        return fd;
    take(l, spec->kind, fd);
    l->flags = CONNECTING;
    err = spec->given ? 0 : ol_sock_connect(fd, spec);
    if (spec->given || (err && err != -EINPROGRESS)) {
        /* Also EAGAIN of a unix listener whose backlog is full: epoll would never tell of room. */
        l->pending = (uint16_t)-err; /* 0: it was connected when it was given */
        push_due(d, l);
        return 0;
    }
    /* Whether it is done already or not: epoll says writable when it is. */
    err = arm_wanted(d, l);
    if (err) {
        close(fd);
        *l = (struct ol_link){.ops = l->ops, .token = -1};
    }
    return err;
}

static int
epoll_given(struct ol_driver *d, int fd, struct ol_given *out)
{
    (void)d;
    return ol_sock_given(fd, out);
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
    struct epoll_driver *d = self(base);

    OL_ASSERT(l->kind == OL_LINK_STREAM || l->kind == OL_LINK_PACKET);
    if (!d->fds)
        d->fds = ol_alloc_zero(heap_of(d), sizeof *d->fds);
    if (!d->fds)
        return -ENOMEM;
    l->kind = l->kind == OL_LINK_STREAM ? OL_LINK_PASSING : l->kind;
    l->work = (void *)(uintptr_t)max;
    return 0;
}

static void
epoll_discard(struct ol_driver *d, int32_t token, bool reset)
{
    (void)d;
    ol_sock_close(token, reset);
}

static int
epoll_start(struct ol_driver *base, struct ol_link *l)
{
    struct epoll_driver *d = self(base);
    int err;

    OL_ASSERT(l->token >= 0 && !(l->flags & CONNECTING));
    l->flags |= WANT_IN;
    err = arm_wanted(d, l);
    if (err)
        l->flags &= (uint8_t)~WANT_IN;
    return err;
}

static void
epoll_stop(struct ol_driver *d, struct ol_link *l)
{
    (void)d;
    l->flags &= (uint8_t)~WANT_IN;
}

static void
epoll_give_back(struct ol_driver *base, struct ol_lent *bytes)
{
    struct epoll_driver *d = self(base);

    if (OL_UNLIKELY(!bytes->block))
        return; /* the end of a PACKET link lends nothing */
    if (OL_UNLIKELY(bytes->block == d->dgrams.block))
        ol_lender_give_back(&d->dgrams, bytes);
    else
        ol_lender_give_back(&d->streams, bytes);
}

/* ---- sending ----------------------------------------------------------------------------- */

static int64_t
epoll_send_now(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces, int count)
{
    int64_t n;

    (void)d;
    OL_ASSERT(!(l->flags & WANT_OUT));
    n = ol_sock_send(l->token, pieces, count);
    return OL_UNLIKELY(n < 0) && n == -EINTR ? -EAGAIN : n;
}

/* How much one system call can take. */
static size_t
total(const struct iovec *pieces, int count)
{
    size_t sum = 0;

    for (int i = 0; i < count && i < OL_SOCK_PIECES; i++)
        sum += pieces[i].iov_len;
    return sum;
}

static int64_t
wait_for_room(struct epoll_driver *d, struct ol_link *l)
{
    int err;

    l->flags |= WANT_OUT;
    err = arm_wanted(d, l);
    if (err)
        l->flags &= (uint8_t)~WANT_OUT;
    return err;
}

/* A send that is cut means that the next one would find no room: that system call is spared. */
static int64_t
epoll_send(struct ol_driver *base, struct ol_link *l, const struct iovec *pieces, int count)
{
    struct epoll_driver *d = self(base);
    int64_t n = l->flags & FULL ? -EAGAIN : epoll_send_now(base, l, pieces, count);
    int64_t err;

    if (n >= 0) {
        if ((size_t)n < total(pieces, count))
            l->flags |= FULL;
        return n;
    }
    if (n != -EAGAIN)
        return n;
    err = wait_for_room(d, l);
    return err ? err : OL_SEND_PENDING;
}

static int64_t
epoll_send_file(struct ol_driver *base, struct ol_link *l, int file, int64_t offset, size_t len)
{
    int64_t n = l->flags & FULL ? -EAGAIN : ol_sock_send_file(l->token, file, offset, len);
    int64_t err;

    if (n != -EAGAIN)
        return n;
    err = wait_for_room(self(base), l);
    return err ? err : OL_SEND_PENDING;
}

static int64_t
epoll_send_fd(struct ol_driver *base, struct ol_link *l, const struct iovec *piece, int fd)
{
    int64_t n = l->flags & FULL ? -EAGAIN : ol_sock_send_fd(l->token, piece, fd);
    int64_t err;

    if (n != -EAGAIN)
        return n;
    err = wait_for_room(self(base), l);
    return err ? err : OL_SEND_PENDING;
}

static int
epoll_send_dgrams(struct ol_driver *base, struct ol_link *l, const struct ol_dgram *messages,
                  int count)
{
    int n = ol_sock_send_dgrams(l->token, messages, count, l->kind == OL_LINK_DGRAM);
    int64_t err;

    if (n == count || (n < 0 && n != -EAGAIN) || (l->kind == OL_LINK_LOCAL && messages->to))
        return n;
    /* No room, or the next one fails: then the socket is writable at once, and so OL_SENT comes. */
    err = wait_for_room(self(base), l);
    return err && n <= 0 ? (int)err : n;
}

static int
epoll_end_writing(struct ol_driver *d, struct ol_link *l)
{
    (void)d;
    OL_ASSERT(!(l->flags & WANT_OUT));
    return ol_sock_end_writing(l->token);
}

/* ---- the end of a link ------------------------------------------------------------------- */

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
        if (l->flags & DUPLICATED)
            close(l->token);
        return;
    }
    if (l->kind == OL_LINK_LISTENER || l->kind == OL_LINK_LOCAL) {
        if (l->work && is_ours)
            ol_sock_unlink(l->work); /* before the close, see sock.h */
        ol_free(heap_of(d), l->work);
    }
    l->work = NULL;
    ol_sock_close(l->token, reset && is_ours);
}

static void
epoll_close(struct ol_driver *base, struct ol_link *l, bool reset)
{
    struct epoll_driver *d = self(base);

    OL_ASSERT(l->kind != OL_LINK_NONE && l->token >= 0);
    forget_events(d, l);
    if (d->latest == l)
        d->latest = NULL;
    close_descriptor(d, l, reset);
    l->token = -1;
    l->flags &= DUE; /* a connect that failed is not told any more, only its end */
    push_due(d, l);
}

static int
epoll_address(struct ol_driver *d, struct ol_link *l, bool peer, struct ol_addr *out)
{
    (void)d;
    return ol_sock_name(l->token, peer, out);
}

static int
epoll_credentials(struct ol_driver *d, struct ol_link *l, struct ol_credentials *out)
{
    (void)d;
    return ol_sock_credentials(l->token, out);
}

static int
epoll_tcp_facts(struct ol_driver *d, struct ol_link *l, struct ol_tcp_facts *out)
{
    (void)d;
    return ol_sock_tcp_facts(l->token, out);
}

static int
epoll_dgram_facts(struct ol_driver *d, struct ol_link *l, struct ol_dgram_facts *out)
{
    (void)d;
    return ol_sock_dgram_facts(l->token, l->kind == OL_LINK_LOCAL, out);
}

/* ---- foreign descriptors ----------------------------------------------------------------- */

static int
epoll_watch(struct ol_driver *base, struct ol_link *l, int fd, unsigned events)
{
    struct epoll_driver *d = self(base);
    struct epoll_event e = {.data.ptr = l};
    int copy;

    if (events & OUTLET_READABLE)
        e.events |= EPOLLIN;
    if (events & OUTLET_WRITABLE)
        e.events |= EPOLLOUT;
    if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0) {
        take(l, OL_LINK_WATCH, fd);
        l->flags = REGISTERED;
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
    l->flags = REGISTERED | DUPLICATED;
    return 0;
}

static int
add_own(struct epoll_driver *d, int *fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = fd};

    return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, *fd, &e) == 0 ? 0 : -errno;
}

static int
epoll_embed(struct ol_driver *base)
{
    struct epoll_driver *d = self(base);

    d->is_embedded = true;
    if (d->due)
        set_timer(d, 0);
    return d->epoll_fd;
}

static void
epoll_arm(struct ol_driver *base, ol_time until)
{
    struct epoll_driver *d = self(base);

    /* Not while something is to be told that no descriptor shows.  Events that have been reported
     * but not told are still true in the kernel, so those show by themselves. */
    set_timer(d, d->due ? 0 : until);
}

/* ---- the driver itself ------------------------------------------------------------------- */

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
    ol_lender_init(&d->dgrams, d->budget, OL_SOCK_BATCH * ol_lender_stride(DGRAM_ROOM));

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
    struct epoll_driver *d = self(base);
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
    .accept_start = epoll_start,
    .accept_stop = epoll_stop,
    .connect = epoll_connect,
    .given = epoll_given,
    .pair = epoll_pair,
    .adopt = epoll_adopt,
    .discard = epoll_discard,
    .pass = epoll_pass,
    .receive_start = epoll_start,
    .receive_stop = epoll_stop,
    .give_back = epoll_give_back,
    .send_now = epoll_send_now,
    .send = epoll_send,
    .send_file = epoll_send_file,
    .send_fd = epoll_send_fd,
    .send_dgrams = epoll_send_dgrams,
    .end_writing = epoll_end_writing,
    .close = epoll_close,
    .address = epoll_address,
    .credentials = epoll_credentials,
    .tcp_facts = epoll_tcp_facts,
    .dgram_facts = epoll_dgram_facts,
    .watch = epoll_watch,
    .wait = epoll_driver_wait,
    .look = epoll_look,
    .wake = epoll_wake,
    .now = ol_host_now,
    .real_now = ol_host_real_now,
    .random = ol_host_random,
    .embed = epoll_embed,
    .arm = epoll_arm,
};
