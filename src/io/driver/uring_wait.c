/*
 * uring_wait.c - the one who enters the kernel: submits all, waits, and is woken.
 *
 *     submissions --> prepare --> enter, perhaps blocking --> reap --> told
 *                                   ^
 *                                 wake: only who has lain down
 *
 * What a newcomer gets wrong: to block where something is left to be told, or to be done.  Whoever
 * may block says so first (lie_down), and whoever wakes an awake one spares the system call.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "host.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Newer than the oldest liburing we build with; used only when the kernel says it knows them. */
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7) /* Linux 6.15 */
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

enum { RETRY_MS = 20 /* when the system has no memory for us */ };
#define SECOND (1000 * OL_MS)

/* ---- entering the kernel --------------------------------------------------------------- */

static int
enable(struct uring *u)
{
    int err;

    if (OL_LIKELY(u->is_enabled))
        return 0;
    /* Not by io_uring_enable_rings(), which liburing 2.3 declares and does not export. */
    err = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (!err)
        u->is_enabled = true;
    return err;
}

static unsigned
publish_submissions(struct uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;

    sq->sqe_head = sq->sqe_tail;
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

/* Submit all, run what the kernel has deferred and, if told to, wait for a completion. */
static int
enter(struct uring *u, bool is_blocking, ol_time until)
{
    struct __kernel_timespec left;
    struct io_uring_getevents_arg arg = {0};
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    unsigned count = publish_submissions(u);
    int n;

    if (OL_UNLIKELY(count == 0) && !is_blocking && !uring_held_back(u))
        return 0;
    if (OL_UNLIKELY(until != OL_NEVER) && is_blocking) {
        ol_time ns = until - ol_host_now(NULL);

        if (ns < 0)
            ns = 0;
        left = (struct __kernel_timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
        arg.ts = (uintptr_t)&left;
    }
    /* An idle server is not a machine that waits for its disk. */
    if (OL_LIKELY(u->ring.features & IORING_FEAT_NO_IOWAIT))
        flags |= IORING_ENTER_NO_IOWAIT;
    n = io_uring_enter2((unsigned)u->ring.ring_fd, count, is_blocking, flags, (sigset_t *)&arg,
                        sizeof arg);
    if (OL_LIKELY(n >= 0))
        return 0;
    switch (n) {
    case -ETIME:
    case -EINTR:
        return 0;
    case -EAGAIN: /* no memory for an operation, or for completions that did not fit */
    case -ENOMEM:
    case -EBUSY:
        if (is_blocking)
            (void)poll(NULL, 0, 1); /* it did not wait; neither must we spin */
        return 0;
    default:
        return n;
    }
}

struct io_uring_sqe *
ol_uring_submission_late(struct uring *u)
{
    if (enable(u) != 0 || enter(u, false, 0) != 0)
        return NULL; /* wait() will find the same and tell */
    return io_uring_get_sqe(&u->ring);
}

/* ---- waiting --------------------------------------------------------------------------- */

OL_APART static void
listen_for_wakes(struct uring *u)
{
    struct io_uring_sqe *s = uring_submission(u);

    if (!s)
        return;
    io_uring_prep_read(s, u->wake_fd, &u->wakes, sizeof u->wakes, 0);
    uring_set_tag(s, NULL, URING_TAG_WAKE);
    u->is_wake_heard = true;
}

static void
do_todo(struct uring *u)
{
    if (OL_UNLIKELY(u->todo.first))
        ol_uring_go_through_todo(u);
}

/* What is to be done before the kernel is entered. */
static void
prepare(struct uring *u)
{
    if (OL_UNLIKELY(!u->is_wake_heard))
        listen_for_wakes(u);
    if (OL_UNLIKELY(u->blocks.missing > 0))
        ol_uring_renew_blocks(u);
    if (OL_UNLIKELY(u->starved.first))
        ol_uring_feed_starved(u);
    do_todo(u);
}

/* false: there is no room to submit it now. */
static bool
set_timer(struct uring *u, ol_time until)
{
    struct io_uring_sqe *s = uring_submission(u);

    if (!s)
        return false;
    u->ring_time = (struct __kernel_timespec){until / SECOND, until % SECOND};
    if (u->rings_at == OL_NEVER) {
        io_uring_prep_timeout(s, &u->ring_time, 0, IORING_TIMEOUT_ABS);
        uring_set_tag(s, NULL, URING_TAG_TIMER);
    } else {
        /* If it rings meanwhile, this fails, and the ring is told by its own completion. */
        io_uring_prep_timeout_update(s, &u->ring_time, URING_TAG_TIMER, IORING_TIMEOUT_ABS);
        uring_set_tag(s, NULL, URING_TAG_CANCEL);
    }
    u->rings_at = until;
    return true;
}

/*
 * The deadline that the entry itself has to keep.  For that it needs to know how long it is, reads
 * the clock again and makes a timer that each entry takes back.  So one that outlives a wait is
 * left to a timer that stands until it rings, as in epoll_wait.c.  Not where a ring is embedded:
 * its completions show in a descriptor of somebody else's loop, which has a timer of its own.
 */
static ol_time
leave_to_timer(struct uring *u, ol_time until)
{
    if (OL_LIKELY(until >= u->rings_at))
        return OL_NEVER;
    if (until != u->outlived || ol_embed_is_open(&u->embed)) {
        u->outlived = until;
        return until;
    }
    return set_timer(u, until) ? OL_NEVER : until;
}

/* Before a sleep with quiet sends: they are told when it ends, and it shall not be long.  A timer
 * that is started once while there is traffic costs less than a deadline of each sleep. */
static ol_time
start_tick(struct uring *u, ol_time until)
{
    static const struct __kernel_timespec length = {.tv_nsec = OL_QUIET_MS * OL_MS};
    struct io_uring_sqe *s;
    ol_time at;

    if (u->quiet_count == 0 || OL_LIKELY(u->is_ticking))
        return until;
    s = uring_submission(u);
    if (!s) {
        at = ol_host_now(NULL) + OL_QUIET_MS * OL_MS;
        return until < at ? until : at;
    }
    io_uring_prep_timeout(s, (struct __kernel_timespec *)(uintptr_t)&length, 0, 0);
    uring_set_tag(s, NULL, URING_TAG_TICK);
    u->is_ticking = true;
    return until;
}

/* Is something left that no completion will tell of?  Then memory was short; look again soon. */
static bool
must_retry(const struct uring *u)
{
    return OL_UNLIKELY(!u->is_wake_heard) || OL_UNLIKELY(u->todo.first) ||
           (OL_UNLIKELY(u->starved.first) && u->blocks.missing > 0);
}

/* false: somebody woke us already. */
static bool
lie_down(struct uring *u)
{
    int bed = URING_AWAKE;

    return atomic_compare_exchange_strong(&u->bed, &bed, URING_ASLEEP) || bed == URING_ASLEEP;
}

/*
 * Whoever closes is told so before the kernel is entered, and may answer with more submissions:
 * they all go with one entry, the one that waits.  But not twice in a row, or two links that make
 * and close each other would keep everybody else from being heard.
 */
static bool
can_spare_entry(struct uring *u)
{
    u->is_spared = OL_UNLIKELY(u->out_count > 0) && !u->is_spared;
    return u->is_spared;
}

/* Once around; *is_over when the caller has to be told. */
static int
turn(struct uring *u, ol_time until, bool *is_over)
{
    bool may_block;
    bool is_blocking;
    int err = 0;

    prepare(u);
    if (must_retry(u)) {
        ol_time retry = ol_host_now(NULL) + RETRY_MS * OL_MS;

        until = until < retry ? until : retry;
    }
    may_block = OL_LIKELY(u->out_count == 0) && OL_LIKELY(io_uring_cq_ready(&u->ring) == 0) &&
                OL_LIKELY(until > 0);
    is_blocking = OL_LIKELY(may_block) && OL_LIKELY(!ol_uring_is_quiet_awaited(u)) &&
                  OL_LIKELY(lie_down(u));
    if (OL_LIKELY(is_blocking))
        until = start_tick(u, leave_to_timer(u, until));
    if (OL_LIKELY(!can_spare_entry(u)))
        err = enter(u, is_blocking, until);
    if (OL_UNLIKELY(!is_blocking) && may_block && io_uring_sq_ready(&u->ring) > 0)
        (void)poll(NULL, 0, 1); /* no memory for what is awaited, and we must not spin */
    /* An exchange, so that what the waker wrote before it woke us is seen after this. */
    *is_over = atomic_exchange(&u->bed, URING_AWAKE) == URING_WOKEN;
    ol_uring_reap(u);
    do_todo(u);
    if (u->out_count > 0)
        *is_over = true;
    return err;
}

int
ol_uring_wait(struct ol_driver *d, ol_time until, struct ol_completion *out, int max)
{
    struct uring *u = uring_self(d);
    bool is_over = false;
    int err;

    OL_ASSERT(max > 0);
    u->out = out;
    u->out_count = 0;
    u->out_max = max < OL_BATCH_MAX ? max : OL_BATCH_MAX;
    if (OL_UNLIKELY(u->is_child)) {
        if (u->starved.first)
            ol_uring_feed_starved(u);
        do_todo(u);
        return u->out_count;
    }
    err = enable(u);
    if (OL_UNLIKELY(u->dgrams))
        ol_uring_renew_dgrams(u->dgrams);
    u->is_armed = false;
    while (OL_LIKELY(!err)) {
        err = turn(u, until, &is_over);
        if (OL_LIKELY(is_over) || until <= 0 || (until != OL_NEVER && until <= ol_host_now(NULL)))
            break;
    }
    return OL_LIKELY(u->out_count > 0) || !err ? u->out_count : err;
}

/* ---- being woken ----------------------------------------------------------------------- */

void
ol_uring_wake(struct ol_driver *d)
{
    struct uring *u = uring_self(d);
    int saved = errno; /* a signal handler may be calling */
    uint64_t one = 1;

    if (atomic_exchange(&u->bed, URING_WOKEN) == URING_ASLEEP) {
        /* It can only fail when the counter is full, and then it is readable anyway. */
        ssize_t n = write(u->wake_fd, &one, sizeof one);

        (void)n;
    }
    errno = saved;
}

int
ol_uring_embed(struct ol_driver *d)
{
    struct uring *u = uring_self(d);
    int err;

    if (ol_embed_is_open(&u->embed))
        return u->embed.poll_fd;
    err = ol_embed_open(&u->embed, u->wake_fd);
    if (err)
        return err;
    err = io_uring_register_eventfd(&u->ring, u->embed.event_fd);
    if (err) {
        ol_embed_close(&u->embed);
        return err;
    }
    /* Nothing can be submitted before the thread that will wait is known. */
    if (!lie_down(u) || u->todo.first || io_uring_sq_ready(&u->ring) > 0)
        ol_embed_arm(&u->embed, 0);
    u->is_armed = true;
    return u->embed.poll_fd;
}

void
ol_uring_arm(struct ol_driver *d, ol_time until)
{
    struct uring *u = uring_self(d);
    int err;

    u->is_armed = false;
    u->out_max = 0; /* nothing can be told here */
    u->out_count = 0;
    /* Before the kernel is entered: what it signals from now on stays to be seen. */
    ol_embed_drain(&u->embed);
    err = enable(u);
    if (!err) {
        prepare(u);
        err = enter(u, false, 0);
    }
    /* An error is for wait() to tell. */
    if (err || must_retry(u) || io_uring_cq_ready(&u->ring) > 0 || uring_held_back(u) ||
        !lie_down(u))
        until = 0;
    ol_embed_arm(&u->embed, until);
    u->is_armed = true;
}
